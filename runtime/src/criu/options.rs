//! What checkpoint and restore are asked for: the command line's texts, checked.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat2, readlinkat};
use nix::sys::stat::{Mode, fstatat};

use super::rpc::{CgroupMode, NetworkLock, Options};
use crate::error::{Error, Result};

/// What both have.
#[derive(Debug, Clone, Default)]
#[allow(clippy::struct_excessive_bools, reason = "criu's own options")]
pub struct Common {
    /// `--image-path`.
    pub image_path: PathBuf,
    /// `--work-path`; the images' directory when it isn't given.
    pub work_path: Option<PathBuf>,
    /// `--tcp-established`.
    pub tcp_established: bool,
    /// `--ext-unix-sk`.
    pub ext_unix_sk: bool,
    /// `--shell-job`.
    pub shell_job: bool,
    /// `--file-locks`.
    pub file_locks: bool,
    /// `--auto-dedup`.
    pub auto_dedup: bool,
    /// `--lazy-pages`.
    pub lazy_pages: bool,
    /// `--manage-cgroups-mode`.
    pub cgroups: CgroupMode,
    /// `--network-lock`.
    pub network_lock: Option<NetworkLock>,
}

/// What checkpoint adds.
#[derive(Debug, Clone, Default)]
#[allow(clippy::struct_excessive_bools, reason = "criu's own options")]
pub struct Dump {
    /// Of both.
    pub common: Common,
    /// `--parent-path`, relative to the images.
    pub parent_path: Option<PathBuf>,
    /// `--leave-running`.
    pub leave_running: bool,
    /// `--tcp-skip-in-flight`.
    pub tcp_skip_in_flight: bool,
    /// `--link-remap`.
    pub link_remap: bool,
    /// `--status-fd`.
    pub status_fd: Option<i32>,
    /// `--page-server`.
    pub page_server: Option<(String, u16)>,
    /// `--pre-dump`.
    pub pre_dump: bool,
}

