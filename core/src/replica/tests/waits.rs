//! Waits that must end, and questions that must not be asked again and again. One cause is a peer that claims what it
//! cannot give. Another is a copied memory that is behind what the other copy used up.

use super::*;
use crate::message::{Content, Status, Supply};
use crate::vector::Dot;

/// Replica 2 of two, played by hand: it claims what it never gives, and says at once that this was all.
struct Liar {
    world: World,
    claims: VersionVector,
    leaving: bool,
    answered: usize,
    sequence: u64,
}

impl Liar {
    fn new(claims: &[(u64, u64)]) -> Self {
        let mut world = World::new(2);
        world.run(1_000);
        world.replicas.remove(&address(2));
        world.events.clear();
        let claims = VersionVector::from_entries(
            claims.iter().map(|&(incarnation, counter)| (Incarnation(incarnation), counter)),
        );
        Self { world, claims, leaving: false, answered: 0, sequence: 1_000 }
    }

    fn say(&mut self, body: Body) {
        let peer = &self.world.replica(1).peers[PeerId(0)];
        let (from, link) = (peer.incarnation.expect("it was linked"), peer.link);
        self.sequence += 1;
        let message = Message { from, number: link.echo(), echo: link.number(), sequence: self.sequence, body };
        self.world.handle(&address(1), Input::Message { from: address(2), message });
    }

    fn run(&mut self, millis: u64) {
        for step in 0..millis {
            if step % 200 == 0 {
                let vector = Arc::new(self.claims.clone());
                let (sent, wall) = (Time(self.world.now), self.world.now().wall);
                let view_hash = self.world.replica(1).membership.hash();
                let leaving = self.leaving;
                let status = Status { sent, wall, vector, received: 0, leaving, view_hash, digest: None, ready: true };
                self.say(Body::Status(Box::new(status)));
            }
            for id in self.pulls().split_off(self.answered) {
                self.answered += 1;
                let supply = Supply { id, frame: 0, content: Content::Ops(Vec::new()), last: true };
                self.say(Body::Supply(Box::new(supply)));
            }
            self.world.run(1);
        }
    }

    fn pulls(&self) -> Vec<u64> {
        let pull = |(_, event): &(Address, Event)| {
            if let Event::PullStarted { pull, .. } = event { Some(*pull) } else { None }
        };
        self.world.events.iter().filter_map(pull).collect()
    }
}

#[test]
fn what_a_whole_pull_did_not_bring_is_not_asked_for_at_the_pace_of_the_network() {
    let mut liar = Liar::new(&[(77, 3)]);
    liar.run(10_000);
    let soon = liar.pulls().len();
    assert!((2..=6).contains(&soon), "{soon} pulls in 10 s");
    liar.run(50_000);
    let later = liar.pulls().len();
    assert!((soon + 1..=soon + 5).contains(&later), "{later} pulls in a minute");
    // It says that it has more now: that is news, and repaired like any other.
    liar.claims.raise(Incarnation(77), 4);
    liar.run(2_800);
    assert_eq!(liar.pulls().len(), later + 1);
}

#[test]
fn nor_of_one_that_is_about_to_end() {
    let mut liar = Liar::new(&[(77, 3), (78, 1)]);
    liar.leaving = true;
    liar.run(10_000);
    assert!((2..=6).contains(&liar.pulls().len()), "{} pulls in 10 s", liar.pulls().len());
}

#[test]
fn nor_while_a_request_waits_for_it() {
    let mut liar = Liar::new(&[(77, 3)]);
    let request = DataRequest {
        key: Key::new("x").expect("a key"),
        action: Action::Get,
        past: liar.claims.clone(),
        wait: Micros::from_seconds(10),
        condition: Condition::default(),
        format: Formats::RELEASED.lowest,
        concern: None,
    };
    let input = Input::Request { id: RequestId(5), request: Request::Data(Box::new(request)) };
    liar.world.handle(&address(1), input);
    liar.run(9_000);
    assert!((20..=50).contains(&liar.pulls().len()), "{} pulls in 9 s", liar.pulls().len());
}

