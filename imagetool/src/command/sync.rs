//! `dhow-image sync --src KIND --dest KIND SOURCE DESTINATION`: many images at once.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use dhow_image::copy::{self, Choice};
use dhow_image::pull::tags;
use dhow_image::reference::Reference;
use dhow_image::registry::Settings;
use dhow_image::sink::{Outputs, into};
use dhow_image::source::{Inputs, with};
use dhow_image::store::Store;
use dhow_image::sync::{self, Found, Listed, Wanted};
use dhow_image::transport::Place;
use dhow_image::trust::Signing;
use dhow_image::{Error, Result};
use serde_json::json;

use super::copy::mount_from;
use crate::cli::RegistryFlags;
use crate::cli::access::{SourceFlags, TargetFlags};
use crate::cli::form::{FormFlags, PackFlags};
use crate::cli::trust::SignFlags;
use crate::context::{Context, stdin, stdout};

/// Flags of `sync`.
#[derive(Args)]
pub struct Sync {
    /// A repository or an image, a directory of images, or a list of them in YAML
    #[arg(value_name = "SOURCE")]
    from: String,
    /// A registry with or without a folder in it, or a directory
    #[arg(value_name = "DESTINATION")]
    to: String,
    /// What the source is
    #[arg(long, short, value_enum, value_name = "KIND")]
    src: From,
    /// What the destination is
    #[arg(long, short, value_enum, value_name = "KIND")]
    dest: To,
    /// Keep the whole names below the destination, not the last parts only
    #[arg(long)]
    scoped: bool,
    /// Append this to the tags at the destination
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    append_suffix: String,
    /// Lists with all their platforms, not just one of them
    #[arg(long, short)]
    all: bool,
    /// Say what would be copied, and copy nothing
    #[arg(long)]
    dry_run: bool,
    /// Go on when an image can't be copied
    #[arg(long)]
    keep_going: bool,
    /// Write digests and names to this file, a line an image
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    #[command(flatten)]
    form: FormFlags,
    #[command(flatten)]
    sign: SignFlags,
    #[command(flatten)]
    registry: RegistryFlags,
    #[command(flatten)]
    source: SourceFlags,
    #[command(flatten)]
    target: TargetFlags,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    Docker,
    Dir,
    Yaml,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum To {
    Docker,
    Dir,
}

/// Images that are spoken for alike.
struct Batch {
    images: Vec<Found>,
    settings: Settings,
}

impl Sync {
    /// Copies all.
    pub fn run(self, cx: &Context) -> Result<()> {
        if self.src == From::Dir && self.dest == To::Dir {
            let why = "sync from 'dir' to 'dir' not implemented, consider using rsync instead";
            return Err(Error::Conflict(why.into()));
        }
        let batches = self.batches(cx)?;
        let target = cx.settings(&self.target.over(&self.registry))?;
        let signing = self.sign.signing(None)?;
        if self.dry_run {
            cx.warn("Running in dry-run mode");
        }
        let mut digests = match &self.digestfile {
            Some(file) if !self.dry_run => {
                Some(File::create(file).map_err(Error::at("create", file))?)
            }
            _ => None,
        };
        let store = cx.store_for(batches.iter().flat_map(|b| &b.images).map(|i| &i.from))?;
        let (mut count, mut failed, mut all) = (0, false, Vec::new());
        for batch in &batches {
            for (n, image) in batch.images.iter().enumerate() {
                let dir = self.dest == To::Dir;
                let to = image.goes(&self.to, dir, self.scoped, &self.append_suffix)?;
                self.tell(cx, (n + 1, batch.images.len()), image, &to);
                let mut entry = json!({ "from": shown(&image.from), "to": shown(&to) });
                if !self.dry_run {
                    let places = (&image.from, &to);
                    let done = self.one(cx, &store, (&batch.settings, &target), places, &signing);
                    let digest = match done {
                        Ok(digest) => digest,
                        Err(e) if self.keep_going => {
                            cx.warn(&format!("Error copying ref \"{}\": {e}", shown(&image.from)));
                            failed = true;
                            continue;
                        }
                        Err(e) => return Err(e),
                    };
                    if let (Some(out), Some(path)) = (&mut digests, &self.digestfile) {
                        let line = format!("{digest} {}\n", shown(&to));
                        out.write_all(line.as_bytes()).map_err(Error::at("write", path))?;
                    }
                    entry["digest"] = digest.into();
                }
                all.push(entry);
                count += 1;
            }
        }
        let done = if self.dry_run { "Would have synced" } else { "Synced" };
        cx.warn(&format!("{done} {count} images from {} sources", batches.len()));
        if cx.json {
            cx.print_json(&all)?;
        }
        if failed {
            let why = "Sync failed due to previous reported error(s) for one or more images";
            return Err(Error::Conflict(why.into()));
        }
        Ok(())
    }

