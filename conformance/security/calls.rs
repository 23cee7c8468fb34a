//! The default filter, as each architecture of this kernel's calls meets it.

use e2e::{Cmd, workspace};
use serde_json::json;

use crate::scene::{Scene, Verdict};

/// Makes calls, each `WAY NUMBER A B C` with WAY one of n (native), i (i386), x (x32); what each
/// answered, or nothing if that ended the program.
fn answers(s: &Scene, call: &str) -> Option<i64> {
    let mut args = vec!["/calls"];
    let words: Vec<&str> = call.split(' ').collect();
    args.extend((0..5).map(|at| words.get(at).copied().unwrap_or("0")));
    let filter = json!(dhow_image::bundle::seccomp::profile(&[]));
    let b = s.another("b", &args).with("/linux/seccomp", filter);
    std::fs::copy(s.w.path("calls"), b.rootfs("calls")).unwrap();
    let answer = s.run(&b).out().parse().ok();
    s.delete(&b);
    std::fs::remove_dir_all(b.dir()).unwrap();
    answer
}

/// Each must answer one of these, or end the program.
fn refused(s: &Scene, calls: &[(&str, &str, &[i64])]) -> Verdict {
    if !cfg!(target_arch = "x86_64") {
        return Verdict::NotApplicable("the program of calls is for x86-64".to_owned());
    }
    Cmd::new("cc")
        .args(["-O1", "-static", "-nostdlib", "-no-pie", "-fno-stack-protector", "-o"])
        .arg(s.w.path("calls"))
        .arg(workspace().join("tests/runtime/calls.c"))
        .run()
        .ok();
    // What must be possible; a filter that lets nothing through shows nothing.
    assert!(answers(s, "n 39").is_some_and(|pid| pid > 0), "getpid is refused");
    for (name, call, right) in calls {
        if let Some(answer) = answers(s, call).filter(|answer| !right.contains(answer)) {
            return Verdict::Flawed(format!("{name} answers {answer}"));
        }
    }
    Verdict::Safe
}

const EPERM: i64 = -1;
const ENOSYS: i64 = -38;

pub fn native(s: &Scene) -> Verdict {
    refused(
        s,
        &[
            ("socket(AF_ALG)", "n 41 38 5 0", &[EPERM]),
            ("io_uring_setup", "n 425 1 0", &[EPERM, ENOSYS]),
            // Younger than the filter: a program tries an older one only if it is told that it isn't there.
            ("call 999", "n 999", &[ENOSYS]),
            ("keyctl", "n 250 0", &[EPERM]),
        ],
    )
}

pub fn foreign(s: &Scene) -> Verdict {
    refused(
        s,
        &[
            ("socket(AF_ALG) of i386", "i 359 38 5 0", &[EPERM]),
            // SYS_SOCKET, its arguments at no address: whoever answers EFAULT has let it through.
            ("socketcall(SOCKET) of i386", "i 102 1 0", &[EPERM]),
            ("io_uring_setup of i386", "i 425 1 0", &[EPERM, ENOSYS]),
            ("socket(AF_ALG) of x32", "x 41 38 5 0", &[EPERM, ENOSYS]),
            ("io_uring_setup of x32", "x 425 1 0", &[EPERM, ENOSYS]),
        ],
    )
}
