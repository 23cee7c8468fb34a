//! `SCMP_ACT_NOTIFY`: an agent on the host answers for the kernel.

use std::io::Read;
use std::os::unix::net::UnixListener;

use e2e::agent::{Agent, Answer, Question};
use e2e::bundle::Bundle;
use e2e::{World, needs};
use serde_json::{Value, json};

/// The calls that make directories; newer architectures have one.
const MAKE: &[i64] = &[
    #[cfg(target_arch = "x86_64")]
    nix::libc::SYS_mkdir,
    nix::libc::SYS_mkdirat,
];

/// mkdir fails with ENOMEDIUM; everything else is made.
pub fn no_directories(question: &Question) -> Answer {
    let refused = MAKE.contains(&i64::from(question.nr));
    if refused { Answer::Fail(nix::libc::ENOMEDIUM) } else { Answer::Continue }
}

/// An agent of that mind.
pub fn agent(w: &World) -> Agent {
    Agent::new(w.path("agent.sock"), no_directories)
}

/// A filter that asks it about these calls.
pub fn asking(b: Bundle, agent: &Agent, nnp: bool, names: &[&str]) -> Bundle {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": agent.path(),
        "listenerMetadata": "for the \"agent\"",
        "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_X86_64"],
        "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}],
    });
    b.with("/linux/seccomp", profile).with("/process/noNewPrivileges", nnp.into())
}

const MKDIR: [&str; 3] = ["sh", "-c", "mkdir /tmp/x 2>&1; echo $?"];

#[test]
fn agent_answers_for_run_with_and_without_new_privileges() {
    let w = World::new();
    let agent = agent(&w);
    for nnp in [true, false] {
        let b = asking(w.bundle(&format!("b{nnp}"), &MKDIR), &agent, nnp, &["mkdir", "mkdirat"]);
        let done = w.runtime(["run", "-b", b.path(), b.id()]).ok();
        assert!(done.out().contains("No medium found\n1"), "{done}");
    }
    assert_eq!(agent.told().len(), 2);
}

#[test]
fn agent_is_told_the_container_process_state() {
    let w = World::new();
    let agent = agent(&w);
    for (before, nnp) in [(0, true), (2, false)] {
        let b = w.bundle(&format!("b{nnp}"), &["sleep", "1000"]);
        let b = asking(b, &agent, nnp, &["mkdir"]).with("/annotations", json!({"a": "b"}));
        super::lifecycle::create(&w, &b);
        let state: Value = serde_json::from_str(&w.runtime(["state", b.id()]).ok().out()).unwrap();
        let mut told = agent.hears(before + 1);
        let wanted = json!({
            "ociVersion": "1.3.0", "fds": ["seccompFd"], "pid": state["pid"],
            "metadata": "for the \"agent\"",
            "state": {"ociVersion": b.config["ociVersion"], "id": b.id(), "status": "creating",
                "pid": state["pid"], "bundle": b.path(), "annotations": {"a": "b"}},
        });
        assert_eq!(told.pop(), Some(wanted));
        w.runtime(["start", b.id()]).ok();
        // exec: the process is another, and the container runs.
        let done = w.runtime(["exec", b.id(), "sh", "-c", "mkdir /tmp/x 2>&1"]).code(1);
        assert!(done.out().contains("No medium found"), "{done}");
        let told = agent.hears(before + 2).pop().unwrap();
        assert_eq!(told["state"]["status"], "running");
        assert_eq!(told["state"]["pid"], state["pid"]);
        assert!(told["pid"] != state["pid"] && told["pid"].as_i64() > Some(0), "{told}");
        w.runtime(["delete", "--force", b.id()]).ok();
    }
}

/// As runc's #4328: what the runtime itself calls under the filter may ask, all but write.
#[test]
fn calls_that_the_runtime_makes_may_be_asked_about() {
    needs!(Root);
    let w = World::new();
    let agent = agent(&w);
    for nnp in [true, false] {
        let names =
            ["execve", "openat", "open", "read", "close", "fcntl", "sendmsg", "close_range"];
        let b = asking(w.bundle(&format!("b{nnp}"), &["true"]), &agent, nnp, &names);
        w.runtime(["run", "-b", b.path(), b.id()]).ok();
    }
}

#[test]
fn without_an_agent_nothing_starts_and_nothing_stays() {
    let w = World::new();
    let a = agent(&w);
    let b = asking(w.bundle("b", &MKDIR), &a, true, &["mkdir"]);
    for path in [json!(w.path("no.sock")), json!("@dhow-no-such-agent")] {
        let b = w.bundle("c", &MKDIR).with("/linux/seccomp", b.config["linux"]["seccomp"].clone());
        let b = b.with("/linux/seccomp/listenerPath", path);
        let done = w.runtime(["run", "-b", b.path(), b.id()]).refused();
        let done = done.err_has("/linux/seccomp/listenerPath");
        let _ = done.err_has("failed to connect with seccomp agent");
        w.runtime(["state", b.id()]).refused();
    }
}

