//! Mutants of the core: one sentence of the protocol each, replaced by a tempting shortcut. The product cannot
//! name them; the simulator must find every one.

#[macro_use]
mod table;
pub mod harness;

use crate::generate::profile::Profile;
use crate::random::mix;
use hence_core::{
    Address, CausalContext, Dot, Dots, Formats, Hlc, Holder, Incarnation, Match, Micros, Op, Rule, Rules, Sibling,
    Siblings, VersionVector, Wall,
};

mutants! {
    /// A request is served whatever its past.
    ServeUncovered "serve-uncovered" General;
    /// A request is served when any replica-counter it names is known, not all of them.
    ServePartly "serve-partly-covered" General;
    /// An operation is applied when it is next, whatever it depends on.
    ApplyWithoutCauses "apply-without-causes" General;
    /// An operation is applied when its causes are there, whether or not it is next.
    ApplyOutOfTurn "apply-out-of-turn" General;
    /// A write replaces only the winner.
    ReplaceWinnerOnly "replace-winner-only" General;
    /// A write replaces nothing.
    ReplaceNothing "replace-nothing" General;
    /// A write does not depend on the deletes of its key.
    DependWithoutDeletes "depend-without-deletes" Deletes;
    /// A write does not depend on its client's past.
    DependWithoutPast "depend-without-past" General;
    /// A write does not depend on what it replaces.
    DependWithoutReplaced "depend-without-replaced" General;
    /// An answer does not carry the deletes of its key.
    AnswerWithoutDeletes "answer-without-deletes" Deletes;
    /// An answer does not carry the versions that it shows.
    AnswerWithoutShown "answer-without-shown" General;
    /// An answer forgets what the client knew.
    AnswerWithoutPast "answer-without-past" General;
    /// A stamp is the wall clock's reading.
    StampByWall "stamp-by-wall" General;
    /// Stamps heard are not followed.
    FollowNothing "follow-nothing" General;
    /// Late pushes are news.
    AcceptLate "accept-late" Links drops InterruptionsTaintAnnounced InterruptionsTaint;
    /// After an interruption a gap is repaired as if there had been none.
    RepairThroughInterruptions "repair-through-interruptions" Links drops InterruptionsPostponeRepair;
    /// A gap that no replica can fill stays due for ever.
    KeepGaps "keep-gaps" LostWrites drops ForgetsGaps;
    /// A clock that stood still is never learnt anew.
    TrustStoppedClocks "trust-stopped-clocks" Links drops LearnsClocksAnew;
    /// An operation leaves the log before every member has it.
    TrimEarly "trim-early" General;
    /// A delete that leaves the log is forgotten.
    ForgetTrimmedDeletes "forget-trimmed-deletes" Deletes drops RemembersTrimmedDeletes;
    /// A version of the other side is always kept.
    SurviveAlways "survive-always" Transfer;
    /// A version that the other side lacks is always dropped.
    SurviveNever "survive-never" General;
    /// A state is merged with what was covered when it was asked for.
    InstallWithAsked "install-with-asked" Transfer drops MergesWithPresent;
    /// Keys of a state are visible as they arrive.
    InstallPiecemeal "install-piecemeal" Transfer drops InstallsOnlyWhole;
    /// What a peer says it covers is covered.
    HearingCovers "hearing-covers" General drops RemoteVectorCoversNothing;
    /// Messages of other links are taken in.
    AnyLink "any-link" General drops TakesOnlyPresentLink;
    /// A row of a retired life that was only heard of covers that life.
    HeardRetirementCovers "heard-retirement-covers" Retirement drops RemoteRetirementCoversNothing;
    /// A token's entry of a retired life is dropped instead of replaced.
    DropRetiredEntries "drop-retired-entries" Retirement drops KeepsRetiredEntries;
    /// A retire operation does not depend on what its dot stands for.
    RetireWithoutCauses "retire-without-causes" Retirement drops RetirementDepends;
    /// A lost-write round leaves links to lives outside it open.
    AskOverOpenLinks "ask-over-open-links" LostWrites drops ClosesLinksForRound;
    /// A lost entry is dropped from the token instead of cut to what is held.
    DropLostEntries "drop-lost-entries" LostWrites;
    /// One member's word is enough to call a write lost.
    AskOnlyOne "ask-only-one" LostWrites;
    /// A removed replica goes silent before others cover what it has.
    RemovedGoesSilent "removed-goes-silent" Membership drops RemovedStaysAsSource;
    /// Operations are supplied sorted by origin.
    SupplyByOrigin "supply-by-origin" General drops SuppliesInApplyOrder;
    /// A life has the same name after every start at its address.
    ReuseLife "reuse-life" General;
    /// A life stays though another is the newest at its address.
    KeepOldLife "keep-old-life" General drops TakesNewIncarnation;
    /// Only an answer that a key is absent carries the deletes of its key.
    DeletesWithAbsentOnly "deletes-with-absent-only" Deletes;
    /// A writer carries the deletes of its key, and the write does not depend on them.
    DeletesInTokensOnly "deletes-in-tokens-only" Deletes;
    /// A write that is applied elsewhere removes nothing there.
    ForgetReplaced "forget-replaced" General;
    /// A precondition is compared with the winner alone.
    MatchWinnerOnly "match-winner-only" General;
    /// Stamps more than a minute ahead of the own wall clock are not followed.
    FollowNearOnly "follow-near-only" Clocks;
    /// The clock of an installed state is not followed.
    InstallWithoutClock "install-without-clock" Transfer;
    /// An operation whose value travels in pieces is applied without its value.
    ApplyWithoutValue "apply-without-value" General drops AppliesOnlyWhole;
    /// An announced operation is news however it was held up by an interruption.
    TakeTaintedAnnounced "take-tainted-announced" Links drops InterruptionsTaintAnnounced;
    /// The pieces of a value go with the link that brought them.
    ForgetPieces "forget-pieces" Links drops KeepsPieces;
    /// Parked operations know no limit.
    ParkWithoutLimit "park-without-limit" General drops BoundsCausalBuffer;
    /// Parked operations outlive the link that they came over.
    ParkedOutlivesLink "parked-outlives-link" LostWrites drops DropsCausalBufferWithLink;
    /// Parked operations are acknowledged.
    AcknowledgeParked "acknowledge-parked" General drops AcknowledgesAppliedOnly;
    /// A request waits until its dependencies are there, however long.
    WaitForEver "wait-for-ever" General drops WaitsEnd;
    /// One input does all that there is to do.
    WorkWithoutLimit "work-without-limit" Transfer drops BoundsWork;
    /// Keys that change while a state is sent are not sent again.
    TransferWithoutChanges "transfer-without-changes" Transfer drops SuppliesChanges;
    /// Deletes in an installed state are forgotten.
    InstallWithoutDeletes "install-without-deletes" Transfer drops JoinsInstalledDeletes;
    /// What an installed state brought is taken for part of the log.
    InstallWithoutFloor "install-without-floor" Transfer drops RaisesFloorAtInstall;
    /// Frames of any pull are taken in.
    MixPulls "mix-pulls" Transfer drops TakesOnlyPresentPull;
    /// A pull goes on after a frame that is missing.
    SkipMissingFrames "skip-missing-frames" Transfer drops FramesInOrder;
    /// Answers name retired lives for ever.
    KeepRetiredEntries "keep-retired-entries" Retirement drops CompactsTokens;
    /// Doubt removes an address.
    SuspicionRemoves "suspicion-removes" General drops SuspicionIsLocal;
    /// A replica that wants an address prevails over an operator that removed it.
    RemovalForgotten "removal-forgotten" Membership;
    /// The counter that was heard of last prevails.
    LastHeardPrevails "last-heard-prevails" Membership;
    /// Two sides that removed each other stay removed.
    NobodyStaysUnwanted "nobody-stays-unwanted" Membership drops AllWhenNoMembers;
    /// A joining replica waits for others that join as well.
    JoinWaits "join-waits" Joining;
    /// A joining replica without an answer waits for one.
    NeverAlone "never-alone" Joining;
    /// A replica that takes a new life joins again.
    JoinAgain "join-again" Joining drops StaysUpRenewed;
    /// A joining replica sticks to its goal when the member that had it is gone.
    GoalOutlivesSource "goal-outlives-source" Joining drops GoalEndsWithItsSource;
    /// A newer life at its address is enough to call a life's writes lost.
    AskNobody "ask-nobody" LostWrites;
    /// A round asks only linked members.
    AskOnlyLinked "ask-only-linked" LostWrites drops RoundNeedsAllMembers;
    /// A round goes on when membership or links change.
    RoundGoesOn "round-goes-on" LostWrites drops RoundRestarts;
    /// What a round found holds for ever.
    OutcomeForEver "outcome-for-ever" LostWrites drops OutcomesEnd;
    /// The oldest outcome goes without another question to the members.
    OutcomesPushOut "outcomes-push-out" LostWrites drops OutcomesAreAskedAgain;
    /// A peer that does not give what it claims is asked again at once.
    AskUnkeptAgain "ask-unkept-again" General drops PausesUnkeptClaims;
    /// A pull that brought what does not fit is tried again at once.
    PullWithoutMemory "pull-without-memory" General drops PausesWithoutMemory;
    /// A replica speaks the highest format that it knows itself.
    SpeakOwnHighest "speak-own-highest" Upgrades;
    /// What a format adds is used before every member speaks it.
    UseUnspoken "use-unspoken" Upgrades;
    /// A write concern counts what arrived at a peer, applied or not.
    CountReceived "count-received" General;
    /// A write concern counts peers whose links are gone.
    CountUnlinked "count-unlinked" General;
    /// A write concern counts replicas that were removed.
    CountRemoved "count-removed" Membership;
    /// A write concern counts a life though a newer one is known at its address.
    CountEarlierLives "count-earlier-lives" General;
    /// A write concern counts replicas that join.
    CountJoining "count-joining" Joining;
    /// A write concern leaves suspected members out of what it is a share of.
    ConcernOfListed "concern-of-listed" General;
    /// The format that was agreed with one process is spoken with the next at its address.
    FormatOutlivesLink "format-outlives-link" Upgrades drops FormatsEndWithTheLink;
    /// Half of a batch is pushed.
    PushHalfBatches "push-half-batches" General drops PushesWholeBatches;
    /// Half of a batch is supplied.
    SupplyHalfBatches "supply-half-batches" General drops SuppliesWholeBatches;
    /// Of a batch only the first key counts as changed while a state is sent.
    TransferHalfBatches "transfer-half-batches" Transfer drops SuppliesChangesOfBatches;
    /// A dot is taken into a state once, whatever keys it stands at.
    InstallHalfBatches "install-half-batches" Transfer drops StagesDotsByKey;
    /// A batch supersedes only what its first write replaces.
    SupersedeFirstOnly "supersede-first-only" General drops BatchSupersedesAll;
    /// A batch does not depend on what it only read.
    DependWithoutReads "depend-without-reads" General drops BatchDependsOnReads;
    /// An answer does not carry the deletes of its key that were part of a batch.
    AnswerWithoutBatchDeletes "answer-without-batch-deletes" Deletes drops IndexesBatchDeletes;
    /// A delete of a batch that leaves the log is forgotten.
    ForgetTrimmedBatchDeletes "forget-trimmed-batch-deletes" Deletes drops RemembersTrimmedBatchDeletes;
    /// Deletes of batches are left out of a state.
    SupplyWithoutBatchDeletes "supply-without-batch-deletes" Transfer drops SuppliesBatchDeletes;
    /// A list does not bind its reader to the versions that it shows.
    ListWithoutShown "list-without-shown" General drops ListsBindToShown;
    /// A list does not bind its reader to deletes.
    ListWithoutDeletes "list-without-deletes" Deletes drops ListsBindToDeletes;
    /// A list binds its reader to all that its replica has.
    ListWholeVector "list-whole-vector" General drops ListsBindToNoMore;
    /// A list is answered while an installed state is merged in.
    ListWhileMerging "list-while-merging" Transfer drops ListsWaitForMerging;
    /// Keys that an installed state brings are left out of lists.
    ListWithoutInstalled "list-without-installed" Transfer drops OrdersInstalledKeys;
    /// A key that is gone is listed.
    ListRemoved "list-removed" Deletes drops TakesRemovedOut;
    /// The next page leaves out the key that it was to begin with.
    ListWithGaps "list-with-gaps" General drops PagesLeaveNoGap;
    /// A watch waits for what its mark knew.
    WatchGatesByKnown "watch-gates-by-known" LostWrites drops WatchKnownNeverGates;
    /// What a watch's past covers counts as told.
    WatchFiltersByPast "watch-filters-by-past" General drops WatchPastNeverFilters;
    /// A watch filters by what stands for what its mark knew.
    WatchFiltersCompact "watch-filters-compact" Retirement drops WatchFiltersAsReceived;
    /// A mark does not bind its reader to deletes.
    WatchWithoutDeletes "watch-without-deletes" Deletes drops WatchesBindToDeletes;
    /// A mark does not bind its reader to the versions that were shown.
    WatchWithoutShown "watch-without-shown" General drops WatchesBindToShown;
    /// A mark binds its reader to all that its replica has.
    WatchWholeVector "watch-whole-vector" General drops WatchesBindToNoMore;
    /// Every part has a mark.
    MarkWithinCut "mark-within-cut" General drops WatchMarksEndCuts;
    /// A mark goes out while an installed state is merged in.
    MarkWhileMerging "mark-while-merging" Transfer drops WatchesWaitForMerging;
    /// The first mark knows all before anything is told.
    MarkBeforeSynced "mark-before-synced" General drops WatchBeginsUnknown;
    /// A watch goes on though deletes are forgotten that its mark did not know.
    ForgetWatchFloor "forget-watch-floor" Deletes drops WatchDeletesHaveFloor;
    /// Deletes that a state brought count as remembered.
    WatchFloorStays "watch-floor-stays" Transfer drops WatchFloorRisesAtInstall;
    /// A key that was deleted from is told as absent, whatever is left of it.
    TellNoSurvivors "tell-no-survivors" Deletes drops WatchTellsSurvivors;
    /// A key that changes when a state is merged in is not told.
    MergeUntold "merge-untold" Transfer drops MergingChangesKeys;
    /// What a slow watch was not told in time is forgotten.
    ForgetFallenBehind "forget-fallen-behind" General drops WatchesCatchUp;
    /// What changes behind the cursor of a first state is forgotten.
    ForgetBehindCursor "forget-behind-cursor" General drops WatchesTellChangesBehind;
}

