//! Why a peer is not connected to: told once, at warn, when it has lasted or can only get worse.

use super::greeting::Greeting;
use super::proof::Lacks;
use core::fmt;
use core::time::Duration;
use hence_core::{Address, Fault, Formats};
use std::io;
use tokio::time::Instant;

/// Why there is no connection to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LinkCause {
    /// Its name does not resolve.
    Unresolved,
    /// The name server has not answered yet.
    LookupPending,
    /// Its machine refuses the connection: nothing listens there.
    Refused,
    /// No way leads to it, or another error of the network.
    Unreachable,
    /// Connection attempts are not answered: packets are lost, or the machine is gone.
    NoAnswer,
    /// It accepts connections and says nothing.
    Mute,
    /// Something else than a replica answers.
    NotHence,
    /// A replica answers, but what lies between does not pass an upgraded connection.
    NoUpgrade,
    /// A replica of another cluster answers.
    Foreign,
    /// A replica that speaks another version of the protocol answers.
    Version,
    /// A replica answers that says it has another address.
    OtherAddress,
    /// The process there stands aside: another live one has its address, and is not reached just now.
    Displaced,
    /// Small packets pass and large ones are lost.
    LargePacketsLost,
    /// No encrypted connection comes about: a certificate is not accepted, or one side does not speak TLS.
    Tls,
    /// One side does not show the other what a member shows.
    Untrusted,
}

impl LinkCause {
    /// Every cause, for tables.
    pub const ALL: [Self; 15] = [
        Self::Unresolved,
        Self::LookupPending,
        Self::Refused,
        Self::Unreachable,
        Self::NoAnswer,
        Self::Mute,
        Self::NotHence,
        Self::NoUpgrade,
        Self::Foreign,
        Self::Version,
        Self::OtherAddress,
        Self::Displaced,
        Self::LargePacketsLost,
        Self::Tls,
        Self::Untrusted,
    ];

    /// A short name for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unresolved => "unresolved",
            Self::LookupPending => "lookup_pending",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::NoAnswer => "no_answer",
            Self::Mute => "mute",
            Self::NotHence => "not_hence",
            Self::NoUpgrade => "no_upgrade",
            Self::Foreign => "foreign",
            Self::Version => "version",
            Self::OtherAddress => "other_address",
            Self::Displaced => "displaced",
            Self::LargePacketsLost => "large_packets_lost",
            Self::Tls => "tls",
            Self::Untrusted => "untrusted",
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub const fn fault(self) -> Fault {
        match self {
            Self::LookupPending | Self::Unreachable | Self::NoAnswer | Self::LargePacketsLost => Fault::Network,
            Self::Refused | Self::Mute => Fault::Peer,
            Self::Unresolved
            | Self::NotHence
            | Self::NoUpgrade
            | Self::Foreign
            | Self::Version
            | Self::OtherAddress
            | Self::Displaced
            | Self::Tls
            | Self::Untrusted => Fault::Operator,
        }
    }

    /// Does it not pass by waiting, or has it lasted when it is found? A peer that is not started yet is refused for a
    /// moment; one of another cluster stays it.
    const fn is_definite(self) -> bool {
        match self {
            Self::Unresolved
            | Self::Refused
            | Self::Unreachable
            | Self::NoAnswer
            | Self::Mute
            | Self::NotHence
            | Self::Displaced => false,
            Self::LookupPending
            | Self::NoUpgrade
            | Self::Foreign
            | Self::Version
            | Self::OtherAddress
            | Self::LargePacketsLost
            | Self::Tls
            | Self::Untrusted => true,
        }
    }
}

/// Why an attempt to connect came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    Unresolved(io::Error),
    LookupPending,
    NoConnection(io::Error),
    ConnectTimeout,
    HandshakeTimeout,
    NoHttp(hyper::Error),
    Status(http::StatusCode),
    NoUpgrade(http::StatusCode),
    Foreign(Greeting),
    /// No format is spoken by both.
    Version {
        theirs: Formats,
        ours: Formats,
    },
    /// It closes what is sent to it and does not name itself, as builds do that do not know how to.
    OlderBuild,
    OtherAddress(Address),
    /// This process stands aside.
    Aside(u64),
    LargePacketsLost,
    /// It spoke where only this side speaks.
    Spoke,
    /// No encrypted connection came about; holds why.
    Tls(String),
    /// It asks for something that this side did not show.
    Lacks(Lacks),
    /// It does not prove that it knows the secret.
    Unproven,
}

