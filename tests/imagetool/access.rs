//! How registries are spoken to: by whose word, over how many connections, and what a person sees of it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use e2e::harbour::{Answer, Asked, Cargo, Harbour};

use e2e::{Pty, Registry, World, fixtures};
use serde_json::{Value, json};

use super::refused::one_line;

const SMALL: usize = 200 << 10;

// SPEC: distribution's token-authentication, "Requesting a refresh token".
#[test]
fn an_identity_token_is_kept_in_the_place_of_the_password() {
    let w = World::new();
    let tokens = Harbour::open(|asked: &Asked| {
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        let offline = asked.path.contains("offline_token=true");
        match (asked.method.as_str(), asked.header("authorization")) {
            ("GET", "Basic dTpw") if offline => Answer::body(
                r#"{"access_token":"pass","refresh_token":"identity-1","expires_in":300}"#,
            ),
            ("POST", "")
                if body.contains("grant_type=refresh_token")
                    && body.contains("refresh_token=identity-1")
                    && body.contains("scope=repository%3Aa%2Fx%3Apull") =>
            {
                Answer::body(r#"{"access_token":"pass","expires_in":300}"#)
            }
            _ => Answer::status(401),
        }
    });
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"s\"", tokens.host());
    let scoped = format!("{realm},scope=\"repository:a/x:pull\"");
    let cargo = Cargo::new("identity", SMALL);
    let registry = Harbour::open(move |asked| match asked.header("authorization") {
        "Bearer pass" => cargo.answer(asked),
        _ if asked.path == "/v2/" => Answer::status(401).header("WWW-Authenticate", &realm),
        _ => Answer::status(401).header("WWW-Authenticate", &scoped),
    });
    w.dhow(["login", "-u", "u", "-p", "p", &registry.host()]).ok();
    let kept = fs::read_to_string(w.path("home/.docker/config.json")).unwrap();
    assert!(kept.contains("identity-1") && !kept.contains("dTpw"), "{kept}");
    w.image(["pull", &registry.name("a/x")]).ok();
    let last = tokens.asked().pop().unwrap();
    assert_eq!(last.method, "POST", "{last:?}");
}

/// A file of logins, with this password for the secured registry.
fn logins(path: &Path, password: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let who = format!("{}:{password}", Registry::USER);
    let auth = e2e::Cmd::new("base64").args(["-w0"]).stdin(who).run().ok().out();
    let file = json!({"auths": {Registry::secured().host(): {"auth": auth.trim()}}});
    // Before there was config.json, the file was what is now below `auths`.
    let old = path.ends_with(".dockercfg");
    let text = if old { file["auths"].to_string() } else { file.to_string() };
    fs::write(path, text).unwrap();
}

// SPEC: containers-auth.json(5): podman's own files in order, then docker's.
#[test]
fn logins_are_looked_for_in_podmans_order() {
    let w = World::new();
    let name = Registry::secured().name("busybox:latest");
    let session = w.path("session");
    fs::create_dir(&session).unwrap();
    let inspect = |more: &[(&str, &Path)], words: &[&str]| {
        let cmd = w.image_cmd(["inspect"]).args(words).arg(format!("docker://{name}"));
        let cmd = cmd.env("XDG_RUNTIME_DIR", &session).without_env("XDG_CONFIG_HOME");
        more.iter().fold(cmd, |cmd, (key, value)| cmd.env(key, value)).run()
    };
    one_line(inspect(&[], &[]), &["log in"]);
    // The last in the order is asked first here; each that comes before it is believed instead.
    let order = [
        "home/.dockercfg",
        "home/.docker/config.json",
        "home/.config/containers/auth.json",
        "session/containers/auth.json",
    ];
    for file in order {
        logins(&w.path(file), "no");
        one_line(inspect(&[], &[]), &["wrong"]);
        logins(&w.path(file), Registry::PASSWORD);
        inspect(&[], &[]).ok();
    }
    let (good, bad) = (w.path("good.json"), w.path("bad.json"));
    logins(&good, Registry::PASSWORD);
    logins(&bad, "no");
    one_line(inspect(&[("REGISTRY_AUTH_FILE", &bad)], &[]), &["wrong"]);
    let flag = ["--authfile", good.to_str().unwrap()];
    inspect(&[("REGISTRY_AUTH_FILE", &bad)], &flag).ok();
    let flag = ["--authfile", bad.to_str().unwrap()];
    one_line(inspect(&[("REGISTRY_AUTH_FILE", &good)], &flag), &["wrong"]);
    // docker's variable moves docker's file, and no other.
    for file in &order[2..] {
        fs::remove_file(w.path(file)).unwrap();
    }
    let elsewhere = w.path("docker");
    logins(&elsewhere.join("config.json"), "no");
    one_line(inspect(&[("DOCKER_CONFIG", &elsewhere)], &[]), &["wrong"]);
}

