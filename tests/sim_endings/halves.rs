//! Outputs of commands that a signal ends while they write.

use super::{cases, command, folder, sim, text};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

/// Whether a process has a file of this folder open that had no place there before, by a name or without one.
fn is_writing(child: &Child, here: &Path, before: &[PathBuf]) -> bool {
    let entries = std::fs::read_dir(format!("/proc/{}/fd", child.id())).into_iter().flatten().flatten();
    let mut targets = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets.any(|target| target.starts_with(here) && !before.contains(&target))
}

/// Whatever signal ends a command, and whenever: no file is left that it did not finish, under its own name or another.
#[test]
fn a_signal_leaves_no_half_of_an_output() {
    let here = folder("halves").canonicalize().expect("the folder");
    for (file, format) in [("seen.jsonl", "json"), ("seen.plume", "plume")] {
        let made = sim(&here, &["check-bench", "--file", file, "--format", format, "--operations", "60000"]);
        assert_eq!(made.status.code(), Some(0), "{}", text(&made));
    }
    let export = ["check", "seen.jsonl", "--export", "out", "--to", "edn"];
    let convert = ["check", "seen.plume", "--export", "out", "--to", "json"];
    let make = ["check-bench", "--file", "out", "--format", "json", "--operations", "60000"];
    let page = ["check", "seen.plume", "--html", "out"];
    let (before, mut ended) = (cases(&here), 0);
    for arguments in [&export[..], &convert, &make, &page] {
        let whole = sim(&here, arguments);
        assert_eq!(whole.status.code(), Some(0), "{arguments:?}: {}", text(&whole));
        let whole = std::fs::read(here.join("out")).expect("the output");
        std::fs::remove_file(here.join("out")).expect("it is ours");
        for (signal, wait) in [("TERM", 0), ("INT", 1), ("HUP", 4), ("KILL", 0), ("TERM", 16), ("TERM", 64)] {
            let mut child = command(&here, arguments).spawn().expect("the binary starts");
            while child.try_wait().expect("it is a child").is_none() && !is_writing(&child, &here, &before) {
                std::thread::sleep(Duration::from_micros(200));
            }
            std::thread::sleep(Duration::from_millis(wait));
            if child.try_wait().expect("it is a child").is_none() {
                super::signal(&child, signal);
            }
            let code = child.wait_with_output().expect("it ends").status.code();
            let after: Vec<PathBuf> = cases(&here).into_iter().filter(|path| !before.contains(path)).collect();
            let out = here.join("out");
            assert!(after.iter().all(|path| *path == out), "{arguments:?} {signal} {wait}: {after:?}");
            if std::fs::read(&out).is_ok_and(|written| written != whole) {
                panic!("{arguments:?} {signal} {wait}: half of it has its name");
            }
            ended += u32::from(code.is_none());
            _ = std::fs::remove_file(out);
        }
    }
    assert!(ended > 8, "only {ended} of 24 were ended by the signal");
}
