//! `dhow attach`.

use std::io::IsTerminal;

use clap::Args;

use crate::cli::SigProxy;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::monitor::{self, Attach as How, Ended};
use crate::output::Output;

/// Join a running container's streams
#[derive(Debug, Args)]
pub struct Attach {
    /// Keys that leave the container running (default ctrl-p,ctrl-q)
    #[arg(long, value_name = "KEYS")]
    pub detach_keys: Option<String>,
    /// Don't send stdin
    #[arg(long)]
    pub no_stdin: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub sig_proxy: SigProxy,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}

impl Attach {
    /// The container's exit code. DOCKER: 1 when the user left, where `run` and `start` say 0.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        match self.perform(host) {
            Ok(Ended::Exited(code)) => Exit::container(code),
            Ok(Ended::Detached) => Exit::FAILED,
            Err(e) => {
                out.error(&e);
                Exit::of_verb(e.kind)
            }
        }
    }

    fn perform(&self, host: &Host) -> Result<Ended> {
        let record = host.containers.find(&self.container)?.record;
        monitor::DetachKeys::parse(self.detach_keys.as_deref())?;
        let stdin = !self.no_stdin && record.config.open_stdin;
        if stdin && record.config.tty && !std::io::stdin().is_terminal() {
            return Err(Error::usage("the input device is not a TTY; use --no-stdin"));
        }
        let how = How {
            stdin,
            stdout: true,
            stderr: true,
            detach_keys: self.detach_keys.clone(),
            sig_proxy: self.sig_proxy.sig_proxy,
        };
        monitor::attach(host, &record, &how)
    }
}
