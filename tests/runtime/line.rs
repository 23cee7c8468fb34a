//! The command line: crun's extras, logs, and how wrong usage ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use e2e::{World, needs};

use super::lifecycle::create;

#[test]
fn another_config_file_than_the_bundle_s() {
    let w = World::new();
    let b = w.bundle("b", &["echo", "from the other"]);
    let other = w.path("other.json");
    fs::rename(b.dir().join("config.json"), &other).unwrap();
    w.runtime(["run", "-b", b.path(), b.id()]).refused().err_has("config.json");
    let done = w.runtime(["run", "--config", other.to_str().unwrap(), "-b", b.path(), b.id()]);
    done.ok().out_is("from the other");
    // As crun: a relative one is looked for where the caller is.
    w.runtime(["run", b.id(), "-f", "other.json", "-b", b.path()]).ok().out_is("from the other");
}

#[test]
fn what_is_in_the_root_is_not_swept_away() {
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    w.runtime(["run", "-b", b.path(), b.id()]).ok();
    // XDG base directories: the sticky bit says so.
    let mode = fs::metadata(w.runtime_root()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o1700);
}

#[test]
fn spec_under_another_name() {
    let w = World::new();
    let dir = w.path("");
    w.runtime(["spec", "-f", "other.json", "-b", dir.to_str().unwrap()]).ok();
    let text = fs::read_to_string(w.path("other.json")).unwrap();
    assert!(text.contains("\"ociVersion\"") && !w.path("config.json").exists());
}

#[test]
fn kill_and_delete_by_regular_expression() {
    let w = World::new();
    let bundles = ["one", "two", "three"].map(|name| w.bundle(name, &["sleep", "1000"]));
    for b in &bundles {
        create(&w, b);
    }
    let [one, two, three] = &bundles;
    let ts = format!("^{}t(wo|hree)$", w.name());
    w.runtime(["kill", "--regex", &ts, "KILL"]).ok();
    super::lifecycle::wait_for(&w, two.id(), "stopped");
    super::lifecycle::wait_for(&w, three.id(), "stopped");
    let state = w.runtime(["state", one.id()]).ok().json();
    assert_eq!(state["status"], "created");
    w.runtime(["kill", "-r", &ts, "KILL"]).refused().err_has("container not running");
    w.runtime(["start", one.id()]).ok();
    // One that can't be deleted is told, and the others are deleted all the same.
    w.runtime(["delete", "-r", w.name()]).refused().err_has("is not stopped: running");
    assert_eq!(w.runtime(["list", "-q"]).ok().out(), one.id());
    w.runtime(["delete", "--regex", "("]).refused().err_has("invalid regular expression");
    w.runtime(["delete", "--regex", "--force", w.name()]).ok();
    w.runtime(["list", "-q"]).ok().out_is("");
}

