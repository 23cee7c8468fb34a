//! A container's changes as an image: `commit`.

use std::fs;
use std::time::Duration;

use e2e::{Cmd, World, needs};
use serde_json::{Value, json};

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

fn image(w: &World, name: &str) -> Value {
    w.dhow(["image", "inspect", name]).ok().json()[0].clone()
}

fn layers(w: &World, name: &str) -> Vec<String> {
    let all = image(w, name)["RootFS"]["Layers"].clone();
    all.as_array().unwrap().iter().map(|l| l.as_str().unwrap().to_owned()).collect()
}

const SCRIPT: &str = "echo 1 > /new; rm /etc/passwd; rm -rf /usr; mkdir /usr; mkdir -p /a/b
    ln /new /a/hard; ln -s /new /a/soft; chmod 4755 /new; mkfifo /a/pipe; echo v > /vol/x
    printf x > $(printf '/\\037\\213looks like gzip')";

#[test]
fn the_image_is_what_the_container_was_and_runs_anywhere() {
    let w = world();
    let name = w.id("c");
    w.dhow(["run", "-d", "--name", &name, "-v", "/vol", "busybox", "sleep", "1000"]).ok();
    w.dhow(["exec", &name, "sh", "-c", SCRIPT]).ok();
    let id = w.dhow(["commit", &name, "made:one"]).ok().out();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    assert_eq!(image(&w, "made:one")["Id"], id.as_str());
    let look = "cat /new; stat -c '%a %h' /a/hard; readlink /a/soft; ls -A /usr /vol
        test -p /a/pipe && echo pipe; ls / | grep gzip";
    let said = w.dhow(["run", "--rm", "made:one", "sh", "-c", look]).ok().out();
    for part in ["1\n4755 2\n/new\n", "/usr:\n\n/vol:\npipe\n", "looks like gzip"] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    w.dhow(["run", "--rm", "made:one", "ls", "/etc/passwd"]).code(1);
    // What lay below stays as it was, and others read it too.
    w.dhow(["run", "--rm", "busybox", "ls", "/etc/passwd"]).ok();
    if !e2e::mode().is_guest() {
        let store = format!("oci:{}/images:docker.io/library/made:one", w.root().display());
        w.cmd("skopeo").args(["inspect", &store]).run().ok().out_has("\"Layers\"");
        let there = w.path("copy").display().to_string();
        w.cmd("skopeo").args(["copy", "-q", &store, &format!("dir:{there}")]).run().ok();
    }
    let tar = w.dhow(["save", "made:one"]).ok().stdout;
    w.dhow(["rmi", "made:one"]).ok();
    w.dhow_cmd(["load"]).stdin(tar).run().ok();
    assert_eq!(image(&w, "made:one")["Id"], id.as_str());
    w.dhow(["rm", "-f", "-v", &name]).ok();
}

#[test]
fn the_same_changes_are_the_same_layer_and_none_are_none() {
    let w = world();
    let name = w.id("c");
    w.dhow(["run", "-d", "--name", &name, "busybox", "sleep", "1000"]).ok();
    let first = w.dhow(["commit", "-m", "none", &name, "none"]).ok().out();
    assert_eq!(layers(&w, "none"), layers(&w, "busybox"));
    let history = w.dhow(["history", "--no-trunc", "none"]).ok().out();
    assert!(history.contains("0B") && history.contains("none"), "{history}");
    w.dhow(["exec", &name, "sh", "-c", "mkdir /d; head -c 3000000 /dev/urandom > /d/noise"]).ok();
    w.dhow(["commit", &name, "two"]).ok();
    w.dhow(["stop", "-t", "0", &name]).ok();
    w.dhow(["container", "commit", &name, "three"]).ok();
    let (two, three) = (layers(&w, "two"), layers(&w, "three"));
    assert_eq!((two.len(), &two), (2, &three));
    let blobs = |name: &str| {
        let read = |at: &str| fs::read(w.root().join("images").join(at)).unwrap();
        let json = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).unwrap();
        let named = |m: &&Value| {
            let name = format!("docker.io/library/{name}:latest");
            m["annotations"]["org.opencontainers.image.ref.name"] == name.as_str()
        };
        let index = json(read("index.json"));
        let entry = index["manifests"].as_array().unwrap().iter().find(named).unwrap().clone();
        let digest = entry["digest"].as_str().unwrap().replace(':', "/");
        json(read(&format!("blobs/{digest}")))["layers"].clone()
    };
    assert_eq!(blobs("two"), blobs("three"), "the packed bytes are the same as well");
    // Upon an image that was committed itself.
    let again = w.id("d");
    w.dhow(["run", "--name", &again, "three", "touch", "/more"]).ok();
    w.dhow(["commit", &again, "four"]).ok();
    assert_eq!(layers(&w, "four")[..2], three);
    w.dhow(["run", "--rm", "four", "ls", "/more", "/d/noise"]).ok();
    assert_ne!(first, w.dhow(["commit", &name]).ok().out());
    w.dhow(["rm", &name, &again]).ok();
}

