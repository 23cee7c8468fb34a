//! dhow as an ordinary user: with ranges of ids, and with one id and no helper programs.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use e2e::{Ordinary, Registry, Wires, World, needs};

/// Images come from the registry, as anybody's; in a guest from an archive.
fn pull(user: &Ordinary<'_>, name: &str) {
    if e2e::mode().is_guest() {
        let archive = e2e::fixtures::archives().join(format!("{name}.tar"));
        return drop(
            user.dhow(["load".as_ref(), "-q".as_ref(), "-i".as_ref(), archive.as_os_str()]).ok(),
        );
    }
    let full = Registry::open().name(&format!("{name}:latest"));
    user.dhow(["pull", "-q", &full]).ok();
    user.dhow(["tag", &full, name]).ok();
}

/// Somebody with ranges of ids, or with one id, and with an image.
fn with_busybox(w: &World, ranges: bool) -> Ordinary<'_> {
    let user = Ordinary::new(w, ranges);
    pull(&user, "busybox");
    user
}

#[test]
fn a_user_with_ranges_pulls_runs_looks_and_removes() {
    needs!(Root);
    let w = World::new();
    let user = with_busybox(&w, true);
    let script = "id -u; touch /x && chown 33:34 /x && stat -c %u:%g /x; cat /proc/self/uid_map";
    let done = user.dhow(["run", "--rm", "--network", "none", "busybox", "sh", "-c", script]).ok();
    let words: Vec<String> = done.out().split_whitespace().map(str::to_owned).collect();
    let (uid, first) = (user.uid().to_string(), user.first().to_string());
    assert_eq!(words, ["0", "33:34", "0", &uid, "1", "1", &first, "65536"]);
    // Another user inside is one of the range.
    let run = ["run", "--rm", "--network", "none", "--user", "7:8", "busybox", "id"];
    user.dhow(run).ok().out_has("uid=7 gid=8");
    let run = ["run", "-d", "--name", "one", "busybox", "sh", "-c", "echo up; exec sleep 600"];
    user.dhow(run).ok();
    user.dhow(["ps", "--format", "{{.Names}} {{.State}}"]).ok().out_is("one running");
    user.dhow(["exec", "one", "cat", "/proc/1/comm"]).ok().out_is("sleep");
    user.dhow(["logs", "one"]).ok().out_is("up");
    user.dhow(["stop", "-t", "0", "one"]).ok();
    user.dhow(["start", "one"]).ok();
    user.dhow(["rm", "-f", "one"]).ok();
    user.dhow(["ps", "-aq"]).ok().out_is("");
    // All of it is the user's, and where the XDG specification has it.
    assert_eq!(fs::metadata(user.root().join("images")).unwrap().uid(), user.uid());
    assert_eq!(fs::metadata(user.run_dir()).unwrap().uid(), user.uid());
    let names = user.dhow(["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok().lines();
    user.dhow(["rmi", "-f"].into_iter().chain(names.iter().map(String::as_str))).ok();
    assert_eq!(fs::read_dir(user.root().join("layers")).unwrap().count(), 0);
}

#[test]
fn commands_share_a_namespace_as_long_as_a_container_lives_even_without_its_monitor() {
    needs!(Root);
    let w = World::new();
    let user = with_busybox(&w, true);
    let space = |name: &str| user.dhow(["exec", name, "readlink", "/proc/self/ns/user"]).ok().out();
    for name in ["one", "two"] {
        user.dhow(["run", "-d", "--name", name, "busybox", "sleep", "600"]).ok();
    }
    assert_eq!(space("one"), space("two"));
    for name in ["one", "two"] {
        let state = user.dhow(["inspect", "-f", "{{.Id}}", name]).ok().out();
        let state = fs::read(user.root().join("containers").join(state).join("state.json"));
        let state: serde_json::Value = serde_json::from_slice(&state.unwrap()).unwrap();
        let monitor = state["monitor_pid"].as_i64().unwrap().to_string();
        w.cmd("kill").args(["-KILL", &monitor]).run().ok();
    }
    assert_eq!(space("one"), space("two"));
    user.dhow(["ps", "-q"]).ok();
    user.dhow(["rm", "-f", "one", "two"]).ok();
}

#[test]
fn files_go_in_and_out_and_become_images() {
    needs!(Root);
    for ranges in [true, false] {
        let w = World::new();
        let user = with_busybox(&w, ranges);
        user.dhow(["run", "-d", "--name", "box", "busybox", "sleep", "600"]).ok();
        fs::write(w.path("in"), "brought").unwrap();
        user.dhow(["cp".as_ref(), w.path("in").as_os_str(), "box:/etc/in".as_ref()]).ok();
        let script = "cat /etc/in; rm -r /home; mkdir /home; echo x > /new";
        user.dhow(["exec", "box", "sh", "-c", script]).ok().out_is("brought");
        user.dhow(["cp", "box:/new", "-"]).ok();
        let done = user.dhow(["diff", "box"]).ok();
        for line in ["A /etc/in", "A /new"] {
            assert!(done.lines().iter().any(|l| l == line), "no {line}: {done}");
        }
        user.dhow(["commit", "box", "mine"]).ok();
        user.dhow(["rm", "-f", "box"]).ok();
        let look = ["run", "--rm", "mine", "sh", "-c", "cat /new; ls /home; cat /etc/in"];
        user.dhow(look).ok().out_is("x\nbrought");
    }
}

#[test]
fn a_build_runs_as_an_ordinary_user() {
    needs!(Root);
    for ranges in [true, false] {
        let w = World::new();
        let user = with_busybox(&w, ranges);
        let text = "FROM busybox\nCOPY --chown=33:34 file /file\nRUN id -u > /who; rm -r /home; mkdir /home; echo built > /home/x\nCMD cat /who /home/x\n";
        let dir = w.context("site", &[("Dockerfile", text), ("file", "x")]);
        let words = ["build".as_ref(), "-t".as_ref(), "built".as_ref(), dir.as_os_str()];
        user.dhow(words).ok();
        user.dhow(["run", "--rm", "built"]).ok().out_is("0\nbuilt");
        // Whose a file is, is kept in any case.
        let tar = user.dhow(["save", "built"]).ok().stdout;
        fs::write(w.path("built.tar"), tar).unwrap();
        w.dhow(["load".as_ref(), "-q".as_ref(), "-i".as_ref(), w.path("built.tar").as_os_str()])
            .ok();
        w.dhow(["run", "--rm", "built", "stat", "-c", "%u:%g", "/file"]).ok().out_is("33:34");
    }
}

#[test]
fn one_id_and_no_helpers_run_what_needs_no_more_and_say_what_does() {
    needs!(Root);
    let w = World::new();
    let user = with_busybox(&w, false);
    let script = "id -u; cat /proc/self/uid_map; chown 33 /etc/passwd || echo no";
    let done = user.dhow(["run", "--rm", "--network", "none", "busybox", "sh", "-c", script]).ok();
    let words: Vec<String> = done.out().split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["0", "0", &user.uid().to_string(), "1", "no"]);
    let run = ["run", "--rm", "--network", "none", "--user", "33", "busybox", "true"];
    user.dhow(run).code(125).err_has(
        "user 33 of the container is none that this user may be: this user has one id only",
    );
}

#[test]
fn limits_without_a_group_to_hold_them_are_told_and_left_out() {
    needs!(Root);
    let w = World::new();
    let user = with_busybox(&w, true);
    let run =
        ["run", "--rm", "--network", "none", "-m", "64m", "--pids-limit", "9", "busybox", "true"];
    let done = user.dhow(run).ok();
    let told = "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.";
    assert!(done.err().contains(told) && done.err().contains("PIDs limit discarded"), "{done}");
    done.err_has("Without root, limits need a cgroup that is delegated: ");
    let run = ["run", "--rm", "--network", "none", "--cpus", "1", "busybox", "true"];
    user.dhow(run).code(125).err_has("needs a delegated cgroup");
}

/// Regression: without a group of its own, a container was taken for all that is in its caller's.
#[test]
fn processes_of_a_container_without_a_group_are_its_own() {
    needs!(Root);
    let w = World::new();
    let user = with_busybox(&w, true);
    let run = ["run", "-d", "--name", "one", "--network", "none", "busybox"];
    user.dhow([&run[..], &["sh", "-c", "sleep 601 & exec sleep 602"]].concat()).ok();
    user.dhow(["exec", "-d", "one", "sleep", "603"]).ok();
    e2e::until("all three are there", || {
        let top = user.dhow(["top", "one", "-o", "pid,args"]).ok().out();
        assert!(top.lines().count() <= 4, "{top}");
        ["601", "602", "603"].iter().all(|which| top.contains(&format!("sleep {which}")))
    });
    let stats = ["stats", "--no-stream", "--format", "{{.PIDs}} {{.MemUsage}}", "one"];
    let done = user.dhow(stats).ok();
    assert!(done.out().starts_with("3 ") && done.out().contains("KiB / "), "{done}");
    user.dhow(["rm", "-f", "one"]).ok();
    // Regression: no procfs is mounted for the machine's processes; the machine's is there.
    let own = std::process::id().to_string();
    let look = ["run", "--rm", "--network", "none", "--pid", "host", "busybox", "ls", "-d"];
    user.dhow([&look[..], &[&format!("/proc/{own}")]].concat()).ok();
    // Regression: a device under another name.
    let device = ["run", "--rm", "--network", "none", "--device", "/dev/zero:/dev/nought"];
    let read = ["busybox", "sh", "-c", "head -c 3 /dev/nought | wc -c"];
    user.dhow([&device[..], &read].concat()).ok().out_is("3");
}

#[test]
fn another_s_memory_mounts_and_low_ports_are_refused_in_one_line() {
    needs!(Root);
    let w = World::new();
    w.daemon_json(r#"{"bridge": ""}"#);
    let user = with_busybox(&w, true);
    let donor = ["run", "-d", "--name", "one", "--network", "none", "--ipc", "shareable"];
    user.dhow([&donor[..], &["busybox", "sleep", "600"]].concat()).ok();
    let join = ["run", "--rm", "--network", "none", "--ipc", "container:one", "busybox", "true"];
    user.dhow(join).code(125).err_has("without root its /dev/shm can't be shared");
    user.dhow(["rm", "-f", "one"]).ok();
    // It was another one's in each container, without a word.
    let memory = ["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory"];
    user.dhow(memory).ok();
    let volume = ["--network", "none", "-v", "memory:/m", "busybox", "sleep", "600"];
    user.dhow([&["run", "-d", "--name", "one"][..], &volume].concat()).ok();
    let second = user.dhow([&["run", "--rm"][..], &volume].concat());
    second.code(125).err_has("volume memory is another container's just now");
    user.dhow(["restart", "-t", "0", "one"]).ok();
    user.dhow(["rm", "-f", "one"]).ok();
    user.dhow(["volume", "rm", "memory"]).ok();
    let start = user.cmd(["cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start"]).run().ok().out();
    if start.trim().parse::<u16>().unwrap() > 81 {
        let run = ["run", "--rm", "-p", "127.0.0.1:81:80", "busybox", "true"];
        user.dhow(run).code(125).err_has("below net.ipv4.ip_unprivileged_port_start");
    }
    let image = w.path("bin/dhow-image").into_os_string();
    let mount = [image, "mount".into(), "busybox".into()];
    user.cmd(mount).run().refused().err_has("dhow-image unpack");
}

#[test]
fn a_store_of_another_kind_is_refused_in_one_line_before_anything_is_touched() {
    needs!(Root);
    let w = World::new();
    let user = with_busybox(&w, true);
    user.dhow(["create", "--name", "one", "--network", "none", "busybox", "true"]).ok();
    user.dhow(["start", "one"]).ok();
    user.dhow(["wait", "one"]).ok();
    fs::write(w.path("subid"), "").unwrap();
    let store = user.root();
    let line = format!(
        "dhow: the store {} is a user's with ids from {} on, and this is a user's with one id: its files would have other owners; choose another --root",
        store.display(),
        user.first()
    );
    let run = ["run", "--network", "none", "--rm", "busybox", "true"];
    for words in [
        &run[..],
        &["create", "busybox"],
        &["start", "one"],
        &["commit", "one", "x"],
        &["diff", "one"],
        &["cp", "one:/etc/passwd", "-"],
        &["export", "-o", "x.tar", "one"],
    ] {
        let done = user.dhow(words).refused();
        assert_eq!(done.err().trim_end(), line, "{words:?}");
    }
    // What reads names alone may look, and nothing was changed.
    user.dhow(["images", "-q"]).ok();
    user.dhow(["ps", "-a", "--format", "{{.Names}} {{.Status}}"]).ok().out_has("one Exited (0)");
    w.dhow(["--root", store.to_str().unwrap(), "run", "--rm", "busybox", "true"])
        .refused()
        .err_has("and this is root's");
    // With other ranges, too.
    fs::write(w.path("subid"), "ann:399000000:65536\n").unwrap();
    user.dhow(run).refused().err_has("and this is a user's with ids from 399000000 on");
}

/// An archive of busybox, for the containers in a container.
fn saved_busybox(w: &World, user: &Ordinary) -> PathBuf {
    let archive = w.path("home/busybox.tar");
    fs::write(&archive, user.dhow(["save", "busybox"]).ok().stdout).unwrap();
    archive
}

/// dhow in a container of dhow's without privileges, of a user without any.
#[test]
fn containers_in_a_container_without_privileges() {
    needs!(Root, Machine);
    let w = World::new();
    let user = with_busybox(&w, true);
    let archive = saved_busybox(&w, &user);
    let programs = format!("{}:/opt:ro", w.path("bin").display());
    let archive = format!("{}:/busybox.tar:ro", archive.display());
    let outer = ["run", "--rm", "--network", "none", "-v", &programs, "-v", &archive];
    let outer = [&outer[..], &["-v", "store:/store", "-e", "DHOW_ROOT=/store", "-e"]].concat();
    let outer = [&outer[..], &["PATH=/opt:/bin"]].concat();
    let inner = "set -e; dhow load -q -i /busybox.tar; d='dhow run --network none'
        $d --rm busybox sh -c 'touch /x; chown 33:34 /x; stat -c %u:%g /x; cat /proc/self/uid_map'
        $d -d --name in busybox sleep 600; dhow exec in cat /proc/1/comm; dhow rm -f in
        printf 'FROM busybox\nRUN touch /y; chown 7 /y\nCMD stat -c %%u /y' | dhow build -q -t built -
        $d --rm built";
    let open = ["--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined"];
    let shell = |script| ["busybox", "sh", "-c", script];
    let done = user.dhow([&outer[..], &open, &shell(inner)].concat()).ok();
    let words: Vec<String> = done.out().split_whitespace().map(str::to_owned).collect();
    let at = |word: &str| words.iter().position(|w| w == word).unwrap_or_else(|| panic!("{done}"));
    assert_eq!(words[at("33:34") + 1..][..6], ["0", "0", "1", "1", "1", "65536"], "{done}");
    assert!(at("33:34") < at("sleep") && words.last().unwrap() == "7", "{done}");
    // What the outer one forbids is told, with what to do.
    let inner = "dhow load -q -i /busybox.tar; dhow run --rm --network none busybox true";
    let done = user.dhow([&outer[..], &shell(inner)].concat());
    done.code(125).err_has("start that one with --security-opt seccomp=unconfined");
    let done = user.dhow([&outer[..], &open[..2], &shell(inner)].concat());
    done.code(125).err_has("start that one with systempaths=unconfined");
}

#[test]
fn networks_of_an_ordinary_user() {
    needs!(Root);
    let w = World::new();
    w.daemon_json(r#"{"bridge": ""}"#);
    let user = with_busybox(&w, true);
    let program = w.path("bin/dhow").display().to_string();
    let run = ["env", "PATH=/nowhere", &program, "run", "--rm", "busybox", "true"];
    user.cmd(run).run().code(125).err_has("install one, or use --network none or host");
    user.dhow(["network", "create", "mine"])
        .refused()
        .err_has("only networks are bridge, host and none");
    user.dhow(["run", "--rm", "--network", "host", "busybox", "ls", "/sys/class/net"])
        .ok()
        .out_has("lo");
    let serve = "while :; do echo hello | nc -l -p 80; done";
    user.dhow(["run", "-d", "--name", "web", "-p", "127.0.0.1::80", "busybox", "sh", "-c", serve])
        .ok();
    let port = user.dhow(["port", "web", "80"]).ok().out();
    let address = port.trim().to_owned();
    e2e::until("the port answers", || {
        use std::io::Read;
        let Ok(mut stream) = std::net::TcpStream::connect(&address) else { return false };
        let mut text = String::new();
        stream.read_to_string(&mut text).is_ok() && text.contains("hello")
    });
    user.dhow(["rm", "-f", "web"]).ok();
}

#[test]
fn a_terminal_of_an_ordinary_user() {
    needs!(Root);
    let w = World::new();
    let user = with_busybox(&w, true);
    let mut t = user.dhow_pty(["run", "--rm", "-it", "--network", "none", "busybox", "sh"]);
    t.send("tty; echo $((40 + 2))\n").expect("/dev/pts/0");
    t.expect("42");
    t.send("exit 3\n");
    assert_eq!(t.wait(), 3);
}

/// In an unprivileged container all is root's and there is one id.
#[test]
fn root_of_a_user_namespace_with_one_id_runs_containers_too() {
    needs!(Root, Machine);
    let w = World::new();
    let user = Ordinary::new(&w, false);
    let full = Registry::open().name("busybox:latest");
    let script = format!(
        "set -e; export DHOW_ROOT=$HOME/r DHOW_RUN=$HOME/run; dhow pull -q {full}
         dhow run -d --name one --network none {full} sleep 600
         dhow exec one sh -c 'id -u; rm -r /home; mkdir /home; echo x > /home/new'
         dhow commit one two; dhow rm -f one; dhow run --rm two cat /home/new"
    );
    let done = user.cmd(["unshare", "-r", "-m", "sh", "-c", &script]).run().ok();
    assert!(done.out().contains("\n0\n") && done.out().ends_with("\nx"), "{done}");
}

/// The container's root is an overlay, on which the kernel makes no other: what is in it of dhow's goes
/// by fuse-overlayfs. Without that, one line says what to do.
#[test]
fn where_the_kernel_makes_no_overlay_fuse_overlayfs_does() {
    needs!(Root, Machine);
    let w = World::new();
    let user = with_busybox(&w, true);
    let archive = saved_busybox(&w, &user);
    let fuse = nix::sys::stat::makedev(10, 229);
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
    nix::sys::stat::mknod(&w.path("fuse"), nix::sys::stat::SFlag::S_IFCHR, mode, fuse).unwrap();
    fs::set_permissions(w.path("fuse"), fs::Permissions::from_mode(0o666)).unwrap();
    let bound = |from: String, to: &str| format!("{from}:{to}:ro");
    let device = format!("{}:/dev/fuse", w.path("fuse").display());
    let libraries = format!("/lib/{}-linux-gnu", std::env::consts::ARCH);
    let volumes = [
        bound(w.path("bin").display().to_string(), "/opt"),
        bound(archive.display().to_string(), "/busybox.tar"),
        bound("/usr/bin/fuse-overlayfs".into(), "/usr/bin/fuse-overlayfs"),
        bound("/lib64".into(), "/lib64"),
        bound(format!("/usr{libraries}"), &libraries),
    ];
    let outer = ["run", "--rm", "--network", "none", "--security-opt", "seccomp=unconfined"];
    let more = ["--security-opt", "systempaths=unconfined", "-e", "PATH=/opt:/bin:/usr/bin"];
    let volumes: Vec<&str> = volumes.iter().flat_map(|v| ["-v", v.as_str()]).collect();
    let run = |device: &[&str], script: &str| {
        let last = ["-e", "DHOW_ROOT=/store", "busybox", "sh", "-c", script];
        user.dhow([&outer[..], &more, &volumes, device, &last].concat())
    };
    let script = "set -e; dhow load -q -i /busybox.tar; d='dhow run --network none'
        $d -d --name one busybox sh -c 'echo new >/home/x; mkfifo /up; read x </up' >/dev/null
        until dhow exec one test -p /up; do sleep 0.1; done
        dhow exec one sh -c 'grep \" / \" /proc/mounts | cut -d\" \" -f3; chown 7 /home/x; ln /home/x /home/z'
        dhow cp one:/home/x - | tar xO; dhow diff one
        dhow commit one two >/dev/null 2>&1; dhow rm -f one >/dev/null
        $d --rm two stat -c '%u %h' /home/x /home/z
        printf 'FROM two\nRUN echo built >/home/y; echo x >/seen\n' | dhow build -q -t three - >/dev/null
        $d --rm three sh -c 'cat /home/y; stat -c %u /home/x'
        $d -d --name gone busybox rm /etc/group >/dev/null; dhow wait gone; dhow diff gone
        dhow save three | tar xO | grep -c user.fuseoverlay || true";
    let done = run(&["--device", &device], script).ok();
    let told = "Loaded image: busybox:latest\nfuse.fuse-overlayfs\nnew\nC /home\nA /home/x\nA /home/z\n\
        A /up\n7 2\n7 2\nbuilt\n7\n0\nC /etc\nD /etc/group\n0";
    done.out_is(told);
    let script = "dhow load -q -i /busybox.tar; dhow run --network none --rm busybox true";
    run(&[], script).code(125).err_has("install fuse-overlayfs (it needs /dev/fuse)");
}

#[test]
fn who_asks_a_published_port_of_an_ordinary_user_is_seen_as_who_it_is() {
    needs!(Root);
    let w = World::wired();
    let user = Ordinary::new(&w, true);
    let tar = w.path("mirror.tar");
    w.dhow(["save".as_ref(), "-o".as_ref(), tar.as_os_str(), "mirror".as_ref()]).ok();
    fs::set_permissions(&tar, fs::Permissions::from_mode(0o644)).unwrap();
    user.dhow(["load".as_ref(), "-q".as_ref(), "-i".as_ref(), tar.as_os_str()]).ok();
    let run = ["run", "-d", "--name", "web", "-p", "8080:7", "-p", "8080:7/udp", "mirror"];
    user.dhow(run).ok();
    let (client, at) = (&w.wires().client, format!("{}:8080", Wires::SERVER));
    e2e::until("the mirror listens", || client.ask("tcp", &at).is_ok());
    for protocol in ["tcp", "udp"] {
        client.is_seen_as(Wires::CLIENT, protocol, &at);
    }
    user.dhow(["info", "-f", "{{.SecurityOptions}}"]).ok().out_has("name=rootless");
    user.dhow(["rm", "-f", "web"]).ok();
    client.is_not_heard("tcp", &at);
}
