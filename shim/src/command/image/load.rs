//! `dhow load`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use dhow_image::copy::{Choice, copy};
use dhow_image::progress::Progress;
use dhow_image::sink::Keep;
use dhow_image::source::each;
use dhow_image::transport::File;

use crate::error::{Error, Result};
use crate::events;
use crate::exit::Exit;
use crate::host::Host;
use crate::making::{of_image, platform};
use crate::output::Output;
use crate::output::progress::{Act, Lines, Stream};

/// Read images from a tar
#[derive(Debug, Args)]
pub struct Load {
    /// From this file instead of stdin
    #[arg(short, long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// os/arch[/variant] of an archive that has several
    #[arg(long, value_delimiter = ',')]
    pub platform: Vec<String>,
    /// No progress
    #[arg(short, long)]
    pub quiet: bool,
}

impl Load {
    /// Prints what was loaded, in docker's words.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host, out);
        out.end(result)
    }

    fn perform(&self, host: &Host, out: &mut Output) -> Result<()> {
        let file = match &self.input {
            Some(path) => {
                // docker's words, before anything is made.
                std::fs::metadata(path).map_err(|e| opened(path, &e))?;
                File::Path(path.clone())
            }
            None if std::io::stdin().is_terminal() => {
                return Err(Error::usage(
                    "requested load from stdin, but stdin is a terminal; use -i FILE",
                ));
            }
            None => File::Std,
        };
        let wanted = platform::parse_all(&self.platform)?;
        if wanted.len() > 1 {
            return Err(Error::usage(
                "an image in the store has one platform; give --platform once",
            ));
        }
        let choice = Choice::One(wanted.into_iter().next()).into();
        let store = host.images()?;
        let lines =
            Lines::new(if self.quiet { Stream::Nowhere } else { Stream::Stderr }, Act::Load);
        let progress: &dyn Progress = &lines;
        let sink = Keep::new(store, true).map_err(of_image)?;
        let mut loaded = Vec::new();
        let stdin = || Box::new(std::io::stdin()) as Box<dyn std::io::Read + Send>;
        each(&file, &Host::trust(), stdin, sink.spool(), |source, names| {
            let root = copy(source, &sink, &choice, progress)?;
            sink.publish(names)?;
            let image = store.find(&root.digest.to_string())?;
            let id = image.id().to_string();
            events::of_image(&host.paths, "load", &id, &id);
            if names.is_empty() {
                loaded.push(format!("Loaded image ID: {}", image.id()));
            }
            loaded.extend(names.iter().map(|n| format!("Loaded image: {}", n.familiar())));
            Ok(())
        })
        .map_err(of_image)?;
        for line in loaded {
            out.line(&line);
        }
        Ok(())
    }
}

/// `open x.tar: no such file or directory`, as Go has it.
fn opened(path: &Path, e: &std::io::Error) -> Error {
    let why = match e.raw_os_error() {
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_lowercase(),
        None => e.to_string(),
    };
    Error::engine(format!("open {}: {why}", path.display()))
}
