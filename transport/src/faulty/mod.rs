//! A transport that misbehaves on command: it cuts, holds, delays, drops, duplicates and reorders.
//!
//! [`Faulty`] wraps any transport, in production too (`hence up` cuts and heals its replicas with it). Its
//! handle [`Faults`] may be cloned and used from any thread. While no fault is set, a message passes through
//! at the cost of one uncontended lock.
//!
//! What it keeps back on the way out counts as queued, so an opening message drops it, as [`Transport`] demands. What
//! it keeps back on the way in is on the wire, and comes whatever was opened meanwhile. To let old messages arrive
//! late, hold the incoming direction.
//!
//! Invariants kept here: no lock is held across an await; at most [`KEPT_MAX`] messages are kept back.

mod state;
#[cfg(test)]
mod tests;

use crate::{Incoming, Transport};
use async_trait::async_trait;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll};
use hence_core::{Address, Message, Micros, Time};
use state::{Fate, Kept, State};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Messages that a [`Faulty`] keeps back at most, delayed and held together. Further ones are lost.
pub const KEPT_MAX: usize = 65_536;

/// A clock that can wait. The one of the runtime that the transport lives in.
pub trait Sleeper {
    /// What time it is.
    fn now(&self) -> Time;

    /// Ready at that time or a little later; at once if it has passed.
    fn sleep_until(&self, at: Time) -> Pin<Box<dyn Future<Output = ()>>>;
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// What this side sends.
    Out,
    /// What this side receives.
    In,
    /// Either way.
    Both,
}

/// The peers that are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// All peers, also those of which nothing has been heard yet.
    Everybody,
    /// The peer at this address.
    Peer(Address),
}

impl From<&Address> for Target {
    fn from(address: &Address) -> Self {
        Self::Peer(address.clone())
    }
}

/// How likely something is, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Chance(u32);

impl Chance {
    /// It does not happen.
    pub const NEVER: Self = Self(0);
    /// It happens each time.
    pub const ALWAYS: Self = Self(1_000_000);

    /// So many times in a thousand; from 1,000 on always.
    #[must_use]
    pub const fn per_mille(times: u32) -> Self {
        Self::per_million(times.saturating_mul(1_000))
    }

    /// So many times in a million; from 1,000,000 on always.
    #[must_use]
    pub const fn per_million(times: u32) -> Self {
        if times < Self::ALWAYS.0 { Self(times) } else { Self::ALWAYS }
    }
}

/// What happens to messages that are neither cut off nor held. The default: nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weather {
    /// Each comes later by this.
    pub delay: Micros,
    /// And by up to this more. Those of one peer and direction stay in order.
    pub jitter: Micros,
    /// Lost.
    pub drop: Chance,
    /// Comes twice.
    pub duplicate: Chance,
    /// Comes later by up to [`Self::reorder_by`] more and may be overtaken.
    pub reorder: Chance,
    /// How much later a reordered message comes at most.
    pub reorder_by: Micros,
}

/// How often which fault struck: evidence that one that was set took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultCounts {
    /// Messages lost to a cut.
    pub cut: u64,
    /// Messages lost by chance.
    pub dropped: u64,
    /// Messages that came twice.
    pub duplicated: u64,
    /// Messages kept back for a while.
    pub delayed: u64,
    /// Messages kept back so that others may overtake them.
    pub reordered: u64,
    /// Messages held.
    pub held: u64,
    /// Messages dropped because a new link was opened while they were kept back.
    pub superseded: u64,
    /// Messages lost because too many were kept back.
    pub overflowed: u64,
}

/// The handle of a [`Faulty`]. Clones of it are the same handle.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Mutex<State>>);

impl Faults {
    /// No fault yet. All chances that will be taken come from this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State::new(seed))))
    }

    /// Loses everything that goes this way, what is kept back and comes due meanwhile included.
    pub fn cut(&self, target: impl Into<Target>, direction: Direction) {
        self.lock().set(&target.into(), direction, |rule| rule.cut = true);
    }

    /// Undoes [`Self::cut`]. To heal [`Target::Everybody`] heals each peer, too.
    pub fn heal(&self, target: impl Into<Target>, direction: Direction) {
        self.lock().set_all(&target.into(), direction, |rule| rule.cut = false);
    }

    /// Keeps back everything that goes this way until [`Self::release`].
    pub fn hold(&self, target: impl Into<Target>, direction: Direction) {
        self.lock().set(&target.into(), direction, |rule| rule.hold = true);
    }

    /// Lets through what was held, in order, and holds no more. To release [`Target::Everybody`] releases
    /// each peer, too.
    pub fn release(&self, target: impl Into<Target>, direction: Direction) {
        let mut state = self.lock();
        state.set_all(&target.into(), direction, |rule| rule.hold = false);
        state.release();
    }

    /// Sets the weather. A peer that has one of its own has that instead of the one for all.
    pub fn set_weather(&self, target: impl Into<Target>, direction: Direction, weather: Weather) {
        self.lock().set(&target.into(), direction, |rule| rule.weather = Some(weather));
    }

    /// No faults any more: everything healed, released, and the weather calm. What is delayed still comes.
    pub fn calm(&self) {
        let mut state = self.lock();
        state.forget_rules();
        state.release();
    }

    /// How often which fault struck.
    #[must_use]
    pub fn counts(&self) -> FaultCounts {
        self.lock().counts
    }

    /// How many messages are kept back now.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.lock().kept()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is whole before anything that could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Faulty<T, S> {
    inner: T,
    sleeper: S,
    faults: Faults,
}

