//! Write concern by hand: what counts, what ends a wait, and where there is no room.

use super::batches::{delete, get, put};
use super::*;
use crate::request::{BatchOperation, BatchRequest, Holders, Outcome, WriteConcern};

/// What came of a write: how many count, and whether they are enough. None while it waits.
type Spread = Option<(usize, bool)>;

impl World {
    /// A write at the first replica, which spreads for so many milliseconds at most.
    fn spread(&mut self, id: u64, holders: Holders, wait: u64) -> RequestId {
        self.spread_by(id, Action::Put(Value::new(b"1")), holders, wait)
    }

    fn spread_by(&mut self, id: u64, action: Action, holders: Holders, wait: u64) -> RequestId {
        let request = DataRequest {
            key: Key::new("x").expect("a key"),
            action,
            past: VersionVector::new(),
            wait: Micros::ZERO,
            condition: Condition::default(),
            format: Formats::RELEASED.lowest,
            concern: Some(WriteConcern { holders, wait: Micros::from_millis(wait) }),
        };
        self.handle(&address(1), Input::Request { id: RequestId(id), request: Request::Data(Box::new(request)) });
        RequestId(id)
    }

    /// A batch that spreads in the same way.
    fn spread_batch(&mut self, id: u64, operations: Vec<BatchOperation>, holders: Holders, wait: u64) -> RequestId {
        let mut batch = BatchRequest::new(operations, VersionVector::new(), Micros::ZERO).expect("a batch");
        batch.concern = Some(WriteConcern { holders, wait: Micros::from_millis(wait) });
        let request = Request::Batch(Box::new(batch));
        self.handle(&address(1), Input::Request { id: RequestId(id), request });
        RequestId(id)
    }

    fn came_of(&self, id: RequestId) -> Spread {
        self.replies.get(&id).map(|reply| {
            let Reply::Spread { holders, reached, .. } = reply else { panic!("{reply:?}") };
            (holders.len(), *reached)
        })
    }
}

fn settled() -> World {
    let mut world = World::new(3);
    world.run(1_000);
    world
}

#[test]
fn a_write_is_answered_when_it_is_everywhere_and_soon() {
    let mut world = settled();
    let all = world.spread(1, Holders::All, 5_000);
    world.run(1);
    assert_eq!(world.came_of(all), None, "it takes a way there and one back");
    world.run(1);
    assert_eq!(world.came_of(all), Some((3, true)), "without the delay of idle acknowledgements");
    let one = world.spread(2, Holders::AtLeast(1), 5_000);
    assert_eq!(world.came_of(one), Some((1, true)), "at once");
    let delete = world.spread_by(3, Action::Delete, Holders::Majority, 5_000);
    world.run(2);
    assert_eq!(world.came_of(delete), Some((2, true)), "the first answer of the others is enough");
    world.spread_by(4, Action::Delete, Holders::Majority, 5_000);
    assert!(matches!(world.replies[&RequestId(4)], Reply::Absent { .. }), "nothing was written");
}

#[test]
fn time_is_up_without_those_that_are_cut_off() {
    let mut world = settled();
    world.cut.insert(address(3));
    let (all, most) = (world.spread(1, Holders::All, 1_000), world.spread(2, Holders::Majority, 1_000));
    let uncounted = world.spread(3, Holders::All, 0);
    assert_eq!(world.came_of(uncounted), Some((1, false)), "it only counts");
    world.run(999);
    assert_eq!((world.came_of(all), world.came_of(most)), (None, Some((2, true))));
    assert_eq!(world.replica(1).blocked(), 1);
    world.run(1);
    assert_eq!(world.came_of(all), Some((2, false)));
    // Suspected, it is still one of three.
    world.run(6_000);
    let (all, most) = (world.spread(4, Holders::All, 500), world.spread(5, Holders::AtLeast(3), 500));
    world.run(500);
    assert_eq!((world.came_of(all), world.came_of(most)), (Some((2, false)), Some((2, false))));
    assert_eq!(world.replica(1).blocked(), 0);
    // Back, it counts as soon as it has caught up.
    let all = world.spread(6, Holders::All, 20_000);
    world.cut.clear();
    world.run(10_000);
    assert_eq!(world.came_of(all), Some((3, true)));
}

