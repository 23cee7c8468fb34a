//! `type=ssh`: an agent's socket inside, forwarded to the user's own agent.
//!
//! Only what signs passes: nothing in a build can add keys to the agent, take them from it or lock it.
//! SPEC: draft-ietf-sshm-ssh-agent.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;

use super::{Mounter, Settled, absolute};
use crate::build::dockerfile::RunMount;
use crate::build::run::{Mount, Mounted};
use crate::error::{Error, Result};
use crate::store::make_dir;

/// Where programs look for their agent, with its sign.
const VARIABLE: &str = "SSH_AUTH_SOCK=";
/// No message is larger, as OpenSSH has it.
const MAX: usize = 256 << 10;
/// So many connections are served at once: each is two descriptors of the builder's and a thread.
const MANY: usize = 64;
/// The wait, in milliseconds, until one may have ended or descriptors are there again.
const AGAIN: u8 = 50;
/// SSH_AGENTC_REQUEST_IDENTITIES, SSH_AGENTC_SIGN_REQUEST
const ALLOWED: [u8; 2] = [11, 13];
/// A whole SSH_AGENT_FAILURE.
const FAILURE: [u8; 5] = [0, 0, 0, 1, 5];

/// A socket that is served by threads until this is dropped.
#[derive(Debug)]
struct Forwarded {
    stop: Option<io::PipeWriter>,
    acceptor: Option<JoinHandle<()>>,
}

/// Both ends of a connection: who asks, and the agent.
type Ends = [UnixStream; 2];

/// A connection that is served by a thread of its own, which alone keeps it open.
type Served = (JoinHandle<()>, Weak<Ends>);

impl Mounter<'_> {
    pub(super) fn agent(&self, mount: &RunMount, place: &Path, all: &mut Settled) -> Result<()> {
        let id = mount.id.as_deref().filter(|id| !id.is_empty()).unwrap_or("default");
        let Some(agent) = self.agents.iter().find(|agent| agent.id == id) else {
            if !mount.required {
                return Ok(());
            }
            let hint = format!("give it with --ssh {id}");
            return Err(Error::NotFound { what: "ssh agent", name: id.to_owned(), hint });
        };
        let socket = socket(&agent.paths, id)?;
        let at = all.mounts.iter().filter(|m| m.target.starts_with("/run/buildkit/")).count();
        let target = match mount.target.as_deref().filter(|target| !target.is_empty()) {
            Some(target) => absolute(self.cwd, target)?,
            None => format!("/run/buildkit/ssh_agent.{at}"),
        };
        make_dir(place)?;
        let path = place.join("agent.sock");
        let fail = |e: io::Error| Error::io("serve", &path, e);
        let listener = UnixListener::bind(&path).map_err(fail)?;
        chown(&path, mount.uid.or(Some(0)), mount.gid.or(Some(0))).map_err(fail)?;
        let mode = std::fs::Permissions::from_mode(mount.mode.unwrap_or(0o600) & 0o777);
        std::fs::set_permissions(&path, mode).map_err(fail)?;
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let what: OwnedFd = open(&path, flags, Mode::empty()).map_err(|e| fail(e.into()))?;
        all.held.push(Box::new(Forwarded::start(listener, socket).map_err(fail)?));
        if !self.env.iter().chain(&all.env).any(|pair| pair.starts_with(VARIABLE)) {
            all.env.push(format!("{VARIABLE}{target}"));
        }
        let what = Mounted::Bind(Arc::new(what));
        all.mounts.push(Mount { target, what, readonly: false });
        Ok(())
    }
}

/// The agent's socket.
fn socket(paths: &[PathBuf], id: &str) -> Result<PathBuf> {
    use std::os::unix::fs::FileTypeExt;
    let hint = "run `ssh-add KEY` and give the agent's socket ($SSH_AUTH_SOCK)";
    let [path] = paths else {
        return Err(Error::unsupported(format!("ssh agent {id} of several keys"), hint));
    };
    let meta = std::fs::metadata(path).map_err(Error::at("open", path))?;
    if meta.file_type().is_socket() {
        return Ok(path.clone());
    }
    Err(Error::unsupported(format!("ssh agent {id} of the key {}", path.display()), hint))
}

