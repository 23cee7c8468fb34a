//! `dhow push`.

use clap::Args;
use dhow_image::copy::{Choice, copy};
use dhow_image::progress::Progress;
use dhow_image::reference::Reference;
use dhow_image::sink::{Outputs, into};
use dhow_image::source::{Inputs, with};
use dhow_image::store::Stored;
use dhow_image::transport::Place;

use crate::error::{Error, Result};
use crate::events;
use crate::exit::Exit;
use crate::host::Host;
use crate::making::{of_image, reference};
use crate::output::Output;
use crate::output::progress::{Lines, Stream};

/// Bring an image to a registry
#[derive(Debug, Args)]
pub struct Push {
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
        let name = reference(&self.image)?;
        let store = host.images()?;
        let image = store.find_name(&name).map_err(of_image)?.ok_or_else(|| {
            Error::not_found(format!(
                "An image does not exist locally with the tag: {}; give it one: dhow tag IMAGE {}",
                name.familiar_name(),
                name.familiar()
            ))
        })?;
        let settings = host.registry();
        let inputs = Inputs { store, settings: &settings, stdin: nothing };
        let outputs = Outputs {
            store,
            unpack: false,
            settings: &settings,
            mount_from: neighbour(&image, &name),
            chunk: None,
            stdout: sink,
        };
        let lines = Lines::new(if self.quiet { Stream::Nowhere } else { Stream::Stdout });
        let progress: &dyn Progress = &lines;
        progress.message(&format!("The push refers to repository [{}]", name.name()));
        let from = Place::Store(image.root.digest.to_string());
        let pushed = with(&from, &inputs, |source| {
            into(&Place::Registry(name.clone()), &outputs, |sink| {
                copy(source, sink, &Choice::All, progress)
            })
        })
        .map_err(of_image)?;
        drop(lines);
        events::of_image(&host.paths, "push", &name.familiar(), &name.familiar_name());
        let tag = name.tag().unwrap_or_default();
        if self.quiet {
            out.line(&name.to_string());
        } else {
            out.line(&format!("{tag}: digest: {} size: {}", pushed.digest, pushed.size));
        }
        Ok(())
    }
}

/// Another repository of the same registry that may have the layers already.
fn neighbour(image: &Stored, to: &Reference) -> Option<String> {
    let known = image.repo_digests.iter().chain(&image.names);
    let mut other = known.filter(|n| n.domain() == to.domain() && n.path() != to.path());
    other.next().map(|n| n.path().to_owned())
}

fn nothing() -> Box<dyn std::io::Read + Send> {
    Box::new(std::io::empty())
}

fn sink() -> Box<dyn std::io::Write + Send> {
    Box::new(std::io::sink())
}
