//! Making processes and signalling them by pidfd.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::check;

/// What [`fork`] shares, unshares and joins.
#[derive(Debug, Default)]
pub struct Fork<'a> {
    /// CLONE_NEW* of the namespaces the child starts in.
    pub namespaces: u64,
    /// The child becomes its maker's sibling (CLONE_PARENT).
    pub sibling: bool,
    /// A cgroup v2 directory the child starts in.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// Which side of a fork this is.
#[derive(Debug)]
pub enum Side {
    /// The new process.
    Child,
    /// The one that asked, with the child's pid and a handle on it.
    Parent(Pid, OwnedFd),
}

/// clone3(2) in its fork form: the child has a copy of everything.
///
/// The caller must be single-threaded, as both runtime programs are: the
/// child of a process with threads could find a lock that no one will open.
///
/// KERNEL: clone3(2) 5.3, CLONE_PIDFD 5.2, CLONE_INTO_CGROUP 5.7.
pub fn fork(how: &Fork<'_>) -> nix::Result<Side> {
    let mut pidfd: libc::c_int = -1;
    let mut flags = how.namespaces | libc::CLONE_PIDFD as u64;
    // KERNEL: CLONE_PARENT refuses an exit signal of one's own.
    let signal = if how.sibling { 0 } else { libc::SIGCHLD as u64 };
    if how.sibling {
        flags |= libc::CLONE_PARENT as u64;
    }
    if how.cgroup.is_some() {
        flags |= 0x2_0000_0000; // CLONE_INTO_CGROUP, too wide for libc's c_int
    }
    // SAFETY: clone_args is plain integers, for which zero is a value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags;
    args.pidfd = ptr::from_mut(&mut pidfd) as u64;
    args.exit_signal = signal;
    args.cgroup = how.cgroup.map_or(0, |fd| fd.as_raw_fd() as u64);
    // SAFETY: no CLONE_VM, so the child runs on its own copy of this stack;
    // the pointers are to live values.
    let answer = check(unsafe {
        libc::syscall(libc::SYS_clone3, ptr::from_ref(&args), size_of::<libc::clone_args>())
    })?;
    if answer == 0 {
        return Ok(Side::Child);
    }
    // SAFETY: the kernel stored a new descriptor in `pidfd`.
    let handle = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Side::Parent(Pid::from_raw(answer as i32), handle))
}

/// clone(2): a copy of this process as its sibling; `None` in the copy. For a process that a filter
/// judges: those that let a program make processes let it do so by this call, if not by clone3(2).
///
/// The caller must be single-threaded, as for [`fork`].
pub fn sibling() -> nix::Result<Option<Pid>> {
    // SAFETY: no CLONE_VM, so the copy runs on its own copy of this stack; no pointers.
    let answer = check(unsafe { libc::syscall(libc::SYS_clone, SIBLING[0], SIBLING[1], 0, 0, 0) })?;
    Ok((answer != 0).then(|| Pid::from_raw(answer as i32)))
}

/// The arguments of [`sibling`]'s call.
///
/// KERNEL: clone(2): CLONE_PARENT: it is waited for as its maker is. s390 has the stack first.
pub const SIBLING: [u64; 2] = {
    let flags = libc::CLONE_PARENT as u64;
    if cfg!(target_arch = "s390x") { [0, flags] } else { [flags, 0] }
};

/// A process in new namespaces that does nothing, and ends with the thread that has made it: for what
/// is set up from outside. It may be made beside other threads, as it only calls the kernel.
///
/// KERNEL: clone3(2) CLONE_CLEAR_SIGHAND, 5.5: no handler of ours runs twice.
pub fn idle(namespaces: u64) -> nix::Result<(Pid, OwnedFd)> {
    const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    match fork(&Fork { namespaces: namespaces | CLEAR_SIGHAND, ..Fork::default() })? {
        Side::Parent(pid, handle) => Ok((pid, handle)),
        Side::Child => {
            // KERNEL: prctl(2): killed with its parent thread. Orphaned before that, it has another parent.
            let parent = nix::unistd::getppid();
            // SAFETY: no pointers.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            while nix::unistd::getppid() == parent {
                // SAFETY: no pointers.
                unsafe { libc::pause() };
            }
            exit_now(0)
        }
    }
}

/// A handle on process `pid`.
pub fn pidfd_open(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: no pointers; the descriptor is new.
    unsafe {
        let fd = check(libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0))?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// A copy of another process's descriptor, close-on-exec. KERNEL: pidfd_getfd(2), 5.6.
///
/// EPERM without ptrace(2)'s access to it.
pub fn pidfd_getfd(process: BorrowedFd<'_>, fd: i32) -> nix::Result<OwnedFd> {
    // SAFETY: no pointers.
    let got = check(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0) })?;
    // SAFETY: the answer is a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(got as i32) })
}

/// Sends `signal` (0 probes) to the process of a handle.
pub fn pidfd_signal(process: BorrowedFd<'_>, signal: i32) -> nix::Result<()> {
    // SAFETY: a null siginfo is allowed and means kill(2)'s.
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal,
            ptr::null::<libc::siginfo_t>(),
            0,
        )
    })
    .map(drop)
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By exit(2).
    Code(i32),
    /// By a signal.
    Signal {
        /// Which.
        number: i32,
        /// Whether it left a core.
        core: bool,
    },
}

