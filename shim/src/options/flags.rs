//! The flags of `run` and `create`, as typed; nothing is resolved here.

use clap::Args;

use super::Intent;
use crate::error::{Error, Result};
use crate::model::Sdnotify;

use super::{HealthFlags, NetFlags, PortFlags};

/// When to pull the image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pull {
    /// Even when it is there.
    Always,
    /// When it is not there.
    #[default]
    Missing,
    /// Not at all.
    Never,
}

impl std::str::FromStr for Pull {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "always" => Ok(Self::Always),
            "missing" | "" => Ok(Self::Missing),
            "never" => Ok(Self::Never),
            other => Err(Error::usage(format!(
                "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
            ))),
        }
    }
}

/// What `run` and `create` take before IMAGE.
#[derive(Debug, Clone, Default, Args)]
pub struct Flags {
    /// Name of the container instead of a made-up one
    #[arg(long, value_parser = |text: &str| Ok::<_, String>(crate::store::bare_name(text).to_owned()))]
    pub name: Option<String>,
    /// Remove the container and its anonymous volumes when it ends
    #[arg(long)]
    pub rm: bool,
    /// Run an init inside that forwards signals and reaps processes
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = crate::cli::switch)]
    pub init: Option<bool>,
    /// Keep stdin open and connected
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the process a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Which of stdin, stdout, stderr to stay connected to
    #[arg(short, long, value_name = "STREAM")]
    pub attach: Vec<String>,
    /// Program to run in place of the image's ("" clears it)
    #[arg(long, allow_hyphen_values = true)]
    pub entrypoint: Option<String>,
    /// Environment variable KEY=VALUE, or KEY to pass on the caller's
    #[arg(short, long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub env: Vec<String>,
    /// File of KEY=VALUE or KEY lines
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<String>,
    /// user[:group] or uid[:gid] of the process
    #[arg(short, long)]
    pub user: Option<String>,
    /// Working directory of the process (made if missing)
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Further group of the process
    #[arg(long, value_name = "GROUP")]
    pub group_add: Vec<String>,
    /// Metadata KEY=VALUE
    #[arg(short, long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub label: Vec<String>,
    /// File of labels, one a line
    #[arg(long, value_name = "FILE")]
    pub label_file: Vec<String>,
    /// Write the new container's id to this file, which must not exist
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<String>,
    /// Signal that `stop` sends first
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
    /// Seconds between the stop signal and SIGKILL (-1 waits for ever)
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub stop_timeout: Option<i64>,
    /// What to do when it ends: no, on-failure[:N], always, unless-stopped (default "no")
    #[arg(long, value_name = "POLICY")]
    pub restart: Option<String>,

    /// When to pull the image: always, missing or never
    #[arg(long, default_value = "missing", value_name = "WHEN")]
    pub pull: String,
    /// os/arch[/variant] of the image
    #[arg(long)]
    pub platform: Option<String>,
    /// No progress of a pull
    #[arg(short, long)]
    pub quiet: bool,
    /// OCI runtime to use, a name in PATH or a path
    #[arg(long, value_name = "PROGRAM")]
    pub runtime: Option<String>,
    /// OCI annotation KEY=VALUE for the runtime
    #[arg(long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub annotation: Vec<String>,
    /// Where output is kept: json-file or none
    #[arg(long, value_name = "DRIVER")]
    pub log_driver: Option<String>,
    /// max-size=SIZE, max-file=N
    #[arg(long, value_name = "KEY=VALUE")]
    pub log_opt: Vec<String>,
    /// Keys that leave the container running (default ctrl-p,ctrl-q)
    #[arg(long, value_name = "KEYS")]
    pub detach_keys: Option<String>,
    /// Who tells NOTIFY_SOCKET that it is up: container, conmon (dhow itself) or ignore (default container, and with -d ignore)
    #[arg(long, value_name = "WHO")]
    pub sdnotify: Option<Sdnotify>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub health: HealthFlags,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub net: NetFlags,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub files: Files,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub isolation: Isolation,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub ports: PortFlags,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub limits: Limits,
}

/// The command line of `run` and `create` after their own flags.
#[derive(Debug, Args)]
pub struct Order {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub flags: Flags,
    /// Image, and what it runs in place of its own command
    #[arg(required = true, trailing_var_arg = true, value_name = "IMAGE [COMMAND] [ARG...]")]
    pub words: Vec<String>,
    /// Print help
    #[arg(long, action = clap::ArgAction::HelpShort)]
    pub help: (),
}

impl Order {
    /// The image as typed, the command after it, and what is meant by it all.
    pub fn understood(&self, verb: &str, detached: bool) -> Result<(&str, &[String], Intent)> {
        let Some((image, command)) = self.words.split_first() else {
            return Err(Error::usage(format!("\"dhow {verb}\" requires at least 1 argument")));
        };
        Ok((image, command, super::intend(&self.flags, image, command, detached)?))
    }
}

