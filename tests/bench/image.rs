//! dhow-image beside skopeo, umoci and podman, and beside the floor: what curl, sha256sum, gzip and
//! tar need for the same bytes. The image has four layers, some 12,000 files, 300 MB.
//!
//! What was made stays until the end, as `pull.rs` says why: that is some 20 GB of the disk.

use std::path::{Path, PathBuf};

use e2e::{Cmd, World, fixtures, program, registry};
use serde_json::Value;

use crate::measure::{Contender, peak, race};
use crate::peers::{podman, release};

/// What all races are run with.
struct Bench {
    w: World,
    /// `127.0.0.1:PORT`.
    host: String,
    /// The image as a layout.
    layout: PathBuf,
    /// Its layers' blobs.
    blobs: Vec<String>,
    rounds: usize,
}

/// All of it, and its parts.
pub const PARTS: [&str; 6] =
    ["image", "image:pull", "image:copy", "image:unpack", "image:save", "image:pack"];

pub fn bench(part: &str, rounds: usize) {
    let store = tempfile::tempdir().unwrap();
    let host = format!("127.0.0.1:{}", registry::serve(store.path(), false));
    let layout = fixtures::bench_layout();
    fixtures::push(&layout, "bench", &format!("{host}/bench:latest"));
    let b = Bench { w: World::new(), host, blobs: layers(&layout), layout, rounds };
    let parts: [fn(&Bench); 5] =
        [Bench::pull, Bench::copy, Bench::unpack, Bench::save_and_load, Bench::pack];
    for (name, run) in PARTS[1..].iter().zip(parts) {
        if part == PARTS[0] || part == *name {
            run(&b);
        }
    }
}

impl Bench {
    fn pull(&self) {
        let name = format!("{}/bench:latest", self.host);
        let ours = self
            .with("dhow-image pull", |to| self.image(&to.join("root")).args(["pull", "-q", &name]));
        let skopeo = format!(
            "skopeo --insecure-policy copy -q --src-tls-verify=false docker://{name} oci:$1/oci:x &&
             umoci raw unpack --image $1/oci:x $1/rootfs"
        );
        let urls =
            self.blobs.iter().map(|blob| format!("http://{}/v2/bench/blobs/{blob}", self.host));
        let floor = "for url in \"$@\"; do
             curl -sf $url | tee $d/blob | sha256sum && gzip -dc $d/blob | tee >(sha256sum) |
             tar -x -C $d/rootfs || exit 1; rm $d/blob; done";
        let podman = Contender {
            name: "podman pull",
            cmd: Box::new(|round| {
                let pull = podman(&self.w, &format!("pp-{round}"));
                quiet(pull.args(["pull", "-q", "--tls-verify=false", &name]))
            }),
            after: Box::new(|round| {
                release(&self.w, &format!("pp-{round}"));
                sync(&self.w.path("."));
            }),
        };
        let all = [
            ours,
            self.script("skopeo, umoci raw unpack", skopeo),
            podman,
            self.floor("floor: curl, sha, gzip, tar", floor, urls.collect()),
        ];
        self.race("registry to unpacked layers", &all);
    }

    fn copy(&self) {
        let name = format!("docker://{}/bench:latest", self.host);
        let ours = self.with("dhow-image copy", |to| {
            self.image(to).args(["copy", "-q", &name]).arg(format!("oci:{}/oci:x", to.display()))
        });
        let skopeo =
            format!("skopeo --insecure-policy copy -q --src-tls-verify=false {name} oci:$1/oci:x");
        let urls =
            self.blobs.iter().map(|blob| format!("http://{}/v2/bench/blobs/{blob}", self.host));
        let floor = "for url in \"$@\"; do n=$((n+1)); curl -sf $url | tee $d/$n | sha256sum; done";
        let skopeo = self.script("skopeo copy", skopeo);
        let floor = self.floor("floor: curl, tee, sha256sum", floor, urls.collect());
        self.race("registry to a layout", &[ours, skopeo, floor]);
    }

    fn unpack(&self) {
        let root = self.stored();
        let ours = self.with("dhow-image unpack", |to| {
            self.image(&root).args(["unpack", "bench"]).arg(to.join("bundle"))
        });
        let umoci = format!("umoci unpack --image {}:bench $1/bundle", self.layout.display());
        let raw = format!("umoci raw unpack --image {}:bench $1/rootfs", self.layout.display());
        let files = self.blobs.iter().map(|blob| self.blob(blob).display().to_string());
        let floor = "for f in \"$@\"; do gzip -dc $f | tar -x -C $d/rootfs || exit 1; done";
        let all = [
            ours,
            self.script("umoci unpack", umoci),
            self.script("umoci raw unpack", raw),
            self.floor("floor: gzip, tar", floor, files.collect()),
        ];
        self.race("layout to a bundle", &all);
    }

    fn save_and_load(&self) {
        let root = self.stored();
        let saved = self.w.path("saved.tar");
        self.image(&root).args(["save", "-o"]).arg(&saved).arg("bench").run().ok();
        let ours = self.with("dhow-image save", |to| {
            self.image(&root).args(["save", "-o"]).arg(to.join("tar")).arg("bench")
        });
        let skopeo = format!(
            "skopeo --insecure-policy copy -q oci:{}:bench oci-archive:$1/tar:x",
            self.layout.display()
        );
        let files = self.blobs.iter().map(|blob| self.blob(blob).display().to_string());
        let floor = "cat \"$@\" | tee $d/tar | sha256sum";
        let floor = self.floor("floor: cat, tee, sha256sum", floor, files.collect());
        self.race("save", &[ours, self.script("skopeo to oci-archive", skopeo), floor]);
        let ours = self.with("dhow-image load", |to| {
            self.image(&to.join("root")).args(["load", "-q", "-i"]).arg(&saved)
        });
        let podman = Contender {
            name: "podman load",
            cmd: Box::new(|round| {
                let load = podman(&self.w, &format!("pl-{round}"));
                quiet(load.args(["load", "-q", "-i"]).arg(&saved))
            }),
            after: Box::new(|round| {
                release(&self.w, &format!("pl-{round}"));
                sync(&self.w.path("."));
            }),
        };
        self.race("load, unpacked", &[ours, podman]);
    }

