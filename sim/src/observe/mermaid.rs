//! A sequence diagram for Mermaid, for small runs: what clients asked, what replicas said, and the faults.

use super::story::{Lane, Moment, Story, Tone};
use std::fmt::Write as _;

/// More rows than this no reader follows, and no renderer draws.
const ROWS_MAX: usize = 300;

/// The diagram. Of a long run it has what the violation rests on, and says how many moments it leaves out.
#[must_use]
pub fn mermaid(story: &Story) -> String {
    let mut text = "sequenceDiagram\n".to_owned();
    for lane in story.lanes() {
        let kind = if matches!(lane, Lane::Replica(_)) { "participant" } else { "actor" };
        _ = writeln!(text, "    {kind} {lane}");
    }
    let rows = rows(story, ROWS_MAX);
    let everyone = format!("{},{}", Lane::Replica(0), Lane::Replica(story.replicas.saturating_sub(1)));
    for &place in &rows {
        let moment = &story.moments[place];
        let line = match moment.lane {
            Lane::Outside => Some(format!("Note over {everyone}: {}", plain(&moment.text))),
            lane @ (Lane::Replica(_) | Lane::Client(_)) => arrow(story, place).or_else(|| note(moment, lane)),
        };
        if let Some(line) = line {
            _ = writeln!(text, "    {line}");
        }
    }
    let left = story.moments.len() - rows.len();
    if left > 0 {
        _ = writeln!(text, "    %% {left} moments of {} are left out", story.moments.len());
    }
    text
}

/// The moments that a picture of at most so many rows has: all, or what the violation rests on beside requests and faults.
pub(super) fn rows(story: &Story, most: usize) -> Vec<usize> {
    let all: Vec<usize> = (0..story.moments.len()).filter(|&place| !story.moments[place].idle).collect();
    if all.len() <= most {
        return all;
    }
    let matters = |place: &usize| {
        let blame = story.blame.as_ref();
        let named = blame.is_some_and(|blame| blame.lit.contains(place) || blame.broken.contains(place));
        named || matches!(story.moments[*place].kind, "strikes" | "ends" | "died" | "violation")
    };
    let some: Vec<usize> = all.into_iter().filter(matters).collect();
    let from = some.len().saturating_sub(most);
    some[from..].to_vec()
}

/// What leaves in a moment, drawn where it leaves.
fn arrow(story: &Story, place: usize) -> Option<String> {
    let carriage = &story.carriages[story.moments[place].carriage?];
    let (from, to) = (carriage.from, carriage.to);
    if carriage.sent != Some(place) {
        // The line of the sender tells of it. An answer or a part is told by what the client got.
        return matches!(carriage.name, "answer" | "part")
            .then(|| format!("{from}-->>{to}: {}", plain(&story.moments[place].text)));
    }
    let write = carriage.write.as_deref().map(|write| format!(" {write}")).unwrap_or_default();
    match carriage.name {
        "answer" => None,
        "request" => Some(format!("{from}->>{to}: {}", plain(&story.moments[place].text))),
        name if carriage.under_way => Some(format!("{from}-){to}: {name}{write} (under way)")),
        name if carriage.arrived.is_empty() => {
            let why = carriage.lost.as_deref().unwrap_or("lost");
            Some(format!("{from}-x{to}: {name}{write} ({})", plain(why)))
        }
        name => Some(format!("{from}->>{to}: {name}{write}")),
    }
}

fn note(moment: &Moment, lane: Lane) -> Option<String> {
    let is_told = matches!(moment.kind, "applied" | "started" | "died" | "refused" | "violation");
    let mark = if moment.tone == Tone::Violation { "⚠ " } else { "" };
    is_told.then(|| format!("Note over {lane}: {mark}{}", plain(&moment.text)))
}

/// Without what Mermaid reads as its own.
fn plain(text: &str) -> String {
    text.replace(';', ",").replace('#', "no. ").replace(['<', '>'], "").replace('\n', " ")
}
