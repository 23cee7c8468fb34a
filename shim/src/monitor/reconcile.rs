//! The truth about a container: what is on disk, checked against the living.
//!
//! A monitor that was killed leaves a state that says running and a lock that
//! nobody holds. Whoever sees that takes the lock and puts things right: a
//! container that lives gets a new monitor, one that has ended gets its last state.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::lock::Lock;
use super::restart::{self, Ending};
use super::runtime::Runtime;
use super::task::{Purpose, Task};
use super::{clear, ended, is_active, process, remove_quietly, rootfs, socket};
use crate::error::Result;
use crate::host::Host;
use crate::model::{Record, State, Status};
use crate::net;
use crate::store::Container;

/// Milliseconds that a runtime gets to come to its end; then what it made is removed under it.
const LONGEST_CALL: u16 = 10_000;

/// The container's state, after putting right what a killed monitor left.
pub fn state(host: &Host, record: &Record) -> Result<State> {
    let state = host.containers.state(&record.id)?;
    // Who ends in peace leaves no directory; so this one look is all that most cost.
    if !is_active(&state) && !host.paths.monitor(&record.id).exists() {
        return Ok(state);
    }
    let Some(lock) = Lock::try_take(host, &record.id)? else {
        // Somebody is at it: writing down the end that the machine's made of it, or starting it
        // again. Who took it for running would start what leans on it too early.
        let over = is_active(&state) && process::boot_id()? != state.boot_id;
        return Ok(if over { ended(state, -1, false, String::new()) } else { state });
    };
    // Between the look and the lock its monitor may have written the end.
    let state = host.containers.state(&record.id)?;
    if !is_active(&state) {
        sweep(host, record, lock)?;
        return Ok(state);
    }
    if process::open(&state)?.is_some() {
        let listener = socket::listen_for(host, &record.id)?;
        Task::new(host, record, Purpose::Adopt).hand_over(lock, listener)?;
        return Ok(state);
    }
    if goes_on(host, record, &state) {
        let listener = socket::listen_for(host, &record.id)?;
        Task::new(host, record, Purpose::Revive).hand_over(lock, listener)?;
        return Ok(State { status: Status::Restarting, pid: 0, ..state });
    }
    Ok(bury(host, record, state, lock))
}

/// All containers as they are, newest first; `living`: of those alone that live or are between
/// two lives. What killed processes left of others is cleared away.
pub fn containers(host: &Host, living: bool) -> Result<Vec<Container>> {
    // Looked at before any state: who starts meanwhile has not started yet.
    let monitors = monitors(host);
    let ids = host.containers.ids()?;
    let mut found = Vec::with_capacity(if living { 0 } else { ids.len() });
    for id in &ids {
        let mut state = host.containers.state(id)?;
        let rests = !is_active(&state) && !monitors.contains(id);
        if rests && living {
            continue;
        }
        let Some(record) = host.containers.record(id)? else { continue }; // just gone
        if !rests {
            state = self::state(host, &record)?;
        }
        found.push(Container { record, state });
    }
    found.sort_by_cached_key(|c| std::cmp::Reverse(c.record.created)); // moves each once
    host.containers.forget_names(ids.len());
    forget_monitors(host, &monitors, &ids);
    Ok(found)
}

