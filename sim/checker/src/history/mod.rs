//! What clients saw: the model of a history, compact enough for ten million operations.
//!
//! An [`Operation`] is one request and its answer as people and formats write it. A [`History`] keeps operations in
//! columns, with every text interned. It holds only well-formed operations: [`History::push`] refuses the rest and
//! says why, so nothing behind it has to check again.

mod batches;
pub mod intern;
pub(crate) mod kind;
pub(crate) mod operation;
pub(crate) mod text;
pub(crate) mod words;

use crate::history::intern::{Names, Numbers};
pub use crate::history::operation::{Action, Malformed, Operation, Outcome, events};
pub(crate) use crate::history::operation::{Record, SILENT};

pub(crate) use crate::history::batches::Batches;
use crate::history::operation::well_formed;

/// No entry in a column.
pub(crate) const NONE: u32 = u32::MAX;

/// The fields that few operations have.
#[derive(Debug, Clone, Default)]
struct Lists {
    siblings: Option<(u32, u32)>,
    shown: Option<(u32, u32)>,
    superseded: Option<(u32, u32)>,
    merged: (u32, u32),
    own: bool,
}

/// Operations in columns.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Texts of clients.
    pub clients: Names,
    /// Texts of replicas.
    pub replicas: Names,
    /// Texts of keys.
    pub keys: Names,
    /// Texts of values.
    pub values: Names,
    /// Texts of tokens; empty where the lineage came without tokens, as in Plume text.
    pub tokens: Names,
    /// Texts of versions.
    pub versions: Names,
    /// The end was cut off: a value without a write may have been written there.
    pub truncated: bool,
    /// What the reader has to say.
    pub warnings: Vec<String>,
    /// Remarks of the recorder among the lines.
    pub notes: u64,
    pub(crate) client: Vec<u32>,
    pub(crate) replica: Vec<u32>,
    pub(crate) key: Vec<u32>,
    pub(crate) value: Vec<u32>,
    pub(crate) token_in: Vec<u32>,
    pub(crate) token_out: Vec<u32>,
    pub(crate) status: Vec<u16>,
    pub(crate) action: Vec<Action>,
    pub(crate) outcome: Vec<Outcome>,
    /// How many tokens stand without a text.
    unnamed_tokens: u32,
    /// Empty while every id is its index.
    ids: Vec<u64>,
    /// Empty while every line is its index and one.
    lines: Vec<u32>,
    /// Empty while no operation has times.
    times: Vec<(u64, u64)>,
    /// An index of `lists`, or [`NONE`]; empty while no operation has any.
    rare: Vec<u32>,
    lists: Vec<Lists>,
    pool: Vec<u32>,
    id_max: Option<u64>,
    known_ids: Option<Numbers>,
    pub(crate) batches: Batches,
}

const NO_TIME: u64 = u64::MAX;

