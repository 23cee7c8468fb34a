//! An image whose every digest is sha512: config, layers, diff ids, manifest.

use std::fs;

use e2e::harbour::{Answer, Harbour};
use e2e::{World, fixtures, tree};
use serde_json::Value;

/// Its layout, and the manifest's digest.
fn layout(w: &World) -> (String, String) {
    let dir = w.path("sha512");
    fixtures::layers().write_sha512(&dir);
    let index: Value = serde_json::from_slice(&fs::read(dir.join("index.json")).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
    assert!(digest.starts_with("sha512:"), "{digest}");
    (dir.display().to_string(), digest)
}

#[test]
fn it_goes_through_every_local_form_and_unpacks_to_the_same() {
    let w = World::new();
    let (layout, digest) = layout(&w);
    w.pull("layers");
    let rootfs = |name: &str, bundle: &str| {
        let bundle = w.path(bundle);
        w.image(["unpack", name, bundle.to_str().unwrap()]).ok();
        bundle.join("rootfs")
    };
    let wanted = rootfs("layers", "wanted");
    let mut from = format!("oci:{layout}:layers");
    for kind in ["oci", "oci-archive", "docker-archive", "dir"] {
        let named = if kind == "dir" { "" } else { ":example.org/long:1" };
        let to = format!("{kind}:{}{named}", w.path(kind).display());
        // One layer is plain; a layout would have it packed.
        let plain = (kind == "oci").then_some("--preserve-digests");
        w.image_cmd(["copy", &from, &to]).args(plain).run().ok();
        w.image(["copy", &to, &format!("by-{kind}:1")]).ok();
        tree::same(&wanted, &rootfs(&format!("by-{kind}:1"), &format!("from-{kind}")));
        // A `dir:` says no digest of its manifest; the others keep it.
        if kind == "oci" {
            from = to;
            let kept = w.path("oci/blobs").join(digest.replace(':', "/"));
            assert!(kept.exists(), "{}", kept.display());
        }
    }
    let hexes = fs::read_dir(w.path("dir")).unwrap().flatten();
    let long = hexes.filter(|e| e.file_name().to_string_lossy().starts_with("sha512-"));
    assert_eq!(long.count(), 5, "four layers and a config, named as skopeo names them");
}

#[test]
fn a_stream_is_loaded_and_the_store_finds_keeps_and_drops_it() {
    let w = World::new();
    let (layout, digest) = layout(&w);
    let stream = w
        .image(["copy", "--preserve-digests", &format!("oci:{layout}:layers"), "oci-archive:-"])
        .ok()
        .stdout;
    w.image_cmd(["load"]).stdin(stream).run().ok();
    let ids = w.image(["list", "--no-trunc", "-q"]).ok().lines();
    let id = &ids[0];
    assert!(id.starts_with("sha512:") && id.len() == 7 + 128, "{id}");
    for needle in [id.as_str(), &id[..7 + 20], &id[7..], &id[7..7 + 12], digest.as_str()] {
        w.image(["inspect", needle]).ok();
    }
    let saved = w.image(["save", id]).ok().stdout;
    w.image(["remove", id]).ok();
    let left = w.cmd("find").arg(w.root().join("layers")).args(["-mindepth", "1"]).run().ok();
    left.out_is("");
    let blobs = w.root().join("images/blobs");
    w.cmd("find").arg(blobs).args(["-type", "f"]).run().ok().out_is("");
    w.image_cmd(["load"]).stdin(saved).run().ok();
    w.image(["inspect", &digest]).ok();
}

#[test]
fn a_registry_that_has_it_is_pulled_from_and_one_byte_else_is_told() {
    let w = World::new();
    let (layout, digest) = layout(&w);
    let honest = move |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        let name = if name == "latest" { &digest } else { name };
        let bytes = fs::read(format!("{layout}/blobs/{}", name.replace(':', "/"))).ok();
        (bytes, name.to_owned())
    };
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let serve = move |path: &str, spoil: bool| match honest(path) {
        (Some(mut bytes), name) => {
            if spoil && path.contains("/blobs/") {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            let answer = Answer::body(bytes).header("Docker-Content-Digest", name);
            if path.contains("/manifests/") { answer.header("Content-Type", kind) } else { answer }
        }
        (None, _) if path == "/v2/" => Answer::body("{}"),
        (None, _) => Answer::status(404),
    };
    let spoiled = serve.clone();
    let good = Harbour::open(move |asked| serve(&asked.path, false));
    let bad = Harbour::open(move |asked| spoiled(&asked.path, true));
    w.image(["pull", &bad.name("x")]).refused().err_has("sha512:");
    w.image(["pull", &good.name("x")]).ok();
    let bundle = w.path("bundle");
    w.image(["unpack", &good.name("x"), bundle.to_str().unwrap()]).ok();
    assert!(bundle.join("rootfs/odd/kept").exists());
}
