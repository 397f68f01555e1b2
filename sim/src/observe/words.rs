//! Faults, events and times in words.

use crate::plan::{Effect, Fault, Hit, Links, OnLinks, OnProcess, OnView, Plan};
use hence_core::{DropReason, Event, VersionVector};

/// What the kinds of messages are called that a fault can wait for, as hence's replica numbers them.
const AWAITED: [&str; 8] = [
    "a hello",
    "a status",
    "a push",
    "a view",
    "a pull",
    "a part of a log or a state",
    "an acknowledgement",
    "a question or its answer",
];

/// A time in seconds: three digits behind the point, or six where three do not say it.
#[must_use]
pub(crate) fn seconds(at: u64) -> String {
    let (whole, micros) = (at / 1_000_000, at % 1_000_000);
    if micros.is_multiple_of(1_000) {
        format!("{whole}.{:03} s", micros / 1_000)
    } else {
        format!("{whole}.{micros:06} s")
    }
}

/// A length of time, in the unit that it is read best in.
#[must_use]
pub(crate) fn span(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..1_000_000 if micros.is_multiple_of(1_000) => format!("{} ms", micros / 1_000),
        1_000..1_000_000 => format!("{}.{:03} ms", micros / 1_000, micros % 1_000),
        _ => seconds(micros),
    }
}

/// Several things as one: `A, B and C`.
#[must_use]
pub(crate) fn list<T: AsRef<str>>(items: &[T]) -> String {
    match items {
        [] => "nothing".into(),
        [one] => one.as_ref().into(),
        [most @ .., last] => {
            let most: Vec<&str> = most.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", most.join(", "), last.as_ref())
        }
    }
}

/// So many of something: `1 failure`, `2 failures`.
#[must_use]
pub(crate) fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// A vector as the last writes that it covers.
#[must_use]
pub(super) fn vector(vector: &VersionVector) -> String {
    let entries = vector.entries().map(|(incarnation, counter)| format!("{incarnation}-{counter}"));
    let entries: Vec<String> = entries.collect();
    if entries.is_empty() { "nothing".into() } else { entries.join(" ") }
}

fn name(replica: u8) -> String {
    Plan::name(replica.into()).to_string()
}

/// The links as the subject of a sentence, and whether they are several.
fn links(links: Links, replicas: usize) -> (String, bool) {
    let groups = |mask: u16| {
        let side = |bit| {
            let of = (0..replicas).filter(|n| mask >> n & 1 == bit).map(|n| Plan::name(n).to_string());
            of.collect::<Vec<_>>()
        };
        let (mut one, mut other) = (side(1), side(0));
        if one > other {
            std::mem::swap(&mut one, &mut other);
        }
        match (one.len(), other.len()) {
            (1, 1) => format!("the links between {} and {}", one[0], other[0]),
            _ => format!("the links between {} on one side and {} on the other", list(&one), list(&other)),
        }
    };
    match links {
        Links::Of(replica) => (format!("all links of {}", name(replica)), true),
        Links::Between(a, b) => (format!("the links between {} and {}", name(a), name(b)), true),
        Links::FromTo(from, to) => (format!("the link from {} to {}", name(from), name(to)), false),
        Links::BetweenGroups(mask) => (groups(mask), true),
        Links::BetweenGroupsBut(replica, mask) => {
            (format!("{}, but for those of {},", groups(mask), name(replica)), true)
        }
    }
}

