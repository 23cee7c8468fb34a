//! The part of a container that is the host's business.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Mount, PortBinding};

/// docker's `HostConfig`, the fields dhow acts on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostConfig {
    /// `-v` as typed, absolute: `SRC:DST[:OPTIONS]`.
    pub binds: Option<Vec<String>>,
    /// Where the container's id was written.
    #[serde(rename = "ContainerIDFile")]
    pub container_id_file: String,
    /// Where the container's output is kept.
    pub log_config: LogConfig,
    /// `none`, `host`, `container:ID`, or the first network's name (`bridge` is the default one's).
    pub network_mode: String,
    /// `-p`: what is published, by `80/tcp`.
    pub port_bindings: BTreeMap<String, Vec<PortBinding>>,
    /// `-P`: all that is exposed is published.
    pub publish_all_ports: bool,
    /// `--link`, as `CONTAINER:ALIAS`, on the default bridge.
    pub links: Option<Vec<String>>,
    /// What happens when the container ends.
    pub restart_policy: RestartPolicy,
    /// Removed when it ends (`--rm`).
    pub auto_remove: bool,
    /// Driver of `-v`'s named volumes, empty or `local`.
    pub volume_driver: String,
    /// `--volumes-from` as typed.
    pub volumes_from: Option<Vec<String>>,
    /// Height and width of the terminal at creation.
    pub console_size: [u16; 2],
    /// Runtime annotations asked for by the user.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Capabilities beyond the default ones.
    pub cap_add: Option<Vec<String>>,
    /// Default capabilities left out.
    pub cap_drop: Option<Vec<String>>,
    /// `host`, `private`, or empty for the default.
    pub cgroupns_mode: String,
    /// Further lines of /etc/hosts, `name:ip`.
    pub extra_hosts: Option<Vec<String>>,
    /// Supplementary groups, names or numbers.
    pub group_add: Option<Vec<String>>,
    /// `private`, `host`, `none` or `shareable`.
    pub ipc_mode: String,
    /// The kernel's wish to kill it first or last.
    pub oom_score_adj: i32,
    /// Empty or `host`.
    pub pid_mode: String,
    /// No confinement.
    pub privileged: bool,
    /// The root file system is mounted read-only.
    pub readonly_rootfs: bool,
    /// `no-new-privileges`, `seccomp=…`, `apparmor=…`, as typed.
    pub security_opt: Option<Vec<String>>,
    /// `size=…` of the container's own files.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub storage_opt: BTreeMap<String, String>,
    /// tmpfs mounts: path to options.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tmpfs: BTreeMap<String, String>,
    /// Empty or `host`.
    #[serde(rename = "UTSMode")]
    pub uts_mode: String,
    /// Empty or `host`.
    pub userns_mode: String,
    /// A small program is the first process and minds the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    /// Bytes of /dev/shm.
    pub shm_size: i64,
    /// Namespaced kernel parameters.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// The runtime program.
    pub runtime: String,
    /// Relative weight, 0 unset.
    pub cpu_shares: i64,
    /// Bytes, 0 unlimited.
    pub memory: i64,
    /// Billionths of a CPU, 0 unlimited.
    pub nano_cpus: i64,
    /// Parent cgroup.
    pub cgroup_parent: String,
    /// 10 to 1000, 0 unset.
    pub blkio_weight: u16,
    /// Weights of single devices.
    pub blkio_weight_device: Option<Vec<WeightDevice>>,
    /// Bytes a second.
    pub blkio_device_read_bps: Option<Vec<ThrottleDevice>>,
    /// Bytes a second.
    pub blkio_device_write_bps: Option<Vec<ThrottleDevice>>,
    /// Operations a second.
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_iops: Option<Vec<ThrottleDevice>>,
    /// Operations a second.
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_iops: Option<Vec<ThrottleDevice>>,
    /// Microseconds.
    pub cpu_period: i64,
    /// Microseconds per period.
    pub cpu_quota: i64,
    /// Microseconds; 0 unset.
    pub cpu_realtime_period: i64,
    /// Microseconds per period; 0 unset.
    pub cpu_realtime_runtime: i64,
    /// `0-2,4`.
    pub cpuset_cpus: String,
    /// `0,1`.
    pub cpuset_mems: String,
    /// Host devices given to the container.
    pub devices: Option<Vec<Device>>,
    /// Device cgroup rules as typed, `c 1:3 rwm`.
    pub device_cgroup_rules: Option<Vec<String>>,
    /// `--gpus`, and devices by CDI name.
    pub device_requests: Option<Vec<DeviceRequest>>,
    /// Soft limit, bytes.
    pub memory_reservation: i64,
    /// Memory and swap together, bytes; -1 unlimited swap, 0 unset.
    pub memory_swap: i64,
    /// 0 to 100; unset leaves the kernel's.
    pub memory_swappiness: Option<i64>,
    /// The OOM killer leaves it alone.
    pub oom_kill_disable: Option<bool>,
    /// Most processes; unset or ≤0 unlimited.
    pub pids_limit: Option<i64>,
    /// Resource limits.
    pub ulimits: Option<Vec<Ulimit>>,
    /// `--mount` and named or anonymous volumes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Paths hidden from the container; unset means docker's list.
    pub masked_paths: Option<Vec<String>>,
    /// Paths read-only to the container; unset means docker's list.
    pub readonly_paths: Option<Vec<String>>,
    /// Name servers of /etc/resolv.conf.
    pub dns: Option<Vec<String>>,
    /// Options of /etc/resolv.conf.
    pub dns_options: Option<Vec<String>>,
    /// Search domains of /etc/resolv.conf.
    pub dns_search: Option<Vec<String>>,
}

/// Where the output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LogConfig {
    /// `json-file` or `none`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// `max-size` and `max-file`.
    pub config: BTreeMap<String, String>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { kind: "json-file".into(), config: BTreeMap::new() }
    }
}

/// What happens when the container ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RestartPolicy {
    /// `no`, `on-failure`, `always` or `unless-stopped`.
    pub name: String,
    /// For `on-failure`; 0 without end.
    pub maximum_retry_count: u32,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self { name: "no".into(), maximum_retry_count: 0 }
    }
}

/// A host device in the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Device {
    /// On the host.
    pub path_on_host: String,
    /// In the container.
    pub path_in_container: String,
    /// Any of `rwm`.
    pub cgroup_permissions: String,
}

/// One resource limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ulimit {
    /// `nofile`, without `RLIMIT_`.
    pub name: String,
    /// -1 unlimited.
    pub hard: i64,
    /// -1 unlimited.
    pub soft: i64,
}

/// The share of one block device's I/O.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WeightDevice {
    /// On the host.
    pub path: String,
    /// 10 to 1000.
    pub weight: u16,
}

/// The most I/O of one block device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ThrottleDevice {
    /// On the host.
    pub path: String,
    /// Bytes or operations a second.
    pub rate: u64,
}

/// Devices that somebody else describes: a CDI file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceRequest {
    /// `cdi` for names, `nvidia` or empty for `--gpus`.
    pub driver: String,
    /// How many, -1 for all.
    pub count: i64,
    /// Names.
    #[serde(rename = "DeviceIDs")]
    pub device_ids: Option<Vec<String>>,
    /// `[["gpu"]]`
    pub capabilities: Option<Vec<Vec<String>>>,
    /// Options of the driver.
    pub options: Option<BTreeMap<String, String>>,
}
