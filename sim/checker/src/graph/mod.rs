//! A history as the judge works on it: events as nodes of a graph, in flat arrays.
//!
//! Nodes are the operations, by index, and a few joints behind them that gather many responses with one token. Edges
//! are lineage and read-from; together they are the happens-before of the design. What an event showed is a *view*. It is
//! one of four: nothing known, at least these puts, exactly these puts, or at least one put that it does not name.
//!
//! The parts of a batch are nodes, too, each with its key, what it wrote and what it showed. In every order the batch is
//! one event: its first part, the *head*, stands for all. So edges lead from heads to heads, and the other parts have the
//! head's place in a chain and its row. Any other operation is its own head.

pub(crate) mod certificate;
pub(crate) mod index;
pub(crate) mod lineage;
pub(crate) mod order;
pub(crate) mod rows;
mod writers;

use crate::graph::certificate::Certificate;
use crate::graph::index::KeyIndex;
use crate::graph::lineage::Lineage;
use crate::graph::writers::Writers;
use crate::history::operation::happened_perhaps;
use crate::history::text::short;
use crate::history::{Action, Batches, History, NONE, Outcome, SILENT};
use crate::terms::{
    Blind, DELETE, Debt, Edge, Explanation, Node, Nonsense, PUT, Unreadable, View, WINNER, WRITE, step,
};
use std::collections::BTreeMap;
use std::rc::Rc;

const VIEW: u8 = 12;
const FOUND: u8 = 4;
const EXACT: u8 = 8;
const ALIVE: u8 = 12;

/// The head of a batch of which some part writes.
const WRITES: u8 = 32;

/// How debts are paid.
pub(crate) type Guesses = BTreeMap<Debt, Explanation>;

/// The graph of a history.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) operations: usize,
    pub(crate) key: Vec<u32>,
    /// Where each operation was answered, [`NONE`] if that has no name; empty where guarantees are not judged.
    pub(crate) replica: Vec<u32>,
    pub(crate) flags: Vec<u8>,
    pub(crate) lineage: Lineage,
    pub(crate) batches: Batches,
    shown_start: Vec<u32>,
    shown: Vec<Node>,
    /// The heads of what was shown; empty while each operation is its own head.
    shown_heads: Vec<Node>,
    /// How many edges leave each node.
    pub(crate) followers: Vec<u32>,
    /// Every edge leads to a node with a larger number.
    pub(crate) is_ascending: bool,
    /// Nodes in an order that respects every edge; empty when their numbers do.
    pub(crate) order: Vec<Node>,
    pub(crate) chain: Vec<u32>,
    pub(crate) position: Vec<u32>,
    pub(crate) chain_start: Vec<u32>,
    pub(crate) chain_nodes: Vec<Node>,
    pub(crate) index: KeyIndex,
    successors: std::cell::OnceCell<order::Successors>,
    first_writes: std::cell::RefCell<FirstWrites>,
    /// The nodes of a cycle of lineage and reads.
    pub(crate) cycle: Option<Vec<Node>>,
    pub(crate) nonsense: Option<Nonsense>,
    /// Reads of values that the cut-off end may have written.
    pub(crate) unexplained_reads: usize,
    /// It holds more than the history says.
    pub(crate) is_guess: bool,
    /// How debts were paid in the last search, to begin the next one with.
    pub(crate) guesses: std::cell::RefCell<Guesses>,
    /// What is wrong with the checker.
    pub(crate) blind: Option<Blind>,
}

impl Problem {
    pub(crate) fn of(history: &History, program_order: bool) -> Result<Self, Unreadable> {
        Self::with_lineage(history, Lineage::of(history, program_order)?, &[])
    }

    /// The same, joined with what the names of versions suggest.
    pub(crate) fn certified(
        history: &History,
        program_order: bool,
        certificate: &Certificate,
    ) -> Result<Self, Unreadable> {
        let lineage = Lineage::of(history, program_order)?.joined(&certificate.edges);
        let mut problem = Self::with_lineage(history, lineage, &certificate.origin)?;
        problem.is_guess = true;
        Ok(problem)
    }

