//! What the protocol decides, one [`Rule`] per sentence that holds or does not, and one method of [`Rules`] per sentence
//! that computes. So a researcher can swap a sentence and see what breaks. [`Sound`] keeps every default; a mutant lives
//! in the simulator and the product cannot name it.

use crate::causal_context::CausalContext;
use crate::formats::Formats;
use crate::hlc::Hlc;
use crate::identity::{Address, Incarnation};
use crate::op::{Dots, Op};
use crate::request::Match;
use crate::siblings::{Sibling, Siblings};
use crate::time::{Micros, Wall};
use crate::vector::{Dot, VersionVector};

/// The sentences of the protocol that hold or do not, without anything to compute. The product follows all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A replica that learns that another incarnation is the newest at its own address takes a new one.
    TakesNewIncarnation,
    /// What a peer made before an interruption of its link ended is not news, however young it is.
    InterruptionsTaint,
    /// A clock that stood still makes everything seem late that its machine says later. It is learnt anew.
    LearnsClocksAnew,
    /// After an interruption a gap is repaired from that peer no sooner than if it had been noticed then.
    InterruptionsPostponeRepair,
    /// A gap is not repaired while pushes of its origin still fill it.
    PushesPostponeRepair,
    /// An operation whose value travels in pieces is applied when all of them are here.
    AppliesOnlyWhole,
    /// What is announced during an interruption is not news either.
    InterruptionsTaintAnnounced,
    /// Pieces of a value outlive the link that brought them. They may be dropped at any time, and only time is lost.
    KeepsPieces,
    /// One input does so much work at most; what is left waits for the next.
    BoundsWork,
    /// What is buffered stays within its limits.
    BoundsCausalBuffer,
    /// What is buffered stays until its turn. It may be dropped at any time, and nothing is lost but time.
    KeepsCausalBuffer,
    /// What is buffered goes when the link to its origin ends.
    DropsCausalBufferWithLink,
    /// An acknowledgement counts applied operations only.
    AcknowledgesAppliedOnly,
    /// A request waits no longer than it asked to.
    WaitsEnd,
    /// A delete that leaves the log stays covered by every later answer.
    RemembersTrimmedDeletes,
    /// An installed state is merged with what is covered at that moment, not with what was when it was asked for.
    MergesWithPresent,
    /// Keys of a state stay aside until the whole is there.
    InstallsOnlyWhole,
    /// A key that changes after it was sent is sent again before a state is whole.
    SuppliesChanges,
    /// Deletes in an installed state shape later answers like those that were applied one by one.
    JoinsInstalledDeletes,
    /// What an installed state brought cannot be supplied from the log.
    RaisesFloorAtInstall,
    /// Frames of another pull are not mixed into the present one.
    TakesOnlyPresentPull,
    /// A frame out of sequence ends the pull.
    FramesInOrder,
    /// A pull goes on as long as its frames come. It may end at any frame, and nothing is lost but time.
    GoesOnPulling,
    /// A gap that is due and that no linked peer can fill is forgotten until one says that it can.
    ForgetsGaps,
    /// What a whole pull did not bring though it was claimed is no reason to ask the same peer again at once.
    PausesUnkeptClaims,
    /// A pull that brought what does not fit is followed by a pause, longer each time.
    PausesWithoutMemory,
    /// What a peer says it covers raises what is worth fetching, never what is covered here.
    RemoteVectorCoversNothing,
    /// A message of another link changes nothing.
    TakesOnlyPresentLink,
    /// A record of a retired incarnation raises coverage only where its dot is covered; heard of alone it says nothing.
    RemoteRetirementCoversNothing,
    /// A token's entry of a retired incarnation is replaced by the dot that implies it, never dropped.
    KeepsRetiredEntries,
    /// Tokens name no retired incarnations where a dot implies them.
    CompactsTokens,
    /// A retire operation depends on all that its dot stands for.
    RetirementDepends,
    /// Suspicion is local: it moves no generation.
    SuspicionIsLocal,
    /// If no address is a member, every address counts as one.
    AllWhenNoMembers,
    /// A replica that takes a new incarnation keeps its memory, so one that was up stays up.
    StaysUpRenewed,
    /// A joining replica catches up with another member when the one that it chose goes away.
    GoalEndsWithItsSource,
    /// A round needs a link to every member.
    RoundNeedsAllMembers,
    /// A round begins again when membership or a link changes.
    RoundRestarts,
    /// What a round found holds until an address outside it becomes a member.
    OutcomesEnd,
    /// A round takes up what the oldest outcome is about where that has to make room.
    OutcomesAreAskedAgain,
    /// Each hello says anew which formats its sender speaks: the process before it may have spoken others.
    FormatsEndWithTheLink,
    /// Before a round judges a token, links to incarnations outside the round end.
    ClosesLinksForRound,
    /// A removed replica stays connected until every member covers what it has.
    RemovedStaysAsSource,
    /// Operations are supplied in the order in which they were applied.
    SuppliesInApplyOrder,
    /// A batch is pushed as a whole.
    PushesWholeBatches,
    /// A batch is supplied as a whole, whatever else is in the frame.
    SuppliesWholeBatches,
    /// Every key of a batch has changed when a state is sent meanwhile.
    SuppliesChangesOfBatches,
    /// Versions of one dot at several keys are all part of a state.
    StagesDotsByKey,
    /// A batch supersedes the versions of all its keys.
    BatchSupersedesAll,
    /// A batch depends on what it read and tested, not only on what it wrote.
    BatchDependsOnReads,
    /// A delete in a batch counts in `D(k)` of its key.
    IndexesBatchDeletes,
    /// A delete in a batch that leaves the log stays covered by every later answer.
    RemembersTrimmedBatchDeletes,
    /// A delete in a batch counts among those of a state.
    SuppliesBatchDeletes,
    /// A list binds its reader to the versions of every key that it looked at.
    ListsBindToShown,
    /// A list binds its reader to the deletes that hid keys.
    ListsBindToDeletes,
    /// A list binds its reader to nothing else.
    ListsBindToNoMore,
    /// A list waits until an installed state is merged in.
    ListsWaitForMerging,
    /// Keys that an installed state brings are in order, too.
    OrdersInstalledKeys,
    /// A key that goes is not in order any more.
    TakesRemovedOut,
    /// The next page begins behind the last key of this one.
    PagesLeaveNoGap,
    /// What a watch knows never gates.
    WatchKnownNeverGates,
    /// What a watch's past covers was not told for that.
    WatchPastNeverFilters,
    /// A watch filters by what it knows as it was received, not by what stands for that.
    WatchFiltersAsReceived,
    /// A watch binds its reader to the deletes that hid keys.
    WatchesBindToDeletes,
    /// A watch binds its reader to the versions of every key that it looked at.
    WatchesBindToShown,
    /// A watch binds its reader to nothing else.
    WatchesBindToNoMore,
    /// A mark ends a cut.
    WatchMarksEndCuts,
    /// Nothing is told while an installed state is merged in.
    WatchesWaitForMerging,
    /// Before the first state is told, nothing is known.
    WatchBeginsUnknown,
    /// A watch that goes on from before the deletes that are remembered begins anew.
    WatchDeletesHaveFloor,
    /// A delete that an installed state brought is not remembered by its key.
    WatchFloorRisesAtInstall,
    /// Of a key that was deleted from, what is left is told.
    WatchTellsSurvivors,
    /// A key changes when its part of an installed state is merged in.
    MergingChangesKeys,
    /// A watch that fell behind is told anew what it may lack.
    WatchesCatchUp,
    /// A key that changes behind the cursor of a first state is told again.
    WatchesTellChangesBehind,
}

