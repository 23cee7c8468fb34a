//! Running hooks: the state on standard input, an environment of their own, a deadline.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use dhow_kernel::process::{self, End, Fork, Side, Vector};
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
    /// Where the hooks of the runtime's side run: in the bundle, with the runtime's environment
    /// for those that say none, as runc has it.
    pub fn outside<'a>(
        &self,
        kind: &'static str,
        status: &str,
        pid: i32,
        env: &'a Vector,
    ) -> Scene<'a> {
        let dir = CString::new(self.bundle.as_str()).ok();
        Scene { kind, state: self.json(status, pid), dir, env, watch: None }
    }

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

/// Where a list of hooks runs.
#[derive(Debug)]
pub struct Scene<'a> {
    /// Its name in config.json.
    pub kind: &'static str,
    /// The state on standard input.
    pub state: String,
    /// The directory they start in; `None` is ours.
    pub dir: Option<CString>,
    /// The environment of those that say none.
    pub env: &'a Vector,
    /// Who must live for them to go on.
    pub watch: Option<BorrowedFd<'a>>,
}

impl Scene<'_> {
    /// Runs a list in order; the first failure ends it.
    pub fn run(&self, hooks: &[Hook]) -> Result<()> {
        hooks.iter().enumerate().try_for_each(|(n, hook)| self.one(n, hook))
    }

    /// Runs a list in order, whatever fails; the failures come back.
    pub fn run_each(&self, hooks: &[Hook]) -> Vec<Error> {
        hooks.iter().enumerate().filter_map(|(n, hook)| self.one(n, hook).err()).collect()
    }

    /// Runs one to its end. The words are runc's, then comes where to look.
    fn one(&self, n: usize, hook: &Hook) -> Result<()> {
        run(hook, self).map_err(|Failed { why, code }| {
            let (kind, path) = (self.kind, hook.path.to_string_lossy());
            let at = format!("config.json: /hooks/{kind}/{n}: {path}");
            // In crun's words, too, where its scripts may look for them.
            let also = match code {
                Some(code) if kind == "poststop" => {
                    format!("; poststop hook failed with exit code {code}: the container is gone")
                }
                _ => String::new(),
            };
            Error::rule(format!("error running {kind} hook #{n}: {why} ({at}){also}"))
        })
    }
}

/// Why a hook has failed.
struct Failed {
    why: String,
    /// Its exit code, where it has ended by itself.
    code: Option<i32>,
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self { why, code: None }
    }
}

fn run(hook: &Hook, scene: &Scene<'_>) -> std::result::Result<(), Failed> {
    // Files rather than pipes: a hook that doesn't read or writes much can't make us wait.
    let mut input = memory(c"state").map_err(describe)?;
    input
        .write_all(scene.state.as_bytes())
        .and_then(|()| input.rewind())
        .map_err(|e| e.to_string())?;
    let output = memory(c"output").map_err(describe)?;
    let own = Vector::new(hook.env.clone());
    let argv = Vector::new(hook.args.clone());
    let envp = if hook.env.is_empty() { scene.env } else { &own };
    let pidfd = match process::fork(&Fork::default()).map_err(describe)? {
        Side::Child => {
            let errno = become_hook(hook, scene.dir.as_deref(), [&argv, envp], [&input, &output]);
            let _ = (&output).write_all(describe(errno).as_bytes());
            process::exit_now(127)
        }
        Side::Parent(_, pidfd) => pidfd,
    };
    let ended = wait(pidfd.as_fd(), hook.timeout, scene.watch).map_err(describe)?;
    let code = match ended {
        Ended::Itself(End::Code(code)) => Some(code),
        _ => None,
    };
    let why = match ended {
        Ended::Itself(End::Code(0)) => return Ok(()),
        Ended::Itself(End::Code(code)) => format!("exit status {code}"),
        Ended::Itself(End::Signal { number, core }) => {
            let core = if core { " (core dumped)" } else { "" };
            format!("signal: {}{core}", signal_words(number))
        }
        Ended::Late => format!("hook ran past specified timeout of {:.1}s", hook.timeout),
        Ended::Alone => "the runtime has ended meanwhile".to_owned(),
    };
    let said = tail(output);
    let why = if said.is_empty() { why } else { format!("{why}, output: {said}") };
    Err(Failed { why, code })
}

fn memory(name: &CStr) -> nix::Result<File> {
    memfd_create(name, MFdFlags::MFD_CLOEXEC).map(File::from)
}

/// Comes back only with what went wrong.
fn become_hook(
    hook: &Hook,
    dir: Option<&CStr>,
    [argv, envp]: [&Vector; 2],
    [input, output]: [&File; 2],
) -> Errno {
    // A bundle that is gone is no reason not to clean up after its container.
    let _ = dir.map(nix::unistd::chdir);
    dhow_kernel::signal::reset_all(None);
    // Nobody would wait for it any more, nor end it.
    let placed = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
        .and_then(|()| dhow_kernel::fd::place(input.as_fd(), 0))
        .and_then(|()| dhow_kernel::fd::place(output.as_fd(), 1))
        .and_then(|()| dhow_kernel::fd::place(output.as_fd(), 2))
        .and_then(|()| dhow_kernel::fd::cloexec_from(3));
    match placed {
        Ok(()) => process::execve(&hook.path, argv, envp),
        Err(errno) => errno,
    }
}