    fn with_lineage(history: &History, lineage: Lineage, origins: &[u32]) -> Result<Self, Unreadable> {
        let nodes = history.len() + lineage.joints();
        let mut problem = Self {
            operations: history.len(),
            key: history.key.clone(),
            replica: if nodes > crate::terms::NODES_MAX { Vec::new() } else { named_replicas(history) },
            flags: vec![0; nodes],
            lineage,
            batches: history.batches.clone(),
            shown_start: Vec::with_capacity(nodes + 1),
            shown: Vec::with_capacity(history.len() / 2),
            shown_heads: Vec::new(),
            followers: vec![0; nodes],
            is_ascending: true,
            order: Vec::new(),
            chain: Vec::new(),
            position: Vec::new(),
            chain_start: Vec::new(),
            chain_nodes: Vec::new(),
            index: KeyIndex::default(),
            successors: std::cell::OnceCell::new(),
            first_writes: std::cell::RefCell::default(),
            cycle: None,
            nonsense: None,
            unexplained_reads: 0,
            is_guess: false,
            guesses: std::cell::RefCell::default(),
            blind: None,
        };
        problem.key.resize(nodes, NONE);
        problem.note_views(history)?;
        problem.note_followers();
        match order::sorted(&problem, &[]) {
            Ok(sorted) => problem.order = sorted,
            Err(leftover) => {
                problem.cycle = Some(order::shortest_cycle(&problem, &[], &leftover));
                return Ok(problem);
            }
        }
        order::cover(&mut problem, origins);
        problem.index = KeyIndex::of(&problem, history.keys.len());
        Ok(problem)
    }

    /// How many chains cover the writes; one at least, so that every row has a cell.
    pub(crate) fn chains(&self) -> usize {
        (self.chain_start.len() - 1).max(1)
    }

    /// The node that stands for the event of this one.
    #[inline]
    pub(crate) fn head(&self, node: Node) -> Node {
        self.batches.head(node)
    }

    /// All parts of the event with this head.
    #[inline]
    pub(crate) fn parts(&self, head: Node) -> std::ops::Range<Node> {
        self.batches.parts(head)
    }

    pub(crate) fn is_head(&self, node: Node) -> bool {
        self.head(node) == node
    }

    /// Whether both are parts of one event.
    #[inline]
    pub(crate) fn is_one(&self, a: Node, b: Node) -> bool {
        self.head(a) == self.head(b)
    }

    /// Whether some part of the event with this head writes.
    pub(crate) fn writes(&self, head: Node) -> bool {
        self.is(head, WRITE | WRITES)
    }

    /// What a batch puts under a key.
    pub(crate) fn put_of(&self, node: Node, key: u32) -> Option<Node> {
        let mut parts = self.parts(self.head(node));
        parts.find(|&part| self.key[part as usize] == key && self.is(part, PUT))
    }

    /// The edge between the events of two nodes.
    pub(crate) fn edge(&self, from: Node, to: Node) -> Edge {
        (self.head(from), self.head(to))
    }

    /// The first writes that follow an event: itself, if it is one. Whatever follows it follows one of them.
    /// Remembered: the same events are asked about in every case of a search.
    pub(crate) fn first_writes(&self, event: Node) -> Rc<[Node]> {
        let event = self.head(event);
        if let Some(known) = self.first_writes.borrow().of.get(&event) {
            return Rc::clone(known);
        }
        let found: Rc<[Node]> = self.find_first_writes(event).into();
        self.first_writes.borrow_mut().remember(event, Rc::clone(&found));
        found
    }

    fn find_first_writes(&self, event: Node) -> Vec<Node> {
        let successors = self.successors.get_or_init(|| order::Successors::of(self, &[]));
        let mut seen = std::collections::BTreeSet::from([event]);
        let (mut open, mut found) = (vec![event], Vec::new());
        while let Some(node) = open.pop() {
            if self.writes(node) {
                found.push(node);
            } else {
                open.extend(successors.of_node(node).iter().copied().filter(|&next| seen.insert(next)));
            }
        }
        found
    }

    /// A write that stands in a chain. A put that no write follows stands in none: nothing has it in its past.
    pub(crate) fn is_kept(&self, node: Node) -> bool {
        self.chain[node as usize] != NONE
    }

    /// The last writes that precede an event: itself not among them. Whatever precedes it is one of them, or precedes
    /// one.
    pub(crate) fn last_writes(&self, event: Node) -> Vec<Node> {
        let mut seen = std::collections::BTreeSet::new();
        let (mut open, mut found) = (vec![self.head(event)], Vec::new());
        while let Some(node) = open.pop() {
            for before in self.predecessors(node).filter(|&before| seen.insert(before)) {
                if self.writes(before) { found.push(before) } else { open.push(before) }
            }
        }
        found
    }

    pub(crate) const fn nodes(&self) -> usize {
        self.flags.len()
    }

