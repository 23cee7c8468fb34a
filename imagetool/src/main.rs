//! dhow-image: argv and environment in, exit code out. Everything else is the library's.

mod bar;
mod cli;
mod command;
mod context;

use std::process::ExitCode;

use clap::Parser;

use cli::Cli;
use context::{Context, Environment};

/// Something failed, or what was typed makes no sense.
const FAILED: u8 = 1;
/// What was named doesn't exist: an image, a repository, a blob. As skopeo's.
const NOT_FOUND: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { FAILED } else { 0 });
        }
    };
    let json = cli.global.json;
    let context = Context::new(cli.global, Environment::read());
    match cli.command.run(&context) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads us has seen enough.
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            if json {
                eprintln!("{}", serde_json::json!({ "error": e.to_string() }));
            } else {
                eprintln!("dhow-image: {}", tame(&e.to_string()));
            }
            ExitCode::from(if e.is_not_found() { NOT_FOUND } else { FAILED })
        }
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
