//! Whether the address of a process leads to it, as far as its peers can tell.
//!
//! A process cannot know by itself where its address leads. Its peers dial that address. In every answer to an upgrade
//! they say which process they reached there since they first heard of the process that asks. So another process that
//! was reached runs at the same time as the one that asks, however late packets are. A restart is never taken for two
//! processes.

use core::time::Duration;
use tokio::time::Instant;

/// News older than this counts for nothing.
const REPORT_AGE_MAX: Duration = Duration::from_secs(30);
/// What is told twice, so long apart, is so.
const APART: Duration = Duration::from_secs(2);
/// A peer that cannot reach this process may not have looked its name up yet.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Where both processes were reached within this, the address leads to either.
const EITHER: Duration = Duration::from_secs(15);
/// A process that stands aside comes back when the other was not reached for so long. Where the address led to either,
/// it waits for so much longer.
const GONE: Duration = Duration::from_secs(5);
const GONE_EITHER: Duration = Duration::from_secs(30);
/// Answers that all have to say so.
const ANSWERS: u32 = 3;

/// Where an address leads, as seen from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaches {
    /// To this process.
    Process(u64),
    /// To this process, which stands aside: another one has the address.
    Aside(u64),
    /// Nowhere.
    Nothing,
}

/// How a process stands to its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Peers reach it there, or no peer has said otherwise.
    Home,
    /// Peers reach it there, and another live process says that it has the same address.
    Contested,
    /// Another live process has the address. This one stands aside: it hands over what it holds and serves no data.
    Displaced,
    /// It reaches peers, and no peer reaches it.
    Unreachable,
}

impl Standing {
    /// Every standing, for tables.
    pub const ALL: [Self; 4] = [Self::Home, Self::Contested, Self::Displaced, Self::Unreachable];

    /// A short name for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Contested => "contested",
            Self::Displaced => "displaced",
            Self::Unreachable => "unreachable",
        }
    }
}

/// The same news in a row.
#[derive(Debug, Clone, Copy)]
struct Run {
    since: Instant,
    last: Instant,
    answers: u32,
}

impl Run {
    fn extend(run: &mut Option<Self>, now: Instant) {
        let fresh = Self { since: now, last: now, answers: 0 };
        let run = run.get_or_insert(fresh);
        if now.duration_since(run.last) > REPORT_AGE_MAX {
            *run = fresh;
        }
        run.last = now;
        run.answers += 1;
    }

    fn lasts(run: Option<Self>, answers: u32, span: Duration) -> bool {
        run.is_some_and(|run| run.answers >= answers && run.last.duration_since(run.since) >= span)
    }
}

/// What a process was told about its address.
#[derive(Debug)]
pub(super) struct Whereabouts {
    process: u64,
    aside: bool,
    unreachable: bool,
    /// The other process, and when it was last told of.
    rival: Option<(u64, Instant)>,
    /// When a peer last reached this process.
    reached: Option<Instant>,
    /// Peers reach the other one, and have not reached this one meanwhile.
    other: Option<Run>,
    /// Peers reach no process.
    nothing: Option<Run>,
    /// No peer reaches the other one.
    alone: Option<Run>,
    /// The address led to either process then.
    either: Option<Instant>,
}

impl Whereabouts {
    pub(super) const fn new(process: u64) -> Self {
        Self {
            process,
            aside: false,
            unreachable: false,
            rival: None,
            reached: None,
            other: None,
            nothing: None,
            alone: None,
            either: None,
        }
    }

    /// Another live process, which knows of this one, says that it has the same address.
    pub(super) fn claimed_by(&mut self, process: u64, now: Instant) {
        self.rival = Some((process, now));
    }

    /// A peer says where the address leads.
    pub(super) fn on_report(&mut self, reaches: Reaches, now: Instant) {
        match reaches {
            Reaches::Process(process) if process != self.process => {
                self.rival = Some((process, now));
                (self.nothing, self.alone) = (None, None);
                if self.reached.is_some_and(|at| now.duration_since(at) < EITHER) {
                    self.either = Some(now);
                }
                Run::extend(&mut self.other, now);
            }
            // The other one stands aside, so the address is this one's.
            Reaches::Aside(process) if process != self.process => self.rival = Some((process, now)),
            Reaches::Process(_) | Reaches::Aside(_) => {
                if self.other.is_some_and(|run| now.duration_since(run.last) < EITHER) {
                    self.either = Some(now);
                }
                (self.reached, self.nothing) = (Some(now), None);
                Run::extend(&mut self.alone, now);
            }
            Reaches::Nothing => {
                Run::extend(&mut self.nothing, now);
                Run::extend(&mut self.alone, now);
            }
        }
        self.decide(now);
    }

