//! Histories by kind, for `check-bench`: what clients of a simulated cluster of hence's replicas saw, told as different
//! stores tell it.
//!
//! Each client asks as soon as it was answered, so requests go on at the same time all the while. Nothing of a history
//! is drawn but what the clients ask. Transactions alone are those of a model of a store.

use crate::plan::network::{Delay, NetworkPlan};
use crate::plan::settings::Settings;
use crate::plan::{Act, FORMAT, Operation as Asked, Plan, ReplicaPlan, TokenUse, limits};
use crate::random::{Domain, Draw, Source};
use crate::world::World;
use hence_checker::format::{Format, json};
use hence_checker::generate::{Generator, Shape};
use hence_checker::history::{Action, Operation, Outcome};
use hence_core::{Replica, Reply, Sound};
use std::collections::BTreeMap;
use std::io::{self, Write};

/// What a history tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Kind {
    /// All that hence tells: names of versions, siblings, tokens
    Own,
    /// Tokens, one value a read, and no names of versions
    Stripped,
    /// Values alone, without tokens: a client is a session
    Base,
    /// Registers in Jepsen's conventions, without deletes
    Edn,
    /// Transactions of four operations in Jepsen's conventions, drawn from a model of a store
    Transactions,
    /// The same taken apart: Plume's text, in which each operation is a transaction of its own
    Apart,
    /// Plume's text: values alone, without deletes
    Plume,
}

/// A history to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Making {
    pub(crate) kind: Kind,
    pub(crate) operations: usize,
    pub(crate) clients: usize,
    /// With a read of what its own session has overwritten in the middle.
    pub(crate) broken: bool,
}

impl Kind {
    /// Each of them.
    pub(crate) const ALL: [Self; 7] =
        [Self::Own, Self::Stripped, Self::Base, Self::Edn, Self::Transactions, Self::Apart, Self::Plume];

    /// Its name on the command line and in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Stripped => "stripped",
            Self::Base => "base",
            Self::Edn => "edn",
            Self::Transactions => "transactions",
            Self::Apart => "apart",
            Self::Plume => "plume",
        }
    }

    /// How it is written.
    pub(crate) const fn format(self) -> Format {
        match self {
            Self::Own | Self::Stripped | Self::Base => Format::Json,
            Self::Edn | Self::Transactions => Format::Edn,
            Self::Apart | Self::Plume => Format::Plume,
        }
    }

    /// Sessions are what clients did one after another, and nothing else.
    fn is_plain(self) -> bool {
        self >= Self::Base
    }

    fn has_deletes(self) -> bool {
        self <= Self::Base
    }
}

/// The status of a write of which nothing is told but that it happened.
const SILENT: u16 = 204;

const MS: u64 = 1_000;
const SECOND: u64 = 1_000 * MS;
const REPLICAS: u8 = 3;
const KEYS: u8 = 20;

/// A request or an answer is on its way for so long at most, in microseconds.
const CLIENT_DELAY: u64 = 300;

/// How far time goes on before it is seen who was answered.
const SLICE: u64 = 50;

/// How long an impatient client waits.
const PATIENCE: u64 = 200;

/// Tries at other replicas before a client begins a new session.
const REFUSALS_MAX: u32 = 20;

/// A client of the cluster.
#[derive(Default, Clone, Copy)]
struct Client {
    replica: u8,
    /// What it waits for, and until when at the latest; nothing when it may ask.
    open: Option<(u32, u64)>,
    refusals: u32,
}

struct Cluster {
    world: World<Replica<Sound>>,
    clients: Vec<Client>,
    draw: Draw,
    making: Making,
    asked: u32,
    heard: usize,
}

/// What clients of a simulated cluster saw; transactions are those of a model of a store.
pub(crate) fn simulate(making: Making) -> Vec<Operation> {
    if matches!(making.kind, Kind::Transactions | Kind::Apart) {
        return draw(making);
    }
    let delay = Delay::Exponential { least: 100, mean: 700 };
    let plan = Plan {
        format: FORMAT,
        seed: 1,
        replicas: vec![ReplicaPlan::PLAIN; REPLICAS.into()],
        clients: making.clients as u8,
        keys: KEYS + 1,
        settings: Settings::default(),
        network: NetworkPlan { delay, client_delay_max: CLIENT_DELAY, ..NetworkPlan::calm(0) },
        heal_at: limits::TIME_MAX,
        core: 0,
        watch_idle: false,
        from_zero: false,
        operations: Vec::new(),
        faults: Vec::new(),
        watches: Vec::new(),
    };
    let mut world = World::with_room(&plan, Sound, 64);
    world.judge.off = true;
    world.keep_answers();
    world.run_until(2 * SECOND);
    world.watch_clients();
    let client = |number| Client { replica: number as u8 % REPLICAS, ..Client::default() };
    let clients = (0..making.clients).map(client).collect();
    let draw = Source::new(making.operations as u64).draw(Domain::Operation as u64, 0);
    let mut cluster = Cluster { world, clients, draw, making, asked: 0, heard: 0 };
    while (cluster.asked as usize) < making.operations {
        cluster.go_on();
    }
    cluster.end();
    let mut operations = cluster.world.take_client_history().map(|seen| seen.into_operations()).unwrap_or_default();
    if making.broken {
        plant(&mut operations);
    }
    operations
}

