//! `hence-sim` with the naive store: `cargo run -p hence-example-naive-store -- run --seeds 0..200 --subject naive`.

use hence_example_naive_store::Naive;
use hence_sim::campaign::run::NamedSubject;
use std::process::ExitCode;

fn main() -> ExitCode {
    hence_sim::command::main(&[NamedSubject::of::<Naive>("naive")])
}
