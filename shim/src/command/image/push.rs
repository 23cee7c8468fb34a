//! `dhow push`.

use clap::Args;
use dhow_image::copy::{Choice, Options, copy};
use dhow_image::progress::Progress;
use dhow_image::recode::Recode;
use dhow_image::reference::Reference;
use dhow_image::registry;
use dhow_image::sink::{Outputs, into};
use dhow_image::source::{Inputs, with};
use dhow_image::store::{Store, Stored};
use dhow_image::transport::Place;

use crate::error::{Error, Result};
use crate::events;
use crate::exit::Exit;
use crate::host::Host;
use crate::making::{of_image, platform};
use crate::output::Output;
use crate::output::progress::{Act, Lines, Stream};

/// Bring an image to a registry
#[derive(Debug, Args)]
pub struct Push {
    /// Every tag of the repository
    #[arg(short, long)]
    pub all_tags: bool,
    /// os/arch[/variant]
    #[arg(long)]
    pub platform: Option<String>,
    /// No progress
    #[arg(short, long)]
    pub quiet: bool,
    /// NAME[:TAG]: its first part names the registry
    #[arg(value_name = "IMAGE")]
    pub image: String,
}

impl Push {
    /// Prints docker's last line: tag, digest, size.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host, out);
        out.end(result)
    }

    fn perform(&self, host: &Host, out: &mut Output) -> Result<()> {
        let typed =
            Reference::parse_normal(&self.image).map_err(|e| Error::usage(e.to_string()))?;
        let wanted = platform::parse(self.platform.as_deref())?;
        if self.all_tags && (typed.tag().is_some() || typed.digest().is_some()) {
            return Err(Error::usage("tag can't be used with --all-tags/-a"));
        }
        if typed.digest().is_some() {
            return Err(Error::usage("cannot push a digest reference"));
        }
        if !self.all_tags && typed.tag().is_none() && !self.quiet {
            out.line("Using default tag: latest");
        }
        if !self.quiet {
            out.line(&format!("The push refers to repository [{}]", typed.name()));
        }
        let store = host.images()?;
        let images = self.found(store, &typed)?;
        for (name, image) in &images {
            platform::check(image, &name.familiar(), wanted.as_ref())?;
        }
        let settings = host.registry()?;
        for (name, image) in &images {
            let line = self.push(store, &settings, name, image)?;
            events::of_image(&host.paths, "push", &name.familiar(), &name.familiar_name());
            if !self.quiet {
                out.line(&line);
            }
        }
        if self.quiet {
            out.line(&if self.all_tags { typed.to_string() } else { typed.tagged().to_string() });
        }
        Ok(())
    }

    /// What is to be pushed, under which names.
    fn found(&self, store: &Store, typed: &Reference) -> Result<Vec<(Reference, Stored)>> {
        let mut found = Vec::new();
        let mut known = false;
        let wanted = typed.clone().tagged();
        for image in store.images().map_err(of_image)? {
            for name in &image.names {
                let same = name.name() == typed.name();
                known |= same;
                if same && (self.all_tags || *name == wanted) {
                    found.push((name.clone(), image.clone()));
                }
            }
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        match (found.is_empty(), known) {
            (false, _) => Ok(found),
            (true, true) => {
                let text = format!("tag does not exist: {}", wanted.familiar());
                Err(Error::not_found(text))
            }
            (true, false) => Err(Error::not_found(format!(
                "An image does not exist locally with the tag: {}; give it one: dhow tag IMAGE {}",
                typed.familiar_name(),
                wanted.familiar()
            ))),
        }
    }

    /// Pushes one image; docker's line about it.
    fn push(
        &self,
        store: &Store,
        settings: &registry::Settings,
        name: &Reference,
        image: &Stored,
    ) -> Result<String> {
        let inputs = Inputs::new(store, settings, nothing);
        let mount_from = image.neighbour(name);
        let outputs =
            Outputs { mount_from: mount_from.clone(), ..Outputs::new(store, settings, sink) };
        let stream = if self.quiet { Stream::Nowhere } else { Stream::Stdout };
        let lines = Lines::new(stream, Act::Push(mount_from));
        let progress: &dyn Progress = &lines;
        let lease = store.lease().map_err(of_image)?;
        let options = Options {
            recode: Recode::pushed(),
            spool: lease.dir().to_owned(),
            ..Choice::All.into()
        };
        let from = Place::Store(image.root.digest.to_string());
        let pushed = with(&from, &inputs, |source| {
            into(&Place::Registry(name.clone()), &outputs, |sink| {
                copy(source, sink, &options, progress)
            })
        })
        .map_err(|e| of_push(e, name))?;
        // What is known to be there is as good as pulled from there.
        store.pushed(image, name, &pushed.digest).map_err(of_image)?;
        let tag = name.tag().unwrap_or_default();
        Ok(format!("{tag}: digest: {} size: {}", pushed.digest, pushed.size))
    }
}

/// An error of a push, in the words that scripts look for.
fn of_push(error: dhow_image::Error, name: &Reference) -> Error {
    match error {
        dhow_image::Error::Auth { why, .. } => Error::engine(format!(
            "denied: requested access to {} is denied: {why}; log in with 'dhow login{}'",
            name.familiar_name(),
            if name.domain() == "docker.io" {
                String::new()
            } else {
                format!(" {}", name.domain())
            }
        )),
        other => of_image(other),
    }
}

fn nothing() -> Box<dyn std::io::Read + Send> {
    Box::new(std::io::empty())
}

fn sink() -> Box<dyn std::io::Write + Send> {
    Box::new(std::io::sink())
}
