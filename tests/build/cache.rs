//! What earlier builds are good for.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use e2e::{Registry, World, needs};

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

/// How many steps a build took from the cache.
#[track_caller]
fn hits(w: &World, dir: &Path, flags: &[&str]) -> usize {
    let flags = [&["-t", "cached"], flags].concat();
    w.build(dir, &flags).ok().err().matches("CACHED").count()
}

const TEXT: &str = "FROM busybox\nCOPY a.txt /\nRUN cat /a.txt > /b.txt\nCOPY dir /dir\nARG v=1\nRUN echo $v > /v\n";

fn cargo(w: &World, name: &str) -> std::path::PathBuf {
    let files = [("Dockerfile", TEXT), ("a.txt", "a\n"), ("dir/x", "x\n"), ("other", "o\n")];
    w.context(name, &files)
}

#[test]
fn a_step_runs_again_for_what_it_is_made_of_and_for_nothing_else() {
    let w = world();
    let dir = cargo(&w, "c");
    assert_eq!(hits(&w, &dir, &[]), 0);
    assert_eq!(hits(&w, &dir, &[]), 4);
    // Not for times, nor for files that nobody copies, nor for where it is, nor for comments.
    let past = SystemTime::now() - Duration::from_secs(1_000_000);
    fs::File::options().write(true).open(dir.join("a.txt")).unwrap().set_modified(past).unwrap();
    fs::write(dir.join("other"), "changed\n").unwrap();
    fs::write(dir.join("Dockerfile"), format!("# a comment\n{}", TEXT.replace("RUN", "run")))
        .unwrap();
    assert_eq!(hits(&w, &dir, &[]), 4);
    assert_eq!(hits(&w, &cargo(&w, "elsewhere"), &[]), 4);
    // For content, a mode, a name, an argument that is used.
    fs::write(dir.join("dir/x"), "y\n").unwrap();
    assert_eq!(hits(&w, &dir, &[]), 2);
    assert_eq!(hits(&w, &dir, &["--build-arg", "v=2"]), 3);
    w.cmd("chmod").arg("600").arg(dir.join("dir/x")).run().ok();
    assert_eq!(hits(&w, &dir, &[]), 2);
    fs::rename(dir.join("dir/x"), dir.join("dir/z")).unwrap();
    assert_eq!(hits(&w, &dir, &[]), 2);
    // Same size, same time, another content: seen by the inode's own time of change.
    let file = dir.join("a.txt");
    fs::write(&file, "b\n").unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(past).unwrap();
    assert_eq!(hits(&w, &dir, &[]), 0);
    assert_eq!(w.says("cached", "cat /b.txt"), "b");
    // Unless nothing is to be taken.
    assert_eq!(hits(&w, &dir, &["--no-cache"]), 0);
}

#[test]
fn a_stage_can_be_left_out_of_it() {
    let w = world();
    let text = "FROM busybox AS one\nRUN echo 1 > /one\nFROM busybox AS two\nRUN echo 2 > /two\nFROM busybox\nCOPY --from=one /one /\nCOPY --from=two /two /\n";
    let dir = w.context("c", &[("Dockerfile", text)]);
    assert_eq!(hits(&w, &dir, &[]), 0);
    assert_eq!(hits(&w, &dir, &["--no-cache-filter", "two"]), 3);
}

#[test]
fn the_same_result_from_another_step_lets_what_follows_be_found() {
    let w = world();
    let text = |note: &str| {
        format!(
            "FROM busybox AS one\nRUN echo same > /x; : {note}\nFROM busybox\nCOPY --from=one /x /x\nRUN cat /x > /y\n"
        )
    };
    let dir = w.context("c", &[("Dockerfile", &text("1"))]);
    assert_eq!(hits(&w, &dir, &[]), 0);
    fs::write(dir.join("Dockerfile"), text("2")).unwrap();
    assert_eq!(hits(&w, &dir, &[]), 2);
}

#[test]
fn a_step_that_is_there_twice_is_run_twice_though_it_changes_nothing() {
    let w = world();
    let note = |word: &str| format!("RUN --mount=type=cache,id=n,target=/n echo {word} >> /n/f\n");
    let steps = note("a") + &note("b") + &note("a") + &note("a");
    let text = format!(
        "FROM busybox AS one\n{steps}FROM one\n{}RUN --mount=type=cache,id=n,target=/n xargs < /n/f > /f\n",
        note("a")
    );
    w.build_text("x", &text).ok();
    assert_eq!(w.says("x", "cat /f"), "a b a a a");
    // The next build has all of it.
    let dir = w.context("again", &[("Dockerfile", &text)]);
    assert_eq!(hits(&w, &dir, &[]), 6);
}

