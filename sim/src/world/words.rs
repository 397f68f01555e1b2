//! Operations and answers in words, and an answer as a number for the running hash.

use crate::plan::{Act, Beside, ConditionUse, HoldersUse, ListUse, Operation, Plan, ShapeUse, TokenUse};
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
        text += &format!(", with {} k{key}{}", act_in_words(*act), condition_in_words(*condition));
    }
    text += condition_in_words(operation.condition);
    match operation.token {
        TokenUse::Keep => {}
        TokenUse::Drop => text += ", with no token",
        TokenUse::Merge(other) => text += &format!(", with its token and that of c{other}"),
        TokenUse::Take(other) => text += &format!(", with the token of c{other}"),
        TokenUse::Save => text += ", and puts its token aside",
        TokenUse::Recall => text += ", with the token that it put aside",
    }
    match operation.concern.map(|concern| concern.holders) {
        None => {}
        Some(HoldersUse::AtLeast(least)) => text += &format!(", to be at {least} replicas"),
        Some(HoldersUse::Majority) => text += ", to be at a majority",
        Some(HoldersUse::All) => text += ", to be at all members",
    }
    if operation.wait > 0 {
        text += &format!(", wait {} ms", operation.wait / 1_000);
    }
    text
}

const fn act_in_words(act: Act) -> &'static str {
    match act {
        Act::Get => "get",
        Act::Put(_) => "put",
        Act::Delete => "delete",
        Act::Erase => "erase",
        Act::View => "view",
    }
}

const fn condition_in_words(condition: ConditionUse) -> &'static str {
    match condition {
        ConditionUse::Always => "",
        ConditionUse::IfAbsent => " if it is absent",
        ConditionUse::IfPresent => " if it is present",
        ConditionUse::IfSeen => " if it is as its client saw it",
        ConditionUse::IfChanged => " if it is not as its client saw it",
    }
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
