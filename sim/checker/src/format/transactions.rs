//! Transactions of other stores as batches.
//!
//! A read of a transaction sees what the transaction wrote before it, and no other client sees what the transaction itself
//! wrote over. The reads of a batch look at what was before it, and it writes a key once. So of a transaction is left:
//!
//! - the last write of each key; what it wrote over is written by nobody, and a read of it is convicted as such;
//! - each read of a key that it had not written yet;
//! - each read after such a write that returned something else. What returned that write says nothing more.

use crate::history::{Action, History, NONE};

/// Of the reads that contradict what their transaction wrote, so many convict it.
const OWN_MAX: usize = 4;

/// What is left of the operations of one transaction.
pub(crate) struct Settled {
    /// Whether each says nothing more.
    pub(crate) is_gone: Vec<bool>,
    /// The places of reads that look at what the transaction wrote.
    pub(crate) own: Vec<usize>,
}

impl Settled {
    /// Whether all are left as they were.
    fn is_all(&self) -> bool {
        !self.is_gone.contains(&true) && self.own.is_empty()
    }

    /// The places of those that are left. What looks at the transaction comes last.
    pub(crate) fn kept(&self) -> impl Iterator<Item = usize> {
        let plain = (0..self.is_gone.len()).filter(|at| !self.is_gone[*at] && !self.own.contains(at));
        plain.chain(self.own.iter().copied())
    }
}

/// Settles one transaction: for each operation whether it writes, its key and its value. `last` has a place for each key.
pub(crate) fn settle<V: PartialEq>(parts: &[(bool, u32, V)], last: &mut Vec<u32>) -> Settled {
    let of = |last: &Vec<u32>, key: u32| last.get(key as usize).copied().filter(|&at| at != NONE);
    let mut is_gone = vec![false; parts.len()];
    let mut wrong: Vec<usize> = Vec::new();
    for (at, (writes, key, value)) in parts.iter().enumerate() {
        let before = of(last, *key);
        if *writes {
            if let Some(before) = before {
                is_gone[before as usize] = true;
            }
            if last.len() <= *key as usize {
                last.resize(*key as usize + 1, NONE);
            }
            last[*key as usize] = at as u32;
        } else if let Some(before) = before {
            if parts[before as usize].2 == *value {
                is_gone[at] = true;
            } else {
                wrong.push(at);
            }
        }
    }
    // What it was to write only later it cannot have read: that is a read like any other, of what comes after it.
    let is_later = |&at: &usize| of(last, parts[at].1).is_some_and(|write| parts[write as usize].2 == parts[at].2);
    wrong.retain(|at| !is_later(at));
    wrong.iter().skip(OWN_MAX).for_each(|&at| is_gone[at] = true);
    for (_, key, _) in parts {
        if let Some(place) = last.get_mut(*key as usize) {
            *place = NONE;
        }
    }
    wrong.truncate(OWN_MAX);
    Settled { is_gone, own: wrong }
}

/// Settles all transactions of a history, and says what was left out of it.
pub(crate) fn finish(history: &mut History, aborted: u64, what: &str) {
    let overwritten = settle_all(history);
    if aborted > 0 {
        history.warnings.push(format!("{aborted} {what} were left out"));
    }
    if overwritten > 0 {
        let what = "writes were written over by their own transaction; nobody may read them";
        history.warnings.push(format!("{overwritten} {what}"));
    }
}

/// Settles all transactions of a history that was read operation by operation; says how many writes were written over.
fn settle_all(history: &mut History) -> u64 {
    if history.batches.is_empty() {
        return 0;
    }
    if history.batches.are_torn() {
        let mut order: Vec<u32> = (0..history.len() as u32).collect();
        order.sort_by_key(|&at| history.batches.head(at));
        history.pick(&order);
    }
    let (mut last, mut parts, mut kept, mut own) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut is_all, mut overwritten) = (true, 0);
    let mut head = 0;
    while head < history.len() as u32 {
        let range = history.batches.parts(head);
        if range.len() == 1 {
            kept.push(head);
        } else {
            parts.clear();
            parts.extend(range.clone().map(|at| {
                let at = at as usize;
                (history.action[at] != Action::Get, history.key[at], history.value[at])
            }));
            let settled = settle(&parts, &mut last);
            is_all &= settled.is_all();
            let gone = settled.is_gone.iter().zip(&parts).filter(|(is_gone, part)| **is_gone && part.0);
            overwritten += gone.count() as u64;
            own.extend(settled.own.iter().map(|&at| head + at as u32));
            kept.extend(settled.kept().map(|at| head + at as u32));
        }
        head = range.end;
    }
    if !is_all {
        own.iter().for_each(|&at| history.make_own(at as usize));
        history.pick(&kept);
    }
    overwritten
}
