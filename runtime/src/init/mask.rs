//! Read-only root, read-only paths, masked paths: what the container must not see or change.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, RawFd};

use dhow_kernel::fd::Loose;
use dhow_kernel::mount::{self as kernel, Tree};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{FileStat, fstat, makedev};
use nix::unistd::fchdir;

use super::child::Context;
use super::credentials;
use super::fault::{Because, Cause, Done};
use super::mounts;
use super::root::{Root, shown};
use crate::plan::Plan;
use crate::validate::mount::{Attributes, attr};

const READONLY: Attributes = Attributes { set: attr::RDONLY, clear: 0 };

/// Performs all three.
pub fn perform(plan: &Plan, c: &mut Context) -> Done {
    if plan.readonly {
        // It can't be made later, and may have been made already: whoever enters it will say so.
        credentials::make_cwd(&plan.process.cwd);
    }
    let root = c.root()?;
    if plan.readonly {
        mounts::dress(root.as_fd(), READONLY, false).because("make read-only", "/")?;
    }
    for target in &plan.late_readonly {
        let mount = open(c, target).because("open", shown(target))?;
        mounts::dress(mount.as_fd(), READONLY, false).because("mount_setattr", shown(target))?;
    }
    let mut here = Here::of(plan, c);
    for path in &plan.readonly_paths {
        readonly(c, path, &mut here)?;
    }
    mask(plan, c, &mut here)?;
    // Last, since of what is unbindable nothing can be made read-only by a bind.
    if matches!(plan.propagation.0, libc::MS_SHARED | libc::MS_UNBINDABLE) {
        let root = c.root()?.as_fd();
        mounts::spread(&[plan.propagation], root).because("set the propagation of", "/")?;
    }
    Ok(())
}

/// Where it was mounted, whatever its name leads to by now.
fn open(c: &Context, path: &CStr) -> nix::Result<Loose> {
    let (root, way) = match c.mounted.find(path) {
        Some((held, way)) => (&held.root, way),
        None => (c.root.as_ref().ok_or(Errno::EBADF)?, path),
    };
    root.open(way, OFlag::O_PATH)
}

/// What isn't there needs no protection.
fn find(c: &Context, path: &CStr) -> Done<Option<Loose>> {
    match open(c, path) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno).because("open", shown(path)),
    }
}

/// A name at the top of a file system of the kernel's own that is held: it can be used as it is, for
/// nobody exchanges it for another. Not where the kernel has a link.
fn named<'a>(c: &'a Context, path: &'a CStr) -> Option<(&'a Root, &'a CStr)> {
    let (held, name) = c.mounted.find(path).filter(|(held, _)| held.kernels)?;
    let links: [&[u8]; 5] = [b"self", b"thread-self", b"net", b"mounts", b"."];
    let plain = !name.is_empty() && !name.to_bytes().contains(&b'/');
    (plain && !links.contains(&name.to_bytes())).then_some((&held.root, name))
}

/// The directory that names are said from: where this process is, until it goes to the program's.
#[derive(Default)]
struct Here {
    at: Option<RawFd>,
    listing: Option<Listing>,
}

impl Here {
    fn of(plan: &Plan, c: &Context) -> Self {
        Self { at: None, listing: Listing::of(plan, c) }
    }

    fn is(&self, dir: &Root) -> bool {
        self.at == Some(dir.as_fd().as_raw_fd())
    }

    fn go(&mut self, dir: &Root) -> nix::Result<()> {
        if !self.is(dir) {
            fchdir(dir.as_fd())?;
            self.at = Some(dir.as_fd().as_raw_fd());
        }
        Ok(())
    }

    fn lacks(&self, dir: &Root, name: &CStr) -> bool {
        self.listing.as_ref().is_some_and(|listing| listing.lacks(dir, name))
    }
}

/// The names at the top of a procfs: of a dozen that configs name, a kernel has some, and to find that
/// out by each would be a call each.
struct Listing {
    of: RawFd,
    told: Vec<u8>,
}

