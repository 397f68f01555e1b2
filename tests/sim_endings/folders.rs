//! Folders of cases that several campaigns begin to use at the same moment.

use super::{case, cases, command, folder, signal, text};
use hence_sim::campaign::case::Outcome;
use std::path::Path;
use std::process::{Child, Output};

fn campaign(here: &Path, more: &[&str]) -> Child {
    command(here, &[&["run", "--cases", "not/there"], more].concat()).spawn().expect("the binary starts")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

/// Half of them find nothing and leave no folder; the others keep each what they found.
#[test]
fn many_campaigns_begin_at_once() {
    let here = folder("at-once");
    for round in 0..4 {
        let finding: [&[&str]; 3] = [
            &["--seeds", "0..30", "--mutant", "serve-uncovered"],
            &["--seeds", "0..30", "--mutant", "apply-without-causes"],
            &["--seeds", "0..30", "--baseline"],
        ];
        let seeds: Vec<String> = (0..9).map(|seed| seed.to_string()).collect();
        let mut started: Vec<(Child, i32)> = Vec::new();
        for (at, seed) in seeds.iter().enumerate() {
            started.push((campaign(&here, &["--seed", seed]), 0));
            if at % 3 == round % 3 {
                started.push((campaign(&here, finding[at / 3]), 1));
            }
        }
        for (child, expected) in started {
            let output = child.wait_with_output().expect("it ends");
            assert_eq!(code(&output), Some(expected), "{}", text(&output));
        }
        let found = cases(&here.join("not/there"));
        assert!(found.len() >= 3, "{found:?}");
        found.iter().for_each(|path| assert_eq!(case(path).replay().0, Outcome::Same, "{path:?}"));
    }
}

/// A campaign that stands still while others come and go finds its folder again.
#[test]
fn a_campaign_that_stood_still_keeps_what_it_finds() {
    let here = folder("stood-still");
    let still = campaign(&here, &["--seeds", "0..200", "--mutant", "serve-uncovered"]);
    signal(&still, "STOP");
    for seed in ["1", "2", "3"] {
        let other = campaign(&here, &["--seed", seed]).wait_with_output().expect("it ends");
        assert_eq!(code(&other), Some(0), "{}", text(&other));
        _ = std::fs::remove_dir(here.join("not/there"));
        _ = std::fs::remove_dir(here.join("not"));
    }
    signal(&still, "CONT");
    let output = still.wait_with_output().expect("it ends");
    assert_eq!(code(&output), Some(1), "{}", text(&output));
    assert!(!cases(&here.join("not/there")).is_empty(), "{}", text(&output));
}

/// An array of jobs that are more than there are seeds: those without one may count as fine, and no other ending does.
#[test]
fn an_empty_shard_may_count_as_fine_and_nothing_else() {
    let here = folder("empty");
    let run = |more: &[&str]| code(&campaign(&here, more).wait_with_output().expect("it ends"));
    for (part, expected) in [("0/5", 0), ("1/5", 0), ("2/5", 4), ("3/5", 4), ("4/5", 4)] {
        assert_eq!(run(&["--seeds", "0..2", "--shard", part]), Some(expected), "{part}");
        assert_eq!(run(&["--seeds", "0..2", "--shard", part, "--allow-empty"]), Some(0), "{part}");
    }
    let planted = ["--seeds", "0..30", "--shard", "0/1", "--allow-empty", "--mutant", "serve-uncovered"];
    assert_eq!(run(&planted), Some(1), "a failure is one");
    assert_eq!(run(&["--seeds", "0..0", "--allow-empty"]), Some(2), "no seed at all is a mistake");
}
