//! Several keys at once.

use super::*;
use crate::op::{BATCH_MAX, Dots};
use crate::request::{BatchAnswer, BatchOperation, BatchRequest, Match, Outcome};
use crate::vector::Dot;

fn operation(key: &str, action: Action) -> BatchOperation {
    BatchOperation { key: Key::new(key).expect("a key"), action, condition: Condition::default() }
}

pub(super) fn put(key: &str, value: &str) -> BatchOperation {
    operation(key, Action::Put(Value::new(value.as_bytes())))
}

pub(super) fn delete(key: &str) -> BatchOperation {
    operation(key, Action::Delete)
}

pub(super) fn get(key: &str) -> BatchOperation {
    operation(key, Action::Get)
}

impl World {
    fn batch(&mut self, n: u8, operations: Vec<BatchOperation>, past: &VersionVector, wait: u64) -> Option<Reply> {
        let id = RequestId(1 << 41 | self.replies.len() as u64);
        let batch = BatchRequest::new(operations, past.clone(), Micros::from_millis(wait)).expect("a batch");
        self.handle(&address(n), Input::Request { id, request: Request::Batch(Box::new(batch)) });
        self.run(wait);
        self.replies.get(&id).cloned()
    }

    fn batch_now(&mut self, n: u8, operations: Vec<BatchOperation>, past: &VersionVector) -> BatchAnswer {
        match self.batch(n, operations, past, 0) {
            Some(Reply::Batch(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// What each of these keys shows there to a client with this past.
    fn values(&mut self, n: u8, keys: &[&str], past: &VersionVector) -> Vec<Option<alloc::string::String>> {
        let answer = self.batch_now(n, keys.iter().map(|key| get(key)).collect(), past);
        let text = |outcome: &Outcome| match outcome {
            Outcome::Read(siblings) => {
                siblings.winner().map(|one| alloc::string::String::from_utf8_lossy(one.value.as_bytes()).into_owned())
            }
            Outcome::Put(_) | Outcome::Deleted(_) => panic!("a read was asked for"),
        };
        answer.outcomes.iter().map(text).collect()
    }
}

fn nothing() -> VersionVector {
    VersionVector::new()
}

#[test]
fn reads_and_writes_of_one_batch_meet_at_one_moment() {
    let mut world = World::new(3);
    world.run(1_000);
    let token = world.put(1, "a", "1", &nothing());
    let first = world.replica(1).vector().clone();
    let answer = world.batch_now(1, alloc::vec![get("b"), put("b", "2"), delete("a"), get("a"), delete("c")], &token);
    let (incarnation, counter) = first.entries().next().expect("a write");
    let of_a = Dots::from_slice(&[Dot { incarnation, counter }]);
    assert!(matches!(&answer.outcomes[0], Outcome::Read(siblings) if siblings.is_empty()), "before its writes");
    assert_eq!(answer.outcomes[1], Outcome::Put(Dots::new()));
    assert_eq!(answer.outcomes[2], Outcome::Deleted(of_a));
    assert!(matches!(&answer.outcomes[3], Outcome::Read(siblings) if siblings.len() == 1), "before its writes");
    assert_eq!(answer.outcomes[4], Outcome::Deleted(Dots::new()), "of an absent key: no error");
    let dot = answer.dot.expect("it wrote");
    assert!(answer.token.counter(dot.incarnation) == dot.counter && dot.counter == 2, "two writes, one name");
    world.run(100);
    for n in 1..=3 {
        assert_eq!(world.values(n, &["a", "b", "c"], &answer.token), [None, Some("2".into()), None]);
    }
}

#[test]
fn a_batch_that_writes_nothing_makes_no_operation() {
    let mut world = World::new(1);
    world.run(3_000);
    let token = world.put(1, "a", "1", &nothing());
    let before = world.replica(1).vector().clone();
    let answer = world.batch_now(1, alloc::vec![delete("x"), get("a")], &nothing());
    assert_eq!((answer.dot, answer.token), (None, token), "what it read is its past");
    assert_eq!(*world.replica(1).vector(), before);
}

#[test]
fn one_precondition_that_fails_leaves_all_undone() {
    let mut world = World::new(1);
    world.run(3_000);
    let token = world.put(1, "a", "1", &nothing());
    let mut tested = put("c", "3");
    tested.condition.if_none_match = Some(Match::Any);
    let mut unmet = get("a");
    unmet.condition.if_none_match = Some(Match::Any);
    let before = world.replica(1).vector().clone();
    let reply = world.batch(1, alloc::vec![put("b", "2"), tested.clone(), unmet, delete("a")], &nothing(), 0);
    assert_eq!(reply, Some(Reply::BatchFailed { index: 2, token }), "the token covers what was tested");
    assert_eq!(*world.replica(1).vector(), before);
    let answer = world.batch_now(1, alloc::vec![put("b", "2"), tested], &nothing());
    assert!(answer.dot.is_some());
}

/// A reader of what the batch wrote does not meet what its test had seen replaced.
#[test]
fn what_was_read_is_a_cause_of_what_was_written() {
    let mut world = World::new(3);
    world.run(1_000);
    let token = world.put(1, "a", "old", &nothing());
    world.run(100);
    world.cut_one_way.insert((address(1), address(3)));
    world.put(1, "a", "new", &token);
    world.run(50);
    let mut seen = get("a");
    seen.condition.if_match = Some(Match::Any);
    let answer = world.batch_now(2, alloc::vec![seen, put("b", "2")], &nothing());
    world.run(50);
    assert_eq!(world.values(3, &["b"], &nothing()), [None], "its causes are not there");
    assert_eq!(
        world.batch(3, alloc::vec![get("a"), get("b")], &answer.token, 0),
        Some(Reply::Refused(Refusal::NotCovered))
    );
    world.cut_one_way.clear();
    world.run(8_000);
    assert_eq!(world.values(3, &["a", "b"], &answer.token), [Some("new".into()), Some("2".into())]);
}

/// By push, from the log, and as part of a state: where one key shows it, all do.
#[test]
fn a_batch_comes_whole_by_every_way() {
    for (lane, log_bytes) in [("push", 1 << 20), ("log", 1 << 20), ("state", 100)] {
        let mut world = World::new(0);
        world.config.log_bytes_max = log_bytes;
        (1..=3).for_each(|n| world.start(n, 3, n));
        world.run(1_000);
        let token = world.batch_now(1, (0..10).map(|n| put(&format!("k{n}"), "old")).collect(), &nothing()).token;
        world.run(100);
        if lane != "push" {
            world.cut.insert(address(3));
        }
        let changes = (0..10).map(|n| if n % 3 == 0 { delete(&format!("k{n}")) } else { put(&format!("k{n}"), "new") });
        let answer = world.batch_now(1, changes.collect(), &token);
        world.run(100);
        world.put(1, "z", "1", &nothing());
        world.cut.clear();
        world.run(if lane == "push" { 100 } else { 9_000 });
        let keys: Vec<_> = (0..10).map(|n| format!("k{n}")).collect();
        let keys: Vec<_> = keys.iter().map(|key| key.as_str()).collect();
        let expected: Vec<_> = (0..10).map(|n| if n % 3 == 0 { None } else { Some("new".into()) }).collect();
        assert_eq!(world.values(3, &keys, &answer.token), expected, "{lane}");
        assert_eq!(world.values(3, &keys, &nothing()), expected, "{lane}");
        let digest = |n| world.replica(n).store().digest();
        assert!(digest(1).is_some() && digest(1) == digest(3), "{lane}");
    }
}

/// The largest batch, with all that follows from it, is within what one call may do, whatever else there is to do.
#[test]
fn the_largest_batch_is_within_one_call() {
    let mut world = World::new(3);
    world.run(1_000);
    let many = |value: &str| (0..BATCH_MAX).map(|n| put(&format!("k{n}"), value)).collect::<Vec<_>>();
    let mut token = nothing();
    for round in 0..20 {
        token = world.batch_now(1, many(&format!("{round}")), &token).token;
        assert!(world.replica(1).work() <= crate::replica::WORK_MAX);
    }
    world.cut.insert(address(2));
    for round in 20..40 {
        token = world.batch_now(1, many(&format!("{round}")), &token).token;
    }
    world.cut.clear();
    world.run(10_000);
    for n in 1..=3 {
        let shown = world.values(n, &["k0", "k63"], &token);
        assert_eq!(shown, [Some("39".into()), Some("39".into())], "{n}");
    }
}

#[test]
fn a_batch_waits_for_its_causes() {
    let mut world = World::new(2);
    world.run(1_000);
    world.cut.insert(address(2));
    let token = world.put(1, "a", "1", &nothing());
    let id = RequestId(7);
    let batch =
        BatchRequest::new(alloc::vec![get("a"), put("b", "2")], token, Micros::from_seconds(5)).expect("a batch");
    world.handle(&address(2), Input::Request { id, request: Request::Batch(Box::new(batch)) });
    world.run(100);
    assert_eq!((world.replies.get(&id), world.replica(2).blocked()), (None, 1));
    world.cut.clear();
    world.run(2_000);
    assert!(matches!(world.replies.get(&id), Some(Reply::Batch(answer)) if answer.dot.is_some()));
}

#[test]
fn values_that_do_not_travel_whole_are_refused() {
    let mut world = World::new(0);
    world.config.whole_bytes_max = 10;
    world.start(1, 1, 1);
    world.run(3_000);
    let refused = Some(Reply::Refused(Refusal::BatchTooLarge { bytes_max: 10 }));
    assert_eq!(world.batch(1, alloc::vec![put("a", "12345"), put("b", "123456")], &nothing(), 0), refused);
    assert!(world.batch_now(1, alloc::vec![put("a", "12345"), put("b", "12345")], &nothing()).dot.is_some());
}

/// Of two batches that do not know of each other, one wins every key that both put.
#[test]
fn one_of_two_concurrent_batches_wins_all() {
    let mut world = World::new(2);
    world.run(1_000);
    world.cut.insert(address(2));
    let keys = ["a", "b", "c", "d"];
    for n in 1..=2 {
        world.batch_now(n, keys.iter().map(|key| put(key, &format!("{n}"))).collect(), &nothing());
    }
    world.cut.clear();
    world.run(9_000);
    let shown = world.values(1, &keys, &nothing());
    assert!(shown.iter().all(|value| *value == shown[0]), "{shown:?}");
    assert_eq!(world.values(2, &keys, &nothing()), shown);
}

#[test]
fn batches_that_write_wait_until_every_member_has_a_word_for_them() {
    let mut world = World::new(0);
    let old = Formats::only(Formats::RELEASED.lowest);
    world.start(1, 2, 1);
    world.spoken.insert(address(1), Formats::RELEASED);
    world.config.formats = old;
    world.start(2, 2, 2);
    world.run(1_000);
    let two = || alloc::vec![put("a", "1"), put("b", "1")];
    let upgrading = Some(Reply::Refused(Refusal::Upgrading));
    assert_eq!(world.batch(1, two(), &nothing(), 0), upgrading);
    assert_eq!(world.batch(2, two(), &nothing(), 0), upgrading);
    assert_eq!(world.values(1, &["a", "b"], &nothing()), [None, None], "nothing was done, and reads are served");
    world.config.formats = Formats::RELEASED;
    world.start(2, 2, 9);
    world.run(3_000);
    assert!(world.batch_now(1, two(), &nothing()).dot.is_some());
}
