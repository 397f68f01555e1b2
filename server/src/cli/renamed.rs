//! Variables whose names changed. The former name counts for one more version, and the log says so.

use std::ffi::{OsStr, OsString};

/// The former name, and the present one.
pub(super) const RENAMED: [(&str, &str); 4] = [
    ("HENCE_PARKED_MAX", "HENCE_CAUSAL_BUFFER_MAX"),
    ("HENCE_WAITING_MAX", "HENCE_BLOCKED_MAX"),
    ("HENCE_RETIRE_PATIENCE", "HENCE_RETIRE_TIMEOUT"),
    ("HENCE_REMOVED_PATIENCE", "HENCE_REMOVED_TIMEOUT"),
];

/// The present name of a variable, if this is its former one.
pub(super) fn present_name(former: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(name, _)| *name == former).map(|&(_, present)| present)
}

/// The arguments of the process, with a flag for each variable that is set under its former name alone.
///
/// A flag on the command line and a variable of the present name count more.
pub(super) fn arguments(
    given: impl IntoIterator<Item = OsString>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = given.into_iter().collect();
    let takes_settings = arguments.get(1).is_some_and(|command| command == "serve" || command == "up");
    for (former, present) in RENAMED.into_iter().filter(|_| takes_settings) {
        let flags = [flag(former), flag(present)];
        let is_given = |argument: &OsString| flags.iter().any(|flag| is_flag(argument, flag));
        if variable(present).is_none()
            && !arguments.iter().any(is_given)
            && let Some(value) = variable(former)
        {
            let mut argument = OsString::from(flag(present));
            argument.push("=");
            argument.push(value);
            arguments.push(argument);
        }
    }
    arguments
}

/// The flag of a variable.
fn flag(variable: &str) -> String {
    format!("--{}", variable.trim_start_matches("HENCE_").to_ascii_lowercase().replace('_', "-"))
}

fn is_flag(argument: &OsStr, flag: &str) -> bool {
    let argument = argument.to_string_lossy();
    argument.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Cli, variables};
    use clap::Parser;

    fn given(arguments: &str, variables: &[(&str, &str)]) -> String {
        let value = |name: &str| variables.iter().find(|(one, _)| *one == name).map(|(_, value)| value.into());
        let arguments = super::arguments(arguments.split(' ').map(OsString::from), value);
        arguments.join(OsStr::new(" ")).into_string().expect("text")
    }

    #[test]
    fn a_former_name_sets_what_the_present_one_does() {
        let former = [("HENCE_PARKED_MAX", "7")];
        assert_eq!(given("hence serve", &former), "hence serve --causal-buffer-max=7");
        assert_eq!(given("hence up 5", &former), "hence up 5 --causal-buffer-max=7");
        assert_eq!(given("hence health", &former), "hence health", "it takes no settings");
        for flag in ["--causal-buffer-max 9", "--causal-buffer-max=9", "--parked-max 9"] {
            let arguments = format!("hence serve {flag}");
            assert_eq!(given(&arguments, &former), arguments, "a flag counts more");
        }
        let both = [("HENCE_PARKED_MAX", "7"), ("HENCE_CAUSAL_BUFFER_MAX", "8")];
        assert_eq!(given("hence serve", &both), "hence serve", "the present name counts more");
    }

    #[test]
    fn each_present_name_is_a_setting_and_each_former_one_a_flag() {
        let settings = variables();
        for (former, present) in RENAMED {
            assert!(settings.iter().any(|name| name == present), "{present} is no setting");
            assert!(!settings.iter().any(|name| name == former), "{former} is a setting still");
            let arguments = ["hence", "serve", "--socket-address=127.0.0.1:8090", &format!("{}=7", flag(former))];
            let read = Cli::try_parse_from(arguments);
            assert!(!read.is_err_and(|error| error.to_string().contains("unexpected argument")), "{former}: no flag");
        }
    }
}
