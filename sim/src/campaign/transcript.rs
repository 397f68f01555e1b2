//! Transcripts: protocol runs as text that a person can review. Each command stands there, and below it what came of
//! it, in the manner of etcd raft's interaction tests. One command writes them again, while `=>` and `expect` lines
//! hold what must never change.
//!
//! ```text
//! # What must not happen, in one sentence.
//! replicas 2 repair_delay=0
//! ----
//!
//! put A x=1 as c0 => 201
//! ----
//! 0.000 c0: 201 created
//! ```
//!
//! Values are numbers, each written once. `put=y`, `get=y` and `delete=y` behind an operation make it a batch. Time stands still but for `advance` and `settle`.

mod watches;
mod words;

use crate::campaign::run::Setting;
use crate::mutants::Mutated;
use crate::observe::{Note, Observer, Sink};
use crate::oracle::words::answer as answered;
use crate::plan::network::NetworkPlan;
use crate::plan::settings::Settings;
use crate::plan::{
    Act, Beside, ConditionUse, FORMAT, Fault, FaultKind, Operation, Plan, ReplicaPlan, TokenUse, limits,
};
use crate::subject::{Probe, Subject};
use crate::world::World;
use hence_core::{Config, Event, LinkState, Replica, Sound};
use std::fmt::Write as _;
use words::{client, micros, plain};

/// What a transcript can hold.
const WRITES_MAX: usize = 512;
const KEYS: [&str; 3] = ["x", "y", "z"];
const CLIENTS: u8 = 6;
/// How long a message takes, in microseconds.
const DELAY: u64 = 1_000;

/// Why a transcript stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranscriptError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

impl std::fmt::Display for TranscriptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for TranscriptError {}

/// Runs a transcript and returns it with what came of each command now.
///
/// # Errors
/// At the first line that is no command, or says what is not so, or where an oracle convicts.
pub fn run(text: &str, setting: Setting) -> Result<String, TranscriptError> {
    match setting.mutant {
        None => Interpreter::<Replica<Sound>>::new(Sound).run(text),
        Some(mutant) => Interpreter::<Replica<Mutated>>::new(Mutated(mutant)).run(text),
    }
}

struct Interpreter<S: Subject> {
    setup: S::Setup,
    world: Option<World<S>>,
    sink: Sink,
    next_id: u32,
    /// Faults in force, by what ends them.
    faults: Vec<(String, u32)>,
}

/// What happens, in the words of a transcript; idle chatter and what a link is made of are left out.
#[derive(Debug)]
struct Narrator(Sink);

impl Observer for Narrator {
    fn note(&mut self, at: u64, replica: Option<usize>, note: Note) {
        let text = match note {
            Note::Started { .. } => "starts".into(),
            Note::Received { from, name: name @ ("push" | "pull" | "supply"), .. } => {
                format!("<- {} {name}", Plan::name(from))
            }
            Note::Applied { dot, own: true } => format!("accepts {dot}"),
            Note::Applied { dot, own: false } => format!("applies {dot}"),
            Note::Event(Event::Installed { from, vector, .. }) => format!("installs a state of {from}: {vector:?}"),
            Note::Event(
                event @ (Event::Linked { .. }
                | Event::Suspected(_)
                | Event::Recovered(_)
                | Event::Up { .. }
                | Event::Renewed(_)
                | Event::AddressContested { .. }
                | Event::ClockTrusted(_)
                | Event::WritesRefused(_)
                | Event::HeldBack(_)
                | Event::Retired { .. }
                | Event::RoundEnded { .. }
                | Event::Dropped { .. }),
            ) => format!("{event:?}"),
            Note::Answered { client, what, .. } => format!("c{client}: {}", plain(&what)),
            Note::Told { client, what, .. } => format!("c{client}: {}", plain(&what)),
            Note::Sent { .. }
            | Note::Died
            | Note::Held { .. }
            | Note::Gone { .. }
            | Note::Acted
            | Note::Stream { .. }
            | Note::Received { .. }
            | Note::Event(_)
            | Note::Asked { .. }
            | Note::Takes { .. }
            | Note::Replies { .. }
            | Note::Strikes { .. }
            | Note::Ends { .. } => return,
        };
        let who = replica.map_or(String::new(), |replica| format!("{} ", Plan::name(replica)));
        _ = writeln!(self.0.borrow_mut(), "{}.{:03} {who}{text}", at / 1_000_000, at % 1_000_000 / 1_000);
    }
}

