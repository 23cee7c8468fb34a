//! The same inputs, the same image: elsewhere, later, on another machine, by another program.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use e2e::{Cmd, World, fixtures, program, workspace};
use serde_json::Value;

const TEXT: &str = "FROM busybox AS build
WORKDIR /src
COPY . .
RUN cat a.txt dir/x > joined && mkdir -p out/deep && cp joined out/deep/ && ln out/deep/joined out/hard && ln -s hard out/soft
RUN date +%N > noise && rm noise && chown -R mate:crew out
FROM busybox
LABEL who=\"mate\"
RUN mkdir -p /opt/z /opt/a && touch /opt/z/1 /opt/a/2 /opt/3 && rm -r /usr/bin && chmod 4755 /opt/3
COPY --from=build --chown=7:8 /src/out /srv/
COPY <<EOF /etc/motd
ahoy
EOF
ENV a=b
CMD [\"cat\", \"/srv/deep/joined\"]
";

/// The context in a directory, its files of so many seconds ago and made in another order.
fn cargo(w: &World, name: &str, ago: u64, turned: bool) -> PathBuf {
    let mut files =
        vec![("Dockerfile", TEXT), ("a.txt", "a\n"), ("dir/x", "x\n"), ("dir/y", "y\n")];
    if turned {
        files.reverse();
    }
    let dir = w.context(name, &files);
    symlink("dir/x", dir.join("link")).unwrap();
    let then = SystemTime::now() - Duration::from_secs(ago);
    for (file, _) in files {
        fs::File::options().write(true).open(dir.join(file)).unwrap().set_modified(then).unwrap();
    }
    dir
}

fn digest(meta: &Path) -> String {
    let meta: Value = serde_json::from_slice(&fs::read(meta).unwrap()).unwrap();
    meta["containerimage.digest"].as_str().unwrap().to_owned()
}

#[test]
fn two_builds_have_one_digest_in_another_place_at_another_time_and_on_another_machine() {
    let moment = "1700000000";
    let build = |w: &World, dir: &Path, flags: &[&str], env: Option<&str>| {
        let meta = w.path("meta.json");
        let flags = [&["-t", "same", "--metadata-file", meta.to_str().unwrap()], flags].concat();
        let mut cmd = w.build_cmd(dir, &flags);
        if let Some(env) = env {
            cmd = cmd.env("SOURCE_DATE_EPOCH", env);
        }
        cmd.run().ok();
        digest(&meta)
    };
    let first = World::new();
    first.pull("busybox");
    let one = build(&first, &cargo(&first, "c", 5, false), &[], Some(moment));
    assert_eq!(first.inspect("same")["Created"], "2023-11-14T22:13:20Z");
    // Nothing in what was added is newer than that.
    let newest = first
        .says("same", "find /opt /srv /etc/motd -type f | xargs stat -c %Y | sort -n | tail -1");
    assert_eq!(newest, moment);
    let second = World::new();
    second.pull("busybox");
    let dir = cargo(&second, "another/place", 100_000, true);
    assert_eq!(build(&second, &dir, &[], Some(moment)), one);
    // As an argument, and as dhow-image builds it.
    let arg = format!("SOURCE_DATE_EPOCH={moment}");
    assert_eq!(build(&second, &dir, &["--no-cache", "--build-arg", &arg], None), one);
    assert_eq!(build(&second, &dir, &["--no-cache", "--timestamp", moment], None), one);
    let meta = second.path("m.json");
    let args = [
        "build",
        "-q",
        "-t",
        "same",
        "--no-cache",
        "--timestamp",
        moment,
        "--metadata-file",
        meta.to_str().unwrap(),
    ];
    second.image_cmd(args).arg(&dir).run().ok();
    assert_eq!(digest(&meta), one);
    // Another moment is another image.
    assert_ne!(build(&second, &dir, &["--no-cache"], Some("1700000001")), one);

    let programs = fs::canonicalize(program("dhow")).unwrap();
    let script = format!(
        "export PATH=/dhow:$PATH DHOW_ROOT=/tmp/root DHOW_RUN=/tmp/run HOME=/tmp SOURCE_DATE_EPOCH={moment}
         dhow-image copy -q oci:/layout:busybox busybox >/dev/null 2>&1
         dhow-image build -q --network none -t same --metadata-file /tmp/meta /w/another/place >/dev/null
         cat /tmp/meta"
    );
    let done = Cmd::new(workspace().join("tests/guest/guest.sh"))
        .args(["--mem", "1024", "--share"])
        .arg(format!("{}:/dhow:ro", programs.parent().unwrap().display()))
        .arg("--share")
        .arg(format!("{}:/layout:ro", fixtures::layout().display()))
        .arg("--share")
        .arg(format!("{}:/w:ro", second.path("").display()))
        .args(["--", "bash", "-ec", &script])
        .limit(600)
        .run()
        .ok();
    assert_eq!(done.json()["containerimage.digest"], one.as_str());
}

#[test]
fn without_a_moment_what_is_cached_keeps_its_own() {
    let w = World::new();
    w.pull("busybox");
    let dir = cargo(&w, "c", 5, false);
    let id = || w.dhow_cmd(["build", "-q"]).arg(&dir).run().ok().out();
    let one = id();
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(id(), one);
    assert_ne!(w.dhow_cmd(["build", "-q", "--no-cache"]).arg(&dir).run().ok().out(), one);
}

#[test]
fn a_base_image_stays_as_it_is_bit_for_bit() {
    let w = World::new();
    w.pull("layers");
    w.build_text("upon", "FROM layers\nUSER root\nRUN echo x > /x\n").ok();
    let below = w.inspect("layers")["RootFS"]["Layers"].clone();
    let all = w.inspect("upon")["RootFS"]["Layers"].clone();
    let below = below.as_array().unwrap();
    assert_eq!(all.as_array().unwrap()[..below.len()], below[..]);
    assert_eq!(all.as_array().unwrap().len(), below.len() + 1);
    assert_eq!(w.inspect("upon")["Config"]["Labels"]["port"], "lamu");
}

#[test]
fn squashed_it_is_one_layer_upon_the_base() {
    let w = World::new();
    w.pull("busybox");
    let dir = cargo(&w, "c", 5, false);
    w.build(&dir, &["-t", "whole"]).ok();
    w.build(&dir, &["-t", "flat", "--squash"]).ok();
    assert_eq!(w.inspect("flat")["RootFS"]["Layers"].as_array().unwrap().len(), 2);
    let look = "find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /etc \\) -prune -o -print | sort | xargs stat -c '%n %a %u %h %s'";
    assert_eq!(w.says("flat", look), w.says("whole", look));
}

#[test]
fn buildah_makes_the_same_of_it() {
    let w = World::new();
    w.pull("busybox");
    let dir = cargo(&w, "c", 5, false);
    // What Debian's buildah doesn't know of.
    let text = TEXT.replace("COPY <<EOF /etc/motd\nahoy\nEOF\n", "");
    fs::write(dir.join("Dockerfile"), text).unwrap();
    w.build(&dir, &["-t", "ours"]).ok();
    let buildah = || {
        let places = [("--root", "b/root"), ("--runroot", "b/run")];
        let places = places
            .iter()
            .flat_map(|(flag, at)| [flag.to_string(), w.path(at).display().to_string()]);
        w.cmd("buildah").arg("--storage-driver=vfs").args(places)
    };
    let from = format!("oci:{}:busybox", fixtures::layout().display());
    let id = buildah().args(["pull", "-q", &from]).run().ok().out();
    buildah().args(["tag", &id, "localhost/busybox"]).run().ok();
    let build =
        ["build", "--layers", "--network", "none", "--runtime", "/usr/sbin/runc", "-t", "theirs"];
    buildah().args(build).arg(&dir).run().ok();
    let layout = format!("oci:{}:theirs", w.path("layout").display());
    buildah().args(["push", "-q", "localhost/theirs", &layout]).run().ok();
    let said = w.image(["diff", "--json", "ours", &layout]).json();
    // What differs is when, and how a step is told of; no file but the /run that runc needed and
    // buildah leaves in the layer.
    let files = said["files"].as_array().unwrap();
    assert!(files.iter().all(|file| file["path"] == "/run"), "{said:#}");
    buildah().args(["rmi", "-a", "-f"]).run();
}
