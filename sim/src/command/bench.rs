//! `bench`: how fast the simulator is, alone, with the core, and with the oracles.
//!
//! The kinds of run take turns within each round, so that what else the machine does meanwhile meets all of them.

use super::explore::states;
use super::{Done, End, Lines, Problem, clock};
use crate::campaign::run::{Setting, run};
use crate::campaign::{Summary, campaign};
use crate::explore::{Change, Session};
use crate::generate::{self, Profile};
use crate::observe::Idle;
use crate::subject::echo::{self, Echo};
use crate::world::World;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Simulated time of one echo world, in microseconds: about 40,000 events.
const ECHO_TIME: u64 = 1_000_000;

/// Replicas that echo.
const ECHOES: usize = 5;

/// Events of a run that is forked.
const FORKED: u64 = 5_000;

/// So many places of it are gone back to.
const PLACES: usize = 50;

/// One figure of each round.
struct Figure {
    name: &'static str,
    rounds: Vec<f64>,
}

/// What is measured in each round.
const NAMES: [&str; 9] = [
    "echo alone, M events/s",
    "core with oracles, M events/s",
    "core without oracles, M events/s",
    "oracles cost, times",
    "schedules/s with oracles",
    "events in a schedule",
    "pings among them, %",
    "fork of a run of 5,000 events, ms",
    "back to any event of it, ms",
];

pub(crate) fn bench(schedules: u64, rounds: usize, lines: Lines) -> Done {
    let mut figures = NAMES.map(|name| Figure { name, rounds: Vec::new() });
    lines.introduce();
    let free = Setting { oracles_off: true, ..Setting::default() };
    for round in 0..rounds as u64 {
        let seeds = || round * schedules..(round + 1) * schedules;
        let (echoes, echo_seconds) = measured(|| echo_events(seeds().step_by(20)));
        let (judged, seconds) = measured(|| campaign(seeds(), Profile::Speed, Setting::default()));
        let (free, free_seconds) = measured(|| campaign(seeds(), Profile::Speed, free));
        if !judged.failures.is_empty() {
            let fingerprints: Vec<&String> = judged.failures.keys().collect();
            lines.add(|| json!({ "kind": "failure", "round": round, "fingerprints": fingerprints }));
            let text = format!("round {round} failed: {:?}", judged.failures);
            return Err(Problem { code: End::Violation as u8, text });
        }
        let per = |count: u64, seconds: f64| count as f64 / seconds / 1e6;
        let share = |part: u64, of: &Summary| part as f64 / of.schedules.max(1) as f64;
        let (fork, back) = explore_millis(round);
        let row = [
            per(echoes, echo_seconds),
            per(judged.events, seconds),
            per(free.events, free_seconds),
            seconds / judged.events as f64 / (free_seconds / free.events as f64),
            judged.schedules as f64 / seconds,
            share(judged.events, &judged),
            share(judged.idle_events * 100, &judged) / share(judged.events, &judged),
            fork,
            back,
        ];
        lines.add(|| {
            let values: Value = NAMES.into_iter().zip(row).collect();
            json!({ "kind": "round", "round": round, "figures": values })
        });
        figures.iter_mut().zip(row).for_each(|(figure, value)| figure.rounds.push(value));
    }
    print(figures, lines);
    Ok(End::Clean)
}

/// The table over all rounds.
fn print(figures: [Figure; NAMES.len()], lines: Lines) {
    say!("{:<34} {:>9} {:>9} {:>9}", "one core", "median", "least", "most");
    for Figure { name, mut rounds } in figures {
        rounds.sort_by(f64::total_cmp);
        if let (Some(least), Some(most)) = (rounds.first(), rounds.last()) {
            let median = rounds[rounds.len() / 2];
            say!("{name:<34} {median:>9.2} {least:>9.2} {most:>9.2}");
            lines.add(|| json!({ "kind": "figure", "name": name, "median": median, "least": least, "most": most }));
        }
    }
    let memory = status_kib("VmHWM:").map(|kib| kib as f64 / 1024.0);
    if let Some(memory) = memory {
        say!("most memory at any time            {memory:>9.2} MiB");
    }
    lines.add(|| json!({ "kind": "summary", "memory_mib": memory }));
}

/// How long a fork takes for each 5,000 events of its run: all of it is executed again, with every state, and told anew. And
/// how long it takes at most to go back to one of its events and say every state there.
fn explore_millis(round: u64) -> (f64, f64) {
    let long = |seed| {
        let plan = generate::plan(seed, Profile::Mixed);
        let events = run(&plan, Setting::default()).events;
        (FORKED..2 * FORKED).contains(&events).then_some((plan, events))
    };
    let Some((plan, events)) = (round * 1_000..(round + 1) * 1_000).find_map(long) else { return (f64::NAN, f64::NAN) };
    let mut session = Session::new(plan, BTreeMap::new(), Setting::default(), Idle::Changing);
    let change = Change::Request { client: 0, replica: 'A', key: 0, act: "get".into() };
    let (_, seconds) = measured(|| session.fork(&change));
    let last = session.here().story.moments.len().saturating_sub(1);
    let back = |part: usize| {
        let event = last * (PLACES - part) / PLACES;
        measured(|| session.go(0, event).map(|()| states(&session.here().story, event))).1
    };
    let back = (0..=PLACES).map(back).fold(0.0, f64::max);
    let scale = 1e3 * FORKED as f64 / events as f64;
    (seconds * scale, back * scale)
}

/// Lets replicas echo in one world for each seed.
fn echo_events(seeds: impl Iterator<Item = u64>) -> u64 {
    let events = seeds.map(|seed| {
        let mut world = World::<Echo>::new(&echo::plan(seed, ECHOES), ());
        world.run_until(ECHO_TIME);
        world.verdict().events
    });
    events.sum()
}

/// What the work gives, and how many seconds the core was really at it; where the system does not say, seconds passed.
fn measured<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let (started, ran) = (clock(), ran());
    let result = work();
    let passed = match (ran, self::ran()) {
        (Some(before), Some(after)) => after.saturating_sub(before),
        (Some(_) | None, _) => started.elapsed(),
    };
    (result, passed.as_secs_f64().max(1e-9))
}

/// For how long this thread has been run, as Linux counts it.
fn ran() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
}

/// A line of the process's own status that counts KiB, as Linux gives it.
fn status_kib(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}
