//! What an input costs must not grow with what happened before, beyond what is stated. It is measured in time, because
//! the units that a replica counts itself are in question.
//!
//! Each cost is compared with the same work on a replica without that past, in the same process. Each is the least of
//! several rounds, so what a busy machine adds is in neither.

#![expect(
    clippy::disallowed_methods,
    reason = "the core is handed its time; a test that measures the core reads a clock"
)]

use hence_core::{
    Action, Address, Condition, Config, DataRequest, Formats, Identity, Incarnation, Input, Key, Message, Micros, Now,
    Output, Replica, Reply, Request, RequestId, Seed, Sound, Time, Value, VersionVector, Wall,
};
use std::time::{Duration, Instant};

/// One replica and what it said last.
struct Lone {
    replica: Replica<Sound>,
    now: u64,
    requests: u64,
    sent: Vec<(Address, Message)>,
    replies: Vec<Reply>,
}

fn address(n: usize) -> Address {
    Address::parse(&format!("10.0.0.{n}:8090")).expect("an address")
}

impl Lone {
    fn start(own: usize, members: usize) -> Self {
        let now = 1_000_000;
        let identity = Identity { address: address(own), view: (1..=members).map(address).collect() };
        let at = Now { monotonic: Time(now), wall: Wall(1_700_000_000_000_000 + now) };
        let replica = Replica::new(Sound, Config::default(), identity, Seed([own as u8; 32]), at);
        Self { replica, now, requests: 0, sent: Vec::new(), replies: Vec::new() }
    }

    /// Replica 1 of so many, of which no other answers. It is up.
    fn new(members: usize) -> Self {
        let mut lone = Self::start(1, members);
        for _ in 0..50 {
            lone.pass(100);
        }
        assert!(lone.replica.is_ready());
        lone
    }

    fn pass(&mut self, millis: u64) {
        self.now += millis * 1_000;
        self.hand_in(Input::Timeout);
        self.sent.clear();
    }

    fn hand_in(&mut self, input: Input) {
        let now = Now { monotonic: Time(self.now), wall: Wall(1_700_000_000_000_000 + self.now) };
        self.replica.handle(now, input);
        while let Some(output) = self.replica.poll_output() {
            match output {
                Output::Send { to, message } => self.sent.push((to, message)),
                Output::Reply { reply, .. } => self.replies.push(*reply),
                Output::Event(_) => {}
            }
        }
    }

    fn ask(&mut self, key: &str, action: Action, past: &VersionVector, wait: Micros) -> Option<Reply> {
        self.requests += 1;
        let key = Key::new(key).expect("a key");
        let (past, condition, format) = (past.clone(), Condition::default(), Formats::RELEASED.lowest);
        let request = DataRequest { key, action, past, wait, condition, format };
        self.hand_in(Input::Request { id: RequestId(self.requests), request: Request::Data(Box::new(request)) });
        self.replies.pop()
    }

    fn write(&mut self, key: &str, action: Action) {
        let reply = self.ask(key, action, &VersionVector::new(), Micros::ZERO);
        assert!(matches!(reply, Some(Reply::Written(_))), "{reply:?}");
    }
}

/// Two replicas that hear each other at once.
struct Pair {
    a: Lone,
    b: Lone,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self { a: Lone::start(1, 2), b: Lone::start(2, 2) };
        pair.pass(1_000);
        assert!(pair.a.replica.is_ready() && pair.b.replica.is_ready());
        pair
    }

    fn pass(&mut self, millis: u64) {
        for _ in 0..millis {
            for one in [&mut self.a, &mut self.b] {
                one.now += 1_000;
                one.hand_in(Input::Timeout);
            }
            self.talk();
        }
    }

    /// Until both are silent.
    fn talk(&mut self) {
        loop {
            let (from_a, from_b) = (std::mem::take(&mut self.a.sent), std::mem::take(&mut self.b.sent));
            if from_a.is_empty() && from_b.is_empty() {
                return;
            }
            from_a.into_iter().for_each(|(_, message)| self.b.hand_in(Input::Message { from: address(1), message }));
            from_b.into_iter().for_each(|(_, message)| self.a.hand_in(Input::Message { from: address(2), message }));
        }
    }

    /// A writes, and what it says is handed to B: how long B takes for so many writes, the least of some rounds.
    fn follow(&mut self, rounds: usize) -> Duration {
        let mut times = Vec::new();
        for _ in 0..rounds {
            (0..100).for_each(|n| self.a.write(&format!("k{n}"), value()));
            let sent = std::mem::take(&mut self.a.sent);
            times.push(least(1, || {
                for (_, message) in &sent {
                    self.b.hand_in(Input::Message { from: address(1), message: message.clone() });
                }
            }));
            self.pass(20);
        }
        times.into_iter().min().expect("at least one round")
    }
}

