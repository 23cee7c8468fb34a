//! What was restored against what config.json allows, before any of it runs.
//!
//! criu gives processes what the images say: namespaces, capabilities, mounts. Images may be
//! foreign, so the result is looked at once all is restored and still stopped.
//! DIFFERS: from its peers, which run whatever the images make.

use std::collections::BTreeSet;
use std::fs;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat, stat};

use super::external::Tree;
use super::mountinfo::{self, Entry, below};
use super::rpc::Pair;
use super::spaces::joined;
use crate::error::{Error, Result};
use crate::init::mask::is_null;
use crate::plan::{Plan, Spaces};
use crate::validate::capability;
use crate::validate::linux::{KINDS, ns};
use crate::validate::mount::Kind;

/// Who may mount may also unmount, so that nothing is known of such a container's mounts.
const SYS_ADMIN: u8 = 21;

/// Looks at the tree of processes below `pid`, which are in `groups`.
pub fn verify(plan: &Plan, pid: i32, groups: &[Pair]) -> Result<()> {
    let mut all = BTreeSet::from([pid]);
    descend(pid, &mut all)?;
    let allowed = plan.process.capabilities.bounding;
    let may_mount = allowed >> SYS_ADMIN & 1 == 1;
    let mounts = link(pid, "mnt")?;
    for process in &all {
        namespaces(&plan.spaces, *process)?;
        credentials(plan, *process)?;
        group(*process, groups)?;
        if !may_mount && link(*process, "mnt")? != mounts {
            return Err(not(*process, "is in a mount namespace of its own"));
        }
    }
    if may_mount { Ok(()) } else { covered(plan, pid) }
}

fn not(pid: i32, what: &str) -> Error {
    let why = "config.json doesn't give it that, and the checkpoint alone can't";
    Error::rule(format!("criu failed: restore: process {pid} of the checkpoint {what}: {why}"))
}

fn read(path: &str) -> Result<String> {
    let bytes = fs::read(path).map_err(|e| Error::io("read", path, &e))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// All children, and every thread: each has ids, capabilities and groups of its own.
fn descend(pid: i32, all: &mut BTreeSet<i32>) -> Result<()> {
    let path = format!("/proc/{pid}/task");
    for task in fs::read_dir(&path).map_err(|e| Error::io("read", &path, &e))?.flatten() {
        let name = task.file_name();
        all.extend(name.to_str().and_then(|tid| tid.parse::<i32>().ok()));
        let text = read(&format!("{path}/{}/children", name.to_string_lossy()))?;
        for child in text.split_whitespace().filter_map(|n| n.parse().ok()) {
            if all.insert(child) {
                descend(child, all)?;
            }
        }
    }
    Ok(())
}

fn link(pid: impl std::fmt::Display, kind: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/ns/{kind}");
    Ok(stat(path.as_str()).map_err(|e| Error::system("stat", path, e))?.st_ino)
}

/// Those that are to be its own are not ours, and those that are joined are those.
fn namespaces(spaces: &Spaces, pid: i32) -> Result<()> {
    let made = [(spaces.time, ns::TIME), (spaces.cgroup, ns::CGROUP), (spaces.made_user, ns::USER)];
    let made = made.iter().filter(|(is, _)| *is).fold(spaces.clone, |all, (_, flag)| all | flag);
    for kind in KINDS.iter().filter(|kind| made & kind.flag != 0) {
        if link(pid, kind.proc)? == link("self", kind.proc)? {
            return Err(not(pid, &format!("is in the host's {} namespace", kind.word)));
        }
    }
    for (kind, path) in joined(spaces) {
        let there = stat(path.as_str()).map_err(|e| Error::system("stat", &path, e))?.st_ino;
        if link(pid, kind.proc)? != there {
            return Err(not(pid, &format!("is in another {} namespace than {path}", kind.word)));
        }
    }
    Ok(())
}

fn credentials(plan: &Plan, pid: i32) -> Result<()> {
    let status = read(&format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map_or("", str::trim)
    };
    let allowed = plan.process.capabilities.bounding;
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let held = u64::from_str_radix(field(set), 16).unwrap_or(u64::MAX);
        if held & !allowed != 0 {
            let more = names(held & !allowed);
            return Err(not(pid, &format!("holds {more}")));
        }
    }
    if plan.filter.is_some() && field("Seccomp") != "2" {
        return Err(not(pid, "has no filter of system calls"));
    }
    if plan.process.no_new_privileges && field("NoNewPrivs") != "1" {
        return Err(not(pid, "may gain privileges (noNewPrivileges)"));
    }
    Ok(())
}

