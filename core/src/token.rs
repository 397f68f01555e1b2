//! A client's causal past as opaque text: what travels as `causal-metadata` (REQ-1).
//!
//! The layout before base64 (URL-safe, no padding) is: version 1 byte, cluster tag 4, number of entries as a varint.
//! Each entry follows as its incarnation (8 bytes, big-endian) and its counter (varint). CRC-32 of all before it (4)
//! ends the token. Entries are sorted, counters are not 0, varints are minimal: one vector has exactly one text. At 3
//! members that is 52 to 68 characters, 12 to 16 more per further member.

use crate::identity::{ClusterTag, Incarnation};
use crate::vector::VersionVector;
use alloc::string::String;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::{Engine as _, decoded_len_estimate, encoded_len};
use core::fmt;
use smallvec::SmallVec;

/// The causal past that a client carries, as a version vector.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Token(pub VersionVector);

/// Why a text is not a [`Token`] of this cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// Longer than the limit it was checked against.
    TooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The longest allowed.
        bytes_max: usize,
    },
    /// Not base64, cut off, changed, or not the one text of its vector.
    Damaged,
    /// Written by another version of the format.
    Version(u8),
    /// Issued by a cluster of another name.
    Foreign,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes, bytes_max } => {
                write!(f, "causal-metadata has {bytes} bytes; at most {bytes_max} are allowed")
            }
            Self::Damaged => f.write_str("causal-metadata is damaged; send it back exactly as it was received"),
            Self::Version(version) => write!(f, "causal-metadata has format version {version}, which is not known"),
            Self::Foreign => f.write_str("causal-metadata comes from another cluster"),
        }
    }
}

impl core::error::Error for TokenError {}

const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 4;
/// Before base64: version, cluster, number of entries and checksum, at their longest.
const FRAME_BYTES_MAX: usize = 1 + 4 + 10 + CHECKSUM_BYTES;
/// The same of one entry.
const ENTRY_BYTES_MAX: usize = 8 + 10;

/// A token before base64. That of a dozen members needs no memory of its own.
type Bytes = SmallVec<[u8; 192]>;

impl Token {
    /// So many entries fit any token of so many bytes, whatever they are.
    #[must_use]
    pub const fn entries_within(bytes: usize) -> usize {
        (bytes / 4 * 3).saturating_sub(FRAME_BYTES_MAX) / ENTRY_BYTES_MAX
    }

    /// No token of so many entries is longer than this, in bytes.
    #[must_use]
    pub const fn bytes_of(entries: usize) -> usize {
        (FRAME_BYTES_MAX + entries * ENTRY_BYTES_MAX).div_ceil(3) * 4
    }

    /// The text of this token in this cluster.
    #[must_use]
    pub fn encode(&self, cluster: ClusterTag) -> String {
        self.encode_before(cluster, 0)
    }

    /// The same text, in memory that has room for exactly so many bytes behind it.
    #[must_use]
    pub fn encode_before(&self, cluster: ClusterTag, room: usize) -> String {
        let mut bytes = Bytes::new();
        bytes.push(VERSION);
        bytes.extend_from_slice(&cluster.0.to_be_bytes());
        push_varint(&mut bytes, self.0.len() as u64);
        for (incarnation, counter) in self.0.entries() {
            bytes.extend_from_slice(&incarnation.0.to_be_bytes());
            push_varint(&mut bytes, counter);
        }
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        // Not `encode`, nor `decode` below: both ask the system for zeroed memory, which costs a read more than its token.
        let mut text = Bytes::new();
        text.resize(encoded_len(bytes.len(), false).expect("a token is no gigabyte"), 0);
        URL_SAFE_NO_PAD.encode_slice(&bytes, &mut text).expect("it has the length of the text");
        let mut whole = String::with_capacity(text.len() + room);
        whole.push_str(core::str::from_utf8(&text).expect("base64 is ASCII"));
        whole
    }

    /// Reads a token strictly: any changed, missing or added character is an error.
    ///
    /// # Errors
    /// See [`TokenError`]. Work is bounded by `bytes_max` whatever the text claims.
    pub fn decode(text: &str, cluster: ClusterTag, bytes_max: usize) -> Result<Self, TokenError> {
        if text.len() > bytes_max {
            return Err(TokenError::TooLong { bytes: text.len(), bytes_max });
        }
        let mut bytes = Bytes::new();
        bytes.resize(decoded_len_estimate(text.len()), 0);
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).map_err(|_| TokenError::Damaged)?;
        let (body, checksum) = bytes[..length].split_last_chunk::<CHECKSUM_BYTES>().ok_or(TokenError::Damaged)?;
        if crc32fast::hash(body) != u32::from_be_bytes(*checksum) {
            return Err(TokenError::Damaged);
        }
        let mut reader = Reader(body);
        let version = reader.bytes::<1>()?[0];
        if version != VERSION {
            return Err(TokenError::Version(version));
        }
        if u32::from_be_bytes(reader.bytes()?) != cluster.0 {
            return Err(TokenError::Foreign);
        }
        let mut vector = VersionVector::new();
        let mut last = None;
        for _ in 0..reader.varint()? {
            let incarnation = Incarnation(u64::from_be_bytes(reader.bytes()?));
            let counter = reader.varint()?;
            if counter == 0 || last.is_some_and(|last| last >= incarnation) {
                return Err(TokenError::Damaged);
            }
            last = Some(incarnation);
            vector.raise(incarnation, counter);
        }
        if reader.0.is_empty() { Ok(Self(vector)) } else { Err(TokenError::Damaged) }
    }
}

