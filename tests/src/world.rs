//! A test's own machine within the machine: directories, names, and a check at the end.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::bundle::Bundle;
use crate::{Cmd, Done, Pty, Registry, Wires, fixtures, leaks, mode, older, program};

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Roots of its own for each program, and the promise that nothing outlives it.
pub struct World {
    name: String,
    dir: Option<TempDir>,
    ids: Mutex<BTreeSet<String>>,
    wires: Option<Wires>,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// A new world, beside any number of others. It has no networks of its own, and its containers
    /// none unless they ask for one: `daemon.json` says so. [`World::wired`] is for those.
    pub fn new() -> Self {
        let world = Self::bare();
        world.daemon_json("{}");
        world
    }

    /// Writes daemon.json; without networks, unless it says otherwise. What isn't JSON goes as it is.
    pub fn daemon_json(&self, text: &str) {
        let mut text = text.to_owned();
        if let Ok(serde_json::Value::Object(mut all)) = serde_json::from_str(&text) {
            all.entry("bridge").or_insert_with(|| "none".into());
            text = serde_json::Value::Object(all).to_string();
        }
        fs::write(self.path("daemon.json"), text).unwrap();
    }

    /// A new world whose commands all run on the server of [`Wires`] of its own, where nobody else
    /// makes bridges or rules, with the images `busybox` and `mirror`.
    pub fn wired() -> Self {
        let mut world = Self::bare();
        world.add(&fixtures::mirror_layout(), "mirror");
        world.add(&fixtures::layout(), "busybox");
        world.wires = Some(Wires::new());
        world
    }

    /// Brings an image of a layout into the store.
    pub fn add(&self, layout: &Path, name: &str) {
        self.image(["copy", &format!("oci:{}:{name}", layout.display()), name]).ok();
    }

    fn bare() -> Self {
        leaks::baseline();
        older::begin();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("dhow-e2e-{}-{number}-", std::process::id());
        let dir = tempfile::Builder::new().prefix(&name).tempdir().unwrap();
        fs::create_dir(dir.path().join("home")).unwrap();
        Self { name, dir: Some(dir), ids: Mutex::default(), wires: None }
    }

    /// The machines around a wired world.
    pub fn wires(&self) -> &Wires {
        self.wires.as_ref().expect("World::wired() has wires")
    }

