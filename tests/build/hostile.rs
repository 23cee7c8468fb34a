//! Dockerfiles and contexts that mean harm: SECURITY's row of builds.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use e2e::{Cmd, World};

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    // What nobody may read or write from a build.
    fs::create_dir(w.path("outside")).unwrap();
    fs::write(w.path("outside/secret"), "outside\n").unwrap();
    w
}

fn untouched(w: &World) {
    let list = Cmd::new("find").args([".", "-printf", "%p %s\n"]).cwd(w.path("outside")).run().ok();
    let mut lines: Vec<String> = list.lines().into_iter().filter(|l| l.starts_with("./")).collect();
    lines.sort();
    assert_eq!(lines, ["./secret 8"]);
}

/// Builds it; whether that works or not, nothing of the outside is in the image.
fn harmless(w: &World, dir: &Path, flags: &[&str]) {
    let done = w.build(dir, &[&["-t", "h", "--no-cache"], flags].concat());
    assert!(!done.err().contains("panicked"), "{done}");
    if done.code == 0 {
        let found = w.says("h", "grep -rl '^outside' /taken /work 2>/dev/null; echo");
        assert_eq!(found, "", "{done}");
    }
    untouched(w);
    assert!(!done.out().contains("outside\n"), "{done}");
}

#[test]
fn a_contexts_links_lead_nowhere_else() {
    let w = world();
    let outside = w.path("outside").display().to_string();
    let dir = w.context("c", &[("real/x", "x\n")]);
    symlink(&outside, dir.join("away")).unwrap();
    symlink("../outside", dir.join("up")).unwrap();
    symlink(format!("{outside}/secret"), dir.join("file")).unwrap();
    for text in [
        "COPY away/secret /taken",
        "COPY away /taken",
        "COPY up/secret /taken",
        "COPY file /taken",
        "COPY up/* /taken/",
        "ADD file /taken",
        "COPY ../outside/secret /taken",
        "COPY real/../../outside /taken",
        "COPY --parents ./../outside/./secret /taken/",
    ] {
        fs::write(dir.join("Dockerfile"), format!("FROM busybox\n{text}\n")).unwrap();
        harmless(&w, &dir, &[]);
    }
    // The Dockerfile itself.
    fs::write(w.path("outside2"), "FROM busybox\nRUN echo outside > /taken\n").unwrap();
    fs::remove_file(dir.join("Dockerfile")).unwrap();
    symlink("../outside2", dir.join("Dockerfile")).unwrap();
    let tar = Cmd::new("tar").args(["-cf", "-", "-C"]).arg(&dir).arg(".").run().ok().stdout;
    let done = w.dhow_cmd(["build", "-t", "h", "-"]).stdin(tar).run();
    assert_ne!(done.code, 0, "{done}");
    w.build(&dir, &[]).code(1);
    // The file of what is ignored.
    let dir = w.context("d", &[("Dockerfile", "FROM busybox\nCOPY . /taken\n")]);
    symlink("../outside/secret", dir.join(".dockerignore")).unwrap();
    let done = w.build(&dir, &[]);
    assert!(!done.err().contains("outside\n"), "{done}");
}

#[test]
fn an_images_links_lead_nowhere_else() {
    let w = world();
    let outside = w.path("outside").display().to_string();
    let dir = w.context("c", &[("x", "evil\n")]);
    for (made, then) in [
        (format!("ln -s {outside} /work"), "COPY x /work/"),
        (format!("ln -s {outside} /work"), "COPY . /work/new/dir/"),
        (format!("ln -s {outside}/secret /work"), "COPY x /work"),
        (format!("ln -s ../../../../../..{outside} /work"), "ADD x /work/y"),
        (format!("ln -s {outside} /work"), "WORKDIR /work/made"),
        (format!("ln -s {outside} /work"), "RUN --mount=target=/work/m true"),
        (format!("ln -s {outside} /work"), "RUN --mount=type=tmpfs,target=/work echo x > /work/y"),
        (
            format!("rm -f /etc/passwd; ln -s {outside}/secret /etc/passwd"),
            "COPY --chown=mate x /y",
        ),
        (
            format!("mkfifo /work; rm /etc/passwd; mkfifo /etc/passwd; : {outside}"),
            "USER mate\nRUN true",
        ),
    ] {
        fs::write(dir.join("Dockerfile"), format!("FROM busybox\nRUN {made}\n{then}\n")).unwrap();
        harmless(&w, &dir, &[]);
    }
    // Out of a stage (BuildKit CVE-2024-23651, -23652; buildah CVE-2024-1753).
    for (made, then) in [
        (format!("ln -s {outside} /out"), "COPY --from=evil /out/secret /taken"),
        (format!("ln -s {outside} /out"), "COPY --from=evil /out /taken"),
        (
            format!("ln -s {outside} /out"),
            "RUN --mount=from=evil,source=/out,target=/m cp -r /m /taken",
        ),
        (
            format!("ln -s {outside} /out"),
            "RUN --mount=from=evil,source=/out,target=/m,rw touch /m/new; cp -r /m /taken",
        ),
        (
            format!("mkdir -p /a; ln -s {outside} /a/b"),
            "RUN --mount=from=evil,source=/a/b/../b/.,target=/m,rw cp -r /m /taken; touch /m/z",
        ),
        (
            format!(": {outside}"),
            "RUN --mount=from=evil,source=../../../../../../../../../etc/hostname,target=/m true",
        ),
        (
            format!("ln -s {outside} /out"),
            "RUN --mount=type=cache,from=evil,source=/out,target=/m cp -r /m /taken; touch /m/z",
        ),
    ] {
        let text = format!("FROM busybox AS evil\nRUN {made}\nFROM busybox\n{then}\n");
        fs::write(dir.join("Dockerfile"), text).unwrap();
        harmless(&w, &dir, &[]);
    }
}