impl Failure {
    pub(super) fn cause(&self) -> LinkCause {
        match self {
            Self::Unresolved(_) => LinkCause::Unresolved,
            Self::LookupPending => LinkCause::LookupPending,
            Self::NoConnection(error) => {
                let kind = error.kind();
                if matches!(kind, io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset) {
                    LinkCause::Refused
                } else if kind == io::ErrorKind::TimedOut {
                    LinkCause::NoAnswer
                } else {
                    LinkCause::Unreachable
                }
            }
            Self::ConnectTimeout => LinkCause::NoAnswer,
            Self::HandshakeTimeout => LinkCause::Mute,
            Self::NoHttp(_) | Self::Status(_) | Self::Spoke => LinkCause::NotHence,
            Self::NoUpgrade(_) => LinkCause::NoUpgrade,
            Self::Foreign(_) => LinkCause::Foreign,
            Self::Version { .. } | Self::OlderBuild => LinkCause::Version,
            Self::OtherAddress(_) => LinkCause::OtherAddress,
            Self::Aside(_) => LinkCause::Displaced,
            Self::LargePacketsLost => LinkCause::LargePacketsLost,
            Self::Tls(_) => LinkCause::Tls,
            Self::Lacks(_) | Self::Unproven => LinkCause::Untrusted,
        }
    }

    /// The formats that a replica speaks with which none is common.
    pub(super) const fn formats(&self) -> Option<Formats> {
        match self {
            Self::Version { theirs, .. } => Some(*theirs),
            // It introduces itself in no way that is known: it is older than any format that is.
            Self::OlderBuild => Some(Formats::only(Formats::RELEASED.lowest - 1)),
            Self::Unresolved(_)
            | Self::LookupPending
            | Self::NoConnection(_)
            | Self::ConnectTimeout
            | Self::HandshakeTimeout
            | Self::NoHttp(_)
            | Self::Status(_)
            | Self::NoUpgrade(_)
            | Self::Foreign(_)
            | Self::OtherAddress(_)
            | Self::Aside(_)
            | Self::LargePacketsLost
            | Self::Spoke
            | Self::Tls(_)
            | Self::Lacks(_)
            | Self::Unproven => None,
        }
    }

    /// Of the failures at several addresses of one name, the one that says most is told.
    pub(super) fn rank(&self) -> LinkCause {
        self.cause()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved(error) => write!(f, "its name does not resolve: {error}"),
            Self::LookupPending => f.write_str("the name server has not answered yet"),
            Self::NoConnection(error) => write!(f, "cannot connect: {error}"),
            Self::ConnectTimeout => f.write_str("connection attempts are not answered: packets are lost on the way"),
            Self::HandshakeTimeout => f.write_str("it accepts connections and says nothing"),
            Self::NoHttp(error) => write!(f, "no replica is there: what answers does not speak HTTP ({error})"),
            Self::Status(status) => {
                write!(f, "no replica is there, or not behind this proxy: the upgrade is answered with status {status}")
            }
            Self::NoUpgrade(status) => {
                write!(
                    f,
                    "a replica is there, but a proxy on the way does not pass the header Upgrade (status {status})"
                )
            }
            Self::Foreign(greeting) => {
                let tag = greeting.cluster.0;
                write!(
                    f,
                    "the replica there belongs to another cluster, whose name hashes to {tag:08x}; CLUSTER must be the same"
                )
            }
            Self::Version { theirs, ours } => {
                write!(
                    f,
                    "the replica there speaks format {theirs} of the protocol, this one format {ours}: none in common"
                )
            }
            Self::OlderBuild => f.write_str("the replica there speaks an earlier format of the protocol than this one"),
            Self::OtherAddress(address) => {
                write!(f, "the replica there has the address {address}; VIEW must name that")
            }
            Self::Aside(_) => f.write_str("the process there stands aside: another live process has its address"),
            Self::LargePacketsLost => f.write_str(
                "small packets pass and large ones are lost on the way: the MTU is too large, or ICMP is filtered",
            ),
            Self::Spoke => f.write_str("no replica is there: what answers speaks where only this side does"),
            Self::Tls(why) => write!(f, "no encrypted connection comes about: {why}"),
            Self::Lacks(Lacks::Certificate) => f.write_str(
                "the replica there asks for TLS with a certificate that names SOCKET_ADDRESS; HENCE_PEER_CA must be the same",
            ),
            Self::Lacks(Lacks::Secret) => {
                f.write_str("the replica there asks for a proof of its secret; HENCE_SECRET must be the same")
            }
            Self::Unproven => f.write_str("what answers there does not prove that it knows the secret of this cluster"),
        }
    }
}

