//! The `hence` command.
fn main() {}
