//! Two commands on one container at once: each does its work or says in a line why not, and
//! `delete --force` takes what is left.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Output};
use std::time::Duration;

use e2e::World;
use e2e::bundle::Bundle;

use super::lifecycle::create;

/// Rounds of each, the second command ever later.
fn rounds() -> u64 {
    if std::env::var_os("DHOW_LONG").is_some() { 300 } else { 12 }
}

const QUIET: [&str; 4] = ["sh", "-c", "exec \"$@\" >/dev/null </dev/null", "sh"];

fn begin(w: &World, words: &[&str]) -> Child {
    w.runtime_cmd(words).under(QUIET).start()
}

/// Ended with 0, or with one line; nothing else.
#[track_caller]
fn judged(what: &str, done: &Output) -> bool {
    let said = String::from_utf8_lossy(&done.stderr);
    let one = said.lines().filter(|line| line.contains("level=error")).count() == 1;
    assert!(!said.contains("panicked"), "{what}: {done:?}");
    // What exec has started ends as it was killed, and `delete --force` kills a create.
    let killed = match what {
        "exec" => done.status.code() == Some(137),
        "create" => done.status.signal() == Some(9),
        _ => false,
    };
    assert!(done.status.success() || one || killed, "{what}: {done:?}");
    done.status.success()
}

/// Waits for a command whose container holds its standard error.
fn ended(mut child: Child, what: &str) -> bool {
    use std::io::Read;
    let status = child.wait().unwrap();
    let mut stderr = vec![0; 4096];
    // A container that lives has it open: what is there is all there is.
    let n =
        if status.success() { 0 } else { child.stderr.take().unwrap().read(&mut stderr).unwrap() };
    stderr.truncate(n);
    judged(what, &Output { status, stdout: Vec::new(), stderr })
}

/// Both at once, again and again; how often both, one, or none did their work.
fn both(w: &World, b: &Bundle, ready: impl Fn(), first: &[&str], second: &[&str]) -> [u32; 3] {
    let mut worked = [0; 3];
    for round in 0..rounds() {
        ready();
        let one = begin(w, first);
        std::thread::sleep(Duration::from_micros(round * 997 % 12_000));
        let other = begin(w, second);
        let done = [ended(one, first[0]), ended(other, second[0])];
        worked[done.iter().filter(|done| **done).count()] += 1;
        w.runtime(["list"]).ok();
        w.runtime(["delete", "--force", b.id()]).ok();
        w.runtime(["state", b.id()]).refused();
        assert!(!w.runtime_root().join(b.id()).exists());
    }
    worked
}

#[test]
fn delete_beside_create_and_create_beside_create() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let make = ["create", "-b", b.path(), b.id()];
    both(&w, &b, || {}, &make, &["delete", b.id()]);
    both(&w, &b, || {}, &make, &["delete", "--force", b.id()]);
    // One of them has it.
    assert_eq!(both(&w, &b, || {}, &make, &make), [0, rounds() as u32, 0]);
}

#[test]
fn start_beside_delete_and_start_beside_start() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let ready = || create(&w, &b);
    both(&w, &b, ready, &["start", b.id()], &["delete", "--force", b.id()]);
    both(&w, &b, ready, &["delete", "--force", b.id()], &["start", b.id()]);
    both(&w, &b, ready, &["start", b.id()], &["kill", b.id(), "KILL"]);
    assert_eq!(
        both(&w, &b, ready, &["start", b.id()], &["start", b.id()]),
        [0, rounds() as u32, 0]
    );
}

#[test]
fn exec_pause_and_delete_beside_delete() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let ready = || {
        create(&w, &b);
        w.runtime(["start", b.id()]).ok();
    };
    let delete = ["delete", "--force", b.id()];
    both(&w, &b, ready, &["exec", b.id(), "true"], &delete);
    both(&w, &b, ready, &["pause", b.id()], &delete);
    // With --force, a container that is gone already is no failure.
    assert_eq!(both(&w, &b, ready, &delete, &delete), [0, 0, rounds() as u32]);
}

/// The record that it had not seen at first was there once it had waited for the maker.
#[test]
fn bug_a_forced_delete_beside_a_create_lost_its_container() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    create(&w, &b);
    // As far as another can tell, it is being made.
    let dir = w.runtime_root().join(b.id());
    let held = File::open(&dir).unwrap();
    held.lock().unwrap();
    fs::rename(dir.join("status"), dir.join("later")).unwrap();
    let delete = begin(&w, &["delete", "--force", b.id()]);
    std::thread::sleep(Duration::from_millis(50));
    fs::rename(dir.join("later"), dir.join("status")).unwrap();
    drop(held);
    assert!(ended(delete, "delete"));
    assert!(!dir.exists());
    // Made once more: its groups are free, for nothing runs in them.
    create(&w, &b);
    w.runtime(["delete", "--force", b.id()]).ok();
}
