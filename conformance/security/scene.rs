//! Where a case is played: the runtime under test in a world of its own, a bundle, and what lies outside.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Child;

use e2e::bundle::Bundle;
use e2e::{Cmd, Done, World};
use serde_json::{Value, json};

use crate::table::Case;

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The attack came to nothing.
    Safe,
    /// It reached what it was after.
    Flawed(String),
    /// It can't be tried on this runtime or machine.
    NotApplicable(String),
    /// The case itself could not go on.
    Broken(String),
}

/// `Flawed` with these words if it is so.
pub fn flawed_if(so: bool, what: impl Into<String>) -> Verdict {
    if so { Verdict::Flawed(what.into()) } else { Verdict::Safe }
}

/// A runtime, with a flaw planted or as it is.
pub struct Target {
    runtime: String,
    flaw: Option<&'static str>,
}

impl Target {
    /// `flaw` names the case whose flaw it is to have.
    pub fn new(runtime: &str, flaw: Option<&'static str>) -> Self {
        Self { runtime: runtime.to_owned(), flaw }
    }
}

/// Plays the case. What it had to be sure of and wasn't is `Broken`; what it leaves behind is a flaw.
pub fn judge(case: &Case, target: &Target) -> Verdict {
    let scene = catch_unwind(|| Scene::new(target));
    let scene = match scene {
        Ok(scene) => scene,
        Err(panic) => return Verdict::Broken(said(panic.as_ref())),
    };
    let played = catch_unwind(AssertUnwindSafe(|| (case.attack)(&scene)));
    let left = catch_unwind(AssertUnwindSafe(|| drop(scene)));
    match (played, left) {
        (Err(panic), _) => Verdict::Broken(said(panic.as_ref())),
        (Ok(Verdict::Safe), Err(panic)) => Verdict::Flawed(said(panic.as_ref())),
        (Ok(verdict), _) => verdict,
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").chars().take(300).collect()
}

/// A runtime in a world of its own, and a directory outside of every container.
pub struct Scene {
    /// Its world.
    pub w: World,
    words: Vec<OsString>,
}

/// What nobody inside may read.
pub const SECRET: &str = "of the host";

impl Scene {
    fn new(target: &Target) -> Self {
        let w = World::new();
        let words = match target.flaw {
            None => vec![OsString::from(&target.runtime)],
            Some(flaw) => {
                let own = std::env::current_exe().unwrap().into_os_string();
                vec![own, "planted".into(), flaw.into(), OsString::from(&target.runtime)]
            }
        };
        fs::create_dir(w.path("outside")).unwrap();
        fs::write(w.path("outside/secret"), SECRET).unwrap();
        Self { w, words }
    }

    /// The same, with the runtime's program in a file of the world's.
    pub fn with_own_program(&self) -> PathBuf {
        let copy = self.w.path("program");
        // Only what is its file is copied: a link is followed.
        fs::copy(&self.words[0], &copy).unwrap();
        copy
    }

    /// A bundle of busybox, with this program as `/attack`.
    pub fn bundle(&self, args: &[&str]) -> Bundle {
        let own = std::env::current_exe().unwrap();
        self.w.bundle("b", args).and("/mounts", bind(&own, "/attack"))
    }

    /// Another one, of this name.
    pub fn another(&self, name: &str, args: &[&str]) -> Bundle {
        self.w.bundle(name, args)
    }

    /// The directory outside: it holds `secret`, and nothing may be added.
    pub fn outside(&self) -> PathBuf {
        self.w.path("outside")
    }

    /// What has come into the directory outside, or has changed in it.
    pub fn harm(&self) -> Option<String> {
        let names = fs::read_dir(self.outside()).unwrap().flatten();
        let mut names = names.map(|e| e.file_name().to_string_lossy().into_owned());
        if let Some(name) = names.find(|name| name != "secret") {
            return Some(format!("made {name} on the host"));
        }
        let whole = fs::read(self.outside().join("secret")).unwrap() == SECRET.as_bytes();
        (!whole).then(|| "wrote to a file of the host".to_owned())
    }

    /// Nothing outside may have changed.
    pub fn unharmed(&self) -> Verdict {
        self.harm().map_or(Verdict::Safe, Verdict::Flawed)
    }

    /// The runtime's command, ended after 20 seconds.
    pub fn cmd<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Cmd {
        self.cmd_of(&self.words, args)
    }

    /// The same by a program that stands elsewhere.
    pub fn cmd_by<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, own: &Path, args: I) -> Cmd {
        let mut words = self.words.clone();
        words[0] = own.into();
        self.cmd_of(&words, args)
    }

    fn cmd_of<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(
        &self,
        words: &[OsString],
        args: I,
    ) -> Cmd {
        let limit = ["--foreground", "-s", "KILL", "20"];
        let cmd = self.w.cmd("timeout").args(limit).args(words).limit(60);
        cmd.arg("--root").arg(self.w.runtime_root()).args(args)
    }

    /// `run` of a bundle.
    pub fn run(&self, b: &Bundle) -> Done {
        self.cmd(["run", "-b", b.path(), b.id()]).run()
    }

    /// `create`, with its standard streams on /dev/null.
    pub fn create(&self, b: &Bundle) -> Done {
        self.cmd(["create", "-b", b.path(), b.id()]).under(QUIET).run()
    }

    /// Creates and starts it; it has to.
    pub fn start(&self, b: &Bundle) {
        let made = self.create(b);
        assert!(made.code == 0, "cannot create a container: {}", made.code);
        let started = self.cmd(["start", b.id()]).run();
        assert!(started.code == 0, "cannot start a container: {}", started.err());
    }

    /// Runs words in a container.
    pub fn exec(&self, b: &Bundle, words: &[&str]) -> Done {
        self.cmd(["exec", b.id()].iter().chain(words)).run()
    }

    /// The first process's number.
    pub fn pid(&self, b: &Bundle) -> i64 {
        self.cmd(["state", b.id()]).run().ok().json()["pid"].as_i64().unwrap()
    }

    /// Removes a container, whatever it does.
    pub fn delete(&self, b: &Bundle) {
        self.cmd(["delete", "--force", b.id()]).run();
    }

    /// Exchanges two names, for as long as what it gives is kept.
    pub fn swapping(&self, one: &Path, other: &Path) -> Beside {
        let own = std::env::current_exe().unwrap();
        Beside(self.w.cmd(own).args(["inside", "swap"]).arg(one).arg(other).start())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for state in fs::read_dir(self.w.runtime_root()).into_iter().flatten().flatten() {
            self.cmd([OsStr::new("delete"), OsStr::new("--force"), &state.file_name()]).run();
        }
    }
}

