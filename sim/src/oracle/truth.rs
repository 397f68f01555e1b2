//! Ground truth: what the simulator itself knows of every write, without looking at a vector, a token or a
//! merge of the system under test.
//!
//! A write gets a number when a replica accepts it, with the set of its true causal past. That is what its client truly
//! knew, the versions it truly replaced, and the deletes of its key that its replica truly had. A replica is the set of
//! writes truly included in it, from which [`Holding`] keeps the live versions of every key up to date.

use hence_checker::bits::{self, Table};
use hence_core::{Dot, Hlc, Incarnation, Value, VersionVector};
use smallvec::SmallVec;

/// The number of a write in a run.
pub type Number = u32;

/// A few writes, such as the live versions of a key: nearly always one or two.
pub type Numbers = SmallVec<[Number; 4]>;

/// One accepted write.
#[derive(Debug)]
pub struct Write {
    /// Its name in the system under test.
    pub dot: Dot,
    /// Its stamp, once the simulator saw it.
    pub stamp: Option<Hlc>,
    /// What it does to keys: nothing for a retirement, several things for a batch.
    pub changes: SmallVec<[Change; 1]>,
}

/// What a write does to one key.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which key.
    pub key: u8,
    /// What was written; none for a delete.
    pub value: Option<Value>,
    /// The versions that its replica truly showed then.
    pub replaced: Numbers,
    /// The writes that replaced it.
    pub replaced_by: Numbers,
}

impl Change {
    /// A key that is written, or deleted.
    #[must_use]
    pub fn of(key: u8, value: Option<Value>) -> Self {
        Self { key, value, replaced: Numbers::new(), replaced_by: Numbers::new() }
    }
}

impl Write {
    /// What it put at this key, if anything.
    #[must_use]
    pub fn value_of(&self, key: u8) -> Option<&Value> {
        self.changes.iter().find(|change| change.key == key)?.value.as_ref()
    }
}

/// One life of a replica.
#[derive(Debug)]
struct Life {
    incarnation: Incarnation,
    replica: usize,
    writes: Vec<Number>,
}

/// What is truly included in one replica.
#[derive(Debug, Clone)]
pub struct Holding {
    /// The set.
    pub included: Vec<u64>,
    /// Per key, the live versions, in no order.
    pub live: Vec<Numbers>,
    /// Per key, the deletes.
    pub deletes: Vec<Vec<Number>>,
    /// Keys whose live versions changed in this step.
    pub changed: Vec<u8>,
    /// Per life, how many of its writes.
    counts: Vec<u32>,
    present: usize,
}

impl Holding {
    /// What an included write does to one key.
    fn include(&mut self, number: Number, change: &Change) {
        let key = usize::from(change.key);
        let live = &mut self.live[key];
        let before = live.is_empty();
        if !change.replaced.is_empty() {
            live.retain(|version| !change.replaced.contains(version));
        }
        let dead = change.replaced_by.iter().any(|&by| bits::has(&self.included, by as usize));
        if change.value.is_none() {
            self.deletes[key].push(number);
        } else if !dead {
            live.push(number);
        }
        self.present = self.present + usize::from(before) - usize::from(live.is_empty());
        if !self.changed.contains(&change.key) {
            self.changed.push(change.key);
        }
    }
}

/// Everything known.
#[derive(Debug)]
pub struct Truth {
    /// Every write, by number.
    pub writes: Vec<Write>,
    /// Row n: the causal past of write n, itself included.
    pub closures: Table,
    /// One for each replica.
    pub holdings: Vec<Holding>,
    lives: Vec<Life>,
}

impl Truth {
    /// Nothing written yet; at most so many writes will be.
    #[must_use]
    pub fn new(replicas: usize, keys: usize, writes_max: usize) -> Self {
        let closures = Table::new(writes_max);
        let holding = || Holding {
            included: closures.empty(),
            live: vec![Numbers::new(); keys],
            deletes: vec![Vec::new(); keys],
            changed: Vec::new(),
            counts: Vec::new(),
            present: 0,
        };
        let holdings = (0..replicas).map(|_| holding()).collect();
        Self { writes: Vec::new(), closures, holdings, lives: Vec::new() }
    }

