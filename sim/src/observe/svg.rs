//! A picture of a story: lanes as columns, a row for each event, as the page draws it.

use super::mermaid::rows;
use super::page::escaped;
use super::story::{Lane, Moment, Story, Tone};
use super::words;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// More rows than this are cut to what the violation rests on.
const ROWS_MAX: usize = 40;
const ROW: usize = 24;
const LANE: usize = 70;
/// Where the first lane is; times and faults stand before it.
const LEFT: usize = 150;
const HEAD: usize = 40;
/// Roughly, of the words beside the lanes.
const CHARACTER: usize = 7;

/// The same of bold text.
const BOLD_CHARACTER: usize = 8;

const STYLE: &str = "<style>\
svg{--b:#fff;--t:#1b1f27;--f:#5d6675;--r:#0072b2;--w:#00795a;--o:#7b8494;--l:#b3400a;--k:#8f5b00}\
@media (prefers-color-scheme:dark){svg{--b:#14171c;--t:#e6e9ef;--f:#9aa4b4;--r:#72b7f2;--w:#4fd0a5;--o:#8b95a5;--l:#ff9a5c;--k:#d9b04a}}\
text{fill:var(--t);font:13px system-ui,'DejaVu Sans',sans-serif}.at{fill:var(--f);font-size:12px}.h{font-weight:600}\
.lane{stroke:var(--f);stroke-width:2}.client{stroke:var(--r);stroke-dasharray:2 3;stroke-width:1.5}\
.a{fill:none;stroke-width:1.6}.request,.answer{stroke:var(--r)}.write{stroke:var(--w)}.other{stroke:var(--o)}\
.lost{stroke:var(--k);stroke-dasharray:4 3}.lit{stroke-width:2.8}.dim{opacity:.4}.bad{fill:var(--l)}.key{fill:var(--k)}.pale{opacity:.4}.no{fill:var(--f)}\
.gone{fill:var(--b);stroke:var(--k);stroke-width:2;stroke-dasharray:2 2}\
.m{fill:var(--t)}.mr{fill:var(--r)}.mw{fill:var(--w)}.ring{fill:none;stroke:var(--r);stroke-width:2}</style>";

struct Picture<'a> {
    story: &'a Story,
    /// For each moment in the picture its row.
    places: BTreeMap<usize, usize>,
    lanes: Vec<Lane>,
}

/// The picture as an SVG file. Of a long run it has what the violation rests on.
#[must_use]
pub fn svg(story: &Story) -> String {
    let rows = rows(story, ROWS_MAX);
    let places = rows.iter().enumerate().map(|(row, &place)| (place, row)).collect();
    let used = |lane: &Lane| rows.iter().any(|&place| story.moments[place].lane == *lane);
    let picture = Picture { story, places, lanes: story.lanes().filter(used).collect() };
    let verdict: Vec<&str> =
        story.blame.as_ref().map(|blame| blame.sentences.iter().map(String::as_str).collect()).unwrap_or_default();
    let longest = rows.iter().map(|&place| story.moments[place].text.chars().count()).max().unwrap_or(0);
    let width = picture.words_at() + (longest + 6) * CHARACTER;
    let verdict: Vec<String> = verdict.iter().flat_map(|text| wrapped(text, (width - 20) / BOLD_CHARACTER)).collect();
    let top = HEAD + verdict.len() * 18;
    let height = top + (rows.len() + 1) * ROW;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
         {STYLE}\n<rect width=\"100%\" height=\"100%\" fill=\"var(--b)\"/>\n"
    );
    for (at, line) in verdict.iter().enumerate() {
        let y = 20 + at * 18;
        _ = writeln!(text, "<text x=\"10\" y=\"{y}\" class=\"h\">{}</text>", escaped(line));
    }
    _ = writeln!(text, "<g transform=\"translate(0 {})\">", top - HEAD);
    picture.lanes(&mut text, rows.len());
    picture.bands(&mut text);
    picture.arrows(&mut text);
    for (&place, &row) in &picture.places {
        picture.row(&mut text, place, row);
    }
    text.push_str("</g>\n</svg>\n");
    text
}

