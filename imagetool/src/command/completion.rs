//! `dhow-image completion SHELL`: a script that completes this command line.

use std::io::Write;

use clap::Args;
use clap_complete::Shell;
use dhow_image::{Error, Result};

use crate::cli::Cli;
use crate::context::{Context, stdout};

/// Flags of `completion`.
#[derive(Args)]
pub struct Completion {
    /// For which shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completion {
    /// Prints the script.
    pub fn run(self, _cx: &Context) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::shown(), "dhow-image", &mut script);
        let mut out = stdout();
        out.write_all(&script).and_then(|()| out.flush()).map_err(Error::at("write", "stdout"))
    }
}
