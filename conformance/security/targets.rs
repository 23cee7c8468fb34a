//! Where mounts land: a volume that two containers share, in which one of them exchanges names.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use e2e::bundle::Bundle;
use serde_json::{Value, json};

use crate::scene::{Scene, Verdict, bind, flawed_if};

/// How many starts a race has: `$SECURITY_STARTS`.
pub fn starts() -> usize {
    std::env::var("SECURITY_STARTS").ok().and_then(|n| n.parse().ok()).unwrap_or(12)
}

/// Mounts at `/vol/swap/…`, while `/vol/swap` is a directory and a link to the host's in turn.
fn race(s: &Scene, mount: Value) -> Verdict {
    let volume = s.w.path("volume");
    fs::create_dir_all(volume.join("swap")).unwrap();
    symlink(s.outside(), volume.join("link")).unwrap();
    let b = s.bundle(&["cut", "-d ", "-f5", "/proc/self/mountinfo"]);
    let b = b.and("/mounts", bind(&volume, "/vol")).and("/mounts", mount);
    let _swapping = s.swapping(&volume.join("swap"), &volume.join("link"));
    for _ in 0..starts() {
        let done = s.run(&b);
        s.delete(&b);
        if let Some(harm) = s.harm() {
            return Verdict::Flawed(harm);
        }
        let landed = done.lines().iter().any(|place| place.ends_with("/point"));
        if done.code == 0 && !landed {
            return Verdict::Flawed("a mount is nowhere inside".to_owned());
        }
    }
    Verdict::Safe
}

pub fn swapped_directory(s: &Scene) -> Verdict {
    race(s, json!({"type": "tmpfs", "source": "tmpfs", "destination": "/vol/swap/point"}))
}

pub fn swapped_file(s: &Scene) -> Verdict {
    let file = s.w.path("file");
    fs::write(&file, "").unwrap();
    race(s, bind(&file, "/vol/swap/point"))
}

/// Without any race: the image has the link.
pub fn linked(s: &Scene) -> Verdict {
    let file = s.w.path("file");
    fs::write(&file, "").unwrap();
    let tmpfs = json!({"type": "tmpfs", "source": "tmpfs", "destination": "/way/point"});
    for (name, mount) in [("tmpfs", tmpfs), ("bind", bind(&file, "/way/point"))] {
        let b = s.another(name, &["true"]).and("/mounts", mount);
        symlink(s.outside(), b.rootfs("way")).unwrap();
        s.run(&b);
    }
    s.unharmed()
}

/// What a volume is filled with is the image's, wherever its links lead.
pub fn copied_up(s: &Scene) -> Verdict {
    let filled = |b: Bundle, place: &Path| {
        symlink(place, b.rootfs("data")).unwrap();
        let mount = json!({"type": "tmpfs", "source": "tmpfs", "destination": "/data",
            "options": ["tmpcopyup"]});
        s.run(&b.and("/mounts", mount)).out()
    };
    let look = ["sh", "-c", "cat /data/*"];
    let whole = filled(s.another("whole", &look), &s.outside());
    let up = Path::new("../../../../../../../../..").join(s.outside().strip_prefix("/").unwrap());
    let climbing = filled(s.another("climbing", &look), &up);
    flawed_if(!format!("{whole}{climbing}").is_empty(), "it holds files of the host")
}
