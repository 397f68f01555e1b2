//! The file that says how targets are hurt and healed, and when: JSON, with a schema in `docs/faults.schema.json`.
//!
//! Commands are the user's own and run under `sh -uc`; the target is told by variables. So processes, containers and
//! pods are all the same to us.

use crate::console::duration;
use crate::http::Target;
use hence_checker::random::Draw;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Most lanes: so many faults may be open at once.
const LANES_MAX: u64 = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    commands: BTreeMap<String, String>,
    #[serde(default)]
    targets: Vec<BTreeMap<String, String>>,
    #[serde(default)]
    seed: u64,
    lanes: Option<u64>,
    gap: Option<String>,
    length: Option<String>,
    timeout: Option<String>,
    back: Option<String>,
}

/// A way to hurt a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    /// Its process ends at once.
    Kill,
    /// Its process ends and starts, in one command.
    Restart,
    /// Its process stands still.
    Pause,
    /// It is cut off from other replicas.
    Cut,
}

impl Harm {
    const ALL: [Self; 4] = [Self::Kill, Self::Restart, Self::Pause, Self::Cut];

    /// Its name in the file, the report and the history.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Restart => "restart",
            Self::Pause => "pause",
            Self::Cut => "cut",
        }
    }

    /// The command that ends it.
    pub(crate) const fn cure(self) -> Option<&'static str> {
        match self {
            Self::Kill => Some("restart"),
            Self::Restart => None,
            Self::Pause => Some("resume"),
            Self::Cut => Some("heal"),
        }
    }
}

/// The file, checked.
#[derive(Debug)]
pub(crate) struct Plan {
    commands: BTreeMap<String, String>,
    /// What each target's commands find in their environment.
    variables: Vec<BTreeMap<String, String>>,
    harms: Vec<Harm>,
    pub(crate) seed: u64,
    pub(crate) lanes: u64,
    gap: (Duration, Duration),
    length: (Duration, Duration),
    /// The longest a command may take.
    pub(crate) timeout: Duration,
    /// The longest to wait until a target is back.
    pub(crate) back: Duration,
    /// Where what commands print goes.
    log: PathBuf,
    begun: AtomicU64,
    /// Targets that are hurt now, a bit each.
    hurt: AtomicU64,
}

impl Plan {
    /// Reads and checks a file.
    pub(crate) fn read(path: &Path, targets: &[Target], log: PathBuf) -> Result<Self, String> {
        let at = |problem: String| format!("{}: {problem}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| at(error.to_string()))?;
        Self::parse(&text, targets, log).map_err(at)
    }

    fn parse(text: &str, targets: &[Target], log: PathBuf) -> Result<Self, String> {
        let text: Text = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let lanes = text.lanes.unwrap_or(1);
        if !(1..=LANES_MAX).contains(&lanes) || lanes > targets.len() as u64 {
            return Err(format!("\"lanes\" is {lanes}; it is 1 to {LANES_MAX}, and one target each at most"));
        }
        let span = |text: &Option<String>, default| text.as_deref().map_or(Ok(default), span);
        let one = |text: &Option<String>, default| text.as_deref().map_or(Ok(default), duration);
        let second = Duration::from_secs(1);
        Ok(Self {
            harms: harms(&text.commands)?,
            variables: variables(&text.targets, targets)?,
            commands: text.commands,
            seed: text.seed,
            lanes,
            gap: span(&text.gap, (second, second * 3))?,
            length: span(&text.length, (second, second * 3))?,
            timeout: one(&text.timeout, second * 10)?,
            back: one(&text.back, second * 15)?,
            log,
            begun: AtomicU64::new(0),
            hurt: AtomicU64::new(0),
        })
    }

    /// The text of a command, if the file has it.
    pub(crate) fn command(&self, name: &str) -> Option<&str> {
        self.commands.get(name).map(String::as_str)
    }

    /// What a target's commands find in their environment.
    pub(crate) fn variables(&self, target: usize) -> &BTreeMap<String, String> {
        &self.variables[target]
    }

    /// A file for the output and the errors of commands.
    pub(crate) fn log(&self) -> Option<(Stdio, Stdio)> {
        let file = File::options().create(true).append(true).open(&self.log).ok()?;
        let again = file.try_clone().ok()?;
        Some((file.into(), again.into()))
    }

    /// Takes a target, unless another lane has it.
    pub(crate) fn claim(&self, target: usize) -> bool {
        self.hurt.fetch_or(1 << target, Ordering::SeqCst) & 1 << target == 0
    }

    /// Gives a target back.
    pub(crate) fn release(&self, target: usize) {
        self.hurt.fetch_and(!(1 << target), Ordering::SeqCst);
    }

    /// The number of a fault that begins now.
    pub(crate) fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::Relaxed)
    }

    /// How many faults began.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// The next fault of a lane: the pause before it, what it is, its target, its length.
    pub(crate) fn draw(&self, draw: &mut Draw) -> (Duration, Harm, usize, Duration) {
        let mut within = |(low, high): (Duration, Duration)| {
            let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            Duration::from_micros(draw.between(micros(low), micros(high)))
        };
        let (gap, length) = (within(self.gap), within(self.length));
        (gap, draw.pick(&self.harms), draw.below(self.variables.len() as u64) as usize, length)
    }
}

