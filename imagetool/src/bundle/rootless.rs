//! What a runtime config needs where ids are mapped, and where nobody is root; umoci's choices.

use std::path::Path;

use nix::sys::statvfs::{FsFlags, statvfs};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespaceBuilder, LinuxNamespaceType, Mount,
    MountBuilder, Spec,
};

use crate::error::{Error, Result};
use crate::layer::{IdMap, Manner};

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Gives the config the user namespace that the bundle's files are for.
pub(super) fn adapt(spec: &mut Spec, manner: &Manner) -> Result<()> {
    let mapped = !manner.uids.0.is_empty() || !manner.gids.0.is_empty();
    if !mapped && !manner.rootless {
        return Ok(());
    }
    change(spec, manner).map_err(|e| Error::invalid("image config", e))
}

fn change(spec: &mut Spec, manner: &Manner) -> Result<(), OciSpecError> {
    if let Some(linux) = spec.linux_mut() {
        let mut namespaces = linux.namespaces().clone().unwrap_or_default();
        // KERNEL: only root of the host may give a network namespace devices.
        namespaces.retain(|n| !manner.rootless || n.typ() != LinuxNamespaceType::Network);
        namespaces.push(LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::User).build()?);
        linux.set_namespaces(Some(namespaces));
        linux.set_uid_mappings(Some(mappings(&manner.uids)?));
        linux.set_gid_mappings(Some(mappings(&manner.gids)?));
        if manner.rootless {
            linux.set_resources(None);
        }
    }
    if !manner.rootless {
        return Ok(());
    }
    if let Some(process) = spec.process_mut() {
        // KERNEL: user_namespaces(7): without root, setgroups(2) is denied.
        process.user_mut().set_additional_gids(None);
    }
    let mut mounts: Vec<Mount> = Vec::new();
    for mut mount in spec.mounts().clone().unwrap_or_default() {
        if mount.destination().starts_with("/sys") {
            continue;
        }
        let mut options = mount.options().clone().unwrap_or_default();
        options.retain(|o| !o.starts_with("gid=") && !o.starts_with("uid="));
        mount.set_options(Some(options));
        mounts.push(mount);
    }
    // KERNEL: sysfs can only be mounted anew with a network namespace of one's own.
    let sys = ["rbind", "nosuid", "noexec", "nodev", "ro"].map(String::from);
    mounts.push(bind("/sys", sys.to_vec())?);
    if Path::new(RESOLV_CONF).exists() {
        let mut options = locked(RESOLV_CONF);
        options.extend(["rbind", "ro"].map(String::from));
        mounts.push(bind(RESOLV_CONF, options)?);
    }
    spec.set_mounts(Some(mounts));
    Ok(())
}

fn mappings(map: &IdMap) -> Result<Vec<LinuxIdMapping>, OciSpecError> {
    let one = |range: &crate::layer::Range| {
        LinuxIdMappingBuilder::default()
            .container_id(range.inside)
            .host_id(range.outside)
            .size(range.size)
            .build()
    };
    map.0.iter().map(one).collect()
}

fn bind(path: &str, options: Vec<String>) -> Result<Mount, OciSpecError> {
    MountBuilder::default().destination(path).source(path).typ("bind").options(options).build()
}

/// KERNEL: mount_namespaces(7): flags that a less privileged namespace can't take off.
fn locked(path: &str) -> Vec<String> {
    let Ok(flags) = statvfs(path).map(|s| s.flags()) else { return Vec::new() };
    let all = [
        (FsFlags::ST_NODEV, "nodev"),
        (FsFlags::ST_NOEXEC, "noexec"),
        (FsFlags::ST_NOSUID, "nosuid"),
        (FsFlags::ST_NOATIME, "noatime"),
        (FsFlags::ST_RELATIME, "relatime"),
        (FsFlags::ST_NODIRATIME, "nodiratime"),
    ];
    all.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| (*name).into()).collect()
}
