//! `dhow build`'s flags: where the context is, where the image goes, what is told.

use std::fs;

use e2e::{Cmd, Registry, World, needs};
use serde_json::Value;

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

const TEXT: &str = "FROM busybox\nCOPY a.txt /\nRUN cat /a.txt > /b.txt\n";

#[test]
fn several_names_an_id_and_metadata_are_given() {
    let w = world();
    let dir = w.context("c", &[("Dockerfile", TEXT), ("a.txt", "a\n")]);
    let (id, meta) = (w.path("id"), w.path("meta.json"));
    let files = ["--iidfile", id.to_str().unwrap(), "--metadata-file", meta.to_str().unwrap()];
    let flags = [&files[..], &["-t", "one", "-t", "example.com/two:v1"]].concat();
    let done = w.build(&dir, &flags).ok();
    done.out_is("");
    let id = fs::read_to_string(id).unwrap();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    assert_eq!(w.inspect("one")["Id"], id.as_str());
    assert_eq!(w.inspect("example.com/two:v1")["Id"], id.as_str());
    let meta: Value = serde_json::from_slice(&fs::read(meta).unwrap()).unwrap();
    assert!(meta["containerimage.digest"].as_str().unwrap().starts_with("sha256:"), "{meta}");
    assert_eq!(meta["containerimage.config.digest"], id.as_str());
    // Quiet: the id alone, on stdout. Without a name it dangles.
    w.dhow_cmd(["build", "-q"]).arg(&dir).run().ok().out_is(&id);
    w.build(&w.context("d", &[("Dockerfile", "FROM busybox\nLABEL x=y\n")]), &[]).ok();
    assert_eq!(w.dhow(["images", "-qf", "dangling=true"]).ok().lines().len(), 1);
    for verb in [&["image", "build"][..], &["builder", "build"], &["buildx", "build"]] {
        let args = [verb, &["-q", "-t", "again"]].concat();
        w.dhow_cmd(args).arg(&dir).run().ok().out_is(&id);
    }
}

#[test]
fn a_context_comes_as_a_directory_a_tar_or_a_dockerfile_alone() {
    let w = world();
    let dir = w.context(
        "c",
        &[("Dockerfile", TEXT), ("a.txt", "a\n"), ("sub/Other", TEXT), ("sub/a.txt", "sub\n")],
    );
    let built = |name: &str| w.says(name, "cat /b.txt");
    w.dhow_cmd(["build", "-t", "x", "."]).cwd(&dir).run().ok();
    assert_eq!(built("x"), "a");
    w.build(&dir, &["-t", "f", "-f", dir.join("sub/Other").to_str().unwrap()]).ok();
    assert_eq!(built("f"), "a");
    for flag in ["-cf", "-czf", "-cJf"] {
        let tar = Cmd::new("tar").args([flag, "-", "-C"]).arg(&dir).arg(".").run().ok().stdout;
        w.dhow_cmd(["build", "-t", "tar", "-"]).stdin(tar.clone()).run().ok();
        assert_eq!(built("tar"), "a");
        w.dhow_cmd(["build", "-t", "tar", "-f", "sub/Other", "-"]).stdin(tar).run().ok();
    }
    // The Dockerfile alone on stdin, with a context and without.
    w.dhow_cmd(["build", "-t", "in", "-f", "-"]).arg(dir.join("sub")).stdin(TEXT).run().ok();
    assert_eq!(built("in"), "sub");
    w.dhow_cmd(["build", "-"]).stdin(TEXT).run().code(1).err_has("a.txt");
    w.dhow_cmd(["build", "-t", "in", "-"]).stdin("FROM busybox\nRUN echo z > /b.txt\n").run().ok();
    assert_eq!(built("in"), "z");
    w.dhow(["build", "/not/there"]).code(1).err_has("/not/there");
    let empty = w.context("empty", &[]);
    w.build(&empty, &[]).code(1).err_has("Dockerfile");
    w.dhow(["build"]).code(1).err_has("requires");
}