impl<S: Subject> Interpreter<S> {
    fn new(setup: S::Setup) -> Self {
        Self { setup, world: None, sink: Sink::default(), next_id: 1_000_000, faults: Vec::new() }
    }

    fn run(mut self, text: &str) -> Result<String, TranscriptError> {
        let mut out = String::new();
        let mut below = false;
        for (at, line) in text.lines().enumerate() {
            let wrong = |problem| TranscriptError { line: at + 1, problem };
            if line.trim().is_empty() {
                below = false;
            } else if line == "----" {
                below = true;
            } else if line.starts_with('#') && !below {
                _ = writeln!(out, "{line}");
            } else if !below {
                let done = self.command(line);
                self.oracles().map_err(wrong)?;
                done.map_err(wrong)?;
                let told = self.tell();
                _ = writeln!(out, "{line}\n----\n{told}");
            }
        }
        Ok(out)
    }

    /// What happened since the last command, with short names for lives and addresses.
    fn tell(&self) -> String {
        let mut told = self.sink.take();
        if let Some(world) = &self.world {
            for (incarnation, name) in world.judge.truth.life_names() {
                told = told.replace(&incarnation.to_string(), &name);
            }
            for replica in (0..limits::REPLICAS_MAX).rev() {
                told = told.replace(&Plan::address(replica), &Plan::name(replica).to_string());
            }
        }
        told
    }

    fn oracles(&self) -> Result<(), String> {
        let violation = self.world.as_ref().and_then(|world| world.judge.violation.as_ref());
        violation.map_or(Ok(()), |violation| Err(violation.to_string()))
    }

    fn command(&mut self, line: &str) -> Result<(), String> {
        let (line, expected) = match line.split_once("=>") {
            Some((line, expected)) => (line.trim(), Some(expected.trim())),
            None => (line.trim(), None),
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["replicas", count, options @ ..] => self.replicas(count, options),
            ["put" | "get" | "delete" | "view", ..] => self.operation(&words, expected),
            ["advance", time] => {
                let until = self.world()?.now() + micros(time)?;
                self.world()?.run_until(until);
                Ok(())
            }
            ["settle"] => self.settle(),
            ["start", name] => {
                let replica = self.replica(name)?;
                self.world()?.start_now(replica);
                Ok(())
            }
            ["cut" | "hold", what] => self.cut(what, words[0] == "hold"),
            ["heal", what] => self.end(what),
            ["crash", name] => self.begin(name, |replica| FaultKind::Crash { replica }, "crash"),
            ["restart", name] => self.end(&format!("crash {name}")),
            ["pause", name] => self.begin(name, |replica| FaultKind::Pause { replica }, "pause"),
            ["suspend", name] => self.begin(name, |replica| FaultKind::Suspend { replica }, "suspend"),
            ["wake", name] => self.end(&format!("suspend {name}")),
            ["resume", name] => self.end(&format!("pause {name}")),
            ["wall", name, by] => {
                let by = i64::try_from(micros(by)?).map_err(|error| error.to_string())?;
                self.begin(name, |replica| FaultKind::Jump { replica, by }, "wall")
            }
            ["remove", name, "via", via] => {
                let via = self.replica(via)? as u8;
                self.begin(name, |replica| FaultKind::Unwant { replica, via }, "remove")
            }
            ["add", name] => self.end(&format!("remove {name}")),
            ["introduce", name, "via", via] => {
                let via = self.replica(via)? as u8;
                self.begin(name, |replica| FaultKind::Want { replica, via }, "introduce")
            }
            ["watch", name, at, range, rest @ ..] => self.watch(name, at, range, rest),
            ["resume", name, at] => self.resume_watch(name, at),
            ["expect", name, rest @ ..] if name.starts_with('w') => self.expect_watch(name, rest),
            ["expect", rest @ ..] => self.expect(rest),
            ["state", name] => self.state(name),
            _ => Err(format!("no such command: {line}")),
        }
    }

