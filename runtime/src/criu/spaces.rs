//! Namespaces that are not the container's own: left out of a dump, given again on restore.

use std::os::fd::OwnedFd;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, stat};

use super::rpc::Pair;
use super::version;
use crate::error::{Error, Result};
use crate::plan::Spaces;
use crate::validate::linux::{KINDS, Kind, ns};

/// Kinds that criu takes as a descriptor, and the version from which on.
const BY_DESCRIPTOR: [(u64, &str, i32); 2] = [
    (ns::NET, "extRootNetNS", version::EXTERNAL_NET),
    (ns::PID, "extRootPidNS", version::EXTERNAL_PID),
];

/// Those joined by path: kind and path.
pub fn joined(spaces: &Spaces) -> impl Iterator<Item = (&'static Kind, String)> {
    let pid = spaces.pid.iter().map(|path| (ns::PID, path));
    let all = spaces.join.iter().map(|(flag, path)| (*flag, path)).chain(pid);
    all.filter_map(|(flag, path)| {
        let kind = KINDS.iter().find(|kind| kind.flag == flag)?;
        Some((kind, path.to_string_lossy().into_owned()))
    })
}

/// Names of the external namespaces of the process `pid`, as `net[4026531840]:extRootNetNS`.
pub fn on_dump(spaces: &Spaces, pid: i32, criu: i32) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for (kind, _) in joined(spaces) {
        let Some((_, key, since)) = BY_DESCRIPTOR.iter().find(|(flag, _, _)| *flag == kind.flag)
        else {
            continue;
        };
        version::at_least(criu, *since, &format!("an external {} namespace", kind.word))?;
        // The process itself knows best: who gave the path may have taken it back.
        let path = format!("/proc/{pid}/ns/{}", kind.proc);
        let inode = stat(path.as_str()).map_err(|e| Error::system("stat", &path, e))?.st_ino;
        all.push(format!("{}[{inode}]:{key}", kind.proc));
    }
    Ok(all)
}

/// What criu is given of namespaces.
#[derive(Debug, Default)]
pub struct Given {
    /// Key and open namespace.
    pub descriptors: Vec<(&'static str, OwnedFd)>,
    /// Kind and path, for criu to join.
    pub join: Vec<Pair>,
}

/// Opens what is given by descriptor.
pub fn on_restore(spaces: &Spaces, criu: i32) -> Result<Given> {
    let mut given = Given::default();
    for (kind, path) in joined(spaces) {
        if let Some((_, key, since)) = BY_DESCRIPTOR.iter().find(|(flag, _, _)| *flag == kind.flag)
        {
            version::at_least(criu, *since, &format!("an external {} namespace", kind.word))?;
            let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
            let fd = open(path.as_str(), flags, Mode::empty()).map_err(|e| {
                Error::system(format!("open the {} namespace", kind.word), &path, e)
            })?;
            given.descriptors.push((key, fd));
        } else if kind.flag == ns::CGROUP {
            let why = "criu can't restore into a cgroup namespace given by path";
            return Err(Error::config("/linux/namespaces", why));
        } else {
            given.join.push((kind.proc.to_owned(), path));
        }
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spaces(join: &[(u64, &str)], pid: Option<&str>) -> Spaces {
        let path = |p: &str| std::ffi::CString::new(p).unwrap();
        Spaces {
            clone: 0,
            time: false,
            pid: pid.map(path),
            join: join.iter().map(|(flag, p)| (*flag, path(p))).collect(),
            relay: false,
            made_user: false,
            cgroup: false,
            user: false,
        }
    }

    #[test]
    fn only_network_and_pid_are_external_on_dump() {
        let all = spaces(&[(ns::NET, "/n"), (ns::IPC, "/i")], Some("/p"));
        let me = std::process::id() as i32;
        let names = on_dump(&all, me, 40200).unwrap();
        let inode = stat("/proc/self/ns/net").unwrap().st_ino;
        assert_eq!(names[0], format!("net[{inode}]:extRootNetNS"));
        assert!(names[1].starts_with("pid[") && names[1].ends_with(":extRootPidNS"));
        assert_eq!(names.len(), 2);
        assert!(on_dump(&all, me, 31100).unwrap_err().to_string().contains("3.15"));
    }

    #[test]
    fn others_are_joined_on_restore_and_a_cgroup_namespace_is_refused() {
        let all = spaces(&[(ns::NET, "/proc/self/ns/net"), (ns::IPC, "/i")], None);
        let given = on_restore(&all, 40200).unwrap();
        assert_eq!(given.descriptors[0].0, "extRootNetNS");
        assert_eq!(given.join, [("ipc".to_owned(), "/i".to_owned())]);
        assert!(on_restore(&spaces(&[(ns::CGROUP, "/c")], None), 40200).is_err());
        let missing = spaces(&[(ns::NET, "/nowhere")], None);
        assert!(on_restore(&missing, 40200).unwrap_err().to_string().contains("/nowhere"));
    }
}