/// What restore adds.
#[derive(Debug, Clone, Default)]
pub struct Restore {
    /// Of both.
    pub common: Common,
    /// `--tcp-close`.
    pub tcp_close: bool,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--lsm-profile`.
    pub lsm_profile: Option<String>,
    /// `--lsm-mount-context`.
    pub lsm_mount_context: Option<String>,
}

/// Reads `--manage-cgroups-mode`.
pub fn cgroups(text: &str) -> Result<CgroupMode> {
    match text {
        "" => Ok(CgroupMode::Default),
        "soft" => Ok(CgroupMode::Soft),
        "full" => Ok(CgroupMode::Full),
        "strict" => Ok(CgroupMode::Strict),
        "ignore" => Ok(CgroupMode::Ignore),
        other => {
            let why = "soft, full, strict and ignore are the modes";
            Err(Error::rule(format!("invalid manage-cgroups-mode value {other:?}: {why}")))
        }
    }
}

/// Reads `--network-lock`, crun's.
pub fn network_lock(text: &str) -> Result<NetworkLock> {
    match text {
        "iptables" => Ok(NetworkLock::Iptables),
        "nftables" => Ok(NetworkLock::Nftables),
        "skip" => Ok(NetworkLock::Skip),
        other => {
            let why = "iptables, nftables and skip are the methods";
            Err(Error::rule(format!("invalid --network-lock value {other:?}: {why}")))
        }
    }
}

/// Checks `--empty-ns`: the network namespace alone can be left empty, and always is.
pub fn empty_namespaces(list: &[String]) -> Result<()> {
    match list.iter().find(|name| *name != "network") {
        Some(name) => Err(Error::rule(format!("--empty-ns: namespace {name:?} is not supported"))),
        None => Ok(()),
    }
}

/// Reads `--page-server ADDRESS:PORT`; an IPv6 address has brackets.
pub fn page_server(text: &str) -> Result<(String, u16)> {
    let wrong = || Error::rule("Use --page-server ADDRESS:PORT to specify page server");
    let (address, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let address = match address.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(wrong)?,
        None if address.contains(':') => return Err(wrong()),
        None => address,
    };
    if address.is_empty() || port.is_empty() {
        return Err(wrong());
    }
    let port = port.parse().ok().filter(|port| *port != 0);
    let port =
        port.ok_or_else(|| Error::rule(format!("--page-server {text}: invalid port number")))?;
    Ok((address.to_owned(), port))
}

impl Dump {
    /// Checks `--parent-path` against the images' directory.
    pub fn check_parent(&self) -> Result<()> {
        let Some(parent) = &self.parent_path else { return Ok(()) };
        if parent.is_absolute() {
            return Err(Error::rule("--parent-path must be relative to --image-path"));
        }
        if !is_beside(parent) {
            let why = "--parent-path must name a directory beside --image-path, or below it";
            return Err(Error::rule(why));
        }
        // `..` is looked up from a directory that is there.
        directory(&self.common.image_path)?;
        let real = self.common.image_path.join(parent);
        let why = match std::fs::metadata(&real) {
            Ok(meta) if meta.is_dir() => return Ok(()),
            Ok(_) => nix::errno::Errno::ENOTDIR,
            Err(e) => crate::init::protocol::errno_of(&e),
        };
        let shown = real.to_string_lossy().into_owned();
        Err(Error::system("invalid --parent-path: stat", shown, why))
    }
}

/// Whether a path leads to what lies beside its directory or in it, and no higher.
fn is_beside(path: &Path) -> bool {
    let mut parts = path.components().peekable();
    parts.next_if_eq(&Component::ParentDir);
    parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// The directories that criu works in.
#[derive(Debug)]
pub struct Directories {
    /// Of the images.
    pub images: OwnedFd,
    /// Of logs, when it is another.
    pub work: Option<OwnedFd>,
    /// Where the log is.
    pub logs: PathBuf,
}

impl Directories {
    /// Their descriptors' numbers, for criu to keep.
    pub fn numbers(&self) -> Vec<RawFd> {
        [Some(&self.images), self.work.as_ref()]
            .into_iter()
            .flatten()
            .map(AsRawFd::as_raw_fd)
            .collect()
    }

    /// Makes sure that none of these is a link.
    ///
    /// CVE: as 2024-21626's kin: criu makes its log as root, by name, in a directory that may have
    /// come with a checkpoint: a link there would have it write over a file of the host's.
    pub fn unlinked(&self, names: &[&str]) -> Result<()> {
        let dir = self.work.as_ref().unwrap_or(&self.images);
        for name in names {
            let Ok(stat) = fstatat(dir, *name, AtFlags::AT_SYMLINK_NOFOLLOW) else { continue };
            if stat.st_mode & libc::S_IFMT != libc::S_IFREG || stat.st_nlink != 1 {
                let path = self.logs.join(name);
                let why =
                    "is a link, and criu would write through it: remove it, or give --work-path";
                return Err(Error::rule(format!("{}: {why}", path.display())));
            }
        }
        Ok(())
    }
}

/// The link by which criu finds the images of the dump before.
const PARENT: &str = "parent";
/// How many there may be of those.
const MOST_PARENTS: u32 = 256;

impl Directories {
    /// Makes sure that pages come from checkpoints beside this one at most.
    ///
    /// CVE: as 2026-50195's kin: a link that came with a checkpoint could lead to another's of this host,
    /// and what that held in memory would be the restored container's to read.
    pub fn parents(&self) -> Result<()> {
        let why = |text: &OsStr, why: &str| {
            let text = text.to_string_lossy();
            Error::rule(format!("the checkpoint's link {PARENT:?}, which says {text:?}, {why}"))
        };
        let mut above: Option<OwnedFd> = None;
        for _ in 0..MOST_PARENTS {
            let dir = above.as_ref().unwrap_or(&self.images);
            let text = match readlinkat(dir, PARENT) {
                Ok(text) => text,
                // None, or what criu doesn't follow.
                Err(Errno::ENOENT | Errno::EINVAL) => return Ok(()),
                Err(e) => return Err(Error::system("read the link", PARENT, e)),
            };
            if !is_beside(Path::new(&text)) {
                return Err(why(&text, "leads elsewhere than beside it: is it from this host?"));
            }
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            // Nothing there, or a name in it that is a link itself.
            let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
            let next = openat2(dir, text.as_os_str(), how);
            above = Some(next.map_err(|e| {
                Error::system("open the checkpoint's parent", text.to_string_lossy(), e)
            })?);
        }
        Err(Error::rule("the checkpoint's links \"parent\" have no end"))
    }
}

impl Common {
    /// Opens the directories; `create` makes the images', too.
    ///
    /// A checkpoint holds all of the container's memory: only its owner may look into it.
    pub fn open(&self, create: bool) -> Result<Directories> {
        if create {
            directory(&self.image_path)?;
        }
        let images = opened(&self.image_path)?;
        let work = match &self.work_path {
            Some(path) => {
                directory(path)?;
                Some(opened(path)?)
            }
            None => None,
        };
        let logs = self.work_path.as_ref().unwrap_or(&self.image_path).clone();
        Ok(Directories { images, work, logs })
    }

    /// The part of criu's options that both have.
    pub fn write(&self, dirs: &Directories, out: &mut Options) {
        out.images_dir_fd = dirs.images.as_raw_fd();
        out.work_dir_fd = dirs.work.as_ref().map(AsRawFd::as_raw_fd);
        out.log_level = 4;
        out.tcp_established = self.tcp_established;
        out.ext_unix_sk = self.ext_unix_sk;
        out.shell_job = self.shell_job;
        out.file_locks = self.file_locks;
        out.auto_dedup = self.auto_dedup;
        out.lazy_pages = self.lazy_pages;
        out.cgroup_mode = self.cgroups;
        out.network_lock = self.network_lock;
        // As runc: who made the network's devices makes them again.
        out.empty_ns = libc::CLONE_NEWNET as u32;
    }
}

fn directory(path: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).map_err(|e| Error::io("mkdir", path.to_string_lossy(), &e))
}

fn opened(path: &Path) -> Result<OwnedFd> {
    // criu opens it again by our number for it: a mere O_PATH wouldn't do.
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(path, flags, Mode::empty()).map_err(|e| Error::system("open", path.to_string_lossy(), e))
}

/// The annotation that names a file of criu's options.
const CONFIG: &str = "org.criu.config";
const CONFIG_DIRECTORY: &str = "/etc/criu/";
/// What distributions and administrators know: runc's, and where there is none of that, crun's.
const CONFIG_DEFAULT: &str = "/etc/criu/runc.conf";
const CONFIG_OTHER: &str = "/etc/criu/crun.conf";

/// The configuration file for criu, whose words count more than ours.
///
/// DIFFERS: from runc, which takes any path. Engines copy an image's annotations, and a
/// configuration file can name programs for criu to run on the host: it must be the host's.
pub fn config_file(
    annotations: &std::collections::BTreeMap<String, String>,
) -> Result<Option<String>> {
    let file = match annotations.get(CONFIG).map(String::as_str) {
        None => {
            let there = |file: &&str| Path::new(file).exists();
            let found = [CONFIG_DEFAULT, CONFIG_OTHER].into_iter().find(there);
            return Ok(Some(found.unwrap_or(CONFIG_DEFAULT).to_owned()));
        }
        Some("") => return Ok(None),
        Some(file) => file,
    };
    if file.starts_with(CONFIG_DIRECTORY) && !file.split('/').any(|part| part == "..") {
        return Ok(Some(file.to_owned()));
    }
    let why = format!("{file:?}: only files below {CONFIG_DIRECTORY} are the host's own");
    Err(Error::config("/annotations/org.criu.config", why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_server_has_an_address_and_a_port() {
        assert_eq!(page_server("0.0.0.0:27277").unwrap(), ("0.0.0.0".into(), 27277));
        assert_eq!(page_server("[::1]:1").unwrap(), ("::1".into(), 1));
        for text in ["", "x", ":1", "x:", "::1:1", "[::1:1", "x:0", "x:65536", "x:y"] {
            assert!(page_server(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mode_is_one_of_criu_s() {
        assert_eq!(cgroups("").unwrap(), CgroupMode::Default);
        assert_eq!(cgroups("strict").unwrap(), CgroupMode::Strict);
        assert!(cgroups("none").is_err() && network_lock("none").is_err());
        assert!(empty_namespaces(&["network".into()]).is_ok());
        assert!(empty_namespaces(&["pid".into()]).is_err());
    }

    #[test]
    fn a_configuration_file_is_the_host_s_own() {
        let of = |file: Option<&str>| {
            let pair = file.map(|file| (CONFIG.to_owned(), file.to_owned()));
            config_file(&pair.into_iter().collect())
        };
        let default = of(None).unwrap();
        assert!([CONFIG_DEFAULT, CONFIG_OTHER].contains(&default.as_deref().unwrap()));
        assert_eq!(of(Some("")).unwrap(), None);
        assert_eq!(of(Some("/etc/criu/x")).unwrap().as_deref(), Some("/etc/criu/x"));
        for file in ["/tmp/x", "/etc/criu/../x", "x", "/etc/criux"] {
            assert!(of(Some(file)).is_err(), "{file}");
        }
    }

    #[test]
    fn a_checkpoint_s_parent_lies_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["one", "two", "three", "three/in"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        let link = |text: &str, name: &str| {
            let _ = std::fs::remove_file(at(name).join(PARENT));
            std::os::unix::fs::symlink(text, at(name).join(PARENT)).unwrap();
        };
        let check = |name: &str| {
            let images = opened(&at(name)).unwrap();
            Directories { images, work: None, logs: at(name) }.parents().map_err(|e| e.to_string())
        };
        check("one").unwrap();
        link("../two", "one");
        link("in", "three");
        link("../three", "two");
        check("one").unwrap();
        // Also of a parent's.
        for text in ["/etc", "../../etc", "../two/../../etc", "in/../../.."] {
            link(text, "three/in");
            assert!(check("one").unwrap_err().contains("elsewhere"), "{text}");
        }
        link("../in", "three/in");
        assert!(check("one").unwrap_err().contains("no end"));
        std::os::unix::fs::symlink("/etc", at("way")).unwrap();
        for text in ["../way", "../way/apt", "../gone"] {
            link(text, "one");
            assert!(check("one").unwrap_err().contains("open the checkpoint's parent"), "{text}");
        }
    }

    #[test]
    fn a_parent_is_a_directory_named_from_the_images() {
        let dir = tempfile::tempdir().unwrap();
        let check = |parent: &str| {
            let common = Common { image_path: dir.path().join("i"), ..Common::default() };
            Dump { common, parent_path: Some(parent.into()), ..Dump::default() }.check_parent()
        };
        std::fs::create_dir(dir.path().join("p")).unwrap();
        std::fs::write(dir.path().join("f"), "").unwrap();
        assert!(check("../p").is_ok());
        for parent in ["../missing", "../f", "/tmp", "../../tmp"] {
            let e = check(parent).unwrap_err().to_string();
            assert!(e.contains("--parent-path"), "{e}");
        }
    }
}
