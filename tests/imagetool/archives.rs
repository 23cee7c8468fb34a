//! Archives of every kind, ours and others', honest and hostile.

use std::fs;
use std::path::Path;

use e2e::{Cmd, Registry, World, fixtures, program};
use serde_json::{Value, json};

use super::refused::{nothing_visible, one_line};

fn id(w: &World, name: &str) -> Value {
    w.image(["inspect", name]).ok().json()["id"].clone()
}

#[test]
fn bug_saves_of_one_image_differed_in_the_order_of_their_layers() {
    let w = World::new();
    w.pull("layers");
    let save = |n: u32| {
        let to = w.path(format!("{n}.tar"));
        w.image(["save", "-q", "-o", to.to_str().unwrap(), "layers"]).ok();
        fs::read(to).unwrap()
    };
    let first = save(0);
    assert!((1..12).all(|n| save(n) == first));
}

#[test]
fn every_form_of_save_loads_again_and_others_read_it() {
    let w = World::new();
    w.pull("layers");
    w.image(["tag", "layers", "saved/layers:1"]).ok();
    let image = id(&w, "layers");
    for (n, (format, flags)) in [
        ("docker-archive", &[][..]),
        ("docker-archive", &["--uncompressed"]),
        ("oci-archive", &[]),
        ("oci-dir", &["--compress"]),
        ("docker-dir", &[]),
    ]
    .into_iter()
    .enumerate()
    {
        let to = w.path(format!("saved-{n}"));
        let to = to.to_str().unwrap();
        let save = w.image_cmd(["save", "-o", to, "--format", format, "saved/layers:1"]);
        save.args(flags).run().ok();
        let theirs = match format {
            "oci-dir" => format!("oci:{to}"),
            "docker-dir" => format!("dir:{to}"),
            other => format!("{other}:{to}"),
        };
        let config = w.cmd("skopeo").args(["inspect", "--config", &theirs]).run().ok().json();
        assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 4, "{theirs}");
        let other = w.path(format!("root-{n}"));
        let loaded = w.image_cmd(["load", "-i", to]).env("DHOW_ROOT", &other).run().ok().out();
        let name = if format == "docker-dir" { image.as_str().unwrap() } else { "saved/layers:1" };
        let wanted = if format == "docker-dir" { name } else { "docker.io/saved/layers:1" };
        assert_eq!(loaded.trim(), wanted, "{format}");
        let there = w.image_cmd(["inspect", name]).env("DHOW_ROOT", &other).run().ok().json();
        assert_eq!(there["id"], image, "{format}");
    }
    one_line(w.image(["save", "--format", "oci-dir", "layers"]), &["name one with -o"]);
    let two = ["save", "--format", "docker-dir", "-o", "x", "layers", "busybox"];
    w.image(two).refused();
}

/// podman with a store of its own, in a mount namespace of its own: it mounts its storage.
fn podman(w: &World) -> Cmd {
    let at = |part| w.path(format!("podman/{part}")).display().to_string();
    let podman = ["--mount", "--propagation", "private", "podman", "--storage-driver=overlay"];
    let places = ["--root", &at("root"), "--runroot", &at("run"), "--tmpdir", &at("tmp")];
    w.cmd("unshare").args(podman).args(places)
}

