//! The library's runner: a RUN's container by an OCI runtime's command line, without a build around it.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use dhow_image::build::cancel::Cancel;
use dhow_image::build::progress::Stream;
use dhow_image::build::run::{
    Container, End, HostNetworks, Limits, Mount, Mounted, Oci, Runner, sweep,
};
use dhow_image::layer::RootDir;
use e2e::{World, fixtures, program, until};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// A root that can be written to, in a mount namespace of this thread's own.
pub struct Bench {
    pub dir: PathBuf,
    pub id: String,
    runtime: PathBuf,
    root: RootDir,
    limits: Limits,
    pub cancel: Arc<Cancel>,
}

/// Where a RUN's changes are.
pub const UPPER: &str = "upper";

impl Bench {
    pub fn new(world: &World, runtime: PathBuf) -> Self {
        Self::at(world.path(""), world.id("run"), runtime)
    }

    fn at(dir: PathBuf, id: String, runtime: PathBuf) -> Self {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let slave = MsFlags::MS_REC | MsFlags::MS_SLAVE;
        mount(None::<&str>, "/", None::<&str>, slave, None::<&str>).unwrap();
        // crun wants no hybrid's v2 hierarchy; it also writes beneath the mount point.
        let unified = "/sys/fs/cgroup/unified";
        if nix::mount::umount(unified).is_ok() {
            mount(None::<&str>, unified, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        }
        for below in [UPPER, "work", "root"] {
            fs::create_dir_all(dir.join(below)).unwrap();
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            fixtures::busybox_root().display(),
            dir.join(UPPER).display(),
            dir.join("work").display()
        );
        let target = dir.join("root");
        mount(Some("o"), &target, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
            .unwrap();
        let root = RootDir::open(target).unwrap();
        let cancel = Arc::new(Cancel::new().unwrap());
        Self { dir, id, runtime, root, limits: Limits::default(), cancel }
    }

    fn home(&self) -> PathBuf {
        self.dir.join("run/build")
    }

    pub fn container(&self, script: &str) -> Container<'_> {
        Container {
            id: &self.id,
            root: &self.root,
            scratch: self.dir.join("scratch"),
            argv: ["/bin/sh", "-c", script].map(String::from).to_vec(),
            env: vec!["PATH=/bin:/sbin".into(), "LEAK".into()],
            cwd: "/".into(),
            user: String::new(),
            stdin: None,
            mounts: Vec::new(),
            network: "none".into(),
            insecure: false,
            hosts: &[],
            hostname: "buildkitsandbox".into(),
            limits: &self.limits,
            cancel: &self.cancel,
        }
    }

    pub fn run(&self, container: &Container<'_>) -> (dhow_image::Result<End>, String, String) {
        let runner = Oci::new(self.runtime.clone(), Vec::new(), self.home(), HostNetworks).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let end = runner.run(container, &mut |stream, bytes| {
            let to = if stream == Stream::Stdout { &mut out } else { &mut err };
            to.extend_from_slice(bytes);
        });
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let left: Vec<_> = fs::read_dir(self.home()).into_iter().flatten().flatten().collect();
        assert!(left.len() <= 1, "its lock alone is left: {left:?}");
        (end, text(out), text(err))
    }

    pub fn output(&self, container: &Container<'_>) -> String {
        let (end, out, err) = self.run(container);
        assert_eq!(end.unwrap(), End::Code(0), "{out}{err}");
        out
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.dir.join("root"), nix::mount::MntFlags::MNT_DETACH);
    }
}

fn runtimes() -> Vec<PathBuf> {
    let mut all = vec![program("dhow-runtime")];
    let peers = ["/usr/bin/crun", "/usr/sbin/runc"];
    all.extend(peers.iter().map(PathBuf::from).filter(|path| path.exists()));
    all
}

/// Does it in a thread, whose mounts go with it.
pub fn apart(does: impl FnOnce() + Send + 'static) {
    thread::spawn(does).join().unwrap();
}

#[test]
fn a_command_has_its_streams_its_end_and_leaves_no_mount_points() {
    for runtime in runtimes() {
        apart(move || {
            let world = World::new();
            let b = Bench::new(&world, runtime);
            let mut c = b.container("echo out; echo err >&2; cat; echo > /made; exit 3");
            c.stdin = Some(b"in\n".to_vec());
            c.cwd = "/a/b".into();
            let (end, out, err) = b.run(&c);
            assert_eq!(
                (end.unwrap(), out.as_str(), err.as_str()),
                (End::Code(3), "out\nin\n", "err\n")
            );
            let upper = b.dir.join(UPPER);
            assert!(upper.join("made").exists() && upper.join("a/b").is_dir());
            for stub in ["etc/hosts", "etc/resolv.conf", "dev/null"] {
                assert!(!upper.join(stub).exists(), "{stub} of {}", b.runtime.display());
            }
            let (end, ..) = b.run(&b.container("sh -c 'kill -9 $$'; exit $?"));
            assert_eq!(end.unwrap(), End::Code(137));
        });
    }
}

