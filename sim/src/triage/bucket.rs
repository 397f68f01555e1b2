//! What failures of one bug have in common.

use crate::observe::{Moment, Story};
use crate::plan::{Act, ConditionUse, Effect, FaultKind, Hit, OnLinks, OnProcess, Operation, Plan};
use crate::why::Named;
use std::collections::BTreeSet;
use std::fmt;

/// So many words of a step are looked at.
const WORDS_MAX: usize = 4;

/// What failures of one bug have in common. Two that are equal are taken for one bug.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket {
    /// The oracle and its sign.
    pub fingerprint: String,
    /// Why the deciding step was named, in one word.
    pub reason: String,
    /// What happens in that step, without names and numbers.
    pub step: String,
    /// The small case needs a delete.
    pub deletes: bool,
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.fingerprint, self.cause())
    }
}

impl Bucket {
    pub(super) fn named(fingerprint: &str, plan: &Plan, (story, named): (&Story, &Named)) -> Self {
        let step = step(story, &story.moments[named.moment]);
        let is_delete = |act: Act| matches!(act, Act::Delete | Act::Erase);
        let has = |it: &Operation| is_delete(it.act) || it.with.iter().any(|beside| is_delete(beside.act));
        let deletes = plan.operations.iter().any(has);
        Self {
            fingerprint: fingerprint.to_owned(),
            reason: format!("{:?}", named.reason).to_lowercase(),
            step,
            deletes,
        }
    }

    /// All of it but the oracle and its sign, as `findings.json` names it.
    #[must_use]
    pub fn cause(&self) -> String {
        let deletes = if self.deletes { ", with a delete" } else { "" };
        format!("{}: {}{deletes}", self.reason, self.step)
    }
}

/// A moment without its names and numbers: what any run of the same bug has, too.
fn step(story: &Story, moment: &Moment) -> String {
    let carried = moment.carriage.map(|at| story.carriages[at].name);
    match (moment.kind, carried) {
        ("received", Some(name)) => return format!("receives a {name}"),
        ("sent", Some(name)) => return format!("sends a {name}"),
        _ => {}
    }
    let is_status = |word: &str| moment.kind == "answered" && word.len() == 3;
    let is_plain = |word: &&str| *word != "of" && word.bytes().all(|byte| byte.is_ascii_lowercase()) || is_status(word);
    // What is quoted is a value of a client.
    let text = moment.text.split(['"', ':']).next().unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().filter(is_plain).take(WORDS_MAX).collect();
    words.join(" ")
}

/// The shape of a plan: which kinds of operations and faults are in it.
///
/// # Examples
///
/// ```
/// use hence_sim::generate::{Profile, plan};
///
/// assert!(hence_sim::triage::shape(&plan(3, Profile::Mixed)).contains("put"));
/// ```
#[must_use]
pub fn shape(plan: &Plan) -> String {
    let operations: BTreeSet<&str> = plan.operations.iter().flat_map(kinds).collect();
    let faults: BTreeSet<&str> = plan.faults.iter().map(|fault| class(fault.kind)).collect();
    let joined = |names: BTreeSet<&str>| names.into_iter().collect::<Vec<_>>().join(" ");
    match (operations.is_empty(), faults.is_empty()) {
        (true, true) => "nothing".into(),
        (true, false) => joined(faults),
        (false, true) => joined(operations),
        (false, false) => format!("{} + {}", joined(operations), joined(faults)),
    }
}

/// What an operation is, and what it asks for beside that.
fn kinds(operation: &Operation) -> Vec<&'static str> {
    let act = match operation.act {
        _ if operation.list.is_some() => "list",
        _ if operation.is_batch() => "batch",
        Act::Get | Act::View => "get",
        Act::Put(_) => "put",
        Act::Delete | Act::Erase => "delete",
    };
    let condition = (operation.condition != ConditionUse::Always).then_some("if");
    let concern = operation.concern.map(|_| "concern");
    [Some(act), condition, concern].into_iter().flatten().collect()
}

/// A kind of fault by what it does to the cluster, not by how.
fn class(kind: FaultKind) -> &'static str {
    match kind.effect() {
        Effect::Process(_, OnProcess::Crash | OnProcess::Leave)
        | Effect::Frame { hit: Hit::Sender | Hit::Receiver, .. } => "crash",
        Effect::Process(_, OnProcess::Pause | OnProcess::Suspend | OnProcess::Slow { .. })
        | Effect::Frame { hit: Hit::Pause, .. } => "stall",
        Effect::Process(_, OnProcess::Copy) => "copy",
        Effect::Process(_, OnProcess::Jump { .. }) => "jump",
        Effect::Links(_, OnLinks::Cut { .. }) | Effect::Frame { hit: Hit::Cut | Hit::Hold, .. } => "cut",
        Effect::Links(_, OnLinks::Lose { .. }) => "loss",
        Effect::View { .. } => "view",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Profile, plan};

    #[test]
    fn shapes_name_kinds_once() {
        let mut plan = plan(11, Profile::Mixed);
        plan.operations.truncate(0);
        plan.faults.truncate(0);
        assert_eq!(shape(&plan), "nothing");
        plan.operations = vec![Operation::plain(0, 0, 0, Act::Put(0)), Operation::plain(0, 0, 0, Act::Delete)];
        plan.operations[1].condition = ConditionUse::IfAbsent;
        assert_eq!(shape(&plan), "delete if put");
    }
}
