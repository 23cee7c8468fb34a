//! What a config may ask for beyond the plain: each call of it fails, or is the last.

use e2e::bundle::Bundle;
use e2e::{World, needs};
use serde_json::json;

use super::scene::{engine, mapped, portrait};
use super::uses::on;
use super::{After, Case, FAIL, What, long};
use crate::runtime::lifecycle::create;
use crate::runtime::notify;

const ALL: [(&str, What); 4] =
    [FAIL, ("kill", What::Kill(1)), ("kill init", What::Kill(2)), ("kill all", What::Kill(-1))];

fn run(name: &str, w: &World, b: &Bundle) {
    Case::makes(name, w, b, &["run", "-b", b.path(), b.id()]).strike(&ALL);
}

/// A run with an agent for system calls on the host, with and without new privileges.
#[test]
fn run_with_an_agent_leaves_nothing() {
    needs!(Machine);
    let w = World::new();
    let agent = notify::agent(&w);
    let both = [("run, agent", true), ("run, agent, may gain", false)];
    for (name, nnp) in both.into_iter().skip(usize::from(!long())) {
        let b = w.bundle(&format!("b{nnp}"), &portrait());
        run(name, &w, &notify::asking(b, &agent, nnp, &["mkdir", "mkdirat"]));
    }
}

/// Binds of directories and files onto what is there and what isn't, tmpfs with what was below,
/// id maps, propagation, read-only trees.
#[test]
fn run_with_every_kind_of_mount_leaves_nothing() {
    needs!(Machine);
    let w = World::new();
    let from = w.path("from");
    std::fs::create_dir_all(from.join("below")).unwrap();
    std::fs::write(from.join("file"), "of the host\n").unwrap();
    let mut script = portrait();
    let look = format!("cat /file /new/dir/file; ls -ln /copied /mapped; {}", script[2]);
    script[2] = &look;
    let b = w.bundle("b", &script);
    let one = json!([{"containerID": 0, "hostID": 5000, "size": 1}]);
    let bind = |from: &std::path::Path, to: &str, options: &[&str]| json!({"destination": to, "type": "bind", "source": from, "options": options});
    let file = from.join("file");
    std::fs::create_dir(b.rootfs("copied")).unwrap();
    std::fs::write(b.rootfs("copied/up"), "of the image\n").unwrap();
    let tmpfs = json!({"destination": "/copied", "type": "tmpfs", "source": "tmpfs",
        "options": ["tmpcopyup", "size=1m"]});
    let ids = json!({"destination": "/mapped", "type": "bind", "source": from,
        "options": ["rbind", "idmap"], "uidMappings": one, "gidMappings": one});
    let b = b
        .and("/mounts", bind(&file, "/file", &["bind", "ro"]))
        .and("/mounts", bind(&from, "/new/dir", &["rbind", "rslave", "rro"]))
        .and("/mounts", bind(&from, "/shared", &["bind", "rshared", "nosuid"]))
        .and("/mounts", tmpfs)
        .and("/mounts", ids)
        .and("/mounts", json!({"destination": "/shared", "options": ["remount", "ro", "bind"]}))
        .with("/linux/rootfsPropagation", "rslave".into());
    run("run, mounts", &w, &b);
}

/// All namespaces but the mounts' are another container's: a process that is in between joins
/// its users first.
#[test]
fn run_in_namespaces_by_path_leaves_nothing() {
    needs!(Machine);
    let w = World::new();
    let first = mapped(w.bundle("first", &["sleep", "1000"]));
    create(&w, &first);
    w.runtime(["start", first.id()]).ok();
    let pid = w.runtime(["state", first.id()]).ok().json()["pid"].clone();
    let kinds = [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")];
    let kinds = kinds.into_iter().chain([("user", "user"), ("cgroup", "cgroup")]);
    let joined =
        kinds.map(|(kind, file)| json!({"type": kind, "path": format!("/proc/{pid}/ns/{file}")}));
    let all: Vec<_> = joined.chain([json!({"type": "mount"})]).collect();
    let b = w.bundle("b", &portrait()).with("/linux/namespaces", all.into());
    let b = b.with("/hostname", "".into());
    run("run, joined", &w, &b);
    w.runtime(["delete", "--force", first.id()]).ok();
}

/// In another's pid namespace it is born last; so is a process of exec where others may look into it.
#[test]
fn who_is_born_among_others_leaves_nothing() {
    needs!(Machine);
    let w = World::new();
    let three = [ALL[0], ALL[1], ALL[2], ("kill its sibling", What::Kill(4)), ALL[3]];
    let caps = json!(["CAP_SYS_PTRACE", "CAP_KILL"]);
    let sets = json!({"bounding": caps, "permitted": caps, "effective": caps});
    let first = w.bundle("first", &["sleep", "1000"]).with("/process/capabilities", sets);
    let words: Vec<&str> = ["exec", first.id()].into_iter().chain(portrait()).collect();
    on("exec, seen", &w, &first, &words, After::Same).strike(&three);
    create(&w, &first);
    w.runtime(["start", first.id()]).ok();
    let pid = w.runtime(["state", first.id()]).ok().json()["pid"].clone();
    let mut b = w.bundle("b", &portrait());
    for kind in b.config["linux"]["namespaces"].as_array_mut().unwrap() {
        if kind["type"] == "pid" {
            kind["path"] = json!(format!("/proc/{pid}/ns/pid"));
        }
    }
    b.write();
    Case::makes("run, seen", &w, &b, &["run", "-b", b.path(), b.id()]).strike(&three);
    w.runtime(["delete", "--force", first.id()]).ok();
}

#[test]
fn create_with_a_terminal_that_fails_leaves_nothing() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]).with("/process/terminal", true.into());
    let socket = engine(&w);
    let words = ["create", "-b", b.path(), "--console-socket", &socket, b.id()];
    Case::makes("create, terminal", &w, &b, &words).strike(&[FAIL]);
}
