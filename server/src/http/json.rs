//! Request bodies: JSON read in place, the value kept as the bytes that were sent.
//!
//! Nothing here recurses, whatever the nesting, and nothing but names and tokens is copied. A field that
//! counts may stand there once; unknown fields are skipped.

use super::bad_request::BadRequest;
use hence_core::Address;
use memchr::memchr2;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// The two fields of a body that count: the second as it stands there, the first, too, or read already.
#[derive(Debug)]
struct Fields<'a, F = &'a RawValue> {
    first: Option<F>,
    second: Option<&'a RawValue>,
    twice: Option<&'static str>,
}

/// The body of a request for a key, or for several. Its value, or its operations, are as they stand there, or read
/// already.
#[derive(Debug)]
pub(crate) struct DataBody<'a, F = &'a RawValue> {
    value: Option<F>,
    metadata: Option<&'a RawValue>,
}

impl<'a> DataBody<'a> {
    /// Reads the body of a request for a key; an empty one has no fields.
    ///
    /// # Errors
    /// A body that is not UTF-8, not JSON, not an object, nested too deep or has one of its fields twice.
    pub(crate) fn parse(body: &'a [u8], nesting_max: usize) -> Result<Self, BadRequest> {
        let fields = parse(body, nesting_max, Names { first: "value", second: Some("causal-metadata") })?;
        Ok(Self { value: fields.first, metadata: fields.second })
    }

    /// The operations of a batch as they stand there, if they are a list.
    pub(crate) fn list(&self) -> Option<&'a str> {
        self.value.map(RawValue::get).filter(|text| text.starts_with('['))
    }

    /// The value to write, exactly as it was sent.
    ///
    /// # Errors
    /// [`BadRequest::NoValue`] where there is none, or `null`.
    pub(crate) fn value(&self) -> Result<&'a [u8], BadRequest> {
        match self.value.map(RawValue::get) {
            None | Some("null") => Err(BadRequest::NoValue),
            Some(text) => Ok(text.as_bytes()),
        }
    }
}

impl<'a, F> DataBody<'a, F> {
    /// Reads the body of a batch in the same way.
    ///
    /// # Errors
    /// As [`Self::parse`]. [`BadRequest::BodyNotObject`] also where the operations do not read as `F`.
    pub(crate) fn parse_batch(body: &'a [u8], nesting_max: usize) -> Result<Self, BadRequest>
    where
        F: Deserialize<'a>,
    {
        let fields = parse(body, nesting_max, Names { first: "operations", second: Some("causal-metadata") })?;
        Ok(Self { value: fields.first, metadata: fields.second })
    }

    /// The operations of a batch.
    pub(crate) fn take_operations(&mut self) -> Option<F> {
        self.value.take()
    }

    /// The token's text; `None` where the client has no past: no field, `null`, `""` or `{}`.
    ///
    /// # Errors
    /// [`BadRequest::MetadataType`] for any other kind of value.
    pub(crate) fn token(&self) -> Result<Option<Cow<'a, str>>, BadRequest> {
        let Some(text) = self.metadata.map(RawValue::get) else { return Ok(None) };
        match text.as_bytes() {
            b"null" | b"\"\"" => Ok(None),
            [b'"', ..] => string(text).map(|token| (!token.is_empty()).then_some(token)),
            [b'{', inner @ .., b'}'] if inner.trim_ascii().is_empty() => Ok(None),
            _ => Err(BadRequest::MetadataType),
        }
    }
}

/// Reads the body of a change of the view: which address.
///
/// # Errors
/// As [`DataBody::parse`]; and where there is no usable address.
pub(crate) fn parse_view(body: &[u8], nesting_max: usize) -> Result<Address, BadRequest> {
    let fields: Fields<'_> = parse(body, nesting_max, Names { first: "socket-address", second: None })?;
    let text = fields.first.map(RawValue::get).filter(|text| text.starts_with('"'));
    let address = string(text.ok_or(BadRequest::NoAddress)?)?;
    Address::parse(&address).map_err(BadRequest::Address)
}