/// What a fault does, as a sentence without its end: `the link from B to A holds back messages until 0.601 s`.
#[must_use]
pub(super) fn strikes(fault: &Fault, replicas: usize, until: u64) -> String {
    let until = seconds(until);
    match fault.kind.effect() {
        Effect::Process(replica, what) => {
            let it = name(replica);
            match what {
                OnProcess::Crash => format!("{it} dies with its memory, and starts again at {until}"),
                OnProcess::Leave => format!("{it} is told to end, and starts again at {until}"),
                OnProcess::Pause => format!("{it} is not run until {until}"),
                OnProcess::Suspend => format!("the machine of {it} is suspended until {until}"),
                OnProcess::Copy => format!("the memory of {it} is copied, and both processes run until {until}"),
                OnProcess::Slow { by } => format!("everything reaches {it} {} late until {until}", span(by)),
                OnProcess::Jump { by } => {
                    let way = if by < 0 { "back" } else { "ahead" };
                    format!("the wall clock of {it} jumps {way} by {} until {until}", span(by.unsigned_abs()))
                }
            }
        }
        Effect::Links(which, what) => {
            let (links, several) = links(which, replicas);
            let verb = |one: &str, more: &str| if several { more.to_owned() } else { one.to_owned() };
            match what {
                OnLinks::Cut { hold: true } => {
                    format!("{links} {} messages until {until}", verb("holds back", "hold back"))
                }
                OnLinks::Cut { hold: false } => format!("{links} {} all messages until {until}", verb("loses", "lose")),
                OnLinks::Lose { parts } => {
                    let percent = f64::from(parts) / 10_000.0;
                    format!("{links} {} {percent:.1} % of its messages until {until}", verb("loses", "lose"))
                }
            }
        }
        Effect::Frame { message, skip, hit } => aims(message, skip, hit, &until),
        Effect::View { via, order } => {
            let via = name(via);
            match order {
                OnView::RemoveForAWhile(replica) => {
                    format!("an operator at {via} removes {} from the view until {until}", name(replica))
                }
                OnView::Remove(replica) => format!("an operator at {via} removes {} from the view", name(replica)),
                OnView::Add(replica) => format!("an operator at {via} adds {} to the view", name(replica)),
                OnView::Replace { old, new } => {
                    format!("an operator at {via} replaces {} by {}, which starts", name(old), name(new))
                }
            }
        }
    }
}

fn aims(message: u8, skip: u8, hit: Hit, until: &str) -> String {
    let what = AWAITED.get(usize::from(message)).copied().unwrap_or("a message");
    let which = match skip {
        0 => format!("when {what} is sent next"),
        passed => format!("when {what} is sent, after {} of them", passed),
    };
    match hit {
        Hit::Sender => format!("{which}, its sender dies until {until}"),
        Hit::Receiver => format!("{which}, its receiver dies until {until}"),
        Hit::Pause => format!("{which}, its receiver is not run until {until}"),
        Hit::Cut => format!("{which}, the links between both lose all messages until {until}"),
        Hit::Hold => format!("{which}, its link holds back messages until {until}"),
    }
}

/// What is again as before when a fault ends. Nothing where nothing ends.
#[must_use]
pub(super) fn relents(fault: &Fault, replicas: usize) -> Option<String> {
    Some(match fault.kind.effect() {
        Effect::Process(replica, what) => {
            let it = name(replica);
            match what {
                OnProcess::Crash | OnProcess::Leave => format!("{it} may start again"),
                OnProcess::Pause => format!("{it} is run again"),
                OnProcess::Suspend => format!("the machine of {it} wakes up"),
                OnProcess::Copy => format!("one of the two processes of {it} dies"),
                OnProcess::Slow { .. } => format!("{it} is as fast as before"),
                OnProcess::Jump { .. } => format!("the wall clock of {it} jumps back"),
            }
        }
        Effect::Links(which, what) => {
            let (links, several) = links(which, replicas);
            match what {
                OnLinks::Cut { .. } if several => format!("{links} carry messages again"),
                OnLinks::Cut { .. } => format!("{links} carries messages again"),
                OnLinks::Lose { .. } if several => format!("{links} lose no more than others"),
                OnLinks::Lose { .. } => format!("{links} loses no more than others"),
            }
        }
        Effect::View { via, order: OnView::RemoveForAWhile(replica) } => {
            format!("an operator at {} adds {} again", name(via), name(replica))
        }
        Effect::View { order: OnView::Replace { old, .. }, .. } => format!("{} is stopped", name(old)),
        Effect::Frame { .. } | Effect::View { order: OnView::Remove(_) | OnView::Add(_), .. } => return None,
    })
}

