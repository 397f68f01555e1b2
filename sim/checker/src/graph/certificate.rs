//! The certificate: a guess at what explains a history, taken from the names of versions, and checked like any other.
//!
//! Clients see in an `ETag` which version a PUT made, and many stores name versions by origin and counter:
//! `000001a0e76dcd68-17`. A store whose replicas take each origin's writes in order shows no client the seventeenth
//! without the sixteenth. So the guess is that visibility contains the order of each origin. Joined to happens-before
//! it leaves as many chains of puts as there were origins, whatever the number of sessions, and the search is one walk.
//!
//! Nothing is believed: visibility may exceed happens-before, so an explanation that contains the guess is an
//! explanation, whatever the store did. If there is none, or the names mean something else, the history is searched
//! without the guess.

use crate::history::{Action, History, NONE, Outcome};
use crate::terms::{Edge, Node};
use std::collections::BTreeMap;

/// More origins than this are no help.
const ORIGINS_MAX: usize = 1 << 12;

/// The order of writes that their versions' names suggest.
#[derive(Debug, Default)]
pub(crate) struct Certificate {
    /// The origin of each operation, or [`NONE`].
    pub(crate) origin: Vec<u32>,
    /// Each put and the next of its origin, by where they lead.
    pub(crate) edges: Vec<Edge>,
}

impl Certificate {
    /// What the names of versions suggest; nothing when they suggest nothing.
    pub(crate) fn of(history: &History) -> Option<Self> {
        let mut names: BTreeMap<&str, u32> = BTreeMap::new();
        let mut origin = vec![NONE; history.len()];
        let mut puts: Vec<(u32, u64, Node)> = Vec::new();
        let answered =
            |&at: &usize| history.outcome[at] == Outcome::Ok && matches!(history.status[at], 200 | 201 | 204);
        for at in (0..history.len()).filter(|&at| history.action[at] == Action::Put).filter(answered) {
            let Some(&[version]) = history.shown(at) else { return None };
            let (name, counter) = history.versions.text(version).rsplit_once('-')?;
            let counter = counter.parse().ok()?;
            let count = names.len() as u32;
            origin[at] = *names.entry(name).or_insert(count);
            // All that a batch puts is one version.
            let head = history.batches.head(at as Node);
            origin[head as usize] = origin[at];
            puts.push((origin[at], counter, head));
        }
        if puts.is_empty() || names.len() > ORIGINS_MAX {
            return None;
        }
        puts.sort_unstable();
        puts.dedup();
        let steps = puts.windows(2).filter(|pair| pair[0].0 == pair[1].0);
        let mut edges: Vec<Edge> = steps.map(|pair| (pair[0].2, pair[1].2)).collect();
        edges.sort_unstable_by_key(|&(from, to)| (to, from));
        Some(Self { origin, edges })
    }
}
