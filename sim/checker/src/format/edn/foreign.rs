//! Foreign histories: registers that are read, written, compared and set, in Jepsen's conventions.
//!
//! A process is a session. A transaction is an event, as a batch is. A compare-and-set is a read and a write after it. A
//! warning says so, because less is asked of it then. Keys begin with nothing, or with 0 where a
//! history never reads nothing, never writes 0 and reads it all the same.

use super::convention::{Done, Keys, Kind, belongs_to, untagged};
use super::value::Edn;
use super::wrong;
use crate::format::error::{ReadError, at_line};
use crate::format::transactions::{self, Settled};
use crate::history::intern::Names;
use crate::history::{Action, History, NONE, Operation, Outcome, SILENT};
use std::collections::{BTreeMap, BTreeSet};

/// The key of a history of one register.
const REGISTER: &str = "register";

/// Which kind of collection a value is, by its text.
fn collection(text: &str) -> Option<&str> {
    match text.as_bytes().first() {
        Some(b'[') => Some("["),
        Some(b'{') => text.split(':').next(),
        _ => None,
    }
}

#[derive(Default)]
pub(super) struct Foreign {
    pub(super) history: History,
    /// Operations that ended before it was known whether they name their key.
    waiting: Vec<Done>,
    keys: Option<(Keys, u32)>,
    /// The last token of each process.
    last: BTreeMap<String, String>,
    /// Compare-and-sets of unknown outcome, which happened if a client read what they set.
    open_swaps: Vec<Swap>,
    /// Lines of reads that returned collections, by what they returned.
    collections: BTreeMap<(String, String), u32>,
    /// The first read that returned nothing.
    nothing_read: Option<u32>,
    /// Processes that had an operation of unknown outcome.
    unsure: BTreeSet<String>,
    pub(super) given_up: u64,
    /// Operations that did nothing to be judged.
    idle: u64,
    went_on: u64,
    swaps: u64,
    /// Writes that their own transaction wrote over.
    overwritten: u64,
}

struct Swap {
    line: u32,
    process: String,
    key: String,
    old: Edn,
    new: Edn,
    /// What its process knew when it asked.
    after: Option<String>,
}

impl Foreign {
    pub(super) fn take(&mut self, done: Done) -> Result<(), ReadError> {
        match (done.keys(), self.keys) {
            (Some(keys), None) => {
                self.keys = Some((keys, done.line));
                for earlier in std::mem::take(&mut self.waiting) {
                    self.judge(keys, &earlier)?;
                }
                self.judge(keys, &done)
            }
            (Some(keys), Some((known, at))) if keys != known && done.outcome != Outcome::Fail => {
                let says = |keys| if keys == Keys::Named { "names its key" } else { "names no key" };
                Err(wrong(done.line, format!("this operation {}, and that of line {at} {}", says(keys), says(known))))
            }
            (_, Some((known, _))) => self.judge(known, &done),
            (None, None) if done.kind() == Kind::Transaction => self.judge(Keys::Named, &done),
            (None, None) => {
                self.waiting.push(done);
                Ok(())
            }
        }
    }

    fn judge(&mut self, keys: Keys, done: &Done) -> Result<(), ReadError> {
        if done.outcome != Outcome::Fail && self.unsure.remove(&done.process) {
            self.went_on += 1;
        }
        let judged = match done.kind() {
            Kind::Read => self.read(keys, done),
            Kind::Write => self.write(keys, done),
            Kind::Delete => self.delete(keys, done),
            Kind::Cas => self.swap(keys, done),
            Kind::Transaction => self.transaction(done),
            Kind::Other => Err(refused(done)),
        };
        if done.outcome == Outcome::Unknown {
            self.unsure.insert(done.process.clone());
        }
        // What certainly did nothing need not be understood.
        self.idle += u64::from(judged.is_err());
        if done.outcome == Outcome::Fail { Ok(()) } else { judged }
    }

