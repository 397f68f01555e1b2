//! What a replica remembers stays within limits, whatever clients and operators make up.

use super::*;
use crate::vector::VersionVector;

/// Lives that no replica has heard of.
fn unknown(from: u64, count: u64) -> VersionVector {
    let life = |n| (Incarnation::new(1, 0x77_0000_0000 + n), 1);
    VersionVector::from_entries((from..from + count).map(life))
}

/// Each round that was broken off used to add what it had asked about to what clients had asked for meanwhile.
#[test]
fn doubts_stay_within_their_limit_while_rounds_are_broken_off() {
    let mut world = World::new(3);
    world.run(1_000);
    for n in 0..40 {
        for part in 0..4 {
            let reply = world.ask(1, Action::Get, "x", &unknown(n * 2_000 + part * 500, 500), 0);
            assert_eq!(reply, Some(Reply::Refused(Refusal::NotCovered)), "{n}");
        }
        // A member whose link ends while it is asked ends the round; `handle` checks the invariants.
        let id = world.replica(1).find_peer(&address(2)).expect("a member");
        world.replicas.get_mut(&address(1)).expect("it runs").close_link(id);
        world.handle(&address(1), Input::Timeout);
        world.run(50);
    }
    let doubts = world.replica(1);
    doubts.check_invariants();
}
