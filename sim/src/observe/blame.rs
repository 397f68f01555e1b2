//! What a broken promise rests on. That is the writes that it names, how knowledge of them reached the answer, and what kept
//! them from the replica that gave it.
//!
//! Nothing here judges. It follows the lanes and what was carried between them, from the names in the oracle's own words.

use super::story::{Band, Blame, Carriage, Lane, Moment, Story, Tone};
use super::words::{list, seconds};
use crate::oracle::sign::Sign;
use crate::oracle::verdict::{Invariant, Violation};
use std::collections::BTreeMap;

/// A run of names has at most so many.
const WRITES_MAX: u64 = 10_000;

/// What this invariant promises, as the end of a sentence.
const fn promise(invariant: Invariant) -> &'static str {
    match invariant {
        Invariant::Dots => "no two writes have one name",
        Invariant::Causes => "a write is applied after all that it rests on",
        Invariant::Sessions => "an answer includes all that its client has seen",
        Invariant::Answers => "an answer shows exactly the versions that no write replaced",
        Invariant::Store => "a replica holds exactly what was written and not replaced",
        Invariant::Refusals => "a replica refuses only with a reason",
        Invariant::Convergence => "after the heal all replicas become equal, linked and quiet",
        Invariant::Stamps => "the stamp of a write is above those of its causes",
        Invariant::Merge => "the order in which states are merged does not matter",
        Invariant::Bounds => "memory, work and traffic stay within their limits",
        Invariant::Frames => "a damaged message is refused",
        Invariant::Tokens => "at rest a token is no longer than the membership",
        Invariant::Membership => "only operators add and remove members",
        Invariant::Freshness => "what a cut held up is neither taken for news nor fetched early",
        Invariant::Formats => "a replica speaks only what its peer understands",
        Invariant::Concern => "what a write concern counts holds the write",
        Invariant::Watch => "a watch holds at each mark exactly what its replica shows",
        Invariant::Liveness => "every request is answered once, and the run comes to rest",
        Invariant::Panic => "no input makes a replica panic",
        Invariant::History => "what clients saw has a causal explanation",
        Invariant::Agreement => "the oracles and the history checker agree",
    }
}

/// Is what such a violation names not where it should be?
const fn lacks(sign: &Sign) -> bool {
    matches!(
        sign,
        Sign::PastMissing
            | Sign::CauseMissing
            | Sign::VersionHidden
            | Sign::Lost
            | Sign::NotLost
            | Sign::KeptToItself
            | Sign::KeptBack
            | Sign::Stale
            | Sign::WatchUnbound
            | Sign::ListUnbound
    )
}

impl Blame {
    /// What the violation of this story rests on. `asked` says what each request was about.
    pub(super) fn of(story: &Story, asked: &BTreeMap<usize, String>) -> Self {
        let inquiry = Inquiry { story, asked, predecessors: story.predecessors() };
        let violated = story.moments.len() - 1;
        let mut blame = Self {
            violated,
            sentences: Vec::new(),
            missing: Vec::new(),
            lacks: story.violation.as_ref().is_some_and(|violation| lacks(&violation.sign)),
            lit: Vec::new(),
            broken: Vec::new(),
            bands: Vec::new(),
        };
        let Some(violation) = &story.violation else { return blame };
        let named = inquiry.named();
        blame.missing = named.iter().map(|&(_, place)| place).collect();
        blame.lit = inquiry.between(&named, violated);
        blame.sentences.push(inquiry.broke(violation, &blame.lit));
        let mut told = None;
        for (write, place) in named {
            let way = inquiry.way(&write, place, violation);
            blame.broken.extend(way.broken);
            blame.bands.extend(way.bands);
            told.get_or_insert(way.told);
        }
        blame.sentences.push(told.unwrap_or_else(|| inquiry.in_force(violation.at)));
        blame.broken.sort_unstable();
        blame.broken.dedup();
        blame.bands.sort_unstable();
        blame.bands.dedup();
        blame
    }
}

