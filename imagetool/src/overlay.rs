//! overlayfs: directories upon each other, seen as one.
//!
//! The caller's mount namespace, errors and clean-up are its own.

use std::ffi::{CStr, CString};
use std::fmt::Write;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use dhow_kernel::mount as kernel;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::utsname::uname;

use crate::{fuse, rootless};

/// An upper directory becomes a layer, so it has plain entries only, whatever the module does where
/// nothing is said: no marks of its own instead of a directory's or a file's content.
const PLAIN: [&CStr; 3] = [c"index", c"metacopy", c"redirect_dir"];

/// KERNEL: overlayfs.rst §userxattr: in a user namespace attributes are `user.overlay.` ones, and
/// directories are never redirected: it is wrong to say so.
fn plain(confined: bool) -> impl Iterator<Item = &'static CStr> {
    PLAIN.into_iter().take(if confined { 2 } else { 3 })
}

/// Whether a kernel's release, as `6.1.0-18-amd64`, is older than 6.8.
fn is_before_6_8(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else { return false };
    (major, minor) < (6, 8)
}

/// Whether a kernel's answer may mean that it makes no overlay for an ordinary user, or none here.
fn is_lacking(why: Errno) -> bool {
    matches!(why, Errno::EPERM | Errno::EACCES | Errno::ENODEV | Errno::EINVAL)
}

/// What to do about an error of [`Overlay::mount`], to follow it in its line.
pub fn advice(why: Errno) -> &'static str {
    if rootless::is_confined() && is_lacking(why) {
        "; without root the kernel makes overlays since Linux 5.11, and none upon another: install fuse-overlayfs (it needs /dev/fuse), or have the store on a disk (--root, in a container a volume)"
    } else if why == Errno::EINVAL {
        "; if the store is on an overlay itself, as in a container, have it on a disk (--root, in a container a volume)"
    } else {
        ""
    }
}

/// What an overlay is made of.
#[derive(Clone, Copy, Debug)]
pub struct Overlay<'a, P> {
    /// What the mount table calls it.
    pub source: &'a CStr,
    /// Read-only, the topmost first. KERNEL: without an upper directory two or more.
    pub lower: &'a [P],
    /// The upper and the work directory; without them nothing can be written.
    pub upper: Option<(&'a Path, &'a Path)>,
    /// Nothing is synced: for what is thrown away after use, or brought to disk in another way.
    pub volatile: bool,
}

impl<P: AsRef<Path>> Overlay<'_, P> {
    /// Mounts it at `target`, a directory and no link to one. Where an ordinary user gets none of the
    /// kernel's, fuse-overlayfs makes it, if the machine has that.
    pub fn mount(&self, target: &Path) -> nix::Result<()> {
        match self.by_kernel(target) {
            Err(why) if rootless::is_confined() && is_lacking(why) => {
                fuse::mount(self, target, why)
            }
            done => done,
        }
    }

    fn by_kernel(&self, target: &Path) -> nix::Result<()> {
        // KERNEL: `lowerdir+` came with Linux 6.8; before that it is a line in the kernel's log.
        if uname().is_ok_and(|name| is_before_6_8(&name.release().to_string_lossy())) {
            return self.by_text(target);
        }
        match self.by_descriptor(target) {
            // A kernel that says otherwise: nothing is mounted.
            Err(Errno::EINVAL | Errno::ENOSYS) => self.by_text(target),
            done => done,
        }
    }

    fn by_descriptor(&self, target: &Path) -> nix::Result<()> {
        let text =
            |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL);
        let context = kernel::fsopen(c"overlay")?;
        let set = |key, value: &_| kernel::fsconfig_string(context.as_fd(), key, value);
        set(c"source", self.source)?;
        for dir in self.lower {
            set(c"lowerdir+", &text(dir.as_ref())?)?;
        }
        if let Some((upper, work)) = self.upper {
            set(c"upperdir", &text(upper)?)?;
            set(c"workdir", &text(work)?)?;
        }
        let confined = rootless::is_confined();
        for key in plain(confined) {
            set(key, c"off")?;
        }
        if confined {
            kernel::fsconfig_flag(context.as_fd(), c"userxattr")?;
        }
        if self.volatile {
            kernel::fsconfig_flag(context.as_fd(), c"volatile")?;
        }
        kernel::fsconfig_create(context.as_fd())?;
        let attributes = if self.upper.is_none() { libc::MOUNT_ATTR_RDONLY } else { 0 };
        let mounted = kernel::fsmount(context.as_fd(), attributes)?;
        kernel::move_mount(mounted.as_fd(), opened(target, libc::O_NOFOLLOW)?.as_fd())
    }

    /// One string of a page, so the layers go in by descriptor.
    fn by_text(&self, target: &Path) -> nix::Result<()> {
        let own = self.upper.map(|(upper, work)| [upper, work]);
        let all = self.lower.iter().map(AsRef::as_ref).chain(own.into_iter().flatten());
        let files = all.map(|path| opened(path, 0)).collect::<nix::Result<Vec<File>>>()?;
        let names: Vec<String> = files.iter().map(name).collect();
        let flags = if own.is_none() { MsFlags::MS_RDONLY } else { MsFlags::empty() };
        let target = opened(target, libc::O_NOFOLLOW)?;
        let target = name(&target);
        let options = self.options(&names, rootless::is_confined());
        mount(Some(self.source), target.as_str(), Some("overlay"), flags, Some(options.as_str()))
    }

    /// The options as one string: `names` of the lower directories, then of upper and work;
    /// `confined`, for root in a user namespace only.
    fn options(&self, names: &[String], confined: bool) -> String {
        let (lower, own) = names.split_at(self.lower.len());
        let mut options = format!("lowerdir={}", lower.join(":"));
        if let [upper, work] = own {
            let _ = write!(options, ",upperdir={upper},workdir={work}");
        }
        for key in plain(confined) {
            let _ = write!(options, ",{}=off", key.to_string_lossy());
        }
        if self.volatile {
            options.push_str(",volatile");
        }
        if confined {
            options.push_str(",userxattr");
        }
        options
    }
}

