//! A process beside the container's first one, from the call of the runtime to its end.
//!
//! Nothing here waits: a runtime that hangs and a process that never ends cost the
//! monitor nothing. Both are its children, and [`Children`] tells of their ends.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgid};

use super::children::Children;
use super::files::Files;
use super::runtime::{ExecCall, Runtime, Stdio3};
use super::stdio::{Console, set_nonblocking};
use crate::error::{Error, Result};

/// One such process.
pub struct Beside {
    phase: Phase,
    console: Option<Console>,
    /// Our end of its output, or of its terminal; never blocks.
    pub output: Option<File>,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The runtime, this process, is making it.
    Called(Pid),
    /// It runs, as this process.
    Runs(Pid),
}

/// What became of it.
#[derive(Debug)]
pub enum News {
    /// It runs.
    Started,
    /// The runtime could not make it.
    Failed(Error),
    /// It has ended with this code.
    Ended(i32),
}

/// What the process is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// Nothing.
    None,
    /// Its output is ours to read.
    Output,
    /// A terminal, whose master is ours.
    Terminal,
}

impl Beside {
    /// Calls `runtime` for the process in `files`.
    pub fn begin(runtime: &Runtime<'_>, files: &Files, streams: Streams) -> Result<Self> {
        let (process, pid_file) = (&files.path("json"), &files.path("pid"));
        let (mut stdio, mut output, mut console) = (Stdio3::null(), None, None);
        match streams {
            Streams::None => {}
            Streams::Output => {
                let cause = |e| Error::engine(format!("make a pipe: {e}"));
                let (reader, writer) = std::io::pipe().map_err(cause)?;
                stdio.stderr = Stdio::from(writer.try_clone().map_err(cause)?);
                stdio.stdout = Stdio::from(writer);
                let reader = File::from(std::os::fd::OwnedFd::from(reader));
                set_nonblocking(&reader)?;
                output = Some(reader);
            }
            Streams::Terminal => console = Some(Console::listen(files.dir(), &files.name("sock"))?),
        }
        let path = console.as_ref().map(|console| console.address.path.clone());
        let call = ExecCall { process, pid_file, console: path.as_deref(), stdio };
        let called = runtime.begin_exec(call)?;
        Ok(Self { phase: Phase::Called(Pid::from_raw(called.id() as i32)), console, output })
    }

    /// The runtime has made it.
    pub fn runs(&self) -> bool {
        matches!(self.phase, Phase::Runs(_))
    }

    /// Looks whether it has come further.
    pub fn look(
        &mut self,
        runtime: &Runtime<'_>,
        files: &Files,
        children: &mut Children,
    ) -> Option<News> {
        match self.phase {
            Phase::Runs(pid) => children.end_of(pid).map(News::Ended),
            Phase::Called(pid) => {
                let status = ExitStatus::from_raw(children.end_of(pid)? << 8);
                Some(match self.arrive(runtime, files, status) {
                    Ok(()) => News::Started,
                    Err(error) => News::Failed(error),
                })
            }
        }
    }

    fn arrive(&mut self, runtime: &Runtime<'_>, files: &Files, status: ExitStatus) -> Result<()> {
        let pid = runtime.end_exec(status, &files.path("pid"))?;
        self.phase = Phase::Runs(Pid::from_raw(pid));
        if let Some(console) = self.console.take() {
            self.output = Some(console.master()?);
        }
        Ok(())
    }

    /// Ends it, with what it started in its own group: its pid is ours until we have waited for it.
    pub fn kill(&self) {
        let (Phase::Called(pid) | Phase::Runs(pid)) = self.phase;
        if self.runs() && getpgid(Some(pid)) == Ok(pid) {
            let _ = killpg(pid, Signal::SIGKILL);
        }
        let _ = kill(pid, Signal::SIGKILL);
    }
}
