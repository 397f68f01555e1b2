//! The step that first decided a failure.
//!
//! An oracle says what is wrong when it shows. That may be a wrong token, view, buffer or link. From there one walks back to the step
//! in which it first was wrong. What a replica says is compared with what the simulator knows. Where nothing was wrong before,
//! it is the step that broke the promise.

use super::known::{Known, Retired, changes, state};
use crate::observe::{Lane, Moment, Story, writes_in};
use crate::oracle::sign::Sign;
use crate::oracle::verdict::{Invariant, Violation};
use crate::plan::Plan;
use std::collections::BTreeMap;

/// Why this step and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A client's token left out what the client knew.
    Token,
    /// A replica served a token that it did not cover.
    Served,
    /// A write was made without naming a cause of it.
    Dependencies,
    /// A write was applied without a cause that it names.
    Applied,
    /// A round did not ask a member.
    NotAsked,
    /// A question about lost writes left a way open on which one still came.
    KeptOpen,
    /// What a cut had held up was taken for news.
    News,
    /// A replica heard of a removal and did not take it in.
    View,
    /// What it holds reached the size that it has.
    Load,
    /// A link changed, and what waited because of it stayed.
    Kept,
    /// A replica that served stopped.
    Down,
    /// A token named an incarnation that is over.
    LongToken,
    /// Two replicas heard of each other and no link came of it.
    Unlinked,
    /// The same began again, though it had brought nothing.
    Repeats,
    /// A state was mixed of two.
    Mixed,
    /// A link came to rest too early.
    Rests,
    /// A last question found no end.
    Question,
    /// It came no further from here.
    Stuck,
    /// Nothing was wrong before.
    Itself,
}

/// The step that decided it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// A moment of it: a place in the story.
    pub moment: usize,
    /// Why.
    pub reason: Reason,
    /// The write or the replica that it is about, by short name; may be empty.
    pub about: String,
}

/// Names the step. A story that breaks no promise has none; its last moment stands for it.
pub(super) fn named(story: &Story) -> Named {
    let last = story.moments.len().saturating_sub(1);
    let Some(violation) = &story.violation else {
        return Named { moment: last, reason: Reason::Itself, about: String::new() };
    };
    let clues = Clues::new(story, violation);
    let found = clues.by_sign().or_else(|| clues.by_invariant());
    let (moment, reason, about) = found.unwrap_or_else(|| (clues.violated(), Reason::Itself, String::new()));
    Named { moment, reason, about }
}

/// What comes again after so many times the usual pause is not the same series any more.
const PAUSE: u64 = 16;

type Found = Option<(usize, Reason, String)>;

struct Clues<'a> {
    story: &'a Story,
    violation: &'a Violation,
    /// Where the promise was broken.
    here: Lane,
    writes: Vec<String>,
    retired: Retired,
}

impl<'a> Clues<'a> {
    fn new(story: &'a Story, violation: &'a Violation) -> Self {
        let before = story.moments.len().saturating_sub(1);
        let last = story.moments[..before].last().map_or(Lane::Outside, |moment| moment.lane);
        let here = violation.replica.map_or(last, Lane::Replica);
        Self { story, violation, here, writes: writes_in(&violation.detail), retired: Retired::of(story) }
    }

    fn moments(&self) -> impl DoubleEndedIterator<Item = (usize, &Moment)> {
        let told = self.story.moments.len().saturating_sub(1);
        self.story.moments[..told].iter().enumerate()
    }

    fn at_here(&self) -> impl DoubleEndedIterator<Item = (usize, &Moment)> {
        self.moments().filter(|(_, moment)| moment.lane == self.here)
    }

    /// What arrives or leaves in a moment.
    fn is_message(&self, moment: &Moment, kind: &str, name: &str) -> bool {
        moment.kind == kind && moment.carriage.is_some_and(|at| self.story.carriages[at].name == name)
    }

    /// The first moment of the step that broke the promise.
    fn violated(&self) -> usize {
        let step = self.at_here().rev().take_while(|(_, moment)| moment.at == self.violation.at);
        let begins = |moment: &Moment| matches!(moment.kind, "received" | "takes" | "started");
        let mut step = step.map(|(place, moment)| (place, begins(moment)));
        let first = step.find(|(_, begins)| *begins).map(|(place, _)| place);
        first.or_else(|| self.at_here().next_back().map(|(place, _)| place)).unwrap_or(self.story.moments.len() - 1)
    }