/// A peer that is not connected to, since when, and what was told of that.
#[derive(Debug)]
pub(super) struct Outage {
    since: Instant,
    current: LinkCause,
    reported: Vec<LinkCause>,
}

impl Outage {
    /// A first attempt failed.
    pub(super) fn begin(cause: LinkCause) -> Self {
        Self { since: Instant::now(), current: cause, reported: Vec::new() }
    }

    /// What it fails of now.
    pub(super) const fn current(&self) -> LinkCause {
        self.current
    }

    /// One more attempt failed. Is that to be told? Each cause is, once in an outage.
    pub(super) fn fail(&mut self, cause: LinkCause, limit: Duration) -> bool {
        self.current = cause;
        let tells = !self.reported.contains(&cause) && (cause.is_definite() || self.since.elapsed() >= limit);
        if tells {
            self.reported.push(cause);
        }
        tells
    }
}

/// Connections that stood and had to be given up although the peer speaks: what happens again and again where packets
/// are lost for their size.
#[derive(Debug, Default)]
pub(super) struct Flaps {
    given_up: Vec<Instant>,
    asked_at: Option<Instant>,
    /// It was found that size matters.
    pub(super) large_packets_lost: bool,
}

/// So many within [`FLAPS_SPAN`] are not chance.
const FLAPS: usize = 3;
const FLAPS_SPAN: Duration = Duration::from_secs(60);

impl Flaps {
    /// One more connection was given up. Should be asked whether size matters?
    pub(super) fn give_up(&mut self) -> bool {
        let now = Instant::now();
        self.given_up.retain(|&at| now.duration_since(at) < FLAPS_SPAN);
        if self.given_up.len() < FLAPS {
            self.given_up.push(now);
        }
        let asked = self.asked_at.is_some_and(|at| now.duration_since(at) < FLAPS_SPAN);
        let asks = self.given_up.len() >= FLAPS && !asked;
        if asks {
            self.asked_at = Some(now);
        }
        asks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_told_once_and_a_passing_one_after_a_while() {
        let (limit, mut outage) = (Duration::from_millis(30), Outage::begin(LinkCause::Refused));
        assert!(!outage.fail(LinkCause::Refused, limit));
        assert!(outage.fail(LinkCause::Version, limit), "what stays is told at once");
        std::thread::sleep(limit);
        let reported = [LinkCause::Refused, LinkCause::Refused, LinkCause::Mute, LinkCause::Version, LinkCause::Mute];
        assert_eq!(reported.map(|cause| outage.fail(cause, limit)), [true, false, true, false, false]);
        assert_eq!(outage.current(), LinkCause::Mute);
    }

    #[test]
    fn size_is_asked_for_after_several_flaps_and_once_in_a_while() {
        let mut flaps = Flaps::default();
        assert_eq!([1, 2, 3, 4, 5].map(|_| flaps.give_up()), [false, false, true, false, false]);
    }

    #[test]
    fn names_tell_causes_apart() {
        let names: std::collections::BTreeSet<_> = LinkCause::ALL.iter().map(|cause| cause.name()).collect();
        assert_eq!(names.len(), LinkCause::ALL.len());
    }
}
