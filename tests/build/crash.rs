//! Builds that are killed, interrupted, or without room.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::{Cmd, World, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

fn cargo(w: &World) -> PathBuf {
    let text = "FROM busybox AS one\nRUN dd if=/dev/urandom of=/noise bs=64k count=64\nRUN sleep 0.1\n\
        FROM busybox\nCOPY --from=one /noise /\nCOPY big /\nRUN sleep 0.1; echo done > /done\n";
    let dir = w.context("c", &[("Dockerfile", text)]);
    fs::write(dir.join("big"), vec![7; 4 << 20]).unwrap();
    dir
}

/// Nothing of a build that is gone: no container, no mount, no half of a layer.
fn clean(w: &World) {
    w.image(["gc"]).ok();
    w.image(["verify"]).ok();
    for place in ["build", "runtime"] {
        let left = fs::read_dir(w.run_dir().join(place)).into_iter().flatten().flatten();
        let left: Vec<_> = left.map(|e| e.path()).filter(|p| p.is_dir()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
    let left = w.cmd("find").arg(w.root().join("tmp")).args(["-type", "f", "-size", "+0"]).run();
    assert!(left.code != 0 || left.out().is_empty(), "{left}");
}

#[test]
fn killed_at_any_instant_the_next_build_works_and_nothing_is_left() {
    let w = world();
    let dir = cargo(&w);
    let long = std::env::var("DHOW_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    for round in 0..long {
        for milliseconds in [3, 15, 40, 80, 130, 190, 260, 350, 500, 700] {
            let mut build = w.build_cmd(&dir, &["-t", "k", "--no-cache"]).start();
            std::thread::sleep(Duration::from_millis(milliseconds + 7 * round));
            build.kill().unwrap();
            build.wait().unwrap();
        }
        w.build(&dir, &["-t", "k"]).ok();
        assert_eq!(w.says("k", "cat /done; stat -c %s /noise /big"), "done\n4194304\n4194304");
    }
    clean(&w);
}

#[test]
fn interrupted_it_ends_all_at_once() {
    let w = world();
    // A number of seconds that nobody else on this machine sleeps.
    let sleep = format!("sleep 1{}", std::process::id());
    let text = format!(
        "FROM busybox AS a\nRUN echo begun; {sleep}\nFROM busybox AS b\nRUN trap '' TERM INT; {sleep}\n\
         FROM busybox\nCOPY --from=a / /a\nCOPY --from=b / /b\n"
    );
    let dir = w.context("c", &[("Dockerfile", &text)]);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let build = w.build_cmd(&dir, &[]).start();
        let running = || w.cmd("pgrep").args(["-fx", &sleep]).run().lines().len() >= 2;
        until("both run", running);
        let began = Instant::now();
        kill(Pid::from_raw(build.id() as i32), signal).unwrap();
        let done = build.wait_with_output().unwrap();
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(
            done.status.code(),
            Some(if signal == Signal::SIGINT { 130 } else { 143 }),
            "{said}"
        );
        assert!(said.contains("canceled") || said.contains("CANCELED"), "{said}");
        clean(&w);
    }
}

#[test]
fn without_room_it_says_so_and_goes_on_when_there_is_some() {
    let w = World::new();
    let root = w.root();
    fs::create_dir_all(&root).unwrap();
    Cmd::new("mount").args(["-t", "tmpfs", "-o", "size=40m", "tmpfs"]).arg(&root).run().ok();
    w.pull("busybox");
    let dir = cargo(&w);
    let ballast = root.join("ballast");
    for megabytes in [34, 30, 26, 22] {
        fs::write(&ballast, vec![1; megabytes << 20]).unwrap();
        let done = w.build(&dir, &["-t", "f", "--no-cache"]);
        assert!(done.code == 0 || done.err().to_lowercase().contains("no space left"), "{done}");
        fs::remove_file(&ballast).unwrap();
        w.image(["verify"]).ok();
    }
    w.dhow(["builder", "prune", "-af"]).ok();
    w.build(&dir, &["-t", "f"]).ok();
    assert_eq!(w.says("f", "cat /done"), "done");
    clean(&w);
    Cmd::new("umount").arg("-l").arg(&root).run();
}

#[test]
fn gc_takes_what_a_killed_build_has_left() {
    let w = world();
    // A number of seconds that nobody else on this machine sleeps.
    let sleep = format!("sleep 2{}", std::process::id());
    let dir = w.context("c", &[("Dockerfile", &format!("FROM busybox\nRUN {sleep}\n"))]);
    let running = || w.cmd("pgrep").args(["-fx", &sleep]).run().code == 0;
    let mut build = w.build_cmd(&dir, &[]).start();
    until("it runs", running);
    // A build that lives is nobody's leftover.
    w.image(["gc"]).ok();
    assert!(running());
    build.kill().unwrap();
    build.wait().unwrap();
    w.image(["gc", "--dry-run"]).ok();
    assert!(running());
    w.image(["gc"]).ok();
    assert!(!running());
    clean(&w);
}

#[test]
fn a_repository_that_never_comes_is_given_up_at_once() {
    let w = World::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("git://{}/r.git", silent.local_addr().unwrap());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let build = w.image_cmd(["build", &address]).start();
        let (mut asking, _) = silent.accept().unwrap();
        let began = Instant::now();
        kill(Pid::from_raw(build.id() as i32), signal).unwrap();
        let done = build.wait_with_output().unwrap();
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(128 + signal as i32), "{said}");
        // `git` is gone with it.
        std::io::copy(&mut asking, &mut std::io::sink()).unwrap();
        clean(&w);
    }
}
