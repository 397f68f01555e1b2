//! The step in which a planted bug first decides otherwise, and whether [`named`](super::Named) is that step.
//!
//! A planted bug replaces one rule. So the same plan is run with it and without it. Both runs are the same up to the first step
//! whose outputs differ.

use crate::campaign::run::{Setting, Watch, run_watched};
use crate::engine::choice_log::ChoiceLog;
use crate::observe::{Idle, Lane, Moment, Recorder, Story};
use crate::plan::Plan;
use crate::plan::network::Fate;
use std::collections::{BTreeMap, BTreeSet};

/// A step: its time and where it is.
type Step = (u64, Lane);

/// Where a planted bug first decides otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deviation {
    /// When, in microseconds.
    pub at: u64,
    /// Where.
    pub lane: Lane,
    /// The first thing in it that is otherwise, in words.
    pub text: String,
    /// That step, and those that handle what it put out.
    steps: BTreeSet<Step>,
}

impl Deviation {
    /// Is this moment of the story a part of the step, one of its outputs, or the handling of one?
    #[must_use]
    pub fn has(&self, story: &Story, moment: &Moment) -> bool {
        self.steps.contains(&(moment.at, moment.lane)) || self.steps.contains(&(moment.at, acts(story, moment)))
    }
}

/// Whose step a moment belongs to. What a watch is told is an output of the replica that tells it in that instant.
fn acts(story: &Story, moment: &Moment) -> Lane {
    let part = moment.carriage.filter(|_| moment.kind == "told");
    part.map_or(moment.lane, |part| story.carriages[part].from)
}

/// Compares the run with this planted bug with the sound one. None where the plan passes or nothing is planted.
///
/// # Panics
/// If the plan does not pass [`Plan::check`].
#[must_use]
pub fn deviation(plan: &Plan, choices: &BTreeMap<String, Fate>, setting: Setting) -> Option<Deviation> {
    setting.mutant?;
    let story = |setting: Setting| {
        let recorder = Recorder::default();
        let choice_log = Some(ChoiceLog::following(choices.clone()));
        let watch = Watch { choice_log, observer: Some(Box::new(recorder.clone())) };
        let (verdict, _) = run_watched(plan, setting, watch);
        recorder.story(plan, verdict.violation.as_ref(), Idle::All)
    };
    let wrong = story(Setting { thorough: true, ..setting });
    let sound = story(Setting { thorough: true, mutant: None, ..setting });
    let violation = wrong.violation.as_ref()?;
    let told = wrong.moments.len() - 1;
    // What a replica does to its own state alone is no output.
    let outputs = |story: &Story, count: usize| -> Vec<usize> {
        (0..count).filter(|&at| story.moments[at].kind != "acted").collect()
    };
    let (shown, others) = (outputs(&wrong, told), outputs(&sound, sound.moments.len()));
    let other = |number: usize| others.get(number).map(|&at| &sound.moments[at]);
    let differs = |number: &usize| {
        other(*number).is_none_or(|other| says(&wrong, &wrong.moments[shown[*number]]) != says(&sound, other))
    };
    let first = (0..shown.len()).find(differs);
    let (step, text) = match first {
        // All outputs up to the violation are the same: the step that broke the promise did it to its state.
        None => {
            let lane = violation.replica.map(Lane::Replica);
            let last = wrong.moments[..told].last().map_or(Lane::Outside, |moment| moment.lane);
            ((violation.at, lane.unwrap_or(last)), violation.detail.clone())
        }
        Some(number) => {
            let before = &wrong.moments[shown[number.saturating_sub(1)]];
            step_of((&wrong, shown[number], before), (&sound, other(number)))
        }
    };
    let mut steps = BTreeSet::from([step]);
    for carriage in &wrong.carriages {
        let is_output = carriage.sent.is_some_and(|sent| (wrong.moments[sent].at, wrong.moments[sent].lane) == step);
        if is_output {
            steps.extend(carriage.arrived.iter().map(|&at| (wrong.moments[at].at, wrong.moments[at].lane)));
        }
    }
    Some(Deviation { at: step.0, lane: step.1, text, steps })
}

/// A moment as those outside see it.
type Said<'a> = (u64, Lane, &'a str, &'a str, Option<&'a str>, Option<&'a [(String, String)]>);

/// What a moment is to those outside: not the state of the replica, but what it puts out and what clients get.
fn says<'a>(story: &'a Story, moment: &'a Moment) -> Said<'a> {
    let content = moment.carriage.map(|at| story.carriages[at].content.as_str());
    let got = matches!(moment.lane, Lane::Client(_)).then_some(moment.changes.as_slice());
    (moment.at, moment.lane, moment.kind, moment.text.as_str(), content, got)
}

/// The step that the first difference is in.
fn step_of((wrong, at, before): (&Story, usize, &Moment), (sound, other): (&Story, Option<&Moment>)) -> (Step, String) {
    let moment = &wrong.moments[at];
    // An answer that is otherwise was given otherwise.
    if moment.kind == "answered" && other.is_some_and(|other| other.kind == "answered") {
        let sent = wrong.sent_in(at).map(|sent| &wrong.moments[sent]);
        return sent
            .map_or(((moment.at, moment.lane), moment.text.clone()), |sent| ((sent.at, sent.lane), sent.text.clone()));
    }
    let acted = (before.at, acts(wrong, before));
    let goes_on = |story: &Story, next: &Moment| {
        let begins = matches!(next.kind, "received" | "takes" | "started" | "strikes" | "ends" | "asked" | "answered");
        (next.at, acts(story, next)) == acted && !begins
    };
    if goes_on(wrong, moment) || other.is_some_and(|other| goes_on(sound, other)) {
        let text = if goes_on(wrong, moment) { &moment.text } else { &before.text };
        return (acted, text.clone());
    }
    match other.filter(|other| other.at < moment.at) {
        None => ((moment.at, acts(wrong, moment)), moment.text.clone()),
        // The sound run did something there. The step that should have is the next one at that place.
        Some(other) => {
            let lane = acts(sound, other);
            let next = wrong.moments[at..].iter().find(|next| acts(wrong, next) == lane);
            next.map_or(((other.at, lane), other.text.clone()), |next| {
                ((next.at, lane), format!("not: {}", other.text))
            })
        }
    }
}
