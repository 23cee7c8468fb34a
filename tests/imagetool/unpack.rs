//! unpack: a bundle that any runtime takes.

use std::fs;
use std::path::Path;

use e2e::{World, fixtures, tree};

fn umoci(w: &World, image: &str, to: &Path) {
    let from = format!("{}:{image}", fixtures::layout().display());
    w.cmd("umoci").args(["unpack", "--image", &from]).arg(to).run().ok();
}

#[test]
fn layers_apply_as_umoci_applies_them() {
    let w = World::new();
    w.pull("layers");
    let (ours, theirs) = (w.path("ours"), w.path("theirs"));
    w.image(["unpack", "layers", ours.to_str().unwrap()]).ok();
    umoci(&w, "layers", &theirs);
    tree::same(&ours.join("rootfs"), &theirs.join("rootfs"));
}

#[test]
fn debian_unpacks_as_umoci_unpacks_it() {
    let w = World::new();
    w.pull("debian:bookworm");
    let (ours, theirs) = (w.path("ours"), w.path("theirs"));
    w.image(["unpack", "debian:bookworm", ours.to_str().unwrap()]).ok();
    umoci(&w, "debian", &theirs);
    tree::same(&ours.join("rootfs"), &theirs.join("rootfs"));
}

#[test]
fn both_runtimes_run_the_bundle_and_print_the_same() {
    let w = World::new();
    w.pull("debian:bookworm");
    let script = "id; pwd; hostname; cat /etc/hostname; env | sort; greet mate; \
        grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status";
    let mut said = Vec::new();
    for (runtime, id) in [("runc", w.id("theirs")), ("dhow-runtime", w.id("ours"))] {
        let bundle = w.path(format!("bundle-{runtime}"));
        w.image(["unpack", "debian:bookworm", bundle.to_str().unwrap()]).ok();
        let file = bundle.join("config.json");
        let mut config: serde_json::Value =
            serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(config["process"]["args"], serde_json::json!(["bash"]));
        config["process"]["args"] = serde_json::json!(["bash", "-c", script]);
        config["process"]["terminal"] = false.into();
        config["hostname"] = "box".into();
        fs::write(&file, config.to_string()).unwrap();
        let run = ["run", "-b", bundle.to_str().unwrap(), &id];
        let done = match runtime {
            "runc" => w.cmd("runc").arg("--root").arg(w.path("runc")).args(run).run(),
            _ => w.runtime(run),
        };
        said.push(done.ok().out());
    }
    assert_eq!(said[0], said[1], "runc left, dhow-runtime right");
    assert!(said[0].contains("ahoy mate"), "{}", said[0]);
}

#[test]
fn image_config_becomes_the_process() {
    let w = World::new();
    w.pull("layers");
    let bundle = w.path("bundle");
    w.image(["unpack", "layers", bundle.to_str().unwrap()]).ok();
    let config: serde_json::Value =
        serde_json::from_slice(&fs::read(bundle.join("config.json")).unwrap()).unwrap();
    let process = &config["process"];
    assert_eq!(process["args"], serde_json::json!(["/bin/echo", "entry", "default", "words"]));
    assert_eq!(process["cwd"], "/odd");
    assert_eq!(process["user"]["uid"], 1000);
    assert_eq!(process["user"]["gid"], 2000);
    assert!(process["env"].as_array().unwrap().contains(&"CARGO=spice and ivory".into()));
}

