//! One client: a thread with a connection to every target and a session, a token, that moves between them.
//!
//! Sessions fork: an older token is used again. They merge: two tokens are sent, one in the body and one in the header,
//! where the target understands the header. They are dropped (no token), and handed over to other clients. Whatever
//! would leave a write behind goes to the client's loose ends, which are merged later or by the closing reads.

mod several;

use super::recorder::Pen;
use super::tally::Ending;
use super::token::{Said, Token, versions};
use super::{Kind, Run};
use crate::console::{clock, nap};
use crate::http::{self, Connection, NoAnswer};
use hence_checker::history::{Action, Operation, Outcome};
use hence_checker::random::Draw;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Older tokens of the session that may be used again.
const KEPT_MAX: usize = 8;

/// At this many loose ends a session no longer forks or drops its token.
const ENDS_MAX: usize = 10_000;

/// After so many refusals on end the session is given up and a new one begins.
const REFUSED_MAX: u32 = 20;

/// What a request carries beside its action.
#[derive(Debug, Default)]
struct Extras {
    query: &'static str,
    header: Option<(&'static str, String)>,
    merged: Option<Token>,
}

/// A client of a run.
pub(crate) struct Client<'a> {
    run: &'a Run,
    pen: Pen<'a>,
    draw: Draw,
    name: String,
    connections: Vec<Connection>,
    at: usize,
    token: Option<Token>,
    kept: VecDeque<Token>,
    ends: Vec<Token>,
    etags: BTreeMap<usize, String>,
    values: u64,
    refused: u32,
    request: Vec<u8>,
}

impl<'a> Client<'a> {
    pub(crate) fn new(run: &'a Run, number: u64, draw: Draw) -> Self {
        let connect = |target: &http::Target| Connection::new(target.clone(), run.patience);
        Self {
            run,
            pen: run.recorder.pen(),
            draw,
            name: format!("c{number}"),
            connections: run.targets.iter().map(connect).collect(),
            at: number as usize % run.targets.len(),
            token: None,
            kept: VecDeque::new(),
            ends: Vec::new(),
            etags: BTreeMap::new(),
            values: 0,
            refused: 0,
            request: Vec::new(),
        }
    }

    /// Works until the run stops; returns every token that no other client carries on.
    pub(crate) fn work(mut self) -> Vec<Token> {
        let begun = clock();
        let mut turn = 0_u32;
        while !self.run.is_stopped() {
            if let Some(interval) = self.run.interval {
                self.run.wait((interval.saturating_mul(turn)).saturating_sub(begun.elapsed()));
                turn = turn.saturating_add(1);
                if self.run.is_stopped() {
                    break;
                }
            }
            let merged = self.change_session();
            if self.draw.chance(300_000) {
                self.move_on();
            }
            self.ask(merged);
            if self.refused > 0 {
                self.move_on();
                nap(Duration::from_millis(1 << self.refused.min(6)));
            }
            if self.refused >= REFUSED_MAX {
                self.ends.extend(self.token.take());
                self.refused = 0;
            }
        }
        self.ends.extend(self.token.take());
        self.ends
    }

    fn move_on(&mut self) {
        self.at = self.draw.below(self.run.targets.len() as u64) as usize;
    }

    /// Forks, drops or hands over the session, or picks a token to merge into it.
    fn change_session(&mut self) -> Option<Token> {
        let roll = self.draw.below(1_000);
        match roll {
            0..20 if self.ends.len() < ENDS_MAX => {
                let older = self.kept.get(self.draw.below(self.kept.len() as u64) as usize).cloned();
                self.ends.extend(std::mem::replace(&mut self.token, older));
            }
            20..30 if self.ends.len() < ENDS_MAX => self.ends.extend(self.token.take()),
            30..70 => self.token = self.run.hand_over(self.draw.word() as usize, self.token.take()),
            70..120 if self.run.abilities.header => {
                let other = self.ends.pop().or_else(|| self.run.hand_over(self.draw.word() as usize, None));
                let (fits, not) = other.into_iter().partition::<Vec<_>, _>(Token::fits_a_header);
                self.ends.extend(not);
                return fits.into_iter().next();
            }
            120..180 => {
                self.kept.extend(self.token.clone());
                if self.kept.len() > KEPT_MAX {
                    self.kept.pop_front();
                }
            }
            _ => {}
        }
        None
    }

