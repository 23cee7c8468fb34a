//! `checkpoint` and `restore` as typed, and as the library wants them.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::Args;
use dhow_runtime::command::{self, World};
use dhow_runtime::criu;
use dhow_runtime::error::Result;

/// What checkpoint and restore share.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "criu's own options")]
pub struct Criu {
    /// Directory of the images
    #[arg(long, value_name = "DIR", default_value = "checkpoint")]
    pub image_path: PathBuf,
    /// Directory of criu's logs and other files; that of the images if not given
    #[arg(long, value_name = "DIR")]
    pub work_path: Option<PathBuf>,
    /// Keep established TCP connections
    #[arg(long)]
    pub tcp_established: bool,
    /// Allow unix sockets that are connected to the outside
    #[arg(long)]
    pub ext_unix_sk: bool,
    /// Allow a session and terminal that are the caller's
    #[arg(long)]
    pub shell_job: bool,
    /// Keep file locks
    #[arg(long)]
    pub file_locks: bool,
    /// What becomes of cgroups: soft, full, strict or ignore
    #[arg(long, value_name = "MODE", default_value = "")]
    pub manage_cgroups_mode: String,
    /// Make this namespace but leave it empty; network is what there is
    #[arg(long, value_name = "NAMESPACE")]
    pub empty_ns: Vec<String>,
    /// Drop memory from older images once a newer has it
    #[arg(long)]
    pub auto_dedup: bool,
    /// Let memory follow after the restore, by userfaultfd
    #[arg(long)]
    pub lazy_pages: bool,
    /// How packets are kept away meanwhile: iptables, nftables or skip
    #[arg(long, value_name = "METHOD")]
    pub network_lock: Option<String>,
}

/// `checkpoint`.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "criu's own options")]
pub struct Checkpoint {
    /// Container
    pub id: String,
    /// Shared flags.
    #[command(flatten)]
    pub criu: Criu,
    /// Images of an earlier --pre-dump, named from --image-path
    #[arg(long, value_name = "DIR")]
    pub parent_path: Option<PathBuf>,
    /// Let it run on
    #[arg(long)]
    pub leave_running: bool,
    /// Leave out TCP connections that are only being made
    #[arg(long)]
    pub tcp_skip_in_flight: bool,
    /// Link deleted files back where possible
    #[arg(long)]
    pub link_remap: bool,
    /// Write a zero byte here once pages can be asked for
    #[arg(long, value_name = "FD", default_value_t = -1, allow_hyphen_values = true)]
    pub status_fd: i32,
    /// Send memory there, or with --lazy-pages serve it there
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub page_server: Option<String>,
    /// Save memory only, and let it run on
    #[arg(long)]
    pub pre_dump: bool,
}

/// `restore`.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "runc's own flags")]
pub struct Restore {
    /// Container
    pub id: String,
    /// Shared flags.
    #[command(flatten)]
    pub criu: Criu,
    /// The bundle's directory
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// Leave as soon as it runs
    #[arg(long, short)]
    pub detach: bool,
    /// Write the first process's pid here
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Send the terminal's master to this socket
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Leave orphans to the machine's init
    #[arg(long)]
    pub no_subreaper: bool,
    /// The machine's root is a ramfs, which can't be pivoted away
    #[arg(long)]
    pub no_pivot: bool,
    /// Close established TCP connections
    #[arg(long)]
    pub tcp_close: bool,
    /// Another profile than the saved one, as selinux:LABEL or apparmor:NAME
    #[arg(long, value_name = "TYPE:NAME")]
    pub lsm_profile: Option<String>,
    /// Another mount context than the saved one
    #[arg(long, value_name = "CONTEXT")]
    pub lsm_mount_context: Option<String>,
}

/// Performs it.
pub fn checkpoint(c: Checkpoint, world: &World) -> Result<()> {
    let asked = criu::options::Dump {
        common: common(c.criu)?,
        parent_path: c.parent_path,
        leave_running: c.leave_running,
        tcp_skip_in_flight: c.tcp_skip_in_flight,
        link_remap: c.link_remap,
        status_fd: (c.status_fd != -1).then_some(c.status_fd),
        page_server: c.page_server.as_deref().map(criu::options::page_server).transpose()?,
        pre_dump: c.pre_dump,
    };
    command::checkpoint::checkpoint(&c.id, &asked, environment(), world)
}

/// Performs it; the exit code is the container's, unless detached.
pub fn restore(r: Restore, world: &World) -> Result<i32> {
    let asked = criu::options::Restore {
        common: common(r.criu)?,
        tcp_close: r.tcp_close,
        no_pivot: r.no_pivot,
        lsm_profile: r.lsm_profile,
        lsm_mount_context: r.lsm_mount_context,
    };
    let flags = command::launch::Flags {
        id: r.id,
        bundle: r.bundle,
        pid_file: r.pid_file,
        console_socket: r.console_socket,
        no_pivot: r.no_pivot,
        ..Default::default()
    };
    let extra = command::run::Extra { detach: r.detach, keep: false, no_subreaper: r.no_subreaper };
    command::restore::restore(&flags, &extra, &asked, environment(), world)
}

fn common(c: Criu) -> Result<criu::options::Common> {
    criu::options::empty_namespaces(&c.empty_ns)?;
    Ok(criu::options::Common {
        image_path: c.image_path,
        work_path: c.work_path,
        tcp_established: c.tcp_established,
        ext_unix_sk: c.ext_unix_sk,
        shell_job: c.shell_job,
        file_locks: c.file_locks,
        auto_dedup: c.auto_dedup,
        lazy_pages: c.lazy_pages,
        cgroups: criu::options::cgroups(&c.manage_cgroups_mode)?,
        network_lock: c.network_lock.as_deref().map(criu::options::network_lock).transpose()?,
    })
}

/// What a program that we start inherits: criu looks for iptables and tar by PATH.
fn environment() -> Vec<CString> {
    let line = |(name, value): (OsString, OsString)| {
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
    };
    std::env::vars_os().filter_map(line).collect()
}
