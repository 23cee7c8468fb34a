//! Readers wait for nobody; what is being made or read is not taken away.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use e2e::harbour::{Asked, Cargo, Harbour};
use e2e::{World, until};

/// Holds the writers' lock until it is dropped.
fn writer(w: &World) -> fs::File {
    let lock = fs::File::options().write(true).open(w.root().join("images.lock")).unwrap();
    lock.lock().unwrap();
    lock
}

#[test]
fn readers_go_on_while_the_writers_lock_is_held() {
    let w = World::new();
    w.pull("layers");
    w.image(["list"]).ok();
    let held = writer(&w);
    // Also where the listing must be made anew.
    for cached in [true, false] {
        if !cached {
            fs::remove_dir_all(w.root().join("cache")).unwrap();
            fs::create_dir(w.root().join("cache")).unwrap();
        }
        for verb in [
            &["list"][..],
            &["list", "--json"],
            &["inspect", "layers"],
            &["inspect", "--raw", "layers"],
            &["inspect", "--config", "layers"],
            &["mount"],
        ] {
            w.image_cmd(verb).limit(60).run().ok();
        }
        w.dhow_cmd(["images"]).limit(60).run().ok();
        w.dhow_cmd(["image", "inspect", "layers"]).limit(60).run().ok();
    }
    let mut tag = w.image_cmd(["tag", "layers", "later:1"]).start();
    thread::sleep(Duration::from_millis(100));
    assert!(tag.try_wait().unwrap().is_none(), "a writer waits");
    drop(held);
    assert!(tag.wait().unwrap().success());
    w.image(["inspect", "later:1"]).ok();
}

/// A harbour that stalls in the middle of the image's second layer until it is told to go on.
fn stalling(cargo: Cargo) -> (Harbour, String) {
    let layer = cargo.layer();
    let target = layer.clone();
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let harbour = Harbour::open(move |asked: &Asked| {
        let mine = asked.path.ends_with(&target);
        let first = mine && tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        let fair = cargo.answer(asked);
        if first { fair.stall(1 << 20) } else { fair }
    });
    (harbour, layer)
}

#[test]
fn what_a_pull_counts_on_stays_while_others_remove_and_collect() {
    let w = World::new();
    let cargo = Cargo::new("counted", 3 << 20);
    let (harbour, layer) = stalling(cargo.clone());
    // The same blobs, from another registry, under another name.
    let fair = Arc::new(cargo).as_ref().clone().serve();
    let mut pull = w.image_cmd(["pull", "-q", &harbour.name("x")]).start();
    let partial = w.root().join("tmp/partial").join(layer.replace(':', "-"));
    until("the first half", || fs::metadata(&partial).is_ok_and(|m| m.len() == 1 << 20));
    // What it has in the store already is nobody's yet, and collected by none.
    w.image(["gc"]).ok();
    assert!(partial.exists());
    pull.kill().unwrap();
    pull.wait().unwrap();
    let mut again = w.image_cmd(["pull", "-q", &harbour.name("x")]).start();
    for _ in 0..5 {
        w.image(["pull", "-q", &fair.name("y")]).ok();
        w.image(["remove", "-f", &fair.name("y")]).ok();
        w.image(["gc", "-q"]).ok();
    }
    assert!(again.wait().unwrap().success());
    w.image(["verify", "--deep", &harbour.name("x")]).ok().out_is("");
    w.image(["verify"]).ok().out_is("");
}

#[test]
fn a_tag_that_moves_while_it_is_read() {
    let w = World::new();
    w.pull("layers");
    w.pull("busybox");
    w.image(["tag", "layers", "moving:1"]).ok();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|n| {
                let w = &w;
                scope.spawn(move || {
                    for round in 0..6 {
                        let out = w.path(format!("{n}-{round}.tar"));
                        let tar = out.to_str().unwrap();
                        w.image(["inspect", "moving:1"]).ok();
                        w.image(["save", "-o", tar, "moving:1"]).ok();
                        w.image(["verify", &format!("oci-archive:{tar}")]).ok().out_is("");
                    }
                })
            })
            .collect();
        while !readers.iter().all(thread::ScopedJoinHandle::is_finished) {
            for image in ["busybox", "layers"] {
                w.image(["tag", image, "moving:1"]).ok();
            }
        }
    });
    w.image(["verify"]).ok().out_is("");
}

#[test]
fn a_file_system_without_locks_is_refused_clearly() {
    let w = World::new();
    w.pull("busybox");
    let trace = w.path("trace");
    let under = ["strace", "-f", "-o", trace.to_str().unwrap(), "-e", "inject=flock:error=ENOLCK"];
    let done = w.image_cmd(["tag", "busybox", "x:1"]).under(under).run().refused();
    assert!(done.err().contains("without locks") && done.err().contains("--root"), "{done}");
}
