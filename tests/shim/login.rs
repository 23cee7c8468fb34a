//! login, logout.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use e2e::harbour::{Answer, Asked, Harbour};
use e2e::{Registry, World, needs};
use serde_json::Value;

fn config(w: &World) -> PathBuf {
    w.path("home/.docker/config.json")
}

fn read(w: &World) -> Value {
    serde_json::from_slice(&fs::read(config(w)).unwrap()).unwrap()
}

fn write(w: &World, text: &str) {
    fs::create_dir_all(w.path("home/.docker")).unwrap();
    fs::write(config(w), text).unwrap();
}

#[test]
fn login_is_checked_kept_and_used_until_logout() {
    needs!(Machine);
    let w = World::new();
    let secured = Registry::secured();
    let (host, name) = (secured.host(), secured.name("busybox:latest"));
    write(&w, r#"{"psFormat":"table {{.ID}}","auths":{"other.example":{"auth":"eDp5"}}}"#);
    w.dhow(["pull", &name]).code(1).err_has("login");
    let with = |password: &str| {
        let args = ["login", "-u", Registry::USER, "--password-stdin", &host];
        w.dhow_cmd(args).stdin(format!("{password}\n")).run()
    };
    let wrong = with("foul wind").code(1);
    let words = format!("login attempt to http://{host}/v2/ failed with status: 401 Unauthorized");
    assert!(wrong.err().contains(&words) && !wrong.err().contains("foul"), "{wrong}");
    assert!(read(&w)["auths"].get(&host).is_none(), "a refused password is not kept");
    with(Registry::PASSWORD).ok().out_is("Login Succeeded").err_has("stored unencrypted in");
    let file = read(&w);
    assert_eq!(file["psFormat"], "table {{.ID}}");
    assert_eq!(file["auths"]["other.example"]["auth"], "eDp5");
    assert_eq!(fs::metadata(config(&w)).unwrap().permissions().mode() & 0o777, 0o600);
    w.dhow(["pull", "-q", &name]).ok();
    // Docker's own words, and without a question: it is known already.
    w.dhow(["login", &host]).ok().out_is("Login Succeeded").err_has("existing credentials");
    w.dhow(["logout", &host]).ok().out_is(&format!("Removing login credentials for {host}"));
    assert!(read(&w)["auths"].get(&host).is_none());
    w.dhow(["pull", "-q", &name]).code(1);
    w.dhow(["logout", &host]).ok();
}

#[test]
fn login_s_flags_and_their_errors() {
    needs!(Machine);
    let w = World::new();
    let host = Registry::secured().host();
    let login = |args: &[&str]| {
        let args = [&["login"], args, &[host.as_str()]].concat();
        w.dhow_cmd(args).stdin(Registry::PASSWORD).run()
    };
    login(&["-u", Registry::USER, "-p", Registry::PASSWORD])
        .ok()
        .err_has("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    login(&["--username=mate", "--password=fair wind"]).ok().out_is("Login Succeeded");
    login(&["-u", Registry::USER, "-p", "-"]).ok();
    for (args, words) in [
        (&["--password-stdin"][..], "must provide --username with --password-stdin"),
        (&["-u", "a", "-p", "b", "--password-stdin"], "mutually exclusive"),
        (&["-u", "a"], "cannot perform an interactive login from a non-TTY device"),
        (&["-u", "", "-p", "b"], "username is empty"),
        (&["-u", "a", "-p", ""], "password is empty"),
    ] {
        login(args).code(1).err_has(words);
    }
    login(&["-e", "me@example.org", "-u", "a"])
        .code(125)
        .err_has("unknown shorthand flag: 'e' in -e");
    w.dhow(["login", "127.0.0.1:1", "-u", "a", "-p", "b"]).code(1).err_has("127.0.0.1:1");
}

#[test]
fn name_and_password_are_asked_for_without_echo() {
    needs!(Machine);
    let w = World::new();
    let host = Registry::secured().host();
    let mut t = w.dhow_pty(["login", &host]);
    let before = t.settings();
    t.expect("Username: ");
    t.send("mate\n").expect("Password: ");
    t.send("foul\u{15}fair wind\n");
    let shown = t.expect("Login Succeeded");
    assert!(!shown.contains("fair") && !shown.contains("foul"), "{shown}");
    assert_eq!(t.settings(), before, "the terminal is put back");
    assert_eq!(t.wait(), 0);
    // ctrl-c at the password leaves nothing, and the terminal as it was.
    w.dhow(["logout", &host]).ok();
    let mut t = w.dhow_pty(["login", "-u", "mate", &host]);
    t.expect("Password: ");
    t.send("fai\u{3}");
    assert_eq!(t.wait(), 130);
    assert_eq!(t.settings(), before);
    assert!(read(&w)["auths"].get(&host).is_none());
    // Nothing typed is no password.
    let mut t = w.dhow_pty(["login", "-u", "mate", &host]);
    t.expect("Password: ");
    t.send("\n").expect("password is required");
    assert_eq!(t.wait(), 1);
}

#[test]
fn expired_login_asks_again_with_the_name_at_hand() {
    needs!(Machine);
    let w = World::new();
    let host = Registry::secured().host();
    // mate:stale
    write(&w, &format!(r#"{{"auths":{{"{host}":{{"auth":"bWF0ZTpzdGFsZQ=="}}}}}}"#));
    let mut t = w.dhow_pty(["login", &host]);
    t.expect("Stored credentials invalid or expired");
    t.expect("Username (mate): ");
    t.send("\n").expect("Password: ");
    t.send("fair wind\n").expect("Login Succeeded");
    assert_eq!(t.wait(), 0);
}

/// A registry whose token server gives an identity token to those who log in.
fn token_registry() -> (Harbour, Harbour) {
    let tokens = Harbour::open(|asked: &Asked| {
        if asked.method == "POST" {
            return Answer::body(r#"{"access_token":"pass","expires_in":300}"#);
        }
        match (asked.header("authorization"), asked.path.contains("offline_token=true")) {
            ("Basic dTpw", true) => Answer::body(r#"{"token":"pass","refresh_token":"keep-me"}"#),
            ("Basic dTpw", false) => Answer::body(r#"{"token":"pass"}"#),
            _ => Answer::status(401),
        }
    });
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"s\"", tokens.host());
    let registry = Harbour::open(move |asked| match asked.header("authorization") {
        "Bearer pass" => Answer::body("{}"),
        _ => Answer::status(401).header("WWW-Authenticate", &realm),
    });
    (tokens, registry)
}

#[test]
fn identity_token_is_kept_in_place_of_the_password() {
    let w = World::new();
    let (tokens, registry) = token_registry();
    let host = registry.host();
    w.dhow(["login", "-u", "u", "-p", "no", &host])
        .code(1)
        .err_has("failed with status: 401 Unauthorized");
    let done = w.dhow(["login", "-u", "u", "-p", "p", &host]).ok().out_is("Login Succeeded");
    assert!(!done.err().contains("unencrypted"), "{done}");
    let entry = &read(&w)["auths"][&host];
    assert_eq!((&entry["identitytoken"], &entry["auth"]), (&"keep-me".into(), &"dTo=".into()));
    w.dhow(["login", &host]).ok().err_has("existing credentials");
    assert_eq!(tokens.asked().last().unwrap().method, "POST", "the token is used");
}

/// A helper that keeps what it is told in a file, and notes what it was asked.
fn helper(w: &World, name: &str) -> String {
    let bin = w.path("bin");
    fs::create_dir_all(&bin).unwrap();
    let path = bin.join(format!("docker-credential-{name}"));
    let kept = w.path(format!("kept-{name}"));
    let script = format!(
        "#!/bin/sh\nf={kept}\ncase $1 in store) cat >$f;; erase) read h; rm $f 2>/dev/null || {{ \
         echo credentials not found in native keychain; exit 1; }};; get) read h; cat $f \
         2>/dev/null || {{ echo credentials not found in native keychain; exit 1; }};; esac\n",
        kept = kept.display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

#[test]
fn helper_keeps_what_login_learned() {
    needs!(Machine);
    let w = World::new();
    let secured = Registry::secured();
    let (host, name) = (secured.host(), secured.name("busybox:latest"));
    let path = helper(&w, "pier");
    helper(&w, "quay");
    for config in [
        r#"{"credsStore":"pier"}"#.to_owned(),
        format!(r#"{{"credsStore":"quay","credHelpers":{{"{host}":"pier"}}}}"#),
    ] {
        write(&w, &config);
        let run = |args: &[&str]| w.dhow_cmd(args).env("PATH", &path).run();
        let done = run(&["login", "-u", "mate", "-p", "fair wind", &host]).ok();
        assert!(!done.err().contains("unencrypted"), "{done}");
        assert_eq!(read(&w)["auths"][&host], serde_json::json!({}));
        let kept: Value = serde_json::from_slice(&fs::read(w.path("kept-pier")).unwrap()).unwrap();
        assert_eq!(kept["ServerURL"], host.as_str());
        assert_eq!((&kept["Username"], &kept["Secret"]), (&"mate".into(), &"fair wind".into()));
        assert!(!w.path("kept-quay").exists());
        run(&["pull", "-q", &name]).ok();
        run(&["logout", &host]).ok();
        assert!(!w.path("kept-pier").exists() && read(&w)["auths"].get(&host).is_none());
    }
    // A helper that isn't there is named, and nothing is kept.
    write(&w, r#"{"credsStore":"nobody"}"#);
    w.dhow(["login", "-u", "mate", "-p", "fair wind", &host])
        .code(1)
        .err_has("docker-credential-nobody");
    assert!(!fs::read_to_string(config(&w)).unwrap().contains("fair"));
}

#[test]
fn bare_login_is_docker_hub() {
    let w = World::new();
    w.dhow(["logout"]).ok().out_is("Removing login credentials for https://index.docker.io/v1/");
    let mut t = w.dhow_pty(["login"]);
    t.expect("Docker Hub");
    t.expect("Username: ");
    t.send("\n").expect("username is required");
    assert_eq!(t.wait(), 1);
    // Where it goes is seen by a proxy that lets nobody through.
    let proxy = Harbour::open(|_| Answer::status(403));
    let to = format!("http://{}", proxy.host());
    let cmd = w.dhow_cmd(["login", "-u", "u", "-p", "p"]).env("HTTPS_PROXY", &to);
    cmd.run().code(1);
    let asked = proxy.asked();
    assert!(
        asked[0].method == "CONNECT" && asked[0].path == "registry-1.docker.io:443",
        "{asked:?}"
    );
}
