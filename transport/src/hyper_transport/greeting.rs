//! What two replicas tell each other while they upgrade a connection: one header, `hence-replica`, both ways.
//!
//! Frames of another version cannot be read, so why two replicas do not understand each other has to be told outside of
//! them. It also says which formats its sender speaks, and both sides take the highest common one (FORMAT-1).
//!
//! The header is a list of `key=value`, separated by `;`. Keys that are not known are skipped, so that later versions
//! can say more. A value that is missing or damaged makes the header count as none.

use super::standing::Reaches;
use hence_core::{Address, ClusterTag, Formats};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt::{self, Write as _};

/// The header.
pub(super) const HEADER: HeaderName = HeaderName::from_static("hence-replica");

/// The sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Greeting {
    /// The formats of frames that it speaks.
    pub(super) formats: Formats,
    /// The cluster.
    pub(super) cluster: ClusterTag,
    /// Drawn at random when the transport was made: of two processes with one address each has another.
    pub(super) process: u64,
    /// The address that it says it has.
    pub(super) address: Address,
    /// The address that it was given, while it stands aside.
    pub(super) home: Option<Address>,
    /// In an answer: which process its sender reaches at the address of the asking process, if it has tried since.
    pub(super) reaches: Option<Reaches>,
    /// Another live process that was reached at the address of the sender.
    pub(super) rival: Option<u64>,
    /// What the sender heard about the address of the one it speaks to.
    pub(super) claim: Option<Claim>,
    /// In a request: no peer can connect to the sender, so answers are to come on this connection.
    pub(super) answers_here: bool,
}

/// A process says that it has an address, and that it knows of another one there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    /// The process that says so.
    pub(super) by: u64,
    /// The other one.
    pub(super) from: u64,
}

impl Greeting {
    /// The greeting of this process.
    pub(super) const fn of(cluster: ClusterTag, process: u64, address: Address, formats: Formats) -> Self {
        let (home, reaches, rival, claim) = (None, None, None, None);
        Self { formats, cluster, process, address, home, reaches, rival, claim, answers_here: false }
    }

