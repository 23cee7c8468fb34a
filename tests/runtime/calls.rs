//! What a filter answers to system calls that are really made: every action, operator and
//! architecture of this machine's kernel.
#![cfg(target_arch = "x86_64")]

use e2e::bundle::Bundle;
use e2e::{Cmd, Done, World, needs};
use serde_json::{Value, json};

/// A call that does nothing here: of these arguments, alarm(2) of x86-64 and i386.
const ALARM: [&str; 3] = ["n 37", "i 27", "x 37"];

fn program(b: &Bundle) {
    Cmd::new("cc")
        .args(["-O1", "-static", "-nostdlib", "-no-pie", "-fno-stack-protector", "-o"])
        .arg(b.rootfs("calls"))
        .arg(e2e::workspace().join("tests/runtime/calls.c"))
        .run()
        .ok();
}

/// Runs calls, each `WAY NUMBER A B C` (missing arguments are 0), under a profile.
fn run(w: &World, name: &str, profile: Value, calls: &[&str]) -> Done {
    let mut args = vec!["/calls"];
    for call in calls {
        let words: Vec<&str> = call.split(' ').collect();
        args.extend((0..5).map(|at| words.get(at).copied().unwrap_or("0")));
    }
    let b = w.bundle(name, &args).with("/linux/seccomp", profile);
    program(&b);
    w.runtime(["run", "-b", b.path(), b.id()])
}

fn profile(default: &str, rules: Value) -> Value {
    json!({"defaultAction": default, "syscalls": rules,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]})
}

fn alarm(action: &str) -> Value {
    profile("SCMP_ACT_ALLOW", json!([{"names": ["alarm"], "action": action}]))
}

#[test]
fn every_action_does_what_it_says() {
    needs!(Machine);
    let w = World::new();
    let native = &ALARM[..1];
    for (action, out) in [
        ("SCMP_ACT_ALLOW", "0"),
        ("SCMP_ACT_LOG", "0"),
        ("SCMP_ACT_ERRNO", "-1"),
        ("SCMP_ACT_TRAP", "trapped"),
        // KERNEL: seccomp(2): without a tracer the call fails with ENOSYS.
        ("SCMP_ACT_TRACE", "-38"),
    ] {
        run(&w, action, alarm(action), native).ok().out_is(out);
    }
    // 31 is SIGSYS; the one thread of this process is all of it.
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS"] {
        run(&w, action, alarm(action), native).code(159).out_is("");
    }
}

