//! `dhow system unit`: what has systemd start containers at boot.

use clap::Args;
use dhow_image::rootless;

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::output::Output;
use crate::units::{Manager, machine};

/// Print a systemd unit that starts containers at boot and stops them at shutdown
#[derive(Debug, Args)]
#[command(after_help = "install.sh and the package install it. By hand:\n  \
                        dhow system unit > /etc/systemd/system/dhow.service\n  \
                        systemctl enable --now dhow")]
pub struct Unit {
    /// For the systemd of a user, ~/.config/systemd/user/dhow.service (an ordinary user's always is)
    #[arg(long)]
    pub user: bool,
}

impl Unit {
    /// Prints the unit, for this program, --root and --run.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let root = host.paths.root.to_string_lossy();
        let text = program(host).and_then(|dhow| machine(manager(self.user), &dhow, Some(&root)));
        match text {
            Ok(text) => {
                out.text(&text);
                out.exit()
            }
            Err(e) => out.end(Err(e)),
        }
    }
}

/// Whose systemd it is for.
pub(super) fn manager(user: bool) -> Manager {
    if user || rootless::inside().is_some() { Manager::User } else { Manager::System }
}

/// This program, and the flags that choose this world where it isn't the usual one.
pub(super) fn program(host: &Host) -> Result<Vec<String>> {
    let exe = std::path::Path::new("/proc/self/exe");
    let program = std::fs::read_link(exe).map_err(|e| Error::io("read", exe, e))?;
    let (root, run) = (&host.paths.root, &host.paths.run);
    let mut words = vec![&program];
    let (flags, usual) = (["--root", "--run"].map(std::path::PathBuf::from), host.paths.is_usual());
    if !usual {
        words.extend([&flags[0], root, &flags[1], run]);
    }
    let text = |path: &std::path::PathBuf| {
        let none = || Error::io("path", path, "can't stand in a unit");
        path.to_str().map(str::to_owned).ok_or_else(none)
    };
    words.into_iter().map(text).collect()
}
