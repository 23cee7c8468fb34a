//! `checkpoint` and `restore`, by a real criu.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use e2e::bundle::Bundle;
use e2e::{Cmd, Done, Pty, World, needs, workspace};
use serde_json::json;

/// PATH with a criu that works here.
pub fn path() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        // A guest has one of its own.
        if e2e::place::mode().is_guest() {
            return std::env::var("PATH").unwrap();
        }
        let done = Cmd::new(workspace().join("tests/criu.sh")).limit(300).run().ok();
        let rest = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        format!("{}:{rest}", done.out().trim())
    })
}

fn cmd(w: &World, args: &[&str]) -> Cmd {
    w.runtime_cmd(args).env("PATH", path())
}

/// Starts it detached, with nothing to read or write.
pub fn start(w: &World, b: &Bundle) {
    let quiet = ["sh", "-c", "exec \"$@\" >/dev/null 2>&1 </dev/null", "sh"];
    w.runtime_cmd(["run", "-d", "-b", b.path(), b.id()]).under(quiet).run().ok();
}

fn images(w: &World) -> String {
    w.path("images").to_str().unwrap().to_owned()
}

fn checkpoint(w: &World, b: &Bundle, flags: &[&str]) -> Done {
    let images = images(w);
    let args = [&["checkpoint", "--image-path", &images], flags, &[b.id()]].concat();
    cmd(w, &args).run()
}

fn restore(w: &World, b: &Bundle, flags: &[&str]) -> Done {
    let images = images(w);
    let bundle = ["restore", "-d", "--image-path", &images, "-b", b.path()];
    cmd(w, &[&bundle, flags, &[b.id()]].concat()).run()
}

fn state(w: &World, b: &Bundle) -> serde_json::Value {
    serde_json::from_str(&w.runtime(["state", b.id()]).ok().out()).unwrap()
}

fn delete(w: &World, b: &Bundle) {
    w.runtime(["delete", "--force", b.id()]).ok();
}

/// Waits until a file's text is as wanted, and answers it.
fn until(file: &Path, wanted: impl Fn(&str) -> bool) -> String {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        if wanted(&text) {
            return text;
        }
        assert!(Instant::now() < end, "{}: {text:?}", file.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The last number of a file that a container appends to.
fn last(text: &str) -> u32 {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().last().and_then(|line| line.parse().ok()).unwrap_or(0)
}

/// Counts into an open file, by way of a pipe.
const COUNT: &str = "exec >/count; i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done \
                     | while read n; do echo $n; done";

#[test]
fn a_restored_container_goes_on_where_it_stopped() {
    needs!(FullKernel);
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", COUNT]);
    let file = b.rootfs("count");
    start(&w, &b);
    until(&file, |text| last(text) > 3);
    let before = state(&w, &b);
    checkpoint(&w, &b, &[]).ok();
    w.runtime(["state", b.id()]).code(1).err_has("does not exist");
    let saved = last(&fs::read_to_string(&file).unwrap());
    let secret = fs::metadata(w.path("images")).unwrap().permissions().mode() & 0o777;
    assert_eq!(secret, 0o700);

    let pid = w.path("pid");
    restore(&w, &b, &["--pid-file", pid.to_str().unwrap()]).ok();
    let after = state(&w, &b);
    assert_eq!(after["status"], "running");
    assert_eq!(fs::read_to_string(pid).unwrap(), after["pid"].to_string());
    assert!(after["created"].as_str() > before["created"].as_str());
    let text = until(&file, |text| last(text) > saved + 3);
    let numbers: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|two| two[1] == two[0] + 1), "no number lost: {text}");

    w.runtime(["exec", b.id(), "hostname"]).ok().out_is("box");
    w.runtime(["kill", b.id(), "KILL"]).ok();
    until(Path::new("/proc").join(after["pid"].to_string()).join("stat").as_path(), |text| {
        text.is_empty() || text.contains(") Z ")
    });
    w.runtime(["delete", b.id()]).ok();
}

