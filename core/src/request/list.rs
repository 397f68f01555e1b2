//! What a client asks of the keys of a range, and what it gets (LIST-1 to LIST-3).

use crate::data::{Key, Value};
use crate::op::Dots;
use crate::time::Micros;
use crate::vector::VersionVector;
use alloc::string::String;
use alloc::vec::Vec;

/// The most keys and common prefixes of one page.
pub const LIST_MAX: usize = 1_000;

/// A request for the keys of a range, in the order of their bytes.
///
/// All bounds hold together. A page shows the state of one moment. The next page may show a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRequest {
    /// Only keys that begin with this.
    pub prefix: String,
    /// Only keys at or above this text; the empty one is no bound.
    pub start: String,
    /// Only keys below this text.
    pub end: Option<String>,
    /// At most so many keys and common prefixes: 1 to [`LIST_MAX`]. What is outside counts as the nearest of these.
    pub limit: usize,
    /// From the last key to the first.
    pub reverse: bool,
    /// Keys that have this text behind the prefix are shown as one common prefix, which ends with it. The empty text is
    /// no delimiter.
    pub delimiter: String,
    /// What of each key.
    pub shape: ListShape,
    /// The client's causal past: the join of all tokens it sent.
    pub past: VersionVector,
    /// How long to wait for missing dependencies instead of a refusal; zero is not at all.
    pub wait: Micros,
}

/// What a list shows of each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListShape {
    /// Its name, its versions and its winner's value.
    #[default]
    Values,
    /// Its name and its versions.
    Keys,
    /// Nothing: keys and common prefixes are counted.
    Count,
}

/// A page: exactly what is there of the range, from where it begins to [`Self::next`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListAnswer {
    /// The keys, in the order asked for; none of a count.
    pub items: Vec<Listed>,
    /// The common prefixes, in the order asked for; none of a count.
    pub prefixes: Vec<String>,
    /// How many keys and common prefixes.
    pub count: usize,
    /// Where the next page begins, if there is one: its `start`, or in reverse its `end`.
    pub next: Option<String>,
    /// The client's causal past from now on.
    pub token: VersionVector,
}

/// A key of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The key.
    pub key: Key,
    /// Its versions, sorted by dot.
    pub dots: Dots,
    /// The winner's value, if values were asked for.
    pub value: Option<Value>,
}

impl ListRequest {
    /// Every key, as many as a page may have.
    #[must_use]
    pub const fn all(past: VersionVector) -> Self {
        Self {
            prefix: String::new(),
            start: String::new(),
            end: None,
            limit: LIST_MAX,
            reverse: false,
            delimiter: String::new(),
            shape: ListShape::Values,
            past,
            wait: Micros::ZERO,
        }
    }

    /// The common prefix that stands for this key; none where the key stands for itself.
    ///
    /// ```
    /// use hence_core::{ListRequest, VersionVector};
    /// let list = ListRequest { prefix: "a/".into(), delimiter: "/".into(), ..ListRequest::all(VersionVector::new()) };
    /// assert_eq!(list.common_prefix("a/b/c"), Some("a/b/"));
    /// assert_eq!(list.common_prefix("a/b"), None);
    /// ```
    #[must_use]
    pub fn common_prefix<'a>(&self, key: &'a str) -> Option<&'a str> {
        if self.delimiter.is_empty() {
            return None;
        }
        let at = key.strip_prefix(self.prefix.as_str())?.find(&self.delimiter)?;
        key.get(..self.prefix.len() + at + self.delimiter.len())
    }

    /// Is this key in the range?
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        key.starts_with(&self.prefix) && *key >= *self.start && self.end.as_ref().is_none_or(|end| *key < **end)
    }

    /// The same list from where the next page begins.
    #[must_use]
    pub fn after(&self, next: String) -> Self {
        let mut list = self.clone();
        if self.reverse {
            list.end = Some(next);
        } else {
            list.start = next;
        }
        list
    }

    /// The lowest text of the range.
    pub(crate) fn lowest(&self) -> &str {
        self.prefix.as_str().max(&self.start)
    }

    /// The lowest text above the range; none where there is no such.
    pub(crate) fn end(&self) -> Option<String> {
        let beyond = above_all_with(&self.prefix);
        match (&self.end, beyond) {
            (Some(end), Some(beyond)) => Some(beyond.min(end.clone())),
            (Some(end), None) => Some(end.clone()),
            (None, beyond) => beyond,
        }
    }

    /// Bytes of the texts that it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.prefix.len() + self.start.len() + self.end.as_ref().map_or(0, String::len) + self.delimiter.len()
    }
}

/// The lowest text that is above all with this prefix; none where there is no such.
pub(crate) fn above_all_with(prefix: &str) -> Option<String> {
    let mut text = String::from(prefix);
    while let Some(last) = text.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'), // surrogates, which are no characters, lie between
            last => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list() -> ListRequest {
        ListRequest::all(VersionVector::new())
    }

    #[test]
    fn what_comes_after_a_prefix() {
        for (prefix, expected) in [
            ("", None),
            ("a", Some("b")),
            ("a/", Some("a0")),
            ("\u{7f}", Some("\u{80}")),
            ("a\u{d7ff}", Some("a\u{e000}")),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}\u{10ffff}", None),
        ] {
            assert_eq!(above_all_with(prefix).as_deref(), expected, "{prefix:?}");
        }
    }

    proptest! {
        #[test]
        fn a_prefix_is_a_range(prefix in "\\PC{0,3}|[a\u{d7ff}\u{10ffff}]{0,3}", key in "\\PC{0,5}|[ab\u{d7ff}\u{e000}\u{10ffff}]{0,5}") {
            let within = *key >= *prefix && above_all_with(&prefix).is_none_or(|end| key < end);
            prop_assert_eq!(within, key.starts_with(&prefix));
        }

        #[test]
        fn all_bounds_hold_together(texts in proptest::collection::vec("[ab]{0,3}", 4)) {
            let [prefix, start, end, key] = <[String; 4]>::try_from(texts).expect("four");
            let list = ListRequest { prefix, start, end: Some(end), ..list() };
            let within = *key >= *list.lowest() && list.end().is_none_or(|end| key < end);
            prop_assert_eq!(within, list.contains(&key));
        }
    }

    #[test]
    fn common_prefixes() {
        let delimited = |prefix: &str, delimiter: &str| ListRequest {
            prefix: prefix.into(),
            delimiter: delimiter.into(),
            ..list()
        };
        for (prefix, delimiter, key, expected) in [
            ("", "", "a/b", None),
            ("", "/", "ab", None),
            ("", "/", "a/b/c", Some("a/")),
            ("", "/", "/", Some("/")),
            ("a/", "/", "a/b/c", Some("a/b/")),
            ("a/", "/", "a/", None),
            ("a", "::", "a::b", Some("a::")),
            ("a", "ä", "aäb", Some("aä")),
            ("b", "/", "a/b", None),
        ] {
            assert_eq!(delimited(prefix, delimiter).common_prefix(key), expected, "{prefix} {delimiter} {key}");
        }
    }
}
