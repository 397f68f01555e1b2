//! Scenes: a few faults and operations that belong together in time, because what they are about seldom comes together
//! by chance. Each is one of the schedules that broke an earlier wording of the protocol, with its times drawn.

use super::shape::Shape;
use crate::plan::{Act, Fault, FaultKind, Operation, TokenUse};
use crate::random::Draw;

const MS: u64 = 1_000;
const SECOND: u64 = 1_000_000;

/// What is staged. The numbers are those of the scenarios that the transcripts tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scene {
    /// 9: a replica dies with a frame in a socket, and a round finds its write lost before the frame arrives.
    FrameOfTheDead,
    /// The same with a frame that arrived and waits for the one before it.
    ParkedOfTheDead,
    /// The only holder of a write is cut off and removed; while others look for the write it is wanted again.
    HolderReturns,
    /// 7: a writer restarts while the only other holder is silent.
    SilentHolder,
    /// A write dies with its only holder, and its client goes elsewhere.
    DiesWithWrite,
    /// A life is folded away while another replica is empty and catching up.
    RetiredBesideNewcomer,
    /// 5: a token outlives the life that it names and is used at a replica that was cut off.
    TokenOfRetired,
    /// 17: a replica was cut for longer than logs reach, and accepts writes while a state is sent to it.
    CatchUp,
    /// More requests than one step may answer wait at a replica that was cut off; in some, for a write that dies.
    Crowd,
    /// 14: a replica is removed with a write that it could not push.
    RemovedWithWrite,
    /// 13: two sides remove each other.
    MutualRemoval,
    /// 20: a short cut keeps frames, which arrive late.
    ShortCut,
    /// A link is cut and mended so often that both ends open anew while frames of before are on their way.
    Flicker,
    /// 8: all restart at once.
    AllAgain,
    /// A replica starts in a cut and is asked there.
    AloneAgain,
    /// 11: the member that a newcomer catches up with dies, and with it a write that only it held.
    SourceDies,
}

/// The plan that a scene is added to.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) draw: Draw,
    pub(crate) shape: &'a Shape,
    pub(crate) operations: &'a mut Vec<Operation>,
    pub(crate) faults: &'a mut Vec<Fault>,
}

/// The roles: three replicas, as different as there are, and two clients.
#[derive(Debug, Clone, Copy)]
struct Cast {
    a: u8,
    b: u8,
    c: u8,
    one: u8,
    other: u8,
}

