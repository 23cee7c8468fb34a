//! The compiler against an interpreter of its output and a plain reading of
//! the profile.

use std::borrow::Cow;

use dhow_kernel::seccomp::Instruction;
use proptest::prelude::*;

use super::action::{self, Op};
use super::arch::{Arch, Named};
use super::compile::{Filter, compile_for};
use super::config::{Arg, Seccomp, Syscall, Text};
use super::judge::{Call, run};
use super::{ACTIONS, ARCHITECTURES, OPERATORS, Reason, compile, syscalls};

/// What the profile says of a call, read rule by rule.
fn read(profile: &Seccomp, native: Arch, call: Call) -> u32 {
    let archs: Vec<Arch> = family(native)
        .into_iter()
        .filter(|arch| *arch == native || profile.architectures.iter().any(|n| n.0 == scmp(*arch)))
        .collect();
    let default = action::answer(&profile.default_action, profile.default_errno_ret).unwrap();
    if !archs.contains(&call.arch) {
        return if call.nr == u32::MAX { default } else { action::KILL_THREAD };
    }
    let number = |name: &str| syscalls::find(native, name).and_then(|n| n.on(call.arch));
    for rule in &profile.syscalls {
        let answer = action::answer(&rule.action, rule.errno_ret).unwrap();
        let tests: Vec<bool> = rule.args.iter().map(|arg| holds(arg, call)).collect();
        let mut indices: Vec<u32> = rule.args.iter().map(|arg| arg.index).collect();
        indices.sort_unstable();
        let repeated = indices.windows(2).any(|pair| pair[0] == pair[1]);
        let all = if repeated { tests.contains(&true) } else { !tests.contains(&false) };
        for name in &rule.names {
            if number(&name.0) == Some(call.nr) && all {
                return answer;
            }
            if multiplexes(&name.0, call) {
                let lenient = action::leniency(answer) > action::leniency(default);
                if rule.args.is_empty() || !lenient {
                    return answer;
                }
            }
        }
    }
    let highest = profile
        .syscalls
        .iter()
        .flat_map(|rule| &rule.names)
        .filter_map(|name| number(&name.0))
        .max();
    let permissive = matches!(default & 0xffff_0000, action::ALLOW | action::LOG | action::TRACE);
    let setup = matches!(call.arch, Arch::S390 | Arch::S390x) && call.nr == 0;
    match highest {
        Some(highest) if (call.nr > highest || setup) && !permissive => 0x0005_0026,
        _ => default,
    }
}

fn multiplexes(name: &str, call: Call) -> bool {
    let Some((socketcall, ipc)) = call.arch.multiplexers() else { return false };
    syscalls::multiplexed(name).is_some_and(|m| {
        let nr = if m.ipc { ipc } else { socketcall };
        nr == call.nr && call.args[0] as u32 & m.mask as u32 == m.call as u32
    })
}

fn holds(arg: &Arg, call: Call) -> bool {
    let cut = |value: u64| if call.arch.is_wide() { value } else { value & 0xffff_ffff };
    let (given, value) = (cut(call.args[arg.index as usize]), cut(arg.value));
    match arg.op.as_ref() {
        "SCMP_CMP_EQ" => given == value,
        "SCMP_CMP_NE" => given != value,
        "SCMP_CMP_GT" => given > value,
        "SCMP_CMP_GE" => given >= value,
        "SCMP_CMP_LT" => given < value,
        "SCMP_CMP_LE" => given <= value,
        "SCMP_CMP_MASKED_EQ" => given & value == cut(arg.value_two) & value,
        other => panic!("{other}"),
    }
}

fn scmp(arch: Arch) -> &'static str {
    ARCHITECTURES[arch as usize]
}

/// What a machine's kernel may show a filter.
fn family(native: Arch) -> Vec<Arch> {
    let named = ARCHITECTURES.iter().filter_map(|name| match native.resolve(name) {
        Some(Named::Compiled(arch)) => Some(arch),
        _ => None,
    });
    named.collect()
}