/// What arrives at a socket of the host's while `args` run; the socket is ours, in a mount
/// namespace of its own.
fn arrives(w: &World, place: &str, args: &[&str]) -> String {
    let ours = w.path("socket");
    let socket = UnixDatagram::bind(&ours).unwrap();
    socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let (top, _) = place[1..].split_once('/').unwrap();
    let hide = format!(
        "mount -t tmpfs tmpfs /{top} && mkdir -p $(dirname {place}) && touch {place} && \
         mount --bind $0 {place} && exec \"$@\""
    );
    let inside = ["unshare", "-m", "sh", "-c", &hide, ours.to_str().unwrap()];
    w.runtime_cmd(args).under(inside).run().refused();
    let mut bytes = [0; 4096];
    let length = socket.recv(&mut bytes).unwrap();
    fs::remove_file(ours).unwrap();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

#[test]
fn logs_go_to_the_journal_and_to_syslog() {
    needs!(Root);
    let w = World::new();
    let id = w.id("nobody");
    let journal = "/run/systemd/journal/socket";
    let fields = arrives(&w, journal, &["--log", "journald:", "state", &id]);
    let message = format!("MESSAGE=container does not exist: {id}");
    let expected = ["PRIORITY=3", "SYSLOG_IDENTIFIER=dhow-runtime", &format!("ID={id}"), &message];
    assert_eq!(fields.lines().collect::<Vec<_>>(), expected);
    let fields = arrives(&w, journal, &["--log=journald:me", "state", &id]);
    assert!(fields.contains("SYSLOG_IDENTIFIER=me\n"), "{fields}");
    let line = arrives(&w, "/dev/log", &["--log", "syslog:me", "state", &id]);
    assert!(line.starts_with("<11>me["), "{line}");
    assert!(line.ends_with(&format!("]: container does not exist: {id}")), "{line}");
}

#[test]
fn log_lines_are_logrus_s_and_the_error_is_on_standard_error_too() {
    let w = World::new();
    let (id, log) = (w.id("nobody"), w.path("log"));
    let log = log.to_str().unwrap();
    let done = w.runtime(["--log", log, "state", &id]).code(1);
    assert_eq!(done.err(), format!("container does not exist: {id}"));
    let text = fs::read_to_string(log).unwrap();
    let (time, rest) = text.split_once(' ').unwrap();
    assert!(time.starts_with("time=\"20") && time.ends_with("Z\""), "{text}");
    assert_eq!(rest, format!("level=error msg=\"container does not exist: {id}\"\n"));
    // Without a file, standard error has the line alone.
    let done = w.runtime(["--log-format=json", "state", &id]).code(1);
    let line = done.err();
    assert!(
        line.starts_with("{\"level\":\"error\",\"msg\":\"container does not exist: "),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1, "{line}");
    w.runtime(["--log", "/no/such/dir/log", "list"])
        .code(1)
        .err_has("open /no/such/dir/log: no such");
}

#[test]
fn wrong_usage_ends_with_1_and_is_logged() {
    let w = World::new();
    let log = w.path("log.json");
    let flags = ["--log", log.to_str().unwrap(), "--log-format", "json"];
    for (args, words) in [
        (&["create"][..], "requires exactly 1 argument(s)"),
        (&["run", "--no-such", "c"], "flag provided but not defined: --no-such"),
        (&["state", "a", "b"], "requires exactly 1 argument(s)"),
        (&["exec"], "requires a minimum of 1 argument(s)"),
        (&["list", "--quiet=perhaps"], "parse error"),
        (&["no-such-verb"], "no-such-verb"),
    ] {
        w.runtime(flags.iter().chain(args)).refused().code(1).err_has(words);
        let text = fs::read_to_string(&log).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert!(line["msg"].as_str().unwrap().contains(words), "{line}");
    }
}

#[test]
fn help_is_on_standard_output_and_no_failure() {
    let w = World::new();
    for args in [&["--help"][..], &["help"], &["run", "--help"], &["help", "exec"], &["list", "-h"]]
    {
        let done = w.runtime(args).ok();
        assert!(done.out().contains("USAGE:\n   dhow-runtime") && done.err().is_empty(), "{done}");
    }
}

#[test]
fn version_is_what_docker_and_containerd_parse() {
    let w = World::new();
    for flag in ["--version", "-v", "-V"] {
        let lines = w.runtime([flag]).ok().lines();
        assert_eq!(lines[0], format!("dhow-runtime version {}", env!("CARGO_PKG_VERSION")));
        assert!(lines.contains(&"spec: 1.3.0".to_owned()));
        // As crun: what is there.
        let abilities = lines.last().unwrap();
        for ability in ["+SYSTEMD", "+SECCOMP", "+CRIU"] {
            assert!(abilities.contains(ability), "{abilities}");
        }
    }
}

/// What installs it in runc's place looks for runc's name; who wants to know reads what it is.
#[test]
fn under_another_name_it_tells_that_name_and_what_it_is() {
    let w = World::new();
    let called = w.path("runc");
    std::os::unix::fs::symlink(e2e::program("dhow-runtime"), &called).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let lines = w.cmd(&called).arg("--version").run().ok().lines();
    assert_eq!(lines[0], format!("runc version {version}"));
    assert!(lines.contains(&format!("program: dhow-runtime {version}")), "{lines:?}");
}

/// As runc's: engines and scripts look for them.
#[test]
fn a_failure_to_run_says_whose_command_failed() {
    let w = World::new();
    let b = w.bundle("b", &["/no/such"]);
    let words = "unable to start container process: ";
    let init = format!("{words}error during container init: exec: \"/no/such\": ");
    let log = w.path("log");
    let flags = ["--log", log.to_str().unwrap(), "--log-format=json"];
    for verb in ["create", "run"] {
        let done = w.runtime(flags.into_iter().chain([verb, "-b", b.path(), b.id()])).code(1);
        assert!(done.err().starts_with(&format!("dhow-runtime {verb} failed: {init}")), "{done}");
        let told = fs::read_to_string(&log).unwrap();
        let line: serde_json::Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
        assert_eq!(line["msg"], done.err());
    }
    let done = w.runtime(flags.into_iter().chain(["exec", "nobody", "true"])).code(255);
    assert_eq!(done.err(), "exec failed: container does not exist: nobody");
    let done = w.runtime(flags.into_iter().chain(["run", "nobody", "-b", "/no/such"])).code(1);
    assert!(done.err().starts_with("dhow-runtime run failed: "), "{done}");
}

/// As runc, whose init says it by itself: a line of its own, and the code of such an init.
#[test]
fn a_program_that_can_not_be_executed_is_told_in_a_bare_line() {
    let w = World::new();
    let b = w.bundle("b", &["/script"]);
    fs::write(b.rootfs("script"), "#!/no/such\n").unwrap();
    fs::set_permissions(b.rootfs("script"), fs::Permissions::from_mode(0o755)).unwrap();
    let done = w.runtime(["run", "-b", b.path(), b.id()]).code(255);
    assert_eq!(done.err(), "exec /script: no such file or directory");
    let log = w.path("log");
    let flags = ["--log", log.to_str().unwrap()];
    let done = w.runtime(flags.into_iter().chain(["run", "-b", b.path(), b.id()])).code(255);
    assert_eq!(done.err(), "exec /script: no such file or directory");
    assert!(fs::read_to_string(&log).unwrap().contains("exec /script: no such file"));
}

/// Those who look into a failing start look for these words.
#[test]
fn debug_lines_say_how_far_it_got() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "60"]);
    let log = w.path("log");
    // What is created keeps the streams: they are to be nobody's who waits for their end.
    let quiet = ["sh", "-c", "exec \"$@\" >/dev/null 2>&1 </dev/null", "sh"];
    let logged = |args: &[&str]| {
        let all = ["--debug", "--log", log.to_str().unwrap()];
        let all = all.iter().chain(args);
        w.runtime_cmd(all).under(quiet).run().ok();
        let text = fs::read_to_string(&log).unwrap();
        fs::remove_file(&log).unwrap();
        text
    };
    let text = logged(&["create", "-b", b.path(), b.id()]);
    for words in ["nsexec container setup", "child process in init()", "to signal completion"] {
        assert!(text.contains(words), "{text}");
    }
    w.runtime(["start", b.id()]).ok();
    let text = logged(&["exec", b.id(), "true"]);
    for words in ["nsexec container setup", "child process in init()", "setns_init: about to exec"]
    {
        assert!(text.contains(words), "{text}");
    }
    w.runtime(["delete", "--force", b.id()]).ok();
}

