//! What a fork changes: one message, one link, one process, or one request.

use super::{Branch, Refused};
use crate::observe::{Carriage, span};
use crate::plan::network::Fate;
use crate::plan::{Act, Fault, FaultKind, Operation, Plan, limits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Something that happens otherwise from an event on. Times are microseconds; replicas are letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// The message that leaves or arrives with the event never arrives; over a connection it comes late.
    Drop,
    /// It takes so much longer.
    Delay {
        /// How much.
        by: u64,
    },
    /// The links between two replicas are cut.
    Cut {
        /// One end.
        a: char,
        /// The other.
        b: char,
        /// Messages are kept and not lost.
        #[serde(default)]
        hold: bool,
        /// How long.
        span: u64,
    },
    /// A fault that is in force ends.
    Heal {
        /// Its number.
        fault: u32,
    },
    /// A process dies and starts again.
    Crash {
        /// Where.
        replica: char,
        /// How long it is down.
        span: u64,
    },
    /// A process is not run for a while.
    Pause {
        /// Where.
        replica: char,
        /// How long.
        span: u64,
    },
    /// A client sends a request.
    Request {
        /// Its number.
        client: u8,
        /// To which replica.
        replica: char,
        /// For which key, by number.
        key: u8,
        /// What: `get`, `put` or `delete`.
        act: String,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop => write!(f, "the message is lost"),
            Self::Delay { by } => write!(f, "the message comes {} later", span(*by)),
            Self::Cut { a, b, hold: true, span: long } => {
                write!(f, "the links between {a} and {b} hold back messages for {}", span(*long))
            }
            Self::Cut { a, b, hold: false, span: long } => {
                write!(f, "the links between {a} and {b} lose messages for {}", span(*long))
            }
            Self::Heal { fault } => write!(f, "fault{fault} ends"),
            Self::Crash { replica, span: long } => write!(f, "{replica} dies, and starts again {} later", span(*long)),
            Self::Pause { replica, span: long } => write!(f, "{replica} is not run for {}", span(*long)),
            Self::Request { client, replica, key, act } => write!(f, "c{client} sends {act} k{key} to {replica}"),
        }
    }
}

impl Change {
    /// The plan and the choices with this change after an event of a branch.
    pub(super) fn made_in(&self, branch: &Branch, event: usize) -> Result<(Plan, BTreeMap<String, Fate>), Refused> {
        let (mut plan, mut choices) = (branch.plan.clone(), branch.choices.clone());
        let now = branch.story.moments[event].at;
        match self {
            Self::Drop => {
                let fate = fate_of(branch, event, &mut choices)?;
                fate.lost = true;
            }
            Self::Delay { by } => {
                let fate = fate_of(branch, event, &mut choices)?;
                fate.delay = fate.delay.saturating_add(*by).min(limits::TIME_MAX);
            }
            Self::Cut { a, b, hold, span } => {
                let (a, b, hold) = (number(&plan, *a)?, number(&plan, *b)?, *hold);
                add_fault(&mut plan, now, *span, FaultKind::Pair { a, b, hold })?;
            }
            Self::Crash { replica, span } => {
                let replica = number(&plan, *replica)?;
                add_fault(&mut plan, now, *span, FaultKind::Crash { replica })?;
            }
            Self::Pause { replica, span } => {
                let replica = number(&plan, *replica)?;
                add_fault(&mut plan, now, *span, FaultKind::Pause { replica })?;
            }
            Self::Heal { fault: id } => {
                let in_force = |fault: &&mut Fault| fault.id == *id && fault.at <= now && now < fault.until;
                let fault = plan.faults.iter_mut().find(in_force);
                fault.ok_or_else(|| Refused(format!("fault{id} is not in force at this event")))?.until = now + 1;
            }
            Self::Request { client, replica, key, act } => {
                let replica = number(&plan, *replica)?;
                let act = match act.as_str() {
                    "get" => Act::Get,
                    "put" => Act::Put(0),
                    "delete" => Act::Delete,
                    other => return Err(Refused(format!("\"{other}\" is not get, put or delete"))),
                };
                before_the_heal(&plan, now)?;
                let id =
                    plan.operations.iter().map(|operation| operation.id).max().map_or(0, |id| id.saturating_add(1));
                plan.clients = plan.clients.max(client.saturating_add(1));
                plan.keys = plan.keys.max(key.saturating_add(1));
                plan.operations.push(Operation { id, at: now + 1, ..Operation::plain(*client, replica, *key, act) });
            }
        }
        Ok((plan, choices))
    }
}

/// The choice of the message that leaves or arrives with an event.
fn fate_of<'a>(
    branch: &Branch,
    event: usize,
    choices: &'a mut BTreeMap<String, Fate>,
) -> Result<&'a mut Fate, Refused> {
    let story = &branch.story;
    let is_message = |carriage: &&Carriage| !carriage.choice.is_empty();
    let carriage = story.moments[event].carriage.map(|at| &story.carriages[at]).filter(is_message);
    let carriage = carriage.ok_or_else(|| Refused(format!("event {event} is no message between replicas")))?;
    choices.get_mut(&carriage.choice).ok_or_else(|| Refused("this message has no choice to change".into()))
}

fn number(plan: &Plan, letter: char) -> Result<u8, Refused> {
    let found = (0..plan.replicas.len()).find(|&n| Plan::name(n) == letter.to_ascii_uppercase());
    found.and_then(|n| u8::try_from(n).ok()).ok_or_else(|| Refused(format!("there is no replica {letter}")))
}

fn before_the_heal(plan: &Plan, now: u64) -> Result<(), Refused> {
    if now + 1 < plan.heal_at {
        return Ok(());
    }
    Err(Refused(format!("everything is healed at {} us; nothing strikes after that", plan.heal_at)))
}

/// A fault strikes just behind an event.
fn add_fault(plan: &mut Plan, now: u64, span: u64, kind: FaultKind) -> Result<(), Refused> {
    before_the_heal(plan, now)?;
    let id = plan.faults.iter().map(|fault| fault.id).max().map_or(0, |id| id.saturating_add(1));
    let at = now + 1;
    plan.faults.push(Fault { id, at, until: at.saturating_add(span.max(1)), kind });
    Ok(())
}
