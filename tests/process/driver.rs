//! Runs the tests: one child process and one network namespace each.
//!
//! Two paces. *Busy* tests want the processor and run two at a time. *Timed* tests measure time budgets on processes
//! that are nearly idle. So several of them share the machine, but never with a busy one. A worker that was starved
//! nevertheless says so and repeats (`starvation.rs`). A worker that exceeds its limit is killed with everything in its
//! process namespace. At the end the slowest ten are named.
//!
//! A test that fails runs once more, with the machine to itself. Only if it fails again has it failed. What the first
//! run printed stays in the output, and at the end every such test is named.

use crate::network::Isolation;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::io::Read as _;
use std::panic::AssertUnwindSafe;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Names the test that a worker runs.
const WORKER: &str = "HENCE_PROCESS_TEST";
/// Says to a worker how it is isolated.
const ISOLATION: &str = "HENCE_PROCESS_ISOLATION";
/// Says to a worker that it is the second run of its test, which leaves the logs of the first one where they are.
pub(crate) const AGAIN: &str = "HENCE_PROCESS_AGAIN";
/// No test takes longer; what does is killed and has failed.
const LIMIT: Duration = Duration::from_secs(170);
const BUSY_MAX: usize = 2;
const TIMED_MAX: usize = 6;

/// How a test treats the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pace {
    /// It computes.
    Busy,
    /// It waits, and watches the clock.
    Timed,
    /// It failed beside others.
    Alone,
}

/// What a test cannot do without.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Needs {
    /// Runs anywhere.
    Nothing,
    /// Cuts links.
    PacketFilter,
    /// Gives every replica a machine of its own.
    Machines,
    /// Runs this program, in a network of its own.
    Program(&'static str),
}

impl Needs {
    /// What of it is missing here.
    fn missing(self, isolation: Isolation) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::PacketFilter | Self::Machines | Self::Program(_) if isolation == Isolation::None => {
                Some("no network namespace with nftables here".into())
            }
            Self::PacketFilter => None,
            Self::Machines => (!isolation.has_machines()).then(|| "no namespaces on a bridge here".into()),
            Self::Program(name) => (!is_installed(name)).then(|| format!("no {name} here")),
        }
    }
}

