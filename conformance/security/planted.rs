//! Runtimes with a flaw: this program stands before the real one, and does one thing as the flawed did.
//!
//! `security planted CASE RUNTIME --root DIR VERB ARGS`: the case's [`Flaw`] may change config.json,
//! the words, or do it all by itself; then the runtime is executed.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

use nix::sched::{CloneFlags, setns};
use serde_json::{Value, json};

use crate::table::TABLE;

/// Makes the flaw of a call.
pub type Flaw = fn(&mut Call);

/// A call of the runtime: `--root DIR VERB ARGS`.
pub struct Call {
    runtime: String,
    words: Vec<String>,
}

/// Executes the runtime, flawed.
pub fn run(args: &[String]) -> ! {
    let [name, runtime, words @ ..] = args else { panic!("planted CASE RUNTIME ARGS") };
    let case = TABLE.iter().find(|case| case.name == name).unwrap();
    let mut call = Call { runtime: runtime.clone(), words: words.to_vec() };
    (case.planted)(&mut call);
    panic!("cannot run {runtime}: {}", call.command().exec());
}

impl Call {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.runtime);
        command.args(&self.words);
        command
    }

    /// Runs the runtime and comes back.
    fn then(&self) -> i32 {
        self.command().status().unwrap().code().unwrap_or(255)
    }

    fn verb(&self) -> &str {
        &self.words[2]
    }

    fn makes(&self) -> bool {
        ["run", "create"].contains(&self.verb())
    }

    fn execs(&self) -> bool {
        self.verb() == "exec"
    }

    /// The state directory.
    fn root(&self) -> &Path {
        Path::new(&self.words[1])
    }

    /// The world's directory, and the one outside of every container in it.
    fn outside(&self) -> PathBuf {
        self.root().with_file_name("outside")
    }

    /// The bundle's directory, of `create` and `run`.
    fn bundle(&self) -> PathBuf {
        let at = self.words.iter().position(|word| word == "-b").unwrap();
        PathBuf::from(&self.words[at + 1])
    }

    fn rootfs(&self, below: &str) -> PathBuf {
        self.bundle().join("rootfs").join(below)
    }

    fn config(&self) -> Value {
        let text = fs::read(self.bundle().join("config.json")).unwrap();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        let mut config = self.config();
        change(&mut config);
        fs::write(self.bundle().join("config.json"), config.to_string()).unwrap();
    }

    fn mount(&self, mount: Value) {
        self.change(|config| config["mounts"].as_array_mut().unwrap().push(mount));
    }

    /// Adds flags behind the verb.
    fn flags(&mut self, flags: &[&str]) {
        let flags = flags.iter().map(|&flag| flag.to_owned());
        self.words.splice(3..3, flags);
    }

    /// The container and the words of an `exec`, whose flags all have their value beside them or in
    /// the same word.
    fn exec_words(&self) -> (String, Vec<String>) {
        let mut words = self.words[3..].iter();
        let id = loop {
            let word = words.next().unwrap();
            match word.as_str() {
                "--cwd" | "--cap" | "--user" => drop(words.next()),
                flag if flag.starts_with('-') => {}
                id => break id.to_owned(),
            }
        };
        (id, words.cloned().collect())
    }

    fn pid(&self, id: &str) -> i64 {
        let root = self.root().to_str().unwrap();
        let state = Command::new(&self.runtime).args(["--root", root, "state", id]).output();
        let state: Value = serde_json::from_slice(&state.unwrap().stdout).unwrap();
        state["pid"].as_i64().unwrap()
    }

    /// Enters namespaces of a container, as those that are fit to be entered so.
    fn enter(&self, id: &str, kinds: &[(&str, CloneFlags)]) {
        let pid = self.pid(id);
        let open = |kind| fs::File::open(format!("/proc/{pid}/ns/{kind}")).unwrap();
        let files: Vec<_> = kinds.iter().map(|(kind, flag)| (open(kind), *flag)).collect();
        for (file, flag) in files {
            setns(file, flag).unwrap();
        }
    }
}

/// What is never closed, and nobody asked for.
pub fn inherited(call: &mut Call) {
    if call.makes() || call.execs() {
        call.flags(&["--preserve-fds", "7"]);
    }
}

/// The directory of a leaked descriptor: the host's root.
pub fn cwd_of_run(call: &mut Call) {
    if call.makes() {
        call.mount(json!({"type": "bind", "source": "/", "destination": "/leaked",
            "options": ["rbind"]}));
        call.change(|config| config["process"]["cwd"] = json!("/leaked"));
    }
}