#[test]
fn builds_side_by_side_share_and_agree() {
    let w = world();
    let dir = cargo(&w, "c");
    fs::write(dir.join("Dockerfile"), TEXT.replace("RUN cat", "RUN sleep 1; cat")).unwrap();
    let children: Vec<_> = (0..6)
        .map(|n| w.dhow_cmd(["build", "-q", "-t", &format!("side{n}")]).arg(&dir).start())
        .collect();
    let ids: Vec<_> = children.into_iter().map(|c| c.wait_with_output().unwrap()).collect();
    for done in &ids {
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(done.stdout, ids[0].stdout);
    }
    w.image(["verify"]).ok();
}

#[test]
fn it_is_listed_and_pruned_and_images_stay() {
    let w = world();
    let dir = cargo(&w, "c");
    hits(&w, &dir, &[]);
    let usage = w.dhow(["builder", "du"]).ok().out();
    assert!(usage.contains("RECLAIMABLE") && usage.contains("Total:"), "{usage}");
    let list = w.dhow(["builder", "prune", "-af"]).ok().out();
    assert!(list.contains("Total"), "{list}");
    assert_eq!(w.says("cached", "cat /b.txt /v"), "a\n1");
    assert_eq!(hits(&w, &dir, &[]), 0);
    w.dhow(["rmi", "cached"]).ok();
    w.dhow(["builder", "prune", "-af"]).ok();
    w.image(["verify"]).ok();
    assert_eq!(hits(&w, &dir, &[]), 0);
}

#[test]
fn a_damaged_record_is_a_step_that_runs_again() {
    let w = world();
    let dir = cargo(&w, "c");
    hits(&w, &dir, &[]);
    let records =
        w.cmd("find").arg(w.root().join("build/steps")).args(["-type", "f"]).run().ok().lines();
    assert!(records.len() >= 4, "{records:?}");
    for (n, record) in records.iter().enumerate() {
        let whole = fs::read(record).unwrap();
        let bytes = match n % 3 {
            0 => Vec::new(),
            1 => whole[..whole.len() / 2].to_vec(),
            _ => b"{\"x\":[[[[".to_vec(),
        };
        fs::write(record, bytes).unwrap();
    }
    assert_eq!(hits(&w, &dir, &[]), 0);
    assert_eq!(hits(&w, &dir, &[]), 4);
}

#[test]
fn what_was_only_copied_from_is_packed_when_it_is_wanted() {
    let w = world();
    let text = "FROM busybox AS one\nRUN mkdir -p /a/b && ln -s a /link && touch -d @1000 /a/b && chmod 2770 /a && chown 5:6 /a
WORKDIR /link/b/c/d\nCOPY --chown=7 a.txt ./deep/er/\nCOPY dir /home/\nADD dir /a/b/c/\nRUN rm -r /home/mate && mkdir /home/mate && mv /a/b/c/x /usr/ && ln /usr/x /tmp/x
FROM busybox\nCOPY --from=one /usr/x /x\n";
    let dir = w.context("c", &[("Dockerfile", text), ("a.txt", "a\n"), ("dir/x", "x\n")]);
    w.build(&dir, &["-t", "two"]).ok();
    assert_eq!(hits(&w, &dir, &["--target", "one"]), 6);
    assert_eq!(
        w.says("cached", "pwd; cat deep/er/a.txt /tmp/x; stat -c '%a %u:%g' /a /a/b"),
        "/a/b/c/d\na\nx\n2770 5:6\n755 0:0"
    );
    w.image(["verify"]).ok();
}

#[test]
fn a_cache_is_taken_along() {
    needs!(Machine);
    let w = world();
    let dir = cargo(&w, "c");
    let folder = w.path("exported");
    let name = format!("{}/build-cache:kept", Registry::open().host());
    let local = format!("type=local,dest={},mode=max", folder.display());
    let remote = format!("type=registry,ref={name},mode=max");
    let inline = format!("{}/build-cache:inline", Registry::open().host());
    hits(&w, &dir, &["--cache-to", &local, "--cache-to", &remote]);
    w.build(&dir, &["-t", &inline, "--cache-to", "type=inline", "--push"]).ok();
    let local = format!("type=local,src={}", folder.display());
    let remote = format!("type=registry,ref={name}");
    let inline = format!("type=registry,ref={inline}");
    for from in [&local, &remote, &inline] {
        let other = World::new();
        other.pull("busybox");
        assert_eq!(hits(&other, &dir, &["--cache-from", from]), 4, "{from}");
        assert_eq!(other.says("cached", "cat /b.txt /v"), "a\n1");
    }
    let other = World::new();
    other.pull("busybox");
    // One that isn't there is no reason to fail.
    assert_eq!(hits(&other, &dir, &["--cache-from", "type=local,src=/not/there"]), 0);
}
