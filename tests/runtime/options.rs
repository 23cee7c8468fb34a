//! The options of mounts: the spec's table, as the kernel shows it inside.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use e2e::bundle::Bundle;
use e2e::{Done, World, needs};
use serde_json::{Value, json};

/// Prints a mount's options as the container sees them.
const LOOK: &str = "awk '$2 == \"/in\" {print $4}' /proc/self/mounts";

fn bind(source: &std::path::Path, options: &[&str]) -> Value {
    json!({"destination": "/in", "source": source, "options": options})
}

pub fn users(w: &World, b: Bundle) -> Bundle {
    w.cmd("chown").args(["-hR", "100000:100000"]).arg(b.rootfs("")).run().ok();
    w.cmd("chmod").arg("755").arg(w.path("")).run().ok();
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let b = b.and("/linux/namespaces", json!({"type": "user"}));
    b.with("/linux/uidMappings", map.clone()).with("/linux/gidMappings", map)
}

/// What a bind of a tmpfs with the flags `host` gives, with `options`.
fn flags(in_users: bool, host: &str, options: &[&str]) -> Done {
    let w = World::new();
    let dir = w.path("source");
    fs::create_dir(&dir).unwrap();
    let b = w.bundle("b", &["sh", "-c", LOOK]);
    let b = if in_users { users(&w, b) } else { b };
    let b = b.and("/mounts", bind(&dir, options));
    // The flags of the one mount, not of the file system, on a mount of its own namespace.
    let script = format!(
        "mount -t tmpfs -o rw,suid,dev,exec,strictatime,mode=755 tmpfs {0} && \
         mount --bind -o remount,diratime,strictatime {0} && \
         mount --bind -o remount,{host} {0} && exec \"$@\"",
        dir.display()
    );
    let under = ["unshare", "-m", "sh", "-c", &script, "sh"];
    w.runtime_cmd(["run", "-b", b.path(), b.id()]).under(under).run()
}

#[track_caller]
fn has(done: &Done, with: &[&str], without: &[&str]) {
    let line = done.out();
    let words: Vec<&str> = line.trim().split(',').collect();
    for word in with {
        assert!(words.contains(word), "no {word} in {line}");
    }
    for word in without {
        assert!(!words.contains(word), "{word} in {line}");
    }
}

#[test]
fn a_bind_without_options_keeps_the_flags_of_its_source() {
    needs!(Root);
    for users in [false, true] {
        let done = flags(users, "ro,noexec,nosymfollow,nodiratime", &["bind"]).ok();
        has(&done, &["ro", "noexec", "nosymfollow", "nodiratime"], &["rw"]);
    }
}

#[test]
fn a_bind_with_options_has_those_and_no_others() {
    needs!(Root);
    let done = flags(false, "ro,noexec,nosymfollow,nodiratime", &["bind", "dev"]).ok();
    has(&done, &["rw", "nodiratime"], &["ro", "noexec", "nosymfollow"]);
    let done = flags(false, "nodev,nosuid,noexec,noatime", &["bind", "ro"]).ok();
    has(&done, &["ro", "noatime"], &["nodev", "nosuid", "noexec"]);
}

#[test]
fn in_a_user_namespace_the_sources_flags_are_locked() {
    needs!(ManyIds);
    let done = flags(true, "ro,noexec,nosymfollow,nodiratime", &["bind", "dev"]).ok();
    has(&done, &["ro", "noexec", "nodiratime"], &["rw", "nosymfollow"]);
    let done = flags(true, "ro", &["bind", "nosuid", "nodev", "rprivate"]).ok();
    has(&done, &["ro", "nosuid", "nodev"], &[]);
    let done = flags(true, "relatime,nodev", &["bind", "ro"]).ok();
    has(&done, &["ro", "nodev", "relatime"], &["noatime"]);
    let done = flags(true, "ro", &["bind", "rw", "nosuid"]).refused();
    done.err_has("MS_RDONLY").err_has("operation not permitted").err_has("/mounts/7");
    flags(true, "noatime", &["bind", "relatime"]).refused().err_has("MS_NOATIME");
}

