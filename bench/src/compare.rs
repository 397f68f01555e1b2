//! The comparison: all targets, all loads, in rounds that interleave the targets.

use crate::load::{Load, Operation};
use crate::process::{Outcome, cpu_of_ended_children};
use crate::report::{Filled, Report, Rest, Sample};
use crate::target::{Context, Kind, Target};
use hence_bench::tell;
use std::time::{Duration, Instant};

/// How much is measured.
#[derive(Debug, Clone)]
pub(crate) struct Extent {
    pub(crate) targets: Vec<Kind>,
    /// In each regime so many cores for servers and generator together.
    pub(crate) regimes: Vec<usize>,
    pub(crate) loads: Vec<Load>,
    pub(crate) rounds: usize,
    /// Per load.
    pub(crate) seconds: u64,
    pub(crate) keys: usize,
    pub(crate) value_bytes: usize,
    /// For memory and catch-up.
    pub(crate) fill_keys: usize,
    pub(crate) idle: Duration,
}

/// All loads of a run.
pub(crate) fn all_loads() -> Vec<Load> {
    let operations = [Operation::Get, Operation::Put, Operation::Mix];
    let shapes = [(32, true), (32, false), (128, true)];
    let load = |operation| move |(connections, token)| Load { operation, connections, token };
    operations.into_iter().flat_map(|operation| shapes.map(load(operation))).collect()
}

/// The cores of a regime, as `taskset` takes them.
pub(crate) fn cores_of(regime: usize) -> String {
    format!("0-{}", regime - 1)
}

/// Measures everything and adds it to the report.
pub(crate) fn run(context: &Context, extent: &Extent, report: &mut Report) -> Outcome<()> {
    for &regime in &extent.regimes {
        // etcd by itself: its members are busy even without a request.
        let (etcd, others): (Vec<Kind>, Vec<Kind>) = extent.targets.iter().partition(|&&kind| kind == Kind::Etcd);
        for kinds in [others, etcd].iter().filter(|kinds| !kinds.is_empty()) {
            measure_together(context, extent, regime, kinds, report)?;
        }
        for &kind in &extent.targets {
            tell!("{regime} core(s): {}: memory and catch-up", kind.name());
            report.fills.push(fill(context, extent, regime, kind)?);
        }
    }
    Ok(())
}

fn measure_together(
    context: &Context,
    extent: &Extent,
    regime: usize,
    kinds: &[Kind],
    report: &mut Report,
) -> Outcome<()> {
    let mut targets = Vec::new();
    for &kind in kinds {
        tell!("{regime} core(s): {}: start", kind.name());
        let target = Target::start(kind, context, &cores_of(regime))?;
        target.fill(extent.keys, extent.value_bytes)?;
        // Before the next one is started: what wakes up beside it takes its lines out of the caches.
        report.rests.push(rest(&target, regime, extent.idle)?);
        targets.push(target);
    }
    check_shapes(&targets)?;
    for round in 0..extent.rounds {
        tell!("{regime} core(s): round {} of {}", round + 1, extent.rounds);
        let mut done = Vec::new();
        for &load in &extent.loads {
            for target in &targets {
                // Where the API has no tokens, the load with them is the one without.
                let load = Load { token: load.token && target.kind.takes_tokens(), ..load };
                if done.contains(&(target.kind, load)) {
                    continue;
                }
                done.push((target.kind, load));
                let found = sample(target, load, (regime, round), extent.keys, extent.value_bytes, extent.seconds);
                let found = found.map_err(|error| format!("{}: {load:?}: {error}", target.kind.name()))?;
                report.samples.extend(found);
            }
        }
    }
    Ok(())
}

