//! `POST /kvs`: several keys in one request, from its body to what the replica is asked.
//!
//! Everything is checked in the order of a request for a key: JSON, then each operation, then metadata. Of an operation
//! its word comes first, then its key, its value and its conditions. Nothing is asked of the replica before all of it
//! holds.

use super::answer::Form;
use super::bad_request::BadRequest;
use super::concern;
use super::etag::{self, Comparison};
use super::failure::Failure;
use super::json::{self, DataBody, Name};
use super::kvs;
use super::mint::Mint;
use super::prefer;
use crate::settings::Limits;
use hence_core::{
    Action, BATCH_MAX, BatchError, BatchOperation, BatchRequest, Condition, Key, KeyError, Match, Micros, Value,
    VersionVector,
};
use http::request::Parts;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::marker::PhantomData;

/// What a batch asks, and in which form it wants its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    /// For the replica.
    pub(crate) request: BatchRequest,
    /// For the answer.
    pub(crate) form: Form,
}

/// Reads a batch.
///
/// # Errors
/// The first thing that is wrong, with the index of the operation where it is one.
pub(crate) fn parse(parts: &Parts, body: &[u8], limits: &Limits, mint: &Mint) -> Result<Batch, Failure> {
    // All of it is read in one pass. Where that fails, each operation is read alone, to say which one is wrong.
    let (operations, past) = match DataBody::<'_, Listed<Fields<'_>>>::parse_batch(body, limits.nesting_max) {
        Ok(mut body) => {
            (read(body.take_operations(), Ok)?, kvs::past(&body, &parts.headers, mint, limits.token_bytes_max))
        }
        Err(_) => {
            let body: DataBody<'_> = DataBody::parse_batch(body, limits.nesting_max)?;
            let listed = body.list().map(serde_json::from_str).transpose().map_err(|error| malformed(&error))?;
            (read(listed, fields)?, kvs::past(&body, &parts.headers, mint, limits.token_bytes_max))
        }
    };
    let mut request = BatchRequest::new(operations, VersionVector::new(), prefer::wait(&parts.headers))?;
    request.past = past?;
    // As on GET it is passed over where nothing is written.
    request.concern = if request.writes() { concern::concern(&parts.headers)? } else { None };
    let waited = request.wait > Micros::ZERO;
    let form = Form { mint: mint.clone(), siblings: false, waited, put: false, list: None };
    Ok(Batch { request, form })
}

fn malformed(error: &serde_json::Error) -> BadRequest {
    if error.is_data() { BadRequest::NoOperations } else { BadRequest::BodyMalformed(error.to_string()) }
}

fn read<'a, T>(
    listed: Option<Listed<T>>,
    fields: impl Fn(T) -> Result<Fields<'a>, BadRequest>,
) -> Result<Vec<BatchOperation>, Failure> {
    let listed = listed.ok_or(BadRequest::NoOperations)?;
    if listed.more {
        return Err(BatchError::TooMany.into());
    }
    let operations = (0..).zip(listed.operations);
    let read = |one| fields(one).and_then(operation);
    operations.map(|(index, one)| read(one).map_err(|bad| Failure::InBatch { index, bad })).collect()
}

