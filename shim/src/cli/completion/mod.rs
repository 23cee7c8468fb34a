//! What completes `dhow` in a shell: a script a shell, and `dhow __complete LINE`, which the
//! script asks. Commands and flags come from the definition, names from the stores.

mod candidates;
mod names;

use clap::{Args, ValueEnum};

use crate::exit::Exit;
use crate::host::Host;
use crate::output::Output;

/// The shells that are known.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Shell {
    /// bash 4 and newer.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
    /// PowerShell.
    Powershell,
}

/// Print what completes commands, flags and names in a shell
#[derive(Debug, Args)]
pub struct Completion {
    /// bash, zsh, fish or powershell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

impl Completion {
    /// The shell's script.
    pub(super) fn run(self, _: &Host, out: &mut Output) -> Exit {
        out.text(script(self.shell));
        out.exit()
    }
}

/// What a shell evaluates.
pub fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => include_str!("dhow.bash"),
        Shell::Zsh => include_str!("dhow.zsh"),
        Shell::Fish => include_str!("dhow.fish"),
        Shell::Powershell => include_str!("dhow.ps1"),
    }
}

/// Asked by the scripts
#[derive(Debug, Args)]
pub struct Complete {
    /// The words up to the cursor, the last of them unfinished
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORD")]
    pub words: Vec<String>,
}

impl Complete {
    /// A candidate a line, and a tab and what it is where that is known. Never an error: a
    /// shell would show it in the middle of a line.
    pub(super) fn run(self, host: &Host, out: &mut Output) -> Exit {
        let lines =
            candidates::of(&super::definition(), &self.words, &|kind| names::of(host, kind));
        out.text(&lines.iter().map(|line| format!("{line}\n")).collect::<Vec<_>>().concat());
        Exit::OK
    }
}
