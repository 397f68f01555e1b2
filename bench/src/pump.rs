//! Replicas in one thread that talk through the wire codec: no sockets, no runtime, no delay, a clock that is moved by
//! hand. What this costs is the price of core and codec alone, the same in every run.
//!
//! Messages are encoded and decoded, because replicas that were handed each other's operations would share their
//! memory. A replica of a real cluster shares none.

use hence_core::{
    Action, Address, ClusterTag, Condition, Config, DataRequest, Formats, Identity, Input, Key, Message, Micros, Now,
    Output, Replica, Reply, Request, RequestId, Seed, Sound, Time, Value, VersionVector, Wall,
};
use hence_transport::codec::{FrameReader, FrameWriter, OpMemo};

/// One replica with its ends of the links.
struct Member {
    address: Address,
    replica: Replica,
    memo: OpMemo,
    /// By the number of the other member; the own place is there and stays unused.
    writers: Vec<FrameWriter>,
    readers: Vec<FrameReader>,
}

/// A cluster in one thread.
pub struct Cluster {
    now: u64,
    members: Vec<Member>,
    cluster: ClusterTag,
    next_request: u64,
    reply: Option<Reply>,
}

impl Cluster {
    /// A cluster of so many replicas, 1 to 200, every one ready.
    ///
    /// # Panics
    /// If they do not find together within ten simulated seconds: a mistake of ours.
    #[must_use]
    pub fn new(size: usize) -> Self {
        let addresses: Vec<Address> = (1..=size)
            .map(|at| Address::parse(&format!("10.0.0.{at}:8090")).expect("a number up to 200 makes an address"))
            .collect();
        let cluster = ClusterTag::of("hence");
        let now = 1_000_000;
        let members = addresses.iter().enumerate().map(|(at, address)| {
            let identity = Identity { address: address.clone(), view: addresses.clone() };
            let seed = Seed([at as u8 + 1; 32]);
            let writer = || FrameWriter::new(cluster, address.clone());
            Member {
                address: address.clone(),
                replica: Replica::new(Sound, Config::default(), identity, seed, clock(now)),
                memo: OpMemo::new(),
                writers: addresses.iter().map(|_| writer()).collect(),
                readers: addresses.iter().map(|_| FrameReader::new(cluster)).collect(),
            }
        });
        let mut world = Self { now, members: members.collect(), cluster, next_request: 1, reply: None };
        for _ in 0..100 {
            world.pass(Micros::from_millis(100));
            if world.members.iter().all(|member| member.replica.is_ready()) {
                return world;
            }
        }
        panic!("a cluster of {size} was not ready after ten seconds");
    }

    /// Asks a member, and hands all that follows from it on until no member says any more.
    ///
    /// # Panics
    /// If the replica does not answer at once. It does, unless the request asks to wait.
    pub fn ask(&mut self, at: usize, key: &Key, action: Action, past: &VersionVector) -> Reply {
        let reply = self.ask_only(at, key, action, past);
        self.exchange();
        reply
    }

    /// The same without handing anything on.
    ///
    /// # Panics
    /// As [`Self::ask`].
    pub fn ask_only(&mut self, at: usize, key: &Key, action: Action, past: &VersionVector) -> Reply {
        self.now += 1;
        let id = RequestId(self.next_request);
        self.next_request += 1;
        let (past, condition) = (past.clone(), Condition::default());
        let request = Request::Data(Box::new(DataRequest {
            key: key.clone(),
            action,
            past,
            wait: Micros::ZERO,
            condition,
            format: Formats::RELEASED.lowest,
            concern: None,
        }));
        self.handle(at, Input::Request { id, request });
        self.reply.take().expect("a request that does not wait is answered at once")
    }

    /// Writes a value at a member and returns what its answer covers.
    ///
    /// # Panics
    /// If the write is refused.
    pub fn put(&mut self, at: usize, key: &Key, value: &[u8], past: &VersionVector) -> VersionVector {
        let reply = self.ask(at, key, Action::Put(Value::new(value)), past);
        let Reply::Written(written) = reply else { panic!("a write was answered {reply:?}") };
        written.token
    }

    /// Lets time pass, a millisecond at a time, with everything that falls due.
    pub fn pass(&mut self, length: Micros) {
        let end = self.now + length.0;
        while self.now < end {
            self.now += 1_000;
            for at in 0..self.members.len() {
                let due = |member: &Member| member.replica.poll_timeout().is_some_and(|due| due.0 <= self.now);
                if due(&self.members[at]) {
                    self.handle(at, Input::Timeout);
                }
            }
            self.exchange();
        }
    }

    /// The replica of a member.
    #[must_use]
    pub fn replica(&self, at: usize) -> &Replica {
        &self.members[at].replica
    }

    /// Gives up what only carries messages and is not a replica's.
    pub fn drop_buffers(&mut self) {
        let size = self.members.len();
        for member in &mut self.members {
            member.memo = OpMemo::new();
            member.writers = (0..size).map(|_| FrameWriter::new(self.cluster, member.address.clone())).collect();
            member.readers = (0..size).map(|_| FrameReader::new(self.cluster)).collect();
        }
    }

    fn handle(&mut self, at: usize, input: Input) {
        self.members[at].replica.handle(clock(self.now), input);
        while let Some(output) = self.members[at].replica.poll_output() {
            match output {
                Output::Send { to, message } => self.send(at, &to, &message),
                Output::Reply { reply, .. } => self.reply = Some(*reply),
                Output::Tell { .. } | Output::Event(_) => {}
            }
        }
    }

    fn send(&mut self, at: usize, to: &Address, message: &Message) {
        let place = self.members.iter().position(|member| member.address == *to).expect("only members are sent to");
        let member = &mut self.members[at];
        member.writers[place].push(message, &mut member.memo).expect("a message of these sizes fits a frame");
    }

    /// Delivers until nothing is under way.
    fn exchange(&mut self) {
        let size = self.members.len();
        let mut moved = true;
        while std::mem::take(&mut moved) {
            for from in 0..size {
                for to in 0..size {
                    if !self.members[from].writers[to].is_empty() {
                        self.deliver(from, to);
                        moved = true;
                    }
                }
            }
        }
    }

    fn deliver(&mut self, from: usize, to: usize) {
        let mut bytes = Vec::new();
        self.members[from].writers[to].take(&mut bytes);
        self.members[to].readers[from].feed(&bytes);
        while let Some(frame) = self.members[to].readers[from].next_frame().expect("our own frames are undamaged") {
            for message in frame.messages {
                self.handle(to, Input::Message { from: frame.from.clone(), message });
            }
        }
    }
}

fn clock(now: u64) -> Now {
    Now { monotonic: Time(now), wall: Wall(1_700_000_000_000_000 + now) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_reaches_everybody() {
        let mut cluster = Cluster::new(3);
        let key = Key::new("k").unwrap();
        let token = cluster.put(0, &key, b"1", &VersionVector::new());
        for at in 0..3 {
            let reply = cluster.ask(at, &key, Action::Get, &token);
            assert!(matches!(reply, Reply::Found { .. }), "{reply:?}");
        }
        cluster.pass(Micros::from_seconds(1));
        let logs = [0, 1, 2].map(|at| cluster.replica(at).status().log_ops);
        assert_eq!(logs, [0; 3], "what all have acknowledged is trimmed");
    }
}
