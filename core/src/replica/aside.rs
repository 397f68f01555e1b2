//! A replica whose address leads to another live process (ID-4).
//!
//! Two processes with one address cannot both be the member there. The one that peers do not reach stands aside: it goes
//! on under an address that leads nowhere and that is entered as removed. So the others fetch what it holds, as from
//! every removed replica, and it serves no data. It comes back when its own address leads to it again.

use super::Replica;
use super::peer::Peer;
use crate::identity::Address;
use crate::rules::Rules;

impl<R: Rules> Replica<R> {
    /// From now on this replica is a removed one at this address, which no other replica has ever had.
    pub(super) fn stand_aside(&mut self, address: Address) {
        if self.home.is_some() || self.view.record(&address).is_some_and(|record| record.newest.is_some()) {
            return;
        }
        // As by an operator, so that this record is the last of the removed ones to be forgotten.
        if !self.view.add(&address) || !self.view.remove(&address) {
            return;
        }
        self.home = Some(core::mem::replace(&mut self.address, address));
        self.provisional = None; // whether it is ready is looked at when it comes home
        self.renew();
    }

    /// The own address leads here again.
    pub(super) fn come_home(&mut self) {
        let Some(home) = self.home.take() else { return };
        let now = self.now.monotonic;
        let place = self.find_peer(&home);
        let aside = core::mem::replace(&mut self.address, home);
        if let Some(id) = place {
            // The other process had this place. The address that is given up takes it: others may still speak of it.
            self.close_link(id);
            *self.peer(id) = Peer::new(aside, now);
        }
        self.renew();
        if self.joining.is_none() {
            // Others went on meanwhile, so each has to be met again.
            for peer in &mut self.peers {
                (peer.met, peer.goal) = (false, None);
            }
            self.begin_to_serve();
            self.consider_readiness();
        }
    }
}