#[test]
fn errno_ret_and_default_errno_ret_are_returned() {
    needs!(Machine);
    let w = World::new();
    let rules = json!([
        {"names": ["alarm"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95},
        {"names": ["write", "exit", "execve", "rt_sigaction"], "action": "SCMP_ACT_ALLOW"},
    ]);
    let mut profile = profile("SCMP_ACT_ERRNO", rules);
    profile["defaultErrnoRet"] = json!(6);
    // getpid of each; then calls younger than any of the profile.
    let calls = ["n 37", "i 27", "x 37", "n 39", "i 20", "x 39", "n 400", "i 400"];
    let done = run(&w, "b", profile, &calls).ok();
    done.out_is("-95\n-95\n-95\n-6\n-6\n-6\n-38\n-38");
}

#[test]
fn every_operator_compares_all_64_bits_of_a_native_call() {
    needs!(Machine);
    let w = World::new();
    let wide = 1_u64 << 32;
    // Each refuses; alarm's argument is the one value of each pair that it is to refuse, then not.
    for (op, value, two, yes, no) in [
        ("EQ", 7 | wide, 0, 7 | wide, 7),
        ("NE", 7 | wide, 0, 7, 7 | wide),
        ("LT", 7 | wide, 0, 8, 7 | wide),
        ("LE", 7 | wide, 0, 7 | wide, 8 | wide),
        ("GT", 7 | wide, 0, 8 | wide, 9),
        ("GE", 7 | wide, 0, 7 | wide, 6 | wide),
        ("MASKED_EQ", 0xf0 | wide, 0x10, 0x1f, 0x1f | wide),
    ] {
        let arg =
            json!({"index": 1, "value": value, "valueTwo": two, "op": format!("SCMP_CMP_{op}")});
        let rules = json!([{"names": ["alarm"], "action": "SCMP_ACT_ERRNO", "args": [arg]}]);
        let calls = [format!("n 37 0 {yes}"), format!("n 37 0 {no}")];
        let done = run(&w, op, profile("SCMP_ACT_ALLOW", rules), &[&calls[0], &calls[1]]).ok();
        assert_eq!(done.out(), "-1\n0", "{op}");
    }
}

#[test]
fn several_rules_for_one_call_and_several_conditions_of_one() {
    needs!(Machine);
    let w = World::new();
    let eq = |index: u32, value: u32| json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"});
    let rule = |errno: u32, args: Value| json!({"names": ["alarm"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": args});
    let rules = json!([
        rule(11, json!([eq(1, 1), eq(2, 2)])), // both
        rule(12, json!([eq(1, 5), eq(1, 6)])), // one argument twice: either
        rule(13, json!([eq(2, 9)])),
    ]);
    let calls = ["n 37 0 1 2", "n 37 0 1 3", "n 37 0 5", "n 37 0 6", "n 37 0 7 9", "n 37 0 7"];
    let done = run(&w, "b", profile("SCMP_ACT_ALLOW", rules), &calls).ok();
    done.out_is("-11\n0\n-12\n-12\n-13\n0");
}

#[test]
fn an_architecture_of_the_profile_is_judged_and_another_is_killed() {
    needs!(Machine);
    let w = World::new();
    run(&w, "all", alarm("SCMP_ACT_ERRNO"), &ALARM).ok().out_is("-1\n-1\n-1");
    for (name, archs, call) in [
        ("i386", json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"]), "i 20"),
        ("x32", json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]), "x 39"),
        ("none", json!([]), "i 20"),
    ] {
        let mut profile = alarm("SCMP_ACT_ERRNO");
        profile["architectures"] = archs;
        run(&w, name, profile, &["n 37", call]).code(159).out_is("-1");
    }
}

#[test]
fn sockets_and_ipc_of_i386_are_judged_behind_their_multiplexers() {
    needs!(Machine);
    let w = World::new();
    let rules = json!([
        {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61},
        {"names": ["shmget"], "action": "SCMP_ACT_ERRNO", "errnoRet": 62},
    ]);
    // socketcall(SYS_SOCKET, NULL), socketcall(SYS_BIND, NULL), ipc(SHMGET), with a version, ipc(0).
    let calls = ["i 102 1", "i 102 2", "i 117 23", "i 117 65559", "i 117 0", "i 359 2 1", "i 395"];
    let done = run(&w, "b", profile("SCMP_ACT_ALLOW", rules), &calls).ok();
    done.out_is("-61\n-14\n-62\n-62\n-38\n-61\n-62");
}

#[test]
fn a_profile_may_refuse_what_the_runtime_needs_only_before() {
    needs!(Machine);
    let w = World::new();
    // runc's seccomp.bats: after the filter, nothing but the program is left to do.
    let calls = ["close_range", "fsopen", "fsconfig", "openat2", "open_tree", "move_mount"];
    for nnp in [true, false] {
        let rules = json!([{"names": calls, "action": "SCMP_ACT_KILL_PROCESS"}]);
        let b = w.bundle(&format!("b{nnp}"), &["echo", "fine"]);
        let b = b.with("/linux/seccomp", profile("SCMP_ACT_ALLOW", rules));
        let b = b.with("/process/noNewPrivileges", nnp.into());
        w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("fine");
        super::lifecycle::create(&w, &b);
        w.runtime(["start", b.id()]).ok();
        w.runtime(["delete", b.id()]).ok();
    }
}

#[test]
fn flags_are_taken_and_unknown_ones_and_architectures_refused() {
    needs!(Machine);
    let w = World::new();
    let all =
        ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"];
    let mut profile = alarm("SCMP_ACT_ERRNO");
    profile["flags"] = json!(all);
    run(&w, "all", profile.clone(), &ALARM).ok().out_is("-1\n-1\n-1");
    profile["flags"] = json!(["SECCOMP_FILTER_FLAG_MAGIC"]);
    let done = run(&w, "flag", profile.clone(), &[]).refused();
    let _ = done.err_has("/linux/seccomp/flags/0");
    profile["flags"] = json!([]);
    profile["architectures"] = json!(["SCMP_ARCH_S390X", "SCMP_ARCH_PDP11"]);
    let done = run(&w, "arch", profile.clone(), &[]).refused();
    let _ = done.err_has("/linux/seccomp/architectures/1");
    profile["architectures"] = json!(["SCMP_ARCH_S390X", "SCMP_ARCH_RISCV64"]);
    run(&w, "foreign", profile, &["n 37"]).ok().out_is("-1");
}

#[test]
fn unknown_names_are_said_with_debug() {
    needs!(Machine);
    let w = World::new();
    let rules = json!([{"names": ["no_such_call", "alarm"], "action": "SCMP_ACT_ERRNO"}]);
    let b = w.bundle("b", &["true"]).with("/linux/seccomp", profile("SCMP_ACT_ALLOW", rules));
    let done = w.runtime_cmd(["--debug", "run", "-b", b.path(), b.id()]).run().ok();
    let done = done.err_has(r#"unknown seccomp syscall \"no_such_call\" ignored"#);
    let _ = done.err_has("seccomp filter flags: 4");
    let done = w.runtime(["run", "-b", b.path(), b.id()]).ok();
    assert!(done.err().is_empty(), "{done}");
}