/// The rules with one sentence replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mutated(pub Mutant);

/// Microseconds.
const MINUTE: u64 = 60_000_000;

/// The sound rules, for what is not replaced.
const SOUND: hence_core::Sound = hence_core::Sound;

impl Mutated {
    fn is(self, mutant: Mutant) -> bool {
        self.0 == mutant
    }
}

impl Rules for Mutated {
    fn follows(&self, rule: Rule) -> bool {
        !self.0.drops().contains(&rule)
    }

    fn incarnation(&self, drawn: Incarnation, address: &Address) -> Incarnation {
        let name = address.as_str().bytes().fold(7, |hash, byte| mix(hash, byte.into()));
        if self.is(Mutant::ReuseLife) { Incarnation::new(1, name) } else { drawn }
    }

    fn may_serve(&self, context: &CausalContext, past: &VersionVector) -> bool {
        let some = || past.is_empty() || past.entries().any(|(life, counter)| context.counter(life) >= counter);
        self.is(Mutant::ServeUncovered) || self.is(Mutant::ServePartly) && some() || SOUND.may_serve(context, past)
    }

    fn may_apply(&self, context: &CausalContext, op: &Op) -> bool {
        let next = context.counter(op.dot.incarnation) + 1 == op.dot.counter;
        let caused = context.dominates(&op.deps);
        self.is(Mutant::ApplyWithoutCauses) && next
            || self.is(Mutant::ApplyOutOfTurn) && caused && !context.covers(op.dot)
            || next && caused
    }

