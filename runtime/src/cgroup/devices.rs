//! The device rules: what they come to, as cgroup v1 lines and as a cgroup v2
//! program.

use dhow_kernel::bpf::{ACCESS_MKNOD, ACCESS_READ, ACCESS_WRITE, DEVICE_BLOCK, DEVICE_CHAR, Insn};

use super::resources::Device;
use crate::error::{Error, Result};

/// "All" in a major or minor number.
pub(super) const ALL: i64 = -1;

/// Which devices of a kind: (major, minor, is a block device), with [`ALL`].
type Which = (i64, i64, bool);

/// Access to devices: a default and its exceptions.
///
/// This is how the kernel's v1 controller thinks, and what v2's program is
/// generated from, so that both mean the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Policy {
    allow: bool,
    /// Accesses that are not the default's.
    exceptions: Exceptions,
}

/// In the order asked for, each of another device.
///
/// SPEC: config-linux.md §Allowed Device list: entries apply in the listed order; on v1
/// devices.list shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Exceptions(Vec<(Which, u8)>);

impl Exceptions {
    fn of(&self, which: Which) -> u8 {
        self.0.iter().find(|(known, _)| *known == which).map_or(0, |(_, access)| *access)
    }

    fn add(&mut self, which: Which, access: u8) {
        match self.0.iter_mut().find(|(known, _)| *known == which) {
            Some((_, held)) => *held |= access,
            None => self.0.push((which, access)),
        }
    }

    fn take(&mut self, which: Which, access: u8) {
        self.0.retain_mut(|(known, held)| {
            if *known == which {
                *held &= !access;
            }
            *held != 0
        });
    }
}

const READ: u8 = 1;
const WRITE: u8 = 2;
const MKNOD: u8 = 4;

/// What every container may use.
///
/// SPEC: config-linux.md §Default Devices. As runc, mknod of any device (its
/// use is another matter), the ptys, and /dev/net/tun, which orchestrators
/// have no way to ask for.
const DEFAULTS: [(Which, u8); 11] = [
    ((ALL, ALL, false), MKNOD),
    ((ALL, ALL, true), MKNOD),
    ((1, 3, false), READ | WRITE | MKNOD),
    ((1, 8, false), READ | WRITE | MKNOD),
    ((1, 7, false), READ | WRITE | MKNOD),
    ((5, 0, false), READ | WRITE | MKNOD),
    ((1, 5, false), READ | WRITE | MKNOD),
    ((1, 9, false), READ | WRITE | MKNOD),
    ((136, ALL, false), READ | WRITE | MKNOD),
    ((5, 2, false), READ | WRITE | MKNOD),
    ((10, 200, false), READ | WRITE | MKNOD),
];

impl Policy {
    /// The rules of the config in order, then the runtime's own.
    pub(super) fn new(rules: &[Device]) -> Result<Self> {
        let mut policy = Self::default();
        for (at, rule) in rules.iter().enumerate() {
            policy.apply(rule).map_err(|(field, why)| {
                Error::config(format!("/linux/resources/devices/{at}{field}"), why)
            })?;
        }
        for (which, access) in DEFAULTS {
            // A default that would punch a hole asks for what is allowed anyway.
            if policy.allow {
                policy.exceptions.take(which, access);
            } else {
                policy.exceptions.add(which, access);
            }
        }
        Ok(policy)
    }

