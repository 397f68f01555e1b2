//! What an input costs must not grow with what happened before, beyond what is stated. It is counted in instructions,
//! because the units that a replica counts itself are in question.
//!
//! Each cost is compared with the same work on a replica without that past. Valgrind counts both, so no machine is too
//! slow and none too busy. Without it the test does its work, compares nothing and says so.

use hence_core::{
    Action, Address, Condition, Config, DataRequest, Formats, Identity, Incarnation, Input, Key, ListRequest, Message,
    Micros, Now, Output, Replica, Reply, Request, RequestId, Seed, Sound, Time, Value, VersionVector, Wall,
};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable that tells a child what to do: a name and the parts of it, such as `name past work`.
const WORK: &str = "HENCE_COUNTED_WORK";

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

    fn hand_in(&mut self, input: Input) {
        let now = Now { monotonic: Time(self.now), wall: Wall(1_700_000_000_000_000 + self.now) };
        self.replica.handle(now, input);
        while let Some(output) = self.replica.poll_output() {
            match output {
                Output::Send { to, message } => self.sent.push((to, message)),
                Output::Reply { reply, .. } => self.replies.push(*reply),
                Output::Tell { .. } | Output::Event(_) => {}
            }
        }
    }

    fn ask(&mut self, key: &str, action: Action, past: &VersionVector, wait: Micros) -> Option<Reply> {
        self.requests += 1;
        let key = Key::new(key).expect("a key");
        let (past, condition, format) = (past.clone(), Condition::default(), Formats::RELEASED.lowest);
        let request = DataRequest { key, action, past, wait, condition, format, concern: None };
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
}

/// An incarnation that no replica has heard of.
fn unknown(n: u64) -> VersionVector {
    VersionVector::from_entries([(Incarnation::new(1, 0x77_0000_0000 + n), 1)])
}

fn value() -> Action {
    Action::Put(Value::new(b"1"))
}

/// Work, what may have happened before it, and how many times as dear it may be then.
struct Cost {
    name: &'static str,
    past: fn(&mut Pair),
    /// What both sides do, and is not counted.
    prepare: fn(&mut Pair),
    work: fn(&mut Pair),
    at_most: f64,
}

const COSTS: [Cost; 9] = [
    // Each write of a key used to go through every delete of it in the log.
    Cost { name: "write_after_deletes", past: many_deletes, prepare: nothing, work: write_and_delete, at_most: 1.5 },
    Cost { name: "trim_after_deletes", past: many_deletes, prepare: fifty_writes, work: settle, at_most: 1.5 },
    // Each push used to be compared with every incarnation that any request waited for.
    Cost { name: "push_beside_waits", past: many_waits, prepare: fifty_writes, work: take_in, at_most: 1.5 },
    // Every status used to make the replica go through the pasts of the oldest blocked requests. Long ones were gone
    // through from end to end for each of their entries.
    // What stays is a round about at most 1,024 of them.
    Cost { name: "idle_beside_waits", past: long_waits, prepare: nothing, work: settle, at_most: 45.0 },
    Cost { name: "idle_beside_keys", past: many_keys, prepare: nothing, work: settle, at_most: 1.5 },
    Cost { name: "write_beside_keys", past: many_keys, prepare: nothing, work: write_and_delete, at_most: 1.5 },
    // Each write makes its key or takes it away, and so changes the order in which lists show keys. That costs about a
    // fifth more.
    Cost { name: "write_beside_order", past: keys_in_order, prepare: nothing, work: write_and_delete, at_most: 1.8 },
    Cost { name: "push_beside_keys", past: many_keys, prepare: fifty_writes, work: take_in, at_most: 1.5 },
    // The latest 256 removed addresses are told and looked for.
    Cost { name: "idle_in_a_large_view", past: large_view, prepare: nothing, work: settle, at_most: 25.0 },
];

fn nothing(_: &mut Pair) {}

fn settle(pair: &mut Pair) {
    pair.pass(500);
}

fn many_deletes(pair: &mut Pair) {
    for _ in 0..40 {
        (0..5).for_each(|_| write_and_delete(pair));
        pair.a.sent.clear(); // B hears of none of them, so the log keeps them
    }
}

fn many_waits(pair: &mut Pair) {
    for n in 0..4_000 {
        let reply = pair.b.ask("x", Action::Get, &unknown(n), Micros::from_seconds(30));
        assert!(reply.is_none(), "{reply:?}");
    }
    assert_eq!(pair.b.replica.blocked(), 4_000);
    pair.b.sent.clear();
}

