//! Which binary this is and how it was called: stands in everything that a command reports or writes.

/// The commit that this binary was built from, as `build.rs` found it.
pub(crate) const COMMIT: &str = env!("HENCE_BUILT_FROM");

/// The version of the package.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Both, for `--version`.
pub(crate) const FULL: &str = concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("HENCE_BUILT_FROM"), ")");

/// How this process was called, as a shell would take it again; the path of the program is left out.
pub(crate) fn command_line() -> String {
    let words = std::env::args_os().skip(1).map(|word| quoted(&word.to_string_lossy()));
    std::iter::once("hence-sim".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// The first line of a report.
pub(crate) fn introduce() {
    say!("hence-sim {FULL}: {}", command_line());
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
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
