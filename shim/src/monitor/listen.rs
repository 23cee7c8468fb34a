//! Sockets that a service manager has opened for the container, sd_listen_fds(3).
//!
//! The client takes them if they are meant for it, and hands them over with the monitor's task. The
//! monitor keeps them at 3 and after, for all lives of the container: there the runtime finds them
//! (`--preserve-fds`), and the container.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;

use dhow_kernel::{fd, rights};

use crate::error::{Error, Result};

/// SPEC: sd_listen_fds(3), SD_LISTEN_FDS_START.
const FIRST: RawFd = 3;
/// More than anybody's unit has.
const MOST: usize = 128;

/// Those of this process: the client's, or the monitor's.
static OURS: OnceLock<Sockets> = OnceLock::new();

/// Sockets, and what the unit calls each.
#[derive(Debug, Default)]
pub struct Sockets {
    names: Vec<String>,
    fds: Vec<OwnedFd>,
}

impl Sockets {
    /// Those of this process; mostly none.
    pub fn ours() -> &'static Self {
        OURS.get_or_init(Self::default)
    }

    /// What the unit calls each.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The client's side: takes those that the environment says are this process'.
    pub fn take(var: impl Fn(&str) -> Option<OsString>) -> Result<&'static Self> {
        if let Some(ours) = OURS.get() {
            return Ok(ours);
        }
        let names = wanted(|name| var(name)?.into_string().ok(), std::process::id())?;
        let fds = (FIRST..).take(names.len()).map(|number| {
            let taken =
                fd::adopt(number).and_then(|taken| fd::set_cloexec(number, true).map(|()| taken));
            taken.map_err(|e| {
                Error::engine(format!(
                    "LISTEN_FDS={}: descriptor {number}: {}",
                    names.len(),
                    e.desc()
                ))
            })
        });
        let fds = fds.collect::<Result<Vec<_>>>()?;
        Ok(OURS.get_or_init(|| Self { names, fds }))
    }

    /// Sends them after the task.
    pub fn send(&self, to: BorrowedFd<'_>) -> nix::Result<()> {
        self.fds.chunks(rights::MOST).try_for_each(|some| {
            let some: Vec<_> = some.iter().map(AsFd::as_fd).collect();
            rights::send(to, b".", &some).map(drop)
        })
    }

    /// The monitor's side: puts them in the places that were kept for them.
    pub fn receive(from: &UnixStream, names: Vec<String>, places: Vec<OwnedFd>) -> Option<()> {
        let mut came = Vec::new();
        while came.len() < names.len() {
            let (n, some) = rights::receive(from.as_fd(), &mut [0]).ok()?;
            if n == 0 || some.is_empty() {
                return None;
            }
            came.extend(some);
        }
        if came.len() != names.len() || places.len() != names.len() {
            return None;
        }
        for (place, socket) in places.iter().zip(&came) {
            fd::place(socket.as_fd(), place.as_raw_fd()).ok()?;
            fd::set_cloexec(place.as_raw_fd(), true).ok()?;
        }
        OURS.set(Self { names, fds: places }).ok()
    }

    /// While the runtime is called, they are left open for it.
    pub fn offered<T>(&self, call: impl FnOnce() -> T) -> T {
        let offer = |open: bool| {
            for socket in &self.fds {
                let _ = fd::set_cloexec(socket.as_raw_fd(), !open);
            }
        };
        offer(true);
        let done = call();
        offer(false);
        done
    }

    /// What the container's first process is told of them.
    pub fn env(&self) -> Vec<String> {
        if self.names.is_empty() {
            return Vec::new();
        }
        vec![
            format!("LISTEN_FDS={}", self.names.len()),
            "LISTEN_PID=1".to_owned(),
            format!("LISTEN_FDNAMES={}", self.names.join(":")),
        ]
    }
}

/// Keeps the first descriptors of a new process free for so many sockets.
pub fn places(count: usize) -> Option<Vec<OwnedFd>> {
    let mut places = Vec::new();
    for number in (FIRST..).take(count.min(MOST)) {
        let null = OwnedFd::from(File::open("/dev/null").ok()?);
        if null.as_raw_fd() != number {
            return None;
        }
        places.push(null);
    }
    Some(places)
}

/// The names of the sockets that are for process `pid`.
fn wanted(var: impl Fn(&str) -> Option<String>, pid: u32) -> Result<Vec<String>> {
    let number = |name| var(name).and_then(|text| text.trim().parse::<u32>().ok());
    let count = match number("LISTEN_PID") {
        Some(meant) if meant == pid => number("LISTEN_FDS").unwrap_or(0) as usize,
        _ => 0,
    };
    if count > MOST {
        return Err(Error::usage(format!(
            "LISTEN_FDS={count}: no more than {MOST} sockets are handed on"
        )));
    }
    // SPEC: sd_listen_fds_with_names(3): what has no name is called "unknown".
    let given = var("LISTEN_FDNAMES").unwrap_or_default();
    let plain = |name: &&str| !name.is_empty() && !name.chars().any(char::is_control);
    let mut given = given.split(':').map(|name| Some(name).filter(plain));
    let next = |_| given.next().flatten().unwrap_or("unknown").to_owned();
    Ok((0..count).map(next).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pid: &str, fds: &str, names: &str) -> Result<Vec<String>> {
        let var = |name: &str| {
            let value = match name {
                "LISTEN_PID" => pid,
                "LISTEN_FDS" => fds,
                _ => names,
            };
            (!value.is_empty()).then(|| value.to_owned())
        };
        wanted(var, 7)
    }

    #[test]
    fn sockets_are_ours_when_our_pid_is_named() {
        assert_eq!(of("7", "2", "web:admin").unwrap(), ["web", "admin"]);
        assert_eq!(of("7", "2", "web").unwrap(), ["web", "unknown"]);
        assert_eq!(of("7", "1", "").unwrap(), ["unknown"]);
        assert_eq!(of("7", "2", ":b\n").unwrap(), ["unknown", "unknown"]);
        for (pid, fds) in [("8", "2"), ("", "2"), ("7", ""), ("x", "2"), ("7", "-1")] {
            assert!(of(pid, fds, "a").unwrap().is_empty(), "{pid} {fds}");
        }
        assert!(of("7", "4294967295", "").is_err());
    }

    #[test]
    fn the_container_is_told_of_what_there_is() {
        assert!(Sockets::default().env().is_empty());
        let two = Sockets { names: vec!["a".into(), "b".into()], fds: Vec::new() };
        assert_eq!(two.env(), ["LISTEN_FDS=2", "LISTEN_PID=1", "LISTEN_FDNAMES=a:b"]);
    }
}
