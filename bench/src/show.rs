//! The tables of a comparison.

use crate::compare::Extent;
use crate::gates::goals;
use crate::load::{Load, Operation};
use crate::machine::Machine;
use crate::report::{Report, Sample, goal_load};
use crate::table::{Table, number};
use crate::target::Kind;
use hence_bench::say;

/// Where and with what.
pub(crate) fn machine(machine: &Machine) {
    say!("{}, {} cores, Linux {}", machine.processor, machine.cores, machine.kernel);
    for (name, version) in &machine.versions {
        say!("- {name}: {version}");
    }
    if machine.load_average > 0.5 {
        say!("- NOT QUIET: the load average was {} when the run began", machine.load_average);
    }
}

/// Everything, goals first.
pub(crate) fn report(report: &Report, extent: &Extent) {
    show_goals(report);
    for &cores in &extent.regimes {
        let mut shapes: Vec<(usize, bool)> = extent.loads.iter().map(|load| (load.connections, load.token)).collect();
        shapes.sort_by_key(|&(connections, token)| (connections, !token));
        shapes.dedup();
        for shape in shapes {
            show_load(report, extent, cores, shape);
        }
        show_rest(report, extent, cores);
    }
}

fn show_goals(report: &Report) {
    let mut table = Table::new(&["figure", "gate", "stretch", "found", ""]);
    for goal in goals(report) {
        let marks = [number(Some(goal.gate)), number(goal.stretch), number(goal.found)];
        table.row([vec![goal.figure.to_owned()], marks.to_vec(), vec![goal.verdict().to_owned()]].concat());
    }
    table.print("What must be reached (one core, 32 connections)");
}

fn show_load(report: &Report, extent: &Extent, cores: usize, (connections, token): (usize, bool)) {
    let head = [
        "",
        "requests/s",
        "spread",
        "of bare",
        "by CPU time",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "CPU us, driven",
        "CPU us, all",
        "CPU us, generator",
    ];
    let mut table = Table::new(&head);
    for operation in [Operation::Get, Operation::Put, Operation::Mix] {
        let load = Load { operation, connections, token };
        for &kind in &extent.targets {
            let median = |value: fn(&Sample) -> f64| number(report.median(cores, kind, load, |s| Some(value(s))));
            let rates: Vec<f64> = report.rounds(cores, kind, load).map(Sample::rate).collect();
            if rates.is_empty() {
                continue;
            }
            let (least, most) = rates.iter().fold((f64::MAX, 0.0_f64), |(a, b), &rate| (a.min(rate), b.max(rate)));
            let of_bare = |value: fn(&Sample) -> f64| number(report.ratio(cores, load, (kind, Kind::Bare), value));
            table.row([
                format!("{} {}", operation.name(), kind.name()),
                median(Sample::rate),
                format!("{:.0} %", (most / least - 1.0) * 100.0),
                of_bare(Sample::rate),
                of_bare(|s| 1.0 / (s.cpu_all() + s.generator_cpu)),
                median(|s| s.seen.p50),
                median(|s| s.seen.p99),
                median(|s| s.seen.p999),
                median(|s| s.cpu[0]),
                median(Sample::cpu_all),
                median(|s| s.generator_cpu),
            ]);
        }
    }
    let tokens = if token { "with tokens" } else { "without tokens" };
    table.print(&format!("{cores} core(s), {connections} connections, {tokens}"));
}

fn show_rest(report: &Report, extent: &Extent, cores: usize) {
    let head = [
        "target",
        "wire bytes per PUT",
        "CPU us of a follower per PUT",
        "resident bytes per key",
        "catch-up keys/s",
        "joining, nothing to fetch, s",
        "idle bytes/s",
        "idle CPU, % of a core",
    ];
    let mut table = Table::new(&head);
    for &kind in &extent.targets {
        let put = goal_load(Operation::Put);
        let several = kind.size() > 1;
        let fill = report.fills.iter().find(|fill| (fill.cores, fill.target) == (cores, kind));
        let rest = report.rests.iter().find(|rest| (rest.cores, rest.target) == (cores, kind));
        let follower = report.median(cores, kind, put, |sample| several.then(|| sample.cpu_follower()));
        table.row([
            kind.name().to_owned(),
            number(report.median(cores, kind, put, |sample| sample.wire_bytes.filter(|_| several))),
            number(follower),
            number(fill.map(|fill| fill.resident_per_key)),
            number(fill.and_then(crate::report::Filled::catch_up_rate)),
            number(fill.and_then(|fill| fill.empty_seconds)),
            number(rest.and_then(|rest| rest.bytes_per_second.filter(|_| several))),
            number(rest.map(|rest| rest.cpu_percent)),
        ]);
    }
    table.print(&format!("{cores} core(s), beside the load"));
}
