//! A build from its flags to its outputs: what `dhow-image build` and `dhow build` do, each with a
//! [`Runner`] of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;

use serde_json::{Value, json};

use super::Order;
use super::ask::{self, About, Answer};
use super::cancel::Cancel;
use super::context::{self, Context, Named};
use super::dockerfile::{self, Dockerfile, Warning, checks};
use super::engine::{Build, Told, build};
use super::fetch::{Address, Fetch, is_url};
use super::image::Built;
use super::output::{Ways, deliver};
use super::plan::platforms;
use super::progress::{Event, Watcher};
use super::run::Runner;
use super::spec::{Meant, Typed};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::Descriptor;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registry::Settings;
use crate::store::Store;

/// What a build needs beside its flags.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// What `-` writes.
    pub stdout: fn() -> Box<dyn Write + Send>,
    /// Where images, layers and the cache are.
    pub store: &'a Store,
    /// How registries are spoken to.
    pub settings: &'a Settings,
    /// PATH, for `git`.
    pub search: &'a [PathBuf],
    /// SSH_AUTH_SOCK, for `git`.
    pub agent: Option<&'a Path>,
    /// What runs RUNs.
    pub runner: &'a dyn Runner,
    /// Who is told.
    pub watcher: &'a dyn Watcher,
    /// Ends it.
    pub cancel: &'a Cancel,
}

/// What came of a build.
#[derive(Clone, Debug, Default)]
pub struct Came {
    /// What `--call` is answered; nothing was built then.
    pub answer: Option<Answer>,
    /// The image's id, if one was made.
    pub id: Option<Digest>,
    /// Its manifest.
    pub manifest: Option<Descriptor>,
    /// What it runs on.
    pub platform: Option<Platform>,
    /// Its names.
    pub names: Vec<Reference>,
}

/// Carries a build out, with all its outputs and files.
pub fn whole(
    typed: &Typed,
    meant: &Meant,
    stdin: &mut (dyn Read + Send),
    means: &Means<'_>,
) -> Result<Came> {
    prepare(typed)?;
    let lease = means.store.lease()?;
    // What is fetched ends with the build.
    let settings = Settings { stopped: Some(means.cancel.flag()), ..means.settings.clone() };
    let fetch = Fetch {
        settings: &settings,
        scratch: lease.dir(),
        search: means.search,
        agent: means.agent,
        cancel: means.cancel,
    };
    let steps = AtomicUsize::new(0);
    let memory = means.store.root().join("build/files");
    let asked = context::Asked {
        place: &typed.context,
        file: typed.file.as_deref(),
        stdin: Some(stdin),
        fetch,
        keep_git_dir: keeps_git_dir(&meant.order.args),
        memory: Some(&memory),
    };
    let (context, file, warnings) = definition(typed, meant, asked, means, &steps)?;
    let text = context.dockerfile().map(|text| text.text.as_slice()).unwrap_or_default();
    if let Some(call) = &meant.call {
        let about = About {
            file: &file,
            text,
            name: file.source.name(),
            target: &meant.order.target,
            warnings: &warnings,
        };
        return Ok(Came { answer: Some(ask::ask(call, &about)?), ..Came::default() });
    }
    let named = (meant.contexts.iter())
        .map(|(name, what)| Ok((name.clone(), context::named(name, what, fetch, Some(&memory))?)))
        .collect::<Result<BTreeMap<String, Named>>>()?;
    let what = Build {
        store: means.store,
        order: &meant.order,
        file: &file,
        context: &context,
        named: &named,
        runner: means.runner,
        fetch: &fetch,
        watcher: means.watcher,
        steps: &steps,
        cancel: means.cancel,
        import: &meant.cache_from,
        export: &meant.cache_to,
    };
    let built = all(&what, &meant.platforms)?;
    let ways = Ways {
        store: means.store,
        settings: means.settings,
        stdout: means.stdout,
        names: &meant.order.names,
        watcher: means.watcher,
        steps: &steps,
        cancel: means.cancel,
    };
    let delivered = deliver(&built, &meant.outputs, &ways)?;
    let came = Came {
        answer: None,
        id: built.id.clone(),
        manifest: delivered.pushed.or_else(|| built.manifest.clone()),
        platform: built.beside.is_empty().then(|| built.config.platform()),
        names: delivered.names,
    };
    came.write(typed)?;
    Ok(came)
}

/// Builds for each of several platforms, one after the other.
fn all(what: &Build<'_>, platforms: &[Platform]) -> Result<Built> {
    if platforms.len() < 2 {
        return build(what);
    }
    let mut built: Vec<(usize, Built)> = Vec::new();
    let mut order: Vec<(usize, &Platform)> = platforms.iter().enumerate().collect();
    // This machine's own comes last, so that a base's name leads to what can be run here.
    order.sort_by_key(|(_, platform)| platform.runs_here());
    for (at, platform) in order {
        let order = Order { platform: Some(platform.clone()), ..what.order.clone() };
        let one = build(&Build { order: &order, ..*what })?;
        if let Some((id, since)) = one.exporting
            && built.len() + 1 < platforms.len()
        {
            Told::again(what.watcher, id, since).done();
        }
        built.push((at, one));
    }
    built.sort_by_key(|(at, _)| *at);
    Built::gathered(built.into_iter().map(|(_, one)| one).collect())
}

