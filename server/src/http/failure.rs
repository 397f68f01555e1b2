//! What can be wrong with a request before the replica sees it, and how each is answered.
//!
//! Every failure is JSON with one field, `error`, in words that name what is wrong. The texts of the
//! contract stand here to the byte.

use super::answer::{Answer, JSON, error_body};
use hence_core::{Address, AddressError, Refusal, TokenError, Unusable};
use http::header::{ACCEPT_ENCODING, ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
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
    /// 400.
    Bad(BadRequest),
}

/// What is wrong with a request that gets 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BadRequest {
    /// The target has a `#`.
    Fragment,
    /// A `%` in the key that two hexadecimal digits do not follow.
    KeyEncoding,
    /// The key decodes to bytes that are not UTF-8.
    KeyNotText,
    /// The key is over 50 characters: the contract's text.
    KeyTooLong,
    /// The body ended or broke off before it was whole.
    BodyCut,
    /// The body is not UTF-8.
    BodyNotText,
    /// The body begins with a byte order mark.
    BodyMarked,
    /// The body is compressed, as its first bytes say; holds the coding's name. This one gets 415.
    BodyCompressed(&'static str),
    /// The body is nested too deep.
    BodyTooDeep {
        /// The deepest allowed.
        nesting_max: usize,
    },
    /// The body is not JSON; holds the parser's words.
    BodyMalformed(String),
    /// The body is JSON, but not an object.
    BodyNotObject,
    /// A field that counts stands there twice.
    FieldTwice(&'static str),
    /// A PUT without a value: the contract's text.
    NoValue,
    /// The metadata is neither a string nor one of the ways to say none.
    MetadataType,
    /// The metadata does not decode.
    Token(TokenError),
    /// The view was to be changed without an address.
    NoAddress,
    /// The address for the view is none.
    Address(AddressError),
    /// No replica can ever be reached at the address for the view.
    Unusable(Address, Unusable),
    /// `?siblings=` with another value; holds it.
    SiblingsParameter(String),
    /// A conditional header that is not a list of entity tags; holds its name.
    EntityTags(&'static str),
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fragment => f.write_str("path has a #, which would cut it off there; in a key it is written %23"),
            Self::KeyEncoding => f.write_str("key is not percent-encoded: two hexadecimal digits must follow each %"),
            Self::KeyNotText => f.write_str("key is not valid UTF-8 once percent-decoded"),
            Self::KeyTooLong => f.write_str("Key is too long"),
            Self::BodyCut => f.write_str("body broke off before it was whole"),
            Self::BodyNotText => f.write_str("body is not valid UTF-8"),
            Self::BodyMarked => {
                f.write_str("body begins with a byte order mark; send JSON in UTF-8 without a byte order mark")
            }
            Self::BodyCompressed(coding) => write!(f, "Body is compressed with {coding}; send it as it is"),
            Self::BodyTooDeep { nesting_max } => {
                write!(f, "body is nested too deep; at most {nesting_max} levels are allowed")
            }
            Self::BodyMalformed(why) => write!(f, "body is not valid JSON: {why}"),
            Self::BodyNotObject => f.write_str("body is not a JSON object"),
            Self::FieldTwice(name) => write!(f, "body has the field \"{name}\" twice"),
            Self::NoValue => f.write_str("PUT request does not specify a value"),
            Self::MetadataType => {
                f.write_str("causal-metadata must be the string that the last answer gave, or null at first")
            }
            Self::Token(error) => error.fmt(f),
            Self::NoAddress => f.write_str("body has no field \"socket-address\" with a string IP:PORT"),
            Self::Address(error) => error.fmt(f),
            Self::Unusable(address, why) => write!(f, "address \"{address}\" is of no use in a view: {why}"),
            Self::SiblingsParameter(value) => {
                write!(f, "query parameter \"siblings\" is \"{value}\"; it must be true or false")
            }
            Self::EntityTags(name) => write!(f, "header {name} must be * or a list of quoted entity tags"),
        }
    }
}

impl From<BadRequest> for Failure {
    fn from(bad: BadRequest) -> Self {
        Self::Bad(bad)
    }
}

impl From<TokenError> for BadRequest {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
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
            Self::Bad(bad) => bad.fmt(f),
        }
    }
}

impl Failure {
    const fn status(&self) -> StatusCode {
        match self {
            Self::UnknownPath => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::ContentCoding | Self::Bad(BadRequest::BodyCompressed(_)) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::Http2 => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::NoRoom | Self::TooManyConnections => StatusCode::SERVICE_UNAVAILABLE,
            Self::Bad(_) => StatusCode::BAD_REQUEST,
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
            Self::UnknownPath | Self::Method { .. } | Self::ContentCoding | Self::Bad(_) => false,
        }
    }

    /// The answer.
    pub(crate) fn answer(&self) -> Answer {
        let mut answer = Answer::new(error_body(&self.to_string()));
        *answer.status_mut() = self.status();
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        if let Self::Method { allow } = self {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
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
