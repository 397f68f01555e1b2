//! A secret that all members share: proofs that both sides of a link know it, and seals of what clients bring back.
//!
//! Two secrets may be in use at a time. The first makes seals. A proof is made with each, and one that the other side
//! knows is enough. So a secret is exchanged at one replica after the other. Everything is compared in constant time.
//!
//! Invariant kept here: no secret, and nothing that it could be found from, is shown by `Debug` or `Display`.

use core::fmt;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Bytes of a seal: an HMAC-SHA-256, cut off.
pub const MAC_BYTES: usize = 16;
/// Characters of a secret.
const LENGTHS: core::ops::RangeInclusive<usize> = 16..=256;
/// Secrets at a time.
const SECRETS_MAX: usize = 2;

/// A number that is used once.
pub(crate) type Nonce = [u8; 32];
/// That its maker knows a secret.
pub(crate) type Proof = [u8; 32];

/// A text that only members know.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A text that holds no secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretError;

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (LENGTHS.start(), LENGTHS.end());
        write!(
            f,
            "one secret, or two with a comma or a line break between; each of {least} to {most} letters, digits and signs without spaces"
        )
    }
}

impl core::error::Error for SecretError {}

impl Secret {
    /// Reads one or two secrets, with a comma or a line break between them. The first is the one in use.
    ///
    /// # Errors
    /// [`SecretError`], which does not hold the text.
    pub fn parse(text: &str) -> Result<Vec<Self>, SecretError> {
        let parts = text.split([',', '\n']).map(str::trim).filter(|part| !part.is_empty());
        let one = |part: &str| {
            let fits = LENGTHS.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_graphic());
            if fits { Ok(Self(part.into())) } else { Err(SecretError) }
        };
        let secrets: Vec<Self> = parts.map(one).collect::<Result<_, _>>()?;
        if (1..=SECRETS_MAX).contains(&secrets.len()) { Ok(secrets) } else { Err(SecretError) }
    }
}

/// The keys of one secret, one for each use.
#[derive(Clone)]
struct Keys {
    link: Hmac<Sha256>,
    seal: Hmac<Sha256>,
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("a key has any length")
}

impl Keys {
    fn of(secret: &Secret) -> Self {
        let derive = |label: &[u8]| keyed(&keyed(secret.0.as_bytes()).chain_update(label).finalize().into_bytes());
        Self { link: derive(b"hence link 1"), seal: derive(b"hence seal 1") }
    }
}

/// The secrets in use. Clones share them.
#[derive(Clone)]
pub struct Secrets(Arc<InUse>);

struct InUse {
    keys: RwLock<Vec<Keys>>,
    sealed: Mutex<Sealed>,
}

/// Texts that were sealed lately, with their seals under the first secret. A client brings back what it was just given.
/// A read often gives it the same again. Each spares the making of a seal.
struct Sealed(Vec<Option<(Box<[u8]>, Seal)>>);

/// Places for texts that were sealed lately. A text has one place and takes it from another.
const SEALED_MAX: usize = 256;

type Seal = [u8; MAC_BYTES];

impl Default for Sealed {
    fn default() -> Self {
        Self((0..SEALED_MAX).map(|_| None).collect())
    }
}

impl Sealed {
    fn place(&mut self, text: &[u8]) -> &mut Option<(Box<[u8]>, Seal)> {
        // A token ends with its checksum.
        let tail = text.last_chunk::<8>().map_or(0, |tail| u64::from_le_bytes(*tail));
        &mut self.0[(tail.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize % SEALED_MAX]
    }

    fn find(&mut self, text: &[u8]) -> Option<Seal> {
        self.place(text).as_ref().filter(|(own, _)| **own == *text).map(|(_, seal)| *seal)
    }

    fn keep(&mut self, text: &[u8], seal: Seal) {
        *self.place(text) = Some((text.into(), seal));
    }
}

/// Are these equal? How long that takes does not tell where they differ.
fn are_equal(one: &[u8], other: &[u8]) -> bool {
    let differ = one.iter().zip(other).fold(0, |differ, (one, other)| core::hint::black_box(differ | (one ^ other)));
    one.len() == other.len() && differ == 0
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}

/// The same secrets, and from then on.
impl PartialEq for Secrets {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Secrets {}

impl Secrets {
    /// These.
    #[must_use]
    pub fn new(secrets: &[Secret]) -> Self {
        let keys = RwLock::new(secrets.iter().map(Keys::of).collect());
        Self(Arc::new(InUse { keys, sealed: Mutex::default() }))
    }

    /// From now on these.
    pub fn replace(&self, secrets: &[Secret]) {
        let mut keys = self.0.keys.write().unwrap_or_else(PoisonError::into_inner);
        *keys = secrets.iter().map(Keys::of).collect();
        // While nobody can look at the keys: a seal of earlier ones must not be taken for one of these.
        *self.sealed() = Sealed::default();
    }

