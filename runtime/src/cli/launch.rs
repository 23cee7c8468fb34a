//! `create` and `run` as typed.

use std::path::PathBuf;

use clap::Args;
use dhow_runtime::command;

/// What create and run share.
#[derive(Debug, Args)]
pub struct Create {
    /// Container
    pub id: String,
    /// The bundle's directory
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// Another file than the bundle's config.json
    #[arg(long, short = 'f', value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Write the first process's pid here
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Send the terminal's master to this socket
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Send a pidfd of the container's first process to this socket
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<PathBuf>,
    /// Leave this many descriptors from 3 on to the container
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    /// Move the root instead of pivoting, for a root on a ramfs
    #[arg(long)]
    pub no_pivot: bool,
    /// Keep the caller's session keyring
    #[arg(long)]
    pub no_new_keyring: bool,
}

/// `create`.
#[derive(Debug, Args)]
pub struct CreateAlone {
    /// Shared flags.
    #[command(flatten)]
    pub create: Create,
    /// (crun's: nobody stays to reap orphans anyway)
    #[arg(long, hide = true)]
    pub no_subreaper: bool,
}

/// `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Shared flags.
    #[command(flatten)]
    pub create: Create,
    /// Leave as soon as the program runs
    #[arg(long, short)]
    pub detach: bool,
    /// Keep the container after its end
    #[arg(long)]
    pub keep: bool,
    /// Leave orphans to the machine's init
    #[arg(long)]
    pub no_subreaper: bool,
}

impl Create {
    /// As the library wants them.
    pub fn flags(self) -> command::launch::Flags {
        command::launch::Flags {
            id: self.id,
            bundle: self.bundle,
            config: self.config,
            pid_file: self.pid_file,
            console_socket: self.console_socket,
            pidfd_socket: self.pidfd_socket,
            preserve_fds: self.preserve_fds,
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
        }
    }
}
