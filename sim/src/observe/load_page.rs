//! The page of a recorded history over time: throughput and latency above each other, with a band for each fault.

use super::load::{Load, Step};
use super::page::escaped;
use std::collections::BTreeSet;
use std::fmt::Write as _;

const CSS: &str = include_str!("load.css");

const WIDTH: f64 = 1_000.0;
/// Numbers stand before the charts.
const LEFT: f64 = 70.0;
const HEIGHT: f64 = 180.0;
/// Between two charts.
const GAP: f64 = 46.0;
const LANE: f64 = 22.0;

/// What a line of the first chart counts of a step.
type Count = fn(&Step) -> u64;

/// What stands above the charts.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// What the page is called.
    pub title: String,
    /// Nothing is wrong.
    pub is_fine: bool,
    /// The verdict, a sentence each.
    pub verdict: Vec<String>,
    /// A page that shows what is broken.
    pub more: Option<String>,
    /// The version of the program.
    pub program: String,
}

/// The page. It needs no network and has no script.
#[must_use]
pub fn load_page(load: &Load, head: &Head) -> String {
    let (title, state) = (escaped(&head.title), if head.is_fine { "green" } else { "red" });
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{CSS}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<div class=\"state {state}\">\n"
    );
    head.verdict.iter().for_each(|sentence| _ = writeln!(page, "<p>{}</p>", escaped(sentence)));
    if let Some(more) = &head.more {
        _ = writeln!(page, "<p><a href=\"{}\">what clients saw, event by event</a></p>", escaped(more));
    }
    page.push_str("</div>\n");
    charts(&mut page, load);
    faults(&mut page, load);
    _ = writeln!(page, "<footer>{}</footer>\n</body>\n</html>", escaped(&head.program));
    page
}

/// A line through values, with a gap where there is none.
fn line(page: &mut String, class: &str, points: impl Iterator<Item = Option<(f64, f64)>>) {
    let mut path = String::new();
    let mut is_down = false;
    for point in points {
        if let Some((x, y)) = point {
            _ = write!(path, "{}{x:.1} {y:.1}", if is_down { "L" } else { "M" });
        }
        is_down = point.is_some();
    }
    _ = writeln!(page, "<path class=\"{class}\" d=\"{path}\"/>");
}

fn text(page: &mut String, (x, y): (f64, f64), anchor: &str, what: &str) {
    _ = writeln!(page, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escaped(what));
}

