//! What a pushed operation costs over loopback, both sides in one thread:
//! `cargo run --release --features hyper --example hyper_speed`.

use hence_core::{Address, Body, ClusterTag, Deps, Dot, Dots, Effect, Hlc, Incarnation, Key, Message, Op, Time, Value};
use hence_transport::{HyperTransport, Incoming, Transport};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

fn push(counter: u64) -> Message {
    let me = Incarnation(0x1_0000_1234_5678);
    let op = Op {
        dot: Dot { incarnation: me, counter },
        hlc: Hlc(((1_700_000_000_000 + counter / 10) << 16) | (counter % 10)),
        effect: Effect::Put {
            key: Key::new(&format!("key-{:05}", counter * 7_919 % 100_000)).expect("a key"),
            value: Value::new(b"\"a value of 20 byte\""),
        },
        superseded: Dots::new(),
        deps: Deps::default(),
    };
    Message {
        from: me,
        number: 1,
        echo: 1,
        sequence: 0,
        body: Body::Push { op: Arc::new(op), made: Time(100 * counter) },
    }
}

/// Sends the messages in batches of that size and waits for each batch.
async fn exchange(left: &HyperTransport, right: &HyperTransport, messages: &[Message], batch: usize) -> Duration {
    let to: &Address = &right.settings().address.clone();
    let mut incoming = Vec::new();
    let start = Instant::now();
    for messages in messages.chunks(batch) {
        messages.iter().for_each(|message| left.send(to, message.clone()));
        let mut arrived = 0;
        while arrived < messages.len() {
            right.receive(&mut incoming).await;
            arrived += incoming.iter().filter(|i| matches!(i, Incoming::Message { .. })).count();
            incoming.clear();
        }
    }
    start.elapsed()
}

fn main() {
    const OPERATIONS: u64 = 100_000;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let cluster = ClusterTag::of("hence");
        let left = HyperTransport::bind(any, cluster).await.expect("a free port");
        let right = HyperTransport::bind(any, cluster).await.expect("a free port");
        let messages: Vec<Message> = (1..=OPERATIONS).map(push).collect();
        exchange(&left, &right, &messages[..100], 1).await;
        for (batch, count) in [(1, 10_000), (8, 50_000), (64, 100_000), (1_024, 100_000)] {
            let mut fastest = Duration::MAX;
            for _ in 0..5 {
                fastest = fastest.min(exchange(&left, &right, &messages[..count], batch).await);
            }
            println!("batches of {batch:4}: {:6.2} us per operation", fastest.as_secs_f64() * 1e6 / count as f64);
        }
    });
}
