//! Values as Go's flag packages read them: `--flag=false`, `1m30s`.

use std::time::Duration;

use clap::ArgAction;

/// A command, not those below it, with every switch taking `=true` and `=false`.
pub fn with_values(command: clap::Command) -> clap::Command {
    // Of a flag given twice the last counts, as in Go.
    command.args_override_self(true).mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
            .hide_possible_values(true)
            .hide_default_value(true)
            .value_parser(switch),
        _ => arg,
    })
}

/// The command line as people are shown it: a switch is `--json`, not `--json[=<JSON>]`.
pub fn without_values(command: clap::Command) -> clap::Command {
    let names: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    let command = command.mut_args(|arg| {
        // Nothing else is off by default.
        if arg.get_default_values().iter().any(|v| v == "false") {
            arg.action(ArgAction::SetTrue).num_args(0).require_equals(false)
        } else {
            arg
        }
    });
    names.into_iter().fold(command, |c, name| c.mut_subcommand(name, without_values))
}

/// Go's strconv.ParseBool.
pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(format!("\"{other}\" is neither true nor false")),
    }
}

/// Go's time.ParseDuration, without signs: `90s`, `1m30s`, `1.5h`, `0`.
pub fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let bad = || format!("{text:?} is no duration: write 30s, 1m30s or 2h");
    let mut rest = text;
    let mut all = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let number: f64 = rest[..end].parse().map_err(|_| bad())?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let seconds = match &rest[..end] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(bad()),
        };
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| bad())?;
        all = all.checked_add(part).ok_or_else(bad)?;
        rest = &rest[end..];
    }
    if text.is_empty() { Err(bad()) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_gos() {
        for (text, millis) in
            [("0", 0), ("30s", 30_000), ("1m30s", 90_000), ("1.5h", 5_400_000), ("250ms", 250)]
        {
            assert_eq!(duration(text).unwrap().as_millis(), millis, "{text}");
        }
        for bad in ["", "1", "s", "1d", "-1s", "1.2.3s", "1s2", "99999999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn durations_never_panic(text in "\\PC{0,20}|([0-9.]{0,30}(ns|µs|ms|s|m|h)){0,4}") {
            let _ = duration(&text);
        }
    }
}