    fn ask(&mut self, merged: Option<Token>) {
        let kind = self.run.mix.draw(&mut self.draw);
        if kind == Kind::Batch && self.run.abilities.batches {
            return self.ask_batch(merged);
        }
        if kind == Kind::List && self.run.abilities.lists {
            return self.ask_list(merged);
        }
        let keys = self.run.keys.len() as u64;
        // Of two draws the lower: some keys are hot.
        let key = self.draw.below(keys).min(self.draw.below(keys)) as usize;
        let (action, mut extras) = self.choose(kind, key);
        extras.merged = merged;
        let value = (action == Action::Put).then(|| self.next_value());
        let mut operation = Operation::new(self.pen.next_id(), &self.name, action, &self.run.keys[key]);
        operation.replica.clone_from(&self.run.targets[self.at].address);
        operation.value = value;
        operation.token_in = self.token.as_ref().map(|token| token.plain().to_owned());
        operation.merged_from = extras.merged.iter().map(|token| token.plain().to_owned()).collect();
        operation.call_ns = Some(self.run.recorder.now_ns());
        if action != Action::Get && !self.pen.sent(&operation) {
            self.ends.extend(extras.merged);
            return;
        }
        self.write_request(&operation, &extras);
        let merged = extras.merged.clone();
        if !self.exchange(&mut operation, key) {
            self.ends.extend(merged);
        }
    }

    /// A value that no other request writes.
    fn next_value(&mut self) -> String {
        self.values += 1;
        format!("\"{}-{}\"", self.name, self.values)
    }

    fn choose(&mut self, kind: Kind, key: usize) -> (Action, Extras) {
        let abilities = self.run.abilities;
        let extra = |header: &'static str, value: String| Extras { header: Some((header, value)), ..Extras::default() };
        match kind {
            Kind::Put => (Action::Put, Extras::default()),
            Kind::Delete => (Action::Delete, Extras::default()),
            Kind::Siblings if abilities.siblings => {
                (Action::Get, Extras { query: "?siblings=true", ..Extras::default() })
            }
            Kind::Conditional if abilities.exact => match (self.draw.below(4), self.etags.get(&key)) {
                (0, Some(etag)) => (Action::Get, extra("if-none-match", etag.clone())),
                (1, Some(etag)) => (Action::Delete, extra("if-match", etag.clone())),
                (2, Some(etag)) => (Action::Put, extra("if-match", etag.clone())),
                _ => (Action::Put, extra("if-none-match", "*".into())),
            },
            Kind::Wait => (Action::Get, extra("prefer", "wait=1".into())),
            Kind::Get | Kind::Siblings | Kind::Conditional | Kind::Batch | Kind::List => {
                (Action::Get, Extras::default())
            }
        }
    }

    fn write_request(&mut self, operation: &Operation, extras: &Extras) {
        let metadata = self.token.as_ref().map_or("null", Token::json);
        let body = match &operation.value {
            Some(value) => format!("{{\"value\":{value},\"causal-metadata\":{metadata}}}"),
            None => format!("{{\"causal-metadata\":{metadata}}}"),
        };
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(extras.header.iter().map(|(name, value)| (*name, value.as_str())));
        headers.extend(extras.merged.iter().map(|token| ("causal-metadata", token.plain())));
        let path = format!("/kvs/{}{}", operation.key, extras.query);
        let target = &self.run.targets[self.at];
        http::request(&mut self.request, target, method(operation.action), &path, &headers, Some(body.as_bytes()));
    }

