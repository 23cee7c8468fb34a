//! Making a user namespace, and finding the one in which a user's containers live.
//!
//! Whoever is in it holds a lock on RUN/userns, so that the next command learns from the kernel
//! who that is; the file itself says which namespace it was.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dhow_kernel::process::{Fork, Side, exit_now, fork};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::wait::waitpid;

use super::{Inside, ids};
use crate::error::{Error, Result};
use crate::layer::IdMap;
use crate::store::make_dir;

/// RUN/userns: which namespace it is, locked by all who are in it.
const RECORD: &str = "userns";
/// RUN/userns.lock: one enters at a time.
const GATE: &str = "userns.lock";

/// Joins the user namespace of RUN, or makes it; the lock that says that we are in it.
pub(super) fn enter(run: &Path) -> Result<(Inside, File)> {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    make_dir(run)?;
    let gate = open(&run.join(GATE))?;
    gate.lock().map_err(Error::at("lock", run.join(GATE)))?;
    let mut record = open(&run.join(RECORD))?;
    if let Some(space) = living(run, &mut record)? {
        setns(space, CloneFlags::CLONE_NEWUSER)
            .map_err(|e| refused("join", "the user namespace of the containers", e))?;
    } else {
        make(uid, gid)?;
        let text = format!("{}\n", fs::metadata("/proc/self/ns/user").map_or(0, |m| m.ino()));
        record.set_len(0).map_err(Error::at("write", run.join(RECORD)))?;
        io::Seek::rewind(&mut record)
            .and_then(|()| record.write_all(text.as_bytes()))
            .map_err(Error::at("write", run.join(RECORD)))?;
    }
    hold(&record, run)?;
    // Mounts want a mount namespace that is the user namespace's.
    unshare(CloneFlags::CLONE_NEWNS).map_err(|e| refused("make", "a mount namespace", e))?;
    let slave = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    mount(None::<&str>, "/", None::<&str>, slave, None::<&str>)
        .map_err(|e| refused("make", "mounts private", e))?;
    drop(gate);
    Ok((Inside { uid, gid, uids: map("uid_map")?, gids: map("gid_map")? }, record))
}

/// Says that we, too, are in the namespace of RUN: for a program that was begun in it.
pub(super) fn stay(run: &Path) -> Result<File> {
    let record = open(&run.join(RECORD))?;
    hold(&record, run)?;
    Ok(record)
}

/// The map of this process.
pub(super) fn map(name: &str) -> Result<IdMap> {
    let path = Path::new("/proc/self").join(name);
    fs::read_to_string(&path).map(|text| ids::read(&text)).map_err(Error::at("read", path))
}

fn open(path: &Path) -> Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(Error::at("open", path))
}

fn whole(kind: i32) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

fn hold(record: &File, run: &Path) -> Result<()> {
    fcntl(record, FcntlArg::F_SETLK(&whole(libc::F_RDLCK)))
        .map(drop)
        .map_err(|e| Error::io("lock", run.join(RECORD), e.into()))
}

/// The namespace in which somebody of this world lives.
fn living(run: &Path, record: &mut File) -> Result<Option<File>> {
    let mut text = String::new();
    record.read_to_string(&mut text).map_err(Error::at("read", run.join(RECORD)))?;
    let Ok(number) = text.trim().parse::<u64>() else { return Ok(None) };
    let space = |pid: &OsStr| {
        let found = File::open(Path::new("/proc").join(pid).join("ns/user")).ok()?;
        (found.metadata().ok()?.ino() == number).then_some(found)
    };
    let mut last = 0;
    loop {
        let mut lock = whole(libc::F_WRLCK);
        fcntl(&*record, FcntlArg::F_GETLK(&mut lock))
            .map_err(|e| Error::io("ask for the lock of", run.join(RECORD), e.into()))?;
        if lock.l_type == libc::F_UNLCK as libc::c_short || lock.l_pid == last {
            break;
        }
        last = lock.l_pid;
        if let Some(space) = space(&OsString::from(last.to_string())) {
            return Ok(Some(space));
        }
    }
    // A container outlives a monitor that was killed.
    let monitors = fs::read_dir(run.join("monitors")).into_iter().flatten();
    if monitors.count() == 0 {
        return Ok(None);
    }
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut numbers = all
        .map(|entry| entry.file_name())
        .filter(|n| n.as_encoded_bytes().first().is_some_and(u8::is_ascii_digit));
    Ok(numbers.find_map(|pid| space(&pid)))
}

/// A new user namespace, with all ids that this user may have.
fn make(uid: u32, gid: u32) -> Result<()> {
    if uid == 0 {
        return if may_map() { make_with(map_all) } else { make_alone(uid, gid) };
    }
    match Helpers::find(uid, gid) {
        Some(helpers) => make_with(|pid| helpers.call(pid)),
        None => make_alone(uid, gid),
    }
}

/// Whether root, who may not mount, may at least say who is who: so it is in most containers.
fn may_map() -> bool {
    // KERNEL: user_namespaces(7): the third one, since Linux 5.12, is for the id 0.
    let needed = ["CAP_SETUID", "CAP_SETGID", "CAP_SETFCAP"];
    needed.into_iter().all(super::has_capability)
}

