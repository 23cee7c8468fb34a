//! `dhow build` beside `buildah build` and `docker build` (dockerd's BuildKit, and the builder that it
//! had before): a cached rebuild, thirty steps that do nothing, a program compiled in one stage and
//! copied into another, a context of 50,000 files. No RUN has a network.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::{Cmd, World, fixtures};

use crate::measure::{Contender, race};
use crate::peers::{Docker, buildah};

type Build<'a> = Box<dyn Fn(&[&str], &str, &Path) -> Cmd + 'a>;

/// Who builds: its name, and its build of a context under a name, with flags.
struct Builder<'a> {
    name: &'static str,
    build: Build<'a>,
    /// To keep steps' results, it does more than it has to.
    spare: bool,
}

/// All but the context of many files, of which a peer's build takes half a minute.
pub fn bench(rounds: usize) {
    among(|w, all| {
        cached(w, rounds, all);
        steps(w, rounds, all);
        compiled(w, rounds, all);
    });
}

pub fn many_files(rounds: usize) {
    among(|w, all| files(w, rounds, all));
}

fn among(races: impl FnOnce(&World, &[Builder<'_>])) {
    let w = World::new();
    let docker = Docker::start(&w);
    for (layout, name) in [(fixtures::layout(), "busybox"), (fixtures::gcc_layout(), "gcc")] {
        w.add(&layout, name);
        let from = format!("oci:{}:{name}", layout.display());
        let id = buildah(&w).args(["pull", "-q", &from]).run().ok().out();
        buildah(&w).args(["tag", &id, &format!("localhost/{name}")]).run().ok();
        if let (Some(docker), "gcc") = (&docker, name) {
            docker.load(&layout, name);
        }
    }
    let all = builders(&w, docker.as_ref());
    races(&w, &all);
    buildah(&w).args(["rmi", "-a", "-f"]).run().ok();
    w.cmd("umount").arg(w.path("buildah/root/overlay")).run();
}

fn builders<'a>(w: &'a World, docker: Option<&'a Docker<'a>>) -> Vec<Builder<'a>> {
    let dhow = |flags: &[&str], name: &str, dir: &Path| {
        let cmd = w.dhow_cmd(["build", "--network", "none", "-t", name]).args(flags);
        cmd.args(["--cgroup-parent", &w.cgroup_parent()]).arg(dir)
    };
    let theirs = |layers: &'static str| {
        move |flags: &[&str], name: &str, dir: &Path| {
            let cmd = buildah(w).args(["build", layers, "--network", "none", "-t", name]);
            cmd.args(["--runtime", "/usr/sbin/runc"]).args(flags).arg(dir)
        }
    };
    let mut all = vec![
        Builder { name: "dhow build", build: Box::new(dhow), spare: false },
        Builder {
            name: "buildah build --layers",
            build: Box::new(theirs("--layers=true")),
            spare: false,
        },
        // What it does if nobody asks for more: one layer, and nothing to begin from again.
        Builder { name: "buildah build", build: Box::new(theirs("--layers=false")), spare: true },
    ];
    for (name, kit) in [("docker build, BuildKit", "1"), ("docker build, classic", "0")] {
        let Some(docker) = docker else { continue };
        let build = move |flags: &[&str], name: &str, dir: &Path| {
            let cmd = docker.cmd().args(["build", "--network", "none", "-t", name]);
            cmd.env("DOCKER_BUILDKIT", kit).args(flags).arg(dir)
        };
        all.push(Builder { name, build: Box::new(build), spare: false });
    }
    all
}

/// One race: each builder's command for a round; what they print is nobody's matter.
fn between<'a>(
    title: &str,
    rounds: usize,
    all: &'a [Builder<'a>],
    spare: bool,
    cmd: impl Fn(&Builder<'a>, usize) -> Cmd + 'a,
) {
    let cmd = &cmd;
    let contenders: Vec<Contender<'_>> = all
        .iter()
        .filter(|builder| spare || !builder.spare)
        .map(|builder| Contender {
            name: builder.name,
            cmd: Box::new(move |round| {
                cmd(builder, round).under(["sh", "-c", "exec \"$@\" >/dev/null", "sh"])
            }),
            after: Box::new(|_| ()),
        })
        .collect();
    race(title, rounds, &contenders);
}

