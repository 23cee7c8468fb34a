//! images, pull, push, tag, rmi, save, load, import, export.

use e2e::{Registry, World, needs, program};

#[test]
fn pull_tag_list_remove() {
    needs!(Machine);
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
    needs!(Machine);
    let w = World::new();
    let name = Registry::open().name("busybox:latest");
    let done = w.dhow(["run", "--rm", &name, "echo", "only this"]).ok();
    assert_eq!(done.out(), "only this");
    let missing = Registry::open().name("nothing:here");
    w.dhow(["run", "--rm", &missing, "true"]).code(125).err_has(&missing);
}

#[test]
fn image_in_use_is_not_removed() {
    needs!(Machine);
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

#[test]
fn history_shows_each_step() {
    let w = World::new();
    w.pull("layers");
    let table = w.dhow(["history", "layers"]).ok().lines();
    assert!(table[0].starts_with("IMAGE          CREATED        CREATED BY   SIZE"), "{table:?}");
    assert_eq!(table.len(), 5);
    let id = w.dhow(["images", "-q", "layers"]).ok().out();
    assert!(table[1].starts_with(&format!("{id}   25 years ago   step 3")), "{table:?}");
    assert!(table[4].starts_with("<missing>      25 years ago   step 0       1.98MB"), "{table:?}");
    w.dhow(["history", "-q", "layers"])
        .ok()
        .out_is(&format!("{id}\n<missing>\n<missing>\n<missing>"));
    let long = w.dhow(["history", "--no-trunc", "-q", "layers"]).ok().lines();
    assert!(long[0].starts_with(&format!("sha256:{id}")) && long[0].len() == 71);
    let bytes = w.dhow(["history", "-H=false", "layers"]).ok().lines();
    assert!(
        bytes[0].contains("CREATED AT") && bytes[4].contains("2001-09-09T01:46:40"),
        "{bytes:?}"
    );
    let rows = w.dhow(["history", "--format", "json", "layers"]).ok().lines();
    let first: serde_json::Value = serde_json::from_str(&rows[0]).unwrap();
    assert_eq!((&first["ID"], &first["CreatedBy"]), (&id.into(), &"step 3".into()));
    w.dhow(["image", "history", "--format", "table {{.CreatedBy}}\t{{.Comment}}", "layers"])
        .ok()
        .out_has("CREATED BY");
    w.dhow(["history", "nope"]).code(1).err_has("No such image: nope:latest");
    let other = ["history", "--platform", "linux/s390x", "layers"];
    w.dhow(other).code(1).err_has("does not match the specified platform (linux/s390x)");
    w.dhow(["history", "--platform", "bogus", "layers"])
        .code(1)
        .err_has("unknown operating system");
}

#[test]
fn rmi_refuses_and_forces_as_docker_does() {
    needs!(Machine);
    let w = World::new();
    w.pull("busybox");
    let full = Registry::open().name("busybox:latest");
    w.dhow(["rmi", &full]).ok().out_has(&format!("Untagged: {full}\nUntagged: "));
    let id = w.dhow(["images", "-q"]).ok().out();
    for tag in ["one:1", "two:2"] {
        w.dhow(["tag", "busybox", tag]).ok();
    }
    w.dhow(["rmi", "busybox"]).ok().out_is("Untagged: busybox:latest");
    w.dhow(["rmi", &id]).code(1).err_has(&format!(
        "conflict: unable to delete {id} (must be forced) - image is referenced in multiple repositories"
    ));
    let name = w.id("c");
    let c = w.dhow(["run", "-d", "--name", &name, "one:1", "sleep", "1000"]).ok().out();
    let c = &c[..12];
    // Under another name it stays, so that name may go.
    w.dhow(["rmi", "two:2"]).ok().out_is("Untagged: two:2");
    w.dhow(["rmi", "one:1"]).code(1).err_has(&format!(
        "conflict: unable to remove repository reference \"one:1\" (must force) - container {c} is using its referenced image {id}"
    ));
    for args in [&["rmi", &id][..], &["rmi", "-f", &id]] {
        w.dhow(args).code(1).err_has(&format!(
            "conflict: unable to delete {id} (cannot be forced) - image is being used by running container {c}"
        ));
    }
    w.dhow(["stop", "-t", "0", &name]).ok();
    w.dhow(["rmi", &id])
        .code(1)
        .err_has(&format!("(must be forced) - image is being used by stopped container {c}"));
    // Forced, the image goes; the container keeps its layers, and starts.
    let gone = w.dhow(["rmi", "-f", &id]).ok().lines();
    assert_eq!(gone[0], "Untagged: one:1");
    assert!(gone[1].starts_with("Deleted: sha256:"), "{gone:?}");
    w.dhow(["start", &name]).ok();
    w.dhow(["rm", "-f", &name]).ok();
    let both = w.dhow(["rmi", "nope", "BAD"]).code(1);
    assert!(both.err().contains("No such image: nope:latest"), "{both}");
    assert!(both.err().contains("repository name (library/BAD) must be lowercase"), "{both}");
    w.dhow(["rmi", "-f", "nope"]).code(0).err_has("No such image: nope:latest");
}

#[test]
fn layers_are_deleted_from_the_top() {
    needs!(Machine);
    let w = World::new();
    let name = Registry::open().name("layers:latest");
    w.dhow(["pull", "-q", &name]).ok();
    let it = w.dhow(["inspect", &name]).ok().json();
    let gone = w.dhow(["rmi", "--no-prune", &name]).ok().lines();
    let deleted: Vec<&str> = gone.iter().filter_map(|l| l.strip_prefix("Deleted: ")).collect();
    assert_eq!(deleted[0], it[0]["Id"]);
    assert_eq!(deleted.len(), 5);
    // The lowest layer's chain id is its own digest.
    assert_eq!(deleted[4], it[0]["RootFS"]["Layers"][0]);
}

#[test]
fn tag_is_refused_in_docker_s_words() {
    let w = World::new();
    w.pull("busybox");
    w.dhow(["tag", "nope", "x"]).code(1).err_has("No such image: nope:latest");
    for (target, words) in [
        (
            "BAD",
            "Error parsing reference: \"BAD\" is not a valid repository/tag: invalid reference format",
        ),
        ("a:b:c", "is not a valid repository/tag: invalid reference format"),
    ] {
        w.dhow(["tag", "busybox", target]).code(1).err_has(words);
    }
    let digest = format!("a@sha256:{}", "0".repeat(64));
    w.dhow(["tag", "busybox", &digest]).code(1).err_has("refusing to create a tag with a digest");
}

#[test]
fn images_lists_filters_and_formats() {
    let w = World::new();
    w.pull("busybox");
    w.pull("layers");
    w.dhow(["tag", "busybox", "some/one:x"]).ok();
    let list = |args: &[&str]| {
        let format = ["images", "--format", "{{.Repository}}:{{.Tag}}"];
        let mut lines = w.dhow([&format[..], args].concat()).ok().lines();
        lines.retain(|l| !l.starts_with("127."));
        lines.sort();
        lines.join(" ")
    };
    assert_eq!(list(&[]), "busybox:latest layers:latest some/one:x");
    assert_eq!(list(&["-f", "reference=some/*"]), "some/one:x");
    assert_eq!(list(&["-f", "reference=[bs]*"]), "busybox:latest");
    assert_eq!(list(&["busybox"]), "busybox:latest");
    assert_eq!(list(&["*:x"]), "");
    assert_eq!(list(&["*/*:x"]), "some/one:x");
    assert_eq!(list(&["-f", "label=port=lamu"]), "layers:latest");
    assert_eq!(list(&["-f", "label=port=nowhere"]), "");
    assert_eq!(list(&["-f", "dangling=true"]), "");
    // An image under two names is two lines, with -q too.
    let ids = w.dhow(["images", "-q", "some/one"]).ok().out();
    let all = w.dhow(["images", "-q"]).ok().lines();
    // Where there is a registry, its own name for it as well.
    let names = if e2e::mode().is_guest() { 2 } else { 3 };
    assert_eq!(all.iter().filter(|id| **id == ids).count(), names);
    for (args, code, words) in [
        (["-f", "foo=1"], 1, "invalid filter 'foo'"),
        (["-f", "dangling"], 125, "bad format of filter"),
        (["-f", "dangling=x"], 1, "invalid filter 'dangling=[x]'"),
        (["-f", "before=nope"], 1, "No such image: nope:latest"),
        (["-f", "reference=["], 1, "syntax error in pattern"),
        (["-f", "until=bogus"], 1, "bogus"),
    ] {
        w.dhow([&["images"], &args[..]].concat()).code(code).err_has(words);
    }
    w.dhow(["images", "--format", "raw", "some/one"]).ok().out_has("image_id: ");
    let home = w.path("home/.docker");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("config.json"), r#"{"imagesFormat":"{{.Tag}}!"}"#).unwrap();
    w.dhow(["images", "some/one"]).ok().out_is("x!");
    w.dhow(["images", "-q", "some/one"]).ok().out_is(&ids);
}