    /// Runs a command on the machine elsewhere.
    pub fn client<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, words: I) -> Done {
        self.words(words).space(Some(&self.wires().client)).run()
    }

    /// Runs a command on the router.
    pub fn router<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, words: I) -> Done {
        self.words(words).space(Some(&self.wires().router)).run()
    }

    /// Runs a command on the machine where dhow runs, too.
    pub fn server<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, words: I) -> Done {
        self.words(words).run()
    }

    fn words<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, words: I) -> Cmd {
        let mut words = words.into_iter();
        self.cmd(words.next().unwrap()).args(words)
    }

    /// What marks all that is this world's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A place of this world's directory.
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.dir.as_ref().unwrap().path().join(below)
    }

    /// `--root` of dhow and dhow-image.
    pub fn root(&self) -> PathBuf {
        self.path("root")
    }

    /// `--run` of dhow.
    pub fn run_dir(&self) -> PathBuf {
        self.path("run")
    }

    /// `--root` of dhow-runtime (and of the runtimes it is compared with).
    pub fn runtime_root(&self) -> PathBuf {
        self.path("runtime")
    }

    /// A container id that no other world has.
    pub fn id(&self, short: &str) -> String {
        let id = format!("{}{short}", self.name);
        self.ids.lock().unwrap().insert(id.clone());
        id
    }

    /// Any command, marked as this world's, with the world's roots and home in its environment.
    pub fn cmd(&self, program: impl AsRef<OsStr>) -> Cmd {
        Cmd::new(program)
            .env(leaks::MARK, &self.name)
            .env("DHOW_ROOT", self.root())
            .env("DHOW_RUN", self.run_dir())
            .env("HOME", self.path("home"))
            .env("DHOW_DAEMON_JSON", self.path("daemon.json"))
            .without_env("DOCKER_CONFIG")
            .without_env("DOCKER_HOST")
            .without_env("DOCKER_CONTEXT")
            .without_env("REGISTRY_AUTH_FILE")
            .cwd(self.path(""))
            .space(self.wires.as_ref().map(|w| &w.server))
    }

    /// `dhow ARGS`, not yet run.
    pub fn dhow_cmd<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Cmd {
        self.cmd(program("dhow")).args(args)
    }

    /// `dhow-image ARGS`, not yet run.
    pub fn image_cmd<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Cmd {
        self.cmd(program("dhow-image")).args(args)
    }

    /// `dhow-runtime --root … ARGS`, not yet run.
    pub fn runtime_cmd<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Cmd {
        let runtime = self.cmd(program("dhow-runtime")).arg("--root").arg(self.runtime_root());
        let manager = mode().by_systemd().then_some("--systemd-cgroup");
        runtime.args(manager).args(args)
    }

    /// Runs `dhow ARGS`.
    pub fn dhow<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Done {
        let done = self.dhow_cmd(args).run();
        let is_id = |l: &&String| l.len() == 64 && l.bytes().all(|b| b.is_ascii_hexdigit());
        self.ids.lock().unwrap().extend(done.lines().iter().filter(is_id).cloned());
        done
    }

    /// Runs `dhow-image ARGS`.
    pub fn image<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Done {
        self.image_cmd(args).run()
    }

    /// Runs `dhow-runtime --root … ARGS`.
    pub fn runtime<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Done {
        self.runtime_cmd(args).run()
    }

    /// Runs `dhow ARGS` on a terminal.
    pub fn dhow_pty<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Pty {
        Pty::start(self.dhow_cmd(args))
    }

    /// Pulls a fixture (`busybox`, `layers`, `debian:bookworm`) from the open registry under its
    /// short name; a guest has no registry, and takes it from the layout.
    pub fn pull(&self, short: &str) {
        let (name, tag) = short.split_once(':').unwrap_or((short, "latest"));
        if mode().is_guest() {
            let from = format!("oci:{}:{name}", fixtures::layout().display());
            return drop(self.image(["copy", &from, short]).ok());
        }
        let full = format!("{}/{name}:{tag}", Registry::open().host());
        // The registry is the machine's, whatever this world's machines are.
        self.image_cmd(["pull", &full]).space(None).run().ok();
        self.image(["tag", &full, short]).ok();
    }

    /// A bundle with busybox's root, to run `args`.
    pub fn bundle(&self, name: &str, args: &[&str]) -> Bundle {
        Bundle::new(self.path(format!("bundle-{name}")), &self.id(name), args)
    }

    /// The files of the `busybox` image, not to be written to.
    pub fn busybox_root(&self) -> PathBuf {
        fixtures::busybox_root()
    }

    /// The program `mirror`, which tells who asks it.
    pub fn mirror(&self) -> PathBuf {
        fixtures::mirror_layout().join("mirror.program")
    }

    /// Removes every container of this world by force.
    pub fn remove_all(&self) {
        let records = self.root().join("containers");
        let ids = fs::read_dir(records).into_iter().flatten().flatten();
        let ids: Vec<String> = ids.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        if !ids.is_empty() {
            self.dhow(["rm".to_owned(), "-f".to_owned()].into_iter().chain(ids));
        }
        for state in fs::read_dir(self.runtime_root()).into_iter().flatten().flatten() {
            self.runtime([OsStr::new("delete"), OsStr::new("--force"), &state.file_name()]);
        }
    }

    /// A cgroup for another engine's containers to stand in: such a parent outlives them, and the
    /// world removes it at its end.
    pub fn cgroup_parent(&self) -> String {
        format!("/{}peer", self.name)
    }

    fn remove_cgroup_parent(&self) {
        // The deepest first. conmon's own group is podman's to leave, BuildKit's parent is
        // dockerd's; a container's isn't.
        let parent = format!("{}peer", self.name);
        let ends = |c: &PathBuf| ["conmon", "buildkit", &parent].iter().any(|end| c.ends_with(end));
        for cgroup in leaks::cgroups_of(&parent, &BTreeSet::new()).into_iter().rev().filter(ends) {
            let _ = fs::remove_dir(cgroup);
        }
    }

    fn note_ids(&self) {
        for place in ["root/containers", "run/runtime", "run/monitors", "runtime"] {
            let entries = fs::read_dir(self.path(place)).into_iter().flatten().flatten();
            let ids = entries.map(|e| e.file_name().to_string_lossy().into_owned());
            self.ids.lock().unwrap().extend(ids.filter(|id| id.len() > 12));
        }
    }

    fn left(&self) -> Vec<String> {
        let ids = self.ids.lock().unwrap();
        let mut left = Vec::new();
        for (pid, line) in leaks::processes(&self.name, &ids) {
            left.push(format!("process {pid}: {line}"));
        }
        left.extend(leaks::mounts(&self.name).into_iter().map(|m| format!("mount {m}")));
        let groups = leaks::cgroups_of(&self.name, &ids);
        left.extend(groups.into_iter().map(|c| format!("cgroup {}", c.display())));
        for place in ["run/runtime", "runtime"] {
            for entry in fs::read_dir(self.path(place)).into_iter().flatten().flatten() {
                left.push(format!("container state {}", entry.path().display()));
            }
        }
        left.extend(self.wires.iter().flat_map(|wires| wires.left(&self.run_dir())));
        left
    }

    /// Waits a moment for what is on its way out, then names what stays.
    fn settle(&self, patience: Duration) -> Vec<String> {
        let until = Instant::now() + patience;
        loop {
            self.remove_cgroup_parent();
            let left = self.left();
            if left.is_empty() || Instant::now() > until {
                return left;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn sweep(&self) {
        let ids = self.ids.lock().unwrap().clone();
        for (pid, _) in leaks::processes(&self.name, &ids) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        for mount in leaks::mounts(&self.name).iter().rev() {
            let place = mount.split(' ').nth(4).unwrap_or_default();
            Cmd::new("umount").args(["-l", place]).run();
        }
        thread::sleep(Duration::from_millis(100));
        for cgroup in leaks::cgroups_of(&self.name, &ids).into_iter().rev() {
            let _ = fs::remove_dir(cgroup);
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.note_ids();
        if thread::panicking() {
            // The case has failed already: clear up, quietly, so that the others can pass.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.sweep()));
            return;
        }
        let left = self.settle(Duration::from_secs(20));
        if !left.is_empty() {
            self.sweep();
            panic!("the case left behind:\n  {}", left.join("\n  "));
        }
        let dir = self.dir.take().unwrap();
        let path = dir.path().to_owned();
        if mode().is_rootless() {
            // Files of a container's other users are theirs.
            let remove = ["--map-root-user", "--map-auto", "rm", "-rf", "--"];
            Cmd::new("unshare").args(remove).arg(&path).run();
            fs::create_dir_all(&path).unwrap();
        }
        dir.close().unwrap_or_else(|e| panic!("cannot remove {}: {e}", path.display()));
    }
}