#[test]
fn who_it_is_and_what_it_sees() {
    for runtime in runtimes() {
        apart(move || {
            let world = World::new();
            let b = Bench::new(&world, runtime);
            let hosts = [("db".to_owned(), "10.9.8.7".to_owned())];
            let mut c = b.container(
                "id -u; id -g; env; hostname; cat /etc/hosts; echo x >> /etc/hosts; true",
            );
            (c.user, c.hosts) = ("12:34".into(), &hosts);
            let out = b.output(&c);
            assert!(out.starts_with("12\n34\n"), "{out}");
            for has in
                ["HOME=/", "buildkitsandbox\n", "10.9.8.7\tdb\n", "localhost buildkitsandbox\n"]
            {
                assert!(out.contains(has), "{has} in {out}");
            }
            // Nothing of our environment, which has a lot.
            assert!(
                !out.contains("LEAK") && !out.contains("CARGO") && !out.contains("DHOW"),
                "{out}"
            );
            let caps = b.output(
                &b.container("grep -E 'CapEff|CapInh|Seccomp:|NoNewPrivs' /proc/self/status"),
            );
            assert!(caps.contains("CapEff:\t00000000a80425fb"), "{caps}");
            assert!(
                caps.contains("CapInh:\t0000000000000000") && caps.contains("Seccomp:\t2"),
                "{caps}"
            );
            let mut c = b.container("grep -E 'CapEff|Seccomp:' /proc/self/status; echo > /proc/sys/kernel/ngroups_max; test -c /dev/fuse");
            c.insecure = true;
            let caps = b.output(&c);
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let all = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap();
            assert!(caps.contains(&format!("CapEff:{all}\n")), "{caps}");
            assert!(caps.contains("Seccomp:\t0"), "{caps}");
        });
    }
}

#[test]
fn mounts_are_there_and_no_part_of_the_root() {
    for runtime in runtimes() {
        apart(move || {
            let world = World::new();
            let b = Bench::new(&world, runtime);
            let dir = b.dir.join("source");
            fs::create_dir_all(dir.join("sub")).unwrap();
            fs::write(dir.join("sub/file"), "text").unwrap();
            let open = |path: PathBuf| {
                let flags = nix::fcntl::OFlag::O_PATH;
                let fd: OwnedFd =
                    nix::fcntl::open(&path, flags, nix::sys::stat::Mode::empty()).unwrap();
                Mounted::Bind(Arc::new(fd))
            };
            let bind = |target: &str, path: &str, readonly| Mount {
                target: target.into(),
                what: open(dir.join(path)),
                readonly,
            };
            let mut c = b.container(
                "cat /mnt/dir/file /mnt/file; echo no > /mnt/dir/file || echo kept; echo new > /rw/new; \
                 df -k /tmp/mem | tail -1",
            );
            c.mounts = vec![
                bind("/mnt/file", "sub/file", true),
                bind("/mnt/dir", "sub", true),
                bind("/rw", "", false),
                Mount { target: "/tmp/mem".into(), what: Mounted::Tmpfs(1 << 20), readonly: false },
            ];
            // Where it was opened is where it is, whatever is called so by now.
            fs::rename(dir.join("sub"), dir.join("moved")).unwrap();
            std::os::unix::fs::symlink("/etc", dir.join("sub")).unwrap();
            let out = b.output(&c);
            assert!(out.starts_with("texttextkept\n") && out.contains("1024"), "{out}");
            assert_eq!(fs::read_to_string(dir.join("new")).unwrap(), "new\n");
            let upper = b.dir.join(UPPER);
            for stub in ["mnt", "rw"] {
                assert!(!upper.join(stub).exists(), "{stub}");
            }
            assert!(!upper.join("tmp/mem").exists());
        });
    }
}