fn names(set: u64) -> String {
    let name = |n: usize| capability::NAMES.get(n).map_or("an unknown capability", |name| *name);
    let all: Vec<_> = (0..64).filter(|n| set >> n & 1 == 1).map(name).collect();
    all.join(" ")
}

/// It is where criu was told that the container's groups are, or below.
fn group(pid: i32, groups: &[Pair]) -> Result<()> {
    for (name, path) in super::restore::groups(pid)? {
        let own = groups.iter().find(|(other, _)| *other == name);
        let inside = own.is_none_or(|(_, own)| path == *own || below(&path, own).is_some());
        if !inside {
            return Err(not(pid, &format!("is in the cgroup {path}")));
        }
    }
    Ok(())
}

/// What hides parts of the host is there, and nothing of a kind that config.json doesn't mount.
fn covered(plan: &Plan, pid: i32) -> Result<()> {
    let table = mountinfo::of(&pid.to_string())?;
    let ours: BTreeSet<String> = mountinfo::of("self")?.into_iter().map(|e| e.device).collect();
    let tree = Tree::open(&format!("/proc/{pid}/root"))?;
    if let Some(e) = table.iter().find(|e| !ours.contains(&e.device) && !is_asked(plan, e)) {
        return Err(not(pid, &format!("has {} mounted on {}", e.fstype, e.point)));
    }
    let top = |point: &str| table.iter().rfind(|e| e.point == point);
    if plan.readonly && !top("/").is_some_and(|e| e.readonly) {
        return Err(not(pid, "can write to its root"));
    }
    for path in &plan.readonly_paths {
        let Some(point) = tree.existing(path)? else { continue };
        if !top(&point).is_some_and(|e| e.readonly) {
            return Err(not(pid, &format!("can write to {point}")));
        }
    }
    for path in &plan.masked_paths {
        let Some(point) = tree.existing(path)? else { continue };
        let below = format!("/proc/{pid}/root{point}");
        let file = open(below.as_str(), OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty());
        let stat = file.and_then(|fd| fstat(&fd)).map_err(|e| Error::system("stat", below, e))?;
        let empty = top(&point).is_some_and(|e| e.fstype == "tmpfs");
        if !is_null(&stat) && !empty {
            return Err(not(pid, &format!("sees {point}")));
        }
    }
    Ok(())
}

/// Whether a file system that criu made is of a kind that config.json has made.
fn is_asked(plan: &Plan, entry: &Entry) -> bool {
    let made = plan.mounts.iter().any(|m| match &m.kind {
        Kind::New { fstype, .. } => fstype.to_bytes() == entry.fstype.as_bytes(),
        _ => false,
    });
    // Masked directories, and what v1's groups are mounted on.
    made || entry.fstype == "tmpfs"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_said_by_name() {
        assert_eq!(names(1 | 1 << 21), "CAP_CHOWN CAP_SYS_ADMIN");
        assert_eq!(names(1 << 63), "an unknown capability");
    }

    /// Of a shell: this program's own threads come and go with its other tests.
    #[test]
    fn a_process_is_found_by_its_parent() {
        let mut shell = std::process::Command::new("sh")
            .args(["-c", "sleep 100 & echo $!; wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let told = std::io::BufReader::new(shell.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut { told }, &mut line).unwrap();
        let child: i32 = line.trim().parse().unwrap();
        let mut all = BTreeSet::new();
        let done = descend(shell.id() as i32, &mut all);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), nix::sys::signal::SIGKILL)
            .unwrap();
        shell.wait().unwrap();
        done.unwrap();
        assert!(all.contains(&child));
    }

    #[test]
    fn a_thread_is_judged_like_its_process() {
        let (say, hear) = std::sync::mpsc::channel();
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            say.send(nix::unistd::gettid().as_raw()).unwrap();
            let _ = wait.recv();
        });
        let tid = hear.recv().unwrap();
        let mut all = BTreeSet::new();
        // The threads of other tests may end while they are looked at.
        while descend(std::process::id() as i32, &mut all).is_err() {
            all.clear();
        }
        drop(end);
        thread.join().unwrap();
        assert!(all.contains(&tid), "{tid} of {all:?}");
    }
}