/// The operations of a body; no more than a batch may have.
struct Listed<T> {
    operations: Vec<T>,
    more: bool,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Listed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
            type Value = Listed<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of operations")
            }
            fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<Self::Value, S::Error> {
                let mut listed = Listed { operations: Vec::new(), more: false };
                while listed.operations.len() < BATCH_MAX
                    && let Some(operation) = items.next_element()?
                {
                    listed.operations.push(operation);
                }
                while items.next_element::<IgnoredAny>()?.is_some() {
                    listed.more = true;
                }
                Ok(listed)
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

/// The fields of an operation that count.
const FIELDS: [&str; 5] = ["op", "key", "value", "if-match", "if-none-match"];

/// Those fields as they stand in an operation.
struct Fields<'a>([Option<&'a RawValue>; FIELDS.len()]);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an operation")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut fields = Fields(Default::default());
                while let Some(Name(name)) = map.next_key()? {
                    match FIELDS.iter().position(|field| *field == name) {
                        None => _ = map.next_value::<IgnoredAny>()?,
                        Some(at) if fields.0[at].replace(map.next_value()?).is_some() => {
                            return Err(M::Error::custom(format_args!("field {name:?} is there twice")));
                        }
                        Some(_) => {}
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

fn fields(listed: &RawValue) -> Result<Fields<'_>, BadRequest> {
    serde_json::from_str(listed.get()).map_err(|error| BadRequest::Operation(error.to_string()))
}

fn operation(Fields([op, key, value, if_match, if_none_match]): Fields<'_>) -> Result<BatchOperation, BadRequest> {
    let op = text(op)?.ok_or(BadRequest::OperationWord)?;
    let action = match &*op {
        "put" => None,
        "get" => Some(Action::Get),
        "delete" => Some(Action::Delete),
        _ => return Err(BadRequest::OperationWord),
    };
    let key = Key::new(&text(key)?.ok_or(BadRequest::NoKey)?).map_err(|error| match error {
        KeyError::TooLong(_) => BadRequest::KeyTooLong,
        KeyError::Empty => BadRequest::NoKey,
    })?;
    let put = || match value.map(RawValue::get) {
        None | Some("null") => Err(BadRequest::NoValue),
        Some(text) => Ok(Action::Put(Value::new(text.as_bytes()))),
    };
    let action = action.map_or_else(put, Ok)?;
    let condition = Condition {
        if_match: condition(if_match, "if-match", Comparison::Strong)?,
        if_none_match: condition(if_none_match, "if-none-match", Comparison::Weak)?,
    };
    Ok(BatchOperation { key, action, condition })
}

/// The text of a field that is a string; none where there is no such field, or another kind of value.
fn text(field: Option<&RawValue>) -> Result<Option<std::borrow::Cow<'_, str>>, BadRequest> {
    field.map(RawValue::get).filter(|text| text.starts_with('"')).map(json::string).transpose()
}

