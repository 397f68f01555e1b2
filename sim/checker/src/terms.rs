//! The terms that every part of the judge speaks in: nodes and edges, levels and verdicts, budgets, what breaks and what is
//! open. All of it is plain data.

use crate::history::Malformed;
use std::fmt;

/// A node's number.
pub(crate) type Node = u32;

/// One edge of the happens-before graph that neither lineage nor a read gives.
pub(crate) type Edge = (Node, Node);

pub(crate) const PUT: u8 = 1;
pub(crate) const DELETE: u8 = 2;
pub(crate) const WRITE: u8 = PUT | DELETE;

/// The first of the shown puts is the one that was returned as the key's value.
pub(crate) const WINNER: u8 = 16;

/// What an event showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// Nothing is known, or it is no event.
    Open,
    /// At least these puts.
    Found,
    /// These puts and no others; none at all for a 404 or a 201.
    Exact,
    /// One put or more.
    Alive,
}

/// Something that no store may do, found before any search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nonsense {
    pub(crate) event: Node,
    pub(crate) text: String,
}

/// What is wrong with a history as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The line of the operation.
    pub line: u32,
    /// What is wrong with it.
    pub malformed: Malformed,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.malformed)
    }
}

impl std::error::Error for Unreadable {}

/// What is said of a history at one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// An explanation of every event is at hand.
    Fine,
    /// There is none.
    Broken,
    /// Not found out: the search ran out of its budget, or the level has nothing to say.
    Unknown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fine => "fine",
            Self::Broken => "broken",
            Self::Unknown => "unknown",
        })
    }
}

/// A check that is not made, or made wrongly: mutants of the checker, which the second opinion must find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blind {
    /// A value may be shown after what came after it.
    Overwritten,
    /// A value may be missing without a reason.
    Missing,
    /// Something may be met where nothing is.
    Alive,
    /// Winners may differ from reader to reader.
    Winners,
    /// Nothing may be shown only where no value ever was: a delete excuses none. It convicts the innocent.
    Eager,
}

impl Blind {
    /// Every mutant of the checker.
    pub const ALL: [Self; 5] = [Self::Overwritten, Self::Missing, Self::Alive, Self::Winners, Self::Eager];
}

/// What is asked of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Your reads show your own earlier writes, or later ones.
    ReadYourWrites,
    /// Your reads never go back.
    MonotonicReads,
    /// A client that sees a write sees what its session wrote before it.
    MonotonicWrites,
    /// A client that sees a write sees what its session had read before it.
    WritesFollowReads,
    /// Causal consistency.
    Causal,
    /// Causal convergence, also called causal+.
    Convergent,
}

impl Level {
    /// All levels, weaker ones first.
    pub const ALL: [Self; 6] = [
        Self::ReadYourWrites,
        Self::MonotonicReads,
        Self::MonotonicWrites,
        Self::WritesFollowReads,
        Self::Causal,
        Self::Convergent,
    ];

    /// Its short name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadYourWrites => "RYW",
            Self::MonotonicReads => "MR",
            Self::MonotonicWrites => "MW",
            Self::WritesFollowReads => "WFR",
            Self::Causal => "CC",
            Self::Convergent => "CCv",
        }
    }

    /// What the short name stands for.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::ReadYourWrites => "read your writes",
            Self::MonotonicReads => "monotonic reads",
            Self::MonotonicWrites => "monotonic writes",
            Self::WritesFollowReads => "writes follow reads",
            Self::Causal => "causal consistency",
            Self::Convergent => "causal convergence",
        }
    }
}

/// Tells how much of the time has passed. It is asked now and then while a history is judged, with the work that is left:
/// nodes to visit. The judge reads no clock; a caller that wants an answer in time brings one along.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    passed: fn(u64) -> u32,
    until: u32,
}

impl Watch {
    /// All of the time, as it is told here.
    pub const WHOLE: u32 = 1_000;

    /// A watch that tells like this how much of the time has passed, in parts of [`Self::WHOLE`].
    #[must_use]
    pub const fn new(passed: fn(u64) -> u32) -> Self {
        Self { passed, until: Self::WHOLE }
    }

    /// The same watch, which ends when so much of the time has passed, in parts of [`Self::WHOLE`]. More than the whole is
    /// for what is done with the verdict.
    #[must_use]
    pub const fn until(self, until: u32) -> Self {
        Self { until, ..self }
    }
}

impl PartialEq for Watch {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::fn_addr_eq(self.passed, other.passed) && self.until == other.until
    }
}

impl Eq for Watch {}

/// How much work to spend on splitting cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Walks over the whole history.
    pub walks: u64,
    /// Nodes visited, over all walks, and explanations looked at.
    pub nodes: u64,
    /// Whether to go on at all.
    pub watch: Option<Watch>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { walks: 10_000, nodes: 200_000_000, watch: None }
    }
}

impl Budget {
    pub(crate) const fn half(self) -> Self {
        Self { walks: self.walks / 2, nodes: self.nodes / 2, watch: self.watch }
    }

    /// The budget of one of several strategies: it ends when so much of the time has passed, in parts of
    /// [`Watch::WHOLE`]. What is left of the time is there for the others.
    pub(crate) fn until(self, until: u32) -> Self {
        let watch = self.watch.map(|watch| Watch { until: watch.until.min(until), ..watch });
        Self { watch, ..self }
    }

