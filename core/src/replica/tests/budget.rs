//! Memory has one number: what gives way, which requests are refused, and which peers are told.

use super::*;
use alloc::vec;

const VALUE: usize = 10_000;
const MAX: u64 = 392_000;

impl World {
    /// Replicas with so much memory for data each.
    fn with_memory(sizes: &[u64]) -> Self {
        let mut world = Self::new(0);
        for (n, &size) in (1..).zip(sizes) {
            world.start_with(n, sizes.len() as u8, n, size);
        }
        world.run(1_500);
        world
    }

    fn start_with(&mut self, n: u8, of: u8, seed: u8, memory_bytes_max: u64) {
        let identity = Identity { address: address(n), view: (1..=of).map(address).collect() };
        let config = Config { memory_bytes_max, ..Config::default() };
        self.replicas.insert(address(n), Replica::new(Sound, config, identity, Seed([seed; 32]), self.now()));
    }

    /// Writes a value of this size without knowing anything before. Says whether it was taken.
    fn fill(&mut self, n: u8, key: &str, bytes: usize) -> bool {
        match self.ask(n, Action::Put(Value::new(&vec![b'x'; bytes])), key, &VersionVector::new(), 0) {
            Some(Reply::Written(_)) => true,
            Some(Reply::Refused(Refusal::WriteLimit)) => false,
            other => panic!("{other:?}"),
        }
    }

    /// Writes keys until one is refused, and looks at every replica's memory after each.
    fn fill_up(&mut self, n: u8, name: &str) -> usize {
        let mut taken = 0;
        while self.fill(n, &format!("{name}{taken}"), VALUE) {
            taken += 1;
            assert!(taken < 1_000, "nothing is ever refused");
            self.run(20);
            self.all_within();
        }
        taken
    }

    fn all_within(&self) {
        for replica in self.replicas.values() {
            let memory = replica.memory();
            assert!(memory.total() <= memory.max, "{} holds {memory:?}", replica.address());
        }
    }

    fn agree(&self, members: &[u8]) -> bool {
        let digest = |&n: &u8| self.replica(n).store().digest();
        let first = digest(&members[0]);
        first.is_some() && members.iter().all(|n| digest(n) == first)
    }
}

#[test]
fn writes_that_add_are_refused_at_the_limit_and_others_are_not() {
    let mut world = World::with_memory(&[MAX; 3]);
    let taken = world.fill_up(1, "k");
    assert!((10..=12).contains(&taken), "{taken}");
    assert!(world.replica(1).memory().refuses_writes);
    for n in 1..=3 {
        assert!(!world.fill(n, &format!("other{n}"), VALUE), "{n}");
        assert!(world.fill(n, "k3", VALUE), "an overwrite of equal size at {n}");
        world.run(50);
        world.all_within();
    }
    assert!(world.fill(1, "k4", 100), "a smaller one");
    world.run(50);
    assert!(world.fill(1, "k4", VALUE) && !world.fill(1, "k4", 2 * VALUE));
    let deleted = world.ask(2, Action::Delete, "k5", &VersionVector::new(), 0);
    assert!(matches!(deleted, Some(Reply::Written(_))), "{deleted:?}");
    world.run(50);
    assert!(world.fill(3, "again", VALUE), "what was deleted makes room");
    world.run(1_000);
    assert!(world.agree(&[1, 2, 3]) && (1..=3).all(|n| world.replica(n).readiness() == Readiness::Ready));
    let reported = |refuses| world.events.iter().any(|(_, event)| *event == Event::WritesRefused(refuses));
    assert!(reported(true) && reported(false), "{:?}", world.events);
}

/// Concurrent versions of one key go together when one write replaces them.
#[test]
fn an_overwrite_counts_all_that_it_replaces() {
    let mut world = World::with_memory(&[MAX; 2]);
    world.cut.insert(address(2));
    assert!(world.fill(1, "k", VALUE) && world.fill(2, "k", VALUE));
    world.cut.clear();
    world.run(5_000);
    assert!(world.agree(&[1, 2]));
    world.fill_up(1, "more");
    assert!(world.fill(2, "k", 2 * VALUE), "it is as large as the two that it replaces");
    world.run(1_000);
    assert!(world.agree(&[1, 2]));
}

/// The log kept every old value for the dead member, and took what the process had.
#[test]
fn the_log_gives_way_where_a_member_is_dead() {
    let mut world = World::with_memory(&[MAX; 3]);
    world.replicas.remove(&address(3));
    for _ in 0..55 {
        assert!(world.fill(1, "one", VALUE));
        world.run(20);
        world.all_within();
    }
    assert!(world.replica(1).memory().log > MAX / 2, "the log uses what nobody else needs");
    world.start_with(3, 3, 9, MAX);
    world.run(3_000);
    assert!(world.agree(&[1, 2, 3]) && world.replica(3).is_ready());
    world.all_within();
}

#[test]
fn a_newcomer_takes_a_full_state_while_writes_go_on() {
    let mut world = World::with_memory(&[MAX; 3]);
    world.replicas.remove(&address(3));
    let taken = world.fill_up(1, "k");
    world.start_with(3, 3, 9, MAX);
    for n in 0..100 {
        assert!(world.fill(1, &format!("k{}", n % taken), VALUE));
        world.run(10);
        world.all_within();
    }
    world.run(1_000);
    assert!(world.agree(&[1, 2, 3]) && world.replica(3).is_ready());
}

