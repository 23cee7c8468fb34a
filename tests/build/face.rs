//! The command line: progress, outputs, files, what is refused.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use e2e::{Registry, World, needs, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A world with busybox, and a context with this Dockerfile and a file `f`.
fn yard(dockerfile: &str) -> World {
    let w = World::new();
    w.pull("busybox");
    fs::create_dir_all(w.path("ctx")).unwrap();
    fs::write(w.path("ctx/Dockerfile"), dockerfile).unwrap();
    fs::write(w.path("ctx/f"), "data\n").unwrap();
    w
}

fn text(path: &str) -> String {
    path.to_owned()
}

/// A path of the world, as a word.
fn at(w: &World, path: &str) -> String {
    w.path(path).display().to_string()
}

const TWO: &str = "FROM busybox AS build\nRUN echo made > /out\n\
    FROM scratch\nCOPY --from=build /out /out\nCOPY f /f\nCMD [\"/f\"]\n";

#[test]
fn plain_progress_is_buildkits() {
    let w = yard("FROM busybox\nRUN echo one && echo two >&2\nRUN printf half\n");
    let done = w.dhow(["build", "-t", "it:1", &at(&w, "ctx")]).ok();
    let err = done.out_is("").err();
    for line in [
        "#1 [internal] load build definition from Dockerfile",
        "#1 transferring dockerfile: 58B done",
        "[1/3] FROM docker.io/library/busybox",
        "[2/3] RUN echo one && echo two >&2",
        "[3/3] RUN printf half",
        "exporting to image",
        "exporting layers",
        "naming to docker.io/library/it:1",
    ] {
        assert!(err.contains(line), "{line}\n{err}");
    }
    let numbered = |end: &str| {
        let fits = |line: &&str| line.ends_with(end) && line.split(' ').count() == 3;
        let line = err.lines().find(fits);
        let words: Vec<&str> = line.unwrap_or_else(|| panic!("{err}")).split(' ').collect();
        (words[0].starts_with('#'), words[1].parse::<f64>().is_ok())
    };
    for end in [" one", " two", " half"] {
        assert_eq!(numbered(end), (true, true), "{err}");
    }
    let again = w.dhow(["build", "-t", "it:2", &at(&w, "ctx")]).ok();
    let err = again.err();
    assert_eq!(err.lines().filter(|line| line.ends_with(" CACHED")).count(), 2, "{err}");
    w.dhow(["images", "-q", "it"]).ok();
    // Both names are of one image.
    let id = |name: &str| w.dhow(["inspect", "-f", "{{.Id}}", name]).ok().out();
    assert_eq!(id("it:1"), id("it:2"));
}

#[test]
fn quiet_prints_the_id_alone() {
    let w = yard(TWO);
    let done = w.dhow(["build", "-q", "-t", "it", &at(&w, "ctx")]).ok();
    assert_eq!(done.err(), "");
    let id = w.dhow(["inspect", "-f", "{{.Id}}", "it"]).ok().out();
    done.out_is(&id);
    w.image(["build", "-q", &at(&w, "ctx")]).ok().out_is(&id);
    let both = ["build", "-q", "--progress", "plain", &at(&w, "ctx")];
    w.dhow(both).code(1).err_has("progress=plain and quiet cannot be used together");
}

#[test]
fn a_step_that_fails_is_shown_with_its_place() {
    let w = yard("FROM busybox\nRUN echo before; exit 7\n");
    let done = w.dhow(["build", "-t", "it", &at(&w, "ctx")]).code(1);
    let why =
        "process \"/bin/sh -c echo before; exit 7\" did not complete successfully: exit code: 7";
    let done = done.err_has(&format!("ERROR: {why}"));
    let done = done.err_has(" > [2/2] RUN echo before; exit 7:");
    done.err_has(&format!("Dockerfile:2:1: {why}\n   2 | RUN echo before; exit 7\n     | ^"));
    w.dhow(["images", "-q", "it"]).ok().out_is("");
    fs::write(w.path("ctx/Dockerfile"), "FROM busybox\nRUNN x\n").unwrap();
    let done = w.dhow(["build", &at(&w, "ctx")]).code(1);
    done.err_has("unknown instruction: RUNN (did you mean RUN?)");
}

#[test]
fn raw_json_is_a_document_a_line() {
    let w = yard(TWO);
    let done = w.dhow(["build", "--progress=rawjson", &at(&w, "ctx")]).ok();
    let mut names = Vec::new();
    for line in done.err().lines() {
        let document: serde_json::Value = serde_json::from_str(line).unwrap();
        names.extend(document["vertexes"][0]["name"].as_str().map(text));
    }
    assert!(names.iter().any(|name| name == "[build 2/2] RUN echo made > /out"), "{names:?}");
}

