//! `check`: what would fail for a bundle, told before anything is touched.

use std::fs;

use e2e::{Mode, World, mode, needs};
use serde_json::{Value, json};

fn pointers(report: &Value, list: &str) -> Vec<String> {
    let all = report[list].as_array().unwrap().iter();
    all.map(|finding| finding["pointer"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_bundle_that_would_run_is_fit_and_nothing_is_touched() {
    let w = World::new();
    let b = w.bundle("b", &["echo", "fine"]);
    let log = w.path("strace");
    let strace = ["strace", "-f", "-e", "trace=%file,%process,%network", "-o"];
    let strace = strace.into_iter().chain([log.to_str().unwrap()]);
    w.runtime_cmd(["check", "-b", b.path(), b.id()]).under(strace).run().ok().out_is("");
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("config.json"), "{log}");
    for line in log.lines() {
        let reads = !["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| line.contains(flag));
        let makes = ["mkdir", "mknod", "mount(", "unlink", "rename", "clone", "fork", "connect"];
        let makes = makes.iter().any(|call| line.contains(&format!(" {call}")));
        // Where a user's groups are, their systemd alone knows: it is asked.
        let asks = mode() == Mode::RootlessSystemd && line.contains("/systemd/private");
        assert!(reads && (!makes || asks), "{line}");
    }
    assert!(!w.runtime_root().exists());
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("fine");
}

/// One bundle with all of it wrong: each fault is found, at the place where it was written.
#[test]
fn every_problem_is_told_with_its_pointer() {
    needs!(CgroupV1);
    let w = World::new();
    let b = w.bundle("b", &["no-such-program"]);
    let b = b
        .with("/ociVersion", json!("2.0"))
        .with("/process/cwd", json!("relative"))
        .with("/process/rlimits", json!([
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_CORE", "soft": 1, "hard": 1},
            {"type": "RLIMIT_TEA", "soft": 1, "hard": 1},
        ]))
        .with("/process/capabilities/bounding", json!(["CAP_KILL", "CAP_NOPE", "CAP_FLY"]))
        .with("/mounts/1/source", json!("/tmp"))
        .with("/mounts/1/options", json!(["bind", "nosuid", "teapot"]))
        .and("/mounts", json!({"destination": "/x", "type": "bind", "source": "/no/source", "options": ["rbind"]}))
        .and("/mounts", json!({"destination": "/y", "type": "nosuchfs", "source": "z"}))
        .and("/linux/namespaces", json!({"type": "moon"}))
        .and("/linux/namespaces", json!({"type": "time", "path": "/etc/passwd"}))
        .with("/linux/sysctl", json!({"net.no.such": "1", "kernel.core_pattern": "x"}))
        .with("/linux/seccomp", json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/no/agent",
            "syscalls": [
                {"names": ["mkdir"], "action": "SCMP_ACT_DANCE"},
                {"names": ["write"], "action": "SCMP_ACT_NOTIFY"},
                {"names": ["chmod"], "action": "SCMP_ACT_NOTIFY"},
            ],
        }))
        .with("/hooks", json!({
            "prestart": [{"path": "/no/hook"}],
            "startContainer": [{"path": "/bin/sh"}, {"path": "/bin/no-hook"}],
            "poststop": [{"path": "/etc/passwd"}],
        }));
    let done = w.runtime(["check", "-b", b.path(), "--format", "json"]).code(1);
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    let mut found = pointers(&report, "problems");
    found.sort_unstable();
    let mut wanted = vec![
        "/ociVersion",
        "/process/cwd",
        "/process/rlimits/1/type",
        "/process/rlimits/2/type",
        "/mounts/7/source",
        "/mounts/8/type",
        "/linux/namespaces/6/type",
        "/linux/namespaces/7/path",
        "/linux/sysctl/net.no.such",
        "/linux/sysctl/kernel.core_pattern",
        "/linux/seccomp/syscalls/0/action",
        "/linux/seccomp/syscalls/1/names/0",
        "/linux/seccomp/listenerPath",
        "/hooks/prestart/0/path",
        "/hooks/startContainer/1/path",
        "/hooks/poststop/0/path",
        "/process/args/0",
    ];
    wanted.sort_unstable();
    assert_eq!(found, wanted, "{report:#}");
    let odd = pointers(&report, "warnings");
    assert!(odd.contains(&"/mounts/1/options/2".to_owned()), "{report:#}");
    // The same, a line each.
    let done = w.runtime(["check", "-b", b.path()]).code(1);
    let problems = done.out();
    let problems: Vec<&str> = problems.lines().filter(|l| l.starts_with("problem: ")).collect();
    assert_eq!(problems.len(), wanted.len(), "{done}");
    let line = r#"problem: /mounts/7/source: "/no/source": no such file or directory: "#;
    assert!(problems.iter().any(|l| l.starts_with(line)), "{done}");
    assert!(!w.runtime_root().exists());
}

#[test]
fn what_check_says_of_root_id_and_cgroup_is_what_create_meets() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    super::lifecycle::create(&w, &b);
    // Its id is taken, and so are its groups.
    let done = w.runtime(["check", "-b", b.path(), b.id()]).code(1);
    let done = done.out_has("there is a container of that id");
    let _ = done.out_has("/linux/cgroupsPath");
    w.runtime(["delete", "--force", b.id()]).ok();
    w.runtime(["check", "-b", b.path(), b.id()]).ok().out_is("");
    let b = b.with("/root/path", json!("nowhere"));
    let _ = w.runtime(["check", "-b", b.path()]).code(1).out_has("problem: /root/path");
    w.runtime(["create", "-b", b.path(), b.id()]).refused();
}

