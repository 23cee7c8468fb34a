//! CVE-2021-30465: whoever shares a root or a volume exchanges the places where mounts go, and their
//! parents, for links to the host's, while containers start.
//!
//! In short a second or so; by hand, `DHOW_LONG=1`: 10,000 starts (`1/10`: a tenth), and their
//! figures are printed (`--nocapture`).

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use e2e::bundle::Bundle;
use e2e::{Cmd, World, needs};
use serde_json::json;

/// What the exchanged names are in turn: each a pair of a place and a link out.
const PAIRS: [(&str, &str); 5] = [
    ("one/here", "one/link"),   // the place itself
    ("two/way", "two/link"),    // its parent
    ("three/a", "three/link"),  // its parent's parent, by a link that climbs
    ("four/file", "four/link"), // a file
    ("five/new", "five/link"),  // the parent of what is to be made
];

/// Binds, as many as the container has to see.
const PLACES: [&str; 5] = ["one/here", "two/way/in", "three/a/b/in", "four/file", "five/new/x/y"];

/// Prints what is mounted of `/given`, then all that can be read by these names, and writes there.
const LOOK: &str = "\
    grep -c /given /proc/self/mountinfo; \
    for p in one/here two/way/in three/a/b/in five/new/x/y one/link two/link/in three/link/b/in; do \
        cat /$p/key; echo in >/$p/written; \
    done 2>/dev/null; \
    cat /four/file /four/link 2>/dev/null; \
    exit 0";

struct Race {
    outside: PathBuf,
    given: PathBuf,
    exchange: PathBuf,
}

impl Race {
    fn new(w: &World) -> Self {
        let race = Self {
            outside: w.path("outside"),
            given: w.path("given"),
            exchange: w.path("exchange"),
        };
        for below in ["in", "b/in", "x/y"] {
            fs::create_dir_all(race.outside.join(below)).unwrap();
            fs::write(race.outside.join(below).join("key"), "outside").unwrap();
        }
        fs::write(race.outside.join("key"), "outside").unwrap();
        fs::create_dir(&race.given).unwrap();
        fs::write(race.given.join("key"), "given").unwrap();
        fs::write(race.given.join("file"), "given").unwrap();
        let source = e2e::workspace().join("tests/runtime/exchange.c");
        Cmd::new("cc").args(["-O1", "-static", "-o"]).arg(&race.exchange).arg(source).run().ok();
        race
    }

    fn bundle(&self, w: &World, name: &str) -> Bundle {
        let b = w.bundle(name, &["sh", "-c", LOOK]);
        for dir in ["one/here", "two/way/in", "three/a/b/in", "four", "five/new"] {
            fs::create_dir_all(b.rootfs(dir)).unwrap();
        }
        fs::write(b.rootfs("four/file"), "").unwrap();
        let up = Path::new("../../../../../../../../../..");
        for (link, to) in [
            ("one/link", self.outside.clone()),
            ("two/link", self.outside.clone()),
            ("three/link", up.join(self.outside.strip_prefix("/").unwrap())),
            ("four/link", self.outside.join("key")),
            ("five/link", self.outside.clone()),
        ] {
            symlink(to, b.rootfs(link)).unwrap();
        }
        PLACES.iter().fold(b, |b, place| {
            let source =
                if place.ends_with("file") { self.given.join("file") } else { self.given.clone() };
            b.and(
                "/mounts",
                json!({"destination": format!("/{place}"), "type": "bind",
                "source": source, "options": ["bind"]}),
            )
        })
    }

    fn exchange(&self, w: &World, b: &Bundle) -> Child {
        let names = PAIRS.iter().flat_map(|(a, b)| [a, b]).map(|name| b.rootfs(name));
        w.cmd(&self.exchange).args(names).start()
    }

    /// All that is outside, with what is in it.
    fn outside(&self) -> BTreeMap<PathBuf, Option<String>> {
        fn walk(dir: &Path, all: &mut BTreeMap<PathBuf, Option<String>>) {
            for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
                all.insert(entry.path(), fs::read_to_string(entry.path()).ok());
                if entry.file_type().unwrap().is_dir() {
                    walk(&entry.path(), all);
                }
            }
        }
        let mut all = BTreeMap::new();
        walk(&self.outside, &mut all);
        all
    }
}

/// Starts of one bundle under its exchanger; how many started and were refused, and the exchanges.
fn starts(w: &World, race: &Race, name: &str, most: usize, until: Instant) -> (usize, usize, u64) {
    let b = race.bundle(w, name);
    let before = race.outside();
    let mut exchange = race.exchange(w, &b);
    let (mut started, mut refused) = (0, 0);
    while started + refused < most && Instant::now() < until {
        let done = w.runtime(["run", "-b", b.path(), b.id()]);
        let said = done.out();
        assert!(!said.contains("outside"), "the container sees outside: {done}");
        assert_eq!(race.outside(), before, "outside was written to: {done}");
        if done.code == 0 {
            started += 1;
            let mounts = said.lines().next().unwrap_or_default();
            assert_eq!(mounts, PLACES.len().to_string(), "a mount is nowhere inside: {done}");
        } else {
            refused += 1;
            assert_eq!(done.err().lines().count(), 1, "{done}");
            let _ = done.refused();
        }
        assert!(!w.runtime_root().join(b.id()).exists(), "its state is left");
    }
    drop(exchange.stdin.take());
    let mut swaps = String::new();
    exchange.stdout.take().unwrap().read_to_string(&mut swaps).unwrap();
    exchange.wait().unwrap();
    (started, refused, swaps.trim().parse().unwrap())
}

#[test]
fn names_exchanged_during_ten_thousand_starts_lead_no_mount_outside() {
    needs!(Machine);
    let w = World::new();
    let race = Race::new(&w);
    let part = std::env::var("DHOW_LONG").ok();
    let of = |part: &str| part.split_once('/').map_or(1, |(_, of)| of.parse().unwrap());
    let long = part.is_some();
    let (most, time) = part.map_or((60, 3), |part| (10_000 / of(&part), 3600));
    let until = Instant::now() + Duration::from_secs(time);
    let sides: &[&str] = if long { &["a", "b"] } else { &["a"] };
    let (started, refused, swaps) = std::thread::scope(|scope| {
        let (w, race, each) = (&w, &race, most / sides.len());
        let one = |name| scope.spawn(move || starts(w, race, name, each, until));
        let sides: Vec<_> = sides.iter().map(|name| one(name)).collect();
        let sides = sides.into_iter().map(|side| side.join().unwrap());
        sides.fold((0, 0, 0), |a, b| (a.0 + b.0, a.1 + b.1, a.2 + b.2))
    });
    eprintln!("{started} started, {refused} refused, {swaps} exchanges, none led outside");
    assert!(started > 0 && swaps > 100, "{started} started, {swaps} exchanges: no race");
}
