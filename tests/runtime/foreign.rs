//! A container in another's pid namespace: its first process is born there last of all, and has all
//! that it would have of its own.

use std::fs;

use e2e::bundle::Bundle;
use e2e::{Pty, World, needs};
use serde_json::{Value, json};

use super::lifecycle::create;

/// A container that runs, and another one to be in its pid namespace.
fn beside(w: &World, args: &[&str]) -> (Bundle, Bundle) {
    let first = w.bundle("first", &["sleep", "1234"]);
    create(w, &first);
    w.runtime(["start", first.id()]).ok();
    let path = format!("/proc/{}/ns/pid", pid(w, &first));
    let mut b = w.bundle("b", args);
    for kind in b.config["linux"]["namespaces"].as_array_mut().unwrap() {
        if kind["type"] == "pid" {
            kind["path"] = json!(path);
        }
    }
    b.write();
    (first, b)
}

fn pid(w: &World, b: &Bundle) -> String {
    w.runtime(["state", b.id()]).ok().json()["pid"].to_string()
}

const ONE: &str = "tr '\\0' ' ' </proc/1/cmdline; echo; ";

#[test]
fn its_procfs_is_that_namespace_s_and_its_number_is_known() {
    needs!(Root);
    let w = World::new();
    let (first, b) = beside(&w, &["sh", "-c", &format!("{ONE} exec sleep 77")]);
    let out = w.path("out");
    let to = format!("exec \"$@\" >{} 2>&1 </dev/null", out.display());
    let create = w.runtime_cmd(["create", "-b", b.path(), b.id()]);
    create.under(["sh", "-c", &to, "sh"]).run().ok();
    let there = |b: &Bundle| fs::read_link(format!("/proc/{}/ns/pid", pid(&w, b))).unwrap();
    assert_eq!(there(&b), there(&first));
    w.runtime(["state", b.id()]).ok().out_has("created");
    // It is the leader of a session of its own, and waits with nothing but its fifo and its link.
    let number = pid(&w, &b);
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    assert_eq!((fields[2], fields[3]), (number.as_str(), number.as_str()), "{stat}");
    w.runtime(["start", b.id()]).ok();
    let line = || fs::read(format!("/proc/{number}/cmdline")).unwrap();
    e2e::until("it sleeps", || line() == b"sleep\x0077\x00");
    assert_eq!(fs::read_to_string(&out).unwrap().trim_end(), "sleep 1234");
    w.runtime(["exec", b.id(), "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"])
        .ok()
        .out_has("sleep 77")
        .out_has("sleep 1234");
    w.runtime(["kill", b.id(), "KILL"]).ok();
    e2e::until("it ends", || w.runtime(["state", b.id()]).ok().out().contains("stopped"));
    for b in [&b, &first] {
        w.runtime(["delete", "--force", b.id()]).ok();
    }
}

#[test]
fn what_it_was_asked_to_be_it_is() {
    needs!(Root);
    let w = World::new();
    let script = "ulimit -n; ulimit -u; awk '{print $41, $19}' /proc/self/stat; id -u; \
        grep -E 'CapPrm|CapBnd|NoNewPrivs' /proc/self/status | tr '\\n' ' '; pwd";
    let (first, b) = beside(&w, &["sh", "-c", script]);
    let caps = json!(["CAP_KILL"]);
    let b = b
        .with("/process/user", json!({"uid": 1000, "gid": 1000}))
        .with("/process/cwd", json!("/etc"))
        .with("/process/noNewPrivileges", json!(true))
        .with("/process/capabilities", json!({"bounding": caps, "permitted": caps}))
        .with(
            "/process/rlimits",
            json!([{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 111},
                {"type": "RLIMIT_NPROC", "soft": 7777, "hard": 7777}]),
        )
        .with("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 5}));
    let out = w.runtime(["run", "-b", b.path(), b.id()]).ok().lines();
    let status = "CapPrm:\t0000000000000000 CapBnd:\t0000000000000020 NoNewPrivs:\t1 /etc";
    assert_eq!(out, ["99", "7777", "3 5", "1000", status]);
    let b = b.with("/process/args", json!(["/no/such/program"]));
    w.runtime(["run", "-b", b.path(), b.id()]).refused().err_has("/no/such/program");
    // One process is enough for itself, though there were two of it.
    let b = b
        .with("/process/user", json!({"uid": 54_321, "gid": 54_321}))
        .with("/process/args", json!(["grep", "processes", "/proc/self/limits"]))
        .with("/process/rlimits/1", json!({"type": "RLIMIT_NPROC", "soft": 1, "hard": 1}));
    let out = w.runtime(["run", "-b", b.path(), b.id()]).ok().out();
    assert_eq!(out.split_whitespace().collect::<Vec<_>>()[2..4], ["1", "1"]);
    w.runtime(["delete", "--force", first.id()]).ok();
}

#[test]
fn a_deadline_is_kept_by_a_process_that_could_not_have_been_made_under_it() {
    needs!(Root);
    let w = World::new();
    let (first, b) = beside(&w, &["awk", "{print $41}", "/proc/self/stat"]);
    let deadline = json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 10_000_000,
        "period": 10_000_000});
    let b = b.with("/process/scheduler", deadline);
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("6");
    w.runtime(["delete", "--force", first.id()]).ok();
}