    /// The heads in an order that respects every edge.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = Node> {
        self.ordered(&self.order)
    }

    /// The heads in this order; in that of their numbers, if it is empty.
    pub(crate) fn ordered<'a>(&'a self, order: &'a [Node]) -> impl Iterator<Item = Node> + 'a {
        let plain = if order.is_empty() { self.nodes() as Node } else { 0 };
        (0..plain).filter(|&node| self.is_head(node)).chain(order.iter().copied())
    }

    pub(crate) fn is(&self, node: Node, flag: u8) -> bool {
        step();
        self.flags[node as usize] & flag != 0
    }

    pub(crate) fn view(&self, node: Node) -> View {
        step();
        match self.flags[node as usize] & VIEW {
            FOUND => View::Found,
            EXACT => View::Exact,
            ALIVE => View::Alive,
            _ => View::Open,
        }
    }

    /// The puts that an event showed, the winner first where it is known.
    pub(crate) fn shown(&self, node: Node) -> &[Node] {
        step();
        let at = node as usize;
        &self.shown[self.shown_start[at] as usize..self.shown_start[at + 1] as usize]
    }

    /// The heads that an event directly follows.
    pub(crate) fn predecessors(&self, head: Node) -> impl Iterator<Item = Node> + Clone {
        self.lineage.before(head).iter().chain(self.shown_by_all(head)).copied()
    }

    /// The heads of what all parts of an event showed.
    #[inline]
    pub(crate) fn shown_by_all(&self, head: Node) -> &[Node] {
        if self.batches.is_empty() {
            return self.shown(head);
        }
        let parts = self.parts(head);
        let first = self.shown_start[parts.start as usize] as usize;
        &self.shown_heads[first..self.shown_start[parts.end as usize] as usize]
    }

    /// How many edges lead to an event.
    pub(crate) fn indegree(&self, head: Node) -> u32 {
        match self.is_head(head) {
            true => (self.lineage.before(head).len() + self.shown_by_all(head).len()) as u32,
            false => 0,
        }
    }

    fn note_followers(&mut self) {
        let (mut followers, mut is_ascending) = (std::mem::take(&mut self.followers), true);
        order::for_each_edge(self, &[], |from, to| {
            followers[from as usize] += 1;
            is_ascending &= from < to;
        });
        (self.followers, self.is_ascending) = (followers, is_ascending);
    }

    fn note_views(&mut self, history: &History) -> Result<(), Unreadable> {
        let writers = Writers::of(history)?;
        let mut views = Views { history, writers, nonsense: None, unexplained: 0, shown: Vec::new() };
        for at in 0..self.nodes() {
            self.shown_start.push(self.shown.len() as u32);
            if at < history.len() {
                views.shown.clear();
                self.flags[at] = views.flags(at);
                self.shown.extend_from_slice(&views.shown);
                let head = self.head(at as Node) as usize;
                if head != at && self.flags[at] & WRITE != 0 {
                    self.flags[head] |= WRITES;
                }
            }
        }
        self.shown_start.push(self.shown.len() as u32);
        if !self.batches.is_empty() {
            self.shown_heads = self.shown.iter().map(|&put| self.head(put)).collect();
        }
        (self.nonsense, self.unexplained_reads) = (views.nonsense, views.unexplained);
        Ok(())
    }
}

/// The replica of each operation, [`NONE`] where it is empty.
fn named_replicas(history: &History) -> Vec<u32> {
    let unnamed = history.replicas.find("");
    history.replica.iter().map(|&replica| if Some(replica) == unnamed { NONE } else { replica }).collect()
}

/// The first writes after events that were asked about; all are forgotten when they become too many.
#[derive(Debug, Default)]
struct FirstWrites {
    of: BTreeMap<Node, Rc<[Node]>>,
    total: usize,
}

impl FirstWrites {
    const TOTAL_MAX: usize = 1 << 22;

    fn remember(&mut self, event: Node, writes: Rc<[Node]>) {
        if self.total > Self::TOTAL_MAX {
            *self = Self::default();
        }
        self.total += writes.len() + 1;
        self.of.insert(event, writes);
    }
}

/// Reads what each operation wrote and showed.
struct Views<'a> {
    history: &'a History,
    writers: Writers,
    nonsense: Option<Nonsense>,
    unexplained: usize,
    /// What the operation at hand showed.
    shown: Vec<Node>,
}

