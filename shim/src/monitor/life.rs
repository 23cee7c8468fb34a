//! The monitor's process: one container's lives, from the mount of its root to its last state.
//!
//! mount → bundle → streams → runtime create → runtime start → serve → reap →
//! runtime delete → unmount → (again, if its policy says so) → state on disk →
//! lock released → clients told. It is exec'ed, single-threaded, and owns the
//! whole transaction: whoever asked for it may die at any time.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use dhow_image::rootless;

use super::birth::{Birth, Born};
use super::listen;
use super::living::Life;
use super::lock::Lock;
use super::oom::Counter;
use super::peer::Peer;
use super::process;
use super::protocol::{Exited, Frame, Role, Started, Stopping};
use super::restart::{self, Ending};
use super::server::Server;
use super::stdio::{self, Streams};
use super::task::{Purpose, Task};
use crate::error::Result;
use crate::exit::Exit;
use crate::host::{Host, Paths};
use crate::logging::{self, Writer};
use crate::model::{State, Status};
use crate::net;
use crate::settings::Settings;

/// The monitor's whole program; its task comes over fd 0.
pub fn main() -> ExitCode {
    let _ = dhow_kernel::close::close_from(3); // what the caller's shell left open
    match run() {
        Some(()) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    }
}

/// Nobody reads a monitor's stderr: every failure goes to the client or into the state.
fn run() -> Option<()> {
    let count = std::env::args().nth(4).and_then(|count| count.parse().ok());
    let places = listen::places(count.unwrap_or(0))?;
    let mut socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().ok()?);
    let null = File::options().read(true).write(true).open("/dev/null").ok()?;
    nix::unistd::dup2_stdin(&null).ok()?;
    drop(null);
    let (task, lock, listener) = Task::receive(&mut socket)?;
    if !task.sockets.is_empty() {
        listen::Sockets::receive(&socket, task.sockets, places)?;
    }
    if let Some(inside) = task.inside {
        rootless::stay(inside, &task.run).ok()?;
    }
    rootless::search_in(std::env::var_os("PATH").as_deref());
    let _ = nix::sys::prctl::set_name(c"dhow-monitor"); // it was exec'ed as /proc/self/exe
    let _ = nix::unistd::setsid();
    super::cgroup::leave_v1();
    let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    // Before the runtime's create: the container's first process must become our child.
    nix::sys::prctl::set_child_subreaper(true).ok()?;
    let paths = Paths { root: task.root, run: task.run };
    let host = Host::open(paths, Settings::default(), Some(&task.runtime)).ok()?;
    let record = host.containers.record(&task.id).ok()??;
    let state = host.containers.state(&task.id).ok()?;
    let birth = Birth::new(&host, &record, state).in_scopes(task.scopes);
    let lived = match task.purpose {
        Purpose::Start { role, size } => {
            let held = Held { lock, listener };
            let dir = host.paths.container(&record.id);
            start(birth, held, Peer::new(socket, role, &dir).ok()?, size)
        }
        Purpose::Adopt => adopt(birth, Held { lock, listener }),
        Purpose::Revive => revive(birth, Held { lock, listener }),
    };
    // All who wait for the end know of it, and need not wait for this. What fails here is done by
    // who takes the addresses.
    let _ = net::settle_flows(&host.paths);
    lived
}

/// What a monitor holds as long as it lives.
struct Held {
    lock: Lock,
    listener: UnixListener,
}

/// Starts the container for `client`, and stays with it.
fn start(
    mut birth: Birth<'_>,
    held: Held,
    mut client: Peer,
    size: Option<(u16, u16)>,
) -> Option<()> {
    birth.state.restart_count = 0;
    let begun = open_log(&birth).and_then(|log| Ok((log, birth.begin(size)?)));
    match begun {
        Err(error) => {
            client.send(&Frame::Failed(birth.fail(error, held.lock)));
            Some(())
        }
        Ok((log, born)) => {
            let mut server = server(&birth, held.listener, log);
            let steps = std::mem::take(&mut birth.steps);
            let told = std::mem::take(&mut birth.net.told);
            client.send(&Frame::Started(Started { pid: birth.state.pid, steps, told }));
            // Who attaches nothing only wanted to see the start.
            if client.role == Some(Role::default()) {
                drop(client);
            } else {
                server.welcome(client);
            }
            live(birth, held.lock, server, born)
        }
    }
}

/// Goes on where a killed monitor stopped.
fn adopt(mut birth: Birth<'_>, held: Held) -> Option<()> {
    let init = process::open(&birth.state).ok()??;
    let mut server = server(&birth, held.listener, open_log(&birth).ok()?);
    let streams = if birth.record.config.tty {
        let lost = "the monitor was killed: the terminal was hung up";
        server.trouble.get_or_insert(lost.into());
        Streams::none()
    } else {
        stdio::reopen(&birth.dir)
    };
    let oom = Counter::of(birth.state.pid, &birth.record.id);
    birth.state.monitor_pid = std::process::id() as i32;
    birth.host.containers.write_state(birth.record, &birth.state).ok()?;
    if let Err(error) = birth.adopt_networks() {
        server.trouble.get_or_insert(error.message);
    }
    server.orphan = true;
    live(birth, held.lock, server, Born { init, streams, oom })
}