/// How waiting for a hook ended.
enum Ended {
    Itself(End),
    /// After its timeout, killed.
    Late,
    /// Whoever was watched has gone; killed.
    Alone,
}

fn wait(pidfd: BorrowedFd<'_>, seconds: u32, watch: Option<BorrowedFd<'_>>) -> nix::Result<Ended> {
    let until = (seconds > 0).then(|| Instant::now() + Duration::from_secs(seconds.into()));
    let mut fds = vec![PollFd::new(pidfd, PollFlags::POLLIN)];
    // KERNEL: poll(2): a hangup is told without being asked for.
    fds.extend(watch.map(|fd| PollFd::new(fd, PollFlags::empty())));
    let early = loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let patience = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, patience) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(_) if fds[0].any().unwrap_or(false) => return process::end(pidfd).map(itself),
            Ok(0) if left.is_some_and(|left| left.is_zero()) => break Ended::Late,
            Ok(0) => {}
            Ok(_) => break Ended::Alone,
        }
    };
    process::pidfd_signal(pidfd, libc::SIGKILL)?;
    poll(&mut fds[..1], PollTimeout::NONE)?;
    process::end(pidfd).map(|_| early)
}

fn itself(end: Option<End>) -> Ended {
    // The handle said that it has ended.
    Ended::Itself(end.unwrap_or(End::Code(0)))
}

/// A signal as Go says it, which runc's messages have.
fn signal_words(number: i32) -> String {
    const WORDS: [&str; 31] = [
        "hangup",
        "interrupt",
        "quit",
        "illegal instruction",
        "trace/breakpoint trap",
        "aborted",
        "bus error",
        "floating point exception",
        "killed",
        "user defined signal 1",
        "segmentation fault",
        "user defined signal 2",
        "broken pipe",
        "alarm clock",
        "terminated",
        "stack fault",
        "child exited",
        "continued",
        "stopped (signal)",
        "stopped",
        "stopped (tty input)",
        "stopped (tty output)",
        "urgent I/O condition",
        "CPU time limit exceeded",
        "file size limit exceeded",
        "virtual timer expired",
        "profiling timer expired",
        "window changed",
        "I/O possible",
        "power failure",
        "bad system call",
    ];
    let word = usize::try_from(number - 1).ok().and_then(|n| WORDS.get(n));
    word.map_or_else(|| format!("signal {number}"), |word| (*word).to_owned())
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

    fn scene(env: &Vector) -> Scene<'_> {
        Scene { kind: "poststop", state: "{}".into(), dir: None, env, watch: None }
    }

    fn shell(script: &str, timeout: u32) -> Hook {
        let args = ["sh", "-c", script].map(|arg| CString::new(arg).unwrap()).to_vec();
        Hook { path: c"/bin/sh".into(), args, env: Vec::new(), timeout }
    }

    #[test]
    fn a_failure_says_which_hook_and_how_it_ended() {
        let env = Vector::new(Vec::new());
        let wrong = |script: &str, timeout| {
            scene(&env).run(&[shell("true", 0), shell(script, timeout)]).unwrap_err().to_string()
        };
        let said = wrong("echo the anchor is stuck >&2; exit 5", 0);
        let whole = "error running poststop hook #1: exit status 5, output: the anchor is stuck \
                     (config.json: /hooks/poststop/1: /bin/sh); poststop hook failed with exit code 5: \
                     the container is gone";
        assert_eq!(said, whole);
        assert!(wrong("kill -9 $$", 0).contains("#1: signal: killed ("));
        let began = Instant::now();
        assert!(wrong("exec sleep 100", 1).contains("ran past specified timeout of 1"));
        assert!(began.elapsed() < Duration::from_mins(1));
    }

    #[test]
    fn after_a_failure_the_others_run_where_that_is_asked_for() {
        let env = Vector::new(Vec::new());
        let hooks = [shell("exit 1", 0), shell("true", 0), shell("exit 2", 0)];
        assert_eq!(scene(&env).run_each(&hooks).len(), 2);
    }

    #[test]
    fn a_hook_does_not_outlive_whom_it_is_for() {
        let env = Vector::new(Vec::new());
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        drop(theirs);
        let scene = Scene { watch: Some(ours.as_fd()), ..scene(&env) };
        let e = scene.run(&[shell("exec sleep 1000", 0)]).unwrap_err().to_string();
        assert!(e.contains("has ended meanwhile"), "{e}");
    }

    #[test]
    fn a_hook_without_an_environment_gets_the_scenes() {
        let env = Vector::new(vec![c"ONE=two".into()]);
        scene(&env).run(&[shell("test $ONE = two", 0)]).unwrap();
        let own = Hook { env: vec![c"A=b".into()], ..shell("test -z \"$ONE\"", 0) };
        scene(&env).run(&[own]).unwrap();
    }

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
