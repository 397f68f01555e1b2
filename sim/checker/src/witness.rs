//! The witness: a guess at what truly happened, made from hints, and checked like any other explanation.
//!
//! A history that names no versions says little about which delete removed a value, and about which writes a write
//! had met. A real run has one natural explanation, though: each replica took writes one after another, each origin's
//! in their order. So the run is played again. Operations are taken in an order that contains happens-before and is
//! close to the order of time. Before a replica makes a write, it takes in whatever later answers of it do not exclude.
//! What does not fit names a pair: a write that another must not have met, or must have met. The pair is noted, and the
//! run is played again.
//!
//! Times, names of replicas and the order of lines are hints and prove nothing. The result joins happens-before, as a
//! [`Certificate`] does, and the search judges it by the definition. A wrong guess costs time and no verdict.

mod blame;
mod follow;
mod play;
mod repair;
mod stage;

use crate::graph::certificate::Certificate;
use crate::graph::{Guesses, Problem};
use crate::history::{History, NONE, Outcome};
use crate::terms::{Budget, Debt, Node};
use blame::{Fault, Way};
use follow::Follow;
use play::Play;
use repair::Repairs;
use stage::Stage;
use std::collections::{BTreeMap, BTreeSet};

/// Where a write is taken to be made first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The replica that answered.
    Replica,
    /// The client that asked: each is taken for a replica of its own.
    Client,
}

impl Place {
    /// What is around a fault is left to the search: so many operations before and after it. Of a guess that holds nearly
    /// everywhere as little as possible is given up.
    const fn width(self) -> u32 {
        match self {
            Self::Replica => 32,
            Self::Client => 8,
        }
    }

    /// What lies between the operations of a contradiction is left to the search, too, if it is no more than this.
    const fn span(self) -> u32 {
        match self {
            Self::Replica => 512,
            Self::Client => 64,
        }
    }

    /// The likelier one first. Where clients are sessions the order of each one's writes is certain, and that of a replica's
    /// is guessed.
    pub(crate) fn all(history: &History, problem: &Problem) -> [Self; 2] {
        if is_by_client(history, problem) { [Self::Client, Self::Replica] } else { [Self::Replica, Self::Client] }
    }
}

/// A way to guess what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strategy {
    /// The run is followed, and mended where it does not fit.
    Follow,
    /// The run is played as a whole, again and again.
    Play(Place),
}

/// By then each strategy has led to something, or is given up, in parts of [`Watch::WHOLE`](crate::terms::Watch::WHOLE).
const UNTIL: [u32; 3] = [500, 650, 800];

impl Strategy {
    /// The likelier one first.
    fn all(history: &History, problem: &Problem) -> [Self; 3] {
        match Place::all(history, problem) {
            [Place::Client, _] => [Self::Play(Place::Client), Self::Follow, Self::Play(Place::Replica)],
            [Place::Replica, _] => [Self::Follow, Self::Play(Place::Replica), Self::Play(Place::Client)],
        }
    }

    const fn place(self) -> Place {
        match self {
            Self::Follow => Place::Replica,
            Self::Play(place) => place,
        }
    }
}

/// Whether each operation of a client follows the last one that it had an answer to.
fn is_by_client(history: &History, problem: &Problem) -> bool {
    let mut last = vec![NONE; history.clients.len()];
    (0..history.len()).all(|at| {
        let Some(last) = last.get_mut(history.client[at] as usize) else { return false };
        let before = *last;
        if history.outcome[at] == Outcome::Ok {
            *last = at as Node;
        }
        before == NONE || problem.predecessors(at as Node).any(|node| node == before)
    })
}

/// How often a run is played at most.
const ROUNDS_MAX: usize = 400;

/// Rounds without progress after which the rest is left to the search.
const PATIENCE: usize = 8;

/// It is progress if one fault in so many goes.
const PROGRESS: usize = 20;

/// How often everything is tried again, one by one.
const TURNS_MAX: u32 = 3;

/// What is mended counts as mended if less is wrong among so many operations before and after it.
const WINDOW: u32 = 64;

/// A repair that was tried, and where.
struct Tried {
    fault: (Node, Node),
    place: u32,
    way: Way,
}

/// So far around what is refuted nothing is kept of what the search guessed.
const ANEW: u32 = 128;

