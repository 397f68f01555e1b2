//! Runs with streams: dialling, sending in order, stalls and their ends. What the product's transport and a kernel do.

use super::formats::Said;
use super::outputs::{Frame, Head, STUCK_MAX};
use super::{Scheduled, World};
use crate::engine::stream::{DIAL_MAX, GREETING_MAX, Phase, Piece, RETRANSMIT_MIN, Road, goes_on_at};
use crate::mutants::harness::HarnessMutant;
use crate::observe::Note;
use crate::oracle::adversity::Kind;
use crate::plan::network::Fate;
use crate::plan::stream::{CutWay, StreamPlan};
use crate::random::mix;
use crate::subject::Subject;

/// An attempt that is refused by the own kernel fails after this, in microseconds.
const REFUSED_AFTER: u64 = 50;

/// What happens to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The message in front arrives.
    Arrive,
    /// It stalled, and its retransmission timer fires after its cut.
    GoOn,
    /// The peer's kernel has answered, or would have.
    Dialled,
    /// The peer's process answers.
    Greeted,
    /// The attempt took too long.
    DialLate,
    /// The answer took too long.
    GreetingLate,
    /// The attempt is refused.
    Refused,
}

/// Which connection it happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flow {
    /// From which replica.
    from: u16,
    /// To which.
    to: u16,
    socket: u32,
    epoch: u32,
    turn: Turn,
}

impl<S: Subject> World<S> {
    /// What connections are like, in a run that has them.
    fn stream_plan(&self) -> StreamPlan {
        self.plan.network.streams.unwrap_or(StreamPlan::ROOMY)
    }

    fn road(&self, to: usize) -> Road {
        Road { now: self.now, bandwidth: self.bandwidth(), slow_by: self.nodes[to].slow_by }
    }

    /// What cuts this link, if anything does.
    fn cut_way(&self, link: usize) -> Option<CutWay> {
        let (link, plan) = (&self.links[link], self.stream_plan());
        if link.losing > 0 {
            Some(plan.lost)
        } else if link.holding > 0 {
            Some(plan.held)
        } else {
            None
        }
    }

    fn way_back(&self, link: usize) -> usize {
        let count = self.nodes.len();
        link % count * count + link / count
    }

    /// What cuts this link in either direction.
    fn cut_either_way(&self, link: usize) -> Option<CutWay> {
        self.cut_way(link).or_else(|| self.cut_way(self.way_back(link)))
    }

    /// How long one byte takes there and back again, for what is no message of the plan.
    fn there_and_back(&self, link: usize, cause: u64) -> u64 {
        let count = self.nodes.len();
        let (from, to) = (link / count, link % count);
        let way = |key: u64, ends| self.plan.network.fate(self.source.words(mix(cause, key)), ends).delay;
        let both = way(31, (from, to)) + way(32, (to, from));
        if self.recovery.is_healed() { both.min(2 * self.healed_delay_max()) } else { both }
    }

    fn flow(&mut self, link: usize, socket: u32, (at, epoch): (u64, u32), turn: Turn, key: u64) {
        let count = self.nodes.len();
        let (from, to) = ((link / count) as u16, (link % count) as u16);
        self.push(at, key, Scheduled::Stream(Flow { from, to, socket, epoch, turn }));
    }

    fn note_stream(&mut self, link: usize, what: &'static str) {
        let count = self.nodes.len();
        self.note(Some(link / count), || Note::Stream { to: link % count, what });
    }

    fn lose(&mut self, kind: Kind, messages: usize) {
        (0..messages).for_each(|_| self.count(kind));
    }

    /// A message goes into the connection to its receiver, which is dialled if there is none.
    pub(super) fn write(&mut self, head: Head, message: S::Message, fate: Fate, opening: bool) {
        let (from, to) = head.ends();
        let (link, plan, now) = (from * self.nodes.len() + to, self.stream_plan(), self.now);
        if fate.damaged.is_some_and(|word| !self.damage(head, &message, word)) {
            return;
        }
        if self.streams[link].is_stuck(&plan, now)
            && let Some(number) = self.streams[link].present().map(|socket| socket.number)
        {
            self.break_off(link, number);
        }
        if opening {
            let dropped = self.streams[link].begin_anew(plan.kernel_bytes_max);
            self.lose(Kind::Superseded, dropped);
        } else if self.streams[link].pauses(now) {
            return self.count(Kind::Unconnected);
        }
        if self.streams[link].is_full(&plan) {
            return self.count(Kind::StreamFull);
        }
        let held_up = if fate.lost { RETRANSMIT_MIN } else { 0 };
        self.lose(Kind::HeldUp, usize::from(fate.lost));
        let (bytes, delay) = (S::bytes(&message), fate.delay + held_up);
        let dials = self.streams[link].present().is_none();
        if dials {
            self.dial(link, head.cause);
        }
        if let Some(number) = self.streams[link].present().map(|socket| socket.number) {
            if opening {
                self.end_lane(link, number); // what waited for this connection was dropped
            }
            if !self.seal(link, number, &message) {
                return;
            }
        }
        let frame = Frame::new(head, message);
        let damaged = fate.damaged.is_some();
        self.streams[link].push(Piece { frame, bytes, delay, damaged, again: false, arrival: 0 });
        self.set_off(link);
    }

