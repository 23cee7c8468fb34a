//! A config.json of any shape: an error in one line or a container, never a panic, never half of one.
//!
//! Of a seed each, so that what fails can be had again. In short some dozens; by hand, `DHOW_LONG=1`:
//! 2,000.

use std::fs;

use e2e::bundle::Bundle;
use e2e::{World, needs};
use serde_json::{Value, json};

/// xorshift64*: the same numbers everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % most
    }

    fn value(&mut self) -> Value {
        let known = [
            json!(null),
            json!(true),
            json!(0),
            json!(-1),
            json!(65536),
            json!(4_294_967_296_u64),
            json!(u64::MAX),
            json!(1e300),
            json!([]),
            json!({}),
            json!([[[]]]),
            json!({"a": {"b": null}}),
            json!(""),
            json!(".."),
            json!("a/../b"),
            json!("/no/such"),
            json!("a\u{0}b"),
            json!("\n"),
            json!("x".repeat(5000)),
            json!("tmpfs"),
            json!("SCMP_ACT_KILL_PROCESS"),
            json!("mount"),
            json!([".."]),
            json!(["a\u{0}"]),
            json!("-1"),
            json!("0-99999"),
            json!("%s"),
        ];
        known[self.below(known.len())].clone()
    }
}

/// Places where a wrong value would be the host's: its root, its groups; the least has to stay.
const SPARED: [&str; 3] = ["/root/path", "/linux/cgroupsPath", "/root"];

fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(n, v)| (n.to_string(), v)).collect(),
        _ => Vec::new(),
    };
    for (key, value) in below {
        let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        places(value, &at, all);
        if !SPARED.contains(&at.as_str()) && at != "/linux" {
            all.push(at);
        }
    }
}

fn change(config: &mut Value, dice: &mut Dice) {
    let mut all = Vec::new();
    places(config, "", &mut all);
    let place = all[dice.below(all.len())].clone();
    let (parent, key) = place.rsplit_once('/').unwrap();
    let key = key.replace("~1", "/").replace("~0", "~");
    let (how, value) = (dice.below(4), dice.value());
    match config.pointer_mut(parent).unwrap() {
        Value::Object(fields) if how == 0 => drop(fields.remove(&key)),
        Value::Object(fields) => drop(fields.insert(key, value)),
        Value::Array(items) => {
            let at: usize = key.parse().unwrap();
            match how {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                _ => items[at] = value,
            }
        }
        _ => unreachable!("{place} has a parent"),
    }
}

fn rich(b: Bundle) -> Bundle {
    let errno = json!({"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
        "args": [{"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]});
    b.and(
        "/mounts",
        json!({"destination": "/t", "type": "tmpfs", "source": "t", "options": ["ro", "size=64k"]}),
    )
    .with(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [errno]}),
    )
    .with("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64}]))
    .with("/process/oomScoreAdj", 100.into())
    .with("/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": 5}))
    .with("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 4}))
    .with("/process/user", json!({"uid": 1, "gid": 1, "additionalGids": [5], "umask": 18}))
    .with("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}))
    .with("/linux/resources/memory", json!({"limit": 100_000_000}))
    .with("/linux/resources/pids", json!({"limit": 100}))
    .with(
        "/linux/devices",
        json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3,
            "fileMode": 438, "uid": 0, "gid": 0}]),
    )
    .with("/annotations", json!({"a": "b"}))
}

/// Below and beside the state, and the groups: what half a container would be.
fn left(w: &World, b: &Bundle) -> Vec<String> {
    let states = fs::read_dir(w.runtime_root()).into_iter().flatten().flatten();
    let mut left: Vec<String> = states.map(|e| e.path().display().to_string()).collect();
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let group = hierarchy.path().join(b.id());
        left.extend(group.exists().then(|| group.display().to_string()));
    }
    left
}

#[test]
fn no_shape_of_a_config_makes_half_a_container() {
    needs!(Root);
    let w = World::new();
    let b = rich(w.bundle("b", &["true"]));
    w.runtime(["run", "-b", b.path(), b.id()]).ok();
    let rounds = if std::env::var_os("DHOW_LONG").is_some() { 2000 } else { 60 };
    let (mut ran, mut refused) = (0, 0);
    for seed in 1..=rounds {
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        let mut config = b.config.clone();
        (0..=dice.below(3)).for_each(|_| change(&mut config, &mut dice));
        fs::write(b.dir().join("config.json"), config.to_string()).unwrap();
        // Mounts of its own: a config without a mount namespace leaves its mounts to the caller.
        let run = w.runtime_cmd(["run", "-b", b.path(), b.id()]).limit(30);
        let done = run.under(["unshare", "-m"]).run();
        let said = done.err();
        assert!(!said.contains("panicked"), "seed {seed}: {done}");
        if done.code == 0 {
            ran += 1;
        } else {
            refused += 1;
            // The program itself may be killed by its filter, or for its limits.
            let killed = done.code > 128 && said.is_empty();
            let errors = said.lines().filter(|line| line.contains("level=error")).count();
            assert!(killed || errors == 1, "seed {seed}: {done}");
            assert_ne!(done.code, 128 + nix::libc::SIGABRT, "seed {seed}: {done}");
        }
        assert_eq!(left(&w, &b), Vec::<String>::new(), "seed {seed}: {done}");
    }
    eprintln!("{ran} ran, {refused} refused, of {rounds}");
    assert!(ran > 0 && refused > 0);
}
