//! What daemon.json and config.json settle for new containers, and files that flags name.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use e2e::{World, program};

fn world(daemon: &str) -> World {
    let w = World::new();
    w.pull("busybox");
    w.daemon_json(daemon);
    w
}

fn say(w: &World, flags: &[&str], script: &str) -> String {
    let command = ["busybox", "sh", "-c", script];
    w.dhow(["run", "--rm"].iter().chain(flags).chain(&command)).ok().out()
}

#[test]
fn daemon_jsons_defaults_hold_where_no_flag_says_otherwise() {
    let w = world(
        "{\"default-ulimits\": {\"nofile\": {\"Name\": \"nofile\", \"Soft\": 64, \"Hard\": 128}},
          \"default-shm-size\": \"1M\", \"no-new-privileges\": true, \"default-cgroupns-mode\": \"host\"}",
    );
    let script = "ulimit -Sn; ulimit -Hn; df -k /dev/shm | tail -1 | awk '{print $2}'; \
        grep NoNewPrivs /proc/self/status | cut -f2; readlink /proc/self/ns/cgroup";
    let host = fs::read_link("/proc/self/ns/cgroup").unwrap();
    assert_eq!(say(&w, &[], script), format!("64\n128\n1024\n1\n{}", host.display()));
    let own = [
        "--ulimit",
        "nofile=9",
        "--shm-size",
        "2m",
        "--security-opt",
        "no-new-privileges=false",
        "--cgroupns",
        "private",
    ];
    let said = say(&w, &own, script);
    assert!(
        said.starts_with("9\n9\n2048\n0\n") && !said.ends_with(&*host.to_string_lossy()),
        "{said}"
    );
}

#[test]
fn users_that_daemon_json_has_mapped_are_not_forgotten() {
    let w = world("{\"userns-remap\": \"default\"}");
    w.dhow(["run", "--rm", "busybox", "true"]).code(125).err_has("--userns host");
    assert_eq!(say(&w, &["--userns", "host"], "echo as root"), "as root");
    w.dhow(["ps", "-aq"]).ok().out_is("");
}

#[test]
fn runtimes_have_names_and_arguments() {
    let w = world("{}");
    let runtime = program("dhow-runtime").display().to_string();
    let log = w.path("calls").display().to_string();
    let wrapper = w.path("wrapper");
    fs::write(&wrapper, format!("#!/bin/sh\necho \"$1\" >>{log}\nshift\nexec {runtime} \"$@\"\n"))
        .unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let entry = format!("{{\"path\": \"{}\", \"runtimeArgs\": [\"mine\"]}}", wrapper.display());
    w.daemon_json(&format!(
        "{{\"runtimes\": {{\"own\": {entry}, \"shim\": {{\"runtimeType\": \"io.x\"}}}}}}"
    ));
    assert_eq!(say(&w, &["--runtime", "own"], "echo through it"), "through it");
    let calls = fs::read_to_string(&log).unwrap();
    assert!(calls.lines().count() >= 3 && calls.lines().all(|l| l == "mine"), "{calls}");
    assert_eq!(say(&w, &["--runtime", "io.containerd.runc.v2"], "echo ours"), "ours");
    for (name, why) in [
        ("nope", "unknown or invalid runtime name: nope"),
        ("shim", "runtime shim: daemon.json gives it no path"),
    ] {
        w.dhow(["run", "--rm", "--runtime", name, "busybox"]).code(125).err_has(why);
    }
    w.dhow(["ps", "-aq"]).ok().out_is("");
}

#[test]
fn proxies_of_config_json_are_in_the_environment() {
    let w = world("{}");
    fs::create_dir_all(w.path("home/.docker")).unwrap();
    let proxies =
        "{\"proxies\": {\"default\": {\"httpProxy\": \"http://p:1\", \"noProxy\": \"x\"}}}";
    fs::write(w.path("home/.docker/config.json"), proxies).unwrap();
    let script = "echo $HTTP_PROXY $http_proxy $NO_PROXY";
    assert_eq!(say(&w, &[], script), "http://p:1 http://p:1 x");
    assert_eq!(say(&w, &["-e", "HTTP_PROXY=mine"], script), "mine http://p:1 x");
}

#[test]
fn a_cidfile_is_there_with_the_container_and_gone_with_a_failure() {
    let w = world("{}");
    let cid = w.path("cid");
    let path = cid.display().to_string();
    let id = w.dhow(["create", "--name", "one", "--cidfile", &path, "busybox", "true"]).ok().out();
    assert_eq!(fs::read_to_string(&cid).unwrap(), id);
    w.dhow(["create", "--cidfile", &path, "busybox"])
        .code(1)
        .err_has("container ID file found, make sure the other container isn't running or delete");
    fs::remove_file(&cid).unwrap();
    for bad in [
        &["--name", "one"][..],
        &["--pull", "never", "--entrypoint", "x"],
        &["-u", "nobody-knows", "--rm"],
    ] {
        let image = if bad[0] == "--pull" { "lacks" } else { "busybox" };
        let run = ["run", "--cidfile", &path].into_iter().chain(bad.iter().copied()).chain([image]);
        assert_ne!(w.dhow(run.collect::<Vec<_>>()).code, 0);
        assert!(!cid.exists(), "{bad:?}");
    }
    w.dhow(["rm", "one"]).ok();
    w.dhow(["ps", "-aq"]).ok().out_is("");
}
