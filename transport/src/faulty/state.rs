//! What a [`super::Faults`] knows: the rules, and the messages that are kept back.
//!
//! Invariants kept here: `version` moves and the waiting receiver is woken whenever something may have come due. Each
//! link's count of delayed messages is the number of those in `delayed`.

use super::{Chance, Direction, FaultCounts, KEPT_MAX, Target, Weather};
use core::task::Waker;
use hence_core::{Address, Message, Micros, Time};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::{BTreeMap, VecDeque};

/// What is set for one target in one direction.
#[derive(Debug, Clone, Default)]
pub(super) struct Rule {
    pub(super) cut: bool,
    pub(super) hold: bool,
    pub(super) weather: Option<Weather>,
}

#[derive(Debug, Default)]
struct Rules {
    everybody: Rule,
    peers: BTreeMap<Address, Rule>,
}

/// The delayed messages of one peer in one direction.
#[derive(Debug, Default)]
struct Delayed {
    count: usize,
    last: Time,
}

/// A message that is kept back.
#[derive(Debug, Clone)]
pub(super) enum Kept {
    Out { to: Address, message: Message },
    In { from: Address, message: Message },
}

impl Kept {
    const fn link(&self) -> (&Address, Direction) {
        match self {
            Self::Out { to, .. } => (to, Direction::Out),
            Self::In { from, .. } => (from, Direction::In),
        }
    }
}

/// What becomes of a message.
#[derive(Debug)]
pub(super) enum Fate {
    Passes,
    Lost,
    Kept(Copies),
}

/// Until when a message is kept back. No time at all is until it is released.
#[derive(Debug)]
pub(super) struct Copies {
    first: Option<Time>,
    second: Option<Time>,
}

