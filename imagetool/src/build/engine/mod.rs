//! The plan is carried out: a thread a stage, each waits for what it takes from others.
//!
//! A [`stage`] begins from a [`base`] and goes through its steps; [`config`] does those that change
//! the config alone, [`copying`], [`running`] and [`workdir`] those that make layers. Each of these
//! asks the cache by its key first ([`layer`]). The first step that fails ends all others.

mod base;
mod config;
mod copying;
mod layer;
mod layout;
mod origin;
mod overlay;
mod running;
mod stage;
mod state;
mod tell;
#[cfg(test)]
mod tests;
mod workdir;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use jiff::Timestamp;

pub(crate) use state::{Layer, State};
pub(crate) use tell::Told;

use super::Order;
use super::cache::{Cache, Imported, Used};
use super::cancel::Cancel;
use super::context::{Context, Named};
use super::dockerfile::Dockerfile;
use super::fetch::Fetch;
use super::image::Built;
use super::plan::Plan;
use super::progress::{Event, Watcher};
use super::run::Runner;
use super::spec::{CacheFrom, CacheTo};
use crate::error::{Error, Result};
use crate::snapshot::Layers;
use crate::store::{Lease, Store};
use overlay::Roots;

/// A build.
#[derive(Clone, Copy)]
pub struct Build<'a> {
    /// Where images, layers and the cache are.
    pub store: &'a Store,
    /// What is wanted.
    pub order: &'a Order,
    /// The Dockerfile.
    pub file: &'a Dockerfile,
    /// Its context.
    pub context: &'a Context,
    /// `--build-context`
    pub named: &'a BTreeMap<String, Named>,
    /// What runs RUNs.
    pub runner: &'a dyn Runner,
    /// How images, files and repositories are fetched.
    pub fetch: &'a Fetch<'a>,
    /// Who is told.
    pub watcher: &'a dyn Watcher,
    /// The number of the last step that was told of.
    pub steps: &'a AtomicUsize,
    /// Ends it.
    pub cancel: &'a Cancel,
    /// `--cache-from`
    pub import: &'a [CacheFrom],
    /// `--cache-to`
    pub export: &'a [CacheTo],
}

