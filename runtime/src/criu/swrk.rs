//! `criu swrk FD`: one criu for one request, spoken to over a SOCK_SEQPACKET pair.
//!
//! ```text
//! us                                    criu
//!   |  Perform, Version, Features -------> |
//!   |  <------------- Notify (script, pid) |  any number of times; orphan-pts-master
//!   |  Notified(success) ----------------> |  comes with a descriptor
//!   |  <--------- the answer, of that kind |
//!   |  closes, waits for its end           |
//! ```

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use dhow_kernel::process::{self, Fork, Side, Vector};
use dhow_kernel::rights;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, readlink};
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, send, shutdown, socketpair,
};
use nix::sys::stat::{FileStat, Mode, fstat, stat};
use nix::unistd::{AccessFlags, Pid, access};

use super::rpc::{Kind, Notify, Request, Response};
use crate::cgroup::Doors;
use crate::error::{Error, Result};
use crate::init::fault::{Because, Cause, Done, Fault};
use crate::init::{console, namespaces, parent};
use crate::plan::Phase;

/// Where criu is, and what it inherits.
#[derive(Debug, Clone)]
pub struct Program {
    path: CString,
    environment: Vec<CString>,
}

const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Program {
    /// Finds criu by the PATH of an environment of `NAME=value` lines.
    pub fn find(environment: Vec<CString>) -> Result<Self> {
        let path = environment.iter().find_map(|line| line.to_bytes().strip_prefix(b"PATH="));
        let mut places = path.unwrap_or(DEFAULT_PATH).split(|b| *b == b':');
        let found = places.find_map(|dir| {
            let file = Path::new(OsStr::from_bytes(dir)).join("criu");
            // An empty entry or a relative one would be whatever lies in the current directory.
            let sound = file.is_absolute() && file.is_file();
            (sound && access(&file, AccessFlags::X_OK).is_ok())
                .then(|| CString::new(file.into_os_string().as_bytes()).unwrap_or_default())
        });
        let why = "exec: \"criu\": executable file not found in $PATH: install criu";
        found.map(|path| Self { path, environment }).ok_or_else(|| Error::rule(why))
    }
}

/// What criu's process is given before it is criu.
#[derive(Default)]
pub struct Seat<'a> {
    /// Descriptors that it keeps under their numbers.
    pub keep: Vec<RawFd>,
    /// Directories among them.
    pub directories: Vec<RawFd>,
    /// The unified group it is born in.
    pub group: Option<OwnedFd>,
    /// The v1 groups it enters.
    pub doors: Doors,
    /// A mount namespace of its own, and what is done in it.
    pub mounts: Option<&'a dyn Fn() -> Done>,
}

/// A running criu.
#[derive(Debug)]
pub struct Criu {
    socket: OwnedFd,
    /// Its pid.
    pub pid: Pid,
    pidfd: OwnedFd,
    ended: bool,
}

/// Hears of what criu does meanwhile.
pub trait Listener {
    /// Deals with it; a failure makes criu give up.
    fn hear(&mut self, notify: &Notify, sent: Option<OwnedFd>) -> Result<()>;
}

/// Nothing is to be done.
#[derive(Debug)]
pub struct Nobody;

impl Listener for Nobody {
    fn hear(&mut self, _: &Notify, _: Option<OwnedFd>) -> Result<()> {
        Ok(())
    }
}

/// What asking gives.
pub type Asked = std::result::Result<Response, Failed>;

/// Longest answer. As runc; criu's are some hundred bytes.
const LIMIT: usize = 40 * 1024;

