//! Which cgroups an ordinary user may make: systemd's to give, or whoever's who delegated one.
//!
//! Cgroup v2 alone can be handed to a user. A user's own systemd makes a scope for each container,
//! in a session as in a service; without it the runtime makes a group beside the caller's, if that
//! is the user's to write.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use dhow_image::rootless;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::{AccessFlags, access};

const MOUNT: &str = "/sys/fs/cgroup";

/// Who makes the cgroups of an ordinary user's containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delegation {
    /// The user's systemd, and the controllers that were delegated to it.
    Systemd {
        /// `XDG_RUNTIME_DIR`, below which it listens.
        runtime_dir: PathBuf,
        /// As `memory`.
        controllers: Vec<String>,
    },
    /// The runtime, and the controllers that the delegated group has.
    Own {
        /// As `memory`.
        controllers: Vec<String>,
    },
    /// Nobody, and why.
    Nobody(&'static str),
}

impl Delegation {
    /// What this user has; `runtime_dir` is what XDG_RUNTIME_DIR says.
    pub fn find(runtime_dir: Option<&Path>) -> Self {
        if !statfs(MOUNT).is_ok_and(|s| s.filesystem_type() == CGROUP2_SUPER_MAGIC) {
            return Self::Nobody("only cgroup v2 can be handed to a user, and this machine has v1");
        }
        if let Some(found) = rootless::owner().and_then(|uid| by_systemd(uid, runtime_dir)) {
            return found;
        }
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        match beside(&own) {
            Some(parent) if is_ours(&parent) => Self::Own { controllers: controllers(&parent) },
            _ => Self::Nobody(
                "the user's systemd isn't there (log in by a session, or loginctl enable-linger), and \
                 the cgroup that dhow was called in is another user's",
            ),
        }
    }

    /// The same by this process's environment.
    pub fn of_caller() -> Self {
        let dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        Self::find(dir.as_deref())
    }

    /// Where the systemd listens that makes scopes, below this directory.
    pub fn scopes(self) -> Option<PathBuf> {
        match self {
            Self::Systemd { runtime_dir, .. } => Some(runtime_dir),
            _ => None,
        }
    }

    /// Whether a container can be given this controller, as `memory`.
    pub fn has(&self, controller: &str) -> bool {
        match self {
            Self::Systemd { controllers, .. } | Self::Own { controllers } => {
                controllers.iter().any(|one| one == controller)
            }
            Self::Nobody(_) => false,
        }
    }

    /// docker's word for who makes groups.
    pub fn driver(&self) -> &'static str {
        match self {
            Self::Systemd { .. } => "systemd",
            Self::Own { .. } => "cgroupfs",
            Self::Nobody(_) => "none",
        }
    }

    /// Why a controller is missing, and what to do.
    pub fn lack(&self) -> &'static str {
        match self {
            Self::Systemd { .. } => {
                "the user's systemd is without it: Delegate= of user@.service says what it has of the kernel's"
            }
            Self::Own { .. } => "the delegated cgroup is without it: see its cgroup.controllers",
            Self::Nobody(why) => why,
        }
    }
}

fn by_systemd(uid: u32, runtime_dir: Option<&Path>) -> Option<Delegation> {
    let usual = PathBuf::from(format!("/run/user/{uid}"));
    let listens = |dir: &&Path| {
        let socket = std::fs::metadata(dir.join("systemd/private"));
        socket.is_ok_and(|m| m.file_type().is_socket())
            && access(&dir.join("systemd/private"), AccessFlags::W_OK).is_ok()
    };
    let dir = runtime_dir.into_iter().chain([usual.as_path()]).find(listens)?;
    // SPEC: systemd's cgroup delegation guide: the user manager's own group is the user's.
    let group = format!("{MOUNT}/user.slice/user-{uid}.slice/user@{uid}.service");
    let controllers = controllers(Path::new(&group));
    Some(Delegation::Systemd { runtime_dir: dir.to_owned(), controllers })
}

fn controllers(group: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// The group above the caller's, in which the runtime makes a container's.
fn beside(own: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    if path.is_empty() || path.split('/').any(|part| part == "..") {
        return None;
    }
    Some(Path::new(MOUNT).join(path).parent()?.to_owned())
}

/// Whether groups can be made there, and processes moved within.
///
/// KERNEL: cgroup-v2.rst §Delegation Containment: who moves a process writes to `cgroup.procs` of
/// the nearest group above both places.
fn is_ours(group: &Path) -> bool {
    let writable = |path: &Path| access(path, AccessFlags::W_OK).is_ok();
    writable(group) && writable(&group.join("cgroup.procs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_beside_the_callers_is_below_the_one_above() {
        let above = |path: &str| Some(Path::new(MOUNT).join(path));
        assert_eq!(beside("0::/user-1000/session\n"), above("user-1000"));
        assert_eq!(beside("4:pids:/a/b\n0::/one\n"), above(""));
        // At the top of what we see, or outside of it, there is none.
        assert_eq!(beside("0::/\n"), None);
        assert_eq!(beside("0::/../other\n"), None);
        assert_eq!(beside(""), None);
    }

    #[test]
    fn a_controller_is_there_or_said_to_lack() {
        let some = Delegation::Own { controllers: vec!["pids".into()] };
        assert!(some.has("pids") && !some.has("memory"));
        let none = Delegation::Nobody("why");
        assert_eq!((none.has("pids"), none.driver(), none.lack()), (false, "none", "why"));
        assert_eq!(none.scopes(), None);
    }
}
