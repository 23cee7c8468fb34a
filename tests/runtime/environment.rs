//! What surrounds the program: variables, directory, limits, labels, sysctls.

use std::os::unix::fs::PermissionsExt;

use e2e::{World, needs};
use serde_json::json;

use super::lifecycle::create;

#[test]
fn of_variables_with_one_name_the_last_counts_and_home_is_the_users() {
    needs!(ManyIds);
    let w = World::new();
    let b = w.bundle("b", &["/bin/env"]);
    let passwd = "root:x:0:0:root:/harbour:/bin/sh\nlamu:x:7:7::/dhow:/bin/sh\n";
    std::fs::write(b.rootfs("etc/passwd"), passwd).unwrap();
    let b = b.with("/process/env", json!(["A=1", "B=2", "A=3=x", "HOME="]));
    let done = w.runtime(["run", "-b", b.path(), b.id()]).ok();
    assert_eq!(done.lines(), ["B=2", "A=3=x", "HOME=/harbour"]);
    let b = b.with("/process/user", json!({"uid": 7, "gid": 7}));
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_has("HOME=/dhow");
    let b = b.with("/process/user", json!({"uid": 8, "gid": 7}));
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("B=2\nA=3=x\nHOME=/");
    let b = b.with("/process/env", json!(["HOME=/given"]));
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("HOME=/given");
    let b = b.with("/process/env", json!(["A=1", "B"]));
    let done = w.runtime(["run", "-b", b.path(), b.id()]).refused();
    done.err_has("/process/env/1").err_has("invalid environment variable");
}

