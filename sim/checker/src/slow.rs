//! The slow judge: the definitions, word for word, by enumeration.
//!
//! It shares no code with the checker but the model of a history. It reads tokens, answers and sets on its own. It
//! enumerates every order of visibility between events of one key, and for each every order of writes. A batch is one
//! event in both. That takes exponential time; with up to seven events it is the yardstick that the checker is held against.

use crate::history::{Action, Operation, Outcome};
use crate::terms::{Level, Verdict};

/// The most operations it takes.
pub const OPERATIONS_MAX: usize = 18;

/// What one operation means: an event, or a part of one.
struct Event {
    /// The first part of its batch: itself, if it is in none. Orders are of these.
    head: usize,
    key: String,
    /// Where it was answered; empty if that has no name.
    replica: String,
    is_put: bool,
    is_delete: bool,
    /// These puts were shown.
    shown: Vec<usize>,
    /// Nothing else was.
    exact: bool,
    /// Something was.
    alive: bool,
    /// Which of the shown puts won.
    winner: Option<usize>,
}

impl Event {
    const fn is_write(&self) -> bool {
        self.is_put || self.is_delete
    }

    const fn has_view(&self) -> bool {
        self.exact || self.alive || !self.shown.is_empty()
    }
}

type Matrix = Vec<Vec<bool>>;

struct Slow {
    events: Vec<Event>,
    lineage: Matrix,
    happens_before: Matrix,
    /// For each level whether some order explains everything.
    explained: [bool; 6],
    /// The same for the guarantees when what replicas surely held counts as seen.
    explained_held: [bool; 6],
    /// The pairs of events whose visibility is to be decided.
    pairs: Vec<(usize, usize)>,
}

/// Judges a history of at most [`OPERATIONS_MAX`] operations without times at every level of [`Level::ALL`].
///
/// # Panics
///
/// When the history is larger, or a token comes from nowhere.
#[must_use]
pub fn judge(history: &[Operation]) -> [Verdict; 6] {
    let count = history.len();
    assert!(count <= OPERATIONS_MAX, "{count} operations take too long");
    let Some(mut events) = history.iter().map(|operation| event(history, operation)).collect::<Option<Vec<_>>>() else {
        return impossible();
    };
    for (at, operation) in history.iter().enumerate() {
        events[at].head = if operation.same_batch { events[at - 1].head } else { at };
    }
    let head = |at: usize| events[at].head;
    let mut lineage = vec![vec![false; count]; count];
    for (at, operation) in history.iter().enumerate() {
        for token in operation.token_in.iter().chain(&operation.merged_from) {
            let carried =
                |&before: &usize| goes_on(&history[before]) && history[before].token_out.as_ref() == Some(token);
            let carriers: Vec<usize> = (0..head(at)).filter(carried).collect();
            assert!(!carriers.is_empty(), "token {token} comes from nowhere");
            for before in carriers.into_iter().filter(|_| operation.status != 424) {
                lineage[head(before)][head(at)] = true;
            }
        }
    }
    close(&mut lineage);
    let mut happens_before = lineage.clone();
    for (at, event) in events.iter().enumerate() {
        for &shown in &event.shown {
            happens_before[head(shown)][head(at)] = true;
        }
    }
    close(&mut happens_before);
    if (0..count).any(|at| happens_before[at][at]) {
        return impossible();
    }
    let related = |a: usize, b: usize| {
        events[a].key == events[b].key && (events[a].is_write() || events[b].is_write()) && head(a) != head(b)
    };
    let pairs = (0..count).flat_map(|b| (0..b).map(move |a| (a, b))).filter(|&(a, b)| related(a, b));
    let mut pairs: Vec<(usize, usize)> = pairs.map(|(a, b)| (head(a), head(b))).collect();
    pairs.sort_unstable_by_key(|&(a, b)| (b, a));
    pairs.dedup();
    let mut slow = Slow { events, lineage, happens_before, explained: [false; 6], explained_held: [false; 6], pairs };
    let visible = slow.happens_before.clone();
    slow.enumerate(&visible, &vec![vec![false; count]; count], 0);
    slow.verdicts().map(|is_fine| if is_fine { Verdict::Fine } else { Verdict::Broken })
}

/// The verdicts when no order can exist: the guarantees have nothing to be asked about.
const fn impossible() -> [Verdict; 6] {
    let (unknown, broken) = (Verdict::Unknown, Verdict::Broken);
    [unknown, unknown, unknown, unknown, broken, broken]
}

fn goes_on(operation: &Operation) -> bool {
    operation.outcome == Outcome::Ok
}