/// A JSON string's text.
pub(super) fn string(text: &str) -> Result<Cow<'_, str>, BadRequest> {
    let inner = &text[1..text.len() - 1];
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    serde_json::from_str(text).map(Cow::Owned).map_err(|error| BadRequest::BodyMalformed(error.to_string()))
}

fn parse<'a, F: Deserialize<'a>>(
    body: &'a [u8],
    nesting_max: usize,
    names: Names,
) -> Result<Fields<'a, F>, BadRequest> {
    if body.is_empty() {
        return Ok(Fields::NONE);
    }
    let text = std::str::from_utf8(body).map_err(|_| not_text(body))?;
    if text.starts_with('\u{feff}') {
        return Err(BadRequest::BodyMarked);
    }
    if nesting(body) > nesting_max {
        return Err(BadRequest::BodyTooDeep { nesting_max });
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let fields = deserializer.deserialize_map(Object { names, first: PhantomData });
    let fields = fields.and_then(|fields| deserializer.end().map(|()| fields)).map_err(|error| {
        if error.is_data() { BadRequest::BodyNotObject } else { BadRequest::BodyMalformed(error.to_string()) }
    })?;
    match fields.twice {
        Some(name) => Err(BadRequest::FieldTwice(name)),
        None => Ok(fields),
    }
}

/// Why these bytes are not UTF-8, as far as their beginning tells.
fn not_text(body: &[u8]) -> BadRequest {
    match body {
        // UTF-16 and UTF-32, in either order of bytes.
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 0, 0xfe, 0xff, ..] => BadRequest::BodyMarked,
        [0x1f, 0x8b, ..] => BadRequest::BodyCompressed("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => BadRequest::BodyCompressed("zstd"),
        _ => BadRequest::BodyNotText,
    }
}

/// How deep arrays and objects stand in each other, strings left out. The text need not be JSON.
fn nesting(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => rest = after_string(tail),
            _ => {}
        }
    }
    deepest
}

/// What follows the string whose inside this text begins with.
fn after_string(mut text: &[u8]) -> &[u8] {
    while let Some(at) = memchr2(b'"', b'\\', text) {
        let (found, rest) = (text[at], &text[at + 1..]);
        if found == b'"' {
            return rest;
        }
        text = rest.get(1..).unwrap_or_default();
    }
    &[]
}

/// The names of the fields that count.
struct Names {
    first: &'static str,
    second: Option<&'static str>,
}

impl<F> Fields<'_, F> {
    const NONE: Self = Self { first: None, second: None, twice: None };
}

/// Reads an object with these fields.
struct Object<F> {
    names: Names,
    first: PhantomData<F>,
}

impl<'a, F: Deserialize<'a>> Visitor<'a> for Object<F> {
    type Value = Fields<'a, F>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let (mut fields, Names { first, second }) = (Fields::NONE, self.names);
        while let Some(Name(name)) = map.next_key()? {
            let twice = if name == first {
                fields.first.replace(map.next_value()?).is_some().then_some(first)
            } else if let Some(second) = second
                && name == second
            {
                fields.second.replace(map.next_value()?).is_some().then_some(second)
            } else {
                map.next_value::<IgnoredAny>()?;
                None
            };
            fields.twice = twice.or(fields.twice);
        }
        Ok(fields)
    }
}

/// A field's name, copied only where it has escapes.
pub(super) struct Name<'a>(pub(super) Cow<'a, str>);