/// Replica 1 comes back from a copy of its memory that is older than so many cuts, and has to be told what it missed.
fn restored_from_a_copy(cuts: usize, copied_in_a_cut: bool) -> World {
    let mut world = World::new(3);
    world.run(1_000);
    if copied_in_a_cut {
        world.cut.insert(address(1));
        world.run(6_000);
    }
    let copy = world.replica(1).clone();
    world.cut.clear();
    world.run(6_000);
    for _ in 0..cuts {
        world.cut.insert(address(1));
        world.put(2, "x", "1", &VersionVector::new());
        world.run(6_000);
        world.cut.clear();
        world.run(6_000);
    }
    assert_eq!(world.replica(1).vector(), world.replica(2).vector());
    assert!(world.replica(1).peers.next_number() >= copy.peers.next_number() + cuts as u64);
    assert!(world.replica(1).pulls.next_name() >= copy.pulls.next_name() + cuts as u64);
    // Its last hellos reach the others, and no answer comes back.
    world.cut_one_way.extend([2, 3].map(|n| (address(n), address(1))));
    world.run(20_000);
    world.cut_one_way.clear();
    world.replicas.insert(address(1), copy);
    world
}

#[test]
fn a_copy_that_is_behind_in_numbers_links_and_catches_up() {
    for (cuts, in_a_cut) in [(1, false), (20, false), (1, true), (5, true), (20, true)] {
        let mut world = restored_from_a_copy(cuts, in_a_cut);
        world.run(20_000);
        let linked = world.replica(1).peers.iter().all(|peer| peer.link.is_established());
        assert!(linked, "{cuts} cuts, {in_a_cut}: {:#?}", world.replica(1).status());
        assert_eq!(world.replica(1).vector(), world.replica(2).vector(), "{cuts} cuts");
    }
}

/// Its links still stand, so only its pulls bear names that were used.
#[test]
fn a_copy_that_is_behind_in_pulls_catches_up() {
    for pulls in [1, 5, 50] {
        let mut world = World::new(2);
        world.run(1_000);
        let copy = world.replica(1).clone();
        let original = world.replicas.get_mut(&address(1)).expect("it runs");
        for _ in 0..pulls {
            let now = world.now;
            original.now.monotonic = original.now.monotonic.max(Time(now));
            original.begin_pull(PeerId(0), false);
            original.end_pull(false);
        }
        let sent: Vec<_> = core::iter::from_fn(|| original.poll_output()).collect();
        for output in sent {
            if let Output::Send { message, .. } = output {
                world.handle(&address(2), Input::Message { from: address(1), message });
            }
        }
        world.run(10);
        world.cut.insert(address(1));
        world.put(2, "x", "1", &VersionVector::new());
        world.run(1_000);
        world.replicas.insert(address(1), copy);
        world.cut.clear();
        world.run(15_000);
        assert_eq!(world.replica(1).vector(), world.replica(2).vector(), "{pulls} pulls");
    }
}

/// Tokens of writes that died with their only holder, each of an incarnation of its own.
fn with_lost_writes(count: u8, rounds_max: usize) -> (World, Vec<VersionVector>) {
    let mut world = World::new(3);
    let mut tokens = Vec::new();
    for n in 0..count {
        world.run(3_000);
        world.cut.insert(address(2));
        tokens.push(world.put(2, "x", "1", &VersionVector::new()));
        world.replicas.remove(&address(2));
        world.run(10);
        world.cut.clear();
        world.start(2, 3, 100 + n);
    }
    world.run(3_000);
    for replica in world.replicas.values_mut() {
        replica.config.rounds_max = rounds_max;
    }
    (world, tokens)
}

/// Clients of different lost writes that ask in turn must not make each other's outcome be forgotten for ever.
#[test]
fn every_client_of_a_lost_write_is_told_however_few_outcomes_are_remembered() {
    for (count, rounds_max) in [(2, 0), (2, 1), (5, 1), (5, 2), (7, 3)] {
        let (mut world, tokens) = with_lost_writes(count, rounds_max);
        for time in 0..3 {
            for token in &tokens {
                let reply = world.get(1, "x", token);
                let reported = matches!(reply, Err(Reply::Lost { .. }));
                assert!(reported || time < 2, "{count} tokens, {rounds_max} outcomes: {reply:?}");
                world.run(150);
            }
        }
    }
}

/// Two writes of one incarnation: the outcome about the first says nothing of the second.
#[test]
fn clients_of_one_lost_incarnation_are_all_told() {
    let (mut world, tokens) = with_lost_writes(1, 1);
    let more = |by: u64| {
        let entry = tokens[0].entries().next().map(|(incarnation, counter)| (incarnation, counter + by));
        VersionVector::from_entries(entry)
    };
    let tokens = [more(2), more(0), more(1)];
    let mut reported = [false; 3];
    for _ in 0..3 {
        for (token, reported) in tokens.iter().zip(&mut reported) {
            *reported |= matches!(world.get(1, "x", token), Err(Reply::Lost { .. }));
            world.run(150);
        }
    }
    assert_eq!(reported, [true; 3]);
}

