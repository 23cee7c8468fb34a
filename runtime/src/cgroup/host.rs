//! What this machine has: where its hierarchies are mounted, and where in
//! them we are.

use std::fs::File;

use crate::error::{Error, Result};
use crate::whole;

/// Where cgroups are expected, and the only place looked at on v2.
pub(super) const MOUNTPOINT: &str = "/sys/fs/cgroup";

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    pub mountpoint: String,
    /// Its v1 controllers, or `name=systemd`; none for the unified hierarchy.
    pub controllers: Vec<String>,
    /// Our own group, as a path below the mount point ("" at the top).
    pub own: String,
}

/// The hierarchies of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Host {
    /// cgroup v1, in the order of the mount table.
    pub v1: Vec<Hierarchy>,
    /// cgroup v2.
    pub unified: Option<Hierarchy>,
    /// Whether a hierarchy is mounted twice: others may lie on top of what the table tells first.
    doubled: bool,
    /// A v2 hierarchy that is mounted where v1 ones have their directories: where it isn't hidden,
    /// this machine has v2, whatever v1 hierarchies somebody has mounted elsewhere.
    above: Option<Hierarchy>,
}

impl Host {
    /// Looks around.
    pub(super) fn read() -> Result<Self> {
        // Mounts and groups of others may have names that are no text.
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let io = |path| move |e| Error::io("read", path, &e);
        let path = "/proc/self/cgroup";
        let own = whole::record(path).map(text).map_err(io(path))?;
        // The mount table of a busy machine is long: v2 needs none of it.
        let kind = || nix::sys::statfs::statfs(MOUNTPOINT).map(|stat| stat.filesystem_type());
        // Who is in v1 groups mostly has those beside it.
        let v1 = Own::parse(&own).v1.iter().any(|(name, _)| !name.starts_with("name="));
        if !v1 && kind() == Ok(nix::sys::statfs::CGROUP2_SUPER_MAGIC) {
            return Ok(Self { unified: Some(Own::parse(&own).at_the_top()), ..Self::default() });
        }
        let path = "/proc/self/mountinfo";
        let table = File::open(path).and_then(|file| {
            let mut bytes = Vec::new();
            // A record a mount: less than was asked for is not yet the end.
            whole::until(file, &mut bytes, |_| false).map(|()| bytes)
        });
        let host = Self::parse(&table.map(text).map_err(io(path))?, &own);
        Ok(host.without_hidden(|mountpoint| {
            let kind = nix::sys::statfs::statfs(mountpoint).map(|stat| stat.filesystem_type());
            kind == Ok(nix::sys::statfs::CGROUP2_SUPER_MAGIC)
        }))
    }

    /// Without a v2 hierarchy that something else is mounted over, or v1 ones that aren't this machine's;
    /// `is_there` looks.
    pub(super) fn without_hidden(mut self, is_there: impl Fn(&str) -> bool) -> Self {
        if let Some(above) = self.above.take().filter(|_| is_there(MOUNTPOINT)) {
            return Self { unified: Some(above), ..Self::default() };
        }
        if self.doubled {
            self.unified = self.unified.filter(|unified| is_there(&unified.mountpoint));
        }
        self
    }

    /// Reads `/proc/self/mountinfo` and `/proc/self/cgroup`.
    pub(super) fn parse(mountinfo: &str, cgroup: &str) -> Self {
        let own = Own::parse(cgroup);
        let mut host = Self::default();
        for mount in mountinfo.lines().filter_map(Mount::parse) {
            let within = |group: Option<&str>| below(group.unwrap_or("/"), &mount.root);
            if mount.kind == "cgroup2" {
                if mount.mountpoint == MOUNTPOINT {
                    host.above = Some(own.at_the_top());
                }
                // As runc: on a hybrid host only at the usual place.
                if host.unified.is_none() && mount.mountpoint.starts_with(MOUNTPOINT) {
                    let own = within(own.unified);
                    let mountpoint = mount.mountpoint;
                    host.unified = Some(Hierarchy { mountpoint, controllers: vec![], own });
                }
                continue;
            }
            let controllers: Vec<String> = mount
                .options
                .split(',')
                .filter(|option| own.knows(option))
                .map(str::to_owned)
                .collect();
            let seen = |h: &Hierarchy| h.controllers == controllers;
            // Other named hierarchies belong to who named them.
            let foreign = controllers.iter().any(|c| c.starts_with("name=") && c != "name=systemd");
            let again = host.v1.iter().any(seen);
            host.doubled |= again && !controllers.is_empty();
            if controllers.is_empty() || foreign || again {
                continue;
            }
            let own = within(own.of(&controllers[0]));
            host.v1.push(Hierarchy { mountpoint: mount.mountpoint, controllers, own });
        }
        host
    }

