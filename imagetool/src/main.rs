//! dhow-image: argv and environment in, exit code out. Everything else is the library's.

mod bar;
mod cli;
mod command;
mod context;

use std::process::ExitCode;
use std::time::Duration;

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
    let json = cli.global.json;
    if let Some(limit) = cli.global.command_timeout.filter(|d| !d.is_zero()) {
        end_after(limit, json);
    }
    let done = Context::new(cli.global, Environment::read()).and_then(|cx| cli.command.run(&cx));
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

/// Ends the program when its time is over. What isn't whole by then is nowhere visible, as
/// after a kill.
fn end_after(limit: Duration, json: bool) {
    let watch = move || {
        std::thread::sleep(limit);
        tell(&format!("not done within --command-timeout ({limit:?}): give it more"), json);
        std::process::exit(i32::from(FAILED));
    };
    // Without a thread there is no limit, but still the work.
    let _ = std::thread::Builder::new().name("timeout".into()).spawn(watch);
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
