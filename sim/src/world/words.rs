//! Operations and answers in words, and an answer as a number for the running hash.

use crate::plan::{Act, Beside, ConditionUse, ListUse, Operation, Plan, ShapeUse, TokenUse};
use crate::random::mix;
use hence_core::{Refusal, Reply, Siblings, VersionVector};

pub(super) fn digest(reply: &Reply) -> u64 {
    let of = |kind: u64, token: &VersionVector| {
        token.entries().fold(kind, |hash, (incarnation, counter)| mix(hash, incarnation.0 ^ counter))
    };
    let shown = |siblings: &Siblings| siblings.iter().fold(0, |hash, s| mix(hash, s.dot.incarnation.0 ^ s.dot.counter));
    match reply {
        Reply::Found { siblings, token } => of(1 ^ shown(siblings), token),
        Reply::NotModified { siblings, token } => of(2 ^ shown(siblings), token),
        Reply::Absent { token } => of(3, token),
        Reply::Written(written) => of(4 ^ written.superseded.len() as u64, &written.token),
        Reply::PreconditionFailed { siblings, token } => of(5 ^ shown(siblings), token),
        Reply::Refused(refusal) => 6 + number_of(*refusal),
        Reply::Batch(answer) => of(46 ^ answer.outcomes.len() as u64, &answer.token),
        Reply::BatchFailed { index, token } => of(47 ^ (*index as u64) << 8, token),
        Reply::Listed(page) => of(48 ^ (page.count as u64) << 8 ^ (page.items.len() as u64) << 24, &page.token),
        Reply::View(addresses) => 20 + addresses.len() as u64,
        Reply::ViewAdded { listed } => 40 + u64::from(*listed),
        Reply::ViewRemoved => 42,
        Reply::ViewUnknown => 43,
        Reply::ViewLast => 44,
        Reply::Lost { token } => of(45, token),
        Reply::Spread { answer, holders, reached } => {
            holders.iter().fold(mix(digest(answer), 46 + u64::from(*reached)), |hash, holder| mix(hash, holder.0))
        }
    }
}

const fn number_of(refusal: Refusal) -> u64 {
    match refusal {
        Refusal::NotReady => 0,
        Refusal::NotCovered => 1,
        Refusal::Impossible => 2,
        Refusal::WriteLimit => 3,
        Refusal::Upgrading => 4,
        Refusal::TooFewMembers => 5,
        Refusal::NoRoomToWait => 6,
        Refusal::BatchTooLarge { .. } => 7,
        Refusal::NoMemoryToList => 8,
        Refusal::NoRoomToWatch => 9,
    }
}

/// An attempt at an operation in words.
#[must_use]
pub(super) fn describe(operation: &Operation, attempt: u8) -> String {
    let act = match operation.act {
        Act::Get => operation.list.map_or_else(|| format!("get k{}", operation.key), listing),
        Act::Put(_) => format!("put k{}=\"{}.{attempt}\"", operation.key, operation.id),
        Act::Delete => format!("delete k{}", operation.key),
        Act::Erase => format!("erase k{}", operation.key),
        Act::View => "view".into(),
    };
    let mut text = format!("op{} {act} at {}", operation.id, Plan::name(operation.replica.into()));
    for Beside { key, act, condition } in &operation.with {
        text += &format!(", with {act:?} k{key}");
        if *condition != ConditionUse::Always {
            text += &format!(" {condition:?}");
        }
    }
    if operation.token != TokenUse::Keep {
        text += &format!(", token {:?}", operation.token);
    }
    if operation.condition != ConditionUse::Always {
        text += &format!(", {:?}", operation.condition);
    }
    if let Some(concern) = operation.concern {
        text += &format!(", concern {:?}", concern.holders);
    }
    if operation.wait > 0 {
        text += &format!(", wait {} ms", operation.wait / 1_000);
    }
    text
}

/// A list in words.
fn listing(list: ListUse) -> String {
    let key = |name: &str, key: Option<u8>| key.map_or_else(String::new, |key| format!(" {name} k{key}"));
    let mut text = format!("list {}", list.limit) + &key("from", list.start) + &key("below", list.end);
    if let Some(delimiter) = list.delimiter {
        text += &format!(" up to each {delimiter}");
    }
    if list.reverse {
        text += " in reverse";
    }
    match list.shape {
        ShapeUse::Values => text,
        ShapeUse::Keys => text + ", keys only",
        ShapeUse::Count => text + ", count only",
    }
}

/// An answer in words.
#[must_use]
pub(crate) fn summary(reply: &Reply) -> String {
    let values = |siblings: &Siblings| {
        let each = siblings.iter().map(|s| String::from_utf8_lossy(s.value.as_bytes()).trim_end().to_owned());
        each.collect::<Vec<_>>().join(" | ")
    };
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
            let summary = summary(answer);
            let (_, what) = summary.split_once(' ').unwrap_or_default();
            let status = if *reached { &summary[..3] } else { "202" };
            format!("{status} {what} at {}", holders.len())
        }
        Reply::Batch(answer) => format!("200 batch of {}, {:?}", answer.outcomes.len(), answer.dot),
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
