//! The flags of everyday use.

use std::fs;

use e2e::World;

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

/// `dhow run --rm FLAGS busybox sh -c SCRIPT`: what it prints.
#[track_caller]
fn say(w: &World, flags: &[&str], script: &str) -> String {
    let command = ["busybox", "sh", "-c", script];
    w.dhow(["run", "--rm"].iter().chain(flags).chain(&command)).ok().out()
}

#[test]
fn environment() {
    let w = world();
    fs::write(w.path("file"), "# a comment\nFROM_FILE=yes\n\nSHIPS\n").unwrap();
    let run = w.dhow_cmd([
        "run",
        "--rm",
        "-e",
        "A=1",
        "--env",
        "SHIPS",
        "-e",
        "GONE",
        "--env-file",
        "file",
        "busybox",
        "env",
    ]);
    let lines = run.env("SHIPS", "seven").without_env("GONE").run().ok().lines();
    for wanted in ["A=1", "SHIPS=seven", "FROM_FILE=yes", "HOME=/root"] {
        assert!(lines.iter().any(|l| l == wanted), "{wanted} is not in {lines:?}");
    }
    assert!(!lines.iter().any(|l| l.starts_with("GONE") || l.starts_with("DHOW")), "{lines:?}");
}

#[test]
fn workdir_user_hostname() {
    let w = world();
    assert_eq!(say(&w, &["-w", "/made/here"], "pwd"), "/made/here");
    assert_eq!(
        say(&w, &["-u", "mate"], "id -un; id -g; id -G; echo $HOME"),
        "mate\n1000\n1000 2000\n/home/mate"
    );
    assert_eq!(say(&w, &["-u", "12:34"], "id -u; id -g"), "12\n34");
    assert_eq!(say(&w, &["-h", "lamu"], "hostname; cat /etc/hostname"), "lamu\nlamu");
    w.dhow(["run", "--rm", "-u", "nobody-knows", "busybox", "true"])
        .code(125)
        .err_has("nobody-knows");
}

#[test]
fn entrypoint_and_command() {
    let w = world();
    w.pull("layers");
    w.dhow(["run", "--rm", "layers"]).ok().out_is("entry default words");
    w.dhow(["run", "--rm", "layers", "other"]).ok().out_is("entry other");
    w.dhow(["run", "--rm", "--entrypoint", "/bin/pwd", "layers"]).ok().out_is("/odd");
    w.dhow(["run", "--rm", "--entrypoint", "", "layers", "echo", "alone"]).ok().out_is("alone");
}

#[test]
fn volumes() {
    let w = world();
    fs::create_dir(w.path("host")).unwrap();
    fs::write(w.path("host/file"), "from the host\n").unwrap();
    let host = w.path("host");
    let both = format!("{}:/in", host.display());
    assert_eq!(say(&w, &["-v", &both], "cat /in/file; echo back >/in/new"), "from the host");
    assert_eq!(fs::read_to_string(w.path("host/new")).unwrap(), "back\n");
    let only = format!("{both}:ro");
    let said = say(&w, &["-v", &only], "touch /in/x 2>&1; echo $?");
    assert!(said.contains("Read-only file system"), "{said}");
    w.dhow(["run", "--rm", "-v", "relative/:bad:worse:still", "busybox", "true"]).code(125);
}

#[test]
fn read_only_and_tmpfs() {
    let w = world();
    let said = say(
        &w,
        &["--read-only", "--tmpfs", "/scratch:size=64k"],
        "touch /x 2>&1; echo ok >/scratch/y; cat /scratch/y; df -k /scratch | tail -1 | awk '{print $2}'",
    );
    assert!(said.contains("Read-only file system") && said.ends_with("ok\n64"), "{said}");
}

