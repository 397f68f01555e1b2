//! A soak: a cluster lives through simulated weeks of restarts, cuts, pauses, loss, churn and skewed clocks, and must
//! not grow. If asked to, it has one dead member all the while.
//!
//! It drives the real replica over a small world of its own. What [`crate::world`] knows of every write for the oracles
//! would itself grow for ever. So this proves no causality. It proves that three things are as short on the last day as
//! on the first. They are what a replica keeps, what its vectors say and what clients carry. Each day ends in a quiet
//! quarter of an hour. Then all replicas must be equal, and every client is served or told that its write is lost.

mod curve;
mod watch;

pub use curve::{Day, SoakError, is_flat};

use crate::engine::clock::Clock;
use crate::engine::queue::{Next, Queue};
use crate::plan::Plan;
use crate::random::{Domain, Draw, Source, exponential, mix};
use hence_core::{
    Action, Address, ClusterTag, Condition, Config, DataRequest, Formats, Identity, Input, Key, Message, Micros,
    Refusal, Replica, Reply, Request, RequestId, Seed, Sound, Token, Value, VersionVector,
};
use hence_transport::{Outbox, drain};

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;
/// The end of each day in which no fault begins.
const QUIET: u64 = 15 * MINUTE;
/// No fault is longer, so that the quiet is without any.
const FAULT_MAX: u64 = 5 * MINUTE;
/// Before the end of a day clients stop writing, then ask everywhere, then again.
const LOAD_ENDS: u64 = 40 * SECOND;
const ASKED: [u64; 2] = [20 * SECOND, 5 * SECOND];

const REPLICAS: usize = 5;
const CLIENTS: usize = 6;
const KEYS: u64 = 200;
const VALUE_MAX: u64 = 200;

/// Mean times between happenings.
const RESTART_EVERY: u64 = 3 * MINUTE;
const CUT_EVERY: u64 = 7 * MINUTE;
const CHURN_EVERY: u64 = 40 * MINUTE;
const PAUSE_EVERY: u64 = 11 * MINUTE;
/// Messages lost of a thousand, but for the quiet.
const LOST: u64 = 5;
const REQUEST_EVERY: u64 = 2 * SECOND;

/// Lives through so many days. With `dead`, one member dies in the first minute and stays a member. Reports each day as
/// it ends, and judges the curve. The seed is all that it depends on. It ends early when `told` says `false`.
///
/// # Errors
/// At the first broken promise, or at the end if something has grown.
pub fn run(seed: u64, days: u64, dead: bool, mut told: impl FnMut(&Day) -> bool) -> Result<Vec<Day>, SoakError> {
    let mut world = World::new(seed, dead);
    let mut curve = Vec::new();
    for day in 1..=days {
        let day = world.live(day)?;
        let goes_on = told(&day);
        curve.push(day);
        if !goes_on {
            break;
        }
    }
    is_flat(&curve)?;
    Ok(curve)
}

#[derive(Debug)]
enum Scheduled {
    Deliver { from: usize, to: usize, message: Message },
    Connected { replica: usize, to: usize },
    Load,
    Ask,
    Crash,
    Pause,
    Start { replica: usize },
    Cut,
    Heal { links: Vec<usize> },
    Remove,
    Add { replica: usize },
    Look,
}

struct Node {
    replica: Option<Replica<Sound>>,
    clock: Clock,
    removed: bool,
    /// It is not run before.
    paused_until: u64,
}

struct World {
    /// The member that is dead all the while, if there is one.
    dead: Option<usize>,
    source: Source,
    now: u64,
    queue: Queue<Scheduled>,
    drawn: u64,
    addresses: Vec<Address>,
    nodes: Vec<Node>,
    /// How many cuts lie on each directed link, and when its last message arrives.
    links: Vec<(u32, u64)>,
    pasts: Vec<VersionVector>,
    exit: Exit,
    day: Day,
    looks: u64,
    entries: u64,
    broken: Option<SoakError>,
}

#[derive(Default)]
struct Exit {
    sent: Vec<(Address, Message)>,
    reply: Option<Reply>,
}

impl Outbox for Exit {
    fn send(&mut self, to: &Address, message: Message) {
        self.sent.push((to.clone(), message));
    }