#[test]
fn the_groups_of_a_bundle_are_umocis_where_it_was_asked_for_as_umoci_is() {
    let w = World::new();
    let etc = fixtures::Layer::new()
        .dir("etc", 0o755)
        .file("etc/passwd", 0o644, "mate:x:7:8::/:\nlone:x:9:10::/:\n")
        .file("etc/group", 0o644, "crew:x:8:\ndeck:x:11:mate\n");
    let place = layered(&w, [etc]);
    let groups = |tool: &str, words: &[&str], to: &str| {
        let words = ["unpack"].iter().chain(words).chain([&to]);
        if tool == "umoci" {
            w.cmd(tool).args(words).run().ok()
        } else {
            w.image(words).ok()
        };
        let config = fs::read(w.path(to).join("config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        config["process"]["user"]["additionalGids"].clone()
    };
    for (user, docker, umoci) in [
        ("mate", serde_json::json!([8, 11]), serde_json::json!([11])),
        ("lone", serde_json::json!([10]), serde_json::Value::Null),
        ("mate:deck", serde_json::json!([11]), serde_json::Value::Null),
    ] {
        w.image(["config", "--image", &place, "--config.user", user]).ok();
        let to = |who: &str| format!("{who}-{}", user.replace(':', "-"));
        assert_eq!(groups("umoci", &["--image", &place], &to("umoci")), umoci, "{user}");
        assert_eq!(groups("ours", &["--image", &place], &to("ours")), umoci, "{user}");
        let place = format!("oci:{place}");
        assert_eq!(groups("ours", &[&place], &to("docker")), docker, "{user}");
    }
}

#[test]
fn directory_in_use_is_not_overwritten() {
    let w = World::new();
    w.pull("busybox");
    let bundle = w.path("bundle");
    fs::create_dir(&bundle).unwrap();
    fs::write(bundle.join("mine"), "keep").unwrap();
    w.image(["unpack", "busybox", bundle.to_str().unwrap()]).refused().err_has("bundle");
    assert_eq!(fs::read_to_string(bundle.join("mine")).unwrap(), "keep");
    assert_eq!(fs::read_dir(&bundle).unwrap().count(), 1);
}

/// An image of these layers in a layout of the world's own.
fn layered(w: &World, layers: impl IntoIterator<Item = fixtures::Layer>) -> String {
    let image = format!("{}:hand", w.path("hand-made").display());
    let layout = w.path("hand-made");
    w.image(["init", "--layout", layout.to_str().unwrap()]).ok();
    w.image(["new", "--image", &image]).ok();
    for (i, layer) in layers.into_iter().enumerate() {
        let tar = w.path(format!("layer{i}.tar"));
        fs::write(&tar, layer.finish()).unwrap();
        w.image(["raw", "add-layer", "--image", &image, tar.to_str().unwrap()]).ok();
    }
    image
}

#[test]
fn straight_from_any_place_without_the_store() {
    let w = World::new();
    let fixture = fixtures::layout();
    let place = format!("oci:{}:layers", fixture.display());
    let (archive, docker, dir) = (w.path("a.tar"), w.path("d.tar"), w.path("dir"));
    for to in [
        format!("oci-archive:{}", archive.display()),
        format!("docker-archive:{}:x:1", docker.display()),
        format!("dir:{}", dir.display()),
    ] {
        w.image(["copy", &place, &to]).ok();
    }
    let registry = format!("docker://{}/layers:latest", e2e::Registry::open().host());
    let want = w.path("want");
    let image = format!("{}:layers", fixture.display());
    w.image_cmd(["unpack", "--image", &image, want.to_str().unwrap()])
        .env("DHOW_ROOT", "/nowhere/at/all")
        .run()
        .ok();
    for (i, from) in [
        place,
        format!("oci-archive:{}", archive.display()),
        format!("docker-archive:{}", docker.display()),
        format!("dir:{}", dir.display()),
        registry,
    ]
    .iter()
    .enumerate()
    {
        let to = w.path(format!("from{i}"));
        w.image(["unpack", from, to.to_str().unwrap()]).ok();
        tree::same(&want.join("rootfs"), &to.join("rootfs"));
    }
    let raw = w.path("raw");
    w.image(["raw", "unpack", "--image", &image, raw.to_str().unwrap()]).ok();
    tree::same(&want.join("rootfs"), &raw);
    assert_eq!(w.image(["list", "-q"]).ok().out(), "");
}

#[test]
fn ids_are_mapped_as_umoci_maps_them() {
    let w = World::new();
    let image = format!("{}:layers", fixtures::layout().display());
    let maps = [
        "--uid-map",
        "0:100000:1000",
        "--uid-map",
        "1000:200000:5000",
        "--gid-map",
        "0:300000:65536",
    ];
    let (ours, theirs) = (w.path("ours"), w.path("theirs"));
    let args = [&["unpack", "--image", &image], &maps[..]].concat();
    w.image_cmd(&args).arg(&ours).run().ok();
    w.cmd("umoci").args(&args).arg(&theirs).run().ok();
    tree::same(&ours.join("rootfs"), &theirs.join("rootfs"));
    let config: serde_json::Value =
        serde_json::from_slice(&fs::read(ours.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["linux"]["uidMappings"][1]["hostID"], 200_000);
    let few = ["unpack", "--image", &image, "--uid-map", "0:0:1", "x"];
    w.image(few).refused().err_has("in no id map");
    assert!(!w.path("x").exists());
}

#[test]
fn without_root_owners_are_kept_in_an_attribute() {
    let w = World::new();
    let layers = [
        fixtures::Layer::new()
            .dir("shut", 0o000)
            .file("shut/secret", 0o000, "s")
            .owner(992, 123)
            .file("given", 0o444, "g")
            .owner(0, 0)
            .char_device("null", 0o666, 1, 3)
            .fifo("pipe", 0o600),
        fixtures::Layer::new().file("shut/more", 0o400, "m").whiteout("shut/secret"),
        fixtures::Layer::new().file("shut/last", 0o000, "l"),
    ];
    let image = layered(&w, layers);
    let program = w.path("dhow-image");
    w.cmd("cp").arg(e2e::program("dhow-image")).arg(&program).run().ok();
    w.cmd("chown").args(["-R", "1000:1000"]).arg(w.path("")).run().ok();
    let user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"];
    let run = |args: &[&str]| w.cmd(&program).args(args).under(user).run();
    let bundle = w.path("bundle");
    let to = bundle.to_str().unwrap();
    run(&["unpack", "--rootless", "--image", &image, to]).ok().err_has("devices");
    let root = bundle.join("rootfs");
    let list = w.cmd("find").arg(&root).args(["-printf", "%P %y %m %U:%G\n"]).run().ok();
    let mut lines = list.lines();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "d 755 1000:1000",
            "given f 444 1000:1000",
            "null f 666 1000:1000",
            "pipe p 600 1000:1000",
            "shut d 0 1000:1000",
            "shut/last f 0 1000:1000",
            "shut/more f 400 1000:1000",
        ]
    );
    let value = w.cmd("getfattr").args(["-e", "hex", "-n", "user.rootlesscontainers"]);
    value.arg(root.join("given")).run().ok().out_has("0x08e007107b");
    // Untouched it has not changed, though nobody may look into it; changed, it is packed.
    let again = format!("{image}-again");
    run(&["repack", "--image", &again, to]).ok();
    w.image(["stat", "--json", "--image", &again]).ok().out_has("\"empty_layer\":true");
    fs::write(root.join("shut/new"), "n").unwrap();
    w.cmd("chown").args(["1000:1000"]).arg(root.join("shut/new")).run().ok();
    fs::remove_file(root.join("shut/last")).unwrap();
    let changed = format!("{image}-changed");
    run(&["repack", "--image", &changed, to]).ok();
    let whole = w.path("whole");
    w.image(["unpack", "--image", &changed, whole.to_str().unwrap()]).ok();
    let list = w.cmd("find").arg(whole.join("rootfs")).args(["-printf", "%P %y %m %U:%G\n"]);
    let mut lines = list.run().ok().lines();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "d 755 0:0",
            "given f 444 992:123",
            "null c 666 0:0",
            "pipe p 600 0:0",
            "shut d 0 0:0",
            "shut/more f 400 0:0",
            "shut/new f 644 0:0",
        ]
    );
}