/// As docker 28.5.2 has it for the same flags.
#[test]
fn config_and_history_are_those_docker_writes() {
    let w = world();
    let flags = ["--label", "a=b", "-e", "X=1", "-w", "/tmp", "-u", "5", "--stop-signal", "9"];
    let health = ["--health-cmd", "true", "--health-interval", "1h"];
    let create = ["create", "--name", "cc", "-h", "hh", "-v", "/vol"];
    let words = create.iter().chain(&flags).chain(&health);
    w.dhow(words.chain(&["busybox", "sleep", "1000"])).ok();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let all = [
        r#"CMD ["a","b"]"#,
        "ENV Y=2",
        "EXPOSE 80",
        "LABEL l=m",
        "ONBUILD RUN x",
        "USER 7",
        "VOLUME /v2",
        "WORKDIR sub",
        "HEALTHCHECK --interval=5s CMD foo bar",
        "STOPSIGNAL SIGINT",
    ];
    let changes = all.iter().flat_map(|change| ["-c", change]);
    let commit = ["commit", "-a", "me <x@y>", "-m", "the message"].into_iter().chain(changes);
    w.dhow(commit.chain(["cc", "two"])).ok();
    let two = image(&w, "two");
    assert_eq!((&two["Author"], &two["Comment"]), (&json!("me <x@y>"), &json!("the message")));
    let config = json!({
        "Cmd": ["a", "b"], "Env": ["X=1", path, "Y=2"], "ExposedPorts": {"80/tcp": {}},
        "Healthcheck": {"Interval": 5_000_000_000_u64, "Test": ["CMD-SHELL", "foo bar"]},
        "Labels": {"a": "b", "l": "m"}, "OnBuild": ["RUN x"], "StopSignal": "SIGINT", "User": "7",
        "Volumes": {"/v2": {}, "/vol": {}}, "WorkingDir": "/tmp/sub",
    });
    for (key, value) in config.as_object().unwrap() {
        assert_eq!(&two["Config"][key], value, "{key}");
    }
    let history = w.dhow(["history", "--no-trunc", "two"]).ok().out();
    assert!(history.contains("sleep 1000") && history.contains("the message"), "{history}");
    for (changes, key, value) in [
        (&[r#"ENTRYPOINT ["/e"]"#][..], "Cmd", Value::Null),
        (&["ENTRYPOINT /e x", "CMD y"], "Cmd", json!(["/bin/sh", "-c", "y"])),
        (&["ENTRYPOINT /e x", "CMD y"], "Entrypoint", json!(["/bin/sh", "-c", "/e x"])),
        (&["CMD y", "ENTRYPOINT /e"], "Cmd", json!(["/bin/sh", "-c", "y"])),
        (&[], "Cmd", json!(["sleep", "1000"])),
        (
            &["HEALTHCHECK NONE"],
            "Healthcheck",
            json!({"Test": ["NONE"], "Interval": 3_600_000_000_000_u64}),
        ),
    ] {
        let flags = changes.iter().flat_map(|change| ["-c", change]);
        let words = ["commit"].into_iter().chain(flags).chain(["cc", "x"]);
        w.dhow(words).ok();
        assert_eq!(image(&w, "x")["Config"][key], value, "{changes:?}");
    }
    w.dhow(["rm", "-v", "cc"]).ok();
}

#[test]
fn what_cannot_be_committed_is_said_and_makes_nothing() {
    let w = world();
    w.dhow(["create", "--name", "cc", "busybox"]).ok();
    let before = w.dhow(["images", "-aq"]).ok().out();
    for (args, words) in [
        (&["nosuch"][..], "No such container: nosuch"),
        (&["cc", "BAD:x"], "repository name (library/BAD) must be lowercase"),
        (&["-c", "RUN x", "cc"], "RUN is not a valid change command"),
        (&["-c", "SHELL [\"x\"]", "cc"], "SHELL is not a valid change command"),
        (&["-c", "ENV", "cc"], "ENV requires at least one argument"),
        (&["-c", "HEALTHCHECK foo", "cc"], "Unknown type \"FOO\" in HEALTHCHECK (try CMD)"),
        (&["-c", "STOPSIGNAL foo", "cc"], "invalid signal: foo"),
        (&["-c", "", "cc"], "file with no instructions"),
        (&["cc", "a", "b"], "requires at least 1 and at most 2 arguments"),
    ] {
        let done = w.dhow(["commit"].iter().chain(args)).code(1).out_is("");
        let _ = done.err_has(words);
    }
    let digest = format!("x@sha256:{}", "0".repeat(64));
    let words = "refusing to create a tag with a digest reference";
    w.dhow(["commit", "cc", &digest]).code(1).err_has(words);
    assert_eq!(w.dhow(["images", "-aq"]).ok().out(), before);
    w.dhow(["rm", "cc"]).ok();
}

fn status(w: &World, name: &str) -> String {
    w.dhow(["inspect", "-f", "{{.State.Status}}", name]).ok().out()
}

#[test]
fn a_container_stands_still_while_it_is_committed_and_goes_on_whatever_happens() {
    let w = world();
    let name = w.id("c");
    let script = "head -c 30000000 /dev/urandom > /noise; echo ready; n=0
        while :; do n=$((n + 1)); echo $n > /one; echo $n > /two; done";
    w.dhow(["run", "-d", "--name", &name, "busybox", "sh", "-c", script]).ok();
    e2e::until("it writes", || w.dhow(["logs", &name]).out().contains("ready"));
    for round in 0..5 {
        let image = format!("round:{round}");
        w.dhow(["commit", &name, &image]).ok();
        assert_eq!(status(&w, &name), "running");
        let look = ["run", "--rm", &image, "cat", "/one", "/two"];
        let numbers: Vec<i64> =
            w.dhow(look).ok().lines().iter().map(|l| l.parse().unwrap_or(-1)).collect();
        // The shell is stopped between two writes or within one, never later.
        assert!(numbers.len() < 2 || (0..2).contains(&(numbers[0] - numbers[1])), "{numbers:?}");
    }
    for milliseconds in [20, 60, 100, 200, 300, 400] {
        let mut commit = w.dhow_cmd(["commit", &name, "killed"]).start();
        std::thread::sleep(Duration::from_millis(milliseconds));
        commit.kill().unwrap();
        commit.wait().unwrap();
        e2e::until("it goes on", || status(&w, &name) == "running");
        w.dhow(["exec", &name, "true"]).ok();
    }
    // Nothing half made is seen, and the next one sweeps it.
    w.dhow(["commit", "--no-pause", &name, "after"]).ok();
    let left = fs::read_dir(w.root().join("tmp")).unwrap().flatten().map(|e| e.file_name());
    let left: Vec<_> = left.filter(|name| name != "partial").collect();
    assert!(left.is_empty(), "{left:?}");
    for image in w.dhow(["images", "-q", "--no-trunc"]).ok().lines() {
        w.dhow(["run", "--rm", &image, "true"]).ok();
    }
    // Who paused it himself finds it so.
    w.dhow(["pause", &name]).ok();
    w.dhow(["commit", &name]).ok();
    assert_eq!(status(&w, &name), "paused");
    w.dhow(["unpause", &name]).ok();
    w.dhow(["rm", "-f", &name]).ok();
}

/// A container that exchanges, grows and removes what is read meanwhile.
#[test]
fn a_container_that_fights_is_committed_without_anything_of_the_host() {
    needs!(Machine);
    let w = world();
    let secret = w.path("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("key"), "s3cr3t").unwrap();
    let program = w.path("swap");
    let source = e2e::workspace().join("tests/shim/swap.c");
    Cmd::new("cc").args(["-O1", "-static", "-o"]).arg(&program).arg(source).run().ok();
    let volume = format!("{}:/swap:ro", program.display());
    let name = w.id("c");
    let script = format!(
        "mkdir -p /x/dir/in /y; echo own > /x/dir/key; echo own > /x/dir/in/key; mkfifo /y/pipe
         mknod /y/disk b 240 7; ln -s {} /x/link; while :; do mkdir -p /z/1/2; rm -rf /z; done &
         exec /swap /x/dir /x/link /y/grow",
        secret.display()
    );
    let run = ["run", "-d", "--name", &name, "-v", &volume, "busybox", "sh", "-c", &script];
    w.dhow(run).ok();
    e2e::until("it swaps", || w.dhow(["logs", &name]).out().contains("swapping"));
    for round in 0..9 {
        let image = format!("fight:{round}");
        let how = if round % 3 == 0 { "--pause" } else { "--no-pause" };
        w.dhow_cmd(["commit", how, &name, &image]).limit(60).run().ok();
        let look = "cat /x/dir/key /x/link/key /x/dir/in/key; ls /y";
        let said = w.dhow(["run", "--rm", &image, "sh", "-c", look]);
        assert!(!format!("{said}").contains("s3cr3t"), "round {round}: {said}");
        w.dhow(["rmi", &image]).ok();
        let tar = w.dhow_cmd(["export", &name]).limit(60).run().ok().stdout;
        assert!(!tar.windows(6).any(|part| part == b"s3cr3t"));
        w.dhow(["diff", &name]).ok();
    }
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    needs!(Root);
    let w = World::new();
    fs::create_dir(w.root()).unwrap();
    let root = w.root();
    Cmd::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(&root).run().ok();
    w.pull("busybox");
    let name = w.id("c");
    let script = "head -c 9000000 /dev/urandom > /noise";
    w.dhow(["run", "--name", &name, "busybox", "sh", "-c", script]).ok();
    let used = || Cmd::new("du").args(["-s", "--apparent-size"]).arg(&root).run().ok().out();
    w.dhow(["images"]).ok();
    let before = used();
    w.dhow(["commit", &name, "full"]).code(1).err_has("no space left");
    w.dhow(["images", "-q", "full"]).ok().out_is("");
    assert_eq!(used(), before);
    w.dhow(["start", "-a", &name]).ok();
    w.dhow(["rm", &name]).ok();
    Cmd::new("umount").arg(&root).run().ok();
}