    fn supersedes(&self, shown: &Siblings) -> Dots {
        if self.is(Mutant::ReplaceWinnerOnly) {
            shown.winner().map(|winner| winner.dot).into_iter().collect()
        } else if self.is(Mutant::ReplaceNothing) {
            Dots::new()
        } else {
            SOUND.supersedes(shown)
        }
    }

    fn depend(&self, past: &mut VersionVector, superseded: &[Dot], deletes: &VersionVector) {
        let none = VersionVector::new();
        if self.is(Mutant::DependWithoutPast) {
            *past = VersionVector::new();
        }
        let superseded = if self.is(Mutant::DependWithoutReplaced) { &[] } else { superseded };
        let without = self.is(Mutant::DependWithoutDeletes) || self.is(Mutant::DeletesInTokensOnly);
        let deletes = if without { &none } else { deletes };
        SOUND.depend(past, superseded, deletes);
    }

    fn carried_beyond(&self, deletes: &VersionVector) -> VersionVector {
        if self.is(Mutant::DeletesInTokensOnly) { deletes.clone() } else { SOUND.carried_beyond(deletes) }
    }

    fn removes<'a>(&self, superseded: &'a [Dot]) -> &'a [Dot] {
        if self.is(Mutant::ForgetReplaced) { &[] } else { superseded }
    }

    fn matches(&self, wanted: &Match, shown: &Siblings) -> bool {
        match shown.winner() {
            Some(winner) if self.is(Mutant::MatchWinnerOnly) => match wanted {
                Match::Any => true,
                Match::OneOf(sets) => sets.iter().any(|set| set.contains(&winner.dot)),
            },
            Some(_) | None => SOUND.matches(wanted, shown),
        }
    }

    fn answer(&self, past: &mut VersionVector, shown: &Siblings, deletes: &VersionVector) {
        let (nothing, none) = (VersionVector::new(), Siblings::new());
        if self.is(Mutant::AnswerWithoutPast) {
            *past = VersionVector::new();
        }
        let hides = self.is(Mutant::DeletesWithAbsentOnly) && !shown.is_empty();
        let shown = if self.is(Mutant::AnswerWithoutShown) { &none } else { shown };
        let deletes = if hides || self.is(Mutant::AnswerWithoutDeletes) { &nothing } else { deletes };
        SOUND.answer(past, shown, deletes);
    }

    fn stamp(&self, clock: Hlc, wall: Option<Wall>) -> Hlc {
        match wall {
            Some(wall) if self.is(Mutant::StampByWall) => Hlc::at_wall(wall),
            Some(_) | None => SOUND.stamp(clock, wall),
        }
    }

    fn follow(&self, clock: Hlc, heard: Hlc, wall: Wall) -> Hlc {
        let far = || heard > Hlc::at_wall(Wall(wall.0.saturating_add(MINUTE)));
        let ignores = self.is(Mutant::FollowNothing) || self.is(Mutant::FollowNearOnly) && far();
        if ignores { clock } else { SOUND.follow(clock, heard, wall) }
    }

    fn follow_installed(&self, clock: Hlc, heard: Hlc) -> Hlc {
        let ignores = self.is(Mutant::FollowNothing) || self.is(Mutant::InstallWithoutClock);
        if ignores { clock } else { SOUND.follow_installed(clock, heard) }
    }

    fn is_fresh(&self, lateness: Micros, late_max: Micros) -> bool {
        self.is(Mutant::AcceptLate) || SOUND.is_fresh(lateness, late_max)
    }

    fn may_trim(&self, acknowledged_by_all: bool) -> bool {
        self.is(Mutant::TrimEarly) || SOUND.may_trim(acknowledged_by_all)
    }

    fn survives(&self, sibling: &Sibling, other_has_it: bool, other: &CausalContext) -> bool {
        if self.is(Mutant::SurviveAlways) {
            return true;
        }
        let sound = SOUND.survives(sibling, other_has_it, other);
        if self.is(Mutant::SurviveNever) { other_has_it } else { sound }
    }

    fn merge_counter(&self, mine: u64, theirs: u64) -> u64 {
        match (mine % 2, theirs % 2) {
            (1, 0) if self.is(Mutant::RemovalForgotten) => mine,
            (0, 1) if self.is(Mutant::RemovalForgotten) => theirs,
            _ if self.is(Mutant::LastHeardPrevails) => theirs,
            _ => SOUND.merge_counter(mine, theirs),
        }
    }

    fn starts_alone(&self, all_answered: bool, time_over: bool, some_answered: bool) -> bool {
        let time_over = time_over && !self.is(Mutant::NeverAlone);
        let waits = self.is(Mutant::JoinWaits) && some_answered;
        !waits && SOUND.starts_alone(all_answered, time_over, some_answered)
    }

    fn format(&self, ours: Formats, theirs: Formats) -> Option<u8> {
        if self.is(Mutant::SpeakOwnHighest) { Some(ours.highest) } else { SOUND.format(ours, theirs) }
    }

    fn may_use(&self, spoken_by_all: bool) -> bool {
        self.is(Mutant::UseUnspoken) || SOUND.may_use(spoken_by_all)
    }

    fn holds_through(&self, holder: Holder) -> u64 {
        SOUND.holds_through(Holder {
            applied: if self.is(Mutant::CountReceived) { holder.applied.max(holder.received) } else { holder.applied },
            is_linked: holder.is_linked || self.is(Mutant::CountUnlinked),
            is_member: holder.is_member || self.is(Mutant::CountRemoved),
            is_newest: holder.is_newest || self.is(Mutant::CountEarlierLives),
            is_up: holder.is_up || self.is(Mutant::CountJoining),
            ..holder
        })
    }

    fn concerned(&self, members: usize, suspected: usize) -> usize {
        if self.is(Mutant::ConcernOfListed) { members - suspected } else { members }
    }

    fn cut_lost(&self, held: u64) -> u64 {
        if self.is(Mutant::DropLostEntries) { 0 } else { held }
    }

    fn asked(&self, members: usize) -> usize {
        if self.is(Mutant::AskNobody) {
            0
        } else if self.is(Mutant::AskOnlyOne) {
            members.min(1)
        } else {
            members
        }
    }
}
