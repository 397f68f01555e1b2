//! The log: structured lines on standard error, as text or JSON.

use crate::settings::SettingError;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Starts logging at this level.
///
/// # Errors
/// [`SettingError`] where `level` is no level and no list of levels per module.
pub(crate) fn start(level: &str, json: bool) -> Result<(), SettingError> {
    let filter = filter(level)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A logger that is there already, an embedder's, stays.
    let _ = if json {
        lines.json().flatten_event(true).try_init()
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init()
    };
    Ok(())
}

fn filter(level: &str) -> Result<EnvFilter, SettingError> {
    // A lone word that is no level would be taken for a module's name, and silence everything else.
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let words_are_levels = level.split(',').all(|part| part.contains('=') || is_level(part.trim()));
    let wrong = || SettingError {
        name: "HENCE_LOG".into(),
        value: level.into(),
        allowed: "off, error, warn, info, debug or trace, or a list such as hence_server=debug,warn".into(),
    };
    if !words_are_levels {
        return Err(wrong());
    }
    EnvFilter::builder().parse(level).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels() {
        for level in ["off", "error", "info", "TRACE", "hence_server=debug,warn"] {
            assert!(filter(level).is_ok(), "{level}");
        }
        assert!(filter("loud").is_err() && filter("info,loud").is_err() && filter("").is_err());
        let error = filter("info=very=loud").unwrap_err();
        assert!(error.to_string().starts_with("HENCE_LOG is \"info=very=loud\"; it must be off, error"), "{error}");
    }
}
