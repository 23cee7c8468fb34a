//! Any config.json: an error or a plan, never a panic.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::{Options, plan};
use crate::validate;

/// A config with something in every place that is read.
fn whole() -> Value {
    const TEXT: &str = r#"{
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "box", "domainname": "dock",
        "annotations": {"a": "b", "org.opencontainers.image.stopSignal": "TERM"},
        "process": {
            "terminal": true, "consoleSize": {"height": 24, "width": 80},
            "user": {"uid": 1, "gid": 2, "umask": 18, "additionalGids": [3, 4]},
            "args": ["sh", "-c", "true"], "env": ["PATH=/bin", "A=1"], "cwd": "/",
            "capabilities": {"bounding": "CAPS", "effective": "CAPS", "permitted": "CAPS",
                "inheritable": "CAPS", "ambient": "CAPS"},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}],
            "noNewPrivileges": true, "apparmorProfile": "", "selinuxLabel": "", "oomScoreAdj": 5,
            "scheduler": {"policy": "SCHED_OTHER", "nice": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
            "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
            "execCPUAffinity": {"initial": "0-1", "final": "0"}
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
            {"destination": "/b", "type": "bind", "source": "/etc", "options": ["rbind", "ro", "rprivate"],
                "uidMappings": "MAP", "gidMappings": "MAP"},
            {"destination": "/c", "type": "cgroup", "source": "cgroup", "options": ["ro"]}
        ],
        "hooks": {"prestart": "HOOK", "createRuntime": "HOOK", "createContainer": "HOOK",
            "startContainer": "HOOK", "poststart": "HOOK", "poststop": "HOOK"},
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "ipc"},
                {"type": "network", "path": "/proc/1/ns/net"}, {"type": "user"}, {"type": "time"}, {"type": "cgroup"}],
            "uidMappings": "MAP", "gidMappings": "MAP",
            "timeOffsets": {"monotonic": {"secs": 5, "nanosecs": 5}},
            "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229,
                "fileMode": 438, "uid": 0, "gid": 0}],
            "cgroupsPath": "/a/b",
            "resources": {
                "devices": [{"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"}],
                "memory": {"limit": 1, "reservation": 1, "swap": 2, "kernel": 1, "swappiness": 5, "checkBeforeUpdate": true},
                "cpu": {"shares": 5, "quota": 5, "burst": 1, "period": 5, "cpus": "0-1", "mems": "0", "idle": 0},
                "pids": {"limit": 5},
                "blockIO": {"weight": 10, "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
                    "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 10}]},
                "hugepageLimits": [{"pageSize": "2MB", "limit": 5}],
                "network": {"classID": 5, "priorities": [{"name": "lo", "priority": 5}]},
                "rdma": {"mlx": {"hcaHandles": 1, "hcaObjects": 2}},
                "unified": {"memory.high": "5"}
            },
            "rootfsPropagation": "slave", "mountLabel": "",
            "sysctl": {"net.ipv4.ip_forward": "1", "kernel.shmmax": "5"},
            "maskedPaths": ["/proc/keys"], "readonlyPaths": ["/proc/sys"],
            "intelRdt": {"closID": "a", "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=50"},
            "personality": {"domain": "LINUX"},
            "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
            "netDevices": {"eth7": {"name": "eth0"}},
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
                "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
                "flags": ["SECCOMP_FILTER_FLAG_LOG"],
                "listenerPath": "/run/agent", "listenerMetadata": "m",
                "syscalls": [{"names": ["open", "close"], "action": "SCMP_ACT_ALLOW"},
                    {"names": ["socket"], "action": "SCMP_ACT_NOTIFY",
                    "args": [{"index": 0, "value": 2, "valueTwo": 3, "op": "SCMP_CMP_EQ"}]}]
            }
        }
    }"#;
    let map = r#"[{"containerID": 0, "hostID": 1000, "size": 10}]"#;
    let hook = r#"[{"path": "/bin/true", "args": ["true"], "env": ["A=1"], "timeout": 5}]"#;
    let text = TEXT.replace("\"CAPS\"", r#"["CAP_KILL", "CAP_CHOWN"]"#);
    let text = text.replace("\"MAP\"", map).replace("\"HOOK\"", hook);
    serde_json::from_str(&text).unwrap()
}