#[test]
fn a_text_that_is_no_config_is_one_problem() {
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    fs::write(b.dir().join("config.json"), "{\"ociVersion\": \"1.0.0\", ").unwrap();
    let done = w.runtime(["check", "-b", b.path()]).code(1);
    assert_eq!(done.lines().len(), 1, "{done}");
    fs::write(b.dir().join("config.json"), r#"{"ociVersion": 1, "process": {"args": "sh"}}"#)
        .unwrap();
    let done = w.runtime(["check", "-b", b.path()]).code(1);
    let found: Vec<String> =
        done.lines().iter().map(|l| l.split(": ").nth(1).unwrap().to_owned()).collect();
    assert_eq!(&found[..2], ["/ociVersion", "/process/args"], "{done}");
}

#[test]
fn a_caller_without_privileges_is_told_so() {
    needs!(Root);
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    let b = b.with(
        "/process/rlimits",
        json!([
            {"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 4096},
        ]),
    );
    let copy = w.path("dhow-runtime");
    fs::copy(e2e::program("dhow-runtime"), &copy).unwrap();
    w.cmd("chown").args(["-R", "1000:1000"]).arg(w.path("")).run().ok();
    let user =
        ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "prlimit", "--core=0:0"];
    let run =
        w.cmd(copy).arg("--root").arg(w.path("runtime")).env("XDG_RUNTIME_DIR", w.path("home"));
    let done = run.args(["check", "-b", b.path()]).under(user).run().code(1);
    let done = done.out_has("problem: /linux/namespaces: ");
    let done = done.out_has("problem: /process/rlimits/1/hard: 4096: RLIMIT_CORE is at most 0");
    assert!(!done.out().contains("/process/rlimits/0"), "{done}");
}

/// A runtime that has dhow-runtime check, plan and perform each bundle that an engine makes.
fn checking(w: &World) -> std::path::PathBuf {
    let (script, log) = (w.path("checking"), w.path("checked"));
    let text = format!(
        r#"#!/bin/sh
real={real}
bundle= found= id=
for word; do
    case $found in --bundle|-b) bundle=$word ;; esac
    case $word in --bundle=*) bundle=${{word#--bundle=}} ;; create) making=1 ;; esac
    found=$word id=$word
done
if [ "$making" ]; then
    $real check --bundle "$bundle" "$id" >>{log} 2>&1
    echo "checked $?" >>{log}
    $real plan --bundle "$bundle" "$id" >{log}.plan 2>&1 && echo planned >>{log}
fi
exec $real "$@"
"#,
        real = e2e::program("dhow-runtime").display(),
        log = log.display(),
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    script
}

fn found_fit(w: &World) {
    let told = fs::read_to_string(w.path("checked")).unwrap();
    let warnings = told.lines().filter(|line| line.starts_with("warning: ")).count();
    assert_eq!(told.lines().count(), warnings + 2, "{told}");
    assert!(told.ends_with("checked 0\nplanned\n"), "{told}");
    let plan = fs::read_to_string(w.path("checked.plan")).unwrap();
    for part in ["groups (parent)\n  make /", "\nmounts\n", "\nseccomp\n", "\n  arg echo\n"] {
        assert!(plan.contains(part), "{plan}");
    }
}

#[test]
fn bundles_of_podman_and_of_dhow_are_found_fit_and_run() {
    needs!(Machine);
    let w = World::new();
    w.pull("busybox");
    let runtime = checking(&w);
    let run = ["run", "--rm", "--runtime", runtime.to_str().unwrap(), "busybox", "echo", "ours"];
    w.dhow(run).ok().out_is("ours");
    found_fit(&w);
    let w = World::new();
    let runtime = checking(&w);
    let podman = super::podman::with_busybox_by(&w, &runtime);
    let parent = w.cgroup_parent();
    let run = ["run", "--rm", "--network=none", "--cgroup-parent", &parent];
    podman.args(run).args(["busybox", "echo", "theirs"]).run().ok().out_is("theirs");
    found_fit(&w);
}

/// Whatever this machine's cgroups offer: what check says of a setting, create does.
#[test]
fn check_and_create_agree_on_every_resource() {
    needs!(Root);
    let w = World::new();
    // What files a kernel's groups have, check sees by another one.
    let other = w.bundle("other", &["true"]);
    super::lifecycle::create(&w, &other);
    for (n, resources) in [
        json!({"memory": {"limit": 100_000_000, "reservation": 50_000_000}}),
        json!({"memory": {"limit": 100_000_000, "swap": 200_000_000}}),
        json!({"memory": {"swappiness": 10}}),
        json!({"memory": {"disableOOMKiller": true}}),
        json!({"cpu": {"shares": 100, "quota": 50_000, "period": 100_000}}),
        json!({"cpu": {"burst": 1000, "quota": 50_000, "period": 100_000}}),
        json!({"cpu": {"idle": 1}}),
        json!({"cpu": {"realtimeRuntime": 0, "realtimePeriod": 1_000_000}}),
        json!({"cpu": {"cpus": "0", "mems": "0"}}),
        json!({"pids": {"limit": 50}}),
        json!({"blockIO": {"weight": 100}}),
        json!({"blockIO": {"throttleReadBpsDevice": [{"major": 120, "minor": 1, "rate": 1000}]}}),
        json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}),
        json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 0}]}),
        json!({"network": {"classID": 1_048_577}}),
        json!({"network": {"priorities": [{"name": "lo", "priority": 5}]}}),
        json!({"rdma": {"mlx5_1": {"hcaHandles": 3}}}),
        json!({"unified": {"memory.max": "100000000"}}),
    ]
    .into_iter()
    .enumerate()
    {
        let b = w.bundle(&format!("b{n}"), &["true"]).with("/linux/resources", resources.clone());
        let told = w.runtime(["check", "-b", b.path(), b.id()]);
        let quiet = ["sh", "-c", "exec \"$@\" >/dev/null </dev/null 2>&1", "sh"];
        let made = w.runtime_cmd(["create", "-b", b.path(), b.id()]).under(quiet).run();
        w.runtime(["delete", "--force", b.id()]).ok();
        assert_eq!(told.code == 0, made.code == 0, "{resources}: {told}");
        let pointer = format!(
            "problem: /linux/resources/{}",
            resources.as_object().unwrap().keys().next().unwrap()
        );
        assert!(told.code == 0 || told.out().contains(&pointer), "{told}");
    }
    w.runtime(["delete", "--force", other.id()]).ok();
}

