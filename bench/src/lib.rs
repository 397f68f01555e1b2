//! What the bench's programs share: replicas that talk to each other in one thread, over the real codec.

pub mod pump;

/// A line on standard output. One that cannot be written, since no process reads it or the disk is full, is left out.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

/// The same on standard error.
#[macro_export]
macro_rules! tell {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}
