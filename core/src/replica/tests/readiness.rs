//! When clients may be sent to a replica that started alone.

use super::*;
use crate::edge::Refused;

impl World {
    /// Replica 1 of 3 begins anew, and no packet of its passes yet.
    fn restart_cut_off(&mut self, seed: u8) {
        self.cut.insert(address(1));
        self.start(1, 3, seed);
    }

    fn unsettled(&self, n: u8) -> Unsettled {
        match self.replica(n).readiness() {
            Readiness::Provisional(unsettled) => unsettled,
            other @ (Readiness::Ready
            | Readiness::Joining
            | Readiness::Removed
            | Readiness::HeldBack
            | Readiness::Displaced) => {
                panic!("{other:?}")
            }
        }
    }

    fn is_ready(&self, n: u8) -> bool {
        self.replica(n).readiness() == Readiness::Ready
    }

    fn refuse(&mut self, n: u8, by: u8, why: Refused) {
        self.handle(&address(n), Input::Refused { by: address(by), why });
    }
}

#[test]
fn a_cluster_that_starts_together_is_ready_together() {
    let mut world = World::new(3);
    world.run(100);
    assert!((1..=3).all(|n| world.is_ready(n)), "{:#?}", world.events);
    let mut alone = World::new(1);
    alone.run(1);
    assert!(alone.is_ready(1), "with a view of itself there is nothing to wait for");
}

#[test]
fn a_late_network_delays_readiness_until_the_data_is_here() {
    let mut world = World::new(3);
    world.run(100);
    let token = world.put(2, "x", "1", &VersionVector::new());
    world.run(1_000);
    world.restart_cut_off(9);
    world.run(8_000);
    assert!(world.replica(1).is_ready(), "it serves as the contract asks");
    assert_eq!(world.unsettled(1).absent, [address(2), address(3)]);
    world.cut.clear();
    for _ in 0..3_000 {
        world.run(1);
        let is_covered = world.replica(1).causal_context().dominates(&token);
        assert!(!world.is_ready(1) || is_covered, "ready without the data");
    }
    assert!(world.is_ready(1));
    assert_eq!(world.get(1, "x", &token), Ok("1".into()));
}

#[test]
fn absent_members_delay_it_for_the_stated_time() {
    let mut world = World::new(0);
    world.start(1, 3, 1);
    world.run(20_000);
    assert_eq!(world.unsettled(1).absent, [address(2), address(3)]);
    world.run(13_000);
    assert!(world.is_ready(1));
    let unmet = [address(2), address(3)].to_vec();
    assert!(world.events.contains(&(address(1), Event::Ready { unmet })), "{:#?}", world.events);
}

#[test]
fn a_member_that_is_ready_stands_for_those_that_are_gone() {
    let mut world = World::new(3);
    world.run(100);
    world.replicas.remove(&address(3));
    world.run(6_000);
    world.start(1, 3, 9);
    world.run(200);
    assert!(world.is_ready(1), "{:?}", world.replica(1).readiness());
}

#[test]
fn a_member_that_waits_itself_stands_for_no_other() {
    let mut world = World::new(0);
    world.start(1, 3, 1);
    world.run(4_000);
    world.start(2, 3, 2);
    world.run(5_000);
    assert!(world.replica(2).is_ready());
    assert_eq!(world.unsettled(1).absent, [address(3)]);
    assert_eq!(world.unsettled(2).absent, [address(3)]);
    world.start(3, 3, 3);
    world.run(500);
    assert!((1..=3).all(|n| world.is_ready(n)), "{:#?}", world.events);
}

#[test]
fn a_member_of_another_version_is_not_absent() {
    let mut world = World::new(0);
    world.start(1, 3, 1);
    for _ in 0..60 {
        world.refuse(1, 2, Refused::Version(Formats::only(9)));
        world.run(1_000);
        assert_eq!(world.unsettled(1).versions, [address(2)]);
    }
    // It goes away: from then on it is absent, and the time for absent members is over.
    world.run(15_000);
    assert!(world.is_ready(1), "{:?}", world.replica(1).readiness());
}

#[test]
fn one_foreign_member_refused_and_several_say_that_we_are_foreign() {
    let mut world = World::new(0);
    world.start(1, 2, 1);
    world.run(1_500);
    world.refuse(1, 2, Refused::Foreign);
    assert!(world.is_ready(1));

    let mut world = World::new(0);
    world.start(1, 3, 1);
    world.run(1_500);
    world.refuse(1, 2, Refused::Foreign);
    world.refuse(1, 3, Refused::Foreign);
    world.run(60_000);
    assert_eq!(world.unsettled(1).foreign, [address(2), address(3)]);

    // With a member that was met, the foreign one is a stranger at an old member's address.
    let mut world = World::new(0);
    world.start(1, 3, 1);
    world.run(1_500);
    world.refuse(1, 3, Refused::Foreign);
    world.start(2, 2, 2);
    world.run(1_000);
    assert!(world.is_ready(1), "{:?}", world.replica(1).readiness());
}

#[test]
fn an_operator_who_removes_an_absent_member_ends_the_wait() {
    let mut world = World::new(0);
    world.start(1, 2, 1);
    world.run(2_000);
    assert_eq!(world.unsettled(1).absent, [address(2)]);
    let request = Request::ViewRemove(address(2));
    world.handle(&address(1), Input::Request { id: RequestId(1), request });
    assert!(world.is_ready(1));
}
