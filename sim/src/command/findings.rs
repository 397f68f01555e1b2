//! What a campaign finds is kept when it is found: a line for each failure, a case for the lowest seed of each kind.
//! Whatever ends the process afterwards, a signal, a full disk or the machine's operator, takes none of it away.

use super::provenance::{self, quoted};
use super::register::{Finding, Register, Returned, Status};
use super::{Problem, Seeds, files, output};
use crate::campaign::case::{Case, Origin};
use crate::campaign::run::{NamedSubject, Setting};
use crate::generate::{self, Profile};
use crate::oracle::verdict::Violation;
use hence_blackbox::console::part::Part;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// So many cases may differ and want one name.
const NAMES_MAX: u32 = 10_000;

/// What is run, for everything that is written about it.
#[derive(Debug, Clone)]
pub(crate) struct Campaign {
    pub(crate) profile: Profile,
    pub(crate) setting: Setting,
    pub(crate) seeds: Seeds,
    /// Which part of the seeds, of how many.
    pub(crate) shard: (u64, u64),
}

impl Campaign {
    fn shard(&self) -> Option<String> {
        (self.shard.1 > 1).then(|| format!("{}/{}", self.shard.0, self.shard.1))
    }

    fn origin(&self) -> Origin {
        Origin {
            version: provenance::VERSION.into(),
            commit: provenance::COMMIT.into(),
            command: provenance::command_line(),
            profile: self.profile.name().into(),
            seeds: self.seeds.to_string(),
            shard: self.shard(),
        }
    }

    /// The same for a JSON line.
    pub(crate) fn about(&self) -> Value {
        json!({ "version": provenance::VERSION, "commit": provenance::COMMIT, "command": provenance::command_line(),
            "profile": self.profile.name(), "mutant": self.setting.mutant.map(|mutant| mutant.name()),
            "subject": self.setting.subject.map(NamedSubject::name),
            "baseline": self.setting.baseline, "suspicious": self.setting.suspicious,
            "seeds": self.seeds.to_string(), "shard": self.shard() })
    }

    /// The command that runs one seed of it again.
    pub(crate) fn again(&self, seed: u64) -> String {
        let mut command = format!("hence-sim run --seed {seed} --profile {}", self.profile.name());
        match (self.setting.mutant, self.setting.subject_name()) {
            _ if let Some(subject) = self.setting.subject => {
                command.push_str(&format!(" --subject {}", quoted(subject.name())));
            }
            (Some(mutant), _) => command.push_str(&format!(" --mutant {}", quoted(mutant.name()))),
            (None, Some(other)) => command.push_str(&format!(" --{other}")),
            (None, None) => {}
        }
        command
    }

    /// What the file of a case is called: whatever makes campaigns differ stands in it.
    fn name(&self, fingerprint: &str, seed: u64) -> String {
        let kind = fingerprint.replace('/', "-");
        let subject = self.setting.subject_name().map(|subject| format!("-{subject}")).unwrap_or_default();
        format!("{kind}{subject}-{}-{seed}", self.profile.name())
    }
}

/// The lowest seed of a kind so far, and where its case lies, or why it lies nowhere.
#[derive(Debug, Clone)]
struct Kept {
    seed: u64,
    case: Result<PathBuf, String>,
}

/// A finding of the register that a campaign met.
#[derive(Debug, Clone)]
pub(crate) struct Met {
    pub(crate) finding: Finding,
    /// The lowest seed, and how many.
    pub(crate) seed: u64,
    pub(crate) times: u64,
}

/// Takes failures from all threads.
pub(crate) struct Findings {
    campaign: Campaign,
    folder: PathBuf,
    lines: Option<Mutex<Lines>>,
    kinds: Mutex<BTreeMap<String, Kept>>,
    register: Register,
    /// By name.
    met: Mutex<BTreeMap<String, Met>>,
    pub(crate) returned: Vec<Returned>,
    /// Something could not be written: the run ends.
    over: AtomicBool,
}

