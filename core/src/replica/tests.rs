//! A handful of replicas on a perfect network with one millisecond of delay: the plain cases, quickly.

mod apart;
mod batches;
mod bounds;
mod budget;
mod concerns;
mod formats;
mod lists;
mod pieces;
mod waits;
mod watches;

use super::*;
use crate::data::{Key, Value};
use crate::formats::Formats;
use crate::request::{Action, Condition, DataRequest, Refusal, Reply, Request, RequestId, WatchPart};
use crate::time::Wall;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

struct World {
    now: u64,
    replicas: BTreeMap<Address, Replica>,
    wire: BTreeMap<(u64, u64), (Address, Address, Message)>,
    sent: u64,
    cut: BTreeSet<Address>,
    cut_one_way: BTreeSet<(Address, Address)>,
    network: pieces::Network,
    config: Config,
    /// The formats that each process speaks.
    spoken: BTreeMap<Address, Formats>,
    replies: BTreeMap<RequestId, Reply>,
    parts: BTreeMap<RequestId, Vec<WatchPart>>,
    events: Vec<(Address, Event)>,
}

fn address(n: u8) -> Address {
    Address::parse(&format!("127.0.0.{n}:8090")).expect("an address")
}

impl World {
    fn new(n: u8) -> Self {
        let mut world = Self {
            now: 1_000_000,
            replicas: BTreeMap::new(),
            wire: BTreeMap::new(),
            sent: 0,
            cut: BTreeSet::new(),
            cut_one_way: BTreeSet::new(),
            network: pieces::Network::default(),
            config: Config::default(),
            spoken: BTreeMap::new(),
            replies: BTreeMap::new(),
            parts: BTreeMap::new(),
            events: Vec::new(),
        };
        (1..=n).for_each(|i| world.start(i, n, i));
        world
    }

    fn now(&self) -> Now {
        Now { monotonic: Time(self.now), wall: Wall(self.now + 1_700_000_000_000_000) }
    }

    fn start(&mut self, n: u8, of: u8, seed: u8) {
        let identity = Identity { address: address(n), view: (1..=of).map(address).collect() };
        let replica = Replica::new(Sound, self.config.clone(), identity, Seed([seed; 32]), self.now());
        self.spoken.insert(address(n), self.config.formats);
        self.replicas.insert(address(n), replica);
    }

    fn handle(&mut self, at: &Address, input: Input) {
        let now = self.now();
        let Some(replica) = self.replicas.get_mut(at) else { return };
        replica.handle(now, input);
        replica.check_invariants();
        while let Some(output) = replica.poll_output() {
            match output {
                Output::Send { to, message } => {
                    let speaks = |at: &Address| self.spoken.get(at).copied().unwrap_or(self.config.formats);
                    let common = speaks(at).common(speaks(&to));
                    if common.is_some_and(|format| format < message.format()) {
                        continue; // a transport loses what it has no word for
                    }
                    let one_way = self.cut_one_way.contains(&(at.clone(), to.clone()));
                    if !one_way && !self.cut.contains(&to) && !self.cut.contains(at) {
                        self.sent += 1;
                        if let Some(arrival) = self.network.takes(self.now, self.sent, (at, &to), &message) {
                            self.wire.insert((arrival, self.sent), (at.clone(), to, message));
                        }
                    }
                }
                Output::Reply { id, reply } => assert!(self.replies.insert(id, *reply).is_none()),
                Output::Tell { id, part } => self.parts.entry(id).or_default().push(*part),
                Output::Event(event) => self.events.push((at.clone(), event)),
            }
        }
    }

    fn run(&mut self, millis: u64) {
        let end = self.now + millis * 1_000;
        loop {
            let timer = self.replicas.iter().filter_map(|(a, r)| Some((r.poll_timeout()?.0, a.clone()))).min();
            let arrival = self.wire.keys().next().copied();
            let next = timer.as_ref().map_or(u64::MAX, |t| t.0).min(arrival.map_or(u64::MAX, |a| a.0));
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            if let Some(arrival) = arrival.filter(|a| a.0 <= next) {
                let (from, to, message) = self.wire.remove(&arrival).expect("just seen");
                self.network.delivers(&to, &message);
                self.handle(&to, Input::Message { from, message });
            } else if let Some((_, at)) = timer {
                self.handle(&at, Input::Timeout);
            }
        }
        self.now = end;
    }

