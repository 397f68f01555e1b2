//! Clients that ask for several keys at once.

use super::World;
use super::parts::Client;
use crate::oracle::judge::{Asked, Part};
use crate::plan::{Act, Beside, Operation};
use crate::subject::Subject;
use hence_core::{Action, BatchAnswer, BatchOperation, BatchRequest, Dots, Micros, Outcome, Siblings};

impl<S: Subject> World<S> {
    /// What a batch asks a replica, and what the judge remembers of it.
    pub(super) fn batch_request(&mut self, operation: &Operation, attempt: u8) -> (BatchRequest, Asked) {
        let first = Beside { key: operation.key, act: operation.act, condition: operation.condition };
        let mut written = Vec::new();
        let mut parts = Vec::new();
        for (part, beside) in std::iter::once(&first).chain(&operation.with).enumerate() {
            let Beside { key, act, condition } = *beside;
            let again = act != Act::Get && written.contains(&key);
            let action = self.action(operation, (attempt, part), if again { Act::Get } else { act });
            if action.writes() {
                written.push(key);
            }
            parts.push(Part { key, action, condition: self.condition(operation.client, key, condition) });
        }
        let token = self.token_of(operation.client);
        let past = self.clients[usize::from(operation.client)].past.clone();
        let asks = |Part { key, action, condition }: &Part| BatchOperation {
            key: self.keys[usize::from(*key)].clone(),
            action: action.clone(),
            condition: condition.clone(),
        };
        let operations = parts.iter().map(asks).collect();
        let batch = BatchRequest::new(operations, token.clone(), Micros(operation.wait));
        let mut batch = batch.expect("a plan has no longer batch, and writes no key twice");
        batch.concern = operation.write_concern();
        let concern = batch.concern;
        let Part { key, action, condition } = parts.remove(0);
        (batch, Asked { key, action, condition, concern, with: parts, list: None, token, past, wrote: None })
    }
}

/// A client sees what became of its batch.
pub(super) fn see_batch(client: &mut Client, asked: &Asked, answer: &BatchAnswer) {
    for ((key, action, _), outcome) in asked.parts().zip(&answer.outcomes) {
        client.seen[usize::from(key)] = match (action, outcome) {
            (_, Outcome::Read(siblings)) => dots(siblings),
            (Action::Put(_), _) => answer.dot.into_iter().collect(),
            (Action::Get | Action::Delete, _) => Dots::new(),
        };
    }
}

/// The versions of a key, sorted by dot.
pub(super) fn dots(siblings: &Siblings) -> Dots {
    let mut dots: Dots = siblings.iter().map(|sibling| sibling.dot).collect();
    dots.sort_unstable();
    dots
}