/// What the container sees of files and devices.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Files and devices")]
pub struct Files {
    /// [HOST-PATH or NAME:]PATH[:ro,…] to mount
    #[arg(short, long, value_name = "SPEC")]
    pub volume: Vec<String>,
    /// type=bind|volume|tmpfs|image,src=…,dst=…[,ro,…]
    #[arg(long, value_name = "SPEC")]
    pub mount: Vec<String>,
    /// Driver of volumes named by -v: local
    #[arg(long, value_name = "DRIVER")]
    pub volume_driver: Option<String>,
    /// Every volume of another container, NAME[:ro]
    #[arg(long, value_name = "CONTAINER")]
    pub volumes_from: Vec<String>,
    /// A tmpfs at PATH[:OPTIONS]
    #[arg(long, value_name = "PATH")]
    pub tmpfs: Vec<String>,
    /// The root file system is read-only
    #[arg(long)]
    pub read_only: bool,
    /// size=SIZE of the container's own files, where the file system keeps project quotas
    #[arg(long, value_name = "KEY=VALUE")]
    pub storage_opt: Vec<String>,
    /// Size of /dev/shm (64m)
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true)]
    pub shm_size: Option<String>,
    /// A host device, HOST[:CONTAINER[:rwm]], or a CDI name VENDOR/CLASS=NAME
    #[arg(long, value_name = "DEVICE")]
    pub device: Vec<String>,
    /// GPUs by CDI: all, a number, or device=…
    #[arg(long, value_name = "REQUEST")]
    pub gpus: Vec<String>,
    /// Rule of the devices cgroup, as "c 1:3 mr"
    #[arg(long, value_name = "RULE")]
    pub device_cgroup_rule: Vec<String>,
}

/// What the container shares with the host, and what it may do.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Isolation and rights")]
pub struct Isolation {
    /// Host name inside the container
    #[arg(short = 'h', long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// NIS domain name
    #[arg(long, value_name = "NAME")]
    pub domainname: Option<String>,
    /// Further line of /etc/hosts, NAME:IP or NAME:host-gateway
    #[arg(long, value_name = "NAME:IP")]
    pub add_host: Vec<String>,
    /// Process ids: private, host, or container:NAME
    #[arg(long, value_name = "MODE")]
    pub pid: Option<String>,
    /// System V IPC and /dev/shm: none, private, shareable, host, or container:NAME
    #[arg(long, value_name = "MODE")]
    pub ipc: Option<String>,
    /// Host name: private or host
    #[arg(long, value_name = "MODE")]
    pub uts: Option<String>,
    /// User ids: host
    #[arg(long, value_name = "MODE")]
    pub userns: Option<String>,
    /// cgroups: private or host
    #[arg(long, value_name = "MODE")]
    pub cgroupns: Option<String>,
    /// Grant a capability, or ALL
    #[arg(long, value_name = "CAP")]
    pub cap_add: Vec<String>,
    /// Take a capability away, or ALL
    #[arg(long, value_name = "CAP")]
    pub cap_drop: Vec<String>,
    /// Isolation technology: default
    #[arg(long, value_name = "NAME")]
    pub isolation: Option<String>,
    /// All capabilities and devices, no seccomp, nothing masked
    #[arg(long)]
    pub privileged: bool,
    /// seccomp=FILE|unconfined, no-new-privileges, apparmor=…, systempaths=unconfined
    #[arg(long, value_name = "OPTION")]
    pub security_opt: Vec<String>,
    /// Namespaced kernel setting KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE")]
    pub sysctl: Vec<String>,
}

/// How much of the machine it may use.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Memory (b, k, m, g)
    #[arg(short, long, value_name = "SIZE", allow_negative_numbers = true)]
    pub memory: Option<String>,
    /// Memory and swap together (-1: any amount of swap)
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true)]
    pub memory_swap: Option<String>,
    /// Soft memory limit
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true)]
    pub memory_reservation: Option<String>,
    /// 0-100, how willingly memory is swapped (cgroup v1)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub memory_swappiness: Option<i64>,
    /// No kill when out of memory (cgroup v1)
    #[arg(long)]
    pub oom_kill_disable: bool,
    /// The kernel's wish to kill it, -1000 to 1000
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub oom_score_adj: Option<i32>,
    /// Number of CPUs, as 1.5
    #[arg(long, value_name = "N")]
    pub cpus: Option<String>,
    /// Relative CPU weight (1024 is normal)
    #[arg(short, long, value_name = "N", allow_negative_numbers = true)]
    pub cpu_shares: Option<i64>,
    /// CFS period in microseconds
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub cpu_period: Option<i64>,
    /// CFS quota in microseconds per period
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub cpu_quota: Option<i64>,
    /// Real-time scheduling period in microseconds (cgroup v1)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub cpu_rt_period: Option<i64>,
    /// Real-time scheduling runtime in microseconds per period (cgroup v1)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub cpu_rt_runtime: Option<i64>,
    /// CPUs that may be used, as 0-2,4
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// NUMA nodes that may be used
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// Most processes (-1: no limit)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub pids_limit: Option<i64>,
    /// Relative share of block I/O, 10-1000
    #[arg(long, value_name = "N")]
    pub blkio_weight: Option<u16>,
    /// The share of one device, PATH:WEIGHT
    #[arg(long, value_name = "PATH:WEIGHT")]
    pub blkio_weight_device: Vec<String>,
    /// Most bytes a second read from a device, PATH:SIZE
    #[arg(long, value_name = "PATH:SIZE")]
    pub device_read_bps: Vec<String>,
    /// Most bytes a second written to a device, PATH:SIZE
    #[arg(long, value_name = "PATH:SIZE")]
    pub device_write_bps: Vec<String>,
    /// Most reads a second from a device, PATH:N
    #[arg(long, value_name = "PATH:N")]
    pub device_read_iops: Vec<String>,
    /// Most writes a second to a device, PATH:N
    #[arg(long, value_name = "PATH:N")]
    pub device_write_iops: Vec<String>,
    /// cgroup under which the container's is made
    #[arg(long, value_name = "PATH")]
    pub cgroup_parent: Option<String>,
    /// Resource limit NAME=SOFT[:HARD]
    #[arg(long, value_name = "LIMIT")]
    pub ulimit: Vec<String>,
}
