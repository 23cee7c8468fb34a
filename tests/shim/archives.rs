//! save, load, import: every kind of archive, in and out.

use std::fs;

use e2e::harbour::{Answer, Asked, Harbour};
use e2e::{Cmd, World, fixtures, needs};

/// The names in an archive's manifest.json.
fn names(w: &World, tar: &str) -> Vec<String> {
    let manifest = w.cmd("tar").args(["-xOf", tar, "manifest.json"]).run().ok().json();
    let tags = manifest.as_array().unwrap().iter().flat_map(|m| m["RepoTags"].as_array().unwrap());
    tags.map(|t| t.as_str().unwrap().to_owned()).collect()
}

#[test]
fn save_takes_several_and_a_repository_means_all_its_tags() {
    let w = World::new();
    w.pull("busybox");
    w.pull("zstd");
    for name in ["two:a", "two:b"] {
        w.dhow(["tag", "busybox", name]).ok();
    }
    w.dhow(["save", "-o", "x.tar", "two", "zstd:latest"]).ok().out_is("");
    assert_eq!(names(&w, "x.tar"), ["two:a", "two:b", "zstd:latest"]);
    w.dhow(["save", "-o", "y.tar", "two:b"]).ok();
    assert_eq!(names(&w, "y.tar"), ["two:b"]);
    let id = w.dhow(["images", "-q", "two:a"]).ok().out();
    w.dhow(["save", "-o", "z.tar", &id]).ok();
    assert!(names(&w, "z.tar").is_empty());
    w.dhow(["save", "-o", "n.tar", "two", "nope"]).code(1).err_has("No such image: nope");
    assert!(!w.path("n.tar").exists());
    let none = w.path("none").display().to_string();
    w.dhow(["save", "-o", &format!("{none}/x.tar"), "two"])
        .code(1)
        .err_has(&format!("invalid output path: stat {none}: no such file or directory"));
    let other = ["save", "--platform", "linux/s390x", "-o", "n.tar", "two"];
    w.dhow(other).code(1).err_has("no suitable export target found for platform linux/s390x");
    let mut t = w.dhow_pty(["save", "two"]);
    t.expect("owardly refus");
    assert_ne!(t.wait(), 0);
}

#[test]
fn load_reads_every_compression_from_a_file_and_from_a_pipe() {
    needs!(Machine);
    let w = World::new();
    w.pull("busybox");
    w.dhow(["save", "-o", "x.tar", "busybox"]).ok();
    let id = w.dhow(["images", "-q", "--no-trunc", "busybox"]).ok().out();
    for (program, end) in [("gzip", "gz"), ("zstd", "zst"), ("xz", "xz"), ("bzip2", "bz2")] {
        w.cmd("sh").args(["-c", &format!("{program} -c x.tar > x.tar.{end}")]).run().ok();
    }
    for file in ["x.tar", "x.tar.gz", "x.tar.zst", "x.tar.xz", "x.tar.bz2"] {
        let root = w.path(format!("root-{file}"));
        let cmd = w.dhow_cmd(["load", "-i", file]).env("DHOW_ROOT", &root).run();
        cmd.ok().out_is("Loaded image: busybox:latest");
        let ids = w.dhow_cmd(["images", "-q", "--no-trunc"]).env("DHOW_ROOT", &root).run();
        ids.ok().out_is(&id);
        let piped = w.path(format!("piped-{file}"));
        let bytes = fs::read(w.path(file)).unwrap();
        let cmd = w.dhow_cmd(["load", "-q"]).env("DHOW_ROOT", &piped).stdin(bytes).run();
        cmd.ok().out_is("Loaded image: busybox:latest");
    }
    // Cut short, it is nothing.
    for file in ["x.tar.xz", "x.tar.bz2"] {
        let mut bytes = fs::read(w.path(file)).unwrap();
        bytes.truncate(bytes.len() - 100);
        let root = w.path("cut");
        w.dhow_cmd(["load"]).env("DHOW_ROOT", &root).stdin(bytes).run().code(1);
        w.dhow_cmd(["images", "-q"]).env("DHOW_ROOT", &root).run().ok().out_is("");
    }
}

