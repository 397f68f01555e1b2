//! The end of a run: everything is healed, and the replicas must come to agree.
//!
//! First every token that a client still holds is merged into one, where the target can do that. Elsewhere one token is
//! carried through a read of every key. Then all keys are read everywhere until the answers are equal and no replica
//! refuses, or patience ends. The last such round stands in the history; the checker calls it final where its token
//! covers every answered write of the key.

use super::Run;
use super::client::{fill, method};
use super::recorder::Pen;
use super::token::{Said, Token, versions};
use super::watcher::Finals;
use crate::console::{clock, nap};
use crate::http::{self, Connection};
use hence_checker::history::{Action, Operation, Outcome};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// At most so many complaints are printed.
const SHOWN_MAX: usize = 5;

/// How long an interrupted run waits at most.
const HURRIED: Duration = Duration::from_secs(5);

/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(200);

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    /// What every key holds, where all replicas said the same.
    finals: Finals,
    /// Keys that replicas still showed differently, with what they showed.
    differ: Vec<String>,
    /// Reads that were still refused.
    refused: Vec<String>,
    /// Tokens that were merged.
    merged: usize,
    /// Tokens whose dependencies were lost with their only holders: answered 424.
    lost: usize,
    /// Tokens that were refused until patience ended.
    stuck: usize,
    took: Duration,
}

impl Closing {
    /// What every key holds, if all replicas answered alike.
    pub(crate) fn finals(&self) -> Option<Finals> {
        self.is_settled().then(|| self.finals.clone())
    }

    /// All replicas answered, and alike.
    pub(crate) const fn is_settled(&self) -> bool {
        self.differ.is_empty() && self.refused.is_empty() && self.stuck == 0
    }

    pub(crate) fn print(&self) {
        let took = self.took.as_secs_f64();
        let lost = if self.lost > 0 { format!(", {} of lost writes (424)", self.lost) } else { String::new() };
        say!("final reads after {took:.1} s; {} tokens merged{lost}", self.merged);
        if self.stuck > 0 {
            say!("REFUSED: {} tokens of earlier answers were refused until the end", self.stuck);
        }
        for (name, list) in [("REFUSED", &self.refused), ("DIFFERENT", &self.differ)] {
            for text in list.iter().take(SHOWN_MAX) {
                say!("{name}: {text}");
            }
            if list.len() > SHOWN_MAX {
                say!("{name}: {} more", list.len() - SHOWN_MAX);
            }
        }
        if self.is_settled() {
            say!("all replicas answer alike");
        }
    }
}

struct Reader<'a> {
    run: &'a Run,
    pen: Pen<'a>,
    connections: Vec<Connection>,
    token: Option<Token>,
    request: Vec<u8>,
    /// When the closing began, and how long replicas have from then on.
    begun: Instant,
    patience: Duration,
    /// Since when the operator waits.
    hurried: Option<Instant>,
}

/// Waits for quiet, reads everything everywhere, and says how that went.
pub(crate) fn close(run: &Run, ends: Vec<Token>, patience: Duration) -> Closing {
    let begun = clock();
    let connect = |target: &http::Target| Connection::new(target.clone(), run.patience);
    let connections = run.targets.iter().map(connect).collect();
    let mut reader = Reader {
        run,
        pen: run.recorder.pen(),
        connections,
        token: None,
        request: Vec::new(),
        begun,
        patience,
        hurried: None,
    };
    let mut closing = Closing::default();
    if run.abilities.header {
        reader.merge(ends, &mut closing);
    } else {
        reader.carry();
    }
    loop {
        let round = reader.round(false);
        if round.iter().all(|(_, shown)| agree(shown)) || reader.is_late() {
            break;
        }
        nap(PAUSE);
    }
    for (key, shown) in reader.round(true) {
        let refused = shown.iter().enumerate().filter_map(|(at, shown)| shown.as_ref().err().map(|why| (at, why)));
        let refused = refused.map(|(at, why)| format!("{} of {key} at {}: {why}", "GET", run.targets[at].address));
        let refused: Vec<String> = refused.collect();
        closing.finals.insert(key.clone(), shown[0].clone().unwrap_or_default());
        if refused.is_empty() && !agree(&shown) {
            let each = shown.iter().zip(&run.targets);
            let each = each.map(|(shown, target)| {
                let text = shown.as_ref().ok().and_then(Option::as_deref).unwrap_or("nothing");
                format!("{text} at {}", target.address)
            });
            closing.differ.push(format!("{key} is {}", each.collect::<Vec<_>>().join(", ")));
        }
        closing.refused.extend(refused);
    }
    closing.took = begun.elapsed();
    closing
}