/// What a replica tells, as a sentence whose subject is the replica. Others than these say themselves what they are.
#[must_use]
pub(super) fn event(event: Option<&Event>) -> Option<String> {
    Some(match event {
        Some(Event::Installed { from, vector: covered, .. }) => {
            format!("takes in the whole state of {from}: {}", vector(covered))
        }
        Some(Event::Retired { dot, incarnation, through }) => {
            format!("retires {incarnation} up to its write {through}, by {dot}")
        }
        Some(Event::RoundEnded { events, held }) => {
            format!("ends a round about {}: members hold {}", vector(events), vector(held))
        }
        Some(Event::Linked { address, incarnation }) => format!("is linked to {address}, {incarnation}"),
        Some(Event::Suspected(address)) => format!("suspects {address}"),
        Some(Event::Recovered(address)) => format!("suspects {address} no more"),
        Some(Event::Up { alone: true }) => "is up: alone, no replica answered".into(),
        Some(Event::Up { alone: false }) => "is up".into(),
        Some(Event::Ready { unmet }) if unmet.is_empty() => "is ready for clients".into(),
        Some(Event::Ready { unmet }) => format!("is ready for clients, and never met {unmet:?}"),
        Some(Event::Renewed(incarnation)) => format!("goes on as incarnation {incarnation}"),
        Some(Event::ViewChanged) => "has another view".into(),
        Some(Event::PullStarted { from, pull }) => format!("pulls what it lacks from {from}, pull {pull}"),
        Some(Event::PullEnded { from, pull, complete: true }) => format!("has all of pull {pull} from {from}"),
        Some(Event::PullEnded { from, pull, complete: false }) => format!("gives up pull {pull} from {from}"),
        Some(Event::Fetching { from, dot, held }) => format!("asks {from} for pieces of {dot}, {held} bytes are here"),
        Some(Event::Stalled(length)) => format!("notices that it was not run for {}", span(length.0)),
        Some(Event::ClockTrusted(true)) => "trusts its wall clock again".into(),
        Some(Event::ClockTrusted(false)) => "no longer trusts its wall clock".into(),
        Some(Event::Diverged(peer)) => format!("finds that {peer} holds something else under the same names"),
        Some(Event::WritesRefused(true)) => "refuses writes: there is no memory left".into(),
        Some(Event::WritesRefused(false)) => "takes writes again".into(),
        Some(Event::HeldBack(true)) => "is held back: there is no memory for what others have".into(),
        Some(Event::HeldBack(false)) => "is held back no more".into(),
        Some(Event::FellBehind(_)) => "tells a watch anew what it may lack".into(),
        Some(Event::Dropped { from, reason }) => format!("refuses a message of {from}: {}", reason_of(*reason)),
        _ => return None,
    })
}

fn reason_of(reason: DropReason) -> &'static str {
    match reason {
        DropReason::OtherLink => "it belongs to another link",
        DropReason::OldIncarnation => "its sender is not the newest at its address",
        DropReason::Late => "it is too late to be news",
        DropReason::CausalBufferFull => "the causal buffer is full",
        DropReason::NoMemory => "there is no memory for it",
        DropReason::OwnAddress => "it bears the receiver's own address",
        DropReason::NotMember => "the receiver was removed",
        DropReason::Invalid => "no honest replica sends it",
        DropReason::OtherPull => "it belongs to another pull",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::FaultKind;

    fn said(kind: FaultKind) -> String {
        strikes(&Fault { id: 1, at: 0, until: 601_000, kind }, 3, 601_000)
    }

    #[test]
    fn faults_are_sentences() {
        let hold = true;
        assert_eq!(
            said(FaultKind::OneWay { from: 1, to: 0, hold }),
            "the link from B to A holds back messages until 0.601 s"
        );
        assert_eq!(
            said(FaultKind::Split { mask: 0b100, hold: false }),
            "the links between A and B on one side and C on the other lose all messages until 0.601 s"
        );
        assert_eq!(said(FaultKind::Crash { replica: 2 }), "C dies with its memory, and starts again at 0.601 s");
        assert_eq!(said(FaultKind::Remove { replica: 2, via: 0 }), "an operator at A removes C from the view");
        let ends = |kind| relents(&Fault { id: 1, at: 0, until: 1, kind }, 3);
        assert_eq!(ends(FaultKind::Pause { replica: 0 }).as_deref(), Some("A is run again"));
        assert_eq!(ends(FaultKind::Want { replica: 0, via: 1 }), None);
    }

    #[test]
    fn numbers_are_read_easily() {
        assert_eq!((seconds(601_000), seconds(1_411_785)), ("0.601 s".into(), "1.411785 s".into()));
        assert_eq!((span(20), span(1_000), span(1_020)), ("20 us".into(), "1 ms".into(), "1.020 ms".into()));
        assert_eq!((count(1, "failure"), count(2, "failure")), ("1 failure".into(), "2 failures".into()));
        assert_eq!(list(&["A", "B", "C"]), "A, B and C");
    }
}