    fn reply(&mut self, _: RequestId, reply: Box<Reply>) {
        self.reply = Some(*reply);
    }
}

/// As in production, with a slower pulse, so that a month takes minutes, and a log that soon does not reach back.
fn config() -> Config {
    Config {
        heartbeat_interval: Micros::from_seconds(2),
        hello_interval: Micros::from_seconds(1),
        probe_interval_max: Micros::from_seconds(10),
        suspect_after_min: Micros::from_seconds(12),
        suspect_after_max: Micros::from_seconds(20),
        vouch_max: Micros::from_seconds(10),
        retire_interval: Micros::from_seconds(10),
        log_bytes_max: 64 << 10,
        ..Config::default()
    }
}

impl World {
    fn new(seed: u64, dead: bool) -> Self {
        let address = |replica| Address::parse(&Plan::address(replica)).expect("the plan's addresses are addresses");
        let node = |_| Node { replica: None, clock: Clock::new(0, 0, 0, 0), removed: false, paused_until: 0 };
        let mut world = Self {
            dead: dead.then_some(REPLICAS - 1),
            source: Source::new(seed),
            now: 0,
            queue: Queue::new([], REPLICAS),
            drawn: 0,
            addresses: (0..REPLICAS).map(address).collect(),
            nodes: (0..REPLICAS).map(node).collect(),
            links: vec![(0, 0); REPLICAS * REPLICAS],
            pasts: vec![VersionVector::new(); CLIENTS],
            exit: Exit::default(),
            day: Day::default(),
            looks: 0,
            entries: 0,
            broken: None,
        };
        (0..REPLICAS).for_each(|replica| world.push(0, Scheduled::Start { replica }));
        for (after, scheduled) in [
            (MINUTE, Scheduled::Crash),
            (MINUTE, Scheduled::Cut),
            (MINUTE, Scheduled::Pause),
            (MINUTE, Scheduled::Remove),
            (SECOND, Scheduled::Load),
            (MINUTE, Scheduled::Look),
        ] {
            world.push(after, scheduled);
        }
        world
    }

    fn draw(&mut self) -> Draw {
        self.drawn += 1;
        self.source.draw(Domain::Operation, self.drawn)
    }

    fn push(&mut self, at: u64, scheduled: Scheduled) {
        self.drawn += 1;
        self.queue.push(at, mix(Domain::Tie as u64, self.drawn), scheduled);
    }

    fn set_alarm(&mut self, replica: usize, at: u64) {
        self.queue.set_alarm(replica, at, mix(Domain::Tie as u64, replica as u64));
    }

    fn live(&mut self, number: u64) -> Result<Day, SoakError> {
        self.day = Day { day: number, starts: self.day.starts, faults: self.day.faults, ..Day::default() };
        (self.looks, self.entries) = (0, 0);
        let end = number * DAY;
        ASKED.iter().for_each(|before| self.push(end - before, Scheduled::Ask));
        while let Some((at, next)) = self.queue.pop(end) {
            self.now = at;
            match next {
                Next::Event(scheduled) => self.run_scheduled(scheduled),
                Next::Alarm(replica) if self.nodes[replica].paused_until > at => {
                    self.set_alarm(replica, self.nodes[replica].paused_until);
                }
                Next::Alarm(replica) => _ = self.step(replica, Input::Timeout),
            }
            if let Some(broken) = self.broken.take() {
                return Err(broken);
            }
        }
        self.now = end;
        self.day.vector_mean = self.entries * 100 / self.looks.max(1);
        self.rest().map_err(|problem| SoakError::Unsettled { day: number, problem })?;
        Ok(self.day.clone())
    }

