//! What a request can end with instead of its result.

use std::fmt;

/// Why there is no result.
#[derive(Debug)]
pub enum Error {
    /// The caller gave what is no endpoint, token or certificate. Nothing was asked.
    Usage(String),
    /// The value to write cannot be written as JSON. Nothing was asked.
    Value(serde_json::Error),
    /// A replica refused the request, as with 400 or 403. It did nothing.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The replica's words.
        text: String,
        /// Of a batch: the operation that it is about, counted from zero.
        index: Option<usize>,
    },
    /// A condition did not hold. The replica did nothing.
    PreconditionFailed {
        /// Of a batch: the first operation whose condition did not hold, counted from zero.
        index: Option<usize>,
    },
    /// A write that this session saw is lost with the replicas that held it. The replica did nothing.
    Lost(Lost),
    /// No replica served the request in time. For a write: no replica did it.
    Unavailable {
        /// The last attempt at each endpoint.
        attempts: Vec<Attempt>,
    },
    /// A write was sent, and its answer did not come. It was done, or will be, or was not.
    OutcomeUnknown {
        /// The attempt that ended so.
        attempt: Attempt,
    },
}

/// An attempt at one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The endpoint, as it was given.
    pub endpoint: String,
    /// What happened, in words.
    pub why: String,
}

/// A session's past of which writes are lost. [`crate::Session::go_on_after`] goes on with what is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    pub(crate) sent: Vec<String>,
    pub(crate) left: String,
}

impl Lost {
    /// The token of what is left.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.left
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.endpoint, self.why)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => f.write_str(text),
            Self::Value(error) => write!(f, "the value is no JSON: {error}"),
            Self::Refused { status, text, index: None } => write!(f, "{text} (HTTP {status})"),
            Self::Refused { status, text, index: Some(index) } => {
                write!(f, "operation {index}: {text} (HTTP {status})")
            }
            Self::PreconditionFailed { index: None } => f.write_str("the precondition does not hold"),
            Self::PreconditionFailed { index: Some(index) } => {
                write!(f, "operation {index}: the precondition does not hold")
            }
            Self::Lost(_) => f.write_str("a write that this session saw is lost with the replicas that held it"),
            Self::Unavailable { attempts } => {
                f.write_str("no replica served the request in time")?;
                attempts.iter().try_for_each(|attempt| write!(f, "; {attempt}"))
            }
            Self::OutcomeUnknown { attempt } => write!(f, "it is not known whether the write was done; {attempt}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Value(error) => Some(error),
            Self::Usage(_)
            | Self::Refused { .. }
            | Self::PreconditionFailed { .. }
            | Self::Lost(_)
            | Self::Unavailable { .. }
            | Self::OutcomeUnknown { .. } => None,
        }
    }
}