/// Every place of a value, as pointers.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    let mut below = |key: &str, value: &Value| {
        let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        places(value, &at, all);
        all.push(at);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| below(key, value)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, value)| below(&n.to_string(), value));
        }
        _ => {}
    }
}

/// Texts that have been somebody's undoing, and any others.
fn any_text() -> impl Strategy<Value = String> {
    let known = [
        "",
        "/",
        "..",
        "../../x",
        "/a/../../b",
        "a\u{0}b",
        "\n",
        "%s%n",
        "-1",
        "0-",
        "9-1",
        "0-99999999999",
        "4294967296",
        "18446744073709551616",
        "é☃",
        "SCMP_ACT_NOTIFY",
        "RLIMIT_",
        "SCHED_DEADLINE",
        "private",
        "tmpfs",
        "idmap",
        "mode=99999999999",
        "size=9999999999999T",
        "PATH",
        "=",
        "/proc/self/fd/3",
        "//",
        "bind",
        "net",
        "mount",
    ];
    let known = proptest::sample::select(known.to_vec()).prop_map(str::to_owned);
    prop_oneof![3 => known, 2 => ".{0,30}", 1 => "[a-z=,:/]{0,5000}"]
}

fn any_value() -> impl Strategy<Value = Value> {
    let least = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        proptest::sample::select(&[-1, 0, 1, 63, 64, 65536, i64::MAX, i64::MIN][..])
            .prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    least.prop_recursive(3, 12, 4, |inner| {
        let field = (any_text(), inner.clone());
        prop_oneof![
            proptest::collection::vec(inner, 0..4).prop_map(Value::from),
            proptest::collection::vec(field, 0..4)
                .prop_map(|fields| Value::from(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// What happens to a place: another value, gone, twice, or many times.
fn change(config: &mut Value, place: &str, how: u8, value: Value) {
    let (parent, key) = place.rsplit_once('/').unwrap();
    let key = key.replace("~1", "/").replace("~0", "~");
    match (config.pointer_mut(parent), how) {
        (Some(Value::Object(fields)), 0) => drop(fields.remove(&key)),
        (Some(Value::Object(fields)), _) => drop(fields.insert(key, value)),
        (Some(Value::Array(items)), _) => {
            let Some(at) = key.parse().ok().filter(|at| *at < items.len()) else { return };
            match how {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                2 => items.extend(vec![items[at].clone(); 70]),
                _ => items[at] = value,
            }
        }
        _ => {}
    }
}

fn decide(text: &str) {
    let container = validate::parse(text).and_then(|spec| validate::container(spec, "/b"));
    if let Ok(container) = container
        && let Ok((plan, rest)) = plan("id", container, Options::default())
    {
        // What is printed of it mustn't panic, either.
        plan.phases.iter().for_each(|phase| drop(plan.lines(*phase)));
        drop(rest.before_root());
    }
}

#[test]
fn the_whole_config_is_sound() {
    let text = whole().to_string();
    let spec = validate::parse(&text).unwrap();
    // But for what needs another file, it is accepted: so each place is read to its end.
    let error = validate::container(spec, "/b").map(drop).err().map(|e| e.to_string());
    assert_eq!(error, None);
}

proptest! {
    #[test]
    fn a_config_changed_anywhere_makes_nothing_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..8, any_value()), 1..5),
    ) {
        let mut config = whole();
        for (place, how, value) in changes {
            let mut all = Vec::new();
            places(&config, "", &mut all);
            if !all.is_empty() {
                change(&mut config, &all[place.index(all.len())].clone(), how, value);
            }
        }
        decide(&config.to_string());
    }

    #[test]
    fn bytes_changed_anywhere_make_nothing_panic(
        at in any::<prop::sample::Index>(), length in 0usize..8, put in ".{0,6}",
    ) {
        let text = whole().to_string();
        let start = text.floor_char_boundary(at.index(text.len()));
        let end = text.ceil_char_boundary((start + length).min(text.len()));
        decide(&format!("{}{put}{}", &text[..start], &text[end..]));
    }
}