    fn run_scheduled(&mut self, scheduled: Scheduled) {
        let whose = match &scheduled {
            Scheduled::Connected { replica, .. } => Some(*replica),
            Scheduled::Deliver { to, .. } => Some(*to),
            Scheduled::Load
            | Scheduled::Ask
            | Scheduled::Crash
            | Scheduled::Pause
            | Scheduled::Start { .. }
            | Scheduled::Cut
            | Scheduled::Heal { .. }
            | Scheduled::Remove
            | Scheduled::Add { .. }
            | Scheduled::Look => None,
        };
        let paused = whose.map_or(0, |replica| self.nodes[replica].paused_until);
        if paused > self.now {
            return self.push(paused, scheduled);
        }
        match scheduled {
            Scheduled::Deliver { from, to, message } => {
                if self.links[from * REPLICAS + to].0 == 0 {
                    self.step(to, Input::Message { from: self.addresses[from].clone(), message });
                }
            }
            Scheduled::Connected { replica, to } => {
                self.step(replica, Input::Connected { to: self.addresses[to].clone() });
            }
            Scheduled::Load => self.load(),
            Scheduled::Ask => self.ask_everywhere(),
            Scheduled::Crash => self.crash(),
            Scheduled::Pause => self.pause(),
            Scheduled::Start { replica } => self.start(replica),
            Scheduled::Cut => self.cut(),
            Scheduled::Heal { links } => links.into_iter().for_each(|link| self.links[link].0 -= 1),
            Scheduled::Remove => self.remove(),
            Scheduled::Add { replica } => self.add(replica),
            Scheduled::Look => self.look(),
        }
    }

    fn step(&mut self, replica: usize, input: Input) -> Option<Reply> {
        let node = &mut self.nodes[replica];
        let subject = node.replica.as_mut()?;
        subject.handle(node.clock.now(self.now), input);
        drain(subject, &mut self.exit);
        let reply = self.exit.reply.take();
        let timer = subject.poll_timeout().map_or(u64::MAX, |time| node.clock.when(time).max(self.now));
        self.set_alarm(replica, timer);
        let mut sent = std::mem::take(&mut self.exit.sent);
        sent.drain(..).for_each(|(to, message)| self.transmit(replica, &to, message));
        self.exit.sent = sent;
        reply
    }

    fn transmit(&mut self, from: usize, to: &Address, message: Message) {
        let Some(to) = self.addresses.iter().position(|address| address == to) else { return };
        let link = from * REPLICAS + to;
        self.drawn += 1;
        if self.links[link].0 > 0 || !self.is_quiet() && mix(self.drawn, 11) % 1_000 < LOST {
            return;
        }
        let delay = 500 + exponential((mix(self.drawn, 7) >> 32) as u32, 1_000);
        let arrival = (self.now + delay).max(self.links[link].1 + 1);
        self.links[link].1 = arrival;
        if message.is_opening() && self.nodes[to].replica.is_some() {
            self.push(arrival + delay, Scheduled::Connected { replica: from, to });
        }
        self.push(arrival, Scheduled::Deliver { from, to, message });
    }

    fn start(&mut self, replica: usize) {
        let mut draw = self.draw();
        let ahead = if draw.chance(50_000) { 90 * SECOND } else { draw.below(5 * SECOND) };
        let sign = if draw.coin() { 1 } else { -1 };
        let drift = draw.below(400) as i32 - 200;
        let clock = Clock::new(self.now, draw.below(DAY), drift, sign * ahead as i64);
        let identity = Identity { address: self.addresses[replica].clone(), view: self.addresses.clone() };
        let subject = Replica::new(Sound, config(), identity, Seed(draw.bytes()), clock.now(self.now));
        let removed = self.nodes[replica].removed;
        self.nodes[replica] = Node { replica: Some(subject), clock, removed, paused_until: 0 };
        self.day.starts += 1;
        self.set_alarm(replica, self.now);
    }

    /// Is this the quiet at the end of a day?
    const fn is_quiet(&self) -> bool {
        self.now % DAY >= DAY - QUIET
    }

    /// How long the next fault lasts, and when the one after it comes.
    fn fault(&mut self, again: Scheduled, every: u64, least: u64, mean: u64) -> (Draw, u64) {
        let mut draw = self.draw();
        let next = self.now + 1 + exponential(draw.word(), every);
        self.push(next, again);
        let length = (least + exponential(draw.word(), mean)).min(FAULT_MAX);
        (draw, length)
    }