fn long_waits(pair: &mut Pair) {
    for n in 0..20 {
        let entries = (0..600).flat_map(|m| unknown(n * 600 + m).entries().collect::<Vec<_>>());
        pair.b.ask("x", Action::Get, &VersionVector::from_entries(entries), Micros::from_seconds(30));
        pair.talk();
    }
    assert!(pair.b.replica.blocked() > 15, "{}", pair.b.replica.blocked());
}

fn many_keys(pair: &mut Pair) {
    for n in 0..3_000 {
        pair.a.write(&format!("many{n}"), value());
        pair.talk();
    }
    pair.pass(200);
}

/// A list puts all keys in order.
fn keys_in_order(pair: &mut Pair) {
    many_keys(pair);
    pair.a.requests += 1;
    let request = Request::List(Box::new(ListRequest::all(VersionVector::new())));
    pair.a.hand_in(Input::Request { id: RequestId(pair.a.requests), request });
    pair.pass(100);
    let reply = pair.a.replies.pop();
    assert!(matches!(&reply, Some(Reply::Listed(page)) if page.next.is_some()), "{reply:?}");
}

fn large_view(pair: &mut Pair) {
    for n in 0..1_000 {
        let other = Address::parse(&format!("10.1.{}.{}:8090", n / 250, n % 250 + 1)).expect("an address");
        for request in [Request::ViewAdd(other.clone()), Request::ViewRemove(other)] {
            pair.a.requests += 1;
            pair.a.hand_in(Input::Request { id: RequestId(pair.a.requests), request });
        }
    }
    pair.pass(3_000);
}

fn write_and_delete(pair: &mut Pair) {
    for _ in 0..50 {
        pair.a.write("x", value());
        pair.a.write("x", Action::Delete);
    }
}

fn fifty_writes(pair: &mut Pair) {
    (0..50).for_each(|n| pair.a.write(&format!("k{n}"), value()));
}

/// B takes in what A said.
fn take_in(pair: &mut Pair) {
    for (_, message) in std::mem::take(&mut pair.a.sent) {
        pair.b.hand_in(Input::Message { from: address(1), message });
    }
}

fn run(cost: &Cost, past: bool, work: bool) {
    let mut pair = Pair::new();
    fifty_writes(&mut pair);
    write_and_delete(&mut pair);
    pair.pass(300);
    if past {
        (cost.past)(&mut pair);
    }
    (cost.prepare)(&mut pair);
    if work {
        (cost.work)(&mut pair);
    }
}

/// What a child of the other test does.
#[test]
fn child() {
    let Ok(asked) = std::env::var(WORK) else { return };
    let has = |part: &str| asked.split(' ').any(|word| word == part);
    run(COSTS.iter().find(|cost| has(cost.name)).expect("it is one of the list"), has("past"), has("work"));
}

/// How many instructions a child takes for these parts.
fn count(program: &Path, parts: &str) -> u64 {
    let out = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--exact", "child", "--test-threads=1"])
        .env(WORK, parts)
        .output()
        .expect("valgrind was asked for its version before");
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{text}\n{}", String::from_utf8_lossy(&out.stdout));
    let line = text.lines().find_map(|line| line.split_once("Collected :")).expect("callgrind tells how many");
    line.1.trim().parse().expect("a number")
}

/// This program without what debuggers need, which valgrind would read each time for a second and more.
fn stripped() -> PathBuf {
    let program = std::env::current_exe().expect("it runs");
    let stripped = program.with_extension("stripped");
    let made = Command::new("strip").arg("-o").args([&stripped, &program]).status();
    if made.is_ok_and(|status| status.success()) { stripped } else { program }
}

#[test]
fn work_costs_the_same_whatever_happened_before() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("note: nothing is counted: valgrind is not here");
        return COSTS.iter().for_each(|cost| run(cost, true, true));
    }
    let program = stripped();
    let count = |parts: &str| count(&program, parts);
    let compare = |Cost { name, at_most, .. }: &Cost| {
        let before = count(&format!("{name} work")) - count(name);
        let after = count(&format!("{name} past work")) - count(&format!("{name} past"));
        let times = after as f64 / before as f64;
        println!("{name}: {before} instructions, with its past {after}, {times:.2} times");
        assert!(before > 100_000, "{name}: {before} instructions are no work");
        assert!(times <= *at_most, "{name} costs {times:.2} times as much, at most {at_most} are allowed");
    };
    let (some, others) = COSTS.split_at(COSTS.len() / 2);
    std::thread::scope(|scope| {
        scope.spawn(|| some.iter().for_each(compare));
        others.iter().for_each(compare);
    });
}
