//! Images changed where they lie: umoci's verbs, on layouts, the store and registries.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Child;

use e2e::{Done, Registry, World, fixtures};
use serde_json::{Value, json};

/// A verb on the layout's image of a name, at a fixed time.
fn at(w: &World, verb: &str, image: &str, flags: &[&str]) -> Done {
    let words = verb.split(' ').chain(["--image", image]).chain(flags.iter().copied());
    w.image_cmd(words).env("SOURCE_DATE_EPOCH", "1700000000").run()
}

/// A copy of the fixtures' layout.
fn layout(w: &World) -> String {
    let dir = w.path("layout").display().to_string();
    w.cmd("cp").args(["-r", fixtures::layout().to_str().unwrap(), &dir]).run().ok();
    dir
}

fn index(dir: &str) -> Value {
    serde_json::from_slice(&fs::read(Path::new(dir).join("index.json")).unwrap()).unwrap()
}

fn blob(dir: &str, digest: &Value) -> Vec<u8> {
    let path = digest.as_str().unwrap().replace(':', "/");
    fs::read(Path::new(dir).join("blobs").join(path)).unwrap()
}

/// Writes a document as a blob; its descriptor.
fn put(dir: &str, kind: &str, bytes: &[u8]) -> Value {
    use sha2::Digest as _;
    let hex: Vec<String> = sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
    let hex = hex.concat();
    fs::write(Path::new(dir).join("blobs/sha256").join(&hex), bytes).unwrap();
    json!({ "mediaType": kind, "digest": format!("sha256:{hex}"), "size": bytes.len() })
}

/// Names a descriptor in the layout's index.
fn name(dir: &str, mut descriptor: Value, tag: &str) {
    descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
    let mut index = index(dir);
    index["manifests"].as_array_mut().unwrap().push(descriptor);
    fs::write(Path::new(dir).join("index.json"), index.to_string()).unwrap();
}

#[test]
fn an_image_is_made_of_nothing_and_umoci_and_skopeo_read_it() {
    let w = World::new();
    let dir = w.path("new").display().to_string();
    let made = |dir: &str| {
        w.image(["init", "--layout", dir]).ok().out_is("");
        w.image(["init", "--layout", dir]).refused();
        let image = format!("{dir}:one");
        at(&w, "new", &image, &[]).ok().out_is("");
        let tar = w.path("l.tar");
        fs::write(w.path("file"), "hi\n").unwrap();
        let pack = ["--mtime=@1", "-C", w.path("").to_str().unwrap(), "-cf"].map(str::to_owned);
        w.cmd("tar").args(pack).arg(&tar).arg("file").run().ok();
        let tar = tar.to_str().unwrap();
        at(&w, "raw add-layer", &image, &[tar]).ok().out_is("");
        at(&w, "raw add-layer", &image, &["--compress", "zstd", "--no-history", tar]).ok();
        let set = "--config.user u:g --config.env A=1 --config.env B=2 --config.env A=3 \
            --config.cmd -c --config.cmd x --config.entrypoint sh --config.label l=v \
            --config.volume /v --config.exposedports 80/tcp --config.workingdir /w \
            --config.stopsignal SIGUSR1 --author me --os linux --architecture riscv64 \
            --platform.variant v1 --manifest.annotation a=b --history.comment c \
            --created 1997-03-25T13:40:00+01:00";
        at(&w, "config", &image, &set.split_whitespace().collect::<Vec<_>>()).ok().out_is("");
    };
    made(&dir);
    let image = format!("{dir}:one");
    let config = w.cmd("skopeo").args(["inspect", "--config", &format!("oci:{image}")]);
    let config = config.run().ok().json();
    assert_eq!(
        config["config"],
        json!({
            "User": "u:g", "ExposedPorts": {"80/tcp": {}}, "Env": ["A=3", "B=2"],
            "Entrypoint": ["sh"], "Cmd": ["-c", "x"], "Volumes": {"/v": {}},
            "WorkingDir": "/w", "Labels": {"l": "v"}, "StopSignal": "SIGUSR1",
        })
    );
    assert_eq!(config["created"], "1997-03-25T13:40:00+01:00");
    let history = &config["history"];
    assert_eq!(history.as_array().unwrap().len(), 2);
    assert_eq!(history[1]["created"], "2023-11-14T22:13:20Z");
    assert_eq!((&history[1]["comment"], &history[1]["author"]), (&json!("c"), &json!("me")));
    w.cmd("umoci").args(["stat", "--image", &image]).run().ok().out_has("dhow-image config");
    let told = w.image(["stat", "--json", "--image", &image]).ok().json();
    assert_eq!(told["manifest"]["blob"]["annotations"]["a"], "b");
    let kinds: Vec<&str> = ["/manifest/blob/layers/0", "/manifest/blob/layers/1"]
        .map(|at| told.pointer(at).unwrap()["mediaType"].as_str().unwrap())
        .to_vec();
    assert!(kinds[0].ends_with("tar+gzip") && kinds[1].ends_with("tar+zstd"), "{kinds:?}");
    w.image(["stat", "--image", &image]).ok().out_has("\tStop Signal: SIGUSR1\n");
    // The same again is the same, byte for byte.
    let again = w.path("again").display().to_string();
    made(&again);
    assert_eq!(index(&dir), index(&again));
    at(&w, "config", &image, &["--clear=config.env", "--clear", "config.cmd", "--no-history"]).ok();
    let config = w.cmd("skopeo").args(["inspect", "--config", &format!("oci:{image}")]);
    let config = config.run().ok().json();
    assert!(config["config"].get("Env").is_none() && config["config"].get("Cmd").is_none());
}

