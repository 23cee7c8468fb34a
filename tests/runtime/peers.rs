//! The same bundle under Debian's runc and crun: what they print is what we print.

use e2e::{WITHOUT_V2, World, needs};

const LOOK: &str = "id; hostname; pwd; cat /proc/self/cgroup | wc -l; ls /dev; ls -l /proc/self/ns | wc -l; \
    grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status; cut -d' ' -f5 /proc/self/mountinfo | grep -v unified | sort; exit 3";

#[test]
fn runc_prints_the_same() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", LOOK]);
    let theirs = w.cmd("runc").arg("--root").arg(w.path("runc"));
    let theirs = theirs.args(["run", "-b", b.path(), b.id()]).run().code(3);
    let ours = w.runtime(["run", "-b", b.path(), b.id()]).code(3);
    assert_eq!(theirs.out(), ours.out(), "runc left, dhow-runtime right");
}

#[test]
fn crun_prints_the_same() {
    needs!(Machine);
    let w = World::new();
    let simple = "id; hostname; pwd; ls /dev | grep -v core; grep -E 'Cap|NoNewPrivs' /proc/self/status; exit 3";
    let b = w.bundle("b", &["sh", "-c", simple]);
    let theirs = w.cmd("crun").arg("--root").arg(w.path("crun"));
    let theirs = theirs.args(["run", "-b", b.path(), b.id()]).under(WITHOUT_V2).run().code(3);
    let ours = w.runtime(["run", "-b", b.path(), b.id()]).code(3);
    assert_eq!(theirs.out(), ours.out(), "crun left, dhow-runtime right");
}
