//! Incarnations that are over leave vectors and tokens (RET-1).
//!
//! An incarnation is gone when it is not the newest at any member's address. Every member reports how far it covers
//! that incarnation. When all report the same, the least of the members that are not suspected writes an ordinary
//! operation that depends on exactly that coverage. From then on its dot stands for the entry. The condition only keeps
//! tokens usable at a replica that is cut off just then; safety rests on the dependency alone.

use super::Replica;
use super::peer::{Peer, Source};
use super::pulls::keep_greater;
use crate::causal_context::{CausalContext, Retirement};
use crate::config::Config;
use crate::identity::Incarnation;
use crate::op::{Dots, Effect};
use crate::rules::{Rule, Rules};
use crate::time::Time;
use crate::vector::VersionVector;
use alloc::vec::Vec;

/// How long the own vector is, and so a token may be. What is handed out must stay within what is accepted, whichever
/// members are away: safety needs no member's report. Only members that are cut off just then refuse such tokens for as
/// long as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    /// Members that do not answer are waited for.
    Usual,
    /// Only those that are linked are waited for.
    Long,
    /// No member is waited for, and it is every member's turn.
    TooLong,
}

impl Length {
    fn of(context: &CausalContext, config: &Config) -> Self {
        match context.vector().len() {
            entries if entries <= config.vector_max => Self::Usual,
            entries if entries <= config.vector_max.saturating_mul(2) => Self::Long,
            _ => Self::TooLong,
        }
    }
}

/// Retire operations written in one call.
const RETIRE_MAX: usize = 16;

impl<R: Rules> Replica<R> {
    /// An incarnation was retired: a peer that is being sent the whole state is sent the record.
    pub(super) fn mark_retired(&mut self, incarnation: Incarnation, record: Retirement) {
        for peer in self.peers.iter_mut() {
            if let Some(serving) = &mut peer.serving
                && let Source::State(pass) = &mut serving.source
            {
                keep_greater(&mut pass.retired, incarnation, record);
            }
        }
    }

    /// Writes what is due, if it is this member's turn.
    pub(super) fn maybe_retire(&mut self) {
        let (now, length) = (self.now.monotonic, Length::of(self.data.context(), &self.config));
        if length == Length::Usual && now < self.retire_at || !self.is_ready() {
            return;
        }
        self.retire_at = now + self.config.retire_interval;
        let is_before = |peer: &Peer| peer.address < *self.membership.address() && self.counts(peer, length);
        if self.peers.members().iter().any(|id| is_before(&self.peers[*id])) {
            return;
        }
        let mut present: Vec<_> = self
            .membership
            .view()
            .newest_of_members()
            .map(|newest| newest.incarnation)
            .chain([self.membership.incarnation()])
            .collect();
        present.sort_unstable();
        let gone = |&(incarnation, through): &(Incarnation, u64)| {
            present.binary_search(&incarnation).is_err() && self.everybody_covers(incarnation, through, length)
        };
        let gone: Vec<_> =
            self.data.context().vector().entries().filter(gone).take(RETIRE_MAX.min(self.effects.room() / 2)).collect();
        self.effects.defer_if(length == Length::TooLong && !gone.is_empty());
        for (incarnation, through) in gone {
            let needs = VersionVector::from_entries([(incarnation, through)]);
            let needs = if self.rules.follows(Rule::RetirementDepends) { needs } else { VersionVector::new() };
            self.make(Effect::Retire { incarnation, through }, &[], Dots::new(), &needs);
        }
    }

    /// Members' statuses give the occasion to look for incarnations that are over; a replica that is alone needs a
    /// wake-up.
    pub(super) fn retire_timeout(&self) -> Time {
        let due = self.peers.members().is_empty() && self.is_ready() && self.data.context().vector().len() > 1;
        if due { self.retire_at } else { Time::NEVER }
    }

    /// May it be this member's turn to write?
    fn counts(&self, peer: &Peer, length: Length) -> bool {
        match length {
            Length::Usual => !peer.suspect.is_suspected(),
            Length::Long => !peer.suspect.is_suspected() && peer.link.is_established(),
            Length::TooLong => false,
        }
    }

    /// Has every member reported exactly this coverage? One that has been suspected for long does not count.
    fn everybody_covers(&self, incarnation: Incarnation, through: u64, length: Length) -> bool {
        let now = self.now.monotonic;
        self.peers.members().iter().map(|id| &self.peers[*id]).all(|peer| {
            let left_out = match length {
                Length::Usual => {
                    peer.suspect.since().is_some_and(|since| now.since(since) > self.config.retire_timeout)
                }
                Length::Long => !peer.link.is_established(),
                Length::TooLong => true,
            };
            let covers = || self.data.context().counter_in(&peer.acknowledged, incarnation) == through;
            left_out || peer.incarnation.is_some() && covers()
        })
    }
}
