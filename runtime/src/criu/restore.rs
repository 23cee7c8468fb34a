//! A directory of images into a running container, as a bundle's config.json has it.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use dhow_kernel::process::{self, Fork, Side, Vector};
use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use super::options::{Directories, Restore, config_file};
use super::rpc::{CgroupMode, Kind, Notify, Options, Request};
use super::spaces::Given;
use super::swrk::{Criu, Failed, Listener, Program, Seat};
use super::verify::verify;
use super::{descriptors, dump, external, log, points, spaces, version};
use crate::error::{Error, Result};
use crate::init::console;
use crate::init::fault::Because;
use crate::init::parent::{self, Init};
use crate::init::protocol::Link;
use crate::lifecycle::{self, Draft, Terminal, Wanted};
use crate::resctrl::Group;
use crate::state::{self, Dir, Held, Identity, Record, Store, file};
use crate::validate::linux::ns;

const LOG: &str = "restore.log";
/// What criu writes beside its log, and would write through a link.
const WRITTEN: [&str; 2] = [LOG, "stats-restore"];

/// A container that runs again.
#[derive(Debug)]
pub struct Restored {
    /// Its directory, held.
    pub held: Held,
    /// Its first process.
    pub init: Init,
    /// Its record.
    pub record: Record,
}

/// Restores it; on failure nothing of it stays.
pub fn restore(
    store: &Store,
    wanted: &Wanted<'_>,
    asked: &Restore,
    terminal: &mut dyn Terminal,
    program: &Program,
) -> Result<Restored> {
    store.judge(wanted.id)?;
    let mut draft = lifecycle::draft(wanted)?;
    dump::savable(&draft.decided.plan)?;
    let dirs = asked.common.open(false)?;
    let standard = descriptors::read(&dirs.images)?;
    dirs.unlinked(&WRITTEN)?;
    dirs.parents()?;
    let criu = version::ask(program)?;
    let mut options = options(asked, &dirs, &draft, criu)?;
    let given = spaces::on_restore(&draft.decided.plan.spaces, criu)?;
    options.join_ns.clone_from(&given.join);
    let named = given.descriptors.iter().map(|(key, fd)| ((*key).to_owned(), fd.as_raw_fd()));
    options.inherit_fd = standard.into_iter().chain(named).collect();
    let console = terminal.socket(draft.decided.plan.process.terminal)?;
    let held = wanted.log.trace.step("reserve", || store.reserve(wanted.id))?;
    let chosen = Chosen { asked, dirs: &dirs, given, console, program };
    let make = || make(&held, &mut draft, options, chosen);
    let made = wanted.log.trace.step("criu", make);
    let made = made.map_err(|failed| log::explain(failed, &dirs, LOG));
    match made {
        Ok(init) => Ok(Restored { held, init, record: draft.record }),
        Err(e) => {
            // criu has ended what it made; whatever it lost is in the groups.
            let _ = draft.record.cgroup.kill(libc::SIGKILL);
            draft.decided.group.undo();
            draft.decided.rdt.iter().for_each(Group::undo);
            let removed = held.dir.remove();
            held.release();
            let hooks = &draft.decided.rest.hooks;
            lifecycle::run_poststop(hooks, &lifecycle::told(&draft.record), wanted.log);
            removed.and(Err(e))
        }
    }
}

fn options(asked: &Restore, dirs: &Directories, draft: &Draft, criu: i32) -> Result<Options> {
    for (value, flag) in
        [(&asked.lsm_profile, "--lsm-profile"), (&asked.lsm_mount_context, "--lsm-mount-context")]
    {
        if value.is_some() {
            version::at_least(criu, version::LSM_PROFILE, flag)?;
        }
    }
    let mut out = Options {
        evasive_devices: true,
        rst_sibling: true,
        log_file: LOG.to_owned(),
        tcp_close: asked.tcp_close,
        lsm_profile: asked.lsm_profile.clone(),
        lsm_mount_context: asked.lsm_mount_context.clone(),
        config_file: config_file(&draft.record.annotations)?,
        ..Options::default()
    };
    asked.common.write(dirs, &mut out);
    Ok(out)
}