#[test]
fn access_times_of_a_bind_change_only_when_asked() {
    type Case<'a> = (&'a str, &'a [&'a str], &'a [&'a str], &'a [&'a str]);
    needs!(Root);
    let cases: [Case<'_>; 7] = [
        ("noatime", &["bind", "norelatime"], &["noatime"], &["relatime"]),
        ("noatime", &["bind", "atime"], &["noatime"], &["relatime"]),
        ("noatime", &["bind", "relatime"], &["relatime"], &["noatime"]),
        ("noatime", &["bind", "nodiratime"], &["nodiratime", "relatime"], &["noatime"]),
        ("nodiratime", &["bind", "strictatime"], &[], &["noatime", "relatime", "nodiratime"]),
        ("noatime", &["bind", "noatime", "strictatime"], &[], &["noatime", "relatime"]),
        ("relatime", &["bind", "rnoatime"], &["noatime"], &["relatime"]),
    ];
    for (host, options, with, without) in cases {
        has(&flags(false, host, options).ok(), with, without);
    }
}

/// Runs a bundle with these further mounts.
fn with_mounts(w: &World, script: &str, mounts: &[Value]) -> Done {
    let mut b = w.bundle("b", &["sh", "-c", script]);
    b.config["mounts"].as_array_mut().unwrap().extend(mounts.iter().cloned());
    b.write();
    let done = w.runtime(["run", "-b", b.path(), b.id()]);
    fs::remove_dir_all(b.dir()).unwrap();
    done
}

#[test]
fn every_plain_option_is_taken_by_a_new_file_system() {
    let w = World::new();
    let tmpfs = |options: &[&str]| json!({"destination": "/in", "type": "tmpfs", "source": "t", "options": options});
    let cases: [(&[&str], &[&str]); 9] = [
        (&["ro", "nosuid", "nodev", "noexec"], &["ro", "nosuid", "nodev", "noexec"]),
        (&["nosymfollow", "nodiratime"], &["nosymfollow", "nodiratime", "relatime"]),
        (&["noatime"], &["noatime"]),
        (&["sync"], &["sync"]),
        (&["dirsync"], &["dirsync"]),
        (&["lazytime"], &["lazytime"]),
        (&["defaults", "async", "atime", "dev", "diratime", "exec", "loud", "nolazytime"], &["rw"]),
        (&["silent", "iversion", "noiversion", "mand", "nomand", "suid", "symfollow"], &["rw"]),
        (&["norelatime", "nostrictatime", "relatime", "rw", "size=64k"], &["rw", "size=64k"]),
    ];
    for (options, with) in cases {
        has(&with_mounts(&w, LOOK, &[tmpfs(options)]).ok(), with, &[]);
    }
}

#[test]
fn recursive_options_reach_the_mounts_below_a_bind_and_plain_ones_do_not() {
    needs!(Root);
    let w = World::new();
    let dir = w.path("source");
    fs::create_dir_all(dir.join("sub")).unwrap();
    let look = "awk '$2 ~ \"^/in\" {print $4}' /proc/self/mounts | cut -d, -f1-3";
    let cases: [(&str, &str, &str); 8] = [
        ("ro", "ro,relatime", "rw,relatime"),
        ("rro", "ro,relatime", "ro,relatime"),
        ("rnosuid", "rw,nosuid,relatime", "rw,nosuid,relatime"),
        ("rnodev", "rw,nodev,relatime", "rw,nodev,relatime"),
        ("rnoexec", "rw,noexec,relatime", "rw,noexec,relatime"),
        ("rnoatime", "rw,noatime", "rw,noatime"),
        ("rnodiratime", "rw,nodiratime,relatime", "rw,nodiratime,relatime"),
        ("rnosymfollow", "rw,relatime,nosymfollow", "rw,relatime,nosymfollow"),
    ];
    for (option, top, below) in cases {
        let b = w.bundle("b", &["sh", "-c", look]).and("/mounts", bind(&dir, &["rbind", option]));
        let script = format!("mount -t tmpfs -o size=4k t {}/sub && exec \"$@\"", dir.display());
        let under = ["unshare", "-m", "sh", "-c", &script, "sh"];
        let lines = w.runtime_cmd(["run", "-b", b.path(), b.id()]).under(under).run().ok().lines();
        assert!(lines[0].starts_with(top) && lines[1].starts_with(below), "{option}: {lines:?}");
        fs::remove_dir_all(b.dir()).unwrap();
    }
}

