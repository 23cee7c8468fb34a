//! What `RUN --mount` gives, without a build around it.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::slice::from_ref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use dhow_image::build::copy::{Files, Owners};
use dhow_image::build::dockerfile::{MountKind, RunMount, Sharing};
use dhow_image::build::ignore::Ignore;
use dhow_image::build::mounts::{Mounter, Settled};
use dhow_image::build::{Agent, Secret, SecretFrom};
use dhow_image::layer::RootDir;
use e2e::{World, program};

use super::runner::{Bench, UPPER, apart};

/// A container's bench with a context beside it.
struct Yard {
    bench: Bench,
    secrets: Vec<Secret>,
    agents: Vec<Agent>,
    ignore: Ignore,
}

impl Yard {
    fn new(world: &World) -> Self {
        let bench = Bench::new(world, program("dhow-runtime"));
        fs::create_dir_all(bench.dir.join("context")).unwrap();
        Self { bench, secrets: Vec::new(), agents: Vec::new(), ignore: Ignore::default() }
    }

    fn context(&self, path: &str) -> PathBuf {
        self.bench.dir.join("context").join(path)
    }

    fn settle(&self, mounts: &[RunMount]) -> dhow_image::Result<Settled> {
        let scratch = self.bench.dir.join("scratch");
        let _ = fs::remove_dir_all(&scratch);
        let root = RootDir::open(self.bench.dir.join("context")).unwrap();
        let mounter = Mounter {
            root: &self.bench.dir.join("store"),
            secrets: &self.secrets,
            agents: &self.agents,
            scratch: &scratch,
            cwd: "/work",
            env: &[],
            cancel: &self.bench.cancel,
        };
        mounter.settle(mounts, &|_, then| {
            let ignore = Some(&self.ignore).filter(|ignore| !ignore.is_empty());
            let title = "the build context";
            then(&Files {
                root: &root,
                ignore,
                memory: None,
                owners: Owners::Kept,
                title,
                cancel: None,
            })
        })
    }

    fn run(&self, mounts: &[RunMount], script: &str) -> String {
        let settled = self.settle(mounts).unwrap();
        let mut container = self.bench.container(script);
        container.mounts.clone_from(&settled.mounts);
        container.env.extend(settled.env.iter().cloned());
        self.bench.output(&container)
    }

    fn refused(&self, mount: RunMount) -> String {
        self.settle(&[mount]).unwrap_err().to_string()
    }
}

fn mount(kind: MountKind, target: &str) -> RunMount {
    let target = (!target.is_empty()).then(|| target.to_owned());
    RunMount { kind, target, ..RunMount::default() }
}

fn bind(source: &str, target: &str, writable: bool) -> RunMount {
    RunMount { source: Some(source.into()), writable, ..mount(MountKind::Bind, target) }
}

fn cache(id: &str, target: &str) -> RunMount {
    RunMount { id: Some(id.into()), writable: true, ..mount(MountKind::Cache, target) }
}

#[test]
fn what_is_written_to_a_bind_mount_is_lost() {
    apart(|| {
        let world = World::new();
        let y = Yard::new(&world);
        fs::create_dir_all(y.context("a/b")).unwrap();
        fs::write(y.context("a/b/file"), "old").unwrap();
        let mounts =
            [bind("a", "/a", true), bind("a/b/file", "/file", true), bind("a", "rel", false)];
        let out = y.run(
            &mounts,
            "echo new > /a/b/file; echo more > /a/more; echo new > /file; cat /a/b/file /a/more /file; \
             cat /work/rel/b/file; touch /work/rel/x || echo kept",
        );
        assert_eq!(out, "new\nmore\nnew\noldkept\n");
        assert_eq!(fs::read_to_string(y.context("a/b/file")).unwrap(), "old");
        assert!(!y.context("a/more").exists());
        for stub in ["a", "file", "work"] {
            assert!(!y.bench.dir.join(UPPER).join(stub).exists(), "{stub}");
        }
    });
}

