//! Which binary this is: stands in everything that a command reports or writes.

use hence_blackbox::console::provenance::{Program, name};
pub(crate) use hence_blackbox::console::provenance::{command_line, introduce, quoted};

/// The commit that this binary was built from, as `build.rs` found it.
pub(crate) const COMMIT: &str = env!("HENCE_BUILT_FROM");

/// The version of the package.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Both, for `--version`.
pub(crate) const FULL: &str = concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("HENCE_BUILT_FROM"), ")");

/// Tells the commands that are not of this package, too.
pub(crate) fn hand_on() {
    name(Program { name: "hence-sim", version: VERSION, commit: COMMIT });
}
