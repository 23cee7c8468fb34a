//! `update` as typed.

use std::path::PathBuf;

use clap::Args;
use dhow_runtime::cgroup;
use dhow_runtime::command::{self, World};
use dhow_runtime::error::Result;

/// `update`.
#[derive(Debug, Args)]
pub struct Update {
    /// Container
    pub id: String,
    /// Take linux.resources from this file, or from standard input (-), and ignore all other options
    #[arg(long, short, value_name = "FILE")]
    pub resources: Option<PathBuf>,
    /// Weight of block I/O, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    pub blkio_weight: Option<u16>,
    /// Period that CPU time is limited in, in microseconds
    #[arg(long, value_name = "USEC")]
    pub cpu_period: Option<u64>,
    /// CPU time in each period, in microseconds; -1 for no limit
    #[arg(long, value_name = "USEC")]
    pub cpu_quota: Option<i64>,
    /// CPU time that may be saved up, in microseconds
    #[arg(long, value_name = "USEC")]
    pub cpu_burst: Option<u64>,
    /// CPU shares, against other groups
    #[arg(long, value_name = "SHARES")]
    pub cpu_share: Option<u64>,
    /// Period that realtime CPU time is limited in, in microseconds
    #[arg(long, value_name = "USEC")]
    pub cpu_rt_period: Option<u64>,
    /// Realtime CPU time in each period, in microseconds
    #[arg(long, value_name = "USEC")]
    pub cpu_rt_runtime: Option<i64>,
    /// CPUs to use
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes to use
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// 1 to run only when nothing else wants to
    #[arg(long, value_name = "0|1")]
    pub cpu_idle: Option<i64>,
    /// Memory limit, as 512m; -1 for none
    #[arg(long, value_name = "BYTES", value_parser = command::update::bytes, allow_hyphen_values = true)]
    pub memory: Option<i64>,
    /// Soft memory limit
    #[arg(long, value_name = "BYTES", value_parser = command::update::bytes, allow_hyphen_values = true)]
    pub memory_reservation: Option<i64>,
    /// Limit of memory and swap together
    #[arg(long, value_name = "BYTES", value_parser = command::update::bytes, allow_hyphen_values = true)]
    pub memory_swap: Option<i64>,
    /// Passed over with a warning, as runc: the kernel has no such limit any more
    #[arg(long, hide = true, value_name = "BYTES", value_parser = command::update::bytes, allow_hyphen_values = true)]
    pub kernel_memory: Option<i64>,
    /// Likewise
    #[arg(long, hide = true, value_name = "BYTES", value_parser = command::update::bytes, allow_hyphen_values = true)]
    pub kernel_memory_tcp: Option<i64>,
    /// The most processes; below 0 for no limit
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub pids_limit: Option<i64>,
    /// Intel RDT: the share of the L3 cache, as L3:0=7f0;1=1f
    #[arg(long, value_name = "SCHEMA")]
    pub l3_cache_schema: Option<String>,
    /// Intel RDT: the share of memory bandwidth, as MB:0=20;1=70
    #[arg(long, value_name = "SCHEMA")]
    pub mem_bw_schema: Option<String>,
}

impl Update {
    /// Performs it.
    pub fn perform(&self, world: &World) -> Result<()> {
        let rdt = command::update::Schemas {
            l3: self.l3_cache_schema.as_deref().unwrap_or_default(),
            bandwidth: self.mem_bw_schema.as_deref().unwrap_or_default(),
        };
        if let Some(file) = &self.resources {
            return command::update::update(
                &self.id,
                &command::update::Source::File(file),
                &rdt,
                world,
            );
        }
        let asked = cgroup::Resources {
            memory: cgroup::Memory {
                limit: self.memory,
                reservation: self.memory_reservation,
                swap: self.memory_swap,
                kernel: self.kernel_memory,
                kernel_tcp: self.kernel_memory_tcp,
                ..Default::default()
            },
            cpu: cgroup::Cpu {
                shares: self.cpu_share,
                quota: self.cpu_quota,
                burst: self.cpu_burst,
                period: self.cpu_period,
                realtime_runtime: self.cpu_rt_runtime,
                realtime_period: self.cpu_rt_period,
                cpus: self.cpuset_cpus.as_deref().unwrap_or_default().into(),
                mems: self.cpuset_mems.as_deref().unwrap_or_default().into(),
                idle: self.cpu_idle,
            },
            pids: cgroup::Pids { limit: self.pids_limit },
            block_io: cgroup::BlockIo { weight: self.blkio_weight, ..Default::default() },
            ..Default::default()
        };
        command::update::update(&self.id, &command::update::Source::Flags(&asked), &rdt, world)
    }
}