    fn ask(&mut self, n: u8, action: Action, key: &str, past: &VersionVector, wait: u64) -> Option<Reply> {
        let id = RequestId(1_000 + self.sent * 100 + self.replies.len() as u64);
        let request = DataRequest {
            key: Key::new(key).expect("a key"),
            action,
            past: past.clone(),
            wait: Micros::from_millis(wait),
            condition: Condition::default(),
            format: Formats::RELEASED.lowest,
            concern: None,
        };
        self.handle(&address(n), Input::Request { id, request: Request::Data(Box::new(request)) });
        self.run(wait);
        self.replies.get(&id).cloned()
    }

    fn put(&mut self, n: u8, key: &str, value: &str, past: &VersionVector) -> VersionVector {
        match self.ask(n, Action::Put(Value::new(value.as_bytes())), key, past, 0) {
            Some(Reply::Written(written)) => written.token,
            other => panic!("{other:?}"),
        }
    }

    #[expect(clippy::result_large_err, reason = "the other answer is what a test compares with")]
    fn get(&mut self, n: u8, key: &str, past: &VersionVector) -> Result<alloc::string::String, Reply> {
        match self.ask(n, Action::Get, key, past, 0) {
            Some(Reply::Found { siblings, .. }) => {
                Ok(format!("{:?}", siblings.winner().expect("found means present").value))
            }
            other => Err(other.expect("every request is answered at once")),
        }
    }

    fn replica(&self, n: u8) -> &Replica {
        &self.replicas[&address(n)]
    }
}

#[test]
fn three_replicas_replicate_and_delete() {
    let mut world = World::new(3);
    world.run(100);
    assert!((1..=3).all(|n| world.replica(n).is_ready()), "{:#?}", world.events);
    let none = VersionVector::new();
    let token = world.put(1, "x", "1", &none);
    assert_eq!(world.get(2, "x", &token), Err(Reply::Refused(Refusal::NotCovered)));
    world.run(5);
    assert_eq!(world.get(2, "x", &token), Ok("1".into()));
    let Some(Reply::Written(deleted)) = world.ask(3, Action::Delete, "x", &token, 0) else { panic!() };
    world.run(300);
    for n in 1..=3 {
        assert!(matches!(world.get(n, "x", &deleted.token), Err(Reply::Absent { .. })));
        assert_eq!(world.replica(n).vector(), &deleted.token);
        assert_eq!(world.replica(n).status().log_ops, 0);
    }
}

#[test]
fn a_cut_is_repaired_patiently_and_a_waiting_read_at_once() {
    let mut world = World::new(3);
    world.run(100);
    world.cut.insert(address(2));
    let token = world.put(1, "x", "1", &VersionVector::new());
    world.run(1_300);
    world.cut.clear();
    world.run(1_500);
    assert_eq!(world.get(2, "x", &token), Err(Reply::Refused(Refusal::NotCovered)));
    world.run(2_000);
    assert_eq!(world.get(2, "x", &token), Ok("1".into()));

    world.cut.insert(address(2));
    let token = world.put(1, "x", "2", &token);
    world.run(1_300);
    world.cut.clear();
    let reply = world.ask(2, Action::Get, "x", &token, 300);
    assert!(matches!(reply, Some(Reply::Found { .. })), "{reply:?}");
}

#[test]
fn a_restart_with_empty_memory_is_served_from_the_others() {
    let mut world = World::new(3);
    world.run(100);
    let mut token = VersionVector::new();
    for n in 0..1_000_u32 {
        token = world.put(1 + (n % 2) as u8, &format!("k{}", n % 300), &format!("{n}"), &token);
        world.run(3);
    }
    world.run(1_000);
    world.replicas.remove(&address(3));
    world.run(8_000);
    assert_eq!(world.replica(1).status().listed.len(), 2);
    world.start(3, 3, 99);
    world.run(1_000);
    assert!(world.replica(3).is_ready());
    assert_eq!(world.get(3, "k299", &token), Ok("899".into()), "{:?}", world.replica(3).vector());
    assert_eq!(world.replica(1).status().listed.len(), 3);
    assert_eq!(world.replica(1).store().digest(), world.replica(3).store().digest());
}

