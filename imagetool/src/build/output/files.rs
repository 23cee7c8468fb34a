//! `type=local` and `type=tar`: the files alone.

use std::fs;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;
use std::thread;

use super::Ways;
use crate::build::engine::Told;
use crate::build::image::Built;
use crate::error::{Error, Result};
use crate::layer::{Entries, Journal, Limits, Owner, RootDir, extract};
use crate::sink::to_file;
use crate::transport::File;

const BUFFER: usize = 1 << 20;

/// A tar, to a file or stdout.
pub fn to_tar(built: &Built, to: &File, ways: &Ways<'_>, told: &Told<'_>) -> Result<()> {
    told.part("sending tarball", || {
        to_file(to, ways.stdout, |mut out, title| {
            built.export(&mut out)?;
            out.flush().map_err(Error::at("write", title))
        })
    })
}

/// Files in a directory, beside what is there; as BuildKit's clients do, they become the caller's.
/// Those for several platforms have a directory each, `linux_arm64`.
pub fn to_directory(built: &Built, dir: &Path, ways: &Ways<'_>, told: &Told<'_>) -> Result<()> {
    if built.beside.is_empty() {
        return one_to_directory(built, dir, ways, told);
    }
    built.platforms().try_for_each(|(platform, one)| {
        let name = platform.to_string().replace('/', "_");
        one_to_directory(one, &dir.join(name), ways, told)
    })
}

fn one_to_directory(built: &Built, dir: &Path, ways: &Ways<'_>, told: &Told<'_>) -> Result<()> {
    told.part("copying files", || {
        fs::create_dir_all(dir).map_err(Error::at("create", dir))?;
        let root = RootDir::open(dir)?;
        let lease = ways.store.lease()?;
        let journal = Journal::new(lease.dir());
        let (reader, writer) = io::pipe().map_err(Error::at("make a pipe for", dir))?;
        let (written, extracted) = thread::scope(|scope| {
            let worker = scope.spawn(move || {
                let limits = Limits { bytes: u64::MAX >> 1, ..Limits::default() };
                let from = BufReader::with_capacity(BUFFER, reader);
                let mut entries = Entries::new(from, limits).literal();
                let owner =
                    Owner::Fixed(nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
                extract(&root, &mut entries, owner, journal).map(drop)
            });
            let mut out = BufWriter::with_capacity(BUFFER, writer);
            let written =
                built.export(&mut out).and_then(|_| out.flush().map_err(Error::at("write", dir)));
            drop(out);
            (written, worker.join())
        });
        let extracted = extracted.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (written, extracted) {
            // Who unpacks has stopped first, and knows why.
            (Err(Error::Io { source, .. }), Err(why))
                if source.kind() == io::ErrorKind::BrokenPipe =>
            {
                Err(why)
            }
            (written, extracted) => written.and(extracted),
        }
    })
}
