//! The writes of each key, by chain: which of them lie within so much of a chain.

use crate::graph::Problem;
use crate::history::NONE;
use crate::terms::{DELETE, Node, PUT, WRITE};

/// The writes of each key, by chain and in order within it.
#[derive(Debug, Default)]
pub(crate) struct KeyIndex {
    /// Where each key's segments start.
    key_start: Vec<u32>,
    segment_chain: Vec<u32>,
    segment_start: Vec<u32>,
    pub(crate) node: Vec<Node>,
    pub(crate) position: Vec<u32>,
    /// For each entry the last put of its segment up to it, as an index and one; empty where no operation deletes.
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

/// For each segment, what the last question about it found. The next one is asked nearby, because events that follow
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
    pub(crate) fn of(problem: &Problem, keys: usize) -> Self {
        let mut next = vec![0_u32; keys + 1];
        let loose = || (0..problem.nodes() as Node).filter(|&node| problem.is(node, WRITE) && !problem.is_kept(node));
        let of_event = |&head: &Node| problem.parts(head).filter(|&part| problem.is(part, WRITE));
        let writes = || problem.chain_nodes.iter().flat_map(of_event).chain(loose());
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

    /// The writes of a segment that are not among the first `limit` nodes of its chain.
    pub(crate) fn beyond(&self, segment: Segment, limit: u32) -> &[Node] {
        let positions = &self.position[segment.start..segment.end];
        &self.node[segment.start + positions.partition_point(|&position| position < limit)..segment.end]
    }

    /// The puts of a key that no write follows.
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
