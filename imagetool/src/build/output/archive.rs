//! `type=oci`, and `type=docker` with a file.

use std::path::Path;

use super::{Ways, source};
use crate::build::engine::Told;
use crate::build::image::Built;
use crate::build::spec::ArchiveOutput;
use crate::copy::{Choice, Options, copy};
use crate::error::Result;
use crate::progress::Silent;
use crate::recode::Kind;
use crate::reference::Reference;
use crate::sink::{Archive, Flavour, LayoutDir, to_file};
use crate::transport::File;

/// Writes it.
pub fn deliver(
    built: &Built,
    wanted: &ArchiveOutput,
    names: &[Reference],
    ways: &Ways<'_>,
    told: &Told<'_>,
) -> Result<()> {
    let lease = ways.store.lease()?;
    let options =
        Options { recode: wanted.recode, spool: lease.dir().to_owned(), ..Choice::All.into() };
    let source = source(built)?;
    if let (true, File::Path(dir)) = (wanted.directory, &wanted.to) {
        return told.part("exporting layout", || {
            let sink = LayoutDir::open_with(dir, None)?;
            copy(&source, &sink, &options, &Silent)?;
            // BuildKit's `ref.name` is the tag alone.
            sink.finish(names.first().and_then(Reference::tag))
        });
    }
    let flavour = if wanted.kind == Kind::Oci { Flavour::Oci } else { Flavour::Docker };
    told.part("sending tarball", || {
        to_file(&wanted.to, ways.stdout, |out, title: &Path| {
            let sink = Archive::new(out, title, flavour)?;
            copy(&source, &sink, &options, &Silent)?;
            match wanted.kind {
                Kind::Docker => sink.entitle(names)?,
                Kind::Oci => {
                    let tags: Vec<String> =
                        names.iter().filter_map(Reference::tag).map(str::to_owned).collect();
                    sink.entitle_as(&tags, names)?;
                }
            }
            sink.finish().map(drop)
        })
    })
}