#[test]
fn an_operator_changes_what_a_concern_is_a_share_of() {
    let mut world = settled();
    world.spread(1, Holders::AtLeast(4), 1_000);
    assert_eq!(world.replies[&RequestId(1)], Reply::Refused(Refusal::TooFewMembers));
    assert!(matches!(world.ask(1, Action::Get, "x", &VersionVector::new(), 0), Some(Reply::Absent { .. })));
    world.cut.insert(address(3));
    let (all, three) = (world.spread(2, Holders::All, 9_000), world.spread(3, Holders::AtLeast(3), 9_000));
    world.run(100);
    let remove = |n| Input::Request { id: RequestId(90 + u64::from(n)), request: Request::ViewRemove(address(n)) };
    world.handle(&address(1), remove(3));
    assert_eq!(world.came_of(all), Some((2, true)), "two are all now");
    assert_eq!(world.came_of(three), Some((2, false)), "there will never be three");
    // The replica itself is removed: nothing more is proved here.
    world.cut.insert(address(2));
    let all = world.spread(4, Holders::All, 9_000);
    world.handle(&address(1), remove(1));
    assert_eq!(world.came_of(all), Some((0, false)));
}

#[test]
fn a_write_for_which_there_is_no_room_is_not_made() {
    let mut world = World::new(0);
    world.config.blocked_max = 2;
    (1..=3).for_each(|n| world.start(n, 3, n));
    world.run(1_000);
    world.cut.insert(address(3));
    let asked = [1, 2].map(|id| world.spread(id, Holders::All, 5_000));
    let before = world.replica(1).vector().clone();
    world.spread(3, Holders::All, 5_000);
    world.spread_by(4, Action::Delete, Holders::All, 5_000);
    for id in [3, 4] {
        assert_eq!(world.replies[&RequestId(id)], Reply::Refused(Refusal::NoRoomToWait));
    }
    assert_eq!(*world.replica(1).vector(), before, "nothing was written");
    let unasked = world.spread(5, Holders::AtLeast(1), 5_000);
    assert_eq!(world.came_of(unasked), Some((1, true)), "what need not wait needs no room");
    // A client that leaves makes room, and its write stands.
    world.handle(&address(1), Input::Cancel { id: asked[0] });
    let next = world.spread(6, Holders::All, 1_000);
    world.run(1_000);
    assert_eq!((world.came_of(next), world.came_of(asked[0])), (Some((2, false)), None));
}

/// An answer that waits needs memory beside what its own write takes up.
#[test]
fn a_write_and_its_answer_need_room_together() {
    let mut world = World::new(0);
    world.config.memory_bytes_max = 700;
    (1..=3).for_each(|n| world.start(n, 3, n));
    world.run(1_000);
    world.cut.insert(address(3));
    world.put(1, "x", "1", &VersionVector::new());
    world.spread_by(1, Action::Delete, Holders::All, 5_000);
    world.spread(2, Holders::All, 5_000);
    let memory = world.replica(1).memory();
    assert!(memory.total() <= memory.max, "{memory:?}");
    assert_eq!(world.replies.get(&RequestId(2)), Some(&Reply::Refused(Refusal::NoRoomToWait)), "{memory:?}");
    let plain = world.put(1, "x", "2", &VersionVector::new());
    assert!(!plain.is_empty(), "without an answer that waits there is room");
}

/// Another process at the same address counts once it has the write itself.
#[test]
fn a_life_that_is_over_does_not_count() {
    let mut world = settled();
    world.cut.insert(address(3));
    let all = world.spread(1, Holders::All, 9_000);
    world.run(100);
    world.cut.insert(address(2));
    world.start(2, 3, 9);
    world.run(5_000);
    let before = world.spread(2, Holders::AtLeast(2), 0);
    assert_eq!(world.came_of(before), Some((1, false)));
    world.cut.clear();
    world.cut.insert(address(3));
    world.run(5_000);
    let Some(Reply::Spread { holders, reached: false, .. }) = world.replies.get(&all) else { panic!("{all:?}") };
    assert_eq!(holders[..], [1, 2].map(|n| world.replica(n).incarnation()));
}

/// A large value comes in pieces, and its write counts when it is whole.
#[test]
fn a_large_value_spreads_too() {
    let mut world = settled();
    let value = Value::new(&alloc::vec![b'1'; 200_000]);
    let all = world.spread_by(1, Action::Put(value), Holders::All, 5_000);
    world.run(1_000);
    assert_eq!(world.came_of(all), Some((3, true)));
}