fn name(file: &File) -> String {
    format!("/proc/thread-self/fd/{}", file.as_raw_fd())
}

fn opened(path: &Path, more: i32) -> nix::Result<File> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | more;
    let file = File::options().read(true).custom_flags(flags).open(path);
    file.map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use nix::mount::{MntFlags, umount2};
    use nix::sched::{CloneFlags, unshare};

    use super::*;

    type Overlay<'a> = super::Overlay<'a, PathBuf>;

    /// Directories of these names, and both ways to mount, in a mount namespace that goes with it.
    fn both_ways(
        dirs: &[&str],
        test: impl Fn(&Path, &dyn Fn(&Overlay<'_>, &Path) -> nix::Result<()>) + Sync,
    ) {
        if !nix::unistd::geteuid().is_root() {
            return; // mounting is root's
        }
        let each = || {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
            for new in [true, false] {
                let home = tempfile::tempdir().unwrap();
                for dir in dirs {
                    fs::create_dir(home.path().join(dir)).unwrap();
                }
                let how = |overlay: &Overlay<'_>, target: &Path| {
                    if new { overlay.mount(target) } else { overlay.by_text(target) }
                };
                test(home.path(), &how);
                let _ = umount2(&home.path().join("root"), MntFlags::MNT_DETACH);
            }
        };
        std::thread::scope(|scope| scope.spawn(each).join().unwrap());
    }

    #[test]
    fn an_upper_directory_has_no_marks_of_overlayfs() {
        both_ways(&["lower", "lower/d", "upper", "work", "root"], |home, how| {
            let at = |name: &str| home.join(name);
            let (upper, work) = (at("upper"), at("work"));
            let upper = Some((upper.as_path(), work.as_path()));
            let lower = [at("lower")];
            let overlay = Overlay { source: c"x", lower: &lower, upper, volatile: true };
            how(&overlay, &at("root")).unwrap();
            // A lower directory that is renamed would be a mark: it has to be copied instead.
            let said = fs::rename(at("root/d"), at("root/e")).unwrap_err();
            assert_eq!(said.raw_os_error(), Some(libc::EXDEV));
            fs::write(at("root/f"), "x").unwrap();
            assert!(at("upper/f").exists());
        });
    }

    #[test]
    fn without_an_upper_directory_nothing_is_written() {
        both_ways(&["a", "b", "b/d", "root"], |home, how| {
            let lower = [home.join("a"), home.join("b")];
            let overlay = Overlay { source: c"x", lower: &lower, upper: None, volatile: false };
            how(&overlay, &home.join("root")).unwrap();
            let said = fs::write(home.join("root/d/f"), "x").unwrap_err();
            assert_eq!(said.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        });
    }

    #[test]
    fn kernels_that_know_no_lists_are_told_by_their_release() {
        for (release, old) in [
            ("6.1.0-18-amd64", true),
            ("5.10", true),
            ("6.8.0", false),
            ("6.12-rc1", false),
            ("x", false),
        ] {
            assert_eq!(is_before_6_8(release), old, "{release}");
        }
    }

    #[test]
    fn a_link_is_no_place_to_mount_at() {
        both_ways(&["a", "b", "root"], |home, how| {
            let lower = [home.join("a"), home.join("b")];
            std::os::unix::fs::symlink("root", home.join("link")).unwrap();
            let overlay = Overlay { source: c"x", lower: &lower, upper: None, volatile: false };
            assert_eq!(how(&overlay, &home.join("link")), Err(Errno::ENOTDIR));
        });
    }

    #[test]
    fn text_says_all_that_descriptors_do() {
        let (lower, own) = ([PathBuf::from("a"), PathBuf::from("b")], Path::new("u"));
        let names = ["1", "2", "3", "4"].map(str::to_owned);
        let upper = Some((own, own));
        let overlay = Overlay { source: c"x", lower: &lower, upper, volatile: true };
        let plain = "index=off,metacopy=off,redirect_dir=off";
        let own = "upperdir=3,workdir=4";
        assert_eq!(overlay.options(&names, false), format!("lowerdir=1:2,{own},{plain},volatile"));
        let overlay = Overlay { source: c"x", lower: &lower, upper: None, volatile: false };
        assert_eq!(overlay.options(&names[..2], false), format!("lowerdir=1:2,{plain}"));
        let confined = "lowerdir=1:2,index=off,metacopy=off,userxattr";
        assert_eq!(overlay.options(&names[..2], true), confined);
    }
}
