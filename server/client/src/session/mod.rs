//! A line of causally related requests.

mod batch;
mod list;
mod request;
mod watch;

pub use batch::{BATCH_MAX, BATCH_VALUE_BYTES_MAX, Batch, BatchDone, Operation, Outcome, OutcomeKind};
pub use list::{Item, List, NextPage, Page};
pub use request::{Concern, Delete, Get, NoConcern, Put};
pub use watch::{Change, Cut, Event, Watch, Watching};

use crate::answer::Body;
use crate::call::Call;
use crate::error::{Error, Lost};
use crate::past::Past;
use crate::retry::{self, Shared, Turn};
use crate::wire::Answer;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Serialize;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Tokens of one request that take more bytes than this together are joined beforehand.
const TOKENS_BYTES_MAX: usize = 4 << 10;

/// A client's causal past, and requests that extend it.
///
/// Each answer adds to the past, whatever its status, and no answer takes from it. Requests may run at a time. The one
/// way to lose something is [`Session::go_on_after`], after [`Error::Lost`].
pub struct Session {
    shared: Arc<Shared>,
    past: Arc<Mutex<Past>>,
    turn: Turn,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("token", &self.token()).finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn begin(shared: Arc<Shared>, past: Past, turn: Turn) -> Self {
        Self { shared, past: Arc::new(Mutex::new(past)), turn }
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The past as text, for [`crate::Client::resume`]. Several tokens stand in it with commas, as the header
    /// `Causal-Metadata` takes them. It is empty before the first answer.
    #[must_use]
    pub fn token(&self) -> String {
        self.past().text()
    }

    /// A session with the same past that goes its own way.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::begin(self.shared.clone(), self.past().clone(), self.turn.copy())
    }

    /// From now on this session has seen what the other one has seen.
    pub fn merge(&self, other: &Self) {
        let past = other.past().clone();
        self.past().merge(&past);
    }

    /// Reads a key. `None`: the replica shows no version.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Lost`], [`Error::Unavailable`].
    pub fn get(&self, key: &str) -> Get<'_> {
        Get::of(self, key)
    }

    /// Writes a key. The value is any JSON but `null`; a [`crate::RawValue`] is written byte for byte.
    ///
    /// # Errors
    /// Every [`Error`].
    pub fn put(&self, key: &str, value: impl Serialize) -> Put<'_> {
        Put::of(self, key, &value)
    }

    /// Deletes a key. It is no error if there is none.
    ///
    /// # Errors
    /// Every [`Error`] but [`Error::Value`].
    pub fn delete(&self, key: &str) -> Delete<'_> {
        Delete::of(self, key)
    }

    /// Reads and writes several keys at one moment: all writes or none.
    ///
    /// # Errors
    /// Every [`Error`].
    pub fn batch(&self, operations: impl IntoIterator<Item = Operation>) -> Batch<'_> {
        Batch::of(self, operations)
    }

    /// Lists keys, a page of them.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Lost`], [`Error::Unavailable`].
    pub const fn list(&self) -> List<'_> {
        List::of(self)
    }

    /// The page that another one names as its next.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub fn list_from(&self, next: &NextPage) -> List<'_> {
        List::from(self, next)
    }

    /// Watches keys: what is there, and what changes from then on.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Unavailable`].
    pub const fn watch(&self) -> Watch<'_> {
        Watch::of(self)
    }

    /// After [`Error::Lost`]: forgets the lost writes, and keeps what is left of the past.
    pub fn go_on_after(&self, lost: &Lost) {
        self.past().learn(&lost.sent, lost.left.clone());
    }

    /// Sends a call with the whole past, and extends the past by what it is answered.
    pub(crate) async fn ask(&self, call: Call) -> Result<(Answer, Body), Error> {
        let sent = self.joined().await?;
        self.ask_with(&call, sent).await
    }

    async fn ask_with(&self, call: &Call, sent: Vec<String>) -> Result<(Answer, Body), Error> {
        let mut headers = HeaderMap::new();
        if !sent.is_empty() {
            let value = HeaderValue::from_str(&sent.join(", ")).expect("tokens are printable");
            headers.insert("causal-metadata", value);
        }
        let (answer, body) = retry::ask(&self.shared, &self.turn, call, &headers).await?;
        let token = body.token(&answer.headers);
        if answer.status == StatusCode::FAILED_DEPENDENCY {
            let lost = token.map(|left| Error::Lost(Lost { sent, left }));
            return Err(lost.unwrap_or_else(|| retry::refusal(&answer, body)));
        }
        match token {
            Some(token) => self.past().learn(&sent, token),
            None if answer.status.is_success() || body.is_absent(answer.status) => {
                let text = "the answer has no causal-metadata; a proxy may cut it off";
                let status = answer.status.as_u16();
                return Err(Error::Refused { status, text: text.into(), index: None });
            }
            None => {}
        }
        if answer.status == StatusCode::PRECONDITION_FAILED {
            return Err(Error::PreconditionFailed { index: body.index });
        }
        Ok((answer, body))
    }

    /// The tokens to send. More than fit into a header are joined by reads first.
    async fn joined(&self) -> Result<Vec<String>, Error> {
        loop {
            let tokens = self.past().tokens();
            let mut bytes = 0;
            let fit = tokens.iter().take_while(|token| {
                bytes += token.len() + 2;
                bytes <= TOKENS_BYTES_MAX
            });
            let fit = fit.count();
            if fit == tokens.len() || tokens.len() == 1 {
                return Ok(tokens);
            }
            // One that is long goes together with the next: each round leaves one token less.
            let part = tokens[..fit.max(2)].to_vec();
            self.ask_with(&Call::read(Method::GET, "/kvs/-".into()), part).await?;
        }
    }
}