/// The faults that the commands allow.
fn harms(commands: &BTreeMap<String, String>) -> Result<Vec<Harm>, String> {
    let known = ["kill", "restart", "pause", "resume", "cut", "heal"];
    if let Some(unknown) = commands.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("there is no command \"{unknown}\"; there are {}", known.join(", ")));
    }
    let has = |name: &str| commands.contains_key(name);
    let mut harms: Vec<Harm> = Harm::ALL.into_iter().filter(|harm| has(harm.name())).collect();
    if has("kill") {
        // It is what ends a kill then.
        harms.retain(|harm| *harm != Harm::Restart);
    }
    for (harm, cure) in [("pause", "resume"), ("cut", "heal")] {
        if has(harm) != has(cure) {
            return Err(format!("\"{harm}\" and \"{cure}\" belong together"));
        }
    }
    if harms.is_empty() { Err("\"commands\" names no fault".into()) } else { Ok(harms) }
}

fn variables(own: &[BTreeMap<String, String>], targets: &[Target]) -> Result<Vec<BTreeMap<String, String>>, String> {
    if !own.is_empty() && own.len() != targets.len() {
        return Err(format!("\"targets\" has {} entries for {} targets", own.len(), targets.len()));
    }
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    if let Some(wrong) = own.iter().flat_map(BTreeMap::keys).find(|name| !is_name(name)) {
        return Err(format!("the variable \"{wrong}\" is not written in capitals, like NAME"));
    }
    let all = targets.iter().enumerate().map(|(index, target)| {
        let given = [
            ("INDEX", index.to_string()),
            ("ADDRESS", target.address.clone()),
            ("HOST", target.host().to_owned()),
            ("PORT", target.port().to_owned()),
        ];
        let given = given.into_iter().map(|(name, value)| (name.to_owned(), value));
        given.chain(own.get(index).cloned().unwrap_or_default()).collect()
    });
    Ok(all.collect())
}

/// Reads `1s..3s`, or one duration.
fn span(text: &str) -> Result<(Duration, Duration), String> {
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    let (low, high) = (duration(low)?, duration(high)?);
    if low <= high { Ok((low, high)) } else { Err(format!("\"{text}\" runs backwards")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<Plan, String> {
        let targets = ["http://127.0.0.21:1", "127.0.0.22:2"].map(|url| Target::named(url).expect("an address"));
        Plan::parse(text, &targets, PathBuf::new())
    }

    #[test]
    fn a_file_is_read() {
        let text = r#"{"commands": {"kill": "k $NAME", "restart": "r", "pause": "p", "resume": "q"},
            "targets": [{"NAME": "a"}, {"NAME": "b"}], "gap": "500ms..1s", "length": "2s", "seed": 3, "lanes": 2}"#;
        let plan = plan(text).expect("a plan");
        assert_eq!(plan.harms, [Harm::Kill, Harm::Pause]);
        let variables = plan.variables(1);
        assert_eq!(
            (variables["NAME"].as_str(), variables["PORT"].as_str(), variables["INDEX"].as_str()),
            ("b", "2", "1")
        );
        let source = hence_checker::random::Source::new(plan.seed);
        let mut first = source.draw(crate::torture::FAULTS, 0);
        let mut again = first.clone();
        for _ in 0..50 {
            let drawn = plan.draw(&mut first);
            assert_eq!(drawn, plan.draw(&mut again));
            assert!((Duration::from_millis(500)..=Duration::from_secs(1)).contains(&drawn.0));
            assert_eq!(drawn.3, Duration::from_secs(2));
        }
    }

    #[test]
    fn a_wrong_file_says_what_is_wrong() {
        let wrong = [
            ("{}", "commands"),
            (r#"{"commands": {}}"#, "names no fault"),
            (r#"{"commands": {"cut": "x"}}"#, "\"cut\" and \"heal\" belong together"),
            (r#"{"commands": {"resume": "x"}}"#, "belong together"),
            (r#"{"commands": {"explode": "x"}}"#, "no command \"explode\""),
            (r#"{"commands": {"kill": "x"}, "targets": [{}]}"#, "1 entries for 2 targets"),
            (r#"{"commands": {"kill": "x"}, "targets": [{"name": "a"}, {}]}"#, "capitals"),
            (r#"{"commands": {"kill": "x"}, "gap": "3s..1s"}"#, "backwards"),
            (r#"{"commands": {"kill": "x"}, "gap": "soon"}"#, "soon"),
            (r#"{"commands": {"kill": "x"}, "lanes": 3}"#, "lanes"),
            (r#"{"commands": {"kill": "x"}, "surprise": 3}"#, "surprise"),
        ];
        for (text, part) in wrong {
            let error = plan(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