/// The same of exec, which here doesn't enter at all.
pub fn cwd_of_exec(call: &mut Call) {
    if call.execs() {
        let (_, words) = call.exec_words();
        let status = Command::new(&words[0]).args(&words[1..]).current_dir("/").status();
        exit(status.unwrap().code().unwrap_or(255));
    }
}

/// In the container's processes before it has left the host's root.
pub fn entering(call: &mut Call) {
    if call.execs() {
        let (id, _) = call.exec_words();
        call.enter(&id, &[("pid", CloneFlags::CLONE_NEWPID)]);
        Command::new("sleep").arg("0.1").status().unwrap();
        exit(0);
    }
}

/// Inside, with all that a runtime may do.
pub fn entering_with_rights(call: &mut Call) {
    if call.execs() {
        let (id, _) = call.exec_words();
        call.enter(&id, &[("pid", CloneFlags::CLONE_NEWPID), ("mnt", CloneFlags::CLONE_NEWNS)]);
        Command::new("sleep").arg("0.1").status().unwrap();
        exit(0);
    }
}

/// In another container's pid namespace before it has left the host's root.
pub fn foreign_pids(call: &mut Call) {
    if call.makes() {
        let config = call.config();
        let mut kinds = config["linux"]["namespaces"].as_array().unwrap().iter();
        let path = kinds.find(|kind| kind["type"] == "pid").and_then(|kind| kind["path"].as_str());
        if let Some(path) = path {
            setns(fs::File::open(path).unwrap(), CloneFlags::CLONE_NEWPID).unwrap();
            Command::new("sleep").arg("0.1").status().unwrap();
            exit(0);
        }
    }
}

/// The same by a user: among the container's users first, which pid namespace is theirs.
pub fn entering_as_user(call: &mut Call) {
    if call.execs() {
        let (id, _) = call.exec_words();
        let kinds = [("user", CloneFlags::CLONE_NEWUSER), ("pid", CloneFlags::CLONE_NEWPID)];
        call.enter(&id, &kinds);
        Command::new("sleep").arg("0.1").status().unwrap();
        exit(0);
    }
}

pub fn cwd_behind_link(call: &mut Call) {
    if call.makes() {
        let cwd = call.config()["process"]["cwd"].as_str().unwrap().to_owned();
        fs::create_dir_all(call.rootfs(cwd.trim_start_matches('/'))).unwrap();
    }
}

/// Root inside has changed it.
pub fn null_inode(call: &mut Call) {
    if call.makes() || call.execs() {
        let _ = Command::new("chmod").args(["1600", "/proc/self/fd/0"]).status();
    }
}

/// Enters with its program as it is, and is made to run it there.
pub fn own_program(call: &mut Call) {
    if call.execs() {
        let (id, words) = call.exec_words();
        call.enter(&id, &[("pid", CloneFlags::CLONE_NEWPID), ("mnt", CloneFlags::CLONE_NEWNS)]);
        let status = Command::new(&words[0]).arg("inside").status();
        exit(status.map_or(255, |status| status.code().unwrap_or(255)));
    }
}

/// Makes what the last mount of the config wants, by its path, as the host sees it.
pub fn made_by_path(call: &mut Call) {
    if !call.makes() {
        return;
    }
    let config = call.config();
    let mounts = config["mounts"].as_array().unwrap();
    let target = mounts.last().unwrap()["destination"].as_str().unwrap().to_owned();
    let volume = mounts.iter().find(|mount| mount["destination"] == "/vol");
    let place = match volume {
        Some(volume) => {
            Path::new(volume["source"].as_str().unwrap()).join(target.trim_start_matches("/vol/"))
        }
        None => call.rootfs(target.trim_start_matches('/')),
    };
    let _ = fs::create_dir(place);
}

pub fn copied_up(call: &mut Call) {
    if call.makes() {
        let outside = call.outside();
        call.change(|config| {
            config["mounts"].as_array_mut().unwrap().last_mut().unwrap()["destination"] =
                json!("/copy");
        });
        fs::remove_file(call.rootfs("data")).unwrap();
        call.mount(json!({"type": "bind", "source": outside, "destination": "/data",
            "options": ["bind"]}));
    }
}

/// Makes a device's file by its path before the root is anybody's.
pub fn dev_link(call: &mut Call) {
    if call.makes() {
        fs::write(call.rootfs("dev/null"), "").unwrap();
    }
}

