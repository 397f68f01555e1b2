//! Which connections from peers are taken, and how much may lie unfinished in them.
//!
//! Any process can ask for a link. Strangers must crowd out no peer. So places, upgrades and memory are shared out by
//! what is known of the process that asks. A connection that has brought a frame of this cluster counts more than one
//! that has not. A connection of an address that this side speaks to itself counts more than one of another.
//!
//! Invariants kept here: at most `connections_in_max` connections are open. A stranger never takes the place of a
//! connection that brings frames. Frames that are not whole hold at most `unfinished_bytes_max` bytes, and those of
//! strangers a quarter of that, beside [`SMALL_BYTES`] for each connection.

use core::cell::{Cell, RefCell};
use core::net::IpAddr;
use core::time::Duration;
use hence_core::Address;
use std::collections::BTreeMap;
use std::rc::Rc;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Frames up to this length need no reservation: every connection may hold as much.
pub(super) const SMALL_BYTES: usize = 64 << 10;

/// Upgrades in a second that one source may ask for, and as many at once. A known address is a source of its own,
/// whatever else comes from its machine, and whatever other machine says that it has that address. More would only cost
/// time: a stranger takes no peer's place.
const UPGRADES_PER_SECOND: u32 = 1_000;
/// Sources whose upgrades are counted at a time.
const SOURCES_MAX: usize = 1_024;

/// A connection that brought a frame within this does not make room for one whose address is known, either.
const BUSY: Duration = Duration::from_secs(5);

/// How much a connection is worth, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// It has brought nothing yet, and its address is not known.
    Stranger,
    /// It has brought nothing yet.
    Newcomer,
    /// It brings frames from an address that is not known.
    Speaker,
    /// It brings frames from an address that this side speaks to.
    Peer,
}

/// The process that asks for a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asker {
    /// Where the connection comes from, if that is told.
    pub(super) source: Option<IpAddr>,
    /// Does this side speak to the address that it says it has?
    pub(super) known: bool,
    /// That address.
    pub(super) address: Option<Address>,
}

#[derive(Debug)]
struct Link {
    asker: Asker,
    last_frame: Option<Instant>,
    opened: Instant,
    task: AbortHandle,
}

impl Link {
    const fn worth(&self) -> Worth {
        match (self.last_frame.is_some(), self.asker.known) {
            (false, false) => Worth::Stranger,
            (false, true) => Worth::Newcomer,
            (true, false) => Worth::Speaker,
            (true, true) => Worth::Peer,
        }
    }

    fn last_active(&self) -> Instant {
        self.last_frame.unwrap_or(self.opened)
    }
}

/// Why a link is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// This source has asked too often.
    TooOften,
    /// Every place is taken by a connection that is worth more.
    Full,
}

/// The connections from peers.
#[derive(Debug, Default)]
pub(super) struct Links {
    open: BTreeMap<u64, Link>,
    serial: u64,
    rates: BTreeMap<Source, Bucket>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Ip(IpAddr),
    Peer(Address, Option<IpAddr>),
}

/// Fills at a rate, up to that many; each upgrade takes one out.
#[derive(Debug)]
struct Bucket {
    left: f64,
    filled: Instant,
}

impl Links {
    /// May this one have a link? Then there is room for it.
    pub(super) fn admit(&mut self, asker: &Asker, connections_max: usize) -> Result<(), NoRoom> {
        if !self.takes_turn(asker, Instant::now()) {
            return Err(NoRoom::TooOften);
        }
        if self.open.len() < connections_max {
            return Ok(());
        }
        let victim = self.victim(asker).ok_or(NoRoom::Full)?;
        if let Some(link) = self.open.remove(&victim) {
            link.task.abort();
        }
        Ok(())
    }

    /// The connection that makes room: of the least worth, of the source that has most of those, the longest without a
    /// frame.
    fn victim(&self, asker: &Asker) -> Option<u64> {
        let least = self.open.values().map(Link::worth).min()?;
        let mut by_source: BTreeMap<Option<IpAddr>, usize> = BTreeMap::new();
        for link in self.open.values().filter(|link| link.worth() == least) {
            *by_source.entry(link.asker.source).or_default() += 1;
        }
        let (source, _) = by_source.into_iter().max_by_key(|&(_, links)| links)?;
        let mut links = self.open.iter().filter(|(_, link)| link.worth() == least && link.asker.source == source);
        let (id, link) = links.by_ref().min_by_key(|(_, link)| link.last_active())?;
        let gives_way = least <= Worth::Newcomer || asker.known || link.last_active().elapsed() >= BUSY;
        gives_way.then_some(*id)
    }

