//! copy: from any transport to any other.

use e2e::{Registry, World, fixtures, program};

#[test]
fn registry_to_every_local_form_and_skopeo_agrees() {
    let w = World::new();
    let from = format!("docker://{}", Registry::open().name("layers:latest"));
    let wanted = format!("oci:{}:layers", fixtures::layout().display());
    let diff_ids = |name: &str| {
        let config = w.cmd("skopeo").args(["inspect", "--config", name]).run().ok().json();
        config["rootfs"]["diff_ids"].clone()
    };
    let wanted = diff_ids(&wanted);
    let named = ":example.org/layers:1";
    for (kind, place, name) in [
        ("oci", "layout", named),
        ("oci-archive", "oci.tar", named),
        ("docker-archive", "docker.tar", named),
        ("dir", "dir", ""),
    ] {
        let to = format!("{kind}:{}{name}", w.path(place).display());
        w.image(["copy", &from, &to]).ok();
        assert_eq!(diff_ids(&to), wanted, "{to}");
        let name = format!("copied/{kind}:1");
        w.image(["copy", &to, &name]).ok();
        w.image(["inspect", &name]).ok();
    }
}

#[test]
fn bug_a_copy_between_other_places_made_a_store() {
    let w = World::new();
    let none = w.path("none");
    let image =
        |words: &[&str]| w.cmd(program("dhow-image")).env("DHOW_ROOT", &none).args(words).run();
    let from = format!("docker://{}", Registry::open().name("layers:latest"));
    let layout = format!("oci:{}:x", w.path("layout").display());
    let dir = format!("dir:{}", w.path("dir").display());
    image(&["copy", "-q", &from, &layout]).ok();
    image(&["copy", "-q", &layout, &dir]).ok();
    image(&["inspect", &from]).ok();
    image(&["diff", &from, &dir]).ok();
    image(&["history", &layout]).ok();
    assert!(!none.exists());
    image(&["copy", "-q", &layout, "x"]).ok();
    assert!(none.join("version").exists());
}

#[test]
fn layout_to_registry() {
    let w = World::new();
    let from = format!("oci:{}:zstd", fixtures::layout().display());
    let name = Registry::open().name("copied/zstd:1");
    w.image(["copy", &from, &format!("docker://{name}")]).ok();
    let raw = w.cmd("skopeo").args(["inspect", "--tls-verify=false", "--raw"]);
    let raw = raw.arg(format!("docker://{name}")).run().ok().out();
    assert!(raw.contains("tar+zstd"), "{raw}");
}

#[test]
fn unknown_transport_and_missing_source_are_named() {
    let w = World::new();
    w.image(["copy", "carrier-pigeon:x", "oci:y:z"]).refused().err_has("carrier-pigeon");
    w.image(["copy", "oci:/no/such/layout:x", "y"]).refused().err_has("/no/such/layout");
}