impl Criu {
    /// Starts one; back when it has executed.
    pub fn start(program: &Program, seat: Seat<'_>) -> Result<Self> {
        let system = |e| Error::system("start", "criu", e);
        let pair =
            || socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
        let (ours, report) = pair().map_err(system)?;
        let envp = Vector::new(program.environment.clone());
        let fork = Fork {
            namespaces: seat.mounts.map_or(0, |_| libc::CLONE_NEWNS as u64),
            cgroup: seat.group.as_ref().map(AsFd::as_fd),
            sibling: false,
        };
        let (pid, pidfd) = match process::fork(&fork).map_err(system)? {
            Side::Child => {
                drop(ours);
                // criu looks for the descriptors of a request in whoever made the socket: itself,
                // since a directory of ours is one of our mount namespace.
                let made = pair().because("make", "criu's socket").and_then(|(theirs, socket)| {
                    console::send(report.as_fd(), theirs.as_fd(), "criu").because("send", "")?;
                    drop(theirs);
                    settle(seat, socket.as_raw_fd())?;
                    let number = CString::new(socket.as_raw_fd().to_string()).unwrap_or_default();
                    let argv = Vector::new(vec![c"criu".into(), c"swrk".into(), number]);
                    let errno = process::execve(&program.path, &argv, &envp);
                    Err::<(), _>(Cause::new("exec", program.path.to_bytes(), errno))
                });
                if let Err(cause) = made {
                    let _ = nix::unistd::write(&report, &cause.at(Phase::Exec).encode());
                }
                process::exit_now(127)
            }
            Side::Parent(pid, pidfd) => (pid, pidfd),
        };
        drop(report);
        let begun = receive(&ours).map_err(system).and_then(|(said, sent)| match sent {
            Some(socket) => Ok(socket),
            None => Err(worded(&said)),
        });
        match begun.and_then(|socket| Ok((socket, receive(&ours).map_err(system)?.0))) {
            Ok((socket, said)) if said.is_empty() => Ok(Self { socket, pid, pidfd, ended: false }),
            failed => {
                // criu's own socket may lie in ours, unheard: it would wait for a request at that.
                drop(ours);
                let _ = parent::wait(pidfd.as_fd());
                Err(failed.map_or_else(|e| e, |(_, said)| worded(&said)))
            }
        }
    }

    /// Asks for something and hears it through; the answer, or why it failed.
    pub fn ask(&self, request: &Request, listener: &mut dyn Listener) -> Asked {
        self.say(request)?;
        let mut refused = None;
        loop {
            let (response, sent) = match (self.hear(), refused) {
                (Ok(heard), kept) => {
                    refused = kept;
                    heard
                }
                (Err(e), kept) => return Err(kept.unwrap_or(e).into()),
            };
            if response.success && response.kind == Some(Kind::Notify) {
                let heard = listener.hear(&response.notify, sent);
                let told = self.say(&Request::Notified(heard.is_ok()));
                // Its own failure that follows would only hide ours.
                refused = refused.or(heard.err());
                match (told, refused) {
                    (Ok(()), kept) => refused = kept,
                    (Err(e), kept) => return Err(kept.unwrap_or(e).into()),
                }
                continue;
            }
            if let Some(why) = refused {
                return Err(why.into());
            }
            let kind = request.kind();
            if response.success && response.kind == Some(kind) {
                return Ok(response);
            }
            return Err(failure(kind, &response));
        }
    }

    fn say(&self, request: &Request) -> Result<()> {
        send(self.socket.as_raw_fd(), &request.encode(), MsgFlags::MSG_NOSIGNAL)
            .map(drop)
            .map_err(|e| Error::system("speak to", "criu", e))
    }

    fn hear(&self) -> Result<(Response, Option<OwnedFd>)> {
        let heard = receive(&self.socket).map_err(|e| Error::system("hear from", "criu", e))?;
        let (bytes, sent) = heard;
        if bytes.is_empty() {
            return Err(Error::rule("criu ended without an answer"));
        }
        match Response::decode(&bytes) {
            Ok(response) => Ok((response, sent)),
            Err(_) => Err(Error::rule("criu said something that is no answer of its protocol")),
        }
    }

    /// Lets it end and waits for that; its exit code.
    pub fn end(mut self) -> Result<i32> {
        self.finish().map_err(|e| Error::system("wait for", "criu", e))
    }

