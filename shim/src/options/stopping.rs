//! How a container is brought to its end: what `stop` and `restart` share.

use clap::Args;

use super::rights;
use crate::error::Result;
use crate::host::Host;
use crate::model::Record;
use crate::monitor;

/// First a signal, then SIGKILL
#[derive(Debug, Args)]
pub struct Stopping {
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
}

impl Stopping {
    /// Stops it, with the container's own signal and time where none were typed.
    pub fn stop(&self, host: &Host, record: &Record) -> Result<()> {
        let signal = self.signal.as_deref().unwrap_or(&record.config.stop_signal);
        let signal = if signal.is_empty() { libc::SIGTERM } else { rights::signal(signal)? };
        let seconds = self.timeout.unwrap_or_else(|| record.stop_timeout());
        let ran = monitor::state(host, record)?.status.is_alive();
        monitor::stop(host, record, signal, rights::patience(seconds))?;
        if ran {
            crate::events::of_container(&host.paths, record, "stop", &[]);
        }
        Ok(())
    }
}
