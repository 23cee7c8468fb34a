//! images, pull, push, tag, rmi, save, load, import, export.

use e2e::{Registry, World, program};

#[test]
fn pull_tag_list_remove() {
    let w = World::new();
    let name = Registry::open().name("busybox:latest");
    w.dhow(["pull", &name]).ok().out_has(&name);
    w.dhow(["tag", &name, "ours:v1"]).ok();
    let table = w.dhow(["images"]).ok();
    assert!(table.lines()[0].starts_with("REPOSITORY"), "{table}");
    assert!(table.out().contains("ours") && table.out().contains("v1"), "{table}");
    w.dhow(["run", "--rm", "ours:v1", "echo", "afloat"]).ok().out_is("afloat");
    w.dhow(["rmi", "ours:v1"]).ok().out_has("Untagged: ours:v1");
    w.dhow(["rmi", &name]).ok().out_has("Deleted: sha256:");
    w.dhow(["images", "-q"]).ok().out_is("");
}

#[test]
fn run_pulls_what_is_not_there() {
    let w = World::new();
    let name = Registry::open().name("busybox:latest");
    let done = w.dhow(["run", "--rm", &name, "echo", "only this"]).ok();
    assert_eq!(done.out(), "only this");
    let missing = Registry::open().name("nothing:here");
    w.dhow(["run", "--rm", &missing, "true"]).code(125).err_has(&missing);
}

#[test]
fn image_in_use_is_not_removed() {
    let w = World::new();
    w.pull("busybox");
    let name = w.id("c");
    w.dhow(["create", "--name", &name, "busybox", "true"]).ok();
    let open = Registry::open().name("busybox:latest");
    w.dhow(["rmi", &open]).ok();
    w.dhow(["rmi", "busybox"]).code(1);
    w.dhow(["start", "-a", &name]).ok();
    w.dhow(["rm", &name]).ok();
    w.dhow(["rmi", "busybox"]).ok();
}

#[test]
fn inspect_tells_images_too() {
    let w = World::new();
    w.pull("layers");
    let it = w.dhow(["inspect", "layers"]).ok().json();
    assert_eq!(it[0]["Config"]["User"], "mate:crew");
    assert_eq!(it[0]["RootFS"]["Layers"].as_array().unwrap().len(), 4);
    assert!(it[0]["RepoTags"].as_array().unwrap().contains(&"layers:latest".into()), "{it}");
}

#[test]
fn save_load_export_import_in_a_pipe() {
    let w = World::new();
    w.pull("busybox");
    let (dhow, other) = (program("dhow"), w.path("other"));
    let dhow = dhow.display();
    let line = format!("{dhow} save busybox | {dhow} --root {} load", other.display());
    w.cmd("sh").args(["-c", &line]).run().ok().out_has("Loaded image: busybox:latest");
    let name = w.id("c");
    w.dhow(["run", "--name", &name, "busybox", "sh", "-c", "echo made >/made"]).ok();
    let line = format!("{dhow} export {name} | {dhow} import - flat:1");
    w.cmd("sh").args(["-c", &line]).run().ok().out_has("sha256:");
    w.dhow(["run", "--rm", "flat:1", "cat", "/made"]).ok().out_is("made");
    w.dhow(["rm", &name]).ok();
}