    /// The last message of an open connection sets off, or stalls it, or finds it reset.
    fn set_off(&mut self, link: usize) {
        let (way, road) = (self.cut_way(link), self.road(link % self.nodes.len()));
        let window = self.stream_plan().window_bytes;
        let Some(socket) = self.streams[link].present().filter(|socket| socket.phase == Phase::Open) else { return };
        let number = socket.number;
        match way {
            Some(CutWay::Reset) => self.break_off(link, number),
            Some(CutWay::Silent | CutWay::Gone | CutWay::Replaced) => self.stall(link, number),
            None if socket.unacknowledged > window => self.stall(link, number),
            None if socket.stalled_at.is_some() => {}
            None => {
                let idle = socket.len() == 1;
                self.streams[link].send_last(number, road);
                if idle {
                    self.expect_next(link, number);
                }
            }
        }
    }

    /// The message in front of a connection is on its way.
    fn expect_next(&mut self, link: usize, number: u32) {
        let Some(socket) = self.streams[link].socket(number) else { return };
        let epoch = socket.epoch;
        let Some(piece) = socket.front() else { return };
        let (at, cause) = (piece.arrival, piece.frame.head.cause);
        self.flow(link, number, (at.max(self.now), epoch), Turn::Arrive, cause);
    }

    fn stall(&mut self, link: usize, number: u32) {
        let now = self.now;
        if self.harness_mutant == Some(HarnessMutant::StreamsForget) {
            return self.forget(link, number);
        }
        let Some(socket) = self.streams[link].socket(number).filter(|socket| !socket.is_empty()) else { return };
        let begins = socket.stalled_at.is_none();
        socket.stall(now);
        if begins {
            self.count(Kind::StreamStalled);
            self.note_stream(link, "stalls");
        }
    }

    /// A connection dies with all that it holds.
    fn break_off(&mut self, link: usize, number: u32) {
        let lost = self.streams[link].die(number, self.now);
        self.end_lane(link, number);
        self.count(Kind::StreamReset);
        self.lose(Kind::DiedWithSocket, lost);
        self.note_stream(link, "is reset");
    }

    fn dial(&mut self, link: usize, cause: u64) {
        let number = self.streams[link].dial(cause);
        self.note_stream(link, "is dialled");
        let key = mix(cause, 33);
        self.flow(link, number, (self.now + DIAL_MAX, 0), Turn::DialLate, mix(key, 1));
        let gone = self.cut_way(link).is_some_and(CutWay::refuses);
        let (after, turn) = match self.cut_either_way(link) {
            _ if gone => (REFUSED_AFTER, Turn::Refused),
            Some(way) if way.refuses() => (self.there_and_back(link, cause), Turn::Refused),
            Some(_) => return, // packets vanish
            None => (self.there_and_back(link, cause), Turn::Dialled),
        };
        self.flow(link, number, (self.now + after, 0), turn, key);
    }

    pub(super) fn on_flow(&mut self, flow: Flow) {
        let Flow { from, to, socket: number, epoch, turn } = flow;
        let link = usize::from(from) * self.nodes.len() + usize::from(to);
        let Some(socket) = self.streams[link].socket(number) else { return };
        let phase = socket.phase;
        match (turn, phase) {
            (Turn::Arrive, _) if socket.epoch == epoch => self.arrive_in_stream(link, number),
            (Turn::GoOn, _) if socket.epoch == epoch => self.go_on(link, number),
            (Turn::Dialled, Phase::Dialling) => self.dialled(link, number),
            (Turn::Greeted, Phase::Greeting) => self.greeted(link, flow),
            (Turn::DialLate, Phase::Dialling)
            | (Turn::GreetingLate, Phase::Greeting)
            | (Turn::Refused, Phase::Dialling) => self.fail_dial(link, number),
            (
                Turn::Arrive
                | Turn::GoOn
                | Turn::Dialled
                | Turn::Greeted
                | Turn::DialLate
                | Turn::GreetingLate
                | Turn::Refused,
                _,
            ) => {}
        }
    }

