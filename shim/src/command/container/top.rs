//! `dhow top`: the host's `ps`, of the container's processes.

use clap::Args;

use crate::error::Result;
use crate::events;
use crate::exit::Exit;
use crate::host::Host;
use crate::monitor;
use crate::output::{Output, table};
use crate::usage::{self, processes};

/// Show a container's processes
#[derive(Debug, Args)]
#[command(override_usage = "dhow top CONTAINER [ps OPTIONS]")]
pub struct Top {
    /// Name or id, and options of ps
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CONTAINER [ps OPTIONS]"
    )]
    pub words: Vec<String>,
}

impl Top {
    /// docker's columns, or those that ps was asked for.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host).map(|text| out.text(&text));
        out.end(result)
    }

    fn perform(&self, host: &Host) -> Result<String> {
        let needle = self.words.first().map_or("", String::as_str);
        let record = host.containers.find(needle)?.record;
        let state = monitor::state(host, &record)?;
        if !state.status.is_alive() {
            return Err(monitor::not_running(&record));
        }
        let pids = usage::pids(state.pid, &record.id);
        let rows = processes::list(&self.words[1..], &pids)?;
        if rows.len() < 2 && !monitor::runs(&state)? {
            return Err(monitor::not_running(&record)); // it ended meanwhile
        }
        events::of_container(&host.paths, &record, "top", &[]);
        Ok(table::layout_at_least(&rows, 20))
    }
}