#[test]
fn what_dockerignore_names_is_not_in_a_bind_mount() {
    apart(|| {
        let world = World::new();
        let mut y = Yard::new(&world);
        y.ignore =
            Ignore::parse(b"secret\n**/node_modules\nsub\n!sub/keep\n", ".dockerignore").unwrap();
        for file in
            ["secret", "ok", "x/node_modules/y", "x/z", "sub/keep/f", "sub/gone", "w/node_modules"]
        {
            fs::create_dir_all(y.context(file).parent().unwrap()).unwrap();
            fs::write(y.context(file), "").unwrap();
        }
        fs::set_permissions(y.context("x"), fs::Permissions::from_mode(0o711)).unwrap();
        chown(y.context("x"), Some(7), Some(8)).unwrap();
        let list = "cd /c; find . -type f | sort; stat -c %a:%u:%g x";
        for writable in [false, true] {
            let out = y.run(&[bind("/", "/c", writable)], list);
            assert_eq!(out, "./ok\n./sub/keep/f\n./x/z\n711:7:8\n");
        }
        assert_eq!(y.run(&[bind("x", "/c", false)], "cd /c; find . -type f"), "./z\n");
        let why = y.refused(bind("secret", "/c", false));
        assert!(why.contains("secret") && why.contains(".dockerignore"), "{why}");
    });
}

#[test]
fn sources_lead_no_further_than_where_they_come_from() {
    apart(|| {
        let world = World::new();
        let y = Yard::new(&world);
        fs::write(world.path("outside"), "host").unwrap();
        fs::create_dir_all(y.context("etc")).unwrap();
        symlink("/etc", y.context("abs")).unwrap();
        symlink("../../../../../../../../etc", y.context("up")).unwrap();
        symlink(world.path("outside"), y.context("out")).unwrap();
        for dir in ["abs", "up", "../../etc", "etc"] {
            assert_eq!(y.run(&[bind(dir, "/m", false)], "ls /m"), "", "{dir}");
        }
        for gone in ["out", "../outside", "nothing"] {
            let why = y.refused(bind(gone, "/m", false));
            assert!(why.contains("it is not in the build context"), "{why}");
        }
        let why = y.refused(bind("etc", "/", false));
        assert!(why.contains("the root itself"), "{why}");
    });
}

