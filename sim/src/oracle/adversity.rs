//! Adversity: what really happened in a run, so that a simulator that tests nothing cannot look green.
//!
//! A campaign adds the counts up and compares them with floors. A floor is so many of a kind per 1,000 schedules, about
//! a third of what 100,000 schedules of the mixed profile had.

use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $name:literal $floor:literal;)*) => {
        /// What is counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// A short name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// How many 1,000 schedules of `mixed` must have at least.
            #[must_use]
            pub const fn floor(self) -> u64 {
                match self { $(Self::$kind => $floor,)* }
            }
        }
    };
}

kinds! {
    /// A process lost its memory.
    Crash "crashes" 700;
    /// It held a write that no other replica had.
    CrashUnspread "crashes_with_unspread_writes" 150;
    /// A process was not run for a while.
    Pause "pauses" 300;
    /// A run had more than six replicas.
    Crowd "runs_of_seven_to_ten_replicas" 4;
    /// A run had processes that speak different formats.
    Formats "runs_of_several_formats" 30;
    /// A process was started anew with other formats than the one before.
    FormatChanged "processes_with_other_formats" 30;
    /// A message was not sent because the format has no word for it.
    Unsaid "messages_without_a_word" 0;
    /// A connection was closed because of a format that its end does not speak. Only for mutants.
    FormatRefused "frames_of_unspoken_formats" 0;
    /// A request was refused because not every member understands what it asks for.
    Upgrading "refused_while_upgraded" 20;
    /// A write was made that only the newer format has a word for.
    Erased "writes_of_the_newer_format" 5;
    /// A batch that writes was accepted.
    Batch "batches_that_write" 500;
    /// It changed several keys.
    BatchOfSeveral "batches_of_several_writes" 240;
    /// It had a delete.
    BatchDeletes "batches_with_deletes" 100;
    /// A batch that only reads was answered.
    BatchReads "batches_of_reads" 170;
    /// A batch failed by a precondition.
    BatchFailed "batches_that_failed" 120;
    /// A batch was refused for the bytes of its values.
    BatchTooLarge "batches_too_large" 150;
    /// A list was answered.
    Listed "lists" 1_100;
    /// It has a next page.
    ListedInPages "lists_with_a_next_page" 140;
    /// It has common prefixes.
    ListedInGroups "lists_with_common_prefixes" 100;
    /// It waited, for a state to be merged in or for its causes.
    ListWaited "lists_that_waited" 130;
    /// A state was being merged in when it came.
    ListMerging "lists_during_a_merge" 0;
    /// A watch was opened.
    WatchOpened "watches_opened" 1_800;
    /// It went on from a mark that knew something.
    WatchResumed "watches_resumed" 1_000;
    /// It went on at another replica.
    WatchElsewhere "watches_resumed_elsewhere" 700;
    /// A watch had a mark that ends a cut.
    WatchMarked "watch_marks" 3_500;
    /// Its cut came in several parts.
    WatchInParts "watch_cuts_in_parts" 170;
    /// A watch was told that a key is absent.
    WatchDeleted "watch_deletes" 240;
    /// A watch began anew because deletes were forgotten.
    WatchForgotten "watches_reset" 20;
    /// A watch was told that writes are lost.
    WatchLost "watches_told_lost" 140;
    /// A watch fell behind and was told anew what it may lack.
    WatchFellBehind "watches_fallen_behind" 300;
    /// A watch broke off in the middle of a cut.
    WatchBroken "watches_broken_in_a_cut" 8;
    /// It was in the middle of its first state.
    WatchBrokenFirst "watches_broken_in_a_first_state" 4;
    /// A watch lost its replica.
    WatchOrphaned "watches_that_lost_their_replica" 300;
    /// A watch was there when a state was installed.
    WatchInstalled "watches_during_an_install" 170;
    /// A watch was refused because there are too many.
    WatchRefused "watches_refused" 200;
    /// A machine was suspended with its monotonic clock.
    Suspended "machines_suspended" 80;
    /// A push from a machine that had been suspended for long was news again.
    LearntAnew "clocks_learnt_anew" 60;
    /// A cut began.
    Cut "cuts" 2_000;
    /// A frame met a cut and was lost.
    FrameCut "frames_cut" 5_500;
    /// A frame met a cut and was kept.
    FrameHeld "frames_held" 4_000;
    /// A kept frame was released.
    FrameReleased "frames_released" 1_800;
    /// A link was cut again less than 200 ms after its last cut had ended.
    Flap "flaps" 1_500;
    /// A frame was lost in a burst.
    FrameBurst "frames_lost_in_bursts" 300;
    /// Bits of a frame changed on its way, and the codec refused it.
    FrameDamaged "frames_damaged" 400;
    /// A frame waited for those before it, because its link carries only so much.
    Queued "frames_queued" 5_000;
    /// A frame was lost because too much waited before it.
    QueueFull "frames_beyond_the_queue" 5;
    /// A cut began that left two groups one replica in common.
    Bridge "bridges" 150;
    /// A replica or a link was hit while a certain frame was on its way.
    HitInFlight "hits_in_flight" 50;
    /// A process was told to end.
    Left "processes_told_to_end" 150;
    /// A running memory image was copied.
    Twin "memory_images_copied" 15;
    /// A replica reported that: counted once in a run. In most nothing shows of the copy; one that shows and is not
    /// reported is a failure of its own.
    TwinNoticed "copies_noticed" 1;
    /// A frame reached a slow process late.
    Slow "frames_delayed_by_slowness" 1_000;
    /// A frame took longer after the heal than a good network takes.
    SlowHeal "frames_slow_after_the_heal" 6_000;
    /// A frame was lost without a cut.
    FrameLost "frames_lost" 750;
    /// A frame arrived twice.
    FrameTwice "frames_twice" 1_800;
    /// A connection stalled in a cut with something in it.
    StreamStalled "connections_stalled" 700;
    /// What a connection held in a cut arrived after it.
    SentAgain "messages_sent_again" 900;
    /// A connection waited for its retransmission timer when its cut had ended.
    StreamLate "connections_that_went_on_late" 400;
    /// A connection died with what it held.
    StreamReset "connections_reset" 1_400;
    /// A message died with its connection.
    DiedWithSocket "messages_lost_with_connections" 2_800;
    /// A message was lost because its connection had failed just before.
    Unconnected "messages_without_a_connection" 9_000;
    /// A message was lost because too much waited before it for its connection.
    StreamFull "messages_beyond_a_connections_queue" 4;
    /// A message was dropped because a later one opened a link.
    Superseded "messages_superseded" 2_000;
    /// A message arrived over a connection that its sender had closed.
    OfClosedSocket "messages_of_closed_connections" 1_200;
    /// A message was read behind those before it on its connection.
    Decoded "messages_through_the_codec" 5_000;
    /// A segment was lost, and what came behind it waited.
    HeldUp "connections_held_up" 800;
    /// A write that was made during a cut came to the other side.
    MadeApart "writes_made_apart" 90;
    /// A replica fetched what it had lacked for long enough.
    PatientPull "patient_pulls" 500;
    /// A connection was opened.
    Dialled "connections_opened" 5_000;
    /// An attempt to connect failed.
    DialFailed "connections_that_failed" 7_500;
    /// A frame arrived after one that was sent later.
    FrameOvertook "frames_overtook" 400;
    /// A pushed operation arrived before its causes.
    CauseLate "causes_late" 2_000;
    /// A pushed operation arrived again while it was not applied yet.
    DuplicateEarly "duplicates_before_apply" 45;
    /// An answer was given while links of that replica were cut.
    ServedCut "answers_during_cuts" 4_000;
    /// A request was refused because its past was not there.
    NotCovered "refused_not_covered" 4_000;
    /// A request waited and was served.
    WaitServed "waits_served" 100;
    /// A request wanted to wait, and there was no room.
    NoRoomToWait "waits_without_room" 600;
    /// A write was where it was asked to be, elsewhere included, before its answer.
    ConcernReached "concerns_reached" 110;
    /// A write was answered before it was where it was asked to be.
    ConcernMissed "concerns_missed" 280;
    /// It was answered before its time was over, because its replica was removed or is another life, or members went.
    ConcernOver "concerns_that_ended_early" 5;
    /// A write was refused because it was asked to be at more replicas than are members.
    ConcernBeyond "concerns_beyond_the_members" 230;
    /// A batch was to be elsewhere, too, before its answer.
    ConcernOfBatch "concerns_of_batches" 20;
    /// A write was refused because too many wait.
    ConcernNoRoom "concerns_without_room" 400;
    /// A write was refused because the store was full.
    StoreFull "writes_beyond_the_store" 300;
    /// A client's write was refused in a run that limits memory.
    MemoryShort "writes_beyond_the_memory" 80;
    /// A replica had no memory for what others hold.
    HeldBack "replicas_held_back" 0;
    /// A run ended with more data than fits into one replica.
    TooMuch "runs_with_more_than_fits" 0;
    /// A client gave up.
    Abandoned "abandoned" 400;
    /// A client tried again.
    Retried "retried" 5_000;
    /// A token was merged, taken over, dropped or recalled.
    TokenMoved "tokens_moved" 2_500;
    /// A whole state was installed.
    Installed "installs" 1_000;
    /// A fetch began.
    Pull "pulls" 3_000;
    /// A value began to arrive in pieces.
    InPieces "values_in_pieces" 600;
    /// A value was written that takes its links 300 ms and more.
    Heavy "values_that_take_links_long" 60;
    /// A value of which some pieces had come before went on arriving.
    Resumed "values_resumed" 8;
    /// A fetch failed.
    PullFailed "pulls_failed" 400;
    /// A push was too late to be news.
    PushLate "pushes_late" 400;
    /// A frame of another link arrived.
    OtherLink "frames_of_other_links" 4_000;
    /// There was no room to park.
    ParkedFull "parked_full" 100;
    /// A member was suspected.
    Suspected "suspected" 400;
    /// An answer showed several versions.
    Concurrent "answers_with_siblings" 400;
    /// Clock skew made an older write win.
    SkewWon "winners_by_skew" 70;
    /// A delete hid a key from a reader.
    DeleteHid "absent_by_delete" 600;
    /// A precondition failed.
    Precondition "preconditions_failed" 500;
    /// A wall clock jumped.
    Jump "wall_jumps" 250;
    /// A wall clock was found out and not used.
    ClockDistrusted "clocks_distrusted" 60;
    /// A replica started alone.
    Alone "started_alone" 1_000;
    /// A replica learned that it was not the newest life at its address.
    Renewed "reborn" 300;
    /// An operator removed an address.
    Unwanted "unwanted" 600;
    /// An operator added an address: a newcomer, a cluster that was apart, or one that had been removed.
    Introduced "introduced" 350;
    /// An operator replaced one address by another.
    Replaced "replaced" 90;
    /// A replica was left as it was when the others were healed.
    LeftOutside "left_outside_the_core" 180;
    /// A write died with its only holder.
    LostWrite "writes_lost" 600;
    /// A life that was over was folded away at a replica.
    Retired "retirements" 900;
    /// Every member was asked about missing writes.
    Round "lost_write_rounds" 500;
    /// A client was told that writes are lost.
    Lost "told_lost" 350;
}

/// How often each kind happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts(Vec<u64>);

impl Default for Counts {
    fn default() -> Self {
        Self(vec![0; Kind::ALL.len()])
    }
}

impl Counts {
    /// Once more.
    pub fn add(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }

    /// Once more, if so.
    pub fn add_if(&mut self, kind: Kind, happened: bool) {
        self.0[kind as usize] += u64::from(happened);
    }

    /// So often.
    #[must_use]
    pub fn count(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    /// Adds another run's counts.
    pub fn join(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, more)| *mine += more);
    }
}