/// What a restore goes by, besides what the container is.
struct Chosen<'a> {
    asked: &'a Restore,
    dirs: &'a Directories,
    given: Given,
    console: Option<OwnedFd>,
    program: &'a Program,
}

fn make(
    held: &Held,
    draft: &mut Draft,
    mut options: Options,
    chosen: Chosen<'_>,
) -> std::result::Result<Init, Failed> {
    let dir = &held.dir;
    dir.record(&draft.record)?;
    dir.write(file::CONFIG, &draft.text)?;
    draft.decided.group.create()?;
    draft.decided.rdt.as_ref().map_or(Ok(()), Group::create)?;
    points::make(&draft.decided.plan)?;
    options.ext_mnt = external::on_restore(&draft.decided.plan, &draft.decided.group.mounts())?;
    let root = root(dir)?;
    options.root = root.to_string_lossy().into_owned();
    let (rootfs, no_pivot) = (draft.decided.plan.rootfs.clone(), chosen.asked.no_pivot);
    // Told to ignore groups, criu makes no cgroup namespace either: its own is inherited then.
    let ignored = chosen.asked.common.cgroups == CgroupMode::Ignore;
    let own = ignored && draft.decided.plan.spaces.cgroup;
    let spaces = chosen.given.descriptors.iter().map(|(_, fd)| fd.as_raw_fd());
    let criu = Criu::start(
        chosen.program,
        Seat {
            keep: spaces.collect(),
            directories: chosen.dirs.numbers(),
            group: draft.decided.group.into_fd()?,
            doors: draft.decided.group.doors()?,
            mounts: Some(&|| {
                if own {
                    unshare(CloneFlags::CLONE_NEWCGROUP)
                        .because("unshare", "the cgroup namespace")?;
                }
                points::root_for_criu(&rootfs, &root, no_pivot)
            }),
        },
    )?;
    options.cg_root = groups(criu.pid.as_raw())?;
    draft.record.rdt.enter(criu.pid.as_raw())?;
    let groups = options.cg_root.clone();
    let mut watch = Watch { dir, draft, console: chosen.console, groups };
    let answer = criu.ask(&Request::Perform(Kind::Restore, Box::new(options)), &mut watch);
    let code = criu.end();
    let _ = fs::remove_dir(dir.file(ROOT));
    let pid = Pid::from_raw(answer?.pid);
    if code? != 0 || pid.as_raw() != draft.record.process.pid || pid.as_raw() <= 0 {
        let why = "criu failed: restore: it names no process that it told us of";
        return Err(Error::rule(why).into());
    }
    draft.decided.group.settle()?;
    let system = |e| Error::system("take hold of", "the restored process", e);
    let pidfd = process::pidfd_open(pid).map_err(system)?;
    // It never speaks: what it had to be told came from its images.
    let (link, _) = Link::pair().map_err(system)?;
    Ok(Init { pid, pidfd, link })
}

/// Where criu finds the root, in its own mount namespace; elsewhere it stays empty.
const ROOT: &str = "criu-root";

/// Whether a restore into this directory was killed: its criu may be left, in the container's groups.
pub fn was_broken_off(dir: &Dir) -> bool {
    fs::exists(dir.file(ROOT)).unwrap_or(false)
}

fn root(dir: &Dir) -> Result<CString> {
    let path = dir.file(ROOT);
    let io = |e| Error::io("mkdir", path.to_string_lossy(), &e);
    fs::create_dir(&path).map_err(io)?;
    let real = fs::canonicalize(&path).map_err(io)?;
    CString::new(real.into_os_string().into_vec())
        .map_err(|_| Error::rule("the state directory's path has a NUL byte"))
}

/// The groups criu is in: to it they are where the dumped ones were.
pub fn groups(pid: i32) -> Result<Vec<(String, String)>> {
    let path = format!("/proc/{pid}/cgroup");
    let text = fs::read_to_string(&path).map_err(|e| Error::io("read", &path, &e))?;
    Ok(parse(&text))
}

