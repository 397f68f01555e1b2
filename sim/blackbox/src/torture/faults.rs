//! Faults by commands: one lane after another draws the next, runs its command, watches whether it takes effect, and
//! ends it. Whatever was begun is ended, also when the run is stopped; a cure that fails is tried again.

use super::effect::Watch;
use super::plan::{Harm, Plan};
use super::{FAULTS, Run};
use crate::console::{clock, nap};
use hence_checker::random::Source;
use serde_json::json;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Between two looks at a command and its target.
const LOOK: Duration = Duration::from_millis(20);

/// A cure is tried so often.
const CURES_MAX: u32 = 3;

/// What became of a fault.
#[derive(Debug)]
pub(crate) struct Fault {
    number: u64,
    harm: Harm,
    address: String,
    pub(crate) begun_ns: u64,
    ended_ns: u64,
    /// How the commands ended.
    command: String,
    cure: Option<Result<String, String>>,
    /// What was seen of it from outside.
    effect: Option<String>,
    /// How long after its end the target was as before.
    back: Option<Duration>,
    /// The run was stopped before its time.
    is_cut_short: bool,
}

/// Draws and runs faults until the run stops.
pub(crate) fn lane(run: &Run, plan: &Plan, lane: u64) -> Vec<Fault> {
    let mut draw = Source::new(plan.seed).draw(FAULTS, lane);
    let mut faults = Vec::new();
    loop {
        let (gap, harm, target, length) = plan.draw(&mut draw);
        let begun = clock();
        while begun.elapsed() < gap && !run.is_stopped() {
            nap(LOOK.min(gap));
        }
        // A fault that the end of the run would cut short is not begun.
        if run.is_stopped() || clock() + length > run.deadline {
            return faults;
        }
        // A target that another lane hurts is left to it, and the next free one is taken.
        let all = run.targets.len();
        let Some(at) = (0..all).map(|step| (target + step) % all).find(|&at| plan.claim(at)) else { continue };
        faults.push(strike(run, plan, harm, at, length));
        plan.release(at);
    }
}

fn strike(run: &Run, plan: &Plan, harm: Harm, at: usize, length: Duration) -> Fault {
    let mut watch = Watch::new(run, harm, at);
    let number = plan.begin();
    let begun_ns = run.recorder.now_ns();
    let target = &run.targets[at].address;
    let note = |phase: &str, at_ns: u64, more: serde_json::Value| {
        let mut note =
            json!({ "fault": number, "kind": harm.name(), "target": target, "phase": phase, "at_ns": at_ns });
        if let (Some(note), Some(more)) = (note.as_object_mut(), more.as_object()) {
            note.extend(more.clone());
        }
        run.recorder.pen().note(&note);
    };
    note("start", begun_ns, json!({}));
    let begun = clock();
    let mut command = Running::start(plan, harm.name(), at);
    let is_brief = harm == Harm::Restart;
    loop {
        let is_done = command.look(plan.timeout);
        watch.look();
        let is_over = is_done && (begun.elapsed() >= length || is_brief || run.is_stopped());
        if is_over {
            break;
        }
        nap(LOOK);
    }
    let is_cut_short = begun.elapsed() < length && !is_brief;
    let cure = harm.cure().and_then(|name| plan.command(name).map(|_| name)).map(|name| cure(plan, name, at));
    let ended_ns = run.recorder.now_ns();
    let back = watch.back(plan.back, harm == Harm::Kill && cure.is_none());
    let fault = Fault {
        number,
        harm,
        address: target.clone(),
        begun_ns,
        ended_ns,
        command: command.ended(),
        cure,
        effect: watch.seen(),
        back,
        is_cut_short,
    };
    note("end", ended_ns, fault.what_became());
    run.lines.add(|| fault.line());
    fault
}

/// Runs the command that ends a fault until it succeeds.
fn cure(plan: &Plan, name: &str, at: usize) -> Result<String, String> {
    let mut last = String::new();
    for _ in 0..CURES_MAX {
        let mut command = Running::start(plan, name, at);
        while !command.look(plan.timeout) {
            nap(LOOK);
        }
        last = command.ended();
        if command.is_fine() {
            return Ok(last);
        }
        nap(LOOK * 10);
    }
    Err(last)
}

