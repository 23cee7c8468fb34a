//! What is mounted: the kernel's file systems, the three files of /etc, and the user's mounts.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;

use crate::bundle::{Shares, etc, init};
use crate::host::Host;
use crate::model::{Depth, MountPoint, Record};
use crate::options::mounts::tmpfs_options;
use crate::options::rights;

/// Every mount, parents before children.
pub fn all(host: &Host, record: &Record, shares: &Shares, sources: Vec<PathBuf>) -> Vec<Mount> {
    let taken = |path: &str| {
        record.mounts.iter().any(|m| m.destination == path)
            || record.host_config.tmpfs.contains_key(path)
    };
    let mut mounts = system(record);
    mounts.extend(ipc(host, record, shares));
    // With a /dev of the user's own, nothing of the runtime's lies below it.
    let own_dev = taken("/dev");
    mounts.retain(|m| {
        let target = m.destination().to_str().unwrap_or_default();
        !(taken(target) || own_dev && target.starts_with("/dev/"))
    });
    if record.host_config.readonly_rootfs {
        mounts.iter_mut().filter(|m| m.destination().starts_with("/sys")).for_each(read_only);
    }
    let mut user = Vec::new();
    for (name, target) in etc::FILES {
        if !taken(target) {
            let source = etc::path(host, record, name);
            user.push(mount(target, "bind", source, &["rbind", "rprivate"]));
        }
    }
    user.extend(record.mounts.iter().zip(sources).map(
        |(mount, source)| match mount.kind.as_str() {
            "tmpfs" => tmpfs(mount),
            _ => point(mount, source),
        },
    ));
    if init::wanted(&record.host_config) {
        user.push(init::mounted(host, record));
    }
    // Fewer parts first: a mount must not hide one that was made before it. Stable otherwise.
    user.sort_by_key(|m| m.destination().components().count());
    mounts.extend(user);
    mounts
}

pub fn mount(target: &str, kind: &str, source: impl Into<PathBuf>, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(PathBuf::from(target))
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(source.into()))
        .set_options(Some(options.iter().map(|o| (*o).to_owned()).collect()));
    mount
}

/// As docker: `--read-only` takes the writable /sys of a privileged container away as well.
fn read_only(mount: &mut Mount) {
    let mut options = mount.options().clone().unwrap_or_default();
    options.retain(|o| o != "rw" && o != "ro");
    options.push("ro".to_owned());
    mount.set_options(Some(options));
}

fn system(record: &Record) -> Vec<Mount> {
    let host = &record.host_config;
    // A privileged container may write to /sys and its cgroups.
    let access = |rw: bool| if rw { "rw" } else { "ro" };
    let sys = access(host.privileged);
    let options = host.security_opt.as_deref().unwrap_or_default();
    let cgroups = rights::security(options).ok().and_then(|s| s.writable_cgroups);
    let cgroups = access(cgroups.unwrap_or(host.privileged));
    vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", sys]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", cgroups]),
    ]
}

/// /dev/mqueue and /dev/shm: the container's own, the host's, or another's.
fn ipc(host: &Host, record: &Record, shares: &Shares) -> Vec<Mount> {
    const OPTIONS: [&str; 3] = ["nosuid", "noexec", "nodev"];
    let bound = |target: &str, source: &Path| {
        mount(target, "bind", source, &["rbind", "nosuid", "noexec", "nodev"])
    };
    let queues = mount("/dev/mqueue", "mqueue", "mqueue", &OPTIONS);
    // Not every machine mounts them; then there is nothing to share, or (mqueue)
    // a fresh mount shows the namespace's queues as well.
    let of_host = |target: &str| {
        let path = Path::new(target);
        path.is_dir().then(|| bound(target, path))
    };
    let donor_of_host = shares.ipc.is_some() && shares.shm.is_none();
    match record.host_config.ipc_mode.as_str() {
        "host" => [of_host("/dev/mqueue").or(Some(queues)), of_host("/dev/shm")]
            .into_iter()
            .flatten()
            .collect(),
        "none" => vec![queues],
        "shareable" => vec![queues, bound("/dev/shm", &super::shm::path(host, record))],
        _ => match &shares.shm {
            Some(theirs) => vec![queues, bound("/dev/shm", theirs)],
            None if donor_of_host => {
                [Some(queues), of_host("/dev/shm")].into_iter().flatten().collect()
            }
            None => {
                let size = format!("size={}", record.host_config.shm_size);
                let options = [OPTIONS[0], OPTIONS[1], OPTIONS[2], "mode=1777", &size];
                vec![queues, mount("/dev/shm", "tmpfs", "shm", &options)]
            }
        },
    }
}

fn point(point: &MountPoint, source: PathBuf) -> Mount {
    let target = point.destination.as_str();
    let recursion = if point.depth == Depth::Alone { "bind" } else { "rbind" };
    let propagation = if point.propagation.is_empty() { "rprivate" } else { &point.propagation };
    let mut options = vec![recursion, propagation];
    match (point.rw, point.depth) {
        // Not "rw": that would make writable what is mounted read-only on the host.
        (true, _) => {}
        (false, Depth::Alone | Depth::Writable) => options.push("ro"),
        // "ro" alone leaves the mounts below the source writable.
        (false, _) => options.extend(["ro", "rro"]),
    }
    mount(target, "bind", source, &options)
}

fn tmpfs(point: &MountPoint) -> Mount {
    // Checked when the container was made.
    let options = tmpfs_options(&point.mode).unwrap_or_default();
    mount(&point.destination, "tmpfs", "tmpfs", &options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_only_binds_are_so_all_the_way_down() {
        let bind = MountPoint {
            kind: "bind".into(),
            source: "/a".into(),
            destination: "/b".into(),
            ..MountPoint::default()
        };
        let options = point(&bind, "/a".into()).options().clone().unwrap();
        assert_eq!(options, ["rbind", "rprivate", "ro", "rro"]);
    }
}
