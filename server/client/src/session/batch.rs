//! Several keys at one moment.

use super::Session;
use super::request::{Asking, Concern, spread};
use crate::answer::{Part, Spread, Tag};
use crate::call::Call;
use crate::error::Error;
use http::Method;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::time::Duration;

/// Operations of the largest batch that a replica takes.
pub const BATCH_MAX: usize = 64;

/// Bytes that the values of a batch may have together. A larger value is put alone.
pub const BATCH_VALUE_BYTES_MAX: usize = 64 << 10;

/// One operation of a batch.
///
/// ```
/// # use hence_client::{Client, Operation, OutcomeKind};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
/// # let address = hence_core::Address::parse(&format!("127.0.0.1:{port}"))?;
/// # let replica = hence_server::Server::start(hence_server::Settings::at(address))?;
/// # let session = Client::new([replica.local_address().to_string()])?.session();
/// session.put("stock", 7).await?;
/// let operations = [Operation::get("stock"), Operation::put("order", "hat").if_absent(), Operation::delete("cart")];
/// let outcomes = session.batch(operations).await?.outcomes;
/// assert_eq!(outcomes[0].value.as_ref().map(|value| value.get()), Some("7"));
/// assert_eq!(outcomes[1].kind, OutcomeKind::Created);
/// assert_eq!(outcomes[2].kind, OutcomeKind::Absent);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Operation {
    line: Line,
    /// Why the value is none.
    wrong: Option<serde_json::Error>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Get,
    Put,
    Delete,
}

/// An operation as the API has it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Line {
    op: Op,
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    if_match: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    if_none_match: Option<String>,
}

/// Reads an operation in the form of the API. A field that this has not is an error.
impl<'de> Deserialize<'de> for Operation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Line::deserialize(deserializer).map(|line| Self { line, wrong: None })
    }
}

impl Operation {
    fn new(op: Op, key: &str) -> Self {
        let line = Line { op, key: key.to_owned(), value: None, if_match: None, if_none_match: None };
        Self { line, wrong: None }
    }

    /// Reads a key.
    #[must_use]
    pub fn get(key: &str) -> Self {
        Self::new(Op::Get, key)
    }

    /// Writes a key.
    #[must_use]
    pub fn put(key: &str, value: impl Serialize) -> Self {
        let mut operation = Self::new(Op::Put, key);
        match serde_json::value::to_raw_value(&value) {
            Ok(value) => operation.line.value = Some(value),
            Err(error) => operation.wrong = Some(error),
        }
        operation
    }

    /// Deletes a key, if it is there.
    #[must_use]
    pub fn delete(key: &str) -> Self {
        Self::new(Op::Delete, key)
    }

    /// The batch is done only if the replica shows exactly these versions of the key.
    #[must_use]
    pub fn if_match(mut self, tag: &Tag) -> Self {
        self.line.if_match = Some(tag.as_str().to_owned());
        self
    }

    /// The batch is done only if the replica shows no version of the key.
    #[must_use]
    pub fn if_absent(mut self) -> Self {
        self.line.if_none_match = Some("*".to_owned());
        self
    }

    fn write(self, to: &mut Vec<u8>) -> Result<(), Error> {
        match self.wrong {
            Some(error) => Err(Error::Value(error)),
            None => serde_json::to_writer(to, &self.line).map_err(Error::Value),
        }
    }
}

/// What an operation of a batch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeKind {
    /// A get found a version.
    Found,
    /// A get found none, or a delete had nothing to delete.
    Absent,
    /// A put of a key that was not there.
    Created,
    /// A put of a key that was there.
    Replaced,
    /// A delete of a key that was there.
    Deleted,
}

impl OutcomeKind {
    /// The API's word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Absent => "absent",
            Self::Created => "created",
            Self::Replaced => "replaced",
            Self::Deleted => "deleted",
        }
    }

    fn read(text: &str) -> Option<Self> {
        let all = [Self::Found, Self::Absent, Self::Created, Self::Replaced, Self::Deleted];
        all.into_iter().find(|kind| kind.name() == text)
    }
}

