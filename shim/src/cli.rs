//! argv → verb → exit code.

use std::process::ExitCode;

/// The whole program.
pub fn main() -> ExitCode {
    ExitCode::from(crate::exit::Exit::OK)
}