    /// Sends what is written, records how it ended, and goes on from there; says whether the answer carries all
    /// tokens that were sent.
    fn exchange(&mut self, operation: &mut Operation, key: usize) -> bool {
        let (run, at) = (self.run, self.at);
        let answer = match self.connections[at].exchange(&self.request, false) {
            Ok(answer) => answer,
            Err(error) => {
                self.note_missing(operation, &error);
                return false;
            }
        };
        let said = Said::by(&answer);
        let superseded = answer.header("causal-superseded").map(versions);
        operation.status = answer.status;
        let is_odd = !fill(operation, &said, superseded, run.abilities.exact);
        let ending = ending(operation.status, is_odd);
        if ending == Ending::Odd {
            let body = String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]).into_owned();
            let (action, key, address) = (method(operation.action), &operation.key, &run.targets[at].address);
            run.tally.odd(|| format!("{action} /kvs/{key} at {address} answered {} {body}", operation.status));
        }
        operation.return_ns = Some(run.recorder.now_ns());
        let is_recorded = self.pen.ended(operation);
        run.tally.count(at, if is_recorded { ending } else { Ending::Odd });
        if let (Some(etag), 200 | 201) = (said.etag, operation.status) {
            self.etags.insert(key, etag);
        }
        self.go_on(ending, said.token, !operation.merged_from.is_empty())
    }

    /// What the session carries after an answer; says whether it carries what was merged.
    fn go_on(&mut self, ending: Ending, token: Option<Token>, has_merged: bool) -> bool {
        self.refused = if ending == Ending::Refused { self.refused + 1 } else { 0 };
        match ending {
            Ending::Answered | Ending::Precondition => {
                let is_carried = token.is_some() || !has_merged;
                self.token = token.or_else(|| self.token.take());
                is_carried
            }
            // With a merged token it is not known whose dependency is lost: this session goes on without the other.
            Ending::LostDependency if has_merged => true,
            Ending::LostDependency => {
                self.token = token;
                true
            }
            Ending::Refused | Ending::Odd | Ending::Unknown | Ending::NotSent => !has_merged,
        }
    }

    fn note_missing(&mut self, operation: &mut Operation, error: &NoAnswer) {
        let (outcome, ending) = missing(error);
        operation.outcome = outcome;
        self.run.tally.count(self.at, ending);
        self.refused += 1;
        if operation.action != Action::Get {
            self.pen.ended(operation);
        }
    }
}

/// How a request ended that has no answer.
const fn missing(error: &NoAnswer) -> (Outcome, Ending) {
    match error {
        NoAnswer::NotSent(_) => (Outcome::Fail, Ending::NotSent),
        NoAnswer::Lost(_) | NoAnswer::TimedOut(_) => (Outcome::Unknown, Ending::Unknown),
    }
}

/// The method of an action.
pub(crate) const fn method(action: Action) -> &'static str {
    match action {
        Action::Get => "GET",
        Action::Put => "PUT",
        Action::Delete => "DELETE",
    }
}

const fn ending(status: u16, is_odd: bool) -> Ending {
    match status {
        _ if is_odd => Ending::Odd,
        200 | 201 | 304 | 404 => Ending::Answered,
        412 => Ending::Precondition,
        424 => Ending::LostDependency,
        503 => Ending::Refused,
        _ => Ending::Odd,
    }
}

/// Takes over what an answer says, as far as its status gives it a meaning. Returns `false` when a GET found something
/// and does not say what. Of such an answer only the token can be used.
pub(crate) fn fill(operation: &mut Operation, said: &Said, superseded: Option<Vec<String>>, exact: bool) -> bool {
    operation.token_out = said.token.as_ref().map(|token| token.plain().to_owned());
    let shown = || said.etag.as_deref().filter(|_| exact).map(versions);
    match (operation.action, operation.status) {
        (Action::Get, 200) if said.value.is_none() => {
            operation.outcome = Outcome::Unknown;
            operation.token_out = None;
            return false;
        }
        (Action::Get, 200) => {
            operation.value.clone_from(&said.value);
            operation.siblings.clone_from(&said.siblings);
            operation.shown = shown();
        }
        (Action::Get, 304) => operation.shown = shown(),
        (Action::Put, 200 | 201) => {
            operation.shown = shown().filter(|versions| versions.len() == 1);
            operation.superseded = superseded.filter(|_| exact);
        }
        (Action::Delete, 200) => operation.superseded = superseded.filter(|_| exact),
        _ => {}
    }
    true
}
