//! Streams: one connection for each ordered pair of replicas, which carries messages in order, as TCP does.
//!
//! A stream loses its end or nothing. In a cut that swallows packets it stalls and keeps what it holds. It sends all of
//! it again after the cut, when its retransmission timer fires. In a cut that resets connections it dies with what it
//! holds, and the sender's transport dials anew. Limits and pauses are those of the product's transport.

use crate::plan::stream::StreamPlan;
use std::collections::VecDeque;

const MS: u64 = 1_000;

/// A queue takes so many messages, however large they are. As in production it holds many of the largest frames, and the
/// end of a state follows its last frame in the same step (STATE-1).
const QUEUED_LEAST: usize = 16;

/// An attempt to connect ends after this, in microseconds.
pub const DIAL_MAX: u64 = 500 * MS;
/// A connection that stands and is not upgraded ends after this.
pub const GREETING_MAX: u64 = 1_000 * MS;
/// After a failure messages are lost for so long, but for one that opens a link.
pub const REDIAL_PAUSE: u64 = 100 * MS;
/// A stream whose kernel takes nothing for so long ends.
pub const WRITE_MAX: u64 = 5_000 * MS;
/// The first retransmission comes after this, each further one after twice as long.
pub const RETRANSMIT_MIN: u64 = 200 * MS;
/// No pause between two retransmissions is longer.
pub const RETRANSMIT_MAX: u64 = 120_000 * MS;

/// When a stream that stalled then goes on, if its cut ends now: at its next retransmission.
#[must_use]
pub fn goes_on_at(stalled_at: u64, now: u64) -> u64 {
    let (mut at, mut pause) = (stalled_at, RETRANSMIT_MIN);
    while at < now {
        at += pause;
        pause = (2 * pause).min(RETRANSMIT_MAX);
    }
    at
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The peer's kernel has not answered yet.
    Dialling,
    /// The peer's process has not answered yet.
    Greeting,
    /// It carries messages.
    Open,
    /// Its sender closed it. Its kernel carries what it had taken.
    Closing,
}

/// A message in a stream.
#[derive(Debug)]
pub struct Piece<F> {
    /// The message.
    pub frame: F,
    /// How many bytes it takes.
    pub bytes: u64,
    /// How long each of its bytes is on the way.
    pub delay: u64,
    /// Bits of it changed on the way: the reader closes the connection.
    pub damaged: bool,
    /// It was in the stream when that stalled.
    pub again: bool,
    /// When it is there, unless the stream stalls.
    pub arrival: u64,
}

/// One connection.
#[derive(Debug)]
pub struct Socket<F> {
    /// Its number on its link.
    pub number: u32,
    /// How far it is.
    pub phase: Phase,
    /// The process that accepted it is that address's life of this number.
    pub life: u32,
    /// What made the sender dial.
    pub cause: u64,
    /// Nothing has arrived yet.
    pub fresh: bool,
    /// Since when it stalls.
    pub stalled_at: Option<u64>,
    /// Events of an earlier one are not meant any more.
    pub epoch: u32,
    /// Bytes that arrived while no acknowledgement returned.
    pub unacknowledged: u64,
    pieces: VecDeque<Piece<F>>,
    bytes: u64,
    last_arrival: u64,
}

impl<F> Socket<F> {
    const fn new(number: u32, cause: u64) -> Self {
        Self {
            number,
            phase: Phase::Dialling,
            life: 0,
            cause,
            fresh: true,
            stalled_at: None,
            epoch: 0,
            unacknowledged: 0,
            pieces: VecDeque::new(),
            bytes: 0,
            last_arrival: 0,
        }
    }

    /// Does it hold nothing?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// How many messages it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// The message that arrives next.
    #[must_use]
    pub fn front(&self) -> Option<&Piece<F>> {
        self.pieces.front()
    }

    /// Its messages, the oldest first.
    pub fn frames(&self) -> impl Iterator<Item = &F> {
        self.pieces.iter().map(|piece| &piece.frame)
    }

    /// Drops the messages that do not go into it.
    pub fn retain(&mut self, goes: impl Fn(&F) -> bool) {
        self.pieces.retain(|piece| goes(&piece.frame));
        self.bytes = self.pieces.iter().map(|piece| piece.bytes).sum();
    }

    /// Takes the message that arrives.
    pub fn pop(&mut self) -> Option<Piece<F>> {
        let piece = self.pieces.pop_front()?;
        self.bytes -= piece.bytes;
        Some(piece)
    }

    /// Drops what its kernel has not taken; says how many messages that were.
    fn keep_kernels(&mut self, kernel_bytes_max: u64) -> usize {
        let (mut bytes, mut kept) = (0, 0);
        for piece in &self.pieces {
            if bytes + piece.bytes > kernel_bytes_max {
                break;
            }
            bytes += piece.bytes;
            kept += 1;
        }
        let dropped = self.pieces.len() - kept;
        self.pieces.truncate(kept);
        self.bytes = bytes;
        dropped
    }

