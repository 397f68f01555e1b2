//! Writes, pasts, values and answers in words, for what an oracle says of them.
//!
//! A reader of a violation need not know Rust, so nothing here has the form of its debug output. A write keeps its whole name,
//! which becomes a short one where the whole run is known.

use crate::subject::Load;
use hence_core::{
    Condition, Dot, Hlc, Incarnation, Listed, Match, MemoryUse, Outcome, Refusal, Reply, Siblings, Value,
    VersionVector, View, WatchChange, WatchPart, WatchReset,
};

/// What an empty list is called.
const NOTHING: &str = "nothing";

fn joined(each: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = each.collect();
    if all.is_empty() { NOTHING.into() } else { all.join(", ") }
}

/// Writes by name: `b1.1, b1.2`.
pub(crate) fn writes<'a>(dots: impl IntoIterator<Item = &'a Dot>) -> String {
    joined(dots.into_iter().map(Dot::to_string))
}

/// A causal past by the last write of each incarnation: `a1.3, b1.1`.
pub(crate) fn past(vector: &VersionVector) -> String {
    joined(vector.entries().map(|(incarnation, counter)| Dot { incarnation, counter }.to_string()))
}

/// Lives by name.
pub(crate) fn lives<'a>(lives: impl IntoIterator<Item = &'a Incarnation>) -> String {
    joined(lives.into_iter().map(Incarnation::to_string))
}

/// A stamp: milliseconds, and its number within this one.
pub(crate) fn stamp(stamp: Hlc) -> String {
    format!("{stamp:?}")
}

/// The members of a view with the newest life that is known of each, and the addresses that were removed.
pub(crate) fn view(view: &View) -> String {
    joined(view.records().map(|record| {
        let newest = record.newest.map_or_else(|| "unmet".into(), |presence| presence.incarnation.to_string());
        let removed = if view.is_member(&record.address) { "" } else { " removed" };
        format!("{} {newest}{removed}", record.address)
    }))
}

/// A value as it was written, or that there is none.
pub(crate) fn value(value: Option<&Value>) -> String {
    value.map_or_else(|| NOTHING.into(), |value| String::from_utf8_lossy(value.as_bytes()).trim_end().to_owned())
}

/// What is displayed, or that there is none.
pub(crate) fn or_none(shown: Option<impl std::fmt::Display>) -> String {
    shown.map_or_else(|| "none".into(), |shown| shown.to_string())
}

fn matched(named: &Match) -> String {
    match named {
        Match::Any => "anything".into(),
        Match::OneOf(sets) => {
            let sets: Vec<String> = sets.iter().map(writes).collect();
            if sets.is_empty() { NOTHING.into() } else { format!("exactly {}", sets.join(" or ")) }
        }
    }
}

/// A precondition: `if it shows anything`.
pub(crate) fn condition(condition: &Condition) -> String {
    let only = condition.if_match.as_ref().map(|named| format!("if it shows {}", matched(named)));
    let unless = condition.if_none_match.as_ref().map(|named| format!("unless it shows {}", matched(named)));
    let all: Vec<String> = only.into_iter().chain(unless).collect();
    if all.is_empty() { "in any case".into() } else { all.join(" and ") }
}

/// What one operation of a batch answers.
pub(crate) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Read(siblings) => format!("that it shows {}", values(siblings)),
        Outcome::Put(dots) => format!("that the put replaced {}", writes(dots)),
        Outcome::Deleted(dots) => format!("that the delete removed {}", writes(dots)),
    }
}

/// Key by key what a page shows, and the common prefixes.
pub(crate) fn page(items: &[Listed], prefixes: &[String]) -> String {
    let item = |item: &Listed| format!("{} {}", item.key.as_str(), writes(&item.dots));
    joined(items.iter().map(item).chain(prefixes.iter().map(|prefix| format!("all below {prefix}"))))
}

/// One change that a watch is told.
pub(crate) fn change(change: &WatchChange) -> String {
    match change {
        WatchChange::Put(listed) => format!("that {} shows {}", listed.key.as_str(), writes(&listed.dots)),
        WatchChange::Delete(key) => format!("that {} is absent", key.as_str()),
    }
}

/// Why a watch begins over.
pub(crate) const fn reset(reset: WatchReset) -> &'static str {
    match reset {
        WatchReset::Forgotten => "deletes are forgotten",
        WatchReset::Lost => "writes are lost",
    }
}

/// A part that a watch is told.
pub(crate) fn part(part: &WatchPart) -> String {
    let over = part.reset.map(|why| format!("that it begins over, since {}", reset(why)));
    let mark = part.mark.as_ref().map(|mark| {
        let known = mark.known.as_ref().map_or_else(|| "nothing yet".into(), |known| past(known));
        format!("a mark that rests on {} and knows {known}", past(&mark.past))
    });
    joined(over.into_iter().chain(part.changes.iter().map(change)).chain(mark))
}