fn rule(names: &[&'static str], action: &'static str, args: Vec<Arg<'static>>) -> Syscall<'static> {
    Syscall {
        names: names.iter().map(|name| Text(Cow::Borrowed(*name))).collect(),
        action: Cow::Borrowed(action),
        errno_ret: None,
        args,
    }
}

fn arg(index: u32, op: &'static str, value: u64, value_two: u64) -> Arg<'static> {
    Arg { index, value, value_two, op: Cow::Borrowed(op) }
}

fn profile(default: &'static str, syscalls: Vec<Syscall<'static>>) -> Seccomp<'static> {
    let architectures = [Arch::X86_64, Arch::X86, Arch::X32];
    Seccomp {
        default_action: Cow::Borrowed(default),
        architectures: architectures.map(|arch| Text(Cow::Borrowed(scmp(arch)))).to_vec(),
        syscalls,
        ..Seccomp::default()
    }
}

const NAMES: [&str; 24] = [
    "read",
    "write",
    "open",
    "close",
    "socket",
    "bind",
    "accept4",
    "socketcall",
    "ipc",
    "shmget",
    "msgrcv",
    "semop",
    "clone",
    "clone3",
    "personality",
    "execve",
    "ptrace",
    "mseal",
    "uretprobe",
    "stat64",
    "llseek",
    "set_tls",
    "no_such_call",
    "openat2",
];

const WORDS: [u64; 10] =
    [0, 1, 2, 21, 0x10_0015, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0001, 0x7e02_0000, u64::MAX];

fn any_word() -> impl Strategy<Value = u64> {
    prop_oneof![4 => proptest::sample::select(&WORDS[..]), 1 => any::<u64>()]
}

fn any_arg() -> impl Strategy<Value = Arg<'static>> {
    (0..6_u32, proptest::sample::select(&OPERATORS[..]), any_word(), any_word())
        .prop_map(|(index, op, value, two)| arg(index, op, value, two))
}

fn any_action() -> impl Strategy<Value = (&'static str, Option<u32>)> {
    (proptest::sample::select(&ACTIONS[..]), proptest::option::of(0..100_u32)).prop_map(
        |(name, errno)| match name {
            "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE" => (name, errno),
            "SCMP_ACT_NOTIFY" => ("SCMP_ACT_LOG", None),
            _ => (name, None),
        },
    )
}

fn any_rule() -> impl Strategy<Value = Syscall<'static>> {
    let names = proptest::collection::vec(proptest::sample::select(&NAMES[..]), 1..5);
    (names, any_action(), proptest::collection::vec(any_arg(), 0..4)).prop_map(
        |(names, (action, errno_ret), args)| Syscall { errno_ret, ..rule(&names, action, args) },
    )
}

fn any_profile() -> impl Strategy<Value = (Arch, Seccomp<'static>)> {
    let archs = proptest::sample::subsequence(ARCHITECTURES.to_vec(), 0..=23);
    let native = proptest::sample::select(&NATIVE[..]);
    (native, archs, any_action(), proptest::collection::vec(any_rule(), 0..40)).prop_map(
        |(native, archs, (default, default_errno_ret), syscalls)| {
            let architectures = archs.into_iter().map(|name| Text(Cow::Borrowed(name))).collect();
            let profile = Seccomp {
                default_action: Cow::Borrowed(default),
                default_errno_ret,
                architectures,
                syscalls,
                ..Seccomp::default()
            };
            (native, profile)
        },
    )
}

/// One machine of each family and byte order.
const NATIVE: [Arch; 14] = [
    Arch::X86_64,
    Arch::X86_64,
    Arch::Aarch64,
    Arch::Loongarch64,
    Arch::M68k,
    Arch::Mips64,
    Arch::Mipsel64,
    Arch::Parisc64,
    Arch::Ppc64,
    Arch::Ppc64le,
    Arch::Riscv64,
    Arch::S390x,
    Arch::Sh,
    Arch::Sheb,
];

/// Every number a rule could speak of, its neighbours, and the edges.
fn numbers(native: Arch) -> Vec<(Arch, u32)> {
    let mut all = Vec::new();
    for arch in family(native) {
        let mark = if arch == Arch::X32 { arch.base() } else { 0 };
        let named = NAMES.iter().filter_map(|n| syscalls::find(native, n)?.on(arch));
        let edges = [0, 469, 470, 1000, 0x3fff_ffff].map(|nr| nr | mark);
        for nr in named.chain(edges) {
            all.extend([nr.saturating_sub(1) | mark, nr, nr + 1].map(|nr| (arch, nr)));
        }
    }
    let mark = if native == Arch::X86_64 { Arch::X32 } else { native };
    all.retain(|(arch, nr)| *arch == Arch::X32 || *nr < 0x4000_0000);
    all.push((mark, u32::MAX));
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn compiled_filter_means_what_the_profile_says(
        (native, profile) in any_profile(),
        args in proptest::collection::vec(proptest::array::uniform6(any_word()), 6),
    ) {
        let filter = compile_for(native, &profile).unwrap();
        for (arch, nr) in numbers(native) {
            for args in &args {
                let call = Call { arch, nr, args: *args };
                let (ran, said) = (run(&filter.program, call), read(&profile, native, call));
                prop_assert_eq!(ran, said, "{:?}", call);
            }
        }
    }

    #[test]
    fn no_text_makes_the_parser_or_the_compiler_panic(text in ".{0,200}") {
        if let Ok(profile) = serde_json::from_str::<Seccomp>(&text) {
            let _ = compile(&profile);
        }
    }
}