/// Whose RUN/monitors/ID is there.
fn monitors(host: &Host) -> HashSet<String> {
    let all = std::fs::read_dir(host.paths.run.join("monitors")).into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Its policy wants another life of a container that ended unseen. After a reboot that is for
/// `system start` to say.
fn goes_on(host: &Host, record: &Record, state: &State) -> bool {
    let known = state.status == Status::Restarting;
    let ending = Ending {
        code: if known { state.exit_code } else { code_of_zombie(state).unwrap_or(-1) },
        lasted: Duration::ZERO,
        restarts: state.restart_count - u32::from(known && state.restart_count > 0),
        wanted: state.stopped_by_user,
        pause: None,
    };
    process::boot_id().is_ok_and(|id| id == state.boot_id)
        && kept_end(&host.paths.monitor(&record.id), state).is_none()
        && restart::pause(&record.host_config.restart_policy, &ending).is_some()
}

/// Clears away what a monitor that was killed during a start left; the caller holds the lock.
fn sweep(host: &Host, record: &Record, lock: Lock) -> Result<()> {
    lock.mark_ending();
    let dir = host.paths.monitor(&record.id);
    wait_for_runtime(&record.id);
    Runtime::of(host, record, dir.join("runtime.log")).delete()?;
    rootfs::sweep(host, record)?;
    net::sweep(host, record, &State::default())?;
    clear(host, &record.id);
    drop(lock);
    Ok(())
}

/// Clears away RUN/monitors/ID of containers that are gone: whoever removed them was killed
/// before it came to that. `known` are containers that need not be looked at.
fn forget_monitors(host: &Host, monitors: &HashSet<String>, known: &[String]) {
    let known: HashSet<&String> = known.iter().collect();
    for id in monitors.iter().filter(|id| !known.contains(id)) {
        if host.paths.container(id).exists() {
            continue;
        }
        // An id is never used again; but its monitor may be about to do this itself.
        let lock = File::open(host.paths.monitor(id).join("lock"));
        if lock.as_ref().map_or(true, |lock| lock.try_lock().is_ok()) {
            clear(host, id);
        }
    }
}

/// The runtime that the killed monitor called may still be at work: what it makes must be seen.
///
/// A container's own first process may look like the runtime until it becomes the command, and
/// waits for a start that never comes: it leads a session or has the runtime for its parent.
fn wait_for_runtime(id: &str) {
    let called = |pid: i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let has = |word: &str| line.split(|&b| b == 0).any(|argument| argument == word.as_bytes());
        has(id) && (has("create") || has("start"))
    };
    let works = |pid: i32| {
        called(pid)
            && process::stat(pid)
                .is_some_and(|s| !s.zombie && s.session != pid && !called(s.parent))
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for pid in pids.filter(|&pid| works(pid)) {
        let Ok(process) = process::open_pid(pid) else { continue };
        // Opened first, looked at again: the pid may have become another's.
        if works(pid) {
            let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut fds, PollTimeout::from(LONGEST_CALL));
        }
    }
}

/// Writes the end of a container that nobody saw ending, or whose monitor found no room to.
fn bury(host: &Host, record: &Record, state: State, lock: Lock) -> State {
    lock.mark_ending();
    let dir = host.paths.monitor(&record.id);
    let told = kept_end(&dir, &state);
    let unseen = told.is_none() && state.status != Status::Restarting;
    let state = told.unwrap_or_else(|| {
        // Between two lives its monitor had already seen the end.
        let seen = (state.status == Status::Restarting).then_some(state.exit_code);
        let code = seen.or_else(|| code_of_zombie(&state)).unwrap_or(-1);
        let deleted = Runtime::of(host, record, dir.join("runtime.log")).delete();
        let swept = net::sweep(host, record, &state);
        let failure = deleted.and(rootfs::sweep(host, record)).and(swept).err();
        ended(state, code, false, failure.map(|e| e.message).unwrap_or_default())
    });
    let tell = || {
        if unseen {
            crate::events::of_end(&host.paths, record, &state, lasted(&state));
        }
    };
    if record.host_config.auto_remove {
        tell();
        remove_quietly(host, record);
    } else if host.containers.write_state(record, &state).is_err() {
        keep_end(&dir, &state); // a full disk hides nothing, and lets the container be removed
        return state;
    } else {
        tell();
    }
    clear(host, &record.id);
    drop(lock);
    state
}

/// How long the life was that `state` tells of, as far as anybody knows.
pub fn lasted(state: &State) -> Duration {
    let ends = state.finished_at.zip(state.started_at);
    ends.and_then(|(end, start)| end.duration_since(start).try_into().ok()).unwrap_or_default()
}

/// Keeps the last state where there is room for it, in RUN.
pub fn keep_end(dir: &Path, state: &State) {
    let _ = serde_json::to_vec(state).map(|text| std::fs::write(dir.join("ended.json"), text));
}

/// What [`keep_end`] kept of the life that `state` tells of.
fn kept_end(dir: &Path, state: &State) -> Option<State> {
    let text = std::fs::read(dir.join("ended.json")).ok()?;
    let kept: State = serde_json::from_slice(&text).ok()?;
    (kept.started_at == state.started_at).then_some(kept)
}

/// The exit code of a process that ended and is, or was, another's child; -1 when nobody knows.
pub fn code_of_orphan(state: &State, init: BorrowedFd<'_>) -> i32 {
    code_of_zombie(state)
        .or_else(|| dhow_kernel::ended::status(init).ok().flatten().map(process::code_of_status))
        .unwrap_or(-1)
}

/// A process that nobody has waited for yet still tells its status in /proc.
pub fn code_of_zombie(state: &State) -> Option<i32> {
    let same_boot = process::boot_id().is_ok_and(|id| id == state.boot_id);
    let stat =
        process::stat(state.pid).filter(|s| same_boot && s.start_time == state.start_time)?;
    stat.zombie.then(|| process::code_of_status(stat.exit_status))
}