    /// Nothing that it holds is longer on the way than this.
    pub fn hurry(&mut self, delay_max: u64) {
        self.pieces.iter_mut().for_each(|piece| piece.delay = piece.delay.min(delay_max));
    }

    /// Stops: nothing arrives until it goes on. What is under way is sent again then.
    pub fn stall(&mut self, now: u64) {
        self.epoch += 1;
        self.stalled_at.get_or_insert(now);
        self.pieces.iter_mut().for_each(|piece| piece.again = true);
    }
}

/// What a message that is sent from now on meets on its way.
#[derive(Debug, Clone, Copy)]
pub struct Road {
    /// The time.
    pub now: u64,
    /// Bytes in a second; 0 for any number.
    pub bandwidth: u64,
    /// How much later everything reaches its receiver.
    pub slow_by: u64,
}

/// All connections from one replica to another.
#[derive(Debug)]
pub struct Wire<F> {
    /// Oldest first.
    sockets: Vec<Socket<F>>,
    /// The newest one is the one that the sender's transport has.
    present: bool,
    /// When the last one failed.
    pub failed_at: Option<u64>,
    /// When everything that was sent has left.
    free_at: u64,
    dialled: u32,
}

impl<F> Default for Wire<F> {
    fn default() -> Self {
        Self { sockets: Vec::new(), present: false, failed_at: None, free_at: 0, dialled: 0 }
    }
}

impl<F> Wire<F> {
    /// The connection that the sender's transport has.
    pub fn present(&mut self) -> Option<&mut Socket<F>> {
        if self.present { self.sockets.last_mut() } else { None }
    }

    /// The numbers of all connections.
    #[must_use]
    pub fn numbers(&self) -> Vec<u32> {
        self.sockets.iter().map(|socket| socket.number).collect()
    }

    /// A connection by its number.
    pub fn socket(&mut self, number: u32) -> Option<&mut Socket<F>> {
        self.sockets.iter_mut().find(|socket| socket.number == number)
    }

    /// Is that the one that the sender's transport has?
    #[must_use]
    pub fn is_present(&self, number: u32) -> bool {
        self.present && self.sockets.last().is_some_and(|socket| socket.number == number)
    }

    /// Is a message to be lost, because a connection failed just now?
    #[must_use]
    pub fn pauses(&self, now: u64) -> bool {
        !self.present && self.failed_at.is_some_and(|at| now - at < REDIAL_PAUSE)
    }

    /// Does too much wait to take one more?
    #[must_use]
    pub fn is_full(&self, plan: &StreamPlan) -> bool {
        let waiting = |socket: &Socket<F>| socket.bytes.saturating_sub(self.taken(socket, plan));
        let full = |socket: &Socket<F>| socket.len() >= QUEUED_LEAST && waiting(socket) >= plan.queue_bytes_max;
        self.present && self.sockets.last().is_some_and(full)
    }

    /// Has the kernel taken nothing for too long?
    #[must_use]
    pub fn is_stuck(&self, plan: &StreamPlan, now: u64) -> bool {
        let stuck = |socket: &Socket<F>| {
            socket.bytes > plan.kernel_bytes_max && socket.stalled_at.is_some_and(|at| now - at >= WRITE_MAX)
        };
        self.present && self.sockets.last().is_some_and(stuck)
    }

    fn taken(&self, socket: &Socket<F>, plan: &StreamPlan) -> u64 {
        match socket.phase {
            Phase::Dialling | Phase::Greeting => 0,
            Phase::Open | Phase::Closing => plan.kernel_bytes_max,
        }
    }

    /// A message opens a link: what waits is dropped. A connection that stands is closed, one that is being made goes
    /// on. Says how many messages were dropped.
    pub fn begin_anew(&mut self, kernel_bytes_max: u64) -> usize {
        let Some(socket) = self.present() else {
            self.failed_at = None;
            return 0;
        };
        match socket.phase {
            Phase::Dialling | Phase::Greeting => socket.keep_kernels(0),
            Phase::Open | Phase::Closing => {
                self.failed_at = None;
                self.close(kernel_bytes_max)
            }
        }
    }

    /// The sender closes its connection: what its kernel has not taken is dropped, and the rest still arrives.
    pub fn close(&mut self, kernel_bytes_max: u64) -> usize {
        let Some(socket) = self.present() else { return 0 };
        let stands = matches!(socket.phase, Phase::Open | Phase::Closing);
        let dropped = socket.keep_kernels(if stands { kernel_bytes_max } else { 0 });
        socket.phase = Phase::Closing;
        if socket.is_empty() {
            self.sockets.pop();
        }
        self.present = false;
        dropped
    }

    /// A connection is gone with all that it held; says how many messages that were.
    pub fn die(&mut self, number: u32, now: u64) -> usize {
        let Some(at) = self.sockets.iter().position(|socket| socket.number == number) else { return 0 };
        if self.is_present(number) {
            self.present = false;
            self.failed_at = Some(now);
        }
        self.sockets.remove(at).len()
    }

