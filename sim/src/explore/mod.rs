//! A world to step through: back and forth, and forks in which something else happens.
//!
//! A run is a function of its plan and of what the network does with each message. So a branch is a plan with choices, run once
//! to its end, and every place in it is a moment of its story. A fork changes the plan, or one choice, at a moment. Up to
//! there it is the same run, event for event, since it is executed again exactly. Nothing here speaks HTTP.

mod change;

pub use change::Change;

use crate::campaign::case::Case;
use crate::campaign::run::{Setting, Watch, run_watched};
use crate::engine::choice_log::ChoiceLog;
use crate::observe::{Idle, Moment, Recorder, Story};
use crate::plan::Plan;
use crate::plan::network::Fate;
use std::collections::BTreeMap;
use std::fmt;

/// So many branches a session holds. A further fork is refused.
pub const BRANCHES_MAX: usize = 64;

/// Why something cannot be done, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// What to run to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The next event.
    Event,
    /// The next write that is accepted or applied.
    Write,
    /// The next message that is handed in.
    Delivery,
    /// The next fault that strikes or ends.
    Fault,
    /// The violation, or the end where there is none.
    Violation,
}

impl Until {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Event, Self::Write, Self::Delivery, Self::Fault, Self::Violation];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Write => "write",
            Self::Delivery => "delivery",
            Self::Fault => "fault",
            Self::Violation => "violation",
        }
    }

    fn is_met(self, moment: &Moment) -> bool {
        match self {
            Self::Event => true,
            Self::Write => moment.kind == "applied",
            Self::Delivery => moment.kind == "received",
            Self::Fault => matches!(moment.kind, "strikes" | "ends"),
            Self::Violation => moment.kind == "violation",
        }
    }
}

/// One run of a session.
#[derive(Debug)]
pub struct Branch {
    /// The branch and the event that it was forked at; none for the first.
    pub parent: Option<(usize, usize)>,
    /// What is different from there on, in words; empty for the first.
    pub change: String,
    /// What is run.
    pub plan: Plan,
    /// The choices that are given.
    pub choices: BTreeMap<String, Fate>,
    /// What happens in it.
    pub story: Story,
}

/// A tree of runs, and a place in it.
#[derive(Debug)]
pub struct Session {
    setting: Setting,
    idle: Idle,
    branches: Vec<Branch>,
    branch: usize,
    event: usize,
}

impl Session {
    /// Begins with this plan and these choices, at the first event. `idle` says which events there are.
    ///
    /// # Panics
    /// If the plan does not pass [`Plan::check`].
    #[must_use]
    pub fn new(plan: Plan, choices: BTreeMap<String, Fate>, setting: Setting, idle: Idle) -> Self {
        let setting = Setting { thorough: true, ..setting };
        let first = Branch::run(plan, choices, (setting, idle), None, String::new());
        Self { setting, idle, branches: vec![first], branch: 0, event: 0 }
    }

    /// All branches, the first run first.
    #[must_use]
    pub fn branches(&self) -> &[Branch] {
        &self.branches
    }

    /// Where it stands: a branch and an event in it.
    #[must_use]
    pub const fn place(&self) -> (usize, usize) {
        (self.branch, self.event)
    }

    /// The branch in which it stands.
    #[must_use]
    pub fn here(&self) -> &Branch {
        &self.branches[self.branch]
    }

    /// Goes to an event of a branch.
    ///
    /// # Errors
    /// If there is no such branch or event.
    pub fn go(&mut self, branch: usize, event: usize) -> Result<(), Refused> {
        let Some(found) = self.branches.get(branch) else {
            return Err(Refused(format!("there is no branch {branch}; there are {}", self.branches.len())));
        };
        if event >= found.story.moments.len() {
            let last = found.story.moments.len().saturating_sub(1);
            return Err(Refused(format!("branch {branch} has no event {event}; the last one is {last}")));
        }
        (self.branch, self.event) = (branch, event);
        Ok(())
    }

    /// So many events on, or back where the number is negative; no further than to the ends.
    pub fn step(&mut self, by: i64) {
        let last = self.here().story.moments.len().saturating_sub(1);
        let by_at_most = usize::try_from(by.unsigned_abs()).unwrap_or(usize::MAX);
        self.event = if by < 0 {
            self.event.saturating_sub(by_at_most)
        } else {
            self.event.saturating_add(by_at_most).min(last)
        };
    }

    /// Goes on to the next event of this kind, or to the end. Says whether there is one.
    pub fn run_to(&mut self, until: Until) -> bool {
        let moments = &self.here().story.moments;
        let next = moments.iter().enumerate().skip(self.event + 1).find(|(_, moment)| until.is_met(moment));
        let (found, last) = (next.map(|(place, _)| place), moments.len().saturating_sub(1));
        self.event = found.unwrap_or(last);
        found.is_some()
    }

    /// Forks at the event where it stands, and goes to the same event of the new branch. Returns that branch.
    ///
    /// # Errors
    /// If the change cannot be made there, or there are [`BRANCHES_MAX`] already.
    pub fn fork(&mut self, change: &Change) -> Result<usize, Refused> {
        if self.branches.len() >= BRANCHES_MAX {
            return Err(Refused(format!("there are {BRANCHES_MAX} branches, which is the most")));
        }
        let parent = self.here();
        let (plan, choices) = change.made_in(parent, self.event)?;
        if let Err(error) = plan.check() {
            return Err(Refused(error.to_string()));
        }
        let (at, text) = ((self.branch, self.event), change.to_string());
        let branch = Branch::run(plan, choices, (self.setting, self.idle), Some(at), text);
        self.event = self.event.min(branch.story.moments.len().saturating_sub(1));
        self.branches.push(branch);
        self.branch = self.branches.len() - 1;
        Ok(self.branch)
    }

    /// The branch as a case, which `replay` and `shrink` take.
    ///
    /// # Errors
    /// If it passes: a case holds a failure.
    pub fn case(&self) -> Result<Case, Refused> {
        let here = self.here();
        let passes = || Refused("this branch breaks no promise, and a case holds a failure".into());
        let mut case = Case::of_choices(&here.plan, here.choices.clone(), Setting { thorough: false, ..self.setting })
            .ok_or_else(passes)?;
        case.about = self.changes();
        Ok(case)
    }

    /// What was changed on the way to where it stands, in words.
    fn changes(&self) -> String {
        let (mut changes, mut at) = (Vec::new(), self.branch);
        while let Some((parent, event)) = self.branches[at].parent {
            changes.push(format!("at event {event}: {}", self.branches[at].change));
            at = parent;
        }
        changes.reverse();
        changes.join("; ")
    }
}

impl Branch {
    fn run(
        plan: Plan,
        choices: BTreeMap<String, Fate>,
        (setting, idle): (Setting, Idle),
        parent: Option<(usize, usize)>,
        change: String,
    ) -> Self {
        let recorder = Recorder::default();
        let choice_log = Some(ChoiceLog::following(choices));
        let watch = Watch { choice_log, observer: Some(Box::new(recorder.clone())) };
        let (verdict, choice_log) = run_watched(&plan, setting, watch);
        let story = recorder.story(&plan, verdict.violation.as_ref(), idle);
        let choices = choice_log.map(|log| log.made().clone()).unwrap_or_default();
        Self { parent, change, plan, choices, story }
    }
}