/// How often the search may name more that must be left to it.
const REFINED_MAX: usize = 24;

/// What is around an operation that is named again and again is left to it up to so many widths.
const REACH_MAX: u32 = 64;

/// What became of a guess.
pub(crate) enum Tested<T> {
    /// It leads to an explanation.
    Fine(T),
    /// It leads to none, because of these contradictions.
    Refuted(Vec<Vec<Node>>),
    /// The search did not end in time.
    Unknown,
}

/// What the first guess that stands the test leads to. Each strategy has half of the budget that is left.
pub(crate) fn find<T>(
    history: &History,
    problem: &Problem,
    budget: &mut Budget,
    mut test: impl FnMut(&Certificate, &mut Budget, &mut Guesses) -> Tested<T>,
) -> Option<T> {
    for (strategy, until) in Strategy::all(history, problem).into_iter().zip(UNTIL) {
        let (whole, mut part) = (budget.half(), budget.until(until));
        (part.walks, part.nodes) = (part.walks - whole.walks, part.nodes - whole.nodes);
        let (walks, nodes) = (part.walks, part.nodes);
        // To set one up takes a while already.
        if part.is_over() {
            continue;
        }
        let found = attempt(history, problem, strategy, &mut part, &mut test);
        budget.take(Budget { walks: walks - part.walks, nodes: nodes - part.nodes, watch: None });
        if found.is_some() {
            return found;
        }
    }
    None
}

/// What one strategy leads to.
fn attempt<T>(
    history: &History,
    problem: &Problem,
    strategy: Strategy,
    budget: &mut Budget,
    test: &mut impl FnMut(&Certificate, &mut Budget, &mut Guesses) -> Tested<T>,
) -> Option<T> {
    let place = strategy.place();
    let stage = Stage::of(history, problem, place)?;
    let mut loose: Vec<u32> = Vec::new();
    let mut repairs = Repairs::default();
    let (play, is_whole) = match strategy {
        Strategy::Follow => {
            let follow = Follow::of(&stage, budget)?;
            let wrong = follow.faults();
            wrong.iter().for_each(|&event| loosen(&stage, &mut loose, (place, 1), &[event]));
            (follow.into_play(&repairs), wrong.is_empty())
        }
        Strategy::Play(_) => {
            let is_whole;
            (repairs, is_whole) = rehearse(&stage, budget);
            let play = Play::of(&stage, &repairs, budget)?;
            for fault in play.faults(budget) {
                loosen(&stage, &mut loose, (place, 1), &[fault.event, fault.other]);
            }
            (play, is_whole)
        }
    };
    if is_whole && let Tested::Fine(found) = test(&play.certificate(|_| false), budget, &mut Guesses::new()) {
        return Some(found);
    }
    refine(&stage, &play, loose, place, budget, test)
}

/// What the guess leads to where all that contradicts it is left to the search.
fn refine<T>(
    stage: &Stage<'_>,
    play: &Play<'_>,
    mut loose: Vec<u32>,
    place: Place,
    budget: &mut Budget,
    test: &mut impl FnMut(&Certificate, &mut Budget, &mut Guesses) -> Tested<T>,
) -> Option<T> {
    // How far each operation that was named is known not to be the only one to blame.
    let mut reach: BTreeMap<Node, u32> = BTreeMap::new();
    let mut guesses = Guesses::new();
    for _ in 0..REFINED_MAX {
        loose.sort_unstable();
        loose.dedup();
        let near = |node: Node| around(&loose, stage.place[node as usize], place.width()) > 0;
        match test(&play.certificate(near), budget, &mut guesses) {
            Tested::Fine(found) => return Some(found),
            Tested::Unknown => return None,
            Tested::Refuted(contradictions) => {
                for nodes in &contradictions {
                    let name = nodes.first().copied().unwrap_or(NONE);
                    let wider = |reach: &mut u32| *reach = (*reach * 2).min(2 * REACH_MAX);
                    let reach = reach.entry(name).and_modify(wider).or_insert(2);
                    loosen(stage, &mut loose, (place, *reach), nodes);
                }
                // Around what was refuted everything is guessed anew.
                let mut refuted: Vec<u32> =
                    contradictions.iter().flatten().map(|&node| stage.place[node as usize]).collect();
                refuted.sort_unstable();
                let place = |debt: &Debt| stage.place[debt.event() as usize];
                guesses.retain(|debt, _| around(&refuted, place(debt), ANEW) == 0);
            }
        }
    }
    None
}