    fn fail_dial(&mut self, link: usize, number: u32) {
        let lost = self.streams[link].die(number, self.now);
        self.count(Kind::DialFailed);
        self.lose(Kind::Unconnected, lost);
        self.note_stream(link, "cannot be dialled");
    }

    /// The peer's kernel answers, unless something came in between; then the attempt runs out of time.
    fn dialled(&mut self, link: usize, number: u32) {
        if self.cut_either_way(link).is_some() {
            return;
        }
        let count = self.nodes.len();
        let (from, to) = (link / count, link % count);
        if !self.is_alive(to) {
            return self.fail_dial(link, number);
        }
        let life = self.nodes[to].life;
        let Some(socket) = self.streams[link].socket(number) else { return };
        (socket.phase, socket.life) = (Phase::Greeting, life);
        let cause = socket.cause;
        let greeted = self.now + self.there_and_back(link, mix(cause, 34));
        self.flow(link, number, (greeted, 0), Turn::Greeted, mix(cause, 35));
        self.flow(link, number, (self.now + GREETING_MAX, 0), Turn::GreetingLate, mix(cause, 36));
        if self.plan.network.connects {
            let told = mix(cause, 1);
            self.derive(told, cause, "connection");
            self.connected(from, to, told);
        }
    }

    fn greeted(&mut self, link: usize, flow: Flow) {
        let to = usize::from(flow.to);
        if self.cut_either_way(link).is_some() {
            return;
        }
        if self.nodes[to].pauses > 0 {
            return self.nodes[to].backlog.push(Scheduled::Stream(flow));
        }
        let (alive, life, road) = (self.is_alive(to), self.nodes[to].life, self.road(to));
        let Some(socket) = self.streams[link].socket(flow.socket) else { return };
        if !alive || socket.life != life {
            return self.fail_dial(link, flow.socket);
        }
        socket.phase = Phase::Open;
        self.agree(link, flow.socket);
        self.count(Kind::Dialled);
        self.note_stream(link, "is open");
        self.streams[link].send_all(flow.socket, road);
        self.expect_next(link, flow.socket);
    }

    fn arrive_in_stream(&mut self, link: usize, number: u32) {
        let (count, plan) = (self.nodes.len(), self.stream_plan());
        let (from, to) = (link / count, link % count);
        let back = self.way_back(link);
        let (alive, life, back_cut) = (self.is_alive(to), self.nodes[to].life, self.links[back].is_cut());
        let present = self.streams[link].is_present(number);
        let Some(socket) = self.streams[link].socket(number) else { return };
        if !alive || socket.life != life {
            return self.break_off(link, number); // neither end has that connection any more
        }
        let Some(piece) = socket.pop() else { return };
        let first = std::mem::take(&mut socket.fresh);
        socket.unacknowledged = if back_cut { socket.unacknowledged + piece.bytes } else { 0 };
        let closed = socket.phase == Phase::Closing;
        let over = closed && socket.is_empty();
        if socket.unacknowledged > plan.window_bytes {
            self.stall(link, number);
        } else {
            self.expect_next(link, number);
        }
        let said = self.said(link, piece.frame.head.formats, &piece.frame.message);
        if said == Said::Refused {
            return self.break_off(link, number);
        }
        if over || piece.damaged {
            // A replica that cannot read a frame closes the connection.
            let lost = self.streams[link].die(number, self.now);
            self.lose(Kind::DiedWithSocket, lost + usize::from(piece.damaged));
            if piece.damaged {
                return self.count(Kind::StreamReset);
            }
        }
        self.open_sealed(link, number, piece.frame.head.cause, &piece.frame.message);
        if piece.again {
            self.count(Kind::SentAgain);
        }
        if closed || !present {
            self.count(Kind::OfClosedSocket);
        }
        if first {
            // It just spoke: the pause after a failed attempt is over.
            self.streams[to * count + from].failed_at = None;
        }
        if over {
            self.end_lane(link, number);
        }
        if said == Said::Understood {
            self.hand_in(piece.frame);
        }
    }

    /// A link is cut now that was not, or not in this way.
    pub(super) fn cut_stream(&mut self, link: usize) {
        if self.streams.is_empty() {
            return;
        }
        for number in self.streams[link].numbers() {
            let Some(socket) = self.streams[link].socket(number) else { continue };
            if !matches!(socket.phase, Phase::Open | Phase::Closing) || socket.is_empty() {
                continue;
            }
            if self.cut_way(link) == Some(CutWay::Reset) {
                self.break_off(link, number);
            } else {
                self.stall(link, number);
            }
        }
    }

