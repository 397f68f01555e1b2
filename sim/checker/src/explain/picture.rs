//! The picture of a counterexample: as text for a terminal, and as SVG.
//!
//! Lanes are sessions. The parts of a batch stand below each other, and only the first has a name. Lineage is grey, what was read is blue, forced order is dashed with its reason beside it, and
//! what makes the violation is red.

use crate::explain::prose::Arrow;
use crate::history::words::summary;
use crate::report::Counterexample;
use crate::report::counterexample::Place;
use crate::terms::{Edge, Node};
use std::fmt::Write as _;

const LANE_WIDTH: usize = 220;
const ROW_HEIGHT: usize = 64;
const BOX_WIDTH: usize = 180;
const BOX_HEIGHT: usize = 34;
const MARGIN: usize = 30;
const NOTE_HEIGHT: usize = 18;
/// Narrower, and the notes below would be columns of single words.
const WIDTH_MIN: usize = 560;
/// Of the notes, roughly.
const CHARACTER_WIDTH: usize = 6;
/// Characters that a box has room for.
const NAME_MAX: usize = 25;

impl Counterexample {
    /// The picture as text: a column for each session, a row for each operation, and beside it what it follows.
    #[must_use]
    pub fn diagram(&self) -> String {
        let places = self.places();
        let lanes = self.lanes();
        let texts: Vec<String> = (0..places.len()).map(|at| summary(&self.history, at)).collect();
        let width = texts.iter().map(|text| text.chars().count()).max().unwrap_or(0).min(36) + 7;
        let mut picture = String::new();
        for (at, place) in places.iter().enumerate() {
            for lane in 0..lanes {
                let is_open = places[..at].iter().any(|other| other.lane == lane)
                    && places[at..].iter().any(|other| other.lane == lane);
                let cell = match lane {
                    lane if lane == place.lane => format!("{:<4} {}", self.label(at as Node), texts[at]),
                    _ if is_open => "|".into(),
                    _ => String::new(),
                };
                _ = write!(picture, "{cell:<width$}");
            }
            picture.truncate(picture.trim_end_matches(' ').len());
            let notes = self.notes(at as Node, places);
            _ = writeln!(picture, "{}{notes}", if notes.is_empty() { "" } else { "   <- " });
        }
        for arrow in self.arrows() {
            let (from, to) = (places[arrow.edge.0 as usize].name(), places[arrow.edge.1 as usize].name());
            _ = writeln!(picture, "{from} - -> {to}: {}", arrow.reason);
        }
        picture
    }

    /// How many sessions there are.
    pub(crate) fn lanes(&self) -> usize {
        self.places().iter().map(|place| place.lane + 1).max().unwrap_or(0)
    }

    /// What an operation follows, other than the one above it.
    fn notes(&self, node: Node, places: &[Place]) -> String {
        let name = |other: &Node| places[*other as usize].name();
        let here = places[node as usize];
        let is_above = |other: &Node| {
            let place = places[*other as usize];
            place.lane == here.lane && place.step + 1 == here.step
        };
        let operations = |other: &&Node| (**other as usize) < places.len();
        let tokens = self.problem.lineage.before(node).iter().filter(operations).filter(|other| !is_above(other));
        let tokens = tokens.map(|other| format!("token of {}", name(other)));
        let reads = self.problem.shown(node).iter().map(|other| format!("shows {}", name(other)));
        tokens.chain(reads).collect::<Vec<_>>().join(", ")
    }

