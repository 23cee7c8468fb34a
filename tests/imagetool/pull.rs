//! Pulling from a registry.

use std::fs;

use e2e::{Registry, World, fixtures};

/// The digest of a manifest, as skopeo tells it.
pub fn digest_of(name: &str) -> String {
    let args = ["inspect", "--tls-verify=false", "--format", "{{.Digest}}"];
    e2e::Cmd::new("skopeo").args(args).arg(format!("docker://{name}")).run().ok().out()
}

#[test]
fn pull_prints_only_what_a_pipe_needs_and_lists_the_image() {
    let w = World::new();
    let name = Registry::open().name("busybox:latest");
    let done = w.image(["pull", &name]).ok();
    assert_eq!(done.lines().len(), 1, "{done}");
    assert!(done.out().contains("sha256:") || done.out().contains(&name), "{done}");
    let list = w.image(["list", "--json"]).ok().out();
    assert!(list.contains(&name), "{list}");
}

#[test]
fn every_kind_of_layer() {
    let w = World::new();
    for image in ["busybox", "layers", "zstd", "debian:bookworm"] {
        w.pull(image);
        w.image(["inspect", image]).ok();
    }
}

#[test]
fn manifest_and_config_are_kept_to_the_byte() {
    let w = World::new();
    let name = Registry::open().name("layers:latest");
    w.image(["pull", &name]).ok();
    let digest = digest_of(&name);
    let blob = w.root().join("images/blobs").join(digest.replace(':', "/"));
    let sum = w.cmd("sha256sum").arg(&blob).run().ok().out();
    assert!(sum.starts_with(digest.trim_start_matches("sha256:")), "{sum}");
}

#[test]
fn by_digest() {
    let w = World::new();
    let open = Registry::open();
    let digest = digest_of(&open.name("busybox:latest"));
    w.image(["pull", &open.name(&format!("busybox@{digest}"))]).ok();
    w.image(["inspect", &open.name(&format!("busybox@{digest}"))]).ok();
    let wrong = format!("busybox@sha256:{}", "0".repeat(64));
    w.image(["pull", &open.name(&wrong)]).refused();
}

#[test]
fn second_pull_fetches_nothing() {
    let w = World::new();
    let name = Registry::open().name("debian:bookworm");
    w.image(["pull", &name]).ok();
    let blobs = || {
        let mut list: Vec<_> = fs::read_dir(w.root().join("images/blobs/sha256"))
            .unwrap()
            .map(|e| e.unwrap())
            .map(|e| (e.file_name(), e.metadata().unwrap().modified().unwrap()))
            .collect();
        list.sort();
        list
    };
    let before = blobs();
    w.image(["pull", &name]).ok();
    assert_eq!(before, blobs());
}

#[test]
fn password_from_docker_config() {
    let w = World::new();
    let secured = Registry::secured();
    let name = secured.name("busybox:latest");
    w.image(["pull", &name]).refused().err_has(&secured.host());
    let config = w.path("home/.docker");
    fs::create_dir_all(&config).unwrap();
    let write = |password: &str| {
        let pair = format!("{}:{password}", Registry::USER);
        let pair = w.cmd("base64").arg("-w0").stdin(pair).run().ok().out();
        let json = serde_json::json!({"auths": {secured.host(): {"auth": pair}}});
        fs::write(config.join("config.json"), json.to_string()).unwrap();
    };
    write("foul wind");
    let error = w.image(["pull", &name]).refused().err();
    assert!(!error.contains("foul"), "a password is never printed: {error}");
    write(Registry::PASSWORD);
    w.image(["pull", &name]).ok();
}

#[test]
fn names_are_resolved_without_the_c_library() {
    let w = World::new();
    let trace = w.path("trace");
    let name = Registry::open().name("busybox:latest");
    let prefix = ["strace", "-f", "-e", "trace=open,openat,openat2", "-o", trace.to_str().unwrap()];
    w.image_cmd(["pull", &name]).under(prefix).run().ok();
    // By name too, where a resolver has to look into /etc/hosts.
    let by_name = name.replace("127.0.0.1", "localhost");
    let again = w.image_cmd(["pull", &by_name]).env("DHOW_ROOT", w.path("other"));
    again
        .under([
            "strace",
            "-f",
            "-A",
            "-e",
            "trace=open,openat,openat2",
            "-o",
            trace.to_str().unwrap(),
        ])
        .run()
        .ok();
    let opened = fs::read_to_string(&trace).unwrap();
    for part in ["nsswitch.conf", "libnss", ".so"] {
        let line = opened.lines().find(|l| l.contains(part));
        assert!(line.is_none(), "a static program opened {line:?}");
    }
}

#[test]
fn two_pulls_at_once_agree() {
    let w = World::new();
    let name = Registry::open().name("debian:bookworm");
    std::thread::scope(|s| {
        for _ in 0..3 {
            s.spawn(|| w.image(["pull", &name]).ok());
        }
    });
    let out = w.path("bundle");
    w.image(["unpack", &name, out.to_str().unwrap()]).ok();
}

#[test]
fn a_pull_goes_to_disk_while_it_comes_and_tells_of_the_disks_faults() {
    let w = World::new();
    let (name, _) = Registry::open().push(&fixtures::unlike("x", "early", 17 << 20), "early:1");
    let trace = w.path("trace");
    let strace = ["-f", "--seccomp-bpf", "-e", "trace=syncfs", "-o", trace.to_str().unwrap()];
    let pull = |more: &[&str]| {
        let pull = w.image_cmd(["pull", "-q", &name]);
        pull.under([&["strace"], &strace[..], more].concat()).run()
    };
    // It is the thread beside that the kernel tells.
    let fault = format!("cannot sync {}: I/O error", w.root().display());
    pull(&["-e", "inject=syncfs:error=EIO"]).refused().err_has(&fault);
    w.image(["list", "-q"]).ok().out_is("");
    pull(&[]).ok();
    let syncs = fs::read_to_string(&trace).unwrap();
    assert!(syncs.lines().filter(|l| l.contains("syncfs(")).count() > 1, "{syncs}");
    w.image(["verify"]).ok().out_is("");
}
