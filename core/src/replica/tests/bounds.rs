//! What a replica remembers stays within limits, whatever clients and operators make up.

use super::*;
use crate::vector::VersionVector;
use crate::view::{MemberRecord, View};

/// Incarnations that no replica has heard of.
fn unknown(from: u64, count: u64) -> VersionVector {
    let entry = |n| (Incarnation::new(1, 0x77_0000_0000 + n), 1);
    VersionVector::from_entries((from..from + count).map(entry))
}

/// Each round that was broken off used to add what it had asked about to what clients had asked for meanwhile.
#[test]
fn queries_stay_within_their_limit_while_rounds_are_broken_off() {
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
    let asker = world.replica(1);
    asker.check_invariants();
}

fn made_up(n: u32) -> Address {
    Address::parse(&format!("10.9.{}.{}:8090", n / 250, n % 250)).expect("an address")
}

impl World {
    /// An operator's order at replica 1.
    fn order(&mut self, request: Request) -> Reply {
        let id = RequestId(1 << 40 | self.replies.len() as u64);
        self.handle(&address(1), Input::Request { id, request });
        self.replies[&id].clone()
    }

    /// Messages of a stretch of time.
    fn messages(&mut self, millis: u64) -> u64 {
        let before = self.sent;
        self.run(millis);
        self.sent - before
    }
}

/// Each of them used to be dialled every two seconds for ever.
#[test]
fn removed_addresses_that_never_answered_end_in_silence() {
    let mut world = World::new(2);
    world.run(2_000);
    let idle = world.messages(60_000);
    for n in 0..1_000 {
        assert_eq!(world.order(Request::ViewAdd(made_up(n))), Reply::ViewAdded { listed: false });
        world.run(10);
        assert_eq!(world.order(Request::ViewRemove(made_up(n))), Reply::ViewRemoved);
    }
    let looking = world.messages(10_000);
    world.run(60_000);
    let after = world.messages(60_000);
    assert!(looking < 6 * idle, "{looking} messages in ten seconds");
    assert!(after <= idle + idle / 10, "{idle} messages a minute before, {after} after");
    for n in 1..=2 {
        assert!(world.replica(n).peers.len() <= View::REMOVED_MAX + 2, "{}", world.replica(n).peers.len());
        assert_eq!(world.replica(n).status().listed.len(), 2);
    }
    assert_eq!(world.replica(1).view(), world.replica(2).view());
}

/// One that was a member once is looked for as long as something may be fetched from it.
#[test]
fn a_removed_address_that_was_reached_ends_in_silence_later() {
    let mut world = World::new(3);
    world.run(1_000);
    let mut replica = world.replicas.remove(&address(3)).expect("it runs");
    world.run(10_000);
    assert_eq!(world.order(Request::ViewRemove(address(3))), Reply::ViewRemoved);
    let looking = world.messages(60_000);
    world.run(600_000);
    let silent = world.messages(60_000);
    assert!(looking > silent + 60, "{looking} messages in the first minute, {silent} in the eleventh");
    let alone = {
        let mut world = World::new(2);
        world.run(1_000);
        world.messages(60_000)
    };
    assert!(silent <= alone + alone / 10, "{silent} messages, and {alone} between two");
    // It was only cut off: it speaks first, and learns that it was removed.
    replica.handle(world.now(), Input::Timeout);
    while replica.poll_output().is_some() {}
    world.replicas.insert(address(3), replica);
    world.run(30_000);
    assert!(!world.replica(3).is_ready());
    assert_eq!(world.replica(3).view(), world.replica(1).view());
}

