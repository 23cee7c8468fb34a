//! Where a COPY, an ADD or a mount takes files from.

use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, readlink};

use super::Engine;
use super::overlay::Root;
use super::stage::Work;
use crate::build::cancel::Cancel;
use crate::build::context::{Context, Named};
use crate::build::copy::{Files, Memory, Owners};
use crate::build::plan::Origin;
use crate::digest::ChainId;
use crate::error::{Error, Result};

/// An origin, found.
pub(super) enum Found<'a> {
    /// Files of a directory.
    Context(&'a Context),
    /// A chain of layers.
    Chain {
        /// Lowest first.
        chain: Vec<ChainId>,
        /// What it is called.
        title: String,
    },
}

impl<'a> Work<'a> {
    /// What `--from=` names; `None` is the context.
    pub fn origin(&self, from: Option<&str>) -> Result<Found<'a>> {
        let named = |name: &str| self.engine.named(name);
        let origin = self.engine.plan.origin(from, self.index, &named);
        match origin.map_err(super::stage::plain)? {
            Origin::Context => Ok(Found::Context(self.engine.what.context)),
            Origin::Stage(index) => {
                let chain = self.engine.stage(index)?.chain();
                Ok(Found::Chain { chain, title: format!("stage {}", from.unwrap_or_default()) })
            }
            Origin::Image(name) if name == "scratch" => {
                Ok(Found::Chain { chain: Vec::new(), title: name })
            }
            Origin::Image(name) => {
                let chain = self.other_image(&name)?.chain();
                Ok(Found::Chain { chain, title: format!("image {name}") })
            }
            Origin::Named(name) => {
                if let Some(Named::Files(context)) = self.engine.what.named.get(&name) {
                    return Ok(Found::Context(context));
                }
                let chain = self.named_image(&name, None, "")?.chain();
                Ok(Found::Chain { chain, title: format!("context {name}") })
            }
        }
    }
}

impl Found<'_> {
    /// What it is, for a key, where that is known without looking at its files.
    pub fn identity(&self) -> Option<String> {
        match self {
            Self::Context(_) => None,
            Self::Chain { chain, .. } => {
                Some(chain.last().map_or_else(|| "scratch".into(), ToString::to_string))
            }
        }
    }

    /// Its files, mounted if need be.
    pub fn open(&self, engine: &Engine<'_>) -> Result<Opened<'_>> {
        match self {
            Self::Context(context) => Ok(Opened::Context(context)),
            Self::Chain { chain, title } => {
                let root = engine.roots.of(chain)?;
                let memory = chain
                    .last()
                    .map(|top| Memory::of_chain(&engine.cache.dir().join("files"), top));
                Ok(Opened::Chain { root, memory, title })
            }
        }
    }
}

/// An origin's files.
pub(super) enum Opened<'a> {
    /// A context's.
    Context(&'a Context),
    /// A chain's.
    Chain {
        /// Merged.
        root: Arc<Root>,
        /// What is known of them.
        memory: Option<Memory>,
        /// What it is called.
        title: &'a str,
    },
}

impl Opened<'_> {
    /// As copies take them; `cancel` ends the reading.
    pub fn files<'f>(&'f self, cancel: &'f Cancel) -> Files<'f> {
        let cancel = Some(cancel);
        match self {
            Self::Context(context) => Files { cancel, ..context.files() },
            Self::Chain { root, memory, title } => Files {
                root: &root.dir,
                ignore: None,
                memory: memory.as_ref(),
                owners: Owners::Kept,
                title,
                cancel,
            },
        }
    }

    /// Keeps what was learned.
    pub fn remember(&self) -> Result<()> {
        match self {
            Self::Chain { memory: Some(memory), .. } => memory.save(),
            _ => Ok(()),
        }
    }
}

impl Root {
    /// The path without links of what is at a path below; `None` if nothing is there.
    pub(super) fn real(&self, path: &[u8]) -> Result<Option<Vec<u8>>> {
        let fail = |e: Errno| self.dir.error("read", path, e);
        let place = |fd: &dyn AsRawFd| {
            readlink(Path::new(&format!("/proc/thread-self/fd/{}", fd.as_raw_fd())))
        };
        let fd = match self.dir.open_inside(path, OFlag::O_PATH) {
            Err(Errno::ENOENT) => return Ok(None),
            fd => fd.map_err(fail)?,
        };
        let top = self.dir.open_inside(b"", OFlag::O_PATH).map_err(fail)?;
        let (whole, top) = (place(&fd).map_err(fail)?, place(&top).map_err(fail)?);
        let below = Path::new(&whole).strip_prefix(Path::new(&top));
        let below = below.map_err(|_| Error::Conflict("a path leads out of its root".into()))?;
        Ok(Some(below.as_os_str().as_bytes().to_vec()))
    }
}
