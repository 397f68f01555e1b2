//! What lies in a folder of findings: cases, and the JSON lines of campaigns. What is neither is named and left out.

use super::cases::read;
use super::files::Input;
use super::findings::Campaign as Asked;
use super::provenance::quoted;
use super::{Problem, Seeds};
use crate::campaign::case::{BYTES_MAX, Case};
use crate::campaign::run::{NamedSubject, Setting};
use crate::generate::Profile;
use crate::mutants::Mutant;
use crate::oracle::verdict::Violation;
use crate::triage::{Campaign, Found, Source};
use hence_checker::format;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

/// So many files are read of one folder.
const FILES_MAX: usize = 100_000;

/// The longest line that is read, in bytes.
const LINE_MAX: u64 = 1 << 20;

/// So many failures are kept.
const FAILURES_MAX: usize = 200_000;

/// All of a folder.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) found: Vec<Found>,
    pub(super) campaigns: BTreeSet<Campaign>,
    /// What is neither, with the reason.
    pub(super) skipped: Vec<(String, String)>,
    /// Whether the canary of a campaign was found, by what its lines say of the campaign.
    canaries: BTreeMap<String, bool>,
    /// Where each failure stands in `found`.
    known: BTreeMap<(String, u64, String, &'static str), usize>,
}

/// Reads a folder, the oldest file first. A folder within it is not looked into.
pub(super) fn gather(folder: &Path, subjects: &[NamedSubject]) -> Result<Gathered, Problem> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| Problem::of_file(folder, &error))? {
        let entry = entry.map_err(|error| Problem::of_file(folder, &error))?;
        let metadata = std::fs::metadata(entry.path()).ok().filter(std::fs::Metadata::is_file);
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if let Some(metadata) = metadata.filter(|_| !is_hidden) {
            files.push((metadata.modified().ok(), entry.path()));
        }
    }
    files.sort();
    let mut gathered = Gathered::default();
    let left = files.split_off(files.len().min(FILES_MAX));
    for (_, path) in &files {
        let done = match kind_of(path) {
            Kind::Lines => gathered.take_lines(path, subjects),
            Kind::Other => read(path, subjects).map(|case| gathered.take_case(path, case, subjects)),
        };
        if let Err(Problem { text, .. }) = done {
            let name = path.display().to_string();
            let why = text.strip_prefix(&name).map_or(text.as_str(), |rest| rest.trim_start_matches(": "));
            gathered.skipped.push((name, why.to_owned()));
        }
    }
    if !left.is_empty() {
        let why = format!("only {FILES_MAX} files are read; {} are left", left.len());
        gathered.skipped.push((folder.display().to_string(), why));
    }
    Ok(gathered)
}

/// What a file begins like.
enum Kind {
    Lines,
    Other,
}

/// The lines of a campaign begin with an object on one line that has a kind.
fn kind_of(path: &Path) -> Kind {
    let first = || -> Option<Value> {
        let mut line = Vec::new();
        let plain = format::unwrapped(Input::open(path).ok()?.bytes).ok()?;
        BufReader::new(plain.take(LINE_MAX)).read_until(b'\n', &mut line).ok()?;
        serde_json::from_slice(&line).ok()
    };
    if first().is_some_and(|line| line["kind"].is_string()) { Kind::Lines } else { Kind::Other }
}

impl Gathered {
    fn take_case(&mut self, path: &Path, case: Case, subjects: &[NamedSubject]) {
        let Ok(setting) = case.setting_among(subjects) else { return };
        let origin = case.origin.as_ref();
        let commit = origin.map_or(&case.revision, |origin| &origin.commit).clone();
        self.take(Found {
            name: path.display().to_string(),
            fingerprint: case.fingerprint.clone(),
            seed: case.plan.seed,
            profile: origin.map(|origin| origin.profile.clone()).unwrap_or_default(),
            commit,
            setting,
            again: format!("hence-sim replay {}", quoted(&path.to_string_lossy())),
            is_counted: false,
            source: Source::Case(Box::new(case)),
        });
    }

    fn take_lines(&mut self, path: &Path, subjects: &[NamedSubject]) -> Result<(), Problem> {
        let input = Input::open(path)?;
        let unreadable = |error: String| Problem::from(format!("{}: {error}", path.display()));
        let plain = format::unwrapped(input.bytes).map_err(|error| unreadable(error.to_string()))?;
        let mut lines = BufReader::new(plain.take(BYTES_MAX as u64 * 4));
        for number in 1_u64.. {
            let mut line = Vec::new();
            let taken = lines.by_ref().take(LINE_MAX).read_until(b'\n', &mut line);
            match taken.map_err(|error| unreadable(error.to_string()))? {
                0 => break,
                bytes if bytes as u64 == LINE_MAX => return Err(unreadable(format!("line {number} is too long"))),
                _ => {}
            }
            let name = format!("{}:{number}", path.display());
            if let Err(why) = self.take_line(&name, &line, subjects) {
                self.skipped.push((name, why));
            }
        }
        Ok(())
    }