fn close(matrix: &mut Matrix) {
    let count = matrix.len();
    for middle in 0..count {
        for from in 0..count {
            for to in 0..count {
                if matrix[from][middle] && matrix[middle][to] {
                    matrix[from][to] = true;
                }
            }
        }
    }
}

fn may_have_written(operation: &Operation) -> bool {
    match (operation.outcome, operation.status) {
        (Outcome::Ok, status) => matches!(status, 200 | 201 | 204) || status >= 500 && status != 503,
        (Outcome::Unknown, _) => true,
        (Outcome::Fail, _) => false,
    }
}

/// Reads an operation; nothing if it names what no client wrote, or contradicts itself.
fn event(history: &[Operation], operation: &Operation) -> Option<Event> {
    let written = may_have_written(operation);
    let mut event = Event {
        head: 0,
        key: operation.key.clone(),
        replica: operation.replica.clone(),
        is_put: operation.action == Action::Put && written,
        is_delete: operation.action == Action::Delete && written,
        shown: Vec::new(),
        exact: false,
        alive: false,
        winner: None,
    };
    let answered = operation.outcome == Outcome::Ok;
    let put_of = |value: &String| {
        let writes = |put: &Operation| {
            put.action == Action::Put
                && put.key == operation.key
                && put.value.as_ref() == Some(value)
                && put.outcome != Outcome::Fail
                && (put.outcome == Outcome::Unknown || matches!(put.status, 200 | 201 | 204 | 500 | 502 | 504))
        };
        history.iter().position(writes)
    };
    // What a batch puts has one version, and each key its own put of it.
    let put_with = |version: &String| {
        let made =
            |put: &Operation| put.action == Action::Put && put.shown.as_deref() == Some(std::slice::from_ref(version));
        let of_key = history.iter().position(|put| made(put) && put.key == operation.key);
        of_key.or_else(|| history.iter().position(made))
    };
    if operation.own {
        return is_own_write(history, operation).then_some(event);
    }
    match (operation.action, operation.status) {
        _ if !answered => {}
        (Action::Get, 200) => {
            let values = operation.siblings.iter().flatten().chain(&operation.value);
            for value in values {
                let put = put_of(value)?;
                if !event.shown.contains(&put) {
                    event.shown.push(put);
                }
            }
            event.winner = event.shown.first().copied();
            event.exact = operation.siblings.is_some() || operation.shown.is_some();
            if operation.siblings.is_none() {
                for version in operation.shown.iter().flatten() {
                    let put = put_with(version)?;
                    if !event.shown.contains(&put) {
                        event.shown.push(put);
                    }
                }
            }
        }
        (Action::Get | Action::Delete, 404) | (Action::Put, 201) => event.exact = true,
        (Action::Put | Action::Delete, 200) => {
            event.alive = true;
            if let Some(versions) = &operation.superseded {
                event.shown = versions.iter().map(put_with).collect::<Option<_>>()?;
                event.exact = true;
            }
        }
        (Action::Get | Action::Put | Action::Delete, _) => {}
    }
    let wrong_key = event.shown.iter().any(|&put| history[put].key != operation.key);
    let replaced_nothing = event.alive && event.exact && event.shown.is_empty();
    (!wrong_key && !replaced_nothing).then_some(event)
}

/// Whether a read of what its batch wrote returned that.
fn is_own_write(history: &[Operation], read: &Operation) -> bool {
    let same = |other: &&Operation| other.id == read.id && other.key == read.key && other.action != Action::Get;
    history.iter().find(same).is_some_and(|write| write.value == read.value)
}

impl Slow {
    /// What replicas surely held counts as seen only where no weaker guarantee is broken.
    fn verdicts(&self) -> [bool; 6] {
        let mut fine = self.explained;
        let (your_writes, reads) = (Level::ReadYourWrites as usize, Level::MonotonicReads as usize);
        let follow = Level::WritesFollowReads as usize;
        fine[reads] &= !fine[your_writes] || self.explained_held[reads];
        fine[follow] &= !fine[your_writes] || !fine[reads] || self.explained_held[follow];
        fine
    }

    /// Whether one order has the event of the first operation before that of the second.
    fn has(&self, order: &Matrix, first: usize, second: usize) -> bool {
        order[self.events[first].head][self.events[second].head]
    }

    fn is_one_event(&self, a: usize, b: usize) -> bool {
        self.events[a].head == self.events[b].head
    }

