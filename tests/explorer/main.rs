//! The page of a run in a real browser: opened from disk, walked through by keys, searched, linked to.
//!
//! It needs Debian's packages chromium and chromium-driver. Without them every test is reported as ignored, with that reason.

mod live;

use hence_checker::history::{Action, History, Operation};
use hence_checker::{Options, judge};
use hence_sim::campaign::case::Case;
use hence_sim::campaign::run::{Setting, Watch, run_watched};
use hence_sim::engine::choice_log::ChoiceLog;
use hence_sim::generate::{self, Profile};
use hence_sim::observe::{About, Idle, Reasons, Recorder, Story, history_page, page};
use hence_sim::plan::Plan;
use hence_sim::why;
use hence_tests::browser::{self, Browser};
use libtest_mimic::{Arguments, Completion, Trial};
use std::path::PathBuf;
use std::process::ExitCode;

const DOWN: char = '\u{e015}';
const UP: char = '\u{e013}';
const END: char = '\u{e010}';
const ENTER: char = '\u{e007}';

type Test = (&'static str, fn());

const TESTS: &[Test] = &[
    ("opens_from_disk_and_shows_the_verdict", opens),
    ("keys_walk_and_states_change", keys),
    ("search_finds", search),
    ("a_deep_link_lands", deep_link),
    ("filters_hide_and_folds_join", filters),
    ("the_tour_has_six_steps", tour),
    ("the_page_says_why", says_why),
    ("a_long_run_stays_small_and_quick", long_run),
    ("a_history_opens_as_well", history),
    ("the_live_page_runs_and_forks", live::runs_and_forks),
    ("idle_chatter_can_be_hidden", idle),
    ("the_state_says_what_waits_and_what_is_missing", state),
    ("a_blind_page_names_no_bug", blind),
    ("pictures_at_two_widths", pictures),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each has a browser of its own.
    arguments.test_threads.get_or_insert(2);
    let missing = if arguments.list { None } else { browser::missing() };
    let trials = TESTS.iter().map(|&(name, run)| {
        let missing = missing.clone();
        Trial::ignorable_test(name, move || {
            if let Some(why) = missing {
                return Ok(Completion::ignored_with(why));
            }
            std::panic::catch_unwind(run).map_err(|_| "see the panic above")?;
            Ok(Completion::Completed)
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// A case whose bug is that answers leave out deletes.
fn the_case() -> Case {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures/a-delete-that-is-left-out.json");
    Case::read(&std::fs::read_to_string(path).expect("the case")).expect("a case")
}

fn story_of_a_case() -> Story {
    told(Idle::Changing)
}

fn told(idle: Idle) -> Story {
    let case = the_case();
    let choice_log = Some(ChoiceLog::following(case.choices.clone()));
    story(&case.plan, case.setting().expect("a setting"), choice_log, idle)
}

fn story(plan: &Plan, setting: Setting, choice_log: Option<ChoiceLog>, idle: Idle) -> Story {
    let recorder = Recorder::default();
    let watch = Watch { choice_log, observer: Some(Box::new(recorder.clone())) };
    let (verdict, _) = run_watched(plan, setting, watch);
    recorder.story(plan, verdict.violation.as_ref(), idle)
}

/// The page as a file of this test's own.
fn write(name: &str, story: &Story) -> PathBuf {
    let about = About {
        title: "a <delete> & \"more\"".into(),
        subject: "answer-without-deletes".into(),
        replay: "hence-sim replay case.json".into(),
        ..About::default()
    };
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("explorer-{name}.html"));
    std::fs::write(&path, page(story, &about)).expect("a page");
    path
}

fn opened(name: &str, fragment: &str) -> (Browser, Story) {
    let (story, browser) = (story_of_a_case(), Browser::start(1280, 800, false));
    browser.open(&write(name, &story), fragment);
    (browser, story)
}

fn chosen(browser: &Browser) -> u64 {
    browser.ask("look.chosen").as_u64().expect("an event is chosen")
}

fn opens() {
    let (browser, story) = opened("opens", "");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let blame = story.blame.as_ref().expect("the case fails");
    let verdict = browser.text("document.getElementById('verdict').innerText");
    for sentence in &blame.sentences {
        assert!(verdict.contains(sentence), "{verdict}");
    }
    assert!(verdict.contains("sessions/past_missing") && verdict.contains("a <delete> & \"more\""), "{verdict}");
    // It begins at the violation, whose past is lit, and says which write should have been there.
    assert_eq!(chosen(&browser), blame.violated as u64);
    let event = browser.text("document.getElementById('event').innerText");
    assert!(event.contains("breaks a promise"), "{event}");
    browser.ask(&format!("choose({})", blame.missing[0]));
    let event = browser.text("document.getElementById('event').innerText");
    assert!(event.contains("the write that should have been there"), "{event}");
    // The check above would see a request and an error: here are both.
    browser.ask("fetch('http://127.0.0.1:9/').catch(() => 0) && undefined");
    browser.ask("console.error('an error of the test')");
    let complaints = browser.complaints().join("\n");
    assert!(complaints.contains("an error of the test") && complaints.contains("127.0.0.1:9"), "{complaints}");
}

fn keys() {
    let (browser, story) = opened("keys", "#e=0");
    let states = || browser.text("document.getElementById('states').innerText");
    let mut seen = std::collections::BTreeSet::from([states()]);
    for at in 1..=40 {
        browser.press(&[DOWN]);
        assert_eq!(chosen(&browser), at);
        seen.insert(states());
    }
    assert!(seen.len() >= 8, "{} states in 40 steps", seen.len());
    browser.press(&[UP, UP]);
    assert_eq!(chosen(&browser), 38);
    assert!(browser.text("location.hash").ends_with("#e=38"));
    browser.press(&[END]);
    assert_eq!(chosen(&browser), story.moments.len() as u64 - 1);
    // The state at the end is the one that the model has.
    let store = story.moments.iter().rev().find_map(|moment| {
        let changes = moment.changes.iter().find(|(name, _)| name == "store k0");
        changes.filter(|_| moment.lane.to_string() == "A").map(|(_, value)| value.clone())
    });
    let shown = browser.text("document.querySelector('[data-lane=\"A\"]').innerText");
    assert!(shown.contains(&store.expect("A holds k0")), "{shown}");
    // What a step changes is marked.
    let at = story.moments.iter().position(|moment| moment.changes.iter().any(|(name, _)| name == "store k0"));
    browser.ask(&format!("choose({})", at.expect("a write")));
    assert!(browser.text("document.getElementById('changes').innerText").contains("store k0"));
}

fn search() {
    let (browser, story) = opened("search", "");
    let hits = |text: &str| {
        browser.ask(&format!("(document.getElementById('search').value = {text:?}, search(), 0)"));
        browser.ask("[...look.hits]").as_array().expect("a list").len()
    };
    let count = |is: &dyn Fn(&str) -> bool| story.moments.iter().filter(|moment| is(&moment.text)).count();
    assert_eq!(hits("put k0"), count(&|text| text.contains("put k0")));
    assert_eq!(hits("push B->A"), 2, "one leaves and arrives");
    assert_eq!(hits("asks then not 404"), 1, "the last request comes after the 404");
    assert_eq!(hits("accepts then gets"), count(&|text| text.starts_with("accepts b")));
    assert_eq!(hits("no such thing"), 0);
    assert_eq!(browser.text("document.getElementById('hits').textContent"), "none found");
    hits("delete k0");
    browser.ask("document.getElementById('search').focus()");
    browser.press(&[ENTER]);
    assert!(browser.text("document.getElementById('event').innerText").contains("delete k0"));
}

fn deep_link() {
    let (browser, _) = opened("link", "#e=12");
    assert_eq!(chosen(&browser), 12);
    assert!(browser.text("document.getElementById('event').innerText").contains("event 12 "));
    browser.ask("(location.hash = '#e=7', 0)");
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(chosen(&browser), 7);
}

fn filters() {
    let (browser, story) = opened("filters", "");
    let shown = || browser.ask("shown.length").as_u64().expect("a number") as usize;
    assert_eq!(shown(), story.moments.len());
    let click = |label: &str| {
        let find = format!(
            "[...document.querySelectorAll('#filter-box label')].find((it) => it.innerText === {label:?} || it.textContent === {label:?})"
        );
        browser.ask(&format!("({find}.querySelector('input').click(), 0)"));
    };
    click("messages");
    let messages = story.moments.iter().filter(|moment| matches!(moment.kind, "sent" | "received")).count();
    assert!(messages > 10 && shown() == story.moments.len() - messages, "{} of {messages}", shown());
    click("messages");
    let columns = || browser.ask("columns.length").as_u64().expect("a number");
    let before = columns();
    click("replicas");
    assert_eq!(columns(), before - 1);
    browser.press(&['o']);
    assert!(shown() < story.moments.len() / 2, "only the causal past is left: {}", shown());
}

/// The sentences of `why`, the step that decided it, and what each event counts for.
fn says_why() {
    let story = story_of_a_case();
    let reasons = Reasons {
        sentences: vec!["It was decided at noon.".into()],
        named: 3,
        weights: vec![(5, "necessary")],
        cuts: vec![(0, 0, 20), (5, 20, 20)],
    };
    let about = About { title: "why".into(), reasons: Some(reasons), ..About::default() };
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("explorer-why.html");
    std::fs::write(&path, page(&story, &about)).expect("a page");
    let browser = Browser::start(1280, 800, false);
    browser.open(&path, "");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let opens = |wide: &str| browser.text(&format!("String(document.getElementById('why').open === ({wide}))"));
    assert_eq!(opens("innerWidth > 800"), "true");
    browser.ask("document.querySelector('#why:not([open]) > summary')?.click()");
    let why = browser.text("document.getElementById('why').innerText");
    assert!(why.contains("It was decided at noon."), "{why}");
    browser.ask("document.querySelector('#why [data-event]').click()");
    assert_eq!(chosen(&browser), 3);
    assert!(browser.text("document.getElementById('event').innerText").contains("this decided it"));
    browser.ask("document.querySelector('#cuts .cut:last-child').click()");
    assert_eq!(chosen(&browser), 5);
    assert!(browser.text("document.getElementById('event').innerText").contains("necessary"));
}

/// A page with all idle chatter has a box that hides it.
fn idle() {
    let story = told(Idle::All);
    let browser = Browser::start(1280, 800, false);
    browser.open(&write("idle", &story), "");
    let shown = || browser.ask("shown.length").as_u64().expect("a number") as usize;
    assert_eq!(shown(), story.moments.len());
    browser.ask(
        "[...document.querySelectorAll('#filter-box label')].find((it) => /heartbeats/.test(it.textContent)).querySelector('input').click()",
    );
    let idle = story.moments.iter().filter(|moment| moment.idle).count();
    assert!(idle > 10);
    assert_eq!(shown(), story.moments.len() - idle);
}

/// What is in the causal buffer, what is missing, and what an answer brings its client.
fn state() {
    let (browser, story) = opened("state", "");
    let with = |field: &str, value: &str| {
        let has = |(name, held): &(String, String)| name == field && held.contains(value);
        let at = story.moments.iter().position(|moment| moment.changes.iter().any(has));
        at.unwrap_or_else(|| panic!("{field} never has {value}"))
    };
    for (field, value) in [("causal buffer", "b1.2"), ("gaps", "b1.2")] {
        browser.ask(&format!("choose({})", with(field, value)));
        let shown = browser.text("document.querySelector('[data-lane=\"A\"]').innerText");
        assert!(shown.lines().any(|line| line.starts_with(field) && line.contains(value)), "{field}: {shown}");
    }
    let at = story.moments.iter().position(|moment| moment.text == "gets 404 absent").expect("the answer");
    browser.ask(&format!("choose({at})"));
    let answer = browser.text("document.getElementById('answer').innerText");
    assert_eq!(answer, "The answer: 404 absent, with a token of nothing.");
    let promise = browser.text("document.getElementById('promise').innerText");
    assert!(promise.contains("INV-3 of docs/protocol.md"), "{promise}");
}

/// The reader is to find out which bug is planted.
fn blind() {
    let page = page(&story_of_a_case(), &About::blind(11));
    assert!(!page.contains("answer-without-deletes") && !page.contains("left-out.json"));
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("explorer-blind.html");
    std::fs::write(&path, page).expect("a page");
    let browser = Browser::start(1280, 800, false);
    browser.open(&path, "");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let verdict = browser.text("document.getElementById('verdict').innerText");
    assert!(verdict.contains("a replica with a hidden bug") && !verdict.contains("Again:"), "{verdict}");
}

fn tour() {
    let (browser, _) = opened("tour", "");
    browser.ask("(document.getElementById('tour-button').click(), 0)");
    for step in 1..=6 {
        let text = browser.text("document.getElementById('tour').innerText");
        assert!(text.contains(&format!("{step} of 6")), "{text}");
        browser.press(&[ENTER]);
    }
    assert_eq!(browser.ask("document.getElementById('tour').hidden"), true);
}

/// What clients saw, with a read that forgets what its client wrote: the same page without a look into replicas.
fn history() {
    let mut put = Operation::new(1, "anna", Action::Put, "x");
    (put.value, put.status, put.token_out, put.replica) = (Some("1".into()), 201, Some("t".into()), "A".into());
    let mut get = Operation::new(2, "ben", Action::Get, "x");
    (get.status, get.token_in, get.token_out) = (404, Some("t".into()), Some("u".into()));
    let history = History::of(&[put, get]).expect("a history");
    let options = Options::default();
    let report = judge(&history, options).expect("a verdict");
    let found = report.counterexample(&history, options).expect("a counterexample");
    let about = About { title: "stale.history".into(), ..About::default() };
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("explorer-history.html");
    std::fs::write(&path, history_page(&history, &report, Some(&found), &about)).expect("a page");
    let browser = Browser::start(1280, 800, false);
    browser.open(&path, "");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let verdict = browser.text("document.getElementById('verdict').innerText");
    assert!(verdict.contains("RYW: a missing value") && verdict.contains("did not show x=1"), "{verdict}");
    // The write that the read should have shown, and that read.
    let text = |of: &str| browser.text(&format!("events[blame.{of}[0]].x"));
    assert!(
        text("missing").starts_with("asks put x=1") && text("broken").starts_with("gets 404"),
        "{}",
        text("broken")
    );
    // The token went from one client to the other.
    assert_eq!(browser.ask("[lanes.length, carriages.length, events.length]"), serde_json::json!([2, 1, 4]));
    browser.press(&[END]);
    assert!(browser.text("document.getElementById('event').innerText").contains("gets 404"));
}

/// 2 MB for 1,000 events and 300 ms to use them; five times as many still work.
fn long_run() {
    let longest =
        (0..400).map(|seed| story(&generate::plan(seed, Profile::Mixed), Setting::default(), None, Idle::All));
    let story = longest.max_by_key(|story| story.moments.len()).expect("stories");
    assert!(story.moments.len() > 5_000, "{} moments", story.moments.len());
    let path = write("long", &story);
    let bytes = std::fs::metadata(&path).expect("a page").len() as usize;
    assert!(bytes < 2_000_000 * story.moments.len() / 1_000, "{bytes} bytes for {} moments", story.moments.len());
    let browser = Browser::start(1280, 800, false);
    browser.open(&path, "");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    browser.press(&[END]);
    assert_eq!(chosen(&browser), story.moments.len() as u64 - 1);
    let drawn =
        browser.ask("(() => { const from = performance.now(); fit(); draw(); return performance.now() - from; })()");
    println!(
        "{} moments, {bytes} bytes, ready after {} ms, all of it drawn in {drawn} ms",
        story.moments.len(),
        browser.text("document.documentElement.dataset.ready")
    );
}

/// Written for people to look at: each is a picture of its size with something in it.
fn pictures() {
    let story = story_of_a_case();
    let path = write("pictures", &story);
    let replay = "hence-sim replay a-delete-that-is-left-out.json".into();
    let about = About {
        title: "a-delete-that-is-left-out".into(),
        subject: "answer-without-deletes".into(),
        replay,
        ..About::default()
    };
    std::fs::write(&path, page(&story, &about)).expect("a page");
    for (width, height, dark) in [(1280, 800, false), (1280, 800, true), (390, 844, false), (390, 844, true)] {
        let browser = Browser::start(width, height, dark);
        browser.open(&path, "");
        let theme = if dark { "dark" } else { "light" };
        browser.ask(&format!("(document.documentElement.dataset.theme = {theme:?}, readColors(), draw(), 0)"));
        // Nothing sticks out at the side.
        assert_eq!(browser.ask("document.documentElement.scrollWidth <= window.innerWidth"), true, "{width}");
        let picture = browser.picture();
        let number = |at: usize| u32::from_be_bytes(picture[at..at + 4].try_into().expect("four bytes"));
        assert_eq!((&picture[1..4], number(16), number(20)), (&b"PNG"[..], width, height));
        assert!(picture.len() > 20_000, "{} bytes at {width}", picture.len());
        keep(&format!("page-{width}-{theme}"), &picture);
    }
    let (case, setting) = (the_case(), the_case().setting().expect("a setting"));
    let why = why::why(&case.plan, &case.choices, setting, (Idle::Changing, why::EVENTS_MAX)).expect("the case fails");
    let about = About { reasons: Some(why.reasons()), ..about };
    std::fs::write(&path, page(&why.story, &about)).expect("a page");
    let browser = Browser::start(1280, 900, false);
    browser.open(&path, "");
    keep("page-1280-why", &browser.picture());
}

/// Where `HENCE_PICTURES` names a folder, the picture goes there, too: the documents show it.
fn keep(name: &str, picture: &[u8]) {
    let folders = [Some(env!("CARGO_TARGET_TMPDIR").into()), std::env::var_os("HENCE_PICTURES")];
    for folder in folders.into_iter().flatten() {
        std::fs::write(PathBuf::from(folder).join(format!("{name}.png")), picture).expect("a picture");
    }
}
