//! `dhow rm`.

use clap::Args;

use crate::error::{Kind, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::model::Record;
use crate::monitor;
use crate::output::Output;
use crate::store::discard;

/// So often a container that others start meanwhile is stopped again.
const TRIES: u32 = 100;

/// Remove containers
#[derive(Debug, Args)]
pub struct Rm {
    /// SIGKILL a running container first; one that isn't there is fine
    #[arg(short, long)]
    pub force: bool,
    /// The link NAME/ALIAS goes, and not the container
    #[arg(short, long)]
    pub link: bool,
    /// Its anonymous volumes too
    #[arg(short, long)]
    pub volumes: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

impl Rm {
    /// Prints each name.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let mut worst = Exit::OK;
        for needle in &self.containers {
            let exit = out.each(std::slice::from_ref(needle), |needle| {
                if self.link {
                    monitor::unlink(host, needle)?;
                    return Ok(needle.to_owned());
                }
                let record = host.containers.find(needle)?.record;
                self.remove(host, &record)?;
                Ok(needle.to_owned())
            });
            // As docker: `rm -f` of what isn't there tells it and succeeds.
            let gone = self.force && !self.link && host.containers.find(needle).is_err();
            worst = worst.and(if gone { Exit::OK } else { exit });
        }
        worst
    }

    fn remove(&self, host: &Host, record: &Record) -> Result<()> {
        let mut tries = 0;
        loop {
            if self.force {
                monitor::stop(host, record, libc::SIGKILL, None)?;
            }
            // A container made with --rm goes by itself; then there is nothing left to remove.
            if host.containers.record(&record.id)?.is_none() {
                return Ok(());
            }
            tries += 1;
            match discard(host, record, self.volumes) {
                // Somebody else has started it between the two.
                Err(e) if self.force && e.kind == Kind::Conflict && tries < TRIES => {}
                done => return done,
            }
        }
    }
}