fn compiled(profile: &Seccomp) -> Filter {
    compile_for(Arch::X86_64, profile).unwrap()
}

fn answer(filter: &Filter, arch: Arch, name: &str, args: [u64; 6]) -> u32 {
    let nr = syscalls::find(Arch::X86_64, name).and_then(|n| n.on(arch)).unwrap();
    run(&filter.program, Call { arch, nr, args })
}

#[test]
fn long_filter_jumps_farther_than_a_byte_reaches() {
    let eq = |value| vec![arg(1, "SCMP_CMP_EQ", value, 0)];
    let rules = (0..300).map(|n| rule(&["ioctl"], "SCMP_ACT_ALLOW", eq(n << 32 | n))).collect();
    let filter = compiled(&profile("SCMP_ACT_ERRNO", rules));
    assert!(filter.program.len() > 1200);
    for n in [0, 1, 150, 299] {
        let args = [0, n << 32 | n, 0, 0, 0, 0];
        assert_eq!(answer(&filter, Arch::X86_64, "ioctl", args), action::ALLOW);
    }
    let args = [0, 0x12c_0000_012c, 0, 0, 0, 0];
    assert_eq!(answer(&filter, Arch::X86_64, "ioctl", args), 0x0005_0001);
    assert_eq!(answer(&filter, Arch::X86_64, "read", args), 0x0005_0001);
}

#[test]
fn too_many_rules_are_refused() {
    let eq = |value: u64| vec![arg(0, "SCMP_CMP_EQ", value << 32 | 7, 0)];
    let rules = (0..2000).map(|n| rule(&["ioctl"], "SCMP_ACT_ALLOW", eq(n))).collect();
    let fault = compile_for(Arch::X86_64, &profile("SCMP_ACT_ERRNO", rules)).unwrap_err();
    assert!(matches!(fault.reason, Reason::TooLong(_)), "{fault}");
}

#[test]
fn socket_condition_is_not_bypassed_by_socketcall() {
    let lt = vec![arg(0, "SCMP_CMP_LT", 38, 0)];
    let allow = rule(&["socket"], "SCMP_ACT_ALLOW", lt);
    let filter = compiled(&profile("SCMP_ACT_ERRNO", vec![allow]));
    let socketcall = [1, 0x1000, 0, 0, 0, 0];
    assert_eq!(answer(&filter, Arch::X86, "socketcall", socketcall), 0x0005_0001);
    assert_eq!(answer(&filter, Arch::X86, "socket", [38, 0, 0, 0, 0, 0]), 0x0005_0001);
    assert_eq!(answer(&filter, Arch::X86, "socket", [2, 0, 0, 0, 0, 0]), action::ALLOW);

    let alg = vec![arg(0, "SCMP_CMP_EQ", 38, 0)];
    let deny = rule(&["socket"], "SCMP_ACT_ERRNO", alg);
    let filter = compiled(&profile("SCMP_ACT_ALLOW", vec![deny]));
    assert_eq!(answer(&filter, Arch::X86, "socketcall", socketcall), 0x0005_0001);
    assert_eq!(answer(&filter, Arch::X86, "socketcall", [2, 0, 0, 0, 0, 0]), action::ALLOW);
}

#[test]
fn call_younger_than_the_profile_gets_enosys() {
    let filter = compiled(&profile(
        "SCMP_ACT_ERRNO",
        vec![rule(&["read", "clone3"], "SCMP_ACT_ALLOW", vec![])],
    ));
    let zero = [0; 6];
    assert_eq!(answer(&filter, Arch::X86_64, "clone3", zero), action::ALLOW);
    assert_eq!(answer(&filter, Arch::X86_64, "close_range", zero), 0x0005_0026);
    assert_eq!(answer(&filter, Arch::X32, "close_range", zero), 0x0005_0026);
    assert_eq!(answer(&filter, Arch::X86_64, "pidfd_open", zero), 0x0005_0001);
}

