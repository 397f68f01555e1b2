//! What explains a history, and its check against the definition, word for word.
//!
//! "Fine" is said with a [`Proof`] in hand: pairs that join happens-before, and all writes in one order. Checking it
//! needs no search, so [`verify`] does that with nothing but sets of bits. It shares no code with the search: a mistake
//! there that makes it blind shows here, because what it then calls an explanation explains nothing.

use crate::bits;
use crate::history::operation::{SILENT, happened_perhaps};
use crate::history::{Action, Operation, Outcome};
use std::collections::BTreeMap;

/// What explains every event of a history. Operations are named by their index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proof {
    /// Pairs of operations, the first of which is visible to the second although no client read it there.
    pub edges: Vec<(u32, u32)>,
    /// Every write that may have happened, in the order that decides winners.
    pub order: Vec<u32>,
}

/// What one operation wrote and showed. A part of a batch is one, too; in every order the batch is one, by its first part.
#[derive(Debug, Default)]
struct Event {
    head: usize,
    put: bool,
    delete: bool,
    /// These puts were alive.
    shown: Vec<usize>,
    /// No others were.
    exact: bool,
    /// Some put was.
    alive: bool,
    /// Which of them won.
    winner: Option<usize>,
}

/// Checks that there is a strict order of visibility which contains lineage, reads and the edges, and that the order of
/// writes contains it. Each event must have shown exactly the puts among the visibility-last writes of its key in its
/// past, winners last. A batch stands at one place of both orders. Takes a history whose tokens stand on lines after those that they came with; times are not
/// looked at.
///
/// # Errors
///
/// The first thing that is not so.
pub fn verify(history: &[Operation], proof: &Proof) -> Result<(), String> {
    let events = Reader::of(history).events()?;
    let before = predecessors(history, &events, proof)?;
    let past = pasts(&events, &before)?;
    let rank = ranks(history, &events, proof)?;
    let writes_of = writes(history, &events);
    let mut all = vec![0; history.len().div_ceil(64)];
    writes_of.values().for_each(|writes| bits::join(&mut all, writes));
    for (at, operation) in history.iter().enumerate() {
        let own = &past[events[at].head];
        if events[at].put || events[at].delete {
            let late = bits::both(own, &all).find(|&other| rank[other] > rank[at]);
            if let Some(late) = late {
                let (id, late) = (operation.id, history[late].id);
                return Err(format!("operation {late} is visible to {id} and ordered after it"));
            }
        }
        let of_key = writes_of.get(operation.key.as_str()).map_or(&[][..], Vec::as_slice);
        let last = last(own.iter().zip(of_key).map(|(past, of_key)| past & of_key).collect(), &past, &events);
        let alive: Vec<usize> = bits::numbers(&last).filter(|&write| events[write].put).collect();
        shows(&events[at], &alive, &rank).map_err(|what| format!("operation {}: {what}", operation.id))?;
    }
    Ok(())
}

/// Those of a set that no other of it follows.
fn last(mut set: Vec<u64>, past: &[Vec<u64>], events: &[Event]) -> Vec<u64> {
    for word in (0..set.len()).rev() {
        let mut left = set[word];
        while let Some(bit) = left.checked_ilog2() {
            // A write that is taken out takes no other out: its past is in that of the one that follows it.
            let write = word * 64 + bit as usize;
            set.iter_mut().zip(&past[events[write].head]).for_each(|(mine, followed)| *mine &= !followed);
            left &= set[word] & ((1 << bit) - 1);
        }
    }
    set
}

/// The writes of each key, as sets.
fn writes<'a>(history: &'a [Operation], events: &[Event]) -> BTreeMap<&'a str, Vec<u64>> {
    let mut writes: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (at, operation) in history.iter().enumerate().filter(|&(at, _)| events[at].put || events[at].delete) {
        let of_key = writes.entry(&operation.key).or_insert_with(|| vec![0; history.len().div_ceil(64)]);
        bits::put(of_key, at);
    }
    writes
}