/// What is known of a peer that may hold a write of this replica (CONCERN-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// It said that it has applied the writes up to this one.
    pub applied: u64,
    /// It said that pushes up to this one arrived, whatever became of them.
    pub received: u64,
    /// Its address is a member.
    pub is_member: bool,
    /// A link to it stands.
    pub is_linked: bool,
    /// No newer incarnation is known at its address.
    pub is_newest: bool,
    /// It has loaded its state.
    pub is_up: bool,
}

/// The decisions of the protocol. The default bodies are the sound ones.
pub trait Rules {
    /// Is this sentence followed?
    fn follows(&self, _rule: Rule) -> bool {
        true
    }

    /// Every process start is an incarnation of its own, with a name that no process had before.
    fn incarnation(&self, drawn: Incarnation, _address: &Address) -> Incarnation {
        drawn
    }

    /// A request is served when all of the client's causal past is applied here.
    fn may_serve(&self, context: &CausalContext, past: &VersionVector) -> bool {
        context.dominates(past)
    }

    /// An operation is applied when it is the next of its incarnation and everything it depends on is applied.
    fn may_apply(&self, context: &CausalContext, op: &Op) -> bool {
        context.counter(op.dot.incarnation) + 1 == op.dot.counter && context.dominates(&op.deps)
    }