    fn apply(&mut self, rule: &Device) -> std::result::Result<(), (&'static str, String)> {
        let access = access(&rule.access)?;
        let block = match rule.kind.as_ref() {
            // SPEC: `a` is all devices and all access: a new start.
            "" | "a" => {
                *self = Self { allow: rule.allow, exceptions: Exceptions::default() };
                return Ok(());
            }
            "b" => true,
            "c" | "u" => false,
            other => return Err(("/type", format!("{other:?} is no device type (a, b or c)"))),
        };
        let number = |given: Option<i64>, field: &'static str| match given {
            None | Some(ALL) => Ok(ALL),
            Some(n) if (0..=i64::from(u32::MAX)).contains(&n) => Ok(n),
            Some(n) => Err((field, format!("{n} is no device number"))),
        };
        let which = (number(rule.major, "/major")?, number(rule.minor, "/minor")?, block);
        if rule.allow == self.allow {
            return self.remove(which, access).map_err(|why| ("", why));
        }
        self.exceptions.add(which, access);
        Ok(())
    }

    /// Takes an exception back.
    ///
    /// KERNEL: cgroup v1 ignores the removal of a part of a wider exception;
    /// as runc, that is an error rather than a false sense of security.
    fn remove(&mut self, which: Which, access: u8) -> std::result::Result<(), String> {
        let (major, minor, block) = which;
        for wider in [(ALL, minor, block), (major, ALL, block), (ALL, ALL, block)] {
            let held = self.exceptions.of(wider);
            if wider != which && held & access != 0 {
                let line = line(wider, held);
                return Err(format!("can't make an exception from the wider rule \"{line}\""));
            }
        }
        self.exceptions.take(which, access);
        Ok(())
    }

    /// What is allowed, and nothing else; None where what isn't said is allowed.
    pub(super) fn allowed(&self) -> Option<impl Iterator<Item = ((i64, i64, bool), String)>> {
        let one = |(which, access): &(Which, u8)| (*which, letters(*access));
        (!self.allow).then(|| self.exceptions.0.iter().map(one))
    }

    /// cgroup v1: the files to write to and their lines, in order.
    pub(super) fn lines(&self) -> (&'static str, Vec<String>, &'static str) {
        let lines = self.exceptions.0.iter().map(|(which, access)| line(*which, *access)).collect();
        if self.allow {
            ("devices.allow", lines, "devices.deny")
        } else {
            ("devices.deny", lines, "devices.allow")
        }
    }

    /// cgroup v2: a program that answers 1 for access and 0 for none.
    pub(super) fn program(&self) -> Vec<Insn> {
        // KERNEL: linux/bpf.h struct bpf_cgroup_dev_ctx; r1 points to it.
        let mut code = vec![
            Insn::load_word(2, 1, 0),
            Insn::and(2, 0xffff),
            Insn::load_word(3, 1, 0),
            Insn::shift_right(3, 16),
            Insn::load_word(4, 1, 4),
            Insn::load_word(5, 1, 8),
        ];
        for ((major, minor, block), access) in &self.exceptions.0 {
            let accesses = [(READ, ACCESS_READ), (WRITE, ACCESS_WRITE), (MKNOD, ACCESS_MKNOD)];
            let bits = accesses.iter().filter(|(bit, _)| access & bit != 0);
            let bits: i32 = bits.map(|(_, kernels)| kernels).sum();
            // Denial needs one of the accesses, permission needs no other.
            let mut tests = vec![];
            if !self.allow && *access != READ | WRITE | MKNOD {
                tests.extend([Insn::copy(1, 3), Insn::and(1, !bits)]);
                tests.push(Insn::skip_unless(1, 0, 0));
            } else if self.allow {
                tests.extend([Insn::copy(1, 3), Insn::and(1, bits)]);
                tests.push(Insn::skip_if(1, 0, 0));
            }
            if *major != ALL {
                tests.push(Insn::skip_unless(4, *major as u32 as i32, 0));
            }
            if *minor != ALL {
                tests.push(Insn::skip_unless(5, *minor as u32 as i32, 0));
            }
            let kind = if *block { DEVICE_BLOCK } else { DEVICE_CHAR };
            tests.insert(0, Insn::skip_unless(2, kind, 0));
            tests.extend([Insn::set(0, i32::from(!self.allow)), Insn::exit()]);
            let len = tests.len();
            for (at, insn) in tests.iter_mut().enumerate() {
                insn.aim((len - 1 - at) as i16);
            }
            code.append(&mut tests);
        }
        code.extend([Insn::set(0, i32::from(self.allow)), Insn::exit()]);
        code
    }
}

fn access(text: &str) -> std::result::Result<u8, (&'static str, String)> {
    if text.is_empty() {
        return Err(("/access", "must be some of r, w and m".to_owned()));
    }
    text.chars().try_fold(0, |bits, letter| match letter {
        'r' => Ok(bits | READ),
        'w' => Ok(bits | WRITE),
        'm' => Ok(bits | MKNOD),
        // DIFFERS: runc passes over what isn't r, w or m; "all" is said so in the type.
        'a' => Ok(READ | WRITE | MKNOD),
        other => Err(("/access", format!("{other:?} is no device access (r, w or m)"))),
    })
}

fn line((major, minor, block): Which, access: u8) -> String {
    let number = |n: i64| if n == ALL { "*".to_owned() } else { n.to_string() };
    let kind = if block { 'b' } else { 'c' };
    format!("{kind} {}:{} {}", number(major), number(minor), letters(access))
}

