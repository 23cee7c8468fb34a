//! Is argv\[0\] there, and can it be executed? Asked before the runtime is,
//! so that 126 and 127 never hang on another program's wording.

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};

use crate::bundle::RootDir;
use crate::error::{Error, Kind, Result};

/// Checks argv\[0\] as execvp(3) would look for it, with this environment and directory.
pub fn check(root: &RootDir, name: &str, env: &[String], cwd: &str) -> Result<()> {
    let verdict = if name.contains('/') {
        let path = if name.starts_with('/') { name.to_owned() } else { format!("{cwd}/{name}") };
        look(root, &path)
    } else {
        search(root, name, env, cwd)
    };
    match verdict {
        Verdict::Fine => Ok(()),
        Verdict::Missing if name.contains('/') => {
            Err(Error::new(Kind::NoCommand, format!("exec: \"{name}\": no such file or directory")))
        }
        Verdict::Missing => Err(Error::new(
            Kind::NoCommand,
            format!("exec: \"{name}\": executable file not found in $PATH"),
        )),
        Verdict::Directory => {
            Err(Error::new(Kind::NotExecutable, format!("exec: \"{name}\": is a directory")))
        }
        Verdict::Denied => Err(Error::new(
            Kind::NotExecutable,
            format!("exec: \"{name}\": permission denied; the file is not executable"),
        )),
    }
}

enum Verdict {
    Fine,
    Missing,
    Directory,
    Denied,
}

fn search(root: &RootDir, name: &str, env: &[String], cwd: &str) -> Verdict {
    let path = env.iter().find_map(|e| e.strip_prefix("PATH=")).unwrap_or_default();
    let mut denied = false;
    for dir in path.split(':') {
        let candidate = match dir {
            "" => format!("{cwd}/{name}"),
            dir if dir.starts_with('/') => format!("{dir}/{name}"),
            dir => format!("{cwd}/{dir}/{name}"),
        };
        match look(root, &candidate) {
            Verdict::Fine => return Verdict::Fine,
            Verdict::Denied => denied = true,
            Verdict::Missing | Verdict::Directory => {}
        }
    }
    if denied { Verdict::Denied } else { Verdict::Missing }
}

fn look(root: &RootDir, path: &str) -> Verdict {
    let fd = match root.at(path, OFlag::O_PATH) {
        Ok(fd) => fd,
        // /proc and /dev are not mounted yet: /proc/self/exe and its like are the runtime's to judge.
        Err(Errno::EACCES | Errno::ELOOP) => return Verdict::Fine,
        Err(_) if path.starts_with("/proc/") || path.starts_with("/dev/") => return Verdict::Fine,
        Err(_) => return Verdict::Missing,
    };
    let Ok(stat) = fstat(&fd) else { return Verdict::Missing };
    if SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFDIR {
        Verdict::Directory
    } else if stat.st_mode & 0o111 == 0 {
        Verdict::Denied
    } else {
        Verdict::Fine
    }
}
