//! Tokens as clients get them: the core's text, and behind a point its seal where there is a secret.
//!
//! A seal keeps a client from making up its past. What is sealed is the text, so the replica and its tokens know nothing
//! of it. Without a secret a token is the core's text to the byte.

use super::bad_request::BadRequest;
use hence_core::{ClusterTag, Token, TokenError, VersionVector};
use hence_transport::trust::{Changeover, SEAL_BYTES, Secrets, Trust};

/// Between a token and its seal. No token has it.
const POINT: char = '.';
/// A seal, and the point.
const BEHIND_BYTES: usize = 1 + SEAL_BYTES;

/// Makes and reads tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mint {
    cluster: ClusterTag,
    secrets: Option<Secrets>,
    changeover: Changeover,
}

impl Mint {
    /// That of a cluster that trusts so.
    pub(crate) fn new(cluster: ClusterTag, trust: &Trust) -> Self {
        Self { cluster, secrets: trust.secrets.clone(), changeover: trust.changeover }
    }

    /// That of a cluster without a secret.
    #[cfg(test)]
    pub(crate) const fn plain(cluster: ClusterTag) -> Self {
        Self { cluster, secrets: None, changeover: Changeover::Done }
    }

    /// The secrets that tokens are sealed with.
    fn seals(&self) -> Option<&Secrets> {
        self.secrets.as_ref().filter(|_| self.changeover != Changeover::Accept)
    }

    /// The text of this past.
    pub(crate) fn encode(&self, past: VersionVector) -> String {
        let Some(secrets) = self.seals() else { return Token(past).encode(self.cluster) };
        let mut text = Token(past).encode_before(self.cluster, BEHIND_BYTES);
        let seal = secrets.seal(text.as_bytes());
        text.push(POINT);
        text.push_str(std::str::from_utf8(&seal).expect("digits are text"));
        text
    }

    /// No text of so many entries is longer than this.
    pub(crate) fn bytes_of(&self, entries: usize) -> usize {
        Token::bytes_of(entries) + self.seals().map_or(0, |_| BEHIND_BYTES)
    }

    /// The length of the text of this past.
    pub(crate) fn bytes_of_text(&self, past: &VersionVector) -> usize {
        self.encode(past.clone()).len()
    }

    /// Reads what a client brings back.
    ///
    /// # Errors
    /// [`BadRequest::Token`] where it is no token, [`BadRequest::Unsealed`] where no replica of this cluster made it.
    pub(crate) fn decode(&self, text: &str, bytes_max: usize) -> Result<VersionVector, BadRequest> {
        let Some(secrets) = &self.secrets else { return Ok(Token::decode(text, self.cluster, bytes_max)?.0) };
        if text.len() > bytes_max {
            return Err(TokenError::TooLong { bytes: text.len(), bytes_max }.into());
        }
        let (token, seal) = match text.split_once(POINT) {
            Some((token, seal)) => (token, Some(seal)),
            None => (text, None),
        };
        let vector = Token::decode(token, self.cluster, bytes_max)?.0;
        let is_sealed = match seal {
            Some(seal) => secrets.is_sealed(token.as_bytes(), seal.as_bytes()),
            None => self.changeover != Changeover::Done,
        };
        if is_sealed { Ok(vector) } else { Err(BadRequest::Unsealed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hence_core::Incarnation;
    use hence_transport::trust::Secret;

    const CLUSTER: ClusterTag = ClusterTag(9);
    const OLD: &str = "old-secret-of-this-cluster";
    const NEW: &str = "new-secret-of-this-cluster";

    fn mint(secrets: &str, changeover: Changeover) -> Mint {
        let secrets = Some(Secrets::new(&Secret::parse(secrets).unwrap()));
        Mint::new(CLUSTER, &Trust { secrets, changeover, ..Trust::default() })
    }

    fn past() -> VersionVector {
        VersionVector::from_entries([(Incarnation(7), 3)])
    }

    #[test]
    fn without_a_secret_a_token_is_the_text_of_the_core() {
        let (mint, text) = (Mint::plain(CLUSTER), Token(past()).encode(CLUSTER));
        assert_eq!((mint.encode(past()), mint.decode(&text, 99)), (text.clone(), Ok(past())));
        assert_eq!(mint.decode(&format!("{text}."), 99), Err(TokenError::Damaged.into()));
    }

    #[test]
    fn with_a_secret_only_what_was_sealed_is_taken() {
        let (old, other) = (mint(OLD, Changeover::Done), mint(NEW, Changeover::Done));
        let text = old.encode(past());
        assert!(text.len() <= old.bytes_of(1), "{text}");
        assert_eq!((old.decode(&text, 99), other.decode(&text, 99)), (Ok(past()), Err(BadRequest::Unsealed)));
        let (token, seal) = text.split_once('.').unwrap();
        for wrong in [token.to_owned(), format!("{token}."), format!("{token}.{}", seal.to_uppercase())] {
            assert_eq!(old.decode(&wrong, 99), Err(BadRequest::Unsealed), "{wrong}");
        }
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            assert!(old.decode(std::str::from_utf8(&changed).unwrap(), 99).is_err(), "{at}");
        }
        assert_eq!(old.decode(&text, 9), Err(TokenError::TooLong { bytes: text.len(), bytes_max: 9 }.into()));
    }

    #[test]
    fn a_changeover_and_a_rotation_strand_no_token() {
        let plain = Mint::plain(CLUSTER);
        let (accept, used) = (mint(OLD, Changeover::Accept), mint(OLD, Changeover::Use));
        let done = mint(OLD, Changeover::Done);
        let take = |from: &Mint, to: &Mint| to.decode(&from.encode(past()), 99).is_ok();
        assert!(take(&plain, &accept) && take(&accept, &plain), "before all know the secret");
        assert!(take(&accept, &used) && take(&used, &accept) && take(&used, &done) && take(&done, &used));
        assert!(!take(&plain, &done) && !take(&accept, &done));
        let steps =
            [OLD, &format!("{OLD},{NEW}"), &format!("{NEW},{OLD}"), NEW].map(|step| mint(step, Changeover::Done));
        for (one, other) in steps.iter().zip(&steps[1..]) {
            assert!(take(one, other) && take(other, one));
        }
        assert!(!take(&steps[0], &steps[3]));
    }
}
