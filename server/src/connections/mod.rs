//! Every client connection: what it is doing, since when, and when that has lasted too long.
//!
//! hyper's own header timeout also ends connections that merely idle, and costs a timer per request. So each connection
//! keeps a pulse: its phase and the tick at which that phase must be over. One sweep per tick looks at all of them. The
//! precision of every limit is one tick, [`TICK`].
//!
//! Invariants: a connection is registered exactly as long as its task lives or until it is told to end. At most
//! `connections_max` are registered. An idle connection gives way to a new one.

mod answers;
mod connection;
mod raw;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use answers::{PIECE_BYTES_MIN, Piece, piece};
pub(crate) use connection::{Connection, Leaving};
pub(crate) use stream::Watched;

use crate::memory::Clients;
use crate::metrics::{Metrics, count};
use crate::settings::Limits;
use answers::Answers;
use connection::{Phase, Presence, Rhythm, ticks};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tracing::warn;

/// How often the sweep looks at all connections.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// A request's head may still be incomplete after this, or may not have begun where there was no room. It gives way to
/// a new connection when no other connection idles.
const TIMEOUT_AT_LIMIT: Duration = Duration::from_secs(1);

/// Connections beyond the limit that are let in so that the server hears what they want. Peers and diagnostics are
/// served. A client is told that there are too many. So clients that fill every place cannot lock peers out.
const SURPLUS_MAX: usize = 64;

/// Handshakes of TLS that may be under way. One more ends the oldest: a true client needs a few round trips.
const HANDSHAKES_MAX: usize = 256;

/// Candidates for making room that one look at all connections yields.
const CANDIDATES_MAX: usize = 64;

#[derive(Debug)]
struct Entry {
    connection: Rc<Connection>,
    task: Option<AbortHandle>,
}

/// All client connections of one server.
#[derive(Debug)]
pub(crate) struct Connections {
    rhythm: Arc<Rhythm>,
    entries: RefCell<BTreeMap<u64, Entry>>,
    /// There was none, and now there is one.
    filled: Notify,
    next: Cell<u64>,
    /// Connections begin with TLS.
    secures: bool,
    /// Those that do, oldest first; some have ended.
    handshakes: RefCell<VecDeque<u64>>,
    connections_max: usize,
    /// The connections that may make room next, with the tick since which it may. Made by one look at all, used up one
    /// by one.
    candidates: RefCell<VecDeque<(u64, u32)>>,
    body_bytes: Cell<usize>,
    body_bytes_max: usize,
    answers: Answers,
    stopping: Cell<bool>,
}

impl Connections {
    /// None yet.
    pub(crate) fn new(limits: &Limits, secures: bool) -> Rc<Self> {
        Rc::new(Self {
            rhythm: Arc::new(Rhythm::new(limits)),
            entries: RefCell::default(),
            filled: Notify::new(),
            next: Cell::default(),
            secures,
            handshakes: RefCell::default(),
            connections_max: limits.connections_max,
            candidates: RefCell::default(),
            body_bytes: Cell::default(),
            body_bytes_max: limits.bodies_bytes_max,
            answers: Answers::default(),
            stopping: Cell::default(),
        })
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    /// Waits until there is one.
    pub(crate) async fn any(&self) {
        while self.len() == 0 {
            self.filled.notified().await;
        }
    }

    /// Takes a new connection in, if there is room or can be made; otherwise it is closed.
    pub(crate) fn admit(self: &Rc<Self>, stream: TcpStream, metrics: &Metrics) -> Option<Registered> {
        let surplus = self.len() >= self.connections_max && !self.evict(metrics);
        if surplus && self.len() >= self.connections_max + SURPLUS_MAX {
            count(&metrics.connections_refused);
            return None;
        }
        count(&metrics.connections_accepted);
        let connection = Rc::new(Connection::new(stream, self.rhythm.clone(), surplus));
        if self.len() == 0 {
            self.filled.notify_one();
        }
        let id = self.next.get();
        self.next.set(id + 1);
        self.entries.borrow_mut().insert(id, Entry { connection: connection.clone(), task: None });
        if self.secures {
            self.begin_handshake(id, &connection, metrics);
        }
        Some(Registered { connections: self.clone(), connection, id })
    }

    /// One more handshake begins. Where there are too many the oldest one ends.
    fn begin_handshake(&self, id: u64, connection: &Connection, metrics: &Metrics) {
        connection.begin_handshake();
        let mut handshakes = self.handshakes.borrow_mut();
        handshakes.push_back(id);
        if handshakes.len() <= HANDSHAKES_MAX {
            return;
        }
        let is_under_way =
            |id: &u64| self.entries.borrow().get(id).is_some_and(|entry| entry.connection.pulse.is(Phase::Handshake));
        handshakes.retain(is_under_way);
        if handshakes.len() > HANDSHAKES_MAX
            && let Some(oldest) = handshakes.pop_front()
        {
            self.end(oldest);
            count(&metrics.connections_evicted);
        }
    }

    /// From now on ending this connection aborts that task.
    pub(crate) fn bind(&self, id: u64, task: AbortHandle) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(&id) {
            entry.task = Some(task);
        }
    }