/// Who has a runtime as an ordinary user has it, with containers of its own.
pub struct Ordinary<'a> {
    s: &'a Scene,
    words: Vec<OsString>,
    root: PathBuf,
}

impl<'a> Ordinary<'a> {
    /// Nobody else's id.
    pub const UID: u32 = 23_999;

    /// The programs are copies: this one's and the runtime may stand where the user can't go.
    pub fn new(s: &'a Scene) -> Self {
        let (home, root) = (s.w.path("user"), s.w.path("user/state"));
        for dir in [&home, &root] {
            fs::create_dir(dir).unwrap();
        }
        fs::create_dir(home.join("run")).unwrap();
        let copy = |(n, word): (usize, &OsString)| {
            if !Path::new(word).is_absolute() {
                return word.clone();
            }
            let own = home.join(format!("program-{n}"));
            fs::copy(word, &own).unwrap();
            own.into_os_string()
        };
        let words = s.words.iter().enumerate().map(copy).collect();
        fs::set_permissions(s.w.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        let this = Self { s, words, root };
        this.give(&home);
        this
    }

    /// Makes it the user's, with all in it.
    pub fn give(&self, what: &Path) {
        let owner = format!("{0}:{0}", Self::UID);
        self.s.w.cmd("chown").args(["-hR", &owner]).arg(what).run().ok();
    }

    /// The runtime's command, by the user.
    pub fn cmd<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Cmd {
        let id = Self::UID.to_string();
        let user = ["--reuid", &id, "--regid", &id, "--clear-groups", "--"];
        let limit = ["timeout", "--foreground", "-s", "KILL", "20"];
        let cmd = self.s.w.cmd("setpriv").args(user).args(limit).args(&self.words).limit(60);
        let cmd = cmd.env("XDG_RUNTIME_DIR", self.root.with_file_name("run"));
        cmd.arg("--root").arg(&self.root).args(args)
    }
}

impl Drop for Ordinary<'_> {
    fn drop(&mut self) {
        for state in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            self.cmd([OsStr::new("delete"), OsStr::new("--force"), &state.file_name()]).run();
        }
    }
}

/// What runs beside, until it is dropped.
pub struct Beside(Child);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// To be put before a command: without any stream of ours.
pub const QUIET: [&str; 4] = ["sh", "-c", "exec \"$@\" >/dev/null 2>&1 </dev/null", "sh"];

/// A bind mount.
pub fn bind(source: &Path, destination: &str) -> Value {
    json!({"type": "bind", "source": source, "destination": destination,
        "options": ["bind", "rprivate"]})
}

/// The capability sets that docker and runc give: all but the inheritable and the ambient.
pub fn capabilities(names: &[&str]) -> Value {
    json!({"bounding": names, "permitted": names, "effective": names})
}
