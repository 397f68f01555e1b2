//! A small naive store, to show how the simulator takes a store that it does not know.
//!
//! Each replica numbers its writes, the highest number of a key wins, and a write is sent to each peer once. What a lost
//! message carried never arrives, and a client's token is stored but not obeyed. The simulator finds both.

use hence_core::{
    Action, Address, Config, DataRequest, Dot, Hlc, Identity, Incarnation, Key, Now, Refusal, Reply, Request, Seed,
    Sibling, Siblings, Time, Value, Written,
};
use hence_sim::subject::{Input, Out, Probe, Subject, Traits};
use std::collections::{BTreeMap, VecDeque};

/// One write: the version that it made, and its value; none for a delete.
#[derive(Debug, Clone)]
pub struct Write {
    key: Key,
    dot: Dot,
    value: Option<Value>,
}

/// One replica.
#[derive(Debug)]
pub struct Naive {
    own: Incarnation,
    highest: u64,
    store: BTreeMap<Key, Write>,
    outputs: VecDeque<Out<Write>>,
}

impl Naive {
    fn apply(&mut self, write: Write) {
        let rank = |write: &Write| (write.dot.counter, write.dot.incarnation);
        self.highest = self.highest.max(write.dot.counter);
        if self.store.get(&write.key).is_none_or(|known| rank(known) < rank(&write)) {
            self.store.insert(write.key.clone(), write);
        }
    }

    fn serve(&mut self, DataRequest { key, action, past, .. }: DataRequest, peers: usize) -> Reply {
        let known = self.store.get(&key).and_then(|write| write.value.clone().map(|value| (write.dot, value)));
        let token = |dot: Dot| {
            let mut token = past.clone();
            token.join_dot(dot);
            token
        };
        let value = match (action, &known) {
            (Action::Get, Some((dot, value))) => {
                let one = Sibling { dot: *dot, hlc: Hlc(dot.counter), value: value.clone() };
                return Reply::Found { siblings: Siblings::from_iter([one]), token: token(*dot) };
            }
            (Action::Get | Action::Delete, None) => return Reply::Absent { token: past },
            (Action::Put(value), _) => Some(value),
            (Action::Delete, Some(_)) => None,
        };
        let dot = Dot { incarnation: self.own, counter: self.highest + 1 };
        let write = Write { key, dot, value };
        self.outputs.extend((0..peers).map(|to| Out::Send { to, message: write.clone() }));
        self.apply(write);
        Reply::Written(Written { dot, superseded: known.map(|(dot, _)| dot).into_iter().collect(), token: token(dot) })
    }
}

impl Subject for Naive {
    type Message = Write;
    type Setup = ();

    fn start((): &(), _config: Config, _identity: Identity, Seed(seed): Seed, _now: Now) -> Self {
        let own = Incarnation(seed.iter().fold(1, |name, byte| name << 7 ^ name >> 57 ^ u64::from(*byte)));
        Self { own, highest: 0, store: BTreeMap::new(), outputs: VecDeque::new() }
    }

    fn handle(&mut self, _now: Now, input: Input<Write>, addresses: &[Address]) {
        match input {
            Input::Message { message, .. } => self.apply(message),
            Input::Request { id, request } => {
                let reply = match request {
                    Request::Data(request) => self.serve(*request, addresses.len()),
                    // It has no batches, no lists and no watches.
                    Request::Batch(_) | Request::List(_) | Request::Watch(_) => Reply::Refused(Refusal::WriteLimit),
                    Request::View | Request::ViewAdd(_) | Request::ViewRemove(_) => Reply::View(addresses.to_vec()),
                };
                self.outputs.push_back(Out::Reply { id, reply: Box::new(reply) });
            }
            Input::Timeout | Input::Connected { .. } | Input::Told { .. } | Input::Cancel { .. } | Input::Leave => {}
        }
    }

    fn poll_output(&mut self, _addresses: &[Address]) -> Option<Out<Write>> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        None
    }

    fn traits(write: &Write) -> Traits {
        let digest = write.dot.counter ^ write.dot.incarnation.0;
        Traits { name: "write", digest, ..Traits::default() }
    }

    fn probe(&self) -> Option<&dyn Probe> {
        None
    }

    fn bytes(write: &Write) -> u64 {
        24 + write.value.as_ref().map_or(0, |value| value.as_bytes().len() as u64)
    }
}
