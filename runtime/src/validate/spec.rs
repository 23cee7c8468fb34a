//! config.json as it is written: borrowed, lenient about what we don't know.
//!
//! SPEC: runtime-spec 1.3 config.md and config-linux.md. Unknown fields are
//! ignored, and `null` means absent, as Go's decoder has it.
//!
//! Why not oci-spec (0.10): it refuses valid scheduler flags, loses what it has no field
//! for, says serde's words instead of a pointer, and costs a start twice the time and the
//! program 1.5 MB. The tests read with it what we read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Deref;

use serde::{Deserialize, Deserializer};

/// A string that stays in the file's buffer unless it holds escapes.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

/// A string, or null for an empty one.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Nullable<'a>(#[serde(borrow, deserialize_with = "nullable")] pub Text<'a>);

fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(d).map(Option::unwrap_or_default)
}

macro_rules! spec {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $type:ty = $json:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default, Deserialize)]
        pub struct $name<'a> {
            $($(#[$field_doc])*
            #[serde(rename = $json, default, borrow, deserialize_with = "nullable")]
            pub $field: $type,)*
            #[serde(skip)]
            _life: std::marker::PhantomData<&'a ()>,
        }
    };
}

macro_rules! plain {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $type:ty = $json:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
        pub struct $name {
            $($(#[$field_doc])*
            #[serde(rename = $json, default, deserialize_with = "nullable")]
            pub $field: $type,)*
        }
    };
}

/// The whole of config.json, as far as Linux goes.
#[derive(Debug, Default, Deserialize)]
pub struct Spec<'a> {
    /// `ociVersion`.
    #[serde(rename = "ociVersion", default, borrow, deserialize_with = "nullable")]
    pub version: Text<'a>,
    /// `root`.
    #[serde(default, borrow)]
    pub root: Option<Root<'a>>,
    /// `process`.
    #[serde(default, borrow)]
    pub process: Option<Process<'a>>,
    /// `hostname`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub hostname: Text<'a>,
    /// `domainname`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub domainname: Text<'a>,
    /// `mounts`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub mounts: Vec<Mount<'a>>,
    /// `hooks`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub hooks: Hooks<'a>,
    /// `annotations`; as for Go, a value that is null is empty.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub annotations: BTreeMap<Text<'a>, Nullable<'a>>,
    /// `linux`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub linux: Linux<'a>,
    /// `vm`: only whether it is there.
    #[serde(default)]
    pub vm: Option<serde::de::IgnoredAny>,
}

/// `root`.
#[derive(Debug, Default, Deserialize)]
pub struct Root<'a> {
    /// `path`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub path: Text<'a>,
    /// `readonly`.
    #[serde(default, deserialize_with = "nullable")]
    pub readonly: bool,
}

/// `process`, and the file of `exec --process`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process<'a> {
    /// `terminal`.
    #[serde(default, deserialize_with = "nullable")]
    pub terminal: bool,
    /// `consoleSize`.
    #[serde(default)]
    pub console_size: Option<ConsoleSize>,
    /// `user`.
    #[serde(default, deserialize_with = "nullable")]
    pub user: User,
    /// `args`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub args: Vec<Text<'a>>,
    /// `env`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub env: Vec<Text<'a>>,
    /// `cwd`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub cwd: Text<'a>,
    /// `capabilities`.
    #[serde(default, borrow)]
    pub capabilities: Option<Capabilities<'a>>,
    /// `rlimits`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub rlimits: Vec<Rlimit<'a>>,
    /// `noNewPrivileges`.
    #[serde(default, deserialize_with = "nullable")]
    pub no_new_privileges: bool,
    /// `apparmorProfile`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub apparmor_profile: Text<'a>,
    /// `oomScoreAdj`.
    #[serde(default)]
    pub oom_score_adj: Option<i32>,
    /// `scheduler`.
    #[serde(default, borrow)]
    pub scheduler: Option<Scheduler<'a>>,
    /// `selinuxLabel`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub selinux_label: Text<'a>,
    /// `ioPriority`.
    #[serde(default, borrow, rename = "ioPriority")]
    pub io_priority: Option<IoPriority<'a>>,
    /// `execCPUAffinity`.
    #[serde(default, borrow, rename = "execCPUAffinity")]
    pub exec_cpu_affinity: Option<Affinity<'a>>,
}

