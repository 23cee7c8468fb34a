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
use std::sync::{Arc, Mutex, PoisonError};
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
/// SSH_AGENTC_REQUEST_IDENTITIES, SSH_AGENTC_SIGN_REQUEST
const ALLOWED: [u8; 2] = [11, 13];
/// A whole SSH_AGENT_FAILURE.
const FAILURE: [u8; 5] = [0, 0, 0, 1, 5];

/// A socket that is served by threads until this is dropped.
#[derive(Debug)]
struct Forwarded {
    stop: Option<io::PipeWriter>,
    acceptor: Option<JoinHandle<()>>,
    open: Arc<Mutex<Vec<UnixStream>>>,
}

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
        let open = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&open);
        let acceptor = thread::Builder::new().name("ssh".into()).spawn(move || {
            let mut served: Vec<JoinHandle<()>> = Vec::new();
            loop {
                let mut fds = [
                    PollFd::new(listener.as_fd(), PollFlags::POLLIN),
                    PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
                ];
                let _ = poll(&mut fds, PollTimeout::NONE);
                if fds[1].any() == Some(true) {
                    break;
                }
                if let Some(thread) = accept(&listener, &agent, &list) {
                    served.push(thread);
                }
                served.retain(|thread| !thread.is_finished());
            }
            drop(listener);
            for one in list.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                let _ = one.shutdown(Shutdown::Both);
            }
            for thread in served {
                let _ = thread.join();
            }
        })?;
        Ok(Self { stop: Some(stop), acceptor: Some(acceptor), open })
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn accept(
    listener: &UnixListener,
    agent: &Path,
    list: &Mutex<Vec<UnixStream>>,
) -> Option<JoinHandle<()>> {
    let (client, _) = listener.accept().ok()?;
    client.set_nonblocking(false).ok()?;
    let server = UnixStream::connect(agent).ok()?;
    let ends = [client.try_clone().ok()?, server.try_clone().ok()?];
    list.lock().unwrap_or_else(PoisonError::into_inner).extend(ends);
    thread::Builder::new().name("ssh".into()).spawn(move || forward(client, server)).ok()
}

/// Questions one way, answers the other, until one of both has enough.
fn forward(mut client: UnixStream, mut server: UnixStream) {
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
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
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

    #[test]
    fn messages_are_bounded() {
        assert!(message(&mut &[0xff; 8][..]).is_err());
        assert!(message(&mut &[0; 4][..]).is_err());
        assert_eq!(message(&mut &[][..]).unwrap(), None);
    }
}
