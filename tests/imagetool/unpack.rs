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
