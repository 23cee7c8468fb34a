//! One command under a time limit, and what came of it.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::wires::Space;

/// A command being put together. It gets no input unless `stdin` gives it some.
#[derive(Debug, Clone)]
pub struct Cmd {
    pub(crate) program: OsString,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(OsString, Option<OsString>)>,
    pub(crate) cwd: Option<PathBuf>,
    space: Option<Space>,
    stdin: Vec<u8>,
    limit: Duration,
}

impl Cmd {
    /// A command without arguments.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().into(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            space: None,
            stdin: Vec::new(),
            limit: Duration::from_mins(2),
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(|a| a.as_ref().into()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().into(), Some(value.as_ref().into())));
        self
    }

    /// Takes a variable out of the environment.
    #[must_use]
    pub fn without_env(mut self, key: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().into(), None));
        self
    }

    /// The working directory.
    #[must_use]
    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Self {
        self.cwd = Some(dir.as_ref().into());
        self
    }

    /// The network namespace it runs in; `None` is the test's own, which is the machine's.
    #[must_use]
    pub fn space(mut self, space: Option<&Space>) -> Self {
        self.space = space.cloned();
        self
    }

    /// What the command reads.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Another time limit than two minutes.
    #[must_use]
    pub fn limit(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Puts another command before this one: `strace -f`, `unshare -m`, `setsid`.
    #[must_use]
    pub fn under<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, prefix: I) -> Self {
        let mut words: Vec<OsString> = prefix.into_iter().map(|w| w.as_ref().into()).collect();
        words.push(std::mem::take(&mut self.program));
        words.append(&mut self.args);
        self.program = words.remove(0);
        self.args = words;
        self
    }

    /// The same for `std`, to be started by [`Cmd::spawn`].
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args);
        for (key, value) in &self.env {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        command
    }

    /// The command as a person would type it.
    pub fn line(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.args);
        words.map(|w| quote(&w.to_string_lossy())).collect::<Vec<_>>().join(" ")
    }

    /// Runs it to its end. Not ending in time, or leaving its output open in a child, is a failure.
    pub fn run(self) -> Done {
        let line = self.line();
        let limit = self.limit;
        let mut child = self.start();
        let pid = Pid::from_raw(child.id() as i32);
        let stdin = child.stdin.take();
        let bytes = self.stdin;
        thread::spawn(move || stdin.map(|mut s| s.write_all(&bytes)));
        let (sender, events) = mpsc::channel();
        read_all(child.stdout.take().unwrap(), 0, sender.clone());
        read_all(child.stderr.take().unwrap(), 1, sender.clone());
        thread::spawn(move || sender.send(Event::Ended(child.wait().unwrap())));

        let (mut streams, mut status) = ([None, None], None);
        let until = Instant::now() + limit;
        while status.is_none() || streams.iter().any(Option::is_none) {
            match events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Event::Closed(which, bytes)) => streams[which] = Some(bytes),
                Ok(Event::Ended(ended)) => status = Some(ended),
                Err(_) => {
                    let _ = killpg(pid, Signal::SIGKILL);
                    let what = match status {
                        Some(_) => "ended, but its output is still held open",
                        None => "did not end",
                    };
                    let [out, err] = streams.map(|s| text(&s.unwrap_or_default()));
                    panic!("`{line}` {what} after {limit:?}\n-- stdout:\n{out}\n-- stderr:\n{err}");
                }
            }
        }
        let status = status.unwrap();
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        let [stdout, stderr] = streams.map(Option::unwrap);
        Done { line, code, stdout, stderr }
    }

    /// Starts it with piped stdio, in a process group of its own; the caller waits.
    pub fn start(&self) -> Child {
        let mut command = self.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0);
        self.spawn(&mut command)
    }

    /// Starts what [`Cmd::command`] gave, in this command's network namespace.
    pub fn spawn(&self, command: &mut Command) -> Child {
        let child = match &self.space {
            Some(space) => space.within(|| command.spawn()),
            None => command.spawn(),
        };
        child.unwrap_or_else(|e| panic!("cannot start `{}`: {e}", self.line()))
    }
}

enum Event {
    Closed(usize, Vec<u8>),
    Ended(std::process::ExitStatus),
}

fn read_all(mut from: impl Read + Send + 'static, which: usize, to: mpsc::Sender<Event>) {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        let _ = to.send(Event::Closed(which, bytes));
    });
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A command that has ended.
#[derive(Debug)]
pub struct Done {
    line: String,
    /// The exit code, or 128 + the signal that ended it.
    pub code: i32,
    /// What it wrote to stdout.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr.
    pub stderr: Vec<u8>,
}

impl Done {
    /// It must have ended with 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    /// It must have ended with this code.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert!(self.code == code, "ended with {}, not {code}\n{self}", self.code);
        self
    }

    /// It must have failed, with something said in one line on stderr and nothing on stdout.
    #[track_caller]
    pub fn refused(self) -> Self {
        assert!(self.code != 0, "should have failed\n{self}");
        assert!(self.stdout.is_empty(), "a failure prints nothing on stdout\n{self}");
        assert!(!self.err().is_empty(), "a failure says why on stderr\n{self}");
        assert!(!self.err().contains("panicked at"), "a failure is no panic\n{self}");
        self
    }

    /// stdout must contain this.
    #[track_caller]
    pub fn out_has(self, part: &str) -> Self {
        assert!(text(&self.stdout).contains(part), "no {part:?} on stdout\n{self}");
        self
    }

    /// stderr must contain this.
    #[track_caller]
    pub fn err_has(self, part: &str) -> Self {
        assert!(text(&self.stderr).contains(part), "no {part:?} on stderr\n{self}");
        self
    }

    /// stdout must be just this, but for white space at its ends.
    #[track_caller]
    pub fn out_is(self, whole: &str) -> Self {
        assert!(self.out() == whole, "stdout is not {whole:?}\n{self}");
        self
    }

    /// stdout without the white space at its ends.
    pub fn out(&self) -> String {
        text(&self.stdout).trim().to_owned()
    }

    /// stderr without the white space at its ends.
    pub fn err(&self) -> String {
        text(&self.stderr).trim().to_owned()
    }

    /// stdout's lines.
    pub fn lines(&self) -> Vec<String> {
        self.out().lines().map(str::to_owned).collect()
    }

    /// stdout read as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|e| panic!("stdout is no JSON: {e}\n{self}"))
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "$ {}\n(ended with {})", self.line, self.code)?;
        writeln!(f, "-- stdout:\n{}", cut(&self.stdout))?;
        write!(f, "-- stderr:\n{}", cut(&self.stderr))
    }
}

fn cut(bytes: &[u8]) -> String {
    let whole = text(bytes);
    let whole = whole.trim_end();
    match whole.char_indices().nth(4000) {
        Some((at, _)) => format!("{}… ({} bytes)", &whole[..at], bytes.len()),
        None => whole.to_owned(),
    }
}
