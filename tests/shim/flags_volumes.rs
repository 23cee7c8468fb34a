//! Volumes whose options name a file system.

use std::fs;

use e2e::{World, needs};

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

fn mounts(w: &World) -> Vec<String> {
    e2e::leaks::mounts(&w.root().display().to_string())
}

#[test]
fn a_volume_in_memory_is_one_for_all_its_containers_and_gone_with_the_last() {
    needs!(Root);
    let w = world();
    let options = ["-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,uid=7"];
    w.dhow(["volume", "create"].iter().chain(&options).chain(&["memory"])).ok();
    assert_eq!(mounts(&w), Vec::<String>::new(), "nothing is mounted before somebody needs it");
    let run = |name: &str, script: &str| {
        w.dhow(["run", "-d", "--name", name, "-v", "memory:/m", "busybox", "sh", "-c", script]).ok()
    };
    run("one", "echo shared >/m/note; stat -c %u /m >/m/owner; sleep 1000");
    run("two", "sleep 1000");
    let wait = "until test -s /m/owner; do :; done; cat /m/note /m/owner; df -k /m | tail -1 | awk '{print $2}'";
    w.dhow(["exec", "two", "sh", "-c", wait]).ok().out_is("shared\n7\n1024");
    w.dhow(["rm", "-f", "one"]).ok();
    w.dhow(["exec", "two", "cat", "/m/note"]).ok().out_is("shared");
    w.dhow(["volume", "rm", "memory"]).code(1).err_has("in use");
    w.dhow(["stop", "-t", "0", "two"]).ok();
    assert_eq!(mounts(&w), Vec::<String>::new());
    w.dhow(["start", "two"]).ok();
    w.dhow(["exec", "two", "test", "-e", "/m/note"]).code(1);
    w.dhow(["rm", "-f", "two"]).ok();
    assert_eq!(mounts(&w), Vec::<String>::new());
    w.dhow(["volume", "rm", "memory"]).ok();
}

#[test]
fn a_volume_may_be_a_directory_of_the_host() {
    needs!(Root);
    let w = world();
    fs::create_dir(w.path("there")).unwrap();
    fs::write(w.path("there/file"), "of the host\n").unwrap();
    let device = format!("volume-opt=device={}", w.path("there").display());
    let spec = format!(
        "src=place,dst=/p,volume-opt=type=none,volume-opt=o=bind,{device},volume-label=a=b"
    );
    let script = "cat /p/file; echo back >/p/new";
    w.dhow(["run", "--rm", "--mount", &spec, "busybox", "sh", "-c", script])
        .ok()
        .out_is("of the host");
    assert_eq!(fs::read_to_string(w.path("there/new")).unwrap(), "back\n");
    w.dhow(["volume", "inspect", "-f", "{{.Labels.a}} {{.Options.o}}", "place"])
        .ok()
        .out_is("b bind");
    let read_only = spec.replace("src=place", "src=closed").replace("o=bind", "o=bind,ro");
    let read_only = read_only.replace("volume-opt=o=bind,ro", "\"volume-opt=o=bind,ro\"");
    w.dhow(["run", "--rm", "--mount", &read_only, "busybox", "touch", "/p/x"])
        .code(1)
        .err_has("Read-only file system");
    // Nor does a bind of what is read-only on the host open it.
    let there = w.path("there").display().to_string();
    w.cmd("mount").args(["--bind", "-o", "ro", &there, &there]).run().ok();
    let bind = format!("{there}:/p");
    let done = w.dhow(["run", "--rm", "-v", &bind, "busybox", "touch", "/p/x"]);
    w.cmd("umount").args([&there]).run().ok();
    done.code(1).err_has("Read-only file system");
    assert_eq!(mounts(&w), Vec::<String>::new());
    w.dhow(["volume", "rm", "place", "closed"]).ok();
}