#[test]
fn a_container_can_be_saved_again_and_again() {
    needs!(FullKernel);
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", COUNT]);
    start(&w, &b);
    let mut execed: Option<String> = None;
    for _ in 0..2 {
        checkpoint(&w, &b, &["--manage-cgroups-mode", "ignore"]).ok();
        restore(&w, &b, &["--manage-cgroups-mode", "ignore"]).ok();
        if let Some(pid) = execed {
            w.runtime(["exec", b.id(), "ls", "-d", &format!("/proc/{pid}")]).ok();
        }
        let background = "sleep 1000 </dev/null >/dev/null 2>&1 & echo $!";
        execed = Some(w.runtime(["exec", b.id(), "sh", "-c", background]).ok().out());
    }
    delete(&w, &b);
}

#[test]
fn left_running_it_runs_on_and_can_be_restored_beside() {
    needs!(FullKernel);
    let w = World::new();
    // No file is open as it counts: one that has changed since isn't opened again.
    let script = "mkdir /n; i=0; while :; do i=$((i+1)); mkdir /n/$i; sleep 0.05; done";
    let b = w.bundle("b", &["sh", "-c", script]);
    let count = || fs::read_dir(b.rootfs("n")).map_or(0, Iterator::count);
    start(&w, &b);
    e2e::until("it counts", || count() > 0);
    let pid = state(&w, &b)["pid"].clone();
    checkpoint(&w, &b, &["--leave-running"]).ok();
    assert_eq!(state(&w, &b)["pid"], pid);
    let then = count();
    e2e::until("it goes on", || count() > then + 2);
    restore(&w, &b, &[]).code(1).err_has("already exists");
    delete(&w, &b);
    restore(&w, &b, &[]).ok();
    delete(&w, &b);
}

#[test]
fn standard_pipes_are_the_restorer_s() {
    needs!(FullKernel);
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "while read line; do echo got $line; done; echo end >&2"]);
    let run = |args: &[&str]| {
        let mut command = cmd(&w, args).command();
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        assert!(child.wait().unwrap().success());
        (pipes.0.unwrap(), pipes.1.unwrap(), pipes.2.unwrap())
    };
    let _first = run(&["run", "-d", "-b", b.path(), b.id()]);
    checkpoint(&w, &b, &[]).ok();
    let images = images(&w);
    let (mut input, mut output, mut error) =
        run(&["restore", "-d", "--image-path", &images, "-b", b.path(), b.id()]);
    input.write_all(b"it\n").unwrap();
    drop(input);
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(text, "got it\n");
    text.clear();
    error.read_to_string(&mut text).unwrap();
    assert_eq!(text, "end\n");
    delete(&w, &b);
}

#[test]
fn a_connection_inside_goes_on() {
    needs!(FullKernel);
    let w = World::new();
    // Port 7000, in hexadecimal, is listened at.
    let server = "nc -l -p 7000 -e cat & until grep -q ':1B58 ' /proc/net/tcp*; do sleep 0.05; done; \
        (i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done) | nc 127.0.0.1 7000 >/echo";
    let b = w.bundle("b", &["sh", "-c", server]);
    let file = b.rootfs("echo");
    start(&w, &b);
    until(&file, |text| last(text) > 3);
    checkpoint(&w, &b, &[]).code(1).err_has("dump.log");
    assert_eq!(state(&w, &b)["status"], "running");
    checkpoint(&w, &b, &["--tcp-established", "--network-lock", "skip"]).ok();
    let then = last(&fs::read_to_string(&file).unwrap());
    restore(&w, &b, &["--tcp-established", "--network-lock", "skip"]).ok();
    until(&file, |text| last(text) > then + 3);
    delete(&w, &b);
}

