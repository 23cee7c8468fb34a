//! What the caller has open, and where a program starts.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

use e2e::Done;
use e2e::bundle::Bundle;
use serde_json::json;

use crate::scene::{Ordinary, QUIET, SECRET, Scene, Verdict, capabilities, flawed_if};

/// A caller that forgets to close things: 7 is the host's root.
const LEAK: [&str; 4] =
    ["sh", "-c", "exec 3</dev/null 5</etc 7</ 8</etc/passwd 9</proc; exec \"$@\"", "sh"];

/// The ways from a directory of the host to its secret.
fn ways(s: &Scene) -> [String; 2] {
    let path = s.outside().join("secret").display().to_string();
    [format!(".{path}"), format!("../../../../../..{path}")]
}

/// The runtime's own descriptors lead out, too: which they are nobody knows.
pub fn cwd_of_run(s: &Scene) -> Verdict {
    let ways = ways(s);
    let mut b = s.bundle(&["cat", &ways[0], &ways[1]]);
    for fd in 3..12 {
        b = b.with("/process/cwd", json!(format!("/proc/self/fd/{fd}")));
        let done = s.cmd(["run", "-b", b.path(), b.id()]).under(LEAK).run();
        s.delete(&b);
        if done.out().contains(SECRET) {
            return Verdict::Flawed(format!("descriptor {fd} leads out"));
        }
    }
    Verdict::Safe
}

pub fn cwd_of_exec(s: &Scene) -> Verdict {
    let ways = ways(s);
    let b = s.bundle(&["sleep", "100"]);
    s.start(&b);
    for fd in 3..12 {
        let cwd = format!("/proc/self/fd/{fd}");
        let exec = s.cmd(["exec", "--cwd", &cwd, b.id(), "cat", &ways[0], &ways[1]]);
        if exec.under(LEAK).run().out().contains(SECRET) {
            return Verdict::Flawed(format!("descriptor {fd} leads out"));
        }
    }
    Verdict::Safe
}

/// A shell has nothing open but its streams.
pub fn inherited(s: &Scene) -> Verdict {
    // `:` keeps the shell from becoming ls, which opens the directory.
    const LOOK: &str = "ls -l /proc/$$/fd; :";
    let more = |done: Done| {
        let links = done.ok().lines().into_iter().filter_map(|line| {
            let (words, to) = line.split_once(" -> ")?;
            let number: u32 = words.rsplit(' ').next()?.parse().ok()?;
            (number > 2).then(|| format!("{number} is {to}"))
        });
        links.collect::<Vec<_>>().join(", ")
    };
    let b = s.bundle(&["sh", "-c", LOOK]);
    let seen = more(s.cmd(["run", "-b", b.path(), b.id()]).under(LEAK).run());
    if !seen.is_empty() {
        return Verdict::Flawed(format!("run: {seen}"));
    }
    let b = b.with("/process/args", json!(["sleep", "100"]));
    s.start(&b);
    let seen = more(s.cmd(["exec", b.id(), "sh", "-c", LOOK]).under(LEAK).run());
    flawed_if(!seen.is_empty(), format!("exec: {seen}"))
}

/// Before start: who joins it, or reads its /proc, has what it holds.
pub fn created(s: &Scene) -> Verdict {
    let b = s.bundle(&["true"]);
    s.cmd(["create", "-b", b.path(), b.id()]).under(LEAK).under(QUIET).run().ok();
    let mut held = Vec::new();
    for fd in fs::read_dir(format!("/proc/{}/fd", s.pid(&b))).unwrap().flatten() {
        let to = fs::read_link(fd.path()).unwrap().to_string_lossy().into_owned();
        let Ok(meta) = fs::metadata(fd.path()) else { continue };
        let kind = meta.file_type();
        let number: u32 = fd.file_name().to_string_lossy().parse().unwrap();
        // The fifo of start, sockets and pipes lead to nothing else; a sealed program is its own.
        let harmless = kind.is_fifo() || kind.is_socket() || to.starts_with("/memfd:");
        let harmless = harmless || to.starts_with("anon_inode:");
        if number > 2 && !harmless {
            held.push(format!("{number} is {to}"));
        }
    }
    flawed_if(!held.is_empty(), held.join(", "))
}

/// Looks, from inside, into everybody who comes in.
pub fn entering(s: &Scene) -> Verdict {
    let secret = s.outside().join("secret").display().to_string();
    let look = "while :; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] && continue; \
        cat $p/root$0; for f in $p/fd/*; do cat $f$0 $f/../../../../..$0; done; \
        done 2>/dev/null; : >/looks; done >/seen";
    let b = s.bundle(&["sh", "-c", look, &secret]);
    let names = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"];
    let b = b.with("/process/capabilities", capabilities(&names));
    s.start(&b);
    e2e::until("it looks", || b.rootfs("looks").exists());
    for _ in 0..40 {
        s.exec(&b, &["true"]);
        if !fs::read(b.rootfs("seen")).unwrap().is_empty() {
            return Verdict::Flawed("its root or a descriptor leads out".to_owned());
        }
    }
    Verdict::Safe
}

/// What one that looks may have.
const LOOKS: [&str; 4] = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_KILL"];

/// The same, as bits.
const LOOKING: &str = "80026";