    fn takes_turn(&mut self, asker: &Asker, now: Instant) -> bool {
        let source = match (&asker.address, asker.source) {
            (Some(address), source) if asker.known => Source::Peer(address.clone(), source),
            (_, Some(ip)) => Source::Ip(ip),
            (_, None) => return true,
        };
        let rate = f64::from(UPGRADES_PER_SECOND);
        if self.rates.len() >= SOURCES_MAX && !self.rates.contains_key(&source) {
            // Those that would be full again need not be remembered.
            self.rates.retain(|_, bucket| now.duration_since(bucket.filled) < Duration::from_secs(1));
            if self.rates.len() >= SOURCES_MAX {
                return asker.known;
            }
        }
        let bucket = self.rates.entry(source).or_insert(Bucket { left: rate, filled: now });
        bucket.left = (bucket.left + now.duration_since(bucket.filled).as_secs_f64() * rate).min(rate);
        bucket.filled = now;
        if bucket.left < 1.0 {
            return false;
        }
        bucket.left -= 1.0;
        true
    }

    /// The next connection's number.
    pub(super) fn next_id(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// A connection that was admitted is served by this task.
    pub(super) fn insert(&mut self, id: u64, asker: Asker, task: AbortHandle) {
        self.open.insert(id, Link { asker, last_frame: None, opened: Instant::now(), task });
    }

    /// A connection brought a frame.
    pub(super) fn brought_frame(&mut self, id: u64) {
        if let Some(link) = self.open.get_mut(&id) {
            link.last_frame = Some(Instant::now());
        }
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.open.remove(&id);
    }

    pub(super) fn close_all(&self) {
        self.open.values().for_each(|link| link.task.abort());
    }
}

/// Bytes that unfinished frames may hold.
#[derive(Debug)]
pub(super) struct Unfinished {
    bytes_max: usize,
    reserved: Cell<usize>,
    /// Of these, by connections that have brought no frame yet.
    reserved_by_strangers: Cell<usize>,
    given_back: Notify,
    /// Reservations are made in the order in which they are asked for, or a large frame would wait for ever.
    queue: RefCell<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    served: u64,
}

impl Unfinished {
    pub(super) fn new(bytes_max: usize) -> Rc<Self> {
        Rc::new(Self {
            bytes_max,
            reserved: Cell::default(),
            reserved_by_strangers: Cell::default(),
            given_back: Notify::new(),
            queue: RefCell::default(),
        })
    }

    /// Bytes that are reserved now.
    pub(super) fn reserved(&self) -> usize {
        self.reserved.get()
    }

    /// Room for a frame of a connection that has brought none yet; none where there is not enough.
    pub(super) fn reserve_for_stranger(self: &Rc<Self>, bytes: usize) -> Option<Reserved> {
        let share = self.bytes_max / 4;
        let by_strangers = self.reserved_by_strangers.get() + bytes;
        // One frame always fits, or no peer could begin with a large one.
        let fits = by_strangers <= share || self.reserved_by_strangers.get() == 0;
        if !fits || self.reserved.get() + bytes > self.bytes_max && self.reserved.get() > 0 {
            return None;
        }
        self.reserved_by_strangers.set(by_strangers);
        Some(self.take(bytes, true))
    }

    /// Room for a frame of a connection that brings frames; waits until there is some.
    pub(super) async fn reserve(self: &Rc<Self>, bytes: usize) -> Reserved {
        let turn = Turn::draw(self);
        loop {
            let given_back = self.given_back.notified();
            let fits = self.reserved.get() + bytes <= self.bytes_max || self.reserved.get() == 0;
            if turn.is_next() && fits {
                return self.take(bytes, false);
            }
            given_back.await;
        }
    }

    fn take(self: &Rc<Self>, bytes: usize, by_stranger: bool) -> Reserved {
        self.reserved.set(self.reserved.get() + bytes);
        Reserved { unfinished: Rc::clone(self), bytes, by_stranger }
    }
}

/// A place in the queue for reservations.
struct Turn<'a> {
    unfinished: &'a Unfinished,
    number: u64,
}

impl<'a> Turn<'a> {
    fn draw(unfinished: &'a Unfinished) -> Self {
        let mut queue = unfinished.queue.borrow_mut();
        queue.next += 1;
        Self { unfinished, number: queue.next - 1 }
    }

    fn is_next(&self) -> bool {
        self.unfinished.queue.borrow().served >= self.number
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // A task that gives up lets the ones behind it move up.
        self.unfinished.queue.borrow_mut().served += 1;
        self.unfinished.given_back.notify_waiters();
    }
}

