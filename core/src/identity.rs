//! Identity of the speaker: addresses, incarnations, clusters, and the randomness that a replica is born with.
//!
//! An address says where to send; an [`Incarnation`] says which incarnation answers there. A new incarnation
//! begins at every process start, so no write event is ever named twice (ID-1).

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where to send: `HOST:PORT`, as members write it in `SOCKET_ADDRESS` and `VIEW`.
///
/// The host is an IPv4 address, an IPv6 address in brackets, or a host name; the port is 1 to 65535. Two spellings of
/// one address are one address. A name is kept in lower case and without a final dot. An IPv6 address is kept in the
/// form of RFC 5952, and an IPv4 address that is mapped into IPv6 as the IPv4 address.
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
        let wrong = || AddressError::Host(text.into());
        Ok(Self(match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => match inner.parse::<Ipv6Addr>().map_err(|_| wrong())?.to_canonical() {
                IpAddr::V4(ip) => format!("{ip}:{port}").into(),
                IpAddr::V6(ip) => format!("[{ip}]:{port}").into(),
            },
            None if is_ipv4_or_name(host) => text.to_ascii_lowercase().into(),
            None => {
                let name = host.strip_suffix('.').filter(|name| is_name(name)).ok_or_else(wrong)?;
                format!("{}:{port}", name.to_ascii_lowercase()).into()
            }
        }))
    }

    /// The text, `HOST:PORT`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host: a name, an IPv4 address, or an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.rsplit_once(':').map_or(&self.0, |(host, _)| host)
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default()
    }

    /// The host as an IP address; `None` for a name.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host().trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// An address at which nothing can ever be reached, for a process that has none of its own.
    ///
    /// Names below `invalid` never resolve (RFC 6761).
    ///
    /// ```
    /// use hence_core::Address;
    /// assert_eq!(Address::nowhere(10).as_str(), "000000000000000a.invalid:1");
    /// assert!(Address::nowhere(10).is_nowhere());
    /// ```
    #[must_use]
    pub fn nowhere(process: u64) -> Self {
        Self(format!("{process:016x}.invalid:1").into())
    }

    /// Is it the address of a process that has none of its own?
    #[must_use]
    pub fn is_nowhere(&self) -> bool {
        self.host().ends_with(".invalid")
    }

    /// Does it lead back to the machine that uses it? True of loopback addresses and of `localhost`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        self.ip().map_or(host == "localhost" || host.ends_with(".localhost"), |ip| ip.is_loopback())
    }

    /// Why no replica can ever be reached there; `None` if one may be.
    ///
    /// ```
    /// use hence_core::{Address, Unusable};
    /// assert_eq!(Address::parse("0.0.0.0:8090").unwrap().unusable(), Some(Unusable::Unspecified));
    /// assert_eq!(Address::parse("10.10.0.2:8090").unwrap().unusable(), None);
    /// ```
    #[must_use]
    pub fn unusable(&self) -> Option<Unusable> {
        match self.ip()? {
            IpAddr::V4(ip) if ip.octets()[0] == 0 => Some(Unusable::Unspecified),
            IpAddr::V4(Ipv4Addr::BROADCAST) => Some(Unusable::Broadcast),
            IpAddr::V4(ip) => ip.is_multicast().then_some(Unusable::Multicast),
            IpAddr::V6(ip) if ip.is_unspecified() => Some(Unusable::Unspecified),
            IpAddr::V6(ip) if ip.is_multicast() => Some(Unusable::Multicast),
            IpAddr::V6(ip) => ip.is_unicast_link_local().then_some(Unusable::LinkLocal),
        }
    }

    /// Is it the same piece of memory, and so equal? It may be equal and be another.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Why an [`Address`] is well written and yet leads to no replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// It stands for every address of a machine, so it says where to listen and not where to connect to.
    Unspecified,
    /// It stands for a group of machines.
    Multicast,
    /// It stands for every machine of a network.
    Broadcast,
    /// An IPv6 address that is valid on one network interface only, which an address here cannot name.
    LinkLocal,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "it stands for every interface of a machine, so peers cannot connect to it",
            Self::Multicast => "it is a multicast address, and no single replica is reached there",
            Self::Broadcast => "it is the broadcast address, and no single replica is reached there",
            Self::LinkLocal => "it is an IPv6 link-local address, which means nothing without a network interface",
        })
    }
}