#[test]
fn links_to_directories_stay_if_that_is_wanted() {
    let w = World::new();
    let layers = [
        fixtures::Layer::new()
            .dir("dir", 0o755)
            .symlink("link", "dir")
            .symlink("link2", "link")
            .symlink("loop", "loop"),
        fixtures::Layer::new()
            .dir("link", 0o700)
            .file("link/b", 0o644, "b")
            .dir("link2", 0o755)
            .file("link2/c", 0o644, "c")
            .dir("loop", 0o755),
    ];
    let image = layered(&w, layers);
    for (flags, want) in [
        (&["--keep-dirlinks"][..], "dir dir/b dir/c link link2 loop"),
        (&[], "dir link link/b link2 link2/c loop"),
    ] {
        let to = w.path(format!("bundle{}", flags.len()));
        let args = [&["unpack", "--image", &image], flags].concat();
        w.image_cmd(args).arg(&to).run().ok();
        let list = w.cmd("find").args([".", "-mindepth", "1", "-printf", "%P\n"]);
        let mut names = list.cwd(to.join("rootfs")).run().ok().lines();
        names.sort_unstable();
        assert_eq!(names.join(" "), want);
        let theirs = w.path(format!("theirs{}", flags.len()));
        let args = [&["unpack", "--image", &image], flags].concat();
        w.cmd("umoci").args(args).arg(&theirs).run().ok();
        let mode = |b: &Path, n: &str| {
            w.cmd("stat").args(["-c", "%f"]).arg(b.join("rootfs").join(n)).run().ok().out()
        };
        for name in ["dir", "link", "loop"] {
            assert_eq!(mode(&to, name), mode(&theirs, name), "{name}");
        }
    }
}

