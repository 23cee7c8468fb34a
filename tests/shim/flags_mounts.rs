//! Binds, volumes and images of every kind, seen from inside.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use e2e::{World, needs};

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

fn say(w: &World, flags: &[&str], script: &str) -> String {
    let command = ["busybox", "sh", "-c", script];
    w.dhow(["run", "--rm"].iter().chain(flags).chain(&command)).ok().out()
}

#[test]
fn a_made_source_is_open_to_all_whatever_the_callers_umask() {
    let w = world();
    let text = w.path("made/here").display().to_string();
    let spec = format!("{text}:/x");
    let under = ["sh", "-c", "umask 077; exec \"$0\" \"$@\""];
    w.dhow_cmd(["run", "--rm", "-v", &spec, "busybox", "true"]).under(under).run().ok();
    for dir in ["made", "made/here"] {
        assert_eq!(fs::metadata(w.path(dir)).unwrap().permissions().mode() & 0o777, 0o755, "{dir}");
    }
    // Nothing is made by what is refused, nor by `create` alone.
    let other = format!("{}:/x", w.path("other").display());
    w.dhow(["create", "--name", "one", "-v", &other, "busybox"]).ok();
    w.dhow(["run", "--rm", "-v", &other, "--cap-add", "FLY", "busybox"]).code(125);
    assert!(!w.path("other").exists());
    w.dhow(["start", "one"]).ok();
    assert!(w.path("other").is_dir());
    w.dhow(["wait", "one"]).ok();
    w.dhow(["rm", "one"]).ok();
}

#[test]
fn what_is_mounted_below_a_bind_comes_along_as_asked() {
    needs!(Root);
    let w = world();
    fs::create_dir_all(w.path("src/below")).unwrap();
    let src = w.path("src").display().to_string();
    let below = w.path("src/below").display().to_string();
    w.cmd("mount").args(["-t", "tmpfs", "below", &below]).run().ok();
    let look = "touch /x/below/f 2>/dev/null && echo writable; grep -c ' /x' /proc/mounts";
    let with = |more: &str| {
        let spec = format!("--mount=type=bind,src={src},dst=/x{more}");
        say(&w, &[&spec], look)
    };
    let seen = [
        with(""),
        with(",ro"),
        with(",ro,bind-recursive=writable"),
        with(",ro,bind-recursive=readonly,bind-propagation=rprivate"),
        with(",bind-recursive=disabled"),
    ];
    w.cmd("umount").args([&below]).run().ok();
    assert_eq!(seen, ["writable\n2", "2", "writable\n2", "2", "writable\n1"]);
}

#[test]
fn mounts_travel_both_ways_through_a_shared_bind_and_one_way_through_a_slave() {
    needs!(Root);
    let w = world();
    let top = w.path("top").display().to_string();
    fs::create_dir(&top).unwrap();
    w.cmd("mount").args(["-t", "tmpfs", "top", &top]).run().ok();
    w.cmd("mount").args(["--make-private", &top]).run().ok();
    w.dhow(["run", "--rm", "-v", &format!("{top}:/x:rshared"), "busybox", "true"])
        .code(125)
        .err_has("but it is not a shared mount");
    w.cmd("mount").args(["--make-shared", &top]).run().ok();
    for dir in ["out", "in"] {
        fs::create_dir(w.path("top").join(dir)).unwrap();
    }
    let shared = format!("{top}:/x:rshared");
    let script = "mount -t tmpfs mine /x/out && echo from inside >/x/out/note; sleep 1000";
    let run = ["run", "-d", "--name", "shared", "--privileged", "-v", &shared, "busybox"];
    w.dhow(run.iter().chain(&["sh", "-c", script])).ok();
    let slave = format!("{top}:/x:rslave");
    w.dhow(["run", "-d", "--name", "slave", "-v", &slave, "busybox", "sleep", "1000"]).ok();
    let wait = "until test -s /x/out/note; do :; done; cat /x/out/note";
    w.dhow(["exec", "shared", "sh", "-c", wait]).ok().out_is("from inside");
    let outside = fs::read_to_string(w.path("top/out/note")).unwrap_or_default();
    let in_dir = w.path("top/in").display().to_string();
    w.cmd("mount").args(["-t", "tmpfs", "theirs", &in_dir]).run().ok();
    let count = "grep -c ' /x/in ' /proc/mounts";
    let seen: Vec<String> =
        ["shared", "slave"].map(|name| w.dhow(["exec", name, "sh", "-c", count]).out()).into();
    w.dhow(["rm", "-f", "shared", "slave"]).ok();
    for dir in ["top/in", "top/out", "top"] {
        let dir = w.path(dir).display().to_string();
        w.cmd("umount").args([&dir]).run();
    }
    assert_eq!(outside, "from inside\n");
    assert_eq!(seen, ["1", "1"]);
}

