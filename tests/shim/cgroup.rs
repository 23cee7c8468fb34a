//! A monitor is not in the cgroups of whoever started it.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::World;

/// Groups of this world's, in a hierarchy of each version that there is.
fn groups(w: &World) -> Vec<PathBuf> {
    let hierarchies = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
    let there =
        hierarchies.map(Path::new).into_iter().filter(|dir| dir.join("cgroup.procs").exists());
    let made = there.map(|dir| dir.join(format!("{}caller", w.name())));
    made.filter(|dir| fs::create_dir(dir).is_ok()).collect()
}

#[test]
fn a_monitor_leaves_its_caller_s_cgroups() {
    let w = World::new();
    w.pull("busybox");
    let groups = groups(&w);
    let enter = groups.iter().map(|dir| format!("echo $$ >{}/cgroup.procs && ", dir.display()));
    let enter = enter.collect::<String>() + "exec \"$@\"";
    for detached in [true, false] {
        let name = w.id("c");
        let flags: &[&str] = if detached { &["-d"] } else { &[] };
        let line = [&["run"], flags, &["--name", &name, "busybox", "sleep", "1000"]].concat();
        let mut client = w.dhow_cmd(line).under(["sh", "-c", &enter, "sh"]).start();
        e2e::until("it runs", || w.dhow(["exec", &name, "true"]).code == 0);
        if detached {
            assert_eq!(client.wait().unwrap().code(), Some(0));
        }
        for dir in &groups {
            let own = client.id().to_string();
            e2e::until("the monitor has left", || {
                let inside = fs::read_to_string(dir.join("cgroup.procs")).unwrap();
                inside.lines().all(|pid| pid == own)
            });
        }
        w.dhow(["rm", "-f", &name]).ok();
        client.wait().unwrap();
    }
    for dir in groups {
        fs::remove_dir(&dir).unwrap();
    }
}