#[test]
fn podman_loads_every_form_of_save() {
    let w = World::new();
    let (two, _) = Registry::open().push(&fixtures::unlike("x", "two", 100 << 10), "two:1");
    w.image(["pull", "-q", &two]).ok();
    w.pull("zstd");
    w.image(["tag", &two, "saved/two:1"]).ok();
    w.image(["tag", "zstd", "saved/zstd:1"]).ok();
    let policy = w.path("home/.config/containers/policy.json");
    fs::create_dir_all(policy.parent().unwrap()).unwrap();
    fs::write(policy, r#"{"default":[{"type":"insecureAcceptAnything"}]}"#).unwrap();
    let saved = w.path("saved.tar");
    for (flags, names) in [
        (&[][..], &["two"][..]),
        (&["--uncompressed"], &["two"]),
        (&["--format", "oci-archive"], &["two"]),
        (&["--format", "docker-archive"], &["zstd"]),
        (&["--multi-image-archive"], &["two", "zstd"]),
    ] {
        let tagged: Vec<String> = names.iter().map(|name| format!("saved/{name}:1")).collect();
        let save = w.image_cmd(["save", "-q", "-o", saved.to_str().unwrap()]).args(flags);
        save.args(&tagged).run().ok();
        podman(&w).args(["load", "-q", "-i"]).arg(&saved).run().ok();
        for tagged in &tagged {
            let place = format!("docker.io/{tagged}");
            let format = ["image", "inspect", "--format", "sha256:{{.Id}}", &place];
            let theirs = podman(&w).args(format).run().ok().out();
            assert_eq!(Value::from(theirs.trim()), id(&w, tagged), "{flags:?}");
            podman(&w).args(["rmi", &place]).run().ok();
        }
    }
}

#[test]
fn every_compression_loads_and_several_images_keep_their_names() {
    let w = World::new();
    w.pull("busybox");
    w.pull("layers");
    let saved = w.path("saved.tar");
    w.image(["save", "busybox", "layers", "-o", saved.to_str().unwrap()]).ok();
    for pack in ["cat", "gzip", "bzip2", "xz -1", "zstd -q"] {
        let other = w.path(format!("root-{}", &pack[..2]));
        let tool = program("dhow-image");
        let line = format!(
            "{pack} <{} | {} --root {} load",
            saved.display(),
            tool.display(),
            other.display()
        );
        let names = w.cmd("sh").args(["-c", &line]).run().ok().lines();
        assert_eq!(names, ["docker.io/library/busybox:latest", "docker.io/library/layers:latest"]);
    }
    for which in [":@1", ":layers:latest"] {
        let place = format!("docker-archive:{}{which}", saved.display());
        w.image(["copy", &place, "picked:1"]).ok();
        assert_eq!(id(&w, "picked:1"), id(&w, "layers"));
    }
    let place = format!("docker-archive:{}", saved.display());
    one_line(w.image(["copy", &place, "x:1"]), &["several images"]);
    one_line(w.image(["copy", "busybox", &place]), &["can't add to one"]);
    w.image(["copy", &format!("{place}:@7"), "x:1"]).code(2);
}

#[test]
fn export_streams_any_place_and_import_takes_any_compression() {
    let w = World::new();
    let place = format!("oci:{}:layers", fixtures::layout().display());
    let tool = program("dhow-image");
    w.image(["copy", &place, "layers:1"]).ok();
    for (n, pack) in ["cat", "gzip", "xz -1", "zstd -q"].into_iter().enumerate() {
        let line = format!(
            "{0} export {place} | {pack} | {0} import -c 'CMD [\"x\"]' -m note - made:{n}",
            tool.display()
        );
        w.cmd("sh").args(["-c", &line]).env("SOURCE_DATE_EPOCH", "1").run().ok();
        let made = w.image(["inspect", &format!("made:{n}")]).ok().json();
        assert_eq!(made["config"]["Cmd"], json!(["x"]));
        assert_eq!(made["created"], "1970-01-01T00:00:01Z");
        assert_eq!(made["history"][0]["comment"], "note");
        let diff = w.image(["--json", "diff", "layers:1", &format!("made:{n}")]).ok().json();
        assert_eq!(diff["files"], json!([]), "{pack}");
    }
}

/// A directory that becomes a docker archive.
struct Archive<'a> {
    w: &'a World,
    dir: std::path::PathBuf,
}

impl<'a> Archive<'a> {
    /// An honest one.
    fn new(w: &'a World, name: &str) -> Self {
        let dir = w.path(name);
        fs::create_dir(&dir).unwrap();
        let from = fixtures::archives().join("busybox.tar");
        Cmd::new("tar").arg("-xf").arg(from).arg("-C").arg(&dir).run().ok();
        Self { w, dir }
    }

    fn manifest(&self) -> Value {
        serde_json::from_slice(&fs::read(self.dir.join("manifest.json")).unwrap()).unwrap()
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.dir.join(name), bytes).unwrap();
    }

    fn change(&self, change: impl Fn(&mut Value)) {
        let mut manifest = self.manifest();
        change(&mut manifest);
        self.write("manifest.json", manifest.to_string());
    }

    fn layer(&self) -> std::path::PathBuf {
        self.dir.join(self.manifest()[0]["Layers"][0].as_str().unwrap())
    }

    /// Loaded from a file and from a pipe it is refused in one line.
    #[track_caller]
    fn refused(&self, parts: &[&str]) {
        let tar = self.dir.with_extension("tar");
        Cmd::new("tar").arg("-cf").arg(&tar).arg("-C").arg(&self.dir).arg(".").run().ok();
        self.refused_tar(&tar, parts);
    }

    #[track_caller]
    fn refused_tar(&self, tar: &Path, parts: &[&str]) {
        one_line(self.w.image(["load", "-q", "-i", tar.to_str().unwrap()]), parts);
        let piped = self.w.image_cmd(["load", "-q"]).stdin(fs::read(tar).unwrap());
        one_line(piped.limit(60).run(), parts);
        nothing_visible(self.w);
    }
}