fn is_ipv4_or_name(host: &str) -> bool {
    is_name(host) || host.parse::<Ipv4Addr>().is_ok()
}

fn is_name(host: &str) -> bool {
    !host.split('.').all(is_number) && host.len() <= 253 && host.split('.').all(is_label)
}

/// Systems take a host of such labels, and of fewer than four, for an IPv4 address, with other bytes than it seems.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    hex.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit())) || label.bytes().all(|b| b.is_ascii_digit())
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

/// One incarnation of one process: a join epoch (24 bits) above 40 random bits.
///
/// The epoch is one more than any that the replica had heard of. So of two incarnations at one address the greater
/// number is the newer one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

impl Incarnation {
    const RANDOM_BITS: u32 = 40;

    /// The incarnation with this epoch and the low 40 bits of `random`. Epochs above 2^24 - 1 stay there.
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

/// A replica's identity when it starts.
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
    }

    #[test]
    fn two_spellings_are_one_address() {
        for (text, canonical) in [
            ("Alice:1", "alice:1"),
            ("alice.:1", "alice:1"),
            ("Alice.Example.ORG.:1", "alice.example.org:1"),
            ("[0:0:0:0:0:0:0:1]:8090", "[::1]:8090"),
            ("[2001:DB8::00ff]:1", "[2001:db8::ff]:1"),
            ("[2001:db8:0:0:1:0:0:1]:1", "[2001:db8::1:0:0:1]:1"),
            ("[::ffff:10.0.0.2]:1", "10.0.0.2:1"),
            ("[::FFFF:0a00:0002]:1", "10.0.0.2:1"),
        ] {
            let address = Address::parse(text).expect("an address");
            assert_eq!(address.as_str(), canonical, "{text}");
            assert_eq!(Address::parse(canonical), Ok(address), "what is printed reads as the same");
        }
    }

    #[test]
    fn parts_of_an_address() {
        let parse = |text| Address::parse(text).expect("an address");
        assert_eq!((parse("alice:7").host(), parse("alice:7").port(), parse("alice:7").ip()), ("alice", 7, None));
        assert_eq!((parse("[::1]:7").host(), parse("[::1]:7").ip()), ("[::1]", Some(Ipv6Addr::LOCALHOST.into())));
        for (text, loopback) in [
            ("127.0.0.9:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("localhost:1", true),
            ("a.localhost:1", true),
            ("localhost.example:1", false),
            ("10.0.0.1:1", false),
        ] {
            assert_eq!(parse(text).is_loopback(), loopback, "{text}");
        }
    }

    #[test]
    fn addresses_that_no_replica_can_have() {
        for (text, why) in [
            ("0.0.0.0:80", Some(Unusable::Unspecified)),
            ("0.1.2.3:80", Some(Unusable::Unspecified)),
            ("[::]:80", Some(Unusable::Unspecified)),
            ("[::ffff:0.0.0.0]:80", Some(Unusable::Unspecified)),
            ("255.255.255.255:80", Some(Unusable::Broadcast)),
            ("224.0.0.1:80", Some(Unusable::Multicast)),
            ("239.255.255.250:80", Some(Unusable::Multicast)),
            ("[ff02::1]:80", Some(Unusable::Multicast)),
            ("[fe80::1]:80", Some(Unusable::LinkLocal)),
            ("127.0.0.1:80", None),
            ("[::1]:80", None),
            ("169.254.1.1:80", None),
            ("alice:80", None),
        ] {
            assert_eq!(Address::parse(text).expect("an address").unusable(), why, "{text}");
        }
    }

    #[test]
    fn addresses_that_do_not() {
        let bad = [
            "0x7f000001:80",
            "0x7f.1:80",
            "127.0X1:80",
            "0x:80",
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
            "a..:1",
            ".:1",
            "1.2.3.4.:5",
            "[fe80::1%eth0]:1",
            "[1.2.3.4]:1",
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