impl Picture<'_> {
    fn words_at(&self) -> usize {
        LEFT + self.lanes.len() * LANE
    }

    fn x(&self, lane: Lane) -> Option<usize> {
        self.lanes.iter().position(|&other| other == lane).map(|at| LEFT + at * LANE + LANE / 2)
    }

    fn y(row: usize) -> usize {
        HEAD + row * ROW + ROW / 2
    }

    /// The row of a moment, or of the next that is in the picture.
    fn row_from(&self, place: usize) -> usize {
        self.places.range(place..).next().map_or(self.places.len(), |(_, &row)| row)
    }

    fn is_lit(&self, place: usize) -> bool {
        self.story.blame.as_ref().is_none_or(|blame| blame.lit.contains(&place) || blame.broken.contains(&place))
    }

    fn lanes(&self, text: &mut String, rows: usize) {
        for &lane in &self.lanes {
            let Some(x) = self.x(lane) else { continue };
            let class = if matches!(lane, Lane::Replica(_)) { "lane" } else { "client" };
            _ = writeln!(text, "<text x=\"{x}\" y=\"28\" class=\"h\" text-anchor=\"middle\">{lane}</text>");
            for (from, to) in self.runs(lane, rows) {
                let (from, to) = (Self::y(from), Self::y(to));
                _ = writeln!(text, "<line class=\"{class}\" x1=\"{x}\" y1=\"{from}\" x2=\"{x}\" y2=\"{to}\"/>");
            }
        }
    }

    /// From which row to which something lives in a lane.
    fn runs(&self, lane: Lane, rows: usize) -> Vec<(usize, usize)> {
        let last = rows.saturating_sub(1);
        let (mut runs, mut start) = (Vec::new(), Some(0));
        for (place, moment) in self.story.moments.iter().enumerate().filter(|(_, moment)| moment.lane == lane) {
            match moment.kind {
                "started" => start = start.filter(|&row| row > 0).or(Some(self.row_from(place))),
                "died" => runs.extend(start.take().map(|row| (row, self.row_from(place)))),
                _ => {}
            }
        }
        runs.extend(start.map(|row| (row.min(last), last)));
        runs
    }

    fn bands(&self, text: &mut String) {
        let blamed = |at: usize| self.story.blame.as_ref().is_some_and(|blame| blame.bands.contains(&at));
        for (at, band) in self.story.bands.iter().enumerate() {
            let from = Self::y(self.row_from(band.from));
            let to = Self::y(band.to.map_or(self.places.len(), |to| self.row_from(to)));
            let (x, class) = (86 + at % 6 * 9, if blamed(at) { "key" } else { "key pale" });
            let height = to.saturating_sub(from).max(6);
            _ = writeln!(
                text,
                "<rect class=\"{class}\" x=\"{x}\" y=\"{from}\" width=\"6\" height=\"{height}\"><title>{}</title></rect>",
                escaped(&band.text)
            );
        }
    }

    fn arrows(&self, text: &mut String) {
        for carriage in &self.story.carriages {
            // A part leaves in the instant in which it comes in.
            let Some(sent) = carriage.sent.or_else(|| carriage.arrived.first().copied()) else { continue };
            let (Some(&row), Some(x), Some(end)) = (self.places.get(&sent), self.x(carriage.from), self.x(carriage.to))
            else {
                continue;
            };
            let y = Self::y(row);
            let class = match carriage.name {
                name @ ("request" | "answer") => name,
                "part" => "answer",
                "push" | "announce" | "supply" | "piece" | "write" => "write",
                _ => "other",
            };
            for (arrived, &below) in carriage.arrived.iter().filter_map(|to| Some((to, self.places.get(to)?))) {
                let lit = if self.is_lit(sent) && self.is_lit(*arrived) { "lit" } else { "dim" };
                let (down, tip) = (Self::y(below), if end > x { end - 7 } else { end + 7 });
                let back = if end > x { tip - 7 } else { tip + 7 };
                _ = writeln!(
                    text,
                    "<path class=\"a {class} {lit}\" d=\"M{x} {y}L{tip} {down}M{back} {}L{tip} {down}L{back} {}\"/>",
                    down.saturating_sub(4),
                    down + 4
                );
            }
            if carriage.arrived.is_empty() && carriage.lost.is_some() {
                let (cross, down) = (usize::midpoint(x, end), y + 6);
                let (l, r, u, d) = (cross - 4, cross + 4, down - 4, down + 4);
                _ = writeln!(text, "<path class=\"a lost\" d=\"M{x} {y}L{cross} {down}\"/>");
                _ = writeln!(
                    text,
                    "<path class=\"a lost\" stroke-dasharray=\"none\" d=\"M{l} {u}L{r} {d}M{l} {d}L{r} {u}\"/>"
                );
            }
        }
    }

    fn row(&self, text: &mut String, place: usize, row: usize) {
        let moment = &self.story.moments[place];
        let y = Self::y(row);
        let dim = if self.is_lit(place) || moment.tone == Tone::Fault { "" } else { " class=\"dim\"" };
        _ = write!(text, "<g{dim}><text x=\"10\" y=\"{}\" class=\"at\">{}</text>", y + 4, words::seconds(moment.at));
        if let Some(x) = self.x(moment.lane) {
            text.push_str(&self.mark(moment, place, x, y));
        }
        let blame = self.story.blame.as_ref();
        let sign = match blame {
            Some(blame) if blame.missing.contains(&place) => "★ ",
            Some(blame) if blame.broken.contains(&place) => "⚡ ",
            Some(_) | None => "",
        };
        let class = match moment.tone {
            Tone::Plain => "",
            Tone::Fault | Tone::Lost => "key",
            Tone::Refused => "no",
            Tone::Violation => "bad",
        };
        let who = if moment.lane == Lane::Outside { String::new() } else { format!("{} ", moment.lane) };
        _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{}\" class=\"{class}\">{sign}{}</text></g>",
            self.words_at() + 12,
            y + 4,
            escaped(&format!("{who}{}", moment.text))
        );
    }

    fn mark(&self, moment: &Moment, place: usize, x: usize, y: usize) -> String {
        let class = match (moment.tone, moment.kind) {
            (Tone::Plain, "asked" | "answered" | "takes" | "replies" | "told") => "mr",
            (Tone::Plain, "applied") => "mw",
            (Tone::Plain, _) => "m",
            (Tone::Fault, _) => "key",
            (Tone::Lost, _) => "gone",
            (Tone::Refused, _) => "no",
            (Tone::Violation, _) => "bad",
        };
        let ring = self.story.blame.as_ref().is_some_and(|blame| blame.missing.contains(&place));
        let ring =
            if ring { format!("<circle class=\"ring\" cx=\"{x}\" cy=\"{y}\" r=\"10\"/>") } else { String::new() };
        let mark = match moment.kind {
            "violation" => format!("<circle class=\"bad\" cx=\"{x}\" cy=\"{y}\" r=\"9\"/>"),
            "applied" => {
                let (l, r, u, d) = (x - 6, x + 6, y - 6, y + 6);
                format!("<path class=\"{class}\" d=\"M{x} {u}L{r} {y}L{x} {d}L{l} {y}z\"/>")
            }
            "asked" | "answered" => {
                format!("<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"9\" height=\"9\"/>", x - 4, y - 4)
            }
            _ => format!("<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"4\"/>"),
        };
        mark + &ring
    }
}

/// A sentence in lines of so many characters.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= most => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}
