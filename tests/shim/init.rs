//! `--init`: a small first process that minds the command.

use e2e::World;

use super::lifecycle::field;

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

fn comm(w: &World, name: &str, pid: i32) -> String {
    w.dhow(["exec", name, "cat", &format!("/proc/{pid}/comm")]).ok().out()
}

#[test]
fn it_is_the_first_process_and_a_file_of_its_own() {
    let w = world();
    let name = w.id("c");
    w.dhow(["run", "-d", "--init", "--name", &name, "busybox", "sleep", "1000"]).ok();
    assert_eq!(comm(&w, &name, 1), "docker-init");
    assert_eq!(field(&w, &name, "/HostConfig/Init"), true);
    assert_eq!(field(&w, &name, "/Path"), "sleep");
    // Neither to be written to, nor dhow.
    w.dhow(["exec", &name, "sh", "-c", "echo x >>/sbin/docker-init"]).code(1);
    let size = w.dhow(["exec", &name, "stat", "-L", "-c", "%s", "/proc/1/exe"]).ok().out();
    assert!(size.parse::<u64>().unwrap() < 100_000, "{size}");
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn the_command_s_end_is_the_container_s() {
    let w = world();
    let run = |line: &str| w.dhow(["run", "--rm", "--init", "busybox", "sh", "-c", line]);
    run("echo hi; exit 7").code(7).out_is("hi");
    run("kill -9 $$").code(137);
    run("kill -TERM $$").code(143);
    // Found in PATH by the init itself, also when what it finds can't be seen beforehand.
    w.dhow(["run", "--rm", "--init", "busybox", "true"]).code(0);
    w.dhow(["run", "--rm", "--init", "busybox", "no-such-command"]).code(127);
    w.dhow(["run", "--rm", "--init", "busybox", "/etc"]).code(126);
    let late = ["run", "--rm", "--init", "--tmpfs", "/x", "busybox"];
    w.dhow(late.iter().chain(&["no-such-command"])).code(127);
    w.dhow(late.iter().chain(&["/etc"])).code(126);
}

#[test]
fn orphans_are_waited_for() {
    let w = world();
    let name = w.id("c");
    let script = "for i in 1 2 3 4 5; do (sleep 0.1 & ) ; done; touch /made; exec sleep 1000";
    w.dhow(["run", "-d", "--init", "--name", &name, "busybox", "sh", "-c", script]).ok();
    let processes = || w.dhow(["exec", &name, "ps", "-o", "stat,comm"]).out();
    e2e::until("they have ended and are gone", || {
        w.dhow(["exec", &name, "ls", "/made"]).code == 0
            && processes().lines().filter(|l| l.contains("sleep")).count() == 1
    });
    assert!(!processes().contains('Z'), "{}", processes());
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn signals_are_handed_on_to_the_command() {
    let w = world();
    let name = w.id("c");
    let script = "trap 'echo heard; exit 5' TERM; trap 'echo usr' USR1; touch /ready; \
                  while :; do sleep 0.05; done";
    w.dhow(["run", "-d", "--init", "--name", &name, "busybox", "sh", "-c", script]).ok();
    e2e::until("it listens", || w.dhow(["exec", &name, "ls", "/ready"]).code == 0);
    w.dhow(["kill", "-s", "USR1", &name]).ok();
    e2e::until("it has heard", || w.dhow(["logs", &name]).ok().out().contains("usr"));
    w.dhow(["stop", &name]).ok();
    assert_eq!(field(&w, &name, "/State/ExitCode"), 5);
    w.dhow(["rm", &name]).ok();
    // What has no handler hears SIGTERM as well: it is not the first process.
    w.dhow(["run", "-d", "--init", "--name", &name, "busybox", "sleep", "1000"]).ok();
    w.dhow_cmd(["stop", "-t", "60", &name]).limit(30).run().ok();
    assert_eq!(field(&w, &name, "/State/ExitCode"), 143);
    w.dhow(["rm", &name]).ok();
}

#[test]
fn on_a_terminal_the_command_has_it() {
    let w = world();
    let mut t = w.dhow_pty(["run", "--rm", "--init", "-it", "busybox"]);
    t.expect("# ");
    let nap = e2e::nap();
    t.send(&format!("{nap}\n"));
    e2e::sleeps(&nap);
    t.send("\x03");
    t.expect("# ");
    t.send("exit 9\n");
    assert_eq!(t.wait(), 9);
}

#[test]
fn a_user_who_is_not_root_and_a_read_only_root_have_it_too() {
    let w = world();
    let flags = ["run", "--rm", "--init", "-u", "1000", "--read-only", "--cap-drop", "ALL"];
    w.dhow(flags.iter().chain(&["busybox", "id", "-u"])).ok().out_is("1000");
    // In the pids of others it would mind nobody, as docker has it.
    let shared = ["run", "--rm", "--init", "--pid", "host", "busybox", "ls", "/sbin/docker-init"];
    w.dhow(shared).code(1);
    w.daemon_json(r#"{"init": true}"#);
    w.dhow(["run", "--rm", "busybox", "cat", "/proc/1/comm"]).ok().out_is("docker-init");
    w.dhow(["run", "--rm", "--init=false", "busybox", "cat", "/proc/1/comm"]).ok().out_is("cat");
}