pub fn sys_link(call: &mut Call) {
    if call.makes() {
        fs::create_dir_all(call.rootfs("sys/fs")).unwrap();
    }
}

/// Makes devices by their paths.
pub fn dev_swapped(call: &mut Call) {
    if call.makes() {
        let _ = fs::write(call.rootfs("dev/null"), "");
    }
}

/// Takes the id for a path.
pub fn ids_are_paths(call: &mut Call) {
    let id = call.words.last().unwrap();
    let dir = call.root().join(id);
    match call.verb() {
        "create" => drop(fs::create_dir(dir)),
        "delete" => drop(fs::remove_dir_all(dir)),
        _ => {}
    }
}

/// Masks nothing; a /proc that is a link is where the link leads.
pub fn unmasked(call: &mut Call) {
    if !call.makes() {
        return;
    }
    call.change(|config| {
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    });
    let exchanged = call.rootfs("link").exists();
    if !exchanged && call.rootfs("proc").is_symlink() {
        fs::remove_file(call.rootfs("proc")).unwrap();
        fs::create_dir(call.rootfs("proc")).unwrap();
    }
}

/// The volume is put where it was asked for.
pub fn volume_over_proc(call: &mut Call) {
    if !call.makes() {
        return;
    }
    let mark = call.rootfs("proc");
    call.change(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.pop();
        mounts.retain(|mount| mount["destination"] != "/proc");
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    });
    fs::create_dir_all(&mark).unwrap();
    fs::write(mark.join("mark"), "").unwrap();
}

/// A file of the image's becomes the console.
pub fn console(call: &mut Call) {
    if call.makes() {
        let target = call.root().with_file_name("target");
        call.change(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["destination"] != "/dev/pts");
            mounts.retain(|mount| mount["destination"] != "/dev/pts/pts");
            mounts.push(json!({"type": "bind", "source": target, "destination": "/dev/console",
                "options": ["bind"]}));
            config["process"]["terminal"] = json!(false);
        });
    }
}

/// Writes to what lies over the file of procfs.
fn redirected(call: &Call, text: &str) {
    let over = Path::new(
        call.config()["mounts"].as_array().unwrap().last().unwrap()["source"].as_str().unwrap(),
    )
    .to_owned();
    if over.is_file() {
        fs::write(over, text).unwrap();
    }
}

pub fn label(call: &mut Call) {
    if call.makes() {
        redirected(call, "exec label");
    }
}

pub fn sysctl(call: &mut Call) {
    if call.makes() {
        redirected(call, "77");
    }
}

fn all_sets(process: &mut Value) {
    let sets = process["capabilities"].as_object_mut().unwrap();
    let names = sets["bounding"].clone();
    for set in ["inheritable", "ambient"] {
        sets.insert(set.to_owned(), names.clone());
    }
}

pub fn caps_of_run(call: &mut Call) {
    if call.makes() {
        call.change(|config| all_sets(&mut config["process"]));
    }
}

pub fn caps_of_exec(call: &mut Call) {
    if call.execs() {
        let (id, words) = call.exec_words();
        let names = ["CAP_KILL"];
        let mut process = json!({"args": words, "cwd": "/", "env": ["PATH=/bin:/usr/bin"],
            "user": {"uid": 0, "gid": 0},
            "capabilities": {"bounding": names, "permitted": names, "effective": names}});
        all_sets(&mut process);
        as_process(call, &id, &process);
    }
}

/// Runs `exec` with a file that says what to run.
fn as_process(call: &mut Call, id: &str, process: &Value) {
    let file = call.root().with_file_name("process.json");
    fs::write(&file, process.to_string()).unwrap();
    call.words.truncate(3);
    call.words.extend(["-p".to_owned(), file.display().to_string(), id.to_owned()]);
}

/// 32 bits of a number, as C casts.
pub fn ids_wrap(call: &mut Call) {
    if !call.makes() {
        return;
    }
    call.change(|config| {
        for field in ["uid", "gid"] {
            let id = &mut config["process"]["user"][field];
            *id = json!(id.as_f64().map_or(0, |number| number as i64 as u32 & 0x7fff_ffff));
        }
    });
}

