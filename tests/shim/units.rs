//! systemd: units of containers, and NOTIFY_SOCKET. The real one is met in `guest_boot`.

use std::fs;
use std::os::unix::net::UnixDatagram;

use e2e::manager::Manager;
use e2e::{World, needs};

use super::lifecycle::field;

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

/// What the container would do at /run/notify/notify.sock, done on the host's side of the mount.
fn say(w: &World, name: &str, text: &str) {
    e2e::until("the container runs", || {
        let state = w.dhow(["inspect", "-f", "{{.State.Running}}", name]);
        state.code == 0 && state.out().trim() == "true"
    });
    let id = field(w, name, "/Id").as_str().unwrap().to_owned();
    // An address has room for 108 bytes.
    let (dir, short) = (w.run_dir().join("monitors").join(id).join("notify"), w.path("n"));
    if !short.exists() {
        std::os::unix::fs::symlink(dir, &short).unwrap();
    }
    UnixDatagram::unbound().unwrap().send_to(text.as_bytes(), short.join("notify.sock")).unwrap();
}

#[test]
fn ready_in_the_foreground_names_the_client_and_comes_from_the_container() {
    let w = world();
    let manager = Manager::new(&w);
    let name = w.id("c");
    let look = "echo $NOTIFY_SOCKET; test -S $NOTIFY_SOCKET && echo there; \
        touch /run/notify/x 2>/dev/null || echo read-only; exec sleep 1000";
    let run =
        ["run", "--name", &name, "-e", "NOTIFY_SOCKET=/elsewhere", "busybox", "sh", "-c", look];
    let mut child = w.dhow_cmd(run).env("NOTIFY_SOCKET", manager.path()).start();
    say(&w, &name, "STATUS=READY=1\nMAINPID=1\nFDSTORE=1");
    say(&w, &name, "STATUS=up\nREADY=1");
    assert_eq!(manager.heard(), format!("READY=1\nMAINPID={}\n", child.id()));
    let seen = "/run/notify/notify.sock\nthere\nread-only";
    e2e::until("it has looked", || w.dhow(["logs", &name]).out().trim() == seen);
    w.dhow(["rm", "-f", &name]).ok();
    child.wait().unwrap();
    assert!(!manager.hears_more(), "nothing else is passed on");
}