    /// Every order that contains `visible`, decides all pairs, and leaves those apart that `apart` names.
    fn enumerate(&mut self, visible: &Matrix, apart: &Matrix, next: usize) {
        if self.explained == [true; 6] && self.explained_held == [true; 6] {
            return;
        }
        let Some(&(a, b)) = self.pairs.get(next) else {
            return self.examine(visible);
        };
        if visible[a][b] || visible[b][a] {
            return self.enumerate(visible, apart, next + 1);
        }
        let mut also_apart = apart.clone();
        also_apart[a][b] = true;
        also_apart[b][a] = true;
        self.enumerate(visible, &also_apart, next + 1);
        for (from, to) in [(a, b), (b, a)] {
            let mut more = visible.clone();
            more[from][to] = true;
            close(&mut more);
            let count = more.len();
            let contradicts = (0..count).any(|x| (0..count).any(|y| more[x][y] && (apart[x][y] || x == y)));
            if !contradicts {
                self.enumerate(&more, apart, next + 1);
            }
        }
    }

    fn examine(&mut self, visible: &Matrix) {
        for (at, level) in Level::ALL.into_iter().enumerate() {
            self.explained[at] = self.explained[at] || self.explains(level, false, visible);
            // A weaker level that is broken was not asked in vain: what counts is whether any order explains all.
            self.explained_held[at] = self.explained_held[at] || self.explains(level, true, visible);
        }
    }

    fn explains(&self, level: Level, held: bool, visible: &Matrix) -> bool {
        match level {
            Level::Causal => held || self.shows_what_it_must(visible),
            Level::Convergent => {
                held || self.shows_what_it_must(visible) && self.can_arbitrate(visible, &mut Vec::new())
            }
            Level::ReadYourWrites | Level::MonotonicWrites if held => true,
            Level::ReadYourWrites | Level::MonotonicReads | Level::MonotonicWrites | Level::WritesFollowReads => {
                self.guarantees(level, held, visible)
            }
        }
    }

    /// The puts among the visible-last writes of the event's key in its past.
    fn alive_at(&self, visible: &Matrix, event: usize) -> Vec<usize> {
        let same = |&write: &usize| {
            self.events[write].is_write()
                && self.events[write].key == self.events[event].key
                && self.has(visible, write, event)
        };
        let past: Vec<usize> = (0..self.events.len()).filter(same).collect();
        let last = |&&write: &&usize| !past.iter().any(|&later| self.has(visible, write, later));
        past.iter().filter(last).copied().filter(|&write| self.events[write].is_put).collect()
    }

    fn shows_what_it_must(&self, visible: &Matrix) -> bool {
        (0..self.events.len()).all(|at| {
            let (event, alive) = (&self.events[at], self.alive_at(visible, at));
            let all_shown = event.shown.iter().all(|shown| alive.contains(shown));
            let none_hidden = !event.exact || alive.iter().all(|put| event.shown.contains(put));
            all_shown && none_hidden && (!event.alive || !alive.is_empty())
        })
    }

    /// Whether some order of all writes, of which `placed` is the beginning, contains visibility and makes each
    /// winner the last of what was alive.
    fn can_arbitrate(&self, visible: &Matrix, placed: &mut Vec<usize>) -> bool {
        let mut writes: Vec<usize> =
            self.events.iter().filter(|event| event.is_write()).map(|event| event.head).collect();
        writes.dedup();
        if placed.len() == writes.len() {
            return (0..self.events.len()).all(|at| {
                let rank = |put: &usize| placed.iter().position(|&placed| placed == self.events[*put].head);
                let last = self.alive_at(visible, at).into_iter().max_by_key(rank);
                self.events[at].winner.is_none_or(|winner| last == Some(winner))
            });
        }
        for &write in &writes {
            let may_follow = writes.iter().all(|&other| placed.contains(&other) || !visible[other][write]);
            if !placed.contains(&write) && may_follow {
                placed.push(write);
                if self.can_arbitrate(visible, placed) {
                    return true;
                }
                placed.pop();
            }
        }
        false
    }

