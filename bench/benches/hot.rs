//! The hot pieces one by one, so that a change sees what it costs: `cargo bench -p hence-bench`, `... -- token` for some.
//!
//! Everything runs in one thread, without sockets. `write_three` and `apply` go through the codec, as replicas do.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use hence_bench::pump::Cluster;
use hence_checker::generate::{Generator, Shape};
use hence_checker::history::History;
use hence_checker::{Options, judge};
use hence_core::{
    Action, Body, ClusterTag, Deps, Dot, Effect, Hlc, Incarnation, Key, Message, Op, Sibling, Siblings, Time, Token,
    Value, VersionVector,
};
use hence_sim::campaign::run::{Setting, run};
use hence_sim::generate::{Profile, plan};
use hence_transport::codec::{FrameReader, FrameWriter, OpMemo};
use std::sync::Arc;

fn main() {
    divan::main();
}

const SIZES: [usize; 4] = [1, 3, 9, 64];
const CLUSTER: ClusterTag = ClusterTag(7);

fn incarnation(at: usize) -> Incarnation {
    Incarnation::new(1, 0x12_3456_7890 + 0x1_0101 * at as u64)
}

fn vector(entries: usize, counter: u64) -> VersionVector {
    VersionVector::from_entries((0..entries).map(|at| (incarnation(at), counter + at as u64)))
}

fn key(at: usize) -> Key {
    Key::new(&format!("k{at:06}")).expect("seven characters make a key")
}

/// What a replica merges with every token, acknowledgement and operation.
#[divan::bench_group]
mod vector_merge {
    use super::*;

    #[divan::bench(args = SIZES)]
    fn join(bencher: Bencher<'_, '_>, entries: usize) {
        let (mine, theirs) = (vector(entries, 1_000), vector(entries, 1_001));
        bencher.with_inputs(|| mine.clone()).bench_local_refs(|mine| mine.join(black_box(&theirs)));
    }

    #[divan::bench(args = SIZES)]
    fn dominates(bencher: Bencher<'_, '_>, entries: usize) {
        let (mine, theirs) = (vector(entries, 1_001), vector(entries, 1_000));
        bencher.bench_local(|| black_box(&mine).dominates(black_box(&theirs)));
    }
}

#[divan::bench_group]
mod token {
    use super::*;

    #[divan::bench(args = SIZES)]
    fn encode(bencher: Bencher<'_, '_>, entries: usize) {
        let token = Token(vector(entries, 123_456));
        bencher.bench_local(|| black_box(&token).encode(CLUSTER));
    }

    #[divan::bench(args = SIZES)]
    fn decode(bencher: Bencher<'_, '_>, entries: usize) {
        let text = Token(vector(entries, 123_456)).encode(CLUSTER);
        bencher.bench_local(|| Token::decode(black_box(&text), CLUSTER, 8 << 10));
    }
}

/// A replica that knows 10,000 keys.
#[divan::bench_group]
mod replica {
    use super::*;

    const KEYS: usize = 10_000;

    fn filled(replicas: usize) -> (Cluster, VersionVector) {
        let mut cluster = Cluster::new(replicas);
        let mut past = VersionVector::new();
        for at in 0..KEYS {
            let answer = cluster.put(at % replicas, &key(at), &[b'v'; 100], &past);
            past.join(&answer);
        }
        (cluster, past)
    }

    /// The gate, and the read behind it.
    #[divan::bench]
    fn read_with_token(bencher: Bencher<'_, '_>) {
        let (mut cluster, past) = filled(3);
        let keys: Vec<Key> = (0..KEYS).map(key).collect();
        let mut at = 0;
        bencher.bench_local(|| {
            at = (at + 7_919) % KEYS;
            cluster.ask_only(0, &keys[at], Action::Get, black_box(&past))
        });
    }

    /// A write at a replica without peers.
    #[divan::bench]
    fn write_alone(bencher: Bencher<'_, '_>) {
        write(bencher, 1);
    }

    /// A write, encoded, decoded and applied at two others: divide the difference by two for one follower.
    #[divan::bench]
    fn write_three(bencher: Bencher<'_, '_>) {
        write(bencher, 3);
    }

