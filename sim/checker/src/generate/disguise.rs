//! Histories as a store leaves them that tells little, and as clients see it that ask at the same time.

use super::{Generator, Shape};
use crate::history::{Operation, Outcome};
use crate::mix::mix;
use std::collections::BTreeMap;

/// How long before or after the moment at which it was served a request may begin or end, in operations.
const SPREAD: u64 = 6;

/// The length of an operation's turn.
const TURN: u64 = 1_000;

/// The history of this shape without versions and siblings, in which requests overlap. No client asks before it was
/// answered, and no token is sent before it was received, so the same explains it.
#[must_use]
pub fn disguised(shape: Shape) -> Vec<Operation> {
    let seed = shape.seed;
    let mut operations: Vec<Operation> = Generator::new(Shape { exact: false, siblings: 0, ..shape }).collect();
    let moment = |at: usize| (at as u64 + SPREAD) * TURN;
    let draw = |at: usize, what: u64| mix(mix(seed, at as u64), what) % (SPREAD * TURN);
    // The next operation of each client, and the next that sends each token: by then the answer is there.
    let (mut next_of, mut next_with) = (BTreeMap::new(), BTreeMap::<String, u64>::new());
    let mut latest = vec![u64::MAX; operations.len()];
    for (at, operation) in operations.iter().enumerate().rev() {
        let token = operation.token_out.as_ref().and_then(|token| next_with.get(token).copied());
        let client = next_of.insert(operation.client.clone(), moment(at));
        latest[at] = token.into_iter().chain(client).min().unwrap_or(u64::MAX);
        for token in operation.token_in.iter().chain(&operation.merged_from) {
            next_with.insert(token.clone(), moment(at));
        }
    }
    let (mut last_of, mut last_with) = (BTreeMap::<String, u64>::new(), BTreeMap::<String, u64>::new());
    for (at, operation) in operations.iter_mut().enumerate() {
        let tokens = operation.token_in.iter().chain(&operation.merged_from).filter_map(|token| last_with.get(token));
        let first = tokens.chain(last_of.get(&operation.client)).max().map_or(0, |last| last + 1);
        let call = (moment(at) - draw(at, 0)).max(first);
        let answer = (moment(at) + 1 + draw(at, 1)).min(latest[at] - 1);
        operation.call_ns = Some(call);
        if operation.outcome == Outcome::Ok {
            operation.return_ns = Some(answer);
            if let Some(token) = &operation.token_out {
                let known = last_with.entry(token.clone()).or_default();
                *known = (*known).max(answer);
            }
        }
        last_of.insert(operation.client.clone(), answer);
    }
    operations
}