/// Seven bits a byte, lowest first, the high bit says that more follow.
fn push_varint(bytes: &mut Bytes, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], TokenError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(TokenError::Damaged)?;
        self.0 = rest;
        Ok(*head)
    }

    fn varint(&mut self) -> Result<u64, TokenError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.bytes::<1>()?[0];
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 || shift > 0 && byte == 0 {
                return Err(TokenError::Damaged); // does not fit 64 bits, or could have been shorter
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(TokenError::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const HERE: ClusterTag = ClusterTag(0xfeed);
    const MAX: usize = 8_192;

    fn token(entries: &[(u64, u64)]) -> Token {
        Token(VersionVector::from_entries(entries.iter().map(|&(i, c)| (Incarnation(i), c))))
    }

    #[test]
    fn every_changed_or_missing_character_is_damage() {
        let text = token(&[(1 << 40 | 7, 1), (2 << 40 | 9, 300), (3 << 40, 70_000)]).encode(HERE);
        assert!((52..=68).contains(&text.len()), "{}", text.len());
        for at in 0..text.len() {
            assert_eq!(Token::decode(&text[..at], HERE, MAX), Err(TokenError::Damaged), "cut at {at}");
            for other in "AZaz09-_=+/ %".chars().filter(|&c| !text[at..].starts_with(c)) {
                let mut changed = text.clone();
                changed.replace_range(at..=at, other.encode_utf8(&mut [0; 4]));
                assert_eq!(Token::decode(&changed, HERE, MAX), Err(TokenError::Damaged), "{changed}");
            }
        }
    }

    #[test]
    fn version_cluster_and_length_are_told_apart() {
        let text = token(&[(1, 1)]).encode(HERE);
        assert_eq!(Token::decode(&text, ClusterTag(1), MAX), Err(TokenError::Foreign));
        assert_eq!(Token::decode(&text, HERE, 5), Err(TokenError::TooLong { bytes: text.len(), bytes_max: 5 }));
        let mut bytes = URL_SAFE_NO_PAD.decode(&text).expect("just encoded");
        bytes.truncate(bytes.len() - 4);
        bytes[0] = 9;
        let checksum = crc32fast::hash(&bytes).to_be_bytes();
        bytes.extend_from_slice(&checksum);
        assert_eq!(Token::decode(&URL_SAFE_NO_PAD.encode(&bytes), HERE, MAX), Err(TokenError::Version(9)));
    }

    /// Clients keep tokens across upgrades. Those of every released version are read for ever, and say what they said.
    #[test]
    fn golden_tokens() {
        let long = [(1 << 40 | 7, 1), (2 << 40 | 9, 300), (3 << 40, 70_000)];
        for (text, entries) in
            [("AQAA_u0ALhShfQ", &[][..]), ("AQAA_u0DAAABAAAAAAcBAAACAAAAAAmsAgAAAwAAAAAA8KIEIDVgAQ", &long[..])]
        {
            assert_eq!(Token::decode(text, HERE, MAX), Ok(token(entries)), "{text}");
            assert_eq!(token(entries).encode(HERE), text, "a change of these characters is a change of the version");
        }
    }

    #[test]
    fn what_fits_is_known_before() {
        let longest = |entries| token(&(0..entries).map(|n| (u64::MAX - n, u64::MAX)).collect::<Vec<_>>()).encode(HERE);
        for entries in [0, 1, 3, 10, 127, 128, 340] {
            let bytes = Token::bytes_of(entries);
            assert!(longest(entries as u64).len() <= bytes && Token::entries_within(bytes) >= entries, "{entries}");
        }
        for bytes in [0, 100, 256, 8_192, 1 << 20] {
            let entries = Token::entries_within(bytes);
            assert!(entries == 0 || longest(entries as u64).len() <= bytes, "{bytes}");
        }
        assert_eq!(Token::entries_within(8 << 10) / 2, crate::Config::default().vector_max);
    }

    proptest! {
        #[test]
        fn round_trip(entries in proptest::collection::vec((any::<u64>(), 1..=u64::MAX), 0..20)) {
            let token = token(&entries);
            let text = token.encode(HERE);
            prop_assert_eq!(Token::decode(&text, HERE, MAX), Ok(token));
        }

        /// What decodes is canonical; nothing panics.
        #[test]
        fn arbitrary_bytes(mut bytes in proptest::collection::vec(any::<u8>(), 0..64), fix in any::<bool>()) {
            if fix {
                bytes.splice(0..0, [VERSION, 0, 0, 0xfe, 0xed]);
                let checksum = crc32fast::hash(&bytes).to_be_bytes();
                bytes.extend_from_slice(&checksum);
            }
            let text = URL_SAFE_NO_PAD.encode(&bytes);
            if let Ok(token) = Token::decode(&text, HERE, MAX) {
                prop_assert_eq!(token.encode(HERE), text);
            }
        }
    }
}