fn is_installed(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

/// One test.
#[derive(Clone, Copy)]
pub(crate) struct Test {
    name: &'static str,
    pace: Pace,
    needs: Needs,
    run: fn(),
}

impl Test {
    /// A test of this name.
    pub(crate) const fn new(name: &'static str, pace: Pace, needs: Needs, run: fn()) -> Self {
        Self { name, pace, needs, run }
    }
}

/// The binary's `main`: driver, or worker when the environment names a test.
pub(crate) fn main(tests: &'static [Test]) -> ExitCode {
    match std::env::var(WORKER) {
        Ok(name) => work(tests, &name),
        Err(_) => drive(tests),
    }
}

fn work(tests: &[Test], name: &str) -> ExitCode {
    let test = tests.iter().find(|test| test.name == name).expect("the driver names a test that exists");
    Isolation::from_name(&std::env::var(ISOLATION).expect("the driver sets it")).enter();
    match std::panic::catch_unwind(AssertUnwindSafe(test.run)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn drive(tests: &'static [Test]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    let isolation = if arguments.list { Isolation::None } else { Isolation::probe() };
    let alone = isolation == Isolation::None;
    if alone && !arguments.list {
        println!("No network namespace with nftables can be made here: tests that cut links are ignored.");
    }
    arguments.test_threads.get_or_insert(TIMED_MAX);
    let gate = Arc::new(Gate { alone, ..Gate::default() });
    let durations = Arc::new(Mutex::new(Vec::new()));
    let repeated = Arc::new(Mutex::new(Vec::new()));
    let trials = tests.iter().map(|&test| {
        let (gate, durations, repeated) = (gate.clone(), durations.clone(), repeated.clone());
        Trial::ignorable_test(test.name, move || {
            if let Some(missing) = test.needs.missing(isolation) {
                return Ok(Completion::ignored_with(missing));
            }
            let run = |pace| {
                let _pass = gate.pass(pace);
                let start = Instant::now();
                let result = run_worker(test, isolation, pace == Pace::Alone);
                durations.lock().expect("no holder panics").push((start.elapsed(), test.name));
                result
            };
            let result = run(test.pace).or_else(|failed| {
                println!("{}: failed, and runs again alone:\n{}", test.name, failed.message().unwrap_or_default());
                repeated.lock().expect("no holder panics").push(test.name);
                run(Pace::Alone)
            });
            result.map(|()| Completion::Completed)
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    print_slowest(&mut durations.lock().expect("no holder panics"));
    let repeated = repeated.lock().expect("no holder panics");
    if !repeated.is_empty() {
        println!("process tests that failed at first: {}", repeated.join(", "));
    }
    conclusion.exit_code()
}

fn print_slowest(durations: &mut [(Duration, &str)]) {
    durations.sort_unstable_by(|a, b| b.cmp(a));
    if !durations.is_empty() {
        println!("slowest process tests:");
    }
    for (duration, name) in durations.iter().take(10) {
        println!("  {:7.1} s  {name}", duration.as_secs_f64());
    }
}

fn run_worker(test: Test, isolation: Isolation, again: bool) -> Result<(), Failed> {
    let own = std::env::current_exe().map_err(|error| format!("own path: {error}"))?;
    let mut command = isolation.command(&own);
    command.env(WORKER, test.name).env(ISOLATION, isolation.name());
    if again {
        command.env(AGAIN, "yes");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = run_bounded(&mut command, LIMIT)?;
    let (success, text) = output;
    if success {
        // What a passing test has to say (repeats, measurements) is worth a line each.
        text.lines().filter(|line| line.starts_with("note: ")).for_each(|line| println!("{}: {line}", test.name));
        return Ok(());
    }
    Err(text.into())
}

/// Runs the command to its end or to the limit; says whether it succeeded, and what it printed.
fn run_bounded(command: &mut Command, limit: Duration) -> Result<(bool, String), Failed> {
    let mut child = command.spawn().map_err(|error| format!("cannot start a worker: {error}"))?;
    let mut stdout = child.stdout.take().expect("it is piped");
    let mut stderr = child.stderr.take().expect("it is piped");
    let text = Arc::new(Mutex::new(Vec::new()));
    let also = text.clone();
    let pump = move |from: &mut dyn std::io::Read| {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            also.lock().expect("no holder panics").extend_from_slice(&buffer[..count]);
        }
    };
    let pump_too = pump.clone();
    std::thread::spawn(move || pump(&mut stdout.by_ref()));
    std::thread::spawn(move || pump_too(&mut stderr.by_ref()));
    let start = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|error| format!("wait: {error}"))? {
            Some(status) => break Some(status),
            None if start.elapsed() > limit => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    std::thread::sleep(Duration::from_millis(20)); // the pumps read what is left in the pipes
    let mut text = String::from_utf8_lossy(&text.lock().expect("no holder panics")).into_owned();
    match status {
        Some(status) if !status.success() => text.push_str(&format!("\nworker ended with {status}")),
        Some(_) => {}
        None => text.push_str(&format!("\nworker killed after {limit:?}")),
    }
    Ok((status.is_some_and(|status| status.success()), text))
}

/// Lets timed tests run together, busy ones two at a time, and never both kinds at once.
#[derive(Default)]
struct Gate {
    alone: bool,
    running: Mutex<(usize, usize)>,
    changed: Condvar,
}

struct Pass<'a>(&'a Gate, Pace);

impl Gate {
    fn pass(&self, pace: Pace) -> Pass<'_> {
        let blocked = |&mut (busy, timed): &mut (usize, usize)| match pace {
            _ if self.alone => busy + timed > 0,
            Pace::Busy => timed > 0 || busy >= BUSY_MAX,
            Pace::Timed => busy > 0 || timed >= TIMED_MAX,
            Pace::Alone => busy + timed > 0,
        };
        let running = self.running.lock().expect("no holder panics");
        let mut running = self.changed.wait_while(running, blocked).expect("no holder panics");
        match pace {
            Pace::Busy => running.0 += 1,
            Pace::Timed => running.1 += 1,
            // Nothing starts beside as many as may run.
            Pace::Alone => running.0 += BUSY_MAX,
        }
        Pass(self, pace)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut running = self.0.running.lock().expect("no holder panics");
        match self.1 {
            Pace::Busy => running.0 -= 1,
            Pace::Timed => running.1 -= 1,
            Pace::Alone => running.0 -= BUSY_MAX,
        }
        self.0.changed.notify_all();
    }
}
