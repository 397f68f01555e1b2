//! Members of another cluster that has the same name (VIEW-6).
//!
//! Nothing but the name tells clusters apart. Where an address of one is used again by another, the two meet and become
//! one. That is what the protocol does with any two sides that were apart; here it is only recognised and told.

use super::Replica;
use super::peer::Peer;
use crate::edge::Event;
use crate::identity::{Address, Incarnation};
use crate::message::Hello;
use crate::rules::Rules;
use crate::time::Micros;
use crate::vector::VersionVector;
use alloc::vec::Vec;

/// A cluster has so many incarnations at least. A replica that started alone knows of one.
const INCARNATIONS_MIN: usize = 2;
/// Each member of the other cluster is news. All that are found within this are one discovery.
const REPORT_PAUSE: Micros = Micros::from_seconds(60);

impl<R: Rules> Replica<R> {
    /// Tells if this hello, which is not taken in yet, comes from a cluster that this one never had to do with.
    ///
    /// Then both have written, and neither holds a write of the other's. Two sides of a cut have a common past, and a
    /// newcomer has none or has written alone. A replica that an operator names was never met before it was named.
    pub(super) fn report_other_cluster(&mut self, from: &Address, incarnation: Incarnation, hello: &Hello) {
        let now = self.now.monotonic;
        let was_reported = self.merge_reported.is_some_and(|at| now.since(at) < REPORT_PAUSE);
        if was_reported || !are_apart(self.data.context().vector(), &hello.vector) {
            return;
        }
        let theirs = if self.is_at_a_reused_address(from, incarnation, hello) {
            let incarnations = hello.view.iter().filter(|record| record.newest.is_some()).map(|record| &record.address);
            incarnations
                .filter(|address| !address.is_nowhere() && self.membership.view().record(address).is_none())
                .cloned()
                .collect()
        } else if self.comes_along(from, incarnation, hello) {
            self.peers
                .iter()
                .filter(|peer| peer.is_member && peer.is_hearsay())
                .map(|peer| peer.address.clone())
                .collect()
        } else {
            Vec::new()
        };
        if !theirs.is_empty() {
            self.merge_reported = Some(now);
            let ours = self.membership.view().members().filter(|address| !theirs.contains(address)).cloned().collect();
            self.effects.emit(Event::ClustersMerge { ours, theirs });
        }
    }

    /// Each side is a cluster, and one has known another incarnation at an address that the other has now.
    fn is_at_a_reused_address(&self, from: &Address, incarnation: Incarnation, hello: &Hello) -> bool {
        let known_there = self.membership.view().newest(from).is_some_and(|known| known.incarnation != incarnation);
        let stated_here = hello
            .view
            .iter()
            .find(|record| record.address == *self.membership.address())
            .and_then(|record| record.newest);
        let known_here = stated_here.is_some_and(|stated| stated.incarnation != self.membership.incarnation());
        let incarnations_here = self.membership.view().records().filter(|record| record.newest.is_some()).count();
        let incarnations_there = hello.view.iter().filter(|record| record.newest.is_some()).count();
        (known_there || known_here) && incarnations_here.min(incarnations_there) >= INCARNATIONS_MIN
    }

    /// The replica at the address that is used again had nothing yet, and brought the others together. They meet for
    /// the first time, no operator has named one to the other, and each holds what others have written.
    fn comes_along(&self, from: &Address, incarnation: Incarnation, hello: &Hello) -> bool {
        let holds_more = |vector: &VersionVector, own| vector.entries().any(|(incarnation, _)| incarnation != own);
        let hearsay = self.find_peer(from).is_some_and(|id| self.peers[id].is_hearsay());
        hearsay
            && holds_more(self.data.context().vector(), self.membership.incarnation())
            && holds_more(&hello.vector, incarnation)
    }
}

impl Peer {
    /// Others have met an incarnation there, no operator has named the address here, and it was never heard.
    fn is_hearsay(&self) -> bool {
        !self.named && self.incarnation.is_none() && !self.address.is_nowhere()
    }
}

/// Is something written on both sides, and nothing of it known on the other?
fn are_apart(mine: &VersionVector, theirs: &VersionVector) -> bool {
    let (shorter, longer) = if mine.len() <= theirs.len() { (mine, theirs) } else { (theirs, mine) };
    !shorter.is_empty() && shorter.entries().all(|(incarnation, _)| longer.counter(incarnation) == 0)
}