    /// Whether limits are v2's: there is no v1 controller.
    pub(super) fn is_unified(&self) -> bool {
        self.unified.is_some()
            && self.v1.iter().all(|h| h.controllers.iter().all(|c| c.starts_with("name=")))
    }
}

/// `/proc/self/cgroup`.
struct Own<'a> {
    unified: Option<&'a str>,
    v1: Vec<(&'a str, &'a str)>,
}

impl<'a> Own<'a> {
    fn parse(text: &'a str) -> Self {
        let mut own = Self { unified: None, v1: vec![] };
        for line in text.lines() {
            let mut fields = line.splitn(3, ':');
            match (fields.next(), fields.next(), fields.next()) {
                (Some("0"), Some(""), Some(path)) => own.unified = Some(path),
                (Some(_), Some(controllers), Some(path)) => {
                    own.v1.extend(controllers.split(',').map(|name| (name, path)));
                }
                _ => {}
            }
        }
        own
    }

    /// The v2 hierarchy at the usual place.
    fn at_the_top(&self) -> Hierarchy {
        let own = self.unified.unwrap_or("/").trim_end_matches('/').to_owned();
        Hierarchy { mountpoint: MOUNTPOINT.to_owned(), controllers: vec![], own }
    }

    fn of(&self, controller: &str) -> Option<&'a str> {
        self.v1.iter().find(|(name, _)| *name == controller).map(|(_, path)| *path)
    }

    fn knows(&self, controller: &str) -> bool {
        self.of(controller).is_some()
    }
}

struct Mount<'a> {
    root: String,
    mountpoint: String,
    kind: &'a str,
    /// The file system's own options.
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// A line of mountinfo; KERNEL: proc_pid_mountinfo(5). None for what is no
    /// cgroup mount.
    fn parse(line: &'a str) -> Option<Self> {
        let (head, tail) = line.split_once(" - ")?;
        let mut tail = tail.split(' ');
        let kind = tail.next().filter(|kind| matches!(*kind, "cgroup" | "cgroup2"))?;
        let options = tail.nth(1)?;
        let mut head = head.split(' ').skip(3);
        let root = unescape(head.next()?);
        let mountpoint = unescape(head.next()?);
        Some(Self { root, mountpoint, kind, options })
    }
}

/// Undoes mountinfo's octal escapes of space, tab, newline and backslash.
fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let octal = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    octal.iter().fold(text.to_owned(), |text, (code, letter)| text.replace(code, letter))
}

/// `group` as a path below a mount whose root is `root`.
///
/// In a container without a cgroup namespace, /proc/self/cgroup speaks of the
/// host's tree while the mount shows a part of it.
fn below(group: &str, root: &str) -> String {
    let rest = group.strip_prefix(root.trim_end_matches('/')).unwrap_or("");
    if rest.split('/').any(|part| part == "..") {
        return String::new();
    }
    rest.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /outer /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
42 31 0:39 / /sys/fs/cgroup/openrc rw,relatime - cgroup cgroup rw,name=openrc
50 31 0:29 / /srv/chroot/sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
";
    const OWN: &str = "\
9:name=systemd:/
8:name=openrc:/
4:memory:/outer/inner
1:cpu,cpuacct:/a
0::/u
";

    #[test]
    fn hybrid_host_is_read() {
        let host = Host::parse(HYBRID, OWN);
        let h = |mountpoint: &str, controllers: &[&str], own: &str| Hierarchy {
            mountpoint: format!("/sys/fs/cgroup/{mountpoint}"),
            controllers: controllers.iter().map(ToString::to_string).collect(),
            own: own.to_owned(),
        };
        assert_eq!(
            host.v1,
            [
                h("cpu,cpuacct", &["cpu", "cpuacct"], "/a"),
                h("memory", &["memory"], "/inner"),
                h("systemd", &["name=systemd"], ""),
            ]
        );
        assert_eq!(host.unified, Some(h("unified", &[], "/u")));
        assert!(!host.is_unified());
    }

    #[test]
    fn this_machine_is_read() {
        let host = Host::read().unwrap();
        assert!(host.unified.is_some() || !host.v1.is_empty());
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescape("/a\\040b\\134c"), "/a b\\c");
    }

    #[test]
    fn group_outside_the_mount_is_its_top() {
        assert_eq!(below("/a/b", "/a"), "/b");
        assert_eq!(below("/x", "/a"), "");
        assert_eq!(below("/../..", "/"), "");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(mounts in "(.{0,40} - cgroup2? .{0,20}\n){0,4}", own in "([0-9]:[a-z,]{0,8}:/.{0,9}\n){0,4}") {
            let _ = Host::parse(&mounts, &own);
        }
    }
}
