//! A RUN's container, as the build sees it, and a [`Runner`] that any OCI runtime serves.
//!
//! [`Oci`] writes a bundle and calls `RUNTIME run`; what of it is the network's comes in by
//! [`Networks`]. What a killed build left is known by a lock that nobody holds, and [`sweep`]ed.

mod cgroup;
mod log;
mod network;
mod oci;
mod place;
mod places;
mod spec;
mod stubs;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

pub use log::last_error;
pub use network::{HostNetworks, Joined, Namespace, Networks, hosts_file};
pub use oci::Oci;
pub(super) use place::attach;
pub use place::sweep;
pub use places::places;

use super::cancel::Cancel;
use super::progress::Stream;
use crate::error::Result;
use crate::layer::RootDir;

/// Whoever runs containers: `dhow-image build` through an OCI runtime's command line, `dhow build`
/// with networks, too. Called from several threads, all in a mount namespace that is the program's
/// own: what is mounted there for a container goes with the program.
pub trait Runner: Sync {
    /// Runs it to its end. What it writes goes to `wrote` as it comes.
    ///
    /// # Errors
    ///
    /// When no container could be run; a command that fails is an [`End`]. Nothing is left of it then:
    /// no process, mount, cgroup or network.
    fn run(&self, container: &Container<'_>, wrote: &mut dyn FnMut(Stream, &[u8])) -> Result<End>;
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit code; a signal's is 128 and its number.
    Code(i32),
    /// All were told to stop.
    Canceled,
}

/// One RUN's container.
#[derive(Debug)]
pub struct Container<'a> {
    /// Not twice on a machine.
    pub id: &'a str,
    /// Its root, mounted, to be written to.
    pub root: &'a RootDir,
    /// A directory of its own for bundle and files, removed by the caller.
    pub scratch: PathBuf,
    /// Its command.
    pub argv: Vec<String>,
    /// `NAME=value`
    pub env: Vec<String>,
    /// Made if missing.
    pub cwd: String,
    /// `user[:group]`, looked up in its root.
    pub user: String,
    /// What stdin gives, if not nothing.
    pub stdin: Option<Vec<u8>>,
    /// In order; each shadows what is below it.
    pub mounts: Vec<Mount>,
    /// `default`, `none`, `host`, or another that the runner knows.
    pub network: String,
    /// `--security=insecure`
    pub insecure: bool,
    /// For /etc/hosts.
    pub hosts: &'a [(String, String)],
    /// Its name to itself.
    pub hostname: String,
    /// What it may use.
    pub limits: &'a Limits,
    /// When to stop it.
    pub cancel: &'a Cancel,
}

/// Something mounted for one RUN only.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Where, inside the root; absolute.
    pub target: String,
    /// What.
    pub what: Mounted,
    /// Not to be written to.
    pub readonly: bool,
}

/// What is mounted.
#[derive(Clone, Debug)]
pub enum Mounted {
    /// A file or directory of the host, by a handle: nobody can exchange it.
    Bind(Arc<OwnedFd>),
    /// Memory, of so many bytes at most (0: the kernel's default).
    Tmpfs(u64),
}

/// `--memory` and its like, in docker's units; 0 or empty: no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes.
    pub memory: i64,
    /// Bytes with swap, -1: as much as there is.
    pub memory_swap: i64,
    /// Relative weight.
    pub cpu_shares: i64,
    /// Microseconds.
    pub cpu_period: i64,
    /// Microseconds in a period.
    pub cpu_quota: i64,
    /// `0-2,4`
    pub cpuset_cpus: String,
    /// `0,1`
    pub cpuset_mems: String,
    /// Bytes of /dev/shm.
    pub shm_size: i64,
    /// `nofile`, soft, hard.
    pub ulimits: Vec<(String, i64, i64)>,
    /// The cgroup that its cgroup is made in.
    pub cgroup_parent: String,
}
