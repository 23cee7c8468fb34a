//! `dhow volume create`.

use clap::Args;

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::options::env::{labels, pairs};
use crate::output::Output;
use crate::store::{ANONYMOUS, VolumeSpec};

/// Make a volume
#[derive(Debug, Args)]
pub struct Create {
    /// Who keeps its files: local
    #[arg(short, long, default_value = "local")]
    pub driver: String,
    /// Metadata KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub label: Vec<String>,
    /// Its name, as older scripts give it
    #[arg(long = "name", hide = true)]
    pub old_name: Option<String>,
    /// What is mounted while it is in use: type=, device=, o=
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub opt: Vec<String>,
    /// Its name, or a made-up one
    #[arg(value_name = "VOLUME")]
    pub name: Option<String>,
}

impl Create {
    /// Prints its name; one that is there is fine, as in docker.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host).map(|name| out.line(&name));
        out.end(result)
    }

    fn perform(&self, host: &Host) -> Result<String> {
        if self.old_name.is_some() && self.name.is_some() {
            return Err(Error::usage(
                "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
            ));
        }
        let typed = self.name.as_ref().or(self.old_name.as_ref()).filter(|name| !name.is_empty());
        let mut spec =
            VolumeSpec { labels: labels(&[], &self.label)?, options: pairs("--opt", &self.opt)? };
        let name = match typed {
            Some(name) => name.clone(),
            None => crate::making::new_id()?,
        };
        if typed.is_none() {
            spec.labels.insert(ANONYMOUS.to_owned(), String::new());
        }
        if self.driver != "local" {
            return Err(Error::not_found(format!(
                "create {name}: error looking up volume plugin {0}: plugin \"{0}\" not found; there are no drivers but local",
                self.driver
            )));
        }
        Ok(host.volumes.create(&name, &spec)?.name)
    }
}
