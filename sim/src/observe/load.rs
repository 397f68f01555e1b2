//! A recorded history over time: how many requests were answered, how long they took, and which faults were in force.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::BufRead;

/// So many steps of time at most; then two become one.
const STEPS_MAX: usize = 240;

/// The first step, in nanoseconds.
const STEP_NS: u64 = 20_000_000;

/// Lengths of time within a quarter of a power of two of each other are one.
const LENGTHS: usize = 160;

/// So many faults are kept.
const FAULTS_MAX: usize = 10_000;

/// What came back in a step of time.
#[derive(Debug, Clone)]
pub struct Step {
    /// Requests that were answered as asked.
    pub answered: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Requests without an answer.
    pub unknown: u64,
    lengths: [u32; LENGTHS],
}

/// A fault that was in force.
#[derive(Debug, Clone, Default)]
pub struct Harm {
    /// Its kind.
    pub kind: String,
    /// Whom it hit.
    pub target: String,
    /// When it began, in nanoseconds.
    pub from_ns: u64,
    /// When it ended; at the end of the history where no line says so.
    pub to_ns: Option<u64>,
    /// What was seen of it.
    pub effect: Option<String>,
}

/// A history over time.
#[derive(Debug, Clone)]
pub struct Load {
    /// How long a step is, in nanoseconds.
    pub step_ns: u64,
    /// The steps.
    pub steps: Vec<Step>,
    /// The faults, by number.
    pub faults: BTreeMap<u64, Harm>,
    /// When the last answer came, in nanoseconds.
    pub end_ns: u64,
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    call_ns: Option<u64>,
    #[serde(default)]
    return_ns: Option<u64>,
    #[serde(default)]
    status: u16,
    #[serde(default)]
    outcome: Option<String>,
    #[serde(default)]
    note: Option<Value>,
}

impl Default for Step {
    fn default() -> Self {
        Self { answered: 0, refused: 0, unknown: 0, lengths: [0; LENGTHS] }
    }
}

impl Step {
    /// The length of time that so many of a hundred answered requests did not exceed, in microseconds.
    #[must_use]
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        let all: u64 = self.lengths.iter().map(|&count| u64::from(count)).sum();
        let mut left = (all * percent).div_ceil(100);
        let found = self.lengths.iter().position(|&count| {
            left = left.saturating_sub(count.into());
            left == 0
        });
        found.filter(|_| all > 0).map(bound)
    }

    fn join(&mut self, other: &Self) {
        self.answered += other.answered;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.lengths.iter_mut().zip(&other.lengths).for_each(|(count, more)| *count += more);
    }
}

/// Four places for each power of two.
fn place(micros: u64) -> usize {
    let micros = micros.max(4);
    let power = micros.ilog2();
    ((power as usize - 2) * 4 + (micros >> (power - 2) & 3) as usize).min(LENGTHS - 1)
}

/// The longest time of a place, in microseconds.
const fn bound(place: usize) -> u64 {
    let (power, quarter) = (place / 4, place as u64 % 4);
    ((5 + quarter) << power) - 1
}

impl Load {
    /// Reads a history in our own format. Lines that it cannot read are passed over: whether they are right is the checker's.
    ///
    /// # Errors
    /// What the reader says.
    pub fn read(lines: impl BufRead) -> std::io::Result<Self> {
        let mut load = Self { step_ns: STEP_NS, steps: Vec::new(), faults: BTreeMap::new(), end_ns: 0 };
        for line in lines.split(b'\n') {
            let Ok(line) = serde_json::from_slice::<Line>(&line?) else { continue };
            match &line.note {
                Some(note) => load.note(note),
                None => load.take(&line),
            }
        }
        Ok(load)
    }

    fn take(&mut self, line: &Line) {
        let outcome = line.outcome.as_deref().unwrap_or("ok");
        let (Some(called), Some(returned)) = (line.call_ns, line.return_ns) else { return };
        if outcome == "sent" {
            return;
        }
        self.end_ns = self.end_ns.max(returned);
        while returned / self.step_ns >= STEPS_MAX as u64 {
            self.coarser();
        }
        let at = (returned / self.step_ns) as usize;
        if self.steps.len() <= at {
            self.steps.resize_with(at + 1, Step::default);
        }
        let step = &mut self.steps[at];
        match (outcome, line.status) {
            ("unknown", _) => step.unknown += 1,
            ("ok", 0..500) => {
                step.answered += 1;
                step.lengths[place(returned.saturating_sub(called) / 1_000)] += 1;
            }
            _ => step.refused += 1,
        }
    }

    /// Two steps become one.
    fn coarser(&mut self) {
        self.step_ns *= 2;
        let steps = std::mem::take(&mut self.steps);
        for pair in steps.chunks(2) {
            let mut step = pair[0].clone();
            pair[1..].iter().for_each(|other| step.join(other));
            self.steps.push(step);
        }
    }

    fn note(&mut self, note: &Value) {
        let (Some(number), Some(at)) = (note["fault"].as_u64(), note["at_ns"].as_u64()) else { return };
        if !self.faults.contains_key(&number) && self.faults.len() >= FAULTS_MAX {
            return;
        }
        let text = |name: &str| note[name].as_str().unwrap_or_default().to_owned();
        let fault = self.faults.entry(number).or_default();
        match note["phase"].as_str() {
            Some("start") => (fault.kind, fault.target, fault.from_ns) = (text("kind"), text("target"), at),
            _ => (fault.to_ns, fault.effect) = (Some(at), note["effect"].as_str().map(str::to_owned)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_within_a_quarter() {
        for micros in (0..200).chain([1_000, 4_095, 4_096, 99_999, 5_000_000]) {
            let place = place(micros);
            assert!(bound(place) >= micros && (place == 0 || bound(place - 1) < micros), "{micros}");
            assert!(bound(place) <= micros.max(4) * 5 / 4, "{micros}: {}", bound(place));
        }
    }

    #[test]
    fn steps_get_coarser_and_lose_nothing() {
        let line = |n: u64| {
            format!(
                "{{\"id\":{n},\"call_ns\":{0},\"return_ns\":{1},\"status\":200}}\n",
                n * 1_000_000,
                n * 1_000_000 + 500_000
            )
        };
        let fault =
            "{\"note\":{\"fault\":1,\"kind\":\"cut\",\"target\":\"a\",\"phase\":\"start\",\"at_ns\":7}}\nno line\n";
        let lines: String = (0..20_000).map(line).chain([fault.to_owned()]).collect();
        let load = Load::read(lines.as_bytes()).expect("lines");
        assert_eq!((load.step_ns, load.steps.len() <= STEPS_MAX), (160_000_000, true));
        assert_eq!(load.steps.iter().map(|step| step.answered).sum::<u64>(), 20_000);
        assert_eq!(load.steps[3].percentile(99), Some(511));
        assert_eq!((load.faults[&1].kind.as_str(), load.faults[&1].to_ns), ("cut", None));
    }
}
