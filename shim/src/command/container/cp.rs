//! `dhow cp`.

use std::ffi::OsString;
use std::io::IsTerminal;

use clap::Args;

use crate::copying::{How, Named, Side, into, out_of};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::output::Output;

/// Copy files between a container and the host
///
/// A source of `-` is a tar on stdin, unpacked into a directory of the container; a destination
/// of `-` is a tar on stdout.
#[derive(Debug, Args)]
#[command(override_usage = "dhow cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-
       dhow cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH")]
pub struct Cp {
    /// Give copies in a container to its user
    #[arg(short, long)]
    pub archive: bool,
    /// Copy what a link named as the source leads to
    #[arg(short = 'L', long)]
    pub follow_link: bool,
    /// Say nothing; so it is if stdout is no terminal
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = crate::cli::switch)]
    pub quiet: Option<bool>,
    /// CONTAINER:PATH, PATH, or - for stdin
    #[arg(value_name = "SRC_PATH")]
    pub source: OsString,
    /// CONTAINER:PATH, PATH, or - for stdout
    #[arg(value_name = "DEST_PATH")]
    pub destination: OsString,
}

impl Cp {
    /// Copies, and says how much.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        self.perform(host).unwrap_or_else(|error| out.end(Err(error)))
    }

    fn perform(&self, host: &Host) -> Result<Exit> {
        for (what, typed) in [("source", &self.source), ("destination", &self.destination)] {
            if typed.is_empty() {
                return Err(Error::usage(format!("{what} can not be empty")));
            }
        }
        let how = How {
            archive: self.archive,
            follow: self.follow_link,
            quiet: self.quiet.unwrap_or_else(|| !std::io::stdout().is_terminal()),
        };
        match (Side::parse(&self.source), Side::parse(&self.destination)) {
            (Side::Container(name, path), Side::Local(to)) => {
                let record = &host.containers.find(name)?.record;
                let done = out_of(host, &Named { name, record }, path, to, how);
                host.containers.unless_gone(name, done)
            }
            (Side::Local(from), Side::Container(name, path)) => {
                let record = &host.containers.find(name)?.record;
                let done = into(host, from, &Named { name, record }, path, how);
                host.containers.unless_gone(name, done)
            }
            (Side::Container(..), Side::Container(..)) => {
                Err(Error::usage("copying between containers is not supported"))
            }
            (Side::Local(_), Side::Local(_)) => {
                Err(Error::usage("must specify at least one container source"))
            }
        }
    }
}
