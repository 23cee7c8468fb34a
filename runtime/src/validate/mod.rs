//! config.json → [`Container`]: past this point there are no `Option`s where
//! absence is a value, and nothing is half-understood.

pub mod annotation;
pub mod capability;
pub mod hook;
pub mod linux;
pub mod mount;
pub mod pointer;
pub mod process;
pub mod rdt;
pub mod schedule;
pub mod spec;

use std::collections::BTreeMap;
use std::ffi::CString;

use crate::error::{Error, Result};
use linux::{Namespaces, ns};

/// The newest runtime-spec this runtime follows.
pub const SPEC_VERSION: &str = "1.3.0";

/// A container as config.json asks for it, checked.
#[derive(Debug)]
pub struct Container<'a> {
    /// What is odd, and goes.
    pub warnings: Vec<String>,
    /// `ociVersion`.
    pub version: String,
    /// The root file system, absolute.
    pub rootfs: CString,
    /// Whether it becomes read-only.
    pub readonly: bool,
    /// MS_* of the root and whether recursive.
    pub propagation: (u64, bool),
    /// The first process.
    pub process: process::Process,
    /// Host name, or empty to leave it.
    pub hostname: String,
    /// NIS domain name, or empty to leave it.
    pub domainname: String,
    /// Mounts in order.
    pub mounts: Vec<mount::Mount>,
    /// Hooks.
    pub hooks: hook::Hooks,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Namespaces made and joined.
    pub namespaces: Namespaces,
    /// Lines of uid_map; empty without a new user namespace.
    pub uid_map: Vec<spec::IdMapping>,
    /// Lines of gid_map.
    pub gid_map: Vec<spec::IdMapping>,
    /// Devices besides the default ones.
    pub devices: Vec<linux::Device>,
    /// Network devices that go to the container.
    pub net_devices: Vec<linux::NetDevice>,
    /// Sysctls: path below /proc, value.
    pub sysctls: Vec<(CString, Vec<u8>)>,
    /// Masked paths, relative to the root.
    pub masked_paths: Vec<CString>,
    /// Read-only paths, relative to the root.
    pub readonly_paths: Vec<CString>,
    /// When and where it runs.
    pub schedule: schedule::Schedule,
    /// Lines for /proc/PID/timens_offsets.
    pub time_offsets: String,
    /// `linux.cgroupsPath`, or empty.
    pub cgroups_path: String,
    /// `linux.resources`.
    pub resources: crate::cgroup::Resources<'a>,
    /// `linux.intelRdt`, when asked for.
    pub rdt: Option<rdt::Rdt>,
    /// `linux.seccomp`.
    pub seccomp: Option<crate::seccomp::Seccomp<'a>>,
}

/// Parses a JSON text of config.json's, or of a process file's, shape.
pub fn parse<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| {
        let at = pointer::at(text, e.line(), e.column());
        let why = e.to_string();
        Error::config(if at.is_empty() { "/".to_owned() } else { at }, why)
    })
}

