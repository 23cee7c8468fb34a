//! Images whose /dev, /proc and /sys lead elsewhere.

use std::fs;
use std::os::unix::fs::symlink;

use e2e::bundle::Bundle;
use serde_json::json;

use crate::scene::{Scene, Verdict, bind, flawed_if};
use crate::targets;

pub fn dev(s: &Scene) -> Verdict {
    let b = s.another("b", &["true"]);
    let b = b.with("/mounts", json!([{"destination": "/proc", "type": "proc", "source": "proc"}]));
    let _ = fs::remove_dir_all(b.rootfs("dev"));
    symlink(s.outside(), b.rootfs("dev")).unwrap();
    s.run(&b);
    s.unharmed()
}

/// A directory and a link in turn, while it starts.
pub fn dev_swapped(s: &Scene) -> Verdict {
    let b = s.another("b", &["true"]);
    let b = b.with("/mounts", json!([{"destination": "/proc", "type": "proc", "source": "proc"}]));
    symlink(s.outside(), b.rootfs("link")).unwrap();
    let _swapping = s.swapping(&b.rootfs("dev"), &b.rootfs("link"));
    for _ in 0..targets::starts() {
        s.run(&b);
        s.delete(&b);
        if let Some(harm) = s.harm() {
            return Verdict::Flawed(harm);
        }
    }
    Verdict::Safe
}

/// A container that tells what of its proc file systems, wherever they are, is open to it; and a
/// directory of the image's, `/fake`, that may come into the place of /proc.
fn looking_at_proc(s: &Scene) -> Bundle {
    let look = "sed -n 's/^[^ ]* [^ ]* [^ ]* [^ ]* \\([^ ]*\\) .* - proc .*/\\1/p' /proc/self/mountinfo | \
        while read p; do head -c1 $p/version | grep -q . && echo $p is not masked; \
        (: >>$p/sys/kernel/domainname) 2>&- && echo $p/sys is writable; done; true";
    let b = s.another("b", &["sh", "-c", look]);
    fs::create_dir(b.rootfs("fake")).unwrap();
    b.with("/linux/maskedPaths", json!(["/proc/version"]))
}

/// To be refused, or to be masked wherever it has come to stand.
pub fn proc(s: &Scene) -> Verdict {
    let b = looking_at_proc(s);
    let _ = fs::remove_dir_all(b.rootfs("proc"));
    symlink("fake", b.rootfs("proc")).unwrap();
    let done = s.run(&b);
    flawed_if(!done.out().is_empty(), done.lines().join(", "))
}

/// Another container has the same root, and exchanges /proc while this one starts: at the worst
/// moment, which a hook shows, and at any.
pub fn proc_swapped(s: &Scene) -> Verdict {
    let b = looking_at_proc(s);
    symlink("fake", b.rootfs("link")).unwrap();
    let open = |b: &Bundle| {
        let done = s.run(b);
        s.delete(b);
        (!done.out().is_empty()).then(|| Verdict::Flawed(done.lines().join(", ")))
    };
    let root = b.rootfs("").display().to_string();
    let exchange = format!("cd {root} && mv proc real && mv link proc");
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", exchange]}]);
    let b = b.with("/hooks", json!({"createRuntime": hook}));
    if let Some(flawed) = open(&b) {
        return flawed;
    }
    fs::rename(b.rootfs("proc"), b.rootfs("link")).unwrap();
    fs::rename(b.rootfs("real"), b.rootfs("proc")).unwrap();
    let b = b.with("/hooks", json!({}));
    let _swapping = s.swapping(&b.rootfs("proc"), &b.rootfs("link"));
    (0..targets::starts()).find_map(|_| open(&b)).unwrap_or(Verdict::Safe)
}

pub fn sys(s: &Scene) -> Verdict {
    let writable = "grep ' - sysfs ' /proc/self/mountinfo | grep -v ' ro,'; true";
    let b = s.another("b", &["sh", "-c", writable]);
    let _ = fs::remove_dir_all(b.rootfs("sys"));
    symlink(s.outside(), b.rootfs("sys")).unwrap();
    let done = s.run(&b);
    s.harm().map_or_else(|| flawed_if(!done.out().is_empty(), "sysfs is writable"), Verdict::Flawed)
}

/// Straight, and by a link of the image's: what is in /proc then is the volume's.
pub fn volume_over_proc(s: &Scene) -> Verdict {
    let fake = s.w.path("fake");
    fs::create_dir_all(fake.join("self/attr")).unwrap();
    fs::write(fake.join("mark"), "").unwrap();
    for (name, place) in [("straight", "/proc"), ("linked", "/way"), ("part", "/proc/self")] {
        let b = s.another(name, &["sh", "-c", "ls /proc/mark /proc/self/mark 2>/dev/null; true"]);
        symlink("proc", b.rootfs("way")).unwrap();
        let done = s.run(&b.and("/mounts", bind(&fake, place)));
        if done.out().contains("mark") {
            return Verdict::Flawed(format!("{place}: {}", done.out()));
        }
    }
    Verdict::Safe
}