/// Reaps the child of a handle without waiting; `None` while it runs.
/// The answer is a wait(2) status as a shell shows it: code, or 128 + signal.
pub fn reap(process: BorrowedFd<'_>) -> nix::Result<Option<i32>> {
    Ok(end(process)?.map(|end| match end {
        End::Code(code) => code,
        End::Signal { number, .. } => 128 + number,
    }))
}

/// Reaps the child of a handle without waiting; `None` while it runs.
pub fn end(process: BorrowedFd<'_>) -> nix::Result<Option<End>> {
    // SAFETY: siginfo_t is plain data, for which zero is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::__WALL;
    // SAFETY: `info` is live and writable.
    check(
        unsafe { libc::waitid(libc::P_PIDFD, process.as_raw_fd() as u32, &raw mut info, flags) }
            .into(),
    )?;
    // SAFETY: waitid filled the SIGCHLD members, or left them zero.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    Ok(Some(match info.si_code {
        libc::CLD_EXITED => End::Code(status),
        code => End::Signal { number: status, core: code == libc::CLD_DUMPED },
    }))
}

/// Whether the working directory lies in the root: getcwd(2)'s own answer, without the C library.
///
/// KERNEL: getcwd(2): outside it begins with "(unreachable)". glibc then walks up by itself, and
/// ends at whatever has the root's inode, as the place on the host that the root is a bind of.
pub fn cwd_is_inside() -> nix::Result<bool> {
    let mut path = [0_u8; libc::PATH_MAX as usize];
    // SAFETY: pointer and length are of one live, writable array.
    check(unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) })?;
    Ok(path[0] == b'/')
}

/// The effective user id that this program was executed with: no call.
///
/// KERNEL: getauxval(3) AT_EUID. For who hasn't changed it since.
pub fn executed_by() -> u32 {
    // SAFETY: no pointers.
    unsafe { libc::getauxval(libc::AT_EUID) as u32 }
}

/// Whether this program was executed with root's ids alone: no call. For who hasn't changed them.
///
/// KERNEL: execve(2): the saved ids are then the effective ones.
pub fn executed_by_root() -> bool {
    let ids = [libc::AT_UID, libc::AT_EUID, libc::AT_GID, libc::AT_EGID];
    // SAFETY: no pointers.
    ids.into_iter().all(|id| unsafe { libc::getauxval(id) } == 0)
}

/// Ends the process at once, running nothing of it any more.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory.
    unsafe { libc::_exit(code) }
}

/// A vector of C strings as execve wants it, made while there is still time to fail.
#[derive(Debug)]
pub struct Vector {
    pointers: Vec<*const libc::c_char>,
    _strings: Vec<CString>,
}

impl Vector {
    /// Takes the strings.
    pub fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect();
        Self { pointers, _strings: strings }
    }

    /// This process's own environment, to be passed on as it is.
    pub fn environment() -> Self {
        unsafe extern "C" {
            static environ: *const *const libc::c_char;
        }
        let mut strings = Vec::new();
        // SAFETY: execve(2) gave an array that ends in null, of strings that do; nothing in this
        // single-threaded program changes it.
        unsafe {
            let mut entry = environ;
            while !entry.is_null() && !(*entry).is_null() {
                strings.push(CStr::from_ptr(*entry).to_owned());
                entry = entry.add(1);
            }
        }
        Self::new(strings)
    }
}

/// Overwrites this process's environment, where its maker's secrets may be: /proc/PID/environ shows it
/// to who may look into the process.
pub fn forget_environment() {
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    // SAFETY: execve(2) gave an array that ends in null, of strings that do, which lie in this
    // process's own stack; nothing in this single-threaded program holds on to them.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            let length = CStr::from_ptr(*entry).to_bytes().len();
            ptr::write_bytes((*entry).cast_mut(), 0, length);
            entry = entry.add(1);
        }
    }
}

/// execve(2); answers only when it failed.
pub fn execve(path: &CStr, argv: &Vector, envp: &Vector) -> Errno {
    // SAFETY: the vectors end in null and own what they point to.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    Errno::last()
}

/// Executes the file of a descriptor; answers only when it failed.
pub fn fexecve(file: BorrowedFd<'_>, argv: &Vector, envp: &Vector) -> Errno {
    // SAFETY: as execve; the empty path goes with AT_EMPTY_PATH.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            argv.pointers.as_ptr(),
            envp.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Errno::last()
}

/// Replaces the supplementary groups of this (single-threaded) process.
///
/// The bare call, as glibc's asks every thread.
pub fn setgroups(groups: &[u32]) -> nix::Result<()> {
    // SAFETY: pointer and length are of one live slice.
    check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) }).map(drop)
}

/// setdomainname(2).
pub fn setdomainname(name: &[u8]) -> nix::Result<()> {
    // SAFETY: pointer and length are of one live slice.
    check(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }.into()).map(drop)
}

/// This process's own limit, soft and hard.
pub fn rlimit(resource: u32) -> nix::Result<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live, writable value.
    check(unsafe { libc::getrlimit(resource as _, &raw mut limit) }.into())?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// Sets a resource limit of another process, prlimit(2).
pub fn prlimit(pid: Pid, resource: u32, soft: u64, hard: u64) -> nix::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` lives through the call; the old limit isn't asked for.
    check(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid.as_raw(),
            resource,
            ptr::from_ref(&limit),
            ptr::null::<libc::rlimit>(),
        )
    })
    .map(drop)
}
