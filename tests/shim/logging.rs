//! Log drivers: what is kept, where, and how it is read back.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use e2e::{World, needs};

use super::lifecycle::field;

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

/// A container that has run `script` with these flags.
fn ran(w: &World, short: &str, flags: &[&str], script: &str) -> String {
    let name = w.id(short);
    let args = [&["run", "-d", "--name", &name], flags, &["busybox", "sh", "-c", script]].concat();
    w.dhow(args).ok();
    w.dhow(["wait", &name]).ok();
    name
}

fn dir(w: &World, name: &str) -> std::path::PathBuf {
    let id = field(w, name, "/Id").as_str().unwrap().to_owned();
    w.root().join("containers").join(id)
}

#[test]
fn details_show_labels_variables_and_tag_as_docker_does() {
    let w = world();
    let flags = [
        "--log-opt",
        "labels=a,b",
        "--log-opt",
        "env=E",
        "--log-opt",
        "env-regex=^X",
        "--log-opt",
        "tag={{.ImageName}}/{{.Command}}",
        "--label",
        "a=1",
        "--label",
        "c=3",
        "-e",
        "E=x y",
        "-e",
        "X1=<&>",
    ];
    let name = ran(&w, "c", &flags, "echo hi; printf part");
    let extra = "E=x+y,X1=%3C%26%3E,a=1,tag=busybox%2Fsh+-c+echo+hi%3B+printf+part";
    w.dhow(["logs", "--details", &name]).ok().out_is(&format!("{extra} hi\n{extra} part"));
    let line = w.dhow(["logs", "--details", "-t", "-n", "1", &name]).ok().out();
    let (time, rest) = line.split_once(' ').unwrap();
    assert_eq!((time.len(), rest), (30, format!("{extra} part").as_str()));
    let text = fs::read_to_string(dir(&w, &name).join("container.log")).unwrap();
    let first = text.lines().next().unwrap();
    let attrs = r#"{"log":"hi\n","stream":"stdout","attrs":{"E":"x y","X1":"\u003c\u0026\u003e","a":"1","tag":""#;
    assert!(first.starts_with(attrs), "{first}");
    assert_eq!(field(&w, &name, "/HostConfig/LogConfig/Config/labels"), "a,b");
    let plain = ran(&w, "plain", &[], "echo hi");
    assert_eq!(w.dhow(["logs", "--details", &plain]).ok().stdout, b" hi\n");
    w.dhow(["rm", &name, &plain]).ok();
}

#[test]
fn rotated_and_compressed_files_read_as_one() {
    let w = world();
    for (short, driver) in [("json", "json-file"), ("local", "local")] {
        let flags = [
            "--log-driver",
            driver,
            "--log-opt",
            "max-size=40k",
            "--log-opt",
            "max-file=4",
            "--log-opt",
            "compress=true",
        ];
        let name = ran(
            &w,
            short,
            &flags,
            "for i in 1 2 3 4 5 6 7 8; do seq $((i*1000)) $((i*1000+999)); sleep 0.2; done",
        );
        let at = dir(&w, &name);
        let old = |n: u32| {
            (at.join(format!("container.log.{n}")), at.join(format!("container.log.{n}.gz")))
        };
        e2e::until("the youngest older file is compressed", || {
            !old(1).0.exists() && old(1).1.exists()
        });
        assert!(old(3).0.exists() || old(3).1.exists());
        let lines = w.dhow(["logs", &name]).ok().lines();
        let first: u32 = lines[0].parse().unwrap();
        let want: Vec<String> = (first..9000).map(|n| n.to_string()).collect();
        assert!(lines == want && lines.len() > 500, "{driver}: {} lines from {first}", lines.len());
        let n = (lines.len() - 100).to_string();
        assert_eq!(w.dhow(["logs", "-n", &n, &name]).ok().lines(), want[100..]);
        w.dhow(["rm", &name]).ok();
    }
}