/// What a replica showed: a value or nothing, or why it showed neither.
type Shown = Result<Option<String>, String>;

fn agree(shown: &[Shown]) -> bool {
    shown.iter().all(|one| one.is_ok() && *one == shown[0])
}

impl Reader<'_> {
    /// Replicas had their time; after a signal that is little.
    fn is_late(&mut self) -> bool {
        self.begun.elapsed() > self.patience || self.is_hurried_for(HURRIED)
    }

    /// A signal came so long ago.
    fn is_hurried_for(&mut self, time: Duration) -> bool {
        if self.hurried.is_none() && self.run.is_interrupted() {
            self.hurried = Some(clock());
        }
        self.hurried.is_some_and(|since| since.elapsed() > time)
    }

    /// Merges all tokens into one, each by a read.
    fn merge(&mut self, ends: Vec<Token>, closing: &mut Closing) {
        let mut waiting: VecDeque<Token> = ends.into_iter().filter(Token::fits_a_header).collect();
        let (mut at, mut since) = (0, 0);
        while let Some(token) = waiting.pop_front() {
            if self.is_late() {
                closing.stuck = waiting.len() + 1;
                return;
            }
            let key = self.run.keys[0].clone();
            match self.read(at, &key, Some(&token), true) {
                (200 | 404, said) => {
                    self.token = said.token.or_else(|| self.token.take());
                    closing.merged += 1;
                    since = 0;
                }
                (424, _) => {
                    closing.lost += 1;
                    since = 0;
                }
                _ => {
                    waiting.push_back(token);
                    at = (at + 1) % self.run.targets.len();
                    since += 1;
                    // Every replica refused everything: give them time.
                    if since > waiting.len() * self.run.targets.len() {
                        nap(PAUSE);
                        since = 0;
                    }
                }
            }
        }
    }

    /// Carries one token through all keys at all replicas.
    fn carry(&mut self) {
        for at in 0..self.run.targets.len() {
            for key in &self.run.keys {
                if let (200 | 404, said) = self.read(at, key, None, true) {
                    self.token = said.token.or_else(|| self.token.take());
                }
            }
        }
    }

    /// Reads all keys everywhere.
    fn round(&mut self, is_recorded: bool) -> Vec<(String, Vec<Shown>)> {
        let run = self.run;
        let everywhere = |key: &String| {
            let shown = (0..run.targets.len()).map(|at| match self.read(at, key, None, is_recorded) {
                (200, said) => Ok(said.value),
                (404, _) => Ok(None),
                (0, _) if self.is_hurried_for(HURRIED * 2) => Err("not waited for after the signal".into()),
                (0, _) => Err("no answer".into()),
                (status, _) => Err(format!("{status}")),
            });
            (key.clone(), shown.collect())
        };
        run.keys.iter().map(everywhere).collect()
    }

    /// One read; the status is 0 where there is no answer.
    fn read(&mut self, at: usize, key: &str, merged: Option<&Token>, is_recorded: bool) -> (u16, Said) {
        let run = self.run;
        // The last round has some time of its own.
        if self.is_hurried_for(HURRIED * 2) {
            return (0, Said::default());
        }
        let mut operation = Operation::new(self.pen.next_id(), "closing", Action::Get, key);
        operation.replica.clone_from(&run.targets[at].address);
        operation.token_in = self.token.as_ref().map(|token| token.plain().to_owned());
        operation.merged_from = merged.iter().map(|token| token.plain().to_owned()).collect();
        operation.call_ns = Some(run.recorder.now_ns());
        let body = format!("{{\"causal-metadata\":{}}}", self.token.as_ref().map_or("null", Token::json));
        let query = if run.abilities.siblings { "?siblings=true" } else { "" };
        let mut headers = vec![("content-type", "application/json"), ("prefer", "wait=1")];
        headers.extend(merged.map(|token| ("causal-metadata", token.plain())));
        let path = format!("/kvs/{key}{query}");
        let method = method(Action::Get);
        http::request(&mut self.request, &run.targets[at], method, &path, &headers, Some(body.as_bytes()));
        let Ok(answer) = self.connections[at].exchange(&self.request, false) else { return (0, Said::default()) };
        let said = Said::by(&answer);
        operation.status = answer.status;
        let is_odd =
            !fill(&mut operation, &said, answer.header("causal-superseded").map(versions), run.abilities.exact);
        operation.return_ns = Some(run.recorder.now_ns());
        if is_recorded {
            self.pen.ended(&mut operation);
        }
        let is_usable = !is_odd && operation.outcome == Outcome::Ok;
        (if is_usable { operation.status } else { 0 }, said)
    }
}