/// What is asked while a round is under way is asked about right after it, however seldom statuses come.
#[test]
fn a_round_follows_the_one_before_it_without_a_status() {
    let (mut world, tokens) = with_lost_writes(2, 1);
    for replica in world.replicas.values_mut() {
        replica.config.heartbeat_interval = Micros::from_seconds(30);
        (replica.config.suspect_after_min, replica.config.suspect_after_max) =
            (Micros::from_seconds(90), Micros::from_seconds(90));
    }
    world.run(1_000);
    for token in &tokens {
        assert_eq!(world.get(1, "x", token), Err(Reply::Refused(Refusal::NotCovered)));
    }
    world.run(300);
    for token in &tokens {
        assert!(matches!(world.get(1, "x", token), Err(Reply::Lost { .. })));
    }
}

/// Sides that never met remove each other, and one of them takes a write: it must not stay there.
fn sides_that_removed_each_other(sides: [&[u8]; 2]) {
    let all: Vec<u8> = sides.concat();
    let mut world = World::new(all.len() as u8);
    let [left, right] = sides;
    for (&a, &b) in left.iter().flat_map(|a| right.iter().map(move |b| (a, b))) {
        world.cut_one_way.extend([(address(a), address(b)), (address(b), address(a))]);
    }
    world.run(2_000);
    for (n, (&at, &out)) in left.iter().flat_map(|a| right.iter().map(move |b| (a, b))).enumerate() {
        for (way, (at, out)) in [(at, out), (out, at)].into_iter().enumerate() {
            let id = RequestId(1 << 40 | (2 * n + way) as u64);
            world.handle(&address(at), Input::Request { id, request: Request::ViewRemove(address(out)) });
            world.run(100);
        }
    }
    let token = world.put(right[0], "x", "1", &VersionVector::new());
    world.cut_one_way.clear();
    world.run(60_000);
    for &n in &all {
        assert!(world.replica(n).causal_context().dominates(&token), "{sides:?}: {:#?}", world.replica(n).status());
        assert_eq!(world.replica(n).view(), world.replica(1).view());
    }
}

#[test]
fn sides_that_never_met_and_removed_each_other_meet() {
    sides_that_removed_each_other([&[1, 2], &[3, 4]]);
    sides_that_removed_each_other([&[1], &[2]]);
    sides_that_removed_each_other([&[1, 2, 3], &[4]]);
    sides_that_removed_each_other([&[1], &[2, 3, 4]]);
}

/// An older gap is due. A newcomer that this replica meets after a cut could fill it at once, with all that was made
/// during the cut.
#[test]
fn a_newcomer_met_after_a_cut_is_no_way_around_it() {
    let mut world = World::new(3);
    world.run(3_000);
    let both = |one, other| [(address(one), address(other)), (address(other), address(one))];
    world.cut_one_way.insert((address(1), address(3)));
    let old = world.put(1, "old", "1", &VersionVector::new());
    world.run(300); // replica 2 tells replica 3 of it
    world.cut_one_way.extend(both(1, 3).into_iter().chain(both(2, 3)).chain(both(4, 3)));
    world.run(3_500);
    world.start(4, 4, 4);
    world.run(1_000);
    let new = world.put(1, "new", "1", &old);
    world.run(300);
    assert_eq!(world.get(4, "new", &new), Ok("1".into()));
    both(4, 3).iter().for_each(|way| _ = world.cut_one_way.remove(way));
    let healed = world.now;
    while !world
        .events
        .iter()
        .any(|(at, event)| *at == address(3) && matches!(event, Event::Linked { address: to, .. } if *to == address(4)))
    {
        world.run(10);
        assert!(world.now < healed + 5_000_000, "they meet");
    }
    for _ in 0..24 {
        assert_eq!(world.get(3, "new", &new), Err(Reply::Refused(Refusal::NotCovered)));
        world.run(100);
    }
    world.run(1_000);
    assert_eq!(world.get(3, "new", &new), Ok("1".into()));
}

/// A removed replica repairs nothing, so interruptions are no reason to be less patient when it is a member again.
#[test]
fn interruptions_while_removed_do_not_count() {
    let mut world = World::new(3);
    world.run(3_000);
    world.handle(&address(1), Input::Request { id: RequestId(900), request: Request::ViewRemove(address(3)) });
    world.run(1_000);
    for (n, counted) in [(2, 4), (3, 0)] {
        assert_eq!(postponed_by(&mut world, n, true, Micros::from_seconds(3)), counted, "at {n}");
    }
}