    /// Ends the connection that has been idle longest; failing that, one whose head has been incomplete
    /// for a while. Says whether there was one.
    pub(crate) fn evict(&self, metrics: &Metrics) -> bool {
        let victim = self.next_candidate().or_else(|| {
            self.find_candidates();
            self.next_candidate()
        });
        if let Some(id) = victim {
            self.end(id);
            count(&metrics.connections_evicted);
        }
        victim.is_some()
    }

    /// The first candidate that has done nothing since it became one.
    fn next_candidate(&self) -> Option<u64> {
        let entries = self.entries.borrow();
        let idles_since = |id: &u64| entries.get(id).and_then(|entry| self.idleness(entry)).map(|(_, since)| since);
        let mut candidates = self.candidates.borrow_mut();
        loop {
            let (id, since) = candidates.pop_front()?;
            if idles_since(&id) == Some(since) {
                return Some(id);
            }
        }
    }

    fn find_candidates(&self) {
        let entries = self.entries.borrow();
        let ranked = entries.iter().filter_map(|(&id, entry)| self.idleness(entry).map(|idleness| (idleness, id)));
        let mut ranked: Vec<((u8, u32), u64)> = ranked.collect();
        if ranked.len() > CANDIDATES_MAX {
            ranked.select_nth_unstable(CANDIDATES_MAX);
            ranked.truncate(CANDIDATES_MAX);
        }
        ranked.sort_unstable();
        *self.candidates.borrow_mut() = ranked.into_iter().map(|((_, since), id)| (id, since)).collect();
    }

    /// How readily this connection makes room for another, least first: its kind and since when. `None` where
    /// it does something.
    fn idleness(&self, entry: &Entry) -> Option<(u8, u32)> {
        let pulse = &entry.connection.pulse;
        let since = pulse.since();
        match pulse.phase() {
            Phase::Closing => Some((0, since)),
            Phase::Idle if !entry.connection.is_surplus() => Some((1, since)),
            // It may be about to say what it wants.
            Phase::Handshake | Phase::Idle | Phase::Head => {
                let age = self.rhythm.now.load(Relaxed).saturating_sub(since);
                (age >= ticks(TIMEOUT_AT_LIMIT)).then_some((2, since))
            }
            // One that watches is at rest, but has something to come.
            Phase::Busy | Phase::Body | Phase::Answer | Phase::Watch => None,
        }
    }

    fn end(&self, id: u64) {
        if let Some(Entry { task: Some(task), .. }) = self.entries.borrow_mut().remove(&id) {
            task.abort();
        }
    }

    /// Ends every connection whose phase has lasted too long, or whose client left while its request waits. To be
    /// called once per [`TICK`] while there is any.
    pub(crate) fn sweep(&self, metrics: &Metrics) {
        let now = self.rhythm.now.load(Relaxed) + 1;
        self.rhythm.now.store(now, Relaxed);
        self.shed();
        if self.is_stopping() {
            // Those whose watch ended have become idle since.
            self.end_those(&[Phase::Idle]);
        }
        // One walk for both: with many connections each look is at memory that no cache holds.
        let found: Vec<(u64, Presence, Rc<Connection>)> = {
            let entries = self.entries.borrow();
            let look = |(&id, Entry { connection, .. }): (&u64, &Entry)| {
                let presence = connection.presence();
                let found = presence == Presence::Gone || connection.pulse.is_over(now);
                found.then(|| (id, presence, connection.clone()))
            };
            entries.iter().filter_map(look).collect()
        };
        for (id, presence, connection) in found {
            if presence == Presence::Gone {
                self.end(id);
                count(&metrics.connections_left);
                continue;
            }
            match connection.pulse.phase() {
                Phase::Body => {
                    connection.tell_body_is_late();
                    count(&metrics.connections_timed_out);
                }
                Phase::Idle | Phase::Closing => self.end(id),
                Phase::Handshake | Phase::Head | Phase::Answer | Phase::Watch => {
                    self.end(id);
                    count(&metrics.connections_timed_out);
                }
                Phase::Busy => {}
            }
        }
    }