#[test]
fn multiplexer_above_every_named_call_answers_others_with_enosys() {
    let rules = vec![rule(&["read", "semop"], "SCMP_ACT_ALLOW", vec![])];
    let filter = compiled(&profile("SCMP_ACT_ERRNO", rules));
    let ipc = |call| answer(&filter, Arch::X86, "ipc", [call, 0, 0, 0, 0, 0]);
    assert_eq!((ipc(1), ipc(2)), (action::ALLOW, 0x0005_0026));
}

#[test]
fn unnamed_architecture_is_killed_and_a_skipped_call_is_not() {
    let mut only = profile("SCMP_ACT_ALLOW", vec![]);
    only.architectures.clear();
    let filter = compiled(&only);
    let call = |arch, nr| run(&filter.program, Call { arch, nr, args: [0; 6] });
    assert_eq!(call(Arch::X86_64, 1), action::ALLOW);
    assert_eq!(call(Arch::X86, 1), action::KILL_THREAD);
    assert_eq!(call(Arch::X32, 0x4000_0001), action::KILL_THREAD);
    assert_eq!(call(Arch::X86_64, u32::MAX), action::ALLOW);
}

fn fault(json: &str) -> String {
    let profile: Seccomp = serde_json::from_str(json).unwrap();
    compile_for(Arch::X86_64, &profile).unwrap_err().to_string()
}

