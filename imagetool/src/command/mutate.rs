//! `dhow-image mutate IMAGE`: labels, annotations, command and so on, as crane has it.

use std::path::PathBuf;

use clap::Args;
use dhow_image::changes;
use dhow_image::edit::Draft;
use dhow_image::platform::Platform;
use dhow_image::reference::Reference;
use dhow_image::transport::Place;
use dhow_image::{Error, Result};

use super::append::add_all;
use crate::cli::RegistryFlags;
use crate::cli::dest::{Dest, Work};
use crate::context::Context;

/// Flags of `mutate`.
#[derive(Args)]
pub struct Mutate {
    /// A name of the store, or a place such as docker://REF or oci:DIR:NAME
    #[arg(value_name = "IMAGE")]
    image: String,
    /// An annotation of the manifest
    #[arg(long, short = 'a', value_name = "KEY=VALUE", value_delimiter = ',')]
    annotation: Vec<String>,
    /// A label
    #[arg(long, short = 'l', value_name = "KEY=VALUE", value_delimiter = ',')]
    label: Vec<String>,
    /// A variable; an empty value unsets none
    #[arg(long, short = 'e', value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// A tar that becomes a layer on top
    #[arg(long, value_name = "TAR", value_delimiter = ',')]
    append: Vec<PathBuf>,
    /// What is run; its words apart by commas, or in several flags
    #[arg(long, value_name = "WORDS", value_delimiter = ',')]
    cmd: Vec<String>,
    /// What is run before the command's words; the command goes with the old one
    #[arg(long, value_name = "WORDS", value_delimiter = ',')]
    entrypoint: Vec<String>,
    /// Who runs it
    #[arg(long, short = 'u', value_name = "USER")]
    user: Option<String>,
    /// Where it is run
    #[arg(long, short = 'w', value_name = "DIR")]
    workdir: Option<String>,
    /// A port: 80 or 80/tcp
    #[arg(long, value_name = "PORT", value_delimiter = ',')]
    exposed_ports: Vec<String>,
    /// What the image is said to be for
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    set_platform: Option<String>,
    #[command(flatten)]
    dest: Dest,
    /// Push the result to this repository, by its digest
    #[arg(long, value_name = "NAME", conflicts_with_all = ["tag", "output"])]
    repo: Option<String>,
    /// Which platform's image of a list
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl Mutate {
    /// Changes it; all that was typed is read first.
    pub fn run(self, cx: &Context) -> Result<()> {
        let from: Place = self.image.parse()?;
        let labels = pairs("--label", &self.label)?;
        let annotations = pairs("--annotation", &self.annotation)?;
        let env = pairs("--env", &self.env)?;
        let platform = self.set_platform.as_deref().map(str::parse::<Platform>).transpose()?;
        let repo = self.repo.as_deref().map(Reference::parse_normal).transpose()?;
        let to = match &repo {
            // Its digest is told when it is known.
            Some(name) => Place::Registry(name.clone()),
            None => self.dest.place(Some(&from))?,
        };
        let work = Work::new(cx, &self.registry, self.platform.as_deref())?;
        let changed = work.with(&from, |source| {
            let mut draft = work.draft(source)?;
            if !annotations.is_empty() {
                draft.into_oci()?;
                draft.manifest.annotations.extend(annotations);
            }
            self.config(&mut draft, labels, &env)?;
            if let Some(platform) = platform {
                let config = &mut *draft.config;
                config.os = platform.os;
                config.architecture = platform.architecture;
                config.variant = platform.variant;
            }
            add_all(cx, &work, &mut draft, &self.append, None)?;
            work.put_by(draft, &to, repo.is_some())
        })?;
        work.tell(&changed, &to)
    }

    fn config(
        &self,
        draft: &mut Draft<'_>,
        labels: Vec<(String, String)>,
        env: &[(String, String)],
    ) -> Result<()> {
        // The manifest keeps its bytes if nothing of its config changes.
        if self.changes_config() {
            let config = &mut draft.config.config;
            config.labels.extend(labels);
            for (name, value) in env {
                let prefix = format!("{name}=");
                let new = format!("{prefix}{value}");
                match config.env.iter_mut().find(|v| v.starts_with(&prefix)) {
                    Some(old) => *old = new,
                    None => config.env.push(new),
                }
            }
            if !self.entrypoint.is_empty() {
                config.entrypoint = Some(self.entrypoint.clone());
                config.cmd = None;
            }
            if !self.cmd.is_empty() {
                config.cmd = Some(self.cmd.clone());
            }
            config.user = self.user.clone().unwrap_or_else(|| config.user.clone());
            config.working_dir = self.workdir.clone().unwrap_or_else(|| config.working_dir.clone());
            let ports: Vec<String> =
                self.exposed_ports.iter().map(|p| format!("EXPOSE {p}")).collect();
            changes::apply(config, &ports)?;
        }
        Ok(())
    }

    fn changes_config(&self) -> bool {
        let lists = [&self.label, &self.env, &self.cmd, &self.entrypoint, &self.exposed_ports];
        lists.iter().any(|l| !l.is_empty()) || self.user.is_some() || self.workdir.is_some()
    }
}

fn pairs(flag: &'static str, list: &[String]) -> Result<Vec<(String, String)>> {
    let one = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Error::usage(flag, text, "write NAME=VALUE")),
    };
    list.iter().map(one).collect()
}