    fn decide(&mut self, now: Instant) {
        let either = self.either.is_some_and(|at| now.duration_since(at) < GONE_EITHER);
        if self.aside {
            let gone = if either { GONE_EITHER } else { GONE };
            if Run::lasts(self.alone, ANSWERS, gone) {
                (self.aside, self.other, self.either) = (false, None, None);
            }
        } else if self.other.is_some_and(|run| now.duration_since(run.last) < APART) {
            let behind = self.rival.is_some_and(|(rival, _)| self.process < rival);
            // Where the address leads to either, the lower number gives way, or both would.
            self.aside = Run::lasts(self.other, 2, APART) && (!either || behind);
        }
        let nowhere = Run::lasts(self.nothing, 2, TIMEOUT);
        self.unreachable = !self.aside && (nowhere || self.unreachable && self.nothing.is_some());
    }

    /// How the process stands.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        if self.aside {
            Standing::Displaced
        } else if self.unreachable {
            Standing::Unreachable
        } else if self.rival(now).is_some() {
            Standing::Contested
        } else {
            Standing::Home
        }
    }

    /// The other live process with this address.
    pub(super) fn rival(&self, now: Instant) -> Option<u64> {
        self.rival.filter(|&(_, at)| now.duration_since(at) < REPORT_AGE_MAX).map(|(process, _)| process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Reaches::{Aside, Nothing, Process};

    /// Tells a process of this number such news, each a second after the one before.
    fn report(about: &mut Whereabouts, from: Instant, reports: &[Reaches]) -> Instant {
        (1..).zip(reports).fold(from, |_, (second, &reaches)| {
            let now = from + Duration::from_secs(second);
            about.on_report(reaches, now);
            now
        })
    }

    fn standing_after(number: u64, reports: &[Reaches]) -> Standing {
        let mut about = Whereabouts::new(number);
        let now = report(&mut about, Instant::now(), reports);
        about.standing(now)
    }

    #[test]
    fn one_answer_proves_another_process_and_two_displace() {
        assert_eq!(standing_after(5, &[]), Standing::Home);
        assert_eq!(standing_after(5, &[Process(5), Process(5)]), Standing::Home);
        assert_eq!(standing_after(5, &[Process(9)]), Standing::Contested);
        assert_eq!(standing_after(5, &[Process(9); 4]), Standing::Displaced);
        assert_eq!(
            standing_after(15, &[Process(9); 4]),
            Standing::Displaced,
            "the number says nothing where one is never reached"
        );
    }

    #[test]
    fn where_the_address_leads_to_either_one_gives_way() {
        let mixed = [Process(5), Process(9)].repeat(8);
        assert_eq!(standing_after(5, &mixed), Standing::Displaced);
        assert_eq!(standing_after(9, &mixed), Standing::Contested);
        // The one that stands aside is reached now and then, and stays there.
        let later = [&mixed[..], &[Aside(5), Aside(5), Aside(5), Process(9)].repeat(9)].concat();
        assert_eq!(standing_after(5, &later), Standing::Displaced);
        assert_eq!(standing_after(9, &later), Standing::Contested);
    }

    #[test]
    fn who_stands_aside_comes_back_when_the_other_is_gone() {
        let mut about = Whereabouts::new(5);
        let now = report(&mut about, Instant::now(), &[Process(9); 4]);
        assert_eq!(about.standing(now), Standing::Displaced);
        let now = report(&mut about, now, &[Nothing, Aside(5), Nothing, Process(9)]);
        assert_eq!(about.standing(now), Standing::Displaced);
        let now = report(&mut about, now, &[Nothing; 40]);
        assert_eq!(about.standing(now), Standing::Unreachable, "its address is its own again, and leads nowhere");
        let now = report(&mut about, now, &[Process(5)]);
        assert_eq!(about.standing(now + REPORT_AGE_MAX), Standing::Home);
    }

    #[test]
    fn who_is_reached_by_one_peer_is_reachable() {
        assert_eq!(standing_after(5, &[Nothing; 4]), Standing::Home, "a name may not be known yet");
        assert_eq!(standing_after(5, &[Nothing; 8]), Standing::Unreachable);
        assert_eq!(standing_after(5, &[Nothing, Process(5)].repeat(8)), Standing::Home);
    }

    #[test]
    fn who_is_told_of_a_claim_keeps_its_address() {
        let (mut about, now) = (Whereabouts::new(5), Instant::now());
        about.claimed_by(9, now);
        assert_eq!((about.standing(now), about.rival(now)), (Standing::Contested, Some(9)));
        assert_eq!(about.standing(now + REPORT_AGE_MAX), Standing::Home);
    }
}