#[test]
fn removal_and_return() {
    let mut world = World::new(3);
    world.run(100);
    world.handle(&address(1), Input::Request { id: RequestId(1), request: Request::ViewRemove(address(3)) });
    world.run(500);
    assert!(!world.replica(3).is_ready() && world.replica(2).status().listed.len() == 2);
    let token = world.put(1, "x", "1", &VersionVector::new());
    world.run(20_000);
    let before = world.sent;
    world.run(10_000);
    let idle = world.sent - before;
    world.handle(&address(2), Input::Request { id: RequestId(2), request: Request::ViewAdd(address(3)) });
    world.run(4_000);
    assert!(world.replica(3).is_ready());
    assert_eq!(world.get(3, "x", &token), Ok("1".into()));
    assert!(idle < 2 * 5 * 10 + 10, "two members keep each other company with {idle} messages");
}

/// Every hello of an old incarnation used to be answered by one with a fresh number, which was answered in turn, for
/// ever.
#[test]
fn an_old_incarnation_learns_of_its_successor_without_a_storm() {
    let mut world = World::new(3);
    world.run(100);
    let newer = (20..).find(|&seed| {
        world.start(3, 3, seed);
        let before = world.replica(1).view().newest(&address(3)).expect("met").incarnation;
        world.replica(3).incarnation() < before
    });
    assert!(newer.is_some());
    let before = world.sent;
    world.run(1_000);
    assert!(world.sent - before < 200, "{} messages", world.sent - before);
    assert!(world.replica(3).is_ready() && world.events.iter().any(|(_, event)| matches!(event, Event::Renewed(_))));
}

#[test]
fn vectors_and_tokens_stay_as_short_as_the_membership() {
    let mut world = World::new(3);
    world.run(100);
    let mut token = VersionVector::new();
    let mut old = Vec::new();
    for start in 0..60_u8 {
        let n = 1 + start % 3;
        token = world.put(n, "x", &format!("{start}"), &token);
        old.push(token.clone());
        world.run(500);
        world.replicas.remove(&address(n));
        world.run(200);
        world.start(n, 3, 50 + start);
        world.run(6_000);
    }
    for n in 1..=3 {
        assert!(world.replica(n).vector().len() <= 3, "{:?}", world.replica(n).status());
        let Some(Reply::Found { token, .. }) = world.ask(n, Action::Get, "x", &token, 0) else { panic!() };
        assert!(token.len() <= 3, "{token:?}");
        for past in &old {
            let reply = world.ask(n, Action::Get, "x", past, 0);
            assert!(matches!(reply, Some(Reply::Found { .. })), "{reply:?}");
        }
    }
}

#[test]
fn a_write_that_died_with_its_only_holder_is_reported_lost() {
    let mut world = World::new(3);
    world.run(100);
    let first = world.put(1, "y", "0", &VersionVector::new());
    world.run(300);
    world.cut.insert(address(2));
    let token = world.put(2, "x", "1", &first);
    world.replicas.remove(&address(2));
    world.run(500);
    world.cut.clear();
    assert_eq!(world.get(1, "x", &token), Err(Reply::Refused(Refusal::NotCovered)));
    world.run(6_000);
    // The address is a member and no replica answers there: it may still hold the write.
    assert_eq!(world.get(1, "x", &token), Err(Reply::Refused(Refusal::NotCovered)));
    world.start(2, 3, 77);
    world.run(3_000);
    _ = world.get(1, "x", &token);
    world.run(1_000);
    let Err(Reply::Lost { token: rest }) = world.get(1, "x", &token) else { panic!("{:?}", world.get(1, "x", &token)) };
    assert!(matches!(world.get(1, "x", &rest), Err(Reply::Absent { .. })));
    assert_eq!(world.get(1, "y", &rest), Ok("0".into()));
    let waited = world.ask(3, Action::Get, "x", &token, 2_000);
    assert!(matches!(waited, Some(Reply::Lost { .. })), "{waited:?}");
}