/// Room for one frame; gives it back when dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    unfinished: Rc<Unfinished>,
    bytes: usize,
    by_stranger: bool,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let unfinished = &self.unfinished;
        unfinished.reserved.set(unfinished.reserved.get() - self.bytes);
        if self.by_stranger {
            unfinished.reserved_by_strangers.set(unfinished.reserved_by_strangers.get() - self.bytes);
        }
        unfinished.given_back.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::pin::pin;
    use core::task::{Context, Poll, Waker};
    use tokio::task::{LocalSet, spawn_local};

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, test)
    }

    fn asker(last: u8, known: bool) -> Asker {
        let address = Address::parse(&format!("10.0.0.{last}:80")).expect("an address");
        Asker { source: Some(IpAddr::from([10, 0, 0, last])), known, address: Some(address) }
    }

    impl Links {
        fn add(&mut self, asker: Asker, brings: bool) -> u64 {
            let id = self.next_id();
            self.insert(id, asker, spawn_local(core::future::pending::<()>()).abort_handle());
            if brings {
                self.brought_frame(id);
            }
            id
        }
    }

    #[test]
    fn strangers_make_room_those_of_the_busiest_source_first() {
        run(async {
            let mut links = Links::default();
            let peer = links.add(asker(1, true), true);
            let speaker = links.add(asker(2, false), true);
            let newcomer = links.add(asker(3, true), false);
            let lonely = links.add(asker(4, false), false);
            let crowd: Vec<u64> = (0..4).map(|_| links.add(asker(5, false), false)).collect();
            for gone in crowd.into_iter().chain([lonely, newcomer]) {
                assert_eq!(links.admit(&asker(9, false), links.open.len()), Ok(()));
                assert!(!links.open.contains_key(&gone));
            }
            // What brings frames stays, whichever unknown process asks.
            assert_eq!(links.admit(&asker(9, false), 2), Err(NoRoom::Full));
            assert_eq!(links.admit(&asker(9, true), 2), Ok(()));
            assert!(!links.open.contains_key(&speaker) && links.open.contains_key(&peer));
        });
    }

    #[test]
    fn a_peer_that_asks_too_often_waits_and_holds_up_no_other() {
        let mut links = Links::default();
        let now = Instant::now();
        let taken = |links: &mut Links, asker: &Asker, at: Instant| {
            (0..5_000).filter(|_| links.takes_turn(asker, at)).count() as u32
        };
        assert_eq!(taken(&mut links, &asker(1, false), now), UPGRADES_PER_SECOND);
        assert_eq!(taken(&mut links, &asker(1, false), now + Duration::from_millis(100)), UPGRADES_PER_SECOND / 10);
        assert_eq!(taken(&mut links, &asker(1, true), now), UPGRADES_PER_SECOND, "a peer is counted apart");
        assert_eq!(taken(&mut links, &asker(2, false), now), UPGRADES_PER_SECOND);
        let impostor = Asker { address: asker(1, true).address, ..asker(7, true) };
        assert_eq!(taken(&mut links, &impostor, now), UPGRADES_PER_SECOND, "and so is one that says it is that peer");
        for n in 0..3_000_u32 {
            let source = Some(IpAddr::from(n.to_be_bytes()));
            let _ = links.takes_turn(&Asker { source, known: false, address: None }, now);
            assert!(links.rates.len() <= SOURCES_MAX);
        }
    }

    #[test]
    fn reservations_are_bounded_and_in_order() {
        run(async {
            let unfinished = Unfinished::new(100);
            let stranger = unfinished.reserve_for_stranger(25).expect("a quarter");
            assert!(unfinished.reserve_for_stranger(1).is_none());
            let first = unfinished.reserve(70).await;
            assert_eq!(unfinished.reserved(), 95);
            let mut context = Context::from_waker(Waker::noop());
            let (mut large, mut small) = (pin!(unfinished.reserve(90)), pin!(unfinished.reserve(1)));
            assert!(large.as_mut().poll(&mut context).is_pending());
            assert!(small.as_mut().poll(&mut context).is_pending(), "the large one comes first");
            drop(first);
            assert!(large.as_mut().poll(&mut context).is_pending());
            drop(stranger);
            let Poll::Ready(large) = large.as_mut().poll(&mut context) else { panic!("there is room") };
            let Poll::Ready(small) = small.as_mut().poll(&mut context) else { panic!("there is room") };
            drop((large, small));
            assert_eq!((unfinished.reserved(), unfinished.reserved_by_strangers.get()), (0, 0));
            // One frame that is larger than all there is still passes, alone.
            drop(unfinished.reserve(500).await);
            assert!(unfinished.reserve_for_stranger(500).is_some());
        });
    }
}