    fn finish(&mut self) -> nix::Result<i32> {
        self.ended = true;
        // Whoever it left behind may hold its end: it must not wait for us, nor we for them.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Write);
        parent::wait(self.pidfd.as_fd())
    }
}

impl Drop for Criu {
    /// Never killed: it holds the container's processes by ptrace(2), and lets go of them itself.
    fn drop(&mut self) {
        if !self.ended {
            let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
            let _ = self.finish();
        }
    }
}

/// One message and the first descriptor with it; empty at the end.
fn receive(socket: &OwnedFd) -> nix::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut bytes = vec![0u8; LIMIT];
    let (length, sent) = loop {
        match rights::receive(socket.as_fd(), &mut bytes) {
            Err(Errno::EINTR) => {}
            Err(Errno::ECONNRESET) => return Ok((Vec::new(), None)),
            other => break other?,
        }
    };
    // One that fills the buffer may have been cut to it.
    if length == LIMIT {
        return Err(Errno::EMSGSIZE);
    }
    bytes.truncate(length);
    Ok((bytes, sent.into_iter().next()))
}

/// In criu's process, before it is criu.
fn settle(seat: Seat<'_>, socket: RawFd) -> Done {
    dhow_kernel::signal::reset_all(None);
    dhow_kernel::close::all(namespaces::enter_groups(seat.doors)?);
    if let Some(mounts) = seat.mounts {
        mounts()?;
    }
    dhow_kernel::fd::cloexec_from(3).because("close_range", "")?;
    for fd in &seat.directories {
        here(*fd)?;
    }
    for fd in seat.keep.iter().chain([&socket]) {
        dhow_kernel::fd::set_cloexec(*fd, false).because("keep", fd.to_string())?;
    }
    Ok(())
}

/// Opens a directory again, in the mount namespace that we are in now, under its number.
fn here(fd: RawFd) -> Done {
    let path = readlink(format!("/proc/self/fd/{fd}").as_str()).because("readlink", "")?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let shown = || path.as_bytes().to_vec();
    let new = open(path.as_os_str(), flags, Mode::empty()).because("open", shown())?;
    let id = |stat: FileStat| (stat.st_dev, stat.st_ino);
    let old = stat(format!("/proc/self/fd/{fd}").as_str()).map(id);
    if old != fstat(&new).map(id) {
        return Err(Cause::rule(format!("{} is another directory now", path.display())));
    }
    dhow_kernel::fd::place(new.as_fd(), fd).because("keep", shown())
}

/// What criu's process said instead of being criu.
fn worded(said: &[u8]) -> Error {
    match Fault::decode(said) {
        Some(fault) if fault.errno != 0 => {
            Error::system(&fault.call, &fault.subject, Errno::from_raw(fault.errno))
        }
        Some(fault) => Error::rule(format!("criu: {} {}", fault.call, fault.subject)),
        None => Error::rule("criu's process ended before it was criu"),
    }
}

/// Why a request came to nothing.
#[derive(Debug)]
pub enum Failed {
    /// criu says no.
    Criu {
        /// What was asked for, and errno in words.
        what: String,
        /// Its first complaint.
        said: String,
    },
    /// Anything else.
    Other(Error),
}

impl From<Error> for Failed {
    fn from(e: Error) -> Self {
        Self::Other(e)
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Criu { what, said } if said.is_empty() => Self::rule(what),
            Failed::Criu { what, said } => Self::rule(format!("{what}: {said}")),
            Failed::Other(e) => e,
        }
    }
}

