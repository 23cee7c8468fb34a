//! One life of a container, beside its streams: health checks, and processes that
//! nobody waits for (`exec -d`).

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::beside::{Beside, News, Streams};
use super::birth::Birth;
use super::children::Children;
use super::files::Files;
use super::health::Checks;
use super::protocol::{ExecOrder, Failed, Frame, Freeze};
use super::runtime::Runtime;
use super::wires;
use crate::error::{Error, Result};
use crate::events;
use crate::exit::Exit;
use crate::model::Status;

/// One life.
pub struct Life<'b, 'a> {
    birth: &'b mut Birth<'a>,
    init: OwnedFd,
    children: Children,
    checks: Option<Checks>,
    execs: Vec<Detached>,
    /// When the caller's cgroup v2 is left.
    leaving: Option<Instant>,
}

/// A short life doesn't pay for leaving the caller's cgroup, unless its caller has gone already.
const SHORT: Duration = Duration::from_secs(1);

/// A process that nobody waits for.
struct Detached {
    files: Files,
    beside: Beside,
    order: ExecOrder,
    /// Who wants to hear that it runs.
    client: Option<u64>,
}

/// A word for client so and so.
pub type Answer = (u64, Frame);

impl<'b, 'a> Life<'b, 'a> {
    /// The life that `birth` has begun, of the process `init`; `watched` by who started it.
    pub fn new(birth: &'b mut Birth<'a>, init: OwnedFd, watched: bool) -> Result<Self> {
        let children = Children::beside(birth.state.pid)?;
        let checks = Checks::of(birth);
        let leaving = Some(Instant::now() + if watched { SHORT } else { Duration::ZERO });
        Ok(Self { birth, init, children, checks, execs: Vec::new(), leaving })
    }

