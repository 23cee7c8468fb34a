//! Logging in: tokens, helpers, certificates.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use e2e::harbour::{Answer, Asked, Cargo, Harbour};
use e2e::{Registry, World, registry};

use super::refused::one_line;

const SMALL: usize = 200 << 10;

/// A token server, and a registry that wants its tokens. `user` is what `Authorization` the token
/// server wants to see: empty for anybody.
fn guarded(user: &'static str) -> (Harbour, Harbour) {
    let tokens = Harbour::open(move |asked: &Asked| {
        let right = asked.path.contains("service=the%20harbour")
            && asked.path.contains("scope=repository%3Aa%2Fx%3Apull")
            && asked.header("authorization") == user;
        if right {
            return Answer::body(r#"{"access_token":"pass-1","expires_in":300}"#);
        }
        Answer::status(401)
    });
    let cargo = Cargo::new("guarded", SMALL);
    let realm = format!(
        "Bearer realm=\"http://{}/token\",service=\"the harbour\",scope=\"repository:a/x:pull\"",
        tokens.host()
    );
    let registry = Harbour::open(move |asked| match asked.header("authorization") {
        "Bearer pass-1" => cargo.answer(asked),
        _ => Answer::status(401).header("WWW-Authenticate", &realm),
    });
    (tokens, registry)
}

#[test]
fn token_for_anybody() {
    let w = World::new();
    let (tokens, registry) = guarded("");
    w.image(["pull", &registry.name("a/x")]).ok();
    assert_eq!(tokens.asked().len(), 1, "one token is enough: {:?}", tokens.asked());
}

#[test]
fn token_for_a_user() {
    let w = World::new();
    let (tokens, registry) = guarded("Basic dTpw");
    one_line(w.image(["pull", &registry.name("a/x")]), &[&registry.host(), "log in"]);
    one_line(w.image(["pull", "--creds", "u:no", &registry.name("a/x")]), &["wrong"]);
    let before = tokens.asked().len();
    w.image(["pull", "--creds", "u:p", &registry.name("a/x")]).ok();
    assert_eq!(tokens.asked().len(), before + 1);
    let straight = |a: &Asked| a.header("authorization").starts_with("Basic");
    assert!(!registry.asked().iter().any(straight), "the registry itself sees tokens only");
}

#[test]
fn token_that_ran_out_is_renewed() {
    let w = World::new();
    let count = std::sync::atomic::AtomicUsize::new(0);
    let tokens = Harbour::open(move |_| {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Answer::body(format!(r#"{{"token":"pass-{n}","expires_in":300}}"#))
    });
    let cargo = Cargo::new("renewed", SMALL);
    let realm = format!("Bearer realm=\"http://{}/token\"", tokens.host());
    let registry = Harbour::open(move |asked| {
        let blob = asked.path.contains("/blobs/");
        match asked.header("authorization") {
            "Bearer pass-0" if !blob => cargo.answer(asked),
            "Bearer pass-1" => cargo.answer(asked),
            _ => Answer::status(401).header("WWW-Authenticate", &realm),
        }
    });
    w.image(["pull", &registry.name("x")]).ok();
    assert_eq!(tokens.asked().len(), 2);
}

#[test]
fn helper_keeps_the_password() {
    let w = World::new();
    let secured = Registry::secured();
    let bin = w.path("bin");
    fs::create_dir(&bin).unwrap();
    let helper = bin.join("docker-credential-pier");
    let script = format!(
        "#!/bin/sh\nread host\ntest \"$1 $host\" = \"get {}\" || {{ echo credentials not found in \
         native keychain; exit 1; }}\nprintf '{{\"ServerURL\":\"%s\",\"Username\":\"{}\",\
         \"Secret\":\"{}\"}}' \"$host\"\n",
        secured.host(),
        Registry::USER,
        Registry::PASSWORD,
    );
    fs::write(&helper, script).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let config = w.path("home/.docker");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("config.json"), r#"{"credsStore":"pier"}"#).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let pull = |name: &str| w.image_cmd(["pull", name]).env("PATH", &path).run();
    pull(&secured.name("busybox:latest")).ok();
    // What the helper doesn't know is asked for without a password.
    pull(&Registry::open().name("busybox:latest")).ok();
    // A helper that isn't there is named.
    one_line(w.image(["pull", &secured.name("zstd")]), &["docker-credential-pier"]);
}

#[test]
fn authority_of_its_own() {
    let w = World::new();
    let dir = tempfile::tempdir().unwrap();
    let (cert, port) = registry::serve_tls(dir.path(), false);
    let host = format!("127.0.0.1:{port}");
    let name = format!("{host}/nothing:here");
    let there = ["no such image", "nothing:here"];
    one_line(w.image(["pull", &name]), &[&host, "certificate"]);
    // It is known by a folder as docker has it, by the system's variable, or not checked at all.
    let known = w.path("certs.d").join(&host);
    fs::create_dir_all(&known).unwrap();
    fs::copy(&cert, known.join("ca.crt")).unwrap();
    let certs = w.path("certs.d");
    one_line(w.image(["pull", "--cert-dir", certs.to_str().unwrap(), &name]), &there);
    one_line(w.image_cmd(["pull", &name]).env("SSL_CERT_FILE", &cert).run(), &there);
    one_line(w.image(["pull", "--tls-verify=false", &name]), &there);
    // Another host's certificate is none.
    fs::rename(&known, w.path("certs.d/127.0.0.1:1")).unwrap();
    one_line(w.image(["pull", "--cert-dir", certs.to_str().unwrap(), &name]), &["certificate"]);
}

/// As docker's handbook has it made.
#[test]
fn certificate_that_signs_itself() {
    let w = World::new();
    let dir = tempfile::tempdir().unwrap();
    let (cert, port) = registry::serve_tls(dir.path(), true);
    let host = format!("127.0.0.1:{port}");
    let pull = |host: &str| {
        w.image(["pull", "--cert-dir", w.path("certs.d").to_str().unwrap(), &format!("{host}/x")])
    };
    one_line(pull(&host), &[&host, "certificate"]);
    for host in [&host, &format!("localhost:{port}")] {
        let known = w.path("certs.d").join(host);
        fs::create_dir_all(&known).unwrap();
        fs::copy(&cert, known.join("ca.crt")).unwrap();
    }
    one_line(pull(&host), &["no such image"]);
    // It is for 127.0.0.1 and for no other name.
    one_line(pull(&format!("localhost:{port}")), &["certificate"]);
}

#[test]
fn certificate_of_the_client() {
    let w = World::new();
    let dir = tempfile::tempdir().unwrap();
    let (authority, port) = registry::serve_tls_asking(dir.path());
    let name = format!("127.0.0.1:{port}/mine:1");
    w.pull("busybox");
    let certs = w.path("certs");
    let host = w.path(format!("certs.d/127.0.0.1:{port}"));
    for place in [&certs, &host] {
        fs::create_dir_all(place).unwrap();
        fs::copy(&authority, place.join("ca.crt")).unwrap();
        fs::copy(dir.path().join("client.cert"), place.join("client.cert")).unwrap();
    }
    let push =
        |certs: &str| w.image(["push", "--retry-times=0", "--cert-dir", certs, "busybox", &name]);
    one_line(push(certs.to_str().unwrap()), &["client.key"]);
    for place in [&certs, &host] {
        fs::copy(dir.path().join("client.key"), place.join("client.key")).unwrap();
    }
    let client = certs.join("client.cert");
    fs::copy(dir.path().join("old.cert"), &client).unwrap();
    one_line(push(certs.to_str().unwrap()), &["client.cert", "version 1"]);
    fs::copy(dir.path().join("client.cert"), &client).unwrap();
    // A folder for whoever is asked, as skopeo has it, or with a folder for the host, as docker has.
    push(certs.to_str().unwrap()).ok();
    w.image(["pull", "--cert-dir", w.path("certs.d").to_str().unwrap(), &name]).ok();
    let alone = w.path("alone");
    fs::create_dir_all(&alone).unwrap();
    fs::copy(&authority, alone.join("ca.crt")).unwrap();
    one_line(push(alone.to_str().unwrap()), &["127.0.0.1", "ertificate"]);
}