/// What became of one write on its way to where it should have been.
struct Way {
    told: String,
    broken: Vec<usize>,
    bands: Vec<usize>,
}

struct Inquiry<'a> {
    story: &'a Story,
    asked: &'a BTreeMap<usize, String>,
    predecessors: Vec<Option<usize>>,
}

impl Inquiry<'_> {
    /// The writes that the violation names, or whose values it names, with the moments in which they were accepted.
    fn named(&self) -> Vec<(String, usize)> {
        let Some(moment) = self.story.moments.last() else { return Vec::new() };
        let accepts = |(place, moment): (usize, &Moment)| {
            let write = moment.text.strip_prefix("accepts ")?;
            Some((write.to_owned(), place))
        };
        let accepted: Vec<(String, usize)> = self.story.moments.iter().enumerate().filter_map(accepts).collect();
        let is_named = |(write, place): &&(String, usize)| {
            let value = self.value(*place);
            moment.writes.contains(write) || value.is_some_and(|value| moment.text.contains(&value))
        };
        let named: Vec<(String, usize)> = accepted.iter().filter(is_named).cloned().collect();
        if !accepted.is_empty() {
            return named;
        }
        // A subject that cannot be looked into tells of no write. The request that made a value stands for it.
        let makes = |(place, taken): (usize, &Moment)| {
            let (_, value) = self.asked.get(&taken.request.filter(|_| taken.kind == "takes")?)?.split_once("=\"")?;
            let value = format!("\"{}\"", value.split_once('"')?.0);
            moment.text.contains(&value).then_some((value, place))
        };
        self.story.moments.iter().enumerate().filter_map(makes).collect()
    }

    /// The value that was written in this moment, in its quotes.
    fn value(&self, accepted: usize) -> Option<String> {
        let request = self.story.moments[self.request_of(accepted)?].request?;
        let (_, value) = self.asked.get(&request)?.split_once("=\"")?;
        Some(format!("\"{}\"", value.split_once('"')?.0))
    }

    /// The request that a replica handles in this moment: the last that it took in the same instant.
    fn request_of(&self, place: usize) -> Option<usize> {
        let Moment { at, lane, .. } = self.story.moments[place];
        let moment = |place: &usize| &self.story.moments[*place];
        let here = (0..=place).rev().take_while(|place| moment(place).at == at);
        here.filter(|place| moment(place).lane == lane).find(|place| moment(place).kind == "takes")
    }

    fn asked_in(&self, place: usize) -> Option<&str> {
        let request = self.story.moments[self.request_of(place)?].request?;
        self.asked.get(&request).map(|text| bare(text))
    }

    fn client_in(&self, place: usize) -> Option<Lane> {
        let carriage = self.story.moments[self.request_of(place)?].carriage?;
        Some(self.story.carriages[carriage].from)
    }

    /// The moments by which knowledge of these writes came to that one. They are requests, answers and messages that carry
    /// one of them, from where a write was accepted. Where no write is named, everything that precedes.
    fn between(&self, named: &[(String, usize)], to: usize) -> Vec<usize> {
        let carries = |place: &usize| {
            let carriage = self.story.moments[*place].carriage.map(|at| &self.story.carriages[at]);
            carriage.is_none_or(|it| {
                named.is_empty()
                    || matches!(it.name, "request" | "answer" | "part")
                    || named.iter().any(|(write, _)| has(it, write))
            })
        };
        let is_message = |place: &usize| matches!(self.story.moments[*place].kind, "sent" | "received");
        let sent_in = |place: usize| self.story.sent_in(place).filter(|_| carries(&place));
        let before = |place: usize| self.predecessors[place].into_iter().chain(sent_in(place));
        let mut precedes = vec![false; to + 1];
        precedes[to] = true;
        for place in (0..=to).rev() {
            if precedes[place] {
                before(place).for_each(|earlier| precedes[earlier] = true);
            }
        }
        let mut follows = vec![named.is_empty(); to + 1];
        named.iter().for_each(|&(_, place)| follows[place] = true);
        for place in 0..=to {
            follows[place] = follows[place] || before(place).any(|earlier| follows[earlier]);
        }
        let tells = |place: &usize| {
            let moment = &self.story.moments[*place];
            let is_key = matches!(moment.kind, "applied" | "violation" | "refused" | "died" | "started");
            is_key || moment.carriage.is_some() && carries(place) && !(named.is_empty() && is_message(place))
        };
        let mut lit: Vec<usize> = (0..=to).filter(|&place| precedes[place] && follows[place]).filter(tells).collect();
        // What was asked belongs to what was answered.
        let asked: Vec<usize> = lit.iter().filter_map(|&place| self.story.sent_in(place)).collect();
        lit.extend(asked);
        let taken: Vec<usize> = named.iter().filter_map(|&(_, place)| self.request_of(place)).collect();
        lit.extend(taken.iter().filter_map(|&place| self.story.sent_in(place)));
        lit.extend(taken);
        lit.sort_unstable();
        lit.dedup();
        lit
    }

    /// How a client came to know what it knew: the last answer before that is lit.
    fn learned(&self, client: Lane, lit: &[usize]) -> Option<String> {
        let moments = lit.iter().rev().map(|&place| &self.story.moments[place]);
        let answer = moments.filter(|moment| moment.lane == client).find(|moment| moment.kind == "answered")?;
        let from = self.story.carriages[answer.carriage?].from;
        let what = answer.text.strip_prefix("gets ")?;
        Some(format!(" since {from} answered it {what} at {}", seconds(answer.at)))
    }

    /// The first sentence: which promise, and by whom.
    fn broke(&self, violation: &Violation, lit: &[usize]) -> String {
        let violated = self.story.moments.len() - 1;
        let Some(replica) = violation.replica.map(Lane::Replica) else {
            return format!("The run broke the promise that {}: {}.", promise(violation.invariant), violation.detail);
        };
        let asked = self.client_in(violated).zip(self.asked_in(violated));
        let writes = match self.story.moments[violated].writes.as_slice() {
            [first, rest @ ..] if rest.len() > 3 => format!("{first} and {} more writes", rest.len()),
            few => list(few),
        };
        match (violation.fingerprint().as_str(), asked) {
            ("sessions/past_missing", Some((client, asked))) => {
                let since = self.learned(client, lit).unwrap_or_default();
                format!(
                    "{replica} served {client}, which asked for {asked}, without {writes}, of which {client} knew{since}."
                )
            }
            (_, Some((client, asked))) => format!(
                "{replica} broke the promise that {}, when {client} asked it for {asked}: {}.",
                promise(violation.invariant),
                violation.detail
            ),
            (_, None) => {
                format!("{replica} broke the promise that {}: {}.", promise(violation.invariant), violation.detail)
            }
        }
    }

    /// How one write went on its way to the replica that broke the promise.
    fn way(&self, write: &str, accepted: usize, violation: &Violation) -> Way {
        let origin = self.story.moments[accepted].lane;
        let at = seconds(self.story.moments[accepted].at);
        let by = self.client_in(accepted).map(|client| format!(" for {client}")).unwrap_or_default();
        let what = self.asked_in(accepted).map(|asked| format!(", {asked},")).unwrap_or_default();
        if write.starts_with('"') {
            let told =
                format!("{origin} took {}{by} at {at}. {}", what.trim_matches([',', ' ']), self.in_force(violation.at));
            return Way { told, broken: Vec::new(), bands: Vec::new() };
        }
        let accepted_it = format!("accepted {write}{what}{by} at {at}");
        let begin = format!("{origin} {accepted_it}");
        let (mut broken, mut bands) = (Vec::new(), Vec::new());
        let Some(target) = violation.replica.map(Lane::Replica).filter(|&target| target != origin) else {
            let told = match violation.replica {
                Some(_) => format!("It was {origin} itself that {accepted_it}."),
                None => format!("{begin}. {}", self.in_force(violation.at)),
            };
            return Way { told, broken, bands };
        };
        let applied = self.moment(|moment| moment.lane == target && moment.text == format!("applies {write}"));
        if let Some(applied) = applied {
            let told = format!("{begin}; {target} applied it at {}.", seconds(self.story.moments[applied].at));
            return Way { told, broken: vec![applied], bands };
        }
        let carries = |carriage: &&Carriage| carriage.to == target && has(carriage, write);
        let carriages: Vec<&Carriage> = self.story.carriages.iter().filter(carries).collect();
        if let Some((carriage, arrived)) = carriages.iter().find_map(|it| Some((it, *it.arrived.last()?))) {
            broken.push(arrived);
            let refusal = self.refusal_in(arrived);
            broken.extend(refusal);
            let end = match refusal {
                Some(refusal) => format!("and {target} {}", self.story.moments[refusal].text),
                None => format!("and {target} does not apply it: it waits for what it rests on, or was given up"),
            };
            let (when, id) = (seconds(self.story.moments[arrived].at), carriage.id);
            let told = format!("{begin}; the {} #{id} brought it to {target} at {when}, {end}.", carriage.name);
            return Way { told, broken, bands };
        }
        bands = self.cuts_between(origin, target, accepted);
        let because = |bands: &[usize]| {
            let texts: Vec<&str> = bands.iter().rev().take(2).map(|&at| self.story.bands[at].text.as_str()).collect();
            if texts.is_empty() { String::new() } else { format!(": {}", list(&texts)) }
        };
        let told = match carriages.first() {
            Some(carriage) => {
                broken.extend(carriages.iter().filter_map(|it| it.sent));
                let (name, id, because) = (carriage.name, carriage.id, because(&bands));
                match &carriage.lost {
                    Some(why) => format!("{begin}; the {name} #{id} was to bring it to {target}, but {why}{because}."),
                    None => {
                        format!("{begin}; the {name} #{id} that brings it to {target} is still on its way{because}.")
                    }
                }
            }
            None => {
                broken.push(accepted);
                format!("{begin}; no message brought it to {target}{}.", because(&bands))
            }
        };
        Way { told, broken, bands }
    }

    fn moment(&self, is_it: impl Fn(&Moment) -> bool) -> Option<usize> {
        self.story.moments.iter().position(is_it)
    }

    /// A refusal in the step that begins with this moment.
    fn refusal_in(&self, arrived: usize) -> Option<usize> {
        let Moment { at, lane, .. } = self.story.moments[arrived];
        let after = self.story.moments.iter().enumerate().skip(arrived);
        let mut step = after.take_while(|(_, moment)| moment.at == at).filter(|(_, moment)| moment.lane == lane);
        step.find(|(_, moment)| moment.tone == Tone::Refused).map(|(place, _)| place)
    }

    /// The faults that cut the link between two replicas, or kept one of them from running, after a moment.
    fn cuts_between(&self, origin: Lane, target: Lane, since: usize) -> Vec<usize> {
        let (Lane::Replica(from), Lane::Replica(to)) = (origin, target) else { return Vec::new() };
        let hits =
            |band: &Band| band.links.contains(&(from, to)) || band.replica.is_some_and(|at| at == from || at == to);
        // An order of an operator lasts until the opposite is ordered.
        let removes = |band: &Band| band.removes == Some((from, to));
        let lasts = |band: &Band| {
            let is_over = band.to.is_some_and(|end| end <= since);
            hits(band) && !is_over || removes(band) && (!is_over || matches!(band.name, "remove" | "replace"))
        };
        let all = self.story.bands.iter().enumerate();
        all.filter(|(_, band)| lasts(band)).map(|(at, _)| at).collect()
    }

    /// What was in force at a time, where no write is named.
    fn in_force(&self, at: u64) -> String {
        let is_open = |band: &&Band| band.to.is_none_or(|end| self.story.moments[end].at >= at);
        let open: Vec<&str> = self.story.bands.iter().filter(is_open).map(|band| band.text.as_str()).collect();
        match open.as_slice() {
            [] if self.story.bands.is_empty() => "No fault struck.".into(),
            [] => {
                let last = self.story.bands.last().map(|band| band.text.as_str()).unwrap_or_default();
                format!("No fault was in force any more; the last one was: {last}.")
            }
            [.., last] if open.len() > 3 => format!("{} faults were in force; the last one: {last}.", open.len()),
            few => format!("In force were: {}.", few.join("; ")),
        }
    }
}

