//! How far a replica is on its way to serve: joining, up, ready (JOIN-1 to JOIN-3).
//!
//! Invariants kept here:
//! - A goal names a peer that data is fetched from, and what that peer covered when it was chosen.
//! - Only one that is up is provisional, and one that is not provisional any more stays so.

use super::peer::PeerId;
use crate::config::Config;
use crate::time::{Micros, Time};
use crate::vector::VersionVector;
use alloc::sync::Arc;

#[derive(Debug, Clone)]
pub(super) struct Startup {
    joining: Option<Joining>,
    /// It started alone, so whatever others that are up have is fetched at once, not after a delay.
    needs_initial_sync: bool,
    /// It is up, but what it holds may not be what the cluster holds. Absent members are waited for until then.
    provisional: Option<Time>,
}

/// A replica that has not loaded its state yet.
#[derive(Debug, Clone)]
struct Joining {
    /// Starts alone then, if no member that is up answered.
    alone_at: Time,
    /// The same while a peer accepted a connection and has not answered yet.
    alone_at_contact: Time,
    /// The member to catch up with, and what it covered when it was chosen.
    goal: Option<(PeerId, Arc<VersionVector>)>,
}

impl Joining {
    fn new(now: Time, config: &Config) -> Self {
        Self {
            alone_at: now + config.join_alone_after,
            alone_at_contact: now + config.join_alone_after_contact,
            goal: None,
        }
    }
}

impl Startup {
    pub(super) fn new(now: Time, config: &Config) -> Self {
        Self { joining: Some(Joining::new(now, config)), needs_initial_sync: false, provisional: None }
    }

    /// Has it not loaded its state yet?
    #[inline]
    pub(super) const fn is_joining(&self) -> bool {
        self.joining.is_some()
    }

    /// Is it up, though what it holds may not be what the cluster holds?
    #[inline]
    pub(super) const fn is_provisional(&self) -> bool {
        self.provisional.is_some()
    }

    /// Until when absent members are waited for, if it is provisional.
    #[inline]
    pub(super) const fn provisional_until(&self) -> Option<Time> {
        self.provisional
    }

    pub(super) const fn needs_initial_sync(&self) -> bool {
        self.needs_initial_sync
    }

    /// The own process did not run for so long.
    pub(super) fn exclude_stall(&mut self, stalled: Micros) {
        if let Some(joining) = &mut self.joining {
            joining.alone_at = joining.alone_at + stalled;
            joining.alone_at_contact = joining.alone_at_contact + stalled;
        }
    }

    /// The member to catch up with.
    pub(super) fn source(&self) -> Option<PeerId> {
        self.joining.as_ref()?.goal.as_ref().map(|(source, _)| *source)
    }

    /// What that member covered when it was chosen.
    #[inline]
    pub(super) fn goal(&self) -> Option<&VersionVector> {
        self.joining.as_ref()?.goal.as_ref().map(|(_, goal)| &**goal)
    }

    /// Catches up with this member, which covers that, or with none. What was chosen stays as it was then.
    pub(super) fn choose(&mut self, source: Option<(PeerId, Arc<VersionVector>)>) {
        let Some(joining) = &mut self.joining else { return };
        let chosen = joining.goal.as_ref().map(|(id, _)| *id);
        if chosen != source.as_ref().map(|(id, _)| *id) {
            joining.goal = source;
        }
    }

    /// The member to catch up with has gone.
    pub(super) fn forget_source(&mut self, id: PeerId) {
        if let Some(joining) = &mut self.joining {
            joining.goal.take_if(|(source, _)| *source == id);
        }
    }

    /// This member has given all that it has.
    pub(super) fn on_caught_up(&mut self, id: PeerId) {
        if let Some(Joining { goal: Some((source, goal)), .. }) = &mut self.joining
            && *source == id
        {
            *goal = Arc::default();
        }
    }

    /// When it starts alone. Contact is a peer that accepted a connection and has not answered yet.
    pub(super) fn alone_at(&self, contact: bool) -> Option<Time> {
        let joining = self.joining.as_ref()?;
        Some(if contact { joining.alone_at_contact } else { joining.alone_at })
    }

    /// It has loaded its state, or there is none to load.
    pub(super) fn become_up(&mut self, needs_initial_sync: bool, provisional: Option<Time>) {
        assert!(self.is_joining(), "a replica that is up becomes up");
        self.joining = None;
        self.needs_initial_sync = needs_initial_sync;
        self.provisional = provisional;
    }

    /// It serves anew, and others went on meanwhile.
    pub(super) fn begin_again(&mut self, provisional: Option<Time>) {
        assert!(!self.is_joining(), "what has nothing to serve begins to serve");
        self.provisional = provisional;
    }

    /// Only for the mutant that loads its state anew with each incarnation.
    pub(super) fn join_again(&mut self, now: Time, config: &Config) {
        self.joining = Some(Joining::new(now, config));
    }

    /// A whole pull brought what a member had.
    pub(super) const fn on_synced(&mut self) {
        self.needs_initial_sync = false;
    }

    /// What it holds is what the cluster holds, or that is looked at when it comes home.
    pub(super) const fn end_provisional(&mut self) {
        self.provisional = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Incarnation;

    fn goal(counter: u64) -> Arc<VersionVector> {
        Arc::new(VersionVector::from_entries([(Incarnation(7), counter)]))
    }

    #[test]
    fn a_goal_stays_as_it_was_when_it_was_chosen() {
        let mut startup = Startup::new(Time(1), &Config::default());
        startup.choose(Some((PeerId(1), goal(3))));
        startup.choose(Some((PeerId(1), goal(9))));
        assert_eq!((startup.source(), startup.goal()), (Some(PeerId(1)), Some(&*goal(3))));
        startup.choose(Some((PeerId(2), goal(9))));
        assert_eq!(startup.goal(), Some(&*goal(9)), "another member");
        startup.forget_source(PeerId(1));
        assert_eq!(startup.source(), Some(PeerId(2)));
        startup.on_caught_up(PeerId(2));
        assert_eq!(startup.goal(), Some(&VersionVector::new()), "it has nothing more");
        startup.forget_source(PeerId(2));
        assert_eq!((startup.source(), startup.goal()), (None, None));
    }

    #[test]
    fn a_stall_puts_off_a_start_alone() {
        let mut startup = Startup::new(Time(1), &Config::default());
        let [silent, contact] = [false, true].map(|contact| startup.alone_at(contact).expect("it joins"));
        assert!(silent < contact);
        startup.exclude_stall(Micros(5));
        assert_eq!(
            [false, true].map(|contact| startup.alone_at(contact)),
            [silent, contact].map(|at| Some(at + Micros(5)))
        );
        startup.become_up(true, Some(Time(9)));
        assert!(startup.alone_at(false).is_none() && startup.needs_initial_sync() && startup.is_provisional());
    }

    #[test]
    #[should_panic(expected = "becomes up")]
    fn it_becomes_up_once() {
        let mut startup = Startup::new(Time(1), &Config::default());
        startup.become_up(false, None);
        startup.become_up(false, None);
    }
}
