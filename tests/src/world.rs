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
use crate::{Cmd, Done, Pty, Registry, fixtures, leaks, program};

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Roots of its own for each program, and the promise that nothing outlives it.
pub struct World {
    name: String,
    dir: Option<TempDir>,
    ids: Mutex<BTreeSet<String>>,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// A new world, beside any number of others.
    pub fn new() -> Self {
        leaks::baseline();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("dhow-e2e-{}-{number}-", std::process::id());
        let dir = tempfile::Builder::new().prefix(&name).tempdir().unwrap();
        fs::create_dir(dir.path().join("home")).unwrap();
        Self { name, dir: Some(dir), ids: Mutex::default() }
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
        self.cmd(program("dhow-runtime")).arg("--root").arg(self.runtime_root()).args(args)
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
    /// short name.
    pub fn pull(&self, short: &str) {
        let (name, tag) = short.split_once(':').unwrap_or((short, "latest"));
        let full = format!("{}/{name}:{tag}", Registry::open().host());
        self.image(["pull", &full]).ok();
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
        // The deepest first. conmon's own group is podman's to leave; a container's isn't.
        let parent = format!("{}peer", self.name);
        let ends = |c: &PathBuf| c.ends_with(&parent) || c.ends_with("conmon");
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
        let left = self.settle(Duration::from_secs(5));
        if !left.is_empty() {
            self.sweep();
            panic!("the case left behind:\n  {}", left.join("\n  "));
        }
        let dir = self.dir.take().unwrap();
        let path = dir.path().to_owned();
        dir.close().unwrap_or_else(|e| panic!("cannot remove {}: {e}", path.display()));
    }
}
