//! One hierarchy's group: made, limited, joined.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;

use super::devices::Policy;
use super::files;
use super::limit::Limit;
use super::{record, update};
use crate::error::{Error, Result};

/// A group that is to be, or is.
#[derive(Debug)]
pub(super) struct Place {
    /// Its directory.
    pub dir: String,
    pub mountpoint: String,
    /// As in [`super::host::Hierarchy`].
    pub controllers: Vec<String>,
    /// What to limit.
    pub limits: Vec<Limit>,
    /// The device rules, where this is the place for them.
    pub devices: Option<Policy>,
    /// Whether failing to restrict devices is to be expected.
    pub lenient: bool,
}

/// How making a group failed.
pub(super) struct Fault {
    pub errno: Option<Errno>,
    pub error: Error,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self { errno: None, error }
    }
}

impl Place {
    pub(super) fn is_unified(&self) -> bool {
        self.controllers.is_empty()
    }

    /// Makes the group; directories made go to `made`.
    pub(super) fn make(&self, made: &mut Vec<String>) -> std::result::Result<(), Fault> {
        let new = files::make(&self.dir, made).map_err(|(errno, dir)| Fault {
            errno: Some(errno),
            error: Error::system("mkdir", dir, errno),
        })?;
        if !new {
            self.must_be_fit()?;
        }
        if self.is_unified() {
            self.enable_controllers()?;
        } else if self.controllers.iter().any(|c| c == "cpuset") {
            self.inherit_cpuset(made)?;
        }
        self.restrict()?;
        Ok(())
    }

    /// As runc: a group with processes in it, or below it, is somebody else's, and one that is
    /// frozen would hold the container before it begins.
    fn must_be_fit(&self) -> Result<()> {
        let mut pids = Vec::new();
        record::collect(&self.dir, &mut pids)?;
        if let Some(pid) = pids.first() {
            return Err(Error::rule(format!(
                "container's cgroup is not empty: {} process(es) found in {}, such as {pid}: end \
                 them or choose another /linux/cgroupsPath",
                pids.len(),
                self.dir,
            )));
        }
        let frozen = |file| files::read(&self.dir, file).as_deref() == Ok("1");
        if frozen("freezer.self_freezing") || frozen("cgroup.freeze") {
            let dir = &self.dir;
            return Err(Error::rule(format!("container's cgroup unexpectedly frozen: {dir}")));
        }
        Ok(())
    }

    /// Writes the limits and the device rules.
    pub(super) fn restrict(&self) -> Result<()> {
        update::write_all(self.limits.iter().map(|limit| (self.dir.as_str(), limit)))?;
        let Some(policy) = &self.devices else { return Ok(()) };
        let done = if self.is_unified() { self.attach(policy) } else { self.write_rules(policy) };
        match done {
            // As runc: without privileges there is no mknod to guard against.
            Err(Error::System { errno, .. }) if self.lenient && files::is_denied(errno) => Ok(()),
            other => other,
        }
    }

    fn write_rules(&self, policy: &Policy) -> Result<()> {
        let (base, lines, exceptions) = policy.lines();
        files::write(&self.dir, base, "a")
            .map_err(|e| Error::system("write", format!("{}/{base}", self.dir), e))?;
        files::write_lines(&self.dir, exceptions, &lines).map_err(|(errno, line)| {
            Error::system(format!("write {line} to"), format!("{}/{exceptions}", self.dir), errno)
        })
    }

    fn attach(&self, policy: &Policy) -> Result<()> {
        let program = dhow_kernel::bpf::load_device_program(&policy.program())
            .map_err(|e| Error::system("bpf BPF_PROG_LOAD", "of the device rules", e))?;
        let group = self.open()?;
        dhow_kernel::bpf::attach_device_program(group.as_fd(), program.as_fd())
            .map_err(|e| Error::system("bpf BPF_PROG_ATTACH", &self.dir, e))
    }

    /// Opens the group's directory.
    pub(super) fn open(&self) -> Result<File> {
        File::options()
            .read(true)
            .custom_flags(libc::O_DIRECTORY)
            .open(&self.dir)
            .map_err(|e| Error::io("open", &self.dir, &e))
    }

    /// v2: has the controllers that the host has, and at least those that the
    /// limits need, enabled from the top down to the group.
    fn enable_controllers(&self) -> Result<()> {
        let controllers = |dir: &str, file| files::read(dir, file).unwrap_or_default();
        let available = controllers(&self.mountpoint, "cgroup.controllers");
        let present = controllers(&self.dir, "cgroup.controllers");
        let has = |list: &str, name: &str| list.split(' ').any(|known| known == name);
        let missing: Vec<&str> =
            available.split(' ').filter(|name| !name.is_empty() && !has(&present, name)).collect();
        if !missing.is_empty() {
            self.enable(&missing);
        }
        let now =
            if missing.is_empty() { present } else { controllers(&self.dir, "cgroup.controllers") };
        for limit in &self.limits {
            if !limit.controller.is_empty() && !has(&now, &limit.controller) {
                let why = if has(&available, &limit.controller) {
                    format!(
                        "the {} controller is not enabled for {}: add it to cgroup.subtree_control \
                         of the groups above it, or have it delegated",
                        limit.controller, self.dir
                    )
                } else {
                    format!("this host has no {} cgroup controller", limit.controller)
                };
                return Err(Error::config(format!("/linux/resources{}", limit.pointer), why));
            }
        }
        Ok(())
    }

    /// Enables controllers in every group above ours. A group that refuses
    /// (processes in it, not ours) is left as it is: what is then missing is
    /// found by who asked for it.
    fn enable(&self, controllers: &[&str]) {
        let all = controllers.iter().map(|name| format!("+{name}")).collect::<Vec<_>>();
        let below = self.dir[self.mountpoint.len()..].trim_matches('/');
        let mut dir = self.mountpoint.clone();
        for part in below.split('/') {
            if files::write(&dir, "cgroup.subtree_control", &all.join(" ")).is_err() {
                for one in &all {
                    let _ = files::write(&dir, "cgroup.subtree_control", one);
                }
            }
            dir = format!("{dir}/{part}");
        }
    }

    /// v1: a cpuset without CPUs and nodes takes no process, so a new one
    /// starts with its parent's.
    fn inherit_cpuset(&self, made: &[String]) -> Result<()> {
        for dir in made.iter().filter(|dir| dir.starts_with(&self.mountpoint)) {
            let parent = dir.rsplit_once('/').map_or(dir.as_str(), |(parent, _)| parent);
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let own = *dir == self.dir && self.limits.iter().any(|limit| limit.file == file);
                if own {
                    continue;
                }
                let value = files::read(parent, file)
                    .map_err(|e| Error::system("read", format!("{parent}/{file}"), e))?;
                files::write(dir, file, &value)
                    .map_err(|e| Error::system("write", format!("{dir}/{file}"), e))?;
            }
        }
        Ok(())
    }
}
