//! What is asked of the next time that the run is played.

use crate::history::NONE;
use crate::terms::{Edge, Node};
use std::collections::{BTreeMap, BTreeSet};

/// One thing that is asked of the next time that the run is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Repair {
    /// The first operation comes before the second.
    After(Node, Node),
    /// The second has met the first, a write.
    Seen(Node, Node),
    /// The write does not reach the site before another was made there.
    Block { write: Node, site: u32, until: Node },
    /// The delete is not what removed a put before the event.
    Refuse(Node, Node),
    /// The first put loses against the second although it seems to be later.
    Behind(Node, Node),
}

/// What is asked of the next time that the run is played.
#[derive(Debug, Clone, Default)]
pub(super) struct Repairs {
    all: BTreeSet<Repair>,
    seen: BTreeSet<Edge>,
    blocks: BTreeMap<(Node, u32), BTreeSet<Node>>,
}

impl Repairs {
    pub(super) fn add(&mut self, repair: Repair) {
        self.all.insert(repair);
        match repair {
            Repair::Seen(write, by) => _ = self.seen.insert((by, write)),
            Repair::Block { write, site, until } => _ = self.blocks.entry((write, site)).or_default().insert(until),
            Repair::After(..) | Repair::Refuse(..) | Repair::Behind(..) => {}
        }
    }

    pub(super) fn remove(&mut self, repair: Repair) {
        self.all.remove(&repair);
        match repair {
            Repair::Seen(write, by) => _ = self.seen.remove(&(by, write)),
            Repair::Block { write, site, until } => {
                self.blocks.entry((write, site)).and_modify(|all| _ = all.remove(&until));
            }
            Repair::After(..) | Repair::Refuse(..) | Repair::Behind(..) => {}
        }
    }

    pub(super) fn has(&self, repair: Repair) -> bool {
        self.all.contains(&repair)
    }

    /// What the order must contain.
    pub(super) fn edges(&self) -> impl Iterator<Item = Edge> {
        self.all.iter().filter_map(|&repair| match repair {
            Repair::After(first, second) | Repair::Seen(first, second) => Some((first, second)),
            Repair::Block { .. } | Repair::Refuse(..) | Repair::Behind(..) => None,
        })
    }

    pub(super) fn seen_by(&self, node: Node) -> impl Iterator<Item = Node> {
        self.seen.range((node, 0)..=(node, NONE)).map(|&(_, from)| from)
    }

    pub(super) fn is_blocked(&self, write: Node, site: u32, is_ahead: impl Fn(Node) -> bool) -> bool {
        self.blocks.get(&(write, site)).is_some_and(|until| until.iter().any(|&until| is_ahead(until)))
    }
}
