//! The laws pass on sound transports, and catch each planted mistake.

use super::*;
use crate::Incoming;
use crate::faulty::{Chance, Direction, FaultCounts, Faults, Faulty, Target, TokioSleeper, Weather};
use crate::memory::{Hub, MemoryTransport};
use hence_core::{Body, Effect, Incarnation, Value};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Wraps each memory transport by `wrap`.
struct MemoryLaboratory<W> {
    hub: Hub,
    addresses: u16,
    character: Character,
    wrap: W,
}

impl<W> MemoryLaboratory<W> {
    fn new(wrap: W) -> Self {
        let character =
            Character { underway_bytes_max: 16 << 20, quiet_after: Micros::from_millis(10), ..Character::default() };
        Self { hub: Hub::new(200), addresses: 0, character, wrap }
    }
}

#[async_trait(?Send)]
impl<T: Transport, W: Fn(MemoryTransport, &Address) -> T> Laboratory for MemoryLaboratory<W> {
    type Transport = T;

    fn address(&mut self) -> Address {
        self.addresses += 1;
        Address::parse(&format!("10.0.0.1:{}", self.addresses)).expect("an address")
    }

    async fn start(&mut self, address: &Address) -> T {
        (self.wrap)(self.hub.join(address), address)
    }

    async fn sleep(&self, length: Micros) {
        tokio::time::sleep(Duration::from_micros(length.0)).await;
    }

    fn character(&self) -> Character {
        self.character
    }
}

fn verdict<T: Transport>(mut laboratory: MemoryLaboratory<impl Fn(MemoryTransport, &Address) -> T>) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(check_all(&mut laboratory))
}

#[test]
fn memory_keeps_the_laws() {
    assert_eq!(verdict(MemoryLaboratory::new(|inner, _: &Address| inner)), Ok(()));
}

#[test]
fn faulty_without_faults_keeps_the_laws() {
    let wrap = |inner, _: &Address| Faulty::new(inner, TokioSleeper::default(), Faults::new(1));
    assert_eq!(verdict(MemoryLaboratory::new(wrap)), Ok(()));
}

#[test]
fn faulty_in_bad_weather_keeps_the_laws() {
    let counts = Rc::new(RefCell::new(Vec::new()));
    let all = Rc::clone(&counts);
    let wrap = move |inner, _: &Address| {
        let faults = Faults::new(2);
        let weather = Weather {
            delay: Micros(300),
            jitter: Micros(500),
            drop: Chance::per_mille(100),
            duplicate: Chance::per_mille(100),
            reorder: Chance::per_mille(100),
            reorder_by: Micros(2_000),
        };
        faults.set_weather(Target::Everybody, Direction::Both, weather);
        all.borrow_mut().push(faults.clone());
        Faulty::new(inner, TokioSleeper::default(), faults)
    };
    let mut laboratory = MemoryLaboratory::new(wrap);
    laboratory.character.lossless = false;
    // What is delayed is kept beside the mailboxes.
    laboratory.character.underway_bytes_max = 256 << 20;
    laboratory.character.quiet_after = Micros::from_millis(50);
    assert_eq!(verdict(laboratory), Ok(()));
    let counts: Vec<_> = counts.borrow().iter().map(Faults::counts).collect();
    let sum = |fault: fn(&FaultCounts) -> u64| counts.iter().map(fault).sum::<u64>();
    let struck = [sum(|c| c.dropped), sum(|c| c.duplicated), sum(|c| c.delayed), sum(|c| c.reordered)];
    assert!(struck.iter().all(|&count| count > 100), "{struck:?}");
}

/// A mistake that a transport could make.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Bug {
    FlipsABit,
    SwapsTheSender,
    InventsAMessage,
    InventsAConnection,
    DeliversToAllInstead,
    Blocks,
    LosesLargeOnes,
    LosesOneKind,
    LosesWhenCancelled,
    KeepsForTheDead,
    KeepsEverything,
    ForgetsTheRestarted,
    ReflectsToPeers,
    BelievesStrangers,
}

