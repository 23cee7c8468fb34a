//! Device nodes and the rules of the devices cgroup.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use dhow_image::rootless;
use nix::sys::stat::{major, minor};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType, Mount};

use crate::bundle::mounts::mount;
use crate::error::{Error, Result};
use crate::model::{Device, HostConfig};
use crate::options::rights::plain;

/// docker's default rules; null, zero, full, random, urandom, tty, ptmx and terminals.
const DEFAULT: [&str; 10] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

/// Nodes that have another name inside than on the host, for a user who can't make any: the host's
/// are bound, each with its source.
pub fn bound(host: &HostConfig) -> Result<Vec<Mount>> {
    let mut all = Vec::new();
    for device in host.devices.iter().flatten().filter(|d| is_renamed(d)) {
        for (source, node) in nodes_of(device)? {
            let target = node.path().display().to_string();
            all.push(mount(&target, "bind", source, &["bind", "nosuid", "noexec"]));
        }
    }
    Ok(all)
}

fn is_renamed(device: &Device) -> bool {
    device.path_on_host != device.path_in_container
}

/// Nodes beyond the runtime's default ones, and the cgroup's rules; those that are [`bound`] are none.
pub fn devices(host: &HostConfig) -> Result<(Vec<LinuxDevice>, Vec<LinuxDeviceCgroup>)> {
    if host.privileged {
        let mut nodes = Vec::new();
        walk(Path::new("/dev"), &mut nodes);
        // All of the host's are there under their own names; a --device may give another.
        for device in host.devices.iter().flatten().filter(|d| is_renamed(d)) {
            add(device, &mut nodes, &mut Vec::new())?;
        }
        return Ok((nodes, vec![rule("a *:* rwm", true)]));
    }
    let mut nodes = Vec::new();
    let mut rules = vec![rule("a *:* rwm", false)];
    rules.extend(DEFAULT.iter().map(|r| rule(r, true)));
    for device in host.devices.iter().flatten() {
        add(device, &mut nodes, &mut rules)?;
    }
    rules.extend(host.device_cgroup_rules.iter().flatten().map(|r| rule(r, true)));
    Ok((nodes, rules))
}

/// One `--device`: a node, or every node of a directory.
fn add(
    device: &Device,
    nodes: &mut Vec<LinuxDevice>,
    rules: &mut Vec<LinuxDeviceCgroup>,
) -> Result<()> {
    for (_, node) in nodes_of(device)? {
        let mut rule = LinuxDeviceCgroup::default();
        rule.set_allow(true)
            .set_typ(Some(node.typ()))
            .set_major(Some(node.major()))
            .set_minor(Some(node.minor()))
            .set_access(Some(device.cgroup_permissions.clone()));
        rules.push(rule);
        if !(is_renamed(device) && rootless::is_confined()) {
            nodes.push(node);
        }
    }
    Ok(())
}

/// The nodes of one `--device` by their names inside, each with where it is on the host.
fn nodes_of(device: &Device) -> Result<Vec<(PathBuf, LinuxDevice)>> {
    let source = Path::new(&device.path_on_host);
    let meta = std::fs::metadata(source).map_err(|e| not_a_device(source, plain(&e)))?;
    let mut found = Vec::new();
    if meta.is_dir() {
        walk(source, &mut found);
    } else {
        let real = std::fs::canonicalize(source).unwrap_or_else(|_| source.to_owned());
        found.extend(node(&real, &meta).map(|mut n| {
            n.set_path(source.to_owned());
            n
        }));
    }
    if found.is_empty() {
        return Err(not_a_device(source, "not a device node"));
    }
    let named = |mut node: LinuxDevice| {
        let from = node.path().clone();
        let below = from.strip_prefix(source).map(Path::to_owned).unwrap_or_default();
        let inside = Path::new(&device.path_in_container).join(below);
        // `join("")` would leave a slash at the end.
        let inside = inside.components().collect();
        node.set_path(inside);
        (from, node)
    };
    Ok(found.into_iter().map(named).collect())
}

fn not_a_device(source: &Path, why: impl std::fmt::Display) -> Error {
    Error::engine(format!(
        "error gathering device information while adding custom device \"{}\": {why}",
        source.display()
    ))
}

/// What the runtime makes itself, or what belongs to another mount.
const SKIPPED: [&str; 9] =
    ["pts", "shm", "fd", "mqueue", "console", ".lxc", ".lxd-mounts", ".udev", "hugepages"];

fn walk(dir: &Path, nodes: &mut Vec<LinuxDevice>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
        if dir == Path::new("/dev") && SKIPPED.iter().any(|s| name == *s) {
            continue;
        }
        if meta.is_dir() {
            walk(&path, nodes);
        } else {
            nodes.extend(node(&path, &meta));
        }
    }
}

fn node(path: &Path, meta: &std::fs::Metadata) -> Option<LinuxDevice> {
    let kind = meta.file_type();
    let typ = if kind.is_char_device() {
        LinuxDeviceType::C
    } else if kind.is_block_device() {
        LinuxDeviceType::B
    } else {
        return None;
    };
    let mut node = LinuxDevice::default();
    node.set_path(path.to_owned())
        .set_typ(typ)
        .set_major(major(meta.rdev()) as i64)
        .set_minor(minor(meta.rdev()) as i64)
        .set_file_mode(Some(meta.mode() & 0o7777))
        .set_uid(Some(meta.uid()))
        .set_gid(Some(meta.gid()));
    Some(node)
}

/// `c 1:3 rwm`, already checked; `*` is every number.
fn rule(text: &str, allow: bool) -> LinuxDeviceCgroup {
    let mut parts = text.split(' ');
    let typ = match parts.next() {
        Some("c") => LinuxDeviceType::C,
        Some("b") => LinuxDeviceType::B,
        _ => LinuxDeviceType::A,
    };
    let (major, minor) = parts.next().and_then(|n| n.split_once(':')).unwrap_or(("*", "*"));
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(allow)
        .set_typ((typ != LinuxDeviceType::A).then_some(typ))
        .set_major(major.parse().ok())
        .set_minor(minor.parse().ok())
        .set_access(parts.next().map(str::to_owned));
    rule
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_denied_before_anything_is_allowed() {
        let (nodes, rules) = devices(&HostConfig::default()).unwrap();
        assert!(nodes.is_empty());
        assert!(!rules[0].allow() && rules[0].typ().is_none());
        assert!(rules[1..].iter().all(LinuxDeviceCgroup::allow));
    }

    #[test]
    fn a_device_may_have_another_name_inside() {
        let device = Device {
            path_on_host: "/dev/null".into(),
            path_in_container: "/dev/nothing".into(),
            cgroup_permissions: "r".into(),
        };
        let host = HostConfig { devices: Some(vec![device]), ..HostConfig::default() };
        let (nodes, rules) = devices(&host).unwrap();
        assert_eq!(nodes[0].path(), Path::new("/dev/nothing"));
        assert_eq!((nodes[0].major(), nodes[0].minor()), (1, 3));
        assert_eq!(rules.last().unwrap().access().as_deref(), Some("r"));
        // Who can't make nodes has the host's bound.
        let mounts = bound(&host).unwrap();
        assert_eq!(mounts[0].source().as_deref(), Some(Path::new("/dev/null")));
        assert_eq!(mounts[0].destination(), Path::new("/dev/nothing"));
    }
}