    fn crash(&mut self) {
        let (mut draw, length) = self.fault(Scheduled::Crash, RESTART_EVERY, SECOND, 20 * SECOND);
        let replica = draw.below(REPLICAS as u64) as usize;
        let alive = self.nodes.iter().filter(|node| node.replica.is_some()).count();
        let dies = self.dead.filter(|&dead| self.nodes[dead].replica.is_some());
        let replica = dies.unwrap_or(replica);
        if self.is_quiet() || self.nodes[replica].replica.is_none() || alive <= 2 {
            return;
        }
        self.nodes[replica].replica = None;
        self.queue.clear_alarm(replica);
        if dies.is_some() {
            return;
        }
        self.push(self.now + length, Scheduled::Start { replica });
    }

    /// A process is not run for a while; what is sent to it waits.
    fn pause(&mut self) {
        let (mut draw, length) = self.fault(Scheduled::Pause, PAUSE_EVERY, SECOND, 8 * SECOND);
        let replica = draw.below(REPLICAS as u64) as usize;
        if !self.is_quiet() && self.nodes[replica].replica.is_some() {
            self.nodes[replica].paused_until = self.now + length;
            self.day.faults += 1;
        }
    }

    fn cut(&mut self) {
        let (mut draw, length) = self.fault(Scheduled::Cut, CUT_EVERY, SECOND, 40 * SECOND);
        if self.is_quiet() {
            return;
        }
        let (a, b) = (draw.below(REPLICAS as u64) as usize, draw.below(REPLICAS as u64) as usize);
        let links: Vec<usize> = match draw.below(3) {
            0 => vec![a * REPLICAS + b],
            1 => vec![a * REPLICAS + b, b * REPLICAS + a],
            _ => (0..REPLICAS).flat_map(|other| [a * REPLICAS + other, other * REPLICAS + a]).collect(),
        };
        links.iter().for_each(|&link| self.links[link].0 += 1);
        self.day.faults += 1;
        self.push(self.now + length, Scheduled::Heal { links });
    }

    /// An operator removes a member, alive or dead, at another one, and adds it later.
    fn remove(&mut self) {
        let (mut draw, length) = self.fault(Scheduled::Remove, CHURN_EVERY, 10 * SECOND, MINUTE);
        let (replica, via) = (draw.below(REPLICAS as u64) as usize, draw.below(REPLICAS as u64) as usize);
        if self.is_quiet() || replica == via || self.dead.is_some() || self.nodes.iter().any(|node| node.removed) {
            return;
        }
        let subject = Request::ViewRemove(self.addresses[replica].clone());
        if self.ask(via, subject).is_some() {
            self.nodes[replica].removed = true;
            self.day.faults += 1;
            self.push(self.now + length, Scheduled::Add { replica });
        }
    }

    fn add(&mut self, replica: usize) {
        let runs = |node: &Node| node.replica.is_some() && node.paused_until <= self.now;
        let address = &self.addresses[replica];
        let unwanted = |via: usize| self.nodes[via].replica.as_ref().is_some_and(|via| !via.view().is_member(address));
        // Where the removal is known: elsewhere the order would change nothing, and the removal would come later.
        let vias = || (0..REPLICAS).filter(|&via| via != replica && runs(&self.nodes[via]));
        let Some(via) = vias().find(|&via| unwanted(via)).or_else(|| vias().next()) else {
            return self.push(self.now + SECOND, Scheduled::Add { replica });
        };
        _ = self.ask(via, Request::ViewAdd(self.addresses[replica].clone()));
        self.nodes[replica].removed = false;
    }

    fn ask(&mut self, replica: usize, request: Request) -> Option<Reply> {
        if self.nodes[replica].paused_until > self.now {
            return None; // it would wait; this client does not
        }
        self.drawn += 1;
        let id = RequestId(self.drawn);
        self.step(replica, Input::Request { id, request })
    }

    fn load(&mut self) {
        let mut draw = self.draw();
        let next = self.now + 1 + exponential(draw.word(), REQUEST_EVERY);
        self.push(next, Scheduled::Load);
        if self.now % DAY >= DAY - LOAD_ENDS {
            return;
        }
        let (client, replica) = (draw.below(CLIENTS as u64) as usize, draw.below(REPLICAS as u64) as usize);
        let length = draw.below(VALUE_MAX) as usize;
        let action = match draw.below(10) {
            0..=3 => Action::Put(Value::new(&vec![b'7'; length])),
            4 => Action::Delete,
            _ => Action::Get,
        };
        let key = draw.below(KEYS);
        _ = self.data(client, replica, key, action);
    }