#[test]
fn terminal_is_of_its_own_session() {
    needs!(Root);
    let w = World::new();
    let (first, b) = beside(&w, &["sh", "-c", "tty; echo hi >/dev/tty; exit 6"]);
    let b = b.with("/process/terminal", true.into());
    let mut t = Pty::start(w.runtime_cmd(["run", "-b", b.path(), b.id()]));
    t.expect("/dev/pts/0");
    t.expect("hi");
    assert_eq!(t.wait(), 6);
    // So it is where others may look into who enters.
    let exec = ["exec", "--tty", "--cap", "CAP_SYS_PTRACE", first.id(), "sh", "-c"];
    let words = [&exec[..], &["tty; echo ho >/dev/tty; exit 5"]].concat();
    let mut t = Pty::start(w.runtime_cmd(words));
    t.expect("/dev/pts/");
    t.expect("ho");
    assert_eq!(t.wait(), 5);
    w.runtime(["delete", "--force", first.id()]).ok();
}

/// Whether a filter lets it make a process or not, and whether it comes before the capabilities go.
#[test]
fn filters_hold_whether_they_make_processes_or_not() {
    needs!(Root);
    let w = World::new();
    let (first, mut b) = beside(&w, &["grep", "-E", "Seccomp:|CapPrm", "/proc/self/status"]);
    let lets = |names: Value| {
        json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]})
    };
    let all = ["clone", "clone3", "fork", "vfork", "setsid", "close_range", "close"];
    for names in [json!(["unshare"]), json!(all), json!(["setsid"])] {
        for nnp in [true, false] {
            b = b.with("/linux/seccomp", lets(names.clone()));
            b = b.with("/process/noNewPrivileges", nnp.into());
            let caps = json!(["CAP_KILL"]);
            let sets = json!({"bounding": caps, "permitted": caps, "effective": caps});
            b = b.with("/process/capabilities", sets);
            let done = w.runtime(["run", "-b", b.path(), b.id()]).ok();
            done.out_is("CapPrm:\t0000000000000020\nSeccomp:\t2");
        }
    }
    w.runtime(["delete", "--force", first.id()]).ok();
}

#[test]
fn hooks_run_in_their_places() {
    needs!(Root);
    let w = World::new();
    let log = w.path("log");
    let log = log.to_str().unwrap();
    let (first, mut b) = beside(&w, &["sleep", "1000"]);
    let hook = |name: &str, log: &str| {
        let say = format!("cat >/dev/null; echo {name} $(readlink /proc/self/ns/uts) >>{log}");
        json!([{"path": "/bin/sh", "args": ["sh", "-c", say], "env": ["PATH=/usr/bin:/bin"]}])
    };
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        b = b.with(&format!("/hooks/{kind}"), hook(kind, log));
    }
    b = b.with("/hooks/startContainer", hook("startContainer", "/log"));
    create(&w, &b);
    let number = pid(&w, &b);
    let space = |who: &str| fs::read_link(format!("/proc/{who}/ns/uts")).unwrap();
    let (ours, theirs) = (space("self").display().to_string(), space(&number));
    let theirs = theirs.display();
    w.runtime(["start", b.id()]).ok();
    let inside = fs::read_to_string(b.rootfs("log")).unwrap();
    assert_eq!(inside.trim_end(), format!("startContainer {theirs}"));
    w.runtime(["delete", "-f", b.id()]).ok();
    let told = fs::read_to_string(log).unwrap();
    let lines: Vec<_> = told.lines().collect();
    let before = [
        format!("prestart {ours}"),
        format!("createRuntime {ours}"),
        format!("createContainer {theirs}"),
        format!("poststart {ours}"),
        format!("poststop {ours}"),
    ];
    assert_eq!(lines, before);
    w.runtime(["delete", "--force", first.id()]).ok();
}

/// Whoever may look into who comes in gets one that has no more than its program.
#[test]
fn exec_where_others_look_has_what_it_was_asked_for() {
    needs!(Root);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let caps = json!(["CAP_SYS_PTRACE", "CAP_KILL"]);
    let sets = json!({"bounding": caps, "permitted": caps, "effective": caps});
    let b = b.with("/process/capabilities", sets);
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    let script = "ulimit -n; awk '{print $41, $19}' /proc/self/stat; id -u; pwd; \
        grep CapBnd /proc/self/status; cut -d' ' -f6 /proc/$$/stat | grep -x $$ >/dev/null && echo leads";
    let process = json!({
        "args": ["sh", "-c", script], "cwd": "/etc", "env": ["PATH=/bin:/usr/bin"],
        "user": {"uid": 1000, "gid": 1000}, "capabilities": {"bounding": ["CAP_KILL"]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 111}],
        "scheduler": {"policy": "SCHED_BATCH", "nice": 5}});
    let file = w.path("process.json");
    fs::write(&file, process.to_string()).unwrap();
    let out = w.runtime(["exec", "-p", file.to_str().unwrap(), b.id()]).ok().lines();
    let bound = "CapBnd:\t0000000000000020";
    assert_eq!(out, ["99", "3 5", "1000", "/etc", bound, "leads"]);
    w.runtime(["exec", b.id(), "/no/such/program"]).refused().err_has("/no/such/program");
    w.runtime(["delete", "--force", b.id()]).ok();
}