#[test]
fn more_addresses_than_the_view_has_room_for_are_refused() {
    let mut world = World::new(2);
    world.run(1_000);
    let refused = Reply::Refused(Refusal::WriteLimit);
    for n in 0..View::MEMBERS_MAX as u32 - 2 {
        assert_eq!(world.order(Request::ViewAdd(made_up(n))), Reply::ViewAdded { listed: false }, "{n}");
    }
    assert_eq!(world.order(Request::ViewAdd(made_up(9_999))), refused);
    assert_eq!(world.order(Request::ViewAdd(made_up(7))), Reply::ViewAdded { listed: true });
    assert_eq!(world.order(Request::ViewRemove(made_up(7))), Reply::ViewRemoved);
    assert_eq!(world.order(Request::ViewAdd(made_up(9_999))), Reply::ViewAdded { listed: false });
    assert_eq!(world.order(Request::ViewAdd(made_up(7))), refused);
    // A peer that names more than any replica keeps is not believed.
    world.events.clear();
    let records = (0..2_000).map(|n| MemberRecord { address: made_up(n), generation: 1, newest: None }).collect();
    let peer = &world.replica(2).peers[PeerId(0)];
    let (from, number, echo) = (world.replica(2).incarnation(), peer.link.number(), peer.link.echo());
    let message = Message { from, number, echo, sequence: 0, body: Body::View(records) };
    world.handle(&address(1), Input::Message { from: address(2), message });
    let dropped = |(_, event): &(Address, Event)| matches!(event, Event::Dropped { reason: DropReason::Invalid, .. });
    assert!(world.events.iter().any(dropped), "{:?}", world.events);
}

/// A dead member used to hold up the retirement of all incarnations that ended since. After 682 restarts of another one
/// a token was longer than what is accepted.
#[test]
fn tokens_stay_short_while_a_member_is_dead_and_another_restarts() {
    let mut world = World::new(3);
    world.run(1_000);
    world.replicas.remove(&address(3));
    let (mut token, mut kept, mut longest) = (VersionVector::new(), Vec::new(), 0);
    let bytes = |token: &VersionVector| crate::token::Token(token.clone()).encode(crate::ClusterTag(1)).len();
    for start in 0..700_u32 {
        token = world.put(2, "x", &format!("{start}"), &token);
        longest = longest.max(bytes(&token));
        if start % 50 == 0 {
            kept.push(token.clone());
        }
        world.run(40);
        world.replicas.remove(&address(2));
        let identity = Identity { address: address(2), view: (1..=3).map(address).collect() };
        let mut seed = [9; 32];
        seed[..4].copy_from_slice(&start.to_le_bytes());
        let replica = Replica::new(Sound, Config::default(), identity, Seed(seed), world.now());
        world.replicas.insert(address(2), replica);
        world.run(150);
        while !world.replica(2).is_ready() {
            world.run(50);
        }
    }
    std::println!("{longest} bytes at most");
    assert!(longest <= 8 << 10, "{longest} bytes");
    for past in kept.iter().chain([&token]) {
        for n in 1..=2 {
            let reply = world.ask(n, Action::Get, "x", past, 0);
            assert!(matches!(&reply, Some(Reply::Found { token, .. }) if bytes(token) <= longest), "{reply:?}");
        }
    }
}

/// Even where members are linked and lag behind, or cannot be told from such that do.
#[test]
fn tokens_stay_short_whoever_reports_nothing() {
    let mut world = World::new(2);
    world.run(1_000);
    let config = world.replica(1).config.clone();
    let replica = world.replicas.get_mut(&address(1)).expect("it runs");
    // As many incarnations as two restarts a second leave behind in ten minutes, and no report of the other member
    // since.
    for n in 0..1_200_u64 {
        replica.data.cover_unapplied(&VersionVector::from_entries([(Incarnation::new(1, 5 << 30 | n), 1)]));
    }
    world.cut_one_way.insert((address(2), address(1)));
    world.run(2_900);
    assert!(world.replica(1).vector().len() <= 2 * config.vector_max, "{}", world.replica(1).vector().len());
}

/// A dead member is looked for twice a second for a minute, and then every two seconds.
#[test]
fn a_silent_member_is_dialled_often_and_then_seldom() {
    let mut world = World::new(2);
    world.run(1_000);
    world.replicas.remove(&address(2));
    world.run(5_000);
    let (first, _, later) = (world.messages(50_000), world.messages(10_000), world.messages(60_000));
    assert!((95..=105).contains(&first), "{first} messages in 50 s");
    assert!((29..=31).contains(&later), "{later} messages a minute");
}