impl Listing {
    /// Where it spares calls.
    fn of(plan: &Plan, c: &Context) -> Option<Self> {
        /// One opens it, one reads it.
        const COSTS: usize = 2;
        /// Some seventy names.
        const ENOUGH: usize = 8192;
        let (proc, way) = c.mounted.find(c"proc")?;
        let dir = Some(&proc.root).filter(|_| proc.kernels && way.is_empty())?;
        let paths = plan.readonly_paths.iter().chain(&plan.masked_paths);
        let there = |path: &&CString| named(c, path).is_some_and(|(at, _)| std::ptr::eq(at, dir));
        paths.filter(there).nth(COSTS)?;
        let mut told = vec![0; ENOUGH];
        let read = match dhow_kernel::dir::read(dir, &mut told) {
            // Only held.
            Err(Errno::EBADF) => {
                let open = dir.open_plain(c"", OFlag::O_RDONLY | OFlag::O_DIRECTORY).ok()?;
                dhow_kernel::dir::read(&open, &mut told).ok()?
            }
            read => read.ok()?,
        };
        told.truncate(read);
        // KERNEL: fs/proc/root.c: it comes after all that is no process: then all of that is told.
        let whole = dhow_kernel::dir::names(&told).any(|name| name == b"self");
        whole.then(|| Self { of: dir.as_fd().as_raw_fd(), told })
    }

    /// Whether it is known not to be there. Of processes those are found that aren't told, by threads.
    fn lacks(&self, dir: &Root, name: &CStr) -> bool {
        let name = name.to_bytes();
        self.of == dir.as_fd().as_raw_fd()
            && !name.first().is_none_or(u8::is_ascii_digit)
            && !dhow_kernel::dir::names(&self.told).any(|there| there == name)
    }
}

fn readonly(c: &Context, path: &CStr, here: &mut Here) -> Done {
    if let Some((dir, name)) = named(c, path) {
        if here.lacks(dir, name) {
            return Ok(());
        }
        here.go(dir).because("chdir to", shown(path))?;
        match bind(name, name, MsFlags::MS_REC) {
            Err(Errno::ENOENT) => return Ok(()),
            other => other.because("bind to itself", shown(path))?,
        }
        let attributes = kernel::Attributes { set: attr::RDONLY, ..Default::default() };
        return kernel::set_attributes_at(dir.as_fd(), name, &attributes)
            .because("mount_setattr", shown(path));
    }
    let Some(target) = find(c, path)? else { return Ok(()) };
    let tree = kernel::open_tree(target.as_fd(), c"", Tree::CloneRecursive)
        .map(Loose::from)
        .because("open_tree", shown(path))?;
    mounts::dress(tree.as_fd(), READONLY, false).because("mount_setattr", shown(path))?;
    kernel::move_mount(tree.as_fd(), target.as_fd()).because("mount", shown(path))
}

fn bind(from: &CStr, to: &CStr, depth: MsFlags) -> nix::Result<()> {
    let none = None::<&CStr>;
    mount(Some(from), to, none, MsFlags::MS_BIND | depth, none)
}

/// One /dev/null and one empty tmpfs serve all: the second and later uses are clones.
fn mask(plan: &Plan, c: &mut Context, here: &mut Here) -> Done {
    let null = c.null.take();
    let c = &*c;
    let mut files = Cover { source: null.map(Source::New), tmpfs: false };
    let mut directories = Cover { source: None, tmpfs: true };
    for path in &plan.masked_paths {
        if let Some((dir, name)) = named(c, path) {
            if here.lacks(dir, name) {
                continue;
            }
            let cover = if is_directory(dir, name, c) { &mut directories } else { &mut files };
            // What isn't as thought is looked at below.
            match cover.over_name(dir, name, here) {
                Ok(()) | Err(Errno::ENOENT) => continue,
                Err(_) => {}
            }
        }
        let Some(target) = find(c, path)? else { continue };
        let stat = fstat(&target).because("stat", shown(path))?;
        if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
            if directories.source.is_none() {
                directories.source = Some(Source::New(empty_tmpfs()?));
            }
            directories.over(&target, path)?;
        } else {
            files.over(&target, path)?;
        }
    }
    Ok(())
}

/// Whether a name is of a directory, as far as is known without a look. In a sysfs all are.
fn is_directory(dir: &Root, name: &CStr, c: &Context) -> bool {
    let known: [&[u8]; 8] = [b"acpi", b"asound", b"bus", b"driver", b"fs", b"irq", b"scsi", b"sys"];
    let proc = c.mounted.find(c"proc").filter(|(held, way)| held.kernels && way.is_empty());
    let in_proc = proc.is_some_and(|(held, _)| std::ptr::eq(&raw const held.root, dir));
    !in_proc || known.contains(&name.to_bytes())
}