/// All ids of this namespace are the same ones in that of process `pid`.
fn map_all(pid: u32) -> std::result::Result<(), String> {
    for name in ["uid_map", "gid_map"] {
        let mut all = map(name).map_err(|e| e.to_string())?;
        all.0.iter_mut().for_each(|range| range.outside = range.inside);
        let lines = all.0.iter().map(|r| format!("{} {} {}\n", r.inside, r.outside, r.size));
        let path = Path::new("/proc").join(pid.to_string()).join(name);
        fs::write(&path, lines.collect::<String>())
            .map_err(|e| format!("write {}: {e}", path.display()))?;
    }
    Ok(())
}

/// A new user namespace whose ids `call` maps, outside of it: it is given the process that is in it.
fn make_with(call: impl Fn(u32) -> std::result::Result<(), String>) -> Result<()> {
    let failed = |e: io::Error| Error::io("make", "a user namespace", e);
    let (mut wait, mut go) = io::pipe().map_err(failed)?;
    let (mut answer, mut tell) = io::pipe().map_err(failed)?;
    let pid = std::process::id();
    let side = fork(&Fork::default()).map_err(|e| failed(e.into()))?;
    let Side::Parent(child, _handle) = side else {
        drop((go, answer));
        if wait.read(&mut [0]).is_ok_and(|n| n == 1)
            && let Err(why) = call(pid)
        {
            let _ = tell.write_all(why.as_bytes());
        }
        exit_now(0)
    };
    drop((wait, tell));
    let made = unshare(CloneFlags::CLONE_NEWUSER);
    if made.is_ok() {
        go.write_all(&[1]).map_err(failed)?;
    }
    drop(go);
    let mut why = String::new();
    answer.read_to_string(&mut why).map_err(failed)?;
    let _ = waitpid(child, None);
    made.map_err(|e| refused("make", "a user namespace", e))?;
    if why.is_empty() { Ok(()) } else { Err(Error::Conflict(why)) }
}

fn make_alone(uid: u32, gid: u32) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|e| refused("make", "a user namespace", e))?;
    // KERNEL: user_namespaces(7): who has no right over groups writes a gid map only so.
    let lines = [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {uid} 1")),
        ("gid_map", format!("0 {gid} 1")),
    ];
    for (name, line) in lines {
        let path = Path::new("/proc/self").join(name);
        fs::write(path, line).map_err(|e| {
            refused(
                "map the user in",
                "a user namespace",
                Errno::from_raw(e.raw_os_error().unwrap_or(0)),
            )
        })?;
    }
    Ok(())
}

/// newuidmap(1) and newgidmap(1), and what they are to map.
struct Helpers {
    uid: (PathBuf, IdMap),
    gid: (PathBuf, IdMap),
}

impl Helpers {
    /// Nothing where the user has no ranges, or the machine no helpers.
    fn find(uid: u32, gid: u32) -> Option<Self> {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let passwd = read("/etc/passwd");
        let name = ids::name(&passwd, uid);
        let runs =
            |file: &str| Some(ids::granted(&read(file), name, uid)).filter(|r| !r.is_empty());
        let (uids, gids) = (runs("/etc/subuid")?, runs("/etc/subgid")?);
        let program = super::program;
        Some(Self {
            uid: (program("newuidmap")?, ids::map(uid, &uids)),
            gid: (program("newgidmap")?, ids::map(gid, &gids)),
        })
    }

    /// They need a process outside that calls them.
    fn call(&self, pid: u32) -> std::result::Result<(), String> {
        for (program, map) in [&self.uid, &self.gid] {
            let name = program.display();
            let mut call = Command::new(program);
            call.arg(pid.to_string()).stdin(Stdio::null());
            for range in &map.0 {
                call.args([range.inside, range.outside, range.size].map(|n| n.to_string()));
            }
            let done = call.output().map_err(|e| format!("{name}: {e}"))?;
            if !done.status.success() {
                let said = String::from_utf8_lossy(&done.stderr);
                let last =
                    said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it failed");
                return Err(format!(
                    "{name}: {last}; it has to be setuid root, and /etc/subuid and /etc/subgid its to read"
                ));
            }
        }
        Ok(())
    }
}

/// Why an ordinary user gets no namespace, and what to do.
fn refused(act: &'static str, what: &str, e: Errno) -> Error {
    let on = |sysctl: &str| {
        let text = fs::read_to_string(Path::new("/proc/sys").join(sysctl)).unwrap_or_default();
        text.trim().to_owned()
    };
    let hint = match e {
        Errno::EPERM | Errno::EACCES if on("kernel/unprivileged_userns_clone") == "0" => {
            "; the machine forbids it: sysctl kernel.unprivileged_userns_clone=1"
        }
        Errno::EPERM | Errno::EACCES
            if on("kernel/apparmor_restrict_unprivileged_userns") == "1" =>
        {
            "; AppArmor forbids it: give this program a profile with userns, or sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        }
        Errno::ENOSPC => "; the machine allows no more: raise sysctl user.max_user_namespaces",
        Errno::EPERM => {
            "; in a container, its seccomp profile may forbid it: --security-opt seccomp=unconfined there"
        }
        _ => "",
    };
    Error::Conflict(format!("cannot {act} {what}: {}{hint}", e.desc()))
}
