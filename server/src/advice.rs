//! What a replica's operator is told about settings that are legal and yet probably not what was meant.
//!
//! Nothing here changes what a replica does.

use crate::settings::{DEFAULT_CLUSTER, Settings};
use hence_core::Address;
use std::net::IpAddr;
use tracing::{info, warn};

/// Looks at the settings of a replica that is about to start.
pub(crate) fn on_start(settings: &Settings) {
    for warning in warnings(settings) {
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
fn warnings(settings: &Settings) -> Vec<String> {
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
    let asks_peers =
        [settings.trust.certificate.is_some(), settings.trust.secret.is_some(), settings.trust.secret_file.is_some()];
    if is_exposed(settings) && !asks_peers.contains(&true) {
        warnings.push(
            "this address is neither loopback nor private, and a stranger who reaches it can join the cluster: set HENCE_TLS_CERT, \
             HENCE_TLS_KEY and HENCE_PEER_CA, or HENCE_SECRET_FILE"
                .into(),
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

/// Does it listen where the whole world may be? Where it listens at all interfaces its own address tells. A name does
/// not.
fn is_exposed(settings: &Settings) -> bool {
    let bound = settings.bind.map(|bind| bind.ip()).filter(|ip| !ip.is_unspecified());
    bound.or_else(|| settings.address.ip()).is_some_and(|ip| !is_private(ip))
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

    fn warnings_of(address: &str, view: &[&str], cluster: &str) -> Vec<String> {
        let parse = |text: &&str| Address::parse(text).unwrap();
        let settings = Settings::at(parse(&address));
        warnings(&Settings { view: view.iter().map(parse).collect(), cluster: cluster.into(), ..settings })
    }

    #[test]
    fn what_is_probably_not_meant() {
        for (address, view, cluster, words) in [
            ("127.0.0.1:1", &["127.0.0.1:1", "127.0.0.2:1"] as &[&str], "hence", &[] as &[&[&str]]),
            ("localhost:1", &["localhost:2"], "hence", &[]),
            ("10.0.0.1:1", &["10.0.0.2:1"], "shop", &[]),
            ("10.0.0.1:1", &["10.0.0.1:1"], "hence", &[&["default name", "CLUSTER"]]),
            ("alice:1", &["bob:1"], "hence", &[&["default name", "CLUSTER"]]),
            ("10.0.0.1:1", &["127.0.0.1:2"], "shop", &[&["127.0.0.1:2", "HENCE_BIND"]]),
            ("localhost:1", &["bob:1"], "shop", &[&["localhost:1 leads", "bob:1", "HENCE_BIND"]]),
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