#[test]
fn a_newcomer_gets_the_whole_state_while_writes_go_on() {
    let mut world = World::new(2);
    world.run(100);
    let mut token = VersionVector::new();
    for n in 0..3_000 {
        token = world.put(1, &format!("k{n}"), "0", &token);
        if n % 16 == 0 {
            world.run(2);
        }
    }
    world.run(1_000);
    assert_eq!(world.replica(1).status().log_ops, 0);
    world.handle(&address(1), Input::Request { id: RequestId(1), request: Request::ViewAdd(address(3)) });
    world.start(3, 3, 9);
    for n in 0..300 {
        let key = format!("k{}", (n * 37) % 3_000);
        if n % 3 == 0 {
            world.ask(1, Action::Delete, &key, &token, 0);
        } else {
            token = world.put(1, &key, "1", &token);
        }
        world.run(1);
        assert!(world.replicas.values().all(|replica| replica.work() <= 512));
    }
    world.run(3_000);
    assert!(world.replica(3).is_ready());
    assert_eq!(world.replica(3).store().digest(), world.replica(1).store().digest());
    assert!(world.replica(3).store().digest().is_some());
    assert!(world.events.iter().any(|(_, event)| matches!(event, Event::Installed { .. })));
}

#[test]
fn a_one_way_cut_does_not_make_the_view_flap() {
    let mut world = World::new(3);
    world.run(1_000);
    world.cut_one_way.insert((address(1), address(2)));
    world.run(60_000);
    let suspected = world.events.iter().filter(|(_, event)| matches!(event, Event::Suspected(_))).count();
    assert_eq!(suspected, 0);
    assert!((1..=3).all(|n| world.replica(n).status().listed.len() == 3));
}

/// A duplicated pull used to begin a second supply under the same name; frames of both mixed in one install.
#[test]
fn a_duplicated_pull_is_served_once() {
    let mut world = World::new(2);
    world.run(100);
    world.put(1, "x", "1", &VersionVector::new());
    world.run(1_000);
    let (from, replica) = (address(2), world.replica(2));
    let peer = &replica.peers[PeerId(0)];
    let body = Body::Pull { id: 1 << 40, vector: Arc::default() };
    let message =
        Message { from: replica.incarnation(), number: peer.link.number(), echo: peer.link.echo(), sequence: 0, body };
    let before = world.sent;
    for _ in 0..3 {
        world.handle(&address(1), Input::Message { from: from.clone(), message: message.clone() });
    }
    assert_eq!(world.sent - before, 1);
}

/// One stall used to be excluded once per message of the backlog.
#[test]
fn a_backlog_after_a_stall_is_one_stall() {
    let mut world = World::new(2);
    world.run(1_000);
    world.now += 6_000_000;
    let now = world.now();
    let to = address(1);
    world.events.clear();
    for _ in 0..40 {
        world.handle(&to, Input::Connected { to: address(2) });
    }
    assert_eq!(now, world.now());
    let stalls = world.events.iter().filter(|(_, event)| matches!(event, Event::Stalled(_))).count();
    assert_eq!(stalls, 1);
}

/// Links and pulls of every incarnation used to be numbered from 1. So what was sent to an old incarnation was taken in
/// by the new one.
#[test]
fn an_incarnation_does_not_take_what_was_sent_to_the_incarnation_before_it() {
    let mut world = World::new(2);
    world.run(1_000);
    let numbers = |world: &World| (world.replica(1).peers.next_number(), world.replica(1).pulls.next_name());
    let before = numbers(&world);
    world.start(1, 2, 77);
    assert!(before.0.abs_diff(numbers(&world).0) > 1_000 && before.1.abs_diff(numbers(&world).1) > 1_000);
}

