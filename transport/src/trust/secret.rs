//! A secret that all members share: proofs that both sides of a link know it, and seals of what clients bring back.
//!
//! Two secrets may be in use at a time. The first makes seals. A proof is made with each, and one that the other side
//! knows is enough. So a secret is exchanged at one replica after the other. Everything is compared in constant time.
//!
//! Invariant kept here: no secret, and nothing that it could be found from, is shown by `Debug` or `Display`.

use core::fmt;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of a seal's text: half an HMAC-SHA-256 in hexadecimal digits.
pub const SEAL_BYTES: usize = 32;
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

    /// What stands behind a text that these seal.
    fn seal(&self, text: &[u8]) -> Seal {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mac = self.seal.clone().chain_update(text).finalize().into_bytes();
        core::array::from_fn(|at| DIGITS[usize::from(if at % 2 == 0 { mac[at / 2] >> 4 } else { mac[at / 2] & 15 })])
    }
}

/// The secrets in use. Clones share them.
#[derive(Clone)]
pub struct Secrets(Arc<Mutex<InUse>>);

/// Both parts change together: a seal of earlier keys must not be taken for one of these.
struct InUse {
    keys: Vec<Keys>,
    sealed: Sealed,
}

impl InUse {
    fn new(secrets: &[Secret]) -> Self {
        Self { keys: secrets.iter().map(Keys::of).collect(), sealed: Sealed::new() }
    }
}

/// A seal as it stands behind what it seals: lower-case digits.
type Seal = [u8; SEAL_BYTES];

/// Texts that were sealed lately, with their seals under the first secret. A client brings back what it was just given.
/// A read often gives it the same again. Each spares the making of a seal.
struct Sealed(Box<[Kept]>);

/// Places for texts that were sealed lately. A text has one place and takes it from another.
const SEALED_MAX: usize = 256;
/// Longer texts are sealed each time. A token of five members fits.
const KEPT_BYTES_MAX: usize = 95;

#[derive(Clone, Copy)]
struct Kept {
    /// None is empty, so 0 is an unused place.
    length: u8,
    text: [u8; KEPT_BYTES_MAX],
    seal: Seal,
}

impl Kept {
    fn is_of(&self, text: &[u8]) -> bool {
        self.text.get(..usize::from(self.length)) == Some(text) && !text.is_empty()
    }
}

impl Sealed {
    fn new() -> Self {
        let unused = Kept { length: 0, text: [0; KEPT_BYTES_MAX], seal: [0; SEAL_BYTES] };
        Self(vec![unused; SEALED_MAX].into())
    }

    fn place(&mut self, text: &[u8]) -> &mut Kept {
        // A token ends with its checksum.
        let tail = text.last_chunk::<8>().map_or(0, |tail| u64::from_le_bytes(*tail));
        &mut self.0[(tail.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize % SEALED_MAX]
    }

    fn find(&mut self, text: &[u8]) -> Option<Seal> {
        let kept = self.place(text);
        kept.is_of(text).then_some(kept.seal)
    }

    fn keep(&mut self, text: &[u8], seal: Seal) {
        if text.len() <= KEPT_BYTES_MAX {
            let kept = self.place(text);
            kept.text[..text.len()].copy_from_slice(text);
            (kept.length, kept.seal) = (text.len() as u8, seal);
        }
    }
}

/// Are these equal? How long that takes does not tell where they differ.
fn are_equal(one: &Seal, other: &Seal) -> bool {
    let words = |seal: &Seal| -> [u64; 4] {
        core::array::from_fn(|at| u64::from_le_bytes(core::array::from_fn(|byte| seal[8 * at + byte])))
    };
    let (one, other) = (words(one), words(other));
    core::hint::black_box((0..4).fold(0, |differ, at| differ | (one[at] ^ other[at]))) == 0
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
        Self(Arc::new(Mutex::new(InUse::new(secrets))))
    }

    /// From now on these.
    pub fn replace(&self, secrets: &[Secret]) {
        *self.in_use() = InUse::new(secrets);
    }

    fn in_use(&self) -> MutexGuard<'_, InUse> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seals a text with the first secret.
    #[must_use]
    pub fn seal(&self, text: &[u8]) -> [u8; SEAL_BYTES] {
        let InUse { keys, sealed } = &mut *self.in_use();
        sealed.find(text).unwrap_or_else(|| {
            let seal = keys[0].seal(text);
            sealed.keep(text, seal);
            seal
        })
    }

    /// Was this text sealed so, with any of the secrets?
    #[must_use]
    pub fn is_sealed(&self, text: &[u8], seal: &[u8]) -> bool {
        let Ok(seal) = seal.try_into() else { return false };
        let InUse { keys, sealed } = &mut *self.in_use();
        let was_made = sealed.find(text).is_some_and(|own| are_equal(&own, seal));
        was_made || keys.iter().any(|keys| are_equal(&keys.seal(text), seal))
    }

    /// Proofs of knowing each of the secrets.
    pub(crate) fn prove(&self, said: &Said<'_>) -> Vec<Proof> {
        let prove = |keys: &Keys| said.under(&keys.link).finalize().into_bytes().into();
        self.in_use().keys.iter().map(prove).collect()
    }

    /// The secret that one of these proves to know, if one does.
    pub(crate) fn find(&self, said: &Said<'_>, proofs: &[Proof]) -> Option<Proven> {
        let proves =
            |keys: &&Keys| proofs.iter().any(|proof| said.under(&keys.link).verify_slice(proof.as_slice()).is_ok());
        self.in_use().keys.iter().find(proves).map(|keys| Proven(keys.link.clone()))
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
        assert!(!old.is_sealed(b"Text", &seal) && !old.is_sealed(b"text", &seal[..31]) && !old.is_sealed(b"text", b""));
        for at in 0..8 * SEAL_BYTES {
            let mut changed = seal;
            changed[at / 8] ^= 1 << (at % 8);
            assert!(!old.is_sealed(b"text", &changed), "bit {at}");
        }
        old.replace(&Secret::parse(NEW).expect("a secret"));
        assert!(!old.is_sealed(b"text", &seal));
    }

    /// Computed by another program, from what docs/trust.md says. A build that makes others splits a cluster in two.
    #[test]
    fn seals_and_proofs_are_the_same_in_every_build() {
        let old = secrets(OLD);
        assert_eq!(&old.seal(b"text"), b"5690fd9af5ec55903b6f290635e593f0");
        let (challenge, dialler) = ([1; 32], [2; 32]);
        let hex = |proof: Proof| proof.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let dials = Said { challenge: &challenge, dialler: &dialler, asks: b"a", answers: None };
        let proofs = old.prove(&dials);
        assert_eq!(hex(proofs[0]), "8a521bbeb62960334a4958095bfe6ef4448d0f4a6f86b11d2f3648cd86658dc3");
        let accepts = Said { answers: Some(b"b"), ..dials };
        let proven = old.find(&dials, &proofs).expect("it knows the secret");
        assert_eq!(hex(proven.prove(&accepts)), "f4d2bb9571609c8a5a47b92abb11d51bb0b06c5f958b457573590ffa58619bba");
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
