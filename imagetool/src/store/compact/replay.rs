//! A dropped blob, made by a thread while it is read.

use std::fs::File;
use std::io::{self, BufWriter, PipeReader, Read};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use super::recipe::{self, Head};
use crate::error::{Error, Result};

/// The bytes; the maker's fault is told where they end.
pub(super) struct Replay {
    from: PipeReader,
    maker: Option<JoinHandle<Result<()>>>,
}

/// Begins to make a blob by the recipe at `path`, whose head is `head`.
pub(super) fn start(path: PathBuf, head: Head, files: PathBuf) -> Result<Replay> {
    let pipe = |e| Error::io("make a pipe for", &path, e);
    let (from, to) = io::pipe().map_err(pipe)?;
    let work = move || {
        let mut body = File::open(&path).map_err(Error::at("open", &path))?;
        Head::read(&mut body)?;
        let out = BufWriter::with_capacity(256 << 10, to);
        head.packing.pack(|out| recipe::play_from(body, &files, out), out)
    };
    let maker = thread::Builder::new().name("recipe".into()).spawn(work);
    Ok(Replay { from, maker: Some(maker.map_err(Error::at("start a thread for", "recipe"))?) })
}

impl Read for Replay {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buf)?;
        if n == 0
            && !buf.is_empty()
            && let Some(maker) = self.maker.take()
        {
            maker.join().map_err(|_| io::Error::other("a thread died"))?.map_err(Error::into_io)?;
        }
        Ok(n)
    }
}
