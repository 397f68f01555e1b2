//! What causal consistency means for two or three requests, checked without a look inside.
//!
//! Right after a write its metadata is shown to another replica: 503 is a good answer, the new value is, and nothing
//! else. Nothing is cut here, so a store that is only lucky may pass; `hence-sim torture` with faults is the sharp
//! test.

use super::table::wait_until;
use super::{Complaint, Rig};
use std::time::Duration;

/// How often each is tried.
const ROUNDS: usize = 60;

/// The contract's bound for a write to be visible everywhere.
const VISIBLE_MAX: Duration = Duration::from_secs(1);

/// One check: what it is, why it matters, the check.
pub(crate) type Check = (&'static str, &'static str, fn(&mut Rig, usize) -> Result<(), Complaint>);

/// All of them.
pub(crate) const CHECKS: [Check; 4] = [
    (
        "causal: a write is read at another replica, or refused until it can be",
        "A client that moves to another replica must not lose sight of its own write; 503 tells it to wait.",
        own_write,
    ),
    (
        "causal: no answer is seen without its question",
        "Whoever sees a reply must also see what it replies to, at every replica.",
        question_and_answer,
    ),
    (
        "causal: what was deleted stays away from who knows of it",
        "A value that a client has seen deleted must never come back to it.",
        deleted,
    ),
    (
        "causal: writes at the same moment end alike everywhere",
        "Replicas that have the same writes must show the same value, or they have lost one for good.",
        concurrent,
    ),
];

/// The keys that the checks write.
pub(crate) fn keys() -> Vec<String> {
    ["causal-own", "causal-question", "causal-answer", "causal-deleted", "causal-both"].map(str::to_owned).to_vec()
}

/// Runs one check as often as needed; counts its requests.
pub(crate) fn run(rig: &mut Rig, check: &Check) -> Result<usize, Complaint> {
    let before = rig.requests;
    (0..ROUNDS).try_for_each(|round| check.2(rig, round))?;
    Ok(rig.requests - before)
}

/// PUT that must be taken; returns the metadata.
fn put(rig: &mut Rig, at: usize, key: &str, value: &str, token: &str) -> Result<String, Complaint> {
    let body = format!("{{\"value\":{value},\"causal-metadata\":{token}}}");
    let came = rig.ask(at, "PUT", &format!("/kvs/{key}"), &[], Some(&body));
    let token = came.answer.as_ref().ok().filter(|answer| matches!(answer.status, 200 | 201));
    let token = token.and_then(|answer| answer.member("causal-metadata"));
    token.ok_or_else(|| came.complaint("200 or 201 with causal-metadata", "the write was not taken"))
}

/// GET that must be refused or show exactly this value, nothing for a 404; says which.
fn get(rig: &mut Rig, at: usize, key: &str, token: &str, value: Option<&str>) -> Result<bool, Complaint> {
    let came = rig.ask(at, "GET", &format!("/kvs/{key}"), &[], Some(&format!("{{\"causal-metadata\":{token}}}")));
    let expected = value.map_or_else(|| "404, or 503".into(), |value| format!("200 with {value}, or 503"));
    let Ok(answer) = &came.answer else { return Err(came.complaint(&expected, "there is no answer")) };
    let shown = answer.member("value");
    match (answer.status, value) {
        (503, _) => Ok(false),
        (200, Some(value)) if shown.as_deref() == Some(value) => Ok(true),
        (404, None) => Ok(true),
        _ => Err(came.complaint(&expected, "its metadata names a later write, and the answer is from before")),
    }
}

/// A refusal must end.
fn get_in_time(rig: &mut Rig, at: usize, key: &str, token: &str, value: Option<&str>) -> Result<(), Complaint> {
    let mut wrong = None;
    let served = wait_until(VISIBLE_MAX * 3, || match get(rig, at, key, token, value) {
        Ok(is_served) => is_served,
        Err(complaint) => {
            wrong = Some(complaint);
            true
        }
    });
    match (wrong, served) {
        (Some(complaint), _) => Err(complaint),
        (None, Some(_)) => Ok(()),
        (None, None) => {
            let came =
                rig.ask(at, "GET", &format!("/kvs/{key}"), &[], Some(&format!("{{\"causal-metadata\":{token}}}")));
            Err(came.complaint("anything but 503", "nothing is cut, and it was refused for three seconds"))
        }
    }
}

