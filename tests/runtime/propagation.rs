//! rootfsPropagation and mounts that cross to the host and back, or must not.

use std::fs;

use e2e::bundle::Bundle;
use e2e::{Done, World, needs};
use serde_json::json;

/// The root's propagation, as mountinfo's optional fields.
const LOOK: &str = "awk '$5 == \"/\" {print $7, $8}' /proc/self/mountinfo";

/// Runs `script` as the host, in a mount namespace that is shared throughout; `$RUN` is the
/// runtime, `$ID` and `$BUNDLE` the container's.
fn on_host(w: &World, b: &Bundle, script: &str) -> Done {
    let script = format!("mount --make-rshared /\n{script}");
    let run =
        format!("{} --root {}", e2e::program("dhow-runtime").display(), w.runtime_root().display());
    w.cmd("unshare")
        .args(["-m", "sh", "-ec", &script])
        .env("RUN", run)
        .env("ID", b.id())
        .env("BUNDLE", b.path())
        .run()
}

fn mounting(b: Bundle) -> Bundle {
    let caps = json!(["CAP_SYS_ADMIN"]);
    let b = b.with("/process/capabilities/bounding", caps.clone());
    b.with("/process/capabilities/effective", caps.clone())
        .with("/process/capabilities/permitted", caps)
}

#[test]
fn root_has_the_propagation_asked_for() {
    needs!(Root);
    let w = World::new();
    let cases = [
        ("", "master:"),
        ("slave", "master:"),
        ("rslave", "master:"),
        ("private", "-"),
        ("rprivate", "-"),
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
    ];
    for (word, start) in cases {
        let b = w.bundle("b", &["sh", "-c", LOOK]).with("/linux/rootfsPropagation", word.into());
        let done = on_host(&w, &b, "$RUN run -b $BUNDLE $ID").ok();
        assert!(done.out().starts_with(start), "{word}: {done}");
        assert!(!(start == "master:" && done.out().contains("shared:")), "{word}: {done}");
        fs::remove_dir_all(b.dir()).unwrap();
    }
}

#[test]
fn nothing_that_the_container_mounts_shows_up_on_the_host() {
    needs!(Root);
    let w = World::new();
    for word in ["", "slave", "private", "rprivate", "shared", "rshared", "unbindable"] {
        let b = w.bundle("b", &["mount", "-t", "tmpfs", "inner", "/tmp"]);
        let b = mounting(b).with("/linux/rootfsPropagation", word.into());
        let script = "cp /proc/self/mountinfo $BUNDLE/before; $RUN run -b $BUNDLE $ID; \
            cut -d' ' -f5 $BUNDLE/before | sort >$BUNDLE/b; \
            cut -d' ' -f5 /proc/self/mountinfo | sort | diff $BUNDLE/b -";
        on_host(&w, &b, script).ok().out_is("");
        fs::remove_dir_all(b.dir()).unwrap();
    }
}

#[test]
fn volume_shared_with_a_shared_root_gives_its_mounts_to_the_host() {
    needs!(Root);
    let w = World::new();
    let volume = w.path("volume");
    fs::create_dir_all(volume.join("sub")).unwrap();
    for (root, option, seen) in [
        ("shared", "rshared", "1"),
        ("rshared", "rshared", "1"),
        ("rslave", "rshared", "0"),
        ("rshared", "rslave", "0"),
        ("rshared", "rprivate", "0"),
    ] {
        let b = w.bundle("b", &["mount", "-t", "tmpfs", "inner", "/volume/sub"]);
        let b = mounting(b).with("/linux/rootfsPropagation", root.into()).and(
            "/mounts",
            json!({"destination": "/volume", "source": volume, "options": ["rbind", option]}),
        );
        let script = format!(
            "mount --bind {0} {0}; mount --make-shared {0}; $RUN run -b $BUNDLE $ID; \
             if grep -q ' {0}/sub ' /proc/self/mountinfo; then echo 1; else echo 0; fi",
            volume.display()
        );
        let done = on_host(&w, &b, &script).ok();
        assert_eq!(done.out(), seen, "{root} {option}: {done}");
        fs::remove_dir_all(b.dir()).unwrap();
    }
}

#[test]
fn slave_volume_receives_what_the_host_mounts_later() {
    needs!(Root);
    let w = World::new();
    let volume = w.path("volume");
    fs::create_dir_all(volume.join("sub")).unwrap();
    for (option, seen) in [("rslave", "1"), ("rshared", "1"), ("rprivate", "0")] {
        let b = w.bundle("b", &["sleep", "1000"]).and(
            "/mounts",
            json!({"destination": "/volume", "source": volume, "options": ["rbind", option]}),
        );
        let script = format!(
            "mount --bind {0} {0}; mount --make-shared {0}; \
             $RUN create -b $BUNDLE $ID </dev/null >/dev/null 2>&1; $RUN start $ID; \
             mount -t tmpfs later {0}/sub; \
             $RUN exec $ID grep -c ' /volume/sub ' /proc/self/mountinfo || true; $RUN delete -f $ID",
            volume.display()
        );
        let done = on_host(&w, &b, &script).ok();
        assert_eq!(done.out(), seen, "{option}: {done}");
        fs::remove_dir_all(b.dir()).unwrap();
    }
}

#[test]
fn several_propagation_options_of_one_mount_are_taken_in_order() {
    needs!(Root);
    let w = World::new();
    let volume = w.path("volume");
    fs::create_dir(&volume).unwrap();
    let look = "awk '$5 == \"/volume\" {print $7, $8}' /proc/self/mountinfo";
    let b = w.bundle("b", &["sh", "-c", look]).and(
        "/mounts",
        json!({"destination": "/volume", "source": volume, "options": ["bind", "slave", "shared"]}),
    );
    let done = on_host(&w, &b, "$RUN run -b $BUNDLE $ID").ok();
    assert!(done.out().starts_with("shared:") && done.out().contains(" master:"), "{done}");
}

#[test]
fn no_pivot_runs_and_shows_no_bare_procfs() {
    needs!(Root);
    let w = World::new();
    let proc = "mount -t proc none /proc && echo visible";
    let script = format!("ls / | grep -c bin; unshare -mrpf sh -c '{proc}'");
    let b = w.bundle("b", &["sh", "-c", &script]);
    let caps = json!(["CAP_SETFCAP", "CAP_SYS_ADMIN"]);
    let b = b
        .with("/process/capabilities/bounding", caps.clone())
        .with("/process/capabilities/effective", json!([]))
        .with("/process/capabilities/permitted", caps);
    let done = on_host(&w, &b, "$RUN run --no-pivot -b $BUNDLE $ID");
    assert_ne!(done.code, 0, "{done}");
    assert!(done.out().starts_with(['1', '2', '3']) && !done.out().contains("visible"), "{done}");
    assert!(
        done.err().to_lowercase().contains("permitted") || done.err().contains("denied"),
        "{done}"
    );
}

#[test]
fn no_pivot_with_a_private_root_is_refused() {
    let w = World::new();
    for word in ["private", "rprivate"] {
        let b = w.bundle("b", &["true"]).with("/linux/rootfsPropagation", word.into());
        let done = w.runtime(["run", "--no-pivot", "-b", b.path(), b.id()]).refused();
        done.err_has("/linux/rootfsPropagation").err_has("not safe without pivot_root");
        fs::remove_dir_all(b.dir()).unwrap();
    }
}
