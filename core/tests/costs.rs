//! What an input costs must not grow with what happened before, beyond what is said: measured in time, because the units
//! that a replica counts itself are what is in question.
//!
//! Each cost is compared with the same work on a replica without that past, in the same process, the least of several
//! rounds each: what a busy machine adds is in neither.

use hence_core::{
    Action, Address, Condition, Config, DataRequest, Identity, Input, Key, Message, Micros, Now, Output, Replica, Reply,
    Request, RequestId, Seed, Sound, Time, Value, VersionVector, Wall,
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
    /// Replica 1 of so many, of which none answers unless a test speaks for it. It is up.
    fn new(members: usize) -> Self {
        let now = 1_000_000;
        let identity = Identity { address: address(1), view: (1..=members).map(address).collect() };
        let at = Now { monotonic: Time(now), wall: Wall(1_700_000_000_000_000) };
        let replica = Replica::new(Sound, Config::default(), identity, Seed([7; 32]), at);
        let mut lone = Self { replica, now, requests: 0, sent: Vec::new(), replies: Vec::new() };
        for _ in 0..50 {
            lone.pass(100);
        }
        assert!(lone.replica.is_ready());
        lone
    }

    fn pass(&mut self, millis: u64) {
        self.now += millis * 1_000;
        self.hand_in(Input::Timeout);
    }

    fn hand_in(&mut self, input: Input) {
        let now = Now { monotonic: Time(self.now), wall: Wall(1_700_000_000_000_000 + self.now) };
        self.sent.clear();
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
        let request = DataRequest { key, action, past: past.clone(), wait, condition: Condition::default() };
        self.hand_in(Input::Request { id: RequestId(self.requests), request: Request::Data(Box::new(request)) });
        self.replies.pop()
    }

    fn write(&mut self, key: &str, action: Action) {
        let reply = self.ask(key, action, &VersionVector::new(), Micros::ZERO);
        assert!(matches!(reply, Some(Reply::Written(_))), "{reply:?}");
    }
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
    let mut round = |lone: &mut Lone| {
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
    let trimmed = least(1, || while lone.replica.log_bytes() > 0 { lone.pass(0) });
    println!("{keeps} bytes of log left in {trimmed:?}");
    assert!(trimmed < Duration::from_secs(1), "{trimmed:?}");
}
