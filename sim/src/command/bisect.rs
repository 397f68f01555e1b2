//! `bisect`: the commit with which a case began to fail. `git bisect run` does it, in a tree of its own, where each commit's own
//! `hence-sim` is built and replays the case.

use super::cli::Bisect;
use super::register::Register;
use super::signals::Stop;
use super::{Done, End, Problem, output, provenance};
use serde_json::json;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What is run for each commit: 0 for one that passes, 1 for one that fails so, 125 for one that cannot tell.
const STEP: &str = r#"commit=$(git rev-parse --short HEAD)
if ! (eval "$HENCE_BISECT_BUILD") >"$HENCE_BISECT_LOG" 2>&1; then
    echo "  $commit does not build" >&2
    exit 125
fi
said=$("./$HENCE_BISECT_PROGRAM" replay "$HENCE_BISECT_CASE" 2>&1)
case "$?,$said" in
0,*) echo "  $commit passes" >&2; exit 0 ;;
1,"same failure"*) echo "  $commit fails" >&2; exit 1 ;;
*) echo "  $commit cannot tell: $(echo "$said" | head -n 1)" >&2; exit 125 ;;
esac
"#;

/// A commit that cannot tell.
const SKIP: i32 = 125;

/// A tree of its own beside the repository, which goes at the end.
struct Tree<'a> {
    asked: &'a Bisect,
    case: PathBuf,
    /// The tree and what belongs to it are in here.
    folder: PathBuf,
    stop: Stop,
}

pub(crate) fn bisect(asked: &Bisect) -> Done {
    let stop = Stop::watch()?;
    let case = case_of(asked)?;
    if asked.json {
        output::go_aside();
    }
    provenance::introduce();
    let folder = std::env::temp_dir().join(format!("hence-bisect-{}", std::process::id()));
    std::fs::create_dir(&folder).map_err(|error| Problem::of_file(&folder, &error))?;
    let tree = Tree { asked, case, folder, stop };
    let (good, bad) = (tree.commit(&asked.good)?, tree.commit(&asked.bad)?);
    let checkout = tree.path().to_string_lossy().into_owned();
    tree.git(&asked.repository, &["worktree", "add", "--quiet", "--detach", &checkout, &bad])?;
    std::fs::write(tree.script(), STEP).map_err(|error| Problem::of_file(&tree.script(), &error))?;
    for (commit, wanted, says) in [(&bad, 1, "does not fail with"), (&good, 0, "does not pass")] {
        tree.git(&tree.path(), &["checkout", "--quiet", "--force", "--detach", commit])?;
        if tree.step()? != wanted {
            return Err(Problem::nothing(format!("{commit} {says} this case, so there is nothing to look for")));
        }
    }
    tree.git(&tree.path(), &["bisect", "start", &bad, &good])?;
    let log = tree.bisected()?;
    told(&tree, &log, (&good, &bad))
}

/// The case that is looked for: a file, or that of a finding in the register.
fn case_of(asked: &Bisect) -> Result<PathBuf, Problem> {
    let file = PathBuf::from(&asked.finding);
    let path = if file.exists() {
        file
    } else {
        let register = Register::read(&asked.findings)?;
        let found = register.named(&asked.finding);
        let named = || format!("\"{}\" is neither a file nor a finding of {}", asked.finding, asked.findings.display());
        let found = found.ok_or_else(named)?;
        register.case_of(found).ok_or_else(|| format!("the finding \"{}\" has no case", found.name))?
    };
    std::fs::canonicalize(&path).map_err(|error| Problem::of_file(&path, &error))
}