    fn is_one_replica(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.events[a].replica, &self.events[b].replica);
        a == b || a.is_empty() || b.is_empty()
    }

    /// What the session had been shown at the replica of this event, by itself at last.
    fn seen(&self, event: usize) -> impl Iterator<Item = usize> {
        let there = move |&other: &usize| {
            self.is_one_event(other, event)
                || self.has(&self.lineage, other, event) && self.is_one_replica(other, event)
        };
        (0..self.events.len()).filter(there).flat_map(|other| self.events[other].shown.iter().copied())
    }

    /// Whether a session knew an operation when it made a write: from before, or as a read of the same batch.
    fn knew(&self, operation: usize, write: usize) -> bool {
        self.has(&self.lineage, operation, write)
            || self.is_one_event(operation, write) && !self.events[operation].is_write()
    }

    /// Whether a write was made by a session that knew this operation, or had read a write of which that is so, and
    /// so on.
    fn follows(&self, operation: usize, write: usize) -> bool {
        let past = || (0..self.events.len()).filter(|&earlier| self.knew(earlier, write));
        self.knew(operation, write)
            || past().any(|read| self.events[read].shown.iter().any(|&put| self.follows(operation, put)))
    }

    /// Whether a write was made after a read of this put, by its session, or by that of what it had read, and so on.
    fn answers(&self, put: usize, write: usize) -> bool {
        (0..self.events.len()).any(|read| self.events[read].shown.contains(&put) && self.follows(read, write))
    }

    /// Whether the guarantee demands that the event has the write in its past.
    fn demands(&self, level: Level, held: bool, write: usize, event: usize) -> bool {
        let shown = &self.events[event].shown;
        let was_shown = |to: usize| self.events[to].shown.contains(&write);
        let lineage = &self.lineage;
        let there =
            || (0..self.events.len()).filter(|&at| self.has(lineage, at, event) && self.is_one_replica(at, event));
        let shows_both =
            |first: &dyn Fn(usize) -> bool| shown.contains(&write) && shown.iter().any(|&other| first(other));
        let is_held = |shown: bool| held && there().any(|at| at == write || shown && was_shown(at));
        match level {
            Level::ReadYourWrites => self.has(lineage, write, event),
            Level::MonotonicReads => {
                is_held(false) || (0..self.events.len()).any(|read| was_shown(read) && self.has(lineage, read, event))
            }
            Level::MonotonicWrites => {
                self.seen(event).any(|seen| self.has(lineage, write, seen))
                    || shows_both(&|other| self.has(lineage, other, write))
            }
            Level::WritesFollowReads => {
                is_held(true)
                    || self.seen(event).any(|seen| self.answers(write, seen))
                    || shows_both(&|other| self.answers(other, write))
            }
            Level::Causal | Level::Convergent => false,
        }
    }

    /// Whether the guarantee demands that the second event knows what the first one knew.
    fn hands_on(&self, level: Level, first: usize, second: usize) -> bool {
        match level {
            Level::MonotonicReads => self.has(&self.lineage, first, second),
            Level::WritesFollowReads => {
                !self.is_one_event(first, second) && self.seen(second).any(|seen| self.follows(first, seen))
            }
            Level::ReadYourWrites | Level::MonotonicWrites | Level::Causal | Level::Convergent => false,
        }
    }

    fn guarantees(&self, level: Level, held: bool, visible: &Matrix) -> bool {
        let count = self.events.len();
        let demanded = |write: usize, at: usize| {
            let (written, event) = (&self.events[write], &self.events[at]);
            written.is_write()
                && event.has_view()
                && written.key == event.key
                && !self.is_one_event(write, at)
                && self.demands(level, held, write, at)
        };
        // A delete that was seen once may not be unseen where that must be known.
        let stays = |remover: usize, at: usize| {
            let brings_back = |later: usize| {
                self.events[later].key == self.events[at].key
                    && self.events[later].shown.iter().any(|&shown| self.has(visible, shown, remover))
                    && self.hands_on(level, at, later)
            };
            self.events[remover].is_put || !(0..count).any(brings_back)
        };
        let respected = |write: usize, at: usize| {
            let event = &self.events[at];
            let hides_none = !event.shown.iter().any(|&shown| self.has(visible, shown, write));
            let excuses = |remover: usize| self.removes(visible, remover, write, at) && stays(remover, at);
            let needs_excuse = event.exact && self.events[write].is_put && !event.shown.contains(&write);
            hides_none && (!needs_excuse || (0..count).any(excuses))
        };
        (0..count).all(|write| (0..count).all(|at| !demanded(write, at) || respected(write, at)))
    }

    /// Whether this write removed the put before the event: as far as its own exact set tells, too.
    fn removes(&self, visible: &Matrix, remover: usize, put: usize, at: usize) -> bool {
        let (write, event) = (&self.events[remover], &self.events[at]);
        let is_candidate = write.key == event.key && (write.is_delete || event.shown.contains(&remover));
        let in_between = self.has(visible, put, remover) && self.has(visible, remover, at);
        let hides_shown = event.shown.iter().any(|&shown| self.has(visible, shown, remover));
        is_candidate && in_between && !hides_shown && self.met(visible, remover, put)
    }

    fn met(&self, visible: &Matrix, write: usize, put: usize) -> bool {
        let event = &self.events[write];
        !event.exact
            || event.shown.contains(&put)
            || event.shown.iter().any(|&member| self.has(visible, put, member) && self.met(visible, member, put))
    }
}
