//! The container engine, through its command line; every command has an end.
//!
//! Whatever a test makes carries a label with this process's id. A helper process removes all of that when this process
//! has ended, however it ended. It waits for the end of a pipe that only this process holds open.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Output, Stdio};

/// Longer than any command of the engine takes on a busy machine.
const SECONDS_MAX: &str = "60";

/// Names the image under test; without it there is nothing to test.
pub(crate) const IMAGE: &str = "HENCE_IMAGE";

/// The label of everything that these tests make.
pub(crate) fn label() -> String {
    format!("hence.test={}", std::process::id())
}

/// Runs a program to its end, at most a minute.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<Output, String> {
    let output = Command::new("timeout").args([SECONDS_MAX, program]).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}: {}", arguments.join(" "), output.status, complaint.trim()))
}

/// Runs `docker`; what it printed.
pub(crate) fn try_docker(arguments: &[&str]) -> Result<String, String> {
    run("docker", arguments).map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs `docker`, which must succeed; what it printed.
pub(crate) fn docker(arguments: &[&str]) -> String {
    try_docker(arguments).unwrap_or_else(|error| panic!("{error}"))
}

/// The image of a build that also speaks the format which stands in for the next one. `.ci/image` builds it beside the
/// image under test.
pub(crate) fn image_of_formats() -> Option<String> {
    let image = format!("{}-formats", std::env::var(IMAGE).ok()?);
    try_docker(&["image", "inspect", &image]).is_ok().then_some(image)
}

/// The image under test.
///
/// # Errors
///
/// Why there is none.
pub(crate) fn image() -> Result<String, String> {
    let unnamed = |_| format!("{IMAGE} names no image; `.ci/image TAG` builds one");
    let image = std::env::var(IMAGE).map_err(unnamed)?;
    try_docker(&["version"]).map_err(|_| "no container engine answers".to_owned())?;
    let absent = |_| format!("the engine has no image {image}; `.ci/image {image}` builds it");
    try_docker(&["image", "inspect", &image]).map_err(absent)?;
    Ok(image)
}

/// Removes what is left of these tests when this process has ended, or when dropped.
pub(crate) struct Janitor(Child);

impl Janitor {
    /// Starts waiting.
    pub(crate) fn start() -> Self {
        let label = label();
        let script = format!(
            "cat >/dev/null\n\
             docker ps --all --quiet --filter label={label} | xargs -r docker rm --force --volumes\n\
             docker network ls --quiet --filter label={label} | xargs -r docker network rm\n"
        );
        let mut command = Command::new("timeout");
        // Ctrl-C at the terminal ends the tests; the janitor, in a group of its own, then does its work.
        command.args(["7200", "sh", "-c", &script]).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("a shell was there for docker, too"))
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
