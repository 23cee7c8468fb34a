//! Who the program is: groups, ids, no_new_privs, labels, limits; and where it starts.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd};

use dhow_kernel::fd::Loose;
use dhow_kernel::{caps, process};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::{Mode, fstat, umask};
use nix::unistd::{AccessFlags, Gid, Uid, access, chdir, fchown, setresgid, setresuid};

use super::child::Context;
use super::fault::{Because, Cause, Done};
use super::mask::is_null;
use super::procfs::Procfs;
use super::session::Inherited;
use super::{capabilities, exec};
use crate::plan::Plan;
use crate::validate::process::{Process, rlimit_name};

/// Becomes the plan's process.
pub fn perform(plan: &Plan, c: &mut Context) -> Done {
    let env = exec::environment(&plan.process);
    let Inherited { bounding, groupless, .. } = c.inherited;
    let (limits, bears) = (!plan.spaces.user, plan.spaces.seen());
    let own = Own { limits, bears, bounding, groupless };
    become_process(&plan.process, &c.proc, !plan.readonly, own)?;
    // A filter could forbid the look that tells why it failed.
    let now = c.now && plan.filter.is_none() && plan.start_container.is_empty();
    c.program = Some(exec::find(&plan.process, env, now)?);
    capabilities::hold(&plan.process, plan.filter.is_some())
}

/// What this process has, before it becomes another.
#[derive(Debug, Clone, Copy)]
pub struct Own {
    /// Whether it is in no user namespace but its maker's: then limits are its own to set.
    pub limits: bool,
    /// Whether a sibling of its own goes on in its place, which sets what is left of them.
    pub bears: bool,
    /// Its bounding set, if that is known.
    pub bounding: Option<u64>,
    /// Whether it is known to be in no supplementary group.
    pub groupless: bool,
}

/// Shared with exec: from root to the process's own ids; the capabilities stay permitted.
pub fn become_process(p: &Process, proc: &Procfs, may_make_cwd: bool, own: Own) -> Done {
    stdio(p)?;
    label(p, proc)?;
    let entered = enter(&p.cwd, may_make_cwd);
    bounding(p.capabilities.bounding, own.bounding)?;
    if own.limits {
        limits(p, own.bears)?;
    }
    // KERNEL: capabilities(7): root loses none by becoming root. In a user namespace we are its root
    // by now.
    if p.uid == 0 && (!own.limits || process::executed_by() == 0) {
        ids(p, own)?;
    } else {
        caps::keep(true).because("prctl", "PR_SET_KEEPCAPS")?;
        ids(p, own)?;
        caps::keep(false).because("prctl", "PR_SET_KEEPCAPS")?;
    }
    // A directory that only the user may enter.
    match entered {
        Err(cause) if cause.errno == libc::EACCES => enter(&p.cwd, false)?,
        other => other?,
    }
    umask(Mode::from_bits_truncate(p.umask));
    if p.no_new_privileges {
        nix::sys::prctl::set_no_new_privs().because("prctl", "PR_SET_NO_NEW_PRIVS")?;
    }
    Ok(())
}

/// Standard streams that were opened for someone else become the user's, as runc has it, pipes
/// also its group's, as crun has it: a file's or a terminal's group says who else may use it.
/// The host's /dev/null becomes the container's, for with it goes the right to change its mode.
fn stdio(p: &Process) -> Done {
    let mut null = None;
    // What can't change owner (a socket, a read-only mount) is used as it is.
    for stream in [std::io::stdin().as_fd(), std::io::stdout().as_fd(), std::io::stderr().as_fd()] {
        let stat = match fstat(stream) {
            Err(Errno::EBADF) => continue,
            other => other.because("stat", "a standard stream")?,
        };
        if is_null(&stat) {
            if null.is_none() {
                null = Some(self::null()?);
            }
            if let Some(Some(null)) = &null {
                dhow_kernel::fd::place(null.as_fd(), stream.as_raw_fd())
                    .because("put in place of the host's", "/dev/null")?;
            }
            continue;
        }
        let pipe = stat.st_mode & libc::S_IFMT == libc::S_IFIFO;
        let gid = (pipe && stat.st_gid != p.gid).then(|| Gid::from_raw(p.gid));
        let uid = (stat.st_uid != p.uid).then(|| Uid::from_raw(p.uid));
        if uid.is_some() || gid.is_some() {
            let _ = fchown(stream, uid, gid);
        }
    }
    Ok(())
}

/// The container's own null device, if what it calls so is one.
fn null() -> Done<Option<Loose>> {
    // In a container that runs, it may be anything: nothing to wait for, nothing to follow.
    let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW;
    let fd = match open(c"/dev/null", flags | OFlag::O_CLOEXEC, Mode::empty()) {
        // Not for what the container has there: the host's must not stay for want of something else.
        Err(e @ (Errno::EIO | Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM)) => {
            return Err(Cause::new("open", "/dev/null", e));
        }
        Err(_) => return Ok(None),
        Ok(fd) => Loose::from(fd),
    };
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_RDWR)).because("set the flags of", "/dev/null")?;
    let stat = fstat(&fd).because("stat", "/dev/null")?;
    Ok(is_null(&stat).then_some(fd))
}