    /// The part that broke the promise of a watch, at the client that was told it.
    fn told(&self) -> Option<usize> {
        let at_once = self.moments().rev().take_while(|(_, moment)| moment.at == self.violation.at);
        let mut parts = at_once.filter(|(_, moment)| moment.kind == "told" && moment.carriage.is_some());
        parts.next().map(|(place, _)| place)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what other signs tell of was right until then")]
    fn by_sign(&self) -> Found {
        match self.violation.sign {
            Sign::PastMissing if self.violation.invariant == Invariant::Watch => self.watch_past_missing(),
            Sign::PastMissing => self.past_missing(),
            Sign::CauseMissing => self.cause_missing(),
            Sign::NotLost => self.not_asked(),
            Sign::LostCameBack => self.last_message("received", "ask", Reason::KeptOpen),
            Sign::TokenEndless => self.last_round(),
            Sign::UnknownState => self.mixed(),
            Sign::InterruptedPush | Sign::EarlyRepair | Sign::LatePush => self.news(),
            Sign::RemovalWithdrawn => self.removal_not_taken_in(),
            Sign::Load => self.last_change(&["causal buffer", "requests waiting"], Reason::Load),
            Sign::Busy if self.violation.detail.contains("causal buffer") => self.kept_in_buffer(),
            Sign::Busy => self.last_change(&["links", "view"], Reason::Stuck),
            Sign::DownAgain => self.went_down(),
            Sign::TooLong => self.long_token(),
            Sign::KeptToItself => self.link_rests(),
            Sign::Endless => self.repeats(),
            _ => None,
        }
    }

    fn by_invariant(&self) -> Found {
        if self.violation.invariant == Invariant::Watch {
            return self.told().map(|place| (place, Reason::Itself, String::new()));
        }
        let is_late = matches!(
            self.violation.sign,
            Sign::Links | Sign::KeptBack | Sign::Vectors | Sign::NotUp | Sign::Views | Sign::Unwanted | Sign::Lives
        );
        if self.violation.invariant != Invariant::Convergence || !is_late {
            return None;
        }
        let fields = ["links", "view", "serves", "incarnation"];
        self.unlinked().or_else(|| self.last_change(&fields, Reason::Stuck))
    }

    /// A client knew a write, and its token does not say so. Otherwise its token said so and it was served all the same.
    fn past_missing(&self) -> Found {
        let unsaid = self.unsaid(None, |write| self.writes.contains(write));
        unsaid.or_else(|| Some((self.violated(), Reason::Served, self.writes.first().cloned().unwrap_or_default())))
    }

    /// The same of a watch, which tells no names: the client that watches knew some write, and its token does not say so.
    fn watch_past_missing(&self) -> Found {
        let told = self.told()?;
        let unsaid = self.unsaid(Some(self.story.moments[told].lane), |_| true);
        unsaid.or_else(|| Some((told, Reason::Itself, String::new())))
    }

    /// The first answer to a client, or to this one, whose token leaves out such a write that the client knows.
    fn unsaid(&self, client: Option<Lane>, is_meant: impl Fn(&String) -> bool) -> Found {
        let mut tokens: BTreeMap<Lane, (Known, Known)> = BTreeMap::new();
        let is_asked = |lane: Lane| matches!(lane, Lane::Client(_)) && client.is_none_or(|client| client == lane);
        for (place, moment) in self.moments().filter(|(_, moment)| is_asked(moment.lane)) {
            let (token, truth) = tokens.entry(moment.lane).or_default();
            for (field, value) in &moment.changes {
                match field.as_str() {
                    "token" => *token = Known::of_vector(value),
                    "truly knows" => *truth = Known::of_writes(value),
                    _ => {}
                }
            }
            let lacks = |write: &String| is_meant(write) && !self.retired.covers(token, write);
            if let Some(write) = truth.writes().find(lacks) {
                return Some((place, Reason::Token, write));
            }
        }
        None
    }

    /// A write was made without its cause, or applied without it.
    fn cause_missing(&self) -> Found {
        let (write, causes) = self.writes.split_first()?;
        let (incarnation, number) = write.split_once('.')?;
        let number: u64 = number.parse().ok()?;
        let mut named = Known::default();
        // An operation names what the one before it of the same incarnation does not imply.
        named.join_up_to(incarnation, number.saturating_sub(1));
        for carriage in &self.story.carriages {
            for part in carriage.content.split("dot: ").skip(1) {
                let Some((dot, rest)) = part.split_once(", hlc") else { continue };
                let is_earlier = dot.strip_prefix(incarnation).and_then(|rest| rest.strip_prefix('.'));
                let is_earlier = is_earlier.and_then(|text| text.parse::<u64>().ok()).is_some_and(|n| n <= number);
                let deps = rest.split_once("deps: {").and_then(|(_, rest)| rest.split_once('}'));
                if let (true, Some((deps, _))) = (is_earlier, deps) {
                    named.join_debug(deps);
                }
            }
        }
        let lacks = causes.iter().find(|cause| !self.retired.covers(&named, cause));
        let Some(cause) = lacks else {
            return Some((self.violated(), Reason::Applied, causes.first().cloned().unwrap_or_default()));
        };
        let accepts = format!("accepts {write}");
        let made = self.moments().find(|(_, moment)| moment.text == accepts).map(|(place, _)| place);
        Some((made.or_else(|| self.retired.made_by(write))?, Reason::Dependencies, cause.clone()))
    }

    /// A round did not ask the replica that holds the write, though it was a member then.
    fn not_asked(&self) -> Found {
        let (_, rest) = self.violation.detail.split_once("which replica ")?;
        let holder = rest.split(' ').next()?;
        let is_holder = |lane: Lane| lane.to_string() == holder;
        let asks = self.at_here().filter(|(_, moment)| self.is_message(moment, "sent", "ask"));
        let asks: Vec<(usize, Lane)> =
            asks.filter_map(|(place, moment)| Some((place, self.story.carriages[moment.carriage?].to))).collect();
        let is_member = |place: usize| {
            let view = state(self.story, self.here, "view", place);
            view.split(", ").any(|row| row.starts_with(&format!("{holder} ")) && !row.ends_with("removed"))
        };
        if asks.iter().any(|&(_, to)| is_holder(to)) {
            return None;
        }
        let (place, _) = asks.into_iter().find(|&(place, _)| is_member(place))?;
        Some((place, Reason::NotAsked, holder.to_owned()))
    }

    fn last_message(&self, kind: &str, name: &str, reason: Reason) -> Found {
        let (place, _) = self.at_here().rev().find(|(_, moment)| self.is_message(moment, kind, name))?;
        Some((place, reason, String::new()))
    }

    /// Where the last round began that came to an end.
    fn last_round(&self) -> Found {
        let (ended, _) = self.at_here().rev().find(|(_, moment)| moment.text.starts_with("ends a round"))?;
        let mut asks = self.at_here().rev().filter(|(_, moment)| self.is_message(moment, "sent", "ask"));
        asks.find(|(place, _)| *place < ended).map(|(place, _)| (place, Reason::Question, String::new()))
    }

    /// The part of a state that was taken in before the one that made it whole.
    fn mixed(&self) -> Found {
        let supplies = self.at_here().filter(|(_, moment)| self.is_message(moment, "received", "supply"));
        let before = supplies.rev().find(|(place, _)| *place < self.violated());
        before.map(|(place, _)| (place, Reason::Mixed, String::new()))
    }

    /// Where the write first came in and was not refused.
    fn news(&self) -> Found {
        let write = self.writes.first()?;
        let (place, _) =
            self.at_here().find(|(_, moment)| moment.writes.contains(write) && moment.kind != "refused")?;
        Some((place, Reason::News, write.clone()))
    }

    /// A view that lists a removal came, and afterwards the receiver's view does not.
    fn removal_not_taken_in(&self) -> Found {
        let (_, rest) = self.violation.detail.split_once("replica ")?;
        let gone = rest.split(' ').next()?;
        let removes = |lane: Lane, moment: usize| {
            let view = state(self.story, lane, "view", moment);
            view.split(", ").any(|row| row.starts_with(&format!("{gone} ")) && row.ends_with("removed"))
        };
        let views = self.moments().filter(|(_, moment)| self.is_message(moment, "received", "view"));
        let mut missed = views.filter(|(place, moment)| {
            let sent =
                moment.carriage.and_then(|at| Some((self.story.carriages[at].from, self.story.carriages[at].sent?)));
            sent.is_some_and(|(from, sent)| removes(from, sent)) && !removes(moment.lane, *place)
        });
        missed.next().map(|(place, _)| (place, Reason::View, gone.to_owned()))
    }

    fn last_change(&self, fields: &[&str], reason: Reason) -> Found {
        let places = fields.iter().filter_map(|field| changes(self.story, self.here, field).next_back());
        places.map(|(place, _)| place).max().map(|place| (place, reason, String::new()))
    }

    /// Something waits for good in the causal buffer: since a link changed, or since it came.
    fn kept_in_buffer(&self) -> Found {
        let (parked, _) = changes(self.story, self.here, "causal buffer").next_back()?;
        let link = changes(self.story, self.here, "links").find(|(place, _)| *place > parked);
        Some((link.map_or(parked, |(place, _)| place), Reason::Kept, String::new()))
    }

    fn went_down(&self) -> Found {
        let place = changes(self.story, self.here, "serves").rev().find(|(_, value)| *value == "not yet")?.0;
        Some((place, Reason::Down, String::new()))
    }

    fn long_token(&self) -> Found {
        let is_client = |moment: &Moment| matches!(moment.lane, Lane::Client(_)) && moment.kind == "answered";
        for (place, moment) in self.moments().filter(|(_, moment)| is_client(moment)) {
            let Some((_, token)) = moment.changes.iter().find(|(field, _)| field == "token") else { continue };
            let token = Known::of_vector(token);
            let over = token.incarnations().find(|incarnation| self.retired.is_over(incarnation, place));
            if let Some(over) = over {
                return Some((place, Reason::LongToken, over.to_owned()));
            }
        }
        None
    }

    /// The link to the replica that lacks the write came to rest.
    fn link_rests(&self) -> Found {
        let lacking = self.violation.detail.split_once("what replica ")?.1.split(' ').next()?;
        let rests = format!("{lacking} resting");
        let mut links = changes(self.story, self.here, "links");
        let (place, _) = links.find(|(_, links)| links.split(", ").any(|link| link == rests))?;
        Some((place, Reason::Rests, lacking.to_owned()))
    }

    /// Two replicas have no link at the end. Since both run, one had sent a hello and got one.
    fn unlinked(&self) -> Found {
        let last = self.story.moments.len() - 1;
        let lanes: Vec<Lane> = (0..self.story.replicas).map(Lane::Replica).collect();
        let is_open = |from: Lane, to: Lane| {
            let links = state(self.story, from, "links", last);
            links.split(", ").any(|link| link == format!("{to} open"))
        };
        let pairs = lanes.iter().flat_map(|&from| lanes.iter().map(move |&to| (from, to)));
        let mut apart: Vec<(Lane, Lane)> = pairs.filter(|&(from, to)| from != to && !is_open(from, to)).collect();
        let started = |lane| self.moments().rev().find(|(_, moment)| moment.lane == lane && moment.kind == "started");
        let hello = |moment: &Moment, kind: &str, one: Lane, other: Lane| {
            let carriage = moment.carriage.map(|at| &self.story.carriages[at]);
            moment.kind == kind && carriage.is_some_and(|it| it.name == "hello" && it.from == one && it.to == other)
        };
        let met = apart.drain(..).filter_map(|(from, to)| {
            let since = started(from)?.1.at.max(started(to)?.1.at);
            let mut later = self.moments().filter(|(_, moment)| moment.at >= since);
            later.find(|(_, moment)| hello(moment, "sent", from, to))?;
            let (place, _) = later.find(|(_, moment)| hello(moment, "received", to, from))?;
            Some((place, Reason::Unlinked, to.to_string()))
        });
        met.min_by_key(|(place, ..)| *place)
    }

    /// What fills an endless run, when it came a second time. It comes again and again, without a longer pause and without
    /// anything new between.
    fn repeats(&self) -> Found {
        let pattern = |moment: &Moment| {
            let words: String = moment.text.chars().filter(|letter| !letter.is_ascii_digit()).collect();
            (moment.lane, words)
        };
        let mut counts: BTreeMap<(Lane, String), usize> = BTreeMap::new();
        let events = || self.moments().filter(|(_, moment)| moment.kind == "event");
        events().for_each(|(_, moment)| *counts.entry(pattern(moment)).or_default() += 1);
        let (most, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        let places: Vec<(usize, u64)> =
            events().filter(|(_, moment)| pattern(moment) == most).map(|(place, moment)| (place, moment.at)).collect();
        let half = &places[places.len() / 2..];
        let usual = (half.last()?.1 - half.first()?.1) / half.len() as u64;
        let brings = |moment: &Moment| {
            moment.lane == most.0 && moment.changes.iter().any(|(field, _)| field == "vector" || field == "links")
        };
        let goes_on = |pair: &&[(usize, u64)]| {
            let ((first, began), (next, at)) = (pair[0], pair[1]);
            at - began <= PAUSE * (usual + 1) && !self.story.moments[first + 1..next].iter().any(brings)
        };
        let again = places.windows(2).rev().take_while(goes_on).last()?;
        Some((again[1].0, Reason::Repeats, most.0.to_string()))
    }
}

impl Named {
    /// The replica whose step it is. A client's moment stands for the answer of the replica that sent it.
    #[must_use]
    pub fn replica(&self, story: &Story) -> Option<char> {
        match story.moments[self.moment].lane {
            Lane::Replica(replica) => Some(Plan::name(replica)),
            Lane::Client(_) => {
                let carriage = &story.carriages[story.moments[self.moment].carriage?];
                if let Lane::Replica(replica) = carriage.from { Some(Plan::name(replica)) } else { None }
            }
            Lane::Outside => None,
        }
    }
}
