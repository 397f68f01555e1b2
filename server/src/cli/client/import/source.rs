//! The lines of an import, cut into batches by a thread of its own.

use crate::cli::CommandFailure;
use hence_client::{BATCH_MAX, BATCH_VALUE_BYTES_MAX, Operation, RawValue};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufRead, BufReader, Read};
use std::thread;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// More than any key and value may have.
const LINE_BYTES_MAX: u64 = 32 << 20;

/// Lines of the source, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lines {
    pub(super) first: u64,
    pub(super) count: u64,
}

impl Lines {
    pub(super) const fn last(self) -> u64 {
        self.first + self.count - 1
    }
}

/// The writes of lines that follow each other.
#[derive(Debug)]
pub(super) enum Writes {
    /// Perhaps none.
    Batch(Vec<Operation>),
    /// A key and a value that is too large for a batch.
    Alone(String, Box<RawValue>),
}

/// What is written at once.
#[derive(Debug)]
pub(super) struct Bulk {
    pub(super) lines: Lines,
    pub(super) writes: Writes,
    /// Of each key, a number that others hardly have.
    pub(super) keys: Vec<u64>,
    /// Bytes of these lines, and of those passed over before them.
    pub(super) bytes: u64,
    /// Lines passed over before these.
    pub(super) skipped: u64,
    /// The first line of all, where this is the first batch.
    pub(super) origin: Option<String>,
}

/// A line; what it has beside a key and a value is told by an export and not written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(rename = "etag")]
    _etag: Option<serde::de::IgnoredAny>,
    #[serde(rename = "siblings")]
    _siblings: Option<serde::de::IgnoredAny>,
}

/// Reads batches, so many ahead, without the lines that are done. The last batch may be empty.
pub(super) fn read(
    input: Box<dyn Read + Send>,
    done: Vec<Lines>,
    ahead: usize,
) -> Receiver<Result<Bulk, CommandFailure>> {
    let (to, from) = channel(ahead);
    thread::spawn(move || {
        let mut reader =
            Reader { to, done, bulk: Bulk::empty(1), value_bytes: 0, hashes: RandomState::new(), set: HashSet::new() };
        let ended = reader.all(BufReader::with_capacity(256 << 10, input));
        let last = match ended {
            Ok(()) => Ok(reader.bulk),
            Err(Ended::Failed(failure)) => Err(failure),
            Err(Ended::Unheard) => return,
        };
        // Nothing listens after a failure.
        let _ = reader.to.blocking_send(last);
    });
    from
}

enum Ended {
    Failed(CommandFailure),
    /// Nothing takes batches any more.
    Unheard,
}

struct Reader {
    to: Sender<Result<Bulk, CommandFailure>>,
    /// In their order.
    done: Vec<Lines>,
    bulk: Bulk,
    /// Of the values of the batch.
    value_bytes: usize,
    hashes: RandomState,
    /// The keys of the batch.
    set: HashSet<u64>,
}

impl Bulk {
    const fn empty(first: u64) -> Self {
        let lines = Lines { first, count: 0 };
        Self { lines, writes: Writes::Batch(Vec::new()), keys: Vec::new(), bytes: 0, skipped: 0, origin: None }
    }
}

