//! The house rules, as a test: sizes, comments, banned words and calls, the direction of dependencies, links.
//!
//! What a compiler or clippy checks is not repeated here.

mod decisions;
mod dependencies;
mod formats;
mod listed;
mod prose;
mod protocol;
mod rooms;
mod settings;
mod trust;
mod vocabulary;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 69;
const CRATES: [&str; 11] = [
    "core",
    "transport",
    "sim/checker",
    "sim/blackbox",
    "sim/loopback",
    "sim",
    "server/client",
    "server",
    "tests",
    "bench",
    "examples/naive-store",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|problem| panic!("{path}: {problem}"))
}

/// Every file of the repository that has one of these endings, with its path from the root.
fn files(endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of ours").map(|entry| entry.expect("an entry").path()) {
            let name = entry.file_name().expect("entries have names").to_string_lossy().into_owned();
            if entry.is_dir() {
                if name != ".git" && name != "target" && name != "vendor" {
                    folders.push(entry);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let path = entry.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
                found.push((path, fs::read_to_string(&entry).unwrap_or_default()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no files end in {endings:?}");
    found
}

/// The text before the test module at its end.
fn without_tests(text: &str) -> &str {
    let is_here = |at: usize| text[at..].lines().nth(2).is_some_and(|line| line.ends_with('{'));
    let found = text.match_indices("\n#[cfg(test)]\nmod ").map(|(at, _)| at).find(|&at| is_here(at));
    found.map_or(text, |at| &text[..at])
}

/// Fails with all complaints at once.
fn report(rule: &str, complaints: &[String]) {
    assert!(complaints.is_empty(), "{rule}\n  {}", complaints.join("\n  "));
}

/// A file that holds nothing but tests of its parent.
fn is_test_module(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

fn is_rust_of_ours(path: &str) -> bool {
    CRATES.iter().any(|name| path.starts_with(&format!("{name}/")))
}

#[test]
fn files_are_short() {
    let mut complaints = Vec::new();
    for (path, text) in files(&[".rs"]) {
        let lines = without_tests(&text).lines().count();
        if lines > FILE_LINES_MAX && !is_test_module(&path) {
            complaints.push(format!("{path}: {lines} lines"));
        }
    }
    report("a file has at most 500 lines without its tests", &complaints);
}

#[test]
fn functions_are_short() {
    let mut complaints = Vec::new();
    for (path, text) in files(&[".rs"]) {
        let mut open: Vec<(usize, usize, &str)> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            if is_function(line.trim_start()) && !line.ends_with('}') && !line.ends_with(';') {
                open.push((indent, number, line));
            }
            // A declaration without a body ends before anything else begins at its indentation.
            if let Some(&(begin, start, head)) = open.last()
                && begin == indent
                && number > start
                && (line.trim_start().starts_with('}') || line.ends_with(';'))
            {
                open.pop();
                if number - start + 1 > FUNCTION_LINES_MAX {
                    complaints.push(format!("{path}:{}: {} lines: {}", start + 1, number - start + 1, head.trim()));
                }
            }
        }
    }
    report("a function has fewer than 70 lines", &complaints);
}

fn is_function(line: &str) -> bool {
    let words = ["pub(crate)", "pub(super)", "pub", "const", "async", "unsafe", "extern \"C\""];
    let mut rest = line;
    while let Some(after) = words.iter().find_map(|word| rest.strip_prefix(word)?.strip_prefix(' ')) {
        rest = after;
    }
    rest.starts_with("fn ")
}

#[test]
fn every_module_says_what_it_is() {
    let opens =
        |text: &str| text.lines().find(|line| !line.starts_with("#![")).is_some_and(|line| line.starts_with("//! "));
    let silent = files(&[".rs"]).into_iter().filter(|(path, text)| is_rust_of_ours(path) && !opens(text));
    let complaints: Vec<String> = silent.map(|(path, _)| path).collect();
    report("a module opens with //! and what it is", &complaints);
}

#[test]
fn modules_lie_where_their_names_say() {
    let word = ["#[pa", "th"].concat();
    let moved = files(&[".rs"]).into_iter().filter(|(_, text)| text.contains(&word));
    let complaints: Vec<String> = moved.map(|(path, _)| path).collect();
    report("what two crates share is a library, not a file that both include", &complaints);
}

#[test]
fn nothing_is_left_to_do() {
    // Put together here, so that this file does not contain them.
    let words = [["TO", "DO"], ["FIX", "ME"], ["XX", "X:"], ["dbg", "!("]].map(|parts| parts.concat());
    let mut complaints = Vec::new();
    for (path, text) in files(&[".rs", ".md", ".toml", ".yaml", "Dockerfile", "run", ".sh"]) {
        for (number, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word.as_str())) {
                complaints.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    report("nothing is left to do on main", &complaints);
}

#[test]
fn nothing_depends_on_one_machine() {
    let words = [
        ["/wo", "rk/"],
        ["/ro", "ot/"],
        ["/ho", "me/"],
        ["../sha", "red"],
        ["static.crates", ".io"],
        ["index.crates", ".io"],
    ];
    let words = words.map(|parts| parts.concat());
    let mut complaints = Vec::new();
    for (path, text) in files(&[".rs", ".md", ".toml", ".yaml", ".json", ".txt", "Dockerfile", "run", ".sh"]) {
        for (number, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word.as_str())) {
                complaints.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    report("no path of one machine and no registry's host stands in the repository", &complaints);
}

/// An output that no process reads, or a full disk, ends no command. The macros of the standard library would end it with
/// a panic.
#[test]
fn no_output_panics() {
    let banned = ["print!(", "println!("];
    let mut complaints = Vec::new();
    for (path, text) in files(&[".rs"]) {
        let is_product = is_rust_of_ours(&path) && path.contains("/src/") && !path.starts_with("tests/");
        if !is_product || is_test_module(&path) {
            continue;
        }
        for (number, line) in without_tests(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if banned.iter().any(|word| code.contains(word)) {
                complaints.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    report("standard output and standard error are written to without panics", &complaints);
}

#[test]
fn core_and_simulator_are_deterministic() {
    let banned =
        ["HashMap", "HashSet", "Instant::now", "SystemTime::now", "std::thread", "thread::spawn", "rand::rng", "OsRng"];
    let mut complaints = Vec::new();
    for (path, text) in files(&[".rs"]) {
        let library = ["core/src/", "sim/src/", "sim/checker/src/"].iter().any(|root| path.starts_with(root));
        if !library || is_of_the_simulators_commands(&path) {
            continue;
        }
        for (number, line) in without_tests(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if let Some(word) = banned.iter().find(|word| code.contains(**word)) {
                complaints.push(format!("{path}:{}: {word}", number + 1));
            }
        }
    }
    report("core and simulator have no clock, no thread, no ambient randomness and no order that differs", &complaints);
}

/// The commands may use threads and clocks. `rooms.txt` lets no other module import them.
fn is_of_the_simulators_commands(path: &str) -> bool {
    path == "sim/src/main.rs" || path.starts_with("sim/src/command/")
}

/// The packages of ours that a manifest names in this section.
fn dependencies(name: &str, section: &str) -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).expect("every crate has a manifest");
    let after = manifest.split(&format!("\n[{section}]\n")).nth(1).unwrap_or_default();
    let lines = after.lines().take_while(|line| !line.starts_with('['));
    let ours = lines.filter_map(|line| line.strip_prefix("hence-")?.split(['.', ' ', '=']).next());
    ours.map(str::to_owned).collect()
}

#[test]
fn dependencies_point_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("core", &[] as &[&str]),
        ("transport", &["core"]),
        ("sim/checker", &[]),
        ("sim/blackbox", &["checker"]),
        ("sim/loopback", &[]),
        ("sim", &["blackbox", "checker", "core", "loopback", "transport"]),
        ("server/client", &[]),
        ("server", &["client", "core", "transport"]),
        ("tests", &["checker", "core", "transport", "sim", "server"]),
        ("bench", &["checker", "core", "transport", "sim"]),
        ("examples/naive-store", &["core", "sim"]),
    ]);
    for (name, allowed) in allowed {
        let allowed: BTreeSet<String> = allowed.iter().map(|&name| name.to_owned()).collect();
        for section in ["dependencies", "dev-dependencies"] {
            let mut found = dependencies(name, section);
            // What tests share needs nothing of ours itself, which is asserted below.
            if section == "dev-dependencies" {
                found.remove("tests");
            }
            // A client needs replicas to be tested with.
            if (name, section) == ("server/client", "dev-dependencies") {
                found.retain(|name| !["core", "server"].contains(&name.as_str()));
            }
            // The judges know nothing of hence, so its tests may ask them.
            if (name, section) == ("server", "dev-dependencies") {
                found.retain(|name| !["blackbox", "checker"].contains(&name.as_str()));
            }
            assert!(found.is_subset(&allowed), "{name} [{section}] names {found:?}; allowed are {allowed:?}");
        }
    }
    assert_eq!(dependencies("tests", "dependencies"), BTreeSet::new(), "what tests share needs a package of ours");
}

#[test]
fn the_simulator_reaches_no_runtime() {
    let manifest = |name: &str| fs::read_to_string(root().join(name)).expect("every crate has a manifest");
    let line = |text: &str, start: &str| text.lines().find(|line| line.starts_with(start)).map(str::to_owned);
    let sim = manifest("sim/Cargo.toml");
    let transport = line(&sim, "hence-transport").expect("the simulator drives a transport");
    assert!(!transport.contains("features"), "the simulator enables features of the transport: {transport}");
    for runtime in ["tokio", "hyper", "rayon", "crossbeam"] {
        assert_eq!(line(&sim, runtime), None, "the simulator depends on {runtime}");
    }
    let shared = line(&manifest("Cargo.toml"), "hence-transport").expect("a workspace dependency");
    assert!(shared.contains("default-features = false"), "{shared}");
    let features = manifest("transport/Cargo.toml");
    assert!(features.contains("\ndefault = []\n"), "the transport has default features");
    for runtime in ["tokio", "hyper"] {
        // Among the dependencies, that is; tests may use what they like.
        let library = features.split("\n[dependencies]").nth(1).unwrap_or_default();
        let library = library.split("\n[dev-dependencies]").next().unwrap_or_default();
        let line = line(library, &format!("{runtime} = "));
        assert!(line.is_some_and(|line| line.contains("optional = true")), "{runtime} is not behind a feature");
    }
}

#[test]
fn the_core_needs_no_operating_system() {
    let text = fs::read_to_string(root().join("core/src/lib.rs")).expect("the core has a root");
    assert!(text.starts_with("#![no_std]\n"));
    for (path, text) in files(&[".rs"]) {
        if path.starts_with("core/src/") && !is_test_module(&path) {
            let code = without_tests(&text).lines().filter(|line| !line.trim_start().starts_with("//"));
            let found: Vec<&str> = code.filter(|line| line.contains("std::")).collect();
            assert!(found.is_empty(), "{path}: {found:?}");
        }
    }
}

#[test]
fn every_crate_takes_the_shared_lints() {
    for name in CRATES {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).expect("every crate has a manifest");
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name}");
    }
    let bare = |line: &str| {
        let relaxes = line.trim_start().starts_with(concat!("#", "[allow("))
            || line.trim_start().starts_with(concat!("#", "![allow("));
        relaxes && !line.contains("reason = ")
    };
    let mut complaints = Vec::new();
    for (path, text) in files(&[".rs"]) {
        let lines = text.lines().enumerate().filter(|(_, line)| bare(line));
        complaints.extend(lines.map(|(number, line)| format!("{path}:{}: {}", number + 1, line.trim())));
    }
    report("a relaxed lint has its reason beside it", &complaints);
}

/// The classic builder knows no more, and a member that the image does not know of breaks its build.
#[test]
fn the_image_is_built_from_every_member_by_any_builder() {
    let read = |name: &str| fs::read_to_string(root().join(name)).expect("a file of ours");
    let (workspace, image, toolchain) = (read("Cargo.toml"), read("Dockerfile"), read("rust-toolchain.toml"));
    let members = workspace.lines().find_map(|line| line.strip_prefix("members = ")).expect("a workspace has members");
    for member in members.split('"').skip(1).step_by(2) {
        assert!(image.contains(&format!("COPY {member}/Cargo.toml {member}/\n")), "Dockerfile leaves out {member}");
    }
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).expect("the toolchain is pinned");
    assert!(image.contains(&format!("FROM rust:{}-slim-bookworm AS build\n", channel.trim_matches('"'))));
    for extension in ["syntax=", "--mount", "<<"] {
        assert!(!image.contains(extension), "the classic builder does not know {extension}");
    }
}

#[test]
fn links_lead_somewhere() {
    let mut complaints = Vec::new();
    for (path, text) in files(&[".md"]) {
        let folder = root().join(&path).parent().expect("a file lies in a folder").to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            let elsewhere = target.contains("://") || target.starts_with("mailto:") || file.is_empty();
            if !elsewhere && !folder.join(file).exists() {
                complaints.push(format!("{path}: {target}"));
            }
        }
    }
    report("a relative link resolves", &complaints);
}

/// Whatever a document calls by a name like `this_is_a_test` exists in the code.
#[test]
fn documented_names_exist() {
    let code: String = files(&[".rs"]).into_iter().map(|(_, text)| text).collect();
    let mut complaints = Vec::new();
    for (path, text) in files(&[".md"]) {
        for name in text.split('`').skip(1).step_by(2) {
            let name = name.rsplit("::").next().unwrap_or_default();
            let is_name = name.contains('_')
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
            if is_name && !code.contains(name) {
                complaints.push(format!("{path}: {name}"));
            }
        }
    }
    report("a name in a document exists in the code", &complaints);
}