/// Whether an event showed what it must when these puts were alive.
fn shows(event: &Event, alive: &[usize], rank: &[Option<usize>]) -> Result<(), String> {
    if let Some(dead) = event.shown.iter().find(|put| !alive.contains(put)) {
        return Err(format!("shows what line {} wrote, and that is not alive", dead + 1));
    }
    if let Some(hidden) = alive.iter().find(|&put| event.exact && !event.shown.contains(put)) {
        return Err(format!("does not show what line {} wrote, and that is alive", hidden + 1));
    }
    if event.alive && alive.is_empty() {
        return Err("met a value, and none is alive".into());
    }
    let last = alive.iter().max_by_key(|&&put| rank[put]).copied();
    match event.winner {
        Some(winner) if last != Some(winner) => {
            Err(format!("returns what line {} wrote, and that is not the last", winner + 1))
        }
        Some(_) | None => Ok(()),
    }
}

/// What each event directly follows, by first parts.
fn predecessors(history: &[Operation], events: &[Event], proof: &Proof) -> Result<Vec<Vec<usize>>, String> {
    let mut carriers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); history.len()];
    for event in events {
        before[event.head].extend(event.shown.iter().map(|&put| events[put].head));
    }
    // What the parts of a batch sent and got is the same.
    let heads = history.iter().enumerate().filter(|(_, operation)| !operation.same_batch);
    for (at, operation) in heads {
        for token in operation.token_in.iter().chain(&operation.merged_from) {
            let known = carriers.get(token.as_str());
            let known = known.ok_or_else(|| format!("operation {}: token {token} from nowhere", operation.id))?;
            // What comes back with a 424 is cut: the past no longer counts.
            if operation.outcome != Outcome::Ok || operation.status != 424 {
                before[at].extend_from_slice(known);
            }
        }
        if let Some(token) = operation.token_out.as_deref().filter(|_| operation.outcome == Outcome::Ok) {
            carriers.entry(token).or_default().push(at);
        }
    }
    for &(from, to) in &proof.edges {
        before[events[to as usize].head].push(events[from as usize].head);
    }
    Ok(before)
}

/// The whole past of each event, as sets of operations.
fn pasts(events: &[Event], before: &[Vec<usize>]) -> Result<Vec<Vec<u64>>, String> {
    let mut successors: Vec<Vec<usize>> = vec![Vec::new(); before.len()];
    let mut missing: Vec<usize> = before.iter().map(Vec::len).collect();
    for (at, before) in before.iter().enumerate() {
        before.iter().for_each(|&other| successors[other].push(at));
    }
    let mut parts: Vec<Vec<usize>> = vec![Vec::new(); before.len()];
    events.iter().enumerate().for_each(|(at, event)| parts[event.head].push(at));
    let mut past = vec![vec![0_u64; events.len().div_ceil(64)]; before.len()];
    let mut ready: Vec<usize> = (0..before.len()).filter(|&at| missing[at] == 0).collect();
    let mut done = 0;
    while let Some(at) = ready.pop() {
        done += 1;
        for &other in &before[at] {
            if let Ok([own, theirs]) = past.get_disjoint_mut([at, other]) {
                bits::join(own, theirs);
            }
            parts[other].iter().for_each(|&part| bits::put(&mut past[at], part));
        }
        for &next in &successors[at] {
            missing[next] -= 1;
            if missing[next] == 0 {
                ready.push(next);
            }
        }
    }
    if done == before.len() { Ok(past) } else { Err("visibility has a cycle".into()) }
}

/// The place of each write in the order, in which each stands once and nothing else does. Those of a batch stand together.
fn ranks(history: &[Operation], events: &[Event], proof: &Proof) -> Result<Vec<Option<usize>>, String> {
    let mut rank = vec![None; history.len()];
    for (place, &write) in proof.order.iter().enumerate() {
        if rank[write as usize].replace(place).is_some() {
            return Err(format!("operation {} is ordered twice", history[write as usize].id));
        }
    }
    let mut runs: Vec<usize> = proof.order.iter().map(|&write| events[write as usize].head).collect();
    runs.dedup();
    runs.sort_unstable();
    if let Some(torn) = runs.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("the batch of operation {} is ordered in two places", history[torn[0]].id));
    }
    let wrong = (0..history.len()).find(|&at| (events[at].put || events[at].delete) != rank[at].is_some());
    wrong.map_or(Ok(rank), |at| Err(format!("operation {} is a write or in the order, not both", history[at].id)))
}

