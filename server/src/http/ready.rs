//! What `GET /ready` says of a replica that serves and yet is not ready.

use crate::events::list;
use hence_core::{Readiness, Refusal, Unsettled};
use hence_transport::Standing;

/// Why clients should not be sent here; none if they may be.
pub(crate) fn why_not(readiness: &Readiness, standing: Standing) -> Option<String> {
    let not_ready = Refusal::NotReady;
    let displaced = format!(
        "{not_ready}: another live process has its SOCKET_ADDRESS, and members reach that one; what this one accepted is \
         handed over to them"
    );
    match (readiness, standing) {
        (Readiness::Displaced, _) | (_, Standing::Displaced) => Some(displaced),
        (Readiness::Joining | Readiness::Removed, _) => Some(not_ready.to_string()),
        (_, Standing::Unreachable) => Some(format!(
            "{not_ready}: it reaches members, and none of them can connect to its SOCKET_ADDRESS; a firewall passes one \
             direction only, or the address is wrong"
        )),
        (Readiness::Provisional(unsettled), _) => Some(format!("{not_ready}: {}", explain(unsettled))),
        (Readiness::HeldBack, _) => Some(format!("{not_ready}: it has no memory left for what other replicas have")),
        (Readiness::Ready, Standing::Home | Standing::Contested) => None,
    }
}

/// What is answered when clients may be sent here.
pub(crate) const fn body(standing: Standing) -> &'static [u8] {
    if matches!(standing, Standing::Contested) {
        b"{\"result\":\"ready\",\"warning\":\"another live process has the same SOCKET_ADDRESS\"}"
    } else {
        b"{\"result\":\"ready\"}"
    }
}

/// Why a replica that started alone is not ready.
fn explain(unsettled: &Unsettled) -> String {
    let parts = [
        (
            &unsettled.versions,
            "which speaks another version of the protocol, is",
            "which speak another version of the protocol, are",
        ),
        (&unsettled.foreign, "which belongs to another cluster, is", "which belong to another cluster, are"),
        (&unsettled.loading, "whose data is being fetched, is", "whose data is being fetched, are"),
        (&unsettled.unlinked, "which is there but not linked, is", "which are there but not linked, are"),
        (&unsettled.absent, "which was never met, is", "which were never met, are"),
    ];
    let reasons = parts.iter().filter(|(members, ..)| !members.is_empty()).map(|(members, one, several)| {
        let rest = if members.len() == 1 { one } else { several };
        format!("{}, {rest} awaited", list(members))
    });
    format!("it started alone; {}", reasons.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hence_core::Address;

    #[test]
    fn members_are_named() {
        let address = |text| Address::parse(text).unwrap();
        let mut unsettled = Unsettled { absent: vec![address("a:1")], ..Unsettled::default() };
        assert_eq!(explain(&unsettled), "it started alone; a:1, which was never met, is awaited");
        unsettled.versions = vec![address("b:1"), address("c:1")];
        let expected = "it started alone; b:1, c:1, which speak another version of the protocol, are awaited; \
                        a:1, which was never met, is awaited";
        assert_eq!(explain(&unsettled), expected);
    }
}
