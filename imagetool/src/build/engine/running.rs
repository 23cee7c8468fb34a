//! RUN.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use super::layer::Made;
use super::overlay::Writable;
use super::stage::{Work, plain};
use super::tell::Told;
use crate::build::cache::Key;
use crate::build::copy;
use crate::build::dockerfile::{Heredoc, MountKind, Run, RunMount};
use crate::build::expand;
use crate::build::mounts::{Mounter, Settled};
use crate::build::plan::proxies;
use crate::build::progress::Event;
use crate::build::run::{Container, End, Mount, Mounted, places};
use crate::digest::Digest;
use crate::error::{Error, Result};

/// What a RUN's container calls itself, as BuildKit has it.
const HOSTNAME: &str = "buildkitsandbox";
/// Where a heredoc that is a program lies.
const PIPES: &str = "/dev/pipes";

/// A RUN, as far as it is known.
struct Ready<'r> {
    argv: Vec<String>,
    network: String,
    run: &'r Run,
    mounts: Vec<RunMount>,
    text: String,
}

impl Work<'_> {
    /// Does one.
    pub fn run(&mut self, name: &str, run: &Run) -> Result<()> {
        let order = self.engine.what.order;
        let default = if order.network.is_empty() { "default" } else { &order.network };
        let own = run.network.clone().filter(|network| network != "default");
        let network = own.unwrap_or_else(|| default.to_owned());
        self.permit(run)?;
        let argv = self.state.argv(&run.command);
        let text = self.state.run_text(&argv);
        let ready = Ready { argv, network, run, mounts: self.mounts(run)?, text: text.clone() };
        let program = run.program.as_ref().map(|doc| doc.content.as_str());
        let hosts = order.hosts.iter().map(|(name, address)| format!("{name}={address}"));
        let files = self.identities(&ready.mounts)?;
        let key = self
            .key("run")
            .with_all("argv", &ready.argv)
            .with_all("env", self.state.env.lines())
            .with("user", &self.state.image.config.user)
            .with("workdir", self.state.workdir())
            .with("network", &ready.network)
            .with("insecure", [u8::from(run.insecure)])
            .with_all("hosts", hosts)
            .with_some("program", program)
            .with_all("mounts", &files)
            .finish();
        let (own, key) = (key.clone(), self.once_more(key));
        let told = self.engine.begin(name);
        let make = |work: &mut Self, told: &Told<'_>| {
            let made = work.carry_out(&ready, told)?;
            // A context is mounted as it is: what was changed meanwhile may have been read.
            if work.identities(&ready.mounts).ok().as_ref() != Some(&files) {
                let text =
                    format!("files changed while {} ran: its result isn't kept", shortened(name));
                told.tell(Event::Warning("ContextChanged", &text, 0));
                work.unsteady = true;
            }
            Ok(made)
        };
        let top = self.state.top().cloned();
        self.find_or_make(told, &[&key], text, make)?;
        if self.state.top() == top.as_ref() {
            self.state.idle.push(own);
        }
        Ok(())
    }

    /// The key of a RUN that has been there before, with nothing changed in between. What it did may
    /// be elsewhere, in a cache or on a network: its result is no one else's in this build.
    fn once_more(&self, key: Digest) -> Digest {
        match self.state.idle.iter().filter(|&known| *known == key).count() {
            0 => key,
            times => Key::new("run again", 1)
                .with("run", key.to_string())
                .with("times", times.to_string())
                .finish(),
        }
    }

    /// The mounts of a RUN, their variables replaced.
    fn mounts(&self, run: &Run) -> Result<Vec<RunMount>> {
        let escape = self.engine.plan.file.escape;
        let expand = |text: &str| expand::word(text, escape, &|name| self.state.env.get(name));
        run.mounts.iter().map(|mount| mount.read(&expand).map_err(plain)).collect()
    }

    /// What of the mounts a RUN's result follows from: the files that it may read, but no cache,
    /// secret or agent.
    fn identities(&self, mounts: &[RunMount]) -> Result<Vec<String>> {
        let identity = |mount: &RunMount| {
            let text = format!("{mount:?}");
            if mount.kind != MountKind::Bind && mount.from.is_none() {
                return Ok(text);
            }
            let origin = self.origin(mount.from.as_deref())?;
            if let Some(chain) = origin.identity() {
                return Ok(format!("{text} {chain}"));
            }
            let opened = origin.open(self.engine)?;
            let source = mount.source.as_deref().unwrap_or("/");
            let files = copy::digest_below(&opened.files(self.engine.what.cancel), source)?;
            Ok(format!("{text} {files}"))
        };
        mounts.iter().map(identity).collect()
    }

    fn settled(&self, mounts: &[RunMount], scratch: &Path) -> Result<Settled> {
        let order = self.engine.what.order;
        let mounter = Mounter {
            root: self.engine.what.store.root(),
            secrets: &order.secrets,
            agents: &order.agents,
            scratch,
            cwd: self.state.workdir(),
            env: &self.state.env.lines(),
            cancel: self.engine.what.cancel,
        };
        mounter.settle(mounts, &|from, take| {
            let origin = self.origin(from)?;
            let opened = origin.open(self.engine)?;
            take(&opened.files(self.engine.what.cancel))
        })
    }

    /// What has to be allowed by whoever builds.
    fn permit(&self, run: &Run) -> Result<()> {
        let host = run.network.as_deref() == Some("host");
        for (asked, right) in [(host, "network.host"), (run.insecure, "security.insecure")] {
            if asked && !self.engine.what.order.allowed.iter().any(|a| a == right) {
                return Err(plain(format!("{right} is not allowed; add --allow {right}")));
            }
        }
        if let Some(device) = run.devices.iter().find(|device| device.required) {
            let what = format!("RUN --device={}", device.name);
            return Err(Error::unsupported(what, "devices of CDI can't be had here"));
        }
        Ok(())
    }

    fn carry_out(&mut self, ready: &Ready<'_>, told: &Told<'_>) -> Result<Made> {
        let chain = self.state.chain();
        let mut upper = Writable::new(&self.engine.layers, &chain, self.engine.place("run"))?;
        let (pipes, scratch) = (self.engine.place("pipes"), self.engine.place("mounts"));
        let settled = self.settled(&ready.mounts, &scratch)?;
        let mut mounts = settled.mounts.clone();
        if let Some(doc) = &ready.run.program {
            mounts.push(program(&pipes, doc)?);
        }
        let Some(root) = &upper.root else { return Err(plain("there is no root".into())) };
        let order = self.engine.what.order;
        let mut env = self.state.env.lines();
        for (name, value) in proxies(&order.args) {
            env.push(format!("{name}={value}"));
        }
        env.extend(settled.env.iter().cloned());
        let id = id();
        let container = Container {
            id: &id,
            root: &root.dir,
            scratch: self.engine.place("bundle"),
            argv: ready.argv.clone(),
            env,
            cwd: self.state.workdir().to_owned(),
            user: self.state.image.config.user.clone(),
            stdin: None,
            mounts,
            network: ready.network.clone(),
            insecure: ready.run.insecure,
            hosts: &order.hosts,
            hostname: HOSTNAME.to_owned(),
            limits: &order.limits,
            cancel: self.engine.what.cancel,
        };
        let mut wrote = |stream, bytes: &[u8]| told.tell(Event::Wrote(told.id, stream, bytes));
        let end = self.engine.what.runner.run(&container, &mut wrote);
        let mounts = places(&container);
        let _ = fs::remove_dir_all(&container.scratch);
        let _ = fs::remove_dir_all(&pipes);
        drop(container);
        drop(settled);
        let _ = fs::remove_dir_all(&scratch);
        match end.map_err(|e| self.foreign(e))? {
            End::Code(0) => {}
            End::Canceled => return Err(super::stopped()),
            End::Code(code) => {
                let words = ready.argv.join(" ");
                return Err(plain(format!(
                    "process {:?} did not complete successfully: exit code: {code}",
                    shortened(&words)
                )));
            }
        }
        upper.root = None;
        self.written(&upper.layer, &mounts, &ready.text)
    }
}

