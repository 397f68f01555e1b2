//! Records what clients ask and get, call by call, and judges it: the checker as a library, beside the file formats.
//!
//! ```
//! use hence_checker::recorder::{Recorder, Response};
//! use hence_checker::{Options, Verdict};
//!
//! let mut recorder = Recorder::new();
//! let write = recorder.on_invoke_put("ann", "x", "1", None);
//! recorder.on_return(write, Response::created().token("t1"))?;
//!
//! // Ann's next request carries the token of her write and misses what she wrote.
//! let read = recorder.on_invoke_get("ann", "x", Some("t1"));
//! recorder.on_return(read, Response::absent().token("t1"))?;
//!
//! let report = recorder.judge(Options::default())?;
//! assert!(report.is_broken());
//! assert_eq!(report.verdict(hence_checker::Level::Causal), Verdict::Broken);
//! # Ok::<(), hence_checker::recorder::Error>(())
//! ```
//!
//! A batch is one request with several parts, and one event:
//!
//! ```
//! use hence_checker::recorder::{Part, Recorder, Response};
//! use hence_checker::{Level, Options, Verdict};
//!
//! let mut recorder = Recorder::new();
//! let write = recorder.on_invoke_batch("ann", &[Part::Put("x", "1"), Part::Put("y", "1")], None);
//! recorder.on_return(write, Response::batch([Response::created(), Response::created()]).token("t1"))?;
//!
//! // Bob sees one half of it.
//! let read = recorder.on_invoke_batch("bob", &[Part::Get("x"), Part::Get("y")], None);
//! recorder.on_return(read, Response::batch([Response::found(["1"]), Response::absent()]).token("t2"))?;
//!
//! let report = recorder.judge(Options::default())?;
//! assert_eq!(report.verdict(Level::Causal), Verdict::Broken);
//! # Ok::<(), hence_checker::recorder::Error>(())
//! ```

use crate::history::History;
use crate::history::operation::{Action, Malformed, Operation, Outcome};
use crate::judge::judge;
use crate::report::{Options, Report};
use crate::terms::Unreadable;
use std::collections::BTreeMap;
use std::fmt;

/// Names a request that was recorded and has not been answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    status: u16,
    replica: String,
    siblings: Vec<String>,
    token: Option<String>,
    /// Of the parts of a batch that took place.
    results: Vec<Self>,
}