#[test]
fn remount_changes_what_an_earlier_entry_mounted() {
    let w = World::new();
    let tmpfs = json!({"destination": "/in", "type": "tmpfs", "source": "t", "options": ["size=64k", "nosuid"]});
    let again = |options: &[&str]| json!({"destination": "/in", "type": "tmpfs", "source": "t", "options": options});
    let done = with_mounts(&w, LOOK, &[tmpfs.clone(), again(&["remount", "ro", "size=128k"])]).ok();
    has(&done, &["ro", "size=128k"], &["nosuid"]);
    let done = with_mounts(&w, LOOK, &[tmpfs, again(&["remount", "bind", "noexec"])]).ok();
    has(&done, &["rw", "noexec", "size=64k"], &["nosuid"]);
    // What isn't a mount has no flags.
    with_mounts(&w, LOOK, &[again(&["remount", "ro"])]).refused().err_has("/in (/mounts/7)");
}

#[test]
fn tmpfs_takes_the_mode_of_what_it_covers_and_its_own_default_elsewhere() {
    let w = World::new();
    let tmpfs = |to: &str, options: &[&str]| json!({"destination": to, "type": "tmpfs", "source": "t", "options": options});
    let b = w.bundle("b", &["stat", "-c", "%a", "/covered", "/fresh/a", "/told"]);
    for name in ["covered", "told"] {
        fs::create_dir(b.rootfs(name)).unwrap();
        fs::set_permissions(b.rootfs(name), fs::Permissions::from_mode(0o710)).unwrap();
    }
    let b = b.and("/mounts", tmpfs("/covered", &[])).and("/mounts", tmpfs("/fresh/a", &[]));
    let b = b.and("/mounts", tmpfs("/told", &["mode=1500"]));
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("710\n1777\n1500");
    assert_eq!(fs::metadata(b.rootfs("fresh/a")).unwrap().permissions().mode() & 0o7777, 0o755);
}

#[test]
fn tmpcopyup_copies_what_is_covered_also_into_a_read_only_tmpfs() {
    let w = World::new();
    for options in [&["tmpcopyup"][..], &["tmpcopyup", "ro"]] {
        let b = w.bundle(
            "b",
            &[
                "sh",
                "-c",
                "stat -c %a /top/sub; cat /top/sub/file; readlink /top/l; touch /top/x 2>&1",
            ],
        );
        fs::create_dir_all(b.rootfs("top/sub")).unwrap();
        fs::set_permissions(b.rootfs("top/sub"), fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(b.rootfs("top/sub/file"), "gold\n").unwrap();
        symlink("sub/file", b.rootfs("top/l")).unwrap();
        let b = b.and(
            "/mounts",
            json!({"destination": "/top", "type": "tmpfs", "source": "t", "options": options}),
        );
        let done = w.runtime(["run", "-b", b.path(), b.id()]);
        assert!(done.out().starts_with("777\ngold\nsub/file"), "{done}");
        assert_eq!(done.out().contains("Read-only"), options.len() == 2, "{done}");
        assert!(!b.rootfs("top/x").exists());
        fs::remove_dir_all(b.dir()).unwrap();
    }
}

#[test]
fn relative_destination_and_source_are_below_the_root_and_the_bundle() {
    let w = World::new();
    let mount = json!({"destination": "in/there", "source": "config.json", "options": ["bind"]});
    let done = with_mounts(&w, "test -s /in/there && echo 1", &[mount]).ok().out_is("1");
    done.err_has("/mounts/7/destination").err_has("not absolute");
}

#[test]
fn file_is_made_where_a_dangling_link_of_the_root_points() {
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "test -s /tmp/foo/hosts && echo 1"]);
    symlink("/tmp/foo", b.rootfs("jump")).unwrap();
    symlink("/jump/hosts", b.rootfs("target")).unwrap();
    let mount = json!({"destination": "/target", "source": "config.json", "options": ["bind"]});
    let b = b.and("/mounts", mount);
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("1");
}

#[test]
fn option_that_no_table_knows_goes_to_the_file_system() {
    let w = World::new();
    let tmpfs =
        json!({"destination": "/in", "type": "tmpfs", "source": "t", "options": ["nosuchoption"]});
    with_mounts(&w, "true", &[tmpfs]).refused().err_has("nosuchoption").err_has("/mounts/7");
    // A bind has none: what is meant for one is left out, and said.
    let done = with_mounts(&w, LOOK, &[bind(&w.path(""), &["bind", "size=4k"])]).ok();
    done.err_has("/mounts/7/options/1").err_has("warning");
}

