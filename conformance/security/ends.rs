//! Containers that only look as if they had ended.

use std::fs;

use e2e::Cmd;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::scene::{Scene, Verdict, flawed_if};

/// KERNEL: proc(5): the state of a process is its first thread's, and others may outlive that.
pub fn first_thread(s: &Scene) -> Verdict {
    let b = s.another("b", &["/first"]);
    let source = e2e::workspace().join("tests/runtime/first.c");
    let compile = Cmd::new("cc").args(["-O1", "-static", "-pthread", "-o"]);
    compile.arg(b.rootfs("first")).arg(source).run().ok();
    s.create(&b);
    let pid = s.pid(&b);
    s.cmd(["start", b.id()]).run();
    e2e::until("its first thread ends", || looks_ended(pid));
    s.cmd(["kill", b.id(), "KILL"]).run();
    s.delete(&b);
    let lives = looks_ended(pid);
    if lives {
        let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
        e2e::until("it ends", || s.cmd(["delete", "--force", b.id()]).run().code == 0);
    }
    flawed_if(lives, "it lives on after kill and delete --force")
}

/// Whether its first thread has ended, and another goes on.
pub fn looks_ended(pid: i64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    stat.contains(") Z ") && threads.count() > 1
}
