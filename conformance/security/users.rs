//! Who a program is, and the files that tell of users.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;

use e2e::bundle::Bundle;
use e2e::{Cmd, Done};
use serde_json::{Value, json};

use crate::scene::{Scene, Verdict, flawed_if};

/// -1 and all that has more than 32 bits, which a careless program takes for 0 or for "leave it".
const NO_IDS: [&str; 5] =
    ["-1", "4294967295", "4294967296", "100000000000", "18446744073709551616"];

/// Started as one that is no id, nobody may be.
fn somebody(done: &Done, asked: &str) -> Option<String> {
    (done.code == 0 && done.out() != asked).then(|| format!("{asked} became {}", done.out()))
}

pub fn ranges(s: &Scene) -> Verdict {
    for field in ["uid", "gid"] {
        for asked in NO_IDS.iter().chain(&["2147483648", "\"0\"", "0.5", "1e3"]) {
            let flag = if field == "uid" { "-u" } else { "-g" };
            let b = s.another("b", &["id", flag]);
            let mut text = serde_json::to_string(&b.config).unwrap();
            text = text.replace(&format!("\"{field}\":0"), &format!("\"{field}\":{asked}"));
            fs::write(b.dir().join("config.json"), text).unwrap();
            let done = s.run(&b);
            fs::remove_dir_all(b.dir()).unwrap();
            // Written otherwise, but the same number.
            let asked = if *asked == "1e3" { "1000" } else { asked };
            if let Some(who) = somebody(&done, asked) {
                return Verdict::Flawed(format!("{field} {who}"));
            }
        }
    }
    Verdict::Safe
}

/// The image has users whose names are those numbers.
pub fn of_exec(s: &Scene) -> Verdict {
    let b = s.bundle(&["sleep", "100"]);
    let mut passwd = "root:x:0:0::/:\n".to_owned();
    for name in NO_IDS.iter().chain(&["1", "2147483648"]) {
        writeln!(passwd, "{name}:x:0:0::/:").unwrap();
    }
    fs::create_dir_all(b.rootfs("etc")).unwrap();
    fs::write(b.rootfs("etc/passwd"), passwd).unwrap();
    s.start(&b);
    for asked in NO_IDS.iter().chain(&["1", "2147483648"]) {
        let user = format!("--user={asked}");
        let done = s.cmd(["exec", &user, b.id(), "id", "-u"]).run();
        if let Some(who) = somebody(&done, asked) {
            return Verdict::Flawed(format!("--user {who}"));
        }
        let user = format!("--user=5:{asked}");
        let done = s.cmd(["exec", &user, b.id(), "id", "-g"]).run();
        if let Some(who) = somebody(&done, asked) {
            return Verdict::Flawed(format!("--user 5:{who}"));
        }
    }
    Verdict::Safe
}

pub fn groups_of_caller(s: &Scene) -> Verdict {
    const LOOK: [&str; 3] = ["grep", "^Groups:", "/proc/self/status"];
    let caller = ["setpriv", "--groups", "4242,4243"];
    let b = s.another("c", &LOOK);
    let done = s.cmd(["run", "-b", b.path(), b.id()]).under(caller).run().ok();
    if done.out().contains("424") {
        return Verdict::Flawed(format!("run: {}", done.out()));
    }
    let b = s.bundle(&["sleep", "100"]);
    s.start(&b);
    let done = s.cmd(["exec", b.id()].iter().chain(&LOOK)).under(caller).run().ok();
    flawed_if(done.out().contains("424"), format!("exec: {}", done.out()))
}

/// A bundle whose HOME the runtime has to look up, with an empty /etc.
fn homeless(s: &Scene, args: &[&str]) -> Bundle {
    let b = s.bundle(args).with("/process/env", json!(["PATH=/bin"]));
    let _ = fs::remove_dir_all(b.rootfs("etc"));
    fs::create_dir(b.rootfs("etc")).unwrap();
    b
}

/// What `run` and `exec` in another container print; `None` where one of them is still at work after
/// six seconds. A start that fails is right.
fn both(s: &Scene, b: &Bundle, wrap: impl Fn(Cmd) -> Cmd) -> Option<String> {
    const PATIENCE: [&str; 5] = ["timeout", "--foreground", "-s", "KILL", "6"];
    let said = s.w.path("said");
    let to_file = format!("exec \"$@\" >>{} 2>&1 </dev/null", said.display());
    let ends = |args: &[&str]| {
        let cmd = wrap(s.cmd(args)).under(["sh", "-c", &to_file, "sh"]).under(PATIENCE);
        cmd.run().code != 137
    };
    if !ends(&["run", "-b", b.path(), b.id()]) {
        return None;
    }
    s.delete(b);
    let mut config: Value = b.config.clone();
    config["process"]["args"] = json!(["sleep", "100"]);
    // Where the start looks at it, it is not exec that is tried.
    config["process"]["env"] = json!(["PATH=/bin", "HOME=/"]);
    fs::write(b.dir().join("config.json"), config.to_string()).unwrap();
    let made = s.create(b).code == 0 && s.cmd(["start", b.id()]).run().code == 0;
    let ended = !made || ends(&["exec", "--user", "0:0", b.id(), "sh", "-c", "echo $HOME"]);
    ended.then(|| fs::read_to_string(said).unwrap())
}

pub fn passwd_fifo(s: &Scene) -> Verdict {
    let b = homeless(s, &["true"]);
    for file in ["passwd", "group"] {
        s.w.cmd("mkfifo").arg(b.rootfs("etc").join(file)).run().ok();
    }
    flawed_if(both(s, &b, |cmd| cmd).is_none(), "it waits for ever")
}

pub fn passwd_link(s: &Scene) -> Verdict {
    let b = homeless(s, &["sh", "-c", "echo $HOME"]);
    for file in ["passwd", "group"] {
        let of_host = s.w.path(file);
        fs::write(&of_host, "root:x:0:0::/of-the-host:\n").unwrap();
        symlink(of_host, b.rootfs("etc").join(file)).unwrap();
    }
    let both = both(s, &b, |cmd| cmd).expect("a plain file is read soon");
    flawed_if(both.contains("of-the-host"), "HOME is the host's")
}

pub fn passwd_huge(s: &Scene) -> Verdict {
    let b = homeless(s, &["true"]);
    for file in ["passwd", "group"] {
        let file = fs::File::create(b.rootfs("etc").join(file)).unwrap();
        file.set_len(2 << 30).unwrap();
    }
    let peak = s.w.path("peak");
    let own = std::env::current_exe().unwrap();
    let own = own.to_str().unwrap();
    let peaks = std::cell::RefCell::new(Vec::new());
    let measured = |cmd: Cmd| {
        peaks.borrow_mut().extend(fs::read_to_string(&peak).ok());
        cmd.under([own, "inside", "peak", peak.to_str().unwrap()])
    };
    if both(s, &b, measured).is_none() {
        return Verdict::Flawed("it takes more than six seconds".to_owned());
    }
    peaks.borrow_mut().extend(fs::read_to_string(&peak).ok());
    let most = peaks.borrow().iter().map(|kib| kib.parse::<u64>().unwrap()).max().unwrap();
    flawed_if(most > 128 << 10, format!("it takes {} MiB", most >> 10))
}