#[test]
fn files_go_to_a_directory_or_a_tar() {
    let w = yard(TWO);
    let ctx = at(&w, "ctx");
    w.dhow(["build", "-o", &at(&w, "out"), &ctx]).ok();
    assert_eq!(fs::read_to_string(w.path("out/out")).unwrap(), "made\n");
    assert_eq!(fs::read_to_string(w.path("out/f")).unwrap(), "data\n");
    let tar = format!("type=tar,dest={}", at(&w, "it.tar"));
    w.dhow(["build", "-o", &tar, &ctx]).ok();
    w.cmd("tar").args(["tf", &at(&w, "it.tar")]).run().ok().out_is("f\nout");
    // Nothing of it is an image.
    w.dhow(["images", "-aq", "--filter", "dangling=true"]).ok().out_is("");
    let file = format!("type=local,dest={}", at(&w, "ctx/f"));
    w.dhow(["build", "-o", &file, &ctx]).code(1).err_has("is a file");
}

#[test]
fn archives_are_loaded_elsewhere() {
    let w = yard(TWO);
    let ctx = at(&w, "ctx");
    for (kind, place) in [("oci", "oci-archive"), ("docker", "docker-archive")] {
        let file = at(&w, kind);
        let output = format!("type={kind},dest={file}");
        w.dhow(["build", "-t", "it:9", "-o", &output, &ctx]).ok();
        let names = w.dhow(["images", "--format", "{{.Repository}}"]).ok().out();
        assert!(!names.contains("it"), "{names}");
        let name = format!("from-{kind}");
        w.image(["copy", &format!("{place}:{file}"), &name]).ok();
        w.image(["export", &name, "-o", &at(&w, "x.tar")]).ok();
    }
    w.dhow(["load", "-i", &at(&w, "docker")]).ok().out_has("it:9");
    let layout = format!("type=oci,tar=false,dest={}", at(&w, "layout"));
    w.dhow(["build", "-t", "it:9", "-o", &layout, &ctx]).ok();
    assert!(w.path("layout/index.json").is_file());
}

#[test]
fn an_image_is_pushed_under_its_names() {
    needs!(Machine);
    let w = yard(TWO);
    let ctx = at(&w, "ctx");
    let name = Registry::open().name("face:1");
    w.dhow(["build", "--push", &ctx]).code(1).err_has("tag is needed when pushing to registry");
    w.dhow(["build", "--push", "-t", &name, &ctx]).ok().err_has("pushing manifest for");
    w.dhow(["rmi", &name]).ok();
    w.dhow(["pull", &name]).ok();
}

#[test]
fn files_tell_what_was_built() {
    let w = yard(TWO);
    let (id, metadata) = (at(&w, "id"), at(&w, "metadata.json"));
    let words = ["build", "-t", "it", "--iidfile", &id, "--metadata-file", &metadata];
    w.dhow(words.iter().copied().chain([at(&w, "ctx").as_str()])).ok();
    let told = fs::read_to_string(&id).unwrap();
    w.dhow(["inspect", "-f", "{{.Id}}", "it"]).ok().out_is(&told);
    let json: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&metadata).unwrap()).unwrap();
    assert_eq!(json["containerimage.config.digest"], told.as_str());
    assert_eq!(json["image.name"], "docker.io/library/it:latest");
    // A failed build leaves no id of an earlier one.
    fs::write(w.path("ctx/Dockerfile"), "FROM busybox\nRUN false\n").unwrap();
    w.dhow(["build", "--iidfile", &id, &at(&w, "ctx")]).code(1);
    assert!(!w.path("id").exists());
}

#[test]
fn checks_and_outlines_build_nothing() {
    let w = yard("FROM busybox as one\nARG V=1\nRUN --mount=type=secret,id=t true\nCMD echo\n");
    let ctx = at(&w, "ctx");
    let done = w.dhow(["build", "--check", &ctx]).code(1);
    let place = "https://docs.docker.com/go/dockerfile/rule/from-as-casing/";
    let done = done.out_has(&format!("WARNING: FromAsCasing - {place}"));
    let done = done.out_has("   1 | >>> FROM busybox as one");
    done.out_has("Check complete, 2 warnings have been found!");
    w.dhow(["build", "--call", "check,ignorestatus=true", &ctx]).ok();
    let json = w.dhow(["build", "--call", "check,format=json", &ctx]).code(1).json();
    assert_eq!(json["warnings"][0]["ruleName"], "FromAsCasing");
    w.dhow(["build", "--call", "targets", &ctx]).ok().out_has("one (default)");
    let outline = w.dhow(["build", "--call=outline", &ctx]).ok();
    outline.out_has("V           1").out_has("SECRET   REQUIRED\nt");
    w.dhow(["images", "-q", "--filter", "dangling=true"]).ok().out_is("");
    fs::write(w.path("ctx/Dockerfile"), "FROM busybox\n").unwrap();
    w.dhow(["build", "--check", &ctx]).ok().out_is("Check complete, no warnings found.");
}

