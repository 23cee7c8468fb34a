//! Requests against described machines, and against this one where we may.

use super::host::Host;
use super::*;

const SEPARATE: &str = "\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";
const OWN: &str = "9:name=systemd:/s\n4:memory:/m\n3:devices:/\n1:cpu,cpuacct:/c\n0::/u/v\n";

fn separate() -> Host {
    Host::parse(SEPARATE, OWN)
}

fn unified() -> Host {
    Host::parse("41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/u/v\n")
}

/// Something else was mounted over /sys/fs/cgroup, with v1 alone in it.
#[test]
fn bug_a_v2_hierarchy_that_lies_under_another_mount_was_used() {
    let over = SEPARATE.lines().take(4).fold(SEPARATE.to_owned(), |all, line| all + line + "\n");
    assert_eq!(Host::parse(&over, OWN).without_hidden(|_| false).unified, None);
    assert!(
        Host::parse(&over, OWN)
            .without_hidden(|at| at == "/sys/fs/cgroup/unified")
            .unified
            .is_some()
    );
    // Where nothing is twice, nothing is looked at.
    assert!(separate().without_hidden(|_| false).unified.is_some());
}

/// As a program does that mounts net_cls for itself.
#[test]
fn bug_one_v1_hierarchy_somewhere_made_a_v2_machine_one_of_v1() {
    let table = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
        50 31 0:40 / /opt/x/net_cls rw - cgroup net_cls rw,net_cls\n";
    let machine = || Host::parse(table, "1:net_cls:/\n0::/u/v\n");
    let seen = machine().without_hidden(|at| at == "/sys/fs/cgroup");
    assert!(seen.is_unified() && seen.v1.is_empty());
    assert_eq!(seen.unified.unwrap().own, "/u/v");
    assert!(!machine().without_hidden(|_| false).is_unified());
}

static NO_ANNOTATIONS: BTreeMap<String, String> = BTreeMap::new();
static NO_SYSTEMD: Addresses = Addresses { private: None, bus: None, user: true };

fn request<'a>(resources: &'a Resources<'a>, path: Option<&'a str>) -> Request<'a> {
    let rootless = !nix::unistd::geteuid().is_root();
    Request {
        id: "box",
        path,
        manager: Manager::Cgroupfs,
        systemd: &NO_SYSTEMD,
        annotations: &NO_ANNOTATIONS,
        rootless,
        owner: None,
        host_view: false,
        resources,
    }
}

fn dirs(host: &Host, path: Option<&str>) -> Vec<String> {
    let resources = Resources::default();
    let cgroup = prepare_on(host, &request(&resources, path)).unwrap();
    cgroup.places.iter().map(|p| p.dir.trim_start_matches("/sys/fs/cgroup").to_owned()).collect()
}

#[test]
fn absent_path_is_the_id_below_our_own_group() {
    assert_eq!(
        dirs(&separate(), None),
        [
            "/cpu,cpuacct/c/box",
            "/memory/m/box",
            "/devices/box",
            "/systemd/s/box",
            "/unified/u/v/box"
        ]
    );
    assert_eq!(dirs(&unified(), None), ["/u/box"]);
    assert_eq!(dirs(&unified(), Some("")), ["/u/box"]);
}

#[test]
fn path_is_absolute_relative_or_literal() {
    assert_eq!(dirs(&separate(), Some("/a//./b/"))[1], "/memory/a/b");
    assert_eq!(dirs(&separate(), Some("a/b"))[1], "/memory/m/a/b");
    assert_eq!(dirs(&unified(), Some("/a/b")), ["/a/b"]);
    assert_eq!(dirs(&separate(), Some("system.slice:dhow:x"))[1], "/memory/m/system.slice:dhow:x");
}

#[test]
fn path_out_of_the_tree_is_refused() {
    let resources = Resources::default();
    for path in ["/a/../../b", "..", "a/..", "/"] {
        let fault = prepare_on(&unified(), &request(&resources, Some(path))).unwrap_err();
        assert!(fault.to_string().contains("/linux/cgroupsPath"), "{fault}");
    }
}

#[test]
fn a_systemd_that_isnt_there_is_an_error_that_says_what_to_do() {
    let resources = Resources::default();
    let asked = Request { manager: Manager::Systemd, ..request(&resources, None) };
    let why = prepare(&asked).unwrap_err().to_string();
    assert!(why.contains("connect to the user's systemd") && why.contains("leave"), "{why}");
}