impl Response {
    fn of(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// A read found this value, or these concurrent ones, the winner first.
    #[must_use]
    pub fn found<T: Into<String>>(values: impl IntoIterator<Item = T>) -> Self {
        Self { siblings: values.into_iter().map(Into::into).collect(), ..Self::of(200) }
    }

    /// A read or delete found nothing.
    #[must_use]
    pub fn absent() -> Self {
        Self::of(404)
    }

    /// A write made a value where none was.
    #[must_use]
    pub fn created() -> Self {
        Self::of(201)
    }

    /// A write replaced a value, or a delete removed one.
    #[must_use]
    pub fn replaced() -> Self {
        Self::of(200)
    }

    /// A batch took place, and each of its parts was answered like this, in order. The token and the replica are those of
    /// the batch.
    #[must_use]
    pub fn batch(results: impl IntoIterator<Item = Self>) -> Self {
        Self { results: results.into_iter().collect(), ..Self::of(200) }
    }

    /// The store refused the request and did nothing.
    #[must_use]
    pub fn refused() -> Self {
        Self::of(503)
    }

    /// The token that came back.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The replica that answered.
    #[must_use]
    pub fn replica(mut self, replica: impl Into<String>) -> Self {
        self.replica = replica.into();
        self
    }
}

/// Why what was recorded cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The ticket is not that of an open request.
    NotOpen(Ticket),
    /// The operation cannot stand in a history.
    Malformed(Malformed),
    /// The history as a whole cannot be read.
    Unreadable(Unreadable),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpen(Ticket(id)) => write!(f, "request {id} is not open: it was answered, or never recorded here"),
            Self::Malformed(why) => why.fmt(f),
            Self::Unreadable(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<Malformed> for Error {
    fn from(why: Malformed) -> Self {
        Self::Malformed(why)
    }
}

impl From<Unreadable> for Error {
    fn from(why: Unreadable) -> Self {
        Self::Unreadable(why)
    }
}

/// What a part of a batch asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// Read this key.
    Get(&'a str),
    /// Write this key: the value comes second, and differs from the others that are written to the key.
    Put(&'a str, &'a str),
    /// Delete this key.
    Delete(&'a str),
}

/// A history under construction. Calls come in the order in which things happened.
#[derive(Debug, Default)]
pub struct Recorder {
    history: History,
    /// Requests without an answer: one operation, or the parts of a batch.
    open: BTreeMap<Ticket, Vec<Operation>>,
    issued: u64,
}

impl Recorder {
    /// Nothing recorded yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A client asks for a key, with this token if it has one.
    pub fn on_invoke_get(&mut self, client: &str, key: &str, token: Option<&str>) -> Ticket {
        self.on_invoke_batch(client, &[Part::Get(key)], token)
    }

    /// A client writes a value. The values that are written to one key differ from each other.
    pub fn on_invoke_put(&mut self, client: &str, key: &str, value: &str, token: Option<&str>) -> Ticket {
        self.on_invoke_batch(client, &[Part::Put(key, value)], token)
    }

    /// A client deletes a key.
    pub fn on_invoke_delete(&mut self, client: &str, key: &str, token: Option<&str>) -> Ticket {
        self.on_invoke_batch(client, &[Part::Delete(key)], token)
    }

    /// A client asks for several things at once, which take place together or not at all. The reads among them look at what
    /// was before. A batch of one part is that operation.
    pub fn on_invoke_batch(&mut self, client: &str, parts: &[Part<'_>], token: Option<&str>) -> Ticket {
        let ticket = Ticket(self.issued);
        self.issued += 1;
        let operation = |part: &Part<'_>| {
            let (action, key, value) = match *part {
                Part::Get(key) => (Action::Get, key, None),
                Part::Put(key, value) => (Action::Put, key, Some(value)),
                Part::Delete(key) => (Action::Delete, key, None),
            };
            Operation {
                value: value.map(Into::into),
                token_in: token.map(Into::into),
                outcome: Outcome::Unknown,
                ..Operation::new(ticket.0, client, action, key)
            }
        };
        self.open.insert(ticket, Operation::batch(parts.iter().map(operation).collect()));
        ticket
    }

    /// The answer to a request arrived.
    ///
    /// # Errors
    ///
    /// [`Error::NotOpen`] for a ticket that was answered already; [`Error::Malformed`] if the answer does not fit the request.
    pub fn on_return(&mut self, ticket: Ticket, mut response: Response) -> Result<(), Error> {
        let mut parts = self.open.remove(&ticket).ok_or(Error::NotOpen(ticket))?;
        let results = std::mem::take(&mut response.results);
        if !results.is_empty() && results.len() != parts.len() {
            return Err(Malformed::Contradiction("a batch is answered by one result for each of its parts").into());
        }
        for (at, part) in parts.iter_mut().enumerate() {
            let result = results.get(at).unwrap_or(&response);
            part.outcome = if response.status == 503 { Outcome::Fail } else { Outcome::Ok };
            part.status = result.status;
            part.replica.clone_from(&response.replica);
            part.token_out.clone_from(&response.token);
            if part.action == Action::Get {
                part.value = result.siblings.first().cloned();
                part.siblings = (result.siblings.len() > 1).then(|| result.siblings.clone());
            }
        }
        // A batch of which some part cannot stand in a history leaves no other behind.
        History::of(&parts).map_err(|(_, malformed)| malformed)?;
        Ok(parts.iter().try_for_each(|part| self.history.push(part))?)
    }

    /// What was recorded so far. A request without an answer may have happened or not.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if an open request cannot stand in a history: it sends a token that no answer carried.
    pub fn history(self) -> Result<History, Error> {
        let Self { mut history, open, .. } = self;
        open.values().flatten().try_for_each(|operation| history.push(operation))?;
        Ok(history)
    }

    /// The verdict on what was recorded.
    ///
    /// # Errors
    ///
    /// Those of [`Self::history`], and [`Error::Unreadable`] where the history as a whole contradicts itself.
    pub fn judge(self, options: Options) -> Result<Report, Error> {
        Ok(judge(&self.history()?, options)?)
    }
}