#[test]
fn read_only_file_system_on_a_device_is_never_written() {
    needs!(FullKernel);
    let w = World::new();
    let image = w.path("disk");
    w.cmd("truncate").args(["-s", "4M"]).arg(&image).run().ok();
    w.cmd("mkfs.ext4").args(["-q", "-F"]).arg(&image).run().ok();
    let attach = w.cmd("losetup").args(["--read-only", "--find", "--show"]).arg(&image);
    let device = attach.run().ok().out();
    let mount = json!({"destination": "/in", "type": "ext4", "source": device, "options": ["ro"]});
    let b = w.bundle("b", &["sh", "-c", LOOK]).and("/mounts", mount);
    // The device cgroup holds for mounts too.
    let b = b.with("/linux/resources/devices", json!([{"allow": true, "access": "rwm"}]));
    let done = w.runtime(["run", "-b", b.path(), b.id()]);
    w.cmd("losetup").args(["-d", &device]).run().ok();
    has(&done.ok(), &["ro"], &[]);
}

#[test]
fn read_only_dev_has_its_nodes_and_its_console() {
    let w = World::new();
    let mut b = w.bundle("b", &["sh", "-c", "ls /dev/null /dev/console; touch /dev/x"]);
    b.config["mounts"][1]["options"].as_array_mut().unwrap().push("ro".into());
    let b = b.with("/process/terminal", true.into());
    let mut t = e2e::Pty::start(w.runtime_cmd(["run", "-b", b.path(), b.id()]));
    t.expect("/dev/console");
    t.expect("/dev/null");
    t.expect("Read-only file system");
    assert_eq!(t.wait(), 1);
}

#[test]
fn read_only_tmpfs_takes_the_mounts_below_it() {
    let w = World::new();
    let tmpfs =
        |to: &str| json!({"destination": to, "type": "tmpfs", "source": "t", "options": ["ro"]});
    let script = "grep -c ' /in' /proc/self/mounts; touch /in/x /in/a/b/x 2>&1";
    let done = with_mounts(&w, script, &[tmpfs("/in"), tmpfs("/in/a/b")]).code(1);
    assert!(
        done.out().starts_with("2\n") && done.out().matches("Read-only").count() == 2,
        "{done}"
    );
}

#[test]
fn mount_label_is_left_out_where_nothing_reads_it() {
    let w = World::new();
    assert!(!std::path::Path::new("/sys/fs/selinux/enforce").exists(), "not a host to show it on");
    let b = w.bundle("b", &["true"]);
    let b = b.with("/linux/mountLabel", "system_u:object_r:container_file_t:s0:c1,c2".into());
    w.runtime(["run", "-b", b.path(), b.id()]).ok().err_has("mount labels are left out");
}

#[test]
fn options_longer_than_the_mount_api_takes() {
    needs!(Root);
    let w = World::new();
    let lower: Vec<_> = ["a", "b"].map(|name| w.path(name.repeat(150))).into_iter().collect();
    for (n, dir) in lower.iter().enumerate() {
        fs::create_dir(dir).unwrap();
        fs::write(dir.join(format!("file{n}")), "").unwrap();
    }
    let option = format!("lowerdir={}:{}", lower[0].display(), lower[1].display());
    let overlay = json!({"destination": "/in", "type": "overlay", "source": "overlay",
        "options": [option, "nosuid", "ro"]});
    let done = with_mounts(&w, &format!("ls /in; {LOOK}"), &[overlay]).ok();
    let lines = done.lines();
    assert_eq!(lines[..2], ["file0", "file1"]);
    assert!(lines[2].starts_with("ro,nosuid,"), "{done}");
}

#[test]
fn bind_over_the_root_is_the_root() {
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "cat /mark; ls /dev/null; touch /x 2>&1"]);
    let other = w.path("other");
    w.cmd("cp").arg("-a").arg(b.rootfs("")).arg(&other).run().ok();
    fs::write(other.join("mark"), "other\n").unwrap();
    let mut b = b.with("/root/readonly", true.into());
    let over = json!({"destination": "/", "source": other, "options": ["bind"]});
    b.config["mounts"].as_array_mut().unwrap().insert(0, over);
    b.write();
    let done = w.runtime(["run", "-b", b.path(), b.id()]).code(1);
    assert!(done.out().starts_with("other\n/dev/null\n"), "{done}");
    assert!(done.out().contains("Read-only"), "{done}");
    let tmpfs = json!({"destination": "/", "type": "tmpfs", "source": "t"});
    fs::remove_dir_all(b.dir()).unwrap();
    with_mounts(&w, "true", &[tmpfs]).refused().err_has("/mounts/7/destination");
}