fn own_write(rig: &mut Rig, round: usize) -> Result<(), Complaint> {
    let (here, there) = (round % 3, (round + 1 + round / 3 % 2) % 3);
    let value = format!("\"own {round}\"");
    let token = put(rig, here, "causal-own", &value, "null")?;
    get_in_time(rig, there, "causal-own", &token, Some(&value))?;
    rig.settled("causal-own", &token, &value)
}

fn question_and_answer(rig: &mut Rig, round: usize) -> Result<(), Complaint> {
    let (asker, teller, reader) = (round % 3, (round + 1) % 3, (round + 2) % 3);
    let (question, answer) = (format!("\"question {round}\""), format!("\"answer {round}\""));
    let token = put(rig, asker, "causal-question", &question, "null")?;
    get_in_time(rig, teller, "causal-question", &token, Some(&question))?;
    let token = put(rig, teller, "causal-answer", &answer, &token)?;
    // A reader that knows nothing meets the answer, and then asks for the question.
    let mut met = None;
    wait_until(VISIBLE_MAX * 3, || {
        let came = rig.ask(reader, "GET", "/kvs/causal-answer", &[], Some("{\"causal-metadata\":null}"));
        let found = came.answer.ok().filter(|found| found.member("value").as_deref() == Some(&answer));
        met = found.and_then(|found| found.member("causal-metadata"));
        met.is_some()
    });
    match met {
        Some(token) => get_in_time(rig, reader, "causal-question", &token, Some(&question)),
        None => get_in_time(rig, reader, "causal-answer", &token, Some(&answer)),
    }
}

fn deleted(rig: &mut Rig, round: usize) -> Result<(), Complaint> {
    let (here, there, reader) = (round % 3, (round + 1) % 3, (round + 2) % 3);
    let value = format!("\"deleted {round}\"");
    let token = put(rig, here, "causal-deleted", &value, "null")?;
    get_in_time(rig, there, "causal-deleted", &token, Some(&value))?;
    let body = format!("{{\"causal-metadata\":{token}}}");
    let came = rig.ask(there, "DELETE", "/kvs/causal-deleted", &[], Some(&body));
    let answer = came.answer.as_ref().ok().filter(|answer| answer.status == 200);
    let token = answer.and_then(|answer| answer.member("causal-metadata"));
    let token =
        token.ok_or_else(|| came.complaint("200 with causal-metadata", "the value is there and is not deleted"))?;
    get_in_time(rig, reader, "causal-deleted", &token, None)
}

fn concurrent(rig: &mut Rig, round: usize) -> Result<(), Complaint> {
    let (one, other) = (round % 3, (round + 1) % 3);
    put(rig, one, "causal-both", &format!("\"one {round}\""), "null")?;
    put(rig, other, "causal-both", &format!("\"other {round}\""), "null")?;
    let mut last = Vec::new();
    let agreed = wait_until(VISIBLE_MAX * 2, || {
        last =
            (0..3).map(|at| rig.ask(at, "GET", "/kvs/causal-both", &[], Some("{\"causal-metadata\":null}"))).collect();
        let shown = |at: usize| last[at].answer.as_ref().ok().and_then(|answer| answer.member("value"));
        shown(0).is_some() && (1..3).all(|at| shown(at) == shown(0))
    });
    match agreed {
        Some(_) => Ok(()),
        None => {
            let each: Vec<String> = last.iter().map(super::Came::text).collect();
            Err(last[0].complaint("the same value everywhere", &format!("after 2 s they show {}", each.join("; "))))
        }
    }
}