#[test]
fn a_scopes_groups_lie_in_its_slice_in_every_hierarchy() {
    let resources: Resources = serde_json::from_str(r#"{"pids":{"limit":1}}"#).unwrap();
    for (host, dir) in [(unified(), ""), (Host::parse(SEPARATE, OWN), "/memory")] {
        let resources = if dir.is_empty() { &resources } else { &Resources::default() };
        // As systemd gives a system's scope; only a user's manager is asked first.
        let path = Some("/machine.slice/libpod-1.scope");
        let cgroup = prepare_on(&host, &request(resources, path)).unwrap();
        let expected = format!("/sys/fs/cgroup{dir}/machine.slice/libpod-1.scope");
        assert!(cgroup.places.iter().any(|place| place.dir == expected), "{cgroup:?}");
    }
}

#[test]
fn a_record_with_a_scope_is_read_as_one_without() {
    let paths = BTreeMap::from([(String::new(), "/sys/fs/cgroup/x".to_owned())]);
    let unit = Unit { name: "a.scope".into(), private: None, bus: None, user: true };
    for unit in [None, Some(unit)] {
        let record = Record { paths: paths.clone(), unit };
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record, "{text}");
    }
    let plain = Record { paths, unit: None };
    assert_eq!(serde_json::to_string(&plain).unwrap(), r#"{"":"/sys/fs/cgroup/x"}"#);
}

#[test]
fn limit_of_a_controller_that_is_not_there_is_an_error_and_no_limit_is_not() {
    let resources: Resources = serde_json::from_str(r#"{"pids":{"limit":5}}"#).unwrap();
    let fault = prepare_on(&separate(), &request(&resources, None)).unwrap_err().to_string();
    assert!(fault.contains("/linux/resources/pids/limit: this host has no pids"), "{fault}");
    let resources: Resources = serde_json::from_str(r#"{"pids":{"limit":-1}}"#).unwrap();
    assert!(prepare_on(&separate(), &request(&resources, None)).is_ok());
}

#[test]
fn comounted_controllers_are_linked() {
    let resources = Resources::default();
    let cgroup = prepare_on(&separate(), &request(&resources, Some("/x"))).unwrap();
    let Mounts::Separate { mounts, links } = cgroup.mounts() else { panic!() };
    let both = "cpu,cpuacct".to_owned();
    assert_eq!(links, [("cpu".to_owned(), both.clone()), ("cpuacct".to_owned(), both.clone())]);
    assert_eq!((mounts[0].name.as_str(), mounts[0].data.as_str()), (both.as_str(), both.as_str()));
    assert_eq!(mounts[3].data, "name=systemd");
    assert_eq!((mounts[4].name.as_str(), mounts[4].kind), ("unified", "cgroup2"));
    let cgroup = prepare_on(&unified(), &request(&resources, Some("/x"))).unwrap();
    assert_eq!(cgroup.mounts(), Mounts::Unified { dir: "/sys/fs/cgroup/x".into() });
    let request = Request { host_view: true, ..request(&resources, Some("/x")) };
    let cgroup = prepare_on(&unified(), &request).unwrap();
    assert_eq!(cgroup.mounts(), Mounts::Unified { dir: "/sys/fs/cgroup".into() });
}

#[test]
fn record_survives_json() {
    let resources = Resources::default();
    let record = prepare_on(&separate(), &request(&resources, Some("/x"))).unwrap().record();
    let json = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record);
    assert_eq!(record.unified(), Some("/sys/fs/cgroup/unified/x"));
}

/// A group of this test's own on this machine, with a process to put into it.
struct Real {
    path: String,
    child: std::process::Child,
}

impl Real {
    /// None where groups can't be made: the end-to-end tests run as root, and
    /// in a guest as a user with a delegated group.
    fn new(name: &str) -> Option<Self> {
        let host = Host::read().unwrap();
        let mut base = String::new();
        if !nix::unistd::geteuid().is_root() {
            let unified = host.unified.filter(|_| host.v1.is_empty())?;
            unified.own.rsplit_once('/')?.0.clone_into(&mut base);
            let dir = format!("{}{base}", unified.mountpoint);
            nix::unistd::access(dir.as_str(), nix::unistd::AccessFlags::W_OK).ok()?;
        }
        let path = format!("{base}/dhow-unit-{}-{name}", std::process::id());
        let child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        Some(Self { path, child })
    }

    fn dirs(&self) -> Vec<String> {
        let host = Host::read().unwrap();
        host.v1
            .iter()
            .chain(&host.unified)
            .map(|h| format!("{}{}", h.mountpoint, self.path))
            .collect()
    }

    fn assert_gone(&self) {
        for dir in self.dirs() {
            assert!(!std::path::Path::new(&dir).exists(), "{dir} is left");
        }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for dir in self.dirs() {
            let _ = record::remove(&dir);
        }
    }
}

/// Moves a process that can't do it itself.
fn join(record: &Record, pid: i32) {
    record.paths.values().for_each(|dir| record::enter(dir, pid).unwrap());
}

#[test]
fn real_group_is_made_limited_joined_paused_killed_and_removed() {
    let Some(mut real) = Real::new("life") else { return };
    let resources: Resources = serde_json::from_str(
        r#"{"devices":[{"allow":false,"access":"rwm"}],"memory":{"limit":67108864},
            "cpu":{"shares":512,"quota":50000,"period":100000},"pids":{"limit":9}}"#,
    )
    .unwrap();
    let path = format!("{}/box", real.path);
    let mut cgroup = prepare(&request(&resources, Some(&path))).unwrap();
    cgroup.create().unwrap();
    let record = cgroup.record();
    let pid = real.child.id() as i32;
    join(&record, pid);
    assert_eq!(record.pids().unwrap(), [pid]);
    let membership = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(membership.lines().all(|line| line.ends_with(&path)), "{membership}");
    let holds = |file: &str, value: &str| {
        record.paths.values().any(|dir| files::read(dir, file).as_deref() == Ok(value))
    };
    assert!(holds("pids.max", "9"));
    assert!(holds("memory.limit_in_bytes", "67108864") || holds("memory.max", "67108864"));
    assert!(holds("cpu.cfs_quota_us", "50000") || holds("cpu.max", "50000 100000"));

    record.freeze().unwrap();
    assert!(record.is_frozen().unwrap());
    record.thaw().unwrap();
    assert!(!record.is_frozen().unwrap());

    let busy = prepare(&request(&resources, Some(&path))).unwrap().create().unwrap_err();
    assert!(
        busy.to_string().contains("container's cgroup is not empty: 1 process(es) found in "),
        "{busy}"
    );

    record.kill(libc::SIGKILL).unwrap();
    real.child.wait().unwrap();
    record.delete().unwrap();
    for dir in real.dirs() {
        record::remove(&dir).unwrap();
    }
    real.assert_gone();
}

#[test]
fn real_group_with_a_bad_limit_leaves_nothing() {
    let Some(real) = Real::new("bad") else { return };
    let resources: Resources = serde_json::from_str(r#"{"pids":{"limit":4194305}}"#).unwrap();
    let path = format!("{}/a/b", real.path);
    let fault = prepare(&request(&resources, Some(&path))).unwrap().create().unwrap_err();
    let line = fault.to_string();
    assert!(line.contains("/linux/resources/pids/limit: write 4194305 to "), "{line}");
    assert!(line.contains("pids.max: EINVAL"), "{line}");
    real.assert_gone();
}

#[test]
fn real_group_is_removed_with_the_groups_below_it_when_their_processes_end() {
    let Some(mut real) = Real::new("deep") else { return };
    let resources = Resources::default();
    let path = real.path.clone();
    let mut cgroup = prepare(&request(&resources, Some(&path))).unwrap();
    cgroup.create().unwrap();
    let record = cgroup.record();
    let own = record.freezer().unwrap().0.to_owned();
    let below: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"no text: \xff");
    let below = std::path::Path::new(&own).join(below);
    std::fs::create_dir(&below).unwrap();
    let pid = real.child.id() as i32;
    join(&record, pid);
    std::fs::write(below.join("cgroup.procs"), pid.to_string()).unwrap();
    assert_eq!(record.pids().unwrap(), [pid]);
    record.kill(libc::SIGKILL).unwrap();
    // Not reaped: removal must wait for the end, and only for that.
    record.delete().unwrap();
    real.child.wait().unwrap();
    real.assert_gone();
}

#[test]
fn real_device_program_is_accepted_by_the_kernel() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let Some(real) = Real::new("bpf") else { return };
    let Some(unified) = Host::read().unwrap().unified else { return };
    let dir = format!("{}{}", unified.mountpoint, real.path);
    std::fs::create_dir(&dir).unwrap();
    let rules: Vec<Device> = serde_json::from_str(
        r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":4,"access":"rw"}]"#,
    )
    .unwrap();
    let place = Place {
        dir,
        mountpoint: unified.mountpoint,
        controllers: vec![],
        limits: vec![],
        devices: Some(Policy::new(&rules).unwrap()),
        lenient: false,
        owner: None,
        limited: true,
        shared: false,
    };
    place.restrict(true).unwrap();
    record::enter(&place.dir, real.child.id() as i32).unwrap();

    // In a group that was there, the new program takes the old one's place.
    place.restrict(false).unwrap();
    let group = place.open().unwrap();
    let programs = dhow_kernel::bpf::device_programs(std::os::fd::AsFd::as_fd(&group)).unwrap();
    assert_eq!(programs.len(), 1);
}