/// A mount that covers many places.
struct Cover<'a> {
    source: Option<Source<'a>>,
    /// Whether it is the empty tmpfs, which is made when it is needed.
    tmpfs: bool,
}

/// Where it is had from.
enum Source<'a> {
    /// It is nowhere yet.
    New(Loose),
    /// It lies somewhere, and this is it.
    Held(Loose),
    /// It lies under this name.
    Named(&'a Root, &'a CStr),
}

impl<'a> Cover<'a> {
    fn over(&mut self, target: &Loose, path: &CStr) -> Done {
        let copy = match self.source.take() {
            None => return Err(Cause::rule("there is nothing to mask files with")),
            Some(Source::New(mount)) => {
                let done = kernel::move_mount(mount.as_fd(), target.as_fd());
                self.source = Some(Source::Held(mount));
                return done.because("mask", shown(path));
            }
            Some(there) => self.source.insert(there).copy().because("open_tree", "the mask")?,
        };
        kernel::move_mount(copy.as_fd(), target.as_fd()).because("mask", shown(path))
    }

    /// Covers what has this name at the top of a file system of the kernel's.
    fn over_name(&mut self, dir: &'a Root, name: &'a CStr, here: &mut Here) -> nix::Result<()> {
        match self.source.take() {
            None if !self.tmpfs => Err(Errno::EINVAL),
            None => {
                here.go(dir)?;
                let options = Some(c"mode=755,nr_blocks=1,nr_inodes=1");
                mount(Some(c"tmpfs"), name, Some(c"tmpfs"), MsFlags::MS_RDONLY, options)?;
                self.source = Some(Source::Named(dir, name));
                Ok(())
            }
            Some(Source::New(own)) => {
                let done = kernel::move_mount_to(own.as_fd(), dir.as_fd(), name);
                self.source = Some(match done {
                    Ok(()) => Source::Named(dir, name),
                    Err(_) => Source::New(own),
                });
                done
            }
            Some(Source::Named(at, first)) if std::ptr::eq(at, dir) => {
                self.source = Some(Source::Named(at, first));
                here.go(dir)?;
                bind(first, name, MsFlags::empty())
            }
            Some(there) => {
                let copy = self.source.insert(there).copy()?;
                kernel::move_mount_to(copy.as_fd(), dir.as_fd(), name)
            }
        }
    }
}

impl Source<'_> {
    /// KERNEL: open_tree(2) copies attached mounts; detached ones only since 6.15.
    fn copy(&self) -> nix::Result<Loose> {
        match self {
            Self::New(mount) | Self::Held(mount) => {
                kernel::open_tree(mount.as_fd(), c"", Tree::Clone)
            }
            Self::Named(dir, name) => kernel::open_tree(dir.as_fd(), name, Tree::Clone),
        }
        .map(Loose::from)
    }
}

/// As mount(2) makes it: read-only as a mount and as a file system.
fn empty_tmpfs() -> Done<Loose> {
    let options = [
        (c"nr_blocks".to_owned(), Some(c"1".to_owned())),
        (c"nr_inodes".to_owned(), Some(c"1".to_owned())),
        (c"ro".to_owned(), None),
    ];
    mounts::tmpfs(&options, attr::RDONLY)
        .map(Loose::from)
        .map_err(|(errno, _)| Cause::new("mount", "the empty tmpfs", errno))
}

/// CVE: 2025-31133: a /dev/null from the image could be anything; this is the
/// host's, taken before the pivot, and proved to be it. It is the host's own inode,
/// so it is read-only: else root inside could change its mode and owner outside.
pub fn host_null() -> Done<Loose> {
    let tree = kernel::open_tree(AT_FDCWD, c"/dev/null", Tree::Clone)
        .map(Loose::from)
        .because("open", "/dev/null")?;
    let stat = fstat(&tree).because("stat", "/dev/null")?;
    if !is_null(&stat) {
        return Err(Cause::rule("/dev/null of the host is not the null device"));
    }
    // KERNEL: a device on a read-only mount can still be written to.
    mounts::dress(tree.as_fd(), READONLY, false).because("mount_setattr", "/dev/null")?;
    Ok(tree)
}

/// Whether this is the null device.
pub fn is_null(stat: &FileStat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFCHR && stat.st_rdev == makedev(1, 3)
}
