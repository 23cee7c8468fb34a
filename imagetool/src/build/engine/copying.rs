//! COPY and ADD.

use std::time::Instant;

use super::origin::Found as Origin;
use super::stage::Work;
use crate::build::copy::{self, Asked, Found};
use crate::build::dockerfile::Copy;
use crate::build::fetch::{Address, is_url};
use crate::build::progress::Event;
use crate::digest::Digest;
use crate::error::Result;

impl Work<'_> {
    /// Does one; its words have no variables any more.
    pub fn copy(&mut self, name: &str, what: &Copy, add: bool) -> Result<()> {
        let origin = self.origin(what.from.as_deref())?;
        let text = told(what, add);
        let fits = self.instruction(what, add);
        // Of a chain of layers all is known by its name: nothing need be looked at.
        let near = origin.identity().map(|from| self.key("copy near").with("from", from));
        // Nor fetched, where a digest says already what will come.
        let near = near.or_else(|| is_certain(what, add).then(|| self.key("add checked")));
        let near = near.map(|key| key.with("what", fits.to_string()).finish());
        if let Some(near) = &near
            && let Some(made) = self.cached(&[near])?
        {
            self.took(self.engine.begin(name), &[near], made, text);
            return Ok(());
        }
        let opened = origin.open(self.engine)?;
        let workdir = self.state.workdir().to_owned();
        let asked = Asked {
            what,
            add,
            from: opened.files(self.engine.what.cancel),
            workdir: &workdir,
            epoch: self.engine.epoch,
            now: self.engine.now,
            fetch: self.engine.what.fetch,
        };
        let found = self.look(&origin, &asked)?;
        let key = if found.needs_base() { self.key("copy") } else { self.key_alone("copy link") };
        let far = key
            .with("what", fits.to_string())
            .with("content", found.digest().to_string())
            .with_some("link upon", self.state.top().filter(|_| !found.needs_base()))
            .finish();
        opened.remember()?;
        let keys: Vec<&Digest> = near.iter().chain([&far]).collect();
        let told = self.engine.begin(name);
        let record = text.clone();
        self.find_or_make(told, &keys, text, |work, _| {
            let chain = || work.engine.roots.of(&work.state.chain());
            let root = if found.needs_base() { Some(chain()?) } else { None };
            let base = root.as_ref().map(|root| &root.dir);
            let (packed, lease) = (work.is_packed(), work.engine.lease);
            let fill = |mut out: &mut (dyn std::io::Write + Send)| found.write(base, &mut out);
            let (unpacked, blob, _) = work.engine.layers.make_some(lease, packed, fill)?;
            work.unpacked(unpacked, blob, &record)
        })
    }

    /// Finds the sources. The first look at a context is told of as loading it.
    fn look<'f>(&self, origin: &Origin<'_>, asked: &Asked<'f>) -> Result<Found<'f>> {
        let Origin::Context(_) = origin else { return copy::find(asked) };
        if asked.what.sources.is_empty() {
            return copy::find(asked);
        }
        let mut loading =
            self.engine.loading.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if std::mem::replace(&mut *loading, true) {
            drop(loading);
            return copy::find(asked);
        }
        drop(loading);
        let began = Instant::now();
        let found = copy::find(asked);
        if found.is_ok() {
            let told = self.engine.begin("[internal] load build context");
            told.tell(Event::Done(told.id, began.elapsed()));
        }
        found
    }

    /// All of an instruction that its result follows from, but for the files.
    fn instruction(&self, what: &Copy, add: bool) -> Digest {
        crate::build::cache::Key::new("instruction", 1)
            .with("add", [u8::from(add)])
            .with_all("sources", &what.sources)
            .with_all("heredocs", what.heredocs.iter().flat_map(|doc| [&doc.name, &doc.content]))
            .with("dest", &what.dest)
            .with("workdir", self.state.workdir())
            .with_some("chown", what.chown.as_ref())
            .with_some("chmod", what.chmod.as_ref())
            .with("flags", [u8::from(what.link), u8::from(what.parents)])
            .with_all("exclude", &what.exclude)
            .with_some("checksum", what.checksum.as_ref())
            .with_some("git", what.keep_git_dir)
            .with_some("unpack", what.unpack)
            .finish()
    }
}

/// Whether it brings one file by a URL, whose digest is said.
fn is_certain(what: &Copy, add: bool) -> bool {
    let [source] = what.sources.as_slice() else { return false };
    let file = is_url(source) && Address::parse(source, false).is_none();
    add && file && what.checksum.is_some() && what.heredocs.is_empty()
}

/// What the history says of it.
fn told(what: &Copy, add: bool) -> String {
    let mut text = String::from(if add { "ADD" } else { "COPY" });
    if what.parents {
        text.push_str(" --parents");
    }
    for (name, value) in [("chown", &what.chown), ("chmod", &what.chmod)] {
        if let Some(value) = value {
            text = format!("{text} --{name}={value}");
        }
    }
    for source in &what.sources {
        text = format!("{text} {source}");
    }
    for doc in &what.heredocs {
        text = format!("{text} <<{}", doc.name);
    }
    format!("{text} {} # buildkit", what.dest)
}
