//! Who is speaking: addresses, lives, clusters, and the randomness that a replica is born with.
//!
//! An address says where to send; an [`Incarnation`] says which life answers there. A new incarnation
//! begins at every process start, so no write event is ever named twice (protocol, section Identity).

use alloc::string::String;
use alloc::sync::Arc;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};

/// Where to send: `HOST:PORT`, as members write it in `SOCKET_ADDRESS` and `VIEW`.
///
/// The host is an IPv4 address, an IPv6 address in brackets, or a host name; the port is 1 to 65535.
/// Text is compared as it stands, in lower case.
#[derive(Clone, Eq)]
pub struct Address(Arc<str>);

// Addresses are compared for every message, and most that are equal are the same piece of memory.
impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.is(other) || self.0 == other.0
    }
}

impl Ord for Address {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.is(other) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl PartialOrd for Address {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// Why a text is not an [`Address`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressError {
    /// Nothing there.
    Empty,
    /// More than [`Address::BYTES_MAX`] bytes.
    TooLong(usize),
    /// No `:PORT` at the end, or the port is not a number from 1 to 65535.
    Port(String),
    /// The part before the port is neither an IP address nor a host name.
    Host(String),
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "address is empty; it must be IP:PORT"),
            Self::TooLong(bytes) => {
                write!(f, "address has {bytes} bytes; at most {} are allowed", Address::BYTES_MAX)
            }
            Self::Port(text) => write!(f, "address \"{text}\" does not end in a port from 1 to 65535"),
            Self::Host(text) => write!(f, "address \"{text}\" does not start with an IP address or a host name"),
        }
    }
}

impl core::error::Error for AddressError {}

impl Address {
    /// The longest address, in bytes: a DNS name of 253 and a port.
    pub const BYTES_MAX: usize = 260;

    /// Reads `HOST:PORT`.
    ///
    /// # Errors
    /// See [`AddressError`].
    ///
    /// ```
    /// use hence_core::Address;
    /// assert_eq!(Address::parse("10.10.0.2:8090").unwrap().as_str(), "10.10.0.2:8090");
    /// assert!(Address::parse("10.10.0.2").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        if text.len() > Self::BYTES_MAX {
            return Err(AddressError::TooLong(text.len()));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| AddressError::Port(text.into()))?;
        let digits = !port.is_empty() && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
        if !digits || port.starts_with('0') || port.parse::<u16>().is_err() {
            return Err(AddressError::Port(text.into()));
        }
        if !is_host(host) {
            return Err(AddressError::Host(text.into()));
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// The text, `HOST:PORT`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is it the same piece of memory, and so equal? It may be equal and be another.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<core::net::Ipv6Addr>().is_ok();
    }
    let numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if numeric {
        return host.parse::<core::net::Ipv4Addr>().is_ok();
    }
    host.len() <= 253 && host.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    (1..=63).contains(&label.len()) && inner && !label.starts_with('-') && !label.ends_with('-')
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One life of one process: a join epoch (24 bits) above 40 random bits.
///
/// The epoch is one more than any that the replica had heard of, so of two lives at one address the
/// greater number is the newer one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

impl Incarnation {
    const RANDOM_BITS: u32 = 40;

    /// The life with this epoch and the low 40 bits of `random`. Epochs above 2^24 - 1 stay there.
    #[must_use]
    pub const fn new(epoch: u32, random: u64) -> Self {
        let epoch = if epoch < 1 << 24 { epoch } else { (1 << 24) - 1 };
        Self(((epoch as u64) << Self::RANDOM_BITS) | (random & ((1 << Self::RANDOM_BITS) - 1)))
    }

    /// The join epoch, 0 to 2^24 - 1.
    #[must_use]
    pub const fn epoch(self) -> u32 {
        (self.0 >> Self::RANDOM_BITS) as u32
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Which cluster a token or frame belongs to: a hash of the setting `CLUSTER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterTag(pub u32);

impl ClusterTag {
    /// The tag of the cluster with this name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self(crc32fast::hash(name.as_bytes()))
    }
}

/// Who a replica is when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its own address, as peers dial it.
    pub address: Address,
    /// The addresses it was told to be in a cluster with, its own included or not.
    pub view: alloc::vec::Vec<Address>,
}

/// All the randomness a replica ever has. Production fills it from the operating system, the simulator
/// from the plan; two processes must never start with the same one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; 32]);

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_work() {
        for text in ["127.0.0.1:1", "[::1]:8090", "alice:8090", "a-b.c_d.example:65535", "0.0.0.0:80"] {
            assert_eq!(Address::parse(text).map(|a| a.as_str().len()), Ok(text.len()), "{text}");
        }
        assert_eq!(Address::parse("Alice:1"), Address::parse("alice:1"));
    }

    #[test]
    fn addresses_that_do_not() {
        let bad = [
            "",
            ":",
            "a",
            "a:",
            ":1",
            "a:0",
            "a:65536",
            "a:08",
            "a:+1",
            "a:1:2",
            "1.2.3:4",
            "256.1.1.1:4",
            "[::1:8090",
            "::1:8090",
            "a b:1",
            "-a:1",
            "a..b:1",
            "ä:1",
            "a/b:1",
            "http://a:1",
        ];
        for text in bad {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_later_epoch_is_a_greater_incarnation() {
        assert!(Incarnation::new(2, 0) > Incarnation::new(1, u64::MAX));
        assert_eq!(Incarnation::new(7, u64::MAX).epoch(), 7);
    }
}
