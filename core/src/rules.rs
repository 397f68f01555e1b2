//! What the protocol decides, one method per sentence, so that a researcher can swap a sentence and see what
//! breaks. [`Sound`] keeps every default; a mutant lives in the simulator and the product cannot name it.

use crate::causal_context::CausalContext;
use crate::formats::Formats;
use crate::hlc::Hlc;
use crate::identity::{Address, Incarnation};
use crate::op::{Dots, Op};
use crate::request::Match;
use crate::siblings::{Sibling, Siblings};
use crate::time::{Micros, Wall};
use crate::vector::{Dot, VersionVector};

/// The decisions of the protocol. The default bodies are the sound ones.
pub trait Rules {
    /// Every process start is an incarnation of its own, with a name that no process had before.
    fn incarnation(&self, drawn: Incarnation, _address: &Address) -> Incarnation {
        drawn
    }

    /// A replica that learns that another incarnation is the newest at its own address takes a new one.
    fn takes_new_incarnation(&self) -> bool {
        true
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

    /// A write depends on the client's past, on what it replaces, and on the deletes of its key.
    fn dependencies(&self, past: &VersionVector, superseded: &[Dot], deletes: &VersionVector) -> VersionVector {
        let mut deps = past.clone();
        superseded.iter().for_each(|&dot| _ = deps.join_dot(dot));
        deps.join(deletes);
        deps
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

    /// A client that got an answer about a key carries the versions shown and the deletes that hid others.
    fn answer(&self, past: &VersionVector, shown: &Siblings, deletes: &VersionVector) -> VersionVector {
        let mut token = past.clone();
        shown.iter().for_each(|sibling| _ = token.join_dot(sibling.dot));
        token.join(deletes);
        token
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

    /// What a peer made before an interruption of its link ended is not news, however young it is.
    fn interruptions_taint(&self) -> bool {
        true
    }

    /// A clock that stood still makes everything seem late that its machine says later. It is learnt anew.
    fn learns_clocks_anew(&self) -> bool {
        true
    }

    /// After an interruption a gap is repaired from that peer no sooner than if it had been noticed then.
    fn interruptions_postpone_repair(&self) -> bool {
        true
    }

    /// A gap is not repaired while pushes of its origin still fill it.
    fn pushes_postpone_repair(&self) -> bool {
        true
    }

    /// An operation whose value travels in pieces is applied when all of them are here.
    fn applies_only_whole(&self) -> bool {
        true
    }

    /// What is announced during an interruption is not news either.
    fn interruptions_taint_announced(&self) -> bool {
        true
    }

    /// Pieces of a value outlive the link that brought them. They may be dropped at any time, and only time is lost.
    fn keeps_pieces(&self) -> bool {
        true
    }

    /// One input does so much work at most; what is left waits for the next.
    fn bounds_work(&self) -> bool {
        true
    }

    /// What is buffered stays within its limits.
    fn bounds_causal_buffer(&self) -> bool {
        true
    }

    /// What is buffered stays until its turn. It may be dropped at any time, and nothing is lost but time.
    fn keeps_causal_buffer(&self) -> bool {
        true
    }

    /// What is buffered goes when the link to its origin ends.
    fn drops_causal_buffer_with_link(&self) -> bool {
        true
    }

    /// An acknowledgement counts applied operations only.
    fn acknowledges_applied_only(&self) -> bool {
        true
    }

    /// A request waits no longer than it asked to.
    fn waits_end(&self) -> bool {
        true
    }

    /// An operation leaves the log early only when every member has acknowledged it.
    fn may_trim(&self, acknowledged_by_all: bool) -> bool {
        acknowledged_by_all
    }

    /// A delete that leaves the log stays covered by every later answer.
    fn remember_trimmed_delete(&self) -> bool {
        true
    }

    /// On install a version stays if both sides have it, or if the side that lacks it has not seen it.
    fn survives(&self, sibling: &Sibling, other_has_it: bool, other: &CausalContext) -> bool {
        other_has_it || !other.covers(sibling.dot)
    }

    /// An installed state is merged with what is covered at that moment, not with what was when it was asked for.
    fn merges_with_present(&self) -> bool {
        true
    }

    /// Keys of a state stay aside until the whole is there.
    fn install_only_whole(&self) -> bool {
        true
    }

    /// A key that changes after it was sent is sent again before a state is whole.
    fn supplies_changes(&self) -> bool {
        true
    }

    /// Deletes in an installed state shape later answers like those that were applied one by one.
    fn joins_installed_deletes(&self) -> bool {
        true
    }

    /// What an installed state brought cannot be supplied from the log.
    fn raises_floor_at_install(&self) -> bool {
        true
    }

    /// Frames of another pull are not mixed into the present one.
    fn only_present_pull(&self) -> bool {
        true
    }

    /// A frame out of sequence ends the pull.
    fn frames_in_order(&self) -> bool {
        true
    }

    /// A pull goes on as long as its frames come. It may end at any frame, and nothing is lost but time.
    fn goes_on_pulling(&self) -> bool {
        true
    }

    /// A gap that is due and that no linked peer can fill is forgotten until one says that it can.
    fn forgets_gaps(&self) -> bool {
        true
    }

    /// What a whole pull did not bring though it was claimed is no reason to ask the same peer again at once.
    fn pauses_unkept_claims(&self) -> bool {
        true
    }

    /// What a peer says it covers raises what is worth fetching, never what is covered here.
    fn remote_vector_covers(&self) -> bool {
        false
    }

    /// A message of another link changes nothing.
    fn only_present_link(&self) -> bool {
        true
    }

    /// A record of a retired incarnation raises coverage only where its dot is covered; heard of alone it says nothing.
    fn remote_retirement_covers(&self) -> bool {
        false
    }

    /// A token's entry of a retired incarnation is replaced by the dot that implies it, never dropped.
    fn drops_retired_entries(&self) -> bool {
        false
    }

    /// Tokens name no retired incarnations where a dot implies them.
    fn compacts_tokens(&self) -> bool {
        true
    }

    /// A retire operation depends on all that its dot stands for.
    fn retirement_depends(&self) -> bool {
        true
    }

    /// A silence beyond the threshold is a reason to suspect a peer; nothing else is.
    fn suspects(&self, silent: bool) -> bool {
        silent
    }

    /// Suspicion is local: it moves no generation.
    fn suspicion_removes(&self) -> bool {
        false
    }

    /// Of two generations the greater stays, so an operator's act holds until the next.
    fn merge_counter(&self, mine: u64, theirs: u64) -> u64 {
        mine.max(theirs)
    }

    /// If no address is a member, every address counts as one.
    fn all_when_no_members(&self) -> bool {
        true
    }

    /// A joining replica starts alone when all have answered, or when time is over, whichever others answer.
    fn starts_alone(&self, all_answered: bool, time_over: bool, _some_answered: bool) -> bool {
        all_answered || time_over
    }

    /// A replica that takes a new incarnation keeps its memory, so one that was up stays up.
    fn stays_up_renewed(&self) -> bool {
        true
    }

    /// A joining replica catches up with another member when the one that it chose goes away.
    fn goal_ends_with_its_source(&self) -> bool {
        true
    }

    /// A round needs a link to every member.
    fn round_needs_all_members(&self) -> bool {
        true
    }

    /// A round begins again when membership or a link changes.
    fn round_restarts(&self) -> bool {
        true
    }

    /// What a round found holds until an address outside it becomes a member.
    fn outcomes_end(&self) -> bool {
        true
    }

    /// A round takes up what the oldest outcome is about where that has to make room.
    fn outcomes_are_asked_again(&self) -> bool {
        true
    }

    /// A link speaks the highest format that both ends speak.
    fn format(&self, ours: Formats, theirs: Formats) -> Option<u8> {
        ours.common(theirs)
    }

    /// Each hello says anew which formats its sender speaks: the process before it may have spoken others.
    fn formats_end_with_the_link(&self) -> bool {
        true
    }

    /// What a format adds is not used before every member speaks that format.
    fn may_use(&self, spoken_by_all: bool) -> bool {
        spoken_by_all
    }

    /// Before a round judges a token, links to incarnations outside the round end.
    fn closes_links_for_round(&self) -> bool {
        true
    }

    /// A lost entry is cut to what some member still holds.
    fn cut_lost(&self, held: u64) -> u64 {
        held
    }

    /// A write is reported lost only when every member that could hold it was asked, not because its address lives on.
    fn asked(&self, members: usize) -> usize {
        members
    }

    /// A removed replica stays connected until every member covers what it has.
    fn removed_stays_as_source(&self) -> bool {
        true
    }

    /// Operations are supplied in the order in which they were applied.
    fn supply_in_apply_order(&self) -> bool {
        true
    }
}

/// The rules as `docs/protocol.md` states them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sound;

impl Rules for Sound {}