#[test]
fn a_killed_monitors_mounts_on_the_host_are_swept() {
    needs!(Root);
    let w = world();
    let run = ["run", "-d", "--name", "one", "--ipc", "shareable", "busybox", "sleep", "1000"];
    w.dhow(run).ok();
    let world = w.root().display().to_string();
    assert!(!e2e::leaks::mounts(&world).is_empty(), "the shared memory lies on the host");
    let state = w.dhow(["inspect", "-f", "{{.State.Pid}} {{.Id}}", "one"]).ok().out();
    let (pid, id) = state.split_once(' ').unwrap();
    let text = fs::read(w.root().join("containers").join(id).join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let monitor = state["monitor_pid"].to_string();
    // Both die at once, so that nobody is there to clean up but the next command.
    w.cmd("kill").args(["-STOP", &monitor]).run().ok();
    w.cmd("kill").args(["-9", pid]).run().ok();
    w.cmd("kill").args(["-9", &monitor]).run().ok();
    w.dhow(["ps", "-a"]).ok();
    w.dhow(["rm", "-f", "one"]).ok();
    assert_eq!(e2e::leaks::mounts(&world), Vec::<String>::new());
}

#[test]
fn a_part_of_a_volume_and_the_files_of_an_image_are_mounted() {
    let w = world();
    say(&w, &["-v", "store:/s"], "mkdir -p /s/sub; echo deep >/s/sub/note; ln -s /etc /s/out");
    let part = "--mount=src=store,dst=/p,volume-subpath=sub";
    assert_eq!(say(&w, &[part], "cat /p/note; echo more >/p/new; ls /p"), "deep\nnew\nnote");
    let file = "--mount=src=store,dst=/n,volume-subpath=sub/note,ro";
    assert_eq!(say(&w, &[file], "cat /n; echo no 2>/dev/null >/n || true"), "deep");
    // A link in the volume leads nowhere but into the volume.
    w.dhow(["run", "--rm", "--mount", "src=store,dst=/p,volume-subpath=out", "busybox", "true"])
        .code(125)
        .err_has("cannot access path out");
    w.dhow(["run", "--rm", "--mount", "src=store,dst=/p,volume-subpath=lost", "busybox", "true"])
        .code(125)
        .err_has("cannot access path lost");
    let image = "--mount=type=image,src=busybox,dst=/img";
    assert_eq!(
        say(&w, &[image], "test -x /img/bin/busybox && touch /img/x 2>/dev/null || echo ro"),
        "ro"
    );
    let part = "--mount=type=image,src=busybox,dst=/img,image-subpath=bin";
    assert_eq!(say(&w, &[part], "test -x /img/busybox && echo there"), "there");
    w.pull("layers");
    let layered = "--mount=type=image,src=layers,dst=/img";
    assert_ne!(say(&w, &[layered], "ls /img"), "");
    w.dhow(["run", "--rm", "--mount", "type=image,src=nope,dst=/img", "busybox"])
        .code(125)
        .err_has("nope");
    // The image of a mount can't lose its layers while the container is there.
    w.dhow(["create", "--name", "holder", layered, "busybox", "ls", "/img"]).ok();
    w.dhow(["rmi", "-f", "layers"]).ok();
    w.dhow(["image", "prune", "-af"]).ok();
    assert_ne!(w.dhow(["start", "-a", "holder"]).ok().out(), "");
    w.dhow(["rm", "holder"]).ok();
    w.dhow(["volume", "rm", "store"]).ok();
}

#[test]
fn volumes_from_has_dockers_order() {
    let w = world();
    w.dhow(["create", "--name", "one", "-v", "first:/d", "-v", "/anon", "busybox"]).ok();
    w.dhow(["create", "--name", "two", "-v", "second:/d", "busybox"]).ok();
    say(&w, &["-v", "first:/d"], "echo first >/d/who");
    say(&w, &["-v", "second:/d"], "echo second >/d/who");
    say(&w, &["-v", "third:/d"], "echo third >/d/who");
    let both = ["--volumes-from", "one", "--volumes-from", "two"];
    assert_eq!(say(&w, &both, "cat /d/who"), "second", "the last one wins");
    let own = [&both[..], &["-v", "third:/d"]].concat();
    assert_eq!(say(&w, &own, "cat /d/who"), "third", "but not over a -v");
    // `-v PATH` alone makes way for another container's volume; and --rm leaves that alone.
    let anon = ["--volumes-from", "one", "-v", "/anon", "-v", "/d"];
    say(&w, &anon, "echo kept >/anon/note; grep -q first /d/who");
    assert_eq!(say(&w, &["--volumes-from", "one"], "cat /anon/note"), "kept");
    w.dhow(["run", "--rm", "--volumes-from", "one:slave", "busybox"])
        .code(125)
        .err_has("invalid mode");
    w.dhow(["rm", "-v", "one", "two"]).ok();
    w.dhow(["volume", "ls", "-q"]).ok().out_is("first\nsecond\nthird");
    w.dhow(["volume", "rm", "first", "second", "third"]).ok();
}

#[test]
fn a_data_container_that_never_ran_gives_its_own_images_files() {
    let w = world();
    w.pull("layers");
    w.dhow(["create", "--name", "data", "-v", "kept:/bin", "busybox"]).ok();
    // The other image has another /bin, or none.
    w.dhow(["run", "--rm", "--volumes-from", "data", "layers", "x"]).ok();
    let own = say(&w, &[], "ls /bin | wc -l");
    assert_eq!(say(&w, &["-v", "kept:/k"], "ls /k | wc -l"), own);
    w.dhow(["rm", "data"]).ok();
    w.dhow(["volume", "rm", "kept"]).ok();
}

#[test]
fn a_new_volume_looks_as_the_image_does_at_its_place() {
    needs!(Root);
    let w = world();
    w.dhow(["create", "--name", "base", "busybox"]).ok();
    w.dhow(["rm", "base"]).ok();
    let show = "stat -c '%a %u:%g' /etc /etc/passwd";
    let image = say(&w, &[], show);
    assert_eq!(say(&w, &["-v", "copied:/etc"], show), image);
    let bare = say(&w, &["-v", "bare:/etc:nocopy"], "ls /etc | wc -l");
    // The three files that dhow binds there.
    assert!(bare.parse::<u32>().unwrap() <= 3, "{bare}");
    w.dhow(["volume", "rm", "copied", "bare"]).ok();
    let own = w.root().join("volumes");
    assert_eq!(fs::metadata(own).unwrap().uid(), 0);
}

#[test]
fn a_start_that_fails_at_any_step_leaves_nothing_mounted() {
    needs!(Root);
    let w = world();
    fs::create_dir(w.path("top")).unwrap();
    let top = w.path("top").display().to_string();
    w.cmd("mount").args(["-t", "tmpfs", "top", &top]).run().ok();
    w.cmd("mount").args(["--make-shared", &top]).run().ok();
    let options = ["-o", "type=tmpfs", "-o", "device=tmpfs"];
    w.dhow(["volume", "create"].iter().chain(&options).chain(&["memory"])).ok();
    let shared = format!("{top}:/shared:rshared");
    let all = [
        "--ipc",
        "shareable",
        "-v",
        &shared,
        "-v",
        "memory:/m",
        "--mount",
        "type=image,src=busybox,dst=/i,image-subpath=bin",
    ];
    let world = w.root().display().to_string();
    for (broken, code) in [
        (&["-u", "nobody-knows", "busybox", "true"][..], 125),
        (&["--device", "/dev/nope", "busybox", "true"], 125),
        (&["--mount", "src=memory,dst=/p,volume-subpath=lost", "busybox", "true"], 125),
        (&["--device-read-bps", "/dev/nope:1mb", "busybox", "true"], 125),
        (&["--pid", "container:gone", "busybox", "true"], 125),
        (&["--sysctl", "net.core.somaxconn=x", "busybox", "true"], 125),
        (&["busybox", "/etc/passwd"], 126),
        (&["busybox", "/nope"], 127),
    ] {
        for keep in [&["--rm"][..], &["--name", "kept"]] {
            let run = ["run"].iter().chain(keep).chain(&all).chain(broken).copied();
            w.dhow(run.collect::<Vec<_>>()).code(code);
            assert_eq!(e2e::leaks::mounts(&world), Vec::<String>::new(), "{broken:?}");
            w.dhow(["rm", "kept"]);
        }
    }
    w.cmd("umount").args([&top]).run().ok();
    w.dhow(["ps", "-aq"]).ok().out_is("");
    let users = w.run_dir().join("volumes/memory");
    let left =
        fs::read_dir(users).into_iter().flatten().flatten().filter(|e| e.file_name() != "lock");
    assert_eq!(left.count(), 0, "nobody holds the volume");
    w.dhow(["volume", "rm", "memory"]).ok();
}
