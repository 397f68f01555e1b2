//! What a replica's operator is told about settings that are legal and yet probably not what was meant.
//!
//! Nothing here changes what a replica does.

use crate::settings::{DEFAULT_CLUSTER, Settings};
use hence_core::Address;
use hence_transport::trust::Changeover;
use std::net::IpAddr;
use tracing::{info, warn};

/// Looks at the settings of a replica that is about to start and listens there.
pub(crate) fn on_start(settings: &Settings, listens: IpAddr) {
    for warning in warnings(settings, listens) {
        warn!(replica = %settings.address, "{warning}");
    }
    if settings.access.is_none() {
        info!(replica = %settings.address, "everything is open: every client may read, write and change the view; HENCE_ACCESS_FILE asks for tokens");
    }
}

/// An operator adds this address to the view at this replica.
pub(crate) fn on_added(own: &Address, added: &Address) {
    if own.is_loopback() != added.is_loopback() {
        warn!(replica = %own, address = %added, "{}", one_of_them_leads_nowhere(added, own));
    }
}

fn one_of_them_leads_nowhere(one: &Address, other: &Address) -> String {
    let (loopback, other) = if one.is_loopback() { (one, other) } else { (other, one) };
    format!(
        "{loopback} leads each replica to its own machine, and {other} does not: replicas on other machines cannot reach \
         {loopback}; SOCKET_ADDRESS and VIEW take the address that peers use, and HENCE_BIND says where to listen"
    )
}

/// Everything that is probably not meant.
fn warnings(settings: &Settings, listens: IpAddr) -> Vec<String> {
    let mut warnings = Vec::new();
    let own = &settings.address;
    let all = || settings.view.iter().chain([own]);
    if let Some(other) = settings.view.iter().find(|member| member.is_loopback() != own.is_loopback()) {
        warnings.push(one_of_them_leads_nowhere(own, other));
    }
    for name in all().filter(|member| member.is_loopback() && member.ip().is_none()) {
        if let Some(same) =
            all().find(|other| other.ip().is_some_and(|ip| ip.is_loopback()) && other.port() == name.port())
        {
            warnings.push(format!("{name} and {same} are two members of the view, and probably one replica"));
            break;
        }
    }
    let trust = &settings.trust;
    let asks_peers = trust.certificate.is_some() || trust.secret.is_some() || trust.secret_file.is_some();
    if asks_peers {
        warnings.extend(lets_strangers_in(trust.changeover).map(str::to_owned));
    }
    if let Some(where_from) = exposure(settings, listens) {
        let remedy = match (asks_peers, trust.changeover) {
            (true, Changeover::Done) => None,
            (true, Changeover::Accept | Changeover::Use) => Some("end the changeover with HENCE_CHANGEOVER=done"),
            (false, Changeover::Done | Changeover::Accept | Changeover::Use) => {
                Some("set HENCE_TLS_CERT, HENCE_TLS_KEY and HENCE_PEER_CA, or HENCE_SECRET_FILE")
            }
        };
        warnings.extend(
            remedy.map(|remedy| format!("{where_from}, and a stranger who reaches it can join the cluster: {remedy}")),
        );
    }
    if settings.cluster == DEFAULT_CLUSTER && all().any(|member| !member.is_loopback()) {
        warnings.push(format!(
            "the cluster has the default name \"{DEFAULT_CLUSTER}\": another cluster of that name merges with it if an \
             address is used again; set CLUSTER to a name of its own at all members"
        ));
    }
    warnings
}

/// What a step of a changeover means, and what follows it.
const fn lets_strangers_in(changeover: Changeover) -> Option<&'static str> {
    match changeover {
        Changeover::Done => None,
        Changeover::Accept => Some(
            "with HENCE_CHANGEOVER=accept a stranger without a certificate or a proof is let in, and this replica shows \
             peers neither: set HENCE_CHANGEOVER=use once all members have this step",
        ),
        Changeover::Use => Some(
            "with HENCE_CHANGEOVER=use a stranger without a certificate or a proof is let in: set HENCE_CHANGEOVER=done \
             once all members have this step",
        ),
    }
}