#[test]
fn mtree_manifests_are_understood_both_ways() {
    let w = World::new();
    let image = format!("{}:layers", fixtures::layout().display());
    let (ours, theirs) = (w.path("ours"), w.path("theirs"));
    w.image_cmd(["unpack", "--mtree", "--image", &image]).arg(&ours).run().ok();
    w.cmd("umoci").args(["unpack", "--image", &image]).arg(&theirs).run().ok();
    let manifest = |bundle: &Path| {
        let mut all = fs::read_dir(bundle).unwrap().map(|e| e.unwrap().path());
        all.find(|p| p.extension().is_some_and(|e| e == "mtree")).unwrap()
    };
    let check = |m: &Path, root: &Path| {
        // umoci gives directories that no entry describes, and those they are in, the time of the moment.
        let keywords = "uid,gid,mode,link,nlink,size,sha256digest,xattr";
        let flags = ["raw", "mtree-validate", "-k", keywords, "-f"];
        w.image_cmd(flags).arg(m).arg("-p").arg(root).run()
    };
    check(&manifest(&theirs), &ours.join("rootfs")).ok().out_is("");
    check(&manifest(&ours), &theirs.join("rootfs")).ok().out_is("");
    fs::write(ours.join("rootfs/odd/kept"), "KEPT\n").unwrap();
    fs::remove_file(ours.join("rootfs/odd/noted")).unwrap();
    let done = check(&manifest(&theirs), &ours.join("rootfs")).code(1);
    done.out_has("\"odd/noted\": missing path").out_has("keyword \"sha256digest\": expected");
    w.image(["unpack", "--image", &image, "plain"]).ok();
    let mut names = fs::read_dir(w.path("plain")).unwrap().map(|e| e.unwrap().path());
    let asked = names.any(|p| p.extension().is_some_and(|e| e == "mtree"));
    assert!(!asked, "never unless it is asked for");
}

#[test]
fn layers_that_contradict_themselves_apply_as_umoci_applies_them() {
    let w = World::new();
    let new = fixtures::Layer::new;
    let first = new()
        .dir("gone", 0o755)
        .file("gone/x", 0o644, "x")
        .dir("both", 0o755)
        .file("both/old", 0o644, "old")
        .dir("real", 0o755)
        .file("real/low", 0o644, "low")
        .symlink("link", "real")
        .symlink("text", "/real/low")
        .char_device("null", 0o666, 1, 3)
        .fifo("pipe", 0o644)
        .dir("over", 0o755)
        .file("over/file", 0o644, "f")
        .dir("over/dir", 0o755)
        .file("over/dir/in", 0o644, "in")
        .symlink("over/link", "dir")
        .dir("hidden", 0o755)
        .file("hidden/a", 0o644, "a")
        .dir("hidden/b", 0o755)
        .file("hidden/b/c", 0o644, "c")
        .file("twice", 0o644, "first")
        .file("twice", 0o600, "second")
        .owner(5, 6)
        .file("setuid", 0o6755, "s");
    let second = new()
        .whiteout("gone")
        .dir("gone", 0o700)
        .file("gone/new", 0o644, "new")
        .dir("both", 0o755)
        .file("both/fresh", 0o644, "fresh")
        .whiteout("both/old")
        .file("link/through", 0o644, "through")
        .hard_link("to-low", 0o644, "real/low")
        .hard_link("to-text", 0o777, "text")
        .hard_link("to-null", 0o666, "null")
        .hard_link("to-pipe", 0o644, "pipe")
        .dir("over/file", 0o711)
        .file("over/file/x", 0o644, "x")
        .file("over/dir", 0o644, "no directory")
        .dir("over/link", 0o755)
        .file("over/link/in", 0o644, "in")
        .file("hidden/late", 0o644, "late")
        .dir("hidden", 0o750)
        .opaque("hidden")
        .dir("hidden/b", 0o755)
        .file("hidden/b/d", 0o644, "d");
    let third = new().opaque(".").dir("real", 0o701).file("real/n", 0o644, "n");
    let layers = [first, second, third];
    let mut stack = Vec::new();
    for (i, layer) in layers.into_iter().enumerate() {
        stack.push(layer.finish());
        let image = format!("{}:hand{i}", w.path("hand-made").display());
        let layout = w.path("hand-made");
        w.image(["init", "--layout", layout.to_str().unwrap()]);
        w.image(["new", "--image", &image]).ok();
        for tar in &stack {
            let add = ["raw", "add-layer", "--image", &image, "-"];
            w.image_cmd(add).stdin(tar.clone()).run().ok();
        }
        let (ours, theirs) = (w.path(format!("ours{i}")), w.path(format!("theirs{i}")));
        w.image_cmd(["unpack", "--image", &image]).arg(&ours).run().ok();
        w.cmd("umoci").args(["unpack", "--image", &image]).arg(&theirs).run().ok();
        tree::same(&ours.join("rootfs"), &theirs.join("rootfs"));
    }
}
