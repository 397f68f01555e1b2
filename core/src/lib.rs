#![no_std]
//! The `hence` replica: a causally consistent, replicated key-value store as a pure state machine.
//!
//! [`Replica`] takes an [`Input`] at a [`Now`] and yields [`Output`]s. It does no I/O, reads no clock and draws no
//! randomness of its own. Its outputs are a pure function of its configuration, identity, seed and inputs. Drive it
//! like this:
//!
//! ```
//! use hence_core::{Address, Config, Identity, Input, Now, Output, Replica, Request, RequestId, Seed, Sound};
//! let address = Address::parse("127.0.0.1:8090").unwrap();
//! let identity = Identity { address: address.clone(), view: vec![address] };
//! let mut replica = Replica::new(Sound, Config::default(), identity, Seed([7; 32]), Now::default());
//! replica.handle(Now::default(), Input::Request { id: RequestId(1), request: Request::View });
//! while let Some(output) = replica.poll_output() {
//!     if let Output::Reply { id, reply } = output {
//!         println!("{id:?} gets {reply:?}");
//!     }
//! }
//! ```
//!
//! The example `by_hand` drives two replicas this way, with a clock and a network of its own.
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
mod fault;
pub use fault::Fault;