plain! {
    /// `process.consoleSize`.
    ConsoleSize {
        /// `height`, rows.
        height: u64 = "height",
        /// `width`, columns.
        width: u64 = "width",
    }
}

/// `process.user`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// `uid`.
    #[serde(default, deserialize_with = "nullable")]
    pub uid: u32,
    /// `gid`.
    #[serde(default, deserialize_with = "nullable")]
    pub gid: u32,
    /// `umask`.
    #[serde(default)]
    pub umask: Option<u32>,
    /// `additionalGids`.
    #[serde(default, deserialize_with = "nullable")]
    pub additional_gids: Vec<u32>,
}

spec! {
    /// `process.capabilities`.
    Capabilities {
        /// `bounding`.
        bounding: Vec<Text<'a>> = "bounding",
        /// `effective`.
        effective: Vec<Text<'a>> = "effective",
        /// `inheritable`.
        inheritable: Vec<Text<'a>> = "inheritable",
        /// `permitted`.
        permitted: Vec<Text<'a>> = "permitted",
        /// `ambient`.
        ambient: Vec<Text<'a>> = "ambient",
    }
}

/// One of `process.rlimits`.
#[derive(Debug, Deserialize)]
pub struct Rlimit<'a> {
    /// `type`.
    #[serde(rename = "type", default, borrow, deserialize_with = "nullable")]
    pub kind: Text<'a>,
    /// `soft`.
    #[serde(default)]
    pub soft: u64,
    /// `hard`.
    #[serde(default)]
    pub hard: u64,
}

/// `process.scheduler`.
#[derive(Debug, Default, Deserialize)]
pub struct Scheduler<'a> {
    /// `policy`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub policy: Text<'a>,
    /// `nice`.
    #[serde(default, deserialize_with = "nullable")]
    pub nice: i32,
    /// `priority`.
    #[serde(default, deserialize_with = "nullable")]
    pub priority: u32,
    /// `flags`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub flags: Vec<Text<'a>>,
    /// `runtime`, nanoseconds.
    #[serde(default)]
    pub runtime: Option<u64>,
    /// `deadline`, nanoseconds.
    #[serde(default)]
    pub deadline: Option<u64>,
    /// `period`, nanoseconds.
    #[serde(default, deserialize_with = "nullable")]
    pub period: u64,
}

/// `process.ioPriority`.
#[derive(Debug, Default, Deserialize)]
pub struct IoPriority<'a> {
    /// `class`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub class: Text<'a>,
    /// `priority`.
    #[serde(default, deserialize_with = "nullable")]
    pub priority: i32,
}

spec! {
    /// `process.execCPUAffinity`.
    Affinity {
        /// `initial`.
        initial: Text<'a> = "initial",
        /// `final`.
        last: Text<'a> = "final",
    }
}

/// One of `mounts`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount<'a> {
    /// `destination`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub destination: Text<'a>,
    /// `type`.
    #[serde(rename = "type", default, borrow, deserialize_with = "nullable")]
    pub kind: Text<'a>,
    /// `source`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub source: Text<'a>,
    /// `options`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub options: Vec<Text<'a>>,
    /// `uidMappings`.
    #[serde(default, deserialize_with = "nullable")]
    pub uid_mappings: Vec<IdMapping>,
    /// `gidMappings`.
    #[serde(default, deserialize_with = "nullable")]
    pub gid_mappings: Vec<IdMapping>,
}

plain! {
    /// One line of a uid_map or gid_map.
    IdMapping {
        /// `containerID`.
        container: u32 = "containerID",
        /// `hostID`.
        host: u32 = "hostID",
        /// `size`.
        size: u32 = "size",
    }
}

spec! {
    /// `hooks`.
    Hooks {
        /// `prestart`.
        prestart: Vec<Hook<'a>> = "prestart",
        /// `createRuntime`.
        create_runtime: Vec<Hook<'a>> = "createRuntime",
        /// `createContainer`.
        create_container: Vec<Hook<'a>> = "createContainer",
        /// `startContainer`.
        start_container: Vec<Hook<'a>> = "startContainer",
        /// `poststart`.
        poststart: Vec<Hook<'a>> = "poststart",
        /// `poststop`.
        poststop: Vec<Hook<'a>> = "poststop",
    }
}

/// One hook.
#[derive(Debug, Default, Deserialize)]
pub struct Hook<'a> {
    /// `path`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub path: Text<'a>,
    /// `args`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub args: Vec<Text<'a>>,
    /// `env`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub env: Vec<Text<'a>>,
    /// `timeout`, seconds.
    #[serde(default)]
    pub timeout: Option<i64>,
}

