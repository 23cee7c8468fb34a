//! Killed in the middle of a pull: the next one works, and what was half done is gone.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use e2e::{Registry, World, fixtures};
use nix::sys::signal::Signal;

#[test]
fn pull_killed_at_any_instant_is_finished_by_the_next() {
    let w = World::new();
    let open = Registry::open();
    let (name, layers) = open.push(&fixtures::unlike("x", "killed", 24 << 20), "killed:1");
    for milliseconds in [2, 8, 20, 40, 60, 90, 130, 180] {
        let mut pull = w.image_cmd(["pull", &name]).start();
        std::thread::sleep(Duration::from_millis(milliseconds));
        pull.kill().unwrap();
        pull.wait().unwrap();
        // Readers are never in its way, and see all of the image or nothing.
        let seen = w.image(["list", "--json"]).ok().out();
        if seen.contains("killed") {
            w.image(["inspect", &name]).ok();
        }
    }
    w.image(["pull", &name]).ok();
    w.image(["unpack", &name, w.path("bundle").to_str().unwrap()]).ok();
    assert_eq!(fs::metadata(w.path("bundle/rootfs/cargo")).unwrap().len(), 24 << 20);
    let blob = w.root().join("images/blobs").join(layers[1].replace(':', "/"));
    let sum = w.cmd("sha256sum").arg(blob).run().ok().out();
    assert!(sum.starts_with(layers[1].trim_start_matches("sha256:")));
    w.image(["remove", &name]).ok();
    let find = w.cmd("find").arg(w.root().join("tmp")).args(["-type", "f"]);
    find.run().ok().out_is("");
}

#[test]
fn told_to_end_it_leaves_nothing_half_made() {
    let w = World::new();
    let (name, _) = Registry::open().push(&fixtures::unlike("y", "told", 24 << 20), "told:1");
    w.image(["pull", &name]).ok();
    let layout = format!("oci:{}:x", w.path("out/layout").display());
    let archive = format!("docker-archive:{}:x", w.path("out/a.tar").display());
    let bundle = w.path("out/bundle").display().to_string();
    let file = w.path("out/s.tar").display().to_string();
    for words in [
        &["unpack", &name, &bundle][..],
        &["save", "-o", &file, &name],
        &["copy", &name, &archive],
        &["copy", &name, &layout],
    ] {
        fs::create_dir_all(w.path("out")).unwrap();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            let mut program = w.image_cmd(words).start();
            // Either something is in the making, or all was done before we saw it.
            while program.try_wait().unwrap().is_none() && half_made(&w).is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
            let pid = i32::try_from(program.id()).unwrap();
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
            let status = program.wait().unwrap();
            assert!(status.success() || status.signal() == Some(signal as i32), "{status}");
            assert_eq!(half_made(&w), "", "{words:?} {signal}");
            fs::remove_dir_all(w.path("out")).unwrap();
            fs::create_dir(w.path("out")).unwrap();
        }
    }
    // By its own clock it is the same.
    let words = ["--command-timeout", "60ms", "unpack", &name, &bundle];
    let _ = w.image(words);
    assert_eq!(half_made(&w), "");
    w.image(["remove", &name]).ok();
}

fn half_made(w: &World) -> String {
    let find = w.cmd("find").arg(w.path("out")).args(["-name", ".dhow-*"]);
    // What goes while it is looked for is no fault.
    find.run().out()
}