/// A peer is asked once at a time, however many writes wait for it.
#[test]
fn many_writes_ask_a_peer_once() {
    let mut world = settled();
    let all: Vec<RequestId> = (1..=20).map(|id| world.spread(id, Holders::All, 5_000)).collect();
    let asks = |world: &World| world.wire.values().filter(|(.., sent)| matches!(sent.body, Body::Probe { .. })).count();
    assert_eq!(asks(&world), 2);
    world.run(5);
    assert!(all.iter().all(|&id| world.came_of(id) == Some((3, true))), "{:?}", world.replies);
    // One that cannot answer is not asked again for what it was asked about.
    world.cut_one_way.insert((address(3), address(1)));
    world.spread(30, Holders::All, 3_000);
    world.run(1_000);
    assert_eq!(asks(&world), 0);
    assert_eq!(world.came_of(RequestId(30)), None);
}

/// Of three a majority needs one more. Where the one that is asked is silent, the other one is asked next.
#[test]
fn as_many_are_asked_as_a_concern_needs() {
    let mut world = settled();
    let asked = |world: &World| -> Vec<Address> {
        let probes = world.wire.values().filter(|(.., sent)| matches!(sent.body, Body::Probe { .. }));
        probes.map(|(_, to, _)| to.clone()).collect()
    };
    let first = world.spread(1, Holders::Majority, 5_000);
    let [silent] = <[Address; 1]>::try_from(asked(&world)).expect("one is asked");
    world.run(2);
    assert_eq!(world.came_of(first), Some((2, true)));
    world.cut_one_way.insert((silent.clone(), address(1)));
    let second = world.spread(2, Holders::Majority, 5_000);
    assert_eq!(asked(&world).as_slice(), core::slice::from_ref(&silent));
    world.run(2);
    assert_eq!(world.came_of(second), None);
    world.run(50);
    assert_eq!(world.came_of(second), Some((2, true)), "the other one acknowledges on its own");
    let third = world.spread(3, Holders::Majority, 5_000);
    let [other] = <[Address; 1]>::try_from(asked(&world)).expect("one is asked");
    assert_ne!(other, silent);
    world.run(2);
    assert_eq!(world.came_of(third), Some((2, true)));
}

#[test]
fn a_batch_is_answered_when_all_of_it_is_everywhere() {
    let mut world = settled();
    let two = || alloc::vec![get("x"), put("x", "1"), put("y", "1")];
    let all = world.spread_batch(1, two(), Holders::All, 5_000);
    world.run(1);
    assert_eq!(world.came_of(all), None, "it takes a way there and one back");
    world.run(1);
    assert_eq!(world.came_of(all), Some((3, true)));
    let answer = world.replies[&all].batch().expect("a batch");
    assert!(matches!(&answer.outcomes[0], Outcome::Read(siblings) if siblings.is_empty()), "before its own writes");
    world.spread_batch(2, two(), Holders::AtLeast(4), 5_000);
    assert_eq!(world.replies[&RequestId(2)], Reply::Refused(Refusal::TooFewMembers));
    world.cut.insert(address(3));
    let late = world.spread_batch(3, two(), Holders::All, 1_000);
    let most = world.spread_batch(4, two(), Holders::Majority, 1_000);
    world.run(999);
    assert_eq!((world.came_of(late), world.came_of(most)), (None, Some((2, true))));
    world.run(1);
    assert_eq!(world.came_of(late), Some((2, false)));
    // What writes nothing is nowhere to be.
    for (id, operation) in [(5, get("x")), (6, delete("absent"))] {
        world.spread_batch(id, alloc::vec![operation], Holders::All, 1_000);
        assert!(matches!(&world.replies[&RequestId(id)], Reply::Batch(answer) if answer.dot.is_none()));
    }
}

/// An answer that waits keeps the values that its batch read.
#[test]
fn what_a_batch_shows_counts_while_it_waits() {
    let mut world = World::new(0);
    world.config.blocked_bytes_max = 1_500;
    (1..=3).for_each(|n| world.start(n, 3, n));
    world.run(1_000);
    world.put(1, "large", &"1".repeat(1_000), &VersionVector::new());
    world.cut.insert(address(3));
    let before = world.replica(1).vector().clone();
    let reads = |times: usize| {
        let gets = (0..times).map(|_| get("large"));
        gets.chain([put("x", "1")]).collect()
    };
    world.spread_batch(1, reads(2), Holders::All, 5_000);
    assert_eq!(world.replies[&RequestId(1)], Reply::Refused(Refusal::NoRoomToWait));
    assert_eq!(*world.replica(1).vector(), before, "nothing was written");
    let one = world.spread_batch(2, reads(1), Holders::All, 5_000);
    assert_eq!((world.came_of(one), world.replica(1).blocked()), (None, 1));
    assert!(world.replica(1).blocked_bytes() > 1_000);
}
