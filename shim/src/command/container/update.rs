//! `dhow update`.

use clap::Args;

use crate::error::{Error, Kind, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::monitor;
use crate::options::{Change, size};
use crate::output::Output;

/// Change limits and restart policy of containers, running or not
#[derive(Debug, Args)]
pub struct Update {
    /// Relative share of block I/O, 10-1000
    #[arg(long, value_name = "N")]
    pub blkio_weight: Option<u16>,
    /// CFS period in microseconds
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub cpu_period: Option<i64>,
    /// CFS quota in microseconds per period
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub cpu_quota: Option<i64>,
    /// Real-time period in microseconds
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub cpu_rt_period: Option<i64>,
    /// Real-time runtime in microseconds per period
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub cpu_rt_runtime: Option<i64>,
    /// Relative CPU weight (1024 is normal)
    #[arg(short, long, value_name = "N", allow_negative_numbers = true)]
    pub cpu_shares: Option<i64>,
    /// Number of CPUs, as 1.5
    #[arg(long, value_name = "N")]
    pub cpus: Option<String>,
    /// CPUs that may be used, as 0-2,4
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// NUMA nodes that may be used
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// Memory (b, k, m, g)
    #[arg(short, long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Soft memory limit
    #[arg(long, value_name = "SIZE")]
    pub memory_reservation: Option<String>,
    /// Memory and swap together (-1: any amount of swap)
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true)]
    pub memory_swap: Option<String>,
    /// Most processes (-1: no limit)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub pids_limit: Option<i64>,
    /// What follows its end: no, on-failure[:N], always, unless-stopped
    #[arg(long, value_name = "POLICY")]
    pub restart: Option<String>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

impl Update {
    /// Prints each name.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let change = match self.change() {
            Ok(change) => change,
            Err(e) => return out.end(Err(e)),
        };
        out.each(&self.containers, |needle| {
            let record = host.containers.find(needle)?.record;
            monitor::update(host, &record, &change)?;
            Ok(needle.to_owned())
        })
    }

    fn change(&self) -> Result<Change> {
        let flag = |e: Error| Error::new(Kind::Flag, e.message);
        let bytes = |name, text: &Option<String>| match text {
            Some(text) => size::bytes(name, text).map_err(flag),
            None => Ok(0),
        };
        let text = |typed: &Option<String>| typed.clone().unwrap_or_default();
        let change = Change {
            blkio_weight: self.blkio_weight.unwrap_or(0),
            cpu_period: self.cpu_period.unwrap_or(0),
            cpu_quota: self.cpu_quota.unwrap_or(0),
            cpu_realtime_period: self.cpu_rt_period.unwrap_or(0),
            cpu_realtime_runtime: self.cpu_rt_runtime.unwrap_or(0),
            cpu_shares: self.cpu_shares.unwrap_or(0),
            nano_cpus: self.cpus.as_deref().map_or(Ok(0), size::nano_cpus).map_err(flag)?,
            cpuset_cpus: text(&self.cpuset_cpus),
            cpuset_mems: text(&self.cpuset_mems),
            memory: bytes("--memory", &self.memory)?,
            memory_reservation: bytes("--memory-reservation", &self.memory_reservation)?,
            memory_swap: match &self.memory_swap {
                Some(text) => size::bytes_or_unlimited("--memory-swap", text).map_err(flag)?,
                None => 0,
            },
            pids_limit: self.pids_limit,
            restart: self.restart.as_deref().map(Change::restart).transpose()?,
        };
        if change == Change::default() {
            return Err(Error::usage("you must provide one or more flags when using this command"));
        }
        change.validate()?;
        Ok(change)
    }
}
