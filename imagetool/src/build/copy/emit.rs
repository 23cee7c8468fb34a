//! A layout becomes a tar, straight from the sources: in the order and with the bytes that
//! [`crate::layer::diff`] gives for the unpacked layer, so that it can be packed from there, too.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use sha2::Digest as _;

use super::Given;
use super::archive::Spool;
use super::layout::{Body, Node, Nodes, What};
use super::walk::{join_below, open, unsteady};
use crate::build::cancel::Cancel;
use crate::error::{Error, Result};
use crate::layer::at::{RootDir, io_at};
use crate::layer::header::{Item, Writer};
use crate::layer::name::{show, split};
use crate::layer::pack::Packed;
use crate::layer::pax::Time;
use crate::layer::settle::errno;
use crate::layer::whiteout::PREFIX;

const BUFFER: usize = 256 << 10;

/// What is written, and from where.
pub(super) struct Emit<'a, W: Write> {
    pub root: &'a RootDir,
    pub cancel: Option<&'a Cancel>,
    pub base: Option<&'a RootDir>,
    pub given: &'a [Given],
    pub texts: &'a [Vec<u8>],
    pub old: Vec<Vec<u8>>,
    pub spools: HashMap<usize, Spool>,
    pub epoch: Option<Timestamp>,
    pub out: Writer<W>,
    pub done: Packed,
    /// Where a file with several names was written first.
    pub first: HashMap<Body, Vec<u8>>,
    pub buffer: Vec<u8>,
}

