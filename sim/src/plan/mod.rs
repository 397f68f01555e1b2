//! A plan: everything that a run will be told, as data. It is a file that replays without the generator.
//!
//! Invariant kept here: a plan that passed [`Plan::check`] refers only to things that exist and stays within
//! [`limits`]. So a run of it can neither panic on an index nor work for hours.

mod concern;
mod fault;
pub mod limits;
mod list;
pub mod network;
pub mod settings;
pub mod stream;
mod watch;

pub use concern::{ConcernUse, HoldersUse};
pub use fault::{Effect, Fault, FaultKind, Hit, Links, OnLinks, OnProcess, OnView};
use hence_core::Formats;
pub use limits::PlanError;
use limits::{at_most, below, repeated};
pub use list::{ListUse, ShapeUse};
use network::NetworkPlan;
use serde::{Deserialize, Serialize};
use settings::Settings;
pub use watch::{BreakUse, WatchUse};

/// The format of plans and case files that this version writes and reads.
pub const FORMAT: u32 = 1;

/// One run, before it happened. All times are microseconds of simulated time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`FORMAT`].
    pub format: u32,
    /// Decides what is not written here: ties, births, and what the network does with each message.
    pub seed: u64,
    /// The replicas; a number elsewhere in the plan is a place in this list.
    pub replicas: Vec<ReplicaPlan>,
    /// How many clients there are.
    pub clients: u8,
    /// How many keys there are.
    pub keys: u8,
    /// The replicas' settings.
    pub settings: Settings,
    /// What the network is like when no fault strikes.
    pub network: NetworkPlan,
    /// When everything is healed.
    pub heal_at: u64,
    /// Bit n says that replica n is healed then, too; 0 for all. The others keep what they suffer at that moment, and
    /// an operator removes their addresses.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub core: u16,
    /// Watch the idle traffic after the run has settled, too.
    pub watch_idle: bool,
    /// The monotonic clock of each process begins at zero with it, as in the field. Otherwise it begins anywhere.
    #[serde(default, skip_serializing_if = "is_false")]
    pub from_zero: bool,
    /// What clients do, in any order.
    pub operations: Vec<Operation>,
    /// What strikes, in any order.
    pub faults: Vec<Fault>,
    /// Who watches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watches: Vec<WatchUse>,
}

/// One replica of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicaPlan {
    /// When its process starts first.
    pub start_at: u64,
    /// What its wall clock is ahead of simulated time; negative for behind.
    pub wall_ahead: i64,
    /// How much faster its monotonic clock runs, in parts per million; negative for slower.
    pub drift: i32,
    /// Bit n says that it is told of replica n when it starts; 0 for all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub knows: u16,
    /// Two bits for each of its first processes, as in [`Speaks`]: which formats that one speaks. Then it begins anew.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub formats: u16,
}

/// Which formats a process speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// The released ones.
    Old = 0,
    /// Those and the one for tests: a new build.
    Both = 1,
    /// Only the one for tests: a build that has given the others up.
    New = 2,
    /// Only the first released one: a build that knows of no batches.
    First = 3,
}

impl Speaks {
    /// Processes of one replica that have formats of their own.
    pub const LIVES: u32 = 8;
}

impl ReplicaPlan {
    /// One that starts at once, with right clocks, and is told of all the others.
    pub const PLAIN: Self = Self { start_at: 0, wall_ahead: 0, drift: 0, knows: 0, formats: 0 };

    /// The formats that its process of this number speaks.
    #[must_use]
    pub const fn speaks(&self, life: u32) -> Formats {
        match self.formats >> (2 * (life % Speaks::LIVES)) & 3 {
            0 => Formats::RELEASED,
            1 => Formats::WITH_TEST,
            2 => Formats::only(Formats::TEST),
            _ => Formats::only(Formats::RELEASED.lowest),
        }
    }

    /// From now on its process of this number speaks these.
    pub const fn set_speaks(&mut self, life: u32, speaks: Speaks) {
        let place = 2 * (life % Speaks::LIVES);
        self.formats = self.formats & !(3 << place) | (speaks as u16) << place;
    }
}

/// Nothing is said about it.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
const fn is_false(set: &bool) -> bool {
    !*set
}

const fn is_zero(mask: &u16) -> bool {
    *mask == 0
}

/// One client operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// Its name in traces and choices; unique in a plan.
    pub id: u32,
    /// When the client sends it.
    pub at: u64,
    /// Which client.
    pub client: u8,
    /// To which replica.
    pub replica: u8,
    /// For which key.
    pub key: u8,
    /// What it does.
    pub act: Act,
    /// Which causal past the client sends.
    pub token: TokenUse,
    /// When the replica is to go ahead.
    pub condition: ConditionUse,
    /// What goes with it in one batch; alone it is no batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<Beside>,
    /// A read of a range instead of one key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<ListUse>,
    /// How long the replica may wait for missing dependencies.
    pub wait: u64,
    /// Where a write is to be before it is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concern: Option<ConcernUse>,
    /// How long the client waits before it gives up; 0 for ever.
    pub patience: u64,
    /// How often it tries again when refused.
    pub retries: u8,
    /// How long it waits before that.
    pub retry_after: u64,
    /// It tries again at the next replica rather than the same.
    pub hop: bool,
}

