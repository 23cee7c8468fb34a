//! `dhow stop`.

use clap::Args;

use crate::exit::Exit;
use crate::host::Host;
use crate::monitor;
use crate::options::rights;
use crate::output::Output;

/// Stop containers: their stop signal, then SIGKILL
#[derive(Debug, Args)]
pub struct Stop {
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

impl Stop {
    /// Prints each name.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        out.each(&self.containers, |needle| {
            let record = host.containers.find(needle)?.record;
            let signal = self.signal.as_deref().unwrap_or(&record.config.stop_signal);
            let signal = if signal.is_empty() { libc::SIGTERM } else { rights::signal(signal)? };
            let seconds = self.timeout.unwrap_or_else(|| record.stop_timeout());
            monitor::stop(host, &record, signal, rights::patience(seconds))?;
            Ok(needle.to_owned())
        })
    }
}
