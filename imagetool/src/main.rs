//! dhow-image: argv and environment in, exit code out. Everything else is the library's.

mod bar;
mod cli;
mod command;
mod context;
mod ending;

use std::process::ExitCode;

use cli::Cli;
use context::{Context, Environment};

/// Something failed, or what was typed makes no sense.
const FAILED: u8 = 1;
/// What was named doesn't exist: an image, a repository, a blob. As skopeo's.
const NOT_FOUND: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { FAILED } else { 0 });
        }
    };
    ending::on_signals();
    let json = cli.global.json;
    if let Some(limit) = cli.global.command_timeout.filter(|d| !d.is_zero()) {
        let why = format!("not done within --command-timeout ({limit:?}): give it more");
        ending::after(limit, FAILED, move || tell(&why, json));
    }
    let done = Context::new(cli.global, Environment::read()).and_then(|cx| cli.command.run(&cx));
    if done.is_err() {
        ending::unless_ending();
    }
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads us has seen enough.
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            tell(&e.to_string(), json);
            ExitCode::from(if e.is_not_found() { NOT_FOUND } else { FAILED })
        }
    }
}

/// The error, as who reads it wants it.
fn tell(error: &str, json: bool) {
    if json {
        eprintln!("{}", serde_json::json!({ "error": error }));
    } else {
        eprintln!("dhow-image: {}", tame(error));
    }
}

/// One line, without control characters: names out of hostile archives end up in errors.
fn tame(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn is_broken_pipe(e: &dhow_image::Error) -> bool {
    match e {
        dhow_image::Error::Io { source, path, .. } => {
            source.kind() == std::io::ErrorKind::BrokenPipe && path.as_os_str() == "stdout"
        }
        _ => false,
    }
}