#[test]
fn limits() {
    let w = world();
    let name = w.id("l");
    let run =
        ["run", "-d", "--name", &name, "--memory", "64m", "--pids-limit", "20", "--cpus", "0.5"];
    let id = w.dhow(run.iter().chain(&["busybox", "sleep", "1000"])).ok().out();
    let groups = e2e::leaks::cgroups();
    let find = |file: &str| {
        let mut of = groups.iter().filter(|g| g.to_string_lossy().contains(&id));
        of.find_map(|g| fs::read_to_string(g.join(file)).ok()).map(|t| t.trim().to_owned())
    };
    let either = |old: &str, new: &str| find(old).or_else(|| find(new)).unwrap_or_default();
    assert_eq!(either("memory.limit_in_bytes", "memory.max"), "67108864");
    assert_eq!(either("pids.max", "pids.max"), "20");
    assert!(["50000", "50000 100000"].contains(&either("cpu.cfs_quota_us", "cpu.max").as_str()));
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn capabilities() {
    let w = world();
    let caps = |flags: &[&str]| say(&w, flags, "grep CapEff /proc/self/status | cut -f2");
    assert_eq!(caps(&[]), "00000000a80425fb");
    assert_eq!(caps(&["--cap-drop", "ALL"]), "0000000000000000");
    assert_eq!(caps(&["--cap-drop", "all", "--cap-add", "net_raw"]), "0000000000002000");
    assert_eq!(caps(&["--cap-add", "CAP_SYS_PTRACE"]), "00000000a80c25fb");
    w.dhow(["run", "--rm", "--cap-add", "FLY", "busybox", "true"]).code(125).err_has("FLY");
}

#[test]
fn seccomp_is_on_and_off_when_privileged() {
    let w = world();
    assert_eq!(say(&w, &[], "grep Seccomp: /proc/self/status"), "Seccomp:\t2");
    assert_eq!(say(&w, &["--privileged"], "grep Seccomp: /proc/self/status"), "Seccomp:\t0");
    let refused = w.dhow(["run", "--rm", "busybox", "unshare", "-m", "true"]);
    assert_ne!(refused.code, 0);
    w.dhow(["run", "--rm", "--privileged", "busybox", "unshare", "-m", "true"]).ok();
}

#[test]
fn networks_none_and_host() {
    let w = world();
    let links = "ls /sys/class/net | tr '\\n' ' '";
    assert_eq!(say(&w, &[], "readlink /proc/self/ns/net | wc -l"), "1");
    assert_eq!(say(&w, &["--network", "none"], links), "lo");
    let ours = fs::read_link("/proc/self/ns/net").unwrap();
    let host = say(&w, &["--network", "host"], "readlink /proc/self/ns/net");
    assert_eq!(host, ours.to_string_lossy());
    // daemon.json has no bridge: who says nothing is alone, who asks for it is told.
    let asked = ["run", "--rm", "--network", "bridge", "busybox", "true"];
    w.dhow(asked).code(125).err_has("network bridge not found: daemon.json says");
}

#[test]
fn labels_name_and_stop_signal_are_recorded() {
    let w = world();
    let name = w.id("n");
    let run = [
        "create",
        "--name",
        &name,
        "--label",
        "port=lamu",
        "-l",
        "empty",
        "--stop-signal",
        "SIGINT",
    ];
    let id = w.dhow(run.iter().chain(&["busybox", "true"])).ok().out();
    let it = w.dhow(["inspect", &name]).ok().json();
    assert_eq!(it[0]["Id"], id);
    assert_eq!(it[0]["Name"], format!("/{name}"));
    assert_eq!(it[0]["Config"]["Labels"]["port"], "lamu");
    assert_eq!(it[0]["Config"]["Labels"]["empty"], "");
    assert_eq!(it[0]["Config"]["StopSignal"], "SIGINT");
    w.dhow(["create", "--name", &name, "busybox", "true"]).code(1).err_has(&name);
    w.dhow(["rm", &name]).ok().out_is(&name);
}

#[test]
fn containers_do_not_see_each_other_nor_change_the_image() {
    let w = world();
    assert_eq!(say(&w, &[], "echo mine >/etc/hostname; rm /bin/ls; cat /etc/hostname"), "mine");
    assert_eq!(say(&w, &[], "ls /etc/passwd"), "/etc/passwd");
}