    fn write(bencher: Bencher<'_, '_>, replicas: usize) {
        let (mut cluster, past) = filled(replicas);
        let keys: Vec<Key> = (0..KEYS).map(key).collect();
        let value = Value::new(&[b'w'; 100]);
        let mut at = 0;
        bencher.bench_local(|| {
            at = (at + 7_919) % KEYS;
            cluster.ask(0, &keys[at], Action::Put(value.clone()), black_box(&past))
        });
    }
}

/// A concurrent write joins so many versions of one key.
#[divan::bench(args = [1, 2, 10, 100])]
fn sibling_write(bencher: Bencher<'_, '_>, present: usize) {
    let sibling = |at: usize| Sibling {
        dot: Dot { incarnation: incarnation(at), counter: 1 },
        hlc: Hlc(1_000 + at as u64),
        value: Value::new(b"1"),
    };
    let siblings: Siblings = (0..present).map(sibling).collect();
    bencher.with_inputs(|| (siblings.clone(), sibling(present))).bench_local_values(|(mut siblings, new)| {
        siblings.insert(new);
        siblings
    });
}

/// Pushes in batches of 64: 7-byte keys, 100-byte values, each replacing an own write.
#[divan::bench_group]
mod codec {
    use super::*;

    const BATCH: u64 = 64;

    fn pushes() -> Vec<Message> {
        let me = incarnation(0);
        let push = |counter: u64| {
            let value = Value::new(&[b'v'; 100]);
            let op = Op {
                dot: Dot { incarnation: me, counter },
                hlc: Hlc(((1_700_000_000_000 + counter / 10) << 16) | (counter % 10)),
                effect: Effect::Put { key: key((counter * 7_919 % 10_000) as usize), value },
                superseded: [Dot { incarnation: me, counter: counter - counter % 9_000 - 1 }].into(),
                deps: Deps::default(),
            };
            let body = Body::Push { op: Arc::new(op), made: Time(3_600_000_000 + 100 * counter) };
            Message { from: me, number: 1_234_567, echo: 7_654_321, sequence: 0, body }
        };
        (1_000_000..1_000_000 + BATCH).map(push).collect()
    }

    fn encoded(messages: &[Message]) -> Vec<u8> {
        let address = hence_core::Address::parse("10.10.0.2:8090").expect("an address");
        let (mut writer, mut memo, mut bytes) = (FrameWriter::new(CLUSTER, address), OpMemo::new(), Vec::new());
        messages.iter().for_each(|message| writer.push(message, &mut memo).expect("it fits a frame"));
        writer.take(&mut bytes);
        bytes
    }

    #[divan::bench]
    fn encode(bencher: Bencher<'_, '_>) {
        let messages = pushes();
        bencher.counter(ItemsCount::new(BATCH)).bench_local(|| encoded(black_box(&messages)));
    }

    #[divan::bench]
    fn decode(bencher: Bencher<'_, '_>) {
        let bytes = encoded(&pushes());
        let bencher = bencher.counter(ItemsCount::new(BATCH)).counter(BytesCount::new(bytes.len()));
        bencher.bench_local(|| {
            let mut reader = FrameReader::new(CLUSTER);
            reader.feed(black_box(&bytes));
            reader.next_frame().expect("undamaged").expect("whole")
        });
    }
}

/// Items are events: inputs handed to replicas and answers handed to clients.
#[divan::bench(sample_count = 20)]
fn simulator(bencher: Bencher<'_, '_>) {
    let plan = plan(7, Profile::Speed);
    let events = run(&plan, Setting::default()).events;
    bencher.counter(ItemsCount::new(events)).bench_local(|| run(black_box(&plan), Setting::default()));
}

/// Items are operations of a correct history.
#[divan::bench(args = [1_000, 10_000], sample_count = 10)]
fn checker(bencher: Bencher<'_, '_>, operations: usize) {
    let shape = Shape { operations, sessions: 50, keys: 1_000, ..Shape::default() };
    let operations: Vec<_> = Generator::new(shape).collect();
    let history = History::of(&operations).expect("a generated history is well-formed");
    bencher
        .counter(ItemsCount::new(operations.len()))
        .bench_local(|| judge(black_box(&history), Options::default()).expect("a generated history is readable"));
}
