//! Images whose /dev, /proc and /sys lead elsewhere.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::scene::{Scene, Verdict, bind, flawed_if};

pub fn dev(s: &Scene) -> Verdict {
    let b = s.another("b", &["true"]);
    let b = b.with("/mounts", json!([{"destination": "/proc", "type": "proc", "source": "proc"}]));
    let _ = fs::remove_dir_all(b.rootfs("dev"));
    symlink(s.outside(), b.rootfs("dev")).unwrap();
    s.run(&b);
    s.unharmed()
}

/// To be refused, or to be masked wherever it has come to stand.
pub fn proc(s: &Scene) -> Verdict {
    let look = "sed -n 's/^[^ ]* [^ ]* [^ ]* [^ ]* \\([^ ]*\\) .* - proc .*/\\1/p' /proc/self/mountinfo | \
        while read p; do head -c1 $p/version | grep -q . && echo $p is not masked; \
        (: >>$p/sys/kernel/domainname) 2>/dev/null && echo $p/sys is writable; done; true";
    let b = s.another("b", &["sh", "-c", look]);
    let b = b.with("/linux/maskedPaths", json!(["/proc/version"]));
    let _ = fs::remove_dir_all(b.rootfs("proc"));
    fs::create_dir(b.rootfs("fake")).unwrap();
    symlink("fake", b.rootfs("proc")).unwrap();
    let done = s.run(&b);
    flawed_if(!done.out().is_empty(), done.lines().join(", "))
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