impl History {
    /// How many operations.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.key.len()
    }

    /// Nothing happened.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.key.is_empty()
    }

    /// Appends an operation.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it; the history is then as before, but for unused names.
    pub fn push(&mut self, operation: &Operation) -> Result<(), Malformed> {
        self.push_at(self.len() as u32 + 1, operation)
    }

    /// The same for an operation that stood on this line.
    pub(crate) fn push_at(&mut self, line: u32, operation: &Operation) -> Result<(), Malformed> {
        fn borrowed(list: Option<&Vec<String>>) -> Option<Vec<&str>> {
            list.map(|list| list.iter().map(String::as_str).collect())
        }
        let siblings = borrowed(operation.siblings.as_ref());
        let shown = borrowed(operation.shown.as_ref());
        let superseded = borrowed(operation.superseded.as_ref());
        let merged: Vec<&str> = operation.merged_from.iter().map(String::as_str).collect();
        let record = Record {
            id: operation.id,
            client: &operation.client,
            replica: &operation.replica,
            action: operation.action,
            key: &operation.key,
            value: operation.value.as_deref(),
            siblings: siblings.as_deref(),
            status: operation.status,
            token_in: operation.token_in.as_deref(),
            merged_from: &merged,
            token_out: operation.token_out.as_deref(),
            shown: shown.as_deref(),
            superseded: superseded.as_deref(),
            call_ns: operation.call_ns,
            return_ns: operation.return_ns,
            outcome: operation.outcome,
            same_batch: operation.same_batch,
            own: operation.own,
        };
        self.push_record(line, &record)
    }

    pub(crate) fn push_record(&mut self, line: u32, record: &Record<'_>) -> Result<(), Malformed> {
        well_formed(record)?;
        if record.same_batch {
            self.join_batch(record)?;
        } else {
            self.note_id(record.id)?;
            self.batches.push_single();
        }
        let at = self.len();
        if record.call_ns.is_some() || record.return_ns.is_some() || !self.times.is_empty() {
            self.times.resize(at, (NO_TIME, NO_TIME));
            self.times.push((record.call_ns.unwrap_or(NO_TIME), record.return_ns.unwrap_or(NO_TIME)));
        }
        if line as usize != at + 1 || !self.lines.is_empty() {
            if self.lines.is_empty() {
                self.lines.extend(1..=at as u32);
            }
            self.lines.push(line);
        }
        self.note_lists(record);
        self.client.push(self.clients.number(record.client));
        self.replica.push(self.replicas.number(record.replica));
        self.key.push(self.keys.number(record.key));
        self.value.push(record.value.map_or(NONE, |value| self.values.number(value)));
        self.token_in.push(record.token_in.map_or(NONE, |token| self.tokens.number(token)));
        self.token_out.push(record.token_out.map_or(NONE, |token| self.tokens.number(token)));
        self.status.push(record.status);
        self.action.push(record.action);
        self.outcome.push(record.outcome);
        Ok(())
    }

    /// Appends a plain operation of a session of a format without tokens. The session's last token goes in, and a new
    /// one without a text comes out.
    pub(crate) fn push_plain(&mut self, session: u32, action: Action, key: u32, value: u32, after: u32) -> u32 {
        let token = self.unnamed_tokens;
        self.unnamed_tokens += 1;
        self.batches.push_single();
        self.push_columns(session, action, key, value, (after, token));
        token
    }

    /// Appends one more operation to a batch of such a session, which may have others behind it.
    pub(crate) fn push_plain_part(&mut self, head: u32, action: Action, key: u32, value: u32) {
        let (session, first) = (self.client[head as usize], head as usize);
        self.batches.push_part_of(head, self.len() as u32);
        self.push_columns(session, action, key, value, (self.token_in[first], self.token_out[first]));
    }

    fn push_columns(&mut self, session: u32, action: Action, key: u32, value: u32, (after, token): (u32, u32)) {
        self.id_max = Some(self.len() as u64);
        self.client.push(session);
        self.replica.push(NONE);
        self.key.push(key);
        self.value.push(value);
        self.token_in.push(after);
        self.token_out.push(token);
        self.status.push(match (action, value) {
            (Action::Put | Action::Delete, _) => SILENT,
            (Action::Get, NONE) => 404,
            (Action::Get, _) => 200,
        });
        self.action.push(action);
        self.outcome.push(Outcome::Ok);
    }

    fn note_id(&mut self, id: u64) -> Result<(), Malformed> {
        let at = self.len() as u64;
        if let Some(known) = &mut self.known_ids {
            known.put(id, at as u32).map_err(|_| Malformed::DuplicateId(id))?;
        } else if self.id_max.is_some_and(|max| id <= max) {
            let mut known = Numbers::default();
            for earlier in 0..self.len() {
                _ = known.put(self.id(earlier), earlier as u32);
            }
            known.put(id, at as u32).map_err(|_| Malformed::DuplicateId(id))?;
            self.known_ids = Some(known);
        }
        self.id_max = self.id_max.max(Some(id));
        if id != at || !self.ids.is_empty() {
            self.put_id(id);
        }
        Ok(())
    }

    /// Says on which line each operation stood.
    pub(crate) fn put_lines(&mut self, lines: Vec<u32>) {
        debug_assert_eq!(lines.len(), self.len(), "each has one");
        self.lines = lines;
    }

    fn pick_columns(&mut self, kept: &[u32]) {
        fn pick<T: Copy>(column: &mut Vec<T>, kept: &[u32]) {
            if !column.is_empty() {
                *column = kept.iter().map(|&at| column[at as usize]).collect();
            }
        }
        if self.lines.is_empty() {
            self.lines.extend(1..=self.len() as u32);
        }
        pick(&mut self.lines, kept);
        pick(&mut self.ids, kept);
        pick(&mut self.times, kept);
        pick(&mut self.rare, kept);
        for column in [&mut self.client, &mut self.replica, &mut self.value, &mut self.token_in, &mut self.token_out] {
            pick(column, kept);
        }
        pick(&mut self.status, kept);
        pick(&mut self.action, kept);
        pick(&mut self.outcome, kept);
        pick(&mut self.key, kept);
    }

    fn put_id(&mut self, id: u64) {
        if self.ids.is_empty() {
            self.ids.extend(0..self.len() as u64);
        }
        self.ids.push(id);
    }

    fn note_lists(&mut self, record: &Record<'_>) {
        let has_lists = record.siblings.is_some()
            || record.shown.is_some()
            || record.superseded.is_some()
            || record.own
            || !record.merged_from.is_empty();
        if !has_lists && self.rare.is_empty() {
            return;
        }
        self.rare.resize(self.len(), NONE);
        if !has_lists {
            return self.rare.push(NONE);
        }
        let pool = &mut self.pool;
        let mut keep = |names: &mut Names, list: &[&str]| {
            let start = pool.len() as u32;
            pool.extend(list.iter().map(|text| names.number(text)));
            (start, pool.len() as u32)
        };
        let lists = Lists {
            siblings: record.siblings.map(|list| keep(&mut self.values, list)),
            shown: record.shown.map(|list| keep(&mut self.versions, list)),
            superseded: record.superseded.map(|list| keep(&mut self.versions, list)),
            merged: keep(&mut self.tokens, record.merged_from),
            own: record.own,
        };
        self.rare.push(self.lists.len() as u32);
        self.lists.push(lists);
    }

    fn lists(&self, at: usize) -> Option<&Lists> {
        let index = *self.rare.get(at)?;
        (index != NONE).then(|| &self.lists[index as usize])
    }

    fn list(&self, range: Option<(u32, u32)>) -> Option<&[u32]> {
        range.map(|(start, end)| &self.pool[start as usize..end as usize])
    }

    pub(crate) fn siblings(&self, at: usize) -> Option<&[u32]> {
        self.list(self.lists(at)?.siblings)
    }

    pub(crate) fn shown(&self, at: usize) -> Option<&[u32]> {
        self.list(self.lists(at)?.shown)
    }

    pub(crate) fn superseded(&self, at: usize) -> Option<&[u32]> {
        self.list(self.lists(at)?.superseded)
    }

    pub(crate) fn merged(&self, at: usize) -> &[u32] {
        self.lists(at).and_then(|lists| self.list(Some(lists.merged))).unwrap_or_default()
    }

    /// Whether it is a read of what its batch wrote.
    pub(crate) fn is_own(&self, at: usize) -> bool {
        self.lists(at).is_some_and(|lists| lists.own)
    }

    /// Makes it a read of what its batch wrote.
    pub(crate) fn make_own(&mut self, at: usize) {
        self.rare.resize(self.len(), NONE);
        self.rare[at] = self.lists.len() as u32;
        self.lists.push(Lists { own: true, ..Lists::default() });
    }

    /// How many tokens there are, with or without text.
    pub(crate) fn token_count(&self) -> usize {
        self.tokens.len().max(self.unnamed_tokens as usize)
    }

    /// The id of the operation at this index, which the parts of a batch have together.
    #[must_use]
    pub fn id(&self, at: usize) -> u64 {
        self.ids.get(at).copied().unwrap_or_else(|| self.batches.head(at as u32).into())
    }

    /// The line on which the operation at this index stood.
    #[must_use]
    pub fn line(&self, at: usize) -> u32 {
        self.lines.get(at).copied().unwrap_or(at as u32 + 1)
    }

    /// When the request left.
    pub(crate) fn call(&self, at: usize) -> Option<u64> {
        self.times.get(at).map(|times| times.0).filter(|&time| time != NO_TIME)
    }

    /// When the answer came.
    pub(crate) fn returned(&self, at: usize) -> Option<u64> {
        self.times.get(at).map(|times| times.1).filter(|&time| time != NO_TIME)
    }

    fn token_text(&self, token: u32) -> Option<String> {
        match token {
            NONE => None,
            token if self.tokens.is_empty() => Some(format!("t{token}")),
            token => Some(self.tokens.text(token).to_owned()),
        }
    }

    /// The operation at this index, with its texts.
    #[must_use]
    pub fn operation(&self, at: usize) -> Operation {
        let texts = |names: &Names, list: Option<&[u32]>| -> Option<Vec<String>> {
            list.map(|list| list.iter().map(|&number| names.text(number).to_owned()).collect())
        };
        let plain = |names: &Names, number: u32, unnamed: &str| match number {
            NONE => String::new(),
            number if names.is_empty() => format!("{unnamed}{number}"),
            number => names.text(number).to_owned(),
        };
        Operation {
            id: self.id(at),
            client: plain(&self.clients, self.client[at], "s"),
            replica: plain(&self.replicas, self.replica[at], "r"),
            action: self.action[at],
            key: self.keys.text(self.key[at]).to_owned(),
            value: (self.value[at] != NONE).then(|| self.values.text(self.value[at]).to_owned()),
            siblings: texts(&self.values, self.siblings(at)),
            status: self.status[at],
            token_in: self.token_text(self.token_in[at]),
            merged_from: self.merged(at).iter().filter_map(|&token| self.token_text(token)).collect(),
            token_out: self.token_text(self.token_out[at]),
            shown: texts(&self.versions, self.shown(at)),
            superseded: texts(&self.versions, self.superseded(at)),
            call_ns: self.call(at),
            return_ns: self.returned(at),
            outcome: self.outcome[at],
            same_batch: self.batches.head(at as u32) != at as u32,
            own: self.is_own(at),
        }
    }

    /// All operations, with their texts.
    pub fn operations(&self) -> impl Iterator<Item = Operation> {
        (0..self.len()).map(|at| self.operation(at))
    }

    /// All events, with their texts: operations, and the parts of batches.
    pub fn events(&self) -> impl Iterator<Item = Vec<Operation>> {
        let parts = |head: usize| self.batches.parts(head as u32).map(|at| self.operation(at as usize)).collect();
        self.heads().map(parts)
    }

    /// A history of these operations.
    ///
    /// # Errors
    ///
    /// The index of the first that cannot stand in a history, and why.
    pub fn of(operations: &[Operation]) -> Result<Self, (usize, Malformed)> {
        let mut history = Self::default();
        for (at, operation) in operations.iter().enumerate() {
            history.push(operation).map_err(|malformed| (at, malformed))?;
        }
        Ok(history)
    }
}
