//! Everything that can be set on a replica's process, with its default, and what a wrong setting is told.

mod console;

pub use console::{Console, Order, Verb};

use hence_core::{Address, Config, Unusable};
use hence_transport::trust::Changeover;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The name of a cluster that was given none.
pub(crate) const DEFAULT_CLUSTER: &str = "hence";

/// How one replica is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its own address, as peers and clients reach it.
    pub address: Address,
    /// The members it is told of. Its own address is one of them, listed or not.
    pub view: Vec<Address>,
    /// Names whose SRV records name further members, each with the port that these have. They are asked for again and again.
    pub services: Vec<Address>,
    /// The cluster's name. Tokens and frames of a cluster of another name are refused.
    pub cluster: String,
    /// Where to listen, if not at `address`: behind a port mapping, for example.
    pub bind: Option<SocketAddr>,
    /// The file of the tokens that clients must bear; without one every client may do everything.
    pub access: Option<PathBuf>,
    /// What peers and clients have to show beside that.
    pub trust: TrustSettings,
    /// The replica's own knobs.
    pub config: Config,
    /// What clients may do.
    pub limits: Limits,
    /// What browsers are answered beyond what every client is.
    pub browsers: BrowserSettings,
    /// The collector that spans of traced requests go to, such as `http://127.0.0.1:4318`.
    pub traces_to: Option<String>,
    /// Bytes of memory that the replica may take, all in all; none is no limit. What each part may hold is lowered so that
    /// all of it together stays within.
    pub memory_max: Option<u64>,
    /// What pages may order, where several replicas run in one process.
    pub console: Option<Console>,
}

impl Settings {
    /// A replica at this address, alone, with every default.
    #[must_use]
    pub fn at(address: Address) -> Self {
        Self {
            view: vec![address.clone()],
            services: Vec::new(),
            address,
            cluster: DEFAULT_CLUSTER.into(),
            bind: None,
            access: None,
            trust: TrustSettings::default(),
            config: Config::default(),
            limits: Limits::default(),
            browsers: BrowserSettings::default(),
            traces_to: None,
            memory_max: None,
            console: None,
        }
    }

    /// Checks what one setting alone cannot tell.
    ///
    /// # Errors
    /// [`SettingError`] names the setting, its value and what is allowed.
    pub fn check(&self) -> Result<(), SettingError> {
        check_usable("SOCKET_ADDRESS", &self.address)?;
        self.view.iter().try_for_each(|address| check_usable("VIEW", address))?;
        let (least, most) = (self.config.suspect_after_min, self.config.suspect_after_max);
        let micros = |length: hence_core::Micros| show_time(Duration::from_micros(length.0));
        if least > most {
            return Err(SettingError {
                name: "HENCE_SUSPECT_AFTER_MIN".into(),
                value: micros(least),
                allowed: format!("at most HENCE_SUSPECT_AFTER_MAX, which is {}", micros(most)),
            });
        }
        // Peers would suspect this replica between any two of its signs of life.
        let heartbeat = self.config.heartbeat_interval;
        if heartbeat >= least {
            return Err(SettingError {
                name: "HENCE_HEARTBEAT_INTERVAL".into(),
                value: micros(heartbeat),
                allowed: format!("shorter than HENCE_SUSPECT_AFTER_MIN, which is {}", micros(least)),
            });
        }
        let bodies = self.limits.bodies_bytes_max;
        if bodies < self.limits.body_bytes_max {
            return Err(SettingError {
                name: "HENCE_BODIES_BYTES_MAX".into(),
                value: bodies.to_string(),
                allowed: format!("at least HENCE_BODY_BYTES_MAX, which is {}", self.limits.body_bytes_max),
            });
        }
        Ok(())
    }
}

/// CORS, and sessions in a cookie. By default there is neither.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BrowserSettings {
    /// The origins whose pages may read answers.
    pub origins: Origins,
    /// The name of the cookie in which the token travels, too.
    pub cookie: Option<String>,
}

/// Origins whose pages may read answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// These, such as `https://shop.example`.
    Listed(Vec<String>),
    /// Every origin.
    Any,
}

impl Default for Origins {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl Origins {
    /// May pages of this origin read answers?
    pub(crate) fn allow(&self, origin: &[u8]) -> bool {
        match self {
            Self::Listed(listed) => listed.iter().any(|one| one.as_bytes() == origin),
            Self::Any => true,
        }
    }

