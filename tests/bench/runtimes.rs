//! `dhow-runtime` beside crun, runc and the floor: a run with two configs, exec, create with start
//! and delete, 50 at once, the least memory, and the system calls of a run.
//!
//! crun refuses a hybrid's v2 hierarchy: where there is one, all of them run without it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use e2e::bundle::Bundle;
use e2e::{Cmd, WITHOUT_V2, World, fixtures};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::measure::{Cost, Racer, children, cost, race_of, wall};

/// Where crun can take part.
pub fn bench(rounds: usize) {
    if !fs::exists("/sys/fs/cgroup/unified").unwrap() {
        return without_v2(rounds);
    }
    let again = Cmd::new(env::current_exe().unwrap());
    let again = again.args(["runtimes-v1", "--rounds", &rounds.to_string()]).under(WITHOUT_V2);
    assert!(again.command().status().unwrap().success());
}

/// All of it, on this machine as it is.
pub fn without_v2(rounds: usize) {
    let w = World::new();
    let field = Field::new(&w);
    let [plain, docker] = ["plain", "docker"].map(|name| w.bundle(name, &["/bin/echo", "afloat"]));
    let docker = dockers(&w, docker);
    for (title, bundle, files) in
        [("run, plain config", &plain, None), ("run, docker's config", &docker, Some(&docker))]
    {
        let mut racers: Vec<Racer<'_>> = field.runtimes.iter().map(|r| r.runs(bundle)).collect();
        racers.push(field.floor.runs(&w, bundle, files));
        race_of(title, rounds, &racers);
    }
    exec(&w, &field, rounds);
    create_start_delete(&w, &field, rounds);
    at_once(&w, &field, rounds.div_ceil(6));
    calls(&field, &[("plain", &plain), ("docker's", &docker)]);
    least_memory(&w, &field);
    for dir in field.runtimes.iter().map(|r| &r.root) {
        let left = fs::read_dir(dir).into_iter().flatten().count();
        assert_eq!(left, 0, "{} left state behind", dir.display());
        let _ = fs::remove_dir(dir);
    }
}

/// One that takes a bundle.
struct Runtime<'a> {
    name: &'static str,
    w: &'a World,
    /// On a file system in memory, as each of them has it by default.
    root: PathBuf,
}

struct Field<'a> {
    runtimes: Vec<Runtime<'a>>,
    floor: Floor,
}

impl<'a> Field<'a> {
    fn new(w: &'a World) -> Self {
        let runtimes = ["dhow-runtime", "crun", "runc"].map(|name| Runtime {
            name,
            w,
            root: Path::new("/run").join(format!("{}{name}", w.name())),
        });
        Self { runtimes: runtimes.into(), floor: Floor::built(w) }
    }
}

impl Runtime<'_> {
    fn cmd(&self, args: &[&str]) -> Cmd {
        let program = match self.name {
            "dhow-runtime" => e2e::program(self.name),
            other => other.into(),
        };
        self.w.cmd(program).arg("--root").arg(&self.root).args(args)
    }

    fn run(&self, b: &Bundle) -> Cmd {
        self.cmd(&["run", "-b", b.path(), b.id()])
    }

    fn runs<'b>(&'b self, b: &'b Bundle) -> Racer<'b> {
        Racer { name: self.name, run: Box::new(move |_| cost(&self.run(b))) }
    }
}

/// The bare program of tests/bench/floor.c.
struct Floor {
    program: PathBuf,
    filter: PathBuf,
}

impl Floor {
    fn built(w: &World) -> Self {
        let program = w.path("floor");
        let source = e2e::workspace().join("tests/bench/floor.c");
        let cc = Cmd::new("cc").args(["-O2", "-static", "-o"]).arg(&program).arg(source);
        cc.run().ok();
        Self { program, filter: w.path("filter") }
    }

    /// Takes the filter that a process has.
    fn take_filter(&self, w: &World, pid: &str) {
        w.cmd(&self.program).args(["--filter", pid]).arg(&self.filter).run().ok();
    }

