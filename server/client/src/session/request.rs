//! What a session asks about one key: builders that are futures.

use super::Session;
use crate::answer::{Deleted, Entry, Tag, Written};
use crate::call::{Call, path_of};
use crate::error::Error;
use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderName, HeaderValue, Method};
use serde::Serialize;
use std::fmt;
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

const WRITE_CONCERN: HeaderName = HeaderName::from_static("write-concern");

/// A future of a request.
pub(crate) type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// How many replicas are to have a write before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concern {
    /// So many, at least 1.
    Count(u32),
    /// More than half of the members.
    Majority,
    /// All members.
    All,
}

/// A text that is no [`Concern`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoConcern;

impl fmt::Display for NoConcern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a write concern is a positive number, majority or all")
    }
}

impl std::error::Error for NoConcern {}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Majority => f.write_str("majority"),
            Self::All => f.write_str("all"),
        }
    }
}

impl FromStr for Concern {
    type Err = NoConcern;

    fn from_str(text: &str) -> Result<Self, NoConcern> {
        match text {
            "majority" => Ok(Self::Majority),
            "all" => Ok(Self::All),
            digits => digits.parse().ok().filter(|&count| count > 0).map(Self::Count).ok_or(NoConcern),
        }
    }
}

pub(super) fn spread(call: &mut Call, concern: Concern) {
    call.spreads = true;
    let value = HeaderValue::from_str(&concern.to_string()).expect("digits or a word");
    call.headers.insert(WRITE_CONCERN, value);
}

/// A read of one key; await it.
#[must_use = "a request does nothing until it is awaited"]
pub struct Get<'a> {
    session: &'a Session,
    call: Call,
}

/// A write of one key; await it.
#[must_use = "a request does nothing until it is awaited"]
pub struct Put<'a> {
    session: &'a Session,
    call: Result<Call, Error>,
}

/// A delete of one key; await it.
#[must_use = "a request does nothing until it is awaited"]
pub struct Delete<'a> {
    session: &'a Session,
    call: Call,
}

impl<'a> Get<'a> {
    pub(crate) fn of(session: &'a Session, key: &str) -> Self {
        Self { session, call: Call::read(Method::GET, path_of(key)) }
    }

    /// Lists all concurrent versions, the winner first.
    pub fn siblings(mut self) -> Self {
        self.call.path.push_str("?siblings=true");
        self
    }

    /// Waits at one replica for what the session saw, instead of asking the next one at once. At most 30 s.
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.call.wait = Some(wait);
        self
    }
}

impl<'a> Put<'a> {
    pub(crate) fn of(session: &'a Session, key: &str, value: &(impl Serialize + ?Sized)) -> Self {
        let value = serde_json::value::to_raw_value(value).map_err(Error::Value);
        let body = value.map(|value| format!("{{\"value\":{value}}}").into_bytes());
        Self { session, call: body.map(|body| Call::write(Method::PUT, path_of(key), body)) }
    }

    fn change(mut self, change: impl FnOnce(&mut Call)) -> Self {
        if let Ok(call) = &mut self.call {
            change(call);
        }
        self
    }

    /// Only if the replica shows exactly the versions that this tag names.
    pub fn if_match(self, tag: &Tag) -> Self {
        self.change(|call| _ = call.headers.insert(IF_MATCH, tag.header()))
    }

    /// Only if the replica shows no version.
    pub fn if_absent(self) -> Self {
        self.change(|call| _ = call.headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*")))
    }

    /// Answers when so many replicas have the write, or the time is up: [`Written::spread`] tells.
    pub fn concern(self, concern: Concern) -> Self {
        self.change(|call| spread(call, concern))
    }

    /// The time to wait for what the session saw, and for a concern. At most 30 s.
    pub fn wait(self, wait: Duration) -> Self {
        self.change(|call| call.wait = Some(wait))
    }
}

impl<'a> Delete<'a> {
    pub(crate) fn of(session: &'a Session, key: &str) -> Self {
        Self { session, call: Call::write(Method::DELETE, path_of(key), Vec::new()) }
    }

    /// Only if the replica shows exactly the versions that this tag names.
    pub fn if_match(mut self, tag: &Tag) -> Self {
        self.call.headers.insert(IF_MATCH, tag.header());
        self
    }

    /// Answers when so many replicas have the delete, or the time is up: [`Deleted::spread`] tells.
    pub fn concern(mut self, concern: Concern) -> Self {
        spread(&mut self.call, concern);
        self
    }

    /// The time to wait for what the session saw, and for a concern. At most 30 s.
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.call.wait = Some(wait);
        self
    }
}

impl<'a> IntoFuture for Get<'a> {
    type Output = Result<Option<Entry>, Error>;
    type IntoFuture = Asking<'a, Option<Entry>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (answer, body) = self.session.ask(self.call).await?;
            if body.is_absent(answer.status) {
                return Ok(None);
            }
            Entry::read_from(&answer, body.expect_success(answer.status)?).map(Some)
        })
    }
}

impl<'a> IntoFuture for Put<'a> {
    type Output = Result<Written, Error>;
    type IntoFuture = Asking<'a, Written>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (answer, body) = self.session.ask(self.call?).await?;
            let body = body.expect_success(answer.status)?;
            Ok(Written::read_from(&answer, &body))
        })
    }
}

impl<'a> IntoFuture for Delete<'a> {
    type Output = Result<Deleted, Error>;
    type IntoFuture = Asking<'a, Deleted>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (answer, body) = self.session.ask(self.call).await?;
            let existed = !body.is_absent(answer.status);
            if existed {
                body.expect_success(answer.status)?;
            }
            Ok(Deleted::read_from(&answer, existed))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concerns() {
        for (text, concern) in [("1", Concern::Count(1)), ("majority", Concern::Majority), ("all", Concern::All)] {
            assert_eq!(text.parse(), Ok(concern));
            assert_eq!(concern.to_string(), text);
        }
        for text in ["", "0", "-1", "most", "1.5"] {
            assert_eq!(text.parse::<Concern>(), Err(NoConcern), "{text}");
        }
    }
}
