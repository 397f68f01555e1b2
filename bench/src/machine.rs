//! Where and with what a run was made.

use serde::Serialize;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The machine and the versions.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// Of the last minute, before the run.
    pub(crate) load_average: f64,
    /// Name and version of all that was measured and measured with.
    pub(crate) versions: Vec<(String, String)>,
}

impl Machine {
    pub(crate) fn look(hence: &Path) -> Self {
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let mut versions = vec![
            ("hence".to_owned(), format!("{}, commit {}", said(&hence.to_string_lossy(), &["--version"]), commit())),
            ("rustc".to_owned(), said("rustc", &["--version"])),
        ];
        versions.extend(["hyper", "tokio"].map(|name| (name.to_owned(), locked(name))));
        let tools: [(&str, &[&str]); 4] =
            [("wrk", &["-v"]), ("redis-server", &["--version"]), ("etcd", &["--version"]), ("ss", &["-V"])];
        versions.extend(tools.map(|(name, arguments)| (name.to_owned(), said(name, arguments))));
        Self {
            processor: processor.trim_start_matches([' ', '\t', ':']).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            load_average: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
            versions,
        }
    }
}

/// The first line of what the program says, or that there is none.
fn said(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else { return "not installed".into() };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or("says nothing").trim().to_owned()
}

fn commit() -> String {
    let changed = Command::new("git").args(["diff", "--quiet", "HEAD"]).status().is_ok_and(|status| !status.success());
    let commit = said("git", &["rev-parse", "--short", "HEAD"]);
    if changed { format!("{commit} with changes") } else { commit }
}

/// The version of a package that this was built with.
fn locked(package: &str) -> String {
    let lock = include_str!("../../Cargo.lock");
    let after = lock.split(&format!("name = \"{package}\"\nversion = \"")).nth(1);
    after.and_then(|rest| rest.split('"').next()).unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_found() {
        assert!(locked("hyper").starts_with("1."));
        assert_eq!(locked("no such package"), "unknown");
        assert_eq!(said("no-such-program-here", &[]), "not installed");
    }
}
