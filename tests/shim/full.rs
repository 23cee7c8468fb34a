//! A disk without room: clear errors, no half of anything, and it goes on when there is room again.

use std::fs;
use std::path::PathBuf;

use e2e::{Cmd, World, needs};

use super::lifecycle::field;

/// A world whose root is a small file system of its own.
struct Small {
    w: World,
    ballast: PathBuf,
}

impl Small {
    fn new() -> Self {
        let w = World::new();
        let root = w.root();
        fs::create_dir_all(&root).unwrap();
        Cmd::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(&root).run().ok();
        w.pull("busybox");
        Self { ballast: root.join("ballast"), w }
    }

    fn fill(&self) {
        let zero = Cmd::new("dd").args(["if=/dev/zero", "bs=64k"]);
        zero.arg(format!("of={}", self.ballast.display())).run().code(1);
        // The last pages, too.
        for n in 0.. {
            let path = self.w.root().join(format!("ballast{n}"));
            if fs::write(path, [0; 1]).is_err() {
                return;
            }
        }
    }

    fn free(&self) {
        for entry in fs::read_dir(self.w.root()).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("ballast") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        Cmd::new("umount").arg("-l").arg(self.w.root()).run();
    }
}

fn names(s: &Small) -> Vec<String> {
    let mut all = s.w.dhow(["ps", "-a", "--format", "{{.Names}} {{.State}}"]).ok().lines();
    all.sort();
    all
}

#[test]
fn every_verb_says_so_and_leaves_what_was() {
    needs!(Root);
    let s = Small::new();
    let w = &s.w;
    let (live, made) = (w.id("live"), w.id("made"));
    w.dhow(["run", "-d", "--name", &live, "busybox", "sleep", "1000"]).ok();
    w.dhow(["create", "--name", &made, "busybox", "true"]).ok();
    let before = names(&s);
    s.fill();
    let full = "No space left on device";
    w.dhow(["create", "--name", &w.id("x"), "busybox", "true"]).code(1).err_has(full);
    w.dhow(["run", "--name", &w.id("y"), "busybox", "true"]).code(125).err_has(full);
    w.dhow(["run", "-d", "--rm", "busybox", "true"]).code(125).err_has(full);
    w.dhow(["start", &made]).code(1).err_has(full);
    w.dhow(["rename", &made, &w.id("z")]).code(1).err_has(full);
    assert_eq!(names(&s), before);
    for place in ["names", "containers"] {
        let left = fs::read_dir(w.root().join(place)).unwrap().flatten();
        let kept = left.filter(|entry| {
            // A state that was being written when the room ended.
            let inside = fs::read_dir(entry.path()).into_iter().flatten().flatten();
            let half = inside.filter(|e| e.file_name().to_string_lossy().ends_with(".tmp"));
            assert_eq!(half.count(), 0, "{}", entry.path().display());
            true
        });
        assert_eq!(kept.count(), 2, "{place}");
    }
    // What runs can be looked at, worked in, and stopped; its end is known.
    w.dhow(["exec", &live, "true"]).ok();
    w.dhow(["stop", "-t", "0", &live]).ok();
    assert_eq!(field(w, &live, "/State/Status"), "exited");
    assert_eq!(field(w, &live, "/State/ExitCode"), 137);
    s.free();
    assert_eq!(field(w, &live, "/State/ExitCode"), 137);
    w.dhow(["start", &live]).ok();
    w.dhow(["start", "-a", &made]).ok();
    // And can be removed where there is no room for anything else.
    s.fill();
    w.dhow(["rm", "-f", &live, &made]).ok();
    assert!(names(&s).is_empty());
    s.free();
    w.dhow(["run", "--rm", "busybox", "echo", "sound"]).ok().out_is("sound");
}

#[test]
fn a_container_that_restarts_or_is_checked_goes_on() {
    needs!(Root);
    let s = Small::new();
    let w = &s.w;
    let name = w.id("c");
    let flags = ["--health-cmd", "true", "--health-interval", "50ms"];
    let run = [&["run", "-d", "--name", &name][..], &flags, &["busybox", "sleep", "1000"]].concat();
    w.dhow(run).ok();
    s.fill();
    std::thread::sleep(std::time::Duration::from_millis(500)); // some checks that can't be noted
    assert_eq!(field(w, &name, "/State/Running"), true);
    s.free();
    e2e::until("it is noted again", || field(w, &name, "/State/Health/Status") == "healthy");
    w.dhow(["rm", "-f", &name]).ok();
}