#[test]
fn in_the_background_ready_is_waited_for_and_names_the_monitor() {
    let w = world();
    let manager = Manager::new(&w);
    let name = w.id("c");
    let run = ["run", "-d", "--sdnotify", "container", "--name", &name, "busybox", "sleep", "1000"];
    let mut child = w.dhow_cmd(run).env("NOTIFY_SOCKET", manager.path()).start();
    say(&w, &name, "READY=1");
    let state = w.root().join("containers").join(field(&w, &name, "/Id").as_str().unwrap());
    let state = fs::read_to_string(state.join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert_eq!(manager.heard(), format!("READY=1\nMAINPID={}\n", state["monitor_pid"]));
    assert_eq!(manager.heard(), "BARRIER=1");
    assert!(child.wait().unwrap().success());
    w.dhow(["rm", "-f", &name]).ok();
    // One that ends without a word is waited for no longer.
    let run = ["run", "-d", "--sdnotify", "container", "--name", &name, "busybox", "true"];
    w.dhow_cmd(run).env("NOTIFY_SOCKET", manager.path()).run().ok();
    w.dhow(["rm", "-f", &name]).ok();
    assert!(!manager.hears_more());
}

/// A CI's job has the NOTIFY_SOCKET of the service that it is a job of.
#[test]
fn bug_in_the_background_a_word_was_waited_for_that_nobody_had_asked_for() {
    let w = world();
    let manager = Manager::new(&w);
    let name = w.id("c");
    let below = |args: &[&str]| {
        w.dhow_cmd(args).env("NOTIFY_SOCKET", manager.path()).limit(60).run().ok();
    };
    let look = ["busybox", "sh", "-c", "echo is ${NOTIFY_SOCKET-unset}; exec sleep 1000"];
    below(&[&["run", "-d", "--name", &name][..], &look].concat());
    e2e::until("it has looked", || w.dhow(["logs", &name]).out().trim() == "is unset");
    w.dhow(["stop", "-t", "0", &name]).ok();
    below(&["start", &name]);
    w.dhow(["rm", "-f", &name]).ok();
    assert!(!manager.hears_more());
}

#[test]
fn dhow_says_it_itself_or_nobody_does() {
    let w = world();
    let manager = Manager::new(&w);
    let name = w.id("c");
    let create = ["create", "--sdnotify", "conmon", "--name", &name, "busybox"];
    w.dhow([&create[..], &["sh", "-c", "env; exec sleep 1000"]].concat()).ok();
    let begin = |args: &[&str]| {
        let args = [args, &[&name]].concat();
        w.dhow_cmd(args).env("NOTIFY_SOCKET", manager.path()).start()
    };
    let mut first = begin(&["start", "-a"]);
    assert_eq!(manager.heard(), format!("READY=1\nMAINPID={}\n", first.id()));
    // It runs already, as after a boot with dhow.service: who comes to it tells so, too.
    let mut second = begin(&["start", "-a", "--sdnotify", "container"]);
    assert_eq!(manager.heard(), format!("READY=1\nMAINPID={}\n", second.id()));
    w.dhow(["stop", "-t", "0", &name]).ok();
    first.wait().unwrap();
    second.wait().unwrap();
    assert!(begin(&["start", "--sdnotify", "ignore"]).wait().unwrap().success());
    assert!(!w.dhow(["logs", &name]).ok().out().contains("NOTIFY_SOCKET"));
    assert!(!manager.hears_more());
    w.dhow(["rm", "-f", &name]).ok();
    w.dhow(["run", "--sdnotify", "x", "busybox"])
        .code(125)
        .err_has("use container, conmon or ignore");
}

/// As with the runtime: the container runs, has its socket, and is waited for no longer than without.
#[test]
fn bug_a_manager_that_is_not_there_kept_containers_from_starting() {
    let w = world();
    let name = w.id("c");
    let gone = w.path("gone.sock");
    let alone = |args: &[&str]| w.dhow_cmd(args).env("NOTIFY_SOCKET", &gone).limit(60).run().ok();
    let told = |done: e2e::Done| {
        let done = done.err_has("WARNING: connect to NOTIFY_SOCKET");
        assert_eq!(done.err().matches("nobody is told").count(), 1, "{done}");
    };
    let up = ["sh", "-c", "test -S $NOTIFY_SOCKET && echo up; exec sleep 1000"];
    told(alone(&["run", "--rm", "busybox", "true"]));
    let run = ["run", "-d", "--sdnotify", "container", "--name", &name, "busybox"];
    told(alone(&[&run[..], &up].concat()));
    e2e::until("it has looked", || w.dhow(["logs", &name]).out().trim() == "up");
    w.dhow(["stop", "-t", "0", &name]).ok();
    told(alone(&["start", &name]));
    w.dhow(["rm", "-f", &name]).ok();
    w.dhow(["create", "--name", &name, "busybox", "true"]).ok();
    told(alone(&["start", "-a", &name]));
    assert!(!alone(&["start", "--sdnotify", "ignore", &name]).err().contains("NOTIFY_SOCKET"));
    w.dhow(["rm", "-f", &name]).ok();
}

/// A service manager that has a listening socket at 3 and a connected one at 4, whose other end says
/// something; it executes what it is given, as sd_listen_fds(3) has it.
const ACTIVATING: &str = "
import os, socket, sys
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1]); listening.listen()
ours, theirs = socket.socketpair()
ours.send(b'through the socket')
ours.shutdown(socket.SHUT_WR)
keep = [os.dup2(listening.fileno(), 13), os.dup2(theirs.fileno(), 14), os.dup2(ours.fileno(), 15)]
os.dup2(13, 3, True); os.dup2(14, 4, True); os.set_inheritable(15, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2', LISTEN_FDNAMES='web:talk')
print(os.fstat(3).st_ino, flush=True)
os.execvp(sys.argv[2], sys.argv[2:])
";

#[test]
fn sockets_of_a_service_manager_reach_the_container_in_each_of_its_lives() {
    needs!(Machine);
    let w = world();
    let path = w.path("listening").display().to_string();
    let manager = ["python3", "-c", ACTIVATING, &path].map(str::to_owned);
    let look = "echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES; readlink /proc/self/fd/3; \
        timeout 9 cat <&4; echo; ls /proc/self/fd | wc -l";
    let told = |inode: &str| {
        // 0, 1, 2, the two sockets, and what ls has open itself.
        format!("{inode}\n2 1 web:talk\nsocket:[{inode}]\nthrough the socket\n6")
    };
    let run = ["run", "--rm", "busybox", "sh", "-c", look];
    let done = w.dhow_cmd(run).under(manager.clone()).run().ok();
    let inode = done.lines()[0].clone();
    done.out_is(&told(&inode));
    // Other runtimes, too, and from one life to the next.
    let name = w.id("c");
    fs::remove_file(&path).unwrap();
    let twice = "readlink /proc/self/fd/3; test -e /again || { touch /again; exit 3; }";
    let create =
        ["create", "--name", &name, "--restart", "on-failure", "busybox", "sh", "-c", twice];
    w.dhow(create).ok();
    let done = w.dhow_cmd(["start", &name]).under(manager.clone()).run().ok();
    let inode = done.lines()[0].clone();
    e2e::until("it has lived twice", || w.dhow(["logs", &name]).out().lines().count() == 2);
    w.dhow(["wait", &name]).ok();
    let line = format!("socket:[{inode}]");
    w.dhow(["logs", &name]).ok().out_is(&format!("{line}\n{line}"));
    w.dhow(["rm", &name]).ok();
    fs::remove_file(&path).unwrap();
    // Sockets for another process are none of ours; those that aren't there are told.
    let seen =
        ["run", "--rm", "busybox", "sh", "-c", "echo none:$LISTEN_FDS; ls /proc/self/fd | wc -l"];
    let other = ["sh", "-c", "exec 3</dev/null; LISTEN_PID=1 LISTEN_FDS=1 exec \"$@\"", "sh"];
    w.dhow_cmd(seen).under(other).run().ok().out_is("none:\n4");
    let lacking = ["sh", "-c", "exec 3<&-; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"", "sh"];
    w.dhow_cmd(seen).under(lacking).run().code(125).err_has("LISTEN_FDS=1: descriptor 3");
}

/// The lines of a unit that begin so.
fn lines<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn a_unit_starts_what_is_there_or_makes_it_anew() {
    let w = world();
    let (name, other) = (w.id("web"), w.id("db"));
    w.dhow(["create", "--name", &other, "busybox"]).ok();
    let mode = format!("container:{other}");
    let create = ["create", "-it", "--rm", "--name", &name, "--network", &mode, "-e", "HOME"];
    let command = ["--stop-timeout", "7", "busybox", "sh", "-c", "echo $HOME 100%"];
    w.dhow_cmd([&create[..], &command].concat()).env("HOME", "/h o").run().ok();
    w.dhow(["system", "generate", &name]).code(1).err_has("use --new");
    let call = ["system", "generate", "--new", "--after", "a.service", "--env", "A=b $c", &name];
    let unit = w.dhow(call).ok().out();
    let dhow = fs::canonicalize(e2e::program("dhow")).unwrap();
    let dhow =
        format!("{} --root {} --run {}", dhow.display(), w.root().display(), w.run_dir().display());
    let run = format!(
        "{dhow} run --rm --name={name} --sdnotify=conmon --attach=stdout --attach=stderr \
         --interactive --tty --network={mode} \"--env=HOME=/h o\" --stop-timeout=7 busybox sh -c \
         \"echo $$HOME 100%%\""
    );
    assert_eq!(lines(&unit, "ExecStart"), [run]);
    assert_eq!(lines(&unit, "ExecStop"), [format!("-{dhow} stop --timeout 7 {name}")]);
    assert_eq!(lines(&unit, "TimeoutStopSec"), ["67"]);
    assert_eq!(lines(&unit, "Environment"), ["\"A=b $c\""]);
    let after = format!("a.service container-{other}.service");
    // Those two are the machine's; a user's unit doesn't see them.
    let machines = ["network-online.target dhow.service", &after];
    let wanted = &machines[usize::from(e2e::mode().is_rootless())..];
    assert_eq!(lines(&unit, "After"), wanted);
    let files = ["system", "generate", "--files", "--name", "--user", "--no-header", &other];
    let path = w.dhow(files).ok().out().trim().to_owned();
    assert_eq!(path, w.path(format!("container-{other}.service")).display().to_string());
    let unit = fs::read_to_string(&path).unwrap();
    let start = format!("{dhow} start --attach --sdnotify=conmon {other}");
    assert_eq!(lines(&unit, "ExecStart"), [start]);
    assert_eq!(lines(&unit, "WantedBy"), ["default.target"]);
    assert!(unit.starts_with("[Unit]\n") && lines(&unit, "After").is_empty(), "{unit}");
    // A unit of the sockets it is given, beside it.
    let listen = ["--listen-stream", "8080", "--listen-datagram", "/run/%x"];
    let call = ["system", "generate", "--files", "--name"];
    let files = w.dhow([&call[..], &listen, &[&other]].concat()).ok().lines();
    let [socket, service] = &files[..] else { panic!("{files:?}") };
    assert!(socket.ends_with(&format!("/container-{other}.socket")), "{socket}");
    let socket = fs::read_to_string(socket).unwrap();
    assert_eq!(lines(&socket, "ListenStream"), ["8080"]);
    assert_eq!(lines(&socket, "ListenDatagram"), ["/run/%%x"]);
    let service = fs::read_to_string(service).unwrap();
    assert_eq!(lines(&service, "Requires"), [format!("container-{other}.socket")]);
    let bad = ["system", "generate", "--listen-stream", "a\nb", &other];
    w.dhow(bad).code(1).err_has("no address of a socket");
    w.dhow(["system", "generate", "--after", "x y", &other]).code(1).err_has("no name of a unit");
    w.dhow(["system", "generate", "--env", "A", &other]).code(1).err_has("no KEY=VALUE");
    w.dhow(["system", "generate", "--restart-policy", "x", &other]).refused();
    w.dhow(["update", "--restart", "always", &other]).ok();
    w.dhow(["system", "generate", &other]).ok().err_has("--restart no");
    w.dhow(["rm", "-f", &name, &other]).ok();
}

#[test]
fn the_flags_of_docker_s_service_are_heard_and_never_executed() {
    needs!(Root);
    let w = World::new();
    let dir = w.path("default");
    fs::create_dir(&dir).unwrap();
    let heard = |options: &str, program: &str, args: &[&str]| {
        fs::write(dir.join("docker"), options).unwrap();
        let script = format!("mount --bind {} /etc/default; exec \"$@\"", dir.display());
        let prefix = ["unshare", "-m", "sh", "-ec", &script, "sh"].map(str::to_owned);
        let cmd = w.cmd(e2e::program(program)).args(args).under(prefix);
        cmd.without_env("DHOW_DAEMON_JSON").run()
    };
    let info = ["info", "--format", "{{json .RegistryConfig.Mirrors}} {{.LoggingDriver}}"];
    let options = "# docker's\nDOCKER_OPTS=\"--registry-mirror=https://m.example \\\n -H unix:///x\"\n\
        export DOCKER_OPTS=\"$DOCKER_OPTS --log-driver local -g /srv\"\n";
    heard(options, "dhow", &info).ok().out_is("[\"https://m.example\"] local");
    let bad = format!("DOCKER_OPTS=\"--dns $(touch {})\"", w.path("executed").display());
    let done = heard(&bad, "dhow", &["run", "hello"]).code(125);
    done.err_has("/etc/default/docker").err_has("line 1").err_has("which dhow doesn't run");
    heard(&bad, "dhow-image", &["pull", "localhost:1/x"]).code(1).err_has("/etc/default/docker");
    assert!(!w.path("executed").exists());
}
