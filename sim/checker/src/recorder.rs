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

/// A history under construction. Calls come in the order in which things happened.
#[derive(Debug, Default)]
pub struct Recorder {
    history: History,
    open: BTreeMap<Ticket, Operation>,
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
        self.on_invoke(client, Action::Get, key, None, token)
    }

    /// A client writes a value. The values that are written to one key differ from each other.
    pub fn on_invoke_put(&mut self, client: &str, key: &str, value: &str, token: Option<&str>) -> Ticket {
        self.on_invoke(client, Action::Put, key, Some(value), token)
    }

    /// A client deletes a key.
    pub fn on_invoke_delete(&mut self, client: &str, key: &str, token: Option<&str>) -> Ticket {
        self.on_invoke(client, Action::Delete, key, None, token)
    }

    fn on_invoke(
        &mut self,
        client: &str,
        action: Action,
        key: &str,
        value: Option<&str>,
        token: Option<&str>,
    ) -> Ticket {
        let ticket = Ticket(self.issued);
        self.issued += 1;
        let operation = Operation {
            value: value.map(Into::into),
            token_in: token.map(Into::into),
            outcome: Outcome::Unknown,
            ..Operation::new(ticket.0, client, action, key)
        };
        self.open.insert(ticket, operation);
        ticket
    }

    /// The answer to a request arrived.
    ///
    /// # Errors
    ///
    /// [`Error::NotOpen`] for a ticket that was answered already; [`Error::Malformed`] if the answer does not fit the request.
    pub fn on_return(&mut self, ticket: Ticket, response: Response) -> Result<(), Error> {
        let mut operation = self.open.remove(&ticket).ok_or(Error::NotOpen(ticket))?;
        operation.outcome = if response.status == 503 { Outcome::Fail } else { Outcome::Ok };
        operation.status = response.status;
        operation.replica = response.replica;
        operation.token_out = response.token;
        if operation.action == Action::Get {
            operation.value = response.siblings.first().cloned();
            operation.siblings = (response.siblings.len() > 1).then_some(response.siblings);
        }
        Ok(self.history.push(&operation)?)
    }

    /// What was recorded so far. A request without an answer may have happened or not.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if an open request cannot stand in a history: it sends a token that no answer carried.
    pub fn history(self) -> Result<History, Error> {
        let Self { mut history, open, .. } = self;
        open.values().try_for_each(|operation| history.push(operation))?;
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