/// The stages of [`compiled`], with nothing changed.
fn cached(w: &World, rounds: usize, all: &[Builder<'_>]) {
    let dir = program(w, "cached");
    between("a rebuild, all of it cached", rounds, all, false, |b, _| {
        (b.build)(&[], "cached", &dir)
    });
}

fn steps(w: &World, rounds: usize, all: &[Builder<'_>]) {
    let dir = w.path("steps");
    fs::create_dir(&dir).unwrap();
    let runs = lines(30, |n| format!("RUN true {n}"));
    fs::write(dir.join("Dockerfile"), format!("FROM busybox\n{runs}")).unwrap();
    between("30 steps of `RUN true`, cold", rounds, all, true, |b, _| {
        (b.build)(&["--no-cache"], "steps", &dir)
    });
}

/// A program's library and its main file, compiled by gcc on Debian, then copied into busybox.
fn compiled(w: &World, rounds: usize, all: &[Builder<'_>]) {
    let dir = program(w, "cold");
    between("compiled and copied, cold", rounds, all, true, |b, _| {
        (b.build)(&["--no-cache"], "cold", &dir)
    });
    let dir = program(w, "line");
    between("compiled and copied, one line changed", rounds, all, false, |b, round| {
        // The round's first: the others find it as it is.
        fs::write(dir.join("main.c"), main_file(round)).unwrap();
        (b.build)(&[], "line", &dir)
    });
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(|n| line(n) + "\n").collect()
}

fn main_file(round: usize) -> String {
    format!(
        "#include <stdio.h>\nint total(int);\nint main(void) {{ printf(\"%d\\n\", total({round})); return 0; }}\n"
    )
}

/// The context of a program.
fn program(w: &World, name: &str) -> PathBuf {
    let dir = w.path(name);
    fs::create_dir(&dir).unwrap();
    let file = "FROM gcc AS build
WORKDIR /src
COPY Makefile lib.c ./
RUN make lib.o
COPY main.c .
RUN make prog
FROM busybox
COPY --from=build /src/prog /usr/bin/prog
ENV HOME=/home/mate
CMD [\"prog\"]
";
    let makefile = "CFLAGS = -O1\nprog: main.o lib.o\n\t$(CC) -static -o $@ $^\n";
    let parts = lines(100, |n| {
        format!(
            "static int part{n}(int x) {{ for (int i = 0; i < x; i++) x ^= i * {n} + (x >> 3); return x; }}"
        )
    });
    let sum = lines(100, |n| format!(" + part{n}(x)"));
    let lib = format!("{parts}int total(int x) {{ return 0{sum}; }}\n");
    for (file, text) in
        [("Dockerfile", file), ("Makefile", makefile), ("lib.c", &lib), ("main.c", &main_file(0))]
    {
        fs::write(dir.join(file), text).unwrap();
    }
    dir
}

/// 50,000 files in 500 directories, none of them changed.
fn files(w: &World, rounds: usize, all: &[Builder<'_>]) {
    let dir = w.path("files");
    for folder in 0..500 {
        let folder = dir.join(format!("folder-{folder}"));
        fs::create_dir_all(&folder).unwrap();
        for file in 0..100 {
            let text = format!("{}\n", folder.display()).repeat(10 + file % 7);
            fs::write(folder.join(format!("file-{file}.txt")), text).unwrap();
        }
    }
    fs::write(dir.join("Dockerfile"), "FROM busybox\nCOPY . /srv\n").unwrap();
    between("a context of 50,000 files, unchanged", rounds, all, false, |b, _| {
        (b.build)(&[], "files", &dir)
    });
}