#[test]
fn program_is_looked_up_in_the_containers_path_and_failures_are_in_runcs_words() {
    let w = World::new();
    let b = w.bundle("b", &["greet"]).with("/process/env", json!(["PATH=/nowhere:/opt/bin"]));
    std::fs::create_dir_all(b.rootfs("opt/bin")).unwrap();
    let put = |mode| {
        let path = b.rootfs("opt/bin/greet");
        std::fs::write(&path, "#!/bin/sh\necho jambo\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    put(0o755);
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("jambo");
    put(0o644);
    let done = w.runtime(["run", "-b", b.path(), b.id()]).refused();
    done.err_has(r#"exec: \"greet\": permission denied"#);
    for (arg, words) in [
        ("gone", r#"exec: \"gone\": executable file not found in $PATH"#),
        ("/gone", r#"exec: \"/gone\": stat /gone: no such file or directory"#),
        ("/etc", r#"exec: \"/etc\": is a directory"#),
        ("/etc/passwd", r#"exec: \"/etc/passwd\": permission denied"#),
    ] {
        std::fs::write(b.rootfs("etc/passwd"), "").unwrap();
        let mut b = w.bundle("c", &[arg]);
        b.write();
        for verb in ["create", "run"] {
            let done = w.runtime([verb, "-b", b.path(), b.id()]).refused();
            let init = "error during container init";
            done.err_has(&format!("unable to start container process: {init}: {words}"));
        }
        // Whoever waits for its pid gets none.
        let pid = w.path("pid");
        let run = ["run", "--pid-file", pid.to_str().unwrap(), "-b", b.path(), b.id()];
        w.runtime(run).refused().err_has(words);
        assert!(!pid.exists());
        b = b.with("/process/args", json!(["sleep", "1000"]));
        create(&w, &b);
        w.runtime(["start", b.id()]).ok();
        let done = w.runtime(["exec", b.id(), arg]).code(255);
        done.err_has(&format!("unable to start container process: {words}"));
        w.runtime(["delete", "-f", b.id()]).ok();
    }
}

#[test]
fn cwd_is_made_in_a_root_that_becomes_read_only() {
    let w = World::new();
    let b = w.bundle(
        "b",
        &["sh", "-c", "pwd; stat -c %a:%u /not/yet; touch x 2>/dev/null || echo sealed"],
    );
    let b = b.with("/process/cwd", "/not/yet/there".into()).with("/root/readonly", true.into());
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("/not/yet/there\n755:0\nsealed");
}

#[test]
fn cwd_that_only_the_user_may_enter_is_entered_and_others_are_refused() {
    needs!(ManyIds);
    let w = World::new();
    let b = w.bundle("b", &["pwd"]).with("/process/cwd", "/mine".into());
    std::fs::create_dir(b.rootfs("mine")).unwrap();
    w.cmd("chown").arg("1000:1000").arg(b.rootfs("mine")).run().ok();
    w.cmd("chmod").arg("700").arg(b.rootfs("mine")).run().ok();
    let b = b.with("/process/user", json!({"uid": 1000, "gid": 1000}));
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("/mine");
    std::fs::write(b.rootfs("file"), "").unwrap();
    let b = b.with("/process/cwd", "/file".into());
    w.runtime(["run", "-b", b.path(), b.id()])
        .refused()
        .err_has("process.cwd /file: not a directory");
}

#[test]
fn limits_that_are_unknown_doubled_or_too_high_are_refused() {
    let w = World::new();
    let run = |limits| {
        let b = w.bundle("b", &["true"]).with("/process/rlimits", limits);
        let done = w.runtime(["run", "-b", b.path(), b.id()]).refused();
        std::fs::remove_dir_all(b.dir()).unwrap();
        done
    };
    let one = json!({"type": "RLIMIT_NOFILE", "soft": 9, "hard": 9});
    run(json!([one, {"type": "RLIMIT_MOON", "soft": 1, "hard": 1}]))
        .err_has("/process/rlimits/1/type");
    run(json!([one, one])).err_has("/process/rlimits/1/type").err_has("twice");
    run(json!([{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 9}])).err_has("setting rlimit");
    // KERNEL: fs.nr_open bounds RLIMIT_NOFILE even for root.
    run(json!([{"type": "RLIMIT_NOFILE", "soft": 1, "hard": u64::MAX}])).err_has("RLIMIT_NOFILE");
}

#[test]
fn unknown_and_missing_capabilities_are_warned_of_and_left_out() {
    let w = World::new();
    let b = w.bundle("b", &["grep", "CapBnd", "/proc/self/status"]);
    let caps = json!(["CAP_KILL", "CAP_HARBOUR", "CAP_ANCHOR"]);
    let b = b.with("/process/capabilities", json!({"bounding": caps, "permitted": caps}));
    let done = w.runtime(["run", "-b", b.path(), b.id()]).ok();
    done.err_has("level=warning")
        .err_has("capabilities: [CAP_ANCHOR CAP_HARBOUR]")
        .out_is("CapBnd:\t0000000000000020");
    w.runtime(["check", "-b", b.path()]).out_has("[CAP_ANCHOR CAP_HARBOUR]");
    // SPEC: config.md: ambient what isn't inheritable can't be granted: a warning.
    let caps =
        json!({"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]});
    let b = b.with("/process/capabilities", caps);
    let b = b.with("/process/args", json!(["grep", "CapAmb", "/proc/self/status"]));
    let done = w.runtime(["run", "-b", b.path(), b.id()]).ok();
    done.err_has("can't raise ambient capability CAP_KILL").out_is("CapAmb:\t0000000000000000");
}

#[test]
fn a_filter_that_allows_little_does_not_stop_the_start() {
    needs!(ManyIds);
    let w = World::new();
    // What a static busybox calls, and nothing of what a runtime does: no getcwd, no openat, no
    // setuid. With no_new_privs or without, as root or not.
    let names = [
        "execve",
        "capset",
        "capget",
        "prctl",
        "read",
        "write",
        "exit",
        "exit_group",
        "brk",
        "arch_prctl",
        "set_tid_address",
        "set_robust_list",
        "rseq",
        "prlimit64",
        "getrandom",
        "mprotect",
        "readlink",
        "readlinkat",
        "getuid",
        "uname",
        "mmap",
        "munmap",
        "fcntl",
        "fstat",
        "newfstatat",
        "ioctl",
        "close",
        "sigaltstack",
        "rt_sigaction",
        "rt_sigprocmask",
    ];
    let filter = json!({"defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]});
    for (uid, nnp) in [(0, false), (1000, false), (0, true), (1000, true)] {
        let b = w.bundle(&format!("b{uid}{nnp}"), &["echo", "afloat"]);
        let b = b.with("/linux/seccomp", filter.clone());
        let b = b.with("/process/noNewPrivileges", nnp.into());
        let b = b.with("/process/user", json!({"uid": uid, "gid": uid}));
        w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("afloat");
    }
}

#[test]
fn labels_without_their_security_module_are_refused_and_unconfined_is_none() {
    let w = World::new();
    let b = w.bundle("b", &["echo", "free"]);
    if !std::path::Path::new("/sys/kernel/security/apparmor").exists() {
        let b = w.bundle("a", &["true"]).with("/process/apparmorProfile", "docker-default".into());
        let done = w.runtime(["run", "-b", b.path(), b.id()]).refused();
        done.err_has("/process/apparmorProfile").err_has("apparmor not supported");
        let b = w.bundle("u", &["echo", "free"]);
        let b = b.with("/process/apparmorProfile", "unconfined".into());
        w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("free");
    }
    if !std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        let b = b.with("/process/selinuxLabel", "system_u:object_r:x_t:s0".into());
        let done = w.runtime(["run", "-b", b.path(), b.id()]).refused();
        done.err_has("/process/selinuxLabel").err_has("selinux is disabled");
    }
}

#[test]
fn sysctls_belong_to_a_namespace_of_the_containers_own() {
    needs!(Root);
    let w = World::new();
    let b = w.bundle(
        "b",
        &[
            "sh",
            "-c",
            "cat /proc/sys/kernel/shmmni /proc/sys/fs/mqueue/msg_max \
        /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/domainname",
        ],
    );
    let good = json!({"kernel.shmmni": "77", "fs.mqueue.msg_max": "9", "net/ipv4/ip_forward": "1",
        "kernel.domainname": "sea"});
    let b = b.with("/linux/sysctl", good);
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("77\n9\n1\nsea");
    for (name, words) in [
        ("kernel.hostname", "hostname"),
        ("kernel.core_pattern", "not in a separate kernel namespace"),
        ("vm.swappiness", "not in a separate kernel namespace"),
        ("user.max_user_namespaces", "user namespace"),
    ] {
        let b = w.bundle(name, &["true"]).with("/linux/sysctl", json!({name: "1"}));
        let done = w.runtime(["run", "-b", b.path(), b.id()]).refused();
        done.err_has(&format!("/linux/sysctl/{name}")).err_has(words);
    }
    // The host's own network namespace, joined by its path.
    let mut b =
        w.bundle("host", &["true"]).with("/linux/sysctl", json!({"net.core.somaxconn": "1"}));
    for space in b.config["linux"]["namespaces"].as_array_mut().unwrap() {
        if space["type"] == "network" {
            space["path"] = "/proc/self/ns/net".into();
        }
    }
    b.write();
    let done = w.runtime(["run", "-b", b.path(), b.id()]).refused();
    done.err_has("/linux/sysctl/net.core.somaxconn").err_has("host network namespace");
}

#[test]
fn oom_score_that_the_caller_may_not_set_is_an_error() {
    let w = World::new();
    let b = w.bundle("b", &["cat", "/proc/self/oom_score_adj"]);
    let b = b.with("/process/oomScoreAdj", (-1000).into());
    let drop = ["setpriv", "--bounding-set", "-sys_resource", "--inh-caps", "-sys_resource"];
    let done = w.runtime_cmd(["run", "-b", b.path(), b.id()]).under(drop).run();
    // As runc: the kernel's word is final.
    done.refused().err_has("oom_score_adj -1000: permission denied");
    let b = b.with("/process/oomScoreAdj", 1001.into());
    w.runtime(["run", "-b", b.path(), b.id()]).refused().err_has("/process/oomScoreAdj");
}

#[test]
fn domain_name_and_host_name_need_a_namespace_of_their_own() {
    let w = World::new();
    let b = w.bundle("b", &["cat", "/proc/sys/kernel/domainname"]);
    let mut b = b.with("/domainname", "harbour.example".into());
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("harbour.example");
    let spaces = b.config["linux"]["namespaces"].as_array_mut().unwrap();
    spaces.retain(|space| space["type"] != "uts");
    b.config["hostname"] = json!(null);
    b.write();
    let done = w.runtime(["run", "-b", b.path(), b.id()]).refused();
    done.err_has("/domainname").err_has("without a private UTS namespace");
}

#[test]
fn config_without_a_process_is_refused_in_runcs_words() {
    let w = World::new();
    let b = w.bundle("b", &["true"]).with("/process", json!(null));
    let done = w.runtime(["create", "-b", b.path(), b.id()]).refused();
    done.err_has("process property must not be empty");
}