    fn read(&mut self, keys: Keys, done: &Done) -> Result<(), ReadError> {
        // A read that was not answered showed nothing to any client.
        if done.outcome != Outcome::Ok {
            self.idle += 1;
            return Ok(());
        }
        let answer = done.answered.as_ref().unwrap_or(&Edn::Nil);
        let (key, value) = keyed(keys, done.line, answer)?;
        if let Some(asked) = done.invoked.as_ref().filter(|_| keys == Keys::Named) {
            same_key(done.line, &keyed(keys, done.line, asked)?.0, &key)?;
        }
        self.show(done, &key, &value)
    }

    fn write(&mut self, keys: Keys, done: &Done) -> Result<(), ReadError> {
        let (key, value) = keyed(keys, done.line, sent(done)?)?;
        self.put(done, &key, &value)
    }

    fn delete(&mut self, keys: Keys, done: &Done) -> Result<(), ReadError> {
        let value = done.invoked.as_ref().or(done.answered.as_ref()).unwrap_or(&Edn::Nil);
        let (key, value) = keyed(keys, done.line, value)?;
        if value != Edn::Nil && done.outcome != Outcome::Ok {
            return Err(wrong(done.line, format!("a delete has the value {value}")));
        }
        self.push(done, vec![part(Action::Delete, &key, None)])
    }

    fn swap(&mut self, keys: Keys, done: &Done) -> Result<(), ReadError> {
        let (key, value) = keyed(keys, done.line, sent(done)?)?;
        let pair = || wrong(done.line, ":cas has neither [old new] nor [key [old new]]");
        let (old, new) = value.pair().ok_or_else(pair)?;
        self.swaps += u64::from(done.outcome != Outcome::Fail);
        match done.outcome {
            Outcome::Ok => {
                self.show(done, &key, old)?;
                self.put(done, &key, new)
            }
            Outcome::Fail => Ok(()),
            Outcome::Unknown => {
                written(done.line, new)?;
                let after = self.last.get(&done.process).cloned();
                let (line, process) = (done.line, done.process.clone());
                self.open_swaps.push(Swap { line, process, key, old: old.clone(), new: new.clone(), after });
                Ok(())
            }
        }
    }

    fn transaction(&mut self, done: &Done) -> Result<(), ReadError> {
        let value = if done.outcome == Outcome::Ok { &done.answered } else { &None };
        let list = |value: &Edn| value.list().map(<[Edn]>::to_vec);
        let value = value.as_ref().or(done.invoked.as_ref()).or(done.answered.as_ref());
        let micros = value.and_then(list).ok_or_else(|| wrong(done.line, "a transaction is [[f key value] ...]"))?;
        if done.outcome == Outcome::Ok
            && let Some(asked) = done.invoked.as_ref().and_then(list)
        {
            same_micros(done.line, &asked, &micros)?;
        }
        let mut parts = Vec::with_capacity(micros.len());
        for micro in &micros {
            let Some([f, key, value]) = micro.list() else {
                return Err(wrong(done.line, format!("{micro} is not of the form [f key value]")));
            };
            match Kind::of(f) {
                Kind::Read if done.outcome == Outcome::Ok && done.answered.is_none() => {
                    return Err(wrong(done.line, "a transaction was answered and does not say what it read"));
                }
                Kind::Read if done.outcome == Outcome::Ok => parts.push(self.shown(done, &key.name(), value)),
                Kind::Read => {}
                Kind::Write => parts.push(put(done, &key.name(), value)?),
                Kind::Delete => parts.push(part(Action::Delete, &key.name(), None)),
                Kind::Cas | Kind::Transaction | Kind::Other => {
                    return Err(refused(&Done { f: f.clone(), ..done.clone() }));
                }
            }
        }
        let settled = self.settled(&parts);
        let gone = settled.is_gone.iter().zip(&parts).filter(|(is_gone, part)| **is_gone && part.action != Action::Get);
        self.overwritten += gone.count() as u64;
        settled.own.iter().for_each(|&at| parts[at].own = true);
        self.push(done, settled.kept().map(|at| parts[at].clone()).collect())
    }