/// A poor network interrupts a link often, and hides nothing. A cut that follows is waited for all the same.
#[test]
fn interruptions_that_hide_nothing_use_up_no_patience() {
    let mut world = World::new(2);
    world.run(3_000);
    assert_eq!(postponed_by(&mut world, 2, true, Micros::from_millis(300)), 1, "four within a repair delay");
    assert_eq!(postponed_by(&mut world, 2, false, Micros::from_seconds(3)), 0, "nothing is missing");
}

/// What was put off came from another peer. What is missing since has its own patience.
#[test]
fn interruptions_that_put_off_what_has_come_do_not_count() {
    let mut world = World::new(3);
    world.run(3_000);
    for _ in 0..3 {
        assert_eq!(postponed_by(&mut world, 2, true, Micros::from_seconds(3)), 4);
    }
}

/// Four interruptions of the link from replica 1, so far apart. Returns how many have put off a repair.
fn postponed_by(world: &mut World, n: u8, missing: bool, apart: Micros) -> u8 {
    let replica = world.replicas.get_mut(&address(n)).expect("it is there");
    let id = replica.peer_ids().find(|id| replica.peers[*id].address == address(1)).expect("a peer");
    replica.gaps = Gaps::default();
    if missing {
        replica.now.monotonic = replica.now.monotonic + Micros(1);
        replica.gaps.on_remote_counter(Incarnation(7), 1, replica.now.monotonic);
    }
    for _ in 0..4 {
        replica.now.monotonic = replica.now.monotonic + apart;
        replica.on_interrupted(id);
    }
    replica.peers[id].supplier.postponed()
}

/// One call looks at some of the requests that wait. Those behind them are not refused meanwhile.
#[test]
fn what_is_covered_is_served_though_its_wait_ends() {
    let mut world = World::new(2);
    world.run(1_000);
    let past = VersionVector::from_entries([(world.replica(2).incarnation(), 1)]);
    for id in 1..=500 {
        let request = DataRequest {
            key: Key::new("x").expect("a key"),
            action: Action::Put(Value::new(b"1")),
            past: past.clone(),
            wait: Micros::from_millis(100),
            condition: Condition::default(),
            format: Formats::RELEASED.lowest,
            concern: None,
        };
        world.handle(&address(1), Input::Request { id: RequestId(id), request: Request::Data(Box::new(request)) });
    }
    world.run(99);
    assert!(world.replies.is_empty() && world.replica(1).blocked() == 500);
    world.put(2, "y", "1", &VersionVector::new());
    world.run(1);
    for id in 1..=500 {
        let reply = &world.replies[&RequestId(id)];
        assert!(matches!(reply, Reply::Written(_)), "request {id}: {reply:?}");
    }
}

/// A pull brings what stood before it in the buffer. Its turn has come, then and there.
#[test]
fn what_waited_behind_what_a_pull_brought_is_applied_at_once() {
    let mut world = World::new(0);
    world.config.repair_delay = Micros::from_millis(300);
    (1..=3).for_each(|n| world.start(n, 3, n));
    world.run(1_000);
    let origin = world.replica(3).incarnation();
    world.cut_one_way.insert((address(3), address(2)));
    world.put(3, "x", "1", &VersionVector::new());
    world.cut_one_way.clear();
    world.put(3, "x", "2", &VersionVector::new());
    world.run(1);
    world.cut_one_way.insert((address(3), address(1)));
    world.put(3, "x", "3", &VersionVector::new());
    world.run(1);
    world.cut.insert(address(3));
    let behind = Dot { incarnation: origin, counter: 3 };
    assert_eq!((world.replica(2).causal_buffer(), world.replica(2).causal_context().covers(behind)), (2, false));
    while world.replica(2).causal_context().counter(origin) < 2 {
        assert!(world.now < 9_000_000, "repair comes from the first");
        world.run(1);
    }
    assert!(world.replica(2).causal_context().covers(behind), "{}", world.now);
}

/// What is too old to be news anywhere is not sent. What was made a moment ago is.
#[test]
fn a_new_link_pushes_nothing_stale() {
    let mut world = World::new(2);
    world.run(1_000);
    world.cut.insert(address(2));
    world.put(1, "x", "0", &VersionVector::new());
    world.run(6_000);
    world.cut.clear();
    let (mut pushed, limit) = (0, Micros(Config::default().late_max.0 + 1_000));
    for n in 0..2_000 {
        if n % 50 == 0 {
            world.put(1, "x", &format!("{n}"), &VersionVector::new());
        }
        for (.., message) in world.wire.values() {
            let Body::Push { made, .. } = &message.body else { continue };
            assert!(world.now().monotonic.since(*made) <= limit, "{made:?} is pushed at {}", world.now);
            pushed += 1;
        }
        world.run(1);
    }
    assert!(pushed > 10, "{pushed} pushes");
}
