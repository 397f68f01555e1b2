//! Why a run broke a promise: causes by counterfactuals, from exact re-execution.
//!
//! A run is a function of its plan and of what the network does with each message. So the same run can be repeated with one
//! thing less, or up to some moment and with another future. How often the promise is broken then says what the failure
//! rests on. Beside that, `named` walks back from what the oracle saw to the step that first decided it.
//!
//! Nothing here knows which rule is broken. `truth` does, for planted bugs, and measures how often `named` is right.

mod curve;
mod factors;
mod known;
mod named;
mod prose;
mod runs;
mod sibling;
pub mod truth;

pub use curve::{Curve, Cut};
pub use factors::{Factor, Thing, Weight};
pub use named::{Named, Reason};
pub use prose::of_step;
pub use sibling::Sibling;

use crate::campaign::run::{Setting, Watch, run_watched};
use crate::engine::choice_log::ChoiceLog;
use crate::observe::{Idle, Reasons, Recorder, Story};
use crate::plan::Plan;
use crate::plan::network::Fate;
use runs::Runs;
pub(crate) use runs::wilson;
use std::collections::BTreeMap;

/// What all runs of one question cost together at most, where nothing else is said: inputs of replicas and answers of clients.
pub const EVENTS_MAX: u64 = 4_000_000;

/// What is known of a failure's causes.
#[derive(Debug, Clone)]
pub struct Why {
    /// The run that is explained.
    pub story: Story,
    /// The step that decided it.
    pub named: Named,
    /// How sure the failure was at each moment.
    pub curve: Curve,
    /// What was taken away, and what it counts for.
    pub factors: Vec<Factor>,
    /// So many events of the causal past were not taken away, since there are too many.
    pub left_out: usize,
    /// The smallest change that makes it pass, if one was found.
    pub sibling: Option<Sibling>,
    /// At most 12 sentences.
    pub sentences: Vec<String>,
    /// Runs that all this rests on.
    pub runs: u64,
    /// What they cost: inputs of replicas and answers of clients.
    pub events: u64,
}

/// The failing run itself.
struct Told {
    story: Story,
    fingerprint: String,
    made: BTreeMap<String, Fate>,
    sent: Vec<(u64, String)>,
    events: u64,
}

fn told(plan: &Plan, choices: &BTreeMap<String, Fate>, setting: Setting, idle: Idle) -> Option<Told> {
    let recorder = Recorder::default();
    let choice_log = Some(ChoiceLog::following(choices.clone()));
    let watch = Watch { choice_log, observer: Some(Box::new(recorder.clone())) };
    let (verdict, choice_log) = run_watched(plan, Setting { thorough: true, ..setting }, watch);
    let violation = verdict.violation.as_ref()?;
    let story = recorder.story(plan, Some(violation), idle);
    let made = choice_log.map(|log| log.made().clone()).unwrap_or_default();
    Some(Told { story, fingerprint: violation.fingerprint(), made, sent: recorder.choices(), events: verdict.events })
}

/// The step that decided the failure, without asking what it rests on; none where the plan passes.
///
/// # Panics
/// If the plan does not pass [`Plan::check`].
#[must_use]
pub fn decided(plan: &Plan, choices: &BTreeMap<String, Fate>, setting: Setting) -> Option<(Story, Named)> {
    let story = told(plan, choices, setting, Idle::Changing)?.story;
    let named = named::named(&story);
    Some((story, named))
}

/// Explains why this plan fails with these choices; none where it passes. The result is a function of what is given. All runs
/// together have `budget` events at most and those of one run more. With no budget only the step is named.
///
/// # Panics
/// If the plan does not pass [`Plan::check`].
#[must_use]
pub fn why(
    plan: &Plan,
    choices: &BTreeMap<String, Fate>,
    setting: Setting,
    (idle, budget): (Idle, u64),
) -> Option<Why> {
    let Told { story, fingerprint, made, sent, events } = told(plan, choices, setting, idle)?;
    let setting = Setting { thorough: true, ..setting };
    let mut runs = Runs::new(plan, setting, fingerprint, (made, sent), (events, budget));
    let (candidates, left_out) = factors::candidates(&story, plan);
    let curve = curve::curve(&story, &mut runs, candidates.len());
    let factors = factors::weigh(&story, candidates, &curve, &mut runs);
    let sibling = sibling::nearest(&story, &factors, &mut runs);
    let named = named::named(&story);
    let mut why = Why {
        story,
        named,
        curve,
        factors,
        left_out,
        sibling,
        sentences: Vec::new(),
        runs: runs.done,
        events: runs.events,
    };
    why.sentences = prose::sentences(&why);
    Some(why)
}

impl Why {
    /// What the page shows of it.
    #[must_use]
    pub fn reasons(&self) -> Reasons {
        let weights = self.factors.iter().map(|factor| (factor.moment, factor.weight.name())).collect();
        let cuts = self.curve.cuts.iter().map(|cut| (cut.moment, cut.failed, cut.of)).collect();
        Reasons { sentences: self.sentences.clone(), named: self.named.moment, weights, cuts }
    }

    /// All of it for programs. `docs/formats.md` describes it.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        prose::json(self)
    }
}
