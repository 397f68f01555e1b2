//! The story of a run: moments in lanes, what was carried between them, and the faults in force.
//!
//! Invariant kept here: an index into moments, carriages or bands leads to one, and what a moment follows stands before it.

use crate::oracle::verdict::Violation;
use crate::plan::Plan;

/// Where something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// At a replica.
    Replica(usize),
    /// At a client.
    Client(usize),
    /// Outside: a fault, or an operator.
    Outside,
}

impl std::fmt::Display for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Replica(replica) => write!(f, "{}", Plan::name(*replica)),
            Self::Client(client) => write!(f, "c{client}"),
            Self::Outside => Ok(()),
        }
    }
}

/// How something is drawn and said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As usual.
    Plain,
    /// It did not get through.
    Lost,
    /// Its receiver would not have it.
    Refused,
    /// A fault.
    Fault,
    /// A broken promise.
    Violation,
}

impl Tone {
    /// Its name in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Lost => "lost",
            Self::Refused => "refused",
            Self::Fault => "fault",
            Self::Violation => "violation",
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Moment {
    /// When, in microseconds of simulated time.
    pub at: u64,
    /// Where.
    pub lane: Lane,
    /// Its kind, in one word.
    pub kind: &'static str,
    /// What, in words.
    pub text: String,
    /// How it is drawn.
    pub tone: Tone,
    /// It is idle chatter.
    pub idle: bool,
    /// The keys that it is about, by name.
    pub keys: Vec<String>,
    /// The writes that it is about, by short name.
    pub writes: Vec<String>,
    /// What leaves or comes in with it: a place in [`Story::carriages`].
    pub carriage: Option<usize>,
    /// The request that it is about.
    pub request: Option<usize>,
    /// The fields of its lane's state that are different afterwards. An empty text says that a field is gone.
    pub changes: Vec<(String, String)>,
}

/// A message, a request, an answer, or a part that a watch is told.
#[derive(Debug, Clone)]
pub struct Carriage {
    /// Its number in the run, for a message; otherwise that of its request or watch.
    pub id: u64,
    /// What kind: the message's name, `request`, `answer`, or `part` for what a watch is told.
    pub name: &'static str,
    /// From where.
    pub from: Lane,
    /// To where.
    pub to: Lane,
    /// The moment in which it left. Of a part there is none where nothing else tells of the replica's step.
    pub sent: Option<usize>,
    /// The moments in which it arrived; two for one that arrives twice.
    pub arrived: Vec<usize>,
    /// A cut kept it for a while.
    pub held: bool,
    /// Why it did not arrive, or why not once.
    pub lost: Option<String>,
    /// The run ended before it could arrive.
    pub under_way: bool,
    /// The write that it carries, by short name.
    pub write: Option<String>,
    /// What is in it.
    pub content: String,
    /// The name of the choice of what the network does with it; empty for what is no message.
    pub choice: String,
}

/// A fault in force.
#[derive(Debug, Clone)]
pub struct Band {
    /// Its number in the plan.
    pub fault: u32,
    /// Its kind.
    pub name: &'static str,
    /// What it does, as a sentence.
    pub text: String,
    /// The moment in which it struck.
    pub from: usize,
    /// The moment in which it ended, if it did.
    pub to: Option<usize>,
    /// The replica that it hits.
    pub replica: Option<usize>,
    /// The links that it cuts.
    pub links: Vec<(usize, usize)>,
    /// At which replica an operator removes which address.
    pub removes: Option<(usize, usize)>,
}

/// Where a story broke a promise.
#[derive(Debug, Clone)]
pub struct Blame {
    /// The moment of the violation.
    pub violated: usize,
    /// Two sentences, of clients and replicas.
    pub sentences: Vec<String>,
    /// The moments in which the writes were accepted that the violation names.
    pub missing: Vec<usize>,
    /// They should have been there. Otherwise the violation only names them.
    pub lacks: bool,
    /// The moments by which knowledge of them came to the answer, in order.
    pub lit: Vec<usize>,
    /// The moments that kept a write from where it should have been.
    pub broken: Vec<usize>,
    /// The faults that did: places in [`Story::bands`].
    pub bands: Vec<usize>,
}

/// A run as people and tools look at it.
#[derive(Debug, Clone)]
pub struct Story {
    /// How many replicas there are.
    pub replicas: usize,
    /// How many clients there are.
    pub clients: usize,
    /// What happened, in order.
    pub moments: Vec<Moment>,
    /// What was carried.
    pub carriages: Vec<Carriage>,
    /// The faults.
    pub bands: Vec<Band>,
    /// So many moments of idle chatter are left out.
    pub hidden: usize,
    /// The broken promise, with short names.
    pub violation: Option<Violation>,
    /// What it rests on.
    pub blame: Option<Blame>,
}

impl Story {
    /// Every lane in which something can happen, replicas first.
    pub fn lanes(&self) -> impl Iterator<Item = Lane> + use<> {
        (0..self.replicas).map(Lane::Replica).chain((0..self.clients).map(Lane::Client))
    }

    /// For each moment the one before it in its lane. A process that starts follows nothing.
    #[must_use]
    pub fn predecessors(&self) -> Vec<Option<usize>> {
        let mut last = std::collections::BTreeMap::new();
        let before = |(at, moment): (usize, &Moment)| {
            let before = last.insert(moment.lane, at);
            before.filter(|_| moment.kind != "started" && moment.lane != Lane::Outside)
        };
        self.moments.iter().enumerate().map(before).collect()
    }

    /// The moment in which came to a way what comes in with this one.
    #[must_use]
    pub fn sent_in(&self, moment: usize) -> Option<usize> {
        let carriage = &self.carriages[self.moments[moment].carriage?];
        carriage.sent.filter(|_| carriage.arrived.contains(&moment))
    }
}
