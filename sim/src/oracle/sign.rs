//! The signs of a violation: how a broken promise showed. A sign stays the same while a case shrinks, and stands in case
//! files by its name.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

macro_rules! signs {
    ($($(#[$doc:meta])* $sign:ident $name:literal;)*) => {
        /// How a violation showed.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Sign {
            $($(#[$doc])* $sign,)*
            /// The words of a panic, or of a version that knew other signs.
            Words(String),
        }

        impl Sign {
            /// Its name.
            #[must_use]
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$sign => $name,)*
                    Self::Words(words) => words,
                }
            }

            /// The sign of this name.
            #[must_use]
            pub fn named(name: &str) -> Self {
                match name {
                    $($name => Self::$sign,)*
                    words => Self::Words(words.into()),
                }
            }
        }
    };
}

signs! {
    // Of the dots.
    /// Two processes began the same life.
    LifeTwice "life_twice";
    /// A dot was issued out of its turn.
    NotNext "not_next";
    /// An answer names a write that its replica has not applied.
    Unapplied "unapplied";
    /// A replica refused a peer for being itself, and it was not.
    RefusedItself "refused_itself";
    /// A copied memory image went unnoticed.
    CopyUnnoticed "copy_unnoticed";
    // Of the causes.
    /// A write was applied a second time.
    AppliedTwice "applied_twice";
    /// A write was applied before an earlier one of its origin.
    OutOfTurn "out_of_turn";
    /// A write was applied without its true causal past.
    CauseMissing "cause_missing";
    /// A state came from a supplier that never had it.
    UnknownState "unknown_state";
    // Of the sessions.
    /// An answer leaves out what its client knows.
    PastMissing "past_missing";
    /// A token does not survive its text.
    TokenText "token_text";
    // Of the answers.
    /// A write was answered and nothing was written.
    WroteNothing "wrote_nothing";
    /// A write says that it replaced other versions than it did.
    Replaced "replaced";
    /// The answer belongs to another kind of request.
    WrongKind "wrong_kind";
    /// A version is missing from the answer.
    VersionHidden "version_hidden";
    /// The answer has a version that it must not have.
    VersionWrong "version_wrong";
    /// A condition was judged wrongly.
    Condition "condition";
    /// Of a batch an answer is not what was there at its moment.
    BatchWrong "batch_wrong";
    /// A page is not what was there of its range at its moment.
    PageWrong "page_wrong";
    /// A list does not bind its reader to what it rests on.
    ListUnbound "list_unbound";
    /// A list binds its reader to what it does not rest on.
    ListBound "list_bound";
    // Of the stores.
    /// The store has another number of keys.
    Keys "keys";
    /// The store has what was removed.
    Resurrected "resurrected";
    /// Something is not there: a version of a store, or a value that a client knows.
    Lost "lost";
    /// The vector differs from what was applied.
    Vector "vector";
    // Of the refusals.
    /// A dependency is said to be missing that is there.
    Covered "covered";
    /// The values of a batch are said to be too large that are not.
    Fits "fits";
    /// A replica that is ready says that it is not.
    Ready "ready";
    /// No replica can refuse in this way here.
    Impossible "impossible";
    /// A write is said to be lost that a member holds.
    NotLost "not_lost";
    /// A write that was said to be lost was applied.
    LostCameBack "lost_came_back";
    /// A lost write was not found to be lost.
    NotFoundLost "not_found_lost";
    /// A refusal refers to what is over.
    Outdated "outdated";
    /// A token lost more than what was lost.
    CutTooMuch "cut_too_much";
    /// A replica that was up is down again.
    DownAgain "down_again";
    /// No operator removed the member.
    RemovedByNobody "removed_by_nobody";
    // Of the convergence.
    /// A replica does not run.
    Down "down";
    /// A replica is not up.
    NotUp "not_up";
    /// A member of the core is not listed.
    Unwanted "unwanted";
    /// A removed address is listed again.
    WantedAgain "wanted_again";
    /// A vector names lives that are over.
    Lives "lives";
    /// Vectors differ.
    Vectors "vectors";
    /// Stores differ and vectors do not.
    Stores "stores";
    /// Views differ.
    Views "views";
    /// Something waits that nothing will end.
    Busy "busy";
    /// A replica is not linked to all others.
    Links "links";
    /// A write did not leave its replica.
    KeptBack "kept_back";
    /// A replica noticed a repair that was none.
    Noticed "noticed";
    // Of the stamps.
    /// One write has two stamps.
    Changed "changed";
    /// A stamp is not above those of its causes.
    BehindCause "behind_cause";
    // Of the merge.
    /// The order of two states matters.
    NotCommutative "not_commutative";
    /// The grouping of three states matters.
    NotAssociative "not_associative";
    /// A state joined with itself changes.
    NotIdempotent "not_idempotent";
    // Of the bounds.
    /// A replica holds more than its limits.
    Load "load";
    /// Data holds more memory than it may.
    Memory "memory";
    /// A replica lacks for good what does not fit, and does not say so.
    LacksSilently "lacks_silently";
    /// One input costs more than one may.
    Work "work";
    /// A write was refused although there was room.
    RefusedWithRoom "refused_with_room";
    /// A write was taken although there was no room.
    NoRoom "no_room";
    /// More requests wait than may.
    Waiting "waiting";
    /// A piece came a second time.
    PiecesAgain "pieces_again";
    /// A state was sent where a log would do.
    NeedlessTransfer "needless_transfer";
    // Of the frames.
    /// A damaged frame was taken.
    DamageTaken "damage_taken";
    /// A message has no encoding.
    NotEncoded "not_encoded";
    /// A message was read as another one.
    ReadOtherwise "read_otherwise";
    // Of the tokens.
    /// A token at rest has more entries than there are members.
    TooLong "too_long";
    // Of the membership.
    /// A removed replica kept a write to itself.
    KeptToItself "kept_to_itself";
    /// A removal was withdrawn without an operator.
    RemovalWithdrawn "removal_withdrawn";
    /// A view lists no member at all.
    NobodyWanted "nobody_wanted";
    // Of the freshness.
    /// A push that a cut interrupted was seen.
    InterruptedPush "interrupted_push";
    /// A repair came too early.
    EarlyRepair "early_repair";
    /// A pull came too early.
    EarlyPull "early_pull";
    /// A push came too late.
    LatePush "late_push";
    /// A write was refused as late that was not.
    RefusedNews "refused_news";
    // Of the liveness.
    /// The run has no end.
    Endless "endless";
    /// A request has no answer.
    Unanswered "unanswered";
    /// An answer came after its time.
    AnsweredLate "answered_late";
    /// A request was answered a second time.
    AnsweredTwice "answered_twice";
    /// A client was kept waiting for too long.
    KeptWaiting "kept_waiting";
    /// A client is sent away for ever.
    SentAway "sent_away";
    /// A token is refused for ever.
    TokenEndless "token_endless";
    /// The rate of messages stays above its idle level.
    NotIdle "not_idle";
    /// A replica that is alone does not serve.
    NotServingAlone "not_serving_alone";
    /// A peer that does no wrong was refused.
    RefusedHonest "refused_honest";
    // Of the formats.
    /// A replica speaks a format that its peer may not know yet.
    UsedTooEarly "used_too_early";
    /// A replica does not know which formats all others speak.
    Formats "formats";
    // Of the concerns.
    /// A life is counted that never held the write.
    NeverHeld "never_held";
    /// A life is counted that is no present, linked one at a member address, or is counted twice.
    NotPresent "not_present";
    /// A concern is said to be reached that is not, or the other way round.
    ConcernWrong "concern_wrong";
    /// A write was answered before it had spread, and before its time was over.
    ConcernEarly "concern_early";
    // Of the watches.
    /// A watch was told what is not there, or holds at a mark what its replica does not show.
    WatchWrong "watch_wrong";
    /// A mark does not bind its reader to what it rests on.
    WatchUnbound "watch_unbound";
    /// A mark binds its reader to what it does not rest on.
    WatchBound "watch_bound";
    /// A watch went on where something is missing that it was told.
    WatchBack "watch_back";
    /// A mark says that it knows something else than its replica had.
    WatchKnows "watch_knows";
    /// A part came out of its turn.
    WatchTurn "watch_turn";
    /// A watch is not told what there is.
    WatchStuck "watch_stuck";
    // Of the histories.
    /// A client saw what no client wrote, or a replica applied it.
    Invented "invented";
    /// A client saw less than it knew.
    Stale "stale";
    /// Final reads differ.
    Diverged "diverged";
    /// A request is refused even after heal and quiet.
    RefusedForEver "refused_for_ever";
    /// No explanation fits what clients saw.
    Unexplained "unexplained";
    // Of the agreement.
    /// The checker convicts, and no oracle does.
    CheckerAlone "checker_alone";
    /// An oracle convicts of what clients see, and the checker does not.
    OracleAlone "oracle_alone";
    /// What truly happened does not explain what clients saw.
    TruthExplainsNothing "truth_explains_nothing";
    /// The checker's own explanation is none.
    NoExplanation "no_explanation";
    /// The checker did not make up its mind.
    Undecided "undecided";
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Sign {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Sign {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::named(&String::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_signs() {
        for sign in [Sign::LifeTwice, Sign::Undecided, Sign::Words("attempt_to_add".into())] {
            assert_eq!(Sign::named(sign.name()), sign);
            let text = serde_json::to_string(&sign).expect("a string");
            assert_eq!(text, format!("\"{sign}\""));
            assert_eq!(serde_json::from_str::<Sign>(&text).expect("a string"), sign);
        }
    }
}
