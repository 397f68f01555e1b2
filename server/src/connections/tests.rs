//! Which connection gives way, what each phase may last, and what bodies share.

use super::connection::READER_BYTES_PER_SECOND;
use super::*;
use hence_core::Value;
use std::task::Waker;

/// A socket whose other side is gone already.
fn stream() -> TcpStream {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nonblocking(true).unwrap();
    TcpStream::from_std(client).unwrap()
}

fn connections(connections_max: usize) -> (Rc<Connections>, Metrics) {
    let limits = Limits { connections_max, bodies_bytes_max: 100, ..Limits::default() };
    (Connections::new(&limits, false), Metrics::new())
}

fn sweep(connections: &Connections, metrics: &Metrics, time: Duration) {
    (0..ticks(time)).for_each(|_| connections.sweep(metrics));
}

#[tokio::test]
async fn the_longest_idle_gives_way() {
    let (all, metrics) = connections(3);
    let busy = all.admit(stream(), &metrics).unwrap();
    busy.connection().on_request();
    let first = all.admit(stream(), &metrics).unwrap();
    all.sweep(&metrics);
    let second = all.admit(stream(), &metrics).unwrap();
    // The first one did something since, so the second is idle longer.
    first.connection().on_request();
    all.sweep(&metrics);
    first.connection().on_answer(10);
    first.connection().pulse.on_flushed();
    let third = all.admit(stream(), &metrics).unwrap();
    assert!(!all.entries.borrow().contains_key(&second.id()));
    assert!(all.entries.borrow().contains_key(&first.id()));
    assert_eq!((all.len(), metrics.connections_evicted.get()), (3, 1));
    // No connection idles: a new one is let in to hear what it wants, and none beyond that.
    first.connection().on_request();
    third.connection().on_request();
    let surplus: Vec<Registered> = (0..SURPLUS_MAX).map(|_| all.admit(stream(), &metrics).unwrap()).collect();
    assert!(surplus.iter().all(|one| one.connection().is_surplus()) && !third.connection().is_surplus());
    assert!(all.admit(stream(), &metrics).is_none());
    assert_eq!(metrics.connections_refused.get(), 1);
    // A head that stays incomplete does not lock others out for long.
    drop(surplus);
    third.connection().on_answer(0);
    third.connection().pulse.on_flushed();
    third.connection().pulse.on_bytes_read();
    assert!(all.admit(stream(), &metrics).unwrap().connection().is_surplus());
    sweep(&all, &metrics, TIMEOUT_AT_LIMIT);
    assert!(!all.admit(stream(), &metrics).unwrap().connection().is_surplus());
    assert!(!all.entries.borrow().contains_key(&third.id()));
}

#[tokio::test]
async fn each_phase_has_its_limit() {
    let (all, metrics) = connections(10);
    let limits = Limits::default();
    let open = |all: &Rc<Connections>| all.admit(stream(), &metrics).unwrap();
    let (idle, head, busy, body, answer) = (open(&all), open(&all), open(&all), open(&all), open(&all));
    head.connection().pulse.on_bytes_read();
    busy.connection().on_request();
    body.connection().on_request();
    body.connection().on_body_awaited();
    answer.connection().on_request();
    answer.connection().on_answer(0);
    let is_open = |one: &Registered| all.entries.borrow().contains_key(&one.id());
    sweep(&all, &metrics, limits.head_time_max - TICK);
    assert!(is_open(&head));
    all.sweep(&metrics);
    assert!(!is_open(&head) && is_open(&idle) && is_open(&answer));
    assert!(!body.connection().is_body_late(Waker::noop()));
    sweep(&all, &metrics, limits.body_time_max);
    assert!(is_open(&body) && body.connection().is_body_late(Waker::noop()));
    assert!(!is_open(&answer) && is_open(&idle));
    sweep(&all, &metrics, limits.idle_time_max);
    assert!(!is_open(&idle) && is_open(&busy));
}

#[tokio::test]
async fn a_large_answer_may_take_longer() {
    let (all, metrics) = connections(10);
    let slow = all.admit(stream(), &metrics).unwrap();
    slow.connection().on_answer(READER_BYTES_PER_SECOND * 60);
    sweep(&all, &metrics, Limits::default().answer_time_max + Duration::from_secs(59));
    assert_eq!(all.len(), 1);
    sweep(&all, &metrics, Duration::from_secs(1));
    assert_eq!(all.len(), 0);
    drop(slow);
}

#[tokio::test]
async fn bodies_share_a_budget() {
    let (all, _) = connections(10);
    let mut first = all.reserve();
    let mut second = all.reserve();
    assert!(first.grow(60) && second.grow(40) && !second.grow(1));
    drop(first);
    assert!(second.grow(60) && !second.grow(1));
    drop(second);
    assert_eq!(all.body_bytes.get(), 0);
}

#[tokio::test]
async fn stopping_ends_who_has_no_request() {
    let (all, metrics) = connections(10);
    let (idle, busy) = (all.admit(stream(), &metrics).unwrap(), all.admit(stream(), &metrics).unwrap());
    busy.connection().on_request();
    all.stop();
    assert!(all.is_stopping() && all.len() == 1);
    drop((idle, busy));
    assert_eq!(all.len(), 0);
}

#[tokio::test]
async fn who_holds_what_nothing_else_holds_makes_room() {
    let (all, metrics) = connections(9);
    let send = |content| {
        let one = all.admit(stream(), &metrics).unwrap();
        let (bytes, seen) = piece(content);
        all.on_answer(one.connection(), 90, vec![seen], 0);
        (one, bytes)
    };
    let is_open = |one: &Registered| all.entries.borrow().contains_key(&one.id());
    let in_store = Value::new(&[b'x'; 90]);
    let (own, _own_bytes) = send(Piece::Own(vec![b'y'; 60]));
    let (first, first_bytes) = send(Piece::Shared(in_store.clone()));
    let (second, _second_bytes) = send(Piece::Shared(in_store.clone()));
    all.shed();
    assert_eq!(all.memory().answers, 60, "the replica has the value anyway");
    assert!([&own, &first, &second].into_iter().all(is_open));
    drop(in_store);
    assert_eq!(all.memory().answers, 150, "it counts once");
    all.shed();
    assert!(!is_open(&own) && is_open(&first) && is_open(&second), "the one that has taken longest goes");
    // A body needs room: both that send the value have to go for it.
    let mut body = all.reserve();
    assert!(body.grow(20));
    assert!(!is_open(&first) && !is_open(&second));
    assert_eq!((all.memory().answers, all.memory().ended), (0, 3));
    drop((first, first_bytes));
}