    fn world(&mut self) -> Result<&mut World<S>, String> {
        self.world.as_mut().ok_or_else(|| "begin with `replicas N`".into())
    }

    fn replica(&mut self, name: &str) -> Result<usize, String> {
        let letter = name.chars().next().filter(char::is_ascii_uppercase).filter(|_| name.len() == 1);
        let replica = letter.map(|letter| (letter as u8 - b'A') as usize);
        let count = self.world()?.replicas();
        replica.filter(|&replica| replica < count).ok_or_else(|| format!("no replica {name}"))
    }

    fn probe(&mut self, name: &str) -> Result<&dyn Probe, String> {
        let replica = self.replica(name)?;
        let subject = self.world()?.subject(replica).ok_or_else(|| format!("{name} does not run"))?;
        subject.probe().ok_or_else(|| "this subject has no probe".into())
    }

    fn replicas(&mut self, count: &str, options: &[&str]) -> Result<(), String> {
        let count: usize = count.parse().map_err(|_| format!("{count} is not a number"))?;
        let mut settings =
            serde_json::to_value(Settings::from(&Config::default())).map_err(|error| error.to_string())?;
        let (mut later, mut apart) = ("", "");
        for option in options {
            let (name, value) = option.split_once('=').ok_or_else(|| format!("{option} is not NAME=VALUE"))?;
            match name {
                "later" => later = value,
                "apart" => apart = value,
                _ => {}
            }
            if matches!(name, "later" | "apart") {
                continue;
            }
            let field = settings.get_mut(name).ok_or_else(|| format!("no setting {name}"))?;
            *field = micros(value).or_else(|_| value.parse::<u64>().map_err(|error| error.to_string()))?.into();
        }
        // Those named by `apart` start as a cluster of their own.
        let side = |n: usize| apart.contains(Plan::name(n));
        let mask = (0..count).filter(|&n| side(n)).fold(0_u16, |mask, n| mask | 1 << n);
        let all = ((1_u32 << count) - 1) as u16;
        let knows = |n: usize| {
            if mask == 0 {
                0
            } else if side(n) {
                mask
            } else {
                all & !mask
            }
        };
        let start_at = |n: usize| if later.contains(Plan::name(n)) { limits::TIME_MAX } else { 0 };
        let plan = Plan {
            format: FORMAT,
            seed: 1,
            replicas: (0..count)
                .map(|n| ReplicaPlan { start_at: start_at(n), knows: knows(n), ..ReplicaPlan::PLAIN })
                .collect(),
            clients: CLIENTS,
            keys: KEYS.len() as u8,
            settings: serde_json::from_value(settings).map_err(|error| error.to_string())?,
            network: NetworkPlan::calm(DELAY),
            heal_at: limits::TIME_MAX,
            core: 0,
            watch_idle: false,
            from_zero: false,
            operations: Vec::new(),
            faults: Vec::new(),
            watches: Vec::new(),
        };
        plan.check().map_err(|error| error.to_string())?;
        let mut world = World::with_room(&plan, self.setup.clone(), WRITES_MAX);
        world.judge.thorough = true;
        world.keep_answers();
        // Starting up is the same every time, so it is not told. A replica that waits for a missing one starts alone
        // first.
        world.run_until(if later.is_empty() { 500_000 } else { 1_500_000 });
        world.observe(Box::new(Narrator(self.sink.clone())));
        self.world = Some(world);
        Ok(())
    }