impl Findings {
    /// Opens what will be written. What cannot be is found here and not after hours.
    pub(crate) fn open(
        campaign: Campaign,
        folder: &Path,
        (lines, register): (Option<&Path>, Option<&Path>),
    ) -> Result<Self, Problem> {
        probe(folder).map_err(|error| Problem::of_file(folder, &error))?;
        let open = |path: &Path| Lines::open(path).map_err(|error| Problem::of_file(path, &error));
        let lines = lines.map(open).transpose()?.map(Mutex::new);
        let register = register.map(Register::read).transpose()?.unwrap_or_default();
        let returned = register.returned()?;
        let (folder, kinds, met, over) =
            (folder.to_owned(), Mutex::default(), Mutex::default(), AtomicBool::new(false));
        let findings = Self { campaign, folder, lines, kinds, register, met, returned, over };
        for Returned { finding, case, violation } in &findings.returned {
            findings.append(json!({ "kind": "returned", "finding": finding.name, "case": case.display().to_string(),
                "violation": violation }));
        }
        Ok(findings)
    }

    /// Keeps a failure. Says whether it counts: one of a known finding does not.
    pub(crate) fn keep(&self, seed: u64, violation: &Violation) -> bool {
        let fingerprint = violation.fingerprint();
        let finding = self.register.of((self.campaign.profile, seed), self.campaign.setting, violation);
        finding.into_iter().for_each(|finding| self.meet(finding, seed));
        let name = finding.map(|finding| finding.name.as_str());
        if finding.is_some_and(|finding| finding.status == Status::Known) {
            self.append(json!({ "kind": "known", "fingerprint": fingerprint, "seed": seed, "violation": violation,
                "finding": name }));
            return false;
        }
        let case = self.keep_case(&fingerprint, seed, violation);
        self.append(json!({ "kind": "failure", "fingerprint": fingerprint, "seed": seed, "violation": violation,
            "case": case.as_ref().map(|path| path.display().to_string()), "finding": name }));
        true
    }

    fn meet(&self, finding: &Finding, seed: u64) {
        let Ok(mut met) = self.met.lock() else { return };
        let new = || Met { finding: finding.clone(), seed, times: 0 };
        let known = met.entry(finding.name.clone()).or_insert_with(new);
        (known.seed, known.times) = (known.seed.min(seed), known.times + 1);
    }

    /// The findings of the register that failures were of, by name.
    pub(crate) fn met(&self) -> Vec<Met> {
        self.met.lock().map(|met| met.values().cloned().collect()).unwrap_or_default()
    }

    /// Writes the case of the lowest seed of its kind so far; says where.
    fn keep_case(&self, fingerprint: &str, seed: u64, violation: &Violation) -> Option<PathBuf> {
        {
            let mut kinds = self.kinds.lock().ok()?;
            if kinds.get(fingerprint).is_some_and(|kept| kept.seed <= seed) {
                return None;
            }
            kinds.insert(fingerprint.into(), Kept { seed, case: Err("the run ended before".into()) });
        }
        let case = self.write_case(fingerprint, seed, violation);
        if let Err(why) = &case {
            self.end(&format!("the case of seed {seed}, {fingerprint}, is not kept: {why}"));
        }
        let written = case.as_ref().ok().cloned();
        let mut kinds = self.kinds.lock().ok()?;
        if let Some(kept) = kinds.get_mut(fingerprint).filter(|kept| kept.seed == seed) {
            kept.case = case;
        }
        written
    }

    fn write_case(&self, fingerprint: &str, seed: u64, violation: &Violation) -> Result<PathBuf, String> {
        let judged = violation.is_the_checkers();
        let plan = generate::plan(seed, self.campaign.profile);
        let case = Case::of(&plan, Setting { judged, ..self.campaign.setting });
        let mut case = case.ok_or("it failed and then passed, so the simulator is not deterministic")?;
        case.revision = provenance::COMMIT.into();
        case.origin = Some(self.campaign.origin());
        let name = self.campaign.name(fingerprint, seed);
        put(&self.folder, &name, &case).map_err(|error| format!("{}: {error}", self.folder.display()))
    }