/// Whether an argument of the build's asks for the `.git` of its context, as docker has it.
fn keeps_git_dir(args: &BTreeMap<String, String>) -> bool {
    let value = args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR").map(String::as_str);
    matches!(value, Some("1" | "t" | "T" | "true" | "TRUE" | "True"))
}

/// What can be said before anything is done.
fn prepare(typed: &Typed) -> Result<()> {
    let place = &typed.context;
    let far = is_url(place) || Address::parse(place, true).is_some();
    if place != "-" && !far && !Path::new(place).exists() {
        let text = format!("unable to prepare context: path {place:?} not found");
        return Err(Error::Conflict(text));
    }
    // No stale one is left beside an error.
    if let Some(file) = &typed.iidfile
        && let Err(e) = fs::remove_file(file)
        && e.kind() != std::io::ErrorKind::NotFound
    {
        return Err(Error::io("remove the image ID file", file, e));
    }
    Ok(())
}

/// The context with its Dockerfile, read.
fn definition(
    typed: &Typed,
    meant: &Meant,
    asked: context::Asked<'_>,
    means: &Means<'_>,
    steps: &AtomicUsize,
) -> Result<(Context, Dockerfile, Vec<Warning>)> {
    let name = match typed.file.as_deref() {
        None | Some("-") => "Dockerfile",
        Some(file) => file.rsplit('/').next().unwrap_or(file),
    };
    let title = format!("[internal] load build definition from {name}");
    let told = Told::begin(means.watcher, steps, &title);
    let opened = context::open(asked).and_then(|context| match context.dockerfile() {
        Some(text) => Ok((text.clone(), context)),
        None => Err(Error::Conflict("failed to read dockerfile: there is none".into())),
    });
    let (text, context) = match opened {
        Ok(opened) => opened,
        Err(e) => {
            told.tell(Event::Failed(told.id, &e.to_string()));
            return Err(e);
        }
    };
    let size = text.text.len() as u64;
    told.tell(Event::Moved(told.id, "transferring dockerfile:", size, Some(size)));
    // What is wrong in it is told in the end, with the place.
    let parsed = dockerfile::parse(&text.text, &text.name);
    let found = parsed.as_ref().map(|file| found(file, meant, &context, means));
    let found = found.unwrap_or_default();
    for warning in &found {
        told.tell(Event::Warning(warning.check, &warning.text, *warning.lines.start()));
    }
    told.done();
    let file = parsed?;
    Told::begin(means.watcher, steps, "[internal] load .dockerignore").done();
    if meant.call.is_none() {
        checks::verdict(&file, &meant.order.args, &found)?;
    }
    Ok((context, file, found))
}

/// What the checks find, as far as base images are known without asking for them.
fn found(file: &Dockerfile, meant: &Meant, context: &Context, means: &Means<'_>) -> Vec<Warning> {
    let base = |stage: usize| {
        let from = &file.stages.get(stage)?.from;
        let image = means.store.find(from).ok().filter(|_| !from.contains('$'))?;
        Some(image.config(means.store).ok()?.config)
    };
    let platform = meant.order.platform.clone().unwrap_or_else(Platform::host);
    let predefined = platforms(&meant.order.args, &platform, &meant.order.target);
    let ignored = |path: &str| {
        // All of the context is left out by what leaves out any name.
        let (ignore, path) = (context.ignore(), if path == "." { "any" } else { path });
        ignore.matches(path.as_bytes()) && !ignore.has_exceptions()
    };
    // Who asks for no target asks about all stages; a build is of one.
    let asks = meant.call.is_some();
    let args = &meant.order.args;
    let asked = checks::Asked {
        predefined: &predefined,
        args,
        target: Some(meant.order.target.as_str()).filter(|name| !asks || !name.is_empty()),
        base: &base,
        ignored: &ignored,
    };
    checks::check(file, &asked)
}

impl Came {
    /// `--iidfile`, `--metadata-file`.
    fn write(&self, typed: &Typed) -> Result<()> {
        if let Some(file) = &typed.iidfile {
            let Some(id) = &self.id else {
                return Err(Error::Conflict(
                    "local and tar exporters are incompatible with image ID file".into(),
                ));
            };
            fs::write(file, id.to_string()).map_err(Error::at("write", file))?;
        }
        if let Some(file) = &typed.metadata_file {
            let text = serde_json::to_string_pretty(&self.metadata()).unwrap_or_default();
            fs::write(file, text).map_err(Error::at("write", file))?;
        }
        Ok(())
    }

    /// What buildx writes of an image.
    fn metadata(&self) -> Value {
        let mut all = serde_json::Map::new();
        if let (Some(id), Some(manifest)) = (&self.id, &self.manifest) {
            all.insert("containerimage.config.digest".into(), json!(id));
            let mut descriptor = json!({
                "mediaType": manifest.media_type, "digest": manifest.digest, "size": manifest.size,
            });
            if let Some(platform) = &self.platform {
                descriptor["platform"] = json!(platform);
            }
            all.insert("containerimage.descriptor".into(), descriptor);
            all.insert("containerimage.digest".into(), json!(manifest.digest));
        }
        if !self.names.is_empty() {
            let names: Vec<String> = self.names.iter().map(ToString::to_string).collect();
            all.insert("image.name".into(), names.join(",").into());
        }
        Value::Object(all)
    }
}
