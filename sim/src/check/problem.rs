//! A history as the judge works on it: events as nodes of a graph, in flat arrays.
//!
//! Nodes are the operations, by index, and a few joints behind them that gather many responses with one token. Edges
//! are lineage and read-from; together they are the happens-before of the design. What an event showed is a *view*:
//! nothing known, at least these puts, exactly these puts, or at least one put that it does not name.

use super::certificate::Certificate;
use super::history::{Action, History, Malformed, NONE, Outcome, SILENT};
use super::lineage::Lineage;
use super::order;
use super::report::Blind;
use super::writers::Writers;

/// A node's number.
pub(crate) type Node = u32;

/// One edge of the happens-before graph that neither lineage nor a read gives.
pub(crate) type Edge = (Node, Node);

pub(crate) const PUT: u8 = 1;
pub(crate) const DELETE: u8 = 2;
pub(crate) const WRITE: u8 = PUT | DELETE;
const VIEW: u8 = 12;
const FOUND: u8 = 4;
const EXACT: u8 = 8;
const ALIVE: u8 = 12;
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

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.malformed)
    }
}

impl std::error::Error for Unreadable {}

/// The graph of a history.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) operations: usize,
    pub(crate) key: Vec<u32>,
    pub(crate) flags: Vec<u8>,
    pub(crate) lineage: Lineage,
    shown_start: Vec<u32>,
    shown: Vec<Node>,
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
    /// The nodes of a cycle of lineage and reads.
    pub(crate) cycle: Option<Vec<Node>>,
    pub(crate) nonsense: Option<Nonsense>,
    /// Reads of values that the cut-off end may have written.
    pub(crate) unexplained_reads: usize,
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
        Self::with_lineage(history, lineage, &certificate.origin)
    }

    fn with_lineage(history: &History, lineage: Lineage, origins: &[u32]) -> Result<Self, Unreadable> {
        let nodes = history.len() + lineage.joints();
        let mut problem = Self {
            operations: history.len(),
            key: history.key.clone(),
            flags: vec![0; nodes],
            lineage,
            shown_start: Vec::with_capacity(nodes + 1),
            shown: Vec::with_capacity(history.len() / 2),
            followers: vec![0; nodes],
            is_ascending: true,
            order: Vec::new(),
            chain: Vec::new(),
            position: Vec::new(),
            chain_start: Vec::new(),
            chain_nodes: Vec::new(),
            index: KeyIndex::default(),
            successors: std::cell::OnceCell::new(),
            cycle: None,
            nonsense: None,
            unexplained_reads: 0,
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

    /// The first writes that follow an event: itself, if it is one. Whatever follows it follows one of them.
    pub(crate) fn first_writes(&self, event: Node) -> Vec<Node> {
        let successors = self.successors.get_or_init(|| order::Successors::of(self, &[]));
        let mut seen = std::collections::BTreeSet::from([event]);
        let (mut open, mut found) = (vec![event], Vec::new());
        while let Some(node) = open.pop() {
            if self.is(node, WRITE) {
                found.push(node);
            } else {
                open.extend(successors.of_node(node).iter().copied().filter(|&next| seen.insert(next)));
            }
        }
        found
    }

    /// A write that stands in a chain. A put that nobody follows stands in none: nothing has it in its past.
    pub(crate) fn is_kept(&self, node: Node) -> bool {
        self.chain[node as usize] != NONE
    }

    /// The last writes that precede an event: itself not among them. Whatever precedes it is one of them, or precedes one.
    pub(crate) fn last_writes(&self, event: Node) -> Vec<Node> {
        let mut seen = std::collections::BTreeSet::new();
        let (mut open, mut found) = (vec![event], Vec::new());
        while let Some(node) = open.pop() {
            for before in self.predecessors(node).filter(|&before| seen.insert(before)) {
                if self.is(before, WRITE) { found.push(before) } else { open.push(before) }
            }
        }
        found
    }

    pub(crate) const fn nodes(&self) -> usize {
        self.flags.len()
    }

    /// The nodes in an order that respects every edge.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = Node> {
        let plain = if self.order.is_empty() { self.nodes() as Node } else { 0 };
        (0..plain).chain(self.order.iter().copied())
    }

    pub(crate) fn is(&self, node: Node, flag: u8) -> bool {
        self.flags[node as usize] & flag != 0
    }

    pub(crate) fn view(&self, node: Node) -> View {
        match self.flags[node as usize] & VIEW {
            FOUND => View::Found,
            EXACT => View::Exact,
            ALIVE => View::Alive,
            _ => View::Open,
        }
    }

    /// The puts that an event showed, the winner first where it is known.
    pub(crate) fn shown(&self, node: Node) -> &[Node] {
        let at = node as usize;
        &self.shown[self.shown_start[at] as usize..self.shown_start[at + 1] as usize]
    }

    pub(crate) fn predecessors(&self, node: Node) -> impl Iterator<Item = Node> + Clone {
        self.lineage.before(node).iter().chain(self.shown(node)).copied()
    }

    /// How many edges lead to a node.
    pub(crate) fn indegree(&self, node: Node) -> u32 {
        (self.lineage.before(node).len() + self.shown(node).len()) as u32
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
            }
        }
        self.shown_start.push(self.shown.len() as u32);
        (self.nonsense, self.unexplained_reads) = (views.nonsense, views.unexplained);
        Ok(())
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
                    let (key, value) = (history.keys.text(key), history.values.text(value));
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
            match self.writers.of_version(version) {
                Some(node) if history.key[node as usize] != history.key[at] => {
                    let version = history.versions.text(version);
                    self.fail(at, format!("names version {version}, which another key has"));
                }
                Some(node) if !self.shown.contains(&node) => self.shown.push(node),
                Some(_) => {}
                None if self.writers.has_unversioned(history.key[at]) || history.truncated => unknown += 1,
                None => {
                    let version = history.versions.text(version);
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

/// A write that was answered like this may still have happened.
pub(crate) const fn happened_perhaps(status: u16) -> bool {
    status >= 500 && status != 503
}

/// The writes of each key, by chain and in order within it.
#[derive(Debug, Default)]
pub(crate) struct KeyIndex {
    /// Where each key's segments start.
    key_start: Vec<u32>,
    segment_chain: Vec<u32>,
    segment_start: Vec<u32>,
    pub(crate) node: Vec<Node>,
    pub(crate) position: Vec<u32>,
    /// For each entry the last put of its segment up to it, as an index and one; empty where nobody deletes.
    last_put: Vec<u32>,
    last_delete: Vec<u32>,
    has_deletes: Vec<bool>,
}

/// The writes of one key in one chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    /// Its index among all segments.
    pub(crate) number: usize,
    pub(crate) chain: u32,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// For each segment what the last question about it found: the next one is asked nearby, because events that follow
/// each other know about as much of every chain.
#[derive(Debug)]
pub(crate) struct Cursors(Vec<Cursor>);

/// Where a segment was last divided: so many entries are within every limit from `below` to `above`.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    count: u32,
    below: u32,
    above: u32,
}

impl Cursor {
    /// Within no limit at all.
    const LOST: Self = Self { count: 0, below: u32::MAX, above: 0 };

    fn at(positions: &[u32], count: usize) -> Self {
        let below = if count == 0 { 0 } else { positions[count - 1] + 1 };
        Self { count: count as u32, below, above: positions.get(count).map_or(u32::MAX, |&above| above) }
    }
}

impl KeyIndex {
    fn of(problem: &Problem, keys: usize) -> Self {
        let mut next = vec![0_u32; keys + 1];
        let loose = || (0..problem.nodes() as Node).filter(|&node| problem.is(node, WRITE) && !problem.is_kept(node));
        let writes = || problem.chain_nodes.iter().copied().chain(loose());
        let mut has_deletes = vec![false; keys];
        for node in writes() {
            let key = problem.key[node as usize] as usize;
            next[key + 1] += 1;
            has_deletes[key] |= problem.is(node, DELETE);
        }
        for key in 0..keys {
            next[key + 1] += next[key];
        }
        let bounds = next.clone();
        let count = bounds[keys] as usize;
        let mut index = Self { node: vec![0; count], position: vec![0; count], has_deletes, ..Self::default() };
        for node in writes() {
            let slot = &mut next[problem.key[node as usize] as usize];
            index.node[*slot as usize] = node;
            index.position[*slot as usize] = problem.position[node as usize];
            *slot += 1;
        }
        for key in 0..keys {
            index.key_start.push(index.segment_chain.len() as u32);
            let mut chain = None;
            for at in bounds[key] as usize..bounds[key + 1] as usize {
                let here = problem.chain[index.node[at] as usize];
                if Some(here) != chain {
                    chain = Some(here);
                    index.segment_chain.push(here);
                    index.segment_start.push(at as u32);
                }
            }
        }
        index.key_start.push(index.segment_chain.len() as u32);
        index.segment_start.push(count as u32);
        index.note_last(problem);
        index
    }

    fn note_last(&mut self, problem: &Problem) {
        if !self.has_deletes.contains(&true) {
            return;
        }
        let (mut put, mut delete, mut chain, mut key) = (0, 0, NONE, NONE);
        for (at, &node) in self.node.iter().enumerate() {
            let here = (problem.chain[node as usize], problem.key[node as usize]);
            if here != (chain, key) {
                (put, delete) = (0, 0);
                (chain, key) = here;
            }
            if problem.is(node, PUT) {
                put = at as u32 + 1;
            } else {
                delete = at as u32 + 1;
            }
            self.last_put.push(put);
            self.last_delete.push(delete);
        }
    }

    pub(crate) fn has_deletes(&self, key: u32) -> bool {
        self.has_deletes[key as usize]
    }

    pub(crate) fn segments(&self, key: u32) -> impl Iterator<Item = Segment> {
        self.all_segments(key).filter(|segment| segment.chain != NONE)
    }

    /// Those that stand in no chain come last.
    fn all_segments(&self, key: u32) -> impl Iterator<Item = Segment> {
        let range = self.key_start[key as usize] as usize..self.key_start[key as usize + 1] as usize;
        range.map(|at| Segment {
            number: at,
            chain: self.segment_chain[at],
            start: self.segment_start[at] as usize,
            end: self.segment_start[at + 1] as usize,
        })
    }

    /// The puts of a key that nobody follows.
    pub(crate) fn loose(&self, key: u32) -> &[Node] {
        let loose = self.all_segments(key).find(|segment| segment.chain == NONE);
        loose.map_or(&[], |segment| &self.node[segment.start..segment.end])
    }

    /// Where to ask from, at first.
    pub(crate) fn cursors(&self) -> Cursors {
        Cursors(vec![Cursor::LOST; self.segment_chain.len()])
    }

    /// The last entry of a segment among the first `limit` nodes of its chain, and its position there.
    pub(crate) fn last_within(&self, segment: Segment, limit: u32, cursors: &mut Cursors) -> Option<(usize, u32)> {
        let cursor = &mut cursors.0[segment.number];
        if limit < cursor.below || limit > cursor.above {
            let positions = &self.position[segment.start..segment.end];
            let count = partition_near(positions, cursor.count as usize, |position| position < limit);
            *cursor = Cursor::at(positions, count);
        }
        (cursor.count > 0).then(|| (segment.start + cursor.count as usize - 1, cursor.below - 1))
    }

    /// The last put of the segment up to an entry.
    pub(crate) fn put_at(&self, entry: usize) -> Option<Node> {
        match self.last_put.get(entry) {
            None => Some(self.node[entry]),
            Some(0) => None,
            Some(&at) => Some(self.node[at as usize - 1]),
        }
    }

    /// The last delete of the segment up to an entry.
    pub(crate) fn delete_at(&self, entry: usize) -> Option<Node> {
        match self.last_delete.get(entry) {
            None | Some(0) => None,
            Some(&at) => Some(self.node[at as usize - 1]),
        }
    }

    /// All writes of a key.
    pub(crate) fn writes(&self, key: u32) -> &[Node] {
        let (first, last) = (self.key_start[key as usize] as usize, self.key_start[key as usize + 1] as usize);
        &self.node[self.segment_start[first] as usize..self.segment_start[last] as usize]
    }
}

/// How many of the numbers, which come first, are within: found by steps that double, from a guess on.
fn partition_near(numbers: &[u32], guess: usize, within: impl Fn(u32) -> bool) -> usize {
    let (mut low, mut high) = (guess, guess);
    let mut step = 1;
    while high < numbers.len() && within(numbers[high]) {
        low = high + 1;
        high = (high + step).min(numbers.len());
        step *= 2;
    }
    step = 1;
    while low > 0 && !within(numbers[low - 1]) {
        high = low - 1;
        low = low.saturating_sub(step);
        step *= 2;
    }
    low + numbers[low..high].partition_point(|&number| within(number))
}

#[cfg(test)]
mod tests {
    #[test]
    fn partitions_are_found_from_any_guess() {
        for length in 0..40_u32 {
            let numbers: Vec<u32> = (0..length).collect();
            for (guess, limit) in (0..=length).flat_map(|guess| (0..=length).map(move |limit| (guess, limit))) {
                let found = super::partition_near(&numbers, guess as usize, |number| number < limit);
                assert_eq!(found, limit as usize, "{length} numbers from {guess}");
            }
        }
    }
}
