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
        if !self.membership.stand_aside(address) {
            return;
        }
        self.startup.end_provisional(); // whether it is ready is looked at when it comes home
        self.renew();
    }

    /// The own address leads here again.
    pub(super) fn come_home(&mut self) {
        let Some(aside) = self.membership.come_home() else { return };
        let now = self.now.monotonic;
        let place = self.find_peer(self.membership.address());
        if let Some(id) = place {
            // The other process had this place. The address that is given up takes it: others may still speak of it.
            self.close_link(id);
            *self.peer(id) = Peer::new(aside, now);
        }
        self.renew();
        if !self.startup.is_joining() {
            // Others went on meanwhile, so each has to be met again.
            for peer in self.peers.iter_mut() {
                (peer.met, peer.goal) = (false, None);
            }
            self.startup.begin_again(self.provisional_until());
            self.consider_readiness();
        }
    }
}