/// One load on one target; nothing if its generator cannot produce that load.
pub(crate) fn sample(
    target: &Target<'_>,
    load: Load,
    (cores, round): (usize, usize),
    keys: usize,
    value_bytes: usize,
    seconds: u64,
) -> Outcome<Option<Sample>> {
    target.settle()?;
    let (cpu, links, generator) = (target.cpu()?, target.links()?, cpu_of_ended_children()?);
    let Some(seen) = target.drive(load, keys, value_bytes, seconds)? else { return Ok(None) };
    target.settle()?;
    let per_request = |time: Duration| time.as_secs_f64() * 1e6 / seen.answered;
    let generator_cpu = per_request(cpu_of_ended_children()?.saturating_sub(generator));
    let cpu = target.cpu()?.iter().zip(&cpu).map(|(now, then)| per_request(now.saturating_sub(*then))).collect();
    let wire_bytes = target.links()?.since(&links).map(|bytes| bytes as f64 / seen.answered);
    Ok(Some(Sample { cores, round, target: target.kind, load, seen, cpu, generator_cpu, wire_bytes }))
}

/// What a target does without requests.
pub(crate) fn rest(target: &Target<'_>, cores: usize, length: Duration) -> Outcome<Rest> {
    target.settle()?;
    let (start, cpu, links) = (Instant::now(), target.cpu()?, target.links()?);
    std::thread::sleep(length);
    let (cpu_now, links_now, seconds) = (target.cpu()?, target.links()?, start.elapsed().as_secs_f64());
    let used: Duration = cpu_now.iter().zip(cpu).map(|(now, then)| now.saturating_sub(then)).sum();
    let bytes_per_second = links_now.since(&links).map(|bytes| bytes as f64 / seconds);
    Ok(Rest { cores, target: target.kind, bytes_per_second, cpu_percent: used.as_secs_f64() / seconds * 100.0 })
}

/// Fills a fresh target, and has its last member come back empty.
fn fill(context: &Context, extent: &Extent, cores: usize, kind: Kind) -> Outcome<Filled> {
    // etcd takes some thousand keys a second, and a key costs it the same however many there are.
    let keys = if kind == Kind::Etcd { extent.keys } else { extent.fill_keys };
    let mut target = Target::start(kind, context, &cores_of(cores))?;
    fill_and_catch_up(&mut target, cores, keys, extent.value_bytes)
}

/// The same for a target that runs and is empty.
pub(crate) fn fill_and_catch_up(
    target: &mut Target<'_>,
    cores: usize,
    keys: usize,
    value_bytes: usize,
) -> Outcome<Filled> {
    let catches_up = matches!(target.kind, Kind::Hence | Kind::Redis);
    let empty_seconds = if catches_up { Some(target.catch_up()?.as_secs_f64()) } else { None };
    target.settle()?;
    let resident =
        |target: &Target<'_>| target.processes.iter().map(|process| process.resident()).sum::<Outcome<u64>>();
    let before = resident(target)?;
    target.fill(keys, value_bytes)?;
    let grown = resident(target)?.saturating_sub(before);
    let resident_per_key = grown as f64 / target.processes.len() as f64 / keys as f64;
    let catch_up_seconds = if catches_up { Some(target.catch_up()?.as_secs_f64()) } else { None };
    Ok(Filled { cores, target: target.kind, keys, resident_per_key, catch_up_seconds, empty_seconds })
}

/// The limit of the stack is one only if it does the same work. It must answer with the same headers, in order, and
/// bodies of the same length. Counters grow, so a few bytes may differ.
fn check_shapes(targets: &[Target<'_>]) -> Outcome<()> {
    let find = |kind| targets.iter().find(|target| target.kind == kind);
    let (Some(bare), Some(hence)) = (find(Kind::Bare), find(Kind::Hence)) else { return Ok(()) };
    for (bare, hence) in bare.samples()?.iter().zip(&hence.samples()?) {
        let names = |headers: &[(String, String)]| headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let alike = names(&bare.headers) == names(&hence.headers) && bare.body.len().abs_diff(hence.body.len()) < 16;
        if !alike {
            return Err(format!("bare hyper answers other bytes than a replica\n{bare:?}\n{hence:?}").into());
        }
    }
    Ok(())
}
