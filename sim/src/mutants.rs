//! Mutants of the core: one sentence of the protocol each, replaced by a tempting shortcut. The product cannot
//! name them; the simulator must find every one.

use hence_core::{Covered, Dot, Hlc, Micros, Op, Rules, Sibling, Siblings, VersionVector, Wall};

macro_rules! mutants {
    ($($(#[$doc:meta])* $kind:ident $name:literal;)*) => {
        /// Which sentence is replaced.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Mutant {
            $($(#[$doc])* $kind,)*
        }

        impl Mutant {
            /// Everything that has a name, the harmless ones too.
            const NAMED: [Self; 31] = [$(Self::$kind,)*];

            /// Its name on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// The mutant with this name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::NAMED.into_iter().find(|mutant| mutant.name() == name)
            }
        }
    };
}

mutants! {
    /// A request is served whatever its past.
    ServeUncovered "serve-uncovered";
    /// A request is served when any replica-counter it names is known, not all of them.
    ServePartly "serve-partly-covered";
    /// An operation is applied when it is next, whatever it depends on.
    ApplyWithoutCauses "apply-without-causes";
    /// An operation is applied when its causes are there, whether or not it is next.
    ApplyOutOfTurn "apply-out-of-turn";
    /// A write replaces only the winner.
    ReplaceWinnerOnly "replace-winner-only";
    /// A write replaces nothing.
    ReplaceNothing "replace-nothing";
    /// A write does not depend on the deletes of its key.
    DependWithoutDeletes "depend-without-deletes";
    /// A write does not depend on its client's past.
    DependWithoutPast "depend-without-past";
    /// A write does not depend on what it replaces.
    DependWithoutReplaced "depend-without-replaced";
    /// An answer does not carry the deletes of its key.
    AnswerWithoutDeletes "answer-without-deletes";
    /// An answer does not carry the versions that it shows.
    AnswerWithoutShown "answer-without-shown";
    /// An answer forgets what the client knew.
    AnswerWithoutPast "answer-without-past";
    /// A stamp is the wall clock's reading.
    StampByWall "stamp-by-wall";
    /// Stamps heard are not followed.
    FollowNothing "follow-nothing";
    /// Late pushes are news.
    AcceptLate "accept-late";
    /// An operation leaves the log before everybody has it.
    TrimEarly "trim-early";
    /// A delete that leaves the log is forgotten.
    ForgetTrimmedDeletes "forget-trimmed-deletes";
    /// A version of the other side is always kept.
    SurviveAlways "survive-always";
    /// A version that the other side lacks is always dropped.
    SurviveNever "survive-never";
    /// A state is merged with what was covered when it was asked for.
    InstallWithAsked "install-with-asked";
    /// Keys of a state are visible as they arrive.
    InstallPiecemeal "install-piecemeal";
    /// What a peer says it covers is covered.
    HearingCovers "hearing-covers";
    /// Messages of other links are taken in.
    AnyLink "any-link";
    /// A row of a retired life that was only heard of covers that life.
    HeardRetirementCovers "heard-retirement-covers";
    /// A token's entry of a retired life is dropped instead of replaced.
    DropRetiredEntries "drop-retired-entries";
    /// A retire operation does not depend on what its dot stands for.
    RetireWithoutCauses "retire-without-causes";
    /// A lost-write round leaves links to lives outside it open.
    AskOverOpenLinks "ask-over-open-links";
    /// A lost entry is dropped from the token instead of cut to what is held.
    DropLostEntries "drop-lost-entries";
    /// One member's word is enough to call a write lost.
    AskOnlyOne "ask-only-one";
    /// A removed replica goes silent before others cover what it has.
    RemovedGoesSilent "removed-goes-silent";
    /// Operations are supplied sorted by origin.
    SupplyByOrigin "supply-by-origin";
}

impl Mutant {
    /// They break no promise that a drawn schedule can see, so the kill matrix leaves them out: late pushes taken in
    /// look like a fast network, and what leaves the log early is repaired by a transfer of the whole state. The
    /// first is convicted, and exactly, by the transcript of the scenario that it is about.
    pub const HARMLESS: &[Self] = &[Self::AcceptLate, Self::TrimEarly];

    /// Every mutant that the kill matrix must convict.
    pub const ALL: &[Self] = &{
        let (mut all, mut from, mut to) = ([Self::ServeUncovered; Self::NAMED.len() - Self::HARMLESS.len()], 0, 0);
        while from < Self::NAMED.len() {
            if !matches!(Self::NAMED[from], Self::AcceptLate | Self::TrimEarly) {
                all[to] = Self::NAMED[from];
                to += 1;
            }
            from += 1;
        }
        all
    };
}

/// The rules with one sentence replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mutated(pub Mutant);

/// The sound rules, for what is not replaced.
const SOUND: hence_core::Sound = hence_core::Sound;

impl Mutated {
    fn is(self, mutant: Mutant) -> bool {
        self.0 == mutant
    }
}

impl Rules for Mutated {
    fn may_serve(&self, covered: &Covered, past: &VersionVector) -> bool {
        let some = || past.is_empty() || past.entries().any(|(life, counter)| covered.counter(life) >= counter);
        self.is(Mutant::ServeUncovered) || self.is(Mutant::ServePartly) && some() || SOUND.may_serve(covered, past)
    }

    fn may_apply(&self, covered: &Covered, op: &Op) -> bool {
        let next = covered.counter(op.dot.incarnation) + 1 == op.dot.counter;
        let caused = covered.dominates(&op.deps);
        self.is(Mutant::ApplyWithoutCauses) && next
            || self.is(Mutant::ApplyOutOfTurn) && caused && !covered.covers(op.dot)
            || next && caused
    }

    fn supersedes(&self, shown: &Siblings) -> Vec<Dot> {
        if self.is(Mutant::ReplaceWinnerOnly) {
            shown.winner().map(|winner| winner.dot).into_iter().collect()
        } else if self.is(Mutant::ReplaceNothing) {
            Vec::new()
        } else {
            SOUND.supersedes(shown)
        }
    }

    fn dependencies(&self, past: &VersionVector, superseded: &[Dot], deletes: &VersionVector) -> VersionVector {
        let none = VersionVector::new();
        let past = if self.is(Mutant::DependWithoutPast) { &none } else { past };
        let superseded = if self.is(Mutant::DependWithoutReplaced) { &[] } else { superseded };
        let deletes = if self.is(Mutant::DependWithoutDeletes) { &none } else { deletes };
        SOUND.dependencies(past, superseded, deletes)
    }

    fn answer(&self, past: &VersionVector, shown: &Siblings, deletes: &VersionVector) -> VersionVector {
        let (nothing, none) = (VersionVector::new(), Siblings::new());
        let past = if self.is(Mutant::AnswerWithoutPast) { &nothing } else { past };
        let shown = if self.is(Mutant::AnswerWithoutShown) { &none } else { shown };
        let deletes = if self.is(Mutant::AnswerWithoutDeletes) { &nothing } else { deletes };
        SOUND.answer(past, shown, deletes)
    }

    fn stamp(&self, clock: Hlc, wall: Option<Wall>) -> Hlc {
        match wall {
            Some(wall) if self.is(Mutant::StampByWall) => Hlc::at_wall(wall),
            Some(_) | None => SOUND.stamp(clock, wall),
        }
    }

    fn follow(&self, clock: Hlc, heard: Hlc) -> Hlc {
        if self.is(Mutant::FollowNothing) { clock } else { SOUND.follow(clock, heard) }
    }

    fn is_fresh(&self, lateness: Micros, late_max: Micros) -> bool {
        self.is(Mutant::AcceptLate) || SOUND.is_fresh(lateness, late_max)
    }

    fn may_trim(&self, acknowledged_by_all: bool) -> bool {
        self.is(Mutant::TrimEarly) || SOUND.may_trim(acknowledged_by_all)
    }

    fn remember_trimmed_delete(&self) -> bool {
        !self.is(Mutant::ForgetTrimmedDeletes)
    }

    fn survives(&self, sibling: &Sibling, other_has_it: bool, other: &Covered) -> bool {
        if self.is(Mutant::SurviveAlways) {
            return true;
        }
        let sound = SOUND.survives(sibling, other_has_it, other);
        if self.is(Mutant::SurviveNever) { other_has_it } else { sound }
    }

    fn merges_with_present(&self) -> bool {
        !self.is(Mutant::InstallWithAsked)
    }

    fn heard_retirement_covers(&self) -> bool {
        self.is(Mutant::HeardRetirementCovers)
    }

    fn drops_retired_entries(&self) -> bool {
        self.is(Mutant::DropRetiredEntries)
    }

    fn retirement_depends(&self) -> bool {
        !self.is(Mutant::RetireWithoutCauses)
    }

    fn closes_links_for_round(&self) -> bool {
        !self.is(Mutant::AskOverOpenLinks)
    }

    fn cut_lost(&self, held: u64) -> u64 {
        if self.is(Mutant::DropLostEntries) { 0 } else { held }
    }

    fn asks_everybody(&self) -> bool {
        !self.is(Mutant::AskOnlyOne)
    }

    fn removed_stays_as_source(&self) -> bool {
        !self.is(Mutant::RemovedGoesSilent)
    }

    fn install_only_whole(&self) -> bool {
        !self.is(Mutant::InstallPiecemeal)
    }

    fn hearing_covers(&self) -> bool {
        self.is(Mutant::HearingCovers)
    }

    fn only_present_link(&self) -> bool {
        !self.is(Mutant::AnyLink)
    }

    fn supply_in_apply_order(&self) -> bool {
        !self.is(Mutant::SupplyByOrigin)
    }
}