#[test]
fn what_cant_be_mounted_is_told_and_leaves_nothing() {
    let w = world();
    let options = ["-o", "type=none", "-o", "o=bind", "-o", "device=/no/such/place"];
    w.dhow(["volume", "create"].iter().chain(&options).chain(&["lost"])).ok();
    w.dhow(["run", "--rm", "-v", "lost:/x", "busybox", "true"])
        .code(125)
        .err_has("error while mounting volume 'lost': failed to mount local volume")
        .err_has("/no/such/place");
    w.dhow(["ps", "-aq"]).ok().out_is("");
    assert_eq!(mounts(&w), Vec::<String>::new());
    let options = ["-o", "type=cifs", "-o", "o=addr=name,password=secret", "-o", "device=//name/x"];
    w.dhow(["volume", "create"].iter().chain(&options).chain(&["net"])).ok();
    let done =
        w.dhow(["run", "--rm", "-v", "net:/x", "busybox", "true"]).code(125).err_has("addr=name");
    assert!(!done.err().contains("secret"), "{done}");
    w.dhow(["volume", "rm", "lost", "net"]).ok();
}

#[test]
fn a_killed_monitors_volume_is_unmounted_by_the_next_command() {
    let w = world();
    let options = ["-o", "type=tmpfs", "-o", "device=tmpfs"];
    w.dhow(["volume", "create"].iter().chain(&options).chain(&["memory"])).ok();
    w.dhow(["run", "-d", "--name", "one", "-v", "memory:/m", "busybox", "sleep", "1000"]).ok();
    let state = w.dhow(["inspect", "-f", "{{.State.Pid}} {{.Id}}", "one"]).ok().out();
    let (pid, id) = state.split_once(' ').unwrap();
    let text = fs::read(w.root().join("containers").join(id).join("state.json")).unwrap();
    let monitor =
        serde_json::from_slice::<serde_json::Value>(&text).unwrap()["monitor_pid"].to_string();
    w.cmd("kill").args(["-STOP", &monitor]).run().ok();
    w.cmd("kill").args(["-9", pid, &monitor]).run().ok();
    let dead = |pid: &str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    while !(dead(pid) && dead(&monitor)) {
        std::thread::yield_now();
    }
    w.dhow(["ps", "-a"]).ok().out_has("one");
    assert_eq!(mounts(&w), Vec::<String>::new());
    w.dhow(["rm", "one"]).ok();
    w.dhow(["volume", "rm", "memory"]).ok();
}

/// What a start that was killed has left mounted is the host's: removing goes around it.
#[test]
fn what_is_mounted_in_it_outlives_a_volume_and_a_container() {
    needs!(Root);
    let w = world();
    let there = w.path("there");
    fs::create_dir(&there).unwrap();
    fs::write(there.join("precious"), "mine").unwrap();
    let device = format!("device={}", there.display());
    w.dhow(["volume", "create", "-o", "o=bind", "-o", &device, "bound"]).ok();
    w.dhow(["create", "--name", "one", "busybox"]).ok();
    let id = w.dhow(["inspect", "-f", "{{.Id}}", "one"]).ok().out();
    let within = w.root().join("containers").join(id).join("mounts");
    fs::create_dir(&within).unwrap();
    for place in [w.root().join("volumes/bound/_data"), within] {
        w.cmd("mount").arg("--bind").arg(&there).arg(place).run().ok();
    }
    w.dhow(["volume", "rm", "bound"]).ok();
    w.dhow(["rm", "one"]).ok();
    assert_eq!(mounts(&w), Vec::<String>::new());
    assert_eq!(fs::read_to_string(there.join("precious")).unwrap(), "mine");
}

/// A volume that another container may hold is nobody's to remove.
#[test]
fn rm_v_keeps_volumes_while_a_record_cannot_be_read() {
    let w = world();
    for name in ["one", "two"] {
        w.dhow(["create", "--name", name, "-v", "/data", "busybox"]).ok();
    }
    let id = w.dhow(["inspect", "-f", "{{.Id}}", "two"]).ok().out();
    let record = w.root().join("containers").join(id).join("container.json");
    let whole = fs::read(&record).unwrap();
    fs::write(&record, "{").unwrap();
    w.dhow(["rm", "-v", "one"]);
    assert_eq!(w.dhow(["volume", "ls", "-q"]).ok().out().lines().count(), 2);
    fs::write(&record, whole).unwrap();
    w.dhow(["rm", "-v", "two"]).ok();
}