/// CVE-2024-23652: mount points are taken away where they were made, wherever a RUN's links lead.
#[test]
fn mount_points_are_removed_where_they_were_made() {
    apart(|| {
        let world = World::new();
        let b = Bench::new(&world, program("dhow-runtime"));
        b.output(&b.container("mkdir /keep /a; touch /keep/c"));
        let mut c = b.container("mv /a/b /a/z; ln -s ../keep /a/b");
        let what = Mounted::Tmpfs(0);
        c.mounts = vec![Mount { target: "/a/b/c/d".into(), what, readonly: false }];
        b.output(&c);
        let upper = b.dir.join(UPPER);
        assert!(upper.join("keep/c").exists() && upper.join("a/b").is_symlink());
        assert!(upper.join("a/z").is_dir(), "what the RUN itself has moved stays");
    });
}

#[test]
fn a_cancelled_one_leaves_nothing() {
    for runtime in runtimes() {
        apart(move || {
            let world = World::new();
            let b = Bench::new(&world, runtime);
            for wait in [0, 1, 5, 300] {
                let cancel = Arc::new(Cancel::new().unwrap());
                let teller = Arc::clone(&cancel);
                let mut c = b.container("trap '' TERM INT; echo up; sleep 1000");
                c.cancel = &cancel;
                let told = thread::spawn(move || {
                    thread::sleep(Duration::from_millis(wait));
                    teller.stop();
                    Instant::now()
                });
                let (end, ..) = b.run(&c);
                assert_eq!(end.unwrap(), End::Canceled);
                let took = told.join().unwrap().elapsed();
                assert!(took < Duration::from_secs(20), "{took:?}");
            }
        });
    }
}

#[test]
fn what_cannot_run_says_so() {
    apart(|| {
        let world = World::new();
        let mut b = Bench::new(&world, program("dhow-runtime"));
        let mut c = b.container("");
        c.argv = vec!["/nothing".into()];
        let why = b.run(&c).0.unwrap_err().to_string();
        assert!(why.starts_with("dhow-runtime: ") && why.contains("/nothing"), "{why}");
        let mut c = b.container("");
        c.user = "nobody-here".into();
        let why = b.run(&c).0.unwrap_err().to_string();
        assert!(why.contains("unable to find user nobody-here"), "{why}");
        b.runtime = "/no/runtime".into();
        let why = b.run(&b.container("")).0.unwrap_err().to_string();
        assert!(why.contains("/no/runtime") && why.contains("--runtime"), "{why}");
    });
}

#[test]
fn limits_hold() {
    apart(|| {
        let world = World::new();
        let mut b = Bench::new(&world, program("dhow-runtime"));
        b.limits = Limits {
            memory: 64 << 20,
            shm_size: 1 << 20,
            ulimits: vec![("nofile".into(), 100, 200)],
            ..Limits::default()
        };
        let out = b.output(&b.container(
            "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; \
             df -k /dev/shm | tail -1; ulimit -n; ulimit -Hn",
        ));
        assert!(
            out.contains("67108864") && out.contains("1024") && out.contains("100\n200\n"),
            "{out}"
        );
    });
}

#[test]
fn what_a_killed_build_left_is_swept() {
    for runtime in runtimes() {
        apart(move || {
            let world = World::new();
            let b = Bench::new(&world, runtime);
            let me = std::env::current_exe().unwrap();
            let mut killed = world
                .cmd(me)
                .args(["--exact", "build::runner::one_that_is_killed", "--ignored"])
                .env(DIR, &b.dir)
                .env(ID, &b.id)
                .env(RUNTIME, &b.runtime)
                .start();
            let up = b.dir.join("upper/up");
            until("it runs", || up.exists());
            killed.kill().unwrap();
            killed.wait().unwrap();
            let living = b.home().join(&b.id);
            assert!(living.exists());
            sweep(&b.home()).unwrap();
            assert_eq!(fs::read_dir(b.home()).unwrap().count(), 1);
        });
    }
}

const DIR: &str = "DHOW_TEST_DIR";
const ID: &str = "DHOW_TEST_ID";
const RUNTIME: &str = "DHOW_TEST_RUNTIME";

#[test]
#[ignore = "the other half of what_a_killed_build_left_is_swept"]
fn one_that_is_killed() {
    let var = |name| std::env::var(name).unwrap();
    let b = Bench::at(var(DIR).into(), var(ID), var(RUNTIME).into());
    let _ = b.run(&b.container("touch /up; sleep 1000"));
}

#[test]
fn a_true_costs_little() {
    apart(|| {
        let world = World::new();
        let b = Bench::new(&world, program("dhow-runtime"));
        let times = (0..20).map(|_| {
            let begun = Instant::now();
            b.output(&b.container("true"));
            begun.elapsed()
        });
        let best = times.min().unwrap();
        println!("best {best:?}");
        // Fifteen on a quiet machine, of a release; others may be at work.
        assert!(best < Duration::from_millis(500), "{best:?}");
    });
}