#[test]
fn binds_are_bound_again_from_where_config_json_says() {
    needs!(FullKernel);
    let w = World::new();
    for dir in ["one", "two", "deep/sub", "other"] {
        fs::create_dir_all(w.path(dir)).unwrap();
    }
    fs::write(w.path("other/name"), "other").unwrap();
    fs::write(w.path("file"), "first").unwrap();
    let at = |name: &str| w.path(name).to_str().unwrap().to_owned();
    let bind = |from: &str, to: &str, how: &str| json!({"destination": to, "type": "bind", "source": at(from), "options": [how]});
    w.cmd("mount").args(["--bind", &at("other"), &at("deep/sub")]).run().ok();
    let b = w.bundle("b", &["sleep", "1000"]);
    fs::create_dir_all(b.rootfs("real/conf")).unwrap();
    symlink("/real/conf", b.rootfs("conf")).unwrap();
    let b = b.and("/mounts", bind("one", "/test", "bind"));
    let b = b.and("/mounts", bind("two", "/test/for/nested", "bind"));
    let b = b.and("/mounts", bind("other", "/conf", "bind"));
    let b = b.and("/mounts", bind("deep", "/deep", "rbind"));
    let b = b.and("/mounts", bind("file", "/file", "bind"));
    start(&w, &b);
    checkpoint(&w, &b, &[]).ok();
    // Made by create, and to be made again.
    fs::remove_dir_all(w.path("one")).unwrap();
    fs::create_dir(w.path("one")).unwrap();
    fs::remove_file(b.rootfs("file")).unwrap();
    fs::write(w.path("two/here"), "two").unwrap();
    restore(&w, &b, &[]).ok();
    let look = "cat /test/for/nested/here /conf/name /deep/sub/name /file";
    w.runtime(["exec", b.id(), "sh", "-c", look]).ok().out_is("twootherotherfirst");
    w.runtime(["exec", b.id(), "cat", "/proc/keys"]).ok().out_is("");
    delete(&w, &b);
    w.cmd("umount").arg(at("deep/sub")).run().ok();
}

#[test]
fn hooks_of_the_runtime_run_before_a_restored_process() {
    needs!(FullKernel);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let log = w.path("hooks");
    let hook = |name: &str| {
        let script = format!("(echo {name}; cat; echo) >>{}", log.display());
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
    };
    let all = json!({"createRuntime": hook("createRuntime"), "poststop": hook("poststop"),
        "startContainer": hook("startContainer")});
    start(&w, &b);
    checkpoint(&w, &b, &[]).ok();
    let b = b.with("/hooks", all);
    restore(&w, &b, &[]).ok();
    let text = fs::read_to_string(&log).unwrap();
    let (name, told) = text.split_once('\n').unwrap();
    let told: serde_json::Value = serde_json::from_str(told).unwrap();
    assert_eq!((name, &told["pid"]), ("createRuntime", &state(&w, &b)["pid"]));
    assert_eq!(told["status"], "created", "as for a hook of create");
    delete(&w, &b);
    let b = b.with("/hooks/createRuntime/0/args/2", "exit 3".into());
    restore(&w, &b, &[]).code(1).err_has("createRuntime hook").err_has("3");
    w.runtime(["state", b.id()]).code(1);
}

#[test]
fn what_cannot_be_saved_is_said() {
    needs!(FullKernel);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    crate::runtime::lifecycle::create(&w, &b);
    checkpoint(&w, &b, &[]).code(1).err_has("cannot be checkpointed in created state");
    w.runtime(["start", b.id()]).ok();
    let nowhere = w.runtime_cmd(["checkpoint", b.id()]).env("PATH", "/nowhere").run();
    nowhere.code(1).err_has("install criu");
    for parent in ["/tmp", "../missing"] {
        checkpoint(&w, &b, &["--parent-path", parent]).code(1).err_has("--parent-path");
    }
    for (flag, value, why) in [
        ("--page-server", "here", "ADDRESS:PORT"),
        ("--manage-cgroups-mode", "most", "soft, full, strict"),
        ("--empty-ns", "pid", "not supported"),
        ("--status-fd", "77", "not open"),
    ] {
        checkpoint(&w, &b, &[flag, value]).code(1).err_has(why);
    }
    let nowhere = ["restore", "--image-path", "/nowhere", "-b", b.path(), "other"];
    cmd(&w, &nowhere).run().code(1).err_has("/nowhere");
    restore(&w, &b, &[]).code(1).err_has("descriptors.json");
    delete(&w, &b);
    cmd(&w, &["checkpoint", "--help"]).run().ok().out_has("--tcp-established");
    cmd(&w, &["restore", "--help"]).run().ok().out_has("--lsm-profile");
}

