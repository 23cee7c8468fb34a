//! An image in another form: layers packed otherwise, docker's manifests and OCI's.

use std::fs;

use e2e::{Registry, World, fixtures};
use serde_json::Value;

fn raw(w: &World, place: &str) -> Value {
    let words = ["inspect", "--raw", "--tls-verify=false", place];
    w.cmd("skopeo").args(words).run().ok().json()
}

fn config(w: &World, place: &str) -> Value {
    let words = ["inspect", "--config", "--raw", "--tls-verify=false", place];
    w.cmd("skopeo").args(words).run().ok().json()
}

fn layer_types(manifest: &Value) -> Vec<String> {
    let layers = manifest["layers"].as_array().unwrap();
    layers.iter().map(|l| l["mediaType"].as_str().unwrap().to_owned()).collect()
}

fn layers() -> String {
    format!("oci:{}:layers", fixtures::layout().display())
}

/// A layout with a list of two platforms.
fn listed(w: &World) -> String {
    let dir = w.path("list");
    w.cmd("cp").arg("-a").arg(fixtures::layout()).arg(&dir).run().ok();
    let mut index: Value =
        serde_json::from_slice(&fs::read(dir.join("index.json")).unwrap()).unwrap();
    let images = index["manifests"].as_array().unwrap();
    let image = |name: &str, arch: &str| {
        let find = |m: &&Value| m["annotations"]["org.opencontainers.image.ref.name"] == name;
        let mut entry = images.iter().find(find).unwrap().clone();
        entry["platform"] = serde_json::json!({ "os": "linux", "architecture": arch });
        entry.as_object_mut().unwrap().remove("annotations");
        entry
    };
    let kind = "application/vnd.oci.image.index.v1+json";
    let list = serde_json::json!({ "schemaVersion": 2, "mediaType": kind,
        "manifests": [image("busybox", "amd64"), image("layers", "s390x")] });
    let bytes = serde_json::to_vec(&list).unwrap();
    fs::write(w.path("list.json"), &bytes).unwrap();
    let sum = w.cmd("sha256sum").arg(w.path("list.json")).run().ok().out()[..64].to_owned();
    fs::write(dir.join("blobs/sha256").join(&sum), &bytes).unwrap();
    index["manifests"] = serde_json::json!([{ "mediaType": kind, "size": bytes.len(),
        "digest": format!("sha256:{sum}"),
        "annotations": { "org.opencontainers.image.ref.name": "multi" } }]);
    fs::write(dir.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
    format!("oci:{}:multi", dir.display())
}

#[test]
fn layers_go_from_gzip_to_zstd_to_none_and_back_to_the_same_bytes() {
    let w = World::new();
    let place = |name: &str| format!("oci:{}:x", w.path(name).display());
    let kept = config(&w, &layers());
    w.image(["convert", &layers(), &place("gzip"), "--compress", "gzip", "--format", "oci"]).ok();
    w.image(["convert", &layers(), &place("zstd"), "--compress", "zstd", "--level", "5"]).ok();
    w.image(["convert", &place("zstd"), &place("none"), "--compress", "none"]).ok();
    w.image(["convert", &place("none"), &place("again"), "--compress", "gzip"]).ok();
    w.image(["convert", &place("zstd"), &place("more"), "--compress", "gzip"]).ok();
    for (name, end) in [("zstd", ".tar+zstd"), ("none", ".tar"), ("again", ".tar+gzip")] {
        let types = layer_types(&raw(&w, &place(name)));
        assert!(types.iter().all(|t| t.ends_with(end)), "{name}: {types:?}");
        assert_eq!(config(&w, &place(name)), kept, "{name}");
        // skopeo reads it all, and checks each layer.
        let to = format!("dir:{}", w.path(format!("{name}.dir")).display());
        w.cmd("skopeo").args(["--insecure-policy", "copy", "-q", &place(name), &to]).run().ok();
    }
    assert_eq!(raw(&w, &place("again")), raw(&w, &place("more")), "the same in, the same out");
    let unpacked = w.path("umoci");
    w.cmd("umoci").args(["unpack", "--image", &place("again")[4..]]).arg(&unpacked).run().ok();
    let ours = w.path("ours");
    w.image(["copy", &place("zstd"), "zstd:1"]).ok();
    w.image(["unpack", "zstd:1", ours.to_str().unwrap()]).ok();
    e2e::tree::same(&ours.join("rootfs"), &unpacked.join("rootfs"));
    // In the store, under the old name; in an archive, through a file.
    w.image(["convert", "zstd:1", "--compress", "none"]).ok();
    let stored = w.image(["inspect", "--raw", "zstd:1"]).ok().json();
    assert_eq!(layer_types(&stored), layer_types(&raw(&w, &place("none"))));
    let tar = format!("oci-archive:{}", w.path("a.tar").display());
    w.image(["copy", &place("none"), &tar]).ok();
    assert_eq!(raw(&w, &tar)["layers"], raw(&w, &place("again"))["layers"], "gzip by habit");
    // A plain layer is checked on its way, too.
    let layer = raw(&w, &place("none"))["layers"][0]["digest"].as_str().unwrap().to_owned();
    let blob = w.path("none/blobs").join(layer.replace(':', "/"));
    let mut bytes = std::fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let convert = ["convert", &place("none"), &place("bad"), "--compress", "gzip"];
    w.image(convert).refused().err_has(&layer);
}

#[test]
fn manifests_go_from_oci_to_docker_and_back() {
    let w = World::new();
    let name = Registry::open().name("recoded/docker:1");
    let remote = format!("docker://{name}");
    let zstd = format!("oci:{}:zstd", fixtures::layout().display());
    w.image(["copy", "--format", "v2s2", &zstd, &remote]).ok();
    let docker = raw(&w, &remote);
    assert_eq!(docker["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    assert!(layer_types(&docker).iter().all(|t| t.ends_with("diff.tar.gzip")), "{docker}");
    assert_eq!(config(&w, &remote), config(&w, &zstd));
    // Into a layout it comes as OCI's, as with skopeo; with --preserve-digests as it is.
    let oci = format!("oci:{}", w.path("oci").display());
    w.image(["copy", &remote, &oci]).ok();
    assert!(raw(&w, &oci)["config"]["mediaType"].as_str().unwrap().contains("oci"));
    let kept = format!("oci:{}", w.path("kept").display());
    w.image(["copy", "--preserve-digests", &remote, &kept]).ok();
    assert_eq!(raw(&w, &kept), docker);
    let words = ["copy", "--preserve-digests", "--format", "oci", &remote, &kept];
    w.image(words).code(1).err_has("--preserve-digests");
}

#[test]
fn a_list_goes_along_with_its_images() {
    let w = World::new();
    let name = |n: &str| format!("docker://{}", Registry::open().name(&format!("recoded/{n}")));
    let list = listed(&w);
    w.image(["copy", "--all", "--format", "v2s2", &list, &name("list:1")]).ok();
    let docker = raw(&w, &name("list:1"));
    assert_eq!(docker["mediaType"], "application/vnd.docker.distribution.manifest.list.v2+json");
    let back = format!("oci:{}:x", w.path("back").display());
    w.image(["copy", "--multi-arch", "all", &name("list:1"), &back]).ok();
    let index = raw(&w, &back);
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
    let platforms = |v: &Value| {
        let all = v["manifests"].as_array().unwrap();
        all.iter().map(|m| m["platform"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(platforms(&index), platforms(&docker));
    let to = format!("dir:{}", w.path("theirs").display());
    let skopeo = ["--insecure-policy", "copy", "-q", "--all", &back, &to];
    w.cmd("skopeo").args(skopeo).run().ok();
    // The list alone.
    let only = format!("dir:{}", w.path("only").display());
    w.image(["copy", "--multi-arch", "index-only", &list, &only]).ok();
    assert_eq!(fs::read_dir(w.path("only")).unwrap().count(), 2);
    w.image(["copy", "--multi-arch", "some", &list, &only]).code(1).err_has("index-only");
}

#[test]
fn skopeos_flags_of_copy() {
    let w = World::new();
    let path = |name: &str| w.path(name).display().to_string();
    let shared = path("shared");
    // Blobs that several layouts share.
    let one = format!("oci:{}", path("one"));
    w.image(["copy", "--dest-shared-blob-dir", &shared, &layers(), &one]).ok();
    assert_eq!(fs::read_dir(w.path("one/blobs")).map_or(0, Iterator::count), 0);
    let two = format!("oci:{}", path("two"));
    w.image(["copy", "--src-shared-blob-dir", &shared, &one, &two]).ok();
    w.cmd("diff").args(["-urN", &shared, &path("two/blobs")]).run().ok();
    // dir: packed and unpacked, the digest in a file, more names in an archive.
    let dir = format!("dir:{}", path("dir"));
    let digest = path("digest");
    w.image(["copy", "--dest-decompress", "--digestfile", &digest, &layers(), &dir]).ok();
    let types = layer_types(&raw(&w, &dir));
    assert!(types.iter().all(|t| t.ends_with("v1.tar")), "{types:?}");
    let bytes = fs::read(w.path("dir/manifest.json")).unwrap();
    let sum = w.cmd("sha256sum").arg(w.path("dir/manifest.json")).run().ok().out();
    assert_eq!(fs::read_to_string(&digest).unwrap()[7..], sum[..64], "{}", bytes.len());
    let tar = format!("docker-archive:{}:busybox:1", path("a.tar"));
    let words = ["copy", "--additional-tag", "busybox:mine,x/y:2", &layers(), &tar];
    w.image(words).ok();
    let tags = w.cmd("skopeo").args(["list-tags", &tar[..tar.len() - 10]]).run().ok().out();
    assert!(tags.contains("busybox:mine") && tags.contains("x/y:2"), "{tags}");
    w.image(["copy", "--additional-tag", "a:b", &layers(), &dir]).code(1).err_has("only docker");
    for (flags, why) in [
        (["--format", "v2s1"], "2017"),
        (["--dest-compress-format", "zstd:chunked"], "zstd:chunked"),
        (["--dest-compress-format", "rar"], "cannot find compressor"),
        (["--encryption-key", "jwe:x"], "--encryption-key"),
        (["--dest-compress-level", "x"], "--dest-compress-level"),
    ] {
        w.image(["copy", flags[0], flags[1], &layers(), &dir]).code(1).err_has(why);
    }
    let parallel = ["copy", "--image-parallel-copies", "1", "--all=false", &layers(), &one];
    w.image(parallel).ok();
}

/// What docker pushed until 2017; skopeo still writes it.
#[test]
fn docker_s_first_schema_is_read() {
    let w = World::new();
    let busybox = format!("oci:{}:busybox", fixtures::layout().display());
    let old = format!("dir:{}", w.path("old").display());
    let words = ["--insecure-policy", "copy", "-q", "--format", "v2s1", &busybox, &old];
    w.cmd("skopeo").args(words).run().ok();
    assert_eq!(raw(&w, &old)["schemaVersion"], 1);
    let diff_ids = |place: &str| config(&w, place)["rootfs"]["diff_ids"].clone();
    let new = format!("oci:{}:x", w.path("new").display());
    w.image(["copy", &old, &new]).ok();
    assert_eq!(diff_ids(&new), diff_ids(&busybox));
    w.image(["copy", &old, "from/old:1"]).ok();
    w.image(["unpack", "from/old:1", w.path("bundle").to_str().unwrap()]).ok();
    let file = w.path("old/manifest.json").display().to_string();
    let theirs = w.cmd("skopeo").args(["manifest-digest", &file]).run().ok().out();
    w.image(["manifest-digest", &file]).ok().out_is(&theirs);
    let page = w.image(["inspect", &old]).ok().json();
    assert_eq!(page["Digest"], theirs.as_str());
}