/// A memory transport with one mistake.
struct Planted {
    inner: MemoryTransport,
    own: Address,
    bug: Bug,
    sent: Cell<u32>,
    shared: Rc<Shared>,
    drawn: RefCell<Vec<Incoming>>,
}

/// What all transports with the same mistake know.
#[derive(Default)]
struct Shared {
    seen: RefCell<Vec<Address>>,
    kept: RefCell<BTreeMap<Address, Vec<Message>>>,
    stopped: RefCell<Vec<Address>>,
    thrown: RefCell<Vec<(Address, Message)>>,
}

impl Drop for Planted {
    fn drop(&mut self) {
        self.shared.stopped.borrow_mut().push(self.own.clone());
    }
}

fn with_flipped_bit(message: Message) -> Message {
    let Body::Push { op, made } = &message.body else { return message };
    let Effect::Put { key, value } = &op.effect else { return message };
    let mut bytes = value.as_bytes().to_vec();
    let Some(last) = bytes.last_mut() else { return message };
    *last ^= 4;
    let effect = Effect::Put { key: key.clone(), value: Value::new(&bytes) };
    let op = Arc::new(hence_core::Op { effect, ..(**op).clone() });
    Message { body: Body::Push { op, made: *made }, ..message }
}

fn taken(number: u64) -> Message {
    Message { from: Incarnation(1), number, echo: 1, sequence: 0, body: Body::Taken { id: 1, frame: 1 } }
}

#[async_trait(?Send)]
impl Transport for Planted {
    fn send(&self, to: &Address, message: Message) {
        self.sent.set(self.sent.get() + 1);
        let now_and_then = self.sent.get().is_multiple_of(10);
        match self.bug {
            Bug::FlipsABit if now_and_then => self.inner.send(to, with_flipped_bit(message)),
            Bug::InventsAMessage if now_and_then => {
                self.inner.send(to, taken(u64::MAX));
                self.inner.send(to, message);
            }
            Bug::DeliversToAllInstead => {
                self.shared.seen.borrow().iter().for_each(|seen| self.inner.send(seen, message.clone()));
            }
            Bug::Blocks => {
                std::thread::sleep(Duration::from_micros(150));
                self.inner.send(to, message);
            }
            Bug::LosesLargeOnes if matches!(&message.body, Body::Push { op, .. } if op.bytes() > 1 << 20) => {}
            Bug::LosesOneKind if message.body.name() == "pull" => {}
            Bug::KeepsForTheDead => {
                let mut kept = self.shared.kept.borrow_mut();
                let queue = kept.entry(to.clone()).or_default();
                if self.shared.seen.borrow().contains(to) {
                    self.inner.send(to, message);
                    queue.drain(..).for_each(|message| self.inner.send(to, message));
                } else if !message.is_opening() {
                    queue.push(message);
                }
            }
            Bug::ForgetsTheRestarted if self.shared.stopped.borrow().contains(to) => {}
            Bug::ReflectsToPeers if *to == self.own => {
                self.shared.seen.borrow().iter().for_each(|seen| self.inner.send(seen, message.clone()));
            }
            Bug::FlipsABit
            | Bug::SwapsTheSender
            | Bug::InventsAMessage
            | Bug::InventsAConnection
            | Bug::LosesLargeOnes
            | Bug::LosesOneKind
            | Bug::LosesWhenCancelled
            | Bug::KeepsEverything
            | Bug::ForgetsTheRestarted
            | Bug::ReflectsToPeers
            | Bug::BelievesStrangers => self.inner.send(to, message),
        }
    }