impl<T: Transport, S: Sleeper> Faulty<T, S> {
    /// Wraps a transport. `faults` steers this one only; two that share a handle would mix up their messages.
    pub const fn new(inner: T, sleeper: S, faults: Faults) -> Self {
        Self { inner, sleeper, faults }
    }

    /// The transport inside.
    pub const fn inner(&self) -> &T {
        &self.inner
    }

    /// The handle.
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Passes on what has come due and says when the next will be.
    fn pass_due(&self, into: &mut Vec<Incoming>) -> (u64, Option<Time>) {
        let now = self.sleeper.now();
        let (due, version, next) = {
            let mut state = self.faults.lock();
            let due = state.take_due(now);
            (due, state.version, state.next_due())
        };
        for kept in due {
            match kept {
                Kept::Out { to, message } => self.inner.send(&to, message),
                Kept::In { from, message } => into.push(Incoming::Message { from, message }),
            }
        }
        (version, next)
    }

    fn take_in(&self, arrived: &mut Vec<Incoming>, into: &mut Vec<Incoming>) {
        if arrived.is_empty() {
            return;
        }
        let now = self.sleeper.now();
        let mut state = self.faults.lock();
        for incoming in arrived.drain(..) {
            match incoming {
                Incoming::Connected { to } => {
                    if !state.is_cut(&to) {
                        into.push(Incoming::Connected { to });
                    }
                }
                Incoming::Progress { from } => {
                    if !state.is_cut(&from) {
                        into.push(Incoming::Progress { from });
                    }
                }
                Incoming::Sign { from } => {
                    if !state.is_cut(&from) {
                        into.push(Incoming::Sign { from });
                    }
                }
                Incoming::Refused { by, why } => {
                    if !state.is_cut(&by) {
                        into.push(Incoming::Refused { by, why });
                    }
                }
                Incoming::Aside { address } => into.push(Incoming::Aside { address }),
                Incoming::Message { from, message } => match state.judge(&from, Direction::In, now) {
                    Fate::Passes => into.push(Incoming::Message { from, message }),
                    Fate::Lost => {}
                    Fate::Kept(copies) => state.keep(copies, Kept::In { from, message }),
                },
            }
        }
    }

    /// Ready when something arrived inside, something kept comes due, or the faults were changed.
    fn poll_anything(
        &self,
        version: u64,
        inner: &mut Pin<Box<dyn Future<Output = ()> + '_>>,
        sleep: &mut Option<Pin<Box<dyn Future<Output = ()>>>>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        if inner.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        if sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(context).is_ready()) {
            return Poll::Ready(());
        }
        let mut state = self.faults.lock();
        if state.version == version {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

#[async_trait(?Send)]
impl<T: Transport, S: Sleeper> Transport for Faulty<T, S> {
    fn send(&self, to: &Address, message: Message) {
        let now = self.sleeper.now();
        {
            let mut state = self.faults.lock();
            if message.is_opening() {
                state.supersede(to);
            }
            match state.judge(to, Direction::Out, now) {
                Fate::Passes => {}
                Fate::Lost => return,
                Fate::Kept(copies) => return state.keep(copies, Kept::Out { to: to.clone(), message }),
            }
        }
        self.inner.send(to, message);
    }

    async fn receive(&self, into: &mut Vec<Incoming>) {
        let before = into.len();
        let mut arrived = Vec::new();
        loop {
            let (version, next) = self.pass_due(into);
            if into.len() > before {
                return;
            }
            {
                let mut inner: Pin<Box<dyn Future<Output = ()> + '_>> = Box::pin(self.inner.receive(&mut arrived));
                let mut sleep = next.map(|at| self.sleeper.sleep_until(at));
                poll_fn(|context| self.poll_anything(version, &mut inner, &mut sleep, context)).await;
            }
            // No await lies between what arrived inside and its place in `into`: cancelling loses nothing.
            self.take_in(&mut arrived, into);
            if into.len() > before {
                return;
            }
        }
    }
}

/// The clock of tokio, for a [`Faulty`] that lives in its runtime.
#[cfg(any(feature = "hyper", test))]
#[derive(Debug, Clone, Copy)]
pub struct TokioSleeper(tokio::time::Instant);

#[cfg(any(feature = "hyper", test))]
impl Default for TokioSleeper {
    fn default() -> Self {
        Self(tokio::time::Instant::now())
    }
}

#[cfg(any(feature = "hyper", test))]
impl Sleeper for TokioSleeper {
    fn now(&self) -> Time {
        Time(u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn sleep_until(&self, at: Time) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(tokio::time::sleep_until(self.0 + core::time::Duration::from_micros(at.0)))
    }
}
