//! Debian's podman with dhow-runtime in runc's place.

use std::fs;
use std::path::Path;

use e2e::{Cmd, Pty, World, fixtures, needs, program, workspace};

/// podman with a state of its own, in a mount namespace of its own, that starts our runtime.
fn podman(w: &World) -> Cmd {
    podman_by(w, &program("dhow-runtime"))
}

fn podman_by(w: &World, runtime: &Path) -> Cmd {
    let conf = w.path("containers.conf");
    // This kernel's limits can't be raised: podman's own defaults would fail.
    let text = "[containers]\ndefault_ulimits=[\"nofile=1024:1024\",\"nproc=1024:1024\"]\n";
    fs::write(&conf, text).unwrap();
    let policy = w.path("home/.config/containers");
    fs::create_dir_all(&policy).unwrap();
    fs::write(policy.join("policy.json"), r#"{"default":[{"type":"insecureAcceptAnything"}]}"#)
        .unwrap();
    w.cmd("unshare")
        .args(["--mount", "--propagation", "private", "podman", "--cgroup-manager=cgroupfs"])
        .args(["--events-backend=none", "--storage-driver=overlay", "--runtime"])
        .arg(runtime)
        .arg("--root")
        .arg(w.path("podman/root"))
        .arg("--runroot")
        .arg(w.path("podman/run"))
        .arg("--tmpdir")
        .arg(w.path("podman/tmp"))
        .env("CONTAINERS_CONF", conf)
}

fn with_busybox(w: &World) -> Cmd {
    with_busybox_by(w, &program("dhow-runtime"))
}

/// podman with busybox's image, by another runtime.
pub fn with_busybox_by(w: &World, runtime: &Path) -> Cmd {
    let from = format!("oci:{}:busybox", fixtures::layout().display());
    let pulled = podman(w).args(["pull", "-q", &from]).run().ok().out();
    podman(w).args(["tag", &pulled, "busybox"]).run().ok();
    podman_by(w, runtime)
}

#[test]
fn podman_run_passes_output_and_exit_code_on() {
    needs!(Machine);
    let w = World::new();
    let podman = with_busybox(&w);
    let name = w.id("p");
    let parent = w.cgroup_parent();
    let run = ["run", "--rm", "--network=none", "--cgroup-parent", &parent, "--name", &name];
    let limits = ["--memory=64m", "--pids-limit=20"];
    let script = "echo from podman; grep -c Seccomp:.2 /proc/self/status; exit 5";
    podman
        .args(run)
        .args(limits)
        .args(["busybox", "sh", "-c", script])
        .run()
        .code(5)
        .out_is("from podman\n1");
}

#[test]
fn podman_detached_exec_stop_and_remove() {
    needs!(Machine);
    let w = World::new();
    let podman = with_busybox(&w);
    let name = w.id("p");
    let parent = w.cgroup_parent();
    let run = ["run", "-d", "--network=none", "--cgroup-parent", &parent, "--name", &name];
    let run = [&run[..], &["busybox", "sleep", "1000"]].concat();
    // One mount namespace for all of them: podman mounts in the first and unmounts in the last.
    let line = |args: &[&str]| {
        podman.clone().args(args).line().split_once(" podman ").unwrap().1.to_owned()
    };
    let script = [
        line(&run),
        line(&["exec", "-u", "1000", &name, "id", "-u"]),
        line(&["ps", "--format", "{{.Names}} {{.State}}"]),
        line(&["stop", "-t", "0", &name]),
        line(&["inspect", "--format", "{{.State.ExitCode}}", &name]),
        line(&["rm", &name]),
    ]
    .map(|l| format!("podman {l}"))
    .join(" && ");
    let conf = w.path("containers.conf");
    let done = w.cmd("unshare").args(["-m", "--propagation", "private", "sh", "-c", &script]);
    let done = done.env("CONTAINERS_CONF", conf).run().ok();
    let lines = done.lines();
    assert_eq!([&lines[1], &lines[3], &lines[4]], ["1000", &name, "137"], "{done}");
    assert!(lines[2].starts_with(&format!("{name} Up")), "{done}");
}

#[test]
fn podman_gives_a_terminal() {
    needs!(Machine);
    let w = World::new();
    let podman = with_busybox(&w);
    let name = w.id("p");
    let parent = w.cgroup_parent();
    let run = ["run", "--rm", "-it", "--network=none", "--cgroup-parent", &parent, "--name", &name];
    let run = [&run[..], &["busybox"]].concat();
    let mut t = Pty::start(podman.args(run));
    t.expect("# ");
    t.send("tty\n");
    t.expect("/dev/pts/0");
    t.send("exit 3\n");
    assert_eq!(t.wait(), 3);
}

/// Some hundred commands, over runc and over dhow-runtime: a table, and 0 if they agree.
#[test]
fn podman_over_ours_does_what_it_does_over_runc() {
    needs!(Machine);
    let w = World::new();
    let script = workspace().join("conformance/engines/podman.sh");
    let bin = program("dhow-runtime").parent().unwrap().to_owned();
    let done = w.cmd("bash").arg(script).env("DHOW_BIN_DIR", bin).limit(600).run().ok();
    assert!(done.out().ends_with(", 0 unlike runc"), "{done}");
}

#[test]
fn podman_checkpoints_and_restores() {
    needs!(Machine);
    let w = World::new();
    let podman = with_busybox(&w).env("PATH", super::checkpoint::path());
    let name = w.id("p");
    let parent = w.cgroup_parent();
    let run = ["run", "-d", "--network=none", "--cgroup-parent", &parent, "--name", &name];
    let count = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done";
    let run = [&run[..], &["busybox", "sh", "-c", count]].concat();
    let line = |args: &[&str]| {
        podman.clone().args(args).line().split_once(" podman ").unwrap().1.to_owned()
    };
    let logs = format!("podman {}", line(&["logs", &name]));
    let script = [
        format!("podman {}", line(&run)),
        "sleep 1".to_owned(),
        format!("podman {}", line(&["container", "checkpoint", &name])),
        format!("podman {}", line(&["ps", "-a", "--format", "{{.Status}}"])),
        format!("a=$({logs} | tail -n 1)"),
        format!("podman {}", line(&["container", "restore", &name])),
        "sleep 1".to_owned(),
        format!("b=$({logs} | tail -n 1)"),
        format!("podman {}", line(&["exec", &name, "echo", "in"])),
        "[ $a -gt 3 ] && [ $b -gt $a ] && echo counted on".to_owned(),
        format!("podman {}", line(&["rm", "-f", "-t", "0", &name])),
    ]
    .join(" && ");
    let conf = w.path("containers.conf");
    let done = w.cmd("unshare").args(["-m", "--propagation", "private", "sh", "-c", &script]);
    let path = super::checkpoint::path();
    let done = done.env("CONTAINERS_CONF", conf).env("PATH", path).run().ok();
    done.out_has("Exited").out_has("\nin\ncounted on\n");
}