/// Reads operations on its own.
struct Reader<'a> {
    history: &'a [Operation],
    of_value: BTreeMap<(&'a str, &'a str), usize>,
    /// By version and key: what a batch puts has one version.
    of_version: BTreeMap<(&'a str, &'a str), usize>,
}

impl<'a> Reader<'a> {
    fn of(history: &'a [Operation]) -> Self {
        let puts = || history.iter().enumerate().filter(|(_, put)| put.action == Action::Put && may_have_written(put));
        let value = |(at, put): (usize, &'a Operation)| Some(((put.key.as_str(), put.value.as_deref()?), at));
        let version = |(at, put): (usize, &'a Operation)| match put.shown.as_deref() {
            Some([version]) => Some(((version.as_str(), put.key.as_str()), at)),
            Some(_) | None => None,
        };
        Self { history, of_value: puts().filter_map(value).collect(), of_version: puts().filter_map(version).collect() }
    }

    fn events(&self) -> Result<Vec<Event>, String> {
        let event = |operation: &'a Operation| {
            self.event(operation).map_err(|what| format!("operation {}: {what}", operation.id))
        };
        let mut events: Vec<Event> = self.history.iter().map(event).collect::<Result<_, _>>()?;
        for (at, operation) in self.history.iter().enumerate() {
            events[at].head = if operation.same_batch { events[at - 1].head } else { at };
        }
        Ok(events)
    }

    fn event(&self, operation: &'a Operation) -> Result<Event, String> {
        let written = may_have_written(operation);
        let (put, delete) = (written && operation.action == Action::Put, written && operation.action == Action::Delete);
        let mut event = Event { put, delete, ..Event::default() };
        if operation.outcome != Outcome::Ok || operation.own {
            return Ok(event);
        }
        match (operation.action, operation.status) {
            (Action::Get, 200) => {
                for value in operation.siblings.iter().flatten().chain(&operation.value) {
                    let found = self.of_value.get(&(operation.key.as_str(), value.as_str()));
                    let put = *found.ok_or_else(|| format!("shows {value}, which nobody wrote"))?;
                    if !event.shown.contains(&put) {
                        event.shown.push(put);
                    }
                }
                event.winner = event.shown.first().copied();
                event.exact = operation.siblings.is_some();
                if let (false, Some(versions)) = (event.exact, &operation.shown) {
                    event.exact = self.add(&operation.key, &mut event.shown, versions);
                }
            }
            (Action::Get, 304) => {
                if let Some(versions) = &operation.shown {
                    event.exact = self.add(&operation.key, &mut event.shown, versions);
                    event.alive = true;
                }
            }
            (Action::Get | Action::Delete, 404) | (Action::Put, 201) => event.exact = true,
            (Action::Put | Action::Delete, 200) => {
                event.alive = true;
                if let Some(versions) = &operation.superseded {
                    event.exact = self.add(&operation.key, &mut event.shown, versions);
                }
            }
            (Action::Get | Action::Put | Action::Delete, _) => {}
        }
        Ok(event)
    }

    /// Adds the puts of these versions; says whether each is known. That of a put without an answer is not.
    fn add(&self, key: &'a str, shown: &mut Vec<usize>, versions: &'a [String]) -> bool {
        let mut known = 0;
        let put_of = |version: &'a String| {
            let of_key = self.of_version.get(&(version, key));
            let any = || self.of_version.range((version.as_str(), "")..).next().filter(|(name, _)| name.0 == version);
            of_key.or_else(|| any().map(|(_, put)| put))
        };
        for put in versions.iter().filter_map(put_of) {
            known += 1;
            if !shown.contains(put) {
                shown.push(*put);
            }
        }
        // The winner may be the one whose version is not known.
        known == versions.len() || shown.len() == versions.len()
    }
}

/// Is it a write that may have taken place?
#[must_use]
pub fn may_have_written(operation: &Operation) -> bool {
    let happened = match operation.outcome {
        Outcome::Ok => matches!(operation.status, 200 | 201 | SILENT) || happened_perhaps(operation.status),
        Outcome::Fail => false,
        Outcome::Unknown => true,
    };
    happened && operation.action != Action::Get
}