impl Reader {
    fn all(&mut self, mut input: impl BufRead) -> Result<(), Ended> {
        let mut text = Vec::new();
        for number in 1_u64.. {
            text.clear();
            let wrong =
                |why: &dyn std::fmt::Display| Ended::Failed(CommandFailure::usage(format!("line {number}: {why}")));
            let read = (&mut input).take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut text);
            match read.map_err(|error| wrong(&error))? as u64 {
                0 => break,
                bytes if bytes > LINE_BYTES_MAX => return Err(wrong(&format!("more than {LINE_BYTES_MAX} bytes"))),
                _ => {}
            }
            if number == 1 {
                self.bulk.origin = Some(String::from_utf8_lossy(&text).trim_end().to_owned());
            }
            if self.is_done(number) {
                self.pass(number, text.len() as u64)?;
                self.bulk.skipped += 1;
                continue;
            }
            if text.trim_ascii().is_empty() {
                self.pass(number, text.len() as u64)?;
                continue;
            }
            let line: Line<'_> = serde_json::from_slice(&text).map_err(|error| wrong(&error))?;
            self.add(number, text.len() as u64, &line)?;
        }
        Ok(())
    }

    fn is_done(&self, number: u64) -> bool {
        let at = self.done.partition_point(|lines| lines.first <= number);
        at > 0 && number <= self.done[at - 1].last()
    }

    /// A line that is not written ends the batch before it: the lines of a batch follow each other.
    fn pass(&mut self, number: u64, bytes: u64) -> Result<(), Ended> {
        if self.bulk.lines.count > 0 {
            self.send(number)?;
        }
        self.bulk.lines.first = number + 1;
        self.bulk.bytes += bytes;
        Ok(())
    }

    fn add(&mut self, number: u64, bytes: u64, line: &Line<'_>) -> Result<(), Ended> {
        let key = self.hashes.hash_one(&line.key);
        let value_bytes = line.value.get().len();
        let is_full = match &self.bulk.writes {
            Writes::Batch(operations) => {
                operations.len() == BATCH_MAX || self.value_bytes + value_bytes > BATCH_VALUE_BYTES_MAX
            }
            Writes::Alone(..) => true,
        };
        if self.bulk.lines.count > 0 && (is_full || self.set.contains(&key)) {
            self.send(number)?;
        }
        self.set.insert(key);
        self.value_bytes += value_bytes;
        self.bulk.keys.push(key);
        self.bulk.lines.count += 1;
        self.bulk.bytes += bytes;
        if value_bytes > BATCH_VALUE_BYTES_MAX {
            self.bulk.writes = Writes::Alone(line.key.clone().into_owned(), line.value.to_owned());
        } else if let Writes::Batch(operations) = &mut self.bulk.writes {
            operations.push(Operation::put(&line.key, line.value));
        }
        Ok(())
    }

    /// Hands the batch over; the next one begins with this line.
    fn send(&mut self, number: u64) -> Result<(), Ended> {
        self.set.clear();
        self.value_bytes = 0;
        let bulk = std::mem::replace(&mut self.bulk, Bulk::empty(number));
        self.to.blocking_send(Ok(bulk)).map_err(|_| Ended::Unheard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, done: Vec<Lines>) -> Result<Vec<(u64, u64, u64)>, CommandFailure> {
        let mut bulks = read(Box::new(std::io::Cursor::new(text.to_owned())), done, 1);
        let mut all = Vec::new();
        while let Some(bulk) = bulks.blocking_recv() {
            let bulk = bulk?;
            let count = match &bulk.writes {
                Writes::Batch(operations) => operations.len() as u64,
                Writes::Alone(..) => 1,
            };
            assert_eq!(count, bulk.lines.count);
            all.push((bulk.lines.first, bulk.lines.count, bulk.skipped));
        }
        Ok(all)
    }

    fn lines(keys: impl IntoIterator<Item = u64>) -> String {
        keys.into_iter()
            .map(|key| format!("{{\"key\":\"k{key}\",\"value\":1.0,\"etag\":\"x\",\"siblings\":2}}\n"))
            .collect()
    }

    #[test]
    fn batches_are_of_the_size_that_replicas_take() {
        assert_eq!(BATCH_MAX, hence_core::BATCH_MAX);
        assert_eq!(cut(&lines(0..130), vec![]), Ok(vec![(1, 64, 0), (65, 64, 0), (129, 2, 0)]));
        assert_eq!(cut("", vec![]), Ok(vec![(1, 0, 0)]));
        assert_eq!(BATCH_VALUE_BYTES_MAX, hence_core::Config::default().whole_bytes_max);
        let value =
            |key: &str, length: usize| format!("{{\"key\":\"{key}\",\"value\":\"{}\"}}\n", "x".repeat(length - 2));
        let half = BATCH_VALUE_BYTES_MAX / 2;
        let halves = |last| value("a", half) + &value("b", half - 3) + &value("c", last);
        assert_eq!(cut(&halves(3), vec![]), Ok(vec![(1, 3, 0)]));
        assert_eq!(cut(&halves(4), vec![]), Ok(vec![(1, 2, 0), (3, 1, 0)]));
        let around =
            |length| lines([1]) + &value("a", length) + &lines([2]) + &value("b", length) + &value("c", length);
        assert_eq!(cut(&around(1 << 20), vec![]), Ok((1..=5).map(|line| (line, 1, 0)).collect()));
    }

    #[test]
    fn a_key_stands_in_a_batch_once() {
        assert_eq!(cut(&lines([1, 2, 1, 3, 3]), vec![]), Ok(vec![(1, 2, 0), (3, 2, 0), (5, 1, 0)]));
    }

    #[test]
    fn lines_that_are_done_are_passed_over() {
        let done = vec![Lines { first: 2, count: 2 }, Lines { first: 5, count: 1 }];
        assert_eq!(cut(&lines(1..=6), done), Ok(vec![(1, 1, 0), (4, 1, 2), (6, 1, 1)]));
        let all = vec![Lines { first: 1, count: 6 }];
        assert_eq!(cut(&lines(1..=6), all), Ok(vec![(7, 0, 6)]));
        assert_eq!(cut(&format!("{}\n \n{}", lines([1]), lines([2])), vec![]), Ok(vec![(1, 1, 0), (4, 1, 0)]));
    }

    #[test]
    fn a_wrong_line_is_named() {
        for wrong in
            ["{", "[]", "{\"key\":\"k\"}", "{\"key\":1,\"value\":1}", "{\"key\":\"k\",\"value\":1,\"ttl\":1}", "\u{e4}"]
        {
            let failure = cut(&format!("{}{wrong}\n", lines([1])), vec![]).expect_err(wrong);
            assert!(failure.code == 2 && failure.text.starts_with("line 2: "), "{failure:?}");
        }
    }
}
