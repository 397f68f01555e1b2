//! The tokens that a session holds.
//!
//! An answer's token covers the tokens that its request sent, and takes their place. Of requests that run at a time each
//! brings a token of its own. All are kept, and the next request sends them together: a replica joins what it is sent.

use crate::error::Error;

/// A token as text has at most so many bytes; a cluster may allow fewer.
const TOKEN_BYTES_MAX: usize = 1 << 20;

/// Tokens of which none is known to cover another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Past(Vec<String>);

impl Past {
    /// Reads tokens that a comma separates, as the header `Causal-Metadata` lists them.
    ///
    /// # Errors
    /// [`Error::Usage`] for what no token can be.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let mut past = Self::default();
        for token in text.split([',', '\n']).map(str::trim).filter(|token| !token.is_empty()) {
            if !is_token(token) {
                return Err(Error::Usage("this is no token of a session".into()));
            }
            past.add(token.to_owned());
        }
        Ok(past)
    }

    /// The tokens, for a request.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.0.clone()
    }

    /// An answer brought this token, and its request had sent those.
    pub(crate) fn learn(&mut self, sent: &[String], token: String) {
        self.0.retain(|own| !sent.contains(own));
        self.add(token);
    }

    /// Holds what the other holds, too.
    pub(crate) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|token| self.add(token.clone()));
    }

    fn add(&mut self, token: String) {
        if !self.0.contains(&token) {
            self.0.push(token);
        }
    }

    /// As the header lists them.
    pub(crate) fn text(&self) -> String {
        self.0.join(", ")
    }
}

/// Could this be a token?
pub(crate) fn is_token(text: &str) -> bool {
    let fits = (1..=TOKEN_BYTES_MAX).contains(&text.len());
    fits && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',' && byte != b'"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_replaces_what_its_request_sent_and_nothing_else() {
        let mut past = Past::parse("a, b").unwrap();
        let sent = past.tokens();
        past.learn(&[], "c".into());
        past.learn(&sent, "d".into());
        assert_eq!(past.tokens(), ["c", "d"]);
        past.learn(&sent, "e".into());
        assert_eq!(past.text(), "c, d, e");
        past.merge(&Past::parse("d,f\n").unwrap());
        assert_eq!(past.text(), "c, d, e, f");
        assert_eq!(Past::parse(&past.text()).unwrap(), past);
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in ["a b", "\"a\"", "ä", "a\0"] {
            assert!(Past::parse(text).is_err(), "{text}");
        }
        assert_eq!(Past::parse(" ,\n, ").unwrap(), Past::default());
    }
}
