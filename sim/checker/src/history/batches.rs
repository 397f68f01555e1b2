//! Which operations are the parts of one batch: requests that took place together, at one moment.

use crate::history::operation::is_result;
use crate::history::{Action, History, Malformed, NONE, Record};

/// The batches of a history. Both columns are empty while there is none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batches {
    /// The first part of each operation's batch: itself, if it is in none.
    head: Vec<u32>,
    /// For a first part, where its batch ends.
    end: Vec<u32>,
    /// For each key, the first part of the last batch that writes it.
    writer: Vec<u32>,
}

impl Batches {
    pub(crate) const fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    /// The first part of an operation's batch. What is no operation stands for itself.
    #[inline]
    pub(crate) fn head(&self, at: u32) -> u32 {
        self.head.get(at as usize).copied().unwrap_or(at)
    }

    /// The parts of the batch with this first part.
    #[inline]
    pub(crate) fn parts(&self, head: u32) -> std::ops::Range<u32> {
        head..self.end.get(head as usize).copied().unwrap_or(head + 1)
    }

    /// Notes an operation that is in no batch, yet.
    pub(crate) fn push_single(&mut self) {
        if !self.is_empty() {
            let at = self.head.len() as u32;
            self.head.push(at);
            self.end.push(at + 1);
        }
    }

    /// Notes an operation, the one with this index, that is a part of the batch with this first part. Where others stand
    /// between them, [`History::pick`] has to bring them together.
    pub(crate) fn push_part_of(&mut self, head: u32, at: u32) {
        if self.is_empty() {
            self.head.extend(0..at);
            self.end.extend(1..=at);
        }
        self.head.push(head);
        self.end.push(at + 1);
        self.end[head as usize] = at + 1;
    }

    /// Whether a batch has others between its parts.
    pub(crate) fn are_torn(&self) -> bool {
        self.head.windows(2).any(|pair| pair[1] < pair[0])
    }

    /// Notes that a batch writes a key; says whether it does for the first time.
    fn note_write(&mut self, head: u32, key: u32) -> bool {
        let at = key as usize;
        if self.writer.len() <= at {
            self.writer.resize(at + 1, NONE);
        }
        std::mem::replace(&mut self.writer[at], head) != head
    }
}

impl History {
    /// Takes an operation into the batch of the one before it.
    pub(crate) fn join_batch(&mut self, record: &Record<'_>) -> Result<(), Malformed> {
        let Some(last) = self.len().checked_sub(1) else {
            return Err(Malformed::Contradiction("a part of a batch has no part before it"));
        };
        let head = self.batches.head(last as u32) as usize;
        self.is_one_request(head, record)?;
        if record.outcome == crate::history::Outcome::Ok
            && record.status != self.status[head]
            && !(is_result(record.status) && is_result(self.status[head]))
        {
            return Err(Malformed::Contradiction("one part of a batch took place and another did not"));
        }
        let writes = record.action != Action::Get;
        if head == last && self.action[head] != Action::Get {
            self.batches.note_write(head as u32, self.key[head]);
        }
        let key = self.keys.number(record.key);
        if writes && !self.batches.note_write(head as u32, key) {
            return Err(Malformed::WrittenTwice(record.key.to_owned()));
        }
        self.batches.push_part_of(head as u32, last as u32 + 1);
        self.put_id(record.id);
        Ok(())
    }

    /// Whether an operation is of one request with the first part of a batch.
    fn is_one_request(&self, head: usize, record: &Record<'_>) -> Result<(), Malformed> {
        let token = |token: u32| (token != NONE).then(|| self.tokens.text(token));
        let merged = self.merged(head).iter().map(|&token| self.tokens.text(token));
        let is_one = self.id(head) == record.id
            && self.clients.text(self.client[head]) == record.client
            && self.replicas.text(self.replica[head]) == record.replica
            && self.outcome[head] == record.outcome
            && token(self.token_in[head]) == record.token_in
            && token(self.token_out[head]) == record.token_out
            && (self.call(head), self.returned(head)) == (record.call_ns, record.return_ns)
            && merged.eq(record.merged_from.iter().copied());
        match is_one {
            true => Ok(()),
            false => Err(Malformed::Contradiction(
                "the parts of a batch are one request: id, client, replica, tokens, times, outcome",
            )),
        }
    }

    /// Keeps these operations, in this order. The parts of a batch stand together in it.
    pub(crate) fn pick(&mut self, kept: &[u32]) {
        let heads: Vec<u32> = kept.iter().map(|&at| self.batches.head(at)).collect();
        self.pick_columns(kept);
        self.batches = Batches::default();
        let mut head = 0;
        for at in 0..kept.len() {
            if at > 0 && heads[at] == heads[at - 1] {
                self.batches.push_part_of(head, at as u32);
            } else {
                head = at as u32;
                self.batches.push_single();
            }
        }
    }

    /// The first parts of all batches, and all operations that are in none.
    pub(crate) fn heads(&self) -> impl Iterator<Item = usize> {
        (0..self.len()).filter(|&at| self.batches.head(at as u32) as usize == at)
    }
}
