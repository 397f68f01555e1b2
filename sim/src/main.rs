//! The command `hence-sim`: runs schedules, replays and shrinks failures, shows them, measures mutants.

use std::process::ExitCode;

fn main() -> ExitCode {
    hence_sim::command::main(&[])
}
