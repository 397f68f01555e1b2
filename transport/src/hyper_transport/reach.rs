//! Which processes the addresses of peers lead to, and which claim to have them.
//!
//! Every dial tells something about an address. A process that asks for a link is told what the dials since it was
//! first heard of have found. Where there has been none, one is made for that.

use super::dial::Purpose;
use super::greeting::{Claim, Greeting};
use super::standing::{Reaches, Standing};
use super::{Inner, dial};
use core::cell::RefCell;
use core::time::Duration;
use hence_core::Address;
use std::collections::BTreeMap;
use std::rc::Rc;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

/// Between two dials that are made to find out where an address leads.
const CHECK_PAUSE: Duration = Duration::from_secs(2);
/// A dial that found the asking process is believed for so long.
const BELIEVED: Duration = Duration::from_secs(10);
/// What a process said is forgotten after this.
const FORGOTTEN: Duration = Duration::from_secs(30);
/// Processes that are remembered of one address.
const PROCESSES_MAX: usize = 4;
/// Addresses that are remembered. They are addresses that this side speaks to.
const ADDRESSES_MAX: usize = 1_024;
/// Between two questions of a process that is not at home where it should be.
const QUESTION_PAUSE: Duration = Duration::from_secs(2);

/// A process that says that it has an address.
#[derive(Debug)]
struct Contact {
    process: u64,
    first: Instant,
    last: Instant,
    /// The other process there that it knows of.
    rival: Option<u64>,
}

/// What is known of one address.
#[derive(Debug, Default)]
struct Reach {
    /// When the last dial began, and where it led.
    found: Option<(Instant, Reaches)>,
    checked: Option<Instant>,
    contacts: Vec<Contact>,
}

/// What is known of addresses.
#[derive(Debug, Default)]
pub(super) struct Reached {
    addresses: RefCell<BTreeMap<Address, Reach>>,
}

impl Reached {
    /// A dial of this address that began then led there.
    pub(super) fn found(&self, address: &Address, begun: Instant, reaches: Reaches) {
        let mut addresses = self.addresses.borrow_mut();
        if addresses.len() < ADDRESSES_MAX || addresses.contains_key(address) {
            addresses.entry(address.clone()).or_default().found = Some((begun, reaches));
        }
    }

    /// Does this address lead nowhere, as far as was tried?
    pub(super) fn leads_nowhere(&self, address: &Address) -> bool {
        let addresses = self.addresses.borrow();
        addresses.get(address).and_then(|reach| reach.found).is_some_and(|(_, reaches)| reaches == Reaches::Nothing)
    }

    /// A process says that it has this address. Says what it is to be told, and whether to find out more.
    fn on_contact(&self, address: &Address, from: &Greeting, now: Instant) -> (Option<Reaches>, bool) {
        let mut addresses = self.addresses.borrow_mut();
        if addresses.len() >= ADDRESSES_MAX && !addresses.contains_key(address) {
            return (None, false);
        }
        let reach = addresses.entry(address.clone()).or_default();
        reach.contacts.retain(|contact| now.duration_since(contact.last) < FORGOTTEN);
        let first = match reach.contacts.iter_mut().find(|contact| contact.process == from.process) {
            Some(contact) => {
                (contact.last, contact.rival) = (now, from.rival.or(contact.rival));
                contact.first
            }
            None => {
                if reach.contacts.len() >= PROCESSES_MAX {
                    reach.contacts.remove(0);
                }
                reach.contacts.push(Contact { process: from.process, first: now, last: now, rival: from.rival });
                now
            }
        };
        // What an earlier dial found may be over: the asking process may have come in the place of that.
        let found = reach.found.filter(|&(begun, _)| begun > first);
        let is_settled = found.is_some_and(|(begun, reaches)| {
            reaches == Reaches::Process(from.process) && now.duration_since(begun) < BELIEVED
        });
        let is_due = reach.checked.is_none_or(|at| now.duration_since(at) >= CHECK_PAUSE);
        let checks = is_due && !is_settled && reach.contacts.iter().any(|contact| contact.process == from.process);
        if checks {
            reach.checked = Some(now);
        }
        (found.map(|(_, reaches)| reaches), checks)
    }

    /// The process that says that it has this address and that it knows of another process there.
    pub(super) fn claim(&self, address: &Address) -> Option<Claim> {
        let now = Instant::now();
        let addresses = self.addresses.borrow();
        let mut contacts = addresses.get(address)?.contacts.iter().rev();
        contacts.find_map(|contact| {
            let fresh = now.duration_since(contact.last) < FORGOTTEN;
            contact.rival.filter(|_| fresh).map(|from| Claim { by: contact.process, from })
        })
    }
}

impl Inner {
    /// What the answer to a process that asks for a link adds for it; `known` if this side speaks to its address.
    pub(super) fn answer_to(self: &Rc<Self>, asker: &Greeting, known: bool) -> Greeting {
        let mut answer = self.greeting();
        self.on_claim(asker);
        let address = asker.home.as_ref().unwrap_or(&asker.address);
        if !known || *address == self.settings.address {
            return answer;
        }
        let (reaches, checks) = self.reached.on_contact(address, asker, Instant::now());
        answer.reaches = reaches;
        answer.claim = self.reached.claim(address);
        if checks {
            let (inner, address) = (Rc::clone(self), address.clone());
            // The dial itself notes where it led.
            spawn_local(async move { drop(dial::connect(&inner, &address, Purpose::Check).await) });
        }
        answer
    }