/// Operations in a transaction.
const TRANSACTION: usize = 4;

fn draw(making: Making) -> Vec<Operation> {
    let shape = Shape {
        seed: 1,
        operations: making.operations,
        sessions: making.clients,
        keys: KEYS.into(),
        deletes: 0,
        wandering: 0,
        unknown: 0,
        siblings: 0,
        exact: false,
        spreading: 12,
        final_reads: false,
        transaction: TRANSACTION,
        ..Shape::default()
    };
    let mut operations: Vec<Operation> = Generator::new(shape).collect();
    if making.broken {
        plant(&mut operations);
    }
    operations
}

impl Cluster {
    /// Everyone who was answered asks again.
    fn go_on(&mut self) {
        self.world.run_until(self.world.now() + SLICE);
        self.hear();
        for client in 0..self.clients.len() {
            if self.clients[client].open.is_none() && (self.asked as usize) < self.making.operations {
                let operation = self.next(client);
                self.ask(client, operation);
            }
        }
    }

    /// Who was answered, or waits no longer, may ask again.
    fn hear(&mut self) {
        let now = self.world.now();
        let answers = &self.world.answers()[self.heard..];
        self.heard += answers.len();
        for client in &mut self.clients {
            let Some((open, until)) = client.open else { continue };
            match answers.iter().find(|answer| answer.operation == open) {
                Some(answer) if matches!(answer.reply, Some(Reply::Refused(_))) => {
                    (client.open, client.refusals) = (None, client.refusals + 1);
                    client.replica = (client.replica + 1) % REPLICAS;
                }
                Some(_) => (client.open, client.refusals) = (None, 0),
                None if now > until => client.open = None,
                None => {}
            }
        }
    }

    /// What a client asks next.
    fn next(&mut self, client: usize) -> Asked {
        let (draw, kind) = (&mut self.draw, self.making.kind);
        let act = match draw.below(100) {
            0..45 => Act::Get,
            45..55 if kind.has_deletes() => Act::Delete,
            _ => Act::Put(1),
        };
        if draw.chance(300_000) {
            self.clients[client].replica = draw.below(REPLICAS.into()) as u8;
        }
        let other = draw.below(self.clients.len() as u64) as u8;
        let token = match draw.below(100) {
            _ if kind.is_plain() => TokenUse::Keep,
            _ if self.clients[client].refusals > REFUSALS_MAX => TokenUse::Drop,
            0 => TokenUse::Drop,
            1 | 2 => TokenUse::Save,
            3 | 4 => TokenUse::Recall,
            5..9 => TokenUse::Take(other),
            9..14 => TokenUse::Merge(other),
            _ => TokenUse::Keep,
        };
        // Plume's text cannot say that it is unknown whether something happened.
        let patience = if kind != Kind::Plume && draw.chance(1_000) { PATIENCE } else { 0 };
        let key = draw.below(KEYS.into()) as u8;
        Asked { token, patience, ..Asked::plain(client as u8, self.clients[client].replica, key, act) }
    }

    fn ask(&mut self, client: usize, operation: Asked) {
        let at = self.world.now() + 1 + self.draw.below(SLICE);
        let until = if operation.patience > 0 { at + operation.patience } else { u64::MAX };
        self.clients[client].open = Some((self.asked, until));
        self.world.add_operation(Asked { id: self.asked, at, ..operation });
        self.asked += 1;
    }

    /// One client that has all tokens reads everything everywhere.
    fn end(&mut self) {
        self.world.run_until(self.world.now() + 2 * SECOND);
        self.hear();
        let reads = (0..KEYS).flat_map(|key| (0..REPLICAS).map(move |replica| (key, replica)));
        let others = if self.making.kind.is_plain() { 1 } else { self.clients.len() as u8 };
        let merges = (1..others).map(|other| (0, 0, TokenUse::Merge(other)));
        let all: Vec<_> = merges.chain(reads.map(|(key, replica)| (key, replica, TokenUse::Keep))).collect();
        for (key, replica, token) in all {
            self.ask(0, Asked { token, ..Asked::plain(0, replica, key, Act::Get) });
            self.world.run_until(self.world.now() + 10 * MS);
            self.hear();
        }
    }
}

/// The client of what is planted.
const PLANTER: &str = "planter";