#[test]
fn a_program_that_is_there_and_cannot_be_executed_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let w = World::new();
    let b = w.bundle("b", &["/program"]);
    for (text, problem, why) in [
        (
            &b"#!/no/such/interpreter -x\n"[..],
            true,
            "its interpreter /no/such/interpreter: no such file",
        ),
        (b"#!/bin/sh\n", false, ""),
        (b"echo no first line\n", false, "is neither an ELF file nor a script"),
        (b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x16\0", false, "is for another machine"),
    ] {
        fs::write(b.rootfs("program"), text).unwrap();
        fs::set_permissions(b.rootfs("program"), fs::Permissions::from_mode(0o755)).unwrap();
        let done = w.runtime(["check", "-b", b.path()]).code(i32::from(problem));
        let done = done.out_has(why);
        assert_eq!(why.is_empty(), done.out().is_empty(), "{done}");
    }
}

#[test]
fn what_is_taken_from_the_host_has_to_be_there() {
    let w = World::new();
    let mut b = super::rootless::bundle(&w, "b", &["true"]);
    // In one whose maps are its maker's, devices are the host's.
    for space in b.config["linux"]["namespaces"].as_array_mut().unwrap() {
        if space["type"] == "user" {
            space["path"] = "/proc/self/ns/user".into();
        }
    }
    let device = |path: &str| json!({"path": path, "type": "c", "major": 1, "minor": 3});
    let b = b
        .with("/linux/devices", json!([device("/dev/null"), device("/dev/no-such-device")]))
        .with("/linux/netDevices", json!({"no-such-if": {"name": "eth0"}, "lo": {"name": "eth1"}}));
    let done = w.runtime(["check", "-b", b.path(), "--format", "json"]).code(1);
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    let found = pointers(&report, "problems");
    assert!(found.contains(&"/linux/devices/1/path".to_owned()), "{report:#}");
    assert!(found.contains(&"/linux/netDevices/no-such-if".to_owned()), "{report:#}");
    assert!(!found.iter().any(|at| at.starts_with("/linux/devices/0")), "{report:#}");
}
