//! What the container's process is given: user, environment, limits, capabilities.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use e2e::{World, needs};
use serde_json::json;

#[test]
fn exit_code_and_output_are_passed_on() {
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "echo hello from $(hostname); echo oops >&2; exit 7"]);
    let done = w.runtime(["run", "-b", b.path(), b.id()]).code(7).out_is("hello from box");
    assert_eq!(done.err(), "oops");
}

#[test]
fn death_by_signal_is_128_and_the_signal() {
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "touch /up; sleep 1000"]);
    let run = w.runtime_cmd(["run", "-b", b.path(), b.id()]);
    let kill = std::thread::scope(|s| {
        let ended = s.spawn(|| run.run().code);
        e2e::until("the container is up", || b.rootfs("up").exists());
        w.runtime(["kill", b.id(), "KILL"]).ok();
        ended.join().unwrap()
    });
    assert_eq!(kill, 137);
}

#[test]
fn stdin_reaches_the_process() {
    let w = World::new();
    let b = w.bundle("b", &["sha256sum"]);
    let input = "cloves\n".repeat(100_000);
    let plain = w.cmd("sha256sum").stdin(input.clone()).run().ok().out();
    w.runtime_cmd(["run", "-b", b.path(), b.id()]).stdin(input).run().ok().out_is(&plain);
}

#[test]
fn user_groups_and_umask() {
    needs!(ManyIds);
    let w = World::new();
    let user = json!({"uid": 1000, "gid": 1000, "additionalGids": [2000, 3000], "umask": 0o027});
    let b = w.bundle("b", &["sh", "-c", "id -u; id -g; id -G; umask"]).with("/process/user", user);
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("1000\n1000\n1000 2000 3000\n0027");
}

#[test]
fn environment_is_only_what_the_config_says() {
    let w = World::new();
    let b = w.bundle("b", &["env"]).with("/process/env", json!(["A=1", "B=two words", "EMPTY="]));
    let b = b.with("/process/args", json!(["/bin/env"]));
    let mut lines = w.runtime(["run", "-b", b.path(), b.id()]).ok().lines();
    lines.retain(|l| !l.starts_with("HOME=")); // runc adds HOME from /etc/passwd
    assert_eq!(lines, ["A=1", "B=two words", "EMPTY="]);
}

#[test]
fn cwd_is_made_when_it_is_not_there() {
    let w = World::new();
    let b = w.bundle("b", &["pwd"]).with("/process/cwd", "/not/yet/there".into());
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("/not/yet/there");
}

#[test]
fn rlimits() {
    let w = World::new();
    let limit = json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99}]);
    let b = w.bundle("b", &["sh", "-c", "ulimit -Sn; ulimit -Hn"]).with("/process/rlimits", limit);
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("77\n99");
}

#[test]
fn capabilities_are_the_five_sets_asked_for() {
    needs!(ManyIds);
    let w = World::new();
    let caps = json!({
        "bounding": ["CAP_CHOWN", "CAP_NET_RAW", "CAP_KILL"],
        "permitted": ["CAP_CHOWN", "CAP_NET_RAW"],
        "effective": ["CAP_CHOWN"],
        "inheritable": ["CAP_NET_RAW"],
        "ambient": ["CAP_NET_RAW"],
    });
    let user = json!({"uid": 1000, "gid": 1000});
    let b = w.bundle("b", &["grep", "^Cap", "/proc/self/status"]);
    let b = b.with("/process/capabilities", caps).with("/process/user", user);
    // A process that isn't root keeps over execve(2) what is ambient.
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is(
        "CapInh:\t0000000000002000\nCapPrm:\t0000000000002000\nCapEff:\t0000000000002000\n\
         CapBnd:\t0000000000002021\nCapAmb:\t0000000000002000",
    );
}

#[test]
fn no_new_privileges_is_set_or_not() {
    let w = World::new();
    for (wanted, line) in [(true, "NoNewPrivs:\t1"), (false, "NoNewPrivs:\t0")] {
        let b = w.bundle(&format!("b{wanted}"), &["grep", "NoNewPrivs", "/proc/self/status"]);
        let b = b.with("/process/noNewPrivileges", wanted.into());
        w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is(line);
    }
}

#[test]
fn oom_score_is_raised() {
    let w = World::new();
    let b = w.bundle("b", &["cat", "/proc/self/oom_score_adj"]);
    let b = b.with("/process/oomScoreAdj", 500.into());
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("500");
}

#[test]
fn no_descriptor_of_ours_is_open_in_the_container() {
    let w = World::new();
    let b = w.bundle("b", &["ls", "/proc/self/fd"]);
    // 3 is the directory that ls reads.
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("0\n1\n2\n3");
}

#[test]
fn preserve_fds_passes_descriptors_on() {
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "cat <&3"]);
    let pass = ["sh", "-c", "echo handed over | { exec 3<&0 </dev/null; exec \"$@\"; }", "sh"];
    let run = w.runtime_cmd(["run", "--preserve-fds", "1", "-b", b.path(), b.id()]);
    run.under(pass).run().ok().out_is("handed over");
}

#[test]
fn missing_command_is_named() {
    let w = World::new();
    let b = w.bundle("b", &["no-such-command"]);
    let done = w.runtime(["run", "-b", b.path(), b.id()]).refused();
    done.err_has("no-such-command");
    w.runtime(["state", b.id()]).refused();
}

#[test]
fn hostname_and_sysctl() {
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "hostname; cat /proc/sys/net/ipv4/ip_forward"]);
    let b = b.with("/hostname", "lamu".into());
    let b = b.with("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("lamu\n1");
}

#[test]
fn bug_a_program_that_only_dac_override_lets_execute_was_denied() {
    needs!(ManyIds);
    let w = World::new();
    let b = w.bundle("b", &["/tmp/echo", "runs"]);
    let mut b = b.with("/process/user", json!({"uid": 1000, "gid": 1000}));
    fs::copy(b.rootfs("bin/busybox"), b.rootfs("tmp/echo")).unwrap();
    fs::set_permissions(b.rootfs("tmp/echo"), fs::Permissions::from_mode(0o744)).unwrap();
    w.runtime(["run", "-b", b.path(), b.id()]).refused().err_has("permission denied");
    for set in ["bounding", "effective", "inheritable", "permitted", "ambient"] {
        b = b.with(&format!("/process/capabilities/{set}"), json!(["CAP_DAC_OVERRIDE"]));
    }
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("runs");
}

#[test]
fn the_groups_of_the_caller_are_kept_where_the_annotation_says_so() {
    needs!(ManyIds);
    let w = World::new();
    let b = w.bundle("b", &["id", "-G"]);
    let b = b.with("/annotations/run.oci.keep_original_groups", json!("1"));
    let grouped = ["setpriv", "--groups", "7,8"];
    let with = |args: &[&str]| w.runtime_cmd(args).under(grouped).run().ok();
    let plain = w.bundle("plain", &["id", "-G"]);
    with(&["run", "-b", plain.path(), plain.id()]).out_is("0");
    with(&["run", "-b", b.path(), b.id()]).out_is("0 7 8");
    let b = b.with("/process/args", json!(["sleep", "1000"]));
    super::lifecycle::create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    with(&["exec", b.id(), "id", "-G"]).out_is("0 7 8");
    w.runtime(["delete", "--force", b.id()]).ok();
}