/// Does it carry this write?
fn has(carriage: &Carriage, write: &str) -> bool {
    carriage.write.as_deref() == Some(write) || carriage.content.contains(&format!("dot: {write},"))
}

/// What was asked, without the operation's number and the replica. Of several operations only that they are several.
fn bare(asked: &str) -> &str {
    if asked.contains(", with ") {
        return "a batch";
    }
    let rest = asked.split_once(' ').filter(|(first, _)| first.starts_with("op")).map_or(asked, |(_, rest)| rest);
    rest.split_once(" at ").map_or(rest, |(what, _)| what)
}

/// The short names of writes in a text: `b1.2`.
#[must_use]
pub(crate) fn writes_in(text: &str) -> Vec<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.');
    let is_write = |word: &&str| {
        let Some((incarnation, counter)) = word.trim_end_matches('.').split_once('.') else { return false };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        incarnation.starts_with(|first: char| first.is_ascii_lowercase())
            && digits(&incarnation[1..])
            && digits(counter)
    };
    let mut found: Vec<String> = Vec::new();
    let between = |one: &str, last: &str| {
        let (incarnation, from) = one.split_once('.')?;
        let (from, to): (u64, u64) = (from.parse().ok()?, last.rsplit_once('.')?.1.parse().ok()?);
        Some(
            (from..=to.min(from.saturating_add(WRITES_MAX)))
                .map(|counter| format!("{incarnation}.{counter}"))
                .collect(),
        )
    };
    for (one, last) in text.match_indices(" to ").filter_map(|(at, to)| {
        let (before, after) = (text[..at].rsplit(' ').next()?, text[at + to.len()..].split(' ').next()?);
        Some((before.trim_start_matches('['), after.trim_end_matches([',', ']', '.'])))
    }) {
        let run: Option<Vec<String>> = between(one, last).filter(|_| is_write(&one) && is_write(&last));
        found.extend(run.into_iter().flatten());
    }
    for word in words.filter(is_write).map(|word| word.trim_end_matches('.').to_owned()) {
        if !found.contains(&word) {
            found.push(word);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_writes_are_found_in_words() {
        assert_eq!(writes_in("without b1.1, a2.10 and [b1.1]. Or 1.2, x, 0.5 s, k0."), ["b1.1", "a2.10"]);
        assert_eq!(writes_in("without b1.9 to b1.11, a1.1"), ["b1.9", "b1.10", "b1.11", "a1.1"]);
    }

    #[test]
    fn what_was_asked_is_said_without_its_number() {
        assert_eq!(bare("op119 put k0=\"119.0\" at B, wait 5 ms"), "put k0=\"119.0\"");
        assert_eq!(bare("closing1 get k0 at A"), "closing1 get k0");
        assert_eq!(bare("op7 get k0 at B, with Put k1, wait 5 ms"), "a batch");
    }

    #[test]
    fn each_invariant_has_a_promise_of_its_own() {
        let promises: std::collections::BTreeSet<&str> = Invariant::ALL.into_iter().map(promise).collect();
        assert_eq!(promises.len(), Invariant::ALL.len());
    }
}