    /// What is left of the operations of a transaction, as of a batch.
    fn settled(&self, parts: &[Operation]) -> Settled {
        let mut names = Names::new();
        let told: Vec<(bool, u32, Option<&str>)> = parts
            .iter()
            .map(|part| (part.action != Action::Get, names.number(&part.key), part.value.as_deref()))
            .collect();
        transactions::settle(&told, &mut Vec::new())
    }

    fn show(&mut self, done: &Done, key: &str, value: &Edn) -> Result<(), ReadError> {
        let shown = self.shown(done, key, value);
        self.push(done, vec![shown])
    }

    fn shown(&mut self, done: &Done, key: &str, value: &Edn) -> Operation {
        if *value == Edn::Nil {
            self.nothing_read.get_or_insert(done.line);
            return part(Action::Get, key, None);
        }
        let text = value.json();
        if value.is_collection() {
            self.collections.entry((key.to_owned(), text.clone())).or_insert(done.line);
        }
        part(Action::Get, key, Some(text))
    }

    fn put(&mut self, done: &Done, key: &str, value: &Edn) -> Result<(), ReadError> {
        self.push(done, vec![put(done, key, value)?])
    }

    /// A step of its process's session: an operation, or the parts of a batch.
    fn push(&mut self, done: &Done, parts: Vec<Operation>) -> Result<(), ReadError> {
        if parts.is_empty() {
            return Ok(());
        }
        let id = self.history.len() as u64;
        let before = self.last.get(&done.process).cloned();
        let token = (done.outcome == Outcome::Ok).then(|| format!("{}.{id}", done.process));
        let filled = |part: Operation| {
            let status = match (part.action, &part.value) {
                _ if done.outcome != Outcome::Ok => 0,
                (Action::Get, None) => 404,
                (Action::Get, Some(_)) => 200,
                // Nothing is said of what was there before.
                (Action::Put | Action::Delete, _) => SILENT,
            };
            let (token_in, token_out) = (before.clone(), token.clone());
            let client = done.process.clone();
            Operation { id, client, status, token_in, token_out, outcome: done.outcome, ..part }
        };
        for operation in Operation::batch(parts.into_iter().map(filled).collect()) {
            self.history.push_at(done.line, &operation).map_err(|malformed| at_line(done.line, &malformed))?;
        }
        if let Some(token) = token {
            self.last.insert(done.process.clone(), token);
        }
        Ok(())
    }

    pub(super) fn finish(mut self, initial: Option<&str>) -> Result<History, ReadError> {
        for done in std::mem::take(&mut self.waiting) {
            self.judge(Keys::Named, &done)?;
        }
        self.finish_swaps()?;
        self.note_initial(initial)?;
        self.refuse_what_is_no_register()?;
        if self.history.is_empty() && self.idle > 0 {
            let warning = format!("{} operations failed, or were reads without an answer", self.idle);
            self.history.warnings.push(warning);
        }
        let warnings = [
            (
                self.given_up,
                "operations were given up by their process, which asked for another; they may have happened",
            ),
            (self.went_on, "times a process went on after an operation of unknown outcome; its session goes on, too"),
            (self.swaps, "compare-and-sets are judged as a read and a write after it"),
            (self.overwritten, "writes were written over by their own transaction; nobody may read them"),
        ];
        for (count, what) in warnings.into_iter().filter(|(count, _)| *count > 0) {
            self.history.warnings.push(format!("{count} {what}"));
        }
        Ok(self.history)
    }

