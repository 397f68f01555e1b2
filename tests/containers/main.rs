//! Proof on containers: the image, the cluster that README starts from it, and what happens to containers.
//!
//! `HENCE_IMAGE` names the image; `.ci/image` builds one. Where it is unset, or no engine answers, or the image is not
//! there, every test is reported as ignored with that reason. Each test has a network and published ports of its own,
//! removes them at its end, and a helper removes what a killed run leaves.

use std::cell::Cell;

thread_local! {
    /// The test that this thread runs.
    static TEST: Cell<&'static str> = const { Cell::new("") };
}

/// What a passing test has to say, under its name, since several run at a time.
macro_rules! note {
    ($($text:tt)*) => {
        println!("{}: note: {}", $crate::TEST.get(), format!($($text)*))
    };
}

mod budgets;
mod cluster;
mod compose;
mod engine;
mod faults;
mod figures;
mod image;
mod links;
mod lives;
mod load;
mod memory;
mod readme;
mod upgrades;

use engine::Janitor;
use faults::Needs;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::process::ExitCode;
use std::sync::RwLock;

/// So many tests at a time: they wait most of the time.
const TOGETHER: usize = 3;
/// It measures for minutes, alone, and runs only when asked for.
const ON_REQUEST: &str = "figures";

type Test = (&'static str, Needs, fn());

const TESTS: &[Test] = &[
    ("image_is_static_small_and_unprivileged", Needs::Engine, image::facts),
    ("image_is_healthy_however_started", Needs::Engine, image::healthy),
    ("image_is_the_first_process", Needs::Engine, image::first_process),
    ("budgets_of_a_life", Needs::Engine, budgets::life),
    ("budgets_of_a_disconnection", Needs::Engine, budgets::disconnection),
    ("public_case", Needs::Engine, budgets::public_case),
    ("pause_of_two_seconds", Needs::Engine, budgets::pause),
    ("budgets_of_the_only_one_connected", Needs::Engine, budgets::only_one_connected),
    ("host_names", Needs::Engine, image::host_names),
    ("readme_section", Needs::Engine, readme::docker),
    ("compose_file", Needs::Compose, compose::plain),
    ("compose_file_with_secrets", Needs::Compose, compose::with_secrets),
    ("contract", Needs::PacketFilter, image::contract),
    ("kill_and_restart", Needs::Engine, lives::kill_and_restart),
    ("rolling_restart", Needs::Engine, lives::rolling_restart),
    ("roll_to_another_format", Needs::Formats, upgrades::roll),
    ("whole_cluster_restarted", Needs::Engine, lives::whole_cluster),
    ("fourth_added_one_removed", Needs::Engine, lives::fourth_and_removed),
    ("pause_longer_than_the_detector", Needs::Engine, lives::pause),
    ("memory_of_64_mb_filled", Needs::Engine, memory::filled),
    ("memory_of_64_mb_beside_a_dead_member", Needs::Engine, memory::dead_member),
    ("memory_of_64_mb_read_slowly", Needs::Engine, memory::read_slowly),
    ("memory_of_64_mb_stormed", Needs::Engine, memory::stormed),
    ("disconnect_one_then_two", Needs::Engine, links::disconnect),
    ("one_way_cuts", Needs::PacketFilter, links::one_way),
    ("random_loss", Needs::PacketFilter, links::loss),
    ("little_bandwidth", Needs::Bandwidth, links::bandwidth),
    ("delay_and_reordering", Needs::Delay, links::delay),
    (ON_REQUEST, Needs::Engine, figures::restart_beside_load),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let image = if arguments.list { Ok(String::new()) } else { engine::image() };
    let janitor = image.is_ok().then(Janitor::start);
    arguments.test_threads.get_or_insert(TOGETHER);
    let trials = TESTS.iter().map(|&(name, needs, run)| {
        let image = image.clone();
        let trial =
            Trial::ignorable_test(name, move || match image.err().or_else(|| needs.missing().map(str::to_owned)) {
                Some(reason) => Ok(Completion::ignored_with(reason)),
                None => run_caught(name, run),
            });
        trial.with_ignored_flag(name == ON_REQUEST)
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(janitor);
    conclusion.exit_code()
}

/// A test that runs beside others reads it. One that failed beside them writes it, and so runs alone.
static MACHINE: RwLock<()> = RwLock::new(());

/// Runs a test under its name; its panic is its failure. One that fails runs once more, with the machine to itself.
/// Only if it fails again has it failed.
fn run_caught(name: &'static str, run: fn()) -> Result<Completion, Failed> {
    TEST.set(name);
    let beside_others = {
        let _beside_others = MACHINE.read();
        std::panic::catch_unwind(run)
    };
    if beside_others.is_ok() {
        return Ok(Completion::Completed);
    }
    note!("failed, and runs again alone");
    let _alone = MACHINE.write();
    std::panic::catch_unwind(run).map(|()| Completion::Completed).map_err(|_| "see the panics above".into())
}
