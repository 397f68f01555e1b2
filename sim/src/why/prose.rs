//! What is known of a failure's causes, in sentences and as JSON.

use super::named::{Named, Reason};
use super::{Cut, Factor, Thing, Weight, Why};
use crate::observe::{Story, count, list, seconds, span};
use serde_json::{Value, json};

/// So many things are named in one sentence.
const NAMED_MAX: usize = 4;

/// At most 12 sentences, the verdict first.
pub(super) fn sentences(why: &Why) -> Vec<String> {
    let mut said = why.story.blame.as_ref().map(|blame| blame.sentences.clone()).unwrap_or_default();
    said.extend(of_step(&why.story, &why.named));
    said.extend(risk(why));
    if !why.factors.is_empty() {
        said.extend(weights(why));
        said.extend(sibling(why));
    }
    said.push(format!(
        "All this rests on {} of this plan, {} in all.",
        count(why.runs, "run"),
        count(why.events, "event")
    ));
    said
}

/// A moment in words: where, what.
fn moment(story: &Story, place: usize) -> String {
    let moment = &story.moments[place];
    let (lane, text) = (moment.lane.to_string(), moment.text.trim_end());
    let peer = text.split_once(' ').and_then(|(_, rest)| rest.split_once("  "));
    match (moment.kind, peer, moment.carriage.map(|at| story.carriages[at].from)) {
        ("received", Some((from, what)), _) => format!("{lane} receives the {what} from {from}"),
        ("sent", Some((to, what)), _) => {
            format!("{lane} sends {to} the {}", what.split(" takes ").next().unwrap_or(what))
        }
        ("stream", Some((to, what)), _) => {
            format!("the connection from {lane} to {to}{}", what.trim_start_matches("connection"))
        }
        ("told", _, Some(from)) => match text.split_once(" gets") {
            Some((watch, what)) => format!("{from} tells {watch} of {lane}:{what}"),
            None => format!("{from} tells {lane}: {text}"),
        },
        _ if lane.is_empty() => text.to_owned(),
        _ => format!("{lane} {text}"),
    }
}

/// The step that decided it, and why it and no other.
#[must_use]
pub fn of_step(story: &Story, named: &Named) -> [String; 2] {
    let at = seconds(story.moments[named.moment].at);
    [format!("It was decided at {at}, when {}.", moment(story, named.moment)), reason(story, named)]
}

fn reason(story: &Story, named: &Named) -> String {
    let about = named.about.as_str();
    let replica = named.replica(story).map_or_else(|| "the replica".to_owned(), |name| name.to_string());
    match named.reason {
        Reason::Token => {
            format!("From then on the client knows {about} and its token does not say so; {replica} made that token.")
        }
        Reason::Served => {
            format!("The request's token names {about}, which {replica} lacks, and {replica} serves it all the same.")
        }
        Reason::Dependencies => {
            format!("The writer knew {about}, and {replica} did not note it among what the new write rests on.")
        }
        Reason::Applied => format!("The write says that it rests on {about}, and {replica} applies it without that."),
        Reason::NotAsked => {
            format!("{replica} asks who holds the write, and leaves out {about}, which is a member and holds it.")
        }
        Reason::KeptOpen => {
            format!("{replica} is asked there which writes are lost, and a link stays open over which one still comes.")
        }
        Reason::News => format!("{replica} takes {about} for news there, though a cut had held it up."),
        Reason::View => format!("{replica} hears there that {about} is removed, and its own view still lists it."),
        Reason::Load => format!("What {replica} holds grew there to the size that it may not have."),
        Reason::Kept => {
            format!("A link of {replica} changes there, and what waits in its causal buffer stays and waits for ever.")
        }
        Reason::Down => format!("{replica} served until then, and stops."),
        Reason::LongToken => format!("The token that {replica} made there names {about}, which was retired before."),
        Reason::Unlinked => {
            format!("{replica} and {about} have heard of each other there, and no link ever comes of it.")
        }
        Reason::Repeats => {
            format!("{replica} begins the same again there, though it brought nothing new, and never ends.")
        }
        Reason::Mixed => format!("What {replica} takes in there does not belong to the same state as what follows."),
        Reason::Rests => format!("The link of {replica} to {about} ends there, and {about} lacks a write for good."),
        Reason::Question => format!("{replica} asks there for the last time, and what it finds settles nothing."),
        Reason::Stuck => format!("{replica} changes there for the last time, and comes no further."),
        Reason::Itself => "Before this step nothing was wrong.".into(),
    }
}

fn percent(parts: u32) -> String {
    if parts.is_multiple_of(10) { format!("{}", parts / 10) } else { format!("{}.{}", parts / 10, parts % 10) }
}

fn share(cut: &Cut) -> String {
    let (low, high) = cut.interval();
    format!("{} of {} futures fail (95 %: {} to {} %)", cut.failed, cut.of, percent(low), percent(high))
}

fn risk(why: &Why) -> Vec<String> {
    let curve = &why.curve;
    let mut said = Vec::new();
    if curve.cuts.is_empty() {
        return said;
    }
    let cut = |at: Option<usize>| at.and_then(|at| curve.cuts.get(at));
    let Some(begin) = curve.cuts.first() else { return said };
    match cut(curve.first_risk) {
        Some(first) => said.push(format!(
            "At the beginning {}; the risk first grows at {}, when {}: then {} of {} fail.",
            share(begin),
            seconds(first.at),
            moment(&why.story, first.moment),
            first.failed,
            first.of
        )),
        None => said.push(format!("The plan alone carries the risk: at the beginning {}.", share(begin))),
    }
    match (cut(curve.no_return), curve.no_return) {
        (Some(_), Some(0)) => {
            said.push("There is no way back from the beginning on: whatever the network does, it fails.".into())
        }
        (Some(last), _) => said.push(format!(
            "From {} on there is no way back: after {}, every future that was tried fails.",
            seconds(last.at),
            moment(&why.story, last.moment)
        )),
        (None, _) => said.push("Up to the last step some futures pass.".into()),
    }
    said
}