/// A condition is written as the header of its name would be. `null` is none.
fn condition(
    field: Option<&RawValue>,
    name: &'static str,
    comparison: Comparison,
) -> Result<Option<Match>, BadRequest> {
    if field.is_none_or(|field| field.get() == "null") {
        return Ok(None);
    }
    let line = text(field)?.ok_or(BadRequest::OperationTags(name))?;
    let read = etag::read(std::iter::once(line.as_bytes()), name, comparison);
    read.map(Some).map_err(|_| BadRequest::OperationTags(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hence_core::{ClusterTag, Dot, Holders, Incarnation, Token, WriteConcern};
    use http::Request;
    use proptest::prelude::*;

    const CLUSTER: ClusterTag = ClusterTag(9);

    fn parsed(headers: &[(&str, &str)], body: &str) -> Result<Batch, Failure> {
        let mut request = Request::post("/kvs");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        parse(&parts, body.as_bytes(), &Limits::default(), &Mint::plain(CLUSTER))
    }

    fn list(operations: &str) -> String {
        format!("{{\"operations\":[{operations}]}}")
    }

    #[test]
    fn everything_at_once() {
        let past = VersionVector::from_entries([(Incarnation(1), 5)]);
        let token = Token(past.clone()).encode(CLUSTER);
        let body = format!(
            "{{\"causal-metadata\":\"{token}\",\"x\":1,\"operations\":[\
             {{\"op\":\"put\",\"key\":\"\\u0061\",\"value\": [1.0] ,\"if-none-match\":\"*\",\"y\":{{}}}},\
             {{\"op\":\"delete\",\"key\":\"b\",\"if-match\":\"\\\"0000000000000001-5\\\"\"}},\
             {{\"op\":\"get\",\"key\":\"b\",\"value\":1,\"if-match\":null}}]}}"
        );
        let batch = parsed(&[("prefer", "wait=2"), ("write-concern", "all")], &body).unwrap();
        let dot = Dot { incarnation: Incarnation(1), counter: 5 };
        let operation = |key, action, condition| BatchOperation { key: Key::new(key).unwrap(), action, condition };
        let absent = Condition { if_none_match: Some(Match::Any), ..Condition::default() };
        let same = Condition { if_match: Some(Match::OneOf(vec![vec![dot]])), ..Condition::default() };
        let operations = vec![
            operation("a", Action::Put(Value::new(b"[1.0]")), absent),
            operation("b", Action::Delete, same),
            operation("b", Action::Get, Condition::default()),
        ];
        let mut request = BatchRequest::new(operations, past, Micros::from_seconds(2)).unwrap();
        request.concern = Some(WriteConcern { holders: Holders::All, wait: Micros::from_seconds(2) });
        let form = Form { mint: Mint::plain(CLUSTER), siblings: false, waited: true, put: false, list: None };
        assert_eq!(batch, Batch { request, form });
    }

    #[test]
    fn what_is_wrong_is_told_with_its_index() {
        let good = "{\"op\":\"get\",\"key\":\"a\"}";
        let second = |bad: &str| match parsed(&[], &list(&format!("{good},{bad}"))) {
            Err(Failure::InBatch { index: 1, bad }) => bad,
            other => panic!("{bad}: {other:?}"),
        };
        for (bad, expected) in [
            ("{\"key\":\"a\"}", BadRequest::OperationWord),
            ("{\"op\":7,\"key\":\"a\"}", BadRequest::OperationWord),
            ("{\"op\":\"PUT\",\"key\":\"a\"}", BadRequest::OperationWord),
            ("{\"op\":\"get\"}", BadRequest::NoKey),
            ("{\"op\":\"get\",\"key\":[]}", BadRequest::NoKey),
            ("{\"op\":\"get\",\"key\":\"\"}", BadRequest::NoKey),
            ("{\"op\":\"put\",\"key\":\"a\"}", BadRequest::NoValue),
            ("{\"op\":\"put\",\"key\":\"a\",\"value\":null}", BadRequest::NoValue),
            ("{\"op\":\"get\",\"key\":\"a\",\"if-match\":1}", BadRequest::OperationTags("if-match")),
            ("{\"op\":\"get\",\"key\":\"a\",\"if-none-match\":\"x\"}", BadRequest::OperationTags("if-none-match")),
        ] {
            assert_eq!(second(bad), expected, "{bad}");
        }
        let long = format!("{{\"op\":\"get\",\"key\":\"{}\"}}", "k".repeat(51));
        assert_eq!(second(&long), BadRequest::KeyTooLong);
        for bad in ["7", "[]", "null", "{\"op\":\"get\",\"op\":\"get\",\"key\":\"a\"}"] {
            assert!(matches!(second(bad), BadRequest::Operation(_)), "{bad}");
        }
        assert!(matches!(second("{\"op\":\"get\",\"key\":\"\\ud800\"}"), BadRequest::BodyMalformed(_)));
    }

    #[test]
    fn what_is_no_batch() {
        for body in ["", "{}", "{\"operations\":null}", "{\"operations\":{}}", "{\"operations\":\"x\"}"] {
            assert_eq!(parsed(&[], body), Err(Failure::Bad(BadRequest::NoOperations)), "{body}");
        }
        assert_eq!(parsed(&[], &list("")), Err(BatchError::Empty.into()));
        let gets = |count| vec!["{\"op\":\"get\",\"key\":\"a\"}"; count].join(",");
        assert!(parsed(&[], &list(&gets(BATCH_MAX))).is_ok());
        assert_eq!(parsed(&[], &list(&gets(BATCH_MAX + 1))), Err(BatchError::TooMany.into()));
        let put = "{\"op\":\"put\",\"key\":\"a\",\"value\":1}";
        let twice = list(&format!("{put},{{\"op\":\"delete\",\"key\":\"a\"}}"));
        assert_eq!(parsed(&[], &twice), Err(BatchError::KeyTwice { index: 1 }.into()));
        assert!(matches!(parsed(&[], "{\"operations\":[}"), Err(Failure::Bad(BadRequest::BodyMalformed(_)))));
        let body = format!("{{\"causal-metadata\":1,\"operations\":[{put}]}}");
        assert_eq!(parsed(&[], &body), Err(Failure::Bad(BadRequest::MetadataType)));
    }

    #[test]
    fn a_concern_is_for_batches_that_write() {
        let concern = |line: &str, op: &str| {
            let body = list(&format!("{{\"op\":\"get\",\"key\":\"a\"}},{{\"op\":\"{op}\",\"key\":\"b\"}}"));
            parsed(&[("write-concern", line)], &body).map(|batch| batch.request.concern)
        };
        let wait = Micros::from_seconds(5);
        assert_eq!(concern("2", "delete"), Ok(Some(WriteConcern { holders: Holders::AtLeast(2), wait })));
        assert_eq!(concern("0", "delete"), Err(BadRequest::WriteConcern.into()));
        assert_eq!([concern("2", "get"), concern("nonsense", "get")], [Ok(None), Ok(None)]);
    }

    proptest! {
        #[test]
        fn nothing_panics(body in "[\\[\\]{}\":,a-e0-9 \\\\]{0,60}|\\PC{0,40}") {
            let _ = parsed(&[], &body);
            let _ = parsed(&[], &list(&body));
        }
    }
}