    /// Reads the header of a request or a response; none where there is none that can be read.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(HEADER)?.to_str().ok()?;
        let pairs = || text.split(';').filter_map(|pair| pair.trim().split_once('='));
        let value = |name: &str| pairs().find(|(key, _)| *key == name).map(|(_, value)| value);
        let hex = |name: &str| u64::from_str_radix(value(name)?, 16).ok();
        let reaches = match value("reaches") {
            Some("nothing") => Some(Reaches::Nothing),
            Some(_) => hex("reaches").map(Reaches::Process),
            None => hex("reaches-aside").map(Reaches::Aside),
        };
        // The version is the lowest format: builds that know of one format only compare it with theirs.
        let lowest = value("version")?.parse().ok()?;
        let highest = value("highest").map_or(Some(lowest), |text| text.parse().ok())?;
        let process = hex("process")?;
        let address = Address::parse(value("address")?).ok()?;
        // A process that stands aside has an address that leads nowhere. Beside another one a home would be a second address
        // to speak for, and only one of them is proved.
        let is_aside = address == Address::nowhere(process);
        let home = value("home").filter(|_| is_aside).and_then(|text| Address::parse(text).ok());
        Some(Self {
            formats: Some(Formats { lowest, highest }).filter(|formats| formats.speaks(lowest))?,
            cluster: ClusterTag(u32::try_from(hex("cluster")?).ok()?),
            process,
            address,
            home,
            reaches,
            rival: hex("rival"),
            claim: hex("claimed-by").zip(hex("claimed-from")).map(|(by, from)| Claim { by, from }),
            answers_here: value("answers") == Some("here"),
        })
    }

    /// Writes the header.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let Self { formats, cluster, process, address, home, reaches, rival, claim, answers_here } = self;
        let lowest = formats.lowest;
        let mut text =
            format!("version={lowest}; cluster={:08x}; process={process:016x}; address={address}", cluster.0);
        let mut add = |key: &str, value: fmt::Arguments<'_>| {
            write!(text, "; {key}={value}").expect("memory always takes text");
        };
        if formats.highest > lowest {
            add("highest", format_args!("{}", formats.highest));
        }
        if let Some(home) = home {
            add("home", format_args!("{home}"));
        }
        match reaches {
            Some(Reaches::Process(process)) => add("reaches", format_args!("{process:016x}")),
            Some(Reaches::Aside(process)) => add("reaches-aside", format_args!("{process:016x}")),
            Some(Reaches::Nothing) => add("reaches", format_args!("nothing")),
            None => {}
        }
        if let Some(rival) = rival {
            add("rival", format_args!("{rival:016x}"));
        }
        if let Some(Claim { by, from }) = claim {
            add("claimed-by", format_args!("{by:016x}"));
            add("claimed-from", format_args!("{from:016x}"));
        }
        if *answers_here {
            add("answers", format_args!("here"));
        }
        // An address is printable ASCII, so this is a header.
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(HEADER, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Greeting> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_str(text).expect("a header"));
        Greeting::read(&headers)
    }

    #[test]
    fn what_is_written_is_read() {
        let address = Address::parse("[fd00::2]:8090").expect("an address");
        let greeting = Greeting::of(ClusterTag::of("hence"), 7, address.clone(), Formats::RELEASED);
        let full = Greeting {
            address: Address::nowhere(7),
            home: Some(address),
            formats: Formats { lowest: 3, highest: 255 },
            rival: Some(9),
            claim: Some(Claim { by: 7, from: 9 }),
            answers_here: true,
            ..greeting.clone()
        };
        let all = [None, Some(Reaches::Nothing), Some(Reaches::Process(u64::MAX)), Some(Reaches::Aside(1))];
        for (reaches, greeting) in all.into_iter().flat_map(|reaches| [(reaches, &greeting), (reaches, &full)]) {
            let greeting = Greeting { reaches, ..greeting.clone() };
            let mut headers = HeaderMap::new();
            greeting.write(&mut headers);
            assert_eq!(Greeting::read(&headers), Some(greeting));
        }
        assert_eq!(Greeting::read(&HeaderMap::new()), None);
    }

    /// What builds of format 4 and 5 read. Another text splits a cluster that is rolled.
    #[test]
    fn a_greeting_is_the_same_text_in_every_build() {
        let formats = Formats { lowest: 4, highest: 5 };
        let address = Address::parse("10.0.0.2:80").expect("an address");
        let greeting = Greeting::of(ClusterTag(10), 11, address, formats);
        let mut headers = HeaderMap::new();
        Greeting { reaches: Some(Reaches::Nothing), ..greeting }.write(&mut headers);
        let text =
            "version=4; cluster=0000000a; process=000000000000000b; address=10.0.0.2:80; highest=5; reaches=nothing";
        assert_eq!(headers[HEADER], text);
    }

    #[test]
    fn a_home_counts_beside_an_address_that_leads_nowhere_alone() {
        let own = Address::nowhere(11);
        for (address, home) in [(own.as_str(), Some("b:1")), ("a:1", None), (Address::nowhere(12).as_str(), None)] {
            let text = format!("version=5; cluster=a; process=b; address={address}; home=b:1");
            let home = home.map(|home| Address::parse(home).expect("an address"));
            assert_eq!(read(&text).expect("a greeting").home, home, "{text}");
        }
    }

    #[test]
    fn later_versions_may_say_more() {
        let later =
            read("version=9; colour=red; cluster=0000000a;process=b; address=a:1; reaches=nothing").expect("known");
        assert_eq!((later.formats, later.cluster, later.process), (Formats::only(9), ClusterTag(10), 11));
        assert_eq!(later.reaches, Some(Reaches::Nothing));
    }

    #[test]
    fn what_is_damaged_counts_as_none() {
        for text in [
            "",
            "version=3",
            "version=300; cluster=1; process=1; address=a:1",
            "version=3; highest=2; cluster=1; process=1; address=a:1",
            "version=3; highest=x; cluster=1; process=1; address=a:1",
            "version=3; cluster=1ffffffff; process=1; address=a:1",
            "version=3; cluster=1; process=x; address=a:1",
            "version=3; cluster=1; process=1; address=a",
            "version:3; cluster:1; process:1; address:a:1",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
