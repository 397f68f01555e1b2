//! Which extensions a target has, found out before the run by asking for them.

use super::token::{Said, Token};
use crate::http::{self, Connection, Target};
use std::fmt;
use std::time::Duration;

/// What every target of a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Abilities {
    /// Metadata in a header, joined with the body's: two tokens can be merged.
    pub(crate) header: bool,
    /// `ETag` and `Causal-Superseded` name exactly what was shown and replaced; conditions are understood.
    pub(crate) exact: bool,
    /// `siblings=true` lists all concurrent versions.
    pub(crate) siblings: bool,
}

impl Abilities {
    /// Writes, reads and deletes a key of its own at each target.
    ///
    /// # Errors
    ///
    /// A target that does not answer, or that does not answer as the contract says.
    pub(crate) fn of(targets: &[Target], prefix: &str, patience: Duration) -> Result<Self, String> {
        let mut all = Self { header: true, exact: true, siblings: true };
        for (at, target) in targets.iter().enumerate() {
            let found = Self::at(target, &format!("{prefix}-probe{at}"), patience)?;
            all.header &= found.header;
            all.exact &= found.exact;
            all.siblings &= found.siblings;
        }
        Ok(all)
    }

    fn at(target: &Target, key: &str, patience: Duration) -> Result<Self, String> {
        let mut connection = Connection::new(target.clone(), patience);
        let mut request = Vec::new();
        let mut ask = |method: &str, query: &str, body: &str, expected: u16| {
            let json = [("content-type", "application/json")];
            http::request(&mut request, target, method, &format!("/kvs/{key}{query}"), &json, Some(body.as_bytes()));
            let at = |problem: String| format!("{}: {method} /kvs/{key}: {problem}", target.address);
            let answer = connection.exchange(&request, false).map_err(|error| at(error.to_string()))?;
            if answer.status != expected && expected != 0 {
                let body = String::from_utf8_lossy(answer.body);
                return Err(at(format!("answered {} instead of {expected}: {body}", answer.status)));
            }
            let has = |name: &str| answer.header(name).is_some();
            Ok((Said::by(&answer), has("causal-metadata"), has("etag") && has("causal-superseded")))
        };
        let (said, header, exact) = ask("PUT", "", "{\"value\":\"probe\",\"causal-metadata\":null}", 201)?;
        let metadata = said.token.as_ref().map_or("null", Token::json);
        let body = format!("{{\"causal-metadata\":{metadata}}}");
        let (read, ..) = ask("GET", "?siblings=true", &body, 0)?;
        let siblings = read.siblings.is_some_and(|list| list == ["\"probe\""]);
        ask("DELETE", "", &body, 0)?;
        Ok(Self { header: header && said.token.is_some_and(|token| token.fits_a_header()), exact, siblings })
    }
}

impl fmt::Display for Abilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = [(self.header, "metadata in a header"), (self.exact, "exact sets"), (self.siblings, "siblings")];
        let has: Vec<&str> = known.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect();
        if has.is_empty() {
            return f.write_str("no extensions, so nothing is merged");
        }
        write!(f, "extensions used: {}", has.join(", "))
    }
}
