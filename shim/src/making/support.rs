//! What this machine's kernel can't do of what was asked for: docker tells it and goes on,
//! or says no.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::groupless;
use crate::delegation::Delegation;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::{HostConfig, ThrottleDevice};

const GROUPS: &str = "/sys/fs/cgroup";

/// Takes out of `host` what can't be; the lines that say so.
pub fn discard(host: &mut HostConfig) -> Result<Vec<String>> {
    let mut told = Vec::new();
    if !host.storage_opt.is_empty() {
        return Err(Error::conflict(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option, and dhow \
             sets no quotas in this version; --read-only and --tmpfs bound what is written",
        ));
    }
    if host.network_mode == "host" && !host.port_bindings.is_empty() {
        told.push("Published ports are discarded when using host network mode".to_owned());
    }
    if dhow_image::rootless::is_confined() && host.cgroup_parent.is_empty() {
        told.extend(groupless::discard(host, &Delegation::of_caller())?);
    }
    if asks(host) {
        let v2 = statfs(GROUPS).is_ok_and(|s| s.filesystem_type() == CGROUP2_SUPER_MAGIC);
        told.extend(groupless::without(host, |controller| is_there(controller, v2))?);
        memory(host, v2, &mut told);
        block_io(host, v2, &mut told);
        if (host.cpu_realtime_period != 0 || host.cpu_realtime_runtime != 0)
            && !has("cpu/cpu.rt_runtime_us")
        {
            return Err(Error::conflict(
                "kernel does not support CPU real-time scheduler; it takes cgroup v1 and RT_GROUP_SCHED",
            ));
        }
    }
    Ok(told)
}

/// Where daemon.json keeps root out of containers, a container with root in it is none that
/// anybody asked for.
pub fn remapped(host: &Host, config: &HostConfig) -> Result<()> {
    let remap = host.settings.daemon()?.userns_remap.as_deref().filter(|who| !who.is_empty());
    match remap.filter(|_| config.userns_mode != "host") {
        Some(who) => Err(Error::conflict(format!(
            "daemon.json has \"userns-remap\": \"{who}\", and dhow maps no users in this version; \
             --userns host runs the container without"
        ))),
        None => Ok(()),
    }
}

/// Most containers ask for nothing that a kernel may lack.
fn asks(host: &HostConfig) -> bool {
    host.memory > 0
        || host.memory_reservation != 0
        || host.pids_limit.is_some()
        || host.nano_cpus != 0
        || host.cpu_shares != 0
        || host.cpu_period != 0
        || host.cpu_quota != 0
        || !host.cpuset_cpus.is_empty()
        || !host.cpuset_mems.is_empty()
        || host.memory_swappiness.is_some()
        || host.oom_kill_disable.is_some()
        || host.cpu_realtime_period != 0
        || host.cpu_realtime_runtime != 0
        || host.blkio_weight_device.is_some()
        || host.blkio_device_read_bps.is_some()
        || host.blkio_device_write_bps.is_some()
        || host.blkio_device_read_iops.is_some()
        || host.blkio_device_write_iops.is_some()
}

/// Whether the kernel has a controller, as `memory`; of I/O, [`block_io`] looks at each file.
fn is_there(controller: &str, v2: bool) -> bool {
    controller == "io" || if v2 { lists(controller) } else { has(controller) }
}

/// Whether cgroup v2 has a controller.
fn lists(controller: &str) -> bool {
    let all = std::fs::read_to_string(Path::new(GROUPS).join("cgroup.controllers"));
    all.is_ok_and(|text| text.split_whitespace().any(|one| one == controller))
}

fn has(file: &str) -> bool {
    Path::new(GROUPS).join(file).exists()
}

fn memory(host: &mut HostConfig, v2: bool, told: &mut Vec<String>) {
    let lacks = "capabilities or the cgroup is not mounted.";
    let swap = v2 || has("memory/memory.memsw.limit_in_bytes");
    if host.memory > 0 && host.memory_swap != -1 && !swap {
        told.push(format!(
            "Your kernel does not support swap limit {lacks} Memory limited without swap."
        ));
        host.memory_swap = -1;
    }
    if host.memory_swappiness.is_some() && (v2 || !has("memory/memory.swappiness")) {
        told.push(format!(
            "Your kernel does not support memory swappiness {lacks} Memory swappiness discarded."
        ));
        host.memory_swappiness = None;
    }
    if host.oom_kill_disable.is_some() && (v2 || !has("memory/memory.oom_control")) {
        told.push(
            "Your kernel does not support OomKillDisable. OomKillDisable discarded.".to_owned(),
        );
        host.oom_kill_disable = None;
    }
    if host.oom_kill_disable == Some(true) && host.memory == 0 {
        told.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result \
             in the system running out of resources."
                .to_owned(),
        );
    }
}

type Throttles<'a> = (&'a mut Option<Vec<ThrottleDevice>>, &'static str, &'static str);

fn throttles(host: &mut HostConfig) -> [Throttles<'_>; 4] {
    [
        (
            &mut host.blkio_device_read_bps,
            "blkio.throttle.read_bps_device",
            "BPS Block I/O read limit",
        ),
        (
            &mut host.blkio_device_write_bps,
            "blkio.throttle.write_bps_device",
            "BPS Block I/O write limit",
        ),
        (
            &mut host.blkio_device_read_iops,
            "blkio.throttle.read_iops_device",
            "IOPS Block read limit",
        ),
        (
            &mut host.blkio_device_write_iops,
            "blkio.throttle.write_iops_device",
            "IOPS Block write limit",
        ),
    ]
}

fn block_io(host: &mut HostConfig, v2: bool, told: &mut Vec<String>) {
    let io = v2 && lists("io");
    for (list, file, what) in throttles(host) {
        if list.is_some() && !io && !has(&format!("blkio/{file}")) {
            told.push(format!(
                "Your kernel does not support {what} or the cgroup is not mounted. {what} discarded."
            ));
            *list = None;
        }
    }
    let Some(devices) = &mut host.blkio_weight_device else { return };
    // KERNEL: block/bfq-cgroup.c: a weight means something to the scheduler bfq alone.
    devices.retain(|device| {
        let weighed = v2 && has("io.cost.qos") || is_bfq(&device.path).unwrap_or(true);
        if !weighed {
            told.push(format!(
                "The scheduler of {0} is not bfq. Weight-device discarded: \
                 'echo bfq > {1}' would let it count.",
                device.path,
                scheduler(&device.path).unwrap_or_default().display()
            ));
        }
        weighed
    });
    host.blkio_weight_device = host.blkio_weight_device.take().filter(|all| !all.is_empty());
}

fn scheduler(path: &str) -> Option<PathBuf> {
    let number = std::fs::metadata(path).ok()?.rdev();
    let dir = format!("/sys/dev/block/{}:{}", major(number), minor(number));
    Some(std::fs::canonicalize(dir).ok()?.join("queue/scheduler"))
}

/// Nothing when it can't be known: a partition, or no block device.
fn is_bfq(path: &str) -> Option<bool> {
    std::fs::read_to_string(scheduler(path)?).ok().map(|text| text.contains("[bfq]"))
}