/// A factor in words.
fn thing(why: &Why, factor: &Factor) -> String {
    match &factor.thing {
        Thing::Message(_) => {
            let carriage = why.story.moments[factor.moment].carriage.map(|at| &why.story.carriages[at]);
            carriage.map_or_else(String::new, |it| {
                let write = it.write.as_ref().map(|write| format!(" {write}")).unwrap_or_default();
                format!("the {}{write} #{} from {} to {}", it.name, it.id, it.from, it.to)
            })
        }
        Thing::Operation(_) => {
            let moment = &why.story.moments[factor.moment];
            format!("the request of {} ({})", moment.lane, moment.text.trim_start_matches("asks "))
        }
        Thing::Fault(id) => format!("fault{id}"),
    }
}

fn weights(why: &Why) -> Vec<String> {
    let mut said = Vec::new();
    let of = |weight: Weight| why.factors.iter().filter(|factor| factor.weight == weight).collect::<Vec<_>>();
    for (weight, ends) in [
        (Weight::Necessary, "without any one of them it passes, in every future"),
        (Weight::Contributing, "without one of them it passes, or fails more rarely"),
    ] {
        let factors = of(weight);
        if factors.is_empty() {
            continue;
        }
        // The latest stand nearest to the failure.
        let first = factors.len().saturating_sub(NAMED_MAX);
        let mut names: Vec<String> = factors[first..].iter().map(|factor| thing(why, factor)).collect();
        if first > 0 {
            names.insert(0, format!("{} (--json names all)", count(first as u64, "earlier one")));
        }
        let ends = if factors.len() == 1 {
            ends.replace("any one of them", "it").replace("one of them", "it")
        } else {
            ends.into()
        };
        said.push(format!(
            "{} {}: {}; {ends}.",
            count(factors.len() as u64, "thing"),
            match (weight, factors.len()) {
                (Weight::Necessary, 1) => "is necessary",
                (Weight::Necessary, _) => "are necessary",
                (_, 1) => "contributes",
                (..) => "contribute",
            },
            list(&names)
        ));
    }
    let irrelevant = of(Weight::Irrelevant).len() as u64;
    let left_out = match why.left_out as u64 {
        0 => String::new(),
        more => format!(" {} of the causal past were not tried.", count(more, "more event")),
    };
    if irrelevant > 0 || why.left_out > 0 {
        let are = if irrelevant == 1 { "is" } else { "are" };
        said.push(format!(
            "{} that came before {are} irrelevant: it fails without.{left_out}",
            count(irrelevant, "thing")
        ));
    }
    said
}

fn sibling(why: &Why) -> Option<String> {
    let Some(sibling) = &why.sibling else {
        return Some("No single thing that was taken away makes it pass.".into());
    };
    let factor = why.factors.iter().find(|factor| factor.thing == sibling.thing)?;
    let thing = thing(why, factor);
    let change = match (&sibling.thing, sibling.later) {
        (_, Some(later)) => format!("{thing} comes {} later", span(later)),
        (Thing::Message(_), None) => format!("{thing} is lost"),
        (Thing::Operation(_), None) => format!("{thing} is not sent"),
        (Thing::Fault(_), None) => format!("{thing} does not strike"),
    };
    Some(format!("The nearest run that passes: {change}."))
}

/// All of it. `docs/formats.md` describes it.
pub(super) fn json(why: &Why) -> Value {
    let violation = why.story.violation.as_ref();
    let at = |place: usize| why.story.moments[place].at;
    let cuts: Vec<Value> = why
        .curve
        .cuts
        .iter()
        .map(|cut| {
            let (low, high) = cut.interval();
            json!({ "event": cut.moment, "at": cut.at, "failed": cut.failed, "of": cut.of,
                "low": f64::from(low) / 1_000.0, "high": f64::from(high) / 1_000.0 })
        })
        .collect();
    let event = |cut: Option<usize>| cut.map(|cut| why.curve.cuts[cut].moment);
    let factors: Vec<Value> = why
        .factors
        .iter()
        .map(|factor| {
            json!({ "event": factor.moment, "at": at(factor.moment), "kind": factor.thing.kind(),
                "text": thing(why, factor), "name": name(&factor.thing), "weight": factor.weight.name(),
                "passes_without": factor.passes, "failed": factor.failed, "of": factor.of })
        })
        .collect();
    let sibling = why
        .sibling
        .as_ref()
        .map(|it| json!({ "event": it.moment, "kind": it.thing.kind(), "name": name(&it.thing), "later": it.later }));
    json!({ "kind": "why", "violation": violation, "fingerprint": violation.map(|it| it.fingerprint()),
        "event": why.named.moment, "at": at(why.named.moment), "replica": why.named.replica(&why.story),
        "reason": format!("{:?}", why.named.reason), "sentences": why.sentences, "cuts": cuts,
        "first_risk": event(why.curve.first_risk), "no_return": event(why.curve.no_return), "tried": factors,
        "left_out": why.left_out, "sibling": sibling, "runs": why.runs, "events": why.events })
}

fn name(thing: &Thing) -> Value {
    match thing {
        Thing::Message(name) => name.clone().into(),
        Thing::Operation(id) | Thing::Fault(id) => (*id).into(),
    }
}