#[test]
fn a_follower_goes_over_rotations_without_a_line_lost_or_doubled() {
    let w = world();
    let name = w.id("c");
    let script = "while [ ! -e /go ]; do sleep 0.05; done; seq 6000; echo end >&2";
    let options =
        ["--log-opt", "max-size=300k", "--log-opt", "max-file=5", "--log-opt", "compress=true"];
    let args =
        [&["run", "-d", "--name", &name][..], &options, &["busybox", "sh", "-c", script]].concat();
    w.dhow(args).ok();
    let mut follower = w.dhow_cmd(["logs", "-f", &name]).start();
    let lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    w.dhow(["exec", &name, "touch", "/go"]).ok();
    let lines: Vec<String> = lines.map(Result::unwrap).collect();
    let want: Vec<String> = (1..=6000).map(|n| n.to_string()).collect();
    assert!(lines == want, "{} lines", lines.len());
    assert!(follower.wait().unwrap().success());
    w.dhow(["rm", &name]).ok();
}

#[test]
fn local_keeps_every_byte_and_shows_no_path() {
    let w = world();
    let name = ran(
        &w,
        "c",
        &["--log-driver", "local"],
        "printf '\\377\\000<\\n'; echo err >&2; printf part",
    );
    let done = w.dhow(["logs", &name]).ok();
    assert_eq!((done.stdout.as_slice(), done.err().as_str()), (&b"\xff\0<\npart"[..], "err"));
    assert_eq!(field(&w, &name, "/LogPath"), "");
    assert_eq!(field(&w, &name, "/HostConfig/LogConfig/Type"), "local");
    w.dhow(["rm", &name]).ok();
}

#[test]
fn what_a_driver_does_not_know_is_refused_in_dockers_words() {
    let w = world();
    let refused = |flags: &[&str], words: &str| {
        w.dhow([&["run", "--rm"], flags, &["busybox", "true"]].concat()).code(125).err_has(words);
    };
    refused(&["--log-opt", "foo=bar"], "unknown log opt 'foo' for json-file log driver");
    refused(
        &["--log-driver", "local", "--log-opt", "tag=x"],
        "unknown log opt 'tag' for log driver local",
    );
    refused(&["--log-driver", "none", "--log-opt", "x=y"], "invalid logging opts for driver none");
    refused(&["--log-driver", "syslog"], "log driver syslog is not supported");
    refused(&["--log-driver", "nope"], "error looking up logging plugin nope");
    refused(&["--log-opt", "mode=x"], "logger: logging mode not supported: x");
    refused(&["--log-opt", "max-size=0"], "max-size must be a positive number");
    let name = ran(&w, "none", &["--log-driver", "none"], "echo gone");
    w.dhow(["logs", &name]).code(1).err_has("configured logging driver does not support reading");
    w.dhow(["rm", &name]).ok();
}