    /// Another process may say that it has the address of this one, and prove that it knows of this one.
    pub(super) fn on_claim(self: &Rc<Self>, greeting: &Greeting) {
        let claims_own = greeting.claim.filter(|claim| claim.from == self.process && claim.by != self.process);
        if let Some(claim) = claims_own {
            self.whereabouts.borrow_mut().claimed_by(claim.by, Instant::now());
            self.consider_standing();
        }
    }

    /// A peer answered, and may have said where the address of this process leads.
    pub(super) fn on_answer(self: &Rc<Self>, greeting: &Greeting) {
        self.on_claim(greeting);
        if let Some(reaches) = greeting.reaches {
            self.whereabouts.borrow_mut().on_report(reaches, Instant::now());
            self.consider_standing();
        }
    }

    /// How this process stands to its address.
    pub(super) fn standing(&self) -> Standing {
        self.whereabouts.borrow().standing(Instant::now())
    }

    /// Tells of a change, and does what follows from it.
    fn consider_standing(self: &Rc<Self>) {
        let standing = self.standing();
        let before = self.reported_standing.replace(standing);
        if standing == before {
            return;
        }
        let replica = &self.settings.address;
        let displaced = standing == Standing::Displaced;
        match standing {
            Standing::Home => tracing::info!(%replica, "peers reach this process at its address again, and no other"),
            Standing::Contested => {
                tracing::error!(%replica, "another live process has the address of this one, SOCKET_ADDRESS must differ; peers reach this one")
            }
            Standing::Displaced => {
                tracing::error!(%replica, "another live process has the address of this one, SOCKET_ADDRESS must differ; peers reach the other one, so this one hands over what it holds and serves no data")
            }
            Standing::Unreachable => {
                tracing::error!(%replica, "this process reaches members and none of them can connect to its address: a firewall passes one direction only, or SOCKET_ADDRESS is not where peers reach it")
            }
        }
        if displaced != (before == Standing::Displaced) {
            self.stands_aside(displaced.then(|| Address::nowhere(self.process)));
        }
        if standing != Standing::Home && !self.asks.replace(true) {
            spawn_local(ask_on(Rc::downgrade(self)));
        }
    }
}

/// Asks one peer after the other where the address of this process leads, as long as there is any doubt.
async fn ask_on(inner: std::rc::Weak<Inner>) {
    let mut turn = 0;
    loop {
        sleep(QUESTION_PAUSE).await;
        let Some(inner) = inner.upgrade() else { return };
        inner.consider_standing();
        if inner.standing() == Standing::Home {
            inner.asks.set(false);
            return;
        }
        let peers: Vec<Address> =
            inner.peers.borrow().keys().filter(|address| !address.is_nowhere()).cloned().collect();
        turn += 1;
        if let Some(address) = peers.get(turn % peers.len().max(1)) {
            drop(dial::connect(&inner, address, Purpose::Check).await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hence_core::{ClusterTag, Formats};

    fn address() -> Address {
        Address::parse("10.0.0.2:80").expect("an address")
    }

    fn ask(reached: &Reached, process: u64, rival: Option<u64>, now: Instant) -> (Option<Reaches>, bool) {
        let greeting =
            Greeting { rival, ..Greeting::of(ClusterTag::of("hence"), process, address(), Formats::RELEASED) };
        reached.on_contact(&address(), &greeting, now)
    }

    #[test]
    fn only_dials_since_the_process_was_heard_of_are_told() {
        let (reached, now) = (Reached::default(), Instant::now());
        let after = |seconds: u64| now + Duration::from_secs(seconds);
        assert!(!reached.leads_nowhere(&address()));
        reached.found(&address(), now, Reaches::Process(1));
        assert_eq!(ask(&reached, 2, None, after(1)), (None, true), "1 may be over");
        assert_eq!(ask(&reached, 2, None, after(2)), (None, false), "it was just dialled");
        reached.found(&address(), after(2), Reaches::Process(1));
        assert_eq!(ask(&reached, 2, None, after(3)), (Some(Reaches::Process(1)), true));
        reached.found(&address(), after(4), Reaches::Process(2));
        assert_eq!(ask(&reached, 2, None, after(6)), (Some(Reaches::Process(2)), false), "it is believed");
        assert_eq!(ask(&reached, 2, None, after(15)), (Some(Reaches::Process(2)), true));
        reached.found(&address(), after(15), Reaches::Nothing);
        assert!(reached.leads_nowhere(&address()));
    }

    #[test]
    fn a_claim_is_told_of_who_knows_the_other() {
        let (reached, now) = (Reached::default(), Instant::now());
        ask(&reached, 1, None, now);
        ask(&reached, 2, None, now);
        assert_eq!(reached.claim(&address()), None, "one may have come in the place of the other");
        ask(&reached, 2, Some(1), now);
        assert_eq!(reached.claim(&address()), Some(Claim { by: 2, from: 1 }));
        for process in 10..20 {
            ask(&reached, process, None, now);
        }
        assert_eq!(reached.addresses.borrow()[&address()].contacts.len(), PROCESSES_MAX);
    }
}
