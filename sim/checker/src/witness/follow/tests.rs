//! Runs that are followed fit better than runs that are played as a whole, and what was undone is done again alike.

use super::Follow;
use crate::generate::{Shape, disguised};
use crate::graph::Problem;
use crate::history::History;
use crate::terms::Budget;
use crate::witness::Place;
use crate::witness::play::Play;
use crate::witness::rehearse;
use crate::witness::stage::Stage;

/// What many clients see who ask for few keys at the same time, of a store that names no versions.
fn seen(seed: u64, spreading: u64) -> History {
    let shape = Shape {
        seed,
        operations: 3_000,
        sessions: 12,
        keys: 12,
        deletes: 100_000,
        wandering: 100_000,
        unknown: 0,
        spreading,
        ..Shape::default()
    };
    History::of(&disguised(shape)).expect("a history")
}

/// Where writes are soon everywhere, nearly all fits. Where they take their time, others know better, and it ends.
#[test]
fn what_reaches_all_soon_fits() {
    for (spreading, is_soon) in [(24, true), (12, true), (3, false)] {
        let history = seen(1, spreading);
        let problem = Problem::of(&history, false).expect("it is readable");
        let stage = Stage::of(&history, &problem, Place::Replica).expect("replicas are named");
        let mut budget = Budget::default();
        let left = Follow::of(&stage, &mut budget).map(|follow| follow.faults().len());
        let (repairs, _) = rehearse(&stage, &mut budget);
        let played = Play::of(&stage, &repairs, &budget).expect("no watch").faults(&mut budget).len();
        println!("{spreading}: {left:?} of a followed run, {played} of a played one");
        assert_eq!(left.is_some_and(|left| left <= 30), is_soon, "{spreading}: {left:?}, {played} of a played one");
    }
}

#[test]
fn what_is_undone_is_done_again_alike() {
    let history = seen(7, 24);
    let problem = Problem::of(&history, false).expect("it is readable");
    let stage = Stage::of(&history, &problem, Place::Replica).expect("replicas are named");
    let mut follow = Follow::of(&stage, &mut Budget::default()).expect("the budget is large");
    let end = follow.order.len();
    let (rows, cost, joined) = (follow.rows.clone(), follow.cost.clone(), follow.joined.clone());
    for back in [1, end / 3, end] {
        follow.undo_to(end - back);
        follow.go_to(end);
        assert!(follow.rows == rows && follow.cost == cost && follow.joined == joined, "{back} back");
    }
    follow.undo_to(0);
    assert!(follow.taken.iter().all(|&taken| taken == 0) && follow.passed.iter().all(|&passed| passed == 0));
    assert!(follow.chains.iter().all(Vec::is_empty) && follow.writes.iter().all(Vec::is_empty));
}

/// A small budget ends it, and nothing comes of it.
#[test]
fn it_ends_with_its_budget() {
    let history = seen(1, 24);
    let problem = Problem::of(&history, false).expect("it is readable");
    let stage = Stage::of(&history, &problem, Place::Replica).expect("replicas are named");
    let mut budget = Budget { nodes: 5_000, ..Budget::default() };
    assert!(Follow::of(&stage, &mut budget).is_none() && budget.is_spent());
}