fn parse(text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        if let (Some(names), Some(path)) = (fields.next(), fields.next()) {
            all.extend(names.split(',').map(|name| (name.to_owned(), path.to_owned())));
        }
    }
    all
}

/// Does our part while criu restores.
struct Watch<'a> {
    dir: &'a Dir,
    draft: &'a mut Draft,
    console: Option<OwnedFd>,
    groups: Vec<(String, String)>,
}

impl Listener for Watch<'_> {
    fn hear(&mut self, notify: &Notify, sent: Option<OwnedFd>) -> Result<()> {
        match notify.script.as_str() {
            "setup-namespaces" => self.set_up(notify.pid),
            "post-restore" => self.remember(notify.pid),
            "pre-resume" => self.judge(),
            "orphan-pts-master" => match (sent, self.console.take()) {
                (Some(master), Some(socket)) => {
                    console::send(socket.as_fd(), master.as_fd(), "/dev/console")
                        .map_err(|e| Error::system("send the terminal to", "the console socket", e))
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

impl Watch<'_> {
    /// The namespaces are there, and the process in them that will be the first one.
    fn set_up(&self, pid: i32) -> Result<()> {
        let (plan, rest) = (&self.draft.decided.plan, &self.draft.decided.rest);
        if plan.spaces.clone & ns::NET != 0 {
            loopback(pid)?;
        }
        let (state, env) = (lifecycle::told(&self.draft.record), Vector::environment());
        let scene = |kind| state.outside(kind, "created", pid, &env);
        scene("prestart").run(&rest.hooks.prestart)?;
        scene("createRuntime").run(&rest.hooks.create_runtime)
    }

    /// All is restored, credentials too, and stopped for the last time. criu would go on after a
    /// failure here, so the processes end before it hears of it.
    fn judge(&self) -> Result<()> {
        let record = &self.draft.record;
        verify(&self.draft.decided.plan, record.process.pid, &self.groups).inspect_err(|_| {
            if let Ok(Some(first)) = record.process.open() {
                let _ = process::pidfd_signal(first.as_fd(), libc::SIGKILL);
            }
            let _ = record.cgroup.kill(libc::SIGKILL);
        })
    }

    /// All is restored and nothing runs yet: from here on it can be found again.
    fn remember(&mut self, pid: i32) -> Result<()> {
        let record = &mut self.draft.record;
        record.process = Identity::of(Pid::from_raw(pid))?;
        record.created = state::now();
        self.dir.record(record)
    }
}

/// A new network namespace is restored empty: `lo` is brought up as `create` does, before
/// sockets are restored that are bound to its addresses.
fn loopback(pid: i32) -> Result<()> {
    let path = format!("/proc/{pid}/ns/net");
    let system = |e| Error::system("bring up lo in", &path, e);
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let space = open(path.as_str(), flags, Mode::empty()).map_err(system)?;
    // A child's: this process stays where it is.
    let pidfd = match process::fork(&Fork::default()).map_err(system)? {
        Side::Child => {
            let done = setns(space, CloneFlags::CLONE_NEWNET)
                .and_then(|()| dhow_kernel::net::loopback_up());
            process::exit_now(done.map_or_else(|errno| errno as i32, |_| 0))
        }
        Side::Parent(_, pidfd) => pidfd,
    };
    match parent::wait(pidfd.as_fd()).map_err(system)? {
        0 => Ok(()),
        errno => Err(system(nix::errno::Errno::from_raw(errno))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_controller_has_its_root() {
        let text = "5:cpu,cpuacct:/a/x\n1:name=systemd:/a:b\n0::/u\n";
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let all = [
            pair("cpu", "/a/x"),
            pair("cpuacct", "/a/x"),
            pair("name=systemd", "/a:b"),
            pair("", "/u"),
        ];
        assert_eq!(parse(text), all);
    }
}
