//! Copies side by side, copies that fail, and disks that are full.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::harbour::{Asked, Cargo, Harbour};
use e2e::{Registry, World};

use super::refused::one_line;

fn asked_for(harbour: &Harbour, blob: &str) -> usize {
    harbour.asked().iter().filter(|a| a.path.ends_with(blob)).count()
}

#[test]
fn pulls_at_once_fetch_a_blob_once() {
    let w = World::new();
    let cargo = Cargo::new("shared", 3 << 20);
    let layer = cargo.layer();
    let harbour = cargo.serve();
    std::thread::scope(|s| {
        for name in ["a", "b", "c", "d"] {
            let (w, harbour) = (&w, &harbour);
            s.spawn(move || w.image(["pull", &harbour.name(name)]).ok());
        }
    });
    assert_eq!(asked_for(&harbour, &layer), 1);
    let list = w.image(["list", "--json"]).ok().out();
    for name in ["a", "b", "c", "d"] {
        assert!(list.contains(&harbour.name(name)), "{list}");
    }
    assert_eq!(fs::read_dir(w.root().join("tmp/partial")).unwrap().count(), 0);
}

#[test]
fn pull_that_waits_goes_on_when_the_other_dies() {
    let w = World::new();
    let cargo = Cargo::new("heir", 3 << 20);
    let (layer, tries) = (cargo.layer(), AtomicUsize::new(0));
    let target = layer.clone();
    let harbour = Harbour::open(move |asked: &Asked| {
        let first = asked.path.ends_with(&target) && tries.fetch_add(1, Ordering::SeqCst) == 0;
        let fair = cargo.answer(asked);
        if first { fair.stall(1 << 20) } else { fair }
    });
    let name = harbour.name("x");
    let mut holder = w.image_cmd(["pull", &name]).start();
    let partial = w.root().join("tmp/partial").join(layer.replace(':', "-"));
    let until = Instant::now() + Duration::from_secs(30);
    while !fs::metadata(&partial).is_ok_and(|m| m.len() == 1 << 20) {
        assert!(Instant::now() < until, "the first half does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
    let heir = w.image_cmd(["pull", &name]).start();
    let lock = w.cmd("flock").args(["-n", partial.to_str().unwrap(), "true"]).run();
    assert_ne!(lock.code, 0, "the partial file is the first one's");
    holder.kill().unwrap();
    holder.wait().unwrap();
    let done = heir.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let ranges: Vec<String> = (harbour.asked().iter())
        .filter(|a| a.path.ends_with(&layer))
        .map(|a| a.header("range").to_owned())
        .collect();
    assert_eq!(ranges, ["", "bytes=1048576-"]);
}

/// Every file below a directory, with its content's length.
fn files(dir: &Path) -> Vec<(String, u64)> {
    fn walk(dir: &Path, found: &mut Vec<(String, u64)>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let meta = entry.metadata().unwrap();
            found.push((entry.path().display().to_string(), meta.len()));
            if meta.is_dir() {
                walk(&entry.path(), found);
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, &mut found);
    found.sort();
    found
}

#[test]
fn failed_copy_into_a_directory_leaves_it_as_it_was() {
    let w = World::new();
    let mut cargo = Cargo::new("spoiled", 200 << 10);
    let layer = cargo.layer();
    if let Some(bytes) = cargo.blobs.get_mut(&layer) {
        bytes[1000] ^= 1;
    }
    let harbour = cargo.serve();
    let from = format!("docker://{}", harbour.name("x"));
    let good = format!("docker://{}", Registry::open().name("busybox"));
    for (to, dir) in [("oci:fresh:x", "fresh"), ("dir:flat", "flat")] {
        one_line(w.image(["copy", &from, to]), &["corrupt"]);
        assert!(!w.path(dir).exists(), "{:?}", files(&w.path(dir)));
    }
    w.image(["copy", &good, "oci:held:busybox"]).ok();
    let before = files(&w.path("held"));
    one_line(w.image(["copy", &from, "oci:held:x"]), &["corrupt"]);
    assert_eq!(files(&w.path("held")), before);
    // Twice the same, and all is there.
    w.image(["copy", &good, "oci:held:again"]).ok();
    w.cmd("skopeo").args(["inspect", "oci:held:again"]).run().ok();
}

#[test]
fn blob_that_is_not_what_its_name_says_is_put_right() {
    let w = World::new();
    let from = format!("docker://{}", Registry::open().name("busybox"));
    for (to, again, below) in [("oci:o:a", "oci:o:b", "o/blobs/sha256"), ("dir:d", "dir:d", "d")] {
        w.image(["copy", &from, to]).ok();
        let blobs = files(&w.path(below));
        let (largest, _) = blobs.iter().max_by_key(|(_, size)| *size).unwrap();
        let whole = fs::read(largest).unwrap();
        let mut spoiled = whole.clone();
        spoiled[5000] ^= 1;
        fs::write(largest, &spoiled).unwrap();
        w.image(["copy", &from, again]).ok();
        assert_eq!(fs::read(largest).unwrap(), whole, "{largest}");
        assert_eq!(files(&w.path(below)).len(), blobs.len());
    }
}

/// Runs a script with ROOT on a disk of so many KiB, in a mount namespace of its own.
fn on_a_disk(w: &World, size: u32, script: &str) -> e2e::Done {
    fs::create_dir_all(w.root()).unwrap();
    let whole = format!(
        "mount -t tmpfs -o size={size}k tmpfs \"$DHOW_ROOT\" || exit 99\n\
         grow() {{ mount -o remount,size=64m \"$DHOW_ROOT\"; }}\n\
         left() {{ find \"$DHOW_ROOT/tmp\" -type f; find \"$DHOW_ROOT/layers\" -mindepth 1; \
         find \"$DHOW_ROOT/images/blobs\" -type f; }}\n{script}"
    );
    w.cmd("unshare").args(["-m", "sh", "-c", &whole]).run()
}

const ADVICE: &str = "no space left on device: free some, or choose another --root";

#[test]
fn full_disk_is_told_and_leaves_nothing_of_a_pull() {
    let w = World::new();
    let (name, dhow) = (Registry::open().name("busybox"), e2e::program("dhow"));
    let dhow = dhow.display();
    for size in [100, 1000, 1500, 2500] {
        let script = format!(
            "{dhow} pull {name} >/dev/null; echo code $?; {dhow} images -q; left\n\
             grow; {dhow} pull -q {name} && {dhow} images -q | wc -l"
        );
        let done = on_a_disk(&w, size, &script);
        assert!(done.err().contains(ADVICE), "{size}: {done}");
        assert_eq!(done.out(), format!("code 1\n{name}:latest\n1"), "{size}: {done}");
        assert_eq!(done.err().lines().count(), 1, "{size}: {done}");
    }
}

#[test]
fn full_disk_is_told_and_leaves_nothing_of_a_load_or_an_import() {
    let w = World::new();
    w.pull("busybox");
    w.image(["save", "-o", "x.tar", "busybox"]).ok();
    w.cmd("sh").args(["-c", "gzip -k x.tar"]).run().ok();
    w.image(["export", "-o", "root.tar", "busybox"]).ok();
    w.image(["remove", "--force", "busybox"]).ok();
    fs::remove_dir_all(w.root()).unwrap();
    let dhow = e2e::program("dhow");
    let dhow = dhow.display();
    for act in ["load -q -i x.tar", "load -q -i x.tar.gz", "import root.tar flat"] {
        for size in [100, 1500, 2500] {
            let script = format!(
                "{dhow} {act} >/dev/null; echo code $?; {dhow} images -q; left\n\
                 grow; {dhow} {act} >/dev/null && {dhow} images -q | wc -l"
            );
            let done = on_a_disk(&w, size, &script);
            assert!(done.err().contains(ADVICE), "{act} {size}: {done}");
            assert_eq!(done.out(), "code 1\n1", "{act} {size}: {done}");
        }
    }
}
