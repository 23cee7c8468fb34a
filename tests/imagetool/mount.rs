//! Images mounted for reading.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::World;

fn is_mounted(dir: &Path) -> bool {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    text.lines().any(|line| line.split(' ').nth(4) == dir.to_str())
}

#[test]
fn an_image_is_read_where_it_lies_and_kept_alive() {
    let w = World::new();
    w.pull("layers");
    w.image(["unpack", "layers", w.path("bundle").to_str().unwrap()]).ok();
    let dir = PathBuf::from(w.image(["mount", "layers"]).ok().out());
    assert!(is_mounted(&dir));
    let same = w.cmd("diff").args(["-r", "-x", "fifo", "-x", "null", "--no-dereference"]).arg(&dir);
    same.arg(w.path("bundle/rootfs")).run().ok().out_is("");
    assert!(fs::write(dir.join("x"), "").is_err(), "it is for reading");
    // Found again, not made again; listed.
    assert_eq!(w.image(["mount", "layers"]).ok().out(), dir.to_str().unwrap());
    w.image(["mount"]).ok().out_has(&format!("layers:latest {}", dir.display()));
    // Its image may go, its layers don't.
    w.image(["remove", "-f", "layers"]).ok();
    for name in w.image(["list", "-q"]).ok().lines() {
        w.image(["remove", "-f", &name]).ok();
    }
    w.image(["gc"]).ok();
    w.image(["verify"]).ok().out_is("");
    let again =
        w.cmd("diff").args(["-r", "-x", "fifo", "-x", "null", "--no-dereference"]).arg(&dir);
    again.arg(w.path("bundle/rootfs")).run().ok().out_is("");
    w.image(["unmount", dir.to_str().unwrap()]).ok().out_is(dir.to_str().unwrap());
    assert!(!is_mounted(&dir));
    w.image(["gc"]).ok();
    assert_eq!(fs::read_dir(w.root().join("layers")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(w.root().join("mounts")).unwrap().count(), 0);
    w.image(["unmount", "layers"]).code(2);
}

#[test]
fn at_a_directory_of_ones_own() {
    let w = World::new();
    w.pull("busybox");
    let dir = w.path("mnt dir");
    let text = dir.to_str().unwrap();
    w.image(["mount", "busybox", text]).refused();
    fs::create_dir(&dir).unwrap();
    w.image(["mount", "busybox", text]).ok().out_is(text);
    w.image(["mount", "busybox", text]).ok().out_is(text);
    assert!(dir.join("bin").exists() && is_mounted_text("mnt\\040dir"));
    let held = fs::File::open(dir.join("bin")).unwrap();
    w.image(["unmount", "busybox"]).refused().err_has("--force");
    w.image(["unmount", "--force", "busybox"]).ok();
    drop(held);
    assert!(!dir.join("bin").exists());
    w.image(["mount", "busybox", text]).ok();
    w.image(["unmount", "--all"]).ok();
    w.image(["mount"]).ok().out_is("");
}

fn is_mounted_text(part: &str) -> bool {
    fs::read_to_string("/proc/self/mountinfo").unwrap().contains(part)
}

#[test]
fn after_a_reboot_it_is_forgotten() {
    let w = World::new();
    w.pull("busybox");
    let dir = PathBuf::from(w.image(["mount", "busybox"]).ok().out());
    let record = dir.parent().unwrap().join("mount.json");
    let text = fs::read_to_string(&record).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    w.cmd("umount").arg(&dir).run().ok();
    fs::write(&record, text.replace(boot.trim(), "earlier")).unwrap();
    w.image(["remove", "-f", "busybox"]).ok();
    w.image(["mount"]).ok().out_is("");
    assert!(!record.exists());
    fs::create_dir_all(record.parent().unwrap()).unwrap();
    fs::write(&record, "{").unwrap();
    w.image(["mount"]).refused().err_has("mount.json");
    w.image(["verify"]).code(1).out_has("mount.json");
    fs::remove_dir_all(record.parent().unwrap()).unwrap();
}

#[test]
fn without_being_root_it_is_refused() {
    let w = World::new();
    w.pull("busybox");
    let open = w.cmd("chmod").args(["-R", "a+rwX"]).arg(w.path(""));
    open.run().ok();
    let program = e2e::program("dhow-image");
    let args = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let copy = w.path("dhow-image");
    w.cmd("cp").arg(program).arg(&copy).run().ok();
    w.cmd(&copy).args(["mount", "busybox"]).under(args).run().refused().err_has("unpack");
}
