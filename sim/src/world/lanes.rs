//! What travels over connections beside the messages themselves: their bytes, which go on from what travelled before.

use super::World;
use crate::mutants::tampering::Tampering;
use crate::oracle::adversity::Kind;
use crate::oracle::verdict::Invariant;
use crate::random::mix;
use crate::subject::{Lane, Subject};

/// A mutant of the simulator loses one message of so many on its way through the codec.
const SKIPPED: u64 = 32;

impl<S: Subject> World<S> {
    /// A message enters a connection: it is encoded behind those before it.
    pub(super) fn seal(&mut self, link: usize, number: u32, message: &S::Message) {
        if self.judge.off || !self.plan.network.streams.is_some_and(|streams| streams.codec) {
            return;
        }
        let from = link / self.nodes.len();
        let lane = self.lanes.entry((link, number)).or_insert_with(|| Lane::new(&self.addresses[from]));
        if let Some(Err(problem)) = S::seal(lane, message) {
            self.judge.fail(Invariant::Frames, "not_encoded", Some(from), || problem);
        }
    }

    /// A message leaves its connection: its bytes must say the same.
    pub(super) fn open_sealed(&mut self, link: usize, number: u32, cause: u64, message: &S::Message) {
        let Some(lane) = self.lanes.get_mut(&(link, number)) else { return };
        if self.tampering == Some(Tampering::CodecSkips) && mix(cause, 41).is_multiple_of(SKIPPED) {
            return lane.skip();
        }
        self.judge.counts.add(Kind::Decoded);
        if let Err(problem) = S::open(lane, message) {
            self.judge.fail(Invariant::Frames, "read_otherwise", Some(link % self.nodes.len()), || problem);
        }
    }

    /// A connection is gone, or begins anew.
    pub(super) fn end_lane(&mut self, link: usize, number: u32) {
        self.lanes.remove(&(link, number));
    }
}