/// The answers to hellos of the incarnation before reach the new one, which takes their numbers for those of a copy of
/// itself. It used to go on at the very next number, which the incarnation before had given out, too.
#[test]
fn an_incarnation_counts_on_clear_of_what_the_incarnation_before_gave_out() {
    let mut world = World::new(2);
    world.run(1_000);
    let given_out = world.replica(1).peers.next_number();
    world.start(1, 2, 77);
    let renewed = world.replicas.get_mut(&address(1)).expect("it runs");
    let id = renewed.find_peer(&address(2)).expect("a member");
    for echo in [given_out - 1, given_out, given_out + 1] {
        renewed.count_beyond(id, echo);
        assert!(renewed.peers.next_number() > echo + 1_000, "{} after {echo}", renewed.peers.next_number());
    }
}

/// A replica that leaves soon after a healed cut used to take its writes along: repair is patient, the end is not.
#[test]
fn what_a_leaving_replica_has_is_fetched_at_once() {
    let mut world = World::new(3);
    world.run(1_000);
    world.cut.insert(address(2));
    let token = world.put(2, "x", "1", &VersionVector::new());
    world.run(1_300);
    world.cut.clear();
    world.run(300);
    assert_eq!(world.get(1, "x", &token), Err(Reply::Refused(Refusal::NotCovered)));
    world.handle(&address(2), Input::Leave);
    world.run(50);
    assert_eq!(world.get(1, "x", &token), Ok("1".into()));
    assert_eq!(world.get(3, "x", &token), Ok("1".into()));
}

/// A member that is cut off falls behind: what it lacks is counted, and has an age. One that was removed is not counted.
#[test]
fn how_far_members_are_behind() {
    let mut world = World::new(3);
    world.run(1_000);
    let lag = |world: &World, n: u8, of: u8| {
        let peers = world.replica(n).status().peers;
        peers.iter().find(|peer| peer.address == address(of)).expect("a peer").lag
    };
    world.put(1, "x", "1", &VersionVector::new());
    world.run(500);
    assert_eq!([lag(&world, 1, 2), lag(&world, 1, 3)], [Some(Lag::default()); 2]);
    world.cut.insert(address(3));
    for value in ["2", "3"] {
        world.put(1, "x", value, &VersionVector::new());
        world.put(2, "y", value, &VersionVector::new());
        world.run(1_000);
    }
    let behind = lag(&world, 1, 3).expect("a member");
    assert!(behind.ops == 4 && (Micros(1_700_000)..Micros(2_300_000)).contains(&behind.age), "{behind:?}");
    assert_eq!(lag(&world, 1, 2), Some(Lag::default()));
    let seen: Vec<u64> = world.replica(1).own_writes_acknowledged().map(|(_, count)| count).collect();
    assert_eq!((world.replica(1).own_writes(), seen), (3, [3, 1].into()));
    world.cut.clear();
    world.run(6_000);
    assert_eq!(lag(&world, 1, 3), Some(Lag::default()));
    world.handle(&address(1), Input::Request { id: RequestId(1), request: Request::ViewRemove(address(3)) });
    assert_eq!(lag(&world, 1, 3), None);
}

/// What a directory names is a member, unless an operator removed it.
#[test]
fn a_name_adds_a_member_and_overrules_no_operator() {
    let mut world = World::new(3);
    world.run(1_000);
    world.handle(&address(1), Input::Request { id: RequestId(1), request: Request::ViewRemove(address(3)) });
    let named = [2, 3, 9].map(address).into();
    world.handle(&address(1), Input::Named { addresses: named });
    world.run(1_000);
    for n in 1..=2 {
        let view = world.replica(n).view();
        assert!(view.is_member(&address(9)) && view.is_member(&address(2)) && !view.is_member(&address(3)), "{n}");
    }
}

/// A token from the future of a living replica used to be judged by a round, and then honest tokens up to its counter.
#[test]
fn what_a_living_replica_has_yet_to_write_is_never_called_lost() {
    let mut world = World::new(3);
    world.run(1_000);
    let token = world.put(1, "x", "0", &VersionVector::new());
    world.run(300);
    let incarnation = world.replica(1).incarnation();
    let forged = VersionVector::from_entries([(incarnation, token.counter(incarnation) + 1_000)]);
    for _ in 0..20 {
        assert_eq!(world.get(2, "x", &forged), Err(Reply::Refused(Refusal::NotCovered)));
        world.run(300);
    }
    world.cut.insert(address(2));
    let token = world.put(1, "x", "1", &token);
    assert_eq!(world.get(2, "x", &token), Err(Reply::Refused(Refusal::NotCovered)));
}