    fn take_line(&mut self, name: &str, line: &[u8], subjects: &[NamedSubject]) -> Result<(), String> {
        let line: Value = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let run = &line["run"];
        let text = |value: &Value| value.as_str().map(str::to_owned).unwrap_or_default();
        match line["kind"].as_str() {
            Some("failure") => {}
            Some("canary") => {
                let found = line["found"].as_bool().ok_or("it does not say whether it was found")?;
                self.canaries.insert(run.to_string(), found);
                return Ok(());
            }
            // Of these the campaign itself said what they are.
            Some("known" | "returned") => return Ok(()),
            Some("summary") => {
                let setting = setting_of(run, false, subjects)?;
                let subject = setting.subject_name().unwrap_or_default().to_owned();
                let seeds = format!("{} {}", text(&run["seeds"]), text(&run["shard"]));
                let schedules = line["schedules"].as_u64().ok_or("it says no number of schedules")?;
                let (profile, commit) = (text(&run["profile"]), text(&run["commit"]));
                let canary = self.canaries.get(&run.to_string()).copied();
                self.campaigns.insert(Campaign { profile, subject, commit, seeds, schedules, canary });
                return Ok(());
            }
            _ => return Err("this is no line of a campaign".into()),
        }
        let violation: Violation =
            serde_json::from_value(line["violation"].clone()).map_err(|error| format!("violation: {error}"))?;
        let setting = setting_of(run, violation.is_the_checkers(), subjects)?;
        let seed = line["seed"].as_u64().ok_or("it says no seed")?;
        let profile = Profile::named(&text(&run["profile"])).ok_or("it says no profile that there is")?;
        let campaign = Asked { profile, setting, seeds: Seeds { first: seed, last: seed }, shard: (0, 1) };
        if self.found.len() >= FAILURES_MAX {
            return Err(format!("only {FAILURES_MAX} failures are kept"));
        }
        self.take(Found {
            name: name.to_owned(),
            fingerprint: violation.fingerprint(),
            seed,
            profile: profile.name().to_owned(),
            commit: text(&run["commit"]),
            setting,
            again: campaign.again(seed),
            is_counted: true,
            source: Source::Seed(profile, seed),
        });
        Ok(())
    }

    /// A failure that is there twice is one: its smaller case, and its line for the rate.
    fn take(&mut self, found: Found) {
        let key = (found.fingerprint.clone(), found.seed, found.profile.clone(), found.subject());
        let Some(&at) = self.known.get(&key) else {
            self.known.insert(key, self.found.len());
            self.found.push(found);
            return;
        };
        let known = &mut self.found[at];
        let is_counted = known.is_counted || found.is_counted;
        let is_smaller = match (&found.source, &known.source) {
            (Source::Case(one), Source::Case(other)) => one.plan.size() < other.plan.size(),
            (Source::Case(_), Source::Seed(..)) => true,
            (Source::Seed(..), _) => false,
        };
        if is_smaller {
            *known = found;
        }
        known.is_counted = is_counted;
    }
}

/// What a campaign ran, as its lines say it.
fn setting_of(run: &Value, judged: bool, subjects: &[NamedSubject]) -> Result<Setting, String> {
    let mutant = match run["mutant"].as_str() {
        None => None,
        Some(name) => Some(Mutant::named(name).ok_or_else(|| format!("there is no mutant \"{name}\""))?),
    };
    let subject = match run["subject"].as_str() {
        None => None,
        Some(name) => {
            let found = subjects.iter().find(|subject| subject.name() == name);
            Some(*found.ok_or_else(|| format!("this program has no subject \"{name}\""))?)
        }
    };
    let is = |name: &str| run[name].as_bool().unwrap_or_default();
    Ok(Setting {
        mutant,
        subject,
        baseline: is("baseline"),
        suspicious: is("suspicious"),
        judged,
        ..Setting::default()
    })
}

/// A name for the file of a bug's smallest case.
pub(super) fn file_of(folder: &Path, bucket: &str) -> PathBuf {
    let plain = bucket.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let words: Vec<&str> = plain.filter(|word| !word.is_empty()).collect();
    folder.join(format!("{}.json", words.join("-")))
}