    fn cmd(&self, w: &World, b: &Bundle, files: Option<&Bundle>, id: &str) -> Cmd {
        let mut cmd = w.cmd(&self.program);
        if let Some(files) = files {
            cmd = cmd.arg("-d").arg(files.dir()).arg(&self.filter);
        }
        cmd = cmd.arg(b.rootfs("")).arg(id).args(hierarchies()).arg("--");
        cmd.args(b.config["process"]["args"].as_array().unwrap().iter().filter_map(Value::as_str))
    }

    fn runs<'b>(&'b self, w: &'b World, b: &'b Bundle, files: Option<&'b Bundle>) -> Racer<'b> {
        let cmd = self.cmd(w, b, files, b.id());
        Racer { name: "floor", run: Box::new(move |_| cost(&cmd)) }
    }
}

/// Where cgroup hierarchies with controllers, systemd's and v2's are mounted.
fn hierarchies() -> Vec<PathBuf> {
    let all = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    let own = |path: &PathBuf| {
        !path.is_symlink() && (path.join("tasks").exists() || path.join("cgroup.procs").exists())
    };
    let mut all: Vec<_> = all.map(|entry| entry.path()).filter(own).collect();
    all.sort();
    all
}

/// The config that `dhow` writes for a container with limits: docker's, its filter included.
fn dockers(w: &World, mut b: Bundle) -> Bundle {
    w.add(&fixtures::layout(), "busybox");
    let limits = ["-m", "256m", "--cpus", "1", "--pids-limit", "100"];
    let words = ["run", "-d", "--network", "none"].iter().chain(&limits);
    let id = w.dhow(words.chain(&["busybox", "sleep", "1000"])).ok().out();
    let pid = w.dhow(["inspect", "-f", "{{.State.Pid}}", &id]).ok().out();
    Floor { program: w.path("floor"), filter: w.path("filter") }.take_filter(w, &pid);
    let text = fs::read(w.root().join("containers").join(&id).join("bundle/config.json"));
    let mut config: Value = serde_json::from_slice(&text.unwrap()).unwrap();
    w.dhow(["rm", "-f", &id]).ok();
    for key in ["root", "process/args", "linux/cgroupsPath"] {
        let key = format!("/{key}");
        *config.pointer_mut(&key).unwrap() = b.config.pointer(&key).unwrap().clone();
    }
    for mount in config["mounts"].as_array_mut().unwrap() {
        let source = mount["source"].as_str().unwrap().to_owned();
        if mount["type"] == "bind" {
            let name = Path::new(&source).file_name().unwrap();
            fs::write(b.dir().join(name), "afloat\n").unwrap();
            mount["source"] = json!(b.dir().join(name));
        }
    }
    config.as_object_mut().unwrap().remove("hooks");
    b.config = config;
    b.write();
    b
}

fn exec(w: &World, field: &Field<'_>, rounds: usize) {
    let bundles: Vec<Bundle> =
        field.runtimes.iter().map(|r| w.bundle(r.name, &["sleep", "1000"])).collect();
    for (r, b) in field.runtimes.iter().zip(&bundles) {
        wall(&r.cmd(&["run", "-d", "-b", b.path(), b.id()]));
    }
    let racers = field.runtimes.iter().zip(&bundles).map(|(r, b)| Racer {
        name: r.name,
        // Without `cost`, which would wait for the container.
        run: Box::new(|_| {
            let before = children();
            let wall = wall(&r.cmd(&["exec", b.id(), "/bin/true"]));
            (Cost { wall, cpu: children().saturating_sub(before) }, String::new())
        }),
    });
    race_of("exec of /bin/true", rounds, &racers.collect::<Vec<_>>());
    for (r, b) in field.runtimes.iter().zip(&bundles) {
        r.cmd(&["delete", "-f", b.id()]).run().ok();
        reap();
    }
}

fn create_start_delete(w: &World, field: &Field<'_>, rounds: usize) {
    let b = w.bundle("csd", &["/bin/true"]);
    let racers = field.runtimes.iter().map(|r| Racer {
        name: r.name,
        run: Box::new(|_| {
            let before = children();
            let pid_file = w.path("pid");
            let pid_file = pid_file.to_str().unwrap();
            let create = r.cmd(&["create", "-b", b.path(), "--pid-file", pid_file, b.id()]);
            let mut total = wall(&create) + wall(&r.cmd(&["start", b.id()]));
            // The container is ours to reap, since its maker has gone; off the clock.
            let pid: i32 = fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
            waitpid(Pid::from_raw(pid), None).unwrap();
            total += wall(&r.cmd(&["delete", b.id()]));
            (Cost { wall: total, cpu: children().saturating_sub(before) }, String::new())
        }),
    });
    race_of("create, start and delete", rounds, &racers.collect::<Vec<_>>());
}