fn charts(page: &mut String, load: &Load) {
    let targets: Vec<&str> =
        load.faults.values().map(|fault| fault.target.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
    let end = load.end_ns.max(1) as f64;
    let x = |ns: u64| LEFT + ns as f64 / end * (WIDTH - LEFT - 10.0);
    let middle = |at: usize| x((at as u64 * load.step_ns + load.step_ns / 2).min(load.end_ns));
    let (first, second) = (30.0, 30.0 + HEIGHT + GAP);
    let lanes = second + HEIGHT + GAP;
    let height = lanes + targets.len() as f64 * LANE + 24.0;
    _ = writeln!(
        page,
        "<div class=\"chart\"><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"throughput and latency over time\">"
    );
    for fault in load.faults.values() {
        let (from, to) = (x(fault.from_ns), x(fault.to_ns.unwrap_or(load.end_ns).min(load.end_ns)));
        let lane = lanes + targets.iter().position(|it| *it == fault.target).unwrap_or_default() as f64 * LANE;
        let wide = (to - from).max(1.5);
        let name = escaped(&format!("{} {}", fault.kind, fault.target));
        _ = writeln!(
            page,
            "<rect class=\"band\" x=\"{from:.1}\" y=\"{first}\" width=\"{wide:.1}\" height=\"{:.1}\"><title>{name}</title></rect>",
            lanes - first - 10.0
        );
        _ = writeln!(
            page,
            "<rect class=\"fault\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{wide:.1}\" height=\"14\"><title>{name}</title></rect>",
            lane - 4.0
        );
        if wide > 40.0 {
            text(page, (from + 3.0, lane + 7.0), "start", &fault.kind);
        }
    }
    for (at, target) in targets.iter().enumerate() {
        text(page, (LEFT - 6.0, lanes + at as f64 * LANE + 7.0), "end", target.rsplit(':').next().unwrap_or(target));
    }
    let rate = |count: u64| count as f64 * 1e9 / load.step_ns as f64;
    let top = load.steps.iter().map(|step| rate(step.answered + step.refused + step.unknown)).fold(1.0, f64::max);
    frame(page, first, "requests per second", &[(0.0, "0".into()), (1.0, format!("{top:.0}"))]);
    let kinds: [(&str, Count); 3] =
        [("answered", |step| step.answered), ("refused", |step| step.refused), ("unknown", |step| step.unknown)];
    for (class, count) in kinds {
        let points = load.steps.iter().enumerate();
        line(
            page,
            class,
            points.map(|(at, step)| Some((middle(at), first + HEIGHT * (1.0 - rate(count(step)) / top)))),
        );
    }
    latency(page, load, second, &middle);
    let seconds = load.end_ns as f64 / 1e9;
    for (part, anchor) in [(0.0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"), (1.0, "end")] {
        let place = (LEFT + part * (WIDTH - LEFT - 10.0), second + HEIGHT + 16.0);
        text(page, place, anchor, &format!("{:.1} s", seconds * part));
    }
    page.push_str("</svg></div>\n<p class=\"key\"><b class=\"answered\">answered</b> <b class=\"refused\">refused</b> <b class=\"unknown\">no answer</b> · <b class=\"half\">median</b> <b class=\"most\">99 %</b> · <b class=\"fault\">fault</b></p>\n");
}

/// The length of answered requests, each line ten times the one below.
fn latency(page: &mut String, load: &Load, top: f64, middle: &dyn Fn(usize) -> f64) {
    let lengths = |percent: u64| load.steps.iter().map(move |step| step.percentile(percent));
    let most = lengths(99).flatten().max().unwrap_or(1_000).max(1_000) as f64;
    let decades = (most / 10.0).log10().ceil().max(1.0);
    let y = |micros: u64| top + HEIGHT * (1.0 - ((micros.max(10) as f64 / 10.0).log10() / decades));
    let name = |decade: u32| match decade {
        0..2 => format!("{} us", 10_u64.pow(decade + 1)),
        2..5 => format!("{} ms", 10_u64.pow(decade - 2)),
        _ => format!("{} s", 10_u64.pow(decade - 5)),
    };
    let marks: Vec<(f64, String)> =
        (0..=decades as u32).map(|decade| (f64::from(decade) / decades, name(decade))).collect();
    frame(page, top, "time until the answer", &marks);
    for (class, percent) in [("half", 50), ("most", 99)] {
        line(
            page,
            class,
            lengths(percent).enumerate().map(|(at, micros)| micros.map(|micros| (middle(at), y(micros)))),
        );
    }
}

/// A chart without its lines: a title, and a grey line with a number at each of these parts of its height.
fn frame(page: &mut String, top: f64, title: &str, marks: &[(f64, String)]) {
    text(page, (LEFT, top - 10.0), "start", title);
    for (part, name) in marks {
        let y = top + HEIGHT * (1.0 - part);
        _ = writeln!(page, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{}\"/>", WIDTH - 10.0);
        text(page, (LEFT - 6.0, y + 4.0), "end", name);
    }
}

fn faults(page: &mut String, load: &Load) {
    if load.faults.is_empty() {
        return;
    }
    page.push_str("<h2>Faults</h2>\n<div class=\"chart\"><table><tr><th>begins</th><th>lasts</th><th>kind</th><th>target</th><th>seen of it</th></tr>\n");
    let seconds = |ns: u64| format!("{:.1} s", ns as f64 / 1e9);
    for fault in load.faults.values() {
        let lasts = fault.to_ns.map_or("to the end".into(), |to| seconds(to.saturating_sub(fault.from_ns)));
        let effect = fault.effect.as_deref().unwrap_or("nothing");
        _ = writeln!(
            page,
            "<tr><td>{}</td><td>{lasts}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            seconds(fault.from_ns),
            escaped(&fault.kind),
            escaped(&fault.target),
            escaped(effect)
        );
    }
    page.push_str("</table></div>\n");
}