    fn pack(&self) {
        let plain = self.w.path("plain");
        let from = format!("oci:{}:bench", self.layout.display());
        let to = format!("dir:{}", plain.display());
        let decompress = ["copy", "-q", "--dest-decompress", &from, &to];
        self.image(&self.w.path("unused")).args(decompress).run().ok();
        let manifest: Value = json(plain.join("manifest.json"));
        let tar = |layer: &Value| {
            let digest = layer["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
            plain.join(digest).display().to_string()
        };
        let tars: Vec<String> = manifest["layers"].as_array().unwrap().iter().map(tar).collect();
        let ours = |name, format: &'static str| {
            let from = format!("dir:{}", plain.display());
            self.with(name, move |to| {
                let flags = ["--dest-compress-format", format, "--dest-force-compress-format"];
                let copy = self.image(to).args(["copy", "-q"]).args(flags).arg(&from);
                copy.arg(format!("oci:{}/oci:x", to.display()))
            })
        };
        let floor = "for f in \"$@\"; do n=$((n+1)); gzip -6 -n <$f >$d/$n; done";
        let all = [
            ours("dhow-image, gzip", "gzip"),
            ours("dhow-image, zstd", "zstd"),
            self.floor("gzip -6", floor, tars.clone()),
            self.floor("zstd -3", &floor.replace("gzip -6 -n", "zstd -3 -q"), tars),
        ];
        self.race("packing 300 MB of layers", &all);
        for one in &all {
            println!("{}: {} kB", one.name, size(&self.place(one.name, 0)) / 1000);
        }
    }

    /// A contender that writes below a directory of its own in each round.
    fn with<'a>(&'a self, name: &'a str, cmd: impl Fn(&Path) -> Cmd + 'a) -> Contender<'a> {
        Contender {
            name,
            cmd: Box::new(move |round| {
                let to = self.place(name, round);
                std::fs::create_dir_all(&to).unwrap();
                quiet(cmd(&to))
            }),
            after: Box::new(move |_| sync(&self.w.path("."))),
        }
    }

    /// One that is a line of shell, `$1` the directory.
    fn script<'a>(&'a self, name: &'a str, line: String) -> Contender<'a> {
        self.with(name, move |to| self.w.cmd("sh").args(["-c", &line, "sh"]).arg(to))
    }

    /// The floor: `$d` is the directory, with a `rootfs` in it.
    fn floor<'a>(&'a self, name: &'a str, line: &str, words: Vec<String>) -> Contender<'a> {
        let line = format!("set -o pipefail; d=$1; shift; mkdir $d/rootfs; {line}");
        self.with(name, move |to| {
            self.w.cmd("bash").args(["-c", &line, "bash"]).arg(to).args(&words)
        })
    }

    fn race(&self, title: &str, all: &[Contender<'_>]) {
        let peaks: Vec<String> = all
            .iter()
            .map(|one| {
                // A round of its own, which no other has.
                let peak = peak(&(one.cmd)(1000)).1 / 1024;
                (one.after)(1000);
                format!("{} {peak}", one.name)
            })
            .collect();
        race(title, self.rounds, all);
        println!("peak memory of the greatest process, MiB: {}", peaks.join(", "));
    }

    /// A root that has the image.
    fn stored(&self) -> PathBuf {
        let root = self.w.path("stored");
        let from = format!("oci:{}:bench", self.layout.display());
        self.image(&root).args(["copy", "-q", &from, "bench"]).run().ok();
        root
    }

    fn place(&self, name: &str, round: usize) -> PathBuf {
        let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        self.w.path(format!("{name}-{round}"))
    }

    fn image(&self, root: &Path) -> Cmd {
        self.w.cmd(program("dhow-image")).env("DHOW_ROOT", root)
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.layout.join("blobs").join(digest.replace(':', "/"))
    }
}

/// Says nothing on stdout, whatever it would say.
fn quiet(cmd: Cmd) -> Cmd {
    cmd.under(["sh", "-c", "exec \"$@\" >/dev/null", "sh"])
}

/// Leaves nothing dirty for the next to write out.
fn sync(dir: &Path) {
    Cmd::new("sync").arg("-f").arg(dir).run().ok();
}

/// The digests of the layers of a layout's only image.
fn layers(layout: &Path) -> Vec<String> {
    let json =
        |path: PathBuf| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let index = json(layout.join("index.json"));
    let at = index["manifests"][0]["digest"].as_str().unwrap().replace(':', "/");
    let manifest = json(layout.join("blobs").join(at));
    let layers = manifest["layers"].as_array().unwrap();
    layers.iter().map(|l| l["digest"].as_str().unwrap().to_owned()).collect()
}

fn json(path: PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The bytes of all files below.
fn size(dir: &Path) -> u64 {
    let list = Cmd::new("find").arg(dir).args(["-type", "f", "-printf", "%s\n"]).run().ok().lines();
    list.iter().map(|line| line.parse::<u64>().unwrap()).sum()
}