#[test]
fn load_reads_docker_s_and_oci_s_archives_and_says_what_it_cannot() {
    needs!(Machine);
    let w = World::new();
    let layout = fixtures::layout();
    let copy = |to: &str| {
        let from = format!("oci:{}:busybox", layout.display());
        Cmd::new("skopeo").args(["--insecure-policy", "copy", "-q", &from, to]).run().ok();
    };
    copy(&format!("docker-archive:{}:from/docker:1", w.path("d.tar").display()));
    copy(&format!("oci-archive:{}:from/oci:2", w.path("o.tar").display()));
    w.dhow(["load", "-i", "d.tar"]).ok().out_is("Loaded image: from/docker:1");
    w.dhow(["load", "-i", "o.tar"]).ok().out_is("Loaded image: from/oci:2");
    let id = w.dhow(["images", "-q", "--no-trunc", "from/oci"]).ok().out();
    w.dhow(["save", "-o", "i.tar", &id]).ok();
    w.dhow(["rmi", "from/docker:1", "from/oci:2"]).ok();
    w.dhow(["load", "-i", "i.tar"]).ok().out_is(&format!("Loaded image ID: {id}"));
    let other = ["load", "--platform", "linux/s390x", "-i", "d.tar"];
    w.dhow(other).code(1).err_has("linux/s390x");
    w.dhow(["load", "-i", "nope.tar"]).code(1).err_has("nope.tar");
    fs::write(w.path("garbage"), "garbage".repeat(1000)).unwrap();
    w.dhow(["load", "-i", "garbage"]).code(1).err_has("garbage");
    w.cmd("tar").args(["-cf", "plain.tar", "garbage"]).run().ok();
    w.dhow(["load", "-i", "plain.tar"]).code(1).err_has("use import");
}

/// A root's tar: busybox and a file.
fn root_tar(w: &World) -> Vec<u8> {
    let root = w.busybox_root();
    w.cmd("tar").args(["-cf", "-", "-C", root.to_str().unwrap(), "bin", "etc"]).run().ok().stdout
}

#[test]
fn import_takes_files_pipes_and_urls_of_any_compression() {
    needs!(Machine);
    let w = World::new();
    fs::write(w.path("root.tar"), root_tar(&w)).unwrap();
    let mut ends = vec![("plain", "root.tar".to_owned())];
    for program in ["gzip", "zstd", "xz", "bzip2"] {
        let file = format!("root.{program}");
        w.cmd("sh").args(["-c", &format!("{program} -c root.tar > {file}")]).run().ok();
        ends.push((program, file));
    }
    for (name, file) in ends {
        let id = w.dhow(["import", &file, name]).ok().out();
        assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
        w.dhow(["run", "--rm", name, "cat", "/etc/hostname"]).ok();
    }
    let piped = w.dhow_cmd(["import", "-m", "from afar", "-", "r.example:5000/a/b:1"]);
    let id = piped.stdin(root_tar(&w)).run().ok().out();
    w.dhow(["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", "r.example:5000/a/b"])
        .ok()
        .out_is(&format!("r.example:5000/a/b:1 {}", &id[7..19]));
    w.dhow(["history", "--format", "{{.Comment}}", &id]).ok().out_is("from afar");
    let tar = root_tar(&w);
    let web = Harbour::open(move |asked: &Asked| match asked.path.as_str() {
        "/root.tar" | "/root.tar?signature=hunter3" => Answer::body(tar.as_slice()),
        "/moved" => Answer::status(302).header("Location", "/root.tar"),
        "/circle" => Answer::status(302).header("Location", "/circle"),
        _ => Answer::status(404),
    });
    let url = |path: &str| format!("http://{}/{path}", web.host());
    let done = w.dhow(["import", &url("moved"), "web:1"]).ok();
    assert_eq!(done.lines()[0], format!("Downloading from {}", url("moved")), "{done}");
    w.dhow(["history", "--format", "{{.Comment}}", "web:1"])
        .ok()
        .out_is(&format!("Imported from {}", url("moved")));
    w.dhow(["run", "--rm", "web:1", "true"]).ok();
    w.dhow(["import", &url("nothing"), "web:2"]).code(1).err_has("404");
    w.dhow(["import", &url("circle"), "web:2"]).code(1).err_has("too many redirects");
    w.dhow(["import", "http://127.0.0.1:1/x", "web:2"]).code(1).err_has("127.0.0.1:1");
    w.image(["import", &url("root.tar"), "web:3"]).ok();
    // A password, or what signs a URL, is nobody's business: an image's history goes to registries.
    let secret = format!("http://me:hunter2@{}/root.tar?signature=hunter3", web.host());
    let done = w.dhow(["import", &secret, "web:4"]);
    assert!(!done.out().contains("hunter2"), "{done}");
    let told = w.dhow(["history", "--no-trunc", "web:4"]).out();
    assert!(!told.contains("hunter"), "{told}");
}

