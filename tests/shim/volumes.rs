//! Binds, volumes, tmpfs.

use std::fs;

use e2e::World;

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

#[test]
fn a_named_volume_gets_the_images_files_once_and_outlives_its_containers() {
    let w = world();
    let run = |script: &str| {
        w.dhow(["run", "--rm", "-v", "store:/etc", "busybox", "sh", "-c", script]).ok().out()
    };
    assert_eq!(run("test -f /etc/passwd && echo mine > /etc/note && echo ok"), "ok");
    assert_eq!(run("cat /etc/note; rm /etc/passwd; echo done"), "mine\ndone");
    assert_eq!(run("test -e /etc/passwd || echo still gone"), "still gone");
    w.dhow(["volume", "ls", "-q"]).ok().out_is("store");
    w.dhow(["create", "--name", "holder", "-v", "store:/x", "busybox"]).ok();
    w.dhow(["volume", "rm", "store"]).code(1).err_has("in use");
    w.dhow(["rm", "-v", "holder"]).ok();
    w.dhow(["volume", "rm", "store"]).ok().out_is("store");
}

#[test]
fn an_anonymous_volume_goes_with_rm() {
    let w = world();
    w.dhow(["run", "--rm", "-v", "/data", "busybox", "touch", "/data/x"]).ok();
    w.dhow(["volume", "ls", "-q"]).ok().out_is("");
    w.dhow(["create", "--name", "one", "-v", "/data", "busybox"]).ok();
    assert_eq!(w.dhow(["volume", "ls", "-q"]).ok().out().len(), 64);
    w.dhow(["rm", "-v", "one"]).ok();
    w.dhow(["volume", "ls", "-q"]).ok().out_is("");
}

#[test]
fn volumes_from_another_container() {
    let w = world();
    w.dhow(["create", "--name", "keeper", "-v", "shared:/data", "busybox"]).ok();
    let from = |mode: &str, script: &str| {
        let keeper = format!("keeper{mode}");
        w.dhow(["run", "--rm", "--volumes-from", &keeper, "busybox", "sh", "-c", script])
    };
    from("", "echo here > /data/x").ok();
    from(":ro", "cat /data/x; echo no > /data/y").code(1).out_is("here");
    w.dhow(["rm", "keeper"]).ok();
    w.dhow(["volume", "rm", "shared"]).ok();
}

#[test]
fn binds_make_their_source_and_mounts_do_not() {
    let w = world();
    let source = w.path("made/here");
    let text = source.display().to_string();
    w.dhow(["run", "--rm", "-v", &format!("{text}:/x"), "busybox", "touch", "/x/y"]).ok();
    assert!(source.join("y").exists());
    let missing = w.path("missing").display().to_string();
    let spec = format!("type=bind,src={missing},dst=/x");
    w.dhow(["run", "--rm", "--mount", &spec, "busybox"]).code(125).err_has(&missing);
    assert!(!w.path("missing").exists());
    fs::write(source.join("y"), "read").unwrap();
    let spec = format!("type=bind,src={text},dst=/x,ro");
    w.dhow(["run", "--rm", "--mount", &spec, "busybox", "sh", "-c", "cat /x/y; : > /x/z"])
        .code(1)
        .out_is("read");
}

#[test]
fn tmpfs_with_its_options() {
    let w = world();
    let say = |flag: &str| {
        let script = "grep ' /t ' /proc/mounts";
        w.dhow(["run", "--rm", flag, "busybox", "sh", "-c", script]).ok().out()
    };
    let plain = say("--tmpfs=/t");
    assert!(plain.contains("tmpfs") && plain.contains("noexec"), "{plain}");
    assert!(!say("--tmpfs=/t:exec").contains("noexec"));
    let sized = say("--mount=type=tmpfs,dst=/t,tmpfs-size=1m");
    assert!(sized.contains("size=1024k"), "{sized}");
}

#[test]
fn a_hostile_images_volume_reaches_nothing_of_the_host() {
    let w = world();
    w.dhow(["create", "--name", "plain", "busybox"]).ok();
    let tar = w.path("root.tar").display().to_string();
    w.dhow(["export", "-o", &tar, "plain"]).ok();
    w.dhow(["rm", "plain"]).ok();
    w.dhow(["import", "-c", "VOLUME /proc", "-c", "CMD [\"true\"]", &tar, "hostile"]).ok();
    w.dhow(["run", "--rm", "hostile"]).code(125).err_has("/proc");
    w.dhow(["volume", "ls", "-q"]).ok().out_is("");
    // A link out of the image at the volume's place: nothing of the host is copied.
    fs::create_dir_all(w.path("evil/bin")).unwrap();
    fs::copy(w.busybox_root().join("bin/busybox"), w.path("evil/bin/busybox")).unwrap();
    let secret = w.path("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("key"), "hidden").unwrap();
    std::os::unix::fs::symlink(&secret, w.path("evil/data")).unwrap();
    let evil = w.path("evil.tar").display().to_string();
    let dir = w.path("evil").display().to_string();
    w.cmd("tar").args(["-cf", &evil, "-C", &dir, "."]).run().ok();
    w.dhow(["import", "-c", "VOLUME /data", &evil, "link"]).ok();
    let done = w.dhow(["run", "--rm", "link", "/bin/busybox", "ls", "-R", "/data"]);
    assert!(!done.out().contains("key"), "{done}");
}