#[test]
fn files_and_archives_go_out() {
    let w = world();
    let text = "FROM scratch\nCOPY a.txt /dir/\nCOPY a.txt /top\n";
    let dir = w.context("c", &[("Dockerfile", text), ("a.txt", "a\n")]);
    w.build(&dir, &["-o", w.path("local").to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(w.path("local/dir/a.txt")).unwrap(), "a\n");
    // On stdout, as a tar.
    let tar = w.dhow_cmd(["build", "-o", "-"]).arg(&dir).run().ok().stdout;
    let names = Cmd::new("tar").args(["-tf", "-"]).stdin(tar).run().ok().out();
    assert!(names.contains("dir/a.txt") && names.contains("top"), "{names}");
    for (kind, from) in [("oci", "oci-archive"), ("docker", "docker-archive")] {
        let file = w.path(format!("{kind}.tar"));
        let flag = format!("type={kind},dest={},name=out:1", file.display());
        w.build(&dir, &["-o", &flag]).ok();
        let place = format!("{from}:{}", file.display());
        w.cmd("skopeo").args(["inspect", "--config", &place]).run().ok().out_has("buildkit");
    }
    let flag = format!("type=oci,tar=false,dest={}", w.path("layout").display());
    w.build(&dir, &["-o", &flag]).ok();
    assert!(w.path("layout/oci-layout").exists());
    // None of these leaves an image in the store.
    w.dhow(["images", "-aq", "-f", "dangling=true"]).ok().out_is("");
    w.build(&dir, &["-o", "type=nonsense"]).code(1).err_has("nonsense");
}

#[test]
fn an_image_goes_to_a_registry() {
    needs!(Machine);
    let w = world();
    let host = Registry::open().host();
    let dir = w.context("c", &[("Dockerfile", TEXT), ("a.txt", "a\n")]);
    let name = format!("{host}/build-flags:pushed");
    w.build(&dir, &["-t", &name, "--push"]).ok();
    let raw = ["inspect", "--tls-verify=false", &format!("docker://{name}")];
    w.cmd("skopeo").args(raw).run().ok().out_has("sha256:");
    w.dhow(["rmi", &name]).ok();
    let other = format!("type=image,name={host}/build-flags:other,push=true");
    w.build(&dir, &["-o", &other]).ok();
    w.image(["copy", &format!("docker://{host}/build-flags:other"), "back"]).ok();
    assert_eq!(w.says("back", "cat /b.txt"), "a");
}

#[test]
fn a_check_tells_and_builds_nothing() {
    let w = world();
    let text = "from busybox as One\nWORKDIR relative\nRUN echo $nothing; exit 9\nENV TOKEN=secret\nCMD echo x\n";
    let dir = w.context("c", &[("Dockerfile", text)]);
    let said = w.build(&dir, &["--check"]).code(1);
    let all = format!("{}{}", said.out(), said.err());
    for rule in
        ["StageNameCasing", "WorkdirRelativePath", "SecretsUsedInArgOrEnv", "JSONArgsRecommended"]
    {
        assert!(all.contains(rule), "no {rule}: {all}");
    }
    let dir = w.context("d", &[("Dockerfile", "FROM busybox\nRUN exit 9\n")]);
    w.build(&dir, &["--check"]).ok();
    w.build_text("x", "# check=error=true\nFROM busybox AS One\nRUN true\n")
        .code(1)
        .err_has("StageNameCasing");
}

#[test]
fn progress_is_plain_json_quiet_or_a_picture() {
    let w = world();
    let dir = w.context("c", &[("Dockerfile", TEXT), ("a.txt", "a\n")]);
    let first = w.build(&dir, &["-t", "p"]).ok().err();
    for part in [
        "[internal] load build definition from Dockerfile",
        "[1/3] FROM",
        "[2/3] COPY a.txt /",
        "[3/3] RUN cat",
        "DONE",
        "naming to docker.io/library/p",
    ] {
        assert!(first.contains(part), "no {part:?}: {first}");
    }
    assert!(!first.contains("CACHED"), "{first}");
    let again = w.build(&dir, &["-t", "p"]).ok().err();
    assert_eq!(again.matches("CACHED").count(), 2, "{again}");
    let json = w.dhow_cmd(["build", "--progress=rawjson"]).arg(&dir).run().ok().err();
    for line in json.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    }
    let quiet = w.dhow_cmd(["build", "--progress=quiet"]).arg(&dir).run().ok();
    assert!(quiet.err().is_empty(), "{quiet}");
    let by_env = w.dhow_cmd(["build"]).arg(&dir).env("BUILDKIT_PROGRESS", "plain").run().ok();
    assert!(by_env.err().contains("#1 "), "{by_env}");
    let mut t = w.dhow_pty(["build", "--no-cache", dir.to_str().unwrap()]);
    t.expect("[+] Building");
    t.expect("FINISHED");
    assert_eq!(t.wait(), 0);
}

#[test]
fn errors_show_the_place() {
    let w = world();
    for (text, says) in [
        ("FROM busybox\nRUNN true\n", &["Dockerfile:2:1", "RUNN", "RUN?", "^"][..]),
        (
            "FROM busybox AS build\nFROM busybox\nCOPY --from=no/such:image a /\n",
            &["Dockerfile:3", "no/such"],
        ),
        ("RUN true\n", &["Dockerfile:1", "FROM"]),
        ("", &["empty"]),
        ("# nothing\n", &["Dockerfile"]),
        ("FROM busybox AS 1x\n", &["Dockerfile:1", "1x"]),
        ("FROM busybox\nCMD [\"a\"\nFOO\n", &["Dockerfile:3", "FOO"]),
        ("FROM busybox\nRUN <<EOF\necho\n", &["Dockerfile:2", "EOF"]),
        ("FROM busybox\nRUN --mount=type=odd,target=/x true\n", &["Dockerfile:2", "odd"]),
        ("FROM busybox\nENV\n", &["Dockerfile:2", "ENV"]),
        ("FROM busybox\nENV a=${b:}\n", &["Dockerfile:2"]),
        ("FROM ${none}\n", &["Dockerfile:1"]),
        ("FROM Busybox\n", &["Dockerfile:1", "Busybox"]),
        ("FROM busybox\nEXPOSE x\n", &["Dockerfile:2", "x"]),
        ("FROM busybox\nSTOPSIGNAL NOPE\n", &["Dockerfile:2", "NOPE"]),
        ("FROM busybox\nHEALTHCHECK --interval=soon CMD true\n", &["Dockerfile:2", "soon"]),
    ] {
        let done = w.build_text("e", text).code(1);
        for part in says {
            assert!(done.err().contains(part), "no {part:?} of {text:?}: {done}");
        }
        assert!(!done.err().contains("panicked"), "{done}");
    }
}
