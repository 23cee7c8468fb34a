//! Several stages, and what is built of them.

use std::time::Instant;

use e2e::{World, fixtures, needs};

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

const TEXT: &str = "FROM busybox AS base
ENV from=base
RUN echo base > /base
FROM base AS Left
RUN echo left > /left
FROM base AS right
COPY --from=left /left /taken
RUN echo right > /right
FROM busybox AS broken
RUN exit 1
FROM scratch AS files
COPY --from=right /right /taken /
COPY --from=0 /base /
FROM right
";

#[test]
fn stages_are_had_by_name_and_number_and_unused_ones_are_not_built() {
    let w = world();
    let dir = w.context("c", &[("Dockerfile", TEXT)]);
    let done = w.build(&dir, &["-t", "last"]).ok();
    assert!(!done.err().contains("exit 1"), "{done}");
    assert_eq!(w.says("last", "cat /base /taken /right; echo $from"), "base\nleft\nright\nbase");
    w.build(&dir, &["-t", "left", "--target", "LEFT"]).ok();
    assert_eq!(w.says("left", "cat /left; test -e /right || echo alone"), "left\nalone");
    w.build(&dir, &["-t", "zero", "--target", "0"]).ok();
    assert_eq!(w.says("zero", "cat /base"), "base");
    w.build(&dir, &["--target", "broken"]).code(1).err_has("exit code: 1");
    let done = w.build(&dir, &["--target", "rihgt"]).code(1);
    assert!(done.err().contains("rihgt") && done.err().contains("right"), "{done}");
    let out = w.path("out");
    let flag = format!("type=local,dest={}", out.display());
    w.build(&dir, &["--target", "files", "-o", &flag]).ok();
    let mut names: Vec<_> = std::fs::read_dir(&out)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["base", "right", "taken"]);
    assert_eq!(std::fs::read_to_string(out.join("taken")).unwrap(), "left\n");
}

#[test]
fn stages_that_need_not_wait_run_side_by_side_and_one_that_fails_ends_all() {
    needs!(EvenTime);
    let w = world();
    let text = "FROM busybox AS a\nRUN sleep 4; echo a > /a\nFROM busybox AS b\nRUN sleep 4; echo b > /b\n\
        FROM busybox AS c\nRUN sleep 4; echo c > /c\nFROM busybox\nCOPY --from=a /a /\nCOPY --from=b /b /\nCOPY --from=c /c /\n";
    let began = Instant::now();
    w.build_text("s", text).ok();
    assert!(began.elapsed().as_secs_f64() < 11.9, "{:?}", began.elapsed());
    assert_eq!(w.says("s", "cat /a /b /c"), "a\nb\nc");
    let text = "FROM busybox AS a\nRUN sleep 600\nFROM busybox AS b\nRUN sleep 0.2; exit 3\nFROM busybox\nCOPY --from=a /a /\nCOPY --from=b /b /\n";
    let began = Instant::now();
    w.build_text("s", text).code(1).err_has("exit code: 3");
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}

#[test]
fn images_and_named_contexts_are_copied_from() {
    let w = world();
    let more = w.context("more", &[("file", "named\n"), ("sub/x", "x\n")]);
    let text = "FROM base\nCOPY --from=more file /\nCOPY --from=busybox /etc/hostname /theirs\n\
        COPY --from=lay /etc/hostname /laid\nRUN --mount=from=more,target=/m cat /m/sub/x > /x\n";
    let dir = w.context("c", &[("Dockerfile", text)]);
    let named = format!("more={}", more.display());
    let layout = format!("lay=oci-layout://{}:busybox", fixtures::layout().display());
    let flags = [
        "-t",
        "n",
        "--build-context",
        &named,
        "--build-context",
        "base=docker-image://busybox",
        "--build-context",
        &layout,
    ];
    w.build(&dir, &flags).ok();
    assert_eq!(w.says("n", "cat /file /theirs /laid /x"), "named\nbusybox\nbusybox\nx");
    // A stage of the same name gives way to a context.
    let text = "FROM busybox AS more\nRUN exit 1\nFROM busybox\nCOPY --from=more file /\n";
    let dir = w.context("d", &[("Dockerfile", text)]);
    w.build(&dir, &["-t", "n", "--build-context", &named]).ok();
    assert_eq!(w.says("n", "cat /file"), "named");
}

#[test]
fn a_base_that_is_not_there_is_pulled_and_one_that_is_nowhere_is_told_of() {
    needs!(Machine);
    let w = World::new();
    let host = e2e::Registry::open().host();
    w.build_text("p", &format!("FROM {host}/busybox:latest\nRUN echo x > /x\n")).ok();
    assert_eq!(w.says("p", "cat /x"), "x");
    let done = w.build_text("p", &format!("FROM {host}/not-there:1\nRUN true\n")).code(1);
    assert!(done.err().contains("not-there:1") && done.err().contains("Dockerfile:1"), "{done}");
}

#[test]
fn from_scratch_is_empty() {
    let w = world();
    let dir =
        w.context("c", &[("Dockerfile", "FROM scratch\nCOPY a /\nCMD [\"/a\"]\n"), ("a", "a\n")]);
    w.build(&dir, &["-t", "s"]).ok();
    let layers = w.inspect("s")["RootFS"]["Layers"].as_array().unwrap().len();
    assert_eq!(layers, 1);
    // Nothing but a FROM scratch is an image without a layer.
    w.build_text("e", "FROM scratch\nLABEL a=b\n").ok();
    assert_eq!(w.inspect("e")["Config"]["Labels"]["a"], "b");
}
