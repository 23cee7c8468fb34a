//! `dhow commit`.

use std::collections::BTreeSet;

use clap::Args;
use dhow_image::commit::{Commit as Making, changed, commit};
use dhow_image::config::{Healthcheck, RunConfig};
use dhow_image::reference::Reference;

use crate::error::{Error, Result};
use crate::events;
use crate::exit::Exit;
use crate::host::Host;
use crate::making::{of_image, reference};
use crate::model::{Config, Record};
use crate::monitor::{self, Frozen};
use crate::output::Output;
use crate::reach;

/// Create a new image from a container's changes
#[derive(Debug, Args)]
pub struct Commit {
    /// Name stored as the author of the image
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub author: String,
    /// Dockerfile instruction applied to the new image's config
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub change: Vec<String>,
    /// Comment stored in the image's history
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub message: String,
    /// Do not pause the container while committing
    #[arg(long)]
    pub no_pause: bool,
    /// Pause the container while committing (true by default; deprecated)
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, hide = true,
        default_value = "true", default_missing_value = "true", value_parser = crate::cli::switch)]
    pub pause: bool,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    pub container: String,
    /// The image's name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub name: Option<String>,
}

impl Commit {
    /// Prints the image's id.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let made = self.perform(host, out);
        let result = made.map(|id| out.line(&id));
        out.end(result)
    }

    fn perform(&self, host: &Host, out: &Output) -> Result<String> {
        let name = self.name.as_deref().map(name).transpose()?;
        let record = host.containers.find(&self.container)?.record;
        let made = self.of(host, &record, name.as_ref(), out);
        host.containers.unless_gone(&self.container, made)
    }

    fn of(
        &self,
        host: &Host,
        record: &Record,
        name: Option<&Reference>,
        out: &Output,
    ) -> Result<String> {
        let config = config_of(&record.config);
        changed(&config, &self.change).map_err(of_image)?; // before anything stands still
        let store = host.images()?;
        let base = store.find(&record.image.id).map_err(of_image)?;
        let layers = reach::layers(host, record)?;
        let making = Making {
            base: &base,
            layers: &layers,
            mounts: &reach::MOUNT_POINTS,
            config,
            changes: &self.change,
            name,
            author: self.author.clone(),
            message: self.message.clone(),
            command: record.config.cmd.clone().unwrap_or_default().join(" "),
        };
        let frozen = self.frozen(host, record, out)?;
        // Nobody removes one that doesn't run while its files are read.
        let held = if frozen.is_none() { Some(monitor::hold(host, record)?) } else { None };
        let tell = |action| {
            if frozen.is_some() {
                events::of_container(&host.paths, record, action, &[]);
            }
        };
        tell("pause");
        let made = commit(store, &making).map_err(of_image);
        tell("unpause");
        drop((frozen, held));
        let id = made?.to_string();
        self.announce(host, record, &id, name);
        Ok(id)
    }

    /// The container stands still, if it is to and there is a freezer. An ordinary user may have
    /// none: then it goes on, which is told.
    fn frozen(&self, host: &Host, record: &Record, out: &Output) -> Result<Option<Frozen>> {
        if !self.pause || self.no_pause {
            return Ok(None);
        }
        match monitor::frozen(host, record) {
            Err(e) if dhow_image::rootless::is_confined() => {
                out.note(&format!(
                    "WARNING: container {} goes on while it is committed: {}",
                    record.name, e.message
                ));
                Ok(None)
            }
            done => done,
        }
    }

    fn announce(&self, host: &Host, record: &Record, id: &str, name: Option<&Reference>) {
        events::of_image(&host.paths, "create", id, "");
        let name = name.map(Reference::familiar).unwrap_or_default();
        if !name.is_empty() {
            events::of_image(&host.paths, "tag", id, &name);
        }
        let more = [("comment", self.message.as_str()), ("imageID", id), ("imageRef", &name)];
        events::of_container(&host.paths, record, "commit", &more);
    }
}

fn name(typed: &str) -> Result<Reference> {
    let name = reference(typed)?;
    if name.digest().is_some() {
        return Err(Error::usage("refusing to create a tag with a digest reference"));
    }
    Ok(name.tagged())
}

/// What of the container's config is an image's.
fn config_of(own: &Config) -> RunConfig {
    let keys = |map: &Option<std::collections::BTreeMap<String, serde_json::Value>>| {
        map.iter().flat_map(|map| map.keys().cloned()).collect::<BTreeSet<_>>()
    };
    RunConfig {
        user: own.user.clone(),
        exposed_ports: keys(&own.exposed_ports),
        env: own.env.clone(),
        entrypoint: own.entrypoint.clone(),
        cmd: own.cmd.clone(),
        volumes: keys(&own.volumes),
        working_dir: own.working_dir.clone(),
        labels: own.labels.clone(),
        stop_signal: own.stop_signal.clone(),
        healthcheck: own.healthcheck.as_ref().map(|check| Healthcheck {
            test: check.test.clone(),
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: check.retries,
        }),
        ..RunConfig::default()
    }
}
