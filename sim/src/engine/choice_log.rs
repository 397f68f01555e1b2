//! Choices under meaningful names, such as `A->C/push/op17`: what the network did with each message and why
//! that message was sent. A case file holds them, so a replay needs neither the seed nor our random numbers.

use crate::plan::Plan;
use crate::plan::network::Fate;
use std::collections::BTreeMap;

/// A chain of causes longer than this is named by its hash.
const NAME_BYTES_MAX: usize = 160;

/// The choices of one run.
#[derive(Debug, Clone, Default)]
pub struct ChoiceLog {
    names: BTreeMap<u64, String>,
    given: BTreeMap<String, Fate>,
    made: BTreeMap<String, Fate>,
    /// How often each name came up.
    times: BTreeMap<String, u32>,
    fresh: usize,
    anew: Option<(u64, Draw)>,
}

/// Draws the fate of the message whose choice has this name: from a number of the run's own, and from what was drawn.
pub type Draw = fn(u64, &str, Fate) -> Fate;

impl ChoiceLog {
    /// Records; takes these choices where their names come up.
    #[must_use]
    pub fn following(given: BTreeMap<String, Fate>) -> Self {
        Self { given, ..Self::default() }
    }

    /// Takes these choices where their names come up, and has every other one drawn in this way, until the heal.
    #[must_use]
    pub fn drawing(given: BTreeMap<String, Fate>, number: u64, draw: Draw) -> Self {
        Self { given, anew: Some((number, draw)), ..Self::default() }
    }

    /// From now on nothing is drawn in another way: what follows the heal is judged by what the heal promises.
    pub(crate) fn heal(&mut self) {
        self.anew = None;
    }

    /// The name of the choice that this cause was.
    pub(crate) fn name_of(&self, cause: u64) -> &str {
        self.names.get(&cause).map_or("", String::as_str)
    }

    pub(crate) fn name(&mut self, cause: u64, name: String) {
        self.names.insert(cause, name);
    }

    /// What follows from a message in another way than by its arrival.
    pub(crate) fn derive(&mut self, cause: u64, from: u64, what: &str) {
        let origin = self.names.get(&from).map_or("?", String::as_str);
        self.names.insert(cause, format!("{what} of {origin}"));
    }

    pub(crate) fn choose(
        &mut self,
        cause: u64,
        (from, to): (usize, usize),
        kind: &str,
        ordinal: u16,
        step: u64,
        drawn: Fate,
    ) -> Fate {
        let why = self.names.get(&step).map_or("?", String::as_str);
        let number = if ordinal > 0 { format!("#{ordinal}") } else { String::new() };
        let mut name = format!("{}->{}/{kind}{number}/{why}", Plan::name(from), Plan::name(to));
        if name.len() > NAME_BYTES_MAX {
            name = format!("{}->{}/{kind}{number}/~{step:016x}", Plan::name(from), Plan::name(to));
        }
        // Two images of one memory may do the same thing at the same time.
        let times = self.times.entry(name.clone()).or_default();
        *times += 1;
        if *times > 1 {
            name = format!("{name} again {times}");
        }
        let fate = match self.given.get(&name) {
            Some(&fate) => fate,
            None => {
                self.fresh += 1;
                self.anew.map_or(drawn, |(number, draw)| draw(number, &name, drawn))
            }
        };
        self.names.insert(cause, name.clone());
        self.made.insert(name, fate);
        fate
    }

    /// Every choice that was made.
    #[must_use]
    pub const fn made(&self) -> &BTreeMap<String, Fate> {
        &self.made
    }

    /// How many given choices never came up, and how many came up that were not given.
    #[must_use]
    pub fn unmatched(&self) -> (usize, usize) {
        (self.given.keys().filter(|name| !self.made.contains_key(*name)).count(), self.fresh)
    }
}
