//! Which write set a value, and which made a version.

use crate::history::intern::Numbers;
use crate::history::operation::happened_perhaps;
use crate::history::{Action, History, Malformed, NONE, Outcome, SILENT};
use crate::terms::{Node, Unreadable};

/// The writes of a history by what they wrote.
#[derive(Debug)]
pub(crate) struct Writers {
    /// The first PUT of each value.
    of_value: Vec<Node>,
    /// Further PUTs of values that several keys have, by key and value.
    more: Numbers,
    /// The first PUT of each version.
    of_version: Vec<Node>,
    /// The other PUTs of the batches that made versions, by key and version.
    more_versions: Numbers,
    /// The version of each PUT, where one is known.
    version: Vec<u32>,
    /// Keys with a PUT whose version is not known.
    unversioned: Vec<bool>,
}

impl Writers {
    pub(crate) fn of(history: &History) -> Result<Self, Unreadable> {
        let mut writers = Self {
            of_value: vec![NONE; history.values.len()],
            more: Numbers::default(),
            of_version: vec![NONE; history.versions.len()],
            more_versions: Numbers::default(),
            version: if history.versions.is_empty() { Vec::new() } else { vec![NONE; history.len()] },
            unversioned: vec![false; history.keys.len()],
        };
        for at in (0..history.len()).filter(|&at| history.action[at] == Action::Put && may_have_written(history, at)) {
            writers.note(history, at).map_err(|malformed| Unreadable { line: history.line(at), malformed })?;
        }
        Ok(writers)
    }

    fn note(&mut self, history: &History, at: usize) -> Result<(), Malformed> {
        let (key, value) = (history.key[at], history.value[at]);
        let twice = |first: u32| Malformed::ValueTwice {
            key: history.keys.text(key).to_owned(),
            value: history.values.text(value).to_owned(),
            first: history.line(first as usize),
        };
        match self.of_value[value as usize] {
            NONE => self.of_value[value as usize] = at as Node,
            first if history.key[first as usize] == key => return Err(twice(first)),
            _ => self.more.put(pair(key, value), at as u32).map_err(twice)?,
        }
        let known = history.shown(at).filter(|_| history.outcome[at] == Outcome::Ok && history.status[at] < 300);
        match known {
            None => self.unversioned[key as usize] = true,
            Some(&[version]) => {
                let twice = |first: u32| Malformed::VersionTwice {
                    version: history.versions.text(version).to_owned(),
                    first: history.line(first as usize),
                };
                match self.of_version[version as usize] {
                    NONE => self.of_version[version as usize] = at as Node,
                    // All that a batch writes is one version.
                    first if history.batches.head(first) == history.batches.head(at as Node) => {
                        self.more_versions.put(pair(key, version), at as u32).map_err(twice)?;
                    }
                    first => return Err(twice(first)),
                }
                self.version[at] = version;
            }
            Some(_) => return Err(Malformed::Contradiction("a PUT makes one version, and its \"shown\" must name it")),
        }
        Ok(())
    }

    pub(crate) fn of_value(&self, history: &History, key: u32, value: u32) -> Option<Node> {
        match self.of_value[value as usize] {
            NONE => None,
            first if history.key[first as usize] == key => Some(first),
            _ => self.more.find(pair(key, value)),
        }
    }

    /// The PUT of this key that made a version; where there is none, that of another key.
    pub(crate) fn of_version(&self, history: &History, key: u32, version: u32) -> Option<Node> {
        match self.of_version[version as usize] {
            NONE => None,
            first if history.key[first as usize] == key => Some(first),
            first => self.more_versions.find(pair(key, version)).or(Some(first)),
        }
    }

    pub(crate) fn version_of(&self, node: Node) -> Option<u32> {
        self.version.get(node as usize).copied().filter(|&version| version != NONE)
    }

    pub(crate) fn has_unversioned(&self, key: u32) -> bool {
        self.unversioned[key as usize]
    }
}

const fn pair(key: u32, value: u32) -> u64 {
    (key as u64) << 32 | value as u64
}

fn may_have_written(history: &History, at: usize) -> bool {
    match history.outcome[at] {
        Outcome::Ok => matches!(history.status[at], 200 | 201 | SILENT) || happened_perhaps(history.status[at]),
        Outcome::Fail => false,
        Outcome::Unknown => true,
    }
}