#[test]
fn a_call_after_the_agents_end_is_enosys() {
    let w = World::new();
    // An agent that takes what it is sent and keeps nothing open.
    let path = w.path("gone.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let gone = std::thread::spawn(move || listener.accept().unwrap().0.read(&mut [0; 4096]));
    let a = agent(&w);
    let b = asking(w.bundle("b", &MKDIR), &a, false, &["mkdir", "mkdirat"]);
    let b = b.with("/linux/seccomp/listenerPath", json!(path));
    let done = w.runtime(["run", "-b", b.path(), b.id()]).ok();
    assert!(done.out().contains("Function not implemented\n1"), "{done}");
    assert!(gone.join().unwrap().is_ok());
}

#[test]
fn listener_path_without_a_notify_rule_is_ignored() {
    let w = World::new();
    let b = w.bundle("b", &["echo", "fine"]).with(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/no/such", "listenerMetadata": "m"}),
    );
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("fine");
}

#[test]
fn notify_that_would_stop_the_runtime_is_refused_before_anything_is_made() {
    let w = World::new();
    let a = agent(&w);
    let b = asking(w.bundle("w", &["true"]), &a, true, &["read", "write"]);
    let done = w.runtime(["create", "-b", b.path(), b.id()]).refused();
    let done = done.err_has("/linux/seccomp/syscalls/0/names/1");
    let _ = done.err_has("SCMP_ACT_NOTIFY cannot be used for the write syscall");
    let b = b.with("/linux/seccomp/defaultAction", json!("SCMP_ACT_NOTIFY"));
    let _ = w.runtime(["create", "-b", b.path(), b.id()]).refused().err_has("as default action");
    let b = asking(b, &a, true, &["mkdir"]).with("/linux/seccomp/listenerPath", json!(""));
    let _ = w.runtime(["create", "-b", b.path(), b.id()]).refused().err_has("listenerPath");
    assert!(!w.runtime_root().exists() && a.told().is_empty());
}

#[test]
fn start_container_hook_has_no_descriptor_of_the_listener() {
    let w = World::new();
    let agent = agent(&w);
    let script = "test $(ls /proc/self/fd | wc -l) -eq 4";
    for nnp in [true, false] {
        let b = asking(w.bundle(&format!("b{nnp}"), &["true"]), &agent, nnp, &["mkdir"]);
        let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
        let b = b.with("/hooks", json!({"startContainer": hook}));
        w.runtime(["run", "-b", b.path(), b.id()]).ok();
    }
}

#[test]
fn wait_killable_recv_is_taken_with_a_listener_and_refused_without() {
    needs!(Linux(5, 19));
    let w = World::new();
    let agent = agent(&w);
    let flags = json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
    let b = asking(w.bundle("b", &MKDIR), &agent, true, &["mkdir", "mkdirat"]);
    let b = b.with("/linux/seccomp/flags", flags);
    let done = w.runtime_cmd(["--debug", "run", "-b", b.path(), b.id()]).run().ok();
    let done = done.err_has("seccomp filter flags: 40");
    assert!(done.out().contains("No medium found"), "{done}");
    let b = b.with("/linux/seccomp/syscalls", json!([]));
    let done = w.runtime(["run", "-b", b.path(), b.id()]).refused();
    let _ = done.err_has("/linux/seccomp/flags/0");
}

/// A process that has changed its ids is closed to pidfd_getfd(2) of the unprivileged: it passes
/// the listener on by itself, unless it would have to wait for the agent to do so.
#[test]
fn agent_of_uid_1000_gets_the_listener() {
    needs!(Root);
    let w = World::new();
    let agent = agent(&w);
    let copy = w.path("dhow-runtime");
    std::fs::copy(e2e::program("dhow-runtime"), &copy).unwrap();
    let user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"];
    let run = |b: &Bundle| {
        w.cmd("chown").args(["-R", "1000:1000"]).arg(w.path("")).run().ok();
        let run = w.cmd(&copy).arg("--root").arg(w.path("runtime"));
        let run = run.env("XDG_RUNTIME_DIR", w.path("home"));
        run.args(["run", "-b", b.path(), b.id()]).under(user).run()
    };
    for nnp in [true, false] {
        let b = super::rootless::bundle(&w, &format!("b{nnp}"), &MKDIR);
        let b = asking(b, &agent, nnp, &["mkdir", "mkdirat"]);
        let done = run(&b).ok();
        assert!(done.out().contains("No medium found\n1"), "{done}");
    }
    let b = super::rootless::bundle(&w, "c", &MKDIR);
    let done = run(&asking(b, &agent, true, &["sendmsg"])).refused();
    let _ = done.err_has("/linux/seccomp/syscalls");
}
