//! What is mounted: the kernel's file systems, the three files of /etc, and the user's mounts.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;

use crate::bundle::etc;
use crate::host::Host;
use crate::model::{MountPoint, Record};

/// Every mount, parents before children.
pub fn all(host: &Host, record: &Record) -> Vec<Mount> {
    let taken = |path: &str| {
        record.mounts.iter().any(|m| m.destination == path)
            || record.host_config.tmpfs.contains_key(path)
    };
    let mut mounts = system(record);
    mounts.retain(|m| !m.destination().to_str().is_some_and(taken));
    let mut user = Vec::new();
    for (name, target) in etc::FILES {
        if !taken(target) {
            let source = etc::path(host, record, name);
            user.push(mount(target, "bind", source, &["rbind", "rprivate"]));
        }
    }
    user.extend(record.mounts.iter().map(point));
    // Fewer parts first: a mount must not hide one that was made before it. Stable otherwise.
    user.sort_by_key(|m| m.destination().components().count());
    mounts.extend(user);
    mounts
}

fn mount(target: &str, kind: &str, source: impl Into<PathBuf>, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(PathBuf::from(target))
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(source.into()))
        .set_options(Some(options.iter().map(|o| (*o).to_owned()).collect()));
    mount
}

fn system(record: &Record) -> Vec<Mount> {
    let host = &record.host_config;
    // A privileged container may write to /sys and its cgroups.
    let access = if host.privileged { "rw" } else { "ro" };
    let shm = format!("size={}", host.shm_size);
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", access]),
    ];
    match host.ipc_mode.as_str() {
        "host" => {
            // Not every machine mounts them; then there is nothing to share, or (mqueue)
            // a fresh mount shows the namespace's queues as well.
            for path in ["/dev/mqueue", "/dev/shm"].map(Path::new) {
                let target = path.to_str().unwrap_or_default();
                if path.is_dir() {
                    mounts.push(mount(
                        target,
                        "bind",
                        path,
                        &["rbind", "nosuid", "noexec", "nodev"],
                    ));
                } else if target == "/dev/mqueue" {
                    mounts.push(mount(target, "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
                }
            }
        }
        mode => {
            mounts.push(mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
            if mode != "none" {
                let options = ["nosuid", "noexec", "nodev", "mode=1777", &shm];
                mounts.push(mount("/dev/shm", "tmpfs", "shm", &options));
            }
        }
    }
    mounts
}

fn point(point: &MountPoint) -> Mount {
    let target = point.destination.as_str();
    if point.kind == "tmpfs" {
        return mount(target, "tmpfs", "tmpfs", &tmpfs_options(&point.mode));
    }
    let recursion = if point.mode.split(',').any(|o| o == "norecurse") { "bind" } else { "rbind" };
    let propagation = if point.propagation.is_empty() { "rprivate" } else { &point.propagation };
    let mut options = vec![recursion, propagation];
    // "ro" alone leaves the mounts below the source writable.
    options.extend(if point.rw { &["rw"][..] } else { &["ro", "rro"] });
    mount(target, "bind", point.source.clone(), &options)
}

/// docker's defaults, each of which the user's word replaces.
fn tmpfs_options(typed: &str) -> Vec<&str> {
    let mut options = vec!["nosuid", "nodev", "noexec"];
    for option in typed.split(',').filter(|o| !o.is_empty()) {
        let opposite = match option {
            "exec" => "noexec",
            "dev" => "nodev",
            "suid" => "nosuid",
            _ => "",
        };
        options.retain(|o| *o != opposite && *o != option);
        options.push(option);
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_tmpfs_option_replaces_its_opposite() {
        assert_eq!(tmpfs_options(""), ["nosuid", "nodev", "noexec"]);
        assert_eq!(tmpfs_options("exec,size=1m"), ["nosuid", "nodev", "exec", "size=1m"]);
    }

    #[test]
    fn read_only_binds_are_so_all_the_way_down() {
        let bind = MountPoint {
            kind: "bind".into(),
            source: "/a".into(),
            destination: "/b".into(),
            ..MountPoint::default()
        };
        let options = point(&bind).options().clone().unwrap();
        assert_eq!(options, ["rbind", "rprivate", "ro", "rro"]);
    }
}