/// One more client writes a key twice and reads what it wrote first.
fn plant(operations: &mut Vec<Operation>) {
    let middle = operations.len() / 2;
    let key = operations[middle].key.clone();
    let moment = operations[middle].call_ns.unwrap_or(0);
    let steps = [(Action::Put, "\"p1\""), (Action::Put, "\"p2\""), (Action::Get, "\"p1\"")];
    for (step, (action, value)) in steps.into_iter().enumerate() {
        let mut planted = Operation::new((operations.len()) as u64, PLANTER, action, &key);
        planted.replica.clone_from(&operations[middle].replica);
        planted.value = Some(value.into());
        planted.status = if action == Action::Put { SILENT } else { 200 };
        let begun = moment + step as u64 * 10;
        (planted.call_ns, planted.return_ns) = (Some(begun), Some(begun + 5));
        planted.token_in = (step > 0).then(|| format!("planted{}", step - 1));
        planted.token_out = Some(format!("planted{step}"));
        operations.insert(middle + step, planted);
    }
}

/// Writes a history as a store of this kind leaves it.
pub(crate) fn tell(operations: &[Operation], kind: Kind, output: &mut impl Write) -> io::Result<()> {
    match kind {
        Kind::Own | Kind::Stripped | Kind::Base => {
            for operation in operations {
                let mut told = operation.clone();
                if kind != Kind::Own {
                    (told.shown, told.superseded, told.siblings) = (None, None, None);
                }
                if kind == Kind::Base {
                    (told.token_in, told.token_out) = (None, None);
                    told.merged_from.clear();
                }
                json::write(&told, output)?;
            }
            Ok(())
        }
        Kind::Edn => tell_edn(&operations.chunks(1).collect::<Vec<_>>(), output),
        Kind::Transactions => tell_edn(&transactions(operations), output),
        Kind::Apart | Kind::Plume => tell_plume(operations, output),
    }
}

/// The transactions of drawn operations; what was planted are transactions of one.
fn transactions(operations: &[Operation]) -> Vec<&[Operation]> {
    let place = |one: &Operation| one.id as usize / TRANSACTION;
    let chunks = operations.chunk_by(|one, next| place(one) == place(next) && next.client != PLANTER);
    chunks.collect()
}

/// Invocations and completions in the order of time; a process that does not know how it ended is another one then.
fn tell_edn(runs: &[&[Operation]], output: &mut impl Write) -> io::Result<()> {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for run in runs {
        let next = names.len();
        names.entry(&run[0].client).or_insert(next);
    }
    let (clients, mut process) = (names.len(), (0..names.len()).collect::<Vec<_>>());
    let mut events: Vec<(u64, bool, usize)> = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        let call = run[0].call_ns.unwrap_or(0);
        // What took no time at all ended after it began.
        let last = run[run.len() - 1].return_ns.unwrap_or(call + PATIENCE * 1_000).max(call + 1);
        events.extend([(call, true, at), (last, false, at)]);
    }
    // What ended at the same moment ended before.
    events.sort_unstable();
    let is_single = runs.iter().all(|run| run.len() == 1);
    for (index, (time, is_call, at)) in events.into_iter().enumerate() {
        let (run, client) = (runs[at], names[runs[at][0].client.as_str()]);
        let kind = match &run[0] {
            _ if is_call => "invoke",
            one if one.outcome == Outcome::Unknown => "info",
            one if one.status >= 500 => "fail",
            _ => "ok",
        };
        write!(output, "{{:index {index}, :time {time}, :process {}, :type :{kind}, ", process[client])?;
        let said = |one: &Operation| match (&one.value, one.action) {
            (Some(value), Action::Get) if !is_call => value.clone(),
            (Some(value), Action::Put) => value.clone(),
            _ => "nil".into(),
        };
        if is_single {
            let f = if run[0].action == Action::Get { "read" } else { "write" };
            writeln!(output, ":f :{f}, :value [{} {}]}}", &run[0].key[1..], said(&run[0]))?;
        } else {
            let f = |one: &Operation| if one.action == Action::Get { ":r" } else { ":w" };
            let micro = |one: &Operation| format!("[{} {} {}]", f(one), &one.key[1..], said(one));
            writeln!(output, ":f :txn, :value [{}]}}", run.iter().map(micro).collect::<Vec<_>>().join(" "))?;
        }
        if kind == "info" {
            process[client] += clients;
        }
    }
    Ok(())
}

fn tell_plume(operations: &[Operation], output: &mut impl Write) -> io::Result<()> {
    let mut values: BTreeMap<&str, usize> = BTreeMap::new();
    let mut sessions: BTreeMap<&str, usize> = BTreeMap::new();
    for operation in operations.iter().filter(|one| one.status < 500) {
        let next = values.len() + 1;
        let value = operation.value.as_deref().map_or(0, |value| *values.entry(value).or_insert(next));
        let next = sessions.len() + 1;
        let session = *sessions.entry(&operation.client).or_insert(next);
        let kind = if operation.action == Action::Get { 'r' } else { 'w' };
        writeln!(output, "{kind}({},{value},{session},{})", &operation.key[1..], operation.id)?;
    }
    Ok(())
}
