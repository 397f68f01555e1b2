//! A client's causal past as the target put it, and what is read out of an answer.
//!
//! The metadata of an answer is opaque: any JSON, sent back as it came. In the history a token that is a plain string
//! stands without its quotes, anything else as its JSON text.

use crate::http::Answer;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;

/// The JSON text of what the target gave as `causal-metadata`; never one that means "no dependencies".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token(Arc<str>);

impl Token {
    fn of_json(text: &str) -> Option<Self> {
        (!matches!(text, "null" | "\"\"" | "{}")).then(|| Self(text.into()))
    }

    pub(crate) fn of_header(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(format!("\"{text}\"").into()))
    }

    /// As it stands in a body.
    pub(crate) fn json(&self) -> &str {
        &self.0
    }

    /// As it stands in a header and in the history: without quotes, if nothing in it is escaped.
    pub(crate) fn plain(&self) -> &str {
        let inner = self.0.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        inner.filter(|text| !text.contains('\\')).unwrap_or(&self.0)
    }

    /// Whether it can travel in a header.
    pub(crate) fn fits_a_header(&self) -> bool {
        self.0.len() - self.plain().len() == 2 && self.plain().bytes().all(|byte| byte.is_ascii_graphic())
    }
}

#[derive(Deserialize)]
struct Sibling<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
}

#[derive(Deserialize, Default)]
struct Body<'a> {
    #[serde(borrow, rename = "causal-metadata")]
    metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    siblings: Option<Vec<Sibling<'a>>>,
}

/// What an answer says.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// The client's past after it: from the body, else from the header.
    pub(crate) token: Option<Token>,
    pub(crate) value: Option<String>,
    pub(crate) siblings: Option<Vec<String>>,
    /// The raw `ETag`.
    pub(crate) etag: Option<String>,
}

impl Said {
    pub(crate) fn by(answer: &Answer<'_>) -> Self {
        let body = serde_json::from_slice::<Body<'_>>(answer.body).unwrap_or_default();
        let in_header = || answer.header("causal-metadata").and_then(Token::of_header);
        let list = |siblings: Vec<Sibling<'_>>| siblings.iter().map(|one| one.value.get().to_owned()).collect();
        Self {
            token: body.metadata.and_then(|raw| Token::of_json(raw.get())).or_else(in_header),
            value: body.value.map(|raw| raw.get().to_owned()),
            siblings: body.siblings.map(list),
            etag: answer.header("etag").map(str::to_owned),
        }
    }
}

/// The versions in an `ETag` or `Causal-Superseded`: one tag, its versions joined by `+`.
pub(crate) fn versions(tag: &str) -> Vec<String> {
    let opaque = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
    opaque.split('+').filter(|version| !version.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_any_kind_go_back_as_they_came() {
        let strings = Token::of_json("\"abc\"").expect("a token");
        assert_eq!((strings.json(), strings.plain(), strings.fits_a_header()), ("\"abc\"", "abc", true));
        for text in ["{\"a\":1}", "[3,4]", "17", "\"a\\\"b\""] {
            let token = Token::of_json(text).expect("a token");
            assert_eq!((token.json(), token.plain(), token.fits_a_header()), (text, text, false));
        }
        assert!(["null", "{}", "\"\""].iter().all(|text| Token::of_json(text).is_none()));
        assert_eq!(versions("\"a-1+b-2\""), ["a-1", "b-2"]);
        assert_eq!(versions("\"\""), [""; 0]);
    }
}