    /// The container's first process.
    pub fn init(&self) -> BorrowedFd<'_> {
        self.init.as_fd()
    }

    /// Readable when a child has ended.
    pub fn children(&self) -> BorrowedFd<'_> {
        self.children.as_fd()
    }

    /// So long there is nothing to do, if nothing else happens.
    pub fn idle_time(&self) -> Option<Duration> {
        let checks = self.checks.as_ref().filter(|_| self.birth.state.status != Status::Paused);
        let due = checks.map(Checks::due).into_iter().chain(self.leaving).min();
        let due = due.map(|due| due.saturating_duration_since(Instant::now()));
        due.into_iter().chain(self.birth.net.idle_time()).min()
    }

    /// What processes beside the first one write.
    pub fn outputs(&self) -> impl Iterator<Item = &File> {
        let check = self.checks.as_ref().and_then(Checks::output);
        check.into_iter().chain(self.execs.iter().filter_map(|exec| exec.beside.output.as_ref()))
    }

    /// What its networks want to be looked at for.
    pub fn wires(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.birth.net.descriptors()
    }

    /// Serves its names and ports.
    pub fn attend_wires(&mut self) {
        self.birth.net.attend();
    }

    /// Waits for the children that have ended.
    pub fn reap(&mut self) {
        let asked = !self.execs.is_empty() || self.checks.as_ref().is_some_and(Checks::waits);
        self.children.reap(asked);
        if !asked {
            self.children.clear();
        }
    }

    /// Reads what processes beside the first one wrote.
    pub fn pump(&mut self) {
        if let Some(checks) = &mut self.checks {
            checks.pump();
        }
        for exec in &mut self.execs {
            exec.discard();
        }
    }

    /// Does what a client asks; an answer now, or with a later [`Life::tick`].
    pub fn obey(&mut self, client: u64, wish: Frame) -> Option<Answer> {
        let done = match wish {
            Frame::Exec(order) => match self.exec(client, order) {
                Ok(()) => return None,
                Err(error) => Err(error),
            },
            Frame::Freeze(freeze) => self.freeze(freeze != Freeze::Thaw),
            Frame::Connect(wish) => wires::connected(self.birth, &wish),
            Frame::Disconnect(name) => wires::disconnected(self.birth, &name),
            Frame::Renew => wires::renewed(self.birth),
            _ => Err(Error::engine("the container's monitor speaks another protocol")),
        };
        Some((client, word_of(done)))
    }

    /// Does what is due.
    pub fn tick(&mut self) -> Vec<Answer> {
        self.birth.net.tick();
        if self.leaving.is_some_and(|due| Instant::now() >= due) {
            self.leaving = None;
            super::cgroup::leave_v2();
        }
        let paused = self.birth.state.status == Status::Paused;
        if let Some(checks) = &mut self.checks
            && checks.tick(paused, self.birth, &mut self.children)
        {
            // A full disk hides how it is; it is told at the next change.
            let _ = self.birth.host.containers.write_state(self.birth.record, &self.birth.state);
        }
        let mut answers = Vec::new();
        for mut exec in std::mem::take(&mut self.execs) {
            if exec.look(self.birth, &mut self.children, &mut answers) {
                self.execs.push(exec);
            }
        }
        answers
    }

    fn exec(&mut self, client: u64, order: ExecOrder) -> Result<()> {
        let files = Files::of_exec(self.birth.dir.clone(), &order.id)?;
        let streams = if order.tty { Streams::Terminal } else { Streams::None };
        let beside = Beside::begin(&self.runtime(&files), &files, streams)?;
        self.execs.push(Detached { files, beside, order, client: Some(client) });
        Ok(())
    }

    fn freeze(&mut self, freeze: bool) -> Result<()> {
        let (record, name) = (self.birth.record, &self.birth.record.name);
        match (freeze, self.birth.state.status) {
            (true, Status::Paused) => {
                return Err(Error::conflict(format!("Container {name} is already paused")));
            }
            (false, Status::Running) => {
                return Err(Error::conflict(format!("Container {name} is not paused")));
            }
            _ => {}
        }
        if freeze {
            // Who is made while all freezes would hang half-way.
            if let Some(checks) = &mut self.checks {
                checks.break_off(self.birth);
            }
            self.birth.runtime.pause()?;
        } else {
            self.birth.runtime.resume()?;
            if let Some(checks) = &mut self.checks {
                checks.break_off(self.birth);
            }
        }
        self.birth.state.status = if freeze { Status::Paused } else { Status::Running };
        let written = self.birth.host.containers.write_state(record, &self.birth.state);
        events::of_container(
            &self.birth.host.paths,
            record,
            if freeze { "pause" } else { "unpause" },
            &[],
        );
        written
    }

    fn runtime(&self, files: &Files) -> Runtime<'a> {
        Runtime::of(self.birth.host, self.birth.record, files.path("log"))
    }
}

impl Detached {
    /// Sees how far it is; false when it has ended.
    fn look(
        &mut self,
        birth: &Birth<'_>,
        children: &mut Children,
        answers: &mut Vec<Answer>,
    ) -> bool {
        let runtime = Runtime::of(birth.host, birth.record, self.files.path("log"));
        let (id, args) = (&self.order.id, &self.order.args);
        let tell = |action: &str, code| {
            super::exec::tell(birth.host, birth.record, action, id, args, code);
        };
        // It may have begun and ended since the last look.
        while let Some(news) = self.beside.look(&runtime, &self.files, children) {
            let word = match &news {
                News::Started => {
                    tell("exec_start", None);
                    Frame::Done
                }
                News::Failed(error) => word_of(Err(error.clone())),
                News::Ended(code) => {
                    tell("exec_die", Some(*code));
                    Frame::Done
                }
            };
            answers.extend(self.client.take().map(|client| (client, word)));
            if !matches!(news, News::Started) {
                return false;
            }
        }
        true
    }

    /// Nobody looks at its terminal, but it must not fill up.
    fn discard(&mut self) {
        let Some(mut master) = self.beside.output.take() else { return };
        let mut buffer = [0; 4096];
        for _ in 0..16 {
            match master.read(&mut buffer) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return, // nobody has it open any more
                Ok(_) => {}
            }
        }
        self.beside.output = Some(master);
    }
}

fn word_of(done: Result<()>) -> Frame {
    match done {
        Ok(()) => Frame::Done,
        Err(error) => {
            Frame::Failed(Failed { code: Exit::of_run(error.kind).0, message: error.message })
        }
    }
}
