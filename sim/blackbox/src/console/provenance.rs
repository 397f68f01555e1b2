//! Which binary this is and how it was called: stands in everything that a command reports or writes.

use std::sync::OnceLock;

/// What calls itself the program. The binary says it once, because only its own package knows its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// The command.
    pub name: &'static str,
    /// The version of its package.
    pub version: &'static str,
    /// The commit that it was built from.
    pub commit: &'static str,
}

static PROGRAM: OnceLock<Program> = OnceLock::new();

/// Names the program, once, before anything is reported.
pub fn name(program: Program) {
    PROGRAM.get_or_init(|| program);
}

/// The program, as [`name`] was told.
#[must_use]
pub fn program() -> Program {
    let unnamed = Program { name: "hence-blackbox", version: env!("CARGO_PKG_VERSION"), commit: "unknown" };
    PROGRAM.get().copied().unwrap_or(unnamed)
}

/// How this process was called, as a shell would take it again; the path of the program is left out.
pub fn command_line() -> String {
    let words = std::env::args_os().skip(1).map(|word| quoted(&word.to_string_lossy()));
    std::iter::once(program().name.to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// The first line of a report.
pub fn introduce() {
    let Program { name, version, commit } = program();
    crate::say!("{name} {version} (commit {commit}): {}", command_line());
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,+@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        for (word, shown) in [("0..2", "0..2"), ("", "''"), ("a b", "'a b'"), ("it's", "'it'\\''s'"), ("$x", "'$x'")] {
            assert_eq!(quoted(word), shown);
        }
    }
}
