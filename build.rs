//! Says which commit a binary is built from, for `--version` and for everything that a command writes.
//!
//! `HENCE_COMMIT` says so where it is set, as in an image that is built without `.git`; otherwise git does, if the
//! sources are those of a clone; otherwise nothing is known. Sources that differ from the commit are told.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What every binary is made of, beside its own package; whatever else changes in a clone does not change it.
const SHARED: [&str; 5] = ["core", "transport", "build.rs", "Cargo.toml", "Cargo.lock"];

const UNKNOWN: &str = "unknown";

fn main() {
    println!("cargo:rerun-if-env-changed=HENCE_COMMIT");
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let root = package.parent().unwrap_or(&package);
    let own = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    let named = std::env::var("HENCE_COMMIT").unwrap_or_default();
    let (commit, watched) = built_from(root, own.trim_start_matches("hence-"), &named);
    println!("cargo:rustc-env=HENCE_BUILT_FROM={commit}");
    for path in watched {
        println!("cargo:rerun-if-changed={}", path.display());
    }
}

/// The commit, and what has to change before it is asked for again.
fn built_from(root: &Path, own: &str, named: &str) -> (String, Vec<PathBuf>) {
    let named: String = named.trim().chars().filter(char::is_ascii_graphic).take(80).collect();
    let (commit, mut watched) = match of_clone(root, own) {
        _ if !named.is_empty() => (named, Vec::new()),
        Some(found) => found,
        None => (UNKNOWN.into(), Vec::new()),
    };
    watched.push(root.join("build.rs"));
    (commit, watched)
}

/// What git says of the clone that these sources are. Sources that lie within a clone of something else are no clone.
fn of_clone(root: &Path, own: &str) -> Option<(String, Vec<PathBuf>)> {
    let top = git(root, &["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    let commit = git(root, &["rev-parse", "--short=12", "HEAD"])?;
    let sources = [&SHARED[..], &[own]].concat();
    let differs = git(root, &[&["status", "--porcelain", "--"], &sources[..]].concat()).is_none_or(|it| !it.is_empty());
    Some((if differs { format!("{commit}+changes") } else { commit }, watched(root, &sources)))
}

/// Only a change of these asks git again: a commit, another branch, or the sources, which are compiled anew anyway.
/// A path that does not exist would make cargo ask each time.
fn watched(root: &Path, sources: &[&str]) -> Vec<PathBuf> {
    let branch = git(root, &["symbolic-ref", "--quiet", "HEAD"]);
    let names = ["HEAD", "logs/HEAD"].into_iter().map(str::to_owned).chain(branch);
    let place = |name: String| {
        let mut path = root.join(git(root, &["rev-parse", "--git-path", &name])?);
        // A branch without a file of its own gets one with its next commit.
        while name.starts_with("refs/") && !path.exists() && path.pop() {}
        Some(path)
    };
    let places = names.filter_map(place).chain(sources.iter().map(|name| root.join(name)));
    places.filter(|path| path.exists()).collect()
}

/// A line of git about this folder, whatever clone the environment speaks of.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command.current_dir(root).args(arguments);
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_CEILING_DIRECTORIES"] {
        command.env_remove(name);
    }
    // A look must not take the lock of a clone that is at work.
    let output = command.env("GIT_OPTIONAL_LOCKS", "0").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