impl<'a> Deserialize<'a> for Name<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'a> Visitor<'a> for NameVisitor {
            type Value = Name<'a>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }
            fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.into())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hence_core::AddressError;
    use proptest::prelude::*;

    const NESTING_MAX: usize = 128;

    fn value(body: &str) -> Result<String, BadRequest> {
        let data = DataBody::parse(body.as_bytes(), NESTING_MAX)?;
        data.value().map(|value| String::from_utf8(value.into()).expect("UTF-8"))
    }

    fn token(body: &str) -> Result<Option<String>, BadRequest> {
        Ok(DataBody::parse(body.as_bytes(), NESTING_MAX)?.token()?.map(Cow::into_owned))
    }

    #[test]
    fn values_come_back_as_they_were_sent() {
        let values = [
            "0",
            "-0",
            "1.0",
            "1e400",
            "123456789012345678901234567890",
            "18446744073709551617",
            "\"\"",
            "\"a\\u00e4\"",
            "\"\\ud800\"",
            "true",
            "false",
            "[]",
            "{}",
            "[ 1 , 2 ]",
            "{\"value\":1,\"value\":2}",
            "\"null\"",
            "[\n]",
        ];
        for sent in values {
            let body = format!(" {{ \"x\" : [{{}}] , \"value\" :  {sent}  , \"causal-metadata\": null }} ");
            assert_eq!(value(&body).as_deref(), Ok(sent), "{body}");
        }
        assert_eq!(value("{\"v\\u0061lue\":7}").as_deref(), Ok("7"));
    }

    #[test]
    fn no_value() {
        for body in ["", "{}", "{\"value\":null}", "{\"value\": null }", "{\"Value\":1}", "{\"\":1}"] {
            assert_eq!(value(body), Err(BadRequest::NoValue), "{body}");
        }
    }

    #[test]
    fn tokens() {
        for (body, expected) in [
            ("", Ok(None)),
            ("{}", Ok(None)),
            ("{\"causal-metadata\":null}", Ok(None)),
            ("{\"causal-metadata\":\"\"}", Ok(None)),
            ("{\"causal-metadata\":{}}", Ok(None)),
            ("{\"causal-metadata\":{ \n}}", Ok(None)),
            ("{\"causal-metadata\":\"abc\"}", Ok(Some("abc".into()))),
            ("{\"causal-metadata\":\"\\u0061bc\"}", Ok(Some("abc".into()))),
            ("{\"causal-metadata\":{\"a\":1}}", Err(BadRequest::MetadataType)),
            ("{\"causal-metadata\":[]}", Err(BadRequest::MetadataType)),
            ("{\"causal-metadata\":0}", Err(BadRequest::MetadataType)),
            ("{\"causal-metadata\":false}", Err(BadRequest::MetadataType)),
        ] {
            assert_eq!(token(body), expected, "{body}");
        }
        assert!(matches!(token("{\"causal-metadata\":\"\\ud800\"}"), Err(BadRequest::BodyMalformed(_))));
    }

    #[test]
    fn bodies_that_are_refused() {
        for body in ["[]", "1", "\"a\"", "null", "true", "[{\"value\":1}]"] {
            assert_eq!(value(body), Err(BadRequest::BodyNotObject), "{body}");
        }
        let malformed = [
            "{",
            "}",
            "{]",
            "{\"value\"}",
            "{\"value\":}",
            "{\"value\":1,}",
            "{value:1}",
            "{'value':1}",
            "{\"value\":01}",
            "{\"value\":+1}",
            "{\"value\":.5}",
            "{\"value\":NaN}",
            "{\"value\":\"a\nb\"}",
            "{\"value\":1}x",
            "{} {}",
            " ",
            "{\"value\":1 2}",
            "{\"value\":\"\\x\"}",
            "{\"value\":tru}",
            "{\"value\":1}\0",
            "{\"\\ud800\":1}",
            "{\"value\":1e}",
            "{\"value\":\"",
        ];
        for body in malformed {
            assert!(matches!(value(body), Err(BadRequest::BodyMalformed(_))), "{body}: {:?}", value(body));
        }
        for (body, name) in [
            ("{\"value\":1,\"value\":1}", "value"),
            ("{\"causal-metadata\":null,\"a\":1,\"causal-metadata\":null}", "causal-metadata"),
            ("{\"value\":1,\"\\u0076alue\":1}", "value"),
        ] {
            assert_eq!(value(body), Err(BadRequest::FieldTwice(name)), "{body}");
        }
        for (body, expected) in [
            (b"{\"a\":\"\xff\"}".as_slice(), BadRequest::BodyNotText),
            (b"\xef\xbb\xbf{}", BadRequest::BodyMarked),
            (b"\xff\xfe{\0}\0", BadRequest::BodyMarked),
            (b"\xfe\xff\0{\0}", BadRequest::BodyMarked),
            (b"\0\0\xfe\xff\0\0\0{", BadRequest::BodyMarked),
            (b"\x1f\x8b\x08\0\0\0\0\0", BadRequest::BodyCompressed("gzip")),
            (b"\x28\xb5\x2f\xfd\x20\x02", BadRequest::BodyCompressed("zstd")),
        ] {
            assert_eq!(DataBody::parse(body, 128).err(), Some(expected), "{body:?}");
        }
    }

    #[test]
    fn nesting_is_counted_and_never_recursed_into() {
        let nested = |levels: usize| format!("{{\"value\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(value(&nested(128)).is_ok());
        assert_eq!(value(&nested(129)), Err(BadRequest::BodyTooDeep { nesting_max: 128 }));
        assert_eq!(value(&nested(1_000_000)), Err(BadRequest::BodyTooDeep { nesting_max: 128 }));
        assert_eq!(value(&"[".repeat(1_000_000)), Err(BadRequest::BodyTooDeep { nesting_max: 128 }));
        let flat = format!("{{\"value\":\"{}\\\"{}\"}}", "[".repeat(500), "{".repeat(500));
        assert!(value(&flat).is_ok());
        // Deep in an unknown field, with the limit out of the way: no stack is used up.
        let deep = format!("{{\"x\":{}{},\"value\":1}}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(DataBody::parse(deep.as_bytes(), usize::MAX).unwrap().value(), Ok(b"1".as_slice()));
    }

    #[test]
    fn view_bodies() {
        let parse = |body: &str| parse_view(body.as_bytes(), NESTING_MAX).map(|address| address.as_str().to_owned());
        assert_eq!(parse("{\"socket-address\":\"10.0.0.2:8090\",\"x\":1}").as_deref(), Ok("10.0.0.2:8090"));
        for body in ["", "{}", "{\"socket-address\":null}", "{\"socket-address\":1}", "{\"socket-address\":[\"a:1\"]}"]
        {
            assert_eq!(parse(body), Err(BadRequest::NoAddress), "{body}");
        }
        assert_eq!(parse("{\"socket-address\":\"\"}"), Err(BadRequest::Address(AddressError::Empty)));
        assert_eq!(
            parse("{\"socket-address\":\"a:1\",\"socket-address\":\"a:1\"}"),
            Err(BadRequest::FieldTwice("socket-address"))
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(data) = DataBody::parse(&body, 16) {
                let _ = (data.value(), data.token());
            }
            let _ = parse_view(&body, 16);
        }

        #[test]
        fn nearly_json_never_panics(body in "[\\[\\]{}\",:\\\\ulnvate0-9.\\-+ ]{0,80}", name in 0..3_usize) {
            let field = ["value", "causal-metadata", "socket-address"][name];
            for text in [body.clone(), format!("{{\"{field}\":{body}}}"), format!("{{\"{field}\":\"{body}\"}}")] {
                // What is taken for JSON is JSON for another reader, too.
                if let Ok(data) = DataBody::parse(text.as_bytes(), 16) {
                    prop_assert!(text.is_empty() || serde_json::from_str::<IgnoredAny>(&text).is_ok());
                    let _ = (data.value(), data.token());
                }
                let _ = parse_view(text.as_bytes(), 16);
            }
        }
    }
}
