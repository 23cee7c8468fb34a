//! Files in and out of containers: `cp`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use e2e::{Done, World, needs};

pub fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

pub fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

/// A small tree of each kind of thing.
pub fn tree(w: &World) -> PathBuf {
    let dir = w.path("tree");
    fs::create_dir_all(dir.join("sub")).unwrap();
    fs::write(dir.join("file"), "hello\n").unwrap();
    fs::write(dir.join("sub/deep"), "deep").unwrap();
    fs::hard_link(dir.join("sub/deep"), dir.join("sub/twin")).unwrap();
    std::os::unix::fs::chown(dir.join("file"), Some(1234), Some(4321)).unwrap();
    fs::set_permissions(dir.join("file"), fs::Permissions::from_mode(0o4750)).unwrap();
    symlink("file", dir.join("link")).unwrap();
    symlink("sub", dir.join("dirlink")).unwrap();
    symlink("/nowhere", dir.join("broken")).unwrap();
    w.cmd("mkfifo").arg(dir.join("fifo")).run().ok();
    w.cmd("mknod").arg(dir.join("device")).args(["c", "1", "3"]).run().ok();
    w.cmd("setfattr").args(["-n", "user.note", "-v", "kept"]).arg(dir.join("file")).run().ok();
    w.cmd("touch").args(["-h", "-d", "2001-02-03 04:05:06.789"]).arg(dir.join("link")).run().ok();
    w.cmd("touch").args(["-d", "2001-02-03 04:05:06.789"]).arg(dir.join("sub")).run().ok();
    dir
}

pub fn cp(w: &World, args: &[&str]) -> Done {
    w.dhow(std::iter::once("cp").chain(args.iter().copied()))
}