    /// Reads `*`, or origins that commas separate.
    ///
    /// # Errors
    /// [`SettingError`] for what is no origin as browsers send it.
    pub(crate) fn parse(text: &str) -> Result<Self, SettingError> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let origin = |part: &str| match is_origin(part) {
            true => Ok(part.to_owned()),
            false => Err(SettingError {
                name: "HENCE_CORS_ORIGINS".into(),
                value: part.into(),
                allowed: "*, or origins as browsers send them, such as https://shop.example:8443".into(),
            }),
        };
        parts.map(origin).collect::<Result<_, _>>().map(Self::Listed)
    }
}

/// A scheme, a host in lower case and perhaps a port, and nothing behind.
fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let uri = text.parse::<http::Uri>();
    let is_whole = uri.is_ok_and(|uri| uri.authority().is_some_and(|authority| authority.as_str() == rest));
    is_whole && !scheme.is_empty() && !rest.contains('@') && text.bytes().all(|byte| !byte.is_ascii_uppercase())
}

/// Reads the name of a cookie.
///
/// # Errors
/// [`SettingError`] for what RFC 6265 takes for none.
pub(crate) fn parse_cookie(text: &str) -> Result<String, SettingError> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match (1..=64).contains(&text.len()) && text.bytes().all(legal) {
        true => Ok(text.to_owned()),
        false => Err(SettingError {
            name: "HENCE_COOKIE".into(),
            value: text.into(),
            allowed: "a name of 1 to 64 letters, digits and the like, such as hence".into(),
        }),
    }
}

/// TLS, and a secret that all members share. By default every peer and client is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustSettings {
    /// The file of the own certificate.
    pub certificate: Option<PathBuf>,
    /// The file of its private key.
    pub key: Option<PathBuf>,
    /// The file of the authorities whose certificates peers have.
    pub peer_ca: Option<PathBuf>,
    /// What every peer's certificate names. Without it, each names the peer's address.
    pub peer_name: Option<String>,
    /// The secrets that members share: one, or two during a rotation.
    pub secret: Option<SecretText>,
    /// The file of these.
    pub secret_file: Option<PathBuf>,
    /// How far a running cluster is that begins to use any of this.
    pub changeover: Changeover,
}

/// Secrets as they were given, not looked at yet. `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

/// What clients may do. Beyond each limit stands what happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's line and headers; beyond, 431 and a closed connection. Default 16 KiB; 8 KiB to 1 MiB.
    pub head_bytes_max: usize,
    /// Bytes of a request's body; beyond, 413. Default 8 MiB; 1 KiB to 64 MiB.
    pub body_bytes_max: usize,
    /// Bytes of bodies of all connections that are being read, and of answers that hold what nothing else holds. Beyond, the
    /// clients that have taken such answers for longest lose their connections, then bodies get 503. Default 256 MiB.
    pub bodies_bytes_max: usize,
    /// Levels of arrays and objects in a body, the body's own object included; beyond, 400. Default 128.
    pub nesting_max: usize,
    /// Bytes of a token; beyond, 400. Default 8 KiB.
    pub token_bytes_max: usize,
    /// Time from a head's first byte to its last; beyond, the connection is closed. Default 10 s.
    pub head_time_max: Duration,
    /// Time from a head's end to its body's end; beyond, 408. Default 30 s.
    pub body_time_max: Duration,
    /// Time without a request; beyond, the connection is closed. Default 75 s.
    pub idle_time_max: Duration,
    /// Time for the client to take an answer, and a second more per 64 KiB of it; beyond, the connection is
    /// closed. Default 30 s.
    pub answer_time_max: Duration,
    /// The most connections of clients. Beyond it, the one that has been idle longest is closed for a new one. Where
    /// none is idle, the new one is refused. Default 4,096.
    pub connections_max: usize,
    /// A watch that nothing happened for is sent a line that means nothing, so that no proxy ends it.
    pub watch_heartbeat: Duration,
    /// Bytes that a connection reads at a time. Default 64 KiB.
    pub read_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 16 << 10,
            body_bytes_max: 8 << 20,
            bodies_bytes_max: 256 << 20,
            nesting_max: 128,
            token_bytes_max: 8 << 10,
            head_time_max: Duration::from_secs(10),
            body_time_max: Duration::from_secs(30),
            idle_time_max: Duration::from_secs(75),
            answer_time_max: Duration::from_secs(30),
            connections_max: 4_096,
            watch_heartbeat: Duration::from_secs(15),
            read_bytes_max: 64 << 10,
        }
    }
}

