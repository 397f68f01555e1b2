//! Large values travel in pieces that are kept.

use super::*;
use crate::message::Body;
use crate::vector::Dot;
use std::string::String;

const LARGE: usize = 600_000;

fn text(length: usize, salt: u8) -> String {
    (0..length).map(|at| char::from(b'a' + ((at / 7 + at / 1_000) as u8 ^ salt) % 26)).collect()
}

/// What becomes of messages, beyond cuts.
#[derive(Default)]
pub(super) struct Network {
    /// Every so manieth is lost.
    lose_every: u64,
    /// What this replica says waits until then.
    held_up: Option<(Address, u64)>,
    /// A piece takes so long, and what is behind it waits.
    pub(super) piece_delay: u64,
    /// Messages to this replica take so much longer.
    slow: Option<(Address, u64)>,
    free: BTreeMap<(Address, Address), u64>,
    pieces: Vec<(Address, usize)>,
    largest: usize,
    /// What was last said to each.
    last: BTreeMap<Address, Message>,
}

impl Network {
    /// When it arrives, if it does.
    pub(super) fn takes(
        &mut self,
        now: u64,
        number: u64,
        (from, to): (&Address, &Address),
        what: &Message,
    ) -> Option<u64> {
        let bytes = if let Body::Push { op, .. } = &what.body {
            op.bytes()
        } else if let Body::Piece { bytes, .. } = &what.body {
            bytes.as_bytes().len()
        } else {
            0
        };
        self.largest = self.largest.max(bytes);
        if self.lose_every > 0 && number.is_multiple_of(self.lose_every) {
            return None;
        }
        let until = self.held_up.as_ref().filter(|(held, _)| held == from).map_or(0, |&(_, until)| until);
        let takes = if matches!(what.body, Body::Piece { .. }) { self.piece_delay } else { 0 };
        let free = self.free.entry((from.clone(), to.clone())).or_default();
        *free = (now + 1_000).max(*free).max(until) + takes;
        let slow = self.slow.as_ref().filter(|(slow, _)| slow == to).map_or(0, |&(_, by)| by);
        Some(*free + slow)
    }

    pub(super) fn delivers(&mut self, to: &Address, message: &Message) {
        if let Body::Piece { bytes, .. } = &message.body {
            self.pieces.push((to.clone(), bytes.as_bytes().len()));
        }
        self.last.insert(to.clone(), message.clone());
    }
}

impl World {
    /// Bytes of values that were handed in at a replica in pieces.
    fn piece_bytes(&self, n: u8) -> usize {
        self.network.pieces.iter().filter(|(to, _)| *to == address(n)).map(|(_, bytes)| bytes).sum()
    }

    fn resumed(&self, n: u8) -> Vec<u64> {
        let held = |(at, event): &(Address, Event)| {
            let Event::Fetching { held, .. } = event else { return None };
            (*at == address(n)).then_some(*held)
        };
        self.events.iter().filter_map(held).collect()
    }
}

fn ready(n: u8) -> World {
    let mut world = World::new(n);
    world.run(2_000);
    world
}

#[test]
fn a_large_value_comes_in_pieces_and_once() {
    let mut world = ready(3);
    let value = text(LARGE, 0);
    let token = world.put(1, "x", &value, &VersionVector::new());
    let small = world.put(1, "y", "1", &token);
    world.run(80);
    for n in [2, 3] {
        assert_eq!(world.get(n, "x", &small), Ok(value.clone()), "at {n}");
        assert_eq!(world.get(n, "y", &small), Ok("1".into()));
        assert_eq!(world.piece_bytes(n), LARGE, "at {n}");
        assert_eq!(world.replica(n).pieces_bytes(), 0, "nothing is left behind");
    }
    let largest = world.network.largest;
    assert!(largest < 70_000, "a message of {largest} bytes");
}

/// Cut off again and again, what came is kept, and nothing is visible before all is there.
#[test]
fn a_broken_transfer_goes_on_where_it_broke_off() {
    let mut world = ready(2);
    let value = text(LARGE, 1);
    let token = world.put(1, "x", &value, &VersionVector::new());
    for break_off in 1..=3 {
        let start = world.now;
        while world.resumed(2).len() < break_off && world.now < start + 9_000_000 {
            world.run(1);
        }
        world.run(4);
        world.cut.insert(address(2));
        assert_eq!(world.get(2, "x", &token), Err(Reply::Refused(Refusal::NotCovered)));
        assert!(matches!(world.get(2, "x", &VersionVector::new()), Err(Reply::Absent { .. })));
        world.run(6_000); // suspected: the link ends
        world.cut.clear();
    }
    world.run(12_000);
    assert_eq!(world.get(2, "x", &token), Ok(value));
    let resumed = world.resumed(2);
    assert!(resumed.len() >= 4 && resumed.is_sorted(), "{resumed:?}");
    assert!(world.piece_bytes(2) < LARGE + LARGE / 10, "{} bytes for {LARGE}", world.piece_bytes(2));
}