impl Stage<'_> {
    pub(crate) fn play(&mut self, scene: Scene) {
        let at = self.draw.between(100 * MS, self.shape.heal_at);
        let cast = self.cast();
        match scene {
            Scene::FrameOfTheDead => self.frame_of_the_dead(at, cast, false),
            Scene::ParkedOfTheDead => self.frame_of_the_dead(at, cast, true),
            Scene::HolderReturns => self.holder_returns(at, cast),
            Scene::SilentHolder => self.silent_holder(at, cast),
            Scene::DiesWithWrite => self.dies_with_write(at, cast),
            Scene::RetiredBesideNewcomer => self.retired_beside_newcomer(at, cast),
            Scene::TokenOfRetired => self.token_of_retired(at, cast),
            Scene::CatchUp => self.catch_up(at, cast),
            Scene::Crowd => self.crowd(at, cast),
            Scene::RemovedWithWrite => self.removed_with_write(at, cast),
            Scene::MutualRemoval => self.mutual_removal(at, cast),
            Scene::ShortCut => self.short_cut(at, cast),
            Scene::Flicker => self.flicker(at, cast),
            Scene::AllAgain => self.all_again(at),
            Scene::AloneAgain => self.alone_again(at, cast),
            Scene::SourceDies => self.source_dies(at, cast),
        }
    }

    fn cast(&mut self) -> Cast {
        let (replicas, clients) = (self.shape.replicas, self.shape.clients);
        let a = self.draw.below(replicas);
        let next = |from: u64, by: u64| ((from + by) % replicas) as u8;
        let turned = self.draw.coin();
        let (first, second) = (next(a, 1), next(a, 2));
        let (b, c) = if turned { (second, first) } else { (first, second) };
        let one = self.draw.below(clients);
        Cast { a: a as u8, b, c, one: one as u8, other: ((one + 1) % clients) as u8 }
    }

    fn sized(&mut self, least: u64, most: u64) -> u64 {
        self.draw.sized(least, most)
    }

    fn operation(&mut self, at: u64, client: u8, replica: u8, act: Act) -> &mut Operation {
        let id = self.operations.last().map_or(0, |last| last.id + 1);
        let key = self.draw.below(self.shape.keys) as u8;
        self.operations.push(Operation { id, at, ..Operation::plain(client, replica, key, act) });
        self.operations.last_mut().expect("it was just added")
    }

    /// Asks again and again while refused.
    fn insist(&mut self, at: u64, client: u8, replica: u8, token: TokenUse) {
        let retry_after = self.sized(5 * MS, 100 * MS);
        let asked = self.operation(at, client, replica, Act::Get);
        (asked.token, asked.retries, asked.retry_after) = (token, 8, retry_after);
    }

    fn fault(&mut self, at: u64, until: u64, kind: FaultKind) {
        let id = self.faults.last().map_or(0, |last| last.id + 1);
        self.faults.push(Fault { id, at, until: until.max(at), kind });
    }

    fn frame_of_the_dead(&mut self, at: u64, Cast { a, b, c, one, .. }: Cast, parked: bool) {
        let dies = at + self.sized(5 * MS, 60 * MS);
        let back = dies + self.sized(MS, 40 * MS);
        let before = at.saturating_sub(20 * MS);
        self.fault(before, dies + MS, FaultKind::OneWay { from: b, to: a, hold: false });
        if parked {
            self.operation(at - MS, one, b, Act::Put(0));
            self.fault(before, at, FaultKind::OneWay { from: b, to: c, hold: false });
        } else {
            let released = back + self.sized(20 * MS, 700 * MS);
            self.fault(before, released, FaultKind::OneWay { from: b, to: c, hold: true });
        }
        self.operation(at + MS, one, b, Act::Put(0));
        self.fault(dies, back, FaultKind::Crash { replica: b });
        self.insist(back + 10 * MS, one, a, TokenUse::Keep);
    }

    fn holder_returns(&mut self, at: u64, Cast { a, b, one, other, .. }: Cast) {
        let before = at.saturating_sub(30 * MS);
        let asks = at + self.sized(30 * MS, 300 * MS);
        let wanted = asks + self.sized(MS, 200 * MS);
        let mended = wanted + self.sized(10 * MS, 600 * MS);
        self.fault(before, mended, FaultKind::Isolate { replica: b, hold: false });
        self.operation(at, one, b, Act::Put(0));
        self.fault(at + 10 * MS, wanted, FaultKind::Unwant { replica: b, via: a });
        self.insist(asks, one, a, TokenUse::Save);
        self.insist(asks + MS, other, a, TokenUse::Take(one));
        self.insist(wanted + MS, one, a, TokenUse::Recall);
    }

    fn silent_holder(&mut self, at: u64, Cast { a, b, c, one, .. }: Cast) {
        let before = at.saturating_sub(20 * MS);
        let dies = at + self.sized(20 * MS, 300 * MS);
        let back = dies + self.sized(MS, 200 * MS);
        let silent = back + self.sized(100 * MS, 2 * SECOND);
        self.fault(before, dies + MS, FaultKind::OneWay { from: b, to: c, hold: false });
        self.operation(at, one, b, Act::Put(0));
        self.fault(
            dies - 5 * MS,
            silent,
            FaultKind::Isolate { replica: a, hold: self.operations.len().is_multiple_of(2) },
        );
        self.fault(dies, back, FaultKind::Crash { replica: b });
        self.insist(back + 10 * MS, one, c, TokenUse::Keep);
    }

    fn dies_with_write(&mut self, at: u64, Cast { a, b, one, .. }: Cast) {
        let dies = at + self.sized(5 * MS, 100 * MS);
        let back = dies + self.sized(MS, 200 * MS);
        self.operation(at.saturating_sub(50 * MS), one, b, Act::Put(0));
        self.fault(at.saturating_sub(5 * MS), dies + MS, FaultKind::Isolate { replica: b, hold: false });
        self.operation(at, one, b, Act::Put(0));
        self.fault(dies, back, FaultKind::Crash { replica: b });
        self.insist(back + 10 * MS, one, a, TokenUse::Keep);
    }

    /// The member with the least address writes retire operations, so that one is left alone.
    fn retired_beside_newcomer(&mut self, at: u64, Cast { one, .. }: Cast) {
        let (writer, newcomer) = if self.draw.coin() { (1, 2) } else { (2, 1) };
        let at = at / 3;
        self.operations.retain(|operation| {
            operation.replica != 0 || !matches!(operation.act, Act::Put(_) | Act::Delete | Act::Erase)
        });
        for write in 0..self.draw.between(1, 3) {
            self.operation((at + write * 5 * MS).saturating_sub(50 * MS), one, writer, Act::Put(0));
        }
        let back = at + self.sized(MS, 100 * MS);
        self.fault(at, back, FaultKind::Crash { replica: writer });
        let mut again = back;
        for _ in 0..self.draw.between(1, 4) {
            again += self.sized(100 * MS, 900 * MS);
            let started = again + self.sized(MS, 30 * MS);
            self.fault(again, started, FaultKind::Crash { replica: newcomer });
        }
    }

    fn token_of_retired(&mut self, at: u64, Cast { a, b, c, one, other }: Cast) {
        let at = at / 2;
        self.operation(at.saturating_sub(80 * MS), one, b, Act::Put(0));
        let back = at + self.sized(MS, 50 * MS);
        self.fault(at, back, FaultKind::Crash { replica: b });
        let retired = back + self.sized(200 * MS, 2 * SECOND);
        self.operation(retired, one, a, Act::Get);
        self.operation(retired, other, a, Act::Get).token = TokenUse::Take(one);
        let alone = retired + self.sized(5 * MS, 100 * MS);
        let until = alone + self.sized(200 * MS, 2 * SECOND);
        self.fault(alone, until, FaultKind::Isolate { replica: c, hold: false });
        self.fault(alone + MS, alone + 5 * MS, FaultKind::Crash { replica: c });
        for n in 0..4 {
            self.insist(alone + (until - alone) * n / 4, if n % 2 == 0 { one } else { other }, c, TokenUse::Keep);
        }
    }

    fn catch_up(&mut self, at: u64, Cast { a, b, one, other, .. }: Cast) {
        let at = at / 2;
        let mended = at + self.sized(100 * MS, SECOND);
        self.fault(at, mended, FaultKind::Isolate { replica: a, hold: false });
        for _ in 0..self.draw.between(2, 6) {
            let when = at + self.draw.below(mended - at);
            self.operation(when, one, b, Act::Put(0));
        }
        let busy = self.sized(50 * MS, SECOND);
        for n in 0..self.draw.between(4, 16) {
            let when = mended + self.draw.below(busy);
            let (client, replica) = if n % 3 < 2 { (other, a) } else { (one, b) };
            let act = if self.shape.deletes && self.draw.coin() { Act::Delete } else { Act::Put(0) };
            self.operation(when, client, replica, act);
        }
        if self.draw.coin() {
            let loss = self.draw.between(100_000, 600_000) as u32;
            self.fault(mended, mended + busy, FaultKind::Burst { from: b, to: a, loss });
        }
    }

    fn crowd(&mut self, at: u64, Cast { a, b, one, other, .. }: Cast) {
        let mended = at + self.sized(20 * MS, 300 * MS);
        let dies = self.draw.chance(300_000);
        self.fault(at.saturating_sub(20 * MS), mended, FaultKind::Isolate { replica: a, hold: false });
        if dies {
            self.fault(at.saturating_sub(20 * MS), mended, FaultKind::Isolate { replica: b, hold: false });
            self.fault(mended - 2 * MS, mended - MS, FaultKind::Crash { replica: b });
        }
        self.operation(at, one, b, Act::Put(0));
        for n in 0..self.draw.between(260, 300) {
            let act = if n % 8 == 0 { Act::Put(0) } else { Act::Get };
            let asks = self.operation(at + 10 * MS + n, other, a, act);
            (asks.token, asks.wait) = (TokenUse::Merge(one), 5 * SECOND);
        }
    }

    fn removed_with_write(&mut self, at: u64, Cast { a, b, one, .. }: Cast) {
        let before = at.saturating_sub(20 * MS);
        let removed = at + self.sized(MS, 30 * MS);
        for to in (0..self.shape.replicas as u8).filter(|&to| to != b) {
            let until = removed + self.sized(MS, 20 * MS);
            self.fault(before, until, FaultKind::OneWay { from: b, to, hold: false });
        }
        self.operation(at, one, b, Act::Put(0));
        let holds = self.draw.coin();
        let until = removed + self.sized(100 * MS, 2 * SECOND);
        let (replica, via) = (b, a);
        let kind = if holds { FaultKind::Remove { replica, via } } else { FaultKind::Unwant { replica, via } };
        self.fault(removed, until, kind);
    }

    /// Every address is removed by another, each behind a cut.
    fn mutual_removal(&mut self, at: u64, Cast { a, .. }: Cast) {
        let replicas = self.shape.replicas as u8;
        let mended = at + self.sized(50 * MS, SECOND);
        for replica in 0..replicas {
            self.fault(at, mended, FaultKind::Isolate { replica, hold: false });
        }
        for n in 0..replicas {
            let (replica, via) = ((a + n) % replicas, (a + n + 1) % replicas);
            let when = at + MS + self.draw.below(mended - at);
            self.fault(when, when + MS, FaultKind::Remove { replica, via });
        }
    }

    fn short_cut(&mut self, at: u64, Cast { a, b, one, other, .. }: Cast) {
        let mended = at + self.sized(200 * MS, 2 * SECOND);
        self.fault(at, mended, FaultKind::Isolate { replica: a, hold: true });
        for _ in 0..self.draw.between(1, 4) {
            let when = at + self.draw.below(mended - at);
            self.operation(when, one, b, Act::Put(0));
        }
        self.operation(mended + 10 * MS, other, a, Act::Get);
    }

    fn flicker(&mut self, at: u64, Cast { a, b, one, other, .. }: Cast) {
        let mut last = at;
        for _ in 0..self.draw.between(3, 10) {
            let (begin, hold) = (last + self.sized(MS, 200 * MS), self.draw.coin());
            last = begin + self.sized(MS, 600 * MS);
            let kind = match self.draw.below(3) {
                0 => FaultKind::OneWay { from: a, to: b, hold },
                1 => FaultKind::OneWay { from: b, to: a, hold },
                _ => FaultKind::Pair { a, b, hold },
            };
            self.fault(begin, last, kind);
            let when = begin + self.draw.below(last - begin);
            self.operation(when, one, a, Act::Put(0));
            self.operation(when + MS, other, b, Act::Put(0));
        }
    }

    fn all_again(&mut self, at: u64) {
        for replica in 0..self.shape.replicas as u8 {
            let dies = at + self.draw.below(5 * MS);
            let back = dies + self.sized(MS, 60 * MS);
            self.fault(dies, back, FaultKind::Crash { replica });
        }
    }

    fn alone_again(&mut self, at: u64, Cast { a, one, other, .. }: Cast) {
        let at = at / 2;
        let (back, mended) = (at + self.sized(MS, 50 * MS), at + self.sized(500 * MS, 4 * SECOND));
        self.fault(at, mended, FaultKind::Isolate { replica: a, hold: false });
        self.fault(at + MS, back, FaultKind::Crash { replica: a });
        self.operation(mended - 20 * MS, one, a, Act::Put(0)).token = TokenUse::Drop;
        self.operation(mended - 10 * MS, other, a, Act::Get);
    }

    fn source_dies(&mut self, at: u64, Cast { a, b, c, one, .. }: Cast) {
        // The source holds a write that it cannot push, and the newcomer hears of it in its hello.
        let written = at.saturating_sub(15 * MS);
        let dies = at + self.sized(MS, 200 * MS);
        for to in (0..self.shape.replicas as u8).filter(|&to| to != b && to != a) {
            self.fault(written, dies, FaultKind::OneWay { from: b, to, hold: false });
        }
        self.fault(written.saturating_sub(10 * MS), at, FaultKind::Crash { replica: a });
        self.operation(written + MS, one, b, Act::Put(0));
        if self.draw.coin() {
            self.fault(written, dies, FaultKind::Isolate { replica: c, hold: false });
        }
        let back = dies + self.sized(MS, 400 * MS);
        self.fault(dies, back, FaultKind::Crash { replica: b });
    }
}