/// A setting with a value that it cannot have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError {
    /// The setting, by the name of its environment variable.
    pub name: String,
    /// The value that was given.
    pub value: String,
    /// What would have been allowed.
    pub allowed: String,
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is \"{}\"; it must be {}", self.name, self.value, self.allowed)
    }
}

impl std::error::Error for SettingError {}

/// Reads a time such as `200ms`, `2s` or `1m 30s`, from `least` to `most`.
///
/// # Errors
/// [`SettingError`] for what is no time or not in that range.
pub(crate) fn parse_time(name: &str, text: &str, least: Duration, most: Duration) -> Result<Duration, SettingError> {
    let time = if text == "0" { Ok(Duration::ZERO) } else { humantime::parse_duration(text) };
    let unknown = match &time {
        Err(humantime::DurationError::UnknownUnit { unit, .. }) if !unit.is_empty() => unknown_unit(unit),
        Ok(_) | Err(_) => String::new(),
    };
    time.ok().filter(|time| (least..=most).contains(time)).ok_or_else(|| SettingError {
        name: name.into(),
        value: text.into(),
        allowed: format!(
            "a time with its unit (us, ms, s, m, h) from {} to {}, such as 1500ms{unknown}",
            show_time(least),
            show_time(most)
        ),
    })
}

fn unknown_unit(unit: &str) -> String {
    format!(" (\"{unit}\" is not a known unit)")
}

/// Reads a number of bytes such as `65536`, `64KiB` or `8MiB`, from `least` to `most`.
///
/// # Errors
/// [`SettingError`] for what is no such number or not in that range.
pub(crate) fn parse_bytes(name: &str, text: &str, least: u64, most: u64) -> Result<u64, SettingError> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("", 0)];
    let given = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let (digits, given) = (&text[..text.len() - given.len()], given.trim_start());
    let unit = units.iter().find(|&&(unit, _)| unit == given);
    let bytes = unit.and_then(|&(_, shift)| parse_digits(digits)?.checked_mul(1 << shift));
    let names_a_unit = unit.is_none() && !digits.is_empty() && given.bytes().all(|letter| letter.is_ascii_alphabetic());
    let unknown = if names_a_unit { unknown_unit(given) } else { String::new() };
    let (least_shown, example) = (show_bytes(least), show_bytes(least.max(64 << 10)));
    let range = match most {
        u64::MAX => format!("{least_shown} or more"),
        _ => format!("from {least_shown} to {}", show_bytes(most)),
    };
    bytes.filter(|bytes| (least..=most).contains(bytes)).ok_or_else(|| SettingError {
        name: name.into(),
        value: text.into(),
        allowed: format!(
            "a number of bytes, with or without a unit (KiB, MiB, GiB), {range}, such as {example}{unknown}"
        ),
    })
}

/// Reads a whole number from `least` to `most`.
///
/// # Errors
/// [`SettingError`] for what is no such number or not in that range.
pub(crate) fn parse_number(name: &str, text: &str, least: u64, most: u64) -> Result<u64, SettingError> {
    parse_digits(text).filter(|number| (least..=most).contains(number)).ok_or_else(|| SettingError {
        name: name.into(),
        value: text.into(),
        allowed: format!("a whole number from {least} to {most}"),
    })
}

