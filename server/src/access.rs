//! Who may ask what: bearer tokens (RFC 6750) with scopes.
//!
//! A file has a line for each token: its scopes, and the SHA-256 of it. So the file opens nothing to its readers. A file
//! that changes is read again within two seconds. One that cannot be read then changes nothing. Without a file everything
//! is open. A request is checked as it begins. A watch or a long poll holds a [`Pass`], and ends once that is not good any more.
//!
//! Invariant kept here: no token and no line of the file reaches a log, an error or a metric.

use crate::files::{self, Reading};
use crate::settings::SettingError;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Notify;

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

/// The tokens of a file. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Access(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    grants: RwLock<Vec<Grant>>,
    /// The grants were read again.
    changed: Notify,
}

/// What a client showed as it began something long, to be looked at again.
#[derive(Debug, Clone)]
pub(crate) struct Pass {
    access: Access,
    hash: [u8; 32],
    scope: Scope,
}

impl Pass {
    /// Is it still good?
    pub(crate) fn check(&self) -> Result<(), Denied> {
        self.access.opens(self.hash, self.scope)
    }
}

fn read(path: &Path) -> Result<Vec<Grant>, String> {
    let text = String::from_utf8(files::read(path)?).map_err(|_| "a file of text (UTF-8)")?;
    let lines = (1..).zip(text.lines().map(str::trim));
    let grants = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(|(number, line)| {
        let form = "scopes of read, write, view and metrics, separated by commas, then the SHA-256 of a token";
        grant(line).ok_or_else(|| format!("a file of lines like \"read,write HASH\": {form}. Line {number} is not"))
    });
    let grants: Vec<Grant> = grants.collect::<Result<_, _>>()?;
    match grants.len() {
        // It is being written, or is none of tokens: nobody could ask for anything.
        0 => Err("a file with a token".into()),
        1..=TOKENS_MAX => Ok(grants),
        _ => Err(format!("a file of at most {TOKENS_MAX} tokens")),
    }
}

fn grant(line: &str) -> Option<Grant> {
    let (scopes, hash) = line.split_once(char::is_whitespace)?;
    let scope = |name: &str| Scope::ALL.into_iter().find(|scope| scope.name() == name).map(|scope| scope as u8);
    let scopes = scopes.split(',').try_fold(0, |scopes, name| Some(scopes | scope(name)?))?;
    let hash = hash.trim();
    let digit =
        |at: usize| char::from(*hash.as_bytes().get(at)?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |at: usize| Some(digit(2 * at)? << 4 | digit(2 * at + 1)?);
    let mut bytes = [0; 32];
    for (at, place) in bytes.iter_mut().enumerate() {
        *place = byte(at)?;
    }
    (hash.len() == 64).then_some(Grant { hash: bytes, scopes })
}

/// The SHA-256 of the one token in these headers.
fn hash_of(headers: &HeaderMap) -> Result<[u8; 32], Denied> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (Some(given), None) = (given.next(), given.next()) else { return Err(Denied::NoToken) };
    let (scheme, token) = given.as_bytes().split_at_checked(7).ok_or(Denied::NoToken)?;
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Err(Denied::NoToken);
    }
    Ok(Sha256::digest(token.trim_ascii()).into())
}

impl Access {
    /// The tokens of this file, and what reads them again.
    ///
    /// # Errors
    /// [`SettingError`] says which line is wrong, and not what it holds.
    pub(crate) fn load(path: &Path) -> Result<(Self, Reading), SettingError> {
        let grants = read(path).map_err(|allowed| SettingError {
            name: "HENCE_ACCESS_FILE".into(),
            value: path.display().to_string(),
            allowed,
        })?;
        let access = Self::of(grants);
        let (shared, own) = (access.clone(), path.to_owned());
        let reading = Reading::new("access tokens", &[path], move || {
            shared.replace(read(&own)?);
            Ok(())
        });
        Ok((access, reading))
    }

    fn of(grants: Vec<Grant>) -> Self {
        Self(Arc::new(Shared { grants: RwLock::new(grants), ..Shared::default() }))
    }

    fn replace(&self, grants: Vec<Grant>) {
        *self.0.grants.write().unwrap_or_else(PoisonError::into_inner) = grants;
        self.0.changed.notify_one();
    }

    /// Waits until the tokens were read again since this was last awaited. Only one task may wait.
    pub(crate) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// May a request with these headers do that?
    pub(crate) fn check(&self, headers: &HeaderMap, scope: Scope) -> Result<(), Denied> {
        self.opens(hash_of(headers)?, scope)
    }

    /// What these headers show for that, where they open it now.
    pub(crate) fn pass(&self, headers: &HeaderMap, scope: Scope) -> Result<Pass, Denied> {
        let pass = Pass { access: self.clone(), hash: hash_of(headers)?, scope };
        pass.check().map(|()| pass)
    }

    fn opens(&self, hash: [u8; 32], scope: Scope) -> Result<(), Denied> {
        // Every grant is compared to its end, so that the time says nothing of where a hash differs.
        let same =
            |grant: &Grant| grant.hash.iter().zip(hash).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0;
        let grants = self.0.grants.read().unwrap_or_else(PoisonError::into_inner);
        let known = grants.iter().fold(
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
        for wrong in [format!("{HASH}00"), HASH.replacen("2b", "+b", 1), HASH.replacen("2b", "é", 1)] {
            assert_eq!(scopes(&format!("read {wrong}")), None, "{wrong}");
        }
    }

    #[test]
    fn a_token_opens_what_its_scopes_say() {
        let hash = grant(&format!("read,view {HASH}")).unwrap();
        let access = Access::of(vec![hash]);
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