impl Tree<'_> {
    fn path(&self) -> PathBuf {
        self.folder.join("tree")
    }

    fn script(&self) -> PathBuf {
        self.folder.join("step.sh")
    }

    /// What git prints.
    fn git(&self, place: &Path, words: &[&str]) -> Result<String, Problem> {
        let done = git(place, words).output().map_err(|error| format!("git: {error}"))?;
        if done.status.success() {
            return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&done.stderr).trim().replace('\n', "; ");
        Err(format!("git {}: {said}", words.join(" ")).into())
    }

    fn commit(&self, revision: &str) -> Result<String, Problem> {
        let commit = format!("{revision}^{{commit}}");
        let found = self.git(&self.asked.repository, &["rev-parse", "--verify", "--end-of-options", &commit])?;
        Ok(found.trim().to_owned())
    }

    /// Waits for a command; a signal to this process ends it.
    fn wait(&self, mut command: Command, log: Option<&Path>) -> Result<i32, Problem> {
        let stdout = match log {
            None => Stdio::null(),
            Some(log) => File::create(log).map_err(|error| Problem::of_file(log, &error))?.into(),
        };
        command
            .stdin(Stdio::null())
            .stdout(stdout)
            .current_dir(self.path())
            .env("HENCE_BISECT_BUILD", &self.asked.build)
            .env("HENCE_BISECT_PROGRAM", &self.asked.program)
            .env("HENCE_BISECT_CASE", &self.case)
            .env("HENCE_BISECT_LOG", self.folder.join("build.log"));
        let mut child = command.spawn().map_err(|error| format!("git: {error}"))?;
        loop {
            if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
                return Ok(status.code().unwrap_or(SKIP));
            }
            if self.stop.is_asked() {
                _ = child.kill();
                _ = child.wait();
                return Err(Problem::nothing("a signal ended it before the commit was found".into()));
            }
            hence_blackbox::console::nap(Duration::from_millis(20));
        }
    }

    /// Builds and replays in the tree as it is.
    fn step(&self) -> Result<i32, Problem> {
        let mut command = Command::new("sh");
        command.arg(self.script());
        self.wait(command, None)
    }

    /// What `git bisect run` prints.
    fn bisected(&self) -> Result<String, Problem> {
        let (script, log) = (self.script().to_string_lossy().into_owned(), self.folder.join("bisect.log"));
        self.wait(git(&self.path(), &["bisect", "run", "sh", &script]), Some(&log))?;
        std::fs::read_to_string(&log).map_err(|error| Problem::of_file(&log, &error))
    }
}

impl Drop for Tree<'_> {
    fn drop(&mut self) {
        let path = self.path().to_string_lossy().into_owned();
        _ = self.git(&self.asked.repository, &["worktree", "remove", "--force", &path]);
        _ = std::fs::remove_dir_all(&self.folder);
        _ = self.git(&self.asked.repository, &["worktree", "prune"]);
    }
}

/// Git at a place, whatever repository the caller's variables name.
fn git(place: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(place).args(words).env("LC_ALL", "C");
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(name);
    }
    command
}

/// Says which commit it is, or which it may be.
fn told(tree: &Tree<'_>, log: &str, (good, bad): (&str, &str)) -> Done {
    let is_commit = |word: &str| word.len() >= 40 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let named = |line: &str| Some(line.split_once(" is the first ")?.0.to_owned()).filter(|word| is_commit(word));
    let first = log.lines().find_map(named);
    let candidates: Vec<&str> = match first {
        Some(_) => Vec::new(),
        None => log.lines().filter(|line| is_commit(line)).collect(),
    };
    let about = |commit: &str| tree.git(&tree.path(), &["show", "--no-patch", "--format=%h %s", commit]);
    let subject = first.as_deref().map(about).transpose()?.map(|text| text.trim().to_owned());
    if tree.asked.json {
        let value = json!({ "kind": "bisect", "case": tree.case.display().to_string(), "good": good, "bad": bad,
            "first_bad": first, "subject": subject, "candidates": candidates });
        output::text(&format!("{value}\n"));
    }
    match &subject {
        Some(subject) => say!("{subject}\n  is the first commit that fails"),
        None if candidates.is_empty() => {
            say!("no commit was found: {}", log.lines().last().unwrap_or("git said nothing"))
        }
        None => {
            say!("it is one of these, which could not tell or were not tried:");
            for commit in &candidates {
                say!("  {}", about(commit)?.trim());
            }
        }
    }
    Ok(if first.is_some() { End::Clean } else { End::Nothing })
}
