//! What `diff` tells, beside what docker 28.5.2 told of the same image and the same script.

use std::fs;
use std::os::unix::fs::symlink;

use e2e::World;

/// busybox and a tree of all that can change.
fn image(w: &World) {
    w.pull("busybox");
    let root = w.path("tree");
    w.cmd("cp").arg("-a").arg(w.busybox_root()).arg(&root).run().ok();
    for dir in ["d/sub", "op/x/y", "app", "meta", "same", "ren/in", "z/dirtofile"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    for file in [
        "d/a",
        "d/b",
        "d/sub/c",
        "op/1",
        "op/x/2",
        "op/x/y/3",
        "app/f",
        "meta/m",
        "same/s",
        "ren/in/r",
        "z/l1",
        "z/typ",
        "z/dirtofile/q",
    ] {
        fs::write(root.join(file), file).unwrap();
    }
    symlink("a", root.join("d/ln")).unwrap();
    fs::hard_link(root.join("z/l1"), root.join("z/l2")).unwrap();
    // What changes within the second of its making, and not in length, counts as the same.
    let touch = ["-exec", "touch", "-h", "-d", "2020-01-01", "{}", "+"];
    w.cmd("find").arg(&root).args(touch).run().ok();
    let tar = w.cmd("tar").arg("-C").arg(&root).args(["-c", "."]).run().ok().stdout;
    w.dhow_cmd(["import", "-", "tree"]).stdin(tar).run().ok();
}

const SCRIPT: &str = r#"
echo new >> /d/a; rm /d/b; touch /newfile; mkdir -p /newdir/sub; echo 1 > /newdir/1; echo 2 > /newdir/sub/2
rm -rf /op; mkdir /op; echo 9 > /op/9; mkdir /op/x; echo 22 > /op/x/2
chmod 600 /meta/m; chown 5 /app; cp -p /same/s /tmp/s; rm /same/s; cp -p /tmp/s /same/s; rm /tmp/s
mv /ren /ren2; rm /z/l1; rm -r /z/dirtofile; echo f > /z/dirtofile; rm /z/typ; mkdir /z/typ; echo in > /z/typ/in
echo tmp > /d/sub/tmp; rm /d/sub/tmp; ln -sf b /d/ln; mkfifo /z/ff2; mknod /z/dev c 1 3
touch /d/sub/c; mkdir -p /data; echo v > /vol/v; echo t > /t/t; echo h >> /etc/hosts; echo "s p" > "/sp ace"
mkdir -p /deep/1/2/3; rm -rf /deep/1; touch /root/.ash_history; chmod 755 /tmp; chmod 1777 /tmp
"#;

/// docker's lines, sorted by path: docker's own order is another each time.
const DOCKERS: &str = "C /app\nA /bnd\nC /d\nC /d/a\nD /d/b\nC /d/ln\nC /d/sub\nC /d/sub/c\nA /data\n\
    A /deep\nC /meta\nC /meta/m\nA /newdir\nA /newdir/1\nA /newdir/sub\nA /newdir/sub/2\nA /newfile\n\
    C /op\nD /op/1\nA /op/9\nC /op/x\nC /op/x/2\nD /op/x/y\nD /ren\nA /ren2\nA /ren2/in\nA /ren2/in/r\n\
    C /root\nA /root/.ash_history\nA /sp ace\nA /t\nA /vol\nC /z\nA /z/dev\nC /z/dirtofile\nA /z/ff2\n\
    D /z/l1\nC /z/typ\nA /z/typ/in";

/// An ordinary user's container makes no device.
fn dockers() -> String {
    let made = |line: &&str| *line != "A /z/dev" || !e2e::mode().is_rootless();
    DOCKERS.lines().filter(made).collect::<Vec<_>>().join("\n")
}

#[test]
fn changes_are_those_docker_tells_running_and_stopped() {
    let w = World::new();
    image(&w);
    let name = w.id("c");
    fs::create_dir(w.path("bound")).unwrap();
    let bind = format!("{}:/bnd", w.path("bound").display());
    let mounts = ["-v", "/vol", "--tmpfs", "/t", "-v", &bind];
    let run = ["run", "-d", "--name", &name];
    w.dhow(run.iter().chain(&mounts).chain(&["tree", "sleep", "1000"])).ok();
    w.dhow(["exec", &name, "sh", "-c", SCRIPT]).ok();
    w.dhow(["diff", &name]).ok().out_is(&dockers());
    w.dhow(["stop", "-t", "0", &name]).ok();
    w.dhow(["container", "diff", &name]).ok().out_is(&dockers());
    w.dhow(["rm", "-v", &name]).ok();
}

#[test]
fn a_container_that_changed_nothing_has_no_changes() {
    let w = World::new();
    w.pull("busybox");
    let name = w.id("c");
    w.dhow(["create", "--name", &name, "busybox", "sleep", "1000"]).ok();
    w.dhow(["diff", &name]).ok().out_is("");
    w.dhow(["start", &name]).ok();
    w.dhow(["diff", &name]).ok().out_is("");
    w.dhow(["diff", "nosuch"]).code(1).err_has("No such container: nosuch");
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn names_that_are_no_text_are_told_as_they_are() {
    let w = World::new();
    w.pull("busybox");
    let name = w.id("c");
    w.dhow(["run", "-d", "--name", &name, "busybox", "sleep", "1000"]).ok();
    let script = "printf x > $(printf '/tmp/a\\377b')";
    w.dhow(["exec", &name, "sh", "-c", script]).ok();
    let done = w.dhow(["diff", &name]).ok();
    assert_eq!(done.stdout, b"C /tmp\nA /tmp/a\xffb\n");
    w.dhow(["rm", "-f", &name]).ok();
}