    async fn receive(&self, into: &mut Vec<Incoming>) {
        let mut arrived = std::mem::take(&mut *self.drawn.borrow_mut());
        if self.bug == Bug::BelievesStrangers {
            let mut thrown = self.shared.thrown.borrow_mut();
            let mine = thrown.extract_if(.., |(at, _)| *at == self.own);
            arrived.extend(mine.map(|(_, message)| Incoming::Message { from: self.own.clone(), message }));
        }
        if arrived.is_empty() {
            self.inner.receive(&mut arrived).await;
        }
        if self.bug == Bug::LosesWhenCancelled {
            tokio::task::yield_now().await;
        }
        if self.bug == Bug::InventsAConnection {
            arrived.push(Incoming::Connected { to: Address::parse("10.9.9.9:9").expect("an address") });
        }
        if self.bug == Bug::SwapsTheSender {
            for incoming in &mut arrived {
                if let Incoming::Message { from, .. } = incoming {
                    *from = self.own.clone();
                }
            }
        }
        into.append(&mut arrived);
    }
}

struct PlantedLaboratory {
    inner: MemoryLaboratory<()>,
    bug: Bug,
    shared: Rc<Shared>,
}

#[async_trait(?Send)]
impl Laboratory for PlantedLaboratory {
    type Transport = Planted;

    fn address(&mut self) -> Address {
        self.inner.addresses += 1;
        Address::parse(&format!("10.0.0.1:{}", self.inner.addresses)).expect("an address")
    }

    async fn start(&mut self, address: &Address) -> Planted {
        self.shared.seen.borrow_mut().push(address.clone());
        let (inner, own, shared) = (self.inner.hub.join(address), address.clone(), Rc::clone(&self.shared));
        Planted { inner, own, bug: self.bug, sent: Cell::new(0), shared, drawn: RefCell::default() }
    }

    async fn sleep(&self, length: Micros) {
        tokio::time::sleep(Duration::from_micros(length.0)).await;
    }

    async fn throw(&mut self, at: &Address, bytes: &[u8]) -> bool {
        self.shared.thrown.borrow_mut().push((at.clone(), taken(bytes.len() as u64)));
        true
    }

    fn character(&self) -> Character {
        self.inner.character
    }
}

/// The law that catches this mistake, and not an earlier one by accident.
fn caught(bug: Bug) -> Option<Law> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut inner = MemoryLaboratory::new(());
    if bug == Bug::KeepsEverything {
        inner.hub = Hub::new(usize::MAX);
    }
    let mut laboratory = PlantedLaboratory { inner, bug, shared: Rc::default() };
    let verdict = runtime.block_on(check_all(&mut laboratory));
    println!("{bug:?}: {}", verdict.as_ref().map_or_else(ToString::to_string, |()| "not caught".into()));
    verdict.err().map(|violation| violation.law)
}

#[test]
fn each_planted_mistake_is_caught_by_its_law() {
    let table = [
        (Bug::FlipsABit, Law::NeverCorrupts),
        (Bug::SwapsTheSender, Law::NeverInvents),
        (Bug::InventsAMessage, Law::NeverInvents),
        (Bug::InventsAConnection, Law::NeverInvents),
        (Bug::DeliversToAllInstead, Law::NeverInvents),
        (Bug::Blocks, Law::NeverBlocks),
        (Bug::LosesLargeOnes, Law::Delivers),
        (Bug::LosesOneKind, Law::Delivers),
        (Bug::LosesWhenCancelled, Law::CancelLosesNothing),
        (Bug::KeepsForTheDead, Law::OpeningDropsQueued),
        (Bug::KeepsEverything, Law::MemoryIsBounded),
        (Bug::ForgetsTheRestarted, Law::SurvivesRestart),
        (Bug::ReflectsToPeers, Law::SelfIsHarmless),
        (Bug::BelievesStrangers, Law::RefusesGarbage),
    ];
    // Most of the time is spent in waiting for what does not come, so all wait together.
    let running = table.map(|(bug, law)| (bug, law, std::thread::spawn(move || caught(bug))));
    for (bug, law, verdict) in running {
        assert_eq!(verdict.join().expect("no panic"), Some(law), "{bug:?}");
    }
}
