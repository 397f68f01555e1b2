//! What travels over connections beside the messages themselves: their bytes, which go on from what travelled before.

use super::World;
use crate::mutants::harness::HarnessMutant;
use crate::oracle::adversity::Kind;
use crate::oracle::sign::Sign;
use crate::oracle::verdict::Invariant;
use crate::random::mix;
use crate::subject::{Lane, Subject};

/// A mutant of the simulator loses one message of so many on its way through the codec.
const SKIPPED: u64 = 32;

impl<S: Subject> World<S> {
    /// A message enters a connection: it is encoded behind those before it. Says whether the connection has words for it.
    /// One to the process before at that address may speak an older format, and nothing has told its sender yet.
    pub(super) fn seal(&mut self, link: usize, number: u32, message: &S::Message) -> bool {
        if self.judge.off || !self.plan.network.streams.is_some_and(|streams| streams.codec) {
            return true;
        }
        let from = link / self.nodes.len();
        let formats = self.nodes[from].formats;
        let format = self.spoken(link, formats).unwrap_or(formats.highest);
        let lane =
            self.lanes.entry((link, number)).or_insert_with(|| Lane::new(&self.addresses[from], format, formats));
        if S::format_of(message) > lane.format() {
            self.count(Kind::Unsaid);
            return false;
        }
        if let Some(Err(problem)) = S::seal(lane, message) {
            self.judge.fail(Invariant::Frames, Sign::NotEncoded, Some(from), || problem);
        }
        true
    }

    /// The peer said which formats it speaks: what waits for the connection is written in the highest common one.
    pub(super) fn agree(&mut self, link: usize, number: u32) {
        if !self.plan.has_formats() || !self.lanes.contains_key(&(link, number)) {
            return;
        }
        let from = link / self.nodes.len();
        let formats = self.nodes[from].formats;
        let Some(format) = self.spoken(link, formats) else { return };
        let mut lane = Lane::new(&self.addresses[from], format, formats);
        let Some(socket) = self.streams[link].socket(number) else { return };
        socket.retain(|frame| S::format_of(&frame.message) <= format);
        let sealed: Result<(), String> =
            socket.frames().filter_map(|frame| S::seal(&mut lane, &frame.message)).collect();
        self.lanes.insert((link, number), lane);
        if let Err(problem) = sealed {
            self.judge.fail(Invariant::Frames, Sign::NotEncoded, Some(from), || problem);
        }
    }

    /// A message leaves its connection: its bytes must say the same.
    pub(super) fn open_sealed(&mut self, link: usize, number: u32, cause: u64, message: &S::Message) {
        let Some(lane) = self.lanes.get_mut(&(link, number)) else { return };
        if self.harness_mutant == Some(HarnessMutant::CodecSkips) && mix(cause, 41).is_multiple_of(SKIPPED) {
            return lane.skip();
        }
        self.judge.counts.add(Kind::Decoded);
        if let Err(problem) = S::open(lane, message) {
            self.judge.fail(Invariant::Frames, Sign::ReadOtherwise, Some(link % self.nodes.len()), || problem);
        }
    }

    /// A connection is gone, or begins anew.
    pub(super) fn end_lane(&mut self, link: usize, number: u32) {
        self.lanes.remove(&(link, number));
    }
}
