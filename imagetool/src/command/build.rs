//! `dhow-image build PATH|URL|-`: a Dockerfile becomes an image; prints its id.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use dhow_image::build::cancel::Cancel;
use dhow_image::build::run::{HostNetworks, Oci};
use dhow_image::build::spec::Typed;
use dhow_image::build::view::{Mode, View};
use dhow_image::build::whole::{Means, whole};
use dhow_image::{Error, Result};
use serde_json::json;

use crate::cli::RegistryFlags;
use crate::context::{Context, stdout};
use crate::ending;

/// Flags of `build`.
#[derive(Args)]
pub struct Build {
    #[command(flatten)]
    typed: Typed,
    /// The OCI runtime for RUNs: a name in PATH, or a path [default: dhow-runtime]
    #[arg(long, value_name = "PROGRAM")]
    runtime: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl Build {
    /// Builds. Progress goes to stderr.
    pub fn run(self, cx: &Context) -> Result<()> {
        let typed = &self.typed;
        let meant = typed.meant(&|name| cx.variable(name), io::stdout().is_terminal())?;
        let usual = cx.variable("BUILDKIT_PROGRESS");
        let usual = usual.as_deref().and_then(std::ffi::OsStr::to_str);
        // Who asks for JSON has no use for pictures, but for what went wrong.
        let mode = Mode::new(&typed.progress, cx.quiet, usual, io::stderr().is_terminal())?;
        let settings = cx.settings(&self.registry)?;
        let store = cx.store()?;
        let cancel = Arc::new(Cancel::new()?);
        ending::stops(&cancel);
        let run_dir = cx.run_dir().join("build");
        let runtime = cx.runtime(self.runtime.as_deref())?;
        let runner = Oci::new(runtime, Vec::new(), run_dir, HostNetworks)?;
        let view = View::new(mode, cx.look(), Box::new(io::stderr()));
        let search = cx.search();
        let agent = cx.variable("SSH_AUTH_SOCK").map(PathBuf::from);
        let means = Means {
            stdout,
            store: &store,
            settings: &settings,
            search: &search,
            agent: agent.as_deref(),
            runner: &runner,
            watcher: &view,
            cancel: &cancel,
        };
        let came = whole(typed, &meant, &mut io::stdin(), &means);
        view.end();
        let came = came?;
        if let Some(answer) = came.answer {
            cx.line(answer.text.trim_end_matches('\n'))?;
            let found = "the checks have found something; --call check,ignorestatus=true to go on";
            return if answer.well { Ok(()) } else { Err(Error::Conflict(found.into())) };
        }
        if cx.json {
            let names: Vec<String> = came.names.iter().map(ToString::to_string).collect();
            let manifest = came.manifest.map(|manifest| manifest.digest);
            return cx.print_json(&json!({ "id": came.id, "manifest": manifest, "names": names }));
        }
        // What went to stdout is alone there.
        match came.id.filter(|_| !meant.writes_stdout()) {
            Some(id) => cx.line(id),
            None => Ok(()),
        }
    }
}
