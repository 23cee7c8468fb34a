//! `linux.intelRdt`: shares of cache and memory bandwidth, by the resctrl file system.
//!
//! [`Tree::plan`] judges what is asked for against the tree without touching it, [`Group::create`]
//! makes what is missing, and a [`Record`] of it goes into the state.
//!
//! SPEC: config-linux.md §IntelRdt. KERNEL: Documentation/filesystems/resctrl.rst.

mod stats;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{FsType, statfs};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::validate::rdt::Rdt;
pub use stats::Stats;

/// RDTGROUP_SUPER_MAGIC, linux/magic.h.
const MAGIC: FsType = FsType(0x0765_5821);

/// Where the kernel wants it mounted.
const PLACE: &str = "/sys/fs/resctrl";

/// A mounted resctrl.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
}

/// A container's group of it, as the state remembers it; empty paths for none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The group's directory.
    pub path: PathBuf,
    /// Whether it was made for this container alone, and goes with it.
    pub owned: bool,
    /// The container's monitoring group within it, or empty.
    pub monitor: PathBuf,
}

/// A group, planned.
#[derive(Debug)]
pub struct Group {
    record: Record,
    schemata: String,
    /// Whether the directory is there.
    exists: bool,
}

impl Tree {
    /// Finds it; without one there is nothing that a container could be given.
    pub fn find() -> Result<Self> {
        let mounted = statfs(PLACE).is_ok_and(|fs| fs.filesystem_type() == MAGIC);
        let mounts = || fs::read("/proc/self/mountinfo").unwrap_or_default();
        let mounts = || String::from_utf8_lossy(&mounts()).into_owned();
        let root = if mounted { Some(PLACE.into()) } else { mount_point(&mounts()) };
        let why = "intelRdt is specified in config, but Intel RDT is not enabled: \
                   resctrl isn't mounted here";
        root.map(|root| Self { root }).ok_or_else(|| Error::config("/linux/intelRdt", why))
    }

    fn has(&self, resource: &str) -> bool {
        self.root.join("info").join(resource).is_dir()
    }

    /// Judges what is asked for.
    pub fn plan(&self, id: &str, asked: &Rdt) -> Result<Group> {
        let bad = |field: &str, why: String| Error::config(format!("/linux/intelRdt/{field}"), why);
        for (schema, resource, name) in
            [(&asked.l3, "L3", "l3CacheSchema"), (&asked.bandwidth, "MB", "memBwSchema")]
        {
            if !schema.is_empty() && !self.has(resource) {
                let kind = if resource == "L3" { "CAT" } else { "MBA" };
                return Err(bad(name, format!("Intel RDT/{kind} is not enabled on this machine")));
            }
        }
        let path = match asked.clos.as_str() {
            "" => self.root.join(id),
            "/" => self.root.clone(),
            name => self.root.join(name),
        };
        let exists = path.is_dir();
        let lines = asked.lines();
        if !exists && !asked.clos.is_empty() && lines.is_empty() {
            let why = format!(
                "clos dir {} is not there (must be pre-created when schemata, l3CacheSchema \
                 and memBwSchema are empty)",
                path.display()
            );
            return Err(bad("closID", why));
        }
        if exists && !asked.clos.is_empty() {
            let there = fs::read_to_string(path.join("schemata")).unwrap_or_default();
            for (schema, name) in [(&asked.l3, "l3CacheSchema"), (&asked.bandwidth, "memBwSchema")]
            {
                if !agrees(schema, &there) {
                    let there = there.trim().replace('\n', " ");
                    let why = format!("{schema} doesn't match the closID's schemata: {there}");
                    return Err(bad(name, why));
                }
            }
        }
        let monitor =
            if asked.monitoring { path.join("mon_groups").join(id) } else { PathBuf::new() };
        let owned = asked.clos.is_empty() && !exists;
        Ok(Group { record: Record { path, owned, monitor }, schemata: lines, exists })
    }
}

/// Judges what `update` asks for; answers the lines to write.
pub fn lines(tree: Option<&Tree>, l3: &str, bandwidth: &str) -> Result<String> {
    let has = |resource| tree.is_some_and(|tree| tree.has(resource));
    if !l3.is_empty() && !has("L3") {
        return Err(Error::rule("Intel RDT/CAT: l3 cache schema is not enabled"));
    }
    if !bandwidth.is_empty() && !has("MB") {
        return Err(Error::rule("Intel RDT/MBA: memory bandwidth schema is not enabled"));
    }
    Ok(Rdt { l3: l3.into(), bandwidth: bandwidth.into(), ..Rdt::default() }.lines())
}