#[derive(Debug)]
pub(super) struct State {
    outgoing: Rules,
    incoming: Rules,
    random: ChaCha8Rng,
    delayed: BTreeMap<(Time, u64), Kept>,
    delays: BTreeMap<(Address, bool), Delayed>,
    held: VecDeque<Kept>,
    serial: u64,
    /// Moves with every change that a waiting receiver has to know.
    pub(super) version: u64,
    pub(super) waker: Option<Waker>,
    pub(super) counts: FaultCounts,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            outgoing: Rules::default(),
            incoming: Rules::default(),
            random: ChaCha8Rng::seed_from_u64(seed),
            delayed: BTreeMap::new(),
            delays: BTreeMap::new(),
            held: VecDeque::new(),
            serial: 0,
            version: 0,
            waker: None,
            counts: FaultCounts::default(),
        }
    }

    pub(super) fn set(&mut self, target: &Target, direction: Direction, change: impl Fn(&mut Rule)) {
        for rules in self.rules_mut(direction) {
            match target {
                Target::Everybody => change(&mut rules.everybody),
                Target::Peer(address) => change(rules.peers.entry(address.clone()).or_default()),
            }
        }
    }

    /// The same, and what is set for all is set for each peer.
    pub(super) fn set_all(&mut self, target: &Target, direction: Direction, change: impl Fn(&mut Rule)) {
        self.set(target, direction, &change);
        if *target == Target::Everybody {
            self.rules_mut(direction).into_iter().flat_map(|rules| rules.peers.values_mut()).for_each(change);
        }
    }

    pub(super) fn forget_rules(&mut self) {
        (self.outgoing, self.incoming) = (Rules::default(), Rules::default());
    }

    /// Makes due what is held and should not be any more.
    pub(super) fn release(&mut self) {
        for kept in core::mem::take(&mut self.held) {
            let (peer, direction) = kept.link();
            if self.rules(direction).peer_or_everybody(peer, |rule| rule.hold) {
                self.held.push_back(kept);
            } else {
                self.delay(Time(0), kept);
            }
        }
        self.wake();
    }

    pub(super) fn kept(&self) -> usize {
        self.delayed.len() + self.held.len()
    }

    /// Is either direction cut?
    pub(super) fn is_cut(&self, peer: &Address) -> bool {
        [&self.outgoing, &self.incoming].iter().any(|rules| rules.peer_or_everybody(peer, |rule| rule.cut))
    }

    pub(super) fn judge(&mut self, peer: &Address, direction: Direction, now: Time) -> Fate {
        let rules = self.rules(direction);
        let (cut, hold) = (rules.peer_or_everybody(peer, |r| r.cut), rules.peer_or_everybody(peer, |r| r.hold));
        let weather = rules.weather(peer);
        if cut {
            self.counts.cut += 1;
            return Fate::Lost;
        }
        if self.happens(weather.drop) {
            self.counts.dropped += 1;
            return Fate::Lost;
        }
        if hold {
            self.counts.held += 1;
            return Fate::Kept(Copies { first: None, second: None });
        }
        self.schedule(peer, direction, weather, now)
    }

    fn schedule(&mut self, peer: &Address, direction: Direction, weather: Weather, now: Time) -> Fate {
        let behind = self.delays.get(&(peer.clone(), direction == Direction::Out)).filter(|d| d.count > 0);
        let earliest = behind.map_or(now, |delayed| delayed.last.max(now));
        let queued = behind.is_some();
        if weather == Weather::default() && !queued {
            return Fate::Passes;
        }
        let mut first = earliest.max(now + weather.delay + self.up_to(weather.jitter));
        self.note_last(peer, direction, first);
        if self.happens(weather.reorder) {
            self.counts.reordered += 1;
            // What follows was told the earlier moment, so it may pass this one.
            first = first + Micros(1) + self.up_to(weather.reorder_by);
        }
        let second = self.happens(weather.duplicate).then(|| first + self.up_to(weather.delay));
        self.counts.duplicated += u64::from(second.is_some());
        if first <= now && second.is_none() && !queued {
            return Fate::Passes;
        }
        self.counts.delayed += 1;
        Fate::Kept(Copies { first: Some(first), second })
    }

    /// Keeps a message back as [`Self::judge`] said.
    pub(super) fn keep(&mut self, copies: Copies, kept: Kept) {
        if self.kept() + usize::from(copies.second.is_some()) >= KEPT_MAX {
            self.counts.overflowed += 1;
            return;
        }
        let Some(first) = copies.first else {
            self.held.push_back(kept);
            return;
        };
        if let Some(second) = copies.second {
            self.delay(second, kept.clone());
        }
        self.delay(first, kept);
        self.wake();
    }

    /// Drops what is kept back on the way out to this address.
    pub(super) fn supersede(&mut self, to: &Address) {
        let before = self.kept();
        self.held.retain(|kept| kept.link() != (to, Direction::Out));
        self.delayed.retain(|_, kept| kept.link() != (to, Direction::Out));
        self.delays.remove(&(to.clone(), true));
        self.counts.superseded += (before - self.kept()) as u64;
    }

    /// What has come due, in order. What is cut off by now is lost.
    pub(super) fn take_due(&mut self, now: Time) -> Vec<Kept> {
        let mut due = Vec::new();
        while let Some(entry) = self.delayed.first_entry().filter(|entry| entry.key().0 <= now) {
            let kept = entry.remove();
            let (peer, direction) = kept.link();
            if let Some(delayed) = self.delays.get_mut(&(peer.clone(), direction == Direction::Out)) {
                delayed.count = delayed.count.saturating_sub(1);
            }
            if self.rules(direction).peer_or_everybody(peer, |rule| rule.cut) {
                self.counts.cut += 1;
            } else {
                due.push(kept);
            }
        }
        due
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        self.delayed.first_key_value().map(|(&(at, _), _)| at)
    }

    fn delay(&mut self, at: Time, kept: Kept) {
        let (peer, direction) = kept.link();
        let delayed = self.delays.entry((peer.clone(), direction == Direction::Out)).or_default();
        delayed.count += 1;
        self.serial += 1;
        self.delayed.insert((at, self.serial), kept);
    }

    fn note_last(&mut self, peer: &Address, direction: Direction, at: Time) {
        let delayed = self.delays.entry((peer.clone(), direction == Direction::Out)).or_default();
        delayed.last = delayed.last.max(at);
    }

    fn wake(&mut self) {
        self.version += 1;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn happens(&mut self, chance: Chance) -> bool {
        // A chance of nothing takes no randomness, so it costs nothing and moves no other decision.
        chance != Chance::NEVER && self.random.next_u32() % Chance::ALWAYS.0 < chance.0
    }

    fn up_to(&mut self, most: Micros) -> Micros {
        if most == Micros::ZERO { most } else { Micros(self.random.next_u64() % most.0.saturating_add(1)) }
    }

    const fn rules(&self, direction: Direction) -> &Rules {
        match direction {
            Direction::In => &self.incoming,
            Direction::Out | Direction::Both => &self.outgoing,
        }
    }

    fn rules_mut(&mut self, direction: Direction) -> Vec<&mut Rules> {
        match direction {
            Direction::Out => vec![&mut self.outgoing],
            Direction::In => vec![&mut self.incoming],
            Direction::Both => vec![&mut self.outgoing, &mut self.incoming],
        }
    }
}

impl Rules {
    fn peer_or_everybody(&self, peer: &Address, asked: impl Fn(&Rule) -> bool) -> bool {
        asked(&self.everybody) || self.peers.get(peer).is_some_and(asked)
    }

    fn weather(&self, peer: &Address) -> Weather {
        self.peers.get(peer).and_then(|rule| rule.weather).or(self.everybody.weather).unwrap_or_default()
    }
}