    /// Only for the mutant: what a stream holds is lost, and the stream goes on.
    fn forget(&mut self, link: usize, number: u32) {
        let Some(socket) = self.streams[link].socket(number) else { return };
        while socket.pop().is_some() {}
        socket.epoch += 1;
    }

    /// Nothing cuts this link any more; what did, did so in this way.
    pub(super) fn mend_stream(&mut self, link: usize, hold: bool) {
        if self.streams.is_empty() {
            return;
        }
        let plan = self.stream_plan();
        let way = if hold { plan.held } else { plan.lost };
        for number in self.streams[link].numbers() {
            let stands = |phase| matches!(phase, Phase::Open | Phase::Closing);
            let Some(socket) = self.streams[link].socket(number).filter(|socket| stands(socket.phase)) else {
                continue;
            };
            if way == CutWay::Replaced {
                self.break_off(link, number);
            } else if socket.stalled_at.is_some() {
                self.wait_for_retransmission(link, number);
            }
        }
        let back = self.way_back(link);
        if !self.links[back].is_cut() {
            self.acknowledge(back);
        }
    }

    /// Acknowledgements return again: what waits for them goes on.
    fn acknowledge(&mut self, link: usize) {
        for number in self.streams[link].numbers() {
            let Some(socket) = self.streams[link].socket(number) else { continue };
            if std::mem::take(&mut socket.unacknowledged) > 0 && socket.stalled_at.is_some() {
                self.wait_for_retransmission(link, number);
            }
        }
    }

    fn wait_for_retransmission(&mut self, link: usize, number: u32) {
        let now = self.now;
        let Some(socket) = self.streams[link].socket(number) else { return };
        socket.epoch += 1;
        let (epoch, cause) = (socket.epoch, socket.cause);
        let mut at = goes_on_at(socket.stalled_at.unwrap_or(now), now);
        if self.harness_mutant == Some(HarnessMutant::StallsEndAtOnce) {
            at = now;
        }
        if at > now {
            self.count(Kind::StreamLate);
        }
        if self.plan.is_core(link / self.nodes.len()) && self.plan.is_core(link % self.nodes.len()) {
            self.recovery.is_stuck_until(at + STUCK_MAX);
        }
        self.flow(link, number, (at, epoch), Turn::GoOn, mix(cause, 37));
    }

    fn go_on(&mut self, link: usize, number: u32) {
        if self.links[link].is_cut() {
            return;
        }
        let road = self.road(link % self.nodes.len());
        let Some(socket) = self.streams[link].socket(number) else { return };
        socket.stalled_at = None;
        self.note_stream(link, "goes on");
        self.streams[link].send_all(number, road);
        self.expect_next(link, number);
    }

    /// The heal: what was on its way sets off anew.
    pub(super) fn heal_streams(&mut self) {
        for link in 0..self.streams.len() {
            self.streams[link].clear_road();
            for number in self.streams[link].numbers() {
                let road = self.road(link % self.nodes.len());
                let Some(socket) = self.streams[link].socket(number) else { continue };
                let stands = matches!(socket.phase, Phase::Open | Phase::Closing);
                socket.hurry(STUCK_MAX);
                if stands && socket.stalled_at.is_none() && !socket.is_empty() {
                    socket.epoch += 1;
                    self.streams[link].send_all(number, road);
                    self.expect_next(link, number);
                }
            }
        }
    }

    /// A process ended: its peers' connections to it are closed where the news can get there, and its own are gone.
    pub(super) fn end_streams_of(&mut self, replica: usize) {
        let (count, plan) = (self.nodes.len(), self.stream_plan());
        if self.streams.is_empty() {
            return;
        }
        for other in (0..count).filter(|&other| other != replica) {
            let (to, from) = (other * count + replica, replica * count + other);
            let told = self.cut_either_way(to).is_none();
            for number in self.streams[to].numbers() {
                let stands = self.streams[to].socket(number).is_some_and(|socket| socket.phase != Phase::Dialling);
                if told && stands {
                    self.break_off(to, number);
                }
            }
            let kept = if plan.flushes { plan.kernel_bytes_max } else { 0 };
            let lost = self.streams[from].close(kept);
            self.streams[from].failed_at = None;
            self.lose(Kind::DiedWithSocket, lost);
        }
    }
}