#[test]
fn a_foreign_checkpoint_decides_nothing_on_the_host() {
    needs!(FullKernel);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    start(&w, &b);
    checkpoint(&w, &b, &["--work-path", w.path("work").to_str().unwrap()]).ok();
    let victim = w.path("victim");
    fs::write(&victim, "precious").unwrap();
    let images = w.path("images");

    let other = w.bundle("other", &["sleep", "1000"]);
    start(&w, &other);
    symlink(&victim, images.join("dump.log")).unwrap();
    checkpoint(&w, &other, &[]).code(1).err_has("dump.log").err_has("is a link");
    fs::remove_file(images.join("dump.log")).unwrap();
    delete(&w, &other);
    symlink(&victim, images.join("restore.log")).unwrap();
    restore(&w, &b, &[]).code(1).err_has("restore.log");
    fs::remove_file(images.join("restore.log")).unwrap();
    fs::hard_link(&victim, images.join("stats-restore")).unwrap();
    restore(&w, &b, &[]).code(1).err_has("stats-restore");
    fs::remove_file(images.join("stats-restore")).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");

    let descriptors = images.join("descriptors.json");
    let good = fs::read(&descriptors).unwrap();
    for text in [r#"["a","b","c","pipe:[1]"]"#, "{}", &"[".repeat(1 << 20)] {
        fs::write(&descriptors, text).unwrap();
        restore(&w, &b, &[]).code(1).err_has("descriptors.json");
    }
    fs::remove_file(&descriptors).unwrap();
    nix::unistd::mkfifo(&descriptors, nix::sys::stat::Mode::S_IRWXU).unwrap();
    restore(&w, &b, &[]).code(1).err_has("descriptors.json");
    fs::remove_file(&descriptors).unwrap();
    fs::write(&descriptors, good).unwrap();

    // A root that leads out of itself: the mount point is made inside.
    let b = b.and(
        "/mounts",
        json!({"destination": "/out/made", "type": "bind",
        "source": w.path("work").to_str().unwrap(), "options": ["bind"]}),
    );
    let outside = w.path("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, b.rootfs("out")).unwrap();
    restore(&w, &b, &[]).ok();
    assert!(!outside.join("made").exists());
    assert!(b.rootfs(outside.join("made").strip_prefix("/").unwrap().to_str().unwrap()).is_dir());
    delete(&w, &b);
}

#[test]
fn it_is_restored_into_the_groups_config_json_names_now() {
    needs!(FullKernel);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    start(&w, &b);
    checkpoint(&w, &b, &["--manage-cgroups-mode", "ignore"]).ok();
    let elsewhere = w.id("elsewhere");
    let b = b.with("/linux/cgroupsPath", format!("/{elsewhere}").into());
    let b = b.with("/linux/resources/pids", json!({"limit": 44}));
    restore(&w, &b, &["--manage-cgroups-mode", "ignore"]).ok();
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", state(&w, &b)["pid"])).unwrap();
    assert!(groups.lines().all(|line| line.ends_with(&format!(":/{elsewhere}"))), "{groups}");
    let events: serde_json::Value =
        serde_json::from_str(&w.runtime(["events", "--stats", b.id()]).ok().out()).unwrap();
    assert_eq!(events["data"]["pids"]["limit"], 44);
    delete(&w, &b);
}

/// Starts or restores with a console socket; the terminal's master comes back.
fn with_console(w: &World, args: &[&str]) -> fs::File {
    let socket = w.path("console");
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    let verb = [args, &["--console-socket", socket.to_str().unwrap()]].concat();
    let quiet = ["sh", "-c", "exec \"$@\" >/dev/null </dev/null", "sh"];
    let id = w.id("b");
    cmd(w, &verb).arg(id).under(quiet).run().ok();
    let (stream, _) = listener.accept().unwrap();
    let mut name = [0; 64];
    let (_, mut sent) = dhow_kernel::rights::receive(stream.as_fd(), &mut name).unwrap();
    fs::File::from(sent.remove(0))
}

fn expect(master: &mut fs::File, part: &str) {
    let (mut text, mut bytes) = (String::new(), [0; 256]);
    while !text.contains(part) {
        let n = master.read(&mut bytes).unwrap();
        text += &String::from_utf8_lossy(&bytes[..n]);
    }
}

#[test]
fn a_terminal_is_given_to_whoever_restores() {
    needs!(FullKernel);
    let w = World::new();
    let b = w.bundle("b", &["sh"]).with("/process/terminal", true.into());
    let mut master = with_console(&w, &["run", "-d", "-b", b.path()]);
    master.write_all(b"x=kept\n").unwrap();
    expect(&mut master, "x=kept");
    checkpoint(&w, &b, &[]).ok();
    let images = images(&w);
    let mut master = with_console(&w, &["restore", "-d", "--image-path", &images, "-b", b.path()]);
    master.write_all(b"echo [$x] $(tty)\n").unwrap();
    expect(&mut master, "[kept] /dev/pts/0");
    checkpoint(&w, &b, &[]).ok();

    let back = ["restore", "--image-path", &images, "-b", b.path(), b.id()];
    let mut t = Pty::start(cmd(&w, &back));
    t.send("echo [$x] again\n");
    t.expect("[kept] again");
    t.send("exit 5\n");
    assert_eq!(t.wait(), 5);
    w.runtime(["state", b.id()]).code(1);
}

#[test]
fn a_restore_that_stays_ends_as_the_container_does() {
    needs!(FullKernel);
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.05; done"]);
    start(&w, &b);
    checkpoint(&w, &b, &[]).ok();
    let images = images(&w);
    let args = ["restore", "--no-pivot", "--image-path", &images, "-b", b.path(), b.id()];
    let child = cmd(&w, &args).start();
    let running = || w.runtime_cmd(["state", b.id()]).run().out().contains("running");
    e2e::until("it is restored", running);
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(9), "{}", String::from_utf8_lossy(&ended.stderr));
    w.runtime(["state", b.id()]).code(1);
}