    fn sealed(&self) -> MutexGuard<'_, Sealed> {
        self.0.sealed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, look: impl FnOnce(&[Keys]) -> T) -> T {
        look(&self.0.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Seals a text with the first secret.
    #[must_use]
    pub fn seal(&self, text: &[u8]) -> [u8; MAC_BYTES] {
        self.with(|keys| {
            if let Some(seal) = self.sealed().find(text) {
                return seal;
            }
            let whole = keys[0].seal.clone().chain_update(text).finalize().into_bytes();
            let seal = core::array::from_fn(|at| whole[at]);
            self.sealed().keep(text, seal);
            seal
        })
    }

    /// Was this text sealed so, with any of the secrets?
    #[must_use]
    pub fn is_sealed(&self, text: &[u8], seal: &[u8]) -> bool {
        let fits = |keys: &Keys| keys.seal.clone().chain_update(text).verify_truncated_left(seal).is_ok();
        let was_made = || self.sealed().find(text).is_some_and(|own| are_equal(&own, seal));
        seal.len() == MAC_BYTES && self.with(|keys| was_made() || keys.iter().any(fits))
    }

    /// Proofs of knowing each of the secrets.
    pub(crate) fn prove(&self, said: &Said<'_>) -> Vec<Proof> {
        self.with(|keys| keys.iter().map(|keys| said.under(&keys.link).finalize().into_bytes().into()).collect())
    }

    /// The secret that one of these proves to know, if one does.
    pub(crate) fn find(&self, said: &Said<'_>, proofs: &[Proof]) -> Option<Proven> {
        self.with(|keys| {
            let proves =
                |keys: &&Keys| proofs.iter().any(|proof| said.under(&keys.link).verify_slice(proof.as_slice()).is_ok());
            keys.iter().find(proves).map(|keys| Proven(keys.link.clone()))
        })
    }
}

/// The secret that a peer proved to know.
pub(crate) struct Proven(Hmac<Sha256>);

impl Proven {
    /// A proof of knowing it, too.
    pub(crate) fn prove(&self, said: &Said<'_>) -> Proof {
        said.under(&self.0).finalize().into_bytes().into()
    }
}

/// What two sides of a link said before one of them proves itself.
pub(crate) struct Said<'a> {
    /// The number of the side that accepts.
    pub(crate) challenge: &'a Nonce,
    /// The number of the side that dials.
    pub(crate) dialler: &'a Nonce,
    /// What the side that dials said of itself.
    pub(crate) asks: &'a [u8],
    /// What the side that accepts said of itself, where that is to be proved.
    pub(crate) answers: Option<&'a [u8]>,
}

impl Said<'_> {
    fn under(&self, key: &Hmac<Sha256>) -> Hmac<Sha256> {
        let label: &[u8] = if self.answers.is_some() { b"accepts" } else { b"dials" };
        let mut mac = key.clone();
        // Each part stands behind its length, so no two lists of parts are one text.
        for part in [label, self.challenge, self.dialler, self.asks, self.answers.unwrap_or_default()] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(text: &str) -> Secrets {
        Secrets::new(&Secret::parse(text).expect("secrets"))
    }

    const OLD: &str = "old-secret-of-this-cluster";
    const NEW: &str = "new-secret-of-this-cluster";

    #[test]
    fn secrets_are_read_strictly_and_never_shown() {
        let count = |text: &str| Secret::parse(text).map(|secrets| secrets.len());
        assert_eq!((count(OLD), count(&format!("{OLD},{NEW}"))), (Ok(1), Ok(2)));
        assert_eq!(count(&format!("\n{OLD}\r\n\n{NEW}\n")), Ok(2));
        let (long, space) = ("x".repeat(257), format!("{OLD} x"));
        for wrong in ["", ",", "short", &long, &space, &format!("{OLD},{NEW},{OLD}"), "sixteen-letters-ä"] {
            assert_eq!(count(wrong), Err(SecretError), "{wrong}");
            assert!(wrong.len() < 5 || !SecretError.to_string().contains(wrong));
        }
        let shown = format!("{:?} {:?}", Secret::parse(OLD), secrets(OLD));
        assert!(!shown.contains("old"), "{shown}");
    }

    #[test]
    fn a_seal_is_of_one_text_and_one_secret() {
        let (old, both, new) = (secrets(OLD), secrets(&format!("{NEW},{OLD}")), secrets(NEW));
        let seal = old.seal(b"text");
        assert!(old.is_sealed(b"text", &seal) && both.is_sealed(b"text", &seal) && !new.is_sealed(b"text", &seal));
        assert!(!old.is_sealed(b"Text", &seal) && !old.is_sealed(b"text", &seal[..15]) && !old.is_sealed(b"text", b""));
        for at in 0..8 * MAC_BYTES {
            let mut changed = seal;
            changed[at / 8] ^= 1 << (at % 8);
            assert!(!old.is_sealed(b"text", &changed), "bit {at}");
        }
        old.replace(&Secret::parse(NEW).expect("a secret"));
        assert!(!old.is_sealed(b"text", &seal));
    }

    #[test]
    fn a_proof_holds_for_what_was_said_alone() {
        let (challenge, dialler) = ([1; 32], [2; 32]);
        let said = Said { challenge: &challenge, dialler: &dialler, asks: b"a", answers: None };
        let (old, both, new) = (secrets(OLD), secrets(&format!("{NEW},{OLD}")), secrets(NEW));
        let proofs = both.prove(&said);
        assert!(old.find(&said, &proofs).is_some() && new.find(&said, &proofs).is_some());
        assert!(new.find(&said, &old.prove(&said)).is_none() && old.find(&said, &[]).is_none());
        let other = [3; 32];
        for said in [
            Said { challenge: &other, ..said },
            Said { dialler: &other, ..said },
            Said { asks: b"b", ..said },
            Said { answers: Some(b""), ..said },
            Said { challenge: &dialler, dialler: &challenge, ..said },
        ] {
            assert!(both.find(&said, &proofs).is_none());
        }
    }
}