#[test]
fn what_is_not_known_stays_as_it_is_byte_for_byte() {
    let w = World::new();
    let dir = layout(&w);
    let old = blob(&dir, &index(&dir)["manifests"][0]["digest"]);
    let old: Value = serde_json::from_slice(&old).unwrap();
    let config = blob(&dir, &old["config"]["digest"]);
    let config: Value = serde_json::from_slice(&config).unwrap();
    let text = format!(
        "{{\"odd\": [1.50e1,  {{\"x\":null}}],\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{{\"Odd\": 123456789012345678901234567890.0}},\n\"rootfs\":{}}}",
        config["rootfs"]
    );
    let config = put(&dir, "application/vnd.oci.image.config.v1+json", text.as_bytes());
    let manifest = format!(
        "{{\"layers\":{},  \"odd\":123456789012345678901234567890.0,\"schemaVersion\":2,\"config\":{config}}}",
        old["layers"]
    );
    let manifest = put(&dir, "application/vnd.oci.image.manifest.v1+json", manifest.as_bytes());
    name(&dir, manifest.clone(), "odd");
    let image = format!("{dir}:odd");
    // Nothing changed: nothing changes.
    at(&w, "config", &image, &["--no-history", "--tag", "same"]).ok();
    let same = index(&dir)["manifests"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(same["digest"], manifest["digest"]);
    at(&w, "config", &image, &["--no-history", "--config.env", "A=1"]).ok();
    let entry = index(&dir)["manifests"].as_array().unwrap().last().unwrap().clone();
    let manifest = String::from_utf8(blob(&dir, &entry["digest"])).unwrap();
    assert!(manifest.contains("\"odd\":123456789012345678901234567890.0"), "{manifest}");
    let told = w.image(["stat", "--json", "--image", &image]).ok().json();
    let config = String::from_utf8(blob(&dir, &told["config"]["descriptor"]["digest"])).unwrap();
    let start = "{\"odd\":[1.50e1,  {\"x\":null}],\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"Odd\":123456789012345678901234567890.0,\"Env\":[\"A=1\"]},";
    assert!(config.starts_with(start), "{config}");
}

#[test]
fn of_a_list_one_platforms_image_is_changed() {
    let w = World::new();
    let dir = layout(&w);
    let index_kind = "application/vnd.oci.image.index.v1+json";
    let mut one = index(&dir)["manifests"][0].clone();
    let mut two = index(&dir)["manifests"][1].clone();
    for (entry, arch) in [(&mut one, "amd64"), (&mut two, "s390x")] {
        entry.as_object_mut().unwrap().remove("annotations");
        entry["platform"] = json!({"os": "linux", "architecture": arch});
    }
    let list = json!({"schemaVersion": 2, "mediaType": index_kind, "manifests": [one, two]});
    name(&dir, put(&dir, index_kind, list.to_string().as_bytes()), "both");
    let image = format!("{dir}:both");
    at(&w, "config", &image, &["--platform", "linux/s390x", "--author", "x"]).ok();
    let entry = index(&dir)["manifests"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(entry["mediaType"], index_kind);
    let list: Value = serde_json::from_slice(&blob(&dir, &entry["digest"])).unwrap();
    assert_eq!(list["manifests"][0], one);
    assert_ne!(list["manifests"][1]["digest"], two["digest"]);
    assert_eq!(list["manifests"][1]["platform"], two["platform"]);
    let place = format!("oci:{image}");
    w.cmd("skopeo").args(["--override-arch", "s390x", "inspect", &place]).run().ok();
    w.image(["stat", &place, "--platform", "linux/s390x"]).ok().out_has("Author: x");
}

#[test]
fn the_store_and_registries_are_changed_by_the_same_verbs() {
    let w = World::new();
    w.pull("busybox");
    w.image(["config", "busybox", "--config.env", "A=1", "--tag", "changed"]).ok();
    let told = w.image(["inspect", "--config", "busybox:changed"]).ok().json();
    assert!(told["config"]["Env"].as_array().unwrap().contains(&json!("A=1")));
    let told = w.image(["inspect", "--config", "busybox"]).ok().out();
    assert!(!told.contains("A=1"), "{told}");
    let name = Registry::open().name("edited/busybox:1");
    w.image(["push", "busybox", &name]).ok();
    let place = format!("docker://{name}");
    w.image(["config", &place, "--config.label", "x=y"]).ok();
    w.image(["stat", &place]).ok().out_has("x: y");
    w.image(["new", "nothing:1"]).ok();
    fs::write(w.path("f"), "hi").unwrap();
    let tar = w.path("f.tar");
    w.cmd("tar").args(["-C", w.path("").to_str().unwrap(), "-cf"]).arg(&tar).arg("f").run().ok();
    w.image(["raw", "add-layer", "nothing:1", tar.to_str().unwrap()]).ok();
    w.image(["unpack", "nothing:1", w.path("b").to_str().unwrap()]).ok();
    assert_eq!(fs::read(w.path("b/rootfs/f")).unwrap(), b"hi");
    w.image(["config", "dir:/x"]).refused().err_has("copy it there first");
}

#[test]
fn what_is_typed_wrongly_changes_nothing() {
    let w = World::new();
    let dir = layout(&w);
    let before = fs::read(Path::new(&dir).join("index.json")).unwrap();
    let image = format!("{dir}:busybox");
    for flags in [
        "--image x:.bad",
        "--image :x",
        "--image DIR:",
        "--image DIR:none",
        "--image DIR-not:busybox",
        "--image DIR:busybox too many",
        "--image DIR:busybox --tag .bad",
        "--image DIR:busybox --tag=",
        "--image DIR:busybox --config.env A",
        "--image DIR:busybox --config.label =x",
        "--image DIR:busybox --clear rootfs.diffids",
        "--image DIR:busybox --clear what",
        "--image DIR:busybox --created yesterday",
        "--image DIR:busybox --history.created 1997",
        "--image DIR:busybox --no-history --history.author x",
        "--image DIR:busybox --manifest.annotation x",
        "",
    ] {
        let words = flags.replace("DIR", &dir);
        w.image(["config"].into_iter().chain(words.split_whitespace())).refused();
    }
    w.image(["stat", "--image", &format!("{dir}:none")]).code(2).err_has("busybox, layers");
    w.image(["raw", "add-layer", "--image", &image, &dir]).refused().err_has("directory");
    w.image(["list", "--layout", &image]).refused();
    w.image(["tag", "--image", &image]).refused();
    w.image(["tag", "--image", &image, ".x"]).refused();
    w.image(["remove", "--image", &format!("{dir}:none")]).code(2);
    let epoch = w.image_cmd(["config", "--image", &image]).env("SOURCE_DATE_EPOCH", "x");
    epoch.run().refused().err_has("SOURCE_DATE_EPOCH");
    assert_eq!(fs::read(Path::new(&dir).join("index.json")).unwrap(), before);
}

#[test]
fn many_at_once_lose_no_tag() {
    let w = World::new();
    let dir = layout(&w);
    let image = format!("{dir}:busybox");
    let at_once: Vec<Child> = (0..24)
        .map(|n| {
            let (tag, env) = (format!("t{n}"), format!("N={n}"));
            if n % 3 == 0 {
                w.image_cmd(["tag", "--image", &image, &tag]).start()
            } else {
                let words = ["config", "--image", &image, "--tag", &tag, "--config.env", &env];
                w.image_cmd(words).start()
            }
        })
        .collect();
    for mut child in at_once {
        assert!(child.wait().unwrap().success());
    }
    let tags = w.image(["list", "--layout", &dir]).ok().lines();
    for n in 0..24 {
        assert!(tags.contains(&format!("t{n}")), "t{n} of {tags:?}");
        w.image(["stat", "--image", &format!("{dir}:t{n}")]).ok();
    }
    let left = fs::read_dir(&dir).unwrap().flatten().map(|e| e.file_name());
    assert_eq!(left.count(), 3, "nothing but the layout is left");
    w.image(["rm", "--image", &format!("{dir}:t0")]).ok().out_is("");
    assert!(!w.image(["ls", "--layout", &dir]).ok().lines().contains(&"t0".to_owned()));
}

#[test]
fn a_hostile_layout_is_refused_and_never_waited_for() {
    let w = World::new();
    let dir = layout(&w);
    let image = format!("{dir}:busybox");
    let manifest = index(&dir)["manifests"][0]["digest"].as_str().unwrap().replace(':', "/");
    let manifest = Path::new(&dir).join("blobs").join(manifest);
    let bytes = fs::read(&manifest).unwrap();
    let tried = |what: &str| {
        for verb in ["stat", "config"] {
            let done = w.image_cmd([verb, "--image", &image]).limit(60).run().refused();
            assert!(done.code == 1 || done.code == 2, "{what}\n{done}");
        }
    };
    let mut longer = bytes.clone();
    longer.push(b' ');
    let changed: Vec<u8> = bytes.iter().map(|b| if *b == b'2' { b'3' } else { *b }).collect();
    for (what, bytes) in [("longer", &longer), ("changed", &changed)] {
        fs::write(&manifest, bytes).unwrap();
        tried(what);
    }
    fs::remove_file(&manifest).unwrap();
    tried("gone");
    for special in ["/dev/zero", "/proc/self/mem", dir.as_str(), "/no/such"] {
        std::os::unix::fs::symlink(special, &manifest).unwrap();
        tried(special);
        fs::remove_file(&manifest).unwrap();
    }
    w.cmd("mkfifo").arg(&manifest).run().ok();
    tried("fifo");
    fs::remove_file(&manifest).unwrap();
    fs::write(&manifest, &bytes).unwrap();
    w.image(["stat", "--image", &image]).ok();
    // Lists in lists in lists.
    let kind = "application/vnd.oci.image.index.v1+json";
    let mut inner = index(&dir)["manifests"][0].clone();
    inner.as_object_mut().unwrap().remove("annotations");
    for _ in 0..8 {
        let list = json!({"schemaVersion": 2, "mediaType": kind, "manifests": [inner]});
        inner = put(&dir, kind, list.to_string().as_bytes());
    }
    name(&dir, inner, "deep");
    w.image(["config", "--image", &format!("{dir}:deep")]).refused().err_has("lists within lists");
    let path = Path::new(&dir).join("index.json");
    fs::remove_file(&path).unwrap();
    w.cmd("mkfifo").arg(&path).run().ok();
    tried("the index is a fifo");
    w.image_cmd(["tag", "--image", &image, "x"]).limit(60).run().refused();
    w.image_cmd(["list", "--layout", &dir]).limit(60).run().refused();
}

#[test]
fn files_and_trees_are_inserted_and_taken_away() {
    let w = World::new();
    let dir = layout(&w);
    let image = format!("{dir}:busybox");
    let from = w.path("from");
    fs::create_dir_all(from.join("d/deep")).unwrap();
    fs::write(from.join("d/deep/f"), "new\n").unwrap();
    std::os::unix::fs::symlink("f", from.join("d/deep/l")).unwrap();
    std::os::unix::fs::chown(from.join("d/deep/f"), Some(1005), Some(1006)).unwrap();
    let from = from.join("d").display().to_string();
    let maps = ["--uid-map", "5:1005:1", "--uid-map", "0:0:1", "--gid-map", "0:0:1,6:1006:1"];
    let insert = |flags: &[&str]| at(&w, "insert", &image, flags);
    insert(&[&[&from, "/opt/x"], &maps[..]].concat()).ok().out_is("");
    insert(&["--opaque", "--compress=zstd", &from, "/etc"]).ok();
    insert(&["--whiteout", "/bin/sh", "--history.comment", "no shell"]).ok();
    let rootfs = |tool: &str| {
        let bundle = w.path(tool);
        let words = ["unpack", "--image", &image, bundle.to_str().unwrap()];
        let done = if tool == "umoci" { w.cmd(tool).args(words).run() } else { w.image(words) };
        done.ok();
        bundle.join("rootfs")
    };
    // Debian's umoci knows no zstd.
    let root = rootfs("ours");
    let about = fs::metadata(root.join("opt/x/deep/f")).unwrap();
    assert_eq!((about.uid(), about.gid(), about.mtime()), (5, 6, 1_700_000_000));
    assert_eq!(fs::read_link(root.join("opt/x/deep/l")).unwrap(), Path::new("f"));
    let etc: Vec<_> = fs::read_dir(root.join("etc")).unwrap().flatten().collect();
    assert!(etc.len() == 1 && root.join("etc/deep/f").exists(), "{etc:?}");
    assert!(fs::symlink_metadata(root.join("bin/sh")).is_err());
    let told = w.image(["stat", "--json", "--image", &image]).ok().json();
    let history = told["history"].as_array().unwrap();
    assert_eq!(history[history.len() - 1]["comment"], "no shell");
    assert_eq!(history[history.len() - 1]["created"], "2023-11-14T22:13:20Z");
    // Again upon the same is the same; an id that is in no map is no id of the image's.
    at(&w, "insert", &format!("{dir}:layers"), &["--tag", "a", &from, "/x"]).ok();
    at(&w, "insert", &format!("{dir}:layers"), &["--tag", "b", &from, "/x"]).ok();
    let index = index(&dir);
    let tags = index["manifests"].as_array().unwrap();
    assert_eq!(tags[tags.len() - 1]["digest"], tags[tags.len() - 2]["digest"]);
    let umoci = w.path("plain");
    let words = ["unpack", "--image", &format!("{dir}:a"), umoci.to_str().unwrap()];
    w.cmd("umoci").args(words).run().ok();
    assert_eq!(fs::read(umoci.join("rootfs/x/deep/f")).unwrap(), b"new\n");
    insert(&["--uid-map", "0:0:1", &from, "/y"]).refused().err_has("1005");
    for bad in [&[&from as &str][..], &[&from, "/a/.wh.b"], &[&from, ""], &["/no/such", "/x"]] {
        insert(bad).refused();
    }
    insert(&["--whiteout", "/"]).refused();
    insert(&["--whiteout", "/.wh.x"]).refused();
    insert(&["--compress=rar", &from, "/x"]).refused();
}

#[test]
fn a_runtime_config_is_made_alone() {
    let w = World::new();
    let dir = layout(&w);
    let image = format!("{dir}:busybox");
    at(&w, "config", &image, &["--config.user", "who", "--config.env", "X=y"]).ok();
    let config = |name: &str, flags: &[&str]| {
        let to = w.path(name);
        let done = at(&w, "raw runtime-config", &image, &[flags, &[to.to_str().unwrap()]].concat());
        (done, to)
    };
    let (done, to) = config("a.json", &[]);
    done.ok().err_has("who");
    let spec: Value = serde_json::from_slice(&fs::read(&to).unwrap()).unwrap();
    assert_eq!(spec["process"]["user"]["uid"], 0);
    assert!(spec["process"]["env"].as_array().unwrap().contains(&json!("X=y")));
    let (done, again) = config("b.json", &["--quiet"]);
    done.ok();
    assert_eq!(fs::read(to).unwrap(), fs::read(again).unwrap());
    let root = w.path("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    let root = root.to_str().unwrap();
    config("c.json", &["--rootfs", root]).0.refused().err_has("who");
    fs::write(Path::new(root).join("etc/passwd"), "who:x:77:88::/h:/bin/sh\n").unwrap();
    let (done, to) = config("d.json", &["--rootfs", root]);
    done.ok();
    let spec: Value = serde_json::from_slice(&fs::read(to).unwrap()).unwrap();
    assert_eq!(spec["process"]["user"]["uid"], 77);
}