/// The first resctrl of a mountinfo text, proc_pid_mountinfo(5).
fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    let mut lines = mountinfo.lines().map(|line| line.split_once(" - ").unwrap_or((line, "")));
    let (line, _) = lines.find(|(_, rest)| rest.starts_with("resctrl "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

/// Whether every domain that a schema names has that value in a group's schemata.
fn agrees(schema: &str, schemata: &str) -> bool {
    let Some((resource, wanted)) = schema.split_once(':') else { return schema.is_empty() };
    let there = schemata.lines().find_map(|line| {
        let (name, values) = line.split_once(':')?;
        (name.trim() == resource.trim()).then_some(values)
    });
    // Cache ids may come in any order, and bit masks with leading zeros.
    let domains = |text: &'_ str| -> Vec<(String, String)> {
        let pairs = text.split(';').filter_map(|pair| pair.split_once('='));
        let bare = |text: &str| text.trim().trim_start_matches('0').to_ascii_lowercase();
        pairs.map(|(id, value)| (bare(id), bare(value))).collect()
    };
    let there = domains(there.unwrap_or_default());
    domains(wanted).iter().all(|domain| there.contains(domain))
}

impl Group {
    /// What the state is to remember.
    pub fn record(&self) -> Record {
        self.record.clone()
    }

    /// Makes the group and writes its shares; on failure what was made is gone.
    pub fn create(&self) -> Result<()> {
        if !self.exists {
            make(&self.record.path)?;
        }
        let monitor = &self.record.monitor;
        let monitored = if monitor.as_os_str().is_empty() { Ok(()) } else { make(monitor) };
        let written = monitored.and_then(|()| write_schemata(&self.record.path, &self.schemata));
        written.inspect_err(|_| self.undo())
    }

    /// Removes what [`Self::create`] made.
    pub fn undo(&self) {
        let _ = self.record.remove();
        if !self.exists && !self.record.owned {
            let _ = fs::remove_dir(&self.record.path);
        }
    }
}

impl Record {
    /// Whether the container has no group.
    pub fn is_empty(&self) -> bool {
        self.path.as_os_str().is_empty()
    }

    /// Puts a process, and what it will fork, into the group.
    pub fn enter(&self, pid: i32) -> Result<()> {
        for dir in [&self.path, &self.monitor].into_iter().filter(|d| !d.as_os_str().is_empty()) {
            write(&dir.join("tasks"), &pid.to_string())?;
        }
        Ok(())
    }

    /// The same for a process of exec: a group that is gone holds nobody.
    pub fn join(&self, pid: i32) -> Result<()> {
        if self.is_empty() || !self.path.is_dir() { Ok(()) } else { self.enter(pid) }
    }

    /// Writes other shares.
    pub fn update(&self, lines: &str) -> Result<()> {
        if self.is_empty() {
            let why = "updating a non-existent Intel RDT configuration is not supported";
            return Err(Error::rule(why));
        }
        write_schemata(&self.path, lines)
    }

    /// Removes what was made for the container alone.
    ///
    /// SPEC: config-linux.md §IntelRdt: never a directory that closID names.
    pub fn remove(&self) -> Result<()> {
        // A group goes with the monitoring groups in it.
        let dir = if self.owned { &self.path } else { &self.monitor };
        if dir.as_os_str().is_empty() {
            return Ok(());
        }
        match fs::remove_dir(dir) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("remove the resctrl group", dir.to_string_lossy(), &e))
            }
            _ => Ok(()),
        }
    }
}

fn make(dir: &Path) -> Result<()> {
    match fs::create_dir(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(failed("mkdir", dir, &e)),
        _ => Ok(()),
    }
}

fn write_schemata(group: &Path, lines: &str) -> Result<()> {
    if lines.is_empty() { Ok(()) } else { write(&group.join("schemata"), lines) }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|e| {
        let what = format!("intelrdt: unable to write {:?} to", text.trim());
        failed(&what, path, &e)
    })
}

