//! Running hooks: the state on standard input, an environment of their own, a deadline.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;

use dhow_kernel::process::{self, Fork, Side, Vector};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::Serialize;

use crate::error::{Error, Result, describe};
use crate::validate::hook::Hook;

/// What hooks are told of a container: runtime.md §State.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// `ociVersion`.
    pub version: String,
    /// `id`.
    pub id: String,
    /// `bundle`.
    pub bundle: String,
    /// `annotations`.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "ociVersion")]
    version: &'a str,
    id: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    pid: i32,
    bundle: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
const fn is_zero(pid: &i32) -> bool {
    *pid == 0
}

impl State {
    /// As JSON, with what changes.
    pub fn json(&self, status: &str, pid: i32) -> String {
        let document = Document {
            version: &self.version,
            id: &self.id,
            status,
            pid,
            bundle: &self.bundle,
            annotations: &self.annotations,
        };
        serde_json::to_string(&document).unwrap_or_default()
    }
}

/// Runs a list in order; the first failure ends it.
pub fn run_all(hooks: &[Hook], kind: &str, state: &str) -> Result<()> {
    hooks.iter().try_for_each(|hook| run(hook, kind, state))
}

/// Runs one hook to its end.
pub fn run(hook: &Hook, kind: &str, state: &str) -> Result<()> {
    let failed =
        |why: String| Error::rule(format!("{kind} hook {}: {why}", hook.path.to_string_lossy()));
    let system = |errno: Errno| failed(describe(errno));
    // Files rather than pipes: a hook that doesn't read or writes much can't make us wait.
    let mut input = memory(c"state").map_err(system)?;
    input
        .write_all(state.as_bytes())
        .and_then(|()| input.rewind())
        .map_err(|e| failed(e.to_string()))?;
    let output = memory(c"output").map_err(system)?;
    let (argv, envp) = (Vector::new(hook.args.clone()), Vector::new(hook.env.clone()));
    let pidfd = match process::fork(&Fork::default()).map_err(system)? {
        Side::Child => become_hook(&hook.path, &argv, &envp, &input, &output),
        Side::Parent(_, pidfd) => pidfd,
    };
    let status = wait(pidfd.as_fd(), hook.timeout).map_err(system)?;
    match status {
        Some(0) => Ok(()),
        Some(code) => {
            let said = tail(output);
            let said = if said.is_empty() { said } else { format!(": {said}") };
            Err(failed(format!("exit status {code}{said}")))
        }
        None => Err(failed(format!("timed out after {} s and was killed", hook.timeout))),
    }
}

fn memory(name: &std::ffi::CStr) -> nix::Result<File> {
    memfd_create(name, MFdFlags::MFD_CLOEXEC).map(File::from)
}

fn become_hook(path: &CString, argv: &Vector, envp: &Vector, input: &File, output: &File) -> ! {
    let placed = dhow_kernel::fd::place(input.as_fd(), 0)
        .and_then(|()| dhow_kernel::fd::place(output.as_fd(), 1))
        .and_then(|()| dhow_kernel::fd::place(output.as_fd(), 2))
        .and_then(|()| dhow_kernel::fd::cloexec_from(3));
    dhow_kernel::signal::reset_all();
    let errno = match placed {
        Ok(()) => process::execve(path, argv, envp),
        Err(errno) => errno,
    };
    let _ = (&*output).write_all(describe(errno).as_bytes());
    process::exit_now(127)
}

/// Waits for the end, `None` when it had to be killed.
fn wait(pidfd: std::os::fd::BorrowedFd<'_>, seconds: u32) -> nix::Result<Option<i32>> {
    let patience = match seconds {
        0 => PollTimeout::NONE,
        n => PollTimeout::try_from(n.saturating_mul(1000)).unwrap_or(PollTimeout::MAX),
    };
    let mut fds = [PollFd::new(pidfd, PollFlags::POLLIN)];
    let ended = loop {
        match poll(&mut fds, patience) {
            Err(Errno::EINTR) => {}
            other => break other? > 0,
        }
    };
    if ended {
        return process::reap(pidfd);
    }
    process::pidfd_signal(pidfd, libc::SIGKILL)?;
    poll(&mut fds, PollTimeout::NONE)?;
    process::reap(pidfd).map(|_| None)
}

/// The end of what it said, in one line.
fn tail(mut output: File) -> String {
    const LIMIT: u64 = 2048;
    let mut said = Vec::new();
    let len = output.metadata().map_or(0, |m| m.len());
    let _ = output.seek(SeekFrom::Start(len.saturating_sub(LIMIT)));
    let _ = output.take(LIMIT).read_to_end(&mut said);
    String::from_utf8_lossy(&said).trim().replace('\n', "; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_the_spec_s() {
        let state = State { version: "1.0.2".into(), id: "x".into(), ..State::default() };
        assert_eq!(
            state.json("creating", 7),
            r#"{"ociVersion":"1.0.2","id":"x","status":"creating","pid":7,"bundle":""}"#
        );
        assert!(!state.json("stopped", 0).contains("pid"));
    }
}
