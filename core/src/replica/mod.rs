//! Stub while the parts are written.
use crate::*;
use alloc::vec::Vec;
use alloc::string::String;
/// Replica.
pub struct Replica<R: Rules = Sound> { _rules: R }
/// What [`Replica::status`] tells: for metrics and `/replica/state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// Own address.
    pub address: Address,
    /// The present life.
    pub incarnation: Incarnation,
    /// Serves data requests.
    pub ready: bool,
    /// Loaded its state.
    pub up: bool,
    /// An operator wants it.
    pub wanted: bool,
    /// What is covered.
    pub vector: VersionVector,
    /// The digest of the store.
    pub digest: u64,
    /// Keys present.
    pub keys: usize,
    /// Bytes of keys and values.
    pub store_bytes: u64,
    /// Operations in the log.
    pub log_ops: usize,
    /// Bytes in the log.
    pub log_bytes: usize,
    /// Operations parked.
    pub parked: usize,
    /// Requests waiting.
    pub waiting: usize,
    /// A fetch is under way.
    pub pulling: bool,
    /// The members that `GET /view` lists.
    pub listed: Vec<Address>,
    /// Every row of the view.
    pub view: Vec<Row>,
    /// Every other address heard of.
    pub peers: Vec<PeerStatus>,
}
/// One peer, as [`Replica::status`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its address.
    pub address: Address,
    /// The state of the link.
    pub link: LinkState,
    /// Silent for too long.
    pub suspected: bool,
    /// What it said it covers.
    pub vector: VersionVector,
}
/// The state of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Hellos go out.
    Opening,
    /// Both numbers are known to both ends.
    Established,
}
impl<R: Rules> Replica<R> {
    /// A replica that has just started.
    pub fn new(_rules: R, _config: Config, _identity: Identity, _seed: Seed, _now: Now) -> Self { unimplemented!() }
    /// Takes one input. Total: any input in any state. Drain [`Self::poll_output`] to `None` before the next.
    pub fn handle(&mut self, _now: Now, _input: Input) { unimplemented!() }
    /// The next output; `None` when there is nothing more to do until the next input.
    pub fn poll_output(&mut self) -> Option<Output> { unimplemented!() }
    /// When to hand in [`Input::Timeout`], if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Time> { unimplemented!() }
    /// The O(n) invariants. # Panics on a mistake of ours.
    pub fn check_invariants(&self) { unimplemented!() }
    /// Own address.
    pub fn address(&self) -> &Address { unimplemented!() }
    /// The present life.
    pub fn incarnation(&self) -> Incarnation { unimplemented!() }
    /// Serves data requests: up and wanted.
    pub fn is_ready(&self) -> bool { unimplemented!() }
    /// What is covered.
    pub fn vector(&self) -> &VersionVector { unimplemented!() }
    /// The store.
    pub fn store(&self) -> &Store { unimplemented!() }
    /// The view.
    pub fn view(&self) -> &View { unimplemented!() }
    /// Everything worth showing, copied.
    pub fn status(&self) -> ReplicaStatus { unimplemented!() }
    /// _
    fn _x(&self, _: String) {}
}