/// `linux`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Linux<'a> {
    /// `uidMappings`.
    #[serde(default, deserialize_with = "nullable")]
    pub uid_mappings: Vec<IdMapping>,
    /// `gidMappings`.
    #[serde(default, deserialize_with = "nullable")]
    pub gid_mappings: Vec<IdMapping>,
    /// `sysctl`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub sysctl: BTreeMap<Text<'a>, Text<'a>>,
    /// `resources`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub resources: crate::cgroup::Resources<'a>,
    /// `cgroupsPath`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub cgroups_path: Text<'a>,
    /// `namespaces`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub namespaces: Vec<Namespace<'a>>,
    /// `devices`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub devices: Vec<Device<'a>>,
    /// `netDevices`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub net_devices: BTreeMap<Text<'a>, NetDevice<'a>>,
    /// `seccomp`.
    #[serde(default, borrow)]
    pub seccomp: Option<crate::seccomp::Seccomp<'a>>,
    /// `rootfsPropagation`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub rootfs_propagation: Text<'a>,
    /// `maskedPaths`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub masked_paths: Vec<Text<'a>>,
    /// `readonlyPaths`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub readonly_paths: Vec<Text<'a>>,
    /// `mountLabel`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub mount_label: Text<'a>,
    /// `intelRdt`.
    #[serde(default, borrow)]
    pub intel_rdt: Option<IntelRdt<'a>>,
    /// `memoryPolicy`.
    #[serde(default, borrow)]
    pub memory_policy: Option<MemoryPolicy<'a>>,
    /// `personality`.
    #[serde(default, borrow)]
    pub personality: Option<Personality<'a>>,
    /// `timeOffsets`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub time_offsets: BTreeMap<Text<'a>, TimeOffset>,
}

/// `linux.intelRdt`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntelRdt<'a> {
    /// `closID`.
    #[serde(rename = "closID", default, borrow, deserialize_with = "nullable")]
    pub clos_id: Text<'a>,
    /// `schemata`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub schemata: Vec<Text<'a>>,
    /// `l3CacheSchema`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub l3_cache_schema: Text<'a>,
    /// `memBwSchema`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub mem_bw_schema: Text<'a>,
    /// `enableMonitoring`.
    #[serde(default, deserialize_with = "nullable")]
    pub enable_monitoring: bool,
}

spec! {
    /// `linux.memoryPolicy`.
    MemoryPolicy {
        /// `mode`.
        mode: Text<'a> = "mode",
        /// `nodes`.
        nodes: Text<'a> = "nodes",
        /// `flags`.
        flags: Vec<Text<'a>> = "flags",
    }
}

/// One of `linux.namespaces`.
#[derive(Debug, Default, Deserialize)]
pub struct Namespace<'a> {
    /// `type`.
    #[serde(rename = "type", default, borrow, deserialize_with = "nullable")]
    pub kind: Text<'a>,
    /// `path`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub path: Text<'a>,
}

/// One of `linux.netDevices`.
#[derive(Debug, Default, Deserialize)]
pub struct NetDevice<'a> {
    /// `name`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub name: Text<'a>,
}

/// One of `linux.devices`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device<'a> {
    /// `type`.
    #[serde(rename = "type", default, borrow, deserialize_with = "nullable")]
    pub kind: Text<'a>,
    /// `path`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub path: Text<'a>,
    /// `major`.
    #[serde(default, deserialize_with = "nullable")]
    pub major: i64,
    /// `minor`.
    #[serde(default, deserialize_with = "nullable")]
    pub minor: i64,
    /// `fileMode`.
    #[serde(default)]
    pub file_mode: Option<u32>,
    /// `uid`.
    #[serde(default)]
    pub uid: Option<u32>,
    /// `gid`.
    #[serde(default)]
    pub gid: Option<u32>,
}

/// `linux.personality`.
#[derive(Debug, Default, Deserialize)]
pub struct Personality<'a> {
    /// `domain`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub domain: Text<'a>,
    /// `flags`.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub flags: Vec<Text<'a>>,
}

plain! {
    /// One of `linux.timeOffsets`.
    TimeOffset {
        /// `secs`.
        secs: i64 = "secs",
        /// `nanosecs`.
        nanosecs: u32 = "nanosecs",
    }
}
