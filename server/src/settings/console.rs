//! What a page may order where several replicas run in one process, and what it shows of them.

use bytes::Bytes;
use serde::Deserialize;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// An order of a page. Faults are the only things that can be ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// What to do.
    pub order: Verb,
    /// The replica's name.
    pub replica: char,
}

/// What to do with a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Cut all its links.
    Cut,
    /// Undo that.
    Heal,
    /// End it; its memory is lost.
    Kill,
    /// Start it again.
    Restart,
}

impl fmt::Display for Order {
    /// As it is typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.order {
            Verb::Cut => "cut",
            Verb::Heal => "heal",
            Verb::Kill => "kill",
            Verb::Restart => "restart",
        };
        write!(f, "{verb} {}", self.replica)
    }
}

/// The way from the pages of all replicas to what runs them. A replica that has one answers `/up`.
#[derive(Clone)]
pub struct Console(Arc<Shared>);

struct Shared {
    shown: Mutex<Bytes>,
    give: Box<dyn Fn(Order) + Send + Sync>,
}

impl Console {
    /// A console that hands orders on. It must not wait: a replica's thread calls it.
    pub fn new(give: impl Fn(Order) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared { shown: Mutex::new(Bytes::from_static(b"{\"replicas\":[]}")), give: Box::new(give) }))
    }

    /// From now on pages are shown this JSON.
    pub fn show(&self, state: impl Into<Bytes>) {
        *self.0.shown.lock().unwrap_or_else(PoisonError::into_inner) = state.into();
    }

    pub(crate) fn shown(&self) -> Bytes {
        self.0.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn give(&self, order: Order) {
        (self.0.give)(order);
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}

impl PartialEq for Console {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Console {}
