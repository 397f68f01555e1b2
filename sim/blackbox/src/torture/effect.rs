//! Whether a fault took effect, seen from outside.
//!
//! A target that is killed, restarted or paused stops answering. A target that is cut off stops answering, too, or does
//! not show in time what was written elsewhere meanwhile. How much time it needs without a fault is measured before
//! each cut. A target is back when it serves data again, and after a cut shows what was written elsewhere.

use super::plan::Harm;
use super::token::Said;
use super::{Run, is_serving};
use crate::console::{clock, nap};
use crate::http::{self, Connection, NoAnswer};
use std::time::{Duration, Instant};

/// A target that serves answers sooner, also under load.
const ANSWER_MAX: Duration = Duration::from_millis(300);

/// A mark that is not there after this much more than usual is held up.
const MARK_MIN: Duration = Duration::from_millis(250);

/// How long a mark may take before a cut; after that, marks tell nothing.
const USUAL_MAX: Duration = Duration::from_secs(2);

/// Watches one target during one fault.
pub(crate) struct Watch<'a> {
    run: &'a Run,
    target: usize,
    begun: Instant,
    seen: Option<String>,
    marks: Option<Marks>,
}

/// Writes at another replica, looked for at the target.
struct Marks {
    /// The replica that writes.
    other: usize,
    key: String,
    /// How long a mark takes without a fault, at most.
    usual: Duration,
    /// The mark that is looked for: its value, and since when it stands.
    open: Option<(String, Instant)>,
    count: u64,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(run: &'a Run, harm: Harm, target: usize) -> Self {
        let all = run.targets.len();
        let key = format!("{}-mark{target}", run.prefix);
        let marks = (harm == Harm::Cut && all > 1).then(|| Marks {
            other: (target + 1) % all,
            key,
            usual: Duration::ZERO,
            open: None,
            count: 0,
        });
        let mut watch = Self { run, target, begun: clock(), seen: None, marks };
        watch.measure();
        watch.begun = clock();
        watch
    }

    /// What was seen of the fault.
    pub(crate) fn seen(&self) -> Option<String> {
        self.seen.clone()
    }

    /// One look at the target while the fault lasts.
    pub(crate) fn look(&mut self) {
        if self.seen.is_some() {
            return;
        }
        match self.ask(self.target, "GET", &self.key(), None) {
            Err(error) => {
                let after = self.begun.elapsed().as_millis();
                self.seen = Some(format!("it stopped answering after {after} ms ({error})"));
            }
            Ok(_) => self.look_for_mark(),
        }
    }

    /// Waits until the target serves as before; says how long that took. A target that `restarts_itself` must first
    /// have been seen to be gone.
    pub(crate) fn back(&mut self, patience: Duration, restarts_itself: bool) -> Option<Duration> {
        let begun = clock();
        if restarts_itself && self.seen.is_none() {
            return None;
        }
        while begun.elapsed() < patience {
            let answer = self.ask(self.target, "GET", &self.key(), None);
            if answer.is_ok_and(|(status, _)| is_serving(status)) && self.marks_pass() {
                return Some(begun.elapsed());
            }
            nap(Duration::from_millis(20));
        }
        None
    }

    fn key(&self) -> String {
        self.marks.as_ref().map_or_else(|| format!("{}-probe", self.run.prefix), |marks| marks.key.clone())
    }

    /// How long marks take without a fault: the longest of five.
    fn measure(&mut self) {
        for _ in 0..5 {
            if self.marks.is_none() {
                return;
            }
            self.mark();
            let took = self.await_mark(USUAL_MAX);
            match (took, &mut self.marks) {
                (Some(took), Some(marks)) => marks.usual = marks.usual.max(took),
                (None, marks) => *marks = None,
                (Some(_), None) => {}
            }
        }
    }

    /// Writes a mark at the other replica.
    fn mark(&mut self) {
        let Some(marks) = &mut self.marks else { return };
        marks.count += 1;
        let value = format!("\"mark {}\"", marks.count);
        let (other, key) = (marks.other, marks.key.clone());
        if let Ok((200 | 201, _)) = self.ask(other, "PUT", &key, Some(&value))
            && let Some(marks) = &mut self.marks
        {
            marks.open = Some((value, clock()));
        }
    }

    /// Whether the target shows the open mark; without an open mark it does. It asks without a token. With one, a
    /// replica that is cut off waits for the mark, and each look would last until the answer is given up.
    fn has_mark(&mut self) -> bool {
        let Some((value, _)) = self.marks.as_ref().and_then(|marks| marks.open.clone()) else { return true };
        let answer = self.ask(self.target, "GET", &self.key(), None);
        let has = answer.is_ok_and(|(status, said)| status == 200 && said.value.as_ref() == Some(&value));
        if has && let Some(marks) = &mut self.marks {
            marks.open = None;
        }
        has
    }

    fn await_mark(&mut self, patience: Duration) -> Option<Duration> {
        let begun = clock();
        while begun.elapsed() < patience {
            if self.has_mark() {
                return Some(begun.elapsed());
            }
            nap(Duration::from_millis(2));
        }
        None
    }

    fn look_for_mark(&mut self) {
        if self.has_mark() {
            return self.mark();
        }
        let Some(marks) = &self.marks else { return };
        let limit = MARK_MIN + marks.usual * 3;
        if let Some((_, since)) = &marks.open
            && since.elapsed() > limit
        {
            let other = &self.run.targets[marks.other].address;
            let (limit, usual) = (limit.as_millis(), marks.usual.as_millis());
            self.seen = Some(format!("a write at {other} was not here after {limit} ms, usually {usual}"));
        }
    }

    /// Whether a write elsewhere reaches the target.
    fn marks_pass(&mut self) -> bool {
        if self.marks.as_ref().is_some_and(|marks| marks.open.is_none()) {
            self.mark();
        }
        self.has_mark()
    }

    /// One request, on a connection of its own: an old one could hide that no process accepts any more.
    fn ask(&self, at: usize, method: &str, key: &str, value: Option<&str>) -> Result<(u16, Said), NoAnswer> {
        let body = match value {
            Some(value) => format!("{{\"value\":{value},\"causal-metadata\":null}}"),
            None => "{\"causal-metadata\":null}".into(),
        };
        let target = &self.run.targets[at];
        let mut request = Vec::new();
        let headers = [("content-type", "application/json"), ("connection", "close")];
        http::request(&mut request, target, method, &format!("/kvs/{key}"), &headers, Some(body.as_bytes()));
        let mut connection = Connection::new(target.clone(), ANSWER_MAX);
        let answer = connection.exchange(&request, false)?;
        Ok((answer.status, Said::by(&answer)))
    }
}
