//! Copies beside what fights, dies or is full.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use e2e::{Cmd, World, needs};

use super::files::{cp, text, tree, world};

/// A tar of entries that are no files of a tree: name, type, link.
fn tar_of(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, link) in entries {
        let mut header = tar::Header::new_ustar();
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        let data = if *kind == tar::EntryType::Regular { &b"evil"[..] } else { b"" };
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn a_hostile_tar_on_stdin_stays_in_its_directory() {
    use tar::EntryType::{Link, Regular, Symlink};
    let w = world();
    let secret = w.path("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("key"), "hidden").unwrap();
    let s = secret.display().to_string();
    let through = format!("{s}/key");
    w.dhow(["create", "--name", "cc", "busybox"]).ok();
    let put = |entries: &[(&str, tar::EntryType, &str)]| {
        w.dhow_cmd(["cp", "-", "cc:/tmp"]).stdin(tar_of(entries)).run()
    };
    put(&[("../../../../x", Regular, "")]).code(1).err_has("climbs out of the root");
    put(&[("h", Link, "../../etc/passwd")]).code(1).err_has("climbs out of the root");
    put(&[("h2", Link, &through)]).code(1);
    put(&[("/abs", Regular, ""), ("l", Symlink, &s), ("l/key", Regular, "")]).ok();
    put(&[("l", Symlink, &s), ("l", Regular, "")]).ok();
    put(&[(".wh.named", Regular, "")]).ok(); // a name like any other here
    assert_eq!(text(secret.join("key")), "hidden");
    assert_eq!(fs::read_dir(&secret).unwrap().count(), 1);
    let tar = cp(&w, &["cc:/tmp", "-"]).ok().stdout;
    let names = w.cmd("tar").args(["-t"]).stdin(tar).run().ok().out();
    assert!(names.contains("tmp/abs\n") && names.contains("tmp/.wh.named"), "{names}");
    assert!(names.contains(&format!("tmp{s}/key")), "{names}");
    for broken in [&b"garbage".repeat(200)[..], &tar_of(&[("a", Regular, "")])[..700]] {
        w.dhow_cmd(["cp", "-", "cc:/tmp"]).stdin(broken).run().code(1).err_has("archive");
    }
    w.dhow_cmd(["cp", "-", "cc:/tmp"]).stdin("").run().ok();
    w.dhow(["rm", "cc"]).ok();
}

/// A program that exchanges two names of the container for ever.
fn swapper(w: &World) -> String {
    let program = w.path("swap");
    let source = e2e::workspace().join("tests/shim/swap.c");
    Cmd::new("cc").args(["-O1", "-static", "-o"]).arg(&program).arg(source).run().ok();
    format!("{}:/swap:ro", program.display())
}

/// CVE: 2018-15664, 2026-41568, 2026-42306: a directory becomes a link to the host's secrets while
/// it is copied, in the root and in a volume.
#[test]
fn a_container_that_exchanges_names_gets_and_gives_nothing_of_the_host() {
    needs!(Machine);
    let w = world();
    let secret = w.path("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("key"), "hidden").unwrap();
    fs::write(w.path("payload"), "payload").unwrap();
    let s = secret.display().to_string();
    let volume = swapper(&w);
    for place in ["/x", "/vol"] {
        let name = w.id(&place[1..]);
        let script = format!(
            "mkdir -p {place}/dir/in; echo own > {place}/dir/key; echo own > {place}/dir/in/key
             ln -s {s} {place}/link; exec /swap {place}/dir {place}/link {place}/dir/grow"
        );
        let run = ["run", "-d", "--name", &name, "-v", &volume, "-v", "/vol", "busybox"];
        w.dhow(run.iter().copied().chain(["sh", "-c", &script])).ok();
        e2e::until("it swaps", || w.dhow(["logs", &name]).out().contains("swapping"));
        for round in 0..60 {
            let at = |path: &str| format!("{name}:{place}{path}");
            cp(&w, &[&at("/."), "out"]);
            cp(&w, &[&at("/dir/key"), "one"]);
            cp(&w, &["-L", &at("/dir"), "two"]);
            for found in ["out/dir/key", "out/dir/in/key", "out/link/key", "one", "two/key"] {
                // A link that was copied as a link leads where it says: here, on the host.
                let Ok(real) = fs::canonicalize(w.path(found)) else { continue };
                if real.starts_with(&secret) {
                    continue;
                }
                let said = fs::read_to_string(real).unwrap();
                assert!(!said.contains("hidden"), "round {round}: {found}");
            }
            for to in ["/dir/", "/dir/in/new", "/dir/key"] {
                cp(&w, &["payload", &at(to)]);
            }
            let entries: Vec<_> = fs::read_dir(&secret).unwrap().flatten().collect();
            assert_eq!(entries.len(), 1, "round {round}: {entries:?}");
            assert_eq!(text(secret.join("key")), "hidden", "round {round}");
            for left in ["out", "two"] {
                let _ = fs::remove_dir_all(w.path(left));
                let _ = fs::remove_file(w.path(left));
            }
            let _ = fs::remove_file(w.path("one"));
        }
        w.dhow(["rm", "-f", "-v", &name]).ok();
    }
}

/// CVE: 2019-14271, 2026-41567: nothing of the container is executed or loaded, nor are decompressors.
#[test]
fn no_program_or_library_of_the_container_is_touched() {
    needs!(Root);
    let w = world();
    tree(&w);
    let name = w.id("c");
    w.dhow(["run", "-d", "-u", "root", "--name", &name, "busybox", "sleep", "1000"]).ok();
    let log = w.path("calls");
    let trace = ["strace", "-f", "-qq", "-e", "trace=execve,execveat,openat,open,mmap", "-o"];
    let trace: Vec<&str> = trace.into_iter().chain([log.to_str().unwrap()]).collect();
    for args in [
        ["cp", "-a", "tree", &format!("{name}:/tree")],
        ["cp", "-q", &format!("{name}:/bin"), "bin"],
    ] {
        w.dhow_cmd(args).under(trace.clone()).run().ok();
        let calls = text(&log);
        assert_eq!(calls.matches("execve").count(), 1, "{calls}");
        let loads = |l: &&str| l.contains("PROT_EXEC") && l.contains("MAP_PRIVATE");
        let loaded: Vec<&str> = calls.lines().filter(loads).collect();
        assert!(loaded.is_empty(), "{loaded:?}");
        assert!(!calls.contains("nsswitch") && !calls.contains("libnss"), "{calls}");
    }
    w.dhow(["rm", "-f", &name]).ok();
}

/// Pipes without a writer, sockets, and devices don't hold a copy up, whatever the container does.
#[test]
fn special_files_of_a_running_container_are_copied_and_not_opened() {
    needs!(Root);
    let w = world();
    let name = w.id("c");
    let script = "mkdir /s; mkfifo /s/pipe; mknod /s/null c 1 3; mknod /s/disk b 240 7
        nc -ll -s local:/s/sock -e cat 2>/dev/null & echo data > /s/file; echo ready; sleep 1000";
    w.dhow(["run", "-d", "--name", &name, "busybox", "sh", "-c", script]).ok();
    e2e::until("it is ready", || w.dhow(["logs", &name]).out().contains("ready"));
    w.dhow_cmd(["cp", &format!("{name}:/s"), "out"]).limit(20).run().ok();
    let kind = |file: &str| fs::symlink_metadata(w.path("out").join(file)).unwrap().file_type();
    assert!(kind("pipe").is_fifo() && kind("null").is_char_device());
    assert!(kind("disk").is_block_device() && kind("file").is_file());
    w.dhow_cmd(["export", &name]).limit(60).run().ok();
    w.dhow(["pause", &name]);
    w.dhow_cmd(["cp", &format!("{name}:/s/file"), "paused"]).limit(20).run().ok();
    w.dhow(["unpause", &name]);
    assert_eq!(text(w.path("paused")), "data\n");
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn killed_at_any_instant_a_copy_leaves_no_mount_and_no_lock() {
    needs!(Speed);
    let w = world();
    let name = w.id("c");
    fs::create_dir(w.path("many")).unwrap();
    for n in 0..300 {
        fs::write(w.path(format!("many/{n}")), vec![7; 20_000]).unwrap();
    }
    w.dhow(["create", "--name", &name, "busybox", "sleep", "1000"]).ok();
    for round in 0..12_u64 {
        if round == 6 {
            w.dhow(["start", &name]).ok();
        }
        let into = format!("{name}:/copy{round}");
        let mut copy = w.dhow_cmd(["cp", "many", &into]).start();
        std::thread::sleep(std::time::Duration::from_millis(1 + 3 * (round % 6)));
        copy.kill().unwrap();
        copy.wait().unwrap();
        cp(&w, &[&format!("{name}:/etc/passwd"), "passwd"]).ok();
        let tmp = w.root().join("tmp");
        let left = fs::read_dir(tmp).into_iter().flatten().flatten().map(|e| e.file_name());
        let left: Vec<_> = left.filter(|name| name != "partial").collect();
        assert!(left.is_empty(), "{left:?}");
    }
    w.dhow(["rm", "-f", &name]).ok();
    let held = fs::read_dir(w.run_dir().join("monitors")).into_iter().flatten().count();
    assert_eq!(held, 0);
}

/// A small file system of its own, gone with the value.
struct Small(PathBuf);

impl Small {
    fn new(w: &World, name: &str, size: &str) -> Self {
        let dir = w.path(name);
        fs::create_dir(&dir).unwrap();
        let options = format!("size={size}");
        Cmd::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&dir).run().ok();
        Self(dir)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        Cmd::new("umount").arg("-l").arg(&self.0).run();
    }
}

#[test]
fn a_full_disk_is_said_and_leaves_no_half_file() {
    needs!(Root);
    let w = world();
    fs::write(w.path("big"), vec![7; 3 << 20]).unwrap();
    let small = Small::new(&w, "small", "1m");
    let bind = format!("{}:/small", small.0.display());
    w.dhow(["create", "--name", "cc", "-v", &bind, "busybox"]).ok();
    cp(&w, &["big", "cc:/small/"]).code(1).err_has("no space left");
    assert_eq!(fs::read_dir(&small.0).unwrap().count(), 0);
    cp(&w, &["big", "cc:/big"]).ok();
    cp(&w, &["cc:/big", "small/"]).code(1).err_has("no space left");
    assert_eq!(fs::read_dir(&small.0).unwrap().count(), 0);
    w.dhow(["rm", "cc"]).ok();
}
