//! seccomp filters.

use e2e::World;
use serde_json::{Value, json};

fn profile(default: &str, rules: Value) -> Value {
    json!({"defaultAction": default, "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rules})
}

#[test]
fn system_call_is_answered_with_the_errno() {
    let w = World::new();
    let rules =
        json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]);
    let b = w.bundle("b", &["sh", "-c", "grep Seccomp: /proc/self/status; mkdir /x 2>&1"]);
    let b = b.with("/linux/seccomp", profile("SCMP_ACT_ALLOW", rules));
    let done = w.runtime(["run", "-b", b.path(), b.id()]).code(1);
    assert!(done.out().contains("Seccomp:\t2") && done.out().contains("No space left"), "{done}");
}

#[test]
fn arguments_are_compared() {
    let w = World::new();
    // kill with signal 10 is refused, with another it isn't.
    let rules = json!([{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
        "args": [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}]}]);
    let script = "trap 'echo usr2' USR2; kill -USR1 $$ 2>&1; kill -USR2 $$; sleep 0.1";
    let b = w.bundle("b", &["sh", "-c", script]);
    let b = b.with("/linux/seccomp", profile("SCMP_ACT_ALLOW", rules));
    let done = w.runtime(["run", "-b", b.path(), b.id()]).ok();
    assert!(done.out().contains("not permitted") && done.out().contains("usr2"), "{done}");
}

#[test]
fn filter_loads_with_and_without_new_privileges() {
    let w = World::new();
    for nnp in [true, false] {
        let rules = json!([{"names": ["unlink", "unlinkat"], "action": "SCMP_ACT_KILL_PROCESS"}]);
        let b = w.bundle(&format!("b{nnp}"), &["sh", "-c", "rm /etc/hostname; echo $?"]);
        let b = b.with("/linux/seccomp", profile("SCMP_ACT_ALLOW", rules));
        let b = b.with("/process/noNewPrivileges", nnp.into());
        // 31 is SIGSYS.
        w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("159");
        assert!(b.rootfs("etc/hostname").exists());
    }
}

#[test]
fn unknown_system_call_is_left_out_and_unknown_action_refused() {
    let w = World::new();
    let b = w.bundle("b", &["echo", "fine"]);
    let rules = json!([{"names": ["no_such_call"], "action": "SCMP_ACT_ERRNO"}]);
    let b = b.with("/linux/seccomp", profile("SCMP_ACT_ALLOW", rules));
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("fine");
    let b = b.with("/linux/seccomp", profile("SCMP_ACT_DANCE", json!([])));
    w.runtime(["run", "-b", b.path(), b.id()]).refused().err_has("SCMP_ACT_DANCE");
}

#[test]
fn an_unknown_call_is_an_error_where_the_annotation_says_so() {
    let w = World::new();
    let rule = json!({"names": ["getpid", "sail_away"], "action": "SCMP_ACT_ERRNO"});
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    let b = w.bundle("b", &["true"]).with("/linux/seccomp", profile);
    w.runtime(["run", "-b", b.path(), b.id()]).ok();
    let b = b.with("/annotations/run.oci.seccomp_fail_unknown_syscall", json!("1"));
    let done = w.runtime(["run", "-b", b.path(), b.id()]).refused();
    done.err_has("/linux/seccomp/syscalls/0/names/1").err_has("sail_away");
}