/// How many start side by side.
const SIDE_BY_SIDE: usize = 50;

fn at_once(w: &World, field: &Field<'_>, rounds: usize) {
    let mut b = w.bundle("at-once", &["/bin/true"]);
    // Each has a group of its own, where its runtime makes it by itself.
    b.config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
    b.write();
    let ids: Vec<String> = (0..SIDE_BY_SIDE).map(|n| w.id(&format!("at-{n}"))).collect();
    let all = |make: &dyn Fn(&str) -> Cmd| {
        let (before, began) = (children(), Instant::now());
        let cmds: Vec<Cmd> = ids.iter().map(|id| make(id)).collect();
        let started: Vec<_> = cmds.iter().map(|cmd| cmd.spawn(&mut cmd.command())).collect();
        let ended = started.into_iter().map(|mut child| child.wait().unwrap());
        let failed = ended.filter(|status| !status.success()).count();
        let failed = format!("{failed} of {SIDE_BY_SIDE} failed");
        (Cost { wall: began.elapsed(), cpu: children().saturating_sub(before) }, failed)
    };
    let mut racers: Vec<Racer<'_>> = field
        .runtimes
        .iter()
        .map(|r| Racer {
            name: r.name,
            run: Box::new(|_| all(&|id| r.cmd(&["run", "-b", b.path(), id]))),
        })
        .collect();
    racers.push(Racer {
        name: "floor",
        run: Box::new(|_| all(&|id| field.floor.cmd(w, &b, None, id))),
    });
    race_of(&format!("{SIDE_BY_SIDE} runs at once"), rounds, &racers);
}

/// Takes what has ended and is ours.
fn reap() {
    use nix::sys::wait::{WaitPidFlag, WaitStatus};
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            break;
        }
    }
}

fn calls(field: &Field<'_>, bundles: &[(&str, &Bundle)]) {
    println!("\nsystem calls of a run, all its processes, the program's own included");
    for (config, b) in bundles {
        for r in &field.runtimes {
            println!("{:<28}{:>8}   {config} config", r.name, count(r.w, &r.run(b)));
        }
        let w = field.runtimes[0].w;
        let files = (*config != "plain").then_some(*b);
        let floor = field.floor.cmd(w, b, files, b.id());
        println!("{:<28}{:>8}   {config} config", "floor", count(w, &floor));
    }
}

/// What strace counts.
fn count(w: &World, cmd: &Cmd) -> u64 {
    let table = w.path("strace");
    let words = ["strace".as_ref(), "-f".as_ref(), "-c".as_ref(), "-o".as_ref(), table.as_os_str()];
    cost(&cmd.clone().under(words));
    let text = fs::read_to_string(table).unwrap();
    let total = text.lines().find(|line| line.ends_with("total")).unwrap();
    total.split_whitespace().nth(3).unwrap().parse().unwrap()
}

/// The least memory limit that a container starts in, three times of three.
fn least_memory(w: &World, field: &Field<'_>) {
    println!("\nleast memory limit that a container starts in, KiB");
    let b = w.bundle("least", &["/bin/true"]);
    for r in &field.runtimes {
        let least = [64_u64, 128, 256, 512, 1024, 2048, 3072, 4096, 6144, 8192].into_iter();
        let starts = |kib: &u64| {
            let mut config = b.config.clone();
            config["linux"]["resources"]["memory"] = json!({"limit": kib << 10});
            let file = b.dir().join("least.json");
            fs::write(b.dir().join("config.json"), config.to_string()).unwrap();
            let done = (0..3).all(|_| {
                let started = r.run(&b).run().code == 0;
                if !started {
                    r.cmd(&["delete", "-f", b.id()]).run();
                }
                started
            });
            let _ = fs::remove_file(file);
            done
        };
        let found = least.clone().find(starts).map_or("none".into(), |kib| kib.to_string());
        println!("{:<28}{found:>8}", r.name);
    }
}