/// A command that runs, or did.
struct Running {
    child: Option<Child>,
    begun: std::time::Instant,
    ended: Option<String>,
    is_fine: bool,
}

impl Running {
    /// In a process group of its own: Ctrl-C is ours, not its.
    fn start(plan: &Plan, name: &str, at: usize) -> Self {
        let text = plan.command(name).unwrap_or("true");
        let mut command = Command::new("sh");
        command.arg("-uc").arg(text).envs(plan.variables(at)).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((output, errors)) = plan.log() {
            command.stdout(output).stderr(errors);
        }
        let (child, ended) = match command.spawn() {
            Ok(child) => (Some(child), None),
            Err(error) => (None, Some(format!("{name} did not start: {error}"))),
        };
        Self { child, begun: clock(), ended, is_fine: false }
    }

    /// Whether it has ended; ends it when its time is up.
    fn look(&mut self, timeout: Duration) -> bool {
        let Some(child) = &mut self.child else { return true };
        match child.try_wait() {
            Ok(None) if self.begun.elapsed() < timeout => return false,
            Ok(None) => {
                end_group(child);
                _ = child.wait();
                self.ended = Some(format!("ended after {} ms without result", timeout.as_millis()));
            }
            Ok(Some(status)) => {
                self.is_fine = status.success();
                let signal = status.signal().map(|signal| format!("signal {signal}"));
                let code = status.code().map(|code| format!("exit {code}"));
                self.ended = code.or(signal);
            }
            Err(error) => self.ended = Some(error.to_string()),
        }
        self.child = None;
        true
    }

    fn ended(&self) -> String {
        self.ended.clone().unwrap_or_else(|| "still running".into())
    }

    const fn is_fine(&self) -> bool {
        self.is_fine
    }
}

/// Ends a command with all that it started and that stayed in its group.
fn end_group(child: &mut Child) {
    let group = format!("-{}", child.id());
    _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    _ = child.kill();
}

impl Fault {
    /// All that is known of it.
    pub(crate) fn json(&self) -> serde_json::Value {
        let mut value = json!({ "fault": self.number, "kind": self.harm.name(), "target": self.address,
            "begun_ns": self.begun_ns, "ended_ns": self.ended_ns });
        if let (Some(value), Some(more)) = (value.as_object_mut(), self.what_became().as_object()) {
            value.extend(more.clone());
        }
        value
    }

    /// The same as a line of `--json`, which has a kind of its own.
    fn line(&self) -> serde_json::Value {
        let mut line = self.json();
        line["harm"] = std::mem::replace(&mut line["kind"], "fault".into());
        line
    }

    fn what_became(&self) -> serde_json::Value {
        json!({
            "command": self.command,
            "cure": self.cure.as_ref().map(|cure| cure.as_ref().unwrap_or_else(|wrong| wrong)),
            "effect": self.effect,
            "back_ms": self.back.map(|back| u64::try_from(back.as_millis()).unwrap_or(u64::MAX)),
        })
    }
}

/// Says of each fault whether it took effect.
pub(crate) fn print(faults: &[Fault]) {
    if faults.is_empty() {
        return;
    }
    let seconds = |ns: u64| ns as f64 / 1e9;
    let effective = faults.iter().filter(|fault| fault.effect.is_some()).count();
    say!("{effective} of {} faults took effect", faults.len());
    for fault in faults {
        let (begun, length) = (seconds(fault.begun_ns), seconds(fault.ended_ns - fault.begun_ns));
        let nothing = if fault.is_cut_short { "ended early with the run, no effect seen" } else { "NO EFFECT SEEN" };
        let effect = fault.effect.as_deref().unwrap_or(nothing);
        let back = fault.back.map_or("NOT BACK in time".into(), |back| format!("back {} ms later", back.as_millis()));
        let (name, address) = (fault.harm.name(), &fault.address);
        say!("  {:>3} {name:<8}{address:<22} at {begun:>6.1} s for {length:.1} s: {effect}; {back}", fault.number);
        if fault.command != "exit 0" {
            say!("      its command: {}", fault.command);
        }
        if let Some(Err(wrong)) = &fault.cure {
            say!("      NOT HEALED, its target may still be hurt: {} {wrong}", fault.harm.cure().unwrap_or_default());
        }
    }
}