/// Leaves the operations of a contradiction to the search, and what lies between and around them.
fn loosen(stage: &Stage<'_>, loose: &mut Vec<u32>, (place, reach): (Place, u32), nodes: &[Node]) {
    let width = place.width();
    let places = nodes.iter().map(|&node| stage.place[node as usize]);
    let (Some(first), Some(last)) = (places.clone().min(), places.clone().max()) else { return };
    let around = |place: u32| {
        let far = (reach - 1).min(REACH_MAX) * width;
        (place.saturating_sub(far)..=place.saturating_add(far)).step_by(width as usize)
    };
    loose.extend(places.flat_map(around));
    if last - first <= place.span() {
        loose.extend((first..last).step_by(width as usize));
    }
}

/// Plays the run until nothing is wrong or nothing helps; the repairs with which the least was wrong, and whether that
/// was nothing.
fn rehearse(stage: &Stage<'_>, budget: &mut Budget) -> (Repairs, bool) {
    let (mut repairs, mut turns) = (Repairs::default(), 0);
    let mut best: Option<(usize, Repairs)> = None;
    let (mut idle, mut goal, mut before, mut tried) = (0, usize::MAX, Vec::new(), Vec::<Tried>::new());
    // What was tried for a fault is not tried for it again.
    let mut known: BTreeSet<(Node, Node, Way)> = BTreeSet::new();
    for _ in 0..ROUNDS_MAX {
        if !budget.spend(stage.problem.nodes() as u64 * 4) {
            break;
        }
        let Some(play) = Play::of(stage, &repairs, budget) else { break };
        let faults = play.faults(budget);
        if budget.is_spent() {
            break; // they are not all
        }
        let places = places(stage, &faults);
        idle = if faults.len() + faults.len() / PROGRESS < goal { 0 } else { idle + 1 };
        if idle == 0 {
            goal = faults.len();
        }
        if best.as_ref().is_none_or(|&(fewest, _)| faults.len() < fewest) {
            best = Some((faults.len(), repairs.clone()));
        }
        if faults.is_empty() || idle > PATIENCE {
            break;
        }
        let is_left = |tried: &Tried| faults.iter().any(|fault| (fault.event, fault.other) == tried.fault);
        let failed = |tried: &Tried| {
            let (had, has) = (around(&before, tried.place, WINDOW), around(&places, tried.place, WINDOW));
            has > had || has == had && is_left(tried)
        };
        let worse: Vec<Tried> = tried.drain(..).filter(failed).collect();
        if !worse.is_empty() {
            worse.iter().flat_map(|tried| &tried.way).for_each(|&repair| repairs.remove(repair));
            continue;
        }
        let mut last = None;
        for fault in &faults {
            // Later each is tried alone in its window, so that none answers for another.
            let here = stage.place[fault.event as usize];
            if turns > 0 && last.is_some_and(|last: u32| here.abs_diff(last) <= 2 * WINDOW) {
                continue;
            }
            let name = (fault.event, fault.other);
            let mut fresh = fault.ways.iter().filter(|way| !way.iter().all(|&repair| repairs.has(repair)));
            let Some(way) = fresh.find(|&way| known.insert((name.0, name.1, way.clone()))) else { continue };
            way.iter().for_each(|&repair| repairs.add(repair));
            last = Some(here);
            tried.push(Tried { fault: name, place: here, way: way.clone() });
        }
        if tried.is_empty() {
            turns += 1;
            known.clear();
            if turns > TURNS_MAX {
                break;
            }
        }
        before = places;
    }
    best.map_or_else(Default::default, |(count, repairs)| (repairs, count == 0))
}

/// Where the faults are, in order.
fn places(stage: &Stage<'_>, faults: &[Fault]) -> Vec<u32> {
    let mut places: Vec<u32> = faults.iter().map(|fault| stage.place[fault.event as usize]).collect();
    places.sort_unstable();
    places
}

/// How many faults there are near a place.
fn around(places: &[u32], place: u32, width: u32) -> usize {
    let first = places.partition_point(|&other| other < place.saturating_sub(width));
    places.partition_point(|&other| other <= place + width) - first
}