/// Builds. Whoever gives up with [`Build::cancel`] gets an error.
///
/// It works in threads of its own, in a mount namespace of their own.
pub fn build(what: &Build<'_>) -> Result<Built> {
    thread::scope(|scope| {
        let work = thread::Builder::new().name("build".into());
        let work = work.spawn_scoped(scope, || overlay::enter().and_then(|()| carry_out(what)));
        let work = work.map_err(|e| Error::io("begin a thread for", "build", e))?;
        work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn carry_out(what: &Build<'_>) -> Result<Built> {
    let named = |name: &str| named(what.named, name);
    let plan = Plan::new(what.file, what.order, &named)?;
    let epoch = epoch(what.order, &plan)?;
    let lease = what.store.lease()?;
    let layers = Layers::open(what.store.root());
    let engine = Engine {
        what: *what,
        cells: plan.stages.iter().map(|_| Cell::default()).collect(),
        plan,
        epoch,
        now: Timestamp::now(),
        roots: Roots::new(layers.clone(), lease.dir())?,
        layers,
        cache: Cache::open(what.store)?,
        lease: &lease,
        bases: Mutex::default(),
        fault: Mutex::default(),
        next: AtomicUsize::new(0),
        loading: Mutex::default(),
        imported: imported(what),
        used: Mutex::default(),
    };
    let state = engine.all();
    // What was learned of the files is of use even if the build has failed.
    let remembered = what.context.remember();
    let state = state?;
    remembered?;
    let Engine { plan, epoch, layers, cache, used, .. } = engine;
    let used = used.into_inner().unwrap_or_else(PoisonError::into_inner);
    let platform =
        what.order.platform.clone().or_else(|| plan.stages[plan.target].platform.clone());
    super::image::finish(what, lease, (layers, cache, used), state, platform, epoch)
}

/// What a build's threads share.
pub(crate) struct Engine<'a> {
    pub what: Build<'a>,
    pub plan: Plan<'a>,
    pub epoch: Option<Timestamp>,
    /// When the build began.
    pub now: Timestamp,
    pub roots: Roots,
    pub layers: Layers,
    pub cache: Cache,
    pub lease: &'a Lease,
    bases: Mutex<HashMap<String, Arc<Mutex<Option<State>>>>>,
    fault: Mutex<Option<Error>>,
    /// Numbers for directories.
    next: AtomicUsize,
    /// The context was told of.
    loading: Mutex<bool>,
    imported: Imported,
    /// What steps were found in the cache, or put there.
    used: Mutex<Vec<Used>>,
    cells: Vec<Cell>,
}

/// A stage on its way.
#[derive(Default)]
struct Cell {
    progress: Mutex<Progress>,
    ended: Condvar,
}

#[derive(Default)]
enum Progress {
    #[default]
    Waiting,
    Working,
    Done(Box<State>),
    Failed,
}

impl Engine<'_> {
    /// All stages that are wanted, side by side; what the target has come to.
    fn all(&self) -> Result<State> {
        let wanted: Vec<usize> =
            (0..self.plan.stages.len()).filter(|&i| self.plan.stages[i].wanted).collect();
        if let [only] = wanted[..] {
            return self.stage(only).map_err(|e| self.cause(e));
        }
        let done = thread::scope(|scope| {
            let others = wanted.iter().filter(|&&i| i != self.plan.target);
            for &index in others {
                let begun = thread::Builder::new().name(format!("stage {index}"));
                // Without a thread for it, a stage is done by whoever needs it.
                let _ = begun.spawn_scoped(scope, move || drop(self.stage(index)));
            }
            self.stage(self.plan.target)
        });
        let done = done.map_err(|e| self.cause(e))?;
        match self.fault.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(fault) => Err(fault),
            None => Ok(done),
        }
    }

    /// What a stage has come to: waited for, or done here if nobody is at it yet.
    pub fn stage(&self, index: usize) -> Result<State> {
        let cell = &self.cells[index];
        let mut progress = cell.progress.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match &*progress {
                Progress::Done(state) => return Ok((**state).clone()),
                Progress::Failed => return Err(stopped()),
                Progress::Working => {
                    progress = cell.ended.wait(progress).unwrap_or_else(PoisonError::into_inner);
                }
                Progress::Waiting => break,
            }
        }
        *progress = Progress::Working;
        drop(progress);
        let done = self.guarded(|| self.work(index));
        let mut progress = cell.progress.lock().unwrap_or_else(PoisonError::into_inner);
        *progress = match &done {
            Ok(state) => Progress::Done(Box::new(state.clone())),
            Err(_) => Progress::Failed,
        };
        cell.ended.notify_all();
        done
    }

    /// Does something; its failure ends the others, and the first is the one that is told.
    fn guarded<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        act().map_err(|e| {
            let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
            if fault.is_none() && !self.what.cancel.is_stopped() {
                *fault = Some(e);
            }
            drop(fault);
            self.what.cancel.stop();
            stopped()
        })
    }

    fn cause(&self, other: Error) -> Error {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(other)
    }

    /// An error if the build was ended.
    pub fn go_on(&self) -> Result<()> {
        if self.what.cancel.is_stopped() { Err(stopped()) } else { Ok(()) }
    }

    /// A new name in the lease's directory.
    pub fn place(&self, kind: &str) -> PathBuf {
        let n = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.lease.dir().join(format!("{kind}-{n}"))
    }

    /// A step begins.
    pub fn begin(&self, name: &str) -> Told<'_> {
        Told::begin(self.what.watcher, self.what.steps, name)
    }

    /// The name of a context that stands for another.
    pub fn named(&self, name: &str) -> Option<String> {
        named(self.what.named, name)
    }
}

/// The lists of caches from elsewhere. One that can't be read is told of, and goes without.
fn imported(what: &Build<'_>) -> Imported {
    let mut imported = Imported::default();
    for from in what.import {
        let name = match from {
            CacheFrom::Registry(reference) => reference.to_string(),
            CacheFrom::Local { dir, .. } => format!("local:{}", dir.display()),
        };
        let title = format!("importing cache manifest from {name}");
        let told = Told::begin(what.watcher, what.steps, &title);
        if let Err(e) = imported.add(from, what.fetch.settings) {
            let text = format!("no cache is taken from {name}: {e}");
            told.tell(Event::Warning("CacheImport", &text, 0));
        }
        told.done();
    }
    imported
}

/// A context by its name, or by an image's in any spelling.
fn named(all: &BTreeMap<String, Named>, name: &str) -> Option<String> {
    if all.is_empty() {
        return None;
    }
    if all.contains_key(name) {
        return Some(name.to_owned());
    }
    let full = |name: &str| {
        crate::reference::Reference::parse_normal(name).ok().map(|r| r.tagged().to_string())
    };
    let wanted = full(name)?;
    all.keys().find(|key| full(key).as_ref() == Some(&wanted)).cloned()
}

/// When all is made, if that was said: by the order, or by an ARG as BuildKit takes it.
fn epoch(order: &Order, plan: &Plan<'_>) -> Result<Option<Timestamp>> {
    const NAME: &str = "SOURCE_DATE_EPOCH";
    if order.epoch.is_some() {
        return Ok(order.epoch);
    }
    let given = order.args.get(NAME).cloned().or_else(|| plan.globals.get(NAME));
    let Some(text) = given.filter(|text| !text.is_empty()) else { return Ok(None) };
    let bad = || Error::usage("SOURCE_DATE_EPOCH", &text, "write seconds since 1970");
    let seconds = text.parse::<i64>().map_err(|_| bad())?;
    Timestamp::from_second(seconds).map(Some).map_err(|_| bad())
}

/// The build was ended by someone else, who says why.
fn stopped() -> Error {
    Error::Conflict("the build was canceled".into())
}