/// As runc begins it, and then why.
fn failure(kind: Kind, response: &Response) -> Failed {
    let errno = match response.errno {
        n if n > 0 => format!(": {}", crate::error::describe(Errno::from_raw(n))),
        _ => String::new(),
    };
    let what = format!("criu failed: {}{errno}", kind.word());
    Failed::Criu { what, said: response.error.trim().replace('\n', "; ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn environment(path: &str) -> Vec<CString> {
        vec![c"A=1".to_owned(), CString::new(format!("PATH={path}")).unwrap()]
    }

    #[test]
    fn criu_is_found_by_the_path_and_never_in_the_current_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("criu");
        std::fs::write(&file, "#!/bin/sh\n").unwrap();
        let path = format!(":.:/nowhere:{}", dir.path().display());
        assert!(Program::find(environment(&path)).is_err(), "not executable");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        let found = Program::find(environment(&path)).unwrap();
        assert_eq!(found.path.to_str().unwrap(), file.to_str().unwrap());
        let e = Program::find(environment(".")).unwrap_err();
        assert!(e.to_string().contains("install criu"), "{e}");
    }

    #[test]
    fn a_failure_says_what_criu_said() {
        let response = Response { errno: libc::EEXIST, error: "a\nb\n".into(), ..<_>::default() };
        let e = Error::from(failure(Kind::Dump, &response)).to_string();
        assert_eq!(e, "criu failed: dump: file exists: a; b");
    }

    /// A criu that says these answers, whatever it is asked, and what it was asked.
    fn saying(answers: &'static [&'static [u8]]) -> (Criu, std::thread::JoinHandle<Vec<Vec<u8>>>) {
        let kind = SockType::SeqPacket;
        let (socket, theirs) =
            socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC).unwrap();
        let heard = std::thread::spawn(move || {
            let one = |answer: &&[u8]| {
                let (asked, _) = receive(&theirs).unwrap();
                send(theirs.as_raw_fd(), answer, MsgFlags::MSG_NOSIGNAL).unwrap();
                asked
            };
            answers.iter().map(one).collect()
        });
        let pid = nix::unistd::getpid();
        let pidfd = process::pidfd_open(pid).unwrap();
        (Criu { socket, pid, pidfd, ended: true }, heard)
    }

    /// Says no to one script, and keeps what it heard.
    struct Says(&'static str, Vec<Notify>);

    impl Listener for Says {
        fn hear(&mut self, notify: &Notify, _: Option<OwnedFd>) -> Result<()> {
            self.1.push(notify.clone());
            if notify.script == self.0 { Err(Error::rule("ours")) } else { Ok(()) }
        }
    }

    const POST_RESTORE: &[u8] = b"\x08\x06\x10\x01\x2a\x10\x0a\x0cpost-restore\x10\x2a";
    const RESTORED: &[u8] = b"\x08\x02\x10\x01\x22\x02\x08\x2a";
    const FAILED: &[u8] = b"\x08\x02\x10\x00";

    fn request() -> Request {
        Request::Perform(Kind::Restore, Box::default())
    }

    #[test]
    fn notifications_are_answered_until_the_answer_comes() {
        let (criu, heard) = saying(&[POST_RESTORE, RESTORED]);
        let mut listener = Says("", Vec::new());
        assert_eq!(criu.ask(&request(), &mut listener).unwrap().pid, 42);
        assert_eq!(listener.1, [Notify { script: "post-restore".into(), pid: 42 }]);
        assert_eq!(heard.join().unwrap()[1], Request::Notified(true).encode());
    }

    #[test]
    fn a_listener_s_failure_is_told_to_criu_and_outlives_criu_s_own() {
        let (criu, heard) = saying(&[POST_RESTORE, FAILED]);
        let failed = criu.ask(&request(), &mut Says("post-restore", Vec::new())).unwrap_err();
        assert_eq!(Error::from(failed).to_string(), "ours");
        assert_eq!(heard.join().unwrap()[1], Request::Notified(false).encode());
    }

    #[test]
    fn an_answer_to_something_else_is_a_failure() {
        for answer in [&[b"\x08\x0a\x10\x01" as &[u8]], &[FAILED], &[b"\xff"]] {
            let (criu, _) = saying(answer);
            assert!(criu.ask(&request(), &mut Nobody).is_err(), "{answer:?}");
        }
        let (criu, _) = saying(&[]);
        assert!(criu.ask(&request(), &mut Nobody).is_err());
    }
}