impl Views<'_> {
    fn flags(&mut self, at: usize) -> u8 {
        let history = self.history;
        let written = match history.action[at] {
            Action::Get => 0,
            Action::Put => PUT,
            Action::Delete => DELETE,
        };
        match history.outcome[at] {
            Outcome::Fail => return 0,
            Outcome::Unknown => return written,
            Outcome::Ok => {}
        }
        if history.is_own(at) {
            self.look_at_own(at);
            return 0;
        }
        match (history.action[at], history.status[at]) {
            (Action::Get, 200) => self.found(at),
            (Action::Get, 304) => match history.shown(at) {
                Some(versions) => self.versions(at, versions, EXACT),
                None => 0,
            },
            (Action::Get | Action::Delete, 404) => EXACT,
            (Action::Put, 201) if history.superseded(at).is_some_and(|list| !list.is_empty()) => {
                self.fail(at, "answered 201, \"created\", and names versions that it replaced".into());
                PUT
            }
            (Action::Put, 201) => PUT | EXACT,
            (Action::Put | Action::Delete, 200) => match history.superseded(at) {
                Some([]) => {
                    self.fail(at, "answered 200 and says that it replaced nothing".into());
                    written
                }
                Some(versions) => written | self.versions(at, versions, EXACT),
                None => written | ALIVE,
            },
            (Action::Put | Action::Delete, SILENT) => written,
            (Action::Get, _) => 0,
            (Action::Put | Action::Delete, status) if happened_perhaps(status) => written,
            (Action::Put | Action::Delete, _) => 0,
        }
    }

    fn fail(&mut self, at: usize, text: String) {
        self.nonsense.get_or_insert(Nonsense { event: at as Node, text });
    }

    /// A read of what its batch wrote returns that.
    fn look_at_own(&mut self, at: usize) {
        let (history, key) = (self.history, self.history.key[at]);
        let mut parts = history.batches.parts(history.batches.head(at as Node)).map(|part| part as usize);
        let is_write = |part: &usize| history.key[*part] == key && history.action[*part] != Action::Get;
        let wrote = parts.find(is_write).map(|part| history.value[part]);
        if wrote != Some(history.value[at]) {
            let text = |value: u32| if value == NONE { "nothing".into() } else { short(history.values.text(value)) };
            let (key, read) = (short(history.keys.text(key)), text(history.value[at]));
            let wrote = wrote.map_or("nothing".into(), text);
            self.fail(at, format!("returned {key}={read} after its own batch had written {wrote}"));
        }
    }

    fn found(&mut self, at: usize) -> u8 {
        let history = self.history;
        let key = history.key[at];
        let single = [history.value[at]];
        let siblings = history.siblings(at);
        let values = siblings.filter(|list| !list.is_empty()).unwrap_or(&single);
        for &value in values.iter().chain(single.iter().filter(|&&value| value != NONE && !values.contains(&value))) {
            match self.writers.of_value(history, key, value) {
                Some(node) => self.shown.push(node),
                None if history.truncated => {
                    self.unexplained += 1;
                    self.shown.clear();
                    return 0;
                }
                None => {
                    let (key, value) = (short(history.keys.text(key)), short(history.values.text(value)));
                    self.fail(at, format!("returned {key}={value}, which nobody wrote"));
                    return 0;
                }
            }
        }
        if let (Some(list), true) = (siblings, single[0] != NONE)
            && !list.contains(&single[0])
        {
            self.fail(at, "returned a value that is not among its siblings".into());
        }
        match (siblings, history.shown(at)) {
            (Some(_), _) => EXACT | WINNER,
            (None, Some(versions)) => self.versions(at, versions, EXACT) | WINNER,
            (None, None) => FOUND | WINNER,
        }
    }

    /// Adds the puts of these versions to what is shown; exact only when each is known.
    fn versions(&mut self, at: usize, versions: &[u32], exact: u8) -> u8 {
        let history = self.history;
        let (winner, mut unknown) = (self.shown.first().copied(), 0);
        for &version in versions {
            match self.writers.of_version(history, history.key[at], version) {
                Some(node) if history.key[node as usize] != history.key[at] => {
                    let version = short(history.versions.text(version));
                    self.fail(at, format!("names version {version}, which another key has"));
                }
                Some(node) if !self.shown.contains(&node) => self.shown.push(node),
                Some(_) => {}
                None if self.writers.has_unversioned(history.key[at]) || history.truncated => unknown += 1,
                None => {
                    let version = short(history.versions.text(version));
                    self.fail(at, format!("names version {version}, which nobody wrote"));
                }
            }
        }
        // The winner's own version is among the unknown ones when its PUT was never answered.
        if let Some(winner) = winner {
            match self.writers.version_of(winner) {
                Some(version) if !versions.contains(&version) => {
                    self.fail(at, "returned a value whose version its ETag does not name".into());
                }
                Some(_) => {}
                None => unknown = usize::saturating_sub(unknown, 1),
            }
        }
        match (unknown, self.shown.is_empty()) {
            (0, _) => exact,
            (_, false) => FOUND,
            (_, true) => ALIVE,
        }
    }
}
