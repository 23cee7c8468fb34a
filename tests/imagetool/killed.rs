//! Killed in the middle of a pull: the next one works, and what was half done is gone.

use std::fs;
use std::time::Duration;

use e2e::{Registry, World, fixtures};

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
