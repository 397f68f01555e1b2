//! One watcher: a stream of changes that goes on at any target.
//!
//! All that it is told up to an id is one moment. So each cut is an event of the history: a read of all keys that changed,
//! and now and then of all that are watched. What the checker cannot see in that is looked at here. Both writes of a batch
//! come in one cut, and in the end the watcher holds what everything reads.

mod held;

use super::Run;
use super::recorder::Pen;
use super::token::{Token, versions};
use crate::console::{clock, nap};
use crate::http::{self, Event, Events, Look, Target};
use held::{Held, Shown};
use hence_checker::history::{Action, Operation};
use hence_checker::random::Draw;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Above this many keys a watcher watches those that begin as one of them does.
const ALL_MAX: usize = 64;

/// A stream that says nothing for so long is left; a comment comes every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// How long the last changes may take once all replicas answer alike.
const LAST_MAX: Duration = Duration::from_secs(10);

/// At most so many complaints of one watcher.
const WRONG_MAX: usize = 5;

/// What every key holds when all is quiet: its value, if it has one.
pub(crate) type Finals = BTreeMap<String, Option<String>>;

/// What came of watchers.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    pub(crate) cuts: u64,
    pub(crate) changes: u64,
    pub(crate) streams: u64,
    pub(crate) resets: u64,
    pub(crate) wrong: Vec<String>,
}

impl Watched {
    /// Both together.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.cuts += other.cuts;
        self.changes += other.changes;
        self.streams += other.streams;
        self.resets += other.resets;
        self.wrong.extend(other.wrong);
        self
    }

    pub(crate) fn print(&self) {
        if self.streams > 0 {
            let Self { cuts, changes, streams, resets, .. } = self;
            say!("watchers were told {changes} changes in {cuts} cuts, over {streams} streams with {resets} resets");
        }
        self.wrong.iter().for_each(|text| say!("WATCHED: {text}"));
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({ "cuts": self.cuts, "changes": self.changes, "streams": self.streams,
            "resets": self.resets, "wrong": self.wrong })
    }
}

/// Asks for what begins like this, after an id or from this past on.
pub(crate) fn request<'a>(
    into: &'a mut Vec<u8>,
    target: &Target,
    prefix: &str,
    id: Option<&str>,
    token: Option<&Token>,
) -> &'a [u8] {
    let mut headers = vec![("accept", "text/event-stream")];
    headers.extend(id.map(|id| ("last-event-id", id)));
    headers.extend(token.map(|token| ("causal-metadata", token.plain())));
    http::request(into, target, "GET", &format!("/kvs?prefix={prefix}"), &headers, None);
    into
}

#[derive(Deserialize)]
struct Told<'a> {
    key: Option<String>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    etag: Option<String>,
    #[serde(default)]
    lost: bool,
}

/// A watcher of a run.
pub(crate) struct Watcher<'a> {
    run: &'a Run,
    pen: Pen<'a>,
    draw: Draw,
    name: String,
    at: usize,
    prefix: String,
    keys: BTreeSet<&'a str>,
    /// The past of what was recorded last, or of the stream's beginning.
    token: Option<Token>,
    id: Option<String>,
    held: Held,
    watched: Watched,
}

impl<'a> Watcher<'a> {
    pub(crate) fn new(run: &'a Run, number: u64, mut draw: Draw) -> Self {
        let prefix = match run.keys.len() {
            0..=ALL_MAX => format!("{}-", run.prefix),
            more => run.keys[draw.below(more as u64) as usize].clone(),
        };
        let keys = run.keys.iter().map(String::as_str).filter(|key| key.starts_with(&prefix)).collect();
        Self {
            run,
            pen: run.recorder.pen(),
            draw,
            name: format!("w{number}"),
            at: number as usize % run.targets.len(),
            prefix,
            keys,
            token: None,
            id: None,
            held: Held::default(),
            watched: Watched::default(),
        }
    }

    /// Watches until all is quiet, and then until it holds what everything reads.
    pub(crate) fn work(mut self) -> Watched {
        let mut bytes = Vec::new();
        let mut since = None;
        while !self.is_over(&mut since) {
            if self.id.is_none() {
                self.token = self.run.peek(self.draw.word() as usize).filter(Token::fits_a_header);
                self.held.clear();
            }
            self.held.go_back();
            let (id, target) = (self.id.as_deref(), &self.run.targets[self.at]);
            let token = self.token.as_ref().filter(|_| id.is_none());
            let asked = request(&mut bytes, target, &self.prefix, id, token);
            if let Ok(Ok(events)) = Events::open(target, self.run.patience, asked) {
                self.watched.streams += 1;
                self.follow(events, &mut since);
            }
            self.at = self.draw.below(self.run.targets.len() as u64) as usize;
            nap(Duration::from_millis(20));
        }
        Watched { cuts: self.held.cuts, changes: self.held.changes, ..self.watched }
    }

