//! A container with a terminal.

use e2e::{Pty, World};

#[test]
fn terminal_is_the_process_own_and_follows_resizes() {
    let w = World::new();
    let b = w.bundle("b", &["sh"]).with("/process/terminal", true.into());
    let mut t = Pty::start(w.runtime_cmd(["run", "-b", b.path(), b.id()]));
    let before = t.settings();
    t.expect("# ");
    t.send("tty; stty size\n");
    t.expect("/dev/pts/0");
    t.expect("24 80");
    t.resize(33, 111);
    t.expect("# ");
    t.send("sleep 0.2; stty size\n");
    t.expect("33 111");
    let nap = e2e::nap();
    t.send(&format!("{nap}\n"));
    e2e::sleeps(&nap);
    t.send("\x03");
    t.expect("# ");
    t.send("exit 6\n");
    assert_eq!(t.wait(), 6);
    let _ = before;
}

/// What reads a foreground terminal may be a pipe, and wants lines as a pipe has them.
#[test]
fn bug_a_foreground_terminal_s_lines_ended_in_two_bytes() {
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "tty; echo a; echo b"]);
    let b = b.with("/process/terminal", true.into());
    let out = w.runtime(["run", "-b", b.path(), b.id()]).ok().out();
    assert_eq!(out.trim_end_matches('\n'), "/dev/pts/0\na\nb");
    // A terminal of our own gets both.
    let mut t = Pty::start(w.runtime_cmd(["run", "-b", b.path(), b.id()]));
    t.expect("a\r\nb\r\n");
    assert_eq!(t.wait(), 0);
}

#[test]
fn exec_with_a_terminal() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    super::lifecycle::create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    let mut t = Pty::start(w.runtime_cmd(["exec", "--tty", b.id(), "sh", "-c", "tty; exit 4"]));
    t.expect("/dev/pts/");
    assert_eq!(t.wait(), 4);
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn create_with_a_terminal_wants_a_console_socket() {
    let w = World::new();
    let b = w.bundle("b", &["sh"]).with("/process/terminal", true.into());
    w.runtime(["create", "-b", b.path(), b.id()]).refused();
    w.runtime(["state", b.id()]).refused();
}

#[test]
fn terminal_has_the_size_of_the_config() {
    let w = World::new();
    let b = w.bundle("b", &["stty", "size"]).with("/process/terminal", true.into());
    let b = b.with("/process/consoleSize", serde_json::json!({"height": 33, "width": 121}));
    let done = w.runtime(["run", "-b", b.path(), b.id()]).ok();
    assert_eq!(done.out().trim_end(), "33 121");
}

/// What is typed and what is written meet at a program that reads only as it is read from.
#[test]
fn bug_a_foreground_terminal_stood_still_when_more_was_typed_than_read() {
    let w = World::new();
    let lines = 40_000;
    let script = format!("stty -echo; echo go; head -n {lines} | sed 's/.*/& & & &/'");
    let b = w.bundle("b", &["sh", "-c", &script]);
    let b = b.with("/process/terminal", true.into());
    let typed = "a line that is typed\n".repeat(lines);
    let done = w.runtime_cmd(["run", "-b", b.path(), b.id()]).stdin(typed.clone()).run().ok();
    let out = done.out();
    let (_, shown) = out.split_once("go\n").unwrap();
    assert_eq!(shown.lines().count(), lines);
    assert_eq!(shown.len() + 1, 4 * typed.len());
}