    fn operation(&mut self, words: &[&str], expected: Option<&str>) -> Result<(), String> {
        let [act, at, rest @ ..] = words else { return Err("say at which replica".into()) };
        let replica = self.replica(at)? as u8;
        let id = self.next_id;
        self.next_id += 1;
        let mut operation = Operation { id, at: self.world()?.now(), ..Operation::plain(0, replica, 0, Act::View) };
        let mut rest = rest.iter().copied();
        if *act != "view" {
            let key = rest.next().ok_or("say which key")?;
            self.key(&mut operation, act, key)?;
        }
        while let Some(word) = rest.next() {
            let mut client = || rest.next().and_then(client).ok_or_else(|| format!("{word} whom?"));
            match word {
                "as" => operation.client = client()?,
                "with" => operation.token = TokenUse::Merge(client()?),
                "from" => operation.token = TokenUse::Take(client()?),
                "fresh" => operation.token = TokenUse::Drop,
                "if-absent" => operation.condition = ConditionUse::IfAbsent,
                "if-seen" => operation.condition = ConditionUse::IfSeen,
                _ => match word.split_once('=') {
                    Some(("wait", time)) => operation.wait = micros(time)?,
                    Some(("concern", holders)) => operation.concern = Some(holders.parse()?),
                    Some(("put", key)) => operation.with.push(beside(key, Act::Put(0))?),
                    Some(("get", key)) => operation.with.push(beside(key, Act::Get)?),
                    Some(("delete", key)) => operation.with.push(beside(key, Act::Delete)?),
                    Some(_) | None => return Err(format!("{word} is not understood")),
                },
            }
        }
        let (id, waits) = (operation.id, operation.waits() > 0);
        let world = self.world()?;
        world.add_operation(operation);
        let now = world.now();
        world.run_until(now);
        let answer = world.answers().iter().rev().find(|kept| kept.operation == id);
        let answer =
            answer.map(|kept| kept.reply.as_ref().map_or("connection lost".into(), |reply| plain(&answered(reply))));
        match (answer, expected) {
            (Some(answer), Some(expected)) if !answer.starts_with(expected) => {
                Err(format!("the answer is \"{answer}\", not \"{expected}\""))
            }
            (None, Some("waits")) if waits => Ok(()),
            (None, Some(expected)) => Err(format!("there is no answer, not \"{expected}\"")),
            (Some(_) | None, _) => Ok(()),
        }
    }