/// A container whose program looks into all that come to its pid namespace; `caps` are theirs.
fn looking(s: &Scene, caps: &str) -> Bundle {
    let secret = s.outside().join("secret").display().to_string();
    let b = s.bundle(&["/attack", "inside", "peek", &secret, caps]);
    let b = b.with("/process/capabilities", capabilities(&LOOKS));
    s.start(&b);
    e2e::until("it looks", || b.rootfs("looks").exists());
    b
}

/// What it has seen.
fn seen(b: &Bundle) -> Verdict {
    let seen = fs::read_to_string(b.rootfs("seen")).unwrap();
    let what = if seen.contains(SECRET) {
        "its root, its directory or a descriptor leads out".to_owned()
    } else {
        seen.lines().next().map(|line| format!("it has {line}")).unwrap_or_default()
    };
    flawed_if(!seen.is_empty(), what)
}

/// Whoever may look into a process may take what it has.
pub fn entering_with_rights(s: &Scene) -> Verdict {
    let b = looking(s, LOOKING);
    for _ in 0..15 {
        s.exec(&b, &["true"]);
    }
    seen(&b)
}

/// A container in the pid namespace of another, which looks.
pub fn foreign_pids(s: &Scene) -> Verdict {
    let first = looking(s, "20");
    let path = format!("/proc/{}/ns/pid", s.pid(&first));
    let mut b = s.another("c", &["true"]);
    let b = {
        for kind in b.config["linux"]["namespaces"].as_array_mut().unwrap() {
            if kind["type"] == "pid" {
                kind["path"] = json!(path);
            }
        }
        b.with("/process/capabilities", capabilities(&["CAP_KILL"]))
    };
    for _ in 0..15 {
        let done = s.cmd(["run", "-b", b.path(), b.id()]).under(QUIET).run();
        assert!(done.code == 0, "cannot run a container in another's pid namespace: {}", done.code);
    }
    seen(&first)
}

/// The same in an ordinary user's container, whose processes are the user's: the host is its files
/// then. Whoever comes in is stopped as early as it can be.
pub fn entering_as_user(s: &Scene) -> Verdict {
    let ann = Ordinary::new(s);
    ann.give(&s.outside());
    let secret = s.outside().join("secret").display().to_string();
    let one = json!([{"containerID": 0, "hostID": Ordinary::UID, "size": 1}]);
    let b = s.another("b", &["/attack", "inside", "peek", &secret]);
    fs::copy(std::env::current_exe().unwrap(), b.rootfs("attack")).unwrap();
    let b = b.and("/linux/namespaces", json!({"type": "user"}));
    let b = b.with("/linux/uidMappings", one.clone()).with("/linux/gidMappings", one);
    let mut b = b.with("/process/capabilities", capabilities(&LOOKS));
    let linux = b.config["linux"].as_object_mut().unwrap();
    linux.retain(|key, _| !["cgroupsPath", "resources"].contains(&key.as_str()));
    for mount in b.config["mounts"].as_array_mut().unwrap() {
        mount["options"].as_array_mut().unwrap().retain(|option| option != "gid=5");
    }
    b.write();
    ann.give(b.dir());
    let made = ann.cmd(["run", "--detach", "--bundle", b.path(), b.id()]).under(QUIET).run();
    if made.code != 0 {
        let why = "it makes no container for an ordinary user here";
        return Verdict::NotApplicable(why.to_owned());
    }
    e2e::until("it looks", || b.rootfs("looks").exists());
    for _ in 0..15 {
        ann.cmd(["exec", b.id(), "true"]).run();
        if fs::metadata(b.rootfs("seen")).unwrap().len() > 0 {
            return Verdict::Flawed("its root or directory leads to the user's files".to_owned());
        }
    }
    Verdict::Safe
}

pub fn cwd_behind_link(s: &Scene) -> Verdict {
    let b = s.bundle(&["true"]).with("/process/cwd", json!("/work/new"));
    symlink(s.outside(), b.rootfs("work")).unwrap();
    s.run(&b);
    s.unharmed()
}

/// A node of the world's stands for the host's, which everybody needs.
pub fn null_inode(s: &Scene) -> Verdict {
    let null = s.w.path("null");
    if s.w.cmd("mknod").arg(&null).args(["c", "1", "3"]).run().code != 0 {
        return Verdict::NotApplicable("no device nodes can be made here".to_owned());
    }
    let streams = format!("exec \"$@\" >{0} 2>{0} <{0}", null.display());
    let streams = ["sh", "-c", &streams, "sh"];
    if s.w.cmd("true").under(streams).run().code != 0 {
        return Verdict::NotApplicable("device nodes do nothing here".to_owned());
    }
    let mode = || fs::metadata(&null).unwrap().permissions().mode() & 0o7777;
    let before = mode();
    let script = "chmod 1600 /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2";
    let with_caps =
        |b: Bundle| b.with("/process/capabilities", capabilities(&["CAP_CHOWN", "CAP_FOWNER"]));
    let b = with_caps(s.bundle(&["sh", "-c", script]));
    s.cmd(["run", "-b", b.path(), b.id()]).under(streams).run();
    if mode() != before {
        return Verdict::Flawed("run gives the inode itself".to_owned());
    }
    let b = with_caps(s.another("c", &["sleep", "100"]));
    s.start(&b);
    s.cmd(["exec", b.id(), "sh", "-c", script]).under(streams).run();
    flawed_if(mode() != before, "exec gives the inode itself")
}
