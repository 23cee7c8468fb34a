//! `type=secret`: files in memory and variables, for one RUN; no layer, record or log has them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dhow_kernel::mount as kernel;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::{Attached, Mounter, Settled, absolute};
use crate::build::dockerfile::RunMount;
use crate::build::run::{Mount, Mounted};
use crate::build::{Secret, SecretFrom};
use crate::error::{Error, Result};
use crate::store::make_dir;

/// No secret is larger, as BuildKit has it.
const MAX: u64 = 500 << 10;

/// Memory that secrets of one RUN lie in.
#[derive(Debug)]
pub(super) struct Vault {
    dir: PathBuf,
    files: usize,
    _attached: Attached,
}

impl Mounter<'_> {
    pub(super) fn secret(
        &self,
        mount: &RunMount,
        vault: &mut Option<Vault>,
        all: &mut Settled,
    ) -> Result<()> {
        let id = id(mount)?;
        let Some(secret) = self.secrets.iter().find(|secret| secret.id == id) else {
            if !mount.required {
                return Ok(());
            }
            let hint = format!("give it with --secret id={id},src=FILE");
            return Err(Error::NotFound { what: "secret", name: id, hint });
        };
        let value = read(secret)?;
        if let Some(name) = &mount.env {
            let text = String::from_utf8(value.clone())
                .ok()
                .filter(|text| !text.contains('\0'))
                .ok_or_else(|| Error::invalid(format!("secret {id}"), "it is no text"))?;
            all.env.push(format!("{name}={text}"));
            if mount.target.is_none() {
                return Ok(());
            }
        }
        let target = match &mount.target {
            Some(target) => absolute(self.cwd, target)?,
            None => format!("/run/secrets/{}", base(&id)),
        };
        let vault = match vault {
            Some(vault) => vault,
            None => vault.insert(Vault::new(&self.scratch.join("vault"))?),
        };
        let what = Mounted::Bind(Arc::new(vault.keep(mount, &value)?));
        all.mounts.push(Mount { target, what, readonly: true });
        Ok(())
    }
}

/// What the secret is called.
fn id(mount: &RunMount) -> Result<String> {
    let named = [&mount.source, &mount.id].into_iter().flatten().find(|name| !name.is_empty());
    match (named, &mount.target) {
        (Some(name), _) => Ok(name.clone()),
        (None, Some(target)) => Ok(base(target).to_owned()),
        (None, None) => Err(Error::usage("mount", "type=secret", "it needs an id or a target")),
    }
}

/// The last part of a path.
fn base(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

fn read(secret: &Secret) -> Result<Vec<u8>> {
    let too_large = || Error::invalid(format!("secret {}", secret.id), "it is larger than 500 KiB");
    let value = match &secret.from {
        SecretFrom::Value(value) => value.clone(),
        SecretFrom::File(path) => {
            let mut value = Vec::new();
            let file = File::open(path).map_err(Error::at("read", path))?;
            file.take(MAX + 1).read_to_end(&mut value).map_err(Error::at("read", path))?;
            value
        }
    };
    if value.len() as u64 > MAX { Err(too_large()) } else { Ok(value) }
}

impl Vault {
    fn new(dir: &Path) -> Result<Self> {
        make_dir(dir)?;
        let fail = |e: nix::errno::Errno| Error::io("mount memory for secrets at", dir, e.into());
        let context = kernel::fsopen(c"tmpfs").map_err(fail)?;
        kernel::fsconfig_string(context.as_fd(), c"mode", c"0700").map_err(fail)?;
        kernel::fsconfig_create(context.as_fd()).map_err(fail)?;
        let flags = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
        let mounted = kernel::fsmount(context.as_fd(), flags).map_err(fail)?;
        let place = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let at = open(dir, place, Mode::empty()).map_err(fail)?;
        kernel::move_mount(mounted.as_fd(), at.as_fd()).map_err(fail)?;
        Ok(Self { dir: dir.to_owned(), files: 0, _attached: Attached(dir.to_owned()) })
    }

    /// Puts a secret into it.
    fn keep(&mut self, mount: &RunMount, value: &[u8]) -> Result<OwnedFd> {
        let path = self.dir.join(self.files.to_string());
        self.files += 1;
        let mode = fs::Permissions::from_mode(mount.mode.unwrap_or(0o400) & 0o777);
        let mut file = File::options();
        file.write(true).create_new(true).mode(0o600);
        file.open(&path)
            .and_then(|mut file| {
                file.write_all(value)?;
                fchown(&file, mount.uid.or(Some(0)), mount.gid.or(Some(0)))?;
                file.set_permissions(mode)
            })
            .map_err(Error::at("write", &path))?;
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        open(&path, flags, Mode::empty()).map_err(|e| Error::io("open", &path, e.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_source_id_or_the_targets_name() {
        let of = |source: &str, named: &str, target: &str| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let (source, target) = (some(source), some(target));
            id(&RunMount { source, id: some(named), target, ..RunMount::default() }).ok()
        };
        assert_eq!(of("s", "i", "/t"), Some("s".into()));
        assert_eq!(of("", "i", "/t"), Some("i".into()));
        assert_eq!(of("", "", "/a/t"), Some("t".into()));
        assert_eq!(of("", "", ""), None);
        assert_eq!(base("../../x/y"), "y");
    }
}