impl<W: Write> Emit<'_, W> {
    /// Writes it all.
    pub fn run(mut self, nodes: &Nodes) -> Result<Packed> {
        self.buffer.resize(BUFFER, 0);
        let mut sorted: Vec<(&Vec<u8>, &Node)> = nodes.iter().collect();
        // What is in a directory comes before its next sibling, whatever that is called.
        let parts = |path: &Vec<u8>| path.iter().map(|&b| if b == b'/' { 0 } else { b }).collect();
        sorted.sort_by_cached_key(|(path, _)| -> Vec<u8> { parts(path) });
        for (path, node) in sorted {
            let (_, base) = split(path);
            if base.starts_with(PREFIX) {
                let what = format!("a file called {}", show(path));
                return Err(Error::unsupported(what, "layers say so what they remove; rename it"));
            }
            self.node(path, node)?;
        }
        self.out.finish()?;
        self.done.plain += 1024;
        Ok(self.done)
    }

    fn item<'b>(&self, path: &[u8], node: &Node, flag: u8) -> Item<'b> {
        let mut path = path.to_vec();
        if flag == b'5' {
            path.push(b'/');
        }
        let about = &node.about;
        Item {
            mode: about.mode,
            uid: about.uid,
            gid: about.gid,
            mtime: clamped(about.mtime, self.epoch),
            xattrs: about.xattrs.clone(),
            flag,
            ..Item::file(&path, about.mode, 0)
        }
    }

    fn write(&mut self, item: &Item<'_>) -> Result<()> {
        self.done.entries += 1;
        self.done.plain += 512;
        self.out.item(item)
    }

    fn node(&mut self, path: &[u8], node: &Node) -> Result<()> {
        match &node.what {
            What::Dir => self.write(&self.item(path, node, b'5')),
            What::Link(text) => {
                // KERNEL: symlink(7): they have no other.
                let item = Item { link: Some(text), mode: 0o777, ..self.item(path, node, b'2') };
                self.write(&item)
            }
            What::Node(flag, major, minor) => {
                let device = (*flag != b'6').then_some((*major, *minor));
                self.write(&Item { device, ..self.item(path, node, *flag) })
            }
            What::File(body) => self.file(path, node, *body),
        }
    }

    /// A file, or a hard link if its bytes were written already.
    fn file(&mut self, path: &[u8], node: &Node, body: Body) -> Result<()> {
        let key = match body {
            Body::Found { source, same, .. } => Body::Found { source, entry: same, same },
            other => other,
        };
        if let Some(first) = self.first.get(&key) {
            let first = first.clone();
            return self.hard_link(path, node, &first);
        }
        self.first.insert(key, path.to_vec());
        match body {
            Body::Text(n) => {
                let texts = self.texts;
                let text = &texts[n];
                self.head(path, node, text.len() as u64)?;
                self.out.data(text)?;
                self.out.pad(text.len() as u64)
            }
            Body::Found { source, entry, .. } => {
                let Given::Tree { top, found, spooled, .. } = &self.given[source] else {
                    return Err(unsteady(path));
                };
                let entry = &found[entry];
                let real = join_below(top, &entry.path);
                let root = spooled.as_ref().unwrap_or(self.root);
                let size = entry.stat.st_size.cast_unsigned();
                let socket = crate::layer::at::kind(&entry.stat) != nix::sys::stat::SFlag::S_IFREG;
                if socket {
                    return self.head(path, node, 0); // as docker has them
                }
                let file = open_file(root, &real)?;
                self.copy(path, node, file, size, Some(&entry.content))
            }
            Body::Base(n) => {
                let (Some(base), Some(real)) = (self.base, self.old.get(n)) else {
                    return Err(unsteady(path));
                };
                let real = real.clone();
                let file = open_file(base, &real)?;
                let size =
                    nix::sys::stat::fstat(&file).map_err(|e| base.error("read", &real, e))?;
                self.copy(path, node, file, size.st_size.cast_unsigned(), None)
            }
            Body::Packed { source, entry } => {
                let (path, node) = (path.to_vec(), node);
                let spool = self.spools.remove(&source).ok_or_else(|| unsteady(&path))?;
                let done = self.packed(&path, node, &spool, entry);
                self.spools.insert(source, spool);
                done
            }
        }
    }

    fn hard_link(&mut self, path: &[u8], node: &Node, first: &[u8]) -> Result<()> {
        let item = Item { link: Some(first), xattrs: Vec::new(), ..self.item(path, node, b'1') };
        self.write(&item)
    }

    /// A file's header.
    fn head(&mut self, path: &[u8], node: &Node, size: u64) -> Result<()> {
        self.done.size += size;
        self.done.plain += size.next_multiple_of(512);
        self.write(&Item { size, ..self.item(path, node, b'0') })
    }

    /// A file's bytes, which must be the ones that were hashed.
    fn copy(
        &mut self,
        path: &[u8],
        node: &Node,
        file: OwnedFd,
        size: u64,
        want: Option<&[u8; 32]>,
    ) -> Result<()> {
        self.head(path, node, size)?;
        let mut file = File::from(file).take(size);
        let (mut hasher, mut left) = (sha2::Sha256::new(), size);
        loop {
            let n = match file.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(io_at("read", self.root.path(), errno(&e))),
            };
            if self.cancel.is_some_and(Cancel::is_stopped) {
                return Err(io_at("read", self.root.path(), Errno::ECANCELED));
            }
            hasher.update(&self.buffer[..n]);
            self.out.data(&self.buffer[..n])?;
            left -= n as u64;
        }
        if left != 0 || want.is_some_and(|want| hasher.finalize()[..] != want[..]) {
            return Err(unsteady(path));
        }
        self.out.pad(size)
    }

    /// A file of an archive.
    fn packed(&mut self, path: &[u8], node: &Node, spool: &Spool, entry: u64) -> Result<()> {
        let (file, mut at, size) = spool.read(entry).ok_or_else(|| unsteady(path))?;
        self.head(path, node, size)?;
        let end = at + size;
        while at < end {
            let want = (end - at).min(BUFFER as u64) as usize;
            let n = file.read_at(&mut self.buffer[..want], at);
            let n = n.map_err(|e| io_at("read", Path::new("an archive's files"), errno(&e)))?;
            if n == 0 {
                return Err(unsteady(path));
            }
            self.out.data(&self.buffer[..n])?;
            at += n as u64;
        }
        self.out.pad(size)
    }
}

/// Opens what was a regular file when it was found.
pub(super) fn open_file(root: &RootDir, real: &[u8]) -> Result<OwnedFd> {
    let (up, base) = split(real);
    let fail = |e| root.error("open", real, e);
    let dir = root.open_plain(up, OFlag::O_PATH | OFlag::O_DIRECTORY).map_err(fail)?;
    open(dir, base).map_err(fail)?.ok_or_else(|| unsteady(real))
}

/// Times that are later than the build's are the build's.
pub(super) fn clamped(time: Time, epoch: Option<Timestamp>) -> Time {
    let Some(epoch) = epoch.map(at) else { return time };
    if (time.secs, time.nanos) > (epoch.secs, epoch.nanos) { epoch } else { time }
}

/// A time as tar has it.
pub(super) fn at(time: Timestamp) -> Time {
    let nanos = time.as_nanosecond();
    let secs = nanos.div_euclid(1_000_000_000) as i64;
    Time { secs, nanos: nanos.rem_euclid(1_000_000_000) as u32 }
}
