//! systemd: units of containers, and NOTIFY_SOCKET. The real one is met in `guest_boot`.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use e2e::{World, needs};

use super::lifecycle::field;

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

/// The service manager's end.
fn manager(w: &World) -> (UnixDatagram, PathBuf) {
    let path = w.path("manager");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    (socket, path)
}

fn heard(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let n = socket.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..n]).into_owned()
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
    let (socket, path) = manager(&w);
    let name = w.id("c");
    let look = "echo $NOTIFY_SOCKET; test -S $NOTIFY_SOCKET && echo there; \
        touch /run/notify/x 2>/dev/null || echo read-only; exec sleep 1000";
    let run =
        ["run", "--name", &name, "-e", "NOTIFY_SOCKET=/elsewhere", "busybox", "sh", "-c", look];
    let mut child = w.dhow_cmd(run).env("NOTIFY_SOCKET", &path).start();
    say(&w, &name, "STATUS=READY=1\nMAINPID=1\nFDSTORE=1");
    say(&w, &name, "STATUS=up\nREADY=1");
    assert_eq!(heard(&socket), format!("READY=1\nMAINPID={}\n", child.id()));
    let seen = "/run/notify/notify.sock\nthere\nread-only";
    e2e::until("it has looked", || w.dhow(["logs", &name]).out().trim() == seen);
    w.dhow(["rm", "-f", &name]).ok();
    child.wait().unwrap();
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 8]).is_err(), "nothing else is passed on");
}

#[test]
fn in_the_background_ready_is_waited_for_and_names_the_monitor() {
    let w = world();
    let (socket, path) = manager(&w);
    let name = w.id("c");
    let run = ["run", "-d", "--name", &name, "busybox", "sleep", "1000"];
    let mut child = w.dhow_cmd(run).env("NOTIFY_SOCKET", &path).start();
    say(&w, &name, "READY=1");
    let state = w.root().join("containers").join(field(&w, &name, "/Id").as_str().unwrap());
    let state = fs::read_to_string(state.join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert_eq!(heard(&socket), format!("READY=1\nMAINPID={}\n", state["monitor_pid"]));
    assert_eq!(heard(&socket), "BARRIER=1");
    assert!(child.wait().unwrap().success());
    w.dhow(["rm", "-f", &name]).ok();
    // One that ends without a word is waited for no longer.
    let run = ["run", "-d", "--name", &name, "busybox", "true"];
    w.dhow_cmd(run).env("NOTIFY_SOCKET", &path).run().ok();
    w.dhow(["rm", "-f", &name]).ok();
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 8]).is_err());
}

#[test]
fn dhow_says_it_itself_or_nobody_does() {
    let w = world();
    let (socket, path) = manager(&w);
    let name = w.id("c");
    let create = ["create", "--sdnotify", "conmon", "--name", &name, "busybox"];
    w.dhow([&create[..], &["sh", "-c", "env; exec sleep 1000"]].concat()).ok();
    let begin = |args: &[&str]| {
        let args = [args, &[&name]].concat();
        w.dhow_cmd(args).env("NOTIFY_SOCKET", &path).start()
    };
    let mut first = begin(&["start", "-a"]);
    assert_eq!(heard(&socket), format!("READY=1\nMAINPID={}\n", first.id()));
    // It runs already, as after a boot with dhow.service: who comes to it tells so, too.
    let mut second = begin(&["start", "-a", "--sdnotify", "container"]);
    assert_eq!(heard(&socket), format!("READY=1\nMAINPID={}\n", second.id()));
    w.dhow(["stop", "-t", "0", &name]).ok();
    first.wait().unwrap();
    second.wait().unwrap();
    assert!(begin(&["start", "--sdnotify", "ignore"]).wait().unwrap().success());
    assert!(!w.dhow(["logs", &name]).ok().out().contains("NOTIFY_SOCKET"));
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 8]).is_err());
    w.dhow(["rm", "-f", &name]).ok();
    w.dhow(["run", "--sdnotify", "x", "busybox"])
        .code(125)
        .err_has("use container, conmon or ignore");
    let run = ["run", "--rm", "busybox", "true"];
    let none = w.dhow_cmd(run).env("NOTIFY_SOCKET", w.path("none")).run().code(125);
    none.err_has("NOTIFY_SOCKET");
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
    let call = ["system", "generate", "--new", "--after", "a.service", "--env", "A=b c", &name];
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
    assert_eq!(lines(&unit, "Environment"), ["\"A=b c\""]);
    let after = format!("a.service container-{other}.service");
    assert_eq!(lines(&unit, "After"), ["network-online.target dhow.service", &after]);
    let files = ["system", "generate", "--files", "--name", "--user", "--no-header", &other];
    let path = w.dhow(files).ok().out().trim().to_owned();
    assert_eq!(path, w.path(format!("container-{other}.service")).display().to_string());
    let unit = fs::read_to_string(&path).unwrap();
    let start = format!("{dhow} start --attach --sdnotify=conmon {other}");
    assert_eq!(lines(&unit, "ExecStart"), [start]);
    assert_eq!(lines(&unit, "WantedBy"), ["default.target"]);
    assert!(unit.starts_with("[Unit]\n") && lines(&unit, "After").is_empty(), "{unit}");
    w.dhow(["system", "generate", "--after", "x y", &other]).code(1).err_has("no name of a unit");
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