/// What a replica holds besides its store, without what it holds nothing of.
pub(crate) fn load(load: &Load) -> String {
    let counts = [
        (load.parked, "operations", "in its causal buffer"),
        (load.parked_bytes, "bytes", "of those"),
        (load.waiting, "requests", "waiting"),
        (load.waiting_bytes, "bytes", "of those"),
        (load.log_bytes, "bytes", "of log"),
    ];
    let counted = counts.into_iter().filter(|(count, ..)| *count > 0);
    let counted = counted.map(|(count, unit, place)| format!("{count} {unit} {place}"));
    let pull = load.pulling.then(|| "a pull under way".to_owned());
    joined(counted.chain(pull))
}

/// Where the bytes of a replica's data are.
pub(crate) fn memory(memory: &MemoryUse) -> String {
    let parts = [
        (memory.store, "of the store"),
        (memory.log, "of the log"),
        (memory.causal_buffer, "in the causal buffer"),
        (memory.blocked, "in waiting requests"),
        (memory.pieces, "in pieces"),
        (memory.transfer, "in a transfer"),
        (memory.watches, "for watches"),
        (memory.index, "of the index"),
    ];
    let parts = parts.into_iter().filter(|(bytes, _)| *bytes > 0).map(|(bytes, place)| format!("{bytes} {place}"));
    format!("holds {} bytes: {}", memory.total(), joined(parts))
}

fn values(siblings: &Siblings) -> String {
    let each: Vec<String> = siblings.iter().map(|sibling| value(Some(&sibling.value))).collect();
    if each.is_empty() { NOTHING.into() } else { each.join(" | ") }
}

/// An answer in words, with the token that it brings.
pub(crate) fn answer_with_token(reply: &Reply) -> String {
    let token = token_of(reply).map(|token| format!(", with a token of {}", past(token)));
    answer(reply) + &token.unwrap_or_default()
}

fn token_of(reply: &Reply) -> Option<&VersionVector> {
    match reply {
        Reply::Found { token, .. }
        | Reply::NotModified { token, .. }
        | Reply::Absent { token }
        | Reply::PreconditionFailed { token, .. }
        | Reply::BatchFailed { token, .. }
        | Reply::Lost { token } => Some(token),
        Reply::Written(written) => Some(&written.token),
        Reply::Batch(batch) => Some(&batch.token),
        Reply::Listed(page) => Some(&page.token),
        Reply::Spread { answer, .. } => token_of(answer),
        Reply::Refused(_)
        | Reply::View(_)
        | Reply::ViewAdded { .. }
        | Reply::ViewRemoved
        | Reply::ViewUnknown
        | Reply::ViewLast => None,
    }
}

/// An answer in words.
#[must_use]
pub(crate) fn answer(reply: &Reply) -> String {
    match reply {
        Reply::Found { siblings, .. } => format!("200 found {}", values(siblings)),
        Reply::NotModified { siblings, .. } => format!("304 {}", values(siblings)),
        Reply::Absent { .. } => "404 absent".into(),
        Reply::Lost { .. } => "424 lost".into(),
        Reply::Written(written) if written.superseded.is_empty() => "201 created".into(),
        Reply::Written(written) => format!("200 replaced {}", written.superseded.len()),
        Reply::PreconditionFailed { siblings, .. } => format!("412 {}", values(siblings)),
        Reply::Refused(refusal) => match refusal {
            Refusal::NotReady => "503 not ready".into(),
            Refusal::NotCovered => "503 not covered".into(),
            Refusal::Impossible => "400 impossible token".into(),
            Refusal::WriteLimit => "503 write limit".into(),
            Refusal::Upgrading => "503 upgrading".into(),
            Refusal::TooFewMembers => "400 too few members".into(),
            Refusal::NoRoomToWait => "503 no room to wait".into(),
            Refusal::BatchTooLarge { .. } => "413 batch too large".into(),
            Refusal::NoMemoryToList => "503 no memory to list".into(),
            Refusal::NoRoomToWatch => "503 no room to watch".into(),
        },
        Reply::Spread { answer, holders, reached } => {
            let summary = self::answer(answer);
            let (_, what) = summary.split_once(' ').unwrap_or_default();
            let status = if *reached { &summary[..3] } else { "202" };
            format!("{status} {what} at {}", holders.len())
        }
        Reply::Batch(answer) => format!("200 batch of {}, {}", answer.outcomes.len(), or_none(answer.dot)),
        Reply::BatchFailed { index, .. } => format!("412 operation {index}"),
        Reply::Listed(page) => {
            let keys: Vec<_> = page.items.iter().map(|item| item.key.as_str()).collect();
            let more = if page.next.is_some() { ", and more" } else { "" };
            format!("200 list of {}: {}{more}", page.count, keys.join(" "))
        }
        Reply::View(addresses) => {
            let names: Vec<_> = addresses.iter().map(hence_core::Address::as_str).collect();
            format!("200 view {}", names.join(" "))
        }
        Reply::ViewAdded { listed: true } => "200 already present".into(),
        Reply::ViewAdded { listed: false } => "201 added".into(),
        Reply::ViewRemoved => "200 removed".into(),
        Reply::ViewUnknown => "404 no such replica".into(),
        Reply::ViewLast => "409 view would be empty".into(),
    }
}