/// Why the whole world may reach the place where it listens, if it may. Behind all interfaces may be any network.
fn exposure(settings: &Settings, listens: IpAddr) -> Option<&'static str> {
    let everywhere = listens.is_unspecified();
    let known = if everywhere { settings.address.ip() } else { Some(listens) };
    if known.is_some_and(|ip| !is_private(ip)) {
        Some("this address is neither loopback nor private")
    } else {
        everywhere.then_some("this replica listens at all interfaces")
    }
}

fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        // Carriers number their own networks in 100.64.0.0/10.
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || first == 100 && second & 0xc0 == 64
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Names of environment variables that begin like settings and are none, each with the setting that it resembles.
pub(crate) fn unknown_variables(
    given: impl Iterator<Item = String>,
    known: &[String],
) -> Vec<(String, Option<String>)> {
    let is_setting = |name: &String| known.contains(name);
    let mut unknown: Vec<String> =
        given.filter(|name| name.starts_with("HENCE_") && !is_setting(name) && !is_of_an_orchestrator(name)).collect();
    unknown.sort();
    let resembles = |name: &str| {
        let likeness = |known: &String| strsim::normalized_damerau_levenshtein(name, known);
        known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).filter(|known| likeness(known) > 0.7).cloned()
    };
    unknown.into_iter().map(|name| (name.clone(), resembles(&name))).collect()
}

