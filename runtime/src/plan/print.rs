//! The plan in words: what `dhow-runtime plan` shows, and `--trace` times, is what init performs.

use std::ffi::CStr;

use super::{Phase, Pivot, Plan, Rest};
use crate::seccomp::Filter;
use crate::validate::capability;
use crate::validate::hook::Hook;
use crate::validate::linux::{KINDS, ns};
use crate::validate::mount::{Ids, Kind, Links, Mount, attr};

impl Plan {
    /// What init does in a phase, a line each.
    pub fn lines(&self, phase: Phase) -> Vec<String> {
        match phase {
            Phase::Namespaces => self.namespaces(),
            Phase::Session => self.keyring.iter().map(|k| format!("keyring {}", text(k))).collect(),
            Phase::Network => vec!["lo up".to_owned()],
            Phase::Root => vec![text(&self.rootfs)],
            Phase::Mounts => self.mounts.iter().map(mount).collect(),
            Phase::Devices => self.devices(),
            Phase::Cgroup if self.spaces.cgroup => vec!["new cgroup namespace".to_owned()],
            Phase::Hooks => hooks("createContainer", &self.create_container),
            Phase::Pivot => vec![
                match self.pivot {
                    Pivot::Pivot => "pivot_root",
                    Pivot::Move => "move over /",
                    Pivot::Chroot => "chroot",
                }
                .to_owned(),
            ],
            Phase::System => self.system(),
            Phase::Mask => self.masks(),
            Phase::Schedule => self.schedule.lines(),
            Phase::Seccomp => self.filter.as_ref().map(Filter::lines).unwrap_or_default(),
            Phase::Credentials => self.credentials(),
            Phase::Capabilities => self.capabilities(),
            Phase::Birth => self.pids(),
            Phase::Start => hooks("startContainer", &self.start_container),
            Phase::Exec => {
                let args = self.process.args.iter().map(|arg| format!("arg {}", text(arg)));
                args.chain(self.process.env.iter().map(|var| format!("env {}", text(var))))
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    fn namespaces(&self) -> Vec<String> {
        let words = |flags: u64| -> String {
            let kinds = KINDS.iter().filter(|kind| kind.flag & flags != 0);
            kinds.map(|kind| kind.word).collect::<Vec<_>>().join(" ")
        };
        let mut out = Vec::new();
        let user = if self.spaces.made_user { ns::USER } else { 0 };
        if self.spaces.clone | user != 0 {
            out.push(format!("new {}", words(self.spaces.clone | user)));
        }
        if self.spaces.time {
            out.push("new time".to_owned());
        }
        if !self.spaces.seen() {
            out.extend(self.pids());
        }
        let join = self.spaces.join.iter();
        out.extend(join.map(|(flag, path)| format!("join {} {}", words(*flag), text(path))));
        if self.spaces.relay {
            out.push("by a process in between".to_owned());
        }
        for (name, map) in [("uid_map", &self.uid_map), ("gid_map", &self.gid_map)] {
            let line = |m: &crate::validate::spec::IdMapping| {
                format!("{name} {} {} {}", m.container, m.host, m.size)
            };
            out.extend(map.iter().map(line));
        }
        let carried = self.net_devices.iter();
        out.extend(carried.map(|d| format!("network device {} as {}", d.name, d.inside)));
        out
    }

    fn pids(&self) -> Vec<String> {
        self.spaces.pid.iter().map(|path| format!("join pid {}", text(path))).collect()
    }

    fn devices(&self) -> Vec<String> {
        let how = if self.bind_devices { "bind" } else { "make" };
        let nodes = self.devices.iter().map(|d| {
            let (path, mode) = (text(&d.path), d.mode);
            format!("{how} /{path} {}:{} mode {mode:o} owner {}:{}", d.major, d.minor, d.uid, d.gid)
        });
        let links = self.links.iter().map(|(at, to)| format!("link /{} to {}", text(at), text(to)));
        nodes.chain(links).collect()
    }

    fn system(&self) -> Vec<String> {
        let names = [("hostname", &self.hostname), ("domainname", &self.domainname)];
        let names = names.into_iter().filter(|(_, value)| !value.is_empty());
        let names = names.map(|(what, value)| format!("{what} {value}"));
        let sysctls = self.sysctls.iter().map(|(path, value)| {
            format!("write {} to /proc/{}", String::from_utf8_lossy(value), text(path))
        });
        names.chain(sysctls).collect()
    }

    fn masks(&self) -> Vec<String> {
        let root = self.readonly.then(|| "read-only /".to_owned());
        let masked = self.masked_paths.iter().map(|p| format!("mask /{}", text(p)));
        let readonly = self.readonly_paths.iter().map(|p| format!("read-only /{}", text(p)));
        let late = self.late_readonly.iter().map(|p| format!("read-only /{}", text(p)));
        root.into_iter().chain(late).chain(masked).chain(readonly).collect()
    }

    fn credentials(&self) -> Vec<String> {
        let p = &self.process;
        let groups =
            if p.keep_groups { "as they are".to_owned() } else { format!("{:?}", p.groups) };
        let ids = format!("uid {} gid {} groups {groups} umask {:03o}", p.uid, p.gid, p.umask);
        let bounding = capabilities("bounding", p.capabilities.bounding);
        let limits = p.rlimits.iter().map(|(resource, soft, hard)| {
            format!("{} {soft} {hard}", crate::validate::process::rlimit_name(*resource))
        });
        let nnp = p.no_new_privileges.then(|| "no_new_privs".to_owned());
        let first = [format!("cwd {}", text(&p.cwd)), bounding];
        first.into_iter().chain(limits).chain([ids]).chain(nnp).collect()
    }

    fn capabilities(&self) -> Vec<String> {
        let caps = self.process.capabilities;
        let sets = [
            ("permitted", caps.permitted),
            ("effective", caps.effective),
            ("inheritable", caps.inheritable),
            ("ambient", caps.ambient),
        ];
        sets.into_iter().map(|(name, set)| capabilities(name, set)).collect()
    }
}

impl Rest {
    /// What the parent runs while init waits, a line each.
    pub fn before_root(&self) -> Vec<String> {
        let mut lines = hooks("prestart", &self.hooks.prestart);
        lines.extend(hooks("createRuntime", &self.hooks.create_runtime));
        lines
    }
}

fn capabilities(name: &str, set: u64) -> String {
    let held = capability::NAMES.iter().enumerate().filter(|(n, _)| set & 1 << n != 0);
    std::iter::once(name).chain(held.map(|(_, cap)| *cap)).collect::<Vec<_>>().join(" ")
}

/// Hooks of a kind, a line each.
pub fn hooks(kind: &str, list: &[Hook]) -> Vec<String> {
    list.iter().map(|hook| format!("{kind} {}", text(&hook.path))).collect()
}

fn mount(m: &Mount) -> String {
    let what = match &m.kind {
        Kind::Bind { source, recursive } => {
            let word = if *recursive { "rbind" } else { "bind" };
            format!("{word} {}", text(source))
        }
        Kind::New { fstype, options, .. } => {
            let option = |(key, value): &(_, Option<_>)| match value {
                Some(value) => format!(" {}={}", text(key), text(value)),
                None => format!(" {}", text(key)),
            };
            let options: String = options.iter().map(option).collect();
            format!("new {}{options}", text(fstype))
        }
        Kind::Remount { .. } => "remount".to_owned(),
        Kind::Cgroup => "cgroup".to_owned(),
    };
    let ids = match m.ids {
        Ids::Same => "",
        Ids::Mapped { recursive: false, .. } => " idmap",
        Ids::Mapped { recursive: true, .. } => " ridmap",
    };
    let links = match m.links {
        Links::Followed => "",
        Links::Themselves { source: true, target: true } => " src-nofollow dest-nofollow",
        Links::Themselves { source: true, .. } => " src-nofollow",
        Links::Themselves { .. } => " dest-nofollow",
        Links::Copied => " copy-symlink",
    };
    let (own, below) = (words(m.attributes.set, " "), words(m.recursive.set, " r"));
    format!("{what} on /{}{own}{below}{ids}{links}", text(&m.target))
}

/// MOUNT_ATTR_* as mount(8) calls them, each after `before`.
fn words(set: u64, before: &str) -> String {
    const NAMES: [(u64, &str); 8] = [
        (attr::RDONLY, "ro"),
        (attr::NOSUID, "nosuid"),
        (attr::NODEV, "nodev"),
        (attr::NOEXEC, "noexec"),
        (attr::NOATIME, "noatime"),
        (attr::STRICTATIME, "strictatime"),
        (attr::NODIRATIME, "nodiratime"),
        (attr::NOSYMFOLLOW, "nosymfollow"),
    ];
    let set = NAMES.into_iter().filter(|(bit, _)| set & bit != 0);
    set.flat_map(|(_, name)| [before, name]).collect()
}

fn text(c: impl AsRef<CStr>) -> String {
    c.as_ref().to_string_lossy().into_owned()
}
