//! manifest create, annotate, inspect, push, rm; and images of other platforms out of lists.

use std::fs;

use e2e::{Registry, World, needs};

/// Pushes an image of a busybox root for each architecture; their names.
fn pushed(w: &World, repository: &str, architectures: &[&str]) -> Vec<String> {
    let root = w.busybox_root();
    w.cmd("tar").args(["-cf", "root.tar", "-C", root.to_str().unwrap(), "etc"]).run().ok();
    let push = |arch: &&str| {
        let name = Registry::open().name(&format!("{repository}:{arch}"));
        let platform = format!("linux/{arch}");
        w.dhow(["import", "--platform", &platform, "root.tar", &name]).ok();
        w.dhow(["push", "-q", &name]).ok();
        name
    };
    architectures.iter().map(push).collect()
}

#[test]
fn list_is_made_annotated_pushed_and_pulled_by_platform() {
    needs!(Machine);
    let w = World::new();
    let list = Registry::open().name("lists:1");
    let names = pushed(&w, "lists", &["amd64", "s390x"]);
    let (one, two) = (names[0].as_str(), names[1].as_str());
    w.dhow(["manifest", "create", &list, one])
        .ok()
        .out_is(&format!("Created manifest list {list}"));
    w.dhow(["manifest", "create", &list, two])
        .code(1)
        .err_has("refusing to amend an existing manifest list with no --amend flag");
    w.dhow(["manifest", "create", "--amend", &list, two]).ok();
    let text = w.dhow(["manifest", "inspect", &list]).ok();
    assert_eq!(text.json()["manifests"][1]["platform"]["architecture"], "s390x");
    assert!(text.out().starts_with("{\n   \"schemaVersion\": 2,\n   \"mediaType\": "), "{text}");
    let annotate = |more: &[&str]| w.dhow([&["manifest", "annotate", &list, two], more].concat());
    annotate(&["--arch", "bogus"]).code(1).err_has("unsupported os/arch combination: linux/bogus");
    annotate(&["--arch", "arm64", "--variant", "v8", "--os-features", "a,b"]).ok().out_is("");
    let one_image = ["manifest", "annotate", &list, "nope"];
    w.dhow(one_image).code(1).err_has(&format!("manifest for image nope does not exist in {list}"));
    let local = w.dhow(["manifest", "inspect", &list]).ok().out();
    let platform = &serde_json::from_str::<serde_json::Value>(&local).unwrap()["manifests"][1];
    assert_eq!(platform["platform"]["os.features"], serde_json::json!(["a", "b"]));
    let digest = w.dhow(["manifest", "push", "--purge", &list]).ok().out();
    w.dhow(["manifest", "push", &list]).code(1).err_has("No such manifest: ");
    // What the registry has is what was pushed, and its digest that of the text.
    let remote = w.dhow(["manifest", "inspect", &list]).ok().out();
    assert_eq!(remote, local);
    let sum = w.cmd("sha256sum").stdin(remote).run().ok().out();
    assert_eq!(&sum[..64], &digest[7..]);
    // skopeo reads it as well.
    let raw = w.cmd("skopeo").args(["inspect", "--raw", "--tls-verify=false"]);
    let raw = raw.arg(format!("docker://{list}")).run().ok().json();
    assert_eq!(raw["manifests"][1]["platform"]["variant"], "v8");
    let it = w.dhow(["pull", "-q", "--platform", "linux/arm64", &list]).ok();
    it.out_is(&list);
    w.dhow(["manifest", "create", &list, &list]).code(1).err_has("is a manifest list");
}

#[test]
fn images_are_shown_and_what_is_not_there_is_told() {
    needs!(Machine);
    let w = World::new();
    let names = pushed(&w, "shown", &["amd64"]);
    let (one, list) = (names[0].as_str(), Registry::open().name("shown:list"));
    let raw = w.dhow(["manifest", "inspect", one]).ok();
    assert!(raw.out().starts_with("{\n\t\"schemaVersion\": 2"), "{raw}");
    let all = w.dhow(["manifest", "inspect", "-v", one]).ok().json();
    assert_eq!(all["Descriptor"]["platform"]["architecture"], "amd64");
    assert_eq!(all["OCIManifest"]["layers"].as_array().unwrap().len(), 1);
    w.dhow(["manifest", "create", &list, one]).ok();
    assert_eq!(w.dhow(["manifest", "inspect", &list, one]).ok().out(), raw.out());
    assert_eq!(w.dhow(["manifest", "inspect", "-v", &list]).ok().json()[0], all);
    let nope = Registry::open().name("shown:nope");
    w.dhow(["manifest", "inspect", &nope]).code(1).err_has(&format!("no such manifest: {nope}"));
    w.dhow(["manifest", "create", &format!("{list}2"), &nope]).code(1).err_has("no such manifest");
    w.dhow(["manifest", "inspect", &list, &nope]).code(1).err_has("No such manifest");
    // The one that is there goes, the other is told.
    w.dhow(["manifest", "rm", &list, &nope]).code(1).err_has(&format!("No such manifest: {nope}"));
    assert_eq!(fs::read_dir(w.root().join("manifests")).unwrap().count(), 0);
    // An image of another registry can't be in the list.
    w.dhow(["manifest", "create", "r.example/x:1", one]).ok();
    w.dhow(["manifest", "push", "r.example/x:1"])
        .code(1)
        .err_has("cannot use source images from a different registry than the target image");
}

#[test]
fn images_of_other_repositories_come_along() {
    needs!(Machine);
    let w = World::new();
    let names = pushed(&w, "apart", &["amd64"]);
    let list = Registry::open().name("apart/lists:1");
    w.dhow(["manifest", "create", &list, &names[0]]).ok();
    let done = w.dhow(["manifest", "push", &list]).ok();
    let repository = Registry::open().name("apart/lists");
    assert!(done.out().starts_with(&format!("Pushed ref {repository}@sha256:")), "{done}");
    w.dhow(["rmi", &names[0]]).ok();
    w.dhow(["pull", "-q", &list]).ok();
}

#[test]
fn list_of_platforms_gives_the_one_asked_for() {
    needs!(Machine);
    let w = World::new();
    let list = Registry::open().name("several:1");
    let names = pushed(&w, "several", &["amd64", "s390x"]);
    w.dhow(["manifest", "create", &list, &names[0], &names[1]]).ok();
    w.dhow(["manifest", "push", &list]).ok();
    let arch = || {
        let format = ["image", "inspect", "-f", "{{.Os}}/{{.Architecture}}", &list];
        w.dhow(format).ok().out()
    };
    w.dhow(["pull", "-q", &list]).ok();
    assert_eq!(arch(), "linux/amd64");
    w.dhow(["pull", "-q", "--platform", "linux/s390x", &list]).ok();
    assert_eq!(arch(), "linux/s390x");
    w.dhow(["pull", "--platform", "linux/riscv64", &list])
        .code(1)
        .err_has("no matching manifest for linux/riscv64 in the manifest list entries")
        .err_has("linux/s390x");
    let wrong = ["image", "inspect", "--platform", "linux/amd64", &list];
    w.dhow(wrong).code(1).err_has(&format!(
        "image with reference {list} was found but its platform (linux/s390x) does not match the specified platform (linux/amd64)"
    ));
}