/// A supply that no peer took any more used to note every changed key for ever.
#[test]
fn an_abandoned_supply_ends() {
    let mut world = World::new(2);
    world.run(1_000);
    world.cut.insert(address(2));
    for n in 0..600 {
        world.put(1, &format!("k{n}"), "0", &VersionVector::new());
        world.run(1);
    }
    world.cut.clear();
    let replica = world.replica(2);
    let peer = &replica.peers[PeerId(0)];
    let body = Body::Pull { id: 1 << 40, vector: Arc::default() };
    let message =
        Message { from: replica.incarnation(), number: peer.link.number(), echo: peer.link.echo(), sequence: 0, body };
    world.handle(&address(1), Input::Message { from: address(2), message });
    assert!(world.replica(1).peers[PeerId(0)].serving.is_some());
    world.run(6_000);
    assert!(world.replica(1).peers[PeerId(0)].serving.is_none());
}

/// Of more blocked requests than one call serves, the rest used to wait for the next operation.
#[test]
fn many_waiting_requests_are_all_served() {
    let mut world = World::new(2);
    world.run(1_000);
    world.cut.insert(address(2));
    let token = world.put(1, "x", "1", &VersionVector::new());
    for n in 0..1_000 {
        let request = DataRequest {
            key: Key::new("x").expect("a key"),
            action: Action::Get,
            past: token.clone(),
            wait: Micros::from_seconds(20),
            condition: Condition::default(),
            format: Formats::RELEASED.lowest,
            concern: None,
        };
        world.handle(
            &address(2),
            Input::Request { id: RequestId(1 << 50 | n), request: Request::Data(Box::new(request)) },
        );
    }
    world.cut.clear();
    world.run(1_500);
    assert_eq!(world.replica(2).status().blocked, 0);
    assert!(world.replies.values().filter(|reply| matches!(reply, Reply::Found { .. })).count() == 1_000);
}

#[test]
fn statuses_of_one_moment_that_change_places_take_nothing_back() {
    let mut world = World::new(2);
    world.run(100);
    let token = world.put(2, "x", "1", &VersionVector::new());
    world.run(300);
    let replica = world.replicas.get_mut(&address(1)).expect("it runs");
    let id = replica.find_peer(&address(2)).expect("a member");
    let (sent, wall) = (replica.peers[id].status_sent, Wall(1_700_000_000_000_000));
    replica.on_remote_vector(id, sent, wall, Arc::default());
    assert_eq!(*replica.peers[id].acknowledged, token, "what it said first in that moment came last");
}

/// Two copies of one memory whose wall clocks stand behind name and stamp their next writes alike.
#[test]
fn copies_that_write_with_one_stamp_are_told_apart() {
    let mut world = World::new(2);
    world.run(100);
    let token = world.put(1, "x", "1", &VersionVector::new());
    world.run(300);
    let digest_of = |mut replica: Replica, value: &str| {
        let now = Now { monotonic: replica.now.monotonic, wall: Wall(0) };
        let request = DataRequest {
            key: Key::new("x").expect("a key"),
            action: Action::Put(Value::new(value.as_bytes())),
            past: token.clone(),
            wait: Micros::ZERO,
            condition: Condition::default(),
            format: Formats::RELEASED.lowest,
            concern: None,
        };
        replica.handle(now, Input::Request { id: RequestId(1), request: Request::Data(Box::new(request)) });
        (replica.data.context().vector().clone(), replica.data.clock(), replica.data.store().digest())
    };
    let original = world.replica(1).clone();
    for (one, other) in [("2", "3"), ("a long value, its end is 1", "a long value, its end is 2"), ("22", "222")] {
        let (one, other) = (digest_of(original.clone(), one), digest_of(original.clone(), other));
        assert_eq!((&one.0, one.1), (&other.0, other.1), "one name and one stamp");
        assert_ne!(one.2, other.2);
    }
}

mod readiness;
