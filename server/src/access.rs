//! Who may ask what: bearer tokens (RFC 6750) with scopes.
//!
//! A file has a line for each token: its scopes, and the SHA-256 of it. So the file opens nothing to its readers. A file
//! that changes is read again within a second. One that cannot be read then changes nothing. Without a file everything
//! is open.
//!
//! Invariant kept here: no token and no line of the file reaches a log, an error or a metric.

use crate::settings::SettingError;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest as _, Sha256};
use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use tracing::{info, warn};

/// The file is looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Tokens in a file.
const TOKENS_MAX: usize = 1_024;

/// What a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// To read keys.
    Read = 1,
    /// To write keys.
    Write = 2,
    /// To read and change the view.
    View = 4,
    /// To read metrics and the state.
    Metrics = 8,
}

impl Scope {
    const ALL: [Self; 4] = [Self::Read, Self::Write, Self::View, Self::Metrics];

    /// Its name in the file and in answers.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::View => "view",
            Self::Metrics => "metrics",
        }
    }
}

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It bears no token.
    NoToken,
    /// It bears one that is not known.
    Unknown,
    /// Its token lacks this scope.
    Lacks(Scope),
}

/// A token that is known, and the scopes that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Grant {
    hash: [u8; 32],
    scopes: u8,
}

/// The tokens of a file.
#[derive(Debug)]
pub(crate) struct Access {
    path: PathBuf,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    grants: Vec<Grant>,
    /// When the file was changed last, and its length.
    stamp: Option<(SystemTime, u64)>,
    looked: Instant,
}

/// Can this file be used?
///
/// # Errors
/// [`SettingError`] says which line is wrong, and not what it holds.
pub(crate) fn check(path: &Path) -> Result<(), SettingError> {
    read(path).map(drop).map_err(|allowed| SettingError {
        name: "HENCE_ACCESS_FILE".into(),
        value: path.display().to_string(),
        allowed,
    })
}

fn read(path: &Path) -> Result<Vec<Grant>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("a file that can be read ({})", error.kind()))?;
    let lines = (1..).zip(text.lines().map(str::trim));
    let grants = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(|(number, line)| {
        let form = "scopes of read, write, view and metrics, separated by commas, then the SHA-256 of a token";
        grant(line).ok_or_else(|| format!("a file of lines like \"read,write HASH\": {form}. Line {number} is not"))
    });
    let grants: Vec<Grant> = grants.collect::<Result<_, _>>()?;
    if grants.len() > TOKENS_MAX { Err(format!("a file of at most {TOKENS_MAX} tokens")) } else { Ok(grants) }
}

fn grant(line: &str) -> Option<Grant> {
    let (scopes, hash) = line.split_once(char::is_whitespace)?;
    let scope = |name: &str| Scope::ALL.into_iter().find(|scope| scope.name() == name).map(|scope| scope as u8);
    let scopes = scopes.split(',').try_fold(0, |scopes, name| Some(scopes | scope(name)?))?;
    let hash = hash.trim();
    let byte = |at: usize| u8::from_str_radix(hash.get(2 * at..2 * at + 2)?, 16).ok();
    let mut bytes = [0; 32];
    for (at, place) in bytes.iter_mut().enumerate() {
        *place = byte(at)?;
    }
    (hash.len() == 64).then_some(Grant { hash: bytes, scopes })
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

impl Access {
    /// The tokens of this file. Where it cannot be read no token is known.
    pub(crate) fn new(path: &Path) -> Self {
        let stamp = stamp(path);
        let state = State { grants: read(path).unwrap_or_default(), stamp, looked: Instant::now() };
        Self { path: path.to_owned(), state: RefCell::new(state) }
    }

    /// May a request with these headers do that?
    pub(crate) fn check(&self, headers: &HeaderMap, scope: Scope) -> Result<(), Denied> {
        self.look_again();
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let (Some(given), None) = (given.next(), given.next()) else { return Err(Denied::NoToken) };
        let (scheme, token) = given.as_bytes().split_at_checked(7).ok_or(Denied::NoToken)?;
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return Err(Denied::NoToken);
        }
        let hash: [u8; 32] = Sha256::digest(token.trim_ascii()).into();
        // Every grant is compared to its end, so that the time says nothing of where a hash differs.
        let same =
            |grant: &Grant| grant.hash.iter().zip(hash).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0;
        let state = self.state.borrow();
        let known =
            state.grants.iter().fold(
                None,
                |known: Option<u8>, grant| {
                    if same(grant) { Some(known.unwrap_or(0) | grant.scopes) } else { known }
                },
            );
        match known {
            None => Err(Denied::Unknown),
            Some(scopes) if scopes & scope as u8 == 0 => Err(Denied::Lacks(scope)),
            Some(_) => Ok(()),
        }
    }

    fn look_again(&self) {
        let mut state = self.state.borrow_mut();
        if state.looked.elapsed() < LOOK_EVERY {
            return;
        }
        state.looked = Instant::now();
        let stamp = stamp(&self.path);
        if stamp == state.stamp {
            return;
        }
        state.stamp = stamp;
        match read(&self.path) {
            Ok(grants) => {
                info!(tokens = grants.len(), "the file of access tokens was read again");
                state.grants = grants;
            }
            Err(allowed) => warn!("the file of access tokens changed and is not used: it must be {allowed}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    /// The SHA-256 of "secret".
    const HASH: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    #[test]
    fn lines_are_read_strictly() {
        let scopes = |line: &str| grant(line).map(|grant| grant.scopes);
        assert_eq!(scopes(&format!("read {HASH}")), Some(1));
        assert_eq!(scopes(&format!("metrics,read,write,view  {HASH}")), Some(15));
        let short = &HASH[..62];
        for wrong in ["", "read", HASH, &format!("read, {HASH}"), &format!("all {HASH}"), &format!("read {short}")] {
            assert_eq!(scopes(wrong), None, "{wrong}");
        }
        assert_eq!(scopes(&format!("read {HASH}00")), None);
    }

    #[test]
    fn a_token_opens_what_its_scopes_say() {
        let hash = grant(&format!("read,view {HASH}")).unwrap();
        let state = State { grants: vec![hash], stamp: None, looked: Instant::now() };
        let access = Access { path: PathBuf::new(), state: RefCell::new(state) };
        let ask = |given: &[&str], scope| {
            let mut headers = HeaderMap::new();
            for text in given {
                headers.append(AUTHORIZATION, HeaderValue::from_str(text).unwrap());
            }
            access.check(&headers, scope)
        };
        assert_eq!(ask(&["Bearer secret"], Scope::Read), Ok(()));
        assert_eq!(ask(&["bearer  secret "], Scope::View), Ok(()));
        assert_eq!(ask(&["Bearer secret"], Scope::Write), Err(Denied::Lacks(Scope::Write)));
        assert_eq!(ask(&["Bearer secret"], Scope::Metrics), Err(Denied::Lacks(Scope::Metrics)));
        for unknown in ["Bearer Secret", "Bearer secrets", "Bearer ", "Bearer secret secret"] {
            assert_eq!(ask(&[unknown], Scope::Read), Err(Denied::Unknown), "{unknown}");
        }
        for none in [&[][..], &["secret"], &["Basic secret"], &["Bearer"], &["Bearer secret", "Bearer secret"]] {
            assert_eq!(ask(none, Scope::Read), Err(Denied::NoToken), "{none:?}");
        }
    }
}
