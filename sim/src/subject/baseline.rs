//! Another subject: the scheme that small stores with this API use. A version number per key is the causal metadata,
//! and a write is broadcast once. A silent peer is taken out of the view for good. A newcomer copies whatever the first
//! peer that answers has.
//!
//! It is here to be convicted. Its anomalies show why the real design is what it is, and that the simulator is not
//! bound to our own replica. Metadata `{key: version}` travels as a version vector whose incarnations are hashes of
//! keys.

use crate::random::mix;
use crate::subject::{Input, Out, Probe, Subject, Traits, number_of};
use hence_core::{
    Action, Address, Config, DataRequest, Dot, Hlc, Identity, Incarnation, Key, Now, Refusal, Reply, Request,
    RequestId, Seed, Sibling, Siblings, Time, Value, Written,
};
use std::collections::{BTreeMap, VecDeque};

/// One version of a key; no value is a delete.
#[derive(Debug, Clone)]
pub struct Version {
    number: u64,
    value: Option<Value>,
}

/// What its replicas say to each other.
#[derive(Debug, Clone)]
pub enum Word {
    /// Still here.
    Ping,
    /// This was written.
    Write(Key, Version),
    /// What do you have?
    Ask,
    /// This is what I have.
    State(Vec<(Key, Version)>),
}

/// One replica.
#[derive(Debug)]
pub struct Baseline {
    config: Config,
    store: BTreeMap<Key, Version>,
    /// The peers that are not taken out, with when they were heard last.
    peers: Vec<(Address, Time)>,
    address: Address,
    next_ping: Time,
    /// It has copied a state, or may serve without.
    ready_at: Option<Time>,
    replies: VecDeque<(RequestId, Reply)>,
    sends: VecDeque<(Address, Word)>,
}

fn name_of(key: &Key) -> Incarnation {
    Incarnation(key.as_str().bytes().fold(1, |hash, byte| mix(hash, byte.into())))
}

impl Baseline {
    fn broadcast(&mut self, word: &Word) {
        for (address, _) in &self.peers {
            self.sends.push_back((address.clone(), word.clone()));
        }
    }

    fn learn(&mut self, key: Key, version: Version) {
        let known = self.store.get(&key).map_or(0, |known| known.number);
        if version.number > known {
            self.store.insert(key, version);
        }
    }

    fn hear(&mut self, from: &Address, word: Word, now: Time) {
        if let Some((_, heard)) = self.peers.iter_mut().find(|(address, _)| address == from) {
            *heard = now;
        }
        match word {
            Word::Ping => {}
            Word::Write(key, version) => self.learn(key, version),
            Word::Ask => {
                let all = self.store.iter().map(|(key, version)| (key.clone(), version.clone())).collect();
                self.sends.push_back((from.clone(), Word::State(all)));
            }
            Word::State(all) => {
                all.into_iter().for_each(|(key, version)| self.learn(key, version));
                self.ready_at = None;
            }
        }
    }

    fn tick(&mut self, now: Time) {
        if self.ready_at.is_some_and(|at| at <= now) {
            self.ready_at = None;
        }
        if self.next_ping <= now {
            self.next_ping = now + self.config.heartbeat_interval;
            let silent = self.config.suspect_after_min;
            self.peers.retain(|(_, heard)| now.since(*heard) <= silent); // for good
            self.broadcast(&Word::Ping);
        }
    }

    fn serve(&mut self, request: DataRequest) -> Reply {
        let DataRequest { key, action, past, .. } = request;
        let name = name_of(&key);
        let number = self.store.get(&key).map_or(0, |known| known.number);
        if self.ready_at.is_some() {
            return Reply::Refused(Refusal::NotReady);
        }
        if past.counter(name) > number {
            return Reply::Refused(Refusal::NotCovered);
        }
        let present = self.store.get(&key).and_then(|known| known.value.clone());
        let mut token = past;
        token.raise(name, number);
        let dot = Dot { incarnation: name, counter: number + 1 };
        match (action, present) {
            (Action::Get, Some(value)) => {
                let dot = Dot { incarnation: name, counter: number };
                let siblings = Siblings::from_iter([Sibling { dot, hlc: Hlc(number), value }]);
                Reply::Found { siblings, token }
            }
            (Action::Get | Action::Delete, None) => Reply::Absent { token },
            (action, present) => {
                let value = if let Action::Put(value) = action { Some(value) } else { None };
                let version = Version { number: dot.counter, value };
                self.store.insert(key.clone(), version.clone());
                self.broadcast(&Word::Write(key, version));
                token.join_dot(dot);
                let superseded = present.map(|_| Dot { incarnation: name, counter: number }).into_iter().collect();
                Reply::Written(Written { dot, superseded, token })
            }
        }
    }
}