#[test]
fn a_tree_goes_in_and_comes_out_as_it_was_running_or_stopped() {
    needs!(Root);
    let w = world();
    let dir = tree(&w);
    let source = dir.display().to_string();
    let name = w.id("c");
    let attributes = |path: &Path| {
        let get = ["--absolute-names", "--only-values", "-n", "user.note"];
        w.cmd("getfattr").args(get).arg(path.join("file")).run().ok().out()
    };
    w.dhow(["create", "--name", &name, "busybox", "sleep", "1000"]).ok();
    for round in ["stopped", "running"] {
        if round == "running" {
            w.dhow(["start", &name]).ok();
        }
        cp(&w, &[&source, &format!("{name}:/{round}")]).ok().out_is("");
        let out = w.path(round);
        cp(&w, &[&format!("{name}:/{round}"), &out.display().to_string()]).ok();
        // docker's client makes files of its user's.
        assert_eq!(fs::metadata(out.join("file")).unwrap().uid(), 0);
        std::os::unix::fs::chown(out.join("file"), Some(1234), Some(4321)).unwrap();
        fs::set_permissions(out.join("file"), fs::Permissions::from_mode(0o4750)).unwrap();
        e2e::tree::same(&dir, &out);
        assert_eq!(attributes(&out), "kept");
        assert_eq!(fs::metadata(out.join("sub")).unwrap().mtime_nsec(), 789_000_000);
    }
    let script = "stat -c '%a %u:%g' /running/file; stat -c %h /running/sub/deep; ls -l /running";
    let said = w.dhow(["exec", &name, "sh", "-c", script]).ok().out();
    assert!(said.starts_with("4750 1234:4321\n2\n") && said.contains("-> /nowhere"), "{said}");
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn names_and_places_follow_dockers_rules() {
    needs!(Root);
    let w = world();
    let t = tree(&w).display().to_string();
    w.dhow(["create", "--name", "cc", "busybox"]).ok();
    let into = |from: &str, to: &str| cp(&w, &[&format!("{t}{from}"), &format!("cc:{to}")]);
    let list = |dir: &str| {
        let dir = format!("cc:{dir}");
        let tar = cp(&w, &[&dir, "-"]).ok().stdout;
        w.cmd("tar").args(["-t"]).stdin(tar).run().ok().out()
    };
    into("", "/new").ok(); // a directory that lacks takes the name
    into("", "/new").ok(); // one that is there takes it all
    assert!(list("/new/tree/sub").contains("sub/deep"));
    into("/.", "/flat").ok();
    into("/.", "/flat").ok();
    assert!(list("/flat").contains("flat/file\n") && !list("/flat").contains("tree"));
    into("/file", "/named").ok();
    into("/link", "/flat/l").ok();
    into("/file", "bin/").ok(); // relative to the root
    into("/file", "../../up").ok();
    for (path, names) in [
        ("/named", "named"),
        ("/up", "up"),
        ("/flat/sub", "sub/\nsub/deep\nsub/twin"),
        ("/flat/sub/", "sub/\nsub/deep\nsub/twin"),
        ("/flat/sub/.", "./\n./deep\n./twin"),
        ("/flat/l", "l"),
        ("/bin/file", "file"),
    ] {
        assert_eq!(list(path), names, "{path}");
    }
    // A link at the destination is followed, also one that leads to nothing yet.
    symlink("/flat/later", w.path("tree/later")).unwrap();
    into("/later", "/later").ok();
    into("/file", "/later").ok();
    assert_eq!(list("/flat/later"), "later");
    into("/file", "/dirs").ok();
    let out = |from: &str, to: &str| cp(&w, &[&format!("cc:{from}"), to]);
    out("/flat/sub", "here").ok();
    out("/flat/sub", "here").ok();
    assert_eq!(text(w.path("here/sub/twin")), "deep");
    out("/flat/link", "link").ok();
    assert_eq!(fs::read_link(w.path("link")).unwrap(), Path::new("file"));
    cp(&w, &["-L", "cc:/flat/link", "followed"]).ok();
    assert_eq!(text(w.path("followed")), "hello\n");
    cp(&w, &["-L", "cc:/flat/dirlink", "followed-dir"]).ok();
    assert_eq!(text(w.path("followed-dir/deep")), "deep");
    cp(&w, &["-L", &format!("{t}/dirlink"), "cc:/from-link"]).ok();
    assert!(list("/from-link").contains("from-link/deep"));
    w.dhow(["rm", "cc"]).ok();
}

#[test]
fn what_cannot_be_copied_is_said_in_dockers_words() {
    needs!(Root);
    let w = world();
    let t = tree(&w).display().to_string();
    let f = format!("{t}/file");
    w.dhow(["create", "--name", "cc", "busybox"]).ok();
    let missing = |path: &str| format!("Could not find the file {path} in container cc");
    for (from, to, words) in [
        ("nosuch:/x", ".", "No such container: nosuch".to_owned()),
        ("cc:/nope", ".", missing("/nope")),
        ("cc:/nope/", "-", missing("/nope/")),
        ("cc:/etc/passwd/", ".", "lstat /etc/passwd/: not a directory".into()),
        ("cc:/etc/passwd", "no/x", "invalid output path: directory".into()),
        ("cc:/etc/passwd", "no/", "no such directory".into()),
        ("cc:/etc", &f, "cannot copy directory".into()),
        (
            "cc:/etc/passwd",
            "/dev/null",
            "must be a directory or a regular file: got a device".into(),
        ),
        ("a", "b", "must specify at least one container source".into()),
        ("cc:/x", "d:/y", "copying between containers is not supported".into()),
        ("", "cc:/", "source can not be empty".into()),
        (&f, "", "destination can not be empty".into()),
        ("none", "cc:/", "none: no such file or directory".into()),
        (&t, "cc:/etc/passwd", "cannot copy directory".into()),
        (&f, "cc:/no/x", missing("/no")),
        (&f, "cc:/no/", "no such directory".into()),
        (&f, "cc:", "no such directory".into()),
        (&t, "cc:/no/x", missing("/no")),
        (&f, "cc:/etc/passwd/", "no such directory".into()),
        ("-", "cc:/no", "destination \"cc:/no\" must be a directory".into()),
        ("-", "cc:/etc/passwd", "destination \"cc:/etc/passwd\" must be a directory".into()),
    ] {
        let done = cp(&w, &[from, to]).code(1).out_is("");
        let _ = done.err_has(&words);
    }
    // Files and directories never replace each other.
    fs::create_dir_all(w.path("a/etc/passwd")).unwrap();
    fs::create_dir_all(w.path("b")).unwrap();
    fs::write(w.path("b/etc"), "").unwrap();
    let over = "cannot overwrite non-directory \"etc/passwd\" with directory \"/\"";
    cp(&w, &["a/.", "cc:/"]).code(1).err_has(over);
    let over = "cannot overwrite directory \"etc\" with non-directory \"/\"";
    cp(&w, &["b/etc", "cc:/"]).code(1).err_has(over);
    let b = w.path("b").display().to_string();
    let over = format!("cannot overwrite non-directory \"{b}/etc\" with directory \"{b}\"");
    cp(&w, &["cc:/etc", "b/"]).code(1).err_has(&over);
    w.dhow(["rm", "cc"]).ok();
}

#[test]
fn success_is_told_with_dockers_size_and_only_when_it_is_wanted() {
    let w = world();
    fs::write(w.path("f"), "hello\n").unwrap();
    w.dhow(["create", "--name", "cc", "busybox"]).ok();
    let told = |args: &[&str]| {
        let done = cp(&w, args).ok().out_is("");
        String::from_utf8(done.stderr).unwrap()
    };
    assert_eq!(told(&["f", "cc:/f"]), "");
    assert_eq!(told(&["-q=false", "f", "cc:/f"]), "Successfully copied 2.05kB to cc:/f\n");
    let here = w.path("g").display().to_string();
    let words = format!("Successfully copied 2.05kB to {here}\n");
    assert_eq!(told(&["--quiet=false", "cc:/f", "g"]), words);
    let mut t = w.dhow_pty(["cp", "f", "cc:/f"]);
    t.expect("Copying to container - ");
    t.expect("Successfully copied 2.05kB to cc:/f");
    assert_eq!(t.wait(), 0);
    let mut t = w.dhow_pty(["cp", "-q", "f", "cc:/f"]);
    assert_eq!(t.wait(), 0);
    w.dhow(["rm", "cc"]).ok();
}

#[test]
fn archive_mode_gives_copies_to_the_containers_user() {
    needs!(Root);
    let w = world();
    tree(&w);
    w.dhow(["create", "--name", "cc", "-u", "1000:7", "busybox"]).ok();
    cp(&w, &["-a", "tree", "cc:/a"]).ok();
    cp(&w, &["tree", "cc:/b"]).ok();
    let owner = |path: &str| {
        let tar = cp(&w, &[path, "-"]).ok().stdout;
        let line = w.cmd("tar").args(["-tv", "--numeric-owner"]).stdin(tar).run().ok().out();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(owner("cc:/a/file"), "1000/7");
    assert_eq!(owner("cc:/a"), "1000/7");
    assert_eq!(owner("cc:/b/file"), "1234/4321");
    w.dhow(["rm", "cc"]).ok();
}

#[test]
fn volumes_binds_and_tmpfs_are_where_the_container_has_them() {
    let w = world();
    fs::create_dir(w.path("bound")).unwrap();
    fs::write(w.path("f"), "new").unwrap();
    fs::write(w.path("one"), "old").unwrap();
    let bind = format!("{}:/bound", w.path("bound").display());
    let locked = format!("{}:/locked:ro", w.path("bound").display());
    let single = format!("{}:/etc/one", w.path("one").display());
    let name = w.id("c");
    let mounts = ["-v", "store:/etc/deep", "-v", &bind, "-v", &locked, "-v", &single];
    let more = ["--tmpfs", "/t", "busybox", "sleep", "1000"];
    let create = ["create", "--name", &name];
    w.dhow(create.iter().chain(&mounts).chain(&more)).ok();
    let at = |path: &str| format!("{name}:{path}");
    for round in 0..2 {
        cp(&w, &["f", &at("/etc/deep/x")]).ok();
        cp(&w, &["f", &at("/bound")]).ok();
        assert_eq!(text(w.path("bound/f")), "new");
        cp(&w, &["f", &at("/locked/")]).code(1).err_has("mounted volume is marked read-only");
        // A file that is mounted alone can't be replaced, only written: docker gives up there.
        cp(&w, &["f", &at("/etc/one")]).ok();
        assert_eq!(text(w.path("one")), "new");
        fs::write(w.path("one"), "a longer old text").unwrap();
        let all = w.path(format!("all{round}")).display().to_string();
        cp(&w, &[&at("/etc"), &all]).ok();
        assert_eq!(text(w.path(format!("all{round}/deep/x"))), "new");
        w.dhow(["start", &name]).ok();
    }
    w.dhow(["exec", &name, "mkdir", "/t/d"]).ok();
    cp(&w, &["f", &at("/t/d/")]).ok();
    w.dhow(["exec", &name, "cat", "/t/d/f", "/etc/deep/x"]).ok().out_is("newnew");
    cp(&w, &["f", &at("/etc/hosts")]).ok();
    w.dhow(["exec", &name, "cat", "/etc/hosts"]).ok().out_is("new");
    // The kernel's own file systems are none of the container's files.
    cp(&w, &[&at("/proc/1/status"), "."]).code(1).err_has("Could not find the file");
    w.dhow(["rm", "-f", &name]).ok();
    w.dhow(["volume", "rm", "store"]).ok();
}

#[test]
fn a_read_only_root_takes_nothing_but_its_volumes_do() {
    let w = world();
    fs::write(w.path("f"), "x").unwrap();
    let name = w.id("c");
    let create = ["create", "--read-only", "-v", "/data", "--name", &name, "busybox"];
    w.dhow(create.iter().chain(&["sleep", "1000"])).ok();
    for _ in 0..2 {
        let refused = cp(&w, &["f", &format!("{name}:/f")]).code(1);
        let _ = refused.err_has("container rootfs is marked read-only");
        cp(&w, &["f", &format!("{name}:/data/f")]).ok();
        cp(&w, &[&format!("{name}:/etc/passwd"), "p"]).ok();
        w.dhow(["start", &name]).ok();
    }
    w.dhow(["rm", "-f", "-v", &name]).ok();
}

/// M fb3702d033 (docker 24): an absolute link such as /var/run -> /run is resolved in the container.
#[test]
fn absolute_links_in_a_container_lead_inside_it() {
    let w = world();
    fs::write(w.path("f"), "mine").unwrap();
    let name = w.id("c");
    let script = "mkdir -p /run/app; ln -s /run /var/run; echo in > /run/app/pid; sleep 1000";
    w.dhow(["run", "-d", "--name", &name, "busybox", "sh", "-c", script]).ok();
    e2e::until("the link is there", || {
        cp(&w, &[&format!("{name}:/var/run/app/pid"), "pid"]).code == 0
    });
    assert_eq!(text(w.path("pid")), "in\n");
    cp(&w, &["f", &format!("{name}:/var/run/app/f")]).ok();
    w.dhow(["exec", &name, "cat", "/run/app/f"]).ok().out_is("mine");
    assert!(!Path::new("/run/app/f").exists());
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn holes_stay_holes() {
    let w = world();
    let holes = fs::File::create(w.path("holes")).unwrap();
    holes.write_all_at(b"middle", 3 << 30).unwrap();
    holes.set_len(8 << 30).unwrap();
    w.dhow(["create", "--name", "cc", "busybox"]).ok();
    cp(&w, &["holes", "cc:/holes"]).ok();
    cp(&w, &["cc:/holes", "back"]).ok();
    let meta = fs::metadata(w.path("back")).unwrap();
    assert_eq!(meta.len(), 8 << 30);
    assert!(meta.blocks() * 512 < 1 << 20, "{} blocks", meta.blocks());
    let mut middle = [0; 6];
    fs::File::open(w.path("back")).unwrap().read_exact_at(&mut middle, 3 << 30).unwrap();
    assert_eq!(&middle, b"middle");
    w.dhow(["rm", "cc"]).ok();
}

#[test]
fn what_goes_out_as_a_tar_comes_in_as_one_also_compressed() {
    needs!(Root);
    let w = world();
    tree(&w);
    w.dhow(["create", "--name", "cc", "busybox"]).ok();
    cp(&w, &["tree", "cc:/one"]).ok();
    let tar = cp(&w, &["cc:/one/.", "-"]).ok().stdout;
    assert_eq!(tar, cp(&w, &["cc:/one/.", "-"]).ok().stdout, "the same bytes each time");
    let gzip = w.cmd("gzip").stdin(tar.clone()).run().ok().stdout;
    for (place, bytes) in [("two", tar), ("three", gzip)] {
        fs::create_dir(w.path(place)).unwrap();
        cp(&w, &[place, &format!("cc:/{place}")]).ok();
        w.dhow_cmd(["cp", "-", &format!("cc:/{place}")]).stdin(bytes).run().ok();
        let (one, other) = (w.path("x1"), w.path("x2"));
        cp(&w, &["cc:/one", "x1"]).ok();
        cp(&w, &[&format!("cc:/{place}"), "x2"]).ok();
        e2e::tree::same(&one, &other);
        fs::remove_dir_all(one).unwrap();
        fs::remove_dir_all(other).unwrap();
    }
    w.dhow(["rm", "cc"]).ok();
}

/// Between two lives of a restart policy nobody has the root mounted, and its files are there still.
#[test]
fn a_container_that_fails_again_and_again_can_be_looked_into_and_mended() {
    let w = world();
    let name = w.id("c");
    // A copy that has only begun mends nothing.
    let script = "date +%s%N >> /tries; grep mended /fix && sleep 1000; exit 1";
    let run = ["run", "-d", "--restart", "always", "--name", &name, "busybox", "sh", "-c", script];
    w.dhow(run).ok();
    for n in 0..3 {
        e2e::until("it has tried", || {
            cp(&w, &[&format!("{name}:/tries"), &format!("tries{n}")]).code == 0
        });
    }
    fs::write(w.path("fix"), "mended\n").unwrap();
    cp(&w, &["fix", &format!("{name}:/fix")]).ok();
    e2e::until("it stays", || w.dhow(["logs", &name]).out().contains("mended"));
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn verbs_on_files_are_told_as_docker_tells_them() {
    let w = world();
    fs::write(w.path("f"), "x").unwrap();
    w.dhow(["create", "--name", "cc", "busybox"]).ok();
    cp(&w, &["f", "cc:/f"]).ok();
    cp(&w, &["cc:/f", "g"]).ok();
    w.dhow(["export", "-o", "x.tar", "cc"]).ok();
    let id = w.dhow(["commit", "-m", "why", "cc", "made"]).ok().out();
    let events = w.dhow(["events", "--since", "1h", "--until", "0s", "--filter", "container=cc"]);
    let told = events.ok().out();
    for part in ["extract-to-dir", "archive-path", "export", "comment=why", "imageRef=made"] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(told.contains(&format!("imageID={id}")), "{told}");
    w.dhow(["rm", "cc"]).ok();
}

/// A start of a container whose files are being copied waits, and both come right.
#[test]
fn a_stopped_container_is_not_started_under_a_copy() {
    let w = world();
    let name = w.id("c");
    w.dhow(["create", "--name", &name, "busybox", "cat", "/tmp/big"]).ok();
    let mut copy = w.dhow_cmd(["cp", "-", &format!("{name}:/tmp")]).start();
    let mut feed = copy.stdin.take().unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(5);
    header.set_mode(0o644);
    tar.append_data(&mut header, "big", &b"hello"[..]).unwrap();
    let tar = tar.into_inner().unwrap();
    feed.write_all(&tar[..600]).unwrap();
    // Its holder has found that it doesn't run, and says in the lock that it lets go again.
    let held = w.run_dir().join("monitors");
    e2e::until("the copy holds it", || {
        let locks = fs::read_dir(&held).into_iter().flatten().flatten();
        let mut locks = locks.map(|dir| fs::metadata(dir.path().join("lock")));
        locks.any(|lock| lock.is_ok_and(|lock| lock.len() > 0))
    });
    let other = w.dhow_cmd(["start", "-a", &name]).start();
    w.dhow(["ps", "-a"]).ok().out_has("Created");
    feed.write_all(&tar[600..]).unwrap();
    drop(feed);
    assert!(copy.wait().unwrap().success());
    let said = other.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "hello");
    w.dhow(["rm", "-f", &name]).ok();
}
