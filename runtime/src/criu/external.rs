//! External mounts: what the container has from the host. criu leaves them out of a dump, and
//! on restore binds them again from where *config.json* says: a checkpoint names, it never decides.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, readlink};
use nix::sys::stat::{Mode, fstat, major, minor, stat};

use super::mountinfo::{self, Entry, below};
use super::rpc::Pair;
use crate::cgroup::Mounts;
use crate::error::{Error, Result};
use crate::init::root::{Root, split};
use crate::plan::Plan;
use crate::validate::mount::{Kind, Links, Mount};

/// The name of every masked file: all are covered by the host's null device.
const NULL: &str = "/dev/null";

/// A root, and how the kernel writes paths in it.
pub struct Tree {
    root: Root,
    prefix: String,
}

impl Tree {
    /// Opens the directory at `path`.
    pub fn open(path: &str) -> Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = open(path, flags, Mode::empty()).map_err(|e| Error::system("open", path, e))?;
        let prefix = written(fd.as_fd())?.trim_end_matches('/').to_owned();
        Ok(Self { root: Root::new(fd), prefix })
    }

    /// The same for what is there; `None` for what isn't.
    pub fn existing(&self, path: &CStr) -> Result<Option<String>> {
        match self.root.open(path, OFlag::O_PATH) {
            Ok(_) => self.resolve(path).map(Some),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(e) => Err(Error::system("open", path.to_string_lossy(), e)),
        }
    }

    /// Where a path leads, links followed inside the root, as a path from the root. What isn't
    /// there (a mount point below a mount point) stays as it is written.
    fn resolve(&self, path: &CStr) -> Result<String> {
        let (mut there, mut missing) = (path.to_owned(), String::new());
        loop {
            match self.root.open(&there, OFlag::O_PATH) {
                Ok(fd) => {
                    let full = written(fd.as_fd())?;
                    let inside = full.strip_prefix(&self.prefix).unwrap_or(&full);
                    return Ok(format!("{}{missing}", inside.trim_end_matches('/')));
                }
                Err(Errno::ENOENT | Errno::ENOTDIR) if !there.is_empty() => {
                    let (parent, name) = split(&there);
                    missing = format!("/{}{missing}", name.to_string_lossy());
                    there = parent;
                }
                Err(e) => return Err(Error::system("open", path.to_string_lossy(), e)),
            }
        }
    }
}

fn written(fd: std::os::fd::BorrowedFd<'_>) -> Result<String> {
    use std::os::fd::AsRawFd;
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let text = readlink(link.as_str()).map_err(|e| Error::system("readlink", link, e))?;
    text.into_string().map_err(|_| Error::rule("a path of the container is not UTF-8"))
}

/// Mount points in the running container, and the names they get in the checkpoint.
///
/// DIFFERS: from runc, which takes the point from the root file system as the host sees it:
/// a link inside of a mount leads elsewhere there. The name is runc's, so that either restores
/// what the other has dumped.
pub fn on_dump(plan: &Plan, rootfs: &str, pid: i32) -> Result<Vec<Pair>> {
    let inside = Tree::open(&format!("/proc/{pid}/root"))?;
    let outside = Tree::open(rootfs)?;
    let table = mountinfo::of(&pid.to_string())?;
    let mut all = Vec::new();
    for m in &plan.mounts {
        mountable(m)?;
        let point = inside.resolve(&m.target)?;
        match &m.kind {
            Kind::Bind { source, recursive, .. } => {
                if *recursive {
                    all.extend(carried(source, &point, &table));
                }
                all.push((point, outside.resolve(&m.target)?));
            }
            Kind::Cgroup => all.extend(
                table
                    .iter()
                    .filter(|e| e.fstype == "cgroup" || e.fstype == "cgroup2")
                    .filter(|e| e.point == point || below(&e.point, &point).is_some())
                    .map(|e| (e.point.clone(), e.point.clone())),
            ),
            Kind::New { .. } | Kind::Remount { .. } => {}
        }
    }
    for path in &plan.masked_paths {
        // A directory is covered by a tmpfs, which criu carries.
        match inside.root.open(path, OFlag::O_PATH).and_then(|fd| fstat(&fd)) {
            Ok(stat) if stat.st_mode & libc::S_IFMT != libc::S_IFDIR => {
                all.push((inside.resolve(path)?, NULL.to_owned()));
            }
            Ok(_) | Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(e) => return Err(Error::system("open", path.to_string_lossy(), e)),
        }
    }
    if plan.bind_devices {
        for device in &plan.devices {
            all.push((inside.resolve(&device.path)?, outside.resolve(&device.path)?));
        }
    }
    Ok(all)
}

