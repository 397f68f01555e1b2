//! A story as one page for a browser. It needs no network, and its script is all in it.

use super::story::{Band, Carriage, Lane, Moment, Story, Tone};
use serde_json::{Map, Value, json};

const HTML: &str = include_str!("page/page.html");
const CSS: &str = include_str!("page/page.css");
/// In the order in which they run.
const SCRIPTS: [&str; 5] = [
    include_str!("page/data.js"),
    include_str!("page/draw.js"),
    include_str!("page/panel.js"),
    include_str!("page/live.js"),
    include_str!("page/main.js"),
];

/// So many characters of a message's content are in a page.
const CONTENT_MAX: usize = 400;

/// Where a run comes from, for the head of its page.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// What the page is called.
    pub title: String,
    /// What was wrong, in one sentence for people; may be empty.
    pub about: String,
    /// What was run.
    pub subject: String,
    /// The seed of the plan.
    pub seed: u64,
    /// The version of the program.
    pub program: String,
    /// The command that runs it again.
    pub replay: String,
    /// The command that makes the page with all idle chatter; may be empty.
    pub whole: String,
    /// What counterfactuals say of it, if they were asked.
    pub reasons: Option<Reasons>,
    /// It is served by `explore`, which it calls to fork this branch.
    pub live: Option<usize>,
}

impl About {
    /// Of a run with a bug that the reader is to find: nothing here names it.
    #[must_use]
    pub fn blind(seed: u64) -> Self {
        Self { title: "A run".into(), subject: "a replica with a hidden bug".into(), seed, ..Self::default() }
    }
}

/// What counterfactuals say of a failure. Moments are places in its story.
#[derive(Debug, Clone, Default)]
pub struct Reasons {
    /// The causes in sentences.
    pub sentences: Vec<String>,
    /// The moment that decided it.
    pub named: usize,
    /// Moments with what they count for: `necessary`, `contributing` or `irrelevant`.
    pub weights: Vec<(usize, &'static str)>,
    /// Moments with how many futures failed, and of how many.
    pub cuts: Vec<(usize, u64, u64)>,
}

/// The page.
///
/// # Examples
///
/// ```
/// use hence_sim::campaign::run::{Setting, Watch, run_watched};
/// use hence_sim::generate::{Profile, plan};
/// use hence_sim::observe::{About, Idle, Recorder, page};
///
/// let (plan, recorder) = (plan(3, Profile::Mixed), Recorder::default());
/// let watch = Watch { choice_log: None, observer: Some(Box::new(recorder.clone())) };
/// let (verdict, _) = run_watched(&plan, Setting::default(), watch);
/// let story = recorder.story(&plan, verdict.violation.as_ref(), Idle::Changing);
/// let html = page(&story, &About { title: "seed 3".into(), ..About::default() });
/// assert!(html.starts_with("<!doctype html>"));
/// ```
#[must_use]
pub fn page(story: &Story, about: &About) -> String {
    let page = assembled(&value(story, about), &about.title);
    // A page from disk may call no one.
    if about.live.is_some() {
        page.replacen("default-src 'none';", "default-src 'none'; connect-src 'self';", 1)
    } else {
        page
    }
}

/// The page around these data.
pub(super) fn assembled(data: &Value, title: &str) -> String {
    // Within a script element no text may begin a tag.
    let data = data.to_string().replace('<', "\\u003c");
    let script = SCRIPTS.join("\n");
    let parts = [("{{title}}", escaped(title)), ("{{css}}", CSS.into()), ("{{data}}", data), ("{{script}}", script)];
    let mut rest = HTML;
    let mut page = String::with_capacity(HTML.len() + CSS.len() + 200_000);
    // One after another, so that what is put in is not looked through.
    for (mark, text) in &parts {
        let Some((before, after)) = rest.split_once(mark) else { continue };
        page.push_str(before);
        page.push_str(text);
        rest = after;
    }
    page.push_str(rest);
    page
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// What the script reads. Names are short, since there are many.
fn value(story: &Story, about: &About) -> Value {
    let place = |lane: Lane| match lane {
        Lane::Replica(replica) => replica as i64,
        Lane::Client(client) => (story.replicas + client) as i64,
        Lane::Outside => -1,
    };
    let lanes: Vec<Value> = story
        .lanes()
        .map(|lane| json!({ "name": lane.to_string(), "replica": matches!(lane, Lane::Replica(_)) }))
        .collect();
    let events: Vec<Value> = story.moments.iter().map(|moment| of_moment(moment, place(moment.lane))).collect();
    let of_carriage = |it: &Carriage| of_carriage(it, place(it.from), place(it.to));
    let carriages: Vec<Value> = story.carriages.iter().map(of_carriage).collect();
    let bands: Vec<Value> = story.bands.iter().map(of_band).collect();
    let blame = story.blame.as_ref().map(|blame| {
        json!({ "at": blame.violated, "say": blame.sentences, "missing": blame.missing, "lacks": blame.lacks, "past": blame.lit,
            "broken": blame.broken, "bands": blame.bands })
    });
    let why = about
        .reasons
        .as_ref()
        .map(|why| json!({ "say": why.sentences, "at": why.named, "weights": why.weights, "cuts": why.cuts }));
    let sign = story.violation.as_ref().map(|violation| violation.fingerprint());
    let promise = story.violation.as_ref().and_then(|violation| violation.invariant.number());
    json!({ "title": about.title, "about": about.about, "subject": about.subject, "seed": about.seed,
        "program": about.program, "replay": about.replay, "whole": about.whole, "sign": sign, "promise": promise,
        "lanes": lanes, "events": events, "carriages": carriages, "bands": bands, "blame": blame, "why": why, "live": about.live, "hidden": story.hidden })
}

fn of_moment(moment: &Moment, lane: i64) -> Value {
    let mut value = json!({ "t": moment.at, "l": lane, "k": moment.kind, "x": moment.text });
    if moment.tone != Tone::Plain {
        value["o"] = moment.tone.name().into();
    }
    if moment.idle {
        value["z"] = true.into();
    }
    if !moment.keys.is_empty() {
        value["y"] = moment.keys.clone().into();
    }
    if !moment.writes.is_empty() {
        value["w"] = moment.writes.clone().into();
    }
    if let Some(carriage) = moment.carriage {
        value["c"] = carriage.into();
    }
    if !moment.changes.is_empty() {
        let changes: Map<String, Value> =
            moment.changes.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        value["d"] = changes.into();
    }
    value
}

fn of_carriage(carriage: &Carriage, from: i64, to: i64) -> Value {
    let mut value = json!({ "i": carriage.id, "n": carriage.name, "f": from, "t": to, "s": carriage.sent,
        "a": carriage.arrived });
    if carriage.held {
        value["h"] = true.into();
    }
    if carriage.under_way {
        value["u"] = true.into();
    }
    if let Some(why) = &carriage.lost {
        value["l"] = why.clone().into();
    }
    if let Some(write) = &carriage.write {
        value["w"] = write.clone().into();
    }
    if !carriage.content.is_empty() {
        let mut content: String = carriage.content.chars().take(CONTENT_MAX).collect();
        if content.len() < carriage.content.len() {
            content.push('…');
        }
        value["x"] = content.into();
    }
    value
}

fn of_band(band: &Band) -> Value {
    json!({ "i": band.fault, "n": band.name, "x": band.text, "f": band.from, "t": band.to, "r": band.replica,
        "links": band.links })
}
