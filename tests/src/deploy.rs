//! The files of `deploy/`, as tests use them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where they are.
///
/// # Panics
/// If the folder is gone.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy")).canonicalize().expect("a folder of ours")
}

/// Runs `deploy/certificates`, its text changed so, in this folder, which is made anew. Says where the files are.
///
/// # Panics
/// If the folder cannot be made, or the script fails.
pub fn certificates(folder: &Path, change: impl Fn(String) -> String) -> PathBuf {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).expect("the target directory is ours");
    let text = std::fs::read_to_string(self::folder().join("certificates")).expect("a file of ours");
    let script = folder.join("certificates");
    std::fs::write(&script, change(text)).expect("the folder is ours");
    let made = Command::new("bash").arg(script).output().expect("there is a shell");
    assert!(made.status.success(), "{made:?}");
    folder.join("secrets")
}