/// Does what the killed monitor would have done next: the policy wants another life.
fn revive(mut birth: Birth<'_>, held: Held) -> Option<()> {
    let mut server = server(&birth, held.listener, open_log(&birth).ok()?);
    let swept = net::sweep(birth.host, birth.record, &birth.state);
    let failure = [birth.clean(), swept.err().map(|e| e.message)];
    let failure = failure.into_iter().flatten().collect::<Vec<_>>().join("; ");
    // Between two lives the end of the one was told, and the other counted.
    let lasted = if birth.state.status == Status::Restarting {
        birth.state.restart_count = birth.state.restart_count.saturating_sub(1);
        None
    } else {
        let code = super::reconcile::code_of_zombie(&birth.state).unwrap_or(-1);
        birth.state = super::ended(std::mem::take(&mut birth.state), code, false, failure);
        Some(super::reconcile::lasted(&birth.state))
    };
    match again(&mut birth, &mut server, restart::FIRST, lasted) {
        Some(born) => live(birth, held.lock, server, born),
        None => finish(&birth, held.lock, server, None),
    }
}

fn server(birth: &Birth<'_>, listener: UnixListener, log: Option<Writer>) -> Server {
    let config = &birth.record.config;
    let dir = birth.host.paths.container(&birth.record.id);
    Server::new(listener, dir, config.tty, config.stdin_once, log)
}

fn open_log(birth: &Birth<'_>) -> Result<Option<Writer>> {
    let path = birth.host.paths.log(&birth.record.id);
    logging::open(birth.record, &path, &birth.dir.join(super::LOST))
}

/// Stays with the container through all its lives.
fn live(mut birth: Birth<'_>, lock: Lock, mut server: Server, mut born: Born) -> Option<()> {
    let mut pause = None;
    loop {
        let began = Instant::now();
        let (code, oom_killed) = serve(&mut birth, &mut server, born)?;
        let error = [birth.clean(), server.trouble.take()].into_iter().flatten();
        let error = error.collect::<Vec<_>>().join("; ");
        birth.state = super::ended(std::mem::take(&mut birth.state), code, oom_killed, error);
        birth.renew();
        let ending = Ending {
            code,
            lasted: began.elapsed(),
            restarts: birth.state.restart_count,
            wanted: server.stopping.is_some(),
            pause,
        };
        let lasted = ending.lasted;
        // `update` and `rename` may have changed it meanwhile.
        birth.newest = birth.host.containers.record(&birth.record.id).ok().flatten();
        pause = restart::pause(&birth.newest().host_config.restart_policy, &ending);
        born = match pause {
            None => return finish(&birth, lock, server, Some(lasted)),
            Some(pause) => match again(&mut birth, &mut server, pause, Some(lasted)) {
                Some(born) => born,
                None => return finish(&birth, lock, server, None),
            },
        };
    }
}

/// One life: its streams until its end; its exit code, and whether memory was its end.
fn serve(birth: &mut Birth<'_>, server: &mut Server, born: Born) -> Option<(i32, bool)> {
    server.join(born.streams);
    let init = born.init.try_clone().ok()?;
    server.serve(&mut Life::new(birth, born.init, server.is_watched()).ok()?).ok()?;
    let code = if std::mem::take(&mut server.orphan) {
        super::reconcile::code_of_orphan(&birth.state, init.as_fd())
    } else {
        dhow_kernel::process::reap(init.as_fd()).ok().flatten().unwrap_or(-1)
    };
    server.drain();
    Some((code, born.oom.counted()))
}

/// The next life, after a pause; nothing when the user stops it meanwhile or it can't be.
fn again(
    birth: &mut Birth<'_>,
    server: &mut Server,
    pause: Duration,
    lasted: Option<Duration>,
) -> Option<Born> {
    birth.state.status = Status::Restarting;
    birth.state.restart_count += 1;
    birth.state.monitor_pid = std::process::id() as i32;
    let _ = birth.host.containers.write_state(birth.record, &birth.state);
    birth.tell_end(lasted);
    server.part(Exited { code: birth.state.exit_code });
    if server.idle(pause) {
        birth.state.status = Status::Exited;
        return None;
    }
    birth.newest = birth.host.containers.record(&birth.record.id).ok().flatten();
    let before = birth.state.clone();
    birth
        .begin(None)
        .map_err(|error| {
            let _ = birth.clean();
            let exit_code = Exit::of_run(error.kind).0.into();
            let (status, error) = (Status::Exited, error.message);
            birth.state = State { status, exit_code, error, ..before };
        })
        .ok()
}

/// The last state on disk, the lock free, and then the last word to the clients.
/// `lasted` is how long a life was whose end nobody was told of yet.
fn finish(birth: &Birth<'_>, lock: Lock, server: Server, lasted: Option<Duration>) -> Option<()> {
    let (host, record) = (birth.host, birth.record);
    lock.mark_ending();
    if record.host_config.auto_remove {
        birth.tell_end(lasted);
        super::remove_quietly(host, record);
    } else {
        let stopped_by_user = server.stopping == Some(Stopping::ByUser);
        let state = State { monitor_pid: 0, stopped_by_user, ..birth.state.clone() };
        let kept = host.containers.write_state(record, &state);
        birth.tell_end(lasted);
        if kept.is_err() {
            // The disk is full, say: the next command that finds room writes it.
            super::reconcile::keep_end(&birth.dir, &state);
            drop(lock);
            return server.farewell(Exited { code: birth.state.exit_code }).ok();
        }
    }
    super::clear(host, &record.id);
    drop(lock);
    server.farewell(Exited { code: birth.state.exit_code }).ok()
}
