//! The README's tour, line by line, as it stands.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use e2e::{Cmd, World, fixtures, leaks, needs, program, until, workspace};

/// The shell block under "## Tour", without the line that builds what the suite has built.
fn lines(image: &str) -> String {
    let readme = fs::read_to_string(workspace().join("README.md")).unwrap();
    let tour = readme.split("\n## Tour\n").nth(1).unwrap();
    let block = tour.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let line = |line: &str| match line {
        _ if line.starts_with("make ") => String::new(),
        _ if line.starts_with("IMAGE=") => format!("IMAGE={image}\n"),
        _ => format!("{line}\n"),
    };
    block.lines().map(line).collect()
}

/// What podman needs where limits can't be raised, and to keep its state in the world.
fn podman_settings(w: &World) -> [(&'static str, PathBuf); 2] {
    let containers = w.path("containers.conf");
    fs::write(
        &containers,
        "[containers]\ndefault_ulimits=[\"nofile=1024:1024\",\"nproc=1024:1024\"]\n\
         [engine]\ncgroup_manager=\"cgroupfs\"\nevents_logger=\"none\"\n",
    )
    .unwrap();
    let storage = w.path("storage.conf");
    let (root, run) = (w.path("podman/root"), w.path("podman/run"));
    let (root, run) = (root.display(), run.display());
    let text = format!("[storage]\ndriver=\"overlay\"\ngraphroot=\"{root}\"\nrunroot=\"{run}\"\n");
    fs::write(&storage, text).unwrap();
    let policy = w.path("home/.config/containers");
    fs::create_dir_all(&policy).unwrap();
    fs::write(policy.join("policy.json"), r#"{"default":[{"type":"insecureAcceptAnything"}]}"#)
        .unwrap();
    [("CONTAINERS_CONF", containers), ("CONTAINERS_STORAGE_CONF", storage)]
}

/// A registry with the fixtures on the world's own loopback, port 5000.
fn registry(w: &World) -> Child {
    let data = w.path("registry");
    Cmd::new("cp").arg("-a").arg(fixtures::registry()).arg(&data).run().ok();
    let config = format!(
        "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: {}\n\
         http:\n  addr: 127.0.0.1:5000\n",
        data.display()
    );
    fs::write(w.path("registry.yml"), config).unwrap();
    let cmd = w.cmd("docker-registry").arg("serve").arg(w.path("registry.yml"));
    let mut command = cmd.command();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = cmd.spawn(&mut command);
    let up = || w.wires().server.within(|| TcpStream::connect("127.0.0.1:5000").is_ok());
    until("the registry answers", up);
    child
}

#[test]
fn readmes_tour_works_line_by_line() {
    needs!(Root, Machine);
    let w = World::wired();
    let mut registry = registry(&w);
    let image = "127.0.0.1:5000/busybox:latest";
    let script = format!(
        "set -eu\ncd {}\nmkdir target\nln -s {} target/dhow\nexec </dev/null\n{}",
        w.path("").display(),
        program("dhow").parent().unwrap().display(),
        lines(image)
    );
    let mut tour = w
        .cmd("unshare")
        .args(["--mount", "--propagation", "private", "bash", "-xc", &script])
        .limit(300);
    for (key, value) in podman_settings(&w) {
        tour = tour.env(key, value);
    }
    let before = leaks::cgroups();
    let done = tour.run();
    // podman never removes the groups above its containers' own; conmon is in one until it ends.
    let podmans = |g: &PathBuf| g.iter().any(|part| part == "libpod_parent") && !before.contains(g);
    until("podman's groups are gone", || {
        let groups: Vec<PathBuf> = leaks::cgroups().into_iter().filter(podmans).collect();
        // The deepest first.
        groups.iter().rev().for_each(|group| drop(fs::remove_dir(group)));
        groups.is_empty()
    });
    registry.kill().unwrap();
    registry.wait().unwrap();
    let done = done.ok();
    for part in ["hello from a container", "working", "hello from podman", "hello from runc"] {
        assert!(done.out().contains(part), "{part:?} is missing in:\n{}", done.out());
    }
}