/// An incarnation that no replica has heard of.
fn unknown(n: u64) -> VersionVector {
    VersionVector::from_entries([(Incarnation::new(1, 0x77_0000_0000 + n), 1)])
}

fn value() -> Action {
    Action::Put(Value::new(b"1"))
}

/// The least time of some rounds.
fn least(rounds: usize, mut work: impl FnMut()) -> Duration {
    let once = |work: &mut dyn FnMut()| {
        let started = Instant::now();
        work();
        started.elapsed()
    };
    (0..rounds).map(|_| once(&mut work)).min().expect("at least one round")
}

/// Each write of a key used to go through every delete of it in the log.
#[test]
fn a_write_costs_the_same_after_many_deletes_of_its_key() {
    // Member 2 never answers, so the log keeps all.
    let mut lone = Lone::new(2);
    let round = |lone: &mut Lone| {
        (0..200).for_each(|_| {
            lone.write("x", value());
            lone.write("x", Action::Delete);
        });
    };
    let before = least(5, || round(&mut lone));
    (0..100).for_each(|_| round(&mut lone));
    let after = least(5, || round(&mut lone));
    println!("200 writes and deletes: {before:?}, after 21,000 of that key {after:?}");
    assert!(after < before * 5, "{before:?} before, {after:?} after");
    // And what leaves the log costs no more: member 2 is removed, so nothing is kept.
    let keeps = lone.replica.log_bytes();
    lone.hand_in(Input::Request { id: RequestId(u64::MAX), request: Request::ViewRemove(address(2)) });
    let trimmed = least(1, || {
        while lone.replica.log_bytes() > 0 {
            lone.pass(0)
        }
    });
    println!("{keeps} bytes of log left in {trimmed:?}");
    assert!(trimmed < Duration::from_secs(1), "{trimmed:?}");
}

/// Each push used to be compared with every incarnation that any request waited for.
#[test]
fn a_push_costs_the_same_while_many_requests_wait_for_other_incarnations() {
    let mut pair = Pair::new();
    let before = pair.follow(5);
    for n in 0..4_000 {
        let reply = pair.b.ask("x", Action::Get, &unknown(n), Micros::from_seconds(30));
        assert!(reply.is_none(), "{reply:?}");
    }
    assert_eq!(pair.b.replica.blocked(), 4_000);
    pair.b.sent.clear();
    let after = pair.follow(5);
    println!("100 pushes: {before:?}, with 4,000 requests that wait for others {after:?}");
    assert!(after < before * 5, "{before:?} before, {after:?} after");
}

/// Every status used to make the replica go through the pasts of the oldest blocked requests. Long ones were gone
/// through from end to end for each of their entries.
#[test]
fn long_tokens_that_wait_cost_little_while_nothing_happens() {
    let mut pair = Pair::new();
    let quiet = least(5, || pair.pass(2_000));
    for n in 0..1_000 {
        let past =
            VersionVector::from_entries((0..600).flat_map(|m| unknown(n * 600 + m).entries().collect::<Vec<_>>()));
        pair.b.ask("x", Action::Get, &past, Micros::from_seconds(30));
        pair.talk();
    }
    assert!(pair.b.replica.blocked() > 900, "{}", pair.b.replica.blocked());
    let waits = least(5, || pair.pass(2_000));
    println!("2 s: {quiet:?}, with 1,000 requests of 600 unknown incarnations each {waits:?}");
    assert!(waits < quiet * 5 + Duration::from_millis(40), "{quiet:?} before, {waits:?} after");
}