fn label(p: &Process, proc: &Procfs) -> Done {
    if !p.apparmor.is_empty() {
        let text = format!("exec {}", p.apparmor);
        match proc.write(c"thread-self/attr/apparmor/exec", text.as_bytes()) {
            Err(Errno::ENOENT) => proc.write(c"thread-self/attr/exec", text.as_bytes()),
            other => other,
        }
        // Where there is no AppArmor everything is.
        .or_else(|errno| if p.apparmor == "unconfined" { Ok(()) } else { Err(errno) })
        .because("set the AppArmor profile", &p.apparmor)?;
    }
    if !p.selinux.is_empty() {
        proc.write(c"thread-self/attr/exec", p.selinux.as_bytes())
            .because("set the SELinux label", &p.selinux)?;
    }
    Ok(())
}

/// CVE: 2024-21626: a working directory that was reached through a leaked
/// descriptor lies outside the root, be it the root's own directory on the host.
fn enter(cwd: &CStr, may_make: bool) -> Done {
    let entered = match chdir(cwd) {
        Err(Errno::ENOENT) if may_make => make_all(cwd).and_then(|()| chdir(cwd)),
        other => other,
    };
    entered.because("chdir to process.cwd", cwd.to_bytes())?;
    if cwd == c"/" {
        // The root is inside.
        return Ok(());
    }
    match process::cwd_is_inside() {
        Ok(true) => Ok(()),
        _ => Err(Cause::rule("process.cwd is outside of the container's root")),
    }
}

/// Makes the working directory of a root that is about to become read-only.
pub fn make_cwd(cwd: &CStr) {
    if access(cwd, AccessFlags::F_OK) == Err(Errno::ENOENT) {
        let _ = make_all(cwd);
    }
}

/// After the pivot plain paths are confined.
fn make_all(path: &CStr) -> nix::Result<()> {
    let bytes = path.to_bytes();
    let ends = (1..=bytes.len()).filter(|n| *n == bytes.len() || bytes[*n] == b'/');
    for end in ends {
        match nix::unistd::mkdir(&bytes[..end], Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn bounding(keep: u64, own: Option<u64>) -> Done {
    let surplus = own.unwrap_or(u64::MAX) & !keep;
    for cap in (0..63u8).filter(|cap| surplus & 1 << cap != 0) {
        match caps::drop_bounding(cap) {
            Ok(()) => {}
            // Past the last one this kernel has.
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(errno).because("drop from the bounding set", cap.to_string()),
        }
    }
    Ok(())
}

/// KERNEL: prlimit(2): another user's process takes CAP_SYS_RESOURCE, one's own
/// doesn't, so limits come before the ids. In a user namespace the parent sets
/// them, for it may have the privilege to raise one.
fn limits(p: &Process, bears: bool) -> Done {
    for (resource, soft, hard) in &p.rlimits {
        if !bears || *resource != libc::RLIMIT_NPROC {
            limit(*resource, *soft, *hard)?;
        } else if process::rlimit(*resource).is_ok_and(|(_, own)| *hard >= own) {
            limit(*resource, *hard, *hard)?;
        }
    }
    Ok(())
}

/// How many processes its user may have: a low limit must not stop the last that is made of it.
pub fn last_limit(p: &Process) -> Done {
    let mut processes = p.rlimits.iter().filter(|(resource, ..)| *resource == libc::RLIMIT_NPROC);
    processes.try_for_each(|(resource, soft, hard)| limit(*resource, *soft, *hard))
}

fn limit(resource: u32, soft: u64, hard: u64) -> Done {
    process::prlimit(nix::unistd::Pid::from_raw(0), resource, soft, hard)
        .because("error setting rlimit", format!("{} to {soft}:{hard}", rlimit_name(resource)))
}

/// In the users of its maker, nobody has changed this process's ids before.
fn ids(p: &Process, own: Own) -> Done {
    let none = own.groupless && p.groups.is_empty();
    if !p.keep_groups && !none {
        match process::setgroups(&p.groups) {
            // KERNEL: user_namespaces(7): an unprivileged map comes with setgroups denied.
            Err(Errno::EPERM) if p.groups.is_empty() => {}
            other => other.because("setgroups", format!("{:?}", p.groups))?,
        }
    }
    if own.limits && (p.uid, p.gid) == (0, 0) && process::executed_by_root() {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(p.uid), Gid::from_raw(p.gid));
    setresgid(gid, gid, gid).because("setgid", p.gid.to_string())?;
    setresuid(uid, uid, uid).because("setuid", p.uid.to_string())
}
