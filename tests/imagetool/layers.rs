//! Layers on disk: what overlayfs makes of them, what leaves nothing, what never escapes.

use std::fs;

use e2e::{World, fixtures, tree};

/// The directories of an image's layers, as overlayfs's `lowerdir` wants them: topmost first.
fn lowerdir(w: &World) -> String {
    let mut records = Vec::new();
    for entry in fs::read_dir(w.root().join("layers")).unwrap() {
        let dir = entry.unwrap().path();
        let record = fs::read(dir.join("layer.json")).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
        assert_eq!((&record["version"], &record["overlay"]), (&1.into(), &"trusted".into()));
        records.push((record, dir));
    }
    let mut parent = serde_json::Value::Null;
    let mut lowest_first = Vec::new();
    while let Some((record, dir)) = records.iter().find(|(r, _)| r["parent"] == parent) {
        lowest_first.push(dir.join("fs").to_str().unwrap().to_owned());
        parent = record["chain_id"].clone();
    }
    assert_eq!(lowest_first.len(), records.len(), "one chain");
    lowest_first.reverse();
    lowest_first.join(":")
}

#[test]
fn the_kernels_overlay_of_the_layers_is_what_unpack_makes() {
    for image in ["layers", "debian:bookworm"] {
        let w = World::new();
        w.pull(image);
        let (bundle, copy) = (w.path("bundle"), w.path("copy"));
        w.image(["unpack", image, bundle.to_str().unwrap()]).ok();
        // Copied out of a mount namespace of its own, so that no mount can be left.
        let script = "mkdir $1 $2 && mount -t tmpfs tmpfs $1 && mkdir $1/u $1/w $1/m &&
            mount -t overlay overlay -o lowerdir=$0,upperdir=$1/u,workdir=$1/w $1/m &&
            tar -C $1/m --xattrs --xattrs-include='*' -c . |
            tar -C $2 --numeric-owner --xattrs --xattrs-include='*' -xp";
        let mount = w.path("mount");
        let overlay = w.cmd("unshare").args(["-m", "sh", "-c", script]).arg(lowerdir(&w));
        overlay.arg(&mount).arg(&copy).run().ok();
        tree::same(&bundle.join("rootfs"), &copy);
    }
}

#[test]
fn an_export_is_a_tar_that_gnu_tar_unpacks_to_the_same() {
    let w = World::new();
    w.pull("layers");
    let (bundle, copy) = (w.path("bundle"), w.path("copy"));
    w.image(["unpack", "layers", bundle.to_str().unwrap()]).ok();
    fs::create_dir(&copy).unwrap();
    let (one, two) = (w.path("one.tar"), w.path("two.tar"));
    w.image(["export", "layers", "-o", one.to_str().unwrap()]).ok().out_is("");
    w.image(["export", bundle.to_str().unwrap(), "-o", two.to_str().unwrap()]).ok();
    assert!(fs::read(&one).unwrap() == fs::read(&two).unwrap(), "layers and bundle differ");
    let tar = w.cmd("tar").args(["--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf"]);
    tar.arg(&one).arg("-C").arg(&copy).run().ok();
    tree::same(&bundle.join("rootfs"), &copy);
}

#[test]
fn an_export_to_a_special_file_is_written_into_it_not_over_it() {
    let w = World::new();
    w.pull("busybox");
    let (fifo, copy) = (w.path("fifo"), w.path("copy"));
    let script = "mkfifo $1 && (cat <$1 >$2 &) && $0 export busybox -o $1 && test -p $1";
    let sh = w.cmd("sh").args(["-c", script]).arg(e2e::program("dhow-image"));
    sh.arg(&fifo).arg(&copy).run().ok();
    let plain = w.image(["export", "busybox"]).ok().stdout;
    e2e::until("the fifo is read", || fs::read(&copy).is_ok_and(|bytes| bytes == plain));
}

#[test]
fn import_takes_instructions_and_prints_the_id() {
    let w = World::new();
    let layer = fixtures::Layer::new().file("hello", 0o755, "#!/bin/true\n").finish();
    let import =
        ["import", "-", "made:1", "--change", "CMD [\"/hello\", \"a b\"]", "-c", "ENV A=1"];
    let id = w.image_cmd(import).args(["-m", "why"]).stdin(layer.clone()).run().ok().out();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    let bundle = w.path("bundle");
    w.image(["unpack", &id, bundle.to_str().unwrap()]).ok();
    let config = fs::read(bundle.join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["process"]["args"], serde_json::json!(["/hello", "a b"]));
    assert!(config["process"]["env"].as_array().unwrap().contains(&"A=1".into()));
    let bad = w.image_cmd(["import", "-", "made:2", "-c", "RUN rm -rf /"]).stdin(layer).run();
    bad.refused().err_has("RUN");
    w.image(["unpack", "made:2", w.path("none").to_str().unwrap()]).refused();
}

