//! What a world is made of: addresses with their processes, clients, and requests under way.

use super::Scheduled;
use crate::engine::clock::Clock;
use crate::oracle::judge::Asked;
use crate::subject::Subject;
use hence_core::{Dot, Dots, Formats, Reply, Request, Time, VersionVector};

/// One address and the process that may live there.
#[derive(Debug)]
pub(super) struct Node<S: Subject> {
    pub(super) subject: Option<S>,
    /// A copy of its memory that runs beside it.
    pub(super) twin: Option<S>,
    pub(super) life: u32,
    /// What its process speaks, or the last one did.
    pub(super) formats: Formats,
    /// When its process started.
    pub(super) started_at: u64,
    pub(super) clock: Clock,
    pub(super) wall_ahead: i64,
    /// What the alarm in the queue is set for, on its own clock.
    pub(super) alarm: Time,
    /// The last timers' moment and how many fired in it: names them.
    pub(super) timer_slot: (u64, u64),
    /// Since when no peer spoke to it and it was run all the time.
    pub(super) quiet_since: u64,
    /// It has been up in this life of its process.
    pub(super) was_up: bool,
    /// It started alone and has not fetched anything since.
    pub(super) needs_initial_sync: bool,
    /// After its last input a request waited here.
    pub(super) keeps_waiting: bool,
    /// After its last input it knew of an address that is no member.
    pub(super) knows_removed: bool,
    /// The present input changed its view.
    pub(super) view_changed: bool,
    /// The peer it fetches from, or did last.
    pub(super) fetches_from: Option<usize>,
    /// Bit n says of the last pull from replica n: there was no reason to fetch at once.
    pub(super) patient: u16,
    /// It fetches from another.
    pub(super) fetching: bool,
    /// Writes that were announced to it and taken for news, with the fastest way that was known then.
    pub(super) announced: Vec<(Dot, u64)>,
    /// A peer spoke to this life.
    pub(super) spoken_to: bool,
    /// How late everything reaches it.
    pub(super) slow_by: u64,
    pub(super) pauses: u16,
    pub(super) crashes: u16,
    pub(super) backlog: Vec<Scheduled<S::Message>>,
}

impl<S: Subject> Node<S> {
    /// No process has lived there yet; the wall clock of the first is so far ahead.
    pub(super) fn vacant(wall_ahead: i64) -> Self {
        Self {
            subject: None,
            twin: None,
            life: 0,
            formats: Formats::RELEASED,
            started_at: 0,
            clock: Clock::new(0, 0, 0, 0),
            wall_ahead,
            alarm: Time::NEVER,
            timer_slot: (0, 0),
            quiet_since: 0,
            was_up: false,
            needs_initial_sync: false,
            keeps_waiting: false,
            knows_removed: false,
            view_changed: false,
            fetches_from: None,
            patient: 0,
            fetching: false,
            announced: Vec::new(),
            spoken_to: false,
            slow_by: 0,
            pauses: 0,
            crashes: 0,
            backlog: Vec::new(),
        }
    }
}

/// One client.
#[derive(Debug, Clone, Default)]
pub(super) struct Client {
    pub(super) token: VersionVector,
    pub(super) past: Vec<u64>,
    pub(super) saved: Option<(VersionVector, Vec<u64>)>,
    /// Per key, the versions it saw last.
    pub(super) seen: Vec<Dots>,
    /// How often its causal past changed.
    pub(super) turns: u64,
}

/// How far a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Sent,
    Arrived,
    Replied,
    Done,
    Abandoned,
}

impl Stage {
    /// What became of the request so far, behind its name.
    pub(super) const fn in_words(self) -> &'static str {
        match self {
            Self::Sent => "is on its way",
            Self::Arrived => "is at another replica",
            Self::Replied | Self::Done => "has its answer",
            Self::Abandoned => "was given up by its client",
        }
    }
}

/// One request of a client or an operator.
#[derive(Debug)]
pub(super) struct Attempt {
    /// Its operation in the plan and which try of it this is; none for an operator's or a closing one.
    pub(super) operation: Option<(usize, u8)>,
    pub(super) client: Option<usize>,
    pub(super) replica: usize,
    pub(super) stage: Stage,
    pub(super) request: Option<Request>,
    pub(super) asked: Option<Asked>,
    /// On its way to the client; none when the connection was lost.
    pub(super) reply: Option<Box<Reply>>,
    pub(super) arrived_at: u64,
    /// The client's turn when it was sent.
    pub(super) turn: u64,
    pub(super) cause: u64,
}
