//! Jepsen's conventions: what an operation's `:f` and `:value` mean.
//!
//! | `:f` | `:value` |
//! |---|---|
//! | `:read`, `:write` of one register | the value; a read asks with nil |
//! | `:read`, `:write` of many | `[key value]`; a read asks with `[key nil]` |
//! | either, beside a `:key` | the value |
//! | `:cas` | `[old new]`, or `[key [old new]]` |
//! | `:txn`, or any of them | `[[f key value] ...]` |

use super::value::Edn;
use crate::history::Outcome;

/// An operation that has ended, or never will.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) line: u32,
    pub(super) process: String,
    pub(super) outcome: Outcome,
    pub(super) f: Edn,
    /// The value that it was asked with, if it was.
    pub(super) invoked: Option<Edn>,
    /// The value that it ended with.
    pub(super) answered: Option<Edn>,
}

/// What an operation asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
    Delete,
    Cas,
    Transaction,
    Other,
}

/// Whether operations name their key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// There is one register.
    One,
    /// Values are pairs of a key and its value.
    Named,
}

impl Kind {
    pub(super) fn of(f: &Edn) -> Self {
        match f.keyword() {
            Some("r" | "read" | "read-init" | "get") => Self::Read,
            Some("w" | "write" | "put") => Self::Write,
            Some("d" | "delete") => Self::Delete,
            Some("cas") => Self::Cas,
            Some("txn") => Self::Transaction,
            _ => Self::Other,
        }
    }
}

impl Done {
    /// What it asks for: a list of micro-operations is a transaction, whatever its name.
    pub(super) fn kind(&self) -> Kind {
        let kind = Kind::of(&self.f);
        let is_micro = |micro: &Edn| micro.list().and_then(<[Edn]>::first).is_some_and(|f| f.keyword().is_some());
        let is_list = |value: &Edn| value.list().is_some_and(|list| !list.is_empty() && list.iter().all(is_micro));
        let named = self.f == Edn::Nil || matches!(kind, Kind::Read | Kind::Write);
        let values = [&self.invoked, &self.answered];
        if named && values.into_iter().flatten().any(is_list) { Kind::Transaction } else { kind }
    }

    /// What it says of whether operations name their key; nothing if it may be read both ways.
    pub(super) fn keys(&self) -> Option<Keys> {
        let asked = self.invoked.as_ref().filter(|value| **value != Edn::Nil);
        let said = self.answered.as_ref().filter(|value| **value != Edn::Nil && self.outcome == Outcome::Ok);
        let values = || [asked, said].into_iter().flatten();
        if values().any(|value| matches!(value, Edn::Tagged(tag, _) if is_tuple(tag))) {
            return Some(Keys::Named);
        }
        let unpaired = || values().any(|value| value.pair().is_none()).then_some(Keys::One);
        match self.kind() {
            Kind::Read => match (&self.invoked, &self.answered) {
                (Some(Edn::Nil), _) => Some(Keys::One),
                (Some(asked), _) if asked.pair().is_some_and(|(_, value)| *value == Edn::Nil) => Some(Keys::Named),
                (None, Some(Edn::Nil) | None) if self.outcome == Outcome::Ok => Some(Keys::One),
                _ => unpaired(),
            },
            Kind::Write => unpaired(),
            Kind::Cas => {
                let is_flat = values().any(|value| value.pair().is_some_and(|(_, swap)| swap.pair().is_none()));
                is_flat.then_some(Keys::One)
            }
            Kind::Delete => match (asked, said) {
                (None, None) => Some(Keys::One),
                _ => None,
            },
            Kind::Transaction | Kind::Other => None,
        }
    }
}

/// A value with the key that stands beside it, as if both were a pair.
pub(super) fn beside(key: Option<&Edn>, value: Edn) -> Edn {
    match key {
        Some(key) => Edn::Tagged("tuple".into(), Box::new(Edn::List(vec![key.clone(), value]))),
        None => value,
    }
}

/// A value without the tag of a pair.
pub(super) fn untagged(value: &Edn) -> &Edn {
    if let Edn::Tagged(tag, inner) = value
        && is_tuple(tag)
    {
        return inner;
    }
    value
}

/// A tag that Jepsen or Clojure writes before a key and its value.
pub(super) fn is_tuple(tag: &str) -> bool {
    matches!(tag.rsplit(['.', '/']).next(), Some("tuple" | "Tuple" | "MapEntry"))
}

/// What an operation belongs to that is no register, for complaints.
pub(super) fn belongs_to(f: &Edn) -> Option<&'static str> {
    Some(match f.keyword()? {
        "add" | "add-element" | "union" | "remove" => "a set or a counter",
        "inc" | "increment" | "dec" | "decrement" => "a counter",
        "enqueue" | "dequeue" | "drain" | "send" | "poll" | "subscribe" | "assign" | "crash" => "a queue or a log",
        "acquire" | "release" | "lock" | "unlock" => "a lock",
        "transfer" => "a bank",
        "append" => "lists that are appended to",
        "generate" => "unique numbers",
        "broadcast" => "a broadcast",
        _ => return None,
    })
}