#[test]
fn a_killed_unpack_leaves_nothing_to_the_next() {
    let w = World::new();
    w.pull("busybox");
    let folder = w.path("folder");
    let dead = folder.join(".dhow-unpack-bundle.XXXXXX/rootfs/etc");
    fs::create_dir_all(&dead).unwrap();
    let other = folder.join(".dhow-unpack-else.XXXXXX");
    fs::create_dir(&other).unwrap();
    w.image(["unpack", "busybox", folder.join("bundle").to_str().unwrap()]).ok();
    let mut left: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".dhow-unpack-else.XXXXXX", "bundle"]);
}

/// SECURITY: passwd as FIFO, as a link to the host's, endless; ids out of range.
#[test]
fn users_are_looked_up_inside_the_image_or_not_at_all() {
    let w = World::new();
    fs::create_dir_all(w.path("tree/etc")).unwrap();
    let make = |what: &str, user: &str| {
        let script = format!("cd tree/etc && rm -f passwd && {what} && tar -S -C .. -c .");
        let tar = w.cmd("sh").args(["-c", &script]).run().ok();
        let change = format!("USER {user}");
        let import = w.image_cmd(["import", "-", "-c", &change]).stdin(tar.stdout.clone());
        let id = import.run().ok().out();
        let bundle = w.path(format!("bundle-{}", id.trim_start_matches("sha256:")));
        (w.image_cmd(["unpack", &id, bundle.to_str().unwrap()]).limit(20).run(), bundle)
    };
    for (passwd, user) in [
        ("mkfifo passwd", "app"),
        ("ln -s /proc/self/fd/0 passwd", "app"),
        ("ln -s /etc/../../../../etc/passwd passwd", "root"),
        ("truncate -s 5M passwd", "app"),
        ("truncate -s 2G passwd", "app"),
        ("true", "2147483648"),
        ("true", "4294967296"),
        ("true", "100000000000"),
        ("true", "-1"),
    ] {
        let (done, bundle) = make(passwd, user);
        done.refused();
        assert!(!bundle.exists(), "{passwd} {user}");
    }
    let (done, bundle) = make("echo app:x:7:8::/home: >passwd", "app");
    done.ok();
    let config = fs::read(bundle.join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    let user = &config["process"]["user"];
    assert_eq!((&user["uid"], &user["gid"]), (&7.into(), &8.into()));
    assert_eq!(user["additionalGids"], serde_json::json!([8]));
}

#[test]
fn hostile_archives_are_refused_or_stay_inside() {
    let w = World::new();
    let outside = w.path("outside");
    fs::create_dir_all(outside.join("etc")).unwrap();
    fs::write(outside.join("etc/passwd"), "sentinel").unwrap();
    let up = format!("{}{}", "../".repeat(20), outside.to_str().unwrap().trim_start_matches('/'));
    let inside = outside.join("etc/passwd");
    let inside = inside.to_str().unwrap();
    let new = fixtures::Layer::new;
    let hostile = [
        new().symlink("x", &up).file("x/etc/passwd", 0o644, "evil"),
        new().symlink("x", outside.to_str().unwrap()).file("x/etc/passwd", 0o644, "evil"),
        new().symlink("x", inside).file("x", 0o644, "evil"),
        new().symlink("x", &up).file("x/.wh.etc", 0o644, ""),
        new().symlink("x", &up).file("x/.wh..wh..opq", 0o644, ""),
        new().symlink("x", &up).dir("x", 0o777).file("x/etc/passwd", 0o644, "evil"),
        new().file(".wh...", 0o644, ""),
    ];
    for (i, layer) in hostile.into_iter().enumerate() {
        let done =
            w.image_cmd(["import", "-", &format!("hostile:{i}")]).stdin(layer.finish()).run();
        if done.code == 0 {
            let bundle = w.path(format!("bundle{i}"));
            w.image(["unpack", &format!("hostile:{i}"), bundle.to_str().unwrap()]).ok();
        }
        assert_eq!(fs::read_to_string(inside).unwrap(), "sentinel", "{i}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "{i}");
    }
}
