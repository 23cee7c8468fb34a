//! A terminal that behaves.

use e2e::{World, needs};

#[test]
fn debian_bash_prompt_tty_resize_interrupt_exit_code() {
    needs!(Machine);
    let w = World::new();
    let image = e2e::Registry::open().name("debian:bookworm");
    let mut t = w.dhow_pty(["run", "--rm", "-it", &image, "bash"]);
    t.expect("# ");
    t.send("tty; stty size\n");
    t.expect("/dev/pts/0");
    t.expect("24 80");
    t.expect("# ");
    t.resize(50, 100);
    t.send("sleep 0.3; stty size\n");
    t.expect("50 100");
    t.expect("# ");
    let nap = e2e::nap();
    t.send(&format!("{nap}\n"));
    e2e::sleeps(&nap);
    t.send("\x03");
    t.expect("# ");
    t.send("echo still $((40 + 2))\n");
    t.expect("still 42");
    t.send("exit 42\n");
    assert_eq!(t.wait(), 42);
}

#[test]
fn end_of_input_ends_the_shell_and_settings_come_back() {
    let w = World::new();
    w.pull("busybox");
    // A shell on the terminal shows its settings before and after.
    let run = w.dhow_cmd(["run", "--rm", "-it", "busybox"]);
    let before_and_after = ["sh", "-c", "stty -g; \"$@\"; stty -g; echo over", "sh"];
    let mut t = e2e::Pty::start(run.under(before_and_after));
    let before = t.expect("\r\n");
    t.expect("# ");
    t.send("\x04");
    t.expect("\r\n");
    let rest = t.expect("over");
    let after = rest.trim().lines().last().unwrap().trim().to_owned();
    assert_eq!(before.trim(), after);
    t.wait();
}

#[test]
fn detach_keys_leave_it_running() {
    let w = World::new();
    w.pull("busybox");
    let name = w.id("c");
    let mut t = w.dhow_pty(["run", "-it", "--name", &name, "busybox"]);
    t.expect("# ");
    t.send("\x10\x11");
    assert_eq!(t.wait(), 0);
    let state = super::lifecycle::field(&w, &name, "/State/Running");
    assert_eq!(state, true);
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn t_without_a_terminal_is_refused() {
    let w = World::new();
    w.pull("busybox");
    w.dhow(["run", "--rm", "-it", "busybox", "true"]).refused().err_has("TTY");
}

#[test]
fn terminal_gone_does_not_end_the_container() {
    let w = World::new();
    w.pull("busybox");
    let name = w.id("c");
    let mut t = w.dhow_pty(["run", "-it", "--name", &name, "busybox"]);
    t.expect("# ");
    drop(t); // kills `dhow run` and closes its terminal
    assert_eq!(super::lifecycle::field(&w, &name, "/State/Running"), true);
    w.dhow(["rm", "-f", &name]).ok();
}

/// An image's label, a file's name: what they hold is shown, never obeyed; a pipe gets it whole.
#[test]
fn a_terminal_does_not_obey_what_others_named() {
    let w = World::new();
    w.pull("busybox");
    let title = "x=\u{1b}]0;owned\u{7}";
    w.dhow(["create", "--name", "one", "--label", title, "busybox"]).ok();
    let format = ["ps", "-a", "--format", "\u{1b}[31m{{.Labels}}\u{1b}[0m."];
    let mut t = w.dhow_pty(format);
    t.expect("\u{1b}[31mx=?]0;owned?\u{1b}[0m.");
    assert_eq!(t.wait(), 0);
    assert_eq!(w.dhow(format).ok().out(), format!("\u{1b}[31m{title}\u{1b}[0m."));
    w.dhow(["rm", "one"]).ok();
}
