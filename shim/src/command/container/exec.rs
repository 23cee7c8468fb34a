//! `dhow exec`.

use std::io::IsTerminal;

use clap::Args;

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::monitor::{self, Ended};
use crate::options::env;
use crate::output::Output;

/// Run a command in a running container
#[derive(Debug, Args)]
#[command(override_usage = "dhow exec [OPTIONS] CONTAINER COMMAND [ARG...]")]
pub struct Exec {
    /// Don't wait for it
    #[arg(short, long)]
    pub detach: bool,
    /// Keys that leave it (default ctrl-p,ctrl-q)
    #[arg(long, value_name = "KEYS")]
    pub detach_keys: Option<String>,
    /// Environment variable KEY=VALUE, or KEY to pass on the caller's
    #[arg(short, long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub env: Vec<String>,
    /// File of KEY=VALUE or KEY lines
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<String>,
    /// Keep stdin open and connected
    #[arg(short, long)]
    pub interactive: bool,
    /// Give it every capability
    #[arg(long)]
    pub privileged: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// user[:group] or uid[:gid]
    #[arg(short, long)]
    pub user: Option<String>,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Container, command and its arguments
    #[arg(required = true, trailing_var_arg = true, num_args = 2..,
        value_name = "CONTAINER COMMAND [ARG...]")]
    pub words: Vec<String>,
}

impl Exec {
    /// The command's exit code; 126, 127 when it could not start, 1 when the engine failed.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        match self.perform(host) {
            Ok(exit) => exit,
            Err(e) => {
                out.error(&e);
                match Exit::of_run(e.kind) {
                    // DOCKER: nobody stays for what was to run by itself.
                    _ if self.detach => Exit::of_verb(e.kind),
                    Exit::ENGINE => Exit::of_verb(e.kind),
                    other => other,
                }
            }
        }
    }

    fn perform(&self, host: &Host) -> Result<Exit> {
        let Some((container, args)) = self.words.split_first() else {
            return Err(Error::usage("\"dhow exec\" requires at least 2 arguments"));
        };
        if self.tty && self.interactive && !self.detach && !std::io::stdin().is_terminal() {
            return Err(Error::usage("the input device is not a TTY; leave -t away"));
        }
        let mut vars = env::collect(&self.env_file, &self.env, |key| std::env::var(key).ok())?;
        vars.retain(|v| v.contains('='));
        let record = host.containers.find(container)?.record;
        let exec = monitor::Exec {
            args: args.to_vec(),
            env: vars,
            cwd: self.workdir.clone().unwrap_or_default(),
            user: self.user.clone().unwrap_or_default(),
            tty: self.tty,
            stdin: self.interactive,
            detach: self.detach,
            privileged: self.privileged,
            detach_keys: self.detach_keys.clone(),
        };
        Ok(match monitor::exec(host, &record, &exec)? {
            Ended::Exited(code) => Exit::container(code),
            Ended::Detached => Exit::FAILED, // DOCKER: as attach
        })
    }
}