    /// Takes events in until the stream is over, or it is time to go on elsewhere.
    fn follow(&mut self, mut events: Events, since: &mut Option<Instant>) {
        let mut heard = clock();
        loop {
            match events.look() {
                Look::Event(event) => {
                    heard = clock();
                    self.take(event);
                    if self.draw.chance(1_000) {
                        return; // it goes on at another target
                    }
                }
                Look::Quiet if heard.elapsed() > SILENCE_MAX => return,
                Look::Quiet => {}
                Look::Over => return,
            }
            if self.is_over(since) {
                return;
            }
        }
    }

    /// All is quiet, and it holds what everything reads or had its time for that.
    fn is_over(&mut self, since: &mut Option<Instant>) -> bool {
        let run = self.run;
        let Some(finals) = run.finals.get() else { return false };
        // A run that does not settle has other things to say.
        let Some(finals) = finals else { return true };
        let shown = |key: &str| self.held.shown(key).map(|shown| &shown.value);
        let expected = |key: &str| finals.get(key).and_then(Option::as_ref);
        let missed = self.keys.iter().find(|key| shown(key) != expected(key));
        let Some(missed) = missed.filter(|_| since.get_or_insert_with(clock).elapsed() > LAST_MAX) else {
            return missed.is_none();
        };
        let text = |value: Option<&String>| value.map_or_else(|| "nothing".to_owned(), String::clone);
        let (told, read) = (text(shown(missed)), text(expected(missed)));
        let (name, address) = (&self.name, &run.targets[self.at].address);
        self.watched.wrong.push(format!("{missed} is {read}, and {name} was told {told}, last by {address}"));
        true
    }

    fn take(&mut self, event: Event) {
        let told: Told<'_> = match serde_json::from_str(&event.data) {
            Ok(told) => told,
            Err(_) if event.data.is_empty() => Told { key: None, value: None, etag: None, lost: false },
            Err(error) => return self.complain(|name| format!("{name} was told {event:?}: {error}")),
        };
        match (&*event.name, told.key) {
            ("put", Some(key)) => {
                let value = told.value.map(|value| value.get().to_owned()).unwrap_or_default();
                let versions = told.etag.as_deref().map(versions).unwrap_or_default();
                self.held.tell(key, Some(Shown { value, versions }));
            }
            ("delete", Some(key)) => self.held.tell(key, None),
            ("reset", _) => {
                self.watched.resets += 1;
                self.held.clear();
                // What was lost is in no past any more.
                self.token = self.token.take().filter(|_| !told.lost);
            }
            _ => {}
        }
        let Some(id) = event.id else { return };
        let is_whole = event.name == "synced";
        if is_whole || self.held.is_complete {
            self.cut(&id, is_whole);
        }
        self.id = Some(id);
    }

    /// What was told until here is one moment.
    fn cut(&mut self, id: &str, is_whole: bool) {
        let (changed, late) = self.held.cut();
        late.into_iter().for_each(|late| self.complain(|name| format!("{name} was told {late}")));
        let all = is_whole || self.draw.chance(15_625);
        let read: Vec<&str> = self.keys.iter().copied().filter(|key| all || changed.contains(*key)).collect();
        let mut parts: Vec<Operation> = read.into_iter().map(|key| self.part(key)).collect();
        let token = id.split('~').nth(1).and_then(Token::of_header);
        let (Some(first), Some(token)) = (parts.first_mut(), token) else { return };
        first.id = self.pen.next_id();
        first.replica.clone_from(&self.run.targets[self.at].address);
        first.token_in = self.token.as_ref().map(|token| token.plain().to_owned());
        first.token_out = Some(token.plain().to_owned());
        first.return_ns = Some(self.run.recorder.now_ns());
        if !self.pen.ended_event(&mut Operation::batch(parts)) {
            return self.complain(|name| format!("{name} was told what no history can hold, up to {id}"));
        }
        if self.draw.chance(50_000) {
            self.run.offer(self.draw.word() as usize, token.clone());
        }
        self.token = Some(token);
    }

    /// What a key shows now, as a read of it.
    fn part(&self, key: &str) -> Operation {
        let mut part = Operation::new(0, &self.name, Action::Get, key);
        part.status = 404;
        if let Some(Shown { value, versions }) = self.held.shown(key).cloned() {
            (part.status, part.value, part.shown) = (200, Some(value), Some(versions));
        }
        part
    }

    fn complain(&mut self, text: impl FnOnce(&str) -> String) {
        if self.watched.wrong.len() < WRONG_MAX {
            self.watched.wrong.push(text(&self.name));
        }
    }
}