#[test]
fn names_of_caches_and_secrets_are_only_names() {
    let w = world();
    let outside = w.path("outside").display().to_string();
    for id in ["../../outside", "../../../outside", &*outside, "..", ".", "a/../../b"] {
        let text = format!(
            "FROM busybox\nRUN --mount=type=cache,id={id},target=/m touch /m/new; cp -r /m /taken\n"
        );
        let dir = w.context("c", &[("Dockerfile", &text)]);
        harmless(&w, &dir, &[]);
    }
    let text = format!(
        "FROM busybox\nRUN --mount=type=secret,id={outside}/secret cat /run/secrets/* > /taken; true\n"
    );
    harmless(&w, &w.context("s", &[("Dockerfile", &text)]), &[]);
}

#[test]
fn a_stage_beside_cannot_swap_what_is_mounted() {
    // buildah CVE-2024-11218: one stage changes a source while another one mounts it.
    let w = world();
    let outside = w.path("outside").display().to_string();
    let text = format!(
        "FROM busybox AS evil
RUN --mount=type=cache,id=shared,target=/c mkdir -p /c/dir; for i in $(seq 300); do rm -rf /c/dir; ln -s {outside} /c/dir; rm /c/dir; mkdir /c/dir; done
FROM busybox AS victim
RUN --mount=type=cache,id=shared,target=/c for i in 1 2 3; do true; done
RUN --mount=type=cache,id=shared,target=/c/dir/x cp -r /c /taken; true
FROM busybox
COPY --from=evil /etc/hostname /one
COPY --from=victim /etc/hostname /two
"
    );
    harmless(&w, &w.context("c", &[("Dockerfile", &text)]), &[]);
}

#[test]
fn an_archive_that_is_a_context_or_is_added_stays_inside() {
    let w = world();
    let outside = w.path("outside").display().to_string();
    let made = w.path("made");
    fs::create_dir(&made).unwrap();
    let script = format!(
        "import tarfile, io, sys
t = tarfile.open('evil.tar', 'w')
def add(name, data=b'evil\\n', kind=tarfile.REGTYPE, link=''):
    i = tarfile.TarInfo(name); i.size = len(data) if kind == tarfile.REGTYPE else 0; i.type = kind; i.linkname = link
    t.addfile(i, io.BytesIO(data) if kind == tarfile.REGTYPE else None)
add('Dockerfile', b'FROM busybox\\nCOPY . /taken\\n')
add('../../../../../../../..{outside}/a'); add('{outside}/b')
add('l', kind=tarfile.SYMTYPE, link='{outside}'); add('l/c'); add('l/secret')
add('h', kind=tarfile.LNKTYPE, link='{outside}/secret')
add('h2', kind=tarfile.LNKTYPE, link='../outside/secret')
add('dev', kind=tarfile.CHRTYPE); add('fifo', kind=tarfile.FIFOTYPE)
t.close()"
    );
    Cmd::new("python3").args(["-c", &script]).cwd(&made).run().ok();
    let evil = fs::read(made.join("evil.tar")).unwrap();
    let done = w.dhow_cmd(["build", "-t", "h", "-"]).stdin(evil).run();
    assert!(!done.err().contains("panicked"), "{done}");
    untouched(&w);
    fs::write(made.join("Dockerfile"), "FROM busybox\nADD evil.tar /taken/\n").unwrap();
    harmless(&w, &made, &[]);
}

#[test]
fn odd_files_of_a_context_are_no_trouble() {
    let w = world();
    let dir = w.context("c", &[("Dockerfile", "FROM busybox\nCOPY . /x/\n"), ("a", "a\n")]);
    Cmd::new("mkfifo").arg(dir.join("pipe")).run().ok();
    let _socket = std::os::unix::net::UnixListener::bind(dir.join("socket")).unwrap();
    Cmd::new("mknod").arg(dir.join("null")).args(["c", "1", "3"]).run().ok();
    let done = w.build_cmd(&dir, &["-t", "h"]).limit(30).run();
    assert!(!done.err().contains("panicked"), "{done}");
    fs::write(dir.join(".dockerignore"), "pipe\nsocket\nnull\n").unwrap();
    w.build(&dir, &["-t", "h"]).ok();
    assert_eq!(w.says("h", "cat /x/a"), "a");
    for name in ["Dockerfile", ".dockerignore"] {
        let dir = w.context("pipes", &[("Dockerfile", "FROM busybox\n")]);
        let _ = fs::remove_file(dir.join(name));
        Cmd::new("mkfifo").arg(dir.join(name)).run().ok();
        let done = w.build_cmd(&dir, &[]).limit(30).run();
        assert_ne!(done.code, 0, "{done}");
        fs::remove_file(dir.join(name)).unwrap();
    }
}

#[test]
fn the_environment_of_the_caller_is_not_the_containers() {
    let w = world();
    let text = "FROM busybox\nENV PATH=/bin\nRUN env > /env; ls /proc/self/fd | wc -l >> /env; cat /proc/1/environ | tr '\\0' '\\n' >> /env\n";
    let dir = w.context("c", &[("Dockerfile", text)]);
    w.build_cmd(&dir, &["-t", "e"]).env("DHOW_HUSH", "host-only").run().ok();
    assert!(!w.says("e", "cat /env").contains("host-only"));
}