    /// The sender dials.
    pub fn dial(&mut self, cause: u64) -> u32 {
        self.dialled += 1;
        self.sockets.push(Socket::new(self.dialled, cause));
        self.present = true;
        self.dialled
    }

    /// A message enters the connection that the sender's transport has.
    pub fn push(&mut self, piece: Piece<F>) {
        if let Some(socket) = self.present() {
            socket.bytes += piece.bytes;
            socket.pieces.push_back(piece);
        }
    }

    /// The last message of that connection leaves as soon as those before it have.
    pub fn send_last(&mut self, number: u32, road: Road) {
        let Some(at) = self.sockets.iter().position(|socket| socket.number == number) else { return };
        let last = self.sockets[at].pieces.len();
        self.send_from(at, last.saturating_sub(1), road);
    }

    /// All messages of that connection leave one after another, from now on.
    pub fn send_all(&mut self, number: u32, road: Road) {
        let Some(at) = self.sockets.iter().position(|socket| socket.number == number) else { return };
        self.sockets[at].last_arrival = 0;
        self.send_from(at, 0, road);
    }

    fn send_from(&mut self, at: usize, first: usize, road: Road) {
        let socket = &mut self.sockets[at];
        for piece in socket.pieces.iter_mut().skip(first) {
            let takes = (piece.bytes * 1_000_000).checked_div(road.bandwidth).unwrap_or(0);
            self.free_at = self.free_at.max(road.now) + takes;
            piece.arrival = (self.free_at + piece.delay + road.slow_by).max(socket.last_arrival + 1);
            socket.last_arrival = piece.arrival;
        }
    }

    /// Nothing is on its way any more: whatever is sent next need not wait.
    pub fn clear_road(&mut self) {
        self.free_at = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(name: char, bytes: u64) -> Piece<char> {
        Piece { frame: name, bytes, delay: 10, damaged: false, again: false, arrival: 0 }
    }

    fn open(names: &str, bytes: u64) -> (Wire<char>, u32) {
        let mut wire = Wire::default();
        let number = wire.dial(0);
        for name in names.chars() {
            wire.push(piece(name, bytes));
        }
        wire.socket(number).expect("it was just dialled").phase = Phase::Open;
        (wire, number)
    }

    #[test]
    fn a_stalled_stream_goes_on_at_its_next_retransmission() {
        let after = |passed: u64| goes_on_at(7, 7 + passed * MS) - 7;
        assert_eq!([0, 1, 200, 201, 601, 1_300, 1_401, 3_001].map(after), {
            [0, 200, 200, 600, 1_400, 1_400, 3_000, 6_200].map(|millis| millis * MS)
        });
    }

    #[test]
    fn messages_leave_one_after_another_at_the_rate_of_the_link() {
        let (mut wire, number) = open("abc", 500);
        let road = Road { now: 1_000, bandwidth: 1_000_000, slow_by: 0 };
        wire.send_all(number, road);
        let socket = wire.socket(number).expect("it is open");
        assert_eq!(socket.pieces.iter().map(|piece| piece.arrival).collect::<Vec<_>>(), [1_510, 2_010, 2_510]);
        socket.stall(1_200);
        wire.send_all(number, Road { now: 9_000, ..road });
        let socket = wire.socket(number).expect("it is open");
        assert_eq!(socket.front().map(|piece| (piece.arrival, piece.again)), Some((9_510, true)));
    }

    #[test]
    fn a_link_that_opens_drops_what_the_kernel_has_not_taken() {
        let (mut wire, number) = open("abcd", 100);
        assert_eq!(wire.begin_anew(250), 2, "two fit the kernel");
        assert!(wire.present().is_none() && wire.socket(number).is_some_and(|socket| socket.phase == Phase::Closing));
        let next = wire.dial(1);
        wire.push(piece('e', 100));
        assert_eq!(wire.begin_anew(250), 1, "what waits for a connection is dropped");
        assert!(wire.is_present(next), "the attempt goes on");
        wire.push(piece('f', 100));
        assert_eq!((wire.die(next, 5), wire.pauses(6), wire.pauses(5 + REDIAL_PAUSE)), (1, true, false));
    }

    #[test]
    fn a_queue_is_bounded_beside_what_the_kernel_took() {
        let plan = StreamPlan { queue_bytes_max: 200, kernel_bytes_max: 300, ..StreamPlan::ROOMY };
        let many = "abcdefghijklmnopqrst";
        assert!(!open("abcd", 100).0.is_full(&plan) && open(many, 100).0.is_full(&plan));
        assert!(!open("abc", 1_000).0.is_full(&plan), "however large they are");
        let (mut wire, number) = open("abcd", 100);
        wire.socket(number).expect("it is open").stall(50);
        assert!(!wire.is_stuck(&plan, WRITE_MAX) && wire.is_stuck(&plan, 50 + WRITE_MAX));
    }
}
