//! What can be wrong with a request that gets 400, in words.

use hence_core::{Address, AddressError, LIST_MAX, TokenError, Unusable};
use std::fmt;

/// The parameters of a list, in the order in which they are written.
pub(crate) const LIST_PARAMETERS: [&str; 9] =
    ["prefix", "start", "end", "limit", "reverse", "delimiter", "keys-only", "count-only", "causal-metadata"];

/// The parameters of a watch.
pub(crate) const WATCH_PARAMETERS: [&str; 4] = ["prefix", "keys-only", "since", "causal-metadata"];

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
    /// The metadata is a token that no replica of this cluster sealed.
    Unsealed,
    /// The view was to be changed without an address.
    NoAddress,
    /// The address for the view is none.
    Address(AddressError),
    /// No replica can ever be reached at the address for the view.
    Unusable(Address, Unusable),
    /// `?siblings=` with another value; holds it.
    SiblingsParameter(String),
    /// A parameter of a list that is not known; holds it.
    UnknownParameter(String),
    /// A parameter of a watch that is not known, or not where one key is watched; holds it.
    UnknownWatchParameter(String),
    /// Where a watch is to go on is told by what is no id.
    EventId,
    /// `?poll=` is no number of seconds; holds it.
    PollParameter(String),
    /// A long poll that does not say what its client has.
    PollCondition,
    /// A parameter of a list that stands there twice; holds its name.
    ParameterTwice(&'static str),
    /// A parameter of a list that decodes to no text; holds its name.
    ParameterEncoding(&'static str),
    /// A parameter of a list that is neither `true` nor `false`; holds its name and it.
    FlagParameter(&'static str, String),
    /// The limit of a list is out of its range; holds it.
    LimitParameter(String),
    /// A list of keys only, and a count only.
    KeysOrCount,
    /// The body of a batch has no list of operations.
    NoOperations,
    /// An operation of a batch is not an object, or has a field twice; holds the parser's words.
    Operation(String),
    /// An operation of a batch names none of the three words.
    OperationWord,
    /// An operation of a batch names no key.
    NoKey,
    /// A condition of an operation of a batch is not what its header would be; holds its name.
    OperationTags(&'static str),
    /// A conditional header that is not a list of entity tags; holds its name.
    EntityTags(&'static str),
    /// A write concern that is neither a positive number nor a word that is known, or two of them.
    WriteConcern,
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
            Self::Unsealed => f.write_str(
                "causal-metadata was not made by this cluster, or before its secret changed; begin anew with null",
            ),
            Self::NoAddress => f.write_str("body has no field \"socket-address\" with a string IP:PORT"),
            Self::Address(error) => error.fmt(f),
            Self::Unusable(address, why) => write!(f, "address \"{address}\" is of no use in a view: {why}"),
            Self::SiblingsParameter(value) => {
                write!(f, "query parameter \"siblings\" is \"{value}\"; it must be true or false")
            }
            Self::UnknownParameter(name) => {
                write!(f, "query parameter \"{name}\" is not known; lists know {}", LIST_PARAMETERS.join(", "))
            }
            Self::UnknownWatchParameter(name) => {
                let known = WATCH_PARAMETERS.join(", ");
                write!(f, "query parameter \"{name}\" is not known; watches know {known}, and of one key no prefix")
            }
            Self::EventId => f.write_str("Last-Event-ID or query parameter \"since\" is not an id that a watch gave"),
            Self::PollParameter(value) => {
                write!(f, "query parameter \"poll\" is \"{value}\"; it must be a whole number of seconds")
            }
            Self::PollCondition => f.write_str(
                "query parameter \"poll\" needs If-None-Match with the ETag that the client has, or with \"absent\"",
            ),
            Self::ParameterTwice(name) => write!(f, "query parameter \"{name}\" is there twice"),
            Self::ParameterEncoding(name) => {
                write!(f, "query parameter \"{name}\" is not percent-encoded text in UTF-8")
            }
            Self::FlagParameter(name, value) => {
                write!(f, "query parameter \"{name}\" is \"{value}\"; it must be true or false")
            }
            Self::LimitParameter(value) => {
                write!(f, "query parameter \"limit\" is \"{value}\"; it must be a number from 1 to {LIST_MAX}")
            }
            Self::KeysOrCount => f.write_str("query parameters \"keys-only\" and \"count-only\" exclude each other"),
            Self::WriteConcern => f.write_str("header Write-Concern must be a positive number, majority or all, once"),
            Self::NoOperations => f.write_str("body has no field \"operations\" with a list"),
            Self::Operation(why) => write!(f, "operation is not an object of fields: {why}"),
            Self::OperationWord => f.write_str("field \"op\" must be \"put\", \"delete\" or \"get\""),
            Self::NoKey => f.write_str("field \"key\" must be a string of 1 to 50 characters"),
            Self::OperationTags(name) => {
                write!(f, "field \"{name}\" must be a string: * or a list of quoted entity tags")
            }
            Self::EntityTags(name) => write!(f, "header {name} must be * or a list of quoted entity tags"),
        }
    }
}

impl From<TokenError> for BadRequest {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
    }
}