/// SPEC: config.md §Linux process: a value that can't be mapped is logged as a warning.
#[test]
fn bug_a_capability_that_nobody_knows_was_an_error() {
    let w = World::new();
    let b = w.bundle("b", &["echo", "runs"]);
    let b = b.and("/process/capabilities/bounding", "CAP_TO_BE".into());
    let done = w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("runs");
    done.err_has("level=warning").err_has("capabilities: [CAP_TO_BE]");
}

#[test]
fn without_a_cgroup_manager_a_container_stays_in_its_caller_s_groups() {
    needs!(Cgroupfs, Root);
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "cat /proc/self/cgroup; sleep 1000"]);
    let b = b.with(
        "/linux/resources",
        serde_json::json!({"devices": [{"allow": false, "access": "rwm"}]}),
    );
    let kinds =
        ["mount", "pid", "uts", "ipc", "network"].map(|kind| serde_json::json!({"type": kind}));
    let b = b.with("/linux/namespaces", kinds.to_vec().into());
    let flags = ["--cgroup-manager=disabled", "run", "-d", "-b", b.path(), b.id()];
    let out = w.path("out");
    let quiet = ["sh", "-c", "out=$0; exec \"$@\" >$out 2>&1 </dev/null", out.to_str().unwrap()];
    w.runtime_cmd(flags).under(quiet).run().ok();
    let ours = fs::read_to_string("/proc/self/cgroup").unwrap();
    let theirs = || fs::read_to_string(&out).unwrap();
    e2e::until("it has said where it is", || theirs().lines().count() == ours.lines().count());
    assert_eq!(theirs(), ours);
    w.runtime(["exec", b.id(), "true"]).ok();
    w.runtime(["pause", b.id()]).refused().err_has("no freezer cgroup");
    w.runtime(["kill", "--all", b.id(), "KILL"]).ok();
    super::lifecycle::wait_for(&w, b.id(), "stopped");
    w.runtime(["kill", "--all", b.id(), "KILL"]).ok();
    w.runtime(["delete", b.id()]).ok();
    let b = b.with("/linux/resources/pids", serde_json::json!({"limit": 5}));
    let run = w.runtime(["--cgroup-manager=disabled", "run", "-b", b.path(), b.id()]).refused();
    run.err_has("/linux/resources/pids/limit: needs a cgroup");
}