    fn key(&mut self, operation: &mut Operation, act: &str, text: &str) -> Result<(), String> {
        let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value)));
        operation.key = place_of(key)?;
        operation.act = match (act, value) {
            ("put", Some(value)) => {
                operation.id = value.parse().map_err(|_| format!("value {value} is not a number"))?;
                Act::Put(0)
            }
            ("get", None) => Act::Get,
            ("delete", None) => Act::Delete,
            ("erase", None) => Act::Erase,
            _ => return Err(format!("{act} {text} is not understood")),
        };
        Ok(())
    }

    fn settle(&mut self) -> Result<(), String> {
        let world = self.world()?;
        let deadline = world.now() + 60_000_000;
        loop {
            world.run_until(world.now() + 50_000);
            match world.unsettled() {
                None => return Ok(()),
                Some(why) if world.now() > deadline || world.judge.violation.is_some() => {
                    return Err(format!("does not settle: {} {}", why.sign, why.detail));
                }
                Some(_) => {}
            }
        }
    }

    fn cut(&mut self, what: &str, hold: bool) -> Result<(), String> {
        let kind = match (what.split_once('-'), what.split_once('>')) {
            (Some((a, b)), _) => FaultKind::Pair { a: self.replica(a)? as u8, b: self.replica(b)? as u8, hold },
            (None, Some((from, to))) => {
                FaultKind::OneWay { from: self.replica(from)? as u8, to: self.replica(to)? as u8, hold }
            }
            (None, None) => FaultKind::Isolate { replica: self.replica(what)? as u8, hold },
        };
        self.add_fault(what, kind)
    }

    fn begin(&mut self, name: &str, kind: impl Fn(u8) -> FaultKind, what: &str) -> Result<(), String> {
        let replica = self.replica(name)? as u8;
        self.add_fault(&format!("{what} {name}"), kind(replica))
    }

    fn add_fault(&mut self, name: &str, kind: FaultKind) -> Result<(), String> {
        let id = self.next_id;
        self.next_id += 1;
        self.faults.push((name.into(), id));
        let world = self.world()?;
        let now = world.now();
        world.add_fault(Fault { id, at: now, until: limits::TIME_MAX, kind });
        world.run_until(now);
        Ok(())
    }

    fn end(&mut self, name: &str) -> Result<(), String> {
        let at = self.faults.iter().position(|(known, _)| known == name);
        let (_, id) = self.faults.remove(at.ok_or_else(|| format!("{name} is not in force"))?);
        let world = self.world()?;
        world.end_fault(id);
        let now = world.now();
        world.run_until(now);
        Ok(())
    }

    fn expect(&mut self, words: &[&str]) -> Result<(), String> {
        match words {
            ["equal", names @ ..] => self.expect_equal(names),
            [name, "up"] => self.probe(name)?.is_ready().then_some(()).ok_or_else(|| format!("{name} is not up")),
            [name, "joining"] => (!self.probe(name)?.is_ready()).then_some(()).ok_or_else(|| format!("{name} is up")),
            [name, "removed"] => {
                let replica = self.replica(name)?;
                let address = self.world()?.address(replica).clone();
                let wanted = self.probe(name)?.view().is_member(&address);
                (!wanted).then_some(()).ok_or_else(|| format!("{name} takes itself for a member"))
            }
            [name, "rests", peer] => {
                let address = self.replica(peer).map(Plan::address)?;
                let address = hence_core::Address::parse(&address).map_err(|error| error.to_string())?;
                let link = self.probe(name)?.link(&address);
                (link == Some(LinkState::Dormant)).then_some(()).ok_or_else(|| format!("{name} is {link:?} to {peer}"))
            }
            [name, "unlinked"] => {
                (!self.probe(name)?.is_settled()).then_some(()).ok_or_else(|| format!("{name} is linked"))
            }
            [name, "entries", count] => {
                let entries = self.probe(name)?.vector().len();
                (entries.to_string() == *count).then_some(()).ok_or_else(|| format!("{name} has {entries} entries"))
            }
            [name, "parked", count] => {
                let parked = self.probe(name)?.load().parked;
                (parked.to_string() == *count).then_some(()).ok_or_else(|| format!("{name} parks {parked}"))
            }
            [name, versions] => {
                let held = self.held(name)?;
                let (key, wanted) = versions.split_once('=').ok_or("write KEY=VALUES or KEY=")?;
                let found =
                    held.iter().find(|(known, _)| known == key).map_or(String::new(), |(_, values)| values.clone());
                (found == wanted).then_some(()).ok_or_else(|| format!("{name} holds {key}={found}"))
            }
            _ => Err(format!("cannot expect {words:?}")),
        }
    }

    fn expect_equal(&mut self, names: &[&str]) -> Result<(), String> {
        let states: Result<Vec<_>, String> = names.iter().map(|name| self.held(name)).collect();
        let states = states?;
        let same = states.windows(2).all(|pair| pair[0] == pair[1]);
        same.then_some(()).ok_or_else(|| format!("they hold {states:?}"))
    }

    /// Present keys with the values of their versions, winner first.
    fn held(&mut self, name: &str) -> Result<Vec<(String, String)>, String> {
        let store = self.probe(name)?.all();
        let values = |siblings: &hence_core::Siblings| {
            let each = siblings.iter().map(|s| plain(&String::from_utf8_lossy(s.value.as_bytes())));
            each.collect::<Vec<_>>().join("|")
        };
        let key = |key: &hence_core::Key| {
            let place = key.as_str()[1..].parse::<usize>().ok().and_then(|n| KEYS.get(n));
            place.map_or_else(|| key.as_str().to_owned(), |name| (*name).to_owned())
        };
        Ok(store.into_iter().map(|(name, siblings)| (key(&name), values(&siblings))).collect())
    }

    fn state(&mut self, name: &str) -> Result<(), String> {
        let held = self.held(name)?;
        let probe = self.probe(name)?;
        let (vector, ready) = (format!("{:?}", probe.vector()), probe.is_ready());
        let held: Vec<String> = held.into_iter().map(|(key, values)| format!("{key}={values}")).collect();
        let ready = if ready { "up" } else { "joining" };
        _ = writeln!(self.sink.borrow_mut(), "{name} {ready} covers {vector} holds {}", held.join(" "));
        Ok(())
    }
}

fn place_of(key: &str) -> Result<u8, String> {
    let place = KEYS.iter().position(|name| *name == key).ok_or_else(|| format!("keys are {KEYS:?}, not {key}"))?;
    Ok(place as u8)
}

/// What goes with an operation in one batch.
fn beside(key: &str, act: Act) -> Result<Beside, String> {
    Ok(Beside { key: place_of(key)?, act, condition: ConditionUse::Always })
}