    /// The picture as an SVG file.
    #[must_use]
    pub fn svg(&self) -> String {
        let places = self.places();
        let lanes = self.lanes();
        let arrows = self.arrows();
        let (width, below) = ((MARGIN * 2 + lanes * LANE_WIDTH).max(WIDTH_MIN), MARGIN + places.len() * ROW_HEIGHT);
        let notes: Vec<String> =
            self.notes_below(places, &arrows).iter().flat_map(|note| wrapped(note, width)).collect();
        let height = below + (notes.len() + 1) * NOTE_HEIGHT;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n{HEAD}"
        );
        let blamed: std::collections::BTreeSet<Edge> = self.blamed().into_iter().collect();
        let lineage = (0..places.len() as Node).flat_map(|to| {
            self.problem
                .lineage
                .before(to)
                .iter()
                .filter(|&&from| (from as usize) < places.len())
                .map(move |&from| (from, to))
        });
        let lineage: Vec<Edge> = lineage.collect();
        let reads = (0..places.len() as Node).flat_map(|to| self.problem.shown(to).iter().map(move |&from| (from, to)));
        let reads: Vec<Edge> = reads.collect();
        let forced: Vec<Edge> = arrows.iter().map(|arrow| arrow.edge).collect();
        for (edges, class) in [(lineage, "lineage"), (reads, "read"), (forced, "forced")] {
            for edge in edges {
                let blame = if blamed.contains(&edge) { " blamed" } else { "" };
                svg.push_str(&line(places, edge, &format!("{class}{blame}")));
            }
        }
        for (at, place) in places.iter().enumerate() {
            svg.push_str(&boxed(place, at, &format!("{} {}", self.label(at as Node), summary(&self.history, at))));
        }
        for (at, note) in notes.iter().enumerate() {
            let (y, text) = (below + (at + 1) * NOTE_HEIGHT, escaped(note));
            _ = writeln!(svg, "<text x=\"{MARGIN}\" y=\"{y}\" font-size=\"11\">{text}</text>");
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// What the colours mean, and why each forced arrow is there.
    fn notes_below(&self, places: &[Place], arrows: &[Arrow]) -> Vec<String> {
        let legend = "Grey: the token went on. Blue: what was shown. Dashed: the only order left. Red: the violation.";
        let name = |node: Node| places[node as usize].name();
        let forced = arrows
            .iter()
            .map(|arrow| format!("{} before {}: {}.", name(arrow.edge.0), name(arrow.edge.1), arrow.reason));
        std::iter::once(legend.to_owned()).chain(forced).collect()
    }
}

const HEAD: &str = "<style>\
svg{--b:#fff;--t:#000;--s:#333;--l:#999;--r:#2266cc;--f:#444;--e:#cc2222}\
@media (prefers-color-scheme:dark){svg{--b:#14171c;--t:#e6e9ef;--s:#9aa4b4;--l:#8b95a5;--r:#72b7f2;--f:#c9d1dc;--e:#ff7b72}}\
text{fill:var(--t)}.lineage{stroke:var(--l)}.read{stroke:var(--r)}.forced{stroke:var(--f);stroke-dasharray:6 4}\
.blamed{stroke:var(--e);stroke-width:2.5}path.edge{fill:none;stroke-width:1.4;marker-end:url(#tip)}\
path.blamed{stroke-width:2.5}rect{fill:var(--b);stroke:var(--s)}</style>\n\
<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerUnits=\"userSpaceOnUse\" markerWidth=\"10\" \
markerHeight=\"10\" orient=\"auto\">\
<path d=\"M0 0 L8 4 L0 8 z\" fill=\"context-stroke\"/></marker></defs>\n\
<rect width=\"100%\" height=\"100%\" style=\"fill:var(--b);stroke:none\"/>\n";

/// The middle of an operation's box; rows follow the order of the operations.
fn middle(places: &[Place], node: Node) -> (usize, usize) {
    let lane = places[node as usize].lane;
    (MARGIN + lane * LANE_WIDTH + LANE_WIDTH / 2, MARGIN + node as usize * ROW_HEIGHT + BOX_HEIGHT / 2)
}

fn line(places: &[Place], (from, to): Edge, class: &str) -> String {
    let ((x1, y1), (x2, y2)) = (middle(places, from), middle(places, to));
    // Edges of different kinds, or of opposite directions, lie beside each other.
    let shift = match class.split(' ').next() {
        Some("lineage") => 0,
        Some("read") => 10,
        _ if from < to => 20,
        _ => 30,
    };
    let path = if x1 == x2 && from.abs_diff(to) > 1 {
        // Around the boxes between.
        let (side, bend) = (x1 + BOX_WIDTH / 2, x1 + BOX_WIDTH / 2 + 16 + shift);
        format!("M{side} {y1} C{bend} {y1} {bend} {y2} {side} {y2}")
    } else {
        // Arrows leave a box at one edge and reach the other at the facing edge.
        let half = BOX_HEIGHT / 2;
        let (y1, y2) = if y1 < y2 { (y1 + half, y2 - half) } else { (y1 - half, y2 + half) };
        // An arrow back bends away from the one that it answers.
        let bend = if class.starts_with("forced") && from > to { ROW_HEIGHT / 2 } else { 0 };
        let (x1, x2) = (x1 + shift, x2 + shift);
        format!("M{x1} {y1} Q{} {} {x2} {y2}", usize::midpoint(x1, x2), usize::midpoint(y1, y2) + bend)
    };
    format!("<path class=\"edge {class}\" d=\"{path}\"/>\n")
}

/// A note in lines that the picture has room for.
fn wrapped(note: &str, width: usize) -> Vec<String> {
    let room = (width - 2 * MARGIN) / CHARACTER_WIDTH;
    let mut lines: Vec<String> = Vec::new();
    for word in note.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

fn boxed(place: &Place, row: usize, text: &str) -> String {
    let x = MARGIN + place.lane * LANE_WIDTH + (LANE_WIDTH - BOX_WIDTH) / 2;
    let y = MARGIN + row * ROW_HEIGHT;
    let mut shown: String = text.chars().take(NAME_MAX).collect();
    if text.chars().count() > NAME_MAX {
        shown.push('…');
    }
    format!(
        "<g><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"5\"/>\
         <text x=\"{}\" y=\"{}\" font-size=\"11\">{}</text></g>\n",
        escaped(text),
        x + 8,
        y + BOX_HEIGHT / 2 + 4,
        escaped(&shown)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