impl Subject for Baseline {
    type Message = Word;
    type Setup = ();

    fn start((): &(), config: Config, identity: Identity, _seed: Seed, now: Now) -> Self {
        let others = identity.view.iter().filter(|address| **address != identity.address);
        let peers: Vec<_> = others.map(|address| (address.clone(), now.monotonic)).collect();
        let ready_at = (!peers.is_empty()).then(|| now.monotonic + config.join_alone_after);
        let next_ping = now.monotonic;
        let (store, replies, sends) = (BTreeMap::new(), VecDeque::new(), VecDeque::new());
        let mut replica = Self { config, store, peers, address: identity.address, next_ping, ready_at, replies, sends };
        replica.broadcast(&Word::Ask);
        replica
    }

    fn handle(&mut self, now: Now, input: Input<Word>, addresses: &[Address]) {
        match input {
            Input::Timeout => self.tick(now.monotonic),
            Input::Message { from, message } => self.hear(&addresses[from], message, now.monotonic),
            Input::Connected { .. } | Input::Told { .. } | Input::Cancel { .. } | Input::Leave => {}
            Input::Request { id, request } => {
                let reply = match request {
                    Request::Data(request) => self.serve(*request),
                    // It has no batches, no lists and no watches.
                    Request::Batch(_) | Request::List(_) | Request::Watch(_) => Reply::Refused(Refusal::WriteLimit),
                    Request::View => {
                        let own = std::iter::once(self.address.clone());
                        Reply::View(own.chain(self.peers.iter().map(|(address, _)| address.clone())).collect())
                    }
                    Request::ViewAdd(address) => {
                        let listed = self.peers.iter().any(|(known, _)| *known == address);
                        if !listed && address != self.address {
                            self.peers.push((address, now.monotonic));
                        }
                        Reply::ViewAdded { listed }
                    }
                    Request::ViewRemove(address) => {
                        let before = self.peers.len();
                        self.peers.retain(|(known, _)| *known != address);
                        if self.peers.len() < before { Reply::ViewRemoved } else { Reply::ViewUnknown }
                    }
                };
                self.replies.push_back((id, reply));
            }
        }
    }

    fn poll_output(&mut self, addresses: &[Address]) -> Option<Out<Word>> {
        while let Some((address, message)) = self.sends.pop_front() {
            if let Some(to) = number_of(&address, addresses) {
                return Some(Out::Send { to, message });
            }
        }
        self.replies.pop_front().map(|(id, reply)| Out::Reply { id, reply: Box::new(reply) })
    }

    fn poll_timeout(&self) -> Option<Time> {
        Some(self.ready_at.map_or(self.next_ping, |at| at.min(self.next_ping)))
    }

    fn traits(message: &Word) -> Traits {
        let (name, kind, digest, idle) = match message {
            Word::Ping => ("ping", 0, 0, true),
            Word::Write(key, version) => ("write", 1, name_of(key).0 ^ version.number, false),
            Word::Ask => ("ask", 2, 0, false),
            Word::State(all) => ("state", 3, all.len() as u64, false),
        };
        Traits { name, kind, digest, idle, ..Traits::default() }
    }

    fn probe(&self) -> Option<&dyn Probe> {
        None
    }

    fn bytes(message: &Word) -> u64 {
        let value = |version: &Version| version.value.as_ref().map_or(0, |value| value.as_bytes().len() as u64);
        match message {
            Word::Ping | Word::Ask => 16,
            Word::Write(key, version) => 24 + key.as_str().len() as u64 + value(version),
            Word::State(all) => all.iter().map(|(key, version)| 16 + key.as_str().len() as u64 + value(version)).sum(),
        }
    }
}
