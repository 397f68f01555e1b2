//! Which operation follows which responses, by tokens alone.
//!
//! An operation follows every earlier response that carried a token which it sent. Many responses may carry one token.
//! So each token has a front: the responses that no other response with the same token follows already. A front that
//! grows wide is gathered in a joint. Earlier means: returned before the other was called, where the history has times,
//! and stood before it, where it has none.

use crate::history::{History, Malformed, NONE, Outcome};
use crate::terms::{Node, Unreadable};

/// A front wider than this gets a joint.
const FRONT_MAX: usize = 16;

/// Marks an entry of `single` that stands for a list.
const LISTED: u32 = 1 << 31;

/// The lineage of a history.
#[derive(Debug)]
pub(crate) struct Lineage {
    range: Vec<(u32, u32)>,
    before: Vec<Node>,
    operations: usize,
}

impl Lineage {
    pub(crate) fn of(history: &History, program_order: bool) -> Result<Self, Unreadable> {
        let mut sweep = Sweep {
            history,
            lineage: Self {
                range: vec![(0, 0); history.len()],
                before: Vec::with_capacity(history.len()),
                operations: history.len(),
            },
            single: vec![NONE; history.token_count()],
            lists: Vec::new(),
            last_of_client: if program_order { vec![NONE; history.clients.len() + history.len()] } else { Vec::new() },
        };
        match moments(history) {
            None => {
                for at in history.heads() {
                    sweep.call(at)?;
                    sweep.answer(at);
                }
            }
            Some(moments) => {
                for moment in moments {
                    if moment.is_answer {
                        sweep.answer(moment.operation as usize);
                    } else {
                        sweep.call(moment.operation as usize)?;
                    }
                }
            }
        }
        Ok(sweep.lineage)
    }

    /// The same with further edges, sorted by where they lead.
    pub(crate) fn joined(&self, edges: &[(Node, Node)]) -> Self {
        let mut before = Vec::with_capacity(self.before.len() + edges.len());
        let mut rest = edges.iter().peekable();
        let extended = self.range.iter().enumerate().map(|(node, &(start, end))| {
            let begin = before.len() as u32;
            before.extend_from_slice(&self.before[start as usize..end as usize]);
            while let Some(&(from, _)) = rest.next_if(|&&(_, to)| to as usize == node) {
                before.push(from);
            }
            (begin, before.len() as u32)
        });
        let range = extended.collect();
        Self { range, before, operations: self.operations }
    }

    /// How many nodes there are beyond the operations.
    pub(crate) const fn joints(&self) -> usize {
        self.range.len() - self.operations
    }

    /// What a node directly follows.
    pub(crate) fn before(&self, node: Node) -> &[Node] {
        let (start, end) = self.range[node as usize];
        &self.before[start as usize..end as usize]
    }
}

/// When a request leaves or its answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Moment {
    time: u64,
    /// At one time answers of longer operations come first, then operations that take no time, then calls.
    phase: u8,
    operation: u32,
    is_answer: bool,
}

/// All moments in order, if every operation that matters has times.
fn moments(history: &History) -> Option<Vec<Moment>> {
    let mut moments = Vec::new();
    for at in history.heads() {
        let call = history.call(at)?;
        let answered = history.outcome[at] == Outcome::Ok;
        let returned = if answered { Some(history.returned(at)?) } else { None };
        let brief = returned == Some(call);
        let operation = at as u32;
        moments.push(Moment { time: call, phase: if brief { 1 } else { 2 }, operation, is_answer: false });
        if let Some(time) = returned {
            moments.push(Moment { time, phase: u8::from(brief), operation, is_answer: true });
        }
    }
    moments.sort_unstable();
    Some(moments)
}

struct Sweep<'a> {
    history: &'a History,
    lineage: Lineage,
    /// For each token nothing, one node, or a list's index with [`LISTED`].
    single: Vec<u32>,
    lists: Vec<Vec<Node>>,
    last_of_client: Vec<Node>,
}

impl Sweep<'_> {
    fn call(&mut self, at: usize) -> Result<(), Unreadable> {
        let history = self.history;
        let start = self.lineage.before.len();
        for token in sent(history, at) {
            let entry = self.single[token as usize];
            if entry == NONE {
                let text = history.operation(at);
                let all = text.token_in.iter().chain(&text.merged_from);
                let token = all.into_iter().find(|text| history.tokens.find(text).is_none_or(|found| found == token));
                let malformed = Malformed::TokenFromNowhere(token.cloned().unwrap_or_default());
                return Err(Unreadable { line: history.line(at), malformed });
            }
            let alone = [entry];
            let front = if entry & LISTED == 0 { &alone[..] } else { &self.lists[(entry ^ LISTED) as usize] };
            self.lineage.before.extend_from_slice(front);
        }
        if let Some(&last) = self.last_of_client.get(history.client[at] as usize)
            && last != NONE
        {
            self.lineage.before.push(last);
        }
        self.lineage.range[at] = (start as u32, self.lineage.before.len() as u32);
        Ok(())
    }

    fn answer(&mut self, at: usize) {
        let history = self.history;
        if !goes_on(history, at) {
            return;
        }
        if history.status[at] == 424 {
            // The token that comes back is cut: what was sent no longer counts.
            self.lineage.range[at].1 = self.lineage.range[at].0;
        }
        if let Some(last) = self.last_of_client.get_mut(history.client[at] as usize) {
            *last = at as Node;
        }
        let token = history.token_out[at];
        if token == NONE {
            return;
        }
        let entry = self.single[token as usize];
        if entry == NONE || entry & LISTED == 0 && self.lineage.before(at as Node).contains(&entry) {
            self.single[token as usize] = at as Node;
            return;
        }
        if entry & LISTED == 0 {
            self.single[token as usize] = LISTED | self.lists.len() as u32;
            self.lists.push(vec![entry, at as Node]);
            return;
        }
        let list = &mut self.lists[(entry ^ LISTED) as usize];
        list.retain(|node| !self.lineage.before(at as Node).contains(node));
        list.push(at as Node);
        if list.len() > FRONT_MAX {
            let joint = self.lineage.range.len() as Node;
            let start = self.lineage.before.len() as u32;
            self.lineage.before.append(list);
            self.lineage.range.push((start, self.lineage.before.len() as u32));
            list.push(joint);
        }
    }
}

/// The tokens that an operation sent.
fn sent(history: &History, at: usize) -> impl Iterator<Item = u32> {
    Some(history.token_in[at]).filter(|&token| token != NONE).into_iter().chain(history.merged(at).iter().copied())
}

/// Whether the answer carries a past on. A refusal does, too: it echoes what it was sent.
fn goes_on(history: &History, at: usize) -> bool {
    history.outcome[at] == Outcome::Ok
}
