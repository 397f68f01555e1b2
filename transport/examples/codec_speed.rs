//! How long the codec takes per operation, and how many bytes it adds: `cargo run --release --example codec_speed`.
//!
//! One line per size of batch. The batches are pushes of 20-byte values with keys of 9 bytes, at three replicas. A
//! third of them replace an own write, and a third another replica's.

use hence_core::{
    Address, Body, ClusterTag, Dot, Effect, Hlc, Incarnation, Key, Message, Op, Time, Value, VersionVector,
};
use hence_transport::codec::{FrameReader, FrameWriter, OpMemo};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const OWN: Incarnation = Incarnation(0x1_0000_1234_5678);
const OTHERS: [Incarnation; 2] = [Incarnation(0x2_0000_1234_5678), Incarnation(0x3_0000_1234_5678)];

fn push(n: u64) -> Message {
    let counter = 1_000_000 + n;
    let other = Dot { incarnation: OTHERS[(n % 2) as usize], counter: 900_000 + n };
    let mut deps = VersionVector::new();
    let superseded = match n % 3 {
        0 => vec![Dot { incarnation: OWN, counter: counter - 1 - n * 7_919 % 100_000 }],
        1 => vec![other],
        _ => Vec::new(),
    };
    if n % 3 == 1 || n.is_multiple_of(4) {
        deps.join_dot(other);
    }
    let op = Op {
        dot: Dot { incarnation: OWN, counter },
        hlc: Hlc(((1_700_000_000_000 + n / 10) << 16) | (n % 10)),
        effect: Effect::Put {
            key: Key::new(&format!("key-{:05}", n * 7_919 % 100_000)).expect("a key"),
            value: Value::new(b"\"a value of 20 byte\""),
        },
        superseded: superseded.into(),
        deps: deps.into(),
    };
    let made = Time(3_600_000_000 + 100 * n);
    Message { from: OWN, number: 1_234_567, echo: 7_654_321, sequence: 0, body: Body::Push { op: Arc::new(op), made } }
}

/// Nanoseconds per operation, the least of a few runs.
fn fastest(operations: usize, mut run: impl FnMut()) -> f64 {
    let once = |_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64() * 1e9 / operations as f64
    };
    (0..7).map(once).fold(f64::INFINITY, f64::min)
}

fn main() {
    const OPERATIONS: usize = 65_536;
    let cluster = ClusterTag::of("hence");
    let address = Address::parse("10.10.0.2:8090").expect("an address");
    let messages: Vec<Message> = (0..OPERATIONS as u64).map(push).collect();
    let data = 9 + 20;
    println!("batch  bytes added  encode first  encode for each further peer  decode   (ns per operation)");
    for batch in [1, 8, 64, 256] {
        let mut memo = OpMemo::new();
        let [mut first, mut second] = [0, 1].map(|_| FrameWriter::new(cluster, address.clone()));
        let (mut bytes, mut sink) = (Vec::new(), Vec::new());
        let encode = |writer: &mut FrameWriter, memo: &mut OpMemo, messages: &[Message], into: &mut Vec<u8>| {
            messages.iter().for_each(|message| writer.push(message, memo).expect("fits"));
            writer.take(into);
        };
        let one = fastest(OPERATIONS, || {
            for messages in messages.chunks(batch) {
                sink.clear();
                encode(&mut first, &mut memo, messages, &mut sink);
                black_box(&sink);
            }
        });
        let both = fastest(OPERATIONS, || {
            for messages in messages.chunks(batch) {
                for writer in [&mut first, &mut second] {
                    sink.clear();
                    encode(writer, &mut memo, messages, &mut sink);
                    black_box(&sink);
                }
            }
        });
        // What is decoded begins a connection.
        first.clear();
        for messages in messages.chunks(batch) {
            let mut frame = Vec::new();
            encode(&mut first, &mut memo, messages, &mut frame);
            bytes.extend_from_slice(&frame);
        }
        let decode = fastest(OPERATIONS, || {
            let mut reader = FrameReader::new(cluster);
            for part in bytes.chunks(64 << 10) {
                reader.buffer().extend_from_slice(part);
                while let Some(frame) = reader.next_frame().expect("undamaged") {
                    black_box(frame);
                }
            }
        });
        let added = (bytes.len() - OPERATIONS * data) as f64 / OPERATIONS as f64;
        println!("{batch:5}  {added:11.1}  {one:12.0}  {:28.0}  {decode:6.0}", both - one);
    }
}