/// criu knows a mount by a path, and follows it.
fn mountable(m: &Mount) -> Result<()> {
    if m.links == Links::Followed {
        return Ok(());
    }
    let why = "criu has no src-nofollow, dest-nofollow and copy-symlink";
    Err(Error::unsupported(format!("/mounts/{}/options", m.index), why))
}

/// What came along with an `rbind`: mounts below it of the file system that is there on the host.
fn carried(source: &CStr, point: &str, table: &[Entry]) -> Vec<Pair> {
    let source = Path::new(OsStr::from_bytes(source.to_bytes()));
    table
        .iter()
        .filter(|e| {
            let Some(rest) = below(&e.point, point) else { return false };
            let same = stat(&source.join(&rest[1..])).map(|s| s.st_dev);
            same.is_ok_and(|d| format!("{}:{}", major(d), minor(d)) == e.device)
        })
        .map(|e| (e.point.clone(), e.point.clone()))
        .collect()
}

/// Names, and what config.json has there on this host.
pub fn on_restore(plan: &Plan, cgroups: &Mounts) -> Result<Vec<Pair>> {
    let outside = Tree::open(&plan.rootfs.to_string_lossy())?;
    let mut all = Vec::new();
    for m in &plan.mounts {
        mountable(m)?;
        let name = outside.resolve(&m.target)?;
        match &m.kind {
            Kind::Bind { source, recursive, .. } => {
                let from = canonical(source)?;
                if *recursive {
                    all.extend(brought(&from, &name)?);
                }
                all.push((name, from));
            }
            Kind::Cgroup => match cgroups {
                Mounts::Unified { dir } => all.push((name, dir.clone())),
                Mounts::Separate { mounts, .. } => {
                    all.extend(
                        mounts.iter().map(|g| (format!("{name}/{}", g.name), g.dir.clone())),
                    );
                }
            },
            Kind::New { .. } | Kind::Remount { .. } => {}
        }
    }
    if !plan.masked_paths.is_empty() {
        all.push((NULL.to_owned(), NULL.to_owned()));
    }
    if plan.bind_devices {
        for device in &plan.devices {
            let host = format!("/{}", device.path.to_string_lossy());
            all.push((outside.resolve(&device.path)?, host));
        }
    }
    Ok(all)
}

/// criu finds the mount that a source lies on by its path alone, and stumbles over `/./` in it.
fn canonical(source: &CStr) -> Result<String> {
    let shown = source.to_string_lossy();
    let real = std::fs::canonicalize(&*shown).map_err(|e| Error::io("open", &*shown, &e))?;
    let real = real.into_os_string().into_string();
    real.map_err(|_| Error::rule(format!("the bind source {shown} is not UTF-8")))
}

/// What an `rbind` brings along from this host.
fn brought(source: &str, name: &str) -> Result<Vec<Pair>> {
    let table = mountinfo::of("self")?;
    let below = table.iter().filter_map(|e| below(&e.point, source).map(|rest| (rest, &e.point)));
    Ok(below.map(|(rest, point)| (format!("{name}{rest}"), point.clone())).collect())
}

/// Whether a mount point lies on a file system that criu makes: it comes with that one's content.
pub fn is_made(plan: &Plan, target: &CString) -> bool {
    let path = |text: &CStr| format!("/{}", text.to_string_lossy());
    plan.mounts.iter().any(|m| {
        matches!(m.kind, Kind::New { .. }) && below(&path(target), &path(&m.target)).is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_mount_point_is_named_by_where_its_links_lead_inside() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("real/conf")).unwrap();
        symlink("/real/conf", dir.path().join("conf")).unwrap();
        symlink("/../../../..", dir.path().join("out")).unwrap();
        let tree = Tree::open(dir.path().to_str().unwrap()).unwrap();
        assert_eq!(tree.resolve(c"conf").unwrap(), "/real/conf");
        assert_eq!(tree.resolve(c"conf/for/nested").unwrap(), "/real/conf/for/nested");
        assert_eq!(tree.resolve(c"out/x").unwrap(), "/x");
        assert_eq!(tree.resolve(c"missing/../x").unwrap(), "/missing/../x");
    }
}