#[test]
fn the_machines_settings_name_the_driver_and_its_options() {
    let w = world();
    let text = r#"{"log-driver": "local", "log-opts": {"max-size": "1m", "max-file": "2"}}"#;
    w.daemon_json(text);
    let name = ran(&w, "c", &["--log-opt", "max-file=3"], "echo hi");
    assert_eq!(field(&w, &name, "/HostConfig/LogConfig/Type"), "local");
    let config = field(&w, &name, "/HostConfig/LogConfig/Config");
    assert_eq!(config, serde_json::json!({"max-size": "1m", "max-file": "3"}));
    w.dhow(["logs", &name]).ok().out_is("hi");
    let json = ran(&w, "json", &["--log-driver", "json-file"], "echo hi");
    assert_eq!(field(&w, &json, "/HostConfig/LogConfig/Config"), serde_json::json!({}));
    w.daemon_json(r#"{"log-opts": {"nope": "1"}}"#);
    w.dhow(["run", "--rm", "busybox", "true"]).code(125).err_has("unknown log opt 'nope'");
    w.daemon_json("{}");
    w.dhow(["rm", &name, &json]).ok();
}

/// dhow where /run is another: with this directory as the journal's, or none.
fn with_run(w: &World, journal: Option<&std::path::Path>, args: &[&str]) -> e2e::Cmd {
    let bind = journal.map_or_else(String::new, |dir| {
        format!(
            "mkdir -p /run/systemd/journal; mount --bind {} /run/systemd/journal;",
            dir.display()
        )
    });
    let script = format!("mount -t tmpfs tmpfs /run; {bind} exec \"$@\"");
    let prefix =
        ["unshare".into(), "-m".into(), "sh".into(), "-ec".into(), script, "sh".to_owned()];
    w.dhow_cmd(args).under(prefix)
}

#[test]
fn journald_gets_dockers_fields_and_is_read_through_journalctl() {
    needs!(Root);
    let w = world();
    let name = w.id("c");
    let args = ["run", "-d", "--name", &name, "--log-driver", "journald"];
    let run = [&args[..], &["busybox", "echo", "hi"]].concat();
    with_run(&w, None, &run).run().code(125).err_has("journald is not enabled on this host");
    w.dhow(["rm", "-f", &name]).ok();
    let dir = w.path("journal");
    fs::create_dir(&dir).unwrap();
    let journal = UnixDatagram::bind(dir.join("socket")).unwrap();
    journal.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let more = ["--log-opt", "tag={{.Name}}", "--log-opt", "labels=a", "--label", "a=1"];
    let run = [&args[..], &more, &["busybox", "sh", "-c", "echo hi; sleep 1000"]].concat();
    with_run(&w, Some(&dir), &run).run().ok();
    let mut buffer = vec![0; 65536];
    let n = journal.recv(&mut buffer).unwrap();
    let got = String::from_utf8_lossy(&buffer[..n]).into_owned();
    for field in ["MESSAGE=hi", "PRIORITY=6", "IMAGE_NAME=busybox", "A=1"] {
        assert!(got.lines().any(|line| line == field), "no {field} in {got}");
    }
    for field in ["CONTAINER_NAME", "CONTAINER_TAG", "SYSLOG_IDENTIFIER"] {
        assert!(got.contains(&format!("{field}={name}\n")), "no {field} in {got}");
    }
    // journalctl is played by a script: what it prints is what the real one prints of such a record.
    let bin = w.path("bin");
    fs::create_dir(&bin).unwrap();
    let record =
        r#"{"MESSAGE":"hi","PRIORITY":"6","__REALTIME_TIMESTAMP":"1767323045500000","A":"1"}"#;
    fs::write(
        bin.join("journalctl"),
        format!("#!/bin/sh\necho \"$*\" >{}\necho '{record}'\n", w.path("asked").display()),
    )
    .unwrap();
    fs::set_permissions(bin.join("journalctl"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let logs = |args: &[&str]| w.dhow_cmd(args).env("PATH", &path).run().ok();
    logs(&["logs", "--details", "-n", "5", &name]).out_is("A=1 hi");
    let id = field(&w, &name, "/Id").as_str().unwrap().to_owned();
    let asked = fs::read_to_string(w.path("asked")).unwrap();
    assert!(
        asked.contains("--lines=5") && asked.contains(&format!("CONTAINER_ID_FULL={id}")),
        "{asked}"
    );
    // Followed: what the journal had on its way at the end is shown, and nothing twice.
    let script = r#"case "$*" in
*--sync*) ;;
*--after-cursor=s=1*) echo '{"MESSAGE":"last","PRIORITY":"6","__REALTIME_TIMESTAMP":"1767323046500000","__CURSOR":"s=2"}' ;;
*--follow*) echo '{"MESSAGE":"hi","PRIORITY":"6","__REALTIME_TIMESTAMP":"1767323045500000","__CURSOR":"s=1"}'; exec sleep 1000 ;;
esac"#;
    fs::write(bin.join("journalctl"), format!("#!/bin/sh\n{script}\n")).unwrap();
    let mut follower = w.dhow_cmd(["logs", "-f", &name]).env("PATH", &path).start();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "hi");
    w.dhow(["kill", &name]).ok();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(follower.wait().unwrap().success() && rest == ["last"], "{rest:?}");
    let none = w.dhow_cmd(["logs", &name]).env("PATH", "/nowhere").run().code(1);
    none.err_has("this machine has no journalctl");
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn a_full_disk_loses_records_and_never_the_container() {
    needs!(Root);
    let w = world();
    let script = "seq 500000; echo all is said >/dev/shm/said; sleep 1000";
    let name = w.id("c");
    w.dhow(["create", "--name", &name, "--log-opt", "max-size=-1", "busybox", "sh", "-c", script])
        .ok();
    // Its own directory on a disk of 2 MiB, with what is in it already.
    let at = dir(&w, &name);
    let old = w.path("old");
    w.cmd("cp").args(["-a"]).arg(&at).arg(&old).run().ok();
    w.cmd("mount").args(["-t", "tmpfs", "-o", "size=2m", "small"]).arg(&at).run().ok();
    w.cmd("cp").args(["-aT"]).arg(&old).arg(&at).run().ok();
    w.dhow(["start", &name]).ok();
    e2e::until("it has said everything, log or not", || {
        w.dhow(["exec", &name, "cat", "/dev/shm/said"]).code == 0
    });
    let done = w.dhow(["logs", &name]).ok();
    let done = done.err_has("bytes of the log were lost: No space left on device");
    // What came while something else gave room back is there too, in its order.
    let lines: Vec<usize> = done.lines().iter().map(|line| line.parse().unwrap()).collect();
    assert!(lines.is_sorted_by(|a, b| a < b), "{lines:?}");
    assert_eq!(lines[..1000], (1..=1000).collect::<Vec<_>>());
    w.dhow(["kill", &name]).ok();
    e2e::until("its end is known", || field(&w, &name, "/State/Running") == false);
    let error = field(&w, &name, "/State/Error");
    assert!(error.as_str().unwrap().contains("write the log"), "{error}");
    w.cmd("umount").arg(&at).run().ok();
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn following_ends_with_the_life_and_with_the_container() {
    let w = world();
    let name = w.id("c");
    // As docker: the end of a life is the end, though the policy begins another.
    let script = "echo life; sleep 0.3; exit 1";
    w.dhow(["run", "-d", "--name", &name, "--restart", "always", "busybox", "sh", "-c", script])
        .ok();
    let out = w.dhow_cmd(["logs", "-f", &name]).limit(60).run().ok().out();
    assert!(out.lines().all(|line| line == "life"), "{out}");
    w.dhow(["rm", "-f", &name]).ok();
    let gone = w.id("gone");
    w.dhow(["run", "-d", "--name", &gone, "busybox", "sh", "-c", "echo up; sleep 1000"]).ok();
    let mut follower = w.dhow_cmd(["logs", "-f", &gone]).start();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "up");
    w.dhow(["rm", "-f", &gone]).ok();
    assert!(lines.next().is_none() && follower.wait().unwrap().success());
    let created = w.id("created");
    w.dhow(["create", "--name", &created, "busybox", "true"]).ok();
    w.dhow_cmd(["logs", "-f", &created]).limit(60).run().ok().out_is("");
    w.dhow(["rm", &created]).ok();
}

#[test]
fn times_bound_the_log_and_bad_ones_are_told() {
    let w = world();
    let name = ran(&w, "c", &[], "echo one; sleep 0.2; echo two");
    let stamps = w.dhow(["logs", "-t", &name]).ok().lines();
    let second = stamps[1].split(' ').next().unwrap().to_owned();
    w.dhow(["logs", "--since", &second, &name]).ok().out_is("two");
    let first = stamps[0].split(' ').next().unwrap().to_owned();
    w.dhow(["logs", "--until", &first, &name]).ok().out_is("one");
    w.dhow(["logs", "--until", "1h", &name]).ok().out_is("");
    w.dhow(["logs", "--since", "1h", &name]).ok().out_is("one\ntwo");
    let bad = w.dhow(["logs", "--since", "x", &name]).code(1);
    bad.err_has("failed to parse value as time or duration: \"x\"");
    w.dhow(["logs", &w.id("none")]).code(1).err_has("No such container");
    w.dhow(["rm", &name]).ok();
}
