//! `dhow restart`.

use clap::Args;

use crate::exit::Exit;
use crate::host::Host;
use crate::monitor::{self, Start};
use crate::options::rights;
use crate::output::Output;

/// Stop containers and start them again
#[derive(Debug, Args)]
pub struct Restart {
    /// Signal to send first, by name or number
    #[arg(short, long)]
    pub signal: Option<String>,
    /// Seconds between the signal and SIGKILL (-1 waits for ever)
    #[arg(
        short,
        long,
        visible_alias = "time",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    pub timeout: Option<i64>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

impl Restart {
    /// Prints each name.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        out.each(&self.containers, |needle| {
            let record = host.containers.find(needle)?.record;
            if record.host_config.auto_remove {
                return Err(crate::Error::conflict(format!(
                    "container {} was made with --rm: stopping it removes it",
                    record.name
                )));
            }
            let signal = self.signal.as_deref().unwrap_or(&record.config.stop_signal);
            let signal = if signal.is_empty() { libc::SIGTERM } else { rights::signal(signal)? };
            let seconds = self.timeout.unwrap_or_else(|| record.stop_timeout());
            monitor::stop(host, &record, signal, rights::patience(seconds))?;
            monitor::start(host, &record, Start::default())?;
            Ok(needle.to_owned())
        })
    }
}