    /// The same, which ends a little earlier, in parts of [`Watch::WHOLE`].
    pub(crate) fn less(self, parts: u32) -> Self {
        let watch = self.watch.map(|watch| Watch { until: watch.until.saturating_sub(parts), ..watch });
        Self { watch, ..self }
    }

    pub(crate) const fn take(&mut self, part: Self) {
        self.walks -= part.walks;
        self.nodes -= part.nodes;
    }

    /// Takes so much work off; says whether there was any left.
    pub(crate) fn spend(&mut self, nodes: u64) -> bool {
        let goes_on = self.nodes > 0 && !self.is_over();
        self.nodes = if goes_on { self.nodes.saturating_sub(nodes) } else { 0 };
        goes_on
    }

    /// Is the time over? A look costs a call of the watch.
    pub(crate) fn is_over(&self) -> bool {
        self.watch.is_some_and(|watch| (watch.passed)(self.nodes) >= watch.until)
    }

    /// Looks at the time from within a loop, where a look at each turn would cost too much.
    pub(crate) const fn glance(&self) -> Glance {
        Glance { budget: *self, turns: 0, is_over: false }
    }

    /// Is nothing left of it?
    pub(crate) const fn is_spent(&self) -> bool {
        self.nodes == 0
    }

    pub(crate) const fn give(&mut self, part: Self) {
        self.walks += part.walks;
        self.nodes += part.nodes;
    }
}

/// What every loop of the judge does again and again, counted by tests as the time that goes by.
#[cfg(test)]
pub(crate) mod steps {
    use std::cell::Cell;

    thread_local! {
        static TAKEN: Cell<u64> = const { Cell::new(0) };
    }

    pub(crate) fn take() {
        TAKEN.set(TAKEN.get() + 1);
    }

    pub(crate) fn taken() -> u64 {
        TAKEN.get()
    }
}

/// Counts a step, in tests.
#[inline]
pub(crate) fn step() {
    #[cfg(test)]
    steps::take();
}

/// Looks at the time now and then: a loop asks it at each turn, and ends when it says so.
#[derive(Debug)]
pub(crate) struct Glance {
    budget: Budget,
    turns: u32,
    is_over: bool,
}

impl Glance {
    /// So many turns of a loop go by between two looks.
    const TURNS: u32 = 1 << 10;

    /// So many more turns; is the time over?
    pub(crate) fn have_passed(&mut self, turns: u32) -> bool {
        self.turns = self.turns.saturating_add(turns);
        if self.turns >= Self::TURNS {
            self.turns = 0;
            self.is_over |= self.budget.is_over();
        }
        self.is_over
    }
}

/// Why a history cannot be right, given the happens-before order and what joined it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Break {
    /// Operations each of which follows the one before it, all around.
    Cycle(Vec<Node>),
    /// What the event says contradicts itself, or names what no client wrote.
    Nonsense(Node),
    /// The event showed a put although a later write of its key was in its past.
    Overwritten { event: Node, shown: Node, write: Node },
    /// The event did not show a put of its past, and nothing can have removed it.
    Missing { event: Node, put: Node },
    /// The event says that the key had a value, and no put can have been alive.
    NotAlive { event: Node },
    /// No order of all writes explains which values won.
    Arbitration(Vec<Node>),
}

impl Break {
    /// The operations that it names.
    pub(crate) fn nodes(&self) -> Vec<Node> {
        match self {
            Self::Cycle(nodes) | Self::Arbitration(nodes) => nodes.clone(),
            Self::Overwritten { event, shown, write } => vec![*event, *shown, *write],
            Self::Missing { event, put } => vec![*event, *put],
            Self::Nonsense(event) | Self::NotAlive { event } => vec![*event],
        }
    }

    /// How it shows itself.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Cycle(_) => "a cycle",
            Self::Nonsense(_) => "an impossible answer",
            Self::Overwritten { .. } => "an overwritten value",
            Self::Missing { .. } => "a missing value",
            Self::NotAlive { .. } => "a value where none can be",
            Self::Arbitration(_) => "winners without an order",
        }
    }
}

/// Something that the happens-before order alone does not explain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Debt {
    /// Something removed the put before the event.
    Removed { put: Node, event: Node },
    /// Some put was alive at the event.
    Alive { event: Node },
}

impl Debt {
    /// The event that asks for it.
    pub(crate) const fn event(self) -> Node {
        match self {
            Self::Removed { event, .. } | Self::Alive { event } => event,
        }
    }
}

/// A put that a read had in its past and did not return: it comes before the winner, unless a delete removed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Losing {
    pub(crate) put: Node,
    pub(crate) winner: Node,
    pub(crate) event: Node,
}

/// One way to explain a debt: edges that join the happens-before order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Explanation {
    /// The write that removed the put, or the put that was alive.
    pub(crate) write: Node,
    pub(crate) edges: Vec<Edge>,
}

/// An edge that joined happens-before because one explanation alone was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Forced {
    pub(crate) debt: Debt,
    pub(crate) explanation: Explanation,
}

/// The largest history, in nodes, for which guarantees are judged one by one.
pub(crate) const NODES_MAX: usize = 1_500;