/// resctrl says in a file of its own what it didn't like.
fn failed(call: &str, path: &Path, e: &io::Error) -> Error {
    let status = path
        .ancestors()
        .find_map(|dir| fs::read_to_string(dir.join("info/last_cmd_status")).ok())
        .unwrap_or_default();
    let subject = match status.trim() {
        "" | "ok" => path.to_string_lossy().into_owned(),
        said => format!("{} ({said})", path.display()),
    };
    Error::io(call, subject, e)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that looks like resctrl.
    struct Fake(PathBuf);

    impl Fake {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("resctrl-{name}-{}", std::process::id()));
            fs::create_dir_all(root.join("info/L3")).unwrap();
            fs::create_dir_all(root.join("info/MB")).unwrap();
            fs::write(root.join("schemata"), "L3:0=fff;1=fff\n").unwrap();
            Self(root)
        }

        fn group(&self, name: &str, schemata: &str) -> PathBuf {
            let dir = self.0.join(name);
            fs::create_dir_all(dir.join("mon_groups")).unwrap();
            fs::write(dir.join("schemata"), schemata).unwrap();
            dir
        }

        fn tree(&self) -> Tree {
            Tree { root: self.0.clone() }
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn asked(clos: &str, l3: &str) -> Rdt {
        Rdt { clos: clos.into(), l3: l3.into(), ..Rdt::default() }
    }

    #[test]
    fn without_a_clos_the_container_has_a_group_of_its_own_that_goes_with_it() {
        let fake = Fake::new("own");
        let wanted = Rdt {
            bandwidth: "MB:0=20".into(),
            schemata: vec!["L2:0=f".into()],
            ..asked("", "L3:0=f;1=f0")
        };
        let group = fake.tree().plan("c1", &wanted).unwrap();
        group.create().unwrap();
        let dir = fake.0.join("c1");
        let read = |file: &str| fs::read_to_string(dir.join(file)).unwrap();
        // SPEC: first l3CacheSchema, then memBwSchema, then schemata.
        assert_eq!(read("schemata"), "L3:0=f;1=f0\nMB:0=20\nL2:0=f\n");
        let record = group.record();
        record.enter(77).unwrap();
        assert_eq!(read("tasks"), "77");
        // In the real one such files are no obstacle.
        fs::remove_file(dir.join("tasks")).unwrap();
        fs::remove_file(dir.join("schemata")).unwrap();
        record.remove().unwrap();
        assert!(!dir.exists());
        record.remove().unwrap();
    }

    #[test]
    fn a_named_clos_stays_and_only_its_monitoring_group_goes() {
        let fake = Fake::new("clos");
        let dir = fake.group("gold", "L3:0=ff;1=0f\n");
        let group = fake.tree().plan("c1", &Rdt { monitoring: true, ..asked("gold", "") }).unwrap();
        group.create().unwrap();
        let record = group.record();
        record.enter(7).unwrap();
        let monitor = dir.join("mon_groups/c1");
        assert_eq!(fs::read_to_string(monitor.join("tasks")).unwrap(), "7");
        assert_eq!(fs::read_to_string(dir.join("schemata")).unwrap(), "L3:0=ff;1=0f\n");
        fs::remove_file(monitor.join("tasks")).unwrap();
        record.remove().unwrap();
        assert!(dir.is_dir() && !monitor.exists());
    }

    #[test]
    fn a_named_clos_must_be_there_or_be_described_and_what_is_there_must_match() {
        let fake = Fake::new("match");
        let tree = fake.tree();
        fake.group("gold", "    L3:0=ff;1=0f\n");
        let e = tree.plan("c", &asked("none", "")).unwrap_err().to_string();
        assert!(e.contains("/linux/intelRdt/closID"), "{e}");
        tree.plan("c", &asked("gold", "L3:1=f;0=FF")).unwrap();
        tree.plan("c", &asked("gold", "L3:1=f")).unwrap();
        let e = tree.plan("c", &asked("gold", "L3:0=f")).unwrap_err().to_string();
        assert!(e.contains("/linux/intelRdt/l3CacheSchema"), "{e}");
        let made = tree.plan("c", &asked("new", "L3:0=f")).unwrap();
        made.create().unwrap();
        assert!(fake.0.join("new").is_dir() && !made.record().owned);
        assert_eq!(tree.plan("c", &asked("/", "")).unwrap().record().path, fake.0);
    }

    #[test]
    fn what_the_machine_cannot_share_is_refused() {
        let fake = Fake::new("none");
        fs::remove_dir(fake.0.join("info/L3")).unwrap();
        let e = fake.tree().plan("c", &asked("", "L3:0=f")).unwrap_err().to_string();
        assert!(e.contains("CAT is not enabled"), "{e}");
        let tree = fake.tree();
        assert!(lines(Some(&tree), "L3:0=f", "").unwrap_err().to_string().contains("RDT/CAT"));
        assert_eq!(lines(Some(&tree), "", "MB:0=10").unwrap(), "MB:0=10\n");
        assert!(lines(None, "", "MB:0=10").unwrap_err().to_string().contains("RDT/MBA"));
        assert!(Record::default().update("MB:0=10\n").is_err());
    }

    #[test]
    fn a_failure_says_what_resctrl_said_and_leaves_nothing() {
        let fake = Fake::new("fail");
        fs::write(fake.0.join("info/last_cmd_status"), "no more closids\n").unwrap();
        let group = fake.tree().plan("c", &Rdt { monitoring: true, ..asked("", "L3:0=f") });
        // Without mon_groups no monitoring group can be made.
        let e = group.unwrap().create().unwrap_err().to_string();
        assert!(e.contains("no more closids"), "{e}");
        assert!(!fake.0.join("c").exists());
    }

    #[test]
    fn it_is_found_wherever_it_is_mounted() {
        let text =
            "22 1 0:20 / /sys rw - sysfs sysfs rw\n30 22 0:9 / /r rw,x - resctrl resctrl rw\n";
        assert_eq!(mount_point(text), Some("/r".into()));
        assert_eq!(mount_point("22 1 0:20 / /sys rw - sysfs sysfs rw\n"), None);
    }
}
