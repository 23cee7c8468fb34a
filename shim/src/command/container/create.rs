//! `dhow create`: make, and no more.

use clap::Args;

use crate::error::{Error, Kind, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::making::{Request, Steps, make};
use crate::options::{Flags, fill, intend};
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
    pub flags: Flags,
    /// Image, and what it runs in place of its own command
    #[arg(required = true, trailing_var_arg = true, value_name = "IMAGE [COMMAND] [ARG...]")]
    pub words: Vec<String>,
    /// Print help
    #[arg(long, action = clap::ArgAction::HelpShort)]
    pub help: (),
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
        fill(&mut self.flags, host.settings.client()?, host.settings.daemon()?);
        let Some((image, command)) = self.words.split_first() else {
            return Err(Error::usage("\"dhow create\" requires at least 1 argument"));
        };
        let intent = intend(&self.flags, image, command, false)?;
        let request = Request { flags: &self.flags, image, command, intent };
        Ok(make(host, request, out, &mut Steps::new())?.id)
    }
}