#[test]
fn warnings_are_told_in_the_end() {
    let w = yard("FROM busybox as one\n");
    let done = w.dhow(["build", &at(&w, "ctx")]).ok();
    let what = "FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)";
    done.err_has(&format!("#1 WARN: {what}")).err_has(&format!("\n 1 warning found:\n - {what}"));
}

#[test]
fn an_interrupted_build_leaves_nothing() {
    let w = yard("FROM busybox\nRUN echo begun; sleep 1000\n");
    let words = ["build", &at(&w, "ctx")];
    for cmd in [w.dhow_cmd(words), w.image_cmd(words)] {
        let mut command = cmd.command();
        let mut build = cmd.spawn(command.stdout(Stdio::null()).stderr(Stdio::piped()));
        let mut lines = BufReader::new(build.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.ends_with(" begun")));
        let pid = i32::try_from(build.id()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGINT).unwrap();
        let rest: Vec<String> = lines.collect();
        assert!(rest.iter().any(|line| line.ends_with(" CANCELED")), "{rest:?}");
        assert_eq!(build.wait().unwrap().code(), Some(130), "{rest:?}");
        let left = fs::read_dir(w.run_dir().join("build")).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name == "lock"), "{left:?}");
    }
}

#[test]
fn what_is_refused_says_why() {
    let w = yard("FROM busybox\n");
    let ctx = at(&w, "ctx");
    for (words, told) in [
        (&["--rm=false"][..], "--rm=false is not supported"),
        (&["--security-opt", "seccomp=x"], "--security-opt is not supported"),
        (&["--provenance=true"], "attestation provenance=true is not supported"),
        (&["--builder", "remote"], "no builder \"remote\" found"),
        (
            &["--platform", "linux/amd64,linux/arm64", "-o", "type=tar,dest=x"],
            "the files of one platform",
        ),
        (&["--platform", "linux/amd64,linux/arm64", "-o", "type=docker,dest=x"], "manifest lists"),
        (
            &["--platform", "linux/amd64,linux/arm64", "--cache-to", "type=local,dest=x"],
            "the cache of one platform",
        ),
        (&["-o", "type=zip"], "exporter \"zip\" could not be found"),
        (&["--secret", "x"], "invalid field 'x' must be a key=value pair"),
        (&["--memory", "1m"], "Minimum memory limit allowed is 6MB"),
        (&["--progress", "fancy"], "invalid progress mode fancy"),
        (&["--no-cache", "--no-cache-filter", "a"], "cannot currently be used together"),
        (&["--target", "nope"], "target stage \"nope\" could not be found"),
    ] {
        let all = ["build"].iter().chain(words).copied().chain([ctx.as_str()]);
        w.dhow(all).refused().err_has(told);
    }
    for words in
        [&["--rm", "--force-rm", "--compress"][..], &["--provenance=false", "--sbom=false"]]
    {
        w.dhow(["build"].iter().chain(words).copied().chain([ctx.as_str()])).ok();
    }
    w.dhow(["build"]).code(1).err_has("'dhow build' requires 1 argument");
    let gone = at(&w, "gone");
    let told = format!("unable to prepare context: path \"{gone}\" not found");
    w.dhow(["build", &gone]).code(1).err_has(&told);
}

#[test]
fn spellings_are_one_verb() {
    let w = yard(TWO);
    for verb in [&["build"][..], &["image", "build"], &["builder", "build"], &["buildx", "build"]] {
        w.dhow(verb.iter().copied().chain(["-q", &at(&w, "ctx")])).ok().out_has("sha256:");
    }
    w.dhow(["buildx", "ls"]).code(1).err_has("builders are services beside a daemon");
    w.dhow(["bake"]).code(1).err_has("run a 'dhow build' for each target");
}

#[test]
fn the_cache_is_shown_and_pruned() {
    let w = yard(TWO);
    let ctx = at(&w, "ctx");
    // What has just been written may change without a sign of it, and isn't remembered.
    let written = fs::metadata(w.path("ctx/f")).unwrap().modified().unwrap();
    until("its files are of old", || written.elapsed().is_ok_and(|age| age.as_millis() > 200));
    w.dhow(["build", "-o", &at(&w, "out"), &ctx]).ok();
    let table = w.dhow(["builder", "du"]).ok();
    table.out_has("RECLAIMABLE").out_has("Total:");
    w.dhow(["builder", "du", "--verbose"]).ok().out_has("RUN /bin/sh -c echo made > /out");
    w.dhow(["system", "df", "--format", "{{.Type}} {{.TotalCount}}"]).ok().out_has("Build Cache 5");
    w.dhow(["builder", "prune", "-f", "--filter", "until=24h"]).ok().out_is("Total:\t0B");
    w.dhow(["builder", "prune", "-af"]).ok().out_has("Total:");
    w.dhow(["system", "df", "--format", "{{.Type}} {{.TotalCount}}"]).ok().out_has("Build Cache 0");
    let err = w.dhow(["build", "-o", &at(&w, "out"), &ctx]).ok().err();
    assert!(!err.contains("CACHED"), "{err}");
}
