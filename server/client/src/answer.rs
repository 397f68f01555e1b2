//! What a replica answers, as types.

use crate::error::Error;
use crate::past;
use crate::wire::Answer;
use http::header::ETAG;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::fmt;
use std::str::FromStr;

/// The fields of every answer that count.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(crate) struct Body {
    pub(crate) result: Option<String>,
    pub(crate) value: Option<Box<RawValue>>,
    causal_metadata: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) index: Option<usize>,
    siblings: Option<Vec<Sibling>>,
    /// Parts of a batch, which are read where they are wanted.
    pub(crate) results: Option<Box<RawValue>>,
    pub(crate) view: Option<Vec<String>>,
    pub(crate) items: Option<Vec<Listed>>,
    pub(crate) prefixes: Option<Vec<String>>,
    pub(crate) count: Option<u64>,
    pub(crate) next: Option<String>,
}

/// An item of a list.
#[derive(Debug, Deserialize)]
pub(crate) struct Listed {
    pub(crate) key: String,
    pub(crate) value: Option<Box<RawValue>>,
    pub(crate) etag: String,
    pub(crate) siblings: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct Sibling {
    value: Box<RawValue>,
}

/// The result of one operation of a batch.
#[derive(Debug, Deserialize)]
pub(crate) struct Part {
    pub(crate) result: String,
    pub(crate) value: Option<Box<RawValue>>,
    pub(crate) etag: Option<String>,
    #[serde(default)]
    pub(crate) siblings: Option<usize>,
}

impl Body {
    /// A refusal in these words.
    pub(crate) fn refusing(text: String) -> Self {
        Self { error: Some(text), ..Self::default() }
    }

    /// The token of this answer.
    pub(crate) fn token(&self, headers: &HeaderMap) -> Option<String> {
        let header = headers.get("causal-metadata").and_then(|value| value.to_str().ok()).map(str::to_owned);
        header.or_else(|| self.causal_metadata.clone()).filter(|token| past::is_token(token))
    }

    /// The key is not there.
    pub(crate) fn is_absent(&self, status: StatusCode) -> bool {
        status == StatusCode::NOT_FOUND && self.error.as_deref() == Some("Key does not exist")
    }

    /// The body of an answer that is no refusal.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub(crate) fn expect_success(self, status: StatusCode) -> Result<Self, Error> {
        match status.is_success() {
            true => Ok(self),
            false => Err(refused(status, self.error, self.index)),
        }
    }
}

pub(crate) fn refused(status: StatusCode, text: Option<String>, index: Option<usize>) -> Error {
    Error::Refused { status: status.as_u16(), text: text.unwrap_or_else(|| "refused".into()), index }
}

/// The versions of a key that were read or written, as `ETag` names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag(String);

impl Tag {
    /// As the header has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("a tag is printable")
    }

    fn from_header(headers: &HeaderMap, name: &str) -> Option<Self> {
        headers.get(name)?.to_str().ok()?.parse().ok()
    }
}

impl FromStr for Tag {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let printable = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        match printable && text.len() > 2 && text.starts_with('"') && text.ends_with('"') {
            true => Ok(Self(text.to_owned())),
            false => Err(Error::Usage(format!(
                "{text:?} is no entity tag; one stands in double quotes, as an answer has it"
            ))),
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far a write with a concern has spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// So many replicas have it.
    pub holders: u32,
    /// They are as many as was asked. If not, the write stands nevertheless, and sending it again is no use.
    pub reached: bool,
}

impl Spread {
    pub(crate) fn read_from(answer: &Answer) -> Option<Self> {
        let holders = answer.headers.get("write-concern-applied")?.to_str().ok()?.parse().ok()?;
        Some(Self { holders, reached: answer.status != StatusCode::ACCEPTED })
    }
}

/// What a key holds.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The value of the winner, as it was written.
    pub value: Box<RawValue>,
    /// All versions that the replica shows.
    pub tag: Tag,
    /// How many versions these are, at least 1.
    pub versions: usize,
    /// Their values, the winner first, if they were asked for.
    pub siblings: Vec<Box<RawValue>>,
}

impl Entry {
    pub(crate) fn read_from(answer: &Answer, body: Body) -> Result<Self, Error> {
        let (Some(value), Some(tag)) = (body.value, Tag::from_header(&answer.headers, ETAG.as_str())) else {
            let text = "the answer lacks a value or its ETag; a proxy may cut them off";
            return Err(Error::Refused { status: answer.status.as_u16(), text: text.into(), index: None });
        };
        let versions = answer.headers.get("causal-siblings").and_then(|value| value.to_str().ok()?.parse().ok());
        let siblings = body.siblings.unwrap_or_default().into_iter().map(|sibling| sibling.value).collect();
        Ok(Self { value, tag, versions: versions.unwrap_or(1), siblings })
    }

    /// The value, read as this type.
    ///
    /// # Errors
    /// Where it is none.
    pub fn read<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(self.value.get())
    }
}

/// A put that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The replica showed no version before.
    pub created: bool,
    /// The new version.
    pub tag: Option<Tag>,
    /// The versions that it replaced.
    pub superseded: Option<Tag>,
    /// Of a put with a concern.
    pub spread: Option<Spread>,
}

impl Written {
    pub(crate) fn read_from(answer: &Answer, body: &Body) -> Self {
        Self {
            created: body.result.as_deref() == Some("created"),
            tag: Tag::from_header(&answer.headers, ETAG.as_str()),
            superseded: Tag::from_header(&answer.headers, "causal-superseded"),
            spread: Spread::read_from(answer),
        }
    }
}

/// A delete that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// The replica showed a version before.
    pub existed: bool,
    /// The versions that it deleted.
    pub superseded: Option<Tag>,
    /// Of a delete with a concern, where something was deleted.
    pub spread: Option<Spread>,
}

impl Deleted {
    pub(crate) fn read_from(answer: &Answer, existed: bool) -> Self {
        let superseded = Tag::from_header(&answer.headers, "causal-superseded");
        Self { existed, superseded, spread: Spread::read_from(answer) }
    }
}