    /// Adds a line to the file of lines, if there is one.
    pub(crate) fn append(&self, mut line: Value) {
        let Some(lines) = &self.lines else { return };
        line["run"] = self.campaign.about();
        let Ok(mut lines) = lines.lock() else { return };
        if let Err(error) = lines.append(&line) {
            self.end(&format!("{}: {error}; this line is missing there: {line}", lines.path.display()));
        }
    }

    /// Says what could not be kept, and ends the run.
    fn end(&self, why: &str) {
        self.over.store(true, Ordering::SeqCst);
        tell!("hence-sim: {why}");
    }

    /// Something could not be kept.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Where the case of the lowest seed of a kind lies, or why it lies nowhere.
    pub(crate) fn case(&self, fingerprint: &str) -> Result<PathBuf, String> {
        let kinds = self.kinds.lock().map_err(|error| error.to_string())?;
        kinds.get(fingerprint).map_or_else(|| Err("it was not found".into()), |kept| kept.case.clone())
    }
}

/// Writes a case under a name that no other case has. The same case, written by an earlier run, stays as it is.
fn put(folder: &Path, name: &str, case: &Case) -> std::io::Result<PathBuf> {
    let mut part = in_folder(folder, || Part::beside(&folder.join(format!("{name}.json")), None))?;
    part.file().write_all(case.write().as_bytes())?;
    part.file().sync_all()?;
    for number in 1..=NAMES_MAX {
        let suffix = if number == 1 { String::new() } else { format!("-{number}") };
        let path = folder.join(format!("{name}{suffix}.json"));
        match settle(folder, part, &path) {
            Ok(()) => return Ok(path),
            Err((error, _)) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            Err(_) if holds(&path, case) => return Ok(path),
            Err((_, same)) => part = same,
        }
    }
    Err(Error::new(ErrorKind::AlreadyExists, format!("{NAMES_MAX} other cases are called {name}")))
}

/// Gives a whole file its name. Until then it has none, so the folder may be empty, and another campaign takes it away.
fn settle(folder: &Path, mut part: Part, path: &Path) -> Result<(), (Error, Part)> {
    for _ in 1..TRIES_MAX {
        match part.settle(path) {
            Err((error, same)) if error.kind() == ErrorKind::NotFound => part = same,
            settled => return settled,
        }
        if let Err(error) = in_folder(folder, || Ok(())) {
            return Err((error, part));
        }
    }
    part.settle(path)
}

/// Is this the same run with the same end?
fn holds(path: &Path, case: &Case) -> bool {
    let known = std::fs::read_to_string(path).ok().and_then(|text| Case::read(&text).ok());
    known.is_some_and(|known| {
        Case {
            about: known.about.clone(),
            revision: known.revision.clone(),
            origin: known.origin.clone(),
            ..case.clone()
        } == known
    })
}

/// So often a folder is made again that another campaign has taken away.
const TRIES_MAX: usize = 100;

/// Makes something in a folder that is there then. Another campaign that finds out whether it can write there may take the
/// empty folder away in between.
fn in_folder<T>(folder: &Path, make: impl Fn() -> std::io::Result<T>) -> std::io::Result<T> {
    // It was there when it was to be made, and gone when it was looked at.
    let came_and_went = |error: &Error| error.kind() == ErrorKind::AlreadyExists && !folder.is_file();
    let begin = || match std::fs::create_dir_all(folder) {
        Err(error) if came_and_went(&error) => Err(ErrorKind::NotFound.into()),
        begun => begun,
    };
    let attempt = || begin().and_then(|()| make());
    let is_gone = |error: &Error| error.kind() == ErrorKind::NotFound;
    (1..TRIES_MAX).fold(attempt(), |made, _| if made.as_ref().is_err_and(is_gone) { attempt() } else { made })
}

/// Can a file be made in this folder? A folder that is not there is made and taken away again, for no failure needs it.
fn probe(folder: &Path) -> std::io::Result<()> {
    let missing: Vec<&Path> =
        folder.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    let made = in_folder(folder, || Part::beside(&folder.join("case.json"), None).map(drop));
    // Where another campaign has written into it meanwhile, it stays.
    missing.iter().for_each(|path| _ = std::fs::remove_dir(path));
    made
}

