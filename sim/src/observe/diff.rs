//! Two runs side by side, aligned at their first difference.

use super::page::escaped;
use super::story::{Moment, Story, Tone};
use super::words::{count, seconds};
use serde_json::{Value, json};
use std::fmt::Write as _;

const CSS: &str = include_str!("diff.css");

/// So many events before the difference are shown.
const BEFORE: usize = 8;

/// So many rows are shown behind it.
const ROWS_MAX: usize = 5_000;

/// So far it is looked ahead for what happens in both.
const AHEAD: usize = 64;

/// A row: a place in each story where it has one there.
type Row = (Option<usize>, Option<usize>);

/// Two runs and where they part.
#[derive(Debug)]
pub struct Diff<'a> {
    one: &'a Story,
    other: &'a Story,
    /// The first event that is not the same in both: a place in either story, or its end.
    pub first: usize,
}

/// Does the same happen at the same place?
fn is_same(one: &Moment, other: &Moment) -> bool {
    (one.lane, one.kind, &one.text) == (other.lane, other.kind, &other.text)
}

impl<'a> Diff<'a> {
    /// Compares two runs, event by event.
    #[must_use]
    pub fn of(one: &'a Story, other: &'a Story) -> Self {
        let pairs = one.moments.iter().zip(&other.moments);
        let first = pairs.take_while(|(one, other)| one.at == other.at && is_same(one, other)).count();
        Self { one, other, first }
    }

    /// Both go on alike to their ends.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.first == self.one.moments.len() && self.first == self.other.moments.len()
    }

    /// What follows the difference. What happens in both, at whatever time, is one row; between such rows it goes by time.
    fn rows(&self) -> Vec<Row> {
        let (mut one, mut other, mut rows) = (self.first, self.first, Vec::new());
        loop {
            let (left, right) = (self.one.moments.get(one), self.other.moments.get(other));
            let (takes_left, takes_right) = match (left, right) {
                (None, None) => return rows,
                (Some(_), None) => (true, false),
                (None, Some(_)) => (false, true),
                (Some(left), Some(right)) if is_same(left, right) => (true, true),
                (Some(left), Some(right)) => {
                    let takes_left = self.is_near(one, other).unwrap_or(left.at <= right.at);
                    (takes_left, !takes_left)
                }
            };
            rows.push((takes_left.then_some(one), takes_right.then_some(other)));
            one += usize::from(takes_left);
            other += usize::from(takes_right);
        }
    }

    /// Whether what the other does next comes sooner in the one than the other way round; none where neither comes soon.
    fn is_near(&self, one: usize, other: usize) -> Option<bool> {
        let (left, right) = (&self.one.moments, &self.other.moments);
        let comes = |moments: &[Moment], place: usize, next: &Moment| {
            moments.get(place).is_some_and(|moment| is_same(moment, next))
        };
        (1..=AHEAD).find_map(|steps| match () {
            () if comes(left, one + steps, &right[other]) => Some(true),
            () if comes(right, other + steps, &left[one]) => Some(false),
            () => None,
        })
    }

    /// In one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let what = |story: &Story| match story.moments.get(self.first) {
            None => "ends".to_owned(),
            Some(moment) => format!("{} {} {}", seconds(moment.at), moment.lane, moment.text),
        };
        if self.is_none() {
            return format!("Both runs are the same, {}.", count(self.first as u64, "event"));
        }
        let same = count(self.first as u64, "event");
        format!("After {same} that are the same, the one run: {}; the other: {}.", what(self.one), what(self.other))
    }

    /// All of it for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let event = |story: &Story, place: usize| {
            let moment = &story.moments[place];
            json!({ "event": place, "at": moment.at, "lane": moment.lane.to_string(), "kind": moment.kind,
                "text": moment.text })
        };
        let rows: Vec<Value> = self
            .rows()
            .into_iter()
            .take(ROWS_MAX)
            .map(|(one, other)| json!([one.map(|it| event(self.one, it)), other.map(|it| event(self.other, it))]))
            .collect();
        json!({ "kind": "diff", "same": self.first, "sentence": self.sentence(), "rows": rows,
            "events": [self.one.moments.len(), self.other.moments.len()],
            "violations": [&self.one.violation, &self.other.violation] })
    }

    /// A page with both.
    #[must_use]
    pub fn page(&self, names: [&str; 2], program: &str) -> String {
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <title>Two runs</title>\n<style>\n{CSS}</style>\n</head>\n<body>\n<h1>Two runs, side by side</h1>\n<p>{}</p>\n\
             <div class=\"both\"><table>\n<tr>",
            escaped(&self.sentence())
        );
        for (name, story) in names.iter().zip([self.one, self.other]) {
            let end = story.violation.as_ref().map_or("passes".to_owned(), |it| it.fingerprint());
            let class = if story.violation.is_some() { "bad" } else { "fine" };
            _ = writeln!(page, "<th>{} <span class=\"{class}\">{}</span></th>", escaped(name), escaped(&end));
        }
        page.push_str("</tr>\n");
        let before = self.first.saturating_sub(BEFORE);
        if before > 0 {
            let left = count(before as u64, "event");
            _ = writeln!(page, "<tr><td colspan=\"2\" class=\"left\">{left} before are the same</td></tr>");
        }
        let same = (before..self.first).map(|place| (Some(place), Some(place)));
        same.for_each(|row| self.row(&mut page, row));
        if !self.is_none() {
            page.push_str("<tr><td colspan=\"2\" class=\"differs\">here they part</td></tr>\n");
        }
        let rows = self.rows();
        rows.iter().take(ROWS_MAX).for_each(|row| self.row(&mut page, *row));
        if rows.len() > ROWS_MAX {
            let left = count((rows.len() - ROWS_MAX) as u64, "row");
            _ = writeln!(page, "<tr><td colspan=\"2\" class=\"left\">{left} more</td></tr>");
        }
        _ = writeln!(page, "</table></div>\n<footer>{}</footer>\n</body>\n</html>", escaped(program));
        page
    }

    fn row(&self, page: &mut String, (one, other): Row) {
        let is_shared = one.is_some() && other.is_some();
        _ = write!(page, "<tr class=\"{}\">", if is_shared { "same" } else { "alone" });
        for (place, story) in [(one, self.one), (other, self.other)] {
            let Some(moment) = place.map(|place| &story.moments[place]) else {
                page.push_str("<td></td>");
                continue;
            };
            let class = match moment.tone {
                Tone::Plain => "",
                Tone::Fault => "fault",
                Tone::Lost => "fault lost",
                Tone::Refused => "refused",
                Tone::Violation => "bad",
            };
            let (at, lane, text) = (seconds(moment.at), moment.lane.to_string(), escaped(&moment.text));
            _ = write!(page, "<td class=\"{class}\"><span class=\"at\">{at}</span> <b>{lane}</b> {text}</td>");
        }
        page.push_str("</tr>\n");
    }
}
