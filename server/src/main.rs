//! The `hence` command; see [`hence_server::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    hence_server::cli::main()
}