fn parse_digits(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Reads one address.
///
/// # Errors
/// [`SettingError`] for what is none.
pub(crate) fn parse_address(name: &str, text: &str) -> Result<Address, SettingError> {
    let address = Address::parse(text.trim()).map_err(|error| SettingError {
        name: name.into(),
        value: text.into(),
        allowed: format!("IP:PORT or HOST:PORT, such as 10.10.0.2:8090 ({error})"),
    })?;
    check_usable(name, &address).map(|()| address)
}

/// Can a replica be reached at this address at all?
fn check_usable(name: &str, address: &Address) -> Result<(), SettingError> {
    let Some(why) = address.unusable() else { return Ok(()) };
    let hint = match why {
        Unusable::Unspecified => format!("; where to listen is set by HENCE_BIND={address}"),
        Unusable::Multicast | Unusable::Broadcast | Unusable::LinkLocal => String::new(),
    };
    Err(SettingError {
        name: name.into(),
        value: address.to_string(),
        allowed: format!("an address that peers and clients connect to, such as 10.10.0.2:8090 ({why}{hint})"),
    })
}

/// What the setting VIEW lists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Listed {
    /// Members.
    pub(crate) addresses: Vec<Address>,
    /// Names whose SRV records name members.
    pub(crate) services: Vec<Address>,
}

impl Listed {
    /// Reads a list of addresses and of `dns:NAME:PORT`, separated by commas. Empty places are skipped.
    ///
    /// # Errors
    /// [`SettingError`] for a list with something else in it; it names that part.
    pub(crate) fn parse(text: &str) -> Result<Self, SettingError> {
        let mut listed = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            // A host may be called dns, too.
            match part.strip_prefix("dns:").filter(|rest| rest.contains(':')) {
                Some(service) => listed.services.push(parse_service(part, service)?),
                None => listed.addresses.push(parse_address("VIEW", part)?),
            }
        }
        Ok(listed)
    }
}

fn parse_service(part: &str, service: &str) -> Result<Address, SettingError> {
    let parsed = Address::parse(service).ok().filter(|service| service.ip().is_none());
    parsed.ok_or_else(|| SettingError {
        name: "VIEW".into(),
        value: part.into(),
        allowed: "dns:NAME:PORT, such as dns:hence.default.svc.cluster.local:8090".into(),
    })
}

