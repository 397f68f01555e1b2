//! What a command says: results on standard output, remarks on standard error. No failure of either is a panic.
//!
//! A reader that has left, as `| head -1` does, is no failure. A command that only talks ends early. One whose results
//! lie in files goes on. Output that could not be written for another reason is reported on standard error. The exit
//! code then no longer says that all is fine.

use super::End;
use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

const OPEN: u8 = 0;
const LEFT: u8 = 1;
const FAILED: u8 = 2;

/// How standard output stands.
static STATE: AtomicU8 = AtomicU8::new(OPEN);

/// Standard output holds what programs read, so what people read goes to standard error.
static ASIDE: AtomicBool = AtomicBool::new(false);

/// Prints a line of results.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => { $crate::console::output::line(format_args!($($argument)*)) };
}

/// Prints a line for people, on standard error.
#[macro_export]
macro_rules! tell {
    ($($argument:tt)*) => { $crate::console::output::remark(format_args!($($argument)*)) };
}

/// A line of results.
pub fn line(arguments: Arguments<'_>) {
    prose(&format!("{arguments}\n"));
}

/// A text for people, as it is: on standard output, or on standard error after [`go_aside`].
pub fn prose(for_people: &str) {
    if ASIDE.load(Ordering::SeqCst) {
        _ = std::io::stderr().lock().write_all(for_people.as_bytes());
    } else {
        text(for_people);
    }
}

/// From now on standard output is left to one output that was named `-`.
pub fn go_aside() {
    ASIDE.store(true, Ordering::SeqCst);
}

/// A text on standard output, as it is.
pub fn text(text: &str) {
    if STATE.load(Ordering::SeqCst) == OPEN {
        note(std::io::stdout().lock().write_all(text.as_bytes()));
    }
}

/// A line on standard error; where that is closed it is dropped.
pub fn remark(arguments: Arguments<'_>) {
    _ = std::io::stderr().lock().write_all(format!("{arguments}\n").as_bytes());
}

/// What is printed reaches no reader any more: a command that only talks has nothing left to do.
pub fn is_lost() -> bool {
    STATE.load(Ordering::SeqCst) != OPEN
}

/// Hands on what is still buffered, and says how the command ends if that fails.
pub fn finish(end: End) -> End {
    note(std::io::stdout().lock().flush());
    if end == End::Clean && STATE.load(Ordering::SeqCst) == FAILED { End::Nothing } else { end }
}

fn note(result: std::io::Result<()>) {
    let Err(error) = result else { return };
    let state = if error.kind() == ErrorKind::BrokenPipe { LEFT } else { FAILED };
    let before = STATE.compare_exchange(OPEN, state, Ordering::SeqCst, Ordering::SeqCst);
    if before.is_ok() && state == FAILED {
        tell!("hence-sim: standard output cannot be written: {error}");
    }
}