impl Operation {
    /// The first of its plan: a client asks at once, carries its own token and takes the first answer.
    #[must_use]
    pub const fn plain(client: u8, replica: u8, key: u8, act: Act) -> Self {
        Self {
            id: 0,
            at: 0,
            client,
            replica,
            key,
            act,
            token: TokenUse::Keep,
            condition: ConditionUse::Always,
            with: Vec::new(),
            list: None,
            wait: 0,
            concern: None,
            patience: 0,
            retries: 0,
            retry_after: 0,
            hop: false,
        }
    }
}

/// Another operation of a batch. A key that the batch writes already is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beside {
    /// For which key.
    pub key: u8,
    /// What it does: get, put or delete.
    pub act: Act,
    /// When the replica is to go ahead.
    pub condition: ConditionUse,
}

/// What a client operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Reads the key.
    Get,
    /// Writes the key: a unique value of at least so many bytes.
    Put(u32),
    /// Deletes the key.
    Delete,
    /// Deletes the key in a way that only the format for tests has a word for.
    Erase,
    /// Reads the view.
    View,
}

impl Operation {
    /// Is it a batch?
    #[must_use]
    pub const fn is_batch(&self) -> bool {
        !self.with.is_empty()
    }

    /// At least so many bytes it writes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.act.bytes() + self.with.iter().map(|beside| beside.act.bytes() + 256).sum::<u64>()
    }
}

impl Act {
    /// At least so many bytes it writes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Put(bytes) => bytes as u64,
            Self::Get | Self::Delete | Self::Erase | Self::View => 0,
        }
    }
}

/// Which causal past a client sends with an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenUse {
    /// Its own.
    Keep,
    /// None: it starts over.
    Drop,
    /// Its own joined with another client's.
    Merge(u8),
    /// Another client's instead of its own.
    Take(u8),
    /// Its own, which it also puts aside.
    Save,
    /// The one it had put aside.
    Recall,
}

/// Which precondition a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConditionUse {
    /// None.
    Always,
    /// `If-None-Match: *`.
    IfAbsent,
    /// `If-Match: *`.
    IfPresent,
    /// `If-Match` with the versions that the client saw last.
    IfSeen,
    /// `If-None-Match` with the versions that the client saw last.
    IfChanged,
}