/// CVE-2024-23651: who exchanges a directory for a link, again and again, wins nothing.
#[test]
fn a_source_that_is_exchanged_all_the_time_never_shows_the_host() {
    apart(|| {
        let world = World::new();
        let y = Yard::new(&world);
        fs::create_dir_all(world.path("host/in")).unwrap();
        fs::write(world.path("host/in/secret"), "host").unwrap();
        fs::create_dir_all(y.context("d/in")).unwrap();
        symlink(world.path("host"), y.context("l")).unwrap();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let (d, l) = (y.context("d"), y.context("l"));
                while !stop.load(Ordering::Relaxed) {
                    let flags = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
                    let here = nix::fcntl::AT_FDCWD;
                    nix::fcntl::renameat2(here, &d, here, &l, flags).unwrap();
                }
            });
            for _ in 0..2000 {
                for writable in [false, true] {
                    let Ok(settled) = y.settle(&[bind("d/in", "/m", writable)]) else { continue };
                    for mount in &settled.mounts {
                        let dhow_image::build::run::Mounted::Bind(fd) = &mount.what else {
                            panic!()
                        };
                        let inside = format!("/proc/self/fd/{}/secret", fd.as_raw_fd());
                        assert!(fs::metadata(inside).is_err());
                    }
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn caches_stay_and_their_ids_lead_nowhere() {
    apart(|| {
        let world = World::new();
        let y = Yard::new(&world);
        for id in ["plain", "../../../escape", "/abs"] {
            y.run(&[cache(id, "/cache")], "echo kept > /cache/file");
            assert_eq!(y.run(&[cache(id, "/other")], "cat /other/file"), "kept\n");
        }
        let mut caches = fs::read_dir(y.bench.dir.join("store/build/caches")).unwrap().flatten();
        assert!(caches.all(|entry| entry.file_name().len() == 64));
        assert!(!y.bench.dir.join("escape").exists() && !world.path("../escape").exists());
        // A link that an earlier RUN left doesn't lead out by a later one's source.
        y.run(
            &[cache("plain", "/cache")],
            "ln -s /etc /cache/link; ln -s ../../../../.. /cache/up",
        );
        let below = |link: &str| RunMount { source: Some(link.into()), ..cache("plain", "/m") };
        assert!(y.refused(below("link")).contains("No such file"));
        assert_eq!(y.run(&[below("up")], "ls /m"), "file\nlink\nup\n");
        let owned =
            RunMount { uid: Some(5), gid: Some(6), mode: Some(0o2750), ..cache("plain", "/c") };
        assert_eq!(y.run(&[owned], "stat -c %a:%u:%g /c; ls /c"), "2750:5:6\n");
        // What it begins with comes from elsewhere, once.
        fs::create_dir_all(y.context("first")).unwrap();
        fs::write(y.context("first/file"), "first\n").unwrap();
        let from = RunMount {
            from: Some("stage".into()),
            source: Some("first".into()),
            ..cache("from", "/c")
        };
        let all = std::slice::from_ref(&from);
        assert_eq!(y.run(all, "cat /c/file; echo mine > /c/file"), "first\n");
        assert_eq!(y.run(all, "cat /c/file"), "mine\n");
        assert_eq!(fs::read_to_string(y.context("first/file")).unwrap(), "first\n");
        let private = [RunMount { sharing: Sharing::Private, ..cache("p", "/c") }];
        let (one, other) = (y.settle(&private).unwrap(), y.settle(&private).unwrap());
        drop((one, other));
    });
}

#[test]
fn secrets_are_seen_by_their_run_alone() {
    apart(|| {
        let world = World::new();
        let mut y = Yard::new(&world);
        fs::write(world.path("token"), "s3cret-token").unwrap();
        let value = |text: &str| SecretFrom::Value(text.into());
        y.secrets = vec![
            Secret { id: "token".into(), from: SecretFrom::File(world.path("token")) },
            Secret { id: "../pass".into(), from: value("s3cret-pass") },
        ];
        let secret = |id: &str, target: &str| RunMount {
            id: Some(id.into()),
            ..mount(MountKind::Secret, target)
        };
        let mounts = [
            secret("token", ""),
            secret("token", "/root/.token"),
            secret("../pass", ""),
            RunMount { env: Some("PASS".into()), ..secret("../pass", "") },
            RunMount { uid: Some(9), mode: Some(0o440), ..secret("token", "/x/owned") },
            secret("missing", ""),
        ];
        let out = y.run(
            &mounts,
            "cat /run/secrets/token /root/.token /run/secrets/pass; echo; echo $PASS; \
             stat -c %a:%u:%g /run/secrets/token /x/owned; echo x > /root/.token || echo kept; \
             ls /run/secrets; grep -c ' /run/secrets/token .*tmpfs' /proc/self/mountinfo",
        );
        assert_eq!(
            out,
            "s3cret-tokens3cret-tokens3cret-pass\ns3cret-pass\n400:0:0\n440:9:0\nkept\npass\ntoken\n1\n"
        );
        // Neither in what becomes the layer nor anywhere on the disk of the world.
        let found =
            world.cmd("grep").args(["-rl", "s3cret", "--exclude=token"]).arg(world.path("")).run();
        assert_eq!(found.out(), "");
        assert!(!y.bench.dir.join(UPPER).join("run").exists());
        let why = y.refused(RunMount { required: true, ..secret("missing", "") });
        assert_eq!(why, "no such secret: missing (give it with --secret id=missing,src=FILE)");
        y.secrets[0].from = SecretFrom::File("/dev/zero".into());
        let why = y.refused(secret("token", ""));
        assert!(why.contains("larger than 500 KiB"), "{why}");
    });
}

#[test]
fn an_agents_socket_is_forwarded() {
    apart(|| {
        let world = World::new();
        let mut y = Yard::new(&world);
        let socket = world.path("agent.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let agent = thread::spawn(move || {
            let (mut client, _): (UnixStream, _) = listener.accept().unwrap();
            client.read_exact(&mut [0; 5]).unwrap();
            // SSH_AGENT_IDENTITIES_ANSWER: none.
            client.write_all(&[0, 0, 0, 5, 12, 0, 0, 0, 0]).unwrap();
        });
        y.agents = vec![Agent { id: "default".into(), paths: vec![socket] }];
        let ssh = mount(MountKind::Ssh, "");
        let out = y.run(
            from_ref(&ssh),
            "echo $SSH_AUTH_SOCK; stat -c %a:%u $SSH_AUTH_SOCK; test -S $SSH_AUTH_SOCK && echo socket",
        );
        assert_eq!(out, "/run/buildkit/ssh_agent.0\n600:0\nsocket\n");
        let settled = y.settle(from_ref(&ssh)).unwrap();
        let mut client = UnixStream::connect(y.bench.dir.join("scratch/0/agent.sock")).unwrap();
        client.write_all(&[0, 0, 0, 1, 11]).unwrap();
        let mut answer = [0; 9];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer[4], 12);
        drop(settled);
        agent.join().unwrap();
        y.agents[0].paths = vec![world.path("key")];
        fs::write(world.path("key"), "-----BEGIN").unwrap();
        let why = y.refused(ssh.clone());
        assert!(why.contains("ssh-add"), "{why}");
        y.agents.clear();
        assert!(y.settle(from_ref(&ssh)).unwrap().mounts.is_empty());
        let why = y.refused(RunMount { required: true, ..ssh });
        assert!(why.contains("no such ssh agent: default"), "{why}");
    });
}

#[test]
fn a_builds_own_mounts_are_of_its_context_and_stages() {
    let w = World::new();
    w.add(&e2e::fixtures::layout(), "busybox");
    for file in ["context/sub/file", "context/left-out", "named/file"] {
        fs::create_dir_all(w.path(file).parent().unwrap()).unwrap();
        fs::write(w.path(file), format!("{file}\n")).unwrap();
    }
    fs::write(w.path("context/.dockerignore"), "left-out\n").unwrap();
    fs::write(
        w.path("context/Dockerfile"),
        "FROM busybox AS one\nRUN echo of-one > /file\n\
         FROM busybox\nARG WHERE=sub\n\
         RUN --mount=target=/c cat /c/sub/file; ls /c; touch /c/x || echo kept\n\
         RUN --mount=source=$WHERE,target=/c,rw echo new > /c/file; cat /c/file\n\
         RUN --mount=from=one,target=/c --mount=type=bind,from=more,target=/d cat /c/file /d/file\n\
         RUN --mount=type=cache,target=/cache date > /cache/x; wc -l /cache/x\n\
         RUN --mount=type=tmpfs,target=/t,size=1m df -k /t | tail -1\n\
         RUN ls /c /d /cache /t || echo nothing left\n",
    )
    .unwrap();
    let more = format!("more={}", w.path("named").display());
    let build = ["build", "--progress", "plain", "--no-cache", "--build-context", &more];
    let done = w.dhow_cmd(build).arg(".").cwd(w.path("context")).run().ok();
    let said = done.err();
    let has =
        ["context/sub/file", " kept", " new", " of-one", " named/file", "1 /cache/x", " 1024 "];
    for part in has.iter().chain(&[" nothing left"]) {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(!said.contains(" left-out"), "{said}");
    assert_eq!(fs::read_to_string(w.path("context/sub/file")).unwrap(), "context/sub/file\n");
}
