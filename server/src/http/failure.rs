//! What can be wrong with a request before the replica sees it, and how each is answered.
//!
//! Every failure is JSON with the field `error`, in words that name what is wrong. Of a batch, `index` says which
//! operation it is about. The texts of the
//! contract stand here and in `bad_request` to the byte.

use super::answer::{Answer, error_body_at, json};
use super::bad_request::BadRequest;
use crate::access::Denied;
use hence_core::{BatchError, Refusal};
use http::header::{ACCEPT_ENCODING, ALLOW, CONNECTION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use std::fmt;

/// A request that is answered without asking the replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// 404: no such path.
    UnknownPath,
    /// 405: the path does not answer this method.
    Method {
        /// What it answers.
        allow: &'static str,
    },
    /// 413: the body is over the limit.
    TooLarge {
        /// The limit in bytes.
        bytes_max: usize,
    },
    /// 408: the body did not arrive in time.
    TooSlow,
    /// 415: `Content-Encoding` says that the body is encoded.
    ContentCoding,
    /// 501: `Transfer-Encoding` names more than `chunked`.
    TransferCoding,
    /// 505: the client began with the preface of HTTP/2.
    Http2,
    /// 503: too many bytes of bodies are being read already.
    NoRoom,
    /// 503: no room for another client, and none of the others idles.
    TooManyConnections,
    /// 401 or 403: its token does not open this.
    Denied(Denied),
    /// 400.
    Bad(BadRequest),
    /// 400: an operation of a batch is wrong.
    InBatch {
        /// Which one, counted from zero.
        index: usize,
        /// What is wrong with it.
        bad: BadRequest,
    },
    /// 400 or 413: the operations make no batch.
    Batch(BatchError),
}

impl From<BatchError> for Failure {
    fn from(error: BatchError) -> Self {
        Self::Batch(error)
    }
}

impl From<BadRequest> for Failure {
    fn from(bad: BadRequest) -> Self {
        Self::Bad(bad)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPath => f.write_str("No such path"),
            Self::Method { allow } => write!(f, "Method not allowed here; use {allow}"),
            Self::TooLarge { bytes_max } => write!(f, "Body is too large; at most {bytes_max} bytes are allowed"),
            Self::TooSlow => f.write_str("Body did not arrive in time"),
            Self::ContentCoding => f.write_str("Content-Encoding is not supported; send the body as it is"),
            Self::TransferCoding => f.write_str("Transfer-Encoding other than chunked is not supported"),
            Self::Http2 => f.write_str("HTTP/2 is not supported; use HTTP/1.1"),
            Self::NoRoom => Refusal::WriteLimit.fmt(f),
            Self::TooManyConnections => f.write_str("Too many connections; try again later"),
            Self::Denied(Denied::NoToken) => f.write_str("A bearer token is required"),
            Self::Denied(Denied::Unknown) => f.write_str("The bearer token is not known"),
            Self::Denied(Denied::Lacks(scope)) => write!(f, "The bearer token lacks the scope {}", scope.name()),
            Self::Bad(bad) | Self::InBatch { bad, .. } => bad.fmt(f),
            Self::Batch(error) => error.fmt(f),
        }
    }
}

impl Failure {
    const fn status(&self) -> StatusCode {
        match self {
            Self::UnknownPath => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge { .. } | Self::Batch(BatchError::TooMany) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::ContentCoding | Self::Bad(BadRequest::BodyCompressed(_)) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::Http2 => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::NoRoom | Self::TooManyConnections => StatusCode::SERVICE_UNAVAILABLE,
            Self::Denied(Denied::Lacks(_)) => StatusCode::FORBIDDEN,
            Self::Denied(_) => StatusCode::UNAUTHORIZED,
            Self::Bad(_) | Self::InBatch { .. } | Self::Batch(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// The connection cannot go on where a body was left unread.
    const fn ends_connection(&self) -> bool {
        match self {
            Self::TooLarge { .. }
            | Self::TooSlow
            | Self::NoRoom
            | Self::TooManyConnections
            | Self::TransferCoding
            | Self::Http2
            | Self::Bad(BadRequest::BodyCut) => true,
            Self::UnknownPath
            | Self::Method { .. }
            | Self::ContentCoding
            | Self::Denied(_)
            | Self::Bad(_)
            | Self::InBatch { .. }
            | Self::Batch(_) => false,
        }
    }

    /// The answer.
    pub(crate) fn answer(&self) -> Answer {
        let index = match self {
            Self::InBatch { index, .. } | Self::Batch(BatchError::KeyTwice { index }) => Some(*index),
            Self::UnknownPath
            | Self::Method { .. }
            | Self::TooLarge { .. }
            | Self::TooSlow
            | Self::ContentCoding
            | Self::TransferCoding
            | Self::Http2
            | Self::NoRoom
            | Self::TooManyConnections
            | Self::Denied(_)
            | Self::Bad(_)
            | Self::Batch(BatchError::Empty | BatchError::TooMany) => None,
        };
        let mut answer = json(self.status(), error_body_at(&self.to_string(), index));
        let headers = answer.headers_mut();
        if let Self::Method { allow } = self {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Self::Denied(denied) = self {
            let challenge = match denied {
                Denied::NoToken => "Bearer realm=\"hence\"".into(),
                Denied::Unknown => "Bearer realm=\"hence\", error=\"invalid_token\"".into(),
                Denied::Lacks(scope) => {
                    format!("Bearer realm=\"hence\", error=\"insufficient_scope\", scope=\"{}\"", scope.name())
                }
            };
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_str(&challenge).expect("printable ASCII"));
        }
        if self.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            // So RFC 9110 (12.5.3) tells the client that it was the coding, and which would do.
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.ends_connection() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}