impl Work<'_> {
    /// What can't be run says what it lacks if it is for another machine.
    fn foreign(&self, error: Error) -> Error {
        let platform = &self.state.platform;
        let told = error.to_string();
        if platform.runs_here() || !told.to_ascii_lowercase().contains("exec format error") {
            return error;
        }
        Error::Conflict(format!(
            "{told}: it is for {platform}; register an emulator with binfmt_misc, or begin the stage with FROM --platform=$BUILDPLATFORM"
        ))
    }
}

/// A command for people.
fn shortened(words: &str) -> String {
    let first: String = words.chars().take(300).collect();
    if first.len() < words.len() { format!("{first}…") } else { first }
}

/// A heredoc that begins with `#!`, as a file of its own.
fn program(dir: &Path, doc: &Heredoc) -> Result<Mount> {
    fs::create_dir(dir).map_err(Error::at("create", dir))?;
    let path = dir.join("program");
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o755)
        .open(&path)
        .map_err(Error::at("create", &path))?;
    file.write_all(doc.content.as_bytes()).map_err(Error::at("write", &path))?;
    drop(file);
    // The umask has no say in it.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        .map_err(Error::at("set the mode of", &path))?;
    let file = File::open(&path).map_err(Error::at("open", &path))?;
    Ok(Mount {
        target: format!("{PIPES}/{}", doc.name),
        what: Mounted::Bind(Arc::new(file.into())),
        readonly: true,
    })
}

/// A name that no other container has.
fn id() -> String {
    use std::hash::{BuildHasher, RandomState};
    let mut id = String::from("build-");
    for _ in 0..2 {
        // Each state has keys of its own, from the kernel.
        let _ = write!(id, "{:016x}", RandomState::new().hash_one(std::process::id()));
    }
    id
}
