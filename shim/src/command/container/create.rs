//! `dhow create`: make, and no more.

use clap::Args;

use crate::error::{Kind, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::making::{Request, Steps, make};
use crate::options::{Order, fill};
use crate::output::Output;

/// Make a container without starting it
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    override_usage = "dhow create [OPTIONS] IMAGE [COMMAND] [ARG...]"
)]
pub struct Create {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub order: Order,
}

impl Create {
    /// Prints the id.
    pub fn run(mut self, host: &Host, out: &mut Output) -> Exit {
        match self.perform(host, out) {
            Ok(id) => {
                out.line(&id);
                out.exit()
            }
            Err(e) => {
                out.error(&e);
                // As docker's: 125 for what was typed, 1 for what could not be done.
                if e.kind == Kind::Usage { Exit::of_run(e.kind) } else { Exit::of_verb(e.kind) }
            }
        }
    }

    fn perform(&mut self, host: &Host, out: &mut Output) -> Result<String> {
        fill(&mut self.order.flags, host.settings.client()?, host.settings.daemon()?);
        let (image, command, intent) = self.order.understood("create", false)?;
        let request = Request { flags: &self.order.flags, image, command, intent, now: false };
        Ok(make(host, request, out, &mut Steps::new())?.id)
    }
}
