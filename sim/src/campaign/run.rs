//! One run as a function: a plan goes in, a verdict comes out, whatever the subject does.

use crate::engine::choice_log::ChoiceLog;
use crate::mutants::harness::HarnessMutant;
use crate::mutants::{Mutant, Mutated};
use crate::observe::{Names, Observer};
use crate::oracle::agreement;
use crate::oracle::sign::Sign;
use crate::oracle::verdict::{Finding, Judged};
use crate::oracle::verdict::{Invariant, Verdict, Violation};
use crate::plan::Plan;
use crate::subject::Subject;
use crate::subject::baseline::Baseline;
use crate::subject::buggify::Buggify;
use crate::world::World;
use hence_checker::history::Operation;
use hence_checker::proof::Proof;
use hence_checker::{Blind, Options};
use hence_core::{Replica, Sound};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A subject with a name, so that campaigns, cases and the command line take one that this package does not know.
#[derive(Clone, Copy)]
pub struct NamedSubject {
    name: &'static str,
    run: fn(&Plan, Setting, Watch) -> (Verdict, Option<ChoiceLog>),
}

impl NamedSubject {
    /// This subject under this name, which stands in the cases that it fails. Each replica gets the default setup.
    #[must_use]
    pub const fn of<S: Subject<Setup: Default>>(name: &'static str) -> Self {
        Self { name, run: |plan, setting, watch| run_subject::<S>(plan, S::Setup::default(), setting, watch) }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }
}

impl fmt::Debug for NamedSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for NamedSubject {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for NamedSubject {}

/// What is run: the subject, and what is wrong with it or with the simulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Setting {
    /// The core's rules with one sentence replaced; none for the sound ones.
    pub mutant: Option<Mutant>,
    /// What is wrong with the simulator; none for nothing.
    pub harness_mutant: Option<HarnessMutant>,
    /// Compare everything after every step.
    pub thorough: bool,
    /// Run this subject instead of the product's replica; none for a subject of this package.
    pub subject: Option<NamedSubject>,
    /// Run the naive scheme of `baseline` instead of the product's replica.
    pub baseline: bool,
    /// Judge nothing: only to measure what judging costs.
    pub oracles_off: bool,
    /// Sound rules with a detector that doubts at random; a mutant has none.
    pub suspicious: bool,
    /// Let the history checker judge what clients saw, too.
    pub judged: bool,
    /// What is wrong with that checker; none for nothing.
    pub checker: Option<Blind>,
}

impl Setting {
    /// The name of what is run; none for the product's replica.
    #[must_use]
    pub fn subject_name(&self) -> Option<&'static str> {
        let other = self.subject.map(NamedSubject::name).or(self.mutant.map(|mutant| mutant.name()));
        other.or(self.baseline.then_some("baseline")).or(self.suspicious.then_some("suspicious"))
    }
}

/// How a run is watched.
#[derive(Debug, Default)]
pub struct Watch {
    /// Takes and records choices by name.
    pub choice_log: Option<ChoiceLog>,
    /// Sees everything that happens.
    pub observer: Option<Box<dyn Observer>>,
}

/// Runs a plan.
///
/// # Panics
/// If the plan does not pass [`Plan::check`].
#[must_use]
pub fn run(plan: &Plan, setting: Setting) -> Verdict {
    run_watched(plan, setting, Watch::default()).0
}

/// Runs a plan and returns the choices that were made, if they were recorded.
///
/// # Panics
/// If the plan does not pass [`Plan::check`].
#[must_use]
pub fn run_watched(plan: &Plan, setting: Setting, watch: Watch) -> (Verdict, Option<ChoiceLog>) {
    if let Some(subject) = setting.subject {
        return (subject.run)(plan, setting, watch);
    }
    if setting.baseline {
        return run_subject::<Baseline>(plan, (), setting, watch);
    }
    match setting.mutant {
        None if setting.suspicious => run_subject::<Replica<Buggify>>(plan, Buggify::new(plan.seed), setting, watch),
        None => run_subject::<Replica<Sound>>(plan, Sound, setting, watch),
        Some(mutant) => run_subject::<Replica<Mutated>>(plan, Mutated(mutant), setting, watch),
    }
}

/// Runs a plan over any subject. A panic of the subject is a violation.
///
/// # Panics
/// If the plan does not pass [`Plan::check`].
pub fn run_subject<S: Subject>(
    plan: &Plan,
    setup: S::Setup,
    setting: Setting,
    watch: Watch,
) -> (Verdict, Option<ChoiceLog>) {
    let mut world = World::<S>::new(plan, setup);
    world.plant(setting.harness_mutant);
    world.judge.thorough = setting.thorough;
    world.judge.off = setting.oracles_off;
    if setting.judged {
        world.watch_clients();
    }
    world.expect_doubts(setting.suspicious);
    if let Some(choice_log) = watch.choice_log {
        world.record(choice_log);
    }
    if let Some(observer) = watch.observer {
        world.observe(observer);
    }
    let mut verdict = match catch_unwind(AssertUnwindSafe(|| world.run())) {
        Ok(verdict) => verdict,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let detail = text.unwrap_or_else(|| "a panic without a message".into());
            let violation = Violation {
                invariant: Invariant::Panic,
                sign: Sign::Words(sign_of(&detail)),
                at: world.now(),
                replica: None,
                detail,
            };
            Verdict { violation: Some(violation), ..world.verdict() }
        }
    };
    if let Some(mut history) = world.take_client_history() {
        // Where a memory image was copied two writes may bear one name, and what clients see then is not promised.
        if let Some(since) = world.judge.copied.contested_since() {
            history.end_at(since);
        }
        let white = !world.judge.copied.is_so()
            && (0..world.replicas()).any(|at| world.subject(at).is_some_and(|subject| subject.probe().is_some()));
        let options = Options { blind: setting.checker, ..Options::default() };
        let truth = white.then(|| history.explanation(&world.judge.truth));
        second_opinion(&mut verdict, history.into_operations(), truth, options);
    }
    if let Some(violation) = &mut verdict.violation {
        violation.detail = Names::of(world.judge.truth.life_names()).of_oracle(&violation.detail);
    }
    (verdict, world.take_choice_log())
}

/// Asks the checker about what clients saw. Where it may not say what it says, that is the failure.
fn second_opinion(verdict: &mut Verdict, history: Vec<Operation>, truth: Option<Proof>, options: Options) {
    let compared = agreement::compare(verdict.violation.as_ref(), &history, truth.as_ref(), options);
    let mut finding = compared.as_ref().ok().copied();
    if let Err(disagreement) = compared {
        let found = agreement::violation(disagreement, verdict.violation.as_ref(), verdict.ended_at, truth.is_some());
        finding = (found.invariant != Invariant::Agreement).then_some(Finding::Convicted);
        verdict.violation = Some(found);
    }
    verdict.judged = Some(Judged { history, truth, finding });
}

/// A panic's message without its numbers: it stays the same while a case shrinks.
fn sign_of(detail: &str) -> String {
    let words: Vec<&str> = detail.split_whitespace().filter(|word| word.chars().all(char::is_alphabetic)).collect();
    words.into_iter().take(8).collect::<Vec<_>>().join("_")
}