#[test]
fn a_layer_that_images_of_a_stream_share_is_loaded_for_each() {
    let w = World::new();
    let archive = Archive::new(&w, "shared");
    let first = archive.manifest()[0].clone();
    let config = fs::read(archive.dir.join(first["Config"].as_str().unwrap())).unwrap();
    let mut config: Value = serde_json::from_slice(&config).unwrap();
    config["author"] = json!("another");
    archive.write("other.json", config.to_string());
    let other = json!({"Config": "other.json", "RepoTags": ["other:1"], "Layers": first["Layers"]});
    archive.change(|manifest| manifest.as_array_mut().unwrap().push(other.clone()));
    let tar = w.path("shared.tar");
    Cmd::new("tar").arg("-cf").arg(&tar).arg("-C").arg(&archive.dir).arg(".").run().ok();
    let names = w.image_cmd(["load", "-q"]).stdin(fs::read(&tar).unwrap()).run().ok().lines();
    assert_eq!(names, ["docker.io/library/busybox:latest", "docker.io/library/other:1"]);
    assert_eq!(w.image(["inspect", "other:1"]).ok().json()["author"], "another");
    w.image(["verify"]).ok().out_is("");
}

#[test]
fn what_a_manifest_json_claims_is_not_believed() {
    let w = World::new();
    let a = Archive::new(&w, "many");
    a.change(|m| m[0]["Layers"] = json!(vec!["x.tar"; 10_000]));
    a.refused(&["more than 500 layers"]);
    let a = Archive::new(&w, "fewer");
    a.change(|m| m[0]["Layers"] = json!([]));
    a.refused(&["names 1 layers, manifest.json 0"]);
    let a = Archive::new(&w, "twins");
    let text = a.manifest().to_string().replace("\"Layers\":", "\"layers\":[\"y\"],\"Layers\":");
    a.write("manifest.json", text);
    a.refused(&["comes twice"]);
    let a = Archive::new(&w, "climbs");
    a.change(|m| m[0]["Config"] = json!("../../../../etc/passwd"));
    a.refused(&["etc/passwd"]);
    let a = Archive::new(&w, "long");
    a.write("manifest.json", format!("[{}]", " ".repeat(5 << 20)));
    a.refused(&["over 4194304 bytes"]);
    let a = Archive::new(&w, "old");
    fs::remove_file(a.dir.join("manifest.json")).unwrap();
    a.write("repositories", "{}");
    a.refused(&["older than 1.10"]);
}

#[test]
fn members_that_are_no_plain_files_lead_nowhere() {
    let w = World::new();
    let a = Archive::new(&w, "outside");
    let layer = a.layer();
    fs::remove_file(&layer).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &layer).unwrap();
    a.refused(&["no such file"]);
    let a = Archive::new(&w, "loop");
    let layer = a.layer();
    fs::remove_file(&layer).unwrap();
    std::os::unix::fs::symlink(layer.file_name().unwrap(), &layer).unwrap();
    a.refused(&["no such file"]);
    let a = Archive::new(&w, "fifo");
    let layer = a.layer();
    fs::remove_file(&layer).unwrap();
    Cmd::new("mkfifo").arg(&layer).run().ok();
    a.refused(&["no such file"]);
    let a = Archive::new(&w, "spoiled");
    let mut bytes = fs::read(a.layer()).unwrap();
    bytes[2000] ^= 1;
    fs::write(a.layer(), bytes).unwrap();
    a.refused(&["layer sha256:"]);
}

#[test]
fn links_within_an_archive_are_followed() {
    let w = World::new();
    // Old docker shares layers so.
    for (n, link) in ["ln", "ln -s"].into_iter().enumerate() {
        let a = Archive::new(&w, &format!("linked-{n}"));
        let layer = a.layer();
        let real = a.dir.join("real.tar");
        fs::rename(&layer, &real).unwrap();
        let target = if n == 0 { real.clone() } else { "real.tar".into() };
        let name = layer.strip_prefix(&a.dir).unwrap();
        // From the top, where the real one lies.
        let to = if n == 1 && name.components().count() > 1 {
            Path::new(&"../".repeat(name.components().count() - 1)).join(target)
        } else {
            target
        };
        let line = format!("{link} {} {}", to.display(), layer.display());
        w.cmd("sh").args(["-c", &line]).run().ok();
        let tar = w.path(format!("linked-{n}.tar"));
        Cmd::new("tar")
            .arg("-cf")
            .arg(&tar)
            .arg("-C")
            .arg(&a.dir)
            .args(["real.tar", "."])
            .run()
            .ok();
        w.image(["load", "-i", tar.to_str().unwrap()]).ok();
        w.image(["remove", "busybox"]).ok();
    }
}