/// Both sides of a cut replace everything that they have; neither log reaches back.
#[test]
fn two_sides_that_were_filled_apart_fit_together() {
    let mut world = World::with_memory(&[MAX; 2]);
    let taken = world.fill_up(1, "k");
    world.run(1_000);
    assert!(world.agree(&[1, 2]));
    world.cut.insert(address(2));
    for round in 0..4 {
        for key in 0..taken {
            assert!(world.fill(1, &format!("k{key}"), VALUE), "{round}");
            world.run(10);
        }
    }
    world.cut.clear();
    for _ in 0..1_000 {
        world.run(10);
        world.all_within();
    }
    assert!(world.agree(&[1, 2]));
    assert!((1..=2).all(|n| world.replica(n).readiness() == Readiness::Ready));
    world.cut.insert(address(2));
    for key in 0..taken {
        let deleted = world.ask(1, Action::Delete, &format!("k{key}"), &VersionVector::new(), 0);
        assert!(matches!(deleted, Some(Reply::Written(_))));
        let deleted = world.ask(2, Action::Delete, &format!("k{key}"), &VersionVector::new(), 0);
        assert!(matches!(deleted, Some(Reply::Written(_))));
    }
    let filled = world.fill_up(1, "a") + world.fill_up(2, "b");
    assert!(filled > 2 * 10, "{filled}");
    world.cut.clear();
    for _ in 0..1_000 {
        world.run(10);
        world.all_within();
    }
    assert!(world.agree(&[1, 2]) && world.replica(1).store().len() == filled);
}

/// Two replicas overwrite all that there is, each apart, while a third has the old values. Neither log reaches back, so
/// the third fetches two versions of everything beside what they replace.
#[test]
fn what_two_overwrote_apart_fits_beside_what_it_replaces() {
    let mut world = World::with_memory(&[MAX; 3]);
    let taken = world.fill_up(1, "k");
    world.run(1_000);
    assert!(world.agree(&[1, 2, 3]));
    world.cut.insert(address(3));
    world.cut_one_way.extend([(address(1), address(2)), (address(2), address(1))]);
    for round in 0..8 {
        for n in 1..=2 {
            for key in 0..taken {
                assert!(world.fill(n, &format!("k{key}"), VALUE), "{round}");
                world.run(10);
                world.all_within();
            }
        }
    }
    world.cut_one_way.clear();
    world.run(5_000);
    assert!(world.agree(&[1, 2]));
    let store = world.replica(1).memory().store;
    assert!(store > 9 * MAX / 16, "two versions of everything: {store}");
    world.cut.clear();
    for _ in 0..1_000 {
        world.run(10);
        world.all_within();
    }
    assert!(world.agree(&[1, 2, 3]) && world.replica(3).readiness() == Readiness::Ready);
}

/// Values on their way in pieces leave no room for overwrites that will fit. They give way, and nothing is held back.
#[test]
fn values_on_their_way_make_room_for_what_fits() {
    let mut world = World::new(0);
    world.config = Config { memory_bytes_max: MAX, whole_bytes_max: 1_000, piece_bytes: 1_000, ..Config::default() };
    (1..=3).for_each(|n| world.start(n, 3, n));
    world.run(1_500);
    let taken = world.fill_up(1, "k");
    world.run(5_000);
    assert!(world.agree(&[1, 2, 3]));
    world.network.piece_delay = 3_000;
    for round in 0..12 {
        for key in 0..taken {
            assert!(world.fill(1, &format!("k{key}"), VALUE), "{round}");
            world.run(5);
            world.all_within();
        }
    }
    world.network.piece_delay = 0;
    world.run(10_000);
    world.all_within();
    assert!(world.agree(&[1, 2, 3]) && (1..=3).all(|n| world.replica(n).readiness() == Readiness::Ready));
    let held = |(_, event): &&(Address, Event)| matches!(event, Event::HeldBack(_));
    assert_eq!(world.events.iter().find(held), None);
}

/// It stays alive, says so, and goes on when there is room.
#[test]
fn a_smaller_replica_is_held_back_and_catches_up() {
    smaller_replica(MAX);
}

/// The others' logs still hold all that was written and deleted since: more than fits, in an order that must be kept.
#[test]
fn a_smaller_replica_catches_up_though_logs_reach_it() {
    smaller_replica(4 * MAX);
}

fn smaller_replica(size: u64) {
    let mut world = World::with_memory(&[size, size, MAX / 4]);
    let taken = world.fill_up(1, "k");
    world.run(5_000);
    world.all_within();
    assert!(world.agree(&[1, 2]) && !world.agree(&[1, 3]));
    assert_eq!(world.replica(3).readiness(), Readiness::HeldBack);
    assert!(world.replica(3).is_ready(), "it serves what it has");
    assert!(world.events.contains(&(address(3), Event::HeldBack(true))));
    // The others go on, and it asks seldom.
    world.sent = 0;
    assert!(world.fill(2, "k0", VALUE));
    world.events.clear();
    world.run(60_000);
    let asked =
        world.events.iter().filter(|(at, event)| *at == address(3) && matches!(event, Event::PullStarted { .. }));
    assert!((1..=10).contains(&asked.count()), "{:?}", world.events);
    for key in 0..taken {
        world.ask(1, Action::Delete, &format!("k{key}"), &VersionVector::new(), 0);
    }
    world.run(60_000);
    world.all_within();
    assert!(world.agree(&[1, 2, 3]), "{:?}", world.replica(3).memory());
    assert_eq!(world.replica(3).readiness(), Readiness::Ready);
    assert!(world.events.contains(&(address(3), Event::HeldBack(false))));
}