impl Plan {
    /// Can this be run? Everything that is referred to exists and every number is within [`limits`].
    ///
    /// # Errors
    /// Names the first place that is wrong.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.format != FORMAT {
            let problem = format!("{} is not the format {FORMAT} that this version reads", self.format);
            return Err(PlanError { place: "format".into(), problem });
        }
        let replicas = self.replicas.len() as u64;
        if replicas == 0 {
            return Err(PlanError { place: "replicas".into(), problem: "there must be one at least".into() });
        }
        at_most(|| "replicas".into(), replicas, limits::REPLICAS_MAX as u64)?;
        at_most(|| "clients".into(), self.clients.into(), limits::CLIENTS_MAX.into())?;
        at_most(|| "keys".into(), self.keys.into(), limits::KEYS_MAX.into())?;
        at_most(|| "operations".into(), self.operations.len() as u64, limits::OPERATIONS_MAX as u64)?;
        at_most(|| "faults".into(), self.faults.len() as u64, limits::FAULTS_MAX as u64)?;
        at_most(|| "heal_at".into(), self.heal_at, limits::TIME_MAX)?;
        for (n, replica) in self.replicas.iter().enumerate() {
            let place = |field: &str| format!("replicas[{n}].{field}");
            at_most(|| place("start_at"), replica.start_at, self.heal_at)?;
            at_most(|| place("wall_ahead"), replica.wall_ahead.unsigned_abs(), limits::WALL_MAX.unsigned_abs())?;
            at_most(|| place("drift"), replica.drift.unsigned_abs().into(), limits::DRIFT_MAX.unsigned_abs().into())?;
        }
        if self.core != 0 && u64::from(self.core) & ((1 << replicas) - 1) == 0 {
            let problem = format!("{:#b} names no replica; there are {replicas}", self.core);
            return Err(PlanError { place: "core".into(), problem });
        }
        self.settings.check()?;
        self.network.check()?;
        self.check_operations(replicas)?;
        self.check_watches()?;
        self.check_faults(replicas)
    }

    fn check_operations(&self, replicas: u64) -> Result<(), PlanError> {
        if let Some(n) = repeated(self.operations.iter().map(|operation| operation.id)) {
            let problem = format!("{} is there twice", self.operations[n].id);
            return Err(PlanError { place: format!("operations[{n}].id"), problem });
        }
        for (n, operation) in self.operations.iter().enumerate() {
            let place = |field: &'static str| move || format!("operations[{n}].{field}");
            at_most(place("at"), operation.at, limits::TIME_MAX)?;
            below(place("client"), operation.client.into(), self.clients.into())?;
            below(place("replica"), operation.replica.into(), replicas)?;
            below(place("key"), operation.key.into(), self.keys.into())?;
            at_most(place("wait"), operation.wait, limits::TIME_MAX)?;
            at_most(place("concern"), operation.concern.map_or(0, |concern| concern.wait), limits::TIME_MAX)?;
            at_most(place("patience"), operation.patience, limits::TIME_MAX)?;
            at_most(place("retries"), operation.retries.into(), limits::RETRIES_MAX.into())?;
            at_most(place("retry_after"), operation.retry_after, limits::TIME_MAX)?;
            match operation.act {
                Act::Put(bytes) => at_most(place("act.put"), bytes.into(), limits::VALUE_BYTES_MAX.into())?,
                Act::Get | Act::Delete | Act::Erase | Act::View => {}
            }
            at_most(place("with"), operation.with.len() as u64, hence_core::BATCH_MAX as u64 - 1)?;
            for beside in &operation.with {
                below(place("with.key"), beside.key.into(), self.keys.into())?;
                at_most(place("with.act.put"), beside.act.bytes(), limits::VALUE_BYTES_MAX.into())?;
                if matches!(beside.act, Act::Erase | Act::View) || operation.act == Act::View {
                    return Err(PlanError { place: place("with")(), problem: "a batch gets, puts and deletes".into() });
                }
            }
            if let Some(list) = operation.list {
                list.check(operation, self.keys.into(), place("list"))?;
            }
            match operation.token {
                TokenUse::Merge(other) | TokenUse::Take(other) => {
                    below(place("token"), other.into(), self.clients.into())?;
                }
                TokenUse::Keep | TokenUse::Drop | TokenUse::Save | TokenUse::Recall => {}
            }
        }
        Ok(())
    }

    fn check_watches(&self) -> Result<(), PlanError> {
        at_most(|| "watches".into(), self.watches.len() as u64, limits::WATCHES_MAX as u64)?;
        if let Some(n) = repeated(self.watches.iter().map(|watch| watch.id)) {
            let problem = format!("{} is there twice", self.watches[n].id);
            return Err(PlanError { place: format!("watches[{n}].id"), problem });
        }
        self.watches.iter().enumerate().try_for_each(|(n, watch)| watch.check(self, || format!("watches[{n}]")))
    }

    fn check_faults(&self, replicas: u64) -> Result<(), PlanError> {
        if let Some(n) = repeated(self.faults.iter().map(|fault| fault.id)) {
            let problem = format!("{} is there twice", self.faults[n].id);
            return Err(PlanError { place: format!("faults[{n}].id"), problem });
        }
        for (n, fault) in self.faults.iter().enumerate() {
            let place = |field: &'static str| move || format!("faults[{n}].{field}");
            at_most(place("id"), fault.id.into(), limits::FAULT_ID_MAX.into())?;
            at_most(place("at"), fault.at, fault.until)?;
            at_most(place("until"), fault.until, limits::TIME_MAX)?;
            fault.kind.check(replicas, place("kind"))?;
        }
        Ok(())
    }

    /// Do its processes speak different formats, or others than the released ones?
    #[must_use]
    pub fn has_formats(&self) -> bool {
        self.replicas.iter().any(|replica| replica.formats != 0)
    }

    /// Is this replica healed at the end?
    #[must_use]
    pub const fn is_core(&self, replica: usize) -> bool {
        self.core == 0 || self.core >> replica & 1 == 1
    }

    /// The replicas that one is told of when it starts, itself included.
    pub fn known_to(&self, replica: usize) -> impl Iterator<Item = usize> + '_ {
        let knows = self.replicas[replica].knows;
        (0..self.replicas.len()).filter(move |&n| knows == 0 || n == replica || knows >> n & 1 == 1)
    }

    /// The address of the n-th replica.
    #[must_use]
    pub fn address(n: usize) -> String {
        format!("10.0.0.{}:8090", n + 1)
    }

    /// The name of the n-th replica in traces: A, B, C, ...
    #[must_use]
    pub fn name(n: usize) -> char {
        char::from(b'A' + (n % 26) as u8)
    }

    /// Operations, faults and watches together: what shrinking makes smaller.
    #[must_use]
    pub fn size(&self) -> usize {
        self.operations.len() + self.faults.len() + self.watches.len()
    }
}
