//! Exit codes: the command's own; 125 dhow's, 126 can't be run, 127 not found, 128 + signal.

use e2e::World;

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

#[test]
fn output_and_exit_code_are_the_commands() {
    let w = world();
    let done = w.dhow(["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!(done.code(7).out_is("out").err(), "err");
}

#[test]
fn stdin_is_passed_with_i_and_only_then() {
    let w = world();
    let input = "pepper\n".repeat(50_000);
    let run = w.dhow_cmd(["run", "--rm", "-i", "busybox", "wc", "-c"]).stdin(input.clone());
    run.run().ok().out_is("350000");
    let run = w.dhow_cmd(["run", "--rm", "busybox", "wc", "-c"]).stdin(input);
    run.run().ok().out_is("0");
}

#[test]
fn unknown_command_is_127_and_directory_is_126() {
    let w = world();
    w.dhow(["run", "--rm", "busybox", "no-such-command"]).code(127).err_has("no-such-command");
    w.dhow(["run", "--rm", "busybox", "/no/such/path"]).code(127).err_has("/no/such/path");
    w.dhow(["run", "--rm", "busybox", "/etc"]).code(126).err_has("/etc");
    w.dhow(["run", "--rm", "busybox", "/etc/passwd"]).code(126).err_has("/etc/passwd");
    w.dhow(["ps", "-aq"]).ok().out_is("");
}

#[test]
fn own_failures_are_125() {
    let w = world();
    w.dhow(["run", "--no-such-flag", "busybox"]).code(125).err_has("no-such-flag");
    w.dhow(["run", "--memory", "lots", "busybox"]).code(125).err_has("lots");
    w.dhow(["run", "--rm", "--cpu-count", "2", "busybox", "true"]).code(125).err_has("--cpu-count");
    w.dhow(["run", "--rm", "--name", "a b", "busybox", "true"]).code(125);
    w.dhow(["ps", "-aq"]).ok().out_is("");
}

#[test]
fn death_by_signal_is_128_and_the_signal() {
    let w = world();
    let name = w.id("s");
    w.dhow(["run", "-d", "--name", &name, "busybox", "sleep", "1000"]).ok();
    w.dhow(["kill", &name]).ok().out_is(&name);
    w.dhow(["wait", &name]).ok().out_is("137");
    w.dhow(["rm", &name]).ok();
}

#[test]
fn signals_to_dhow_run_reach_the_container() {
    let w = world();
    let name = w.id("s");
    let script = "trap 'exit 33' TERM; echo ready; while :; do sleep 0.05; done";
    let run = w.dhow_cmd(["run", "--rm", "--name", &name, "busybox", "sh", "-c", script]);
    let mut child = run.start();
    e2e::until("it is ready", || w.dhow(["logs", &name]).out().contains("ready"));
    w.cmd("kill").args(["-TERM", &child.id().to_string()]).run().ok();
    assert_eq!(child.wait().unwrap().code(), Some(33));
}

#[test]
fn failures_of_other_verbs_are_1_and_name_the_container() {
    let w = world();
    for verb in ["start", "stop", "kill", "rm", "logs", "wait", "inspect"] {
        w.dhow([verb, "nobody-here"]).code(1).err_has("nobody-here");
    }
    w.dhow(["exec", "nobody-here", "true"]).code(1).err_has("nobody-here");
}

#[test]
fn a_program_for_another_processor_says_what_to_do() {
    let w = world();
    let file = w.path("garbage");
    std::fs::write(&file, b"\x7fELF\x02 of another world").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let bind = format!("{}:/x", file.display());
    w.dhow(["run", "--rm", "-v", &bind, "busybox", "/x"])
        .code(126)
        .err_has("exec /x: exec format error")
        .err_has("--platform");
}

#[test]
fn bug_a_caller_deaf_to_its_children_s_ends_could_run_nothing() {
    let w = World::new();
    w.pull("busybox");
    let deaf = ["bash", "-c", "trap '' CHLD; exec \"$@\"", "bash"];
    w.dhow_cmd(["run", "--rm", "busybox", "sh", "-c", "exit 7"]).under(deaf).run().code(7);
}
