//! Descriptors that the runtime hands out: a pidfd of the process it made.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

use e2e::World;

use super::lifecycle::{create, status, wait_for};

/// What comes through the socket: the word and the handle.
fn take(listener: &UnixListener) -> (String, OwnedFd) {
    let (stream, _) = listener.accept().unwrap();
    let mut text = [0; 64];
    let (n, mut fds) = dhow_kernel::rights::receive(stream.as_fd(), &mut text).unwrap();
    assert_eq!(fds.len(), 1);
    (String::from_utf8_lossy(&text[..n]).into_owned(), fds.remove(0))
}

fn pid_of(handle: &OwnedFd) -> String {
    use std::os::fd::AsRawFd;
    let info = format!("/proc/self/fdinfo/{}", handle.as_raw_fd());
    let info = std::fs::read_to_string(info).unwrap();
    let pid = info.lines().find_map(|l| l.strip_prefix("Pid:\t")).unwrap();
    pid.to_owned()
}

#[test]
fn pidfd_socket_of_create_and_run_gets_the_first_process() {
    let w = World::new();
    let quiet = ["sh", "-c", "exec \"$@\" >/dev/null 2>&1 </dev/null", "sh"];
    for (verb, detach) in [("create", None), ("run", Some("-d"))] {
        let b = w.bundle(verb, &["sleep", "1000"]);
        let socket = w.path(format!("{verb}.sock"));
        let listener = UnixListener::bind(&socket).unwrap();
        let mut args = vec![verb, "-b", b.path(), "--pidfd-socket", socket.to_str().unwrap()];
        args.extend(detach);
        args.push(b.id());
        w.runtime_cmd(args).under(quiet).run().ok();
        let (word, handle) = take(&listener);
        assert_eq!(word, "standard");
        let state = w.runtime(["state", b.id()]).ok().json();
        assert_eq!(pid_of(&handle), state["pid"].to_string());
        dhow_kernel::process::pidfd_signal(handle.as_fd(), 9).unwrap();
        wait_for(&w, b.id(), "stopped");
        w.runtime(["delete", b.id()]).ok();
    }
}

#[test]
fn pidfd_socket_of_exec_gets_the_new_process() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    let (socket, pid) = (w.path("exec.sock"), w.path("exec.pid"));
    let listener = UnixListener::bind(&socket).unwrap();
    let (socket, pid) = (socket.to_str().unwrap(), pid.to_str().unwrap());
    let exec = ["exec", "-d", "--pid-file", pid, "--pidfd-socket", socket, b.id(), "sleep", "1000"];
    let quiet = ["sh", "-c", "exec \"$@\" >/dev/null 2>&1 </dev/null", "sh"];
    w.runtime_cmd(exec).under(quiet).run().ok();
    let (word, handle) = take(&listener);
    assert_eq!((word.as_str(), pid_of(&handle)), ("setns", std::fs::read_to_string(pid).unwrap()));
    dhow_kernel::process::pidfd_signal(handle.as_fd(), 9).unwrap();
    assert_eq!(status(&w, b.id()), "running");
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn pidfd_socket_that_nobody_listens_at_is_refused_and_nothing_is_made() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let run = ["run", "-d", "--pidfd-socket", "/no/such.sock", "-b", b.path(), b.id()];
    w.runtime(run).refused().err_has("--pidfd-socket /no/such.sock");
    w.runtime(["state", b.id()]).refused();
}
