//! Two replicas driven by hand, without clock, network or thread: `cargo run -p hence-core --example by_hand`.

use hence_core::{
    Action, Address, Condition, Config, DataRequest, Formats, Identity, Input, Key, Micros, Now, Output, Replica,
    Reply, Request, RequestId, Seed, Sound, Time, Value, VersionVector, Wall,
};
use std::collections::VecDeque;

/// The clock of the example: it stands still until it is moved.
fn at(time: Time) -> Now {
    Now { monotonic: time, wall: Wall(1_800_000_000_000_000 + time.0) }
}

struct Cluster {
    addresses: Vec<Address>,
    replicas: Vec<Replica<Sound>>,
    time: Time,
}

impl Cluster {
    fn new(ports: &[u16]) -> Self {
        let parse = |port| Address::parse(&format!("127.0.0.1:{port}")).expect("an address");
        let addresses: Vec<Address> = ports.iter().map(parse).collect();
        let start = |(seed, address): (u8, &Address)| {
            let identity = Identity { address: address.clone(), view: addresses.clone() };
            Replica::new(Sound, Config::default(), identity, Seed([seed; 32]), at(Time(0)))
        };
        let replicas = (1..).zip(&addresses).map(start).collect();
        Self { addresses, replicas, time: Time(0) }
    }

    /// One input, and all that follows from it at once: outputs are taken before a replica gets its next input.
    fn handle(&mut self, replica: usize, input: Input) -> Vec<Reply> {
        let (mut inputs, mut replies) = (VecDeque::from([(replica, input)]), Vec::new());
        while let Some((to, input)) = inputs.pop_front() {
            self.replicas[to].handle(at(self.time), input);
            let own = &self.addresses[to];
            while let Some(output) = self.replicas[to].poll_output() {
                match output {
                    Output::Send { to, message } => {
                        let to = self.addresses.iter().position(|address| *address == to).expect("a member");
                        inputs.push_back((to, Input::Message { from: own.clone(), message }));
                    }
                    Output::Reply { reply, .. } => replies.push(*reply),
                    Output::Tell { .. } => {}
                    Output::Event(event) => println!("{:>9} us  {own}: {event:?}", self.time.0),
                }
            }
        }
        replies
    }

    /// Moves the clock from timeout to timeout.
    fn run_for(&mut self, length: Micros) {
        let end = Time(self.time.0 + length.0);
        loop {
            let due = self.replicas.iter().filter_map(Replica::poll_timeout).min().unwrap_or(Time::NEVER);
            if due > end {
                break;
            }
            self.time = due.max(self.time);
            for replica in 0..self.replicas.len() {
                self.handle(replica, Input::Timeout);
            }
        }
        self.time = end;
    }

    /// Asks a replica for the key, and returns its answer.
    fn ask(&mut self, replica: usize, action: Action, past: VersionVector) -> Reply {
        let key = Key::new("greeting").expect("a key");
        let (wait, condition, format) = (Micros::ZERO, Condition::default(), Formats::RELEASED.lowest);
        let data = DataRequest { key, action, past, wait, condition, format, concern: None };
        let input = Input::Request { id: RequestId(self.time.0), request: Request::Data(Box::new(data)) };
        self.handle(replica, input).pop().expect("an answer without a wait")
    }
}

fn main() {
    let mut cluster = Cluster::new(&[8001, 8002]);
    cluster.run_for(Micros::from_seconds(2));
    let Reply::Written(written) = cluster.ask(0, Action::Put(Value::new(b"\"hello\"")), VersionVector::default())
    else {
        panic!("a replica that is up takes writes")
    };
    cluster.run_for(Micros::from_millis(10));
    let Reply::Found { siblings, .. } = cluster.ask(1, Action::Get, written.token) else {
        panic!("the other replica has the write by now")
    };
    let value = &siblings.winner().expect("a version").value;
    println!("read at the other replica: {}", String::from_utf8_lossy(value.as_bytes()));
    assert_eq!(value.as_bytes(), b"\"hello\"");
}

/// `cargo test` runs the example, too.
#[test]
fn it_runs() {
    main();
}