#[test]
fn a_member_that_lies_of_its_size_and_a_bomb_of_one() {
    let w = World::new();
    let a = Archive::new(&w, "lies");
    let tar = w.path("lies.tar");
    Cmd::new("tar").arg("-cf").arg(&tar).arg("-C").arg(&a.dir).arg(".").run().ok();
    let mut bytes = fs::read(&tar).unwrap();
    // The last member with its end cut off.
    let cut = bytes.len() - bytes.len() / 3;
    bytes.truncate(cut);
    fs::write(&tar, bytes).unwrap();
    a.refused_tar(&tar, &[]);
    // A manifest.json of 1 GiB, in one megabyte.
    let line = "mkdir bomb; truncate -s 1G bomb/manifest.json; \
                tar -cf - -C bomb manifest.json | gzip -1 >bomb.tar.gz";
    w.cmd("sh").args(["-c", line]).run().ok();
    let bomb = ["load", "-q", "-i", w.path("bomb.tar.gz").to_str().unwrap()].map(str::to_owned);
    let done = w.image_cmd(&bomb).under(["sh", "-c", "ulimit -v 600000; exec \"$@\"", "sh"]);
    one_line(done.limit(100).run(), &["over 4194304 bytes"]);
    nothing_visible(&w);
}

#[test]
fn directories_hold_no_fifos_devices_or_loops() {
    let w = World::new();
    let dir = w.path("d");
    let from = format!("oci:{}:busybox", fixtures::layout().display());
    let place = format!("dir:{}", dir.display());
    w.cmd("skopeo").args(["--insecure-policy", "copy", "-q", &from, &place]).run().ok();
    let manifest: Value =
        serde_json::from_slice(&fs::read(dir.join("manifest.json")).unwrap()).unwrap();
    let digest = manifest["layers"][0]["digest"].as_str().unwrap();
    let blob = dir.join(digest.strip_prefix("sha256:").unwrap());
    for make in ["mkfifo", "ln -s /dev/zero", "mkdir"] {
        let line = format!("rm -rf {0}; {make} {0}", blob.display());
        w.cmd("sh").args(["-c", &line]).run().ok();
        let done = w.image_cmd(["copy", "-q", &place, "x:1"]).limit(30).run();
        one_line(done, &["it is no regular file"]);
    }
    // A list that names itself can't be; one deep in lists can.
    let layout = w.path("loop");
    Cmd::new("cp").arg("-a").arg(fixtures::layout()).arg(&layout).run().ok();
    let mut child = json!({"mediaType": "application/vnd.oci.image.index.v1+json"});
    let mut bytes = json!({"schemaVersion": 2, "manifests": []}).to_string();
    for _ in 0..8 {
        fs::write(w.path("list"), &bytes).unwrap();
        let sum = w.cmd("sha256sum").arg(w.path("list")).run().ok().out();
        let hex = sum.split(' ').next().unwrap().to_owned();
        fs::write(layout.join("blobs/sha256").join(&hex), &bytes).unwrap();
        child["digest"] = json!(format!("sha256:{hex}"));
        child["size"] = json!(bytes.len());
        bytes = json!({"schemaVersion": 2, "manifests": [child]}).to_string();
    }
    let index = json!({"schemaVersion": 2, "manifests": [child]});
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    let place = format!("oci:{}", layout.display());
    for flags in [&["--all"][..], &[]] {
        w.image_cmd(["copy", "-q", &place, "x:1"]).args(flags).limit(30).run().refused();
    }
    nothing_visible(&w);
}

#[test]
fn whoever_stops_reading_is_not_complained_of() {
    let w = World::new();
    w.pull("layers");
    let tool = program("dhow-image").display().to_string();
    for verb in ["save layers", "export layers", "list", "history layers", "tree", "inspect layers"]
    {
        let line = format!("{{ {tool} {verb} 2>said; echo $? >code; }} | head -c 1 >/dev/null");
        w.cmd("sh").args(["-c", &line]).run().ok();
        assert_eq!(fs::read_to_string(w.path("code")).unwrap(), "0\n", "{verb}");
        let said = fs::read_to_string(w.path("said")).unwrap();
        assert!(!said.contains("dhow-image:") && !said.contains("panic"), "{verb}: {said}");
    }
}
