#![no_std]
//! The `hence` replica: a causally consistent, replicated key-value store as a pure state machine.
//!
//! [`Replica`] takes an [`Input`] at a [`Now`] and yields [`Output`]s. It does no I/O, reads no clock and draws no
//! randomness of its own. Its outputs are a pure function of its configuration, identity, seed and inputs.
//!
//! A driver owns the clock and the messages. It hands in one input at a time, and takes all outputs before the next
//! one. When nothing else is to do, it waits until [`Replica::poll_timeout`] and hands in [`Input::Timeout`]. Here are
//! two replicas, and a network that takes no time:
//!
//! ```
//! use hence_core::{
//!     Action, Address, Condition, Config, DataRequest, Event, Formats, Identity, Input, Key, Micros, Now, Output,
//!     Replica, Reply, Request, RequestId, Seed, Sound, Time, Value, VersionVector, Wall,
//! };
//! use std::collections::VecDeque;
//!
//! let addresses = ["127.0.0.2:8090", "127.0.0.3:8090"].map(|text| Address::parse(text).unwrap());
//! let mut now = Now { monotonic: Time(0), wall: Wall(1_800_000_000_000_000) }; // microseconds
//! let mut replicas = [0, 1].map(|n| {
//!     let identity = Identity { address: addresses[n].clone(), view: addresses.to_vec() };
//!     Replica::new(Sound, Config::default(), identity, Seed([n as u8; 32]), now)
//! });
//! let request = |action, past| {
//!     let (key, wait) = (Key::new("greeting").unwrap(), Micros::from_seconds(1));
//!     let (condition, format) = (Condition::default(), Formats::RELEASED.lowest);
//!     Request::Data(Box::new(DataRequest { key, action, past, wait, condition, format, concern: None }))
//! };
//!
//! // What is to be handed in, and at which replica.
//! let mut inputs: VecDeque<(usize, Input)> = VecDeque::new();
//! let mut up = 0;
//! let found = 'run: loop {
//!     let (n, input) = inputs.pop_front().unwrap_or_else(|| {
//!         // Nothing is on its way: time passes until a replica wants to be woken.
//!         let wakes = |n: usize| replicas[n].poll_timeout().unwrap_or(Time::NEVER);
//!         let n = (0..2).min_by_key(|&n| wakes(n)).unwrap();
//!         now.monotonic = now.monotonic.max(wakes(n));
//!         (n, Input::Timeout)
//!     });
//!     replicas[n].handle(now, input);
//!     while let Some(output) = replicas[n].poll_output() {
//!         match output {
//!             Output::Send { to, message } => {
//!                 let to = addresses.iter().position(|address| *address == to).unwrap();
//!                 inputs.push_back((to, Input::Message { from: addresses[n].clone(), message }));
//!             }
//!             // Both serve: a client writes at the first one.
//!             Output::Event(Event::Up { .. }) => {
//!                 up += 1;
//!                 if up == 2 {
//!                     let put = request(Action::Put(Value::new(b"\"hello\"")), VersionVector::default());
//!                     inputs.push_back((0, Input::Request { id: RequestId(1), request: put }));
//!                 }
//!             }
//!             // It goes on at the other one, with the token. There it waits until the write is applied.
//!             Output::Reply { reply, .. } => match *reply {
//!                 Reply::Written(written) => {
//!                     let get = request(Action::Get, written.token);
//!                     inputs.push_back((1, Input::Request { id: RequestId(2), request: get }));
//!                 }
//!                 reply => break 'run reply,
//!             },
//!             Output::Event(_) | Output::Tell { .. } => {}
//!         }
//!     }
//! };
//! let Reply::Found { siblings, .. } = found else { panic!("{found:?}") };
//! assert_eq!(siblings.winner().unwrap().value.as_bytes(), b"\"hello\"");
//! ```
//!
//! The example `by_hand` does the same with a clock that passes between the steps.
//!
//! What it guarantees is written in `docs/`; every module names the invariants that it keeps.

extern crate alloc;
#[cfg(test)]
extern crate std;

mod causal_buffer;
mod causal_context;
mod config;
mod data;
mod edge;
mod failure_detector;
mod fault;
mod formats;
mod freshness;
mod gaps;
mod hlc;
mod identity;
mod log;
mod message;
mod op;
mod ordered;
mod pieces;
mod replica;
mod request;
mod rules;
mod siblings;
mod store;
mod stream;
mod table;
mod time;
mod token;
mod vector;
mod view;

pub use causal_context::{CausalContext, Retirement};
pub use config::Config;
pub use data::{Key, KeyError, Value};
pub use edge::{DropReason, Event, Input, Output, Refused};
pub use fault::Fault;
pub use formats::Formats;
pub use hlc::Hlc;
pub use identity::{Address, AddressError, ClusterTag, Identity, Incarnation, Seed, Unusable};
pub use message::{
    Body, Content, Coverage, Hello, LostQuery, Message, Outline, Outlined, SnapshotEntry, Status, Supply, Version,
};
pub use op::{BATCH_MAX, Change, Deps, Dots, Effect, KeyChange, Op};
pub use replica::{
    Lag, LinkState, MemoryUse, PeerStatus, Readiness, Replica, ReplicaStatus, State, Unsettled, WORK_MAX,
};
pub use request::{
    Action, BatchAnswer, BatchError, BatchOperation, BatchRequest, Condition, DataRequest, Holders, LIST_MAX,
    ListAnswer, ListRequest, ListShape, Listed, Match, Outcome, Refusal, Reply, Request, RequestId, WATCH_PART_MAX,
    WatchChange, WatchMark, WatchPart, WatchRange, WatchRequest, WatchReset, WriteConcern, Written,
};
pub use rules::{Holder, Rule, Rules, Sound};
pub use siblings::{Sibling, Siblings};
pub use store::Store;
pub use time::{Micros, Now, Time, Wall};
pub use token::{Token, TokenError};
pub use vector::{Causality, Dot, VersionVector};
pub use view::{MemberRecord, Presence, View};
