//! An operation in words, short enough for a line.

use super::text::short;
use super::{Action, History, NONE, Outcome, SILENT};

/// Siblings, steps or reasons of one kind that a text for people names.
pub(crate) const NAMED_MAX: usize = 8;

/// The first and the last of these, and how many are between.
pub(crate) fn few(mut all: Vec<String>, more: &str) -> Vec<String> {
    if all.len() > NAMED_MAX {
        let left_out = all.len() - NAMED_MAX;
        let middle = NAMED_MAX / 2..all.len() - NAMED_MAX / 2;
        all.splice(middle, [format!("... {left_out} {more} ...")]);
    }
    all
}

/// One operation in a few words.
pub(crate) fn summary(history: &History, at: usize) -> String {
    let key = &short(history.keys.text(history.key[at]));
    let value = &short(if history.value[at] == NONE { "" } else { history.values.text(history.value[at]) });
    let ended = match (history.outcome[at], history.status[at]) {
        (Outcome::Unknown, _) => "no answer".to_owned(),
        (Outcome::Fail, _) => "did not happen".to_owned(),
        (Outcome::Ok, status) => status.to_string(),
    };
    match (history.action[at], history.outcome[at], history.status[at]) {
        (Action::Put, Outcome::Ok, SILENT) => format!("PUT {key}={value}"),
        (Action::Delete, Outcome::Ok, SILENT) => format!("DELETE {key}"),
        (Action::Put, ..) => format!("PUT {key}={value}: {ended}"),
        (Action::Delete, ..) => format!("DELETE {key}: {ended}"),
        (Action::Get, Outcome::Ok, 200) => match history.siblings(at) {
            Some(all) => {
                let all = all.iter().map(|&value| short(history.values.text(value)).into_owned()).collect();
                format!("GET {key}: {{{}}}", few(all, "more").join(", "))
            }
            None => format!("GET {key}: {value}"),
        },
        (Action::Get, Outcome::Ok | Outcome::Fail | Outcome::Unknown, _) => format!("GET {key}: {ended}"),
    }
}
