//! Operations and answers in words, and an answer as a number for the running hash.

use crate::plan::{Act, ConditionUse, Operation, Plan, TokenUse};
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
        Reply::Refused(refusal) => 6 + *refusal as u64,
        Reply::View(addresses) => 20 + addresses.len() as u64,
        Reply::ViewAdded { listed } => 40 + u64::from(*listed),
        Reply::ViewRemoved => 42,
        Reply::ViewUnknown => 43,
        Reply::ViewLast => 44,
        Reply::Lost { token } => of(45, token),
    }
}

/// An operation in words.
#[must_use]
pub(super) fn describe(operation: &Operation) -> String {
    let act = match operation.act {
        Act::Get => format!("get k{}", operation.key),
        Act::Put(_) => format!("put k{}=\"{}.n\"", operation.key, operation.id),
        Act::Delete => format!("delete k{}", operation.key),
        Act::Erase => format!("erase k{}", operation.key),
        Act::View => "view".into(),
    };
    let mut text = format!("op{} {act} at {}", operation.id, Plan::name(operation.replica.into()));
    if operation.token != TokenUse::Keep {
        text += &format!(", token {:?}", operation.token);
    }
    if operation.condition != ConditionUse::Always {
        text += &format!(", {:?}", operation.condition);
    }
    if operation.wait > 0 {
        text += &format!(", wait {} ms", operation.wait / 1_000);
    }
    text
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
        },
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