impl Forwarded {
    fn start(listener: UnixListener, agent: PathBuf) -> io::Result<Self> {
        let (stopped, stop) = io::pipe()?;
        listener.set_nonblocking(true)?;
        let acceptor = thread::Builder::new()
            .name("ssh".into())
            .spawn(move || serve(&listener, &stopped, &agent))?;
        Ok(Self { stop: Some(stop), acceptor: Some(acceptor) })
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// Takes connections until nobody holds the other end of `stopped`.
fn serve(listener: &UnixListener, stopped: &io::PipeReader, agent: &Path) {
    let mut served: Vec<Served> = Vec::new();
    let mut failed = false;
    loop {
        served.retain(|(thread, _)| !thread.is_finished());
        let stop = PollFd::new(stopped.as_fd(), PollFlags::POLLIN);
        let more = PollFd::new(listener.as_fd(), PollFlags::POLLIN);
        // Others wait for their turn in the socket's queue; so they do while descriptors are short.
        let mut fds = [stop, more];
        let (fds, long) = if failed || served.len() >= MANY {
            (&mut fds[..1], PollTimeout::from(AGAIN))
        } else {
            (&mut fds[..], PollTimeout::NONE)
        };
        let _ = poll(fds, long);
        if fds[0].any() == Some(true) {
            break;
        }
        failed = false;
        if fds.get(1).and_then(PollFd::any) == Some(true) {
            match accept(listener, agent) {
                Ok(one) => served.push(one),
                Err(_) => failed = true,
            }
        }
    }
    for ends in served.iter().filter_map(|(_, ends)| ends.upgrade()) {
        close(&ends);
    }
    for (thread, _) in served {
        let _ = thread.join();
    }
}

fn accept(listener: &UnixListener, agent: &Path) -> io::Result<Served> {
    let (client, _) = listener.accept()?;
    client.set_nonblocking(false)?;
    let ends = Arc::new([client, UnixStream::connect(agent)?]);
    let known = Arc::downgrade(&ends);
    let thread = thread::Builder::new().name("ssh".into()).spawn(move || forward(&ends))?;
    Ok((thread, known))
}

fn close(ends: &Ends) {
    for end in ends {
        let _ = end.shutdown(Shutdown::Both);
    }
}

/// Questions one way, answers the other, until one of both has enough.
fn forward(ends: &Ends) {
    let [mut client, mut server] = ends.each_ref();
    while let Ok(Some(question)) = message(&mut client) {
        let allowed = question.get(4).is_some_and(|kind| ALLOWED.contains(kind));
        let answered = if allowed {
            server.write_all(&question).and_then(|()| message(&mut server))
        } else {
            Ok(Some(FAILURE.to_vec()))
        };
        match answered {
            Ok(Some(answer)) if client.write_all(&answer).is_ok() => {}
            _ => break,
        }
    }
    close(ends);
}

/// One message with its length; nothing at the end.
fn message(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        done => done?,
    }
    let size = u32::from_be_bytes(length) as usize;
    if size == 0 || size > MAX {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut whole = length.to_vec();
    whole.resize(4 + size, 0);
    from.read_exact(&mut whole[4..])?;
    Ok(Some(whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_signs_passes() {
        let dir = tempfile::tempdir().unwrap();
        let (agent, inside) = (dir.path().join("agent"), dir.path().join("inside"));
        let listener = UnixListener::bind(&agent).unwrap();
        let theirs = thread::spawn(move || {
            let (mut one, _) = listener.accept().unwrap();
            let mut kinds = Vec::new();
            while let Ok(Some(question)) = message(&mut one) {
                kinds.push(question[4]);
                one.write_all(&[0, 0, 0, 2, 12, question[4]]).unwrap();
            }
            kinds
        });
        let forwarded = Forwarded::start(UnixListener::bind(&inside).unwrap(), agent).unwrap();
        let mut client = UnixStream::connect(&inside).unwrap();
        let mut ask = |kind: u8| {
            client.write_all(&[0, 0, 0, 2, kind, 0]).unwrap();
            message(&mut client).unwrap().unwrap()
        };
        assert_eq!(ask(11), [0, 0, 0, 2, 12, 11]);
        for kind in [17, 18, 19, 22, 27] {
            assert_eq!(ask(kind), FAILURE);
        }
        assert_eq!(ask(13), [0, 0, 0, 2, 12, 13]);
        drop(forwarded); // with a client that still is there
        assert_eq!(theirs.join().unwrap(), [11, 13]);
    }

    /// How many connections the socket at `path` has taken and keeps.
    fn connected(path: &Path) -> usize {
        let all = std::fs::read_to_string("/proc/net/unix").unwrap();
        // A stream (1) that is connected (3).
        let of = |line: &&str| line.ends_with(path.to_str().unwrap()) && line.contains(" 0001 03 ");
        all.lines().filter(of).count()
    }

    #[test]
    fn connections_are_bounded_and_go_at_their_end() {
        let dir = tempfile::tempdir().unwrap();
        let (agent, inside) = (dir.path().join("agent"), dir.path().join("inside"));
        let listener = UnixListener::bind(&agent).unwrap();
        thread::spawn(move || {
            for one in listener.incoming() {
                let mut one = one.unwrap();
                thread::spawn(move || {
                    while let Ok(Some(_)) = message(&mut one) {
                        one.write_all(&[0, 0, 0, 1, 12]).unwrap();
                    }
                });
            }
        });
        let forwarded = Forwarded::start(UnixListener::bind(&inside).unwrap(), agent).unwrap();
        let connect = || {
            let mut one = UnixStream::connect(&inside).unwrap();
            one.write_all(&[0, 0, 0, 1, 11]).unwrap();
            one
        };
        let mut first: Vec<_> = (0..MANY).map(|_| connect()).collect();
        for one in &mut first {
            assert_eq!(message(one).unwrap().unwrap()[4], 12);
        }
        let mut late = connect();
        late.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
        assert!(message(&mut late).is_err(), "one more than there may be");
        drop(first);
        late.set_read_timeout(None).unwrap();
        assert_eq!(message(&mut late).unwrap().unwrap()[4], 12);
        // Only the last is left, without another one coming.
        let left = |wanted| {
            // Programs that other tests are starting have copies of descriptors for a moment.
            let mut tries = 1000;
            while connected(&inside) != wanted {
                tries -= 1;
                assert!(tries > 0, "{} of {wanted}", connected(&inside));
                thread::sleep(std::time::Duration::from_millis(20));
            }
        };
        left(1);
        drop(forwarded);
        left(0);
    }

    #[test]
    fn messages_are_bounded() {
        assert!(message(&mut &[0xff; 8][..]).is_err());
        assert!(message(&mut &[0; 4][..]).is_err());
        assert_eq!(message(&mut &[][..]).unwrap(), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_messages_or_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..64), size in 0u32..40) {
            let bytes = [&size.to_be_bytes()[..], &bytes].concat();
            let mut rest = &bytes[..];
            let mut taken = 0;
            while let Ok(Some(one)) = message(&mut rest) {
                prop_assert!(one.len() > 4 && bytes[taken..].starts_with(&one));
                taken += one.len();
            }
            prop_assert!(taken <= bytes.len());
        }
    }
}
