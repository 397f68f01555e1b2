//! Answers to batches.

use super::{Answer, Form, Pieces, add_token, json, tag};
use hence_core::{BatchAnswer, Dot, Outcome, Siblings, VersionVector};
use http::StatusCode;

/// The answer to a batch that was served.
pub(super) fn answered(batch: BatchAnswer, form: &Form) -> Answer {
    let BatchAnswer { outcomes, dot, token } = batch;
    let token = form.mint.encode(token);
    // One tag for all that was put, because a batch is one write.
    let mut put_tag = Pieces::new(64);
    dot.iter().for_each(|dot| tag([dot], &mut put_tag));
    let mut body = Pieces::new(96 * outcomes.len() + token.len());
    body.text("{\"results\":[");
    for (at, outcome) in outcomes.iter().enumerate() {
        body.text(if at == 0 { "{\"result\":\"" } else { ",{\"result\":\"" });
        match outcome {
            Outcome::Read(siblings) if !siblings.is_empty() => found(siblings, &mut body),
            Outcome::Read(_) => body.text("absent\""),
            Outcome::Put(superseded) => {
                body.text(if superseded.is_empty() { "created\"" } else { "replaced\"" });
                body.bytes(&put_tag.open);
            }
            Outcome::Deleted(superseded) => body.text(if superseded.is_empty() { "absent\"" } else { "deleted\"" }),
        }
        body.text("}");
    }
    body.text("],\"causal-metadata\":\"");
    body.text(&token);
    body.text("\"}");
    let mut answer = json(StatusCode::OK, body.finish());
    add_token(&mut answer, token);
    answer
}

fn found(siblings: &Siblings, body: &mut Pieces) {
    let winner = siblings.winner().expect("found only where there is a version");
    body.text("found\",\"value\":");
    body.value(&winner.value);
    let mut dots: Vec<&Dot> = siblings.iter().map(|sibling| &sibling.dot).collect();
    dots.sort_unstable();
    tag(dots, body);
    if siblings.len() > 1 {
        body.text(&format!(",\"siblings\":{}", siblings.len()));
    }
}

/// The answer to a batch of which this operation's precondition does not hold.
pub(super) fn failed(index: usize, token: VersionVector, form: &Form) -> Answer {
    let body = format!("{{\"error\":\"Precondition failed\",\"index\":{index}}}");
    let mut answer = json(StatusCode::PRECONDITION_FAILED, body.into_bytes());
    add_token(&mut answer, form.mint.encode(token));
    answer
}
