//! What `GET /ready` says of a replica that serves and yet is not ready.

use crate::events::list;
use hence_core::Unsettled;

/// Why a replica that started alone is not ready.
pub(crate) fn explain(unsettled: &Unsettled) -> String {
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
    let told = parts.iter().filter(|(members, ..)| !members.is_empty()).map(|(members, one, several)| {
        let rest = if members.len() == 1 { one } else { several };
        format!("{}, {rest} awaited", list(members))
    });
    format!("it started alone; {}", told.collect::<Vec<_>>().join("; "))
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