#[test]
fn bug_who_looked_right_after_a_checkpoint_found_the_process_still_there() {
    needs!(FullKernel);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let mut run = w.runtime_cmd(["run", "-b", b.path(), b.id()]).start();
    e2e::until("it runs", || w.runtime(["state", b.id()]).out().contains("running"));
    let first = format!("/proc/{}", state(&w, &b)["pid"]);
    let signal = |signal| {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(run.id() as i32), signal).unwrap();
    };
    // Its parent collects it, but not yet.
    signal(nix::sys::signal::SIGSTOP);
    let images = images(&w);
    let mut saving = cmd(&w, &["checkpoint", "--image-path", &images, b.id()]).start();
    e2e::until("it has ended", || {
        fs::read_to_string(format!("{first}/stat")).unwrap().contains(") Z ")
    });
    std::thread::sleep(Duration::from_millis(150));
    assert!(saving.try_wait().unwrap().is_none());
    signal(nix::sys::signal::SIGCONT);
    assert!(saving.wait().unwrap().success());
    assert!(!fs::exists(first).unwrap());
    run.wait().unwrap();
}

#[test]
fn a_network_namespace_by_path_is_the_same_after_a_restore() {
    needs!(FullKernel);
    let w = World::new();
    let place = w.path("netns");
    fs::write(&place, "").unwrap();
    let place = place.to_str().unwrap();
    let bind = format!("mount --bind /proc/self/ns/net {place}");
    w.cmd("unshare").args(["--net", "sh", "-c", &bind]).run().ok();
    let b = w.bundle("b", &["sleep", "1000"]);
    let b = b.with("/linux/namespaces/1", json!({"type": "network", "path": place}));
    let inode = |b: &Bundle| {
        let pid = state(&w, b)["pid"].clone();
        fs::read_link(format!("/proc/{pid}/ns/net")).unwrap()
    };
    start(&w, &b);
    let before = inode(&b);
    checkpoint(&w, &b, &[]).ok();
    restore(&w, &b, &[]).ok();
    assert_eq!(inode(&b), before);
    delete(&w, &b);
    w.cmd("umount").arg(place).run().ok();
    restore(&w, &b, &[]).code(1);
}