/// Checks a parsed config.json against the spec and against itself.
///
/// `bundle` is the bundle's absolute path.
pub fn container<'a>(spec: spec::Spec<'a>, bundle: &str) -> Result<Container<'a>> {
    version(&spec.version)?;
    if spec.vm.is_some() {
        let why = "this runtime starts processes of this kernel and no virtual machines";
        return Err(Error::unsupported("/vm", why));
    }
    let Some(process) = &spec.process else {
        return Err(Error::config("/process", "process property must not be empty"));
    };
    let annotations = annotations(&spec.annotations)?;
    let mut process = process::read(process, "/process")?;
    process.keep_groups = annotation::is_on(&annotations, annotation::KEEP_GROUPS);
    let rootfs = rootfs(spec.root.as_ref(), bundle)?;
    let linux = spec.linux;
    let namespaces = linux::namespaces(&linux.namespaces)?;
    linux::id_maps(&linux, &namespaces)?;
    for (value, field) in [(&spec.hostname, "/hostname"), (&spec.domainname, "/domainname")] {
        if !value.is_empty() && !namespaces.has(ns::UTS) {
            let why = "unable to set hostname without a private UTS namespace";
            return Err(Error::config(field, why));
        }
    }
    let restricted = !linux.masked_paths.is_empty() || !linux.readonly_paths.is_empty();
    if !namespaces.has(ns::MOUNT) && restricted {
        let why = "unable to restrict sys entries without a private MNT namespace";
        return Err(Error::config("/linux/namespaces", why));
    }
    let around = mount::Around {
        bundle,
        rootfs: &rootfs.to_string_lossy(),
        label: &linux.mount_label,
        users: linux::users(&linux, &namespaces),
    };
    let mut warnings = Vec::new();
    let mounts = spec.mounts.iter().enumerate();
    let mounts = mounts.map(|(n, m)| mount::read(n, m, &around, &mut warnings));
    let mounts = mounts.collect::<Result<Vec<_>>>()?;
    // As runc: a relative one is relative to the root.
    let paths = |list: &[spec::Text<'_>], field: &str| -> Result<Vec<CString>> {
        let read = |(n, path): (usize, &spec::Text<'_>)| {
            cstring(&mount::normal(path), || format!("/linux/{field}/{n}"))
        };
        list.iter().enumerate().map(read).collect()
    };
    Ok(Container {
        warnings,
        version: spec.version.to_string(),
        rootfs,
        readonly: spec.root.as_ref().is_some_and(|root| root.readonly),
        propagation: linux::root_propagation(&linux.rootfs_propagation)?,
        schedule: schedule::schedule(&process, &linux)?,
        process,
        hostname: spec.hostname.to_string(),
        domainname: spec.domainname.to_string(),
        mounts,
        hooks: hook::read(&spec.hooks)?,
        annotations,
        devices: linux::devices(&linux.devices)?,
        sysctls: linux::sysctls(&linux, &namespaces, &spec.domainname)?,
        masked_paths: paths(&linux.masked_paths, "maskedPaths")?,
        readonly_paths: paths(&linux.readonly_paths, "readonlyPaths")?,
        net_devices: linux::net_devices(&linux, &namespaces)?,
        rdt: linux.intel_rdt.as_ref().map(rdt::read).transpose()?,
        time_offsets: linux::time_offsets(&linux, &namespaces)?,
        namespaces,
        uid_map: linux.uid_mappings,
        gid_map: linux.gid_mappings,
        cgroups_path: linux.cgroups_path.to_string(),
        resources: linux.resources,
        seccomp: linux.seccomp,
    })
}

/// Versions 1.0.x to 1.3.x, with whatever suffix: their configs are read alike.
fn version(text: &str) -> Result<()> {
    let mut parts = text.splitn(3, '.');
    let (major, minor, rest) = (parts.next(), parts.next(), parts.next());
    let known = major == Some("1")
        && minor.and_then(|m| m.parse::<u32>().ok()).is_some_and(|m| m <= 3)
        && rest.is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit()));
    if known {
        return Ok(());
    }
    let why = format!("{text:?} is not between 1.0.0 and 1.3.x, which this runtime reads");
    Err(Error::config("/ociVersion", why))
}

fn rootfs(root: Option<&spec::Root<'_>>, bundle: &str) -> Result<CString> {
    let Some(root) = root else {
        return Err(Error::config("/root", "must be set"));
    };
    if root.path.is_empty() {
        return Err(Error::config("/root/path", "must be set"));
    }
    let joined = if root.path.starts_with('/') {
        root.path.to_string()
    } else {
        format!("{bundle}/{}", &*root.path)
    };
    cstring(&format!("/{}", mount::normal(&joined)), || "/root/path".into())
}

fn annotations(
    map: &BTreeMap<spec::Text<'_>, spec::Nullable<'_>>,
) -> Result<BTreeMap<String, String>> {
    // SPEC: config.md §Annotations: keys must not be empty.
    if map.keys().any(|key| key.is_empty()) {
        return Err(Error::config("/annotations", "a key must not be empty"));
    }
    Ok(map.iter().map(|(k, v)| (k.to_string(), v.0.to_string())).collect())
}

/// A string for the kernel; a NUL inside is a broken config.
pub fn cstring(text: &str, pointer: impl Fn() -> String) -> Result<CString> {
    CString::new(text).map_err(|_| Error::config(pointer(), "must not contain a NUL byte"))
}

#[cfg(test)]
mod tests;