#[test]
fn import_changes_the_config() {
    let w = World::new();
    fs::write(w.path("root.tar"), root_tar(&w)).unwrap();
    let changes = [
        "CMD [\"cat\", \"/etc/hostname\"]",
        "ENV A=1 B=\"two words\"",
        "ENV A=3",
        "EXPOSE 80 53/udp",
        "HEALTHCHECK --interval=30s --retries=2 CMD true",
        "LABEL k=v",
        "ONBUILD RUN x",
        "STOPSIGNAL SIGINT",
        "USER mate",
        "VOLUME /data",
        "WORKDIR /etc",
    ];
    let args = changes.iter().flat_map(|c| ["-c", c]);
    let args: Vec<&str> = ["import"]
        .into_iter()
        .chain(args)
        .chain(["--platform", "linux/arm64", "root.tar", "x"])
        .collect();
    w.dhow(args).ok();
    let it = &w.dhow(["image", "inspect", "x"]).ok().json()[0];
    let config = &it["Config"];
    assert_eq!(it["Architecture"], "arm64");
    assert_eq!(config["Cmd"], serde_json::json!(["cat", "/etc/hostname"]));
    assert_eq!(config["Env"], serde_json::json!(["A=3", "B=two words"]));
    assert_eq!(config["ExposedPorts"], serde_json::json!({"53/udp": {}, "80/tcp": {}}));
    assert_eq!(config["Healthcheck"]["Interval"], 30_000_000_000_i64);
    assert_eq!((&config["User"], &config["WorkingDir"]), (&"mate".into(), &"/etc".into()));
    for (args, words) in [
        (&["-c", "RUN x", "root.tar"][..], "RUN is not a valid change command"),
        (&["root.tar", "BAD"], "repository name (library/BAD) must be lowercase"),
        (&["nofile"], "nofile"),
        (&["--platform", "bogus", "root.tar"], "unknown operating system or architecture"),
    ] {
        w.dhow([&["import"], args].concat()).code(1).err_has(words);
    }
}

#[test]
fn image_for_another_platform_is_kept_and_its_next_step_named() {
    let w = World::new();
    fs::write(w.path("root.tar"), root_tar(&w)).unwrap();
    w.dhow(["import", "--platform", "linux/s390x", "root.tar", "other"]).ok();
    let name = w.id("c");
    let done = w.dhow(["create", "--name", &name, "other", "true"]).ok();
    assert!(
        done.err().contains("WARNING: The requested image's platform (linux/s390x) does not match")
            && done.err().contains("qemu"),
        "{done}"
    );
    w.dhow(["rm", &name]).ok();
    // Asked for, there is no warning of a mismatch, but the emulator lacks all the same.
    let asked = ["create", "--name", &name, "--platform", "linux/s390x", "other", "true"];
    let done = w.dhow(asked).ok();
    assert!(!done.err().contains("WARNING") && done.err().contains("qemu-s390x"), "{done}");
    w.dhow(["rm", &name]).ok();
    let wrong = ["create", "--pull", "never", "--platform", "linux/arm64", "other", "true"];
    w.dhow(wrong).code(1).err_has("No such image");
}

#[test]
fn image_inspect_has_docker_s_keys() {
    let w = World::new();
    w.pull("layers");
    let done = w.dhow(["image", "inspect", "layers"]).ok();
    let it = &done.json()[0];
    let keys: Vec<&String> = it.as_object().unwrap().keys().collect();
    let mut docker = [
        "Id",
        "RepoTags",
        "RepoDigests",
        "Parent",
        "Comment",
        "Created",
        "DockerVersion",
        "Author",
        "Architecture",
        "Os",
        "Size",
        "GraphDriver",
        "RootFS",
        "Metadata",
        "Config",
    ];
    docker.sort_unstable();
    assert_eq!(keys, docker);
    for key in ["Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "User", "Volumes", "WorkingDir"] {
        assert!(it["Config"].get(key).is_some(), "{key}");
    }
    let lower = it["GraphDriver"]["Data"]["LowerDir"].as_str().unwrap();
    assert_eq!(lower.split(':').count(), 3);
    for dir in lower.split(':').chain(it["GraphDriver"]["Data"]["UpperDir"].as_str()) {
        assert!(fs::metadata(dir).unwrap().is_dir(), "{dir}");
    }
    let missing = w.dhow(["image", "inspect", "nope", "layers", "-f", "{{.Os}}"]).code(1);
    assert_eq!(missing.out(), "linux");
    assert!(missing.err().contains("No such image: nope:latest"), "{missing}");
    w.dhow(["image", "inspect", "nope"]).code(1).out_is("[]");
}
