//! A few transports, everything that was sent among them, and everything that arrived.
//!
//! Invariant kept here: whatever arrives is judged at once. It was sent by that one to this one, to the last bit, and a
//! connection was accepted where a member has been.

use super::{Laboratory, Law, SHORT, TIMEOUT, TRIES, Verdict, Violation};
use crate::{Incoming, Transport};
use core::future::poll_fn;
use core::task::Poll;
use hence_core::{Address, Body, Message, Micros};
use std::collections::BTreeMap;

/// See the module. Transports are named by their places.
pub(super) struct Scene<'a, L: Laboratory> {
    pub(super) laboratory: &'a mut L,
    pub(super) addresses: Vec<Address>,
    transports: Vec<Option<L::Transport>>,
    /// The messages that arrived, with the addresses they bore.
    pub(super) arrived: Vec<Vec<(Address, Message)>>,
    /// By sender, receiver and number. Few messages share a number, so a search is short.
    sent: BTreeMap<(usize, usize, u64), Vec<Message>>,
    /// Has ever been started.
    alive: Vec<bool>,
}

impl<'a, L: Laboratory> Scene<'a, L> {
    /// So many transports, running.
    pub(super) async fn of(laboratory: &'a mut L, count: usize) -> Self {
        let mut scene = Self {
            laboratory,
            addresses: Vec::new(),
            transports: Vec::new(),
            arrived: Vec::new(),
            sent: BTreeMap::new(),
            alive: Vec::new(),
        };
        for _ in 0..count {
            let place = scene.one_more_address();
            scene.start(place).await;
        }
        scene
    }

    /// Another address, where nothing runs yet.
    pub(super) fn one_more_address(&mut self) -> usize {
        self.addresses.push(self.laboratory.address());
        self.transports.push(None);
        self.arrived.push(Vec::new());
        self.alive.push(false);
        self.addresses.len() - 1
    }

    pub(super) async fn start(&mut self, place: usize) {
        self.alive[place] = true;
        self.transports[place] = Some(self.laboratory.start(&self.addresses[place]).await);
    }

    pub(super) async fn stop(&mut self, place: usize) {
        if let Some(transport) = self.transports[place].take() {
            self.laboratory.stop(transport).await;
        }
    }

    pub(super) async fn end(mut self) {
        for place in 0..self.transports.len() {
            self.stop(place).await;
        }
    }

    pub(super) fn transport(&self, place: usize) -> &L::Transport {
        self.transports[place].as_ref().expect("a law uses only transports that it started")
    }

    pub(super) fn send(&mut self, from: usize, to: usize, message: &Message) {
        self.note(from, to, message);
        self.transport(from).send(&self.addresses[to], message.clone());
    }

    /// This may arrive from now on.
    pub(super) fn note(&mut self, from: usize, to: usize, message: &Message) {
        let known = self.sent.entry((from, to, message.number)).or_default();
        if !known.contains(message) {
            known.push(message.clone());
        }
    }

    pub(super) fn has_arrived(&self, from: usize, to: usize, message: &Message) -> bool {
        let from = &self.addresses[from];
        self.arrived[to].iter().any(|(sender, arrived)| sender == from && arrived == message)
    }

    /// Says a message again and again until it arrives.
    pub(super) async fn say(&mut self, from: usize, to: usize, message: &Message) -> Verdict {
        for _ in 0..TRIES {
            self.send(from, to, message);
            let mut waited = Micros::ZERO;
            while waited < TIMEOUT {
                self.listen(SHORT, &[from, to]).await?;
                if self.has_arrived(from, to, message) {
                    return Ok(());
                }
                waited = waited.saturating_add(SHORT);
            }
        }
        let bytes = if let Body::Push { op, .. } = &message.body { op.bytes() } else { 0 };
        let name = message.body.name();
        let how = format!("a {name} ({bytes} bytes of operation) did not arrive, said {TRIES} times");
        Err(Violation::new(Law::Delivers, how))
    }

    /// Waits until nothing has arrived anywhere for a while.
    pub(super) async fn quiet(&mut self) -> Verdict {
        let all: Vec<usize> = (0..self.transports.len()).collect();
        while self.listen(self.laboratory.character().quiet_after, &all).await? {}
        Ok(())
    }

    /// Polls a receiver once and gives it up.
    pub(super) async fn peek(&mut self, place: usize) -> Verdict {
        let mut arrived = Vec::new();
        {
            let mut receive = self.transport(place).receive(&mut arrived);
            poll_fn(|context| {
                let _ = receive.as_mut().poll(context);
                Poll::Ready(())
            })
            .await;
        }
        self.take_in(place, arrived)
    }

    /// Waits until something arrives at one of these, at most so long. Says whether anything did. The others
    /// stand still: no task reads there.
    pub(super) async fn listen(&mut self, length: Micros, places: &[usize]) -> Result<bool, Violation> {
        let mut running: Vec<usize> = places.iter().copied().filter(|&at| self.transports[at].is_some()).collect();
        running.dedup();
        let mut arrived: Vec<Vec<Incoming>> = running.iter().map(|_| Vec::new()).collect();
        {
            let mut sleep = self.laboratory.sleep(length);
            let ears = running.iter().zip(&mut arrived);
            let mut waits: Vec<_> = ears.map(|(&at, into)| self.transport(at).receive(into)).collect();
            poll_fn(|context| {
                let mut ready = false;
                for wait in &mut waits {
                    ready |= wait.as_mut().poll(context).is_ready();
                }
                if ready { Poll::Ready(()) } else { sleep.as_mut().poll(context) }
            })
            .await;
        }
        let any = arrived.iter().any(|arrived| !arrived.is_empty());
        running.into_iter().zip(arrived).try_for_each(|(at, arrived)| self.take_in(at, arrived))?;
        Ok(any)
    }

    fn take_in(&mut self, place: usize, arrived: Vec<Incoming>) -> Verdict {
        for incoming in arrived {
            match incoming {
                Incoming::Connected { to } => {
                    if !self.place(&to).is_some_and(|at| self.alive[at]) {
                        let how = format!("{to} accepted a connection, where no process has been");
                        return Err(Violation::new(Law::NeverInvents, how));
                    }
                }
                Incoming::Sign { .. } | Incoming::Refused { .. } | Incoming::Aside { .. } => {} // nothing was sent
                Incoming::Progress { .. } => {} // of a message that may never be whole
                Incoming::Message { from, message } => {
                    self.judge(place, &from, &message)?;
                    self.arrived[place].push((from, message));
                }
            }
        }
        Ok(())
    }

    fn judge(&self, place: usize, from: &Address, message: &Message) -> Verdict {
        let at = &self.addresses[place];
        let sent = self.place(from).and_then(|from| self.sent.get(&(from, place, message.number)));
        let Some(sent) = sent else {
            let name = message.body.name();
            let how = format!("a {name} with number {} reached {at} from {from}, who never sent it", message.number);
            return Err(Violation::new(Law::NeverInvents, how));
        };
        if sent.contains(message) {
            return Ok(());
        }
        let mut snapshot_entry = format!("{message:?}");
        snapshot_entry.truncate(snapshot_entry.floor_char_boundary(300));
        let how = format!("{from} sent to {at} something else under number {}: {snapshot_entry}", message.number);
        Err(Violation::new(Law::NeverCorrupts, how))
    }

    fn place(&self, address: &Address) -> Option<usize> {
        self.addresses.iter().position(|known| known == address)
    }
}
