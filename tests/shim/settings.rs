//! config.json and daemon.json, put to use.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use e2e::World;

fn client(w: &World, text: &str) {
    let dir = w.path("home/.docker");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("config.json"), text).unwrap();
}

fn daemon(w: &World, text: &str) {
    w.daemon_json(text);
}

#[test]
fn proxies_of_config_json_are_in_the_environment_of_new_containers() {
    let w = World::new();
    w.pull("busybox");
    client(
        &w,
        r#"{"credHelpers": {}, "HttpHeaders": {}, "proxies": {"default":
        {"httpProxy": "http://proxy:1", "noProxy": "local"}}}"#,
    );
    let env = w.dhow(["run", "--rm", "-e", "no_proxy=mine", "busybox", "env"]).ok().out();
    for line in [
        "HTTP_PROXY=http://proxy:1",
        "http_proxy=http://proxy:1",
        "NO_PROXY=local",
        "no_proxy=mine",
    ] {
        assert!(env.lines().any(|l| l == line), "{line} in {env}");
    }
    assert!(!env.contains("HTTPS_PROXY"), "{env}");
    // Another place for it: a flag before a variable.
    let other = w.path("other");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("config.json"), r#"{"psFormat": "{{.Names}}!"}"#).unwrap();
    w.dhow(["create", "--name", "one", "busybox"]).ok();
    let dir = other.display().to_string();
    w.dhow(["--config", &dir, "ps", "-a"]).ok().out_is("one!");
    w.dhow_cmd(["ps", "-a"]).env("DOCKER_CONFIG", &dir).run().ok().out_is("one!");
    w.dhow(["rm", "one"]).ok();
}

#[test]
fn daemon_json_says_what_holds_for_new_containers() {
    let w = World::new();
    w.pull("busybox");
    daemon(
        &w,
        r#"{"default-shm-size": "1m", "no-new-privileges": true, "init": true, "bip": "10.0.0.1/24",
        "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 100, "Hard": 200}},
        "log-driver": "local", "log-opts": {"max-file": "2"}}"#,
    );
    let script =
        "ulimit -n; df -k /dev/shm | tail -1 | awk '{print $2}'; grep NoNewPrivs /proc/self/status";
    w.dhow(["run", "--rm", "busybox", "sh", "-c", script]).ok().out_is("100\n1024\nNoNewPrivs:\t1");
    let typed =
        ["run", "--rm", "--ulimit", "nofile=50", "--shm-size", "2m", "busybox", "sh", "-c", script];
    w.dhow(typed).ok().out_is("50\n2048\nNoNewPrivs:\t1");
    w.dhow(["create", "--name", "one", "busybox"]).ok();
    let shown = "{{.HostConfig.LogConfig.Type}} {{.HostConfig.ShmSize}} {{.HostConfig.Init}}";
    w.dhow(["inspect", "-f", shown, "one"]).ok().out_is("local 1048576 true");
    w.dhow(["info", "-f", "{{.LoggingDriver}}"]).ok().out_is("local");
    w.dhow(["rm", "one"]).ok();
}

#[test]
fn runtimes_have_names_and_arguments() {
    let w = World::new();
    w.pull("busybox");
    let calls = w.path("calls");
    let wrapper = w.path("wrapper");
    let runtime = e2e::program("dhow-runtime");
    fs::write(
        &wrapper,
        format!(
            "#!/bin/sh\necho \"$@\" >>{}\nexec {} \"$@\"\n",
            calls.display(),
            runtime.display()
        ),
    )
    .unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    daemon(
        &w,
        &format!(
            r#"{{"runtimes": {{"logged": {{"path": "{}", "runtimeArgs": ["--debug"]}},
                "shim": {{"runtimeType": "io.containerd.kata.v2"}}}}}}"#,
            wrapper.display()
        ),
    );
    w.dhow(["run", "--rm", "busybox", "true"]).ok();
    assert!(!calls.exists(), "the default is another one");
    w.dhow(["run", "--rm", "--runtime", "logged", "busybox", "true"]).ok();
    let called = fs::read_to_string(&calls).unwrap();
    assert!(
        called.lines().all(|line| line.starts_with("--debug ") && line.contains(" --root ")),
        "{called}"
    );
    assert!(called.contains(" create ") && called.contains(" delete "), "{called}");
    w.dhow(["run", "--runtime", "shim", "busybox"]).code(125).err_has("io.containerd.kata.v2");
    w.dhow(["run", "--runtime", "none", "busybox"]).code(125).err_has("none");
    let text = fs::read_to_string(w.path("daemon.json")).unwrap();
    daemon(&w, &text.replacen('{', r#"{"default-runtime": "logged", "#, 1));
    fs::remove_file(&calls).unwrap();
    w.dhow(["run", "--rm", "busybox", "true"]).ok();
    assert!(calls.exists(), "the default by name");
    w.dhow(["info", "-f", "{{.DefaultRuntime}} {{json .Runtimes.logged.runtimeArgs}}"])
        .ok()
        .out_is("logged [\"--debug\"]");
}

#[test]
fn a_broken_file_is_named_with_its_line_by_who_needs_it() {
    let w = World::new();
    w.pull("busybox");
    fs::write(w.path("daemon.json"), "{\n  \"init\": 1\n}").unwrap();
    w.dhow(["run", "--rm", "busybox", "true"])
        .code(125)
        .err_has("daemon.json, line 2: invalid type");
    w.dhow(["ps"]).ok();
    daemon(&w, "{}");
    client(&w, "{\n\n  \"psFormat\": \"a\",,\n}");
    w.dhow(["ps"]).code(1).err_has("config.json, line 3");
    w.dhow(["ps", "-q"]).ok();
    client(&w, "{}");
    w.dhow(["run", "--rm", "busybox", "true"]).ok();
}

#[test]
fn prune_filters_of_config_json_hold_for_every_prune() {
    let w = World::new();
    w.pull("busybox");
    client(&w, r#"{"pruneFilters": ["label!=keep"]}"#);
    w.dhow(["create", "--name", "kept", "--label", "keep", "busybox"]).ok();
    w.dhow(["create", "--name", "gone", "busybox"]).ok();
    w.dhow(["volume", "create", "--label", "keep", "hold"]).ok();
    w.dhow(["container", "prune", "-f"]).ok();
    w.dhow(["volume", "prune", "-af"]).ok();
    w.dhow(["ps", "-a", "--format", "{{.Names}}"]).ok().out_is("kept");
    w.dhow(["volume", "ls", "-q"]).ok().out_is("hold");
    // What is typed wins over its opposite.
    w.dhow(["container", "prune", "-f", "--filter", "label=keep"]).ok();
    w.dhow(["ps", "-aq"]).ok().out_is("");
    w.dhow(["volume", "rm", "hold"]).ok();
}
