//! Where a build's result goes: each output is a step, told of in BuildKit's words.

mod archive;
mod files;
mod image;

use std::io::Write;
use std::sync::atomic::AtomicUsize;

use super::cancel::Cancel;
use super::engine::Told;
use super::image::Built;
use super::progress::{Event, Watcher};
use super::spec::{ImageOutput, Output};
use crate::error::{Error, Result};
use crate::manifest::Descriptor;
use crate::reference::Reference;
use crate::registry::Settings;
use crate::source::{Source, unnamed};
use crate::store::Store;

/// What outputs need.
#[derive(Clone, Copy)]
pub struct Ways<'a> {
    /// Where images are kept.
    pub store: &'a Store,
    /// How registries are spoken to.
    pub settings: &'a Settings,
    /// What `-` writes.
    pub stdout: fn() -> Box<dyn Write + Send>,
    /// `--tag`
    pub names: &'a [Reference],
    /// Who is told.
    pub watcher: &'a dyn Watcher,
    /// The number of the last step that was told of.
    pub steps: &'a AtomicUsize,
    /// Ends it.
    pub cancel: &'a Cancel,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Delivered {
    /// The names the image has.
    pub names: Vec<Reference>,
    /// The manifest where it was pushed to, if it has another form there.
    pub pushed: Option<Descriptor>,
}

/// Brings a result to all places it is wanted at.
pub fn deliver(built: &Built, outputs: &[Output], ways: &Ways<'_>) -> Result<Delivered> {
    let mut delivered = Delivered::default();
    // The step that made the image goes on if that is put somewhere as one.
    let mut open = built.exporting.map(|(id, since)| Told::again(ways.watcher, id, since));
    let kept = outputs.iter().any(|output| matches!(output, Output::Image(_)));
    if let Some(told) = open.take_if(|_| !kept) {
        told.done();
    }
    for output in outputs {
        if ways.cancel.is_stopped() {
            return Err(Error::Conflict("the build was canceled".into()));
        }
        match output {
            Output::CacheOnly => {}
            Output::Image(image) => {
                let told = ways.exporting(&mut open);
                let done = image::deliver(built, image, ways, &told, &mut delivered);
                told.ended(&done, ways.cancel.is_stopped());
                done?;
            }
            Output::Archive(wanted) => {
                let title = format!("exporting to {} image format", output.word());
                let names = names_of(&wanted.names, ways);
                ways.step(&title, |told| archive::deliver(built, wanted, &names, ways, told))?;
            }
            Output::Local(dir) => {
                let to = |told: &Told<'_>| files::to_directory(built, dir, ways, told);
                ways.step("exporting to client directory", to)?;
            }
            Output::Tar(file) => {
                let to = |told: &Told<'_>| files::to_tar(built, file, ways, told);
                ways.step("exporting to client tarball", to)?;
            }
        }
    }
    Ok(delivered)
}

/// `--tag`'s names, and an output's own.
fn names_of(own: &[Reference], ways: &Ways<'_>) -> Vec<Reference> {
    let mut names = ways.names.to_vec();
    names.extend(own.iter().filter(|name| !ways.names.contains(name)).cloned());
    names
}

impl ImageOutput {
    /// `--tag`'s names, and its own.
    fn all_names(&self, ways: &Ways<'_>) -> Vec<Reference> {
        names_of(&self.names, ways)
    }
}

impl<'a> Ways<'a> {
    fn exporting(&self, open: &mut Option<Told<'a>>) -> Told<'a> {
        let begin = || Told::begin(self.watcher, self.steps, "exporting to image");
        open.take().unwrap_or_else(begin)
    }

    fn step(&self, title: &str, act: impl FnOnce(&Told<'a>) -> Result<()>) -> Result<()> {
        let told = Told::begin(self.watcher, self.steps, title);
        let done = act(&told);
        told.ended(&done, self.cancel.is_stopped());
        done
    }
}

impl Told<'_> {
    /// A part of the step's work.
    fn part<T>(&self, what: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
        self.tell(Event::Moved(self.id, what, 0, None));
        let done = act()?;
        self.tell(Event::Moved(self.id, what, 0, Some(0)));
        Ok(done)
    }
}

/// The image in the store that nothing leads to yet.
fn source(built: &Built) -> Result<impl Source> {
    let Some(root) = &built.manifest else {
        return Err(Error::Conflict("no image was asked for".into()));
    };
    Ok(unnamed(built.store(), root.clone()))
}