    /// A read of what a compare-and-set of unknown outcome set proves that the swap read what it compared with.
    fn finish_swaps(&mut self) -> Result<(), ReadError> {
        let mut read = BTreeSet::new();
        for at in (0..self.history.len()).filter(|&at| self.history.action[at] == Action::Get) {
            read.insert((self.history.key[at], self.history.value[at]));
        }
        let mut setters: BTreeMap<(u32, u32), Vec<usize>> = BTreeMap::new();
        let swaps = std::mem::take(&mut self.open_swaps);
        let mut happened = vec![false; swaps.len()];
        for (at, swap) in swaps.iter().enumerate() {
            let pair = (self.history.keys.number(&swap.key), self.history.values.number(&swap.new.json()));
            setters.entry(pair).or_default().push(at);
        }
        let mut open: Vec<(u32, u32)> = read.iter().copied().collect();
        while let Some(pair) = open.pop() {
            for at in setters.remove(&pair).unwrap_or_default() {
                happened[at] = true;
                open.push((pair.0, self.history.values.number(&swaps[at].old.json())));
            }
        }
        for (swap, happened) in swaps.into_iter().zip(happened) {
            // Its process may have gone on since.
            match &swap.after {
                Some(after) => _ = self.last.insert(swap.process.clone(), after.clone()),
                None => _ = self.last.remove(&swap.process),
            }
            let (line, process) = (swap.line, swap.process);
            let mut done = Done { line, process, outcome: Outcome::Ok, f: Edn::Nil, invoked: None, answered: None };
            if happened {
                self.show(&done, &swap.key, &swap.old)?;
            }
            done.outcome = Outcome::Unknown;
            self.put(&done, &swap.key, &swap.new)?;
        }
        Ok(())
    }

    /// Reads of what keys begin with are reads of nothing.
    fn note_initial(&mut self, told: Option<&str>) -> Result<(), ReadError> {
        if told == Some("null") {
            return Ok(());
        }
        if let (Some(told), Some(line)) = (told, self.nothing_read) {
            return Err(wrong(line, format!("reads nil, and keys are said to begin with {told}")));
        }
        let Some(value) = self.history.values.find(told.unwrap_or("0")) else { return Ok(()) };
        let history = &mut self.history;
        let has_value = |at: &usize| history.value[*at] == value;
        let is_put = |at: &usize| history.action[*at] == Action::Put && history.outcome[*at] != Outcome::Fail;
        let reads: Vec<usize> =
            (0..history.len()).filter(has_value).filter(|&at| history.action[at] == Action::Get).collect();
        let write = (0..history.len()).filter(has_value).find(is_put).map(|at| history.line(at));
        match (told, write, self.nothing_read) {
            (Some(told), Some(line), _) => {
                let problem = format!("writes {told}, which keys begin with, so a read of it does not say whose it is");
                return Err(wrong(line, problem));
            }
            (None, Some(_), _) | (None, None, Some(_)) => return Ok(()),
            (_, None, _) => {}
        }
        for &at in &reads {
            (history.value[at], history.status[at]) = (NONE, 404);
        }
        if told.is_none() && !reads.is_empty() {
            let count = reads.len();
            let warning =
                format!("0 is taken for what keys begin with: {count} reads return it, and nothing writes it");
            history.warnings.push(warning);
        }
        Ok(())
    }

    fn refuse_what_is_no_register(&self) -> Result<(), ReadError> {
        let history = &self.history;
        let is_put = |at: &usize| history.action[*at] == Action::Put;
        let written: BTreeSet<(u32, u32)> =
            (0..history.len()).filter(is_put).map(|at| (history.key[at], history.value[at])).collect();
        // Registers that hold collections may be read wrongly, too: that is for the judge.
        let kinds: BTreeSet<&str> =
            written.iter().filter_map(|&(_, value)| collection(history.values.text(value))).collect();
        for ((key, text), &line) in &self.collections {
            let is_held = collection(text).is_some_and(|kind| kinds.contains(kind));
            let pair = history.keys.find(key).zip(history.values.find(text));
            if pair.is_none_or(|pair| !written.contains(&pair)) && !is_held && !history.truncated {
                let problem =
                    format!("reads {text}, which nothing writes: this is a set, a list or a bank, and no register");
                return Err(wrong(line, problem));
            }
        }
        let is_read = |&at: &usize| history.action[at] == Action::Get && history.value[at] != NONE;
        if let Some(at) = (0..history.len()).find(is_read).filter(|_| written.is_empty())
            && !history.truncated
        {
            let value = history.values.text(history.value[at]);
            let problem = format!("reads {value}, and no operation of this history writes anything");
            return Err(wrong(history.line(at), problem));
        }
        Ok(())
    }
}

