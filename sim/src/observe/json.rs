//! A story as JSON: lines for programs. `docs/formats.md` describes them.

use super::story::{Carriage, Moment, Story};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// One JSON object on a line: first what the run is, then each thing that happened, last the violation if there is one.
#[must_use]
pub fn lines(story: &Story) -> String {
    let mut text = String::new();
    let lanes: Vec<String> = story.lanes().map(|lane| lane.to_string()).collect();
    let hidden = story.hidden;
    _ = writeln!(text, "{}", json!({ "kind": "run", "lanes": lanes, "idle_left_out": hidden }));
    let predecessors = story.predecessors();
    for (place, moment) in story.moments.iter().enumerate().filter(|(_, moment)| moment.kind != "violation") {
        let causes = predecessors[place].into_iter().chain(story.sent_in(place));
        _ = writeln!(text, "{}", line(story, place, moment, causes.collect()));
    }
    if let (Some(violation), Some(blame)) = (&story.violation, &story.blame) {
        let value = json!({ "at": violation.at, "kind": "violation", "id": blame.violated, "violation": violation,
            "sentences": blame.sentences, "missing": blame.missing, "past": blame.lit, "broken": blame.broken });
        _ = writeln!(text, "{value}");
    }
    text
}

fn line(story: &Story, place: usize, moment: &Moment, causes: Vec<usize>) -> Value {
    let mut line = json!({ "id": place, "at": moment.at, "kind": moment.kind, "text": moment.text,
        "causes": causes });
    let lane = moment.lane.to_string();
    match moment.lane {
        super::Lane::Replica(_) => line["replica"] = lane.into(),
        super::Lane::Client(_) => line["client"] = lane.into(),
        super::Lane::Outside => {}
    }
    if moment.idle {
        line["idle"] = true.into();
    }
    if moment.tone != super::Tone::Plain {
        line["tone"] = moment.tone.name().into();
    }
    if !moment.keys.is_empty() {
        line["keys"] = moment.keys.clone().into();
    }
    if !moment.writes.is_empty() {
        line["writes"] = moment.writes.clone().into();
    }
    if let Some(carriage) = moment.carriage.map(|at| &story.carriages[at]) {
        let field = if matches!(carriage.name, "request" | "answer" | "part") { carriage.name } else { "message" };
        line[field] = carried(carriage, carriage.sent == Some(place));
    }
    if !moment.changes.is_empty() {
        let changes: Map<String, Value> =
            moment.changes.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        line["changes"] = changes.into();
    }
    line
}

fn carried(carriage: &Carriage, is_sent: bool) -> Value {
    let mut value = json!({ "id": carriage.id, "from": carriage.from.to_string(), "to": carriage.to.to_string() });
    if !matches!(carriage.name, "request" | "answer" | "part") {
        value["name"] = carriage.name.into();
    }
    if is_sent {
        value["arrived"] = carriage.arrived.clone().into();
        if !carriage.choice.is_empty() {
            value["choice"] = carriage.choice.clone().into();
        }
        if let Some(why) = &carriage.lost {
            value["lost"] = why.clone().into();
        }
        if !carriage.content.is_empty() {
            value["content"] = carriage.content.clone().into();
        }
    }
    value
}