/// What images hold is stood for by a container that was given more than it is restored with.
#[test]
fn a_checkpoint_gives_nothing_that_config_json_does_not() {
    needs!(FullKernel);
    let spaces = |kinds: &[&str]| kinds.iter().map(|kind| json!({"type": kind})).collect();
    let cases: [(&str, serde_json::Value, serde_json::Value, &str); 6] = [
        (
            "/process/capabilities/bounding",
            json!(["CAP_KILL", "CAP_NET_ADMIN"]),
            json!(["CAP_KILL"]),
            "CAP_NET_ADMIN",
        ),
        ("/linux/maskedPaths", json!([]), json!(["/proc/keys"]), "sees /proc/keys"),
        ("/linux/readonlyPaths", json!([]), json!(["/proc/sys"]), "can write to /proc/sys"),
        ("/root/readonly", json!(false), json!(true), "can write to its root"),
        (
            "/linux/seccomp",
            json!(null),
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["sync"], "action": "SCMP_ACT_ERRNO"}]}),
            "no filter of system calls",
        ),
        (
            "/linux/namespaces",
            spaces(&["mount", "pid"]),
            spaces(&["mount", "pid", "ipc"]),
            "ipc namespace",
        ),
    ];
    for (n, (pointer, more, less, why)) in cases.into_iter().enumerate() {
        let w = World::new();
        let b = w.bundle(&n.to_string(), &["sleep", "1000"]);
        let both = json!(["CAP_KILL"]);
        let b = b.with("/hostname", "".into());
        let b = b.with("/process/capabilities/permitted", both.clone());
        let b = b.with("/process/capabilities/effective", both);
        let b = b.with(pointer, more);
        start(&w, &b);
        checkpoint(&w, &b, &[]).ok();
        let b = b.with(pointer, less);
        restore(&w, &b, &[]).code(1).err_has(why);
        w.runtime(["state", b.id()]).code(1);
    }
}

#[test]
fn bug_a_bind_source_with_a_dot_in_its_path_was_not_restored() {
    needs!(FullKernel);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    fs::create_dir(b.dir().join("here")).unwrap();
    fs::write(b.dir().join("here/name"), "here").unwrap();
    let bind = json!({"destination": "/here", "source": "./here", "options": ["bind"]});
    let b = b.and("/mounts", bind);
    // criu looks the source up where the host's mounts are shared, as systemd has them.
    let shared = |c: Cmd| c.under(["unshare", "--mount", "--propagation", "shared"]);
    let quiet = ["sh", "-c", "exec \"$@\" >/dev/null 2>&1 </dev/null", "sh"];
    shared(w.runtime_cmd(["run", "-d", "-b", b.path(), b.id()]).under(quiet)).run().ok();
    checkpoint(&w, &b, &[]).ok();
    let images = images(&w);
    let args = ["restore", "-d", "--image-path", &images, "-b", b.path(), b.id()];
    shared(cmd(&w, &args)).run().ok();
    w.runtime(["exec", b.id(), "cat", "/here/name"]).ok().out_is("here");
    delete(&w, &b);
}
