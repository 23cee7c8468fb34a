//! `exec` as typed.

use std::path::PathBuf;

use clap::Args;
use dhow_runtime::command;

/// `exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// Send the terminal's master to this socket
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Send a pidfd of the process to this socket
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<PathBuf>,
    /// Start in this directory
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,
    /// Set a variable of the environment
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Give it a terminal
    #[arg(long, short)]
    pub tty: bool,
    /// Execute as this user
    #[arg(long, short, value_name = "UID[:GID]")]
    pub user: Option<String>,
    /// Add a supplementary group
    #[arg(long, short = 'g', value_name = "GID")]
    pub additional_gids: Vec<u32>,
    /// Take the whole process from this file
    #[arg(long, short, value_name = "FILE")]
    pub process: Option<PathBuf>,
    /// Leave as soon as the program runs
    #[arg(long, short)]
    pub detach: bool,
    /// Write its pid here
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// SELinux label
    #[arg(long, value_name = "LABEL")]
    pub process_label: Option<String>,
    /// AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    pub apparmor: Option<String>,
    /// Set no_new_privs
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub no_new_privs: Option<bool>,
    /// Add a capability
    #[arg(long, short, value_name = "CAP")]
    pub cap: Vec<String>,
    /// Leave this many descriptors from 3 on to it
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    /// Put it into a cgroup below the container's
    #[arg(long, value_name = "[CONTROLLER:]PATH")]
    pub cgroup: Vec<String>,
    /// Also in a paused container
    #[arg(long)]
    pub ignore_paused: bool,
    /// Container
    pub id: String,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<String>,
}

impl Exec {
    /// As the library wants them.
    pub fn flags(self) -> command::exec::Flags {
        command::exec::Flags {
            id: self.id,
            args: self.args,
            process: self.process,
            cwd: self.cwd,
            env: self.env,
            tty: self.tty,
            user: self.user,
            additional_gids: self.additional_gids,
            process_label: self.process_label,
            apparmor: self.apparmor,
            no_new_privs: self.no_new_privs,
            cap: self.cap,
            cgroup: self.cgroup,
            detach: self.detach,
            pid_file: self.pid_file,
            console_socket: self.console_socket,
            pidfd_socket: self.pidfd_socket,
            preserve_fds: self.preserve_fds,
            ignore_paused: self.ignore_paused,
        }
    }
}
