//! Which extensions a target has, found out before the run by asking for them.

use super::token::{Said, Token};
use super::watcher;
use crate::http::{self, Connection, Events, Target};
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
    /// `POST /kvs` takes batches.
    pub(crate) batches: bool,
    /// `GET /kvs` lists keys.
    pub(crate) lists: bool,
    /// Keys can be watched as server-sent events.
    pub(crate) watches: bool,
}

impl Abilities {
    /// Writes, reads and deletes a key of its own at each target.
    ///
    /// # Errors
    ///
    /// A target that does not answer, or that does not answer as the contract says.
    pub(crate) fn of(targets: &[Target], prefix: &str, patience: Duration) -> Result<Self, String> {
        let mut all = Self { header: true, exact: true, siblings: true, batches: true, lists: true, watches: true };
        for (at, target) in targets.iter().enumerate() {
            let found = Self::at(target, &format!("{prefix}-probe{at}"), patience)?;
            all.header &= found.header;
            all.exact &= found.exact;
            all.siblings &= found.siblings;
            all.batches &= found.batches;
            all.lists &= found.lists;
            all.watches &= found.watches;
        }
        Ok(all)
    }

    fn at(target: &Target, key: &str, patience: Duration) -> Result<Self, String> {
        let mut connection = Connection::new(target.clone(), patience);
        let mut request = Vec::new();
        let path = format!("/kvs/{key}");
        let mut ask = |method: &str, path: &str, body: &str, expected: u16| {
            let json = [("content-type", "application/json")];
            http::request(&mut request, target, method, path, &json, Some(body.as_bytes()));
            let at = |problem: String| format!("{}: {method} {path}: {problem}", target.address);
            let answer = connection.exchange(&request, false).map_err(|error| at(error.to_string()))?;
            if answer.status != expected && expected != 0 {
                let body = String::from_utf8_lossy(answer.body);
                return Err(at(format!("answered {} instead of {expected}: {body}", answer.status)));
            }
            let has = |name: &str| answer.header(name).is_some();
            let several = answer.status == 200 && answer.body.starts_with(b"{\"res");
            Ok((Said::by(&answer), has("causal-metadata"), has("etag") && has("causal-superseded"), several))
        };
        let (said, header, exact, _) = ask("PUT", &path, "{\"value\":\"probe\",\"causal-metadata\":null}", 201)?;
        let metadata = said.token.as_ref().map_or("null", Token::json);
        let body = format!("{{\"causal-metadata\":{metadata}}}");
        let (read, ..) = ask("GET", &format!("{path}?siblings=true"), &body, 0)?;
        let siblings = read.siblings.is_some_and(|list| list == ["\"probe\""]);
        ask("DELETE", &path, &body, 0)?;
        let batch = format!("{{\"operations\":[{{\"op\":\"get\",\"key\":\"{key}\"}}]}}");
        let batches = ask("POST", "/kvs", &batch, 0)?.3;
        let lists = ask("GET", &format!("/kvs?prefix={key}&limit=1"), "", 0)?.3;
        let header = header && said.token.is_some_and(|token| token.fits_a_header());
        let watched = watcher::request(&mut request, target, key, None, None);
        let watches = header && Events::open(target, patience, watched).is_ok_and(|opened| opened.is_ok());
        Ok(Self { header, exact, siblings, batches, lists, watches })
    }
}

impl fmt::Display for Abilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = [
            (self.header, "metadata in a header"),
            (self.exact, "exact sets"),
            (self.siblings, "siblings"),
            (self.batches, "batches"),
            (self.lists, "lists"),
            (self.watches, "watches"),
        ];
        let has: Vec<&str> = known.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect();
        if has.is_empty() {
            return f.write_str("no extensions, so nothing is merged");
        }
        write!(f, "extensions used: {}", has.join(", "))
    }
}
