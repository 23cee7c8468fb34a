//! What a container sees of its groups at /sys/fs/cgroup.

use super::host::MOUNTPOINT;
use super::place::Place;

/// The parts of a container's cgroup mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mounts {
    /// One cgroup v2 mount, or a bind of the directory.
    Unified {
        /// The container's group on the host, or the top where the container sees all.
        dir: String,
    },
    /// A tmpfs with a mount for each hierarchy, and links between names.
    Separate {
        /// The hierarchies.
        mounts: Vec<Mount>,
        /// Name in the tmpfs, and the name it links to, as `cpu` to
        /// `cpu,cpuacct`.
        links: Vec<(String, String)>,
    },
}

/// One hierarchy in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The name in the tmpfs, as `memory` or `unified`.
    pub name: String,
    /// The file system: `cgroup` or `cgroup2`.
    pub kind: &'static str,
    /// Its options, as `cpu,cpuacct` or `name=systemd`; empty for cgroup2.
    pub data: String,
    /// The container's group on the host.
    pub dir: String,
}

impl Mounts {
    pub(super) fn new(places: &[Place], host_view: bool) -> Self {
        if let [only] = places
            && only.is_unified()
        {
            // As runc, on v2 alone: what /proc/self/cgroup says is found below the mount.
            let dir = if host_view { &only.mountpoint } else { &only.dir };
            return Self::Unified { dir: dir.clone() };
        }
        let mut mounts = Vec::new();
        let mut links = Vec::new();
        for place in places {
            let name = place.mountpoint.rsplit('/').next().unwrap_or(MOUNTPOINT).to_owned();
            for controller in &place.controllers {
                if *controller != name && !controller.starts_with("name=") {
                    links.push((controller.clone(), name.clone()));
                }
            }
            mounts.push(Mount {
                name,
                kind: if place.is_unified() { "cgroup2" } else { "cgroup" },
                data: place.controllers.join(","),
                dir: place.dir.clone(),
            });
        }
        Self::Separate { mounts, links }
    }
}
