//! Which commit a build says that it is of: `build.rs` in clones of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The script as cargo runs it: a program of its own, compiled once.
fn script() -> &'static Path {
    static SCRIPT: OnceLock<PathBuf> = OnceLock::new();
    SCRIPT.get_or_init(|| {
        let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("build-script-{}", std::process::id()));
        let mut compile = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
        compile.args(["--edition", "2024", "-o"]).arg(&program);
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../build.rs");
        assert!(compile.arg(source).status().expect("rustc starts").success());
        program
    })
}

/// What the script says of a package in this folder: the commit, and what has to change before it is asked again.
fn built_from(root: &Path, own: &str, named: &str) -> (String, Vec<PathBuf>) {
    let mut run = Command::new(script());
    run.env("CARGO_MANIFEST_DIR", root.join(own)).env("CARGO_PKG_NAME", format!("hence-{own}"));
    let output = run.env("HENCE_COMMIT", named).output().expect("the script starts");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("a path that is text");
    let all = |start| text.lines().filter_map(move |line| line.strip_prefix(start));
    let commit = all("cargo:rustc-env=HENCE_BUILT_FROM=").next().expect("a commit");
    // One line, whatever the script is told.
    let others =
        text.lines().filter(|line| !line.starts_with("cargo:re") && !line.starts_with("cargo:rustc-env=HENCE_"));
    assert_eq!(others.count(), 0, "{text}");
    (commit.to_owned(), all("cargo:rerun-if-changed=").map(PathBuf::from).collect())
}

struct Clone(PathBuf);

impl Clone {
    fn new(name: &str) -> Option<Self> {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("provenance").join(name);
        _ = fs::remove_dir_all(&folder);
        for source in ["core", "transport", "sim", "server", "docs"] {
            fs::create_dir_all(folder.join(source)).expect("a folder");
            fs::write(folder.join(source).join("text"), "1").expect("a file");
        }
        fs::write(folder.join("build.rs"), "").expect("a file");
        let clone = Self(folder);
        // The folder lies within our own clone, if that is one; this one is its own.
        clone.git(&["init", "-q", "-b", "main"])?;
        clone.commit();
        Some(clone)
    }

    fn git(&self, arguments: &[&str]) -> Option<String> {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", "-c", "core.hooksPath="]);
        let output = git.args(arguments).current_dir(&self.0).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn commit(&self) {
        self.git(&["add", "-A"]).expect("git");
        self.git(&["commit", "-q", "--allow-empty", "-m", "x"]).expect("git");
    }

    fn head(&self) -> String {
        self.git(&["rev-parse", "--short=12", "HEAD"]).expect("a commit")
    }

    fn is(&self, own: &str, commit: &str) {
        let (found, watched) = built_from(&self.0, own, "");
        assert_eq!(found, commit);
        // Cargo would ask again each time for what is not there.
        assert!(watched.iter().all(|path| path.exists()), "{watched:?}");
    }
}

fn watches(folder: &Path, path: &Path) -> bool {
    built_from(folder, "sim", "").1.iter().any(|watched| watched == path)
}

#[test]
fn a_build_names_its_own_commit() {
    let Some(clone) = Clone::new("clone") else {
        println!("note: no git here");
        return;
    };
    let first = clone.head();
    clone.is("sim", &first);
    // What a binary is not made of does not change it.
    fs::write(clone.0.join("docs/text"), "2").expect("a file");
    fs::write(clone.0.join("server/text"), "2").expect("a file");
    clone.is("sim", &first);
    clone.is("server", &format!("{first}+changes"));
    fs::write(clone.0.join("core/new"), "2").expect("a file");
    clone.is("sim", &format!("{first}+changes"));
    clone.commit();
    assert_ne!(clone.head(), first);
    clone.is("sim", &clone.head());
    // Branches in packs, none at all, and another folder of the same clone.
    clone.git(&["pack-refs", "--all"]).expect("git");
    clone.is("sim", &clone.head());
    assert!(watches(&clone.0, &clone.0.join(".git/refs/heads")) && watches(&clone.0, &clone.0.join(".git/HEAD")));
    clone.git(&["checkout", "-q", "--detach"]).expect("git");
    clone.is("sim", &clone.head());
    let tree = Clone(clone.0.with_file_name("tree"));
    _ = fs::remove_dir_all(&tree.0);
    clone.git(&["worktree", "prune"]).expect("git");
    clone.git(&["worktree", "add", "-q", "-b", "other", tree.0.to_str().expect("a plain path")]).expect("git");
    tree.git(&["commit", "-q", "--allow-empty", "-m", "y"]).expect("git");
    assert_ne!(tree.head(), clone.head());
    tree.is("sim", &tree.head());
}

/// Sources without a clone of their own are of no known commit, unless the build is told.
#[test]
fn an_archive_is_told_or_says_unknown() {
    let Some(clone) = Clone::new("around") else { return };
    let archive = clone.0.join("docs/archive");
    fs::create_dir_all(archive.join("core")).expect("a folder");
    assert_eq!(built_from(&archive, "sim", "").0, "unknown", "the clone around it is of something else");
    let told = built_from(&archive, "sim", " 0123abcd\n");
    assert_eq!(told, ("0123abcd".into(), vec![archive.join("build.rs")]));
    assert_eq!(built_from(&archive, "sim", " \n").0, "unknown");
    assert_eq!(built_from(&clone.0, "sim", "told").0, "told", "what is told comes first");
    assert_eq!(built_from(&archive, "sim", "a\ncargo:rustc-cfg=b").0, "acargo:rustc-cfg=b");
}