fn letters(access: u8) -> String {
    let all = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
    all.iter().filter(|(bit, _)| access & bit != 0).map(|(_, letter)| letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(json: &str) -> Result<Policy> {
        let rules: Vec<Device> = serde_json::from_str(json).unwrap();
        Policy::new(&rules)
    }

    /// Runs a program as the kernel would, for one access.
    fn run(code: &[Insn], kind: i32, access: i32, major: u32, minor: u32) -> bool {
        let word = |at| [(kind | access << 16) as u32, major, minor][at as usize / 4];
        let mut r = [0_u32; 6];
        let mut pc = 0_usize;
        loop {
            let i = code[pc];
            pc += 1;
            let d = i.destination();
            match i.code {
                0x61 => r[d] = word(i.off),
                0x54 => r[d] &= i.imm as u32,
                0x74 => r[d] >>= i.imm,
                0xbc => r[d] = r[i.source()],
                0xb4 => r[d] = i.imm as u32,
                0x56 if r[d] != i.imm as u32 => pc += i.off as usize,
                0x16 if r[d] == i.imm as u32 => pc += i.off as usize,
                0x56 | 0x16 => {}
                0x95 => return r[0] != 0,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    /// The v1 controller's reading of a policy.
    fn allowed(policy: &Policy, block: bool, access: u8, major: i64, minor: i64) -> bool {
        let hits = |which: &Which| {
            which.2 == block
                && (which.0 == ALL || which.0 == major)
                && (which.1 == ALL || which.1 == minor)
        };
        let mut held = policy.exceptions.0.iter().filter(|(which, _)| hits(which));
        if policy.allow {
            !held.any(|(_, denied)| denied & access != 0)
        } else {
            held.any(|(_, granted)| granted & access == access)
        }
    }

    fn any_rule() -> impl Strategy<Value = Device<'static>> {
        let number = || proptest::sample::select(vec![None, Some(1), Some(3), Some(8)]);
        let kind = proptest::sample::select(vec!["a", "b", "c", "c", "b", "c"]);
        let access = proptest::sample::select(vec!["r", "w", "m", "rw", "rwm", "rm"]);
        (any::<bool>(), kind, number(), number(), access).prop_map(
            |(allow, kind, major, minor, access)| Device {
                allow,
                kind: kind.into(),
                major,
                minor,
                access: access.into(),
            },
        )
    }

    proptest! {
        #[test]
        fn program_means_what_the_policy_says(
            rules in proptest::collection::vec(any_rule(), 0..8),
        ) {
            let Ok(policy) = Policy::new(&rules) else { return Ok(()) };
            let code = policy.program();
            for block in [false, true] {
                for access in 1..8_u8 {
                    for (major, minor) in [(1, 3), (1, 8), (3, 1), (8, 8), (136, 4), (77, 77)] {
                        let kind = if block { DEVICE_BLOCK } else { DEVICE_CHAR };
                        let mut bits = 0;
                        for (bit, kernels) in
                            [(READ, ACCESS_READ), (WRITE, ACCESS_WRITE), (MKNOD, ACCESS_MKNOD)]
                        {
                            bits |= if access & bit == 0 { 0 } else { kernels };
                        }
                        let ran = run(&code, kind, bits, major as u32, minor as u32);
                        prop_assert_eq!(ran, allowed(&policy, block, access, major, minor));
                    }
                }
            }
        }
    }

    #[test]
    fn defaults_are_allowed_after_deny_all() {
        let policy = policy(r#"[{"allow":false,"access":"rwm"}]"#).unwrap();
        let (first, lines, then) = policy.lines();
        assert_eq!((first, then), ("devices.deny", "devices.allow"));
        assert_eq!(
            lines,
            [
                "c *:* m",
                "b *:* m",
                "c 1:3 rwm",
                "c 1:8 rwm",
                "c 1:7 rwm",
                "c 5:0 rwm",
                "c 1:5 rwm",
                "c 1:9 rwm",
                "c 136:* rwm",
                "c 5:2 rwm",
                "c 10:200 rwm",
            ]
        );
    }

    #[test]
    fn rules_come_in_their_order_before_the_defaults() {
        let policy = policy(
            r#"[{"allow":false,"access":"rwm"},
                {"allow":true,"type":"c","major":10,"minor":229,"access":"rwm"},
                {"allow":true,"type":"b","major":8,"minor":20,"access":"rw"}]"#,
        );
        let (_, lines, _) = policy.unwrap().lines();
        assert_eq!(lines[..3], ["c 10:229 rwm", "b 8:20 rw", "c *:* m"]);
    }

    #[test]
    fn privileged_container_has_no_exceptions() {
        let policy = policy(r#"[{"allow":true,"access":"rwm"}]"#).unwrap();
        assert_eq!(policy.lines(), ("devices.allow", vec![], "devices.deny"));
        assert!(run(&policy.program(), DEVICE_BLOCK, ACCESS_WRITE, 8, 0));
    }

    #[test]
    fn faults_name_their_rule() {
        for (json, line) in [
            (r#"[{"allow":true,"type":"x","access":"r"}]"#, "/0/type: \"x\" is no device type"),
            (r#"[{"allow":true,"type":"c"}]"#, "/0/access: must be some of r, w and m"),
            (r#"[{"allow":true,"type":"c","access":"rx"}]"#, "/0/access: 'x' is no device access"),
            (r#"[{"allow":true,"type":"c","major":-2,"access":"r"}]"#, "/0/major: -2 is no"),
            (
                r#"[{"allow":true,"type":"c","major":1,"access":"rw"},
                    {"allow":false,"type":"c","major":1,"minor":3,"access":"r"}]"#,
                "/1: can't make an exception from the wider rule \"c 1:* rw\"",
            ),
        ] {
            let fault = policy(json).unwrap_err().to_string();
            assert!(fault.contains(&format!("/linux/resources/devices{line}")), "{fault}");
        }
    }
}
