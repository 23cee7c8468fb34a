//! `dhow-image config IMAGE`: an image's config and annotations changed, as umoci's flags say.

use clap::Args;
use dhow_image::config::RunConfig;
use dhow_image::edit::Draft;
use dhow_image::manifest::OCI_MANIFEST;
use dhow_image::platform::Platform;
use dhow_image::{Error, Result};

use crate::cli::RegistryFlags;
use crate::cli::target::{HistoryFlags, ImageFlag, TagFlag, checked_time, exactly, report};
use crate::context::Context;

/// Flags of `config`.
#[derive(Args)]
pub struct Config {
    /// A name of the store, or a place such as oci:DIR:TAG
    #[arg(value_name = "IMAGE")]
    words: Vec<String>,
    #[command(flatten)]
    image: ImageFlag,
    #[command(flatten)]
    tag: TagFlag,
    #[command(flatten)]
    set: Changes,
    /// Empty it first: config.labels, config.env, config.exposedports, config.volume, config.cmd,
    /// config.entrypoint, manifest.annotations
    #[arg(long, value_name = "FIELD")]
    clear: Vec<String>,
    /// Which platform's image of a list
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    #[command(flatten)]
    history: HistoryFlags,
    #[command(flatten)]
    registry: RegistryFlags,
}

/// What is set.
#[derive(Args)]
#[command(next_help_heading = "What is set")]
struct Changes {
    /// Who the process is: USER[:GROUP]
    #[arg(long = "config.user", value_name = "USER", allow_hyphen_values = true)]
    user: Option<String>,
    /// A port that is listened on
    #[arg(
        long = "config.exposedports",
        value_name = "PORT[/PROTOCOL]",
        allow_hyphen_values = true
    )]
    ports: Vec<String>,
    /// A variable of the environment
    #[arg(long = "config.env", value_name = "NAME=VALUE", allow_hyphen_values = true)]
    env: Vec<String>,
    /// The first words of the command line, a flag each
    #[arg(long = "config.entrypoint", value_name = "WORD", allow_hyphen_values = true)]
    entrypoint: Vec<String>,
    /// The words after them, a flag each
    #[arg(long = "config.cmd", value_name = "WORD", allow_hyphen_values = true)]
    cmd: Vec<String>,
    /// A path that gets a volume
    #[arg(long = "config.volume", value_name = "PATH", allow_hyphen_values = true)]
    volumes: Vec<String>,
    /// A label
    #[arg(long = "config.label", value_name = "NAME=VALUE", allow_hyphen_values = true)]
    labels: Vec<String>,
    /// The working directory
    #[arg(long = "config.workingdir", value_name = "PATH", allow_hyphen_values = true)]
    working_dir: Option<String>,
    /// The signal that asks the process to end
    #[arg(long = "config.stopsignal", value_name = "SIGNAL", allow_hyphen_values = true)]
    stop_signal: Option<String>,
    /// When the image was made (RFC 3339)
    #[arg(long, value_name = "TIME")]
    created: Option<String>,
    /// Who made the image
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    author: Option<String>,
    /// The operating system it is for
    #[arg(long = "platform.os", visible_alias = "os", value_name = "OS")]
    os: Option<String>,
    /// The processor it is for
    #[arg(long = "platform.arch", visible_alias = "architecture", value_name = "ARCH")]
    arch: Option<String>,
    /// The processor's variant
    #[arg(long = "platform.variant", value_name = "VARIANT")]
    variant: Option<String>,
    /// An annotation of the manifest
    #[arg(long = "manifest.annotation", value_name = "NAME=VALUE", allow_hyphen_values = true)]
    annotations: Vec<String>,
}

impl Config {
    /// Changes it; everything typed is read before the image is.
    pub fn run(mut self, cx: &Context) -> Result<()> {
        let target = self.image.take(&mut self.words)?;
        let [] = exactly(std::mem::take(&mut self.words), [])?;
        self.tag.get()?;
        self.history.entry(cx, "", "")?;
        self.set.apply(&mut Draft::scratch(&Platform::host(), None)?, &self.clear)?;
        let platform = cx.platform(self.platform.as_deref())?;
        let how = (&self.tag, platform.as_ref());
        let changed = target.edit(cx, &self.registry, how, |draft, _| {
            self.set.apply(draft, &self.clear)?;
            let author = draft.config.author.clone();
            if let Some(mut entry) = self.history.entry(cx, "dhow-image config", &author)? {
                entry.empty_layer = true;
                draft.config.history.push(entry);
            }
            Ok(())
        })?;
        report(cx, &target, &changed)
    }
}

impl Changes {
    fn apply(&self, draft: &mut Draft<'_>, clear: &[String]) -> Result<()> {
        for key in clear {
            let run = &mut draft.config.config;
            match key.as_str() {
                "config.labels" => run.labels.clear(),
                "config.env" => run.env.clear(),
                "config.exposedports" => run.exposed_ports.clear(),
                "config.volume" => run.volumes.clear(),
                "config.cmd" => run.cmd = None,
                "config.entrypoint" => run.entrypoint = None,
                "manifest.annotations" => draft.manifest.annotations.clear(),
                "rootfs.diffids" => {
                    return Err(Error::usage("--clear", key, "the layers would be lost"));
                }
                _ => return Err(Error::usage("--clear", key, "unknown field; see --help")),
            }
        }
        let config = &mut *draft.config;
        if let Some(time) = &self.created {
            config.created = Some(checked_time("--created", time)?);
        }
        for (from, to) in [
            (&self.author, &mut config.author),
            (&self.os, &mut config.os),
            (&self.arch, &mut config.architecture),
            (&self.variant, &mut config.variant),
        ] {
            if let Some(text) = from {
                to.clone_from(text);
            }
        }
        self.run_config(&mut config.config)?;
        for text in &self.annotations {
            let (name, value) = pair("--manifest.annotation", text)?;
            if draft.manifest.media_type != OCI_MANIFEST {
                draft.into_oci()?;
            }
            draft.manifest.annotations.insert(name.to_owned(), value.to_owned());
        }
        Ok(())
    }

    fn run_config(&self, run: &mut RunConfig) -> Result<()> {
        for (from, to) in [
            (&self.user, &mut run.user),
            (&self.working_dir, &mut run.working_dir),
            (&self.stop_signal, &mut run.stop_signal),
        ] {
            if let Some(text) = from {
                to.clone_from(text);
            }
        }
        run.exposed_ports.extend(self.ports.iter().cloned());
        run.volumes.extend(self.volumes.iter().cloned());
        for text in &self.env {
            let (name, _) = pair("--config.env", text)?;
            let old = run.env.iter_mut().find(|v| v.split_once('=').is_some_and(|v| v.0 == name));
            match old {
                Some(old) => old.clone_from(text),
                None => run.env.push(text.clone()),
            }
        }
        for text in &self.labels {
            let (name, value) = pair("--config.label", text)?;
            run.labels.insert(name.to_owned(), value.to_owned());
        }
        for (from, to) in [(&self.entrypoint, &mut run.entrypoint), (&self.cmd, &mut run.cmd)] {
            if !from.is_empty() {
                *to = Some(from.clone());
            }
        }
        Ok(())
    }
}

fn pair<'a>(flag: &'static str, text: &'a str) -> Result<(&'a str, &'a str)> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name, value)),
        _ => Err(Error::usage(flag, text, "write NAME=VALUE")),
    }
}
