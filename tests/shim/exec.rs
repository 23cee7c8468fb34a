//! exec in a running container.

use e2e::World;

fn running(w: &World) -> String {
    w.pull("busybox");
    let name = w.id("c");
    w.dhow(["run", "-d", "--name", &name, "-e", "FIRST=yes", "busybox", "sleep", "1000"]).ok();
    name
}

#[test]
fn exec_output_exit_code_and_flags() {
    let w = World::new();
    let name = running(&w);
    let done = w.dhow(["exec", &name, "sh", "-c", "echo in; echo err >&2; exit 6"]);
    assert_eq!(done.code(6).out_is("in").err(), "err");
    let flags = ["exec", "-u", "mate", "-w", "/tmp", "-e", "SECOND=too", &name];
    let script = ["sh", "-c", "id -un; pwd; echo $FIRST $SECOND"];
    w.dhow(flags.iter().chain(&script)).ok().out_is("mate\n/tmp\nyes too");
    w.dhow_cmd(["exec", "-i", &name, "cat"]).stdin("through\n").run().ok().out_is("through");
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn exec_of_what_is_not_there() {
    let w = World::new();
    let name = running(&w);
    w.dhow(["exec", &name, "no-such-command"]).code(127).err_has("no-such-command");
    w.dhow(["exec", &name, "/etc"]).code(126);
    w.dhow(["kill", &name]).ok();
    w.dhow(["wait", &name]).ok();
    w.dhow(["exec", &name, "true"]).code(1).err_has("not running");
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn exec_detached() {
    let w = World::new();
    let name = running(&w);
    w.dhow(["exec", "-d", &name, "touch", "/made"]).ok();
    e2e::until("the file is made", || w.dhow(["exec", &name, "ls", "/made"]).code == 0);
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn exec_on_a_terminal() {
    let w = World::new();
    let name = running(&w);
    let mut t = w.dhow_pty(["exec", "-it", &name, "sh"]);
    t.expect("# ");
    t.send("tty; stty size\n");
    t.expect("/dev/pts/");
    t.expect("24 80");
    t.resize(40, 132);
    t.expect("# ");
    t.send("sleep 0.3; stty size\n");
    t.expect("40 132");
    t.send("exit 12\n");
    assert_eq!(t.wait(), 12);
    w.dhow(["rm", "-f", &name]).ok();
}