/// Messages are lost without a word; those that come after show it.
#[test]
fn lost_pieces_are_asked_for_again() {
    let mut world = ready(2);
    world.network.lose_every = 7;
    let value = text(LARGE, 2);
    let token = world.put(1, "x", &value, &VersionVector::new());
    world.run(15_000);
    world.network.lose_every = 0;
    world.run(5_000);
    assert_eq!(world.get(2, "x", &token), Ok(value));
}

/// A slow link loses a few messages, and what is asked for again waits behind what was asked for before. Asked again at
/// each timeout, the same pieces used to fill the link, and the value never came.
#[test]
fn a_slow_link_is_not_filled_with_the_same_pieces() {
    let mut world = ready(2);
    world.network.piece_delay = 400_000;
    world.network.lose_every = 3;
    let value = text(LARGE, 6);
    let token = world.put(1, "x", &value, &VersionVector::new());
    world.run(4_000);
    world.network.lose_every = 0;
    world.run(30_000);
    assert_eq!(world.get(2, "x", &token), Ok(value));
    assert!(world.piece_bytes(2) < LARGE * 3 / 2, "{} bytes for {LARGE}", world.piece_bytes(2));
}

/// Every answer of a slow peer takes longer than four of the pull's timeouts. Pulls wait for it after a few, but pieces
/// were given up each time, at both ends, and the value never came.
#[test]
fn a_slow_peer_gives_a_large_value_by_repair() {
    let mut world = World::new(0);
    world.config.pull_timeout = Micros::from_millis(150);
    (1..=2).for_each(|n| world.start(n, 2, n));
    world.network.slow = Some((address(1), 1_000_000));
    world.run(20_000);
    world.cut.insert(address(2));
    let value = text(LARGE, 4);
    let token = world.put(1, "x", &value, &VersionVector::new());
    world.run(10_000);
    world.cut.clear();
    world.run(180_000);
    assert_eq!(world.get(2, "x", &token), Ok(value));
    assert!(world.piece_bytes(2) < LARGE + LARGE / 5, "{} bytes for {LARGE}", world.piece_bytes(2));
}

/// The one that began to bring the value is gone for good: another goes on.
#[test]
fn another_peer_goes_on_where_one_left_off() {
    let mut world = ready(3);
    let value = text(LARGE, 3);
    world.cut_one_way = [(address(2), address(3)), (address(3), address(2))].into();
    let token = world.put(1, "x", &value, &VersionVector::new());
    world.run(6); // both are in the middle of it
    world.cut.insert(address(3));
    world.run(100);
    assert_eq!(world.get(2, "x", &token), Ok(value.clone()));
    let before = world.piece_bytes(3);
    assert!(before > 0 && before < LARGE);
    world.cut = [address(1)].into();
    world.cut_one_way.clear();
    world.run(9_000);
    assert_eq!(world.get(3, "x", &token), Ok(value));
    assert!(world.resumed(3).last().is_some_and(|&held| held > 0), "{:?}", world.resumed(3));
    assert!(world.piece_bytes(3) < LARGE + LARGE / 5, "{} bytes for {LARGE}", world.piece_bytes(3));
}

/// A newcomer gets a whole state with large values among small ones.
#[test]
fn a_state_with_large_values() {
    let mut world = World::new(1);
    world.config.log_bytes_max = 0;
    world.run(4_000);
    let mut token = VersionVector::new();
    for n in 0..20_u8 {
        let length = if n % 3 == 0 { 150_000 + usize::from(n) } else { 10 };
        token = world.put(1, &format!("k{n}"), &text(length, n), &token);
    }
    world.start(2, 2, 2);
    world.run(3_000);
    for n in 0..20_u8 {
        let length = if n % 3 == 0 { 150_000 + usize::from(n) } else { 10 };
        assert_eq!(world.get(2, &format!("k{n}"), &token), Ok(text(length, n)));
    }
}