#[test]
fn faults_name_their_place() {
    let rule = |text: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{text}]}}"#);
    for (json, line) in [
        (r#"{"defaultAction":"X"}"#.into(), r#"/defaultAction: "X" is no seccomp action"#),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":1}"#.into(),
            "/defaultErrnoRet: SCMP_ACT_ALLOW returns no errno: leave the field out",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86","VAX"]}"#.into(),
            r#"/architectures/1: "VAX" is no seccomp architecture"#,
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["F"]}"#.into(),
            r#"/flags/0: "F" is no seccomp flag"#,
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG",
                "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}"#
                .into(),
            "/flags/1: requires a SCMP_ACT_NOTIFY rule, and there is none",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#.into(),
            "/defaultAction: SCMP_ACT_NOTIFY cannot be used as default action",
        ),
        (
            rule(r#"{"action":"SCMP_ACT_LOG"}"#),
            "/syscalls/0/names: a rule must name at least one system call",
        ),
        (
            rule(r#"{"names":["a"],"action":"LOG"}"#),
            r#"/syscalls/0/action: "LOG" is no seccomp action"#,
        ),
        (
            rule(r#"{"names":["a"],"action":"SCMP_ACT_ERRNO","errnoRet":70000}"#),
            "/syscalls/0/errnoRet: 70000 is no errno (at most 65535)",
        ),
        (
            rule(
                r#"{"names":["a"],"action":"SCMP_ACT_LOG","args":[{"index":6,"value":1,"op":"SCMP_CMP_EQ"}]}"#,
            ),
            "/syscalls/0/args/0/index: 6 is no argument index (0 to 5)",
        ),
        (
            rule(
                r#"{"names":["a"],"action":"SCMP_ACT_LOG","args":[{"index":6,"value":1,"op":"EQ"}]}"#,
            ),
            r#"/syscalls/0/args/0/op: "EQ" is no seccomp operator"#,
        ),
        (
            rule(r#"{"names":["read"],"action":"SCMP_ACT_NOTIFY"}"#),
            "/syscalls/0/action: requires listenerPath, and there is none",
        ),
        (
            rule(r#"{"names":["read","write"],"action":"SCMP_ACT_NOTIFY"}"#),
            "/syscalls/0/names/1: SCMP_ACT_NOTIFY cannot be used for the write syscall: it reports the listener",
        ),
    ] {
        assert_eq!(fault(&json), format!("/linux/seccomp{line}"));
    }
}

#[test]
fn flags_and_listener_are_the_kernels() {
    let flags = |json: &str| {
        let profile: Seccomp = serde_json::from_str(json).unwrap();
        compiled(&profile).flags
    };
    assert_eq!(flags(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#), 4);
    assert_eq!(flags(r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":[]}"#), 0);
    let some = r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_TSYNC"]}"#;
    assert_eq!(flags(some), 2);
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/agent","listenerMetadata":"m",
        "flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]}"#;
    let filter = compiled(&serde_json::from_str(json).unwrap());
    assert_eq!(filter.flags, 8 | 32);
    let listener = filter.listener.unwrap();
    assert_eq!((listener.path.as_str(), listener.metadata.as_str()), ("/run/agent", "m"));
}

#[test]
fn empty_profile_is_no_filter() {
    let profile: Seccomp =
        serde_json::from_str(r#"{"syscalls":null,"architectures":null}"#).unwrap();
    assert!(compile(&profile).unwrap().is_none());
}

#[test]
fn strings_are_borrowed() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_LOG"}]}"#;
    let profile: Seccomp = serde_json::from_str(json).unwrap();
    assert!(matches!(profile.default_action, Cow::Borrowed(_)));
    assert!(matches!(profile.syscalls[0].names[0].0, Cow::Borrowed(_)));
}

#[test]
fn operators_cover_the_enum() {
    for (name, op) in [
        ("SCMP_CMP_EQ", Op::Equal),
        ("SCMP_CMP_NE", Op::NotEqual),
        ("SCMP_CMP_GT", Op::Greater),
        ("SCMP_CMP_GE", Op::GreaterEqual),
        ("SCMP_CMP_LT", Op::Less),
        ("SCMP_CMP_LE", Op::LessEqual),
    ] {
        let read = action::Condition::read(&arg(0, name, 1, 0), String::new).unwrap();
        assert_eq!(read.op, op);
    }
}

/// The same rules to `seccompiler`, as far as it can say them: one matching
/// action, one architecture, numbers.
fn theirs(rules: &[(&'static str, Vec<Arg<'static>>)]) -> Vec<Instruction> {
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule, TargetArch,
    };
    let mut all = std::collections::BTreeMap::<i64, Vec<SeccompRule>>::new();
    for (name, args) in rules {
        let Some(nr) = syscalls::find(Arch::X86_64, name).and_then(|n| n.on(Arch::X86_64)) else {
            continue;
        };
        let conditions = args.iter().map(|arg| {
            let (op, value) = match arg.op.as_ref() {
                "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, arg.value),
                "SCMP_CMP_NE" => (SeccompCmpOp::Ne, arg.value),
                "SCMP_CMP_GT" => (SeccompCmpOp::Gt, arg.value),
                "SCMP_CMP_GE" => (SeccompCmpOp::Ge, arg.value),
                "SCMP_CMP_LT" => (SeccompCmpOp::Lt, arg.value),
                "SCMP_CMP_LE" => (SeccompCmpOp::Le, arg.value),
                _ => (SeccompCmpOp::MaskedEq(arg.value), arg.value_two & arg.value),
            };
            SeccompCondition::new(arg.index as u8, SeccompCmpArgLen::Qword, op, value).unwrap()
        });
        all.entry(i64::from(nr)).or_default().push(SeccompRule::new(conditions.collect()).unwrap());
    }
    let (miss, hit) = (SeccompAction::Allow, SeccompAction::Errno(13));
    let filter = SeccompFilter::new(all, miss, hit, TargetArch::x86_64).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    program.iter().map(|i| Instruction { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn conditional_rules_mean_what_seccompiler_makes_of_them(
        rules in proptest::collection::vec(
            (proptest::sample::select(&NAMES[..]), proptest::collection::vec(any_arg(), 1..3)),
            0..20,
        ),
        args in proptest::collection::vec(proptest::array::uniform6(any_word()), 6),
    ) {
        // Two conditions on one argument are two rules to runc, and to us.
        let distinct = |args: &[Arg]| args.len() < 2 || args[0].index != args[1].index;
        let rules: Vec<_> = rules.into_iter().filter(|(_, args)| distinct(args)).collect();
        let ours = rules.iter().map(|(name, args)| Syscall {
            errno_ret: Some(13),
            ..rule(&[*name], "SCMP_ACT_ERRNO", args.clone())
        });
        let mut profile = profile("SCMP_ACT_ALLOW", ours.collect());
        profile.architectures.clear();
        let (ours, theirs) = (compiled(&profile).program, theirs(&rules));
        for (arch, nr) in numbers(Arch::X86_64).into_iter().filter(|(_, nr)| *nr < 0x4000_0000) {
            for args in args.iter().filter(|_| arch == Arch::X86_64) {
                let call = Call { arch, nr, args: *args };
                prop_assert_eq!(run(&ours, call), run(&theirs, call), "{:?}", call);
            }
        }
    }
}