/// A step of a session, of which only this is known yet.
fn part(action: Action, key: &str, value: Option<String>) -> Operation {
    Operation { value, ..Operation::new(0, "", action, key) }
}

fn put(done: &Done, key: &str, value: &Edn) -> Result<Operation, ReadError> {
    written(done.line, value)?;
    Ok(part(Action::Put, key, Some(value.json())))
}

/// The key and the value of an operation.
fn keyed(keys: Keys, line: u32, value: &Edn) -> Result<(String, Edn), ReadError> {
    let inner = untagged(value);
    match keys {
        Keys::One => Ok((REGISTER.into(), value.clone())),
        Keys::Named => {
            // A record of a tuple has its parts by name.
            let parts = inner.entry("key").zip(inner.entry("value")).or(inner.pair());
            let (key, value) = parts.ok_or_else(|| wrong(line, format!("{value} is not of the form [key value]")))?;
            Ok((key.name(), value.clone()))
        }
    }
}

/// The value of a write, which its answer repeats, if it says any.
fn sent(done: &Done) -> Result<&Edn, ReadError> {
    let is_told = |value: &&Edn| **value != Edn::Nil;
    let asked = done.invoked.as_ref().filter(is_told);
    let answered = done.answered.as_ref().filter(is_told).filter(|_| done.outcome == Outcome::Ok || asked.is_none());
    // An answer may name the key alone.
    let is_key = |value: &Edn| untagged(value).pair().is_some_and(|(_, value)| *value == Edn::Nil);
    let answered = answered.filter(|answered| asked.is_none() || !is_key(answered));
    match (asked, answered) {
        (Some(asked), Some(answered)) if untagged(asked) != untagged(answered) => {
            Err(wrong(done.line, format!("asked for {asked}, and the answer says {answered}")))
        }
        (Some(value), _) | (None, Some(value)) => Ok(value),
        (None, None) => Err(wrong(done.line, format!("{} without a value", done.f))),
    }
}

/// What is written must differ from what a read of nothing shows.
fn written(line: u32, value: &Edn) -> Result<(), ReadError> {
    if *value == Edn::Nil {
        return Err(wrong(line, "writes nil, which a read of nothing shows, too"));
    }
    if *value == Edn::Number("##NaN".into()) {
        return Err(wrong(line, "writes ##NaN, which is equal to no value"));
    }
    Ok(())
}

fn same_key(line: u32, asked: &str, answered: &str) -> Result<(), ReadError> {
    if asked == answered {
        return Ok(());
    }
    Err(wrong(line, format!("asked for the key {asked}, and the answer names {answered}")))
}

/// An answered transaction is the one that was asked for, with what it read.
fn same_micros(line: u32, asked: &[Edn], answered: &[Edn]) -> Result<(), ReadError> {
    let is_same = |(asked, answered): (&Edn, &Edn)| match (asked.list(), answered.list()) {
        (Some([f, key, value]), Some([other, at, found])) => {
            f == other && key == at && (Kind::of(f) != Kind::Write || value == found)
        }
        (asked, answered) => asked == answered,
    };
    if asked.len() == answered.len() && asked.iter().zip(answered).all(is_same) {
        return Ok(());
    }
    Err(wrong(line, "the answer is that of another transaction"))
}

fn refused(done: &Done) -> ReadError {
    let what = match belongs_to(&done.f) {
        Some(what) => format!("belongs to {what}"),
        None => "is not known here".into(),
    };
    let f = if done.f == Edn::Nil { "an operation without :f".into() } else { format!("the operation {}", done.f) };
    wrong(done.line, format!("{f} {what}; only reads, writes, deletes and :cas of registers are judged"))
}