/// Kubernetes and Docker describe a service named `hence` by variables such as `HENCE_PORT_8090_TCP_ADDR`.
fn is_of_an_orchestrator(name: &str) -> bool {
    let numbered = |part: &str| {
        let (_, rest) = part.split_at(part.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(part.len()));
        rest.len() < part.len() && (rest.starts_with("_TCP") || rest.starts_with("_UDP"))
    };
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.split("_PORT_").skip(1).any(numbered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::TrustSettings;
    use std::net::Ipv6Addr;

    /// The warnings of a replica that listens where these settings have it listen.
    fn all_of(settings: &Settings) -> Vec<String> {
        let given = settings.bind.map(|bind| bind.ip()).or_else(|| settings.address.ip());
        warnings(settings, given.unwrap_or(Ipv6Addr::UNSPECIFIED.into()))
    }

    fn warnings_of(address: &str, view: &[&str], cluster: &str) -> Vec<String> {
        let parse = |text: &&str| Address::parse(text).unwrap();
        let settings = Settings::at(parse(&address));
        all_of(&Settings { view: view.iter().map(parse).collect(), cluster: cluster.into(), ..settings })
    }

    #[test]
    fn what_is_probably_not_meant() {
        for (address, view, cluster, words) in [
            ("127.0.0.1:1", &["127.0.0.1:1", "127.0.0.2:1"] as &[&str], "hence", &[] as &[&[&str]]),
            ("localhost:1", &["localhost:2"], "hence", &[&["all interfaces", "HENCE_SECRET_FILE"]]),
            ("10.0.0.1:1", &["10.0.0.2:1"], "shop", &[]),
            ("10.0.0.1:1", &["10.0.0.1:1"], "hence", &[&["default name", "CLUSTER"]]),
            ("alice:1", &["bob:1"], "hence", &[&["all interfaces"], &["default name", "CLUSTER"]]),
            ("10.0.0.1:1", &["127.0.0.1:2"], "shop", &[&["127.0.0.1:2", "HENCE_BIND"]]),
            ("localhost:1", &["bob:1"], "shop", &[&["localhost:1 leads", "bob:1", "HENCE_BIND"], &["all interfaces"]]),
            ("[::1]:1", &["[2001:db8::1]:1"], "shop", &[&["[::1]:1 leads"]]),
            ("203.0.113.1:1", &["203.0.113.1:1"], "shop", &[&["neither loopback nor private", "HENCE_SECRET_FILE"]]),
            ("[2001:db8::1]:1", &["[2001:db8::2]:1"], "shop", &[&["neither loopback nor private"]]),
            ("100.64.0.1:1", &["[fd00::1]:1", "192.168.1.1:1"], "shop", &[]),
            (
                "127.0.0.1:1",
                &["localhost:1", "127.0.0.1:1"],
                "hence",
                &[&["localhost:1", "127.0.0.1:1", "one replica"]],
            ),
        ] {
            let found = warnings_of(address, view, cluster);
            assert_eq!(found.len(), words.len(), "{address} {view:?}: {found:?}");
            for (found, words) in found.iter().zip(words) {
                assert!(words.iter().all(|word| found.contains(word)), "{found} lacks one of {words:?}");
            }
        }
    }

    #[test]
    fn where_strangers_get_in() {
        let secret = || TrustSettings { secret_file: Some("secret".into()), ..TrustSettings::default() };
        let with = |changeover| TrustSettings { changeover, ..secret() };
        let none = TrustSettings::default;
        let all = ["listens at all interfaces", "HENCE_SECRET_FILE"];
        let accept = ["HENCE_CHANGEOVER=accept a stranger", "set HENCE_CHANGEOVER=use"];
        let use_ = ["HENCE_CHANGEOVER=use a stranger", "set HENCE_CHANGEOVER=done"];
        let (public, end) = ("neither loopback nor private", "end the changeover with HENCE_CHANGEOVER=done");
        for (address, bind, trust, words) in [
            ("10.0.0.1:1", None, none(), &[] as &[[&str; 2]]),
            ("10.0.0.1:1", Some("0.0.0.0:1"), none(), &[all]),
            ("10.0.0.1:1", Some("[::]:1"), none(), &[all]),
            ("10.0.0.1:1", Some("0.0.0.0:1"), secret(), &[]),
            ("10.0.0.1:1", Some("10.0.0.2:1"), none(), &[]),
            ("10.0.0.1:1", Some("203.0.113.1:1"), none(), &[[public, "HENCE_SECRET_FILE"]]),
            ("203.0.113.1:1", Some("10.0.0.1:1"), none(), &[]),
            ("203.0.113.1:1", Some("0.0.0.0:1"), none(), &[[public, "HENCE_SECRET_FILE"]]),
            ("alice:1", None, none(), &[all]),
            ("alice:1", Some("10.0.0.1:1"), none(), &[]),
            ("alice:1", None, secret(), &[]),
            ("10.0.0.1:1", None, with(Changeover::Accept), &[accept]),
            ("10.0.0.1:1", None, with(Changeover::Use), &[use_]),
            ("203.0.113.1:1", None, with(Changeover::Done), &[]),
            ("203.0.113.1:1", None, with(Changeover::Accept), &[accept, [public, end]]),
            ("203.0.113.1:1", None, with(Changeover::Use), &[use_, [public, end]]),
            ("alice:1", None, with(Changeover::Use), &[use_, ["listens at all interfaces", end]]),
            ("10.0.0.1:1", None, TrustSettings { changeover: Changeover::Accept, ..none() }, &[]),
        ] {
            let bind = bind.map(|bind| bind.parse().unwrap());
            let settings = Settings { cluster: "shop".into(), bind, ..Settings::at(Address::parse(address).unwrap()) };
            let found = all_of(&Settings { trust: trust.clone(), ..settings });
            assert_eq!(found.len(), words.len(), "{address} {bind:?} {trust:?}: {found:?}");
            for (found, words) in found.iter().zip(words) {
                assert!(words.iter().all(|word| found.contains(word)), "{found} lacks one of {words:?}");
            }
        }
    }

    #[test]
    fn variables_that_are_no_settings() {
        let known = ["HENCE_LATE_MAX", "HENCE_BODY_BYTES_MAX", "HENCE_UP_PORT"].map(str::to_owned);
        let given = [
            "PATH",
            "HENCE_LATE_MAX",
            "HENCE_LATEMAX",
            "HENCE_BODY_BYTE_MAX",
            "HENCE_COLOUR",
            "HENCE_SERVICE_HOST",
            "HENCE_SERVICE_PORT_HTTP",
            "HENCE_PORT",
            "HENCE_PORT_8090_TCP_ADDR",
            "HENCE_HEADLESS_PORT_8090_TCP",
        ];
        let found = unknown_variables(given.into_iter().map(str::to_owned), &known);
        let found: Vec<(&str, Option<&str>)> = found.iter().map(|(name, like)| (&**name, like.as_deref())).collect();
        let expected = [
            ("HENCE_BODY_BYTE_MAX", Some("HENCE_BODY_BYTES_MAX")),
            ("HENCE_COLOUR", None),
            ("HENCE_LATEMAX", Some("HENCE_LATE_MAX")),
        ];
        assert_eq!(found, expected);
    }
}
