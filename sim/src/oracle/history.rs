//! What clients saw, judged without a look inside: for subjects that offer none.
//!
//! A write gets a number when it is answered, with its client's past. A client that sees its value has it and its past
//! in their own. Three things are broken. One is a value that a write in the reader's past has overwritten. One is
//! nothing, though a put is in the reader's past and no delete of the key was ever made. After heal and quiet, replicas
//! that answer differently, or that refuse a client, are broken, too.

use crate::oracle::judge::Asked;
use crate::oracle::sign::Sign;
use crate::oracle::verdict::Invariant;
use crate::oracle::words;
use hence_checker::bits::{self, Table};
use hence_core::{Action, Reply, Siblings, Value};

/// One write that was answered.
#[derive(Debug)]
struct Seen {
    key: u8,
    value: Option<Value>,
}

/// Everything that clients saw.
#[derive(Debug)]
pub struct History {
    writes: Vec<Seen>,
    closures: Table,
    /// Per key, what the first closing read showed.
    closing: Vec<Option<Option<Value>>>,
}

/// What is wrong with an answer.
pub type Wrong = (Invariant, Sign, String);

impl History {
    /// Nothing seen yet; at most so many writes will be.
    #[must_use]
    pub fn new(keys: usize, writes_max: usize) -> Self {
        Self { writes: Vec::new(), closures: Table::new(writes_max), closing: vec![None; keys] }
    }

    /// A client got an answer. `asked.past` becomes its past after it.
    ///
    /// # Errors
    /// What no causally consistent store answers.
    pub fn see(&mut self, asked: &mut Asked, reply: &Reply) -> Result<(), Wrong> {
        if reply.written().is_some() {
            let number = self.writes.len();
            let row = self.closures.push_copy(&asked.past);
            bits::put(self.closures.row_mut(row), number);
            bits::put(&mut asked.past, number);
            let value = if let Action::Put(value) = &asked.action { Some(value.clone()) } else { None };
            self.writes.push(Seen { key: asked.key, value });
        } else if let Reply::Found { siblings, .. } = reply
            && let Some(shown) = siblings.winner()
        {
            return self.see_value(asked, &shown.value);
        } else if let Reply::Absent { .. } = reply {
            return self.see_nothing(asked);
        }
        Ok(())
    }

    fn see_value(&self, asked: &mut Asked, value: &Value) -> Result<(), Wrong> {
        let found = self.writes.iter().position(|write| write.value.as_ref() == Some(value));
        let Some(number) = found else {
            return Err((
                Invariant::History,
                Sign::Invented,
                format!("k{} shows {}, which nobody wrote", asked.key, words::value(Some(value))),
            ));
        };
        let over = |later: usize| {
            later != number && self.writes[later].key == asked.key && bits::has(self.closures.row(later), number)
        };
        if let Some(later) = bits::numbers(&asked.past).find(|&later| over(later)) {
            let newer = &self.writes[later].value;
            return Err((
                Invariant::History,
                Sign::Stale,
                format!(
                    "k{} shows {} to a client that knows {}",
                    asked.key,
                    words::value(Some(value)),
                    words::value(newer.as_ref())
                ),
            ));
        }
        bits::join(&mut asked.past, self.closures.row(number));
        Ok(())
    }

    fn see_nothing(&self, asked: &Asked) -> Result<(), Wrong> {
        let deleted = self.writes.iter().any(|write| write.key == asked.key && write.value.is_none());
        let known = bits::numbers(&asked.past).find(|&number| self.writes[number].key == asked.key);
        match known {
            Some(number) if !deleted => {
                let value = &self.writes[number].value;
                let what = format!(
                    "k{} shows nothing to a client that knows {}; nobody deleted it",
                    asked.key,
                    words::value(value.as_ref())
                );
                Err((Invariant::History, Sign::Lost, what))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// A closing read, after heal and quiet.
    ///
    /// # Errors
    /// If it was refused, or another replica answered something else.
    pub fn close(&mut self, asked: &Asked, reply: &Reply, fresh: bool) -> Result<(), Wrong> {
        if let Reply::Refused(refusal) = reply {
            return Err((Invariant::History, Sign::RefusedForEver, format!("after heal and quiet: {refusal}")));
        }
        let siblings = if let Reply::Found { siblings, .. } = reply { Some(siblings) } else { None };
        let shown = siblings.and_then(Siblings::winner).map(|sibling| sibling.value.clone());
        if !fresh {
            return Ok(());
        }
        match &self.closing[usize::from(asked.key)] {
            None => self.closing[usize::from(asked.key)] = Some(shown),
            Some(known) if *known == shown => {}
            Some(known) => {
                let what = format!(
                    "k{} shows {} here and {} there",
                    asked.key,
                    words::value(shown.as_ref()),
                    words::value(known.as_ref())
                );
                return Err((Invariant::History, Sign::Diverged, what));
            }
        }
        Ok(())
    }
}
