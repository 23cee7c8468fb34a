//! One hierarchy's group: made, limited, joined.

use std::borrow::Cow;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;

use dhow_kernel::bpf;
use nix::errno::Errno;
use nix::unistd::{Uid, chown};

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
    /// The user that the group is handed to.
    pub owner: Option<u32>,
    /// Whether limits are this hierarchy's to hold.
    pub limited: bool,
    /// Whether somebody of ours is in it already, and systemd keeps its files, too.
    pub shared: bool,
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
        if !new && !self.shared {
            self.must_be_fit()?;
        }
        if self.is_unified() {
            // Beside v1 it carries no limits, and runc leaves its controllers alone, too.
            if self.limited {
                self.enable_controllers()?;
            }
        } else if self.controllers.iter().any(|c| c == "cpuset") {
            self.inherit_cpuset(made, new)?;
        }
        self.restrict(new)?;
        if let Some(uid) = self.owner {
            self.delegate(uid)?;
        }
        Ok(())
    }

    /// Hands the group to a user, with the files that the kernel says may be.
    ///
    /// SPEC: config-linux.md §Cgroup ownership.
    fn delegate(&self, uid: u32) -> Result<()> {
        let list = files::read("/sys/kernel/cgroup", "delegate");
        // KERNEL: since 4.15; what it lists is a matter of the version.
        let list = list.unwrap_or("cgroup.procs\ncgroup.threads\ncgroup.subtree_control".into());
        let give = |path: String| match chown(path.as_str(), Some(Uid::from_raw(uid)), None) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(Error::system(format!("chown to {uid}"), path, errno)),
        };
        give(self.dir.clone())?;
        list.lines().try_for_each(|file| give(format!("{}/{file}", self.dir)))
    }

    /// As runc: a group with processes in it, or below it, is somebody else's, and one that is
    /// frozen would hold the container before it begins.
    fn must_be_fit(&self) -> Result<()> {
        let mut pids = Vec::new();
        record::collect(self.dir.as_ref(), &mut pids)?;
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
    pub(super) fn restrict(&self, new: bool) -> Result<()> {
        let limits: Vec<Cow<'_, Limit>> = self.limits.iter().map(|l| self.for_now(l)).collect();
        update::write_all(limits.iter().map(|limit| (self.dir.as_str(), &**limit)))?;
        let Some(policy) = &self.devices else { return Ok(()) };
        let done =
            if self.is_unified() { self.attach(policy, new) } else { self.write_rules(policy) };
        match done {
            // As runc: without privileges there is no mknod to guard against.
            Err(Error::System { errno, .. }) if self.lenient && files::is_denied(errno) => Ok(()),
            other => other,
        }
    }

    /// A limit on tasks counts who is in already, too, and the first process must have room.
    fn for_now<'a>(&self, limit: &'a Limit) -> Cow<'a, Limit> {
        match tasks(limit).filter(|_| self.shared) {
            Some(number) => {
                let value = number.saturating_add(1).to_string();
                Cow::Owned(Limit { value, ..limit.clone() })
            }
            None => Cow::Borrowed(limit),
        }
    }

    /// Who was in has gone: limits on tasks are as they were asked for.
    pub(super) fn count_tasks(&self) -> Result<()> {
        let mut tasks = self.limits.iter().filter(|limit| tasks(limit).is_some());
        tasks.try_for_each(|limit| limit.write(&self.dir))
    }

    fn write_rules(&self, policy: &Policy) -> Result<()> {
        let (base, lines, exceptions) = policy.lines();
        files::write(&self.dir, base, "a")
            .map_err(|e| Error::system("write", format!("{}/{base}", self.dir), e))?;
        files::write_lines(&self.dir, exceptions, &lines).map_err(|(errno, line)| {
            Error::system(format!("write {line} to"), format!("{}/{exceptions}", self.dir), errno)
        })
    }

    /// A group that was there may have programs: as runc, ours takes their place, after it holds.
    fn attach(&self, policy: &Policy, new: bool) -> Result<()> {
        let system = |call: &'static str| {
            let subject = self.dir.clone();
            move |e| Error::system(format!("bpf {call}"), subject, e)
        };
        let program = bpf::load_device_program(&policy.program())
            .map_err(|e| Error::system("bpf BPF_PROG_LOAD", "of the device rules", e))?;
        let group = self.open()?;
        let old = if new { Ok(vec![]) } else { bpf::device_programs(group.as_fd()) };
        let old = old.map_err(system("BPF_PROG_QUERY"))?;
        bpf::attach_device_program(group.as_fd(), program.as_fd())
            .map_err(system("BPF_PROG_ATTACH"))?;
        old.iter()
            .try_for_each(|old| bpf::detach_device_program(group.as_fd(), old.as_fd()))
            .map_err(system("BPF_PROG_DETACH"))
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
        if missing.iter().any(|name| !has(&now, name)) {
            self.thread()?;
        }
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

    /// As runc: below a threaded group, or one with processes, a group is invalid until it is
    /// threaded, too; then it has no limits but those of controllers that know threads.
    ///
    /// KERNEL: cgroup-v2.rst §Threads.
    fn thread(&self) -> Result<()> {
        const THREADED: [&str; 5] = ["", "cpu", "cpuset", "perf_event", "pids"];
        let kind = files::read(&self.dir, "cgroup.type").unwrap_or_default();
        if !matches!(kind.as_str(), "domain invalid" | "threaded" | "domain threaded") {
            return Ok(());
        }
        if let Some(limit) = self.limits.iter().find(|l| !THREADED.contains(&&*l.controller)) {
            let why = format!(
                "cannot enter cgroup {} with domain controllers: it is {kind}; name another \
                 /linux/cgroupsPath, or leave the limit out",
                self.dir
            );
            return Err(Error::config(format!("/linux/resources{}", limit.pointer), why));
        }
        if kind == "domain invalid" {
            files::write(&self.dir, "cgroup.type", "threaded")
                .map_err(|e| Error::system("write", format!("{}/cgroup.type", self.dir), e))?;
        }
        Ok(())
    }

    /// v1: a cpuset without CPUs and nodes takes no process, so a new one
    /// starts with its parent's.
    fn inherit_cpuset(&self, made: &[String], new: bool) -> Result<()> {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let limited = self.limits.iter().any(|limit| limit.file == file);
            for dir in made.iter().filter(|dir| dir.starts_with(&self.mountpoint)) {
                if *dir != self.dir || !limited {
                    let parent = dir.rsplit_once('/').map_or(dir.as_str(), |(parent, _)| parent);
                    write_cpuset(dir, file, &self.cpuset(parent, file)?)?;
                }
            }
            if !new && !limited {
                self.cpuset(&self.dir, file)?;
            }
        }
        Ok(())
    }

    /// What a group that was there has; as runc, its parent's where it had nothing.
    fn cpuset(&self, dir: &str, file: &str) -> Result<String> {
        let now = files::value(dir, file)
            .map_err(|e| Error::system("read", format!("{dir}/{file}"), e))?;
        match dir.rsplit_once('/') {
            Some((parent, _)) if now.is_empty() && dir.len() > self.mountpoint.len() => {
                let value = self.cpuset(parent, file)?;
                write_cpuset(dir, file, &value)?;
                Ok(value)
            }
            _ => Ok(now),
        }
    }
}

/// The number of a limit on tasks.
fn tasks(limit: &Limit) -> Option<u64> {
    limit.value.parse().ok().filter(|_| limit.file == "pids.max")
}

fn write_cpuset(dir: &str, file: &str, value: &str) -> Result<()> {
    files::write(dir, file, value).map_err(|e| Error::system("write", format!("{dir}/{file}"), e))
}
