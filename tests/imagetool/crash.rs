//! Many at once, killed at any instant, on full disks, and through power cuts: afterwards
//! `verify` finds nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use e2e::{Cmd, Registry, World, fixtures};

/// What an environment variable says, for a long run by hand.
pub fn by_hand(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Numbers that look like chance, the same each time.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// No damage; what killed processes have left is orphaned at most, and `gc` takes it.
#[track_caller]
fn sound(w: &World) {
    let found = w.image(["verify"]).ok();
    let damage: Vec<String> =
        found.lines().into_iter().filter(|line| !line.starts_with("orphan ")).collect();
    assert!(damage.is_empty(), "{damage:?}");
    w.image(["gc", "-q"]).ok();
    w.image(["verify"]).ok().out_is("");
}

/// The images of a crowd: each of its own, all on one layer, every third the same.
fn crowd(count: usize) -> Vec<String> {
    let open = Registry::open();
    let push = |n: usize| {
        let name = format!("crowd-{n}:1");
        open.push(&fixtures::unlike("x", &format!("crowd {n}"), 300 << 10), &name).0
    };
    (0..count).map(push).collect()
}

#[test]
fn pulls_side_by_side_and_killed() {
    let rounds = by_hand("DHOW_ROUNDS", 2);
    let (many, images) = if rounds > 2 { (100, 20) } else { (24, 6) };
    let w = World::new();
    let names = crowd(images);
    let mut dice = Dice(rounds);
    for round in 0..rounds {
        let killing = round % 4 != 3;
        let mut running: Vec<(Child, usize, bool)> = Vec::new();
        for _ in 0..many {
            let at = dice.below(names.len() as u64) as usize;
            let verb: Vec<&str> = match dice.below(16) {
                0 => vec!["remove", "-f", &names[at]],
                1 => vec!["tag", &names[at], "crowd:moving"],
                2 => vec!["gc", "-q"],
                3 => vec!["list", "-q"],
                4 => vec!["compact", "-q"],
                5 => vec!["compact", "-q", "--undo"],
                _ => vec!["pull", "-q", &names[at]],
            };
            let pulls = verb[0] == "pull";
            let removes = verb[0] == "remove";
            if removes && !killing {
                continue;
            }
            running.push((quiet(&w, &verb), at, pulls));
            if killing && dice.below(3) == 0 {
                thread::sleep(Duration::from_millis(dice.below(15)));
                let victim = dice.below(running.len() as u64) as usize;
                let _ = running[victim].0.kill();
            }
        }
        if killing {
            for _ in 0..many / 2 {
                thread::sleep(Duration::from_millis(dice.below(20)));
                let victim = dice.below(running.len() as u64) as usize;
                let _ = running[victim].0.kill();
            }
        }
        let mut pulled = BTreeSet::new();
        for (mut child, at, pulls) in running {
            if child.wait().unwrap().success() && pulls {
                pulled.insert(&names[at]);
            } else {
                assert!(killing || !pulls, "a pull failed in round {round}");
            }
        }
        sound(&w);
        if !killing {
            // No name is lost: every pull that ended well is there.
            let list = w.image(["list", "--json"]).ok().out();
            for name in pulled {
                assert!(list.contains(name.as_str()), "round {round}: {name} is lost");
            }
        }
        if round % 4 == 0 {
            w.image(["prune", "-a", "-q"]).ok();
        }
    }
    w.image(["prune", "-a", "-q"]).ok();
    w.image(["verify"]).ok().out_is("");
    let left = w.cmd("find").arg(w.root().join("tmp")).args(["-type", "f", "-size", "+0"]);
    let left = left.args(["-not", "-path", "*/partial/*"]).run().ok();
    left.out_is("");
}

fn quiet(w: &World, args: &[&str]) -> Child {
    let mut command: Command = w.image_cmd(args).command();
    let nothing = std::process::Stdio::null;
    command.stdin(nothing()).stdout(nothing()).stderr(nothing()).spawn().unwrap()
}

/// A root on a small file system of its own.
struct Small {
    w: World,
}

impl Small {
    fn new(size: &str) -> Self {
        let w = World::new();
        fs::create_dir_all(w.root()).unwrap();
        let options = format!("size={size}");
        Cmd::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(w.root()).run().ok();
        Self { w }
    }

    fn free(&self) -> u64 {
        let stat = nix::sys::statvfs::statvfs(&self.w.root()).unwrap();
        stat.blocks_available() * stat.fragment_size()
    }

    /// Leaves so many bytes.
    fn leave(&self, bytes: u64) {
        let size = self.free().saturating_sub(bytes);
        let path = self.ballast();
        Cmd::new("fallocate").args(["-l", &size.to_string()]).arg(path).run().ok();
    }

    fn ballast(&self) -> PathBuf {
        self.w.root().join("ballast")
    }

    /// Everything but what can be rebuilt.
    fn files(&self) -> Vec<String> {
        let find = self.w.cmd("find").arg(self.w.root());
        let not =
            ["-not", "-path", "*/cache/*", "-not", "-name", "ballast", "-printf", "%P %y %s\n"];
        let mut all = find.args(not).run().ok().lines();
        // Of the root itself there is no path.
        all.retain(|line| !line.contains(" d ") && !line.starts_with("d "));
        all.sort();
        all
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        Cmd::new("umount").arg("-l").arg(self.w.root()).run();
    }
}

/// Runs `act` with ever more room, until it passes: each failure is one clear line and leaves
/// nothing.
fn with_little_room(
    points: u64,
    needs: u64,
    prepare: impl Fn(&World),
    act: impl Fn(&World) -> Cmd,
) {
    let s = Small::new("48m");
    let w = &s.w;
    w.image(["list"]).ok();
    prepare(w);
    let before = s.files();
    let mut failed = 0;
    for point in 0..points {
        s.leave(point * needs / points);
        let done = act(w).run();
        fs::remove_file(s.ballast()).unwrap();
        if done.code != 0 {
            failed += 1;
            assert!(done.err().to_lowercase().contains("no space left"), "{done}");
            assert_eq!(done.err().lines().last().unwrap().matches("no space").count(), 1, "{done}");
            w.image(["verify"]).ok().out_is("");
            let after: Vec<String> = s.files();
            let new: Vec<&String> = after.iter().filter(|f| !before.contains(f)).collect();
            assert!(new.is_empty(), "with {} bytes: {new:?}", point * needs / points);
            assert_eq!(after.len(), before.len());
        } else {
            w.image(["verify"]).ok().out_is("");
            break;
        }
    }
    assert!(failed > 0, "there was room");
    act(w).run().ok();
    w.image(["verify"]).ok().out_is("");
}

fn points() -> u64 {
    by_hand("DHOW_POINTS", 2)
}

#[test]
fn disk_full_in_a_pull() {
    let image = fixtures::unlike("x", "full", 2 << 20);
    let (name, _) = Registry::open().push(&image, "full:1");
    with_little_room(points(), 7 << 20, |_| (), |w| w.image_cmd(["pull", "-q", &name]));
}

#[test]
fn disk_full_in_an_import() {
    let tar = World::new();
    let path = tar.path("root.tar");
    tar.cmd("sh").args(["-c", "head -c 3m /dev/urandom >big && tar cf root.tar big"]).run().ok();
    let path = path.to_str().unwrap().to_owned();
    with_little_room(points(), 7 << 20, |_| (), |w| w.image_cmd(["import", &path, "full:1"]));
}

#[test]
fn disk_full_in_a_load() {
    let other = World::new();
    other.pull("busybox");
    let tar = other.path("save.tar").to_str().unwrap().to_owned();
    other.image(["save", "-o", &tar, "busybox"]).ok();
    with_little_room(points(), 3 << 20, |_| (), |w| w.image_cmd(["load", "-q", "-i", &tar]));
}

#[test]
fn disk_full_in_a_compaction() {
    let prepare = |w: &World| {
        let tar = "head -c 3m /dev/urandom >big && tar cf root.tar big";
        w.cmd("sh").args(["-c", tar]).run().ok();
        w.image(["import", "root.tar", "full:1"]).ok();
    };
    // A recipe is small: there is room for none of it.
    with_little_room(points(), 8 << 10, prepare, |w| w.image_cmd(["compact", "full:1"]));
}

#[test]
fn disk_full_in_a_repair() {
    let image = fixtures::unlike("x", "repaired", 2 << 20);
    let (name, layers) = Registry::open().push(&image, "repaired:1");
    let s = Small::new("48m");
    let w = &s.w;
    w.image(["pull", "-q", &name]).ok();
    let before = s.files();
    let blob = w.root().join("images/blobs").join(layers[0].replace(':', "/"));
    for point in 0..points() {
        fs::write(&blob, "damage").unwrap();
        s.leave(point * (2 << 20) / points());
        let done = w.image(["verify", "--repair"]);
        fs::remove_file(s.ballast()).unwrap();
        if done.code == 0 {
            assert!(point > 0, "there was room");
            break;
        }
        assert!(done.to_string().contains("no space left"), "{done}");
        w.image(["verify"]).code(1).out_has(&layers[0]);
        w.image(["verify", "--repair"]).ok().out_has("repaired layer");
        w.image(["gc", "-q"]).ok();
        assert!(s.files() == before, "with {} bytes", point * (2 << 20) / points());
    }
}

#[test]
fn disk_full_in_a_mount() {
    let s = Small::new("48m");
    let w = &s.w;
    w.pull("busybox");
    let before = s.files();
    s.leave(0);
    let done = w.image(["mount", "busybox"]).refused();
    fs::remove_file(s.ballast()).unwrap();
    assert!(done.err().to_lowercase().contains("no space left"), "{done}");
    assert!(s.files() == before, "something is left");
    w.image(["mount"]).ok().out_is("");
    w.image(["mount", "busybox"]).ok();
    w.image(["unmount", "-a"]).ok();
}

#[test]
fn disk_full_in_a_commit() {
    let w = World::new();
    let name = w.id("c");
    let prepare = |s: &World| {
        s.pull("busybox");
        s.dhow(["create", "--name", &name, "busybox", "true"]).ok();
        let containers = fs::read_dir(s.root().join("containers")).unwrap();
        let upper = containers.flatten().next().unwrap().path().join("upper");
        let out = format!("of={}", upper.join("big").display());
        s.cmd("dd").args(["if=/dev/urandom", "bs=1M", "count=3", &out]).run().ok();
    };
    with_little_room(points(), 7 << 20, prepare, |s| s.dhow_cmd(["commit", &name, "full:1"]));
}