/// The result of one operation of a batch.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What it did.
    pub kind: OutcomeKind,
    /// What a get found: the winner's value.
    pub value: Option<Box<RawValue>>,
    /// The versions read, or the version written.
    pub tag: Option<Tag>,
    /// How many versions a get found; 0 for an absent key.
    pub versions: usize,
}

impl Outcome {
    fn read_from(part: Part) -> Option<Self> {
        let kind = OutcomeKind::read(&part.result)?;
        let tag = part.etag.and_then(|tag| tag.parse().ok());
        let versions = part.siblings.unwrap_or(usize::from(part.value.is_some()));
        Some(Self { kind, value: part.value, tag, versions })
    }
}

/// A batch that was done.
#[derive(Debug, Clone)]
pub struct BatchDone {
    /// One result for each operation, in the order asked.
    pub outcomes: Vec<Outcome>,
    /// Of a batch with a concern, where something was written.
    pub spread: Option<Spread>,
}

/// A batch; await it.
#[must_use = "a request does nothing until it is awaited"]
pub struct Batch<'a> {
    session: &'a Session,
    call: Result<Call, Error>,
    count: usize,
}

impl<'a> Batch<'a> {
    pub(crate) fn of(session: &'a Session, operations: impl IntoIterator<Item = Operation>) -> Self {
        let operations: Vec<Operation> = operations.into_iter().collect();
        let (count, reads) = (operations.len(), operations.iter().all(|operation| operation.line.op == Op::Get));
        // A batch of reads may be asked again as any read.
        let call = body_of(operations).map(|body| Call { reads, ..Call::write(Method::POST, "/kvs".into(), body) });
        Self { session, call, count }
    }

    /// Does it, and reads no outcomes: for many batches of writes.
    ///
    /// # Errors
    /// As the batch itself.
    pub async fn done(self) -> Result<(), Error> {
        let (answer, body) = self.session.ask(self.call?).await?;
        body.expect_success(answer.status).map(drop)
    }

    fn change(mut self, change: impl FnOnce(&mut Call)) -> Self {
        if let Ok(call) = &mut self.call {
            change(call);
        }
        self
    }

    /// Answers when so many replicas have all of its writes, or the time is up: [`BatchDone::spread`] tells. Where it only
    /// reads, a concern means nothing.
    pub fn concern(self, concern: Concern) -> Self {
        self.change(|call| spread(call, concern))
    }

    /// The time to wait for what the session saw, and for a concern. At most 30 s.
    pub fn wait(self, wait: Duration) -> Self {
        self.change(|call| call.wait = Some(wait))
    }
}

/// The body of these operations.
fn body_of(operations: Vec<Operation>) -> Result<Vec<u8>, Error> {
    let mut body = b"{\"operations\":[".to_vec();
    for (at, operation) in operations.into_iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        operation.write(&mut body)?;
    }
    body.extend(b"]}");
    Ok(body)
}

impl<'a> IntoFuture for Batch<'a> {
    type Output = Result<BatchDone, Error>;
    type IntoFuture = Asking<'a, BatchDone>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (answer, body) = self.session.ask(self.call?).await?;
            let results = body.expect_success(answer.status)?.results;
            let parts = results.and_then(|results| serde_json::from_str::<Vec<Part>>(results.get()).ok());
            let outcomes: Option<Vec<Outcome>> =
                parts.unwrap_or_default().into_iter().map(Outcome::read_from).collect();
            let spread = Spread::read_from(&answer);
            let done = outcomes.filter(|outcomes| outcomes.len() == self.count);
            done.map(|outcomes| BatchDone { outcomes, spread }).ok_or_else(|| {
                let text = "the answer has other results than the batch has operations";
                Error::Refused { status: answer.status.as_u16(), text: text.into(), index: None }
            })
        })
    }
}