    /// Every answer from now on is the last of its connection; connections without a request end now.
    pub(crate) fn stop(&self) {
        self.stopping.set(true);
        self.end_those(&[Phase::Handshake, Phase::Idle, Phase::Head, Phase::Closing]);
    }

    /// Ends the connections in these phases.
    fn end_those(&self, phases: &[Phase]) {
        let entries = self.entries.borrow();
        let those = entries.iter().filter(|(_, entry)| phases.contains(&entry.connection.pulse.phase()));
        let those: Vec<u64> = those.map(|(&id, _)| id).collect();
        drop(entries);
        those.into_iter().for_each(|id| self.end(id));
    }

    /// Was [`Self::stop`] called?
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// An answer of so many bytes, with these large pieces, is ready to be sent on this connection. So many operations
    /// have been applied by now.
    pub(crate) fn on_answer(&self, connection: &Connection, bytes: u64, large: Vec<Weak<Piece>>, applied: u64) {
        connection.on_answer(bytes);
        if !large.is_empty() {
            connection.keep_unsent_small();
            self.answers.add(large, &connection.sending);
        }
        if self.answers.changed(applied) {
            self.shed();
        }
    }

    /// The answer of this connection has no end.
    pub(crate) fn on_watch(&self, connection: &Connection) {
        connection.on_watch();
    }

    /// Large pieces of an answer without an end are ready to be sent on this connection.
    pub(crate) fn on_part(&self, connection: &Connection, large: Vec<Weak<Piece>>) {
        connection.keep_unsent_small();
        self.answers.add(large, &connection.sending);
        self.shed();
    }

    /// Ends connections until what only answers hold fits beside the bodies that are being read.
    pub(crate) fn shed(&self) {
        let room = self.body_bytes_max.saturating_sub(self.body_bytes.get());
        if self.answers.fit(room) {
            return;
        }
        let (ended, freed) = {
            let entries = self.entries.borrow();
            self.answers.to_end(entries.iter().map(|(&id, entry)| (id, &entry.connection.sending)), room)
        };
        if !ended.is_empty() {
            warn!(connections = ended.len(), bytes = freed, "clients that read too slowly made room in memory");
            ended.into_iter().for_each(|id| self.end(id));
        }
    }

    /// What clients make this replica hold beside data.
    pub(crate) fn memory(&self) -> Clients {
        let entries = self.entries.borrow();
        let (answers, ended) = self.answers.figures(entries.iter().map(|(&id, entry)| (id, &entry.connection.sending)));
        Clients { bodies: self.body_bytes.get(), answers, bytes_max: self.body_bytes_max, ended }
    }

    /// Room for the bytes of a body that is being read; gives it back when dropped.
    pub(crate) fn reserve(&self) -> Reservation<'_> {
        Reservation { connections: self, bytes: 0 }
    }
}

/// A connection that was let in. Leaves the register when dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    connections: Rc<Connections>,
    connection: Rc<Connection>,
    id: u64,
}

impl Registered {
    /// The connection.
    pub(crate) const fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    /// Its name, for [`Connections::bind`].
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.connections.entries.borrow_mut().remove(&self.id);
    }
}

/// Bytes of one body that count against the sum of all.
#[derive(Debug)]
pub(crate) struct Reservation<'a> {
    connections: &'a Connections,
    bytes: usize,
}

impl Reservation<'_> {
    /// So many bytes.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// So many bytes more. Says whether there is room for them.
    #[must_use]
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let total = self.connections.body_bytes.get().saturating_add(bytes);
        if total > self.connections.body_bytes_max {
            return false;
        }
        self.connections.body_bytes.set(total);
        self.bytes += bytes;
        self.connections.shed();
        true
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.connections.body_bytes.set(self.connections.body_bytes.get() - self.bytes);
    }
}