fn show_time(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

pub(crate) fn show_bytes(bytes: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_name_themselves() {
        let second = Duration::from_secs(1);
        let time = |text: &str| parse_time("HENCE_X", text, Duration::from_millis(10), second);
        assert_eq!(time("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(time("1s"), Ok(second));
        for text in ["", "5", "abc", "1", "2s", "9ms", "-1s", "0"] {
            let error = time(text).unwrap_err();
            let expected = format!(
                "HENCE_X is \"{text}\"; it must be a time with its unit (us, ms, s, m, h) from 10ms to 1s, such as 1500ms"
            );
            assert_eq!(error.to_string(), expected);
        }
        for (text, unit) in [("5parsecs", "parsecs"), ("3 sek", "sek"), ("1s 2x", "x")] {
            let error = time(text).unwrap_err().to_string();
            assert!(error.ends_with(&format!("(\"{unit}\" is not a known unit)")), "{error}");
        }
        let bytes = |text: &str| parse_bytes("HENCE_Y", text, 1 << 10, 8 << 20);
        assert_eq!(bytes("8MiB"), Ok(8 << 20));
        assert_eq!(bytes("64 KiB"), Ok(64 << 10));
        assert_eq!(bytes("2000"), Ok(2_000));
        let expected = |text: &str| {
            format!(
                "HENCE_Y is \"{text}\"; it must be a number of bytes, with or without a unit (KiB, MiB, GiB), \
                 from 1KiB to 8MiB, such as 64KiB"
            )
        };
        for text in ["", "KiB", "1023", "9MiB", "1.5MiB", "+5000", "99999999999999999999", "99999999999999GiB", "1 5"] {
            assert_eq!(bytes(text).unwrap_err().to_string(), expected(text));
        }
        for (text, unit) in [("8mb", "mb"), ("1TB", "TB"), ("64 KB", "KB"), ("8388608b", "b")] {
            let expected = format!("{} (\"{unit}\" is not a known unit)", expected(text));
            assert_eq!(bytes(text).unwrap_err().to_string(), expected);
        }
        let error = parse_number("HENCE_Z", "7", 1, 6).unwrap_err();
        assert_eq!(error.to_string(), "HENCE_Z is \"7\"; it must be a whole number from 1 to 6");
        let error = Listed::parse("a:1, b").unwrap_err();
        assert!(error.to_string().starts_with("VIEW is \"b\"; it must be IP:PORT or HOST:PORT"), "{error}");
        assert_eq!(Listed::parse(" a:1 ,,b:2,").map(|list| list.addresses.len()), Ok(2));
        assert_eq!(Listed::parse(""), Ok(Listed::default()));
    }

    #[test]
    fn origins_and_cookies() {
        let listed = |all: &[&str]| Ok(Origins::Listed(all.iter().map(|&one| one.to_owned()).collect()));
        assert_eq!(Origins::parse(" * "), Ok(Origins::Any));
        assert_eq!(Origins::parse(""), listed(&[]));
        assert_eq!(Origins::parse("http://a:1, https://b.example,"), listed(&["http://a:1", "https://b.example"]));
        for wrong in
            ["a", "http://", "http://a/", "http://a/x", "http://A", "http://u@a", "null", "*, http://a", "http://*.a b"]
        {
            assert_eq!(Origins::parse(wrong).unwrap_err().name, "HENCE_CORS_ORIGINS", "{wrong}");
        }
        assert_eq!(parse_cookie("hence-1"), Ok("hence-1".to_owned()));
        for wrong in ["", "a b", "a=b", "a;b", "\u{e4}", &"x".repeat(65)] {
            assert_eq!(parse_cookie(wrong).unwrap_err().name, "HENCE_COOKIE", "{wrong}");
        }
    }

    #[test]
    fn a_view_may_name_services() {
        let address = |text| Address::parse(text).unwrap();
        let listed = Listed::parse("dns:peers.test:8090, a:1, dns:1").unwrap();
        assert_eq!(listed.addresses, [address("a:1"), address("dns:1")]);
        assert_eq!(listed.services, [address("peers.test:8090")]);
        for wrong in ["dns:10.0.0.1:8090", "dns:peers.test:", "dns::8090", "dns:[::1]:8090", "dns:peers.test:99999"] {
            let error = Listed::parse(wrong).unwrap_err().to_string();
            assert!(error.starts_with(&format!("VIEW is \"{wrong}\"; it must be dns:NAME:PORT")), "{error}");
        }
    }

    #[test]
    fn settings_that_contradict_each_other() {
        let settings = Settings::at(Address::parse("a:1").unwrap());
        assert_eq!(settings.check(), Ok(()));
        let mut wrong = settings.clone();
        wrong.config.suspect_after_min = hence_core::Micros::from_seconds(9);
        let expected = "HENCE_SUSPECT_AFTER_MIN is \"9s\"; it must be at most HENCE_SUSPECT_AFTER_MAX, which is 4s";
        assert_eq!(wrong.check().unwrap_err().to_string(), expected);
        for (heartbeat, suspicion) in [(10_000, 3_000), (3_000, 3_000), (200, 150)] {
            let mut wrong = settings.clone();
            wrong.config.heartbeat_interval = hence_core::Micros::from_millis(heartbeat);
            wrong.config.suspect_after_min = hence_core::Micros::from_millis(suspicion);
            let error = wrong.check().unwrap_err().to_string();
            assert!(error.starts_with("HENCE_HEARTBEAT_INTERVAL is \""), "{error}");
            assert!(error.contains("it must be shorter than HENCE_SUSPECT_AFTER_MIN, which is "), "{error}");
        }
        let mut wrong = settings;
        wrong.limits.bodies_bytes_max = 1;
        assert_eq!(wrong.check().unwrap_err().name, "HENCE_BODIES_BYTES_MAX");
    }

    #[test]
    fn addresses_that_no_replica_can_have() {
        let error = parse_address("SOCKET_ADDRESS", "0.0.0.0:8090").unwrap_err().to_string();
        assert!(error.starts_with("SOCKET_ADDRESS is \"0.0.0.0:8090\"; it must be an address that peers"), "{error}");
        assert!(error.contains("HENCE_BIND=0.0.0.0:8090"), "{error}");
        for text in ["a:1,[::]:1", "224.0.0.1:1", "[ff02::1]:1, a:1", "255.255.255.255:1", "[fe80::1]:1"] {
            assert_eq!(Listed::parse(text).unwrap_err().name, "VIEW", "{text}");
        }
        let any = || Address::parse("0.0.0.0:1").unwrap();
        assert_eq!(Settings::at(any()).check().unwrap_err().name, "SOCKET_ADDRESS");
        let mut settings = Settings::at(Address::parse("a:1").unwrap());
        settings.view.push(any());
        assert_eq!(settings.check().unwrap_err().name, "VIEW");
    }
}