    /// A replica lost its memory.
    pub fn forget(&mut self, replica: usize) {
        let holding = &mut self.holdings[replica];
        holding.included.fill(0);
        holding.counts.fill(0);
        holding.live.iter_mut().for_each(Numbers::clear);
        holding.deletes.iter_mut().for_each(Vec::clear);
        holding.present = 0;
    }

    /// A life began at this replica. Says whether that incarnation is new.
    pub fn begin_life(&mut self, replica: usize, incarnation: Incarnation) -> bool {
        if self.life(incarnation).is_some() {
            return false;
        }
        self.lives.push(Life { incarnation, replica, writes: Vec::new() });
        self.holdings.iter_mut().for_each(|holding| holding.counts.push(0));
        true
    }

    /// Another process of this replica is looked at from now on, and the one before is put aside.
    pub fn swap(&mut self, replica: usize, other: &mut Holding) {
        other.counts.resize(self.lives.len(), 0); // lives may have begun meanwhile
        std::mem::swap(other, &mut self.holdings[replica]);
    }

    fn life(&self, incarnation: Incarnation) -> Option<usize> {
        self.lives.iter().rposition(|life| life.incarnation == incarnation)
    }

    /// Every life with its short name: `a1` for the first at replica A, then `a2`, `b1`, ...
    pub fn life_names(&self) -> impl Iterator<Item = (Incarnation, String)> + '_ {
        self.lives.iter().enumerate().map(|(at, life)| {
            let before = self.lives[..at].iter().filter(|other| other.replica == life.replica).count();
            let letter = crate::plan::Plan::name(life.replica).to_ascii_lowercase();
            (life.incarnation, format!("{letter}{}", before + 1))
        })
    }

    /// The number of the write with this name.
    #[must_use]
    pub fn number(&self, dot: Dot) -> Option<Number> {
        let life = &self.lives[self.life(dot.incarnation)?];
        life.writes.get(usize::try_from(dot.counter).ok()?.checked_sub(1)?).copied()
    }

    /// At which replica this write was made.
    #[must_use]
    pub fn replica_of(&self, dot: Dot) -> Option<usize> {
        Some(self.lives[self.life(dot.incarnation)?].replica)
    }

    /// Registers a write that a replica accepted with this causal past. None if its dot is not the next of a
    /// life of that replica.
    pub fn accept(&mut self, replica: usize, mut write: Write, past: &[u64]) -> Option<Number> {
        let life = self.life(write.dot.incarnation)?;
        if self.lives[life].replica != replica || write.dot.counter != self.lives[life].writes.len() as u64 + 1 {
            return None;
        }
        let number = self.writes.len() as Number;
        let row = self.closures.push_copy(past);
        for change in &mut write.changes {
            let key = usize::from(change.key);
            change.replaced = self.holdings[replica].live[key].as_slice().into();
            for &more in change.replaced.iter().chain(&self.holdings[replica].deletes[key]) {
                self.closures.join(row, more as usize);
            }
            for &replaced in &change.replaced {
                let before = self.writes[replaced as usize].changes.iter_mut().find(|before| before.key == change.key);
                before.expect("what is shown was put").replaced_by.push(number);
            }
        }
        bits::put(self.closures.row_mut(row), number as usize);
        self.lives[life].writes.push(number);
        self.writes.push(write);
        Some(number)
    }

    /// Is everything that this write follows, itself aside, included in the replica?
    #[must_use]
    pub fn causes_included(&self, replica: usize, number: Number) -> bool {
        let included = &self.holdings[replica].included;
        let closure = self.closures.row(number as usize);
        let own = number as usize;
        closure.iter().zip(included).enumerate().all(|(at, (&closure, &included))| {
            let own = if own / 64 == at { 1 << (own % 64) } else { 0 };
            closure & !included & !own == 0
        })
    }

    /// Is this write the next of its life here?
    #[must_use]
    pub fn is_next(&self, replica: usize, number: Number) -> bool {
        let dot = self.writes[number as usize].dot;
        let life = self.life(dot.incarnation);
        life.is_some_and(|life| u64::from(self.holdings[replica].counts[life]) + 1 == dot.counter)
    }

    /// Includes a write in a replica.
    pub fn include(&mut self, replica: usize, number: Number) {
        let life = self.life(self.writes[number as usize].dot.incarnation);
        let write = &self.writes[number as usize];
        let holding = &mut self.holdings[replica];
        if bits::has(&holding.included, number as usize) {
            return;
        }
        bits::put(&mut holding.included, number as usize);
        if let Some(life) = life {
            holding.counts[life] += 1;
        }
        write.changes.iter().for_each(|change| holding.include(number, change));
    }

    /// How many keys are present in a replica.
    #[must_use]
    pub fn present(&self, replica: usize) -> usize {
        self.holdings[replica].present
    }

    /// Are all events that this vector names included in the replica?
    #[must_use]
    pub fn covers(&self, replica: usize, vector: &VersionVector) -> bool {
        vector.entries().all(|(incarnation, counter)| {
            let held = self.life(incarnation).map_or(0, |life| self.holdings[replica].counts[life]);
            u64::from(held) >= counter
        })
    }

    /// Is what a client or peer covers, given life by life, exactly what is included in the replica?
    #[must_use]
    pub fn is_exactly(&self, replica: usize, counter: impl Fn(Incarnation) -> u64) -> bool {
        let counts = &self.holdings[replica].counts;
        self.lives.iter().zip(counts).all(|(life, &count)| counter(life.incarnation) == u64::from(count))
    }

    /// Everything that a vector covers, with its causes.
    #[must_use]
    pub fn closure_of(&self, vector: &VersionVector) -> Vec<u64> {
        let mut closure = self.closures.empty();
        for (incarnation, counter) in vector.entries() {
            let Some(life) = self.life(incarnation) else { continue };
            for &number in self.lives[life].writes.iter().take(usize::try_from(counter).unwrap_or(usize::MAX)) {
                bits::join(&mut closure, self.closures.row(number as usize));
            }
        }
        closure
    }

    /// The last write of each entry of `whole` that `left` covers less of.
    #[must_use]
    pub fn cut(&self, whole: &VersionVector, left: &VersionVector) -> Vec<Number> {
        let left = self.closure_of(left);
        let last = |(incarnation, counter)| self.number(Dot { incarnation, counter });
        whole.entries().filter_map(last).filter(|&number| !bits::has(&left, number as usize)).collect()
    }

    /// The writes that the entries of `whole` name themselves and `left` no longer covers.
    #[must_use]
    pub fn dropped(&self, whole: &VersionVector, left: &VersionVector) -> Vec<Dot> {
        let left = self.closure_of(left);
        let named = |(incarnation, counter)| {
            let writes = self.life(incarnation).map(|life| self.lives[life].writes.as_slice()).unwrap_or_default();
            writes.iter().take(usize::try_from(counter).unwrap_or(usize::MAX))
        };
        let gone = whole.entries().flat_map(named).filter(|&&number| !bits::has(&left, number as usize));
        gone.map(|&number| self.writes[number as usize].dot).collect()
    }

    /// Registers that a life is over: an operation of no key, which all of that life up to there precedes.
    pub fn accept_retirement(&mut self, replica: usize, dot: Dot, incarnation: Incarnation, through: u64) -> bool {
        let past = self.closure_of(&VersionVector::from_entries([(incarnation, through)]));
        let write = Write { dot, stamp: None, changes: SmallVec::new() };
        self.accept(replica, write, &past).is_some()
    }

    /// The live versions of a key in a replica, winner first.
    #[must_use]
    pub fn shown(&self, replica: usize, key: u8) -> Numbers {
        let mut live = self.holdings[replica].live[usize::from(key)].clone();
        if live.len() > 1 {
            let rank = |number: &Number| (self.writes[*number as usize].stamp, self.writes[*number as usize].dot);
            live.sort_unstable_by_key(|number| std::cmp::Reverse(rank(number)));
        }
        live
    }

    /// Adds to `past` what an answer about this key binds its reader to.
    pub fn bind(&self, replica: usize, key: u8, past: &mut [u64]) {
        let holding = &self.holdings[replica];
        for &number in holding.live[usize::from(key)].iter().chain(&holding.deletes[usize::from(key)]) {
            bits::join(past, self.closures.row(number as usize));
        }
    }
}