/// Passes connections on to the open registry, and counts them.
fn counted() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let there = Registry::open().host();
    let relay = move || {
        for near in listener.incoming().flatten() {
            counter.fetch_add(1, Ordering::SeqCst);
            let far = TcpStream::connect(&there).unwrap();
            let pass = |mut from: TcpStream, mut to: TcpStream| {
                let mut buffer = [0; 8 << 10];
                while let Ok(n @ 1..) = from.read(&mut buffer) {
                    if to.write_all(&buffer[..n]).is_err() {
                        break;
                    }
                }
                let _ = to.shutdown(Shutdown::Write);
            };
            let (a, b) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            thread::spawn(move || pass(a, b));
            thread::spawn(move || pass(far, near));
        }
    };
    thread::Builder::new().name("relay".to_owned()).spawn(relay).unwrap();
    (host, count)
}

// SPEC: RFC 9112 §9.3.
#[test]
fn one_connection_serves_many_requests() {
    let w = World::new();
    let (host, count) = counted();
    // A manifest and a config, and from whoever has them a list of tags.
    w.image(["inspect", &format!("docker://{host}/layers:latest")]).ok();
    let connections = count.swap(0, Ordering::SeqCst);
    assert!(connections <= 2, "{connections} connections for five requests");
    let layers = w.image(["inspect", "--raw", &format!("docker://{host}/layers:latest")]).ok();
    let layers = layers.json()["layers"].as_array().unwrap().len();
    count.store(0, Ordering::SeqCst);
    w.image(["pull", "-q", &format!("{host}/layers:latest")]).ok();
    let connections = count.load(Ordering::SeqCst);
    assert!(connections <= layers + 1, "{connections} connections for {layers} layers");
}

#[test]
fn import_takes_a_tar_from_a_server() {
    let w = World::new();
    let tar = fixtures::Layer::new().file("note", 0o644, "from afar").finish();
    let packed = e2e::Cmd::new("gzip").args(["-n"]).stdin(tar.clone()).run().ok().stdout;
    let server = Harbour::open(move |asked| match asked.path.as_str() {
        "/root.tar" => Answer::body(tar.clone()),
        "/root.tar.gz" => Answer::body(packed.clone()),
        "/moved" => Answer::status(302).header("Location", "/root.tar.gz"),
        "/cut" => Answer::body(tar.clone()).cut(700),
        "/file" => Answer::status(302).header("Location", "file:///etc/passwd"),
        _ => Answer::status(404),
    });
    for path in ["root.tar", "root.tar.gz", "moved"] {
        let url = format!("http://{}/{path}", server.host());
        w.image(["import", &url, "afar:1"]).ok();
        let out = w.cmd("tar").args(["-xO", "note"]);
        out.stdin(w.image(["export", "afar:1"]).ok().stdout).run().ok().out_is("from afar");
    }
    w.image(["remove", "-f", "afar:1"]).ok();
    w.image(["prune", "-a", "-q"]).ok();
    for path in ["cut", "file", "nothing"] {
        let url = format!("http://{}/{path}", server.host());
        one_line(w.image(["import", &url, "afar:1"]), &[&server.host()]);
        super::refused::nothing_visible(&w);
    }
}

#[test]
fn a_person_sees_a_bar_for_each_layer_and_a_log_gets_plain_lines() {
    let w = World::new();
    let cargo = Cargo::new("bars", 2 << 20);
    let (layer, held) = (cargo.layer(), AtomicUsize::new(0));
    let target = layer.clone();
    let harbour = Harbour::open(move |asked| {
        let fair = cargo.answer(asked);
        let first = asked.path.ends_with(&target) && held.fetch_add(1, Ordering::SeqCst) == 0;
        if first { fair.stall(1 << 20) } else { fair }
    });
    let name = harbour.name("x");
    let mut screen = Pty::start(w.image_cmd(["pull", &name]));
    let short = &layer["sha256:".len()..][..12];
    screen.expect(short);
    screen.expect("[==");
    screen.expect("1.00 MiB/2.0");
    // As a person ends it; what came is not fetched again.
    screen.send("\x03");
    assert_ne!(screen.wait(), 0);
    let said = w.image(["pull", &name]).ok().err();
    assert!(said.lines().any(|line| line.starts_with(short)), "{said}");
    assert!(!said.contains(['\x1b', '\r']), "{said:?}");
    let asked = harbour.asked();
    let ranges: Vec<&str> =
        asked.iter().filter(|a| a.path.ends_with(&layer)).map(|a| a.header("range")).collect();
    assert_eq!(ranges, ["", "bytes=1048576-"]);
    let quiet: Value = w.image(["--json", "-q", "list"]).ok().json();
    assert_eq!(quiet.as_array().map(Vec::len), Some(1));
}
