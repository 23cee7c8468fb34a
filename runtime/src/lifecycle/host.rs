//! What a config asks of the host, checked before anything is made.

use std::path::Path;

use crate::error::{Error, Result};
use crate::validate::Container;
use crate::validate::process::Process;

/// The root must be there, and the security modules that labels are for.
pub fn check(c: &Container<'_>) -> Result<()> {
    let rootfs = c.rootfs.to_string_lossy();
    match std::fs::metadata(&*rootfs) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => return Err(Error::config("/root/path", format!("{rootfs} is not a directory"))),
        Err(e) => {
            let errno = crate::init::protocol::errno_of(&e);
            let why = format!("invalid rootfs: stat {rootfs}: {}", crate::error::describe(errno));
            return Err(Error::config("/root/path", why));
        }
    }
    labels(&c.process, "/process")
}

/// As runc: a label that nothing would enforce is refused.
pub fn labels(p: &Process, at: &str) -> Result<()> {
    if !p.apparmor.is_empty() && p.apparmor != "unconfined" && !apparmor() {
        let why = "apparmor: config provided but apparmor not supported";
        return Err(Error::config(format!("{at}/apparmorProfile"), why));
    }
    if !p.selinux.is_empty() && !Path::new("/sys/fs/selinux/enforce").exists() {
        let why = "selinux label is specified in config, but selinux is disabled or not supported";
        return Err(Error::config(format!("{at}/selinuxLabel"), why));
    }
    Ok(())
}

fn apparmor() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|t| t.starts_with(b"Y"))
}