    fn tell(&self, cx: &Context, (n, of): (usize, usize), image: &Found, to: &Place) {
        let what = if self.dry_run { "Would have copied image" } else { "Copying image" };
        let (from, to) = (shown(&image.from), shown(to));
        cx.warn(&format!("{what} ref {n}/{of} from=\"{from}\" to=\"{to}\""));
    }

    fn one(
        &self,
        cx: &Context,
        store: &Store,
        (source, target): (&Settings, &Settings),
        (from, to): (&Place, &Place),
        signing: &Signing,
    ) -> Result<String> {
        if let Place::Dir(dir) = to
            && dir.exists()
        {
            let why = format!("Refusing to overwrite destination directory \"{}\"", dir.display());
            return Err(Error::Conflict(why));
        }
        let choice = if self.all { Choice::All } else { Choice::One(cx.platform(None)?) };
        let options = copy::Options {
            recode: self.form.recode(cx, to, &PackFlags::default())?,
            spool: cx.spool(),
            signing: signing.clone(),
            ..choice.into()
        };
        let inputs = Inputs { tmpdir: cx.tmpdir.as_deref(), ..Inputs::new(store, source, stdin) };
        let mount_from = mount_from(from, to);
        let outputs = Outputs { mount_from, ..Outputs::new(store, target, stdout) };
        let progress = cx.progress();
        let done = with(from, &inputs, |source| {
            into(to, &outputs, |sink| copy::copy(source, sink, &options, &*progress))
        })?;
        Ok(done.digest.to_string())
    }

    fn batches(&self, cx: &Context) -> Result<Vec<Batch>> {
        let flags = self.source.over(&self.registry);
        let one = |images: Vec<Found>| {
            if images.is_empty() {
                let why = format!("No images to sync found in \"{}\"", self.from);
                return Err(Error::Conflict(why));
            }
            Ok(vec![Batch { images, settings: cx.settings(&flags)? }])
        };
        match self.src {
            From::Docker => {
                let name = Reference::parse_normal(&self.from)?;
                if name.tag().is_some() || name.digest().is_some() {
                    return one(vec![Found::remote(&name)]);
                }
                let tags = tags(&name, &cx.settings(&flags)?)?;
                let images = tags.iter().map(|t| name.with_tag(t).map(|n| Found::remote(&n)));
                one(images.collect::<Result<_>>()?)
            }
            From::Dir => one(sync::in_directory(Path::new(&self.from))?),
            From::Yaml => {
                let text = std::fs::read_to_string(&self.from);
                let text = text.map_err(Error::at("read", &self.from))?;
                let wanted = sync::parse(&text, &self.from)?;
                let batches = wanted.iter().map(|wanted| listed(cx, wanted, &flags));
                Ok(batches.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
            }
        }
    }
}

/// A registry's images, a batch a repository. One that can't be listed is told and left out.
fn listed(cx: &Context, wanted: &Wanted, flags: &RegistryFlags) -> Result<Vec<Batch>> {
    let mut flags = flags.clone();
    flags.tls_verify = wanted.tls_verify.or(flags.tls_verify);
    flags.cert_dir.clone_from(&wanted.cert_dir);
    if let Some((user, password)) = &wanted.credentials {
        (flags.creds, flags.no_creds, flags.registry_token) = (None, false, None);
        (flags.username, flags.password) = (Some(user.clone()), Some(password.clone()));
    }
    let settings = cx.settings(&flags)?;
    if wanted.listed.is_empty() {
        cx.warn(&format!("No images specified for registry {}", wanted.registry));
    }
    let mut batches = Vec::new();
    for listed in &wanted.listed {
        match images(cx, listed, &wanted.registry, &settings) {
            Ok(images) if images.is_empty() => {
                cx.warn(&format!("No refs to sync found in {}/{}", wanted.registry, listed.name));
            }
            Ok(images) => batches.push(Batch { images, settings: settings.clone() }),
            Err(e) => cx.warn(&format!(
                "Error processing repo {}/{}, skipping: {e}",
                wanted.registry, listed.name
            )),
        }
    }
    Ok(batches)
}

fn images(
    cx: &Context,
    listed: &Listed,
    registry: &str,
    settings: &Settings,
) -> Result<Vec<Found>> {
    let repository = listed.repository(registry)?;
    let tags = if listed.asks() { tags(&repository, settings)? } else { Vec::new() };
    let mut found = Vec::new();
    for image in listed.images(&repository, &tags) {
        match image {
            Ok(name) => found.push(Found::remote(&name)),
            Err(e) => cx.warn(&format!("Error parsing ref, skipping: {e}")),
        }
    }
    Ok(found)
}

/// As skopeo names places: a hub's image by its short name.
fn shown(place: &Place) -> String {
    match place {
        Place::Registry(name) => format!("docker://{}", name.familiar()),
        other => other.to_string(),
    }
}