/// A bundle whose /in is a link to nowhere, and on the host a link `l` to a file.
fn with_links(w: &World, in_users: bool, options: &[&str], args: &[&str]) -> Bundle {
    let file = w.path("file");
    if !file.exists() {
        fs::write(&file, "cargo").unwrap();
        symlink("file", w.path("l")).unwrap();
    }
    let b = w.bundle(&format!("{in_users}-{}", options.join("-")), args);
    symlink("/nowhere", b.rootfs("in")).unwrap();
    let b = if in_users { users(w, b) } else { b };
    b.and("/mounts", bind(&w.path("l"), options))
}

#[test]
fn a_link_at_either_end_of_a_bind_may_be_meant_itself() {
    needs!(ManyIds);
    let w = World::new();
    for users in [false, true] {
        let b = with_links(&w, users, &["bind", "dest-nofollow"], &["cat", "/in"]);
        w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("cargo");
        assert!(!b.rootfs("nowhere").exists());
        let both = ["bind", "dest-nofollow", "src-nofollow"];
        let b = with_links(&w, users, &both, &["readlink", "/in"]);
        w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("file");
        assert_eq!(fs::read_link(b.rootfs("in")).unwrap().to_str(), Some("/nowhere"));
    }
}

#[test]
fn a_link_over_proc_does_not_go_by_its_own_name() {
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    symlink("x", w.path("l")).unwrap();
    symlink("/proc", b.rootfs("way")).unwrap();
    let link = json!({"destination": "/way/self", "source": w.path("l"),
        "options": ["bind", "src-nofollow", "dest-nofollow"]});
    let b = b.and("/mounts", link);
    w.runtime(["run", "-b", b.path(), b.id()]).refused().err_has("leads to /proc");
}

#[test]
fn a_link_is_copied_where_that_is_asked_for() {
    needs!(ManyIds);
    let w = World::new();
    symlink("point/to/nowhere", w.path("broken")).unwrap();
    let copied = json!({"destination": "/in/side/l", "source": w.path("broken"),
        "options": ["rbind", "copy-symlink"]});
    for in_users in [false, true] {
        let b = w.bundle(&format!("{in_users}"), &["readlink", "/in/side/l"]);
        let b = if in_users { users(&w, b) } else { b };
        let b = b.and("/mounts", copied.clone());
        for _ in 0..2 {
            w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("point/to/nowhere");
        }
        fs::remove_file(b.rootfs("in/side/l")).unwrap();
        symlink("elsewhere", b.rootfs("in/side/l")).unwrap();
        let done = w.runtime(["run", "-b", b.path(), b.id()]).refused();
        done.err_has("copy the link to /in/side/l").err_has("exists");
    }
    // What is no link is bound.
    fs::write(w.path("plain"), "cargo").unwrap();
    let b = w.bundle("plain", &["cat", "/in"]);
    let b = b.and("/mounts", bind(&w.path("plain"), &["bind", "copy-symlink"]));
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("cargo");
}

#[test]
fn a_sysfs_that_may_not_be_mounted_is_the_hosts_to_read() {
    needs!(ManyIds);
    let w = World::new();
    let look = "ls /sys/class/net/lo/address && grep ' /sys' /proc/self/mounts";
    let mut b = users(&w, w.bundle("b", &["sh", "-c", look]));
    b.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "network");
    // Nothing is asked for, and still: never to be written to.
    for mount in b.config["mounts"].as_array_mut().unwrap() {
        if mount["type"] == "sysfs" {
            mount["options"] = json!(["nosuid"]);
        }
    }
    b.config["mounts"].as_array_mut().unwrap().retain(|m| m["type"] != "cgroup");
    b.write();
    let lines = w.runtime(["run", "-b", b.path(), b.id()]).ok().lines();
    assert!(lines[1].contains(" /sys sysfs ro,nosuid"), "{lines:?}");
    let masked = |line: &str| line.contains(" /sys/firmware ");
    let open: Vec<_> = lines[1..].iter().filter(|l| !l.contains(" ro,") && !masked(l)).collect();
    assert!(open.is_empty(), "{open:?}");
}