    /// A write replaces every version of the key that its replica shows.
    fn supersedes(&self, shown: &Siblings) -> Dots {
        let mut dots: Dots = shown.iter().map(|sibling| sibling.dot).collect();
        dots.sort_unstable();
        dots
    }

    /// A write depends on the client's past, on what it replaces, and on the deletes of its key. `past` becomes all that.
    fn depend(&self, past: &mut VersionVector, superseded: &[Dot], deletes: &VersionVector) {
        superseded.iter().for_each(|&dot| _ = past.join_dot(dot));
        past.join(deletes);
    }

    /// A client that wrote carries what the write depends on, and nothing beyond.
    fn carried_beyond(&self, _deletes: &VersionVector) -> VersionVector {
        VersionVector::new()
    }

    /// What a write replaced goes wherever the write is applied.
    fn removes<'a>(&self, superseded: &'a [Dot]) -> &'a [Dot] {
        superseded
    }

    /// A precondition names exactly the versions that are there.
    fn matches(&self, expected: &Match, shown: &Siblings) -> bool {
        expected.matches(shown)
    }

    /// A client that got an answer about a key carries the versions shown and the deletes that hid others. `past`
    /// becomes what it carries.
    fn answer(&self, past: &mut VersionVector, shown: &Siblings, deletes: &VersionVector) {
        shown.iter().for_each(|sibling| _ = past.join_dot(sibling.dot));
        past.join(deletes);
    }

    /// A write is stamped above everything applied here.
    fn stamp(&self, clock: Hlc, wall: Option<Wall>) -> Hlc {
        clock.next(wall)
    }

    /// A replica that applied a stamped write stamps above it from then on, however far it is ahead of the own wall
    /// clock.
    fn follow(&self, clock: Hlc, remote: Hlc, _wall: Wall) -> Hlc {
        clock.max(remote)
    }

    /// A replica that installed a state stamps above everything that was ever in it.
    fn follow_installed(&self, clock: Hlc, remote: Hlc) -> Hlc {
        clock.max(remote)
    }

    /// A push that arrives late is not news; repair brings it.
    fn is_fresh(&self, lateness: Micros, late_max: Micros) -> bool {
        lateness <= late_max
    }

    /// An operation leaves the log early only when every member has acknowledged it.
    fn may_trim(&self, acknowledged_by_all: bool) -> bool {
        acknowledged_by_all
    }

    /// On install a version stays if both sides have it, or if the side that lacks it has not seen it.
    fn survives(&self, sibling: &Sibling, other_has_it: bool, other: &CausalContext) -> bool {
        other_has_it || !other.covers(sibling.dot)
    }

    /// A silence beyond the threshold is a reason to suspect a peer; nothing else is.
    fn suspects(&self, silent: bool) -> bool {
        silent
    }

    /// Of two generations the greater stays, so an operator's act holds until the next.
    fn merge_counter(&self, mine: u64, theirs: u64) -> u64 {
        mine.max(theirs)
    }

    /// A joining replica starts alone when all have answered, or when time is over, whichever others answer.
    fn starts_alone(&self, all_answered: bool, time_over: bool, _some_answered: bool) -> bool {
        all_answered || time_over
    }

    /// A link speaks the highest format that both ends speak.
    fn format(&self, ours: Formats, theirs: Formats) -> Option<u8> {
        ours.common(theirs)
    }

    /// What a format adds is not used before every member speaks that format.
    fn may_use(&self, spoken_by_all: bool) -> bool {
        spoken_by_all
    }

    /// A present, linked incarnation at a member address holds the writes that it has applied. Others count as holding
    /// none.
    fn holds_through(&self, holder: Holder) -> u64 {
        let counts = holder.is_member && holder.is_linked && holder.is_newest && holder.is_up;
        if counts { holder.applied } else { 0 }
    }

    /// A write concern is a share of all member addresses, those of suspected replicas included.
    fn concerned(&self, members: usize, _suspected: usize) -> usize {
        members
    }

    /// A lost entry is cut to what some member still holds.
    fn cut_lost(&self, held: u64) -> u64 {
        held
    }

    /// A write is reported lost only when every member that could hold it was asked, not because its address lives on.
    fn asked(&self, members: usize) -> usize {
        members
    }
}

/// The rules as `docs/protocol.md` states them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sound;

impl Rules for Sound {}
