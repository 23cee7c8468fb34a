//! What masks a path, and what becomes /dev/console.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use e2e::Pty;
use e2e::bundle::Bundle;
use serde_json::{Value, json};

use crate::scene::{Scene, Verdict, bind, flawed_if};
use crate::targets;

/// What a masked file must not become; unlike core_pattern nobody can write to it, should it work.
const SYSCTL: &str = "/proc/sys/kernel/ostype";

/// A volume for /dev, and a container that shows what masks `/proc/version`.
fn with_dev(s: &Scene) -> (PathBuf, Bundle) {
    let dev = s.w.path("dev");
    fs::create_dir_all(dev.join("pts")).unwrap();
    // Not by way of /dev/null: that is the image's.
    let look = "head -c 40 /proc/version; (echo x >>/proc/version) 2>&-; true";
    let b = s.another("b", &["sh", "-c", look]);
    let proc = json!({"destination": "/proc", "type": "proc", "source": "proc"});
    let b = b.with("/mounts", json!([proc, bind(&dev, "/dev")]));
    (dev, b.with("/linux/maskedPaths", json!(["/proc/version"])))
}

fn shown(s: &Scene, b: &Bundle) -> Option<String> {
    let done = s.run(b);
    s.delete(b);
    let what = match done.out().as_str() {
        "" => return None,
        "Linux" => "a masked file is a sysctl",
        "of the image" => "a masked file is the image's",
        _ => "a masked file can be read",
    };
    Some(what.to_owned())
}

pub fn null_is_a_link(s: &Scene) -> Verdict {
    let (dev, b) = with_dev(s);
    symlink(SYSCTL, dev.join("null")).unwrap();
    shown(s, &b).map_or(Verdict::Safe, Verdict::Flawed)
}

pub fn null_is_a_file(s: &Scene) -> Verdict {
    let (dev, b) = with_dev(s);
    fs::write(dev.join("null"), "of the image\n").unwrap();
    let seen = shown(s, &b);
    let whole = fs::read(dev.join("null")).unwrap() == b"of the image\n";
    seen.map_or_else(|| flawed_if(!whole, "a masked file is the image's"), Verdict::Flawed)
}

pub fn null_is_swapped(s: &Scene) -> Verdict {
    let (dev, b) = with_dev(s);
    if s.w.cmd("mknod").arg(dev.join("null")).args(["c", "1", "3"]).run().code != 0 {
        return Verdict::NotApplicable("no device nodes can be made here".to_owned());
    }
    let (null, link) = (dev.join("null"), dev.join("link"));
    symlink(SYSCTL, &link).unwrap();
    let _swapping = s.swapping(&null, &link);
    for _ in 0..targets::starts() {
        if let Some(seen) = shown(s, &b) {
            return Verdict::Flawed(seen);
        }
    }
    Verdict::Safe
}

/// /dev/zero under that name.
pub fn null_is_another_device(s: &Scene) -> Verdict {
    let (dev, b) = with_dev(s);
    if s.w.cmd("mknod").arg(dev.join("null")).args(["c", "1", "5"]).run().code != 0 {
        return Verdict::NotApplicable("no device nodes can be made here".to_owned());
    }
    shown(s, &b).map_or(Verdict::Safe, Verdict::Flawed)
}

/// The terminal is one of the image's own devpts, and its name there is a link of the image's.
pub fn console(s: &Scene) -> Verdict {
    let pts = s.w.path("pts");
    fs::create_dir_all(pts.join("pts")).unwrap();
    fs::write(s.w.path("target"), "of the image\n").unwrap();
    if s.w.cmd("mknod").arg(pts.join("ptmx")).args(["c", "5", "2"]).run().code != 0 {
        return Verdict::NotApplicable("no device nodes can be made here".to_owned());
    }
    for n in 0..4 {
        symlink("/target", pts.join(n.to_string())).unwrap();
    }
    let look = "echo console is $(stat -L -c %F /dev/console) end";
    let b = s.another("b", &["sh", "-c", look]).with("/process/terminal", json!(true));
    fs::write(b.rootfs("target"), "").unwrap();
    let mut mounts: Vec<Value> = b.config["mounts"].as_array().unwrap().clone();
    let at = mounts.iter().position(|m| m["destination"] == "/dev/pts").unwrap();
    let mut own = mounts[at].clone();
    own["destination"] = json!("/dev/pts/pts");
    mounts[at] = bind(&pts, "/dev/pts");
    mounts.insert(at + 1, own);
    let b = b.with("/mounts", json!(mounts));
    let mut t = Pty::start(s.cmd(["run", "-b", b.path(), b.id()]));
    let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| t.expect(" end")));
    let Ok(seen) = seen else { return Verdict::Safe };
    flawed_if(seen.contains("regular"), "/dev/console is a file of the image")
}
