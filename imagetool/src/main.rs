//! dhow-image: argv and environment in, exit code out. Everything else is the library's.

mod bar;
mod cli;
mod command;
mod context;
mod ending;

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use cli::Cli;
use context::{Context, Environment};
use dhow_image::words::nearest;

/// Something failed, or what was typed makes no sense.
const FAILED: u8 = 1;
/// What was named doesn't exist: an image, a repository, a blob. As skopeo's.
const NOT_FOUND: u8 = 2;

fn main() -> ExitCode {
    dhow_kernel::signal::hear_of_children();
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(e) if e.use_stderr() && !is_help(&e) => {
            let json = std::env::args_os().any(|word| word == "--json");
            tell(&usage(&e), json);
            return ExitCode::from(FAILED);
        }
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { FAILED } else { 0 });
        }
    };
    let json = cli.global.json;
    let limit = cli.global.command_timeout.filter(|d| !d.is_zero());
    let made = Context::new(cli.global, Environment::read());
    if let Some(cx) = made.as_ref().ok().filter(|_| cli.command.keeps_layers()) {
        cx.enter_namespace();
    }
    ending::on_signals();
    if let Some(limit) = limit {
        let why = format!("not done within --command-timeout ({limit:?}): give it more");
        ending::after(limit, FAILED, move || tell(&why, json));
    }
    let done = made.and_then(|cx| cli.command.run(&cx).map_err(|e| cx.with_near_name(e)));
    if done.is_err() {
        ending::unless_ending();
    }
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads us has seen enough.
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            let lines = matches!(e, dhow_image::Error::Dockerfile(_));
            tell_of(&e.to_string(), json, lines);
            ExitCode::from(ending::code_of_signal().unwrap_or_else(|| code(&e)))
        }
    }
}

/// A place that isn't there is no image that isn't there: as skopeo has it, that failed.
fn code(error: &dhow_image::Error) -> u8 {
    match error {
        dhow_image::Error::NotFound { what: "file", .. } => FAILED,
        e if e.is_not_found() => NOT_FOUND,
        _ => FAILED,
    }
}

/// Nothing but the program or a group of verbs was named: all of their help is the answer.
fn is_help(e: &clap::Error) -> bool {
    e.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

/// clap's paragraphs about what was typed, as one line that says where to read on.
fn usage(error: &clap::Error) -> String {
    let text = error.to_string();
    let (what, rest) = text.split_once("Usage: ").unwrap_or((&text, ""));
    let verb = rest.lines().next().unwrap_or_default();
    // The verb ends where its flags and words begin.
    let verb: Vec<&str> =
        verb.split(' ').take_while(|w| w.starts_with(|c: char| c.is_ascii_lowercase())).collect();
    let verb = if verb.is_empty() { "dhow-image".to_owned() } else { verb.join(" ") };
    let what = unknown_verb(error).unwrap_or_else(|| {
        let what = what.split("For more information").next().unwrap_or(what);
        let what = what.strip_prefix("error: ").unwrap_or(what);
        let lines: Vec<&str> = what.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        lines.join(" ").replace(" tip: ", "; ")
    });
    format!("{what}; see {verb} --help")
}

/// A verb that isn't there, with the nearest of those that clap thinks were meant.
fn unknown_verb(error: &clap::Error) -> Option<String> {
    let ContextValue::String(typed) = error.get(ContextKind::InvalidSubcommand)? else {
        return None;
    };
    let near = match error.get(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::Strings(list)) => nearest(typed, list.clone()),
        Some(ContextValue::String(one)) => Some(one.clone()),
        _ => None,
    };
    let near = near.map_or_else(String::new, |verb| format!(", did you mean {verb}?"));
    Some(format!("unknown verb {typed:?}{near}"))
}

/// The error, as who reads it wants it.
fn tell(error: &str, json: bool) {
    tell_of(error, json, false);
}

fn tell_of(error: &str, json: bool, lines: bool) {
    if json {
        eprintln!("{}", serde_json::json!({ "error": error }));
    } else {
        eprintln!("dhow-image: {}", tame(error, lines));
    }
}

/// One line, without control characters: names out of hostile archives end up in errors. Errors in
/// a Dockerfile have more lines, which show the place.
fn tame(text: &str, lines: bool) -> String {
    let kept = |c: char| lines && matches!(c, '\n' | '\t');
    text.chars().map(|c| if c.is_control() && !kept(c) { ' ' } else { c }).collect()
}

fn is_broken_pipe(e: &dhow_image::Error) -> bool {
    match e {
        dhow_image::Error::Io { source, path, .. } => {
            source.kind() == std::io::ErrorKind::BrokenPipe && path.as_os_str() == "stdout"
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_wrongly_is_told_in_one_line() {
        for (line, told) in [
            (
                "dhow-image mutatte",
                "unknown verb \"mutatte\", did you mean mutate?; see dhow-image --help",
            ),
            (
                "dhow-image copy a",
                "the following required arguments were not provided: <DST>; see dhow-image copy --help",
            ),
            (
                "dhow-image --log loud list",
                "invalid value 'loud' for '--log <LEVEL>' [possible values: debug, info, warn, error, fatal]; see dhow-image --help",
            ),
            (
                "dhow-image index create --nope",
                "unexpected argument '--nope' found; a similar argument exists: '--no-creds'; see dhow-image index create --help",
            ),
        ] {
            let error = Cli::read(line.split(' ').map(Into::into)).err().unwrap();
            assert_eq!(usage(&error), told);
        }
    }
}