    /// One request of a client. Says whether it was answered, not put off.
    fn data(&mut self, client: usize, replica: usize, key: u64, action: Action) -> bool {
        let key = Key::new(&format!("k{key}")).expect("a short key");
        let past = self.pasts[client].clone();
        let (wait, condition, format) = (Micros::ZERO, Condition::default(), Formats::RELEASED.lowest);
        let request = DataRequest { key, action, past: past.clone(), wait, condition, format, concern: None };
        let request = Request::Data(Box::new(request));
        let Some(reply) = self.ask(replica, request) else { return false };
        let (token, kind) = match reply {
            Reply::Found { token, .. } | Reply::Absent { token } => (token, 0),
            Reply::Written(written) => (written.token, 0),
            Reply::Lost { token } => (token, 2),
            Reply::Refused(Refusal::NotReady | Refusal::NotCovered) => {
                self.day.answers[1] += 1;
                return false;
            }
            other @ (Reply::NotModified { .. }
            | Reply::PreconditionFailed { .. }
            | Reply::Refused(
                Refusal::Impossible
                | Refusal::WriteLimit
                | Refusal::Upgrading
                | Refusal::TooFewMembers
                | Refusal::NoRoomToWait
                | Refusal::NoRoomToWatch
                | Refusal::NoMemoryToList
                | Refusal::BatchTooLarge { .. },
            )
            | Reply::Spread { .. }
            | Reply::Batch(_)
            | Reply::BatchFailed { .. }
            | Reply::Listed(_)
            | Reply::View(_)
            | Reply::ViewAdded { .. }
            | Reply::ViewRemoved
            | Reply::ViewUnknown
            | Reply::ViewLast) => {
                self.fail(format!("client {client} was answered {other:?}"));
                return false;
            }
        };
        self.day.answers[kind] += 1;
        let is_covered =
            |past| self.nodes[replica].replica.as_ref().is_some_and(|node| node.causal_context().dominates(past));
        if kind == 0 && !(is_covered(&past) && is_covered(&token)) {
            self.fail(format!("client {client} was served at {} without its past", Plan::name(replica)));
        }
        let text = Token(token.clone()).encode(ClusterTag::of("hence"));
        self.day.token_max = self.day.token_max.max(text.len());
        self.pasts[client] = token;
        true
    }

    fn fail(&mut self, problem: String) {
        self.broken.get_or_insert(SoakError::Broken { at: self.now, problem });
    }

    /// At the end of a day every client asks at every replica; the second time no client may be put off.
    fn ask_everywhere(&mut self) {
        let last = self.now % DAY >= DAY - ASKED[1];
        for (client, replica) in (0..CLIENTS).flat_map(|client| (0..REPLICAS).map(move |replica| (client, replica))) {
            let answered = self.data(client, replica, client as u64, Action::Get);
            if last && !answered && self.dead.is_some() {
                // Its past may be lost with the dead member, or not: that cannot be said before an operator removes it.
                if self.nodes[replica].replica.is_some() {
                    self.pasts[client] = VersionVector::new();
                }
            } else if last && !answered {
                let past = self.pasts[client].clone();
                let status = self.nodes[replica].replica.as_ref().map(Replica::status);
                let name = Plan::name(replica);
                self.fail(format!("client {client} is put off at {name} for ever: {past:?}; there {status:?}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_as_short_as_it_began() {
        let mut told = 0;
        let curve = run(1, 1, false, |_| {
            told += 1;
            true
        })
        .expect("one day");
        assert_eq!((told, curve.len()), (1, 1));
        assert!(curve[0].starts > 300 && curve[0].retired > 100, "too little happened: {}", curve[0]);
        assert_eq!(run(1, 1, false, |_| true).expect("the same day"), curve, "a soak depends on nothing but its seed");
    }

    #[test]
    fn a_day_with_a_dead_member_ends_as_short() {
        let curve = run(2, 1, true, |_| true).expect("one day");
        assert!(curve[0].starts > 200 && curve[0].retired > 100, "too little happened: {}", curve[0]);
    }
}