/// What was made during a cut comes in due time, though its pieces may be here before.
#[test]
fn an_interruption_taints_what_is_announced() {
    let mut world = ready(2);
    let healed = world.now + 1_300_000;
    world.network.held_up = Some((address(1), healed)); // what replica 1 says waits in the network
    world.run(1_200);
    let value = text(LARGE, 4);
    let token = world.put(1, "x", &value, &VersionVector::new());
    world.run(2_500);
    assert!(world.now < healed + 2_500_000);
    assert_eq!(world.get(2, "x", &token), Err(Reply::Refused(Refusal::NotCovered)));
    world.run(1_500);
    assert_eq!(world.get(2, "x", &token), Ok(value));
}

/// Nothing that a peer says about values that were not asked for changes anything.
#[test]
fn hostile_pieces_change_nothing() {
    let mut world = ready(2);
    let token = world.put(1, "x", &text(LARGE, 5), &VersionVector::new());
    let (incarnation, counter) = token.entries().next().expect("a write");
    let (dot, own) = (Dot { incarnation, counter }, address(1));
    world.run(3);
    let held = world.replica(2).pieces_bytes();
    let say = |world: &mut World, body: Body| {
        let message = world.network.last[&address(2)].clone();
        let message = Message { body, sequence: message.sequence + 1_000, ..message };
        world.handle(&address(2), Input::Message { from: own.clone(), message });
    };
    let piece = |offset, bytes: &[u8]| Body::Piece { dot, offset, bytes: Value::new(bytes) };
    say(&mut world, piece(u64::MAX, b"xx"));
    say(&mut world, piece(LARGE as u64 - 1, b"xx"));
    say(&mut world, piece(400_000, b"never asked for"));
    say(&mut world, Body::Piece { dot: Dot { counter: 99, ..dot }, offset: 0, bytes: Value::new(b"x") });
    say(&mut world, Body::Want { dot, offset: 0, bytes: 0 });
    say(&mut world, Body::Want { dot, offset: u64::MAX, bytes: u32::MAX });
    assert_eq!(world.replica(2).pieces_bytes(), held, "nothing of it is kept");
    // A value of an impossible length, and one that announces what it holds.
    let giant = |bytes, counter| {
        let op = Op::clone(&Op {
            dot: Dot { counter, ..dot },
            hlc: crate::hlc::Hlc(1),
            effect: crate::op::Effect::Put { key: Key::new("z").expect("a key"), value: Value::new(&[]) },
            superseded: Default::default(),
            deps: Default::default(),
        });
        let outline = crate::message::Outline { bytes, check: 0 };
        Body::Announce { op: crate::message::Outlined { op: Arc::new(op), outline }, made: Time(world.now) }
    };
    let (never, whole) = (giant(u64::MAX, 2), giant(0, 3));
    say(&mut world, never);
    say(&mut world, whole);
    let events = world.events.len();
    world.run(100);
    let invalid = |(at, event): &&(Address, Event)| {
        *at == address(2) && matches!(event, Event::Dropped { reason: DropReason::Invalid, .. })
    };
    assert!(world.events[..events].iter().filter(invalid).count() >= 4);
    assert_eq!(world.get(2, "x", &token), Ok(text(LARGE, 5)));
}

/// Beyond the limit the value that grew longest ago goes, and all arrive in the end.
#[test]
fn what_is_kept_is_bounded_and_all_arrive() {
    let mut world = World::new(2);
    world.config.pieces_bytes_max = LARGE + LARGE / 2;
    world.replicas.clear();
    (1..=2).for_each(|n| world.start(n, 2, n));
    world.run(2_000);
    let mut token = VersionVector::new();
    for n in 0..6 {
        token = world.put(1, &format!("k{n}"), &text(LARGE, n), &token);
    }
    world.run(20_000);
    for n in 0..6 {
        assert_eq!(world.get(2, &format!("k{n}"), &token), Ok(text(LARGE, n)));
    }
}

/// A supplier waits while pieces are asked for, however long one value takes.
#[test]
fn a_supply_is_not_given_up_while_pieces_are_asked_for() {
    let mut world = ready(2);
    world.network.piece_delay = 400_000; // the value takes 7.4 s, and its pull is answered at once
    let value = text(LARGE, 6);
    world.cut.insert(address(2));
    let token = world.put(1, "x", &value, &VersionVector::new());
    world.run(800);
    world.cut.clear();
    let start = world.now;
    while world.get(2, "x", &token).is_err() && world.now < start + 60_000_000 {
        world.run(500);
    }
    assert_eq!(world.get(2, "x", &token), Ok(value));
    assert!(world.piece_bytes(2) < LARGE + LARGE / 10, "{} bytes for {LARGE}", world.piece_bytes(2));
}