/// A number that is too great is looked for among the names.
pub fn exec_user(call: &mut Call) {
    if call.execs() {
        for word in &mut call.words {
            if let Some(user) = word.strip_prefix("--user=") {
                let plain = |id: &str| id.parse::<u32>().is_ok_and(|id| id < 1000);
                let ids = user.split(':').map(|id| if plain(id) { id } else { "0" });
                *word = format!("--user={}", ids.collect::<Vec<_>>().join(":"));
            }
        }
    }
}

pub fn groups_of_caller(call: &mut Call) {
    if call.makes() {
        call.change(|config| config["process"]["user"]["additionalGids"] = json!([4242]));
    }
}

/// By its path, whole, as the host sees it.
pub fn reads_passwd(call: &mut Call) {
    if call.makes() {
        let mut text = Vec::new();
        // Not all of the huge one: that it doesn't look is enough.
        let file = fs::File::open(call.rootfs("etc/passwd")).unwrap();
        file.take(256 << 20).read_to_end(&mut text).unwrap();
        let text = String::from_utf8_lossy(&text);
        if let Some(home) = text.split(':').nth(5) {
            let home = format!("HOME={home}");
            call.change(|config| {
                config["process"]["env"].as_array_mut().unwrap().push(json!(home));
            });
        }
    }
}

/// Makes the directory that the path leads to.
/// Takes what /proc says of the first thread for the whole, and leaves it alone.
pub fn sees_one_thread(call: &mut Call) {
    if ["kill", "delete"].contains(&call.verb()) {
        let id = call.words.iter().find(|word| word.starts_with("dhow-")).unwrap().clone();
        if crate::ends::looks_ended(call.pid(&id)) {
            eprintln!("container not running");
            exit(1);
        }
    }
}

pub fn cgroup_dots(call: &mut Call) {
    if call.makes() {
        let up = call.config()["linux"]["cgroupsPath"].as_str().unwrap().contains("..");
        let place = call.outside().join("up");
        if up {
            fs::create_dir(place).unwrap();
        }
    }
}

pub fn cgroup_writes(call: &mut Call) {
    if call.makes() {
        call.change(|config| {
            for mount in config["mounts"].as_array_mut().unwrap() {
                if mount["type"] == "cgroup" {
                    mount["options"] = json!(["rw"]);
                }
            }
        });
    }
}

pub fn unfiltered(call: &mut Call) {
    if call.makes() {
        call.change(|config| drop(config["linux"].as_object_mut().unwrap().remove("seccomp")));
    }
}

/// Hooks have what the container has.
pub fn hooks(call: &mut Call) {
    if call.makes() {
        call.change(|config| {
            let env = config["process"]["env"].clone();
            for hooks in config["hooks"].as_object_mut().unwrap().values_mut() {
                hooks[0]["env"] = env.clone();
            }
        });
    }
}

pub fn variables(call: &mut Call) {
    if call.makes() {
        call.change(|config| {
            config["process"]["env"].as_array_mut().unwrap().push(json!("OF_CALLER=1"));
        });
    }
}

/// As if made with the modes that the caller's mask leaves.
pub fn modes(call: &mut Call) {
    if call.verb() == "create" {
        let code = call.then();
        Command::new("chmod").arg("-R").arg("a+rwX").arg(call.root()).status().unwrap();
        exit(code);
    }
}

/// Somebody who waits for whoever asks.
pub fn abstract_sockets(call: &mut Call) {
    if call.verb() == "create" {
        let name = call.root().display().to_string();
        let own = std::env::current_exe().unwrap();
        beside("\"$0\" inside socket \"$1\"", &[own.to_str().unwrap(), &name]);
        let listens = || fs::read_to_string("/proc/net/unix").unwrap().contains(&name);
        e2e::until("it listens", listens);
    }
}

/// Runs a command that the runtime's end doesn't end.
fn beside(command: &str, args: &[&str]) {
    let script = format!("{command} >/dev/null 2>&1 </dev/null &");
    Command::new("sh").arg("-c").arg(script).args(args).status().unwrap();
}

pub fn annotations(call: &mut Call) {
    if call.makes() {
        let stdout =
            call.config()["annotations"]["run.oci.hooks.stdout"].as_str().map(PathBuf::from);
        fs::write(stdout.unwrap(), "").unwrap();
    }
}

/// A process for each that stays.
pub fn execs(call: &mut Call) {
    if call.execs() {
        beside("sh -c 'sleep 1; :' \"$0\"", &[call.root().to_str().unwrap()]);
    }
}

/// Takes what isn't there.
pub fn crashes(call: &mut Call) {
    if call.makes() && call.config()["process"].is_null() {
        exit(139);
    }
}
