//! `--init`: a small program of dhow's is the container's first process, and minds the command.

use std::os::unix::fs::OpenOptionsExt;

use oci_spec::runtime::Mount;

use super::mounts::mount;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::{HostConfig, Record};

/// The program; `shim/init/main.rs`.
static PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));
/// Where docker's stands.
const PATH: &str = "/sbin/docker-init";
/// Its copy beside the container: no two containers share a file that one of them might change.
const COPY: &str = "docker-init";

/// The container has one. DOCKER: in the pids of another it would mind nobody.
pub fn wanted(config: &HostConfig) -> bool {
    config.init == Some(true) && config.pid_mode.is_empty()
}

/// Puts the program where the container's mount finds it.
pub fn write(host: &Host, record: &Record) -> Result<()> {
    let path = host.paths.container(&record.id).join(COPY);
    let _ = std::fs::remove_file(&path);
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o555).open(&path);
    made.and_then(|mut file| {
        use std::io::Write;
        // Whatever dhow's own umask is, the container's user executes it.
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o555))?;
        file.write_all(PROGRAM)
    })
    .map_err(|e| Error::io("write", &path, e))
}

/// Its mount.
pub fn mounted(host: &Host, record: &Record) -> Mount {
    let source = host.paths.container(&record.id).join(COPY);
    mount(PATH, "bind", source, &["bind", "rprivate", "ro"])
}

/// What comes before the command.
pub fn words() -> [String; 2] {
    [PATH.to_owned(), "--".to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_small_and_static() {
        assert!(PROGRAM.len() < 100_000, "{} bytes", PROGRAM.len());
        assert_eq!(&PROGRAM[..4], b"\x7fELF");
        // No interpreter: PT_INTERP would name one.
        assert!(!PROGRAM.windows(3).any(|w| w == b"ld-"));
    }

    #[test]
    fn in_pids_of_others_there_is_none() {
        let of =
            |init, pid: &str| HostConfig { init, pid_mode: pid.into(), ..HostConfig::default() };
        assert!(wanted(&of(Some(true), "")));
        assert!(!wanted(&of(Some(true), "host")) && !wanted(&of(None, "")));
    }
}