/// A file of JSON lines that grows at its end, whatever else writes to it.
struct Lines {
    path: PathBuf,
    /// Nothing for standard output, which is written to as everywhere.
    file: Option<File>,
}

impl Lines {
    fn open(path: &Path) -> std::io::Result<Self> {
        if path.as_os_str() == files::STANDARD {
            return Ok(Self { path: "standard output".into(), file: None });
        }
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        // A line that a full disk cut off ends here, so that the next one is whole.
        if is_cut_off(path) {
            file.write_all(b"\n")?;
        }
        Ok(Self { path: path.to_owned(), file: Some(file) })
    }

    /// Appends a line at once, so that no other process writes into it, or else leaves nothing of it.
    fn append(&mut self, line: &Value) -> std::io::Result<()> {
        let Some(file) = &mut self.file else {
            output::text(&format!("{line}\n"));
            return if output::is_lost() { Err(ErrorKind::BrokenPipe.into()) } else { Ok(()) };
        };
        let bytes = format!("{line}\n").into_bytes();
        let length = |file: &File| file.metadata().ok().filter(|file| file.is_file()).map(|file| file.len());
        let before = length(file);
        let mut done = 0;
        while done < bytes.len() {
            match file.write(&bytes[done..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let is_alone = before.zip(length(file)).is_some_and(|(before, now)| now == before + done as u64);
                    if let Some(before) = before.filter(|_| is_alone) {
                        _ = file.set_len(before);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// Does this file end within a line?
fn is_cut_off(path: &Path) -> bool {
    let last = || -> std::io::Result<u8> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut byte = [0];
        file.read_exact(&mut byte)?;
        Ok(byte[0])
    };
    path.is_file() && last().is_ok_and(|byte| byte != b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Another campaign takes the empty folder away after it was made and before a file is in it. How often, is counted.
    fn made_where_others_take_away(times: usize) -> (std::io::Result<()>, usize) {
        let above = std::env::temp_dir().join(format!("hence-folders-{}-{times}", std::process::id()));
        let folder = above.join("not").join("there");
        let taken = Cell::new(0);
        let make = || {
            if taken.get() < times {
                taken.set(taken.get() + 1);
                std::fs::remove_dir(&folder)?;
            }
            Part::beside(&folder.join("case.json"), None)?.replace(&folder.join("case.json"))
        };
        let made = in_folder(&folder, make).map(drop);
        assert_eq!(made.is_ok(), folder.join("case.json").exists());
        _ = std::fs::remove_dir_all(&above);
        (made, taken.get())
    }

    #[test]
    fn a_folder_that_others_take_away_is_made_again() {
        for times in [0, 1, 2, TRIES_MAX - 1] {
            let (made, taken) = made_where_others_take_away(times);
            assert!(made.is_ok() && taken == times, "{times}: {made:?}");
        }
        let (made, taken) = made_where_others_take_away(usize::MAX);
        assert!(made.is_err_and(|error| error.kind() == ErrorKind::NotFound) && taken == TRIES_MAX);
    }

    /// A case without a name leaves its folder empty, and another campaign takes that away.
    #[test]
    fn a_case_is_kept_though_its_folder_went() {
        let folder = std::env::temp_dir().join(format!("hence-went-{}", std::process::id()));
        let path = folder.join("case.json");
        let part = in_folder(&folder, || Part::beside(&path, None)).expect("a folder of ours");
        // Where a file cannot be without a name, the folder is not empty and stays.
        let went = std::fs::remove_dir(&folder);
        assert!(settle(&folder, part, &path).is_ok() && path.is_file(), "the folder went: {went:?}");
        std::fs::remove_dir_all(&folder).expect("a folder of ours");
    }

    /// What has another reason is not tried again.
    #[test]
    fn other_failures_end_it_at_once() {
        let tried = Cell::new(0);
        let make = || -> std::io::Result<()> {
            tried.set(tried.get() + 1);
            Err(ErrorKind::StorageFull.into())
        };
        let made = in_folder(&std::env::temp_dir(), make);
        assert!(made.is_err_and(|error| error.kind() == ErrorKind::StorageFull) && tried.get() == 1);
    }
}
