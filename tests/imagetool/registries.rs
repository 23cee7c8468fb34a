//! registries.conf: where an image is read from, and what a short name means.

use std::fs;
use std::sync::Arc;

use e2e::harbour::{Answer, Asked, Cargo, Harbour};
use e2e::{Cmd, World};

use super::refused::one_line;

const SMALL: usize = 200 << 10;

/// A command under a registries.conf.
fn under(w: &World, conf: &str, args: &[&str]) -> Cmd {
    let file = w.path("registries.conf");
    fs::write(&file, conf).unwrap();
    w.image_cmd(args).env("CONTAINERS_REGISTRIES_CONF", file)
}

/// A registry whose every answer is a status.
fn always(status: u16) -> Harbour {
    Harbour::open(move |_| Answer::status(status))
}

/// Serves an image below `ns/`, and nothing else.
fn below(cargo: &Cargo, ns: &'static str) -> Harbour {
    let cargo = cargo.clone();
    Harbour::open(move |asked: &Asked| match asked.path.strip_prefix("/v2/") {
        Some(path) if !path.starts_with(ns) && !path.is_empty() => Answer::status(404),
        _ => cargo.answer(asked),
    })
}

fn mirrored(by: &[&Harbour]) -> String {
    let mirrors: Vec<String> = by
        .iter()
        .map(|h| format!("[[registry.mirror]]\nlocation = \"{}/ns\"\n", h.host()))
        .collect();
    format!(
        "[[registry]]\nprefix = \"r.invalid/team\"\nlocation = \"r.invalid\"\n{}",
        mirrors.concat()
    )
}

#[test]
fn mirrors_are_asked_in_order_by_every_verb_that_reads() {
    let w = World::new();
    let cargo = Cargo::new("mirrored", SMALL);
    let (empty, full) = (always(404), below(&cargo, "ns/x/"));
    let conf = mirrored(&[&empty, &full]);
    under(&w, &conf, &["pull", "r.invalid/team/x:1"]).run().ok().out_is("r.invalid/team/x:1");
    let layout = format!("oci:{}", w.path("layout").display());
    under(&w, &conf, &["copy", "docker://r.invalid/team/x:1", &layout]).run().ok();
    under(&w, &conf, &["inspect", "-n", "docker://r.invalid/team/x:1"]).run().ok();
    assert_eq!(empty.asked().iter().filter(|a| a.path == "/v2/ns/x/manifests/1").count(), 3);
    let tags = Harbour::open(|asked| {
        let wanted = asked.path.starts_with("/v2/ns/x/tags/");
        if wanted { Answer::body(r#"{"tags":["1"]}"#) } else { Answer::status(404) }
    });
    let conf = mirrored(&[&empty, &tags]);
    let listed = under(&w, &conf, &["list-tags", "docker://r.invalid/team/x"]).run().ok().json();
    assert_eq!(listed["Repository"], "r.invalid/team/x", "under its own name");
    let conf = mirrored(&[&empty, &full]);
    // What none of them has is the registry's own to refuse, and each is told.
    let done = under(&w, &conf, &["copy", "docker://r.invalid/team/y:1", &layout]).run();
    one_line(done, &["r.invalid", "mirrors failed, too", &empty.host(), &full.host()]);
}

#[test]
fn a_mirror_that_breaks_is_left_for_the_next() {
    let w = World::new();
    let cargo = Cargo::new("broken-mirror", SMALL);
    let full = below(&cargo, "ns/x/");
    let layer = cargo.layer();
    let broken = Harbour::open(move |asked| {
        if asked.path.ends_with(&layer) { Answer::status(403) } else { cargo.answer(asked) }
    });
    let conf = mirrored(&[&broken, &full]);
    let done = under(&w, &conf, &["pull", "r.invalid/team/x:1"]).run().ok();
    assert!(done.err().contains("asking the next place"), "{done}");
    let layout = format!("oci:{}", w.path("layout").display());
    under(&w, &conf, &["copy", "docker://r.invalid/team/x:1", &layout]).run().ok();
}

#[test]
fn a_copy_goes_on_at_the_next_place_where_a_mirror_broke_off() {
    let w = World::new();
    let cargo = Cargo::new("mid-blob", SMALL);
    let full = below(&cargo, "ns/x/");
    let layer = cargo.layer();
    let broken = Harbour::open(move |asked| match asked.path.ends_with(&layer) {
        true if asked.header("range").is_empty() => cargo.answer(asked).cut(SMALL / 2),
        true => Answer::status(403),
        false => cargo.answer(asked),
    });
    let conf = mirrored(&[&broken, &full]);
    let layout = format!("oci:{}:x", w.path("layout").display());
    let done = under(&w, &conf, &["copy", "docker://r.invalid/team/x:1", &layout]).run().ok();
    assert!(done.err().contains("asking the next place"), "{done}");
    let asked = full.asked();
    let blobs: Vec<&Asked> = asked.iter().filter(|a| a.path.contains("/blobs/")).collect();
    assert!(blobs.len() == 1 && blobs[0].header("range").starts_with("bytes="), "{blobs:?}");
    w.image(["verify", "--layout", w.path("layout").to_str().unwrap()]).ok().out_is("");
}

#[test]
fn http_and_https_have_a_proxy_each() {
    let w = World::new();
    let (plain, safe) = (always(403), always(403));
    let pull = |more: &[&str]| {
        let words = [&["pull", "--retry-times=0", "r.invalid/x"][..], more].concat();
        w.image_cmd(words)
            .env("HTTP_PROXY", format!("http://{}", plain.host()))
            .env("HTTPS_PROXY", format!("http://{}", safe.host()))
            .run()
            .refused();
    };
    pull(&["--plain-http"]);
    let seen = (plain.asked().len(), safe.asked().len());
    assert!(seen.0 > 0 && seen.1 == 0, "{seen:?}");
    pull(&[]);
    assert!(plain.asked().len() == seen.0 && !safe.asked().is_empty());
}

#[test]
fn a_password_that_was_typed_is_not_for_mirrors() {
    let w = World::new();
    let asks = |_: &Asked| Answer::status(401).header("WWW-Authenticate", "Basic realm=x");
    let mirror = Arc::new(Harbour::open(asks));
    let conf = mirrored(&[&mirror]);
    under(&w, &conf, &["pull", "--creds", "u:p", "r.invalid/team/x"]).run().refused();
    let seen: Vec<Asked> =
        mirror.asked().into_iter().filter(|a| !a.header("authorization").is_empty()).collect();
    assert!(!mirror.asked().is_empty() && seen.is_empty(), "{seen:?}");
    // What a file has for the mirror's own host is.
    let auth = w.path("auth.json");
    let host = mirror.host();
    fs::write(&auth, format!(r#"{{"auths":{{"{host}":{{"auth":"bTpx"}}}}}}"#)).unwrap();
    let auth = auth.to_str().unwrap();
    under(&w, &conf, &["pull", "--authfile", auth, "r.invalid/team/x"]).run().refused();
    assert!(mirror.asked().iter().any(|a| a.header("authorization") == "Basic bTpx"));
}

#[test]
fn a_blocked_registry_is_not_asked() {
    let w = World::new();
    let cargo = Cargo::new("blocked", SMALL);
    let harbour = below(&cargo, "x/");
    let conf = format!("[[registry]]\nlocation = \"{}\"\nblocked = true", harbour.host());
    let name = harbour.name("x:1");
    let from = format!("docker://{name}");
    let layout = format!("oci:{}", w.path("layout").display());
    let before = harbour.asked().len();
    one_line(under(&w, &conf, &["pull", &name]).run(), &["is blocked in registries.conf"]);
    one_line(under(&w, &conf, &["copy", &from, &layout]).run(), &["is blocked"]);
    assert_eq!(harbour.asked().len(), before);
}

#[test]
fn short_names_mean_what_the_file_says() {
    let w = World::new();
    let cargo = Cargo::new("short", SMALL);
    let (one, two) = (always(404), below(&cargo, "x/"));
    let search =
        format!("unqualified-search-registries = [\"{}\", \"{}\"]\n", one.host(), two.host());
    under(&w, &search, &["pull", "x:1"]).run().ok().out_is(&two.name("x:1"));
    let enforcing = format!("{search}short-name-mode = \"enforcing\"\n");
    one_line(under(&w, &enforcing, &["pull", "x:1"]).run(), &["enforcing", &one.host()]);
    let alias = format!("{search}[aliases]\n\"boat\" = \"{}\"", two.name("x"));
    under(&w, &alias, &["pull", "boat:2"]).run().ok().out_is(&two.name("x:2"));
    one_line(under(&w, &search, &["pull", "nobody:1"]).run(), &[&one.host(), &two.host()]);
    one_line(under(&w, "x", &["pull", "x:1"]).run(), &["registries.conf", "line 1"]);
}

#[test]
fn daemon_json_and_proxies_hold_for_dhow_image_too() {
    let w = World::new();
    let cargo = Cargo::new("daemon", SMALL);
    let (mirror, proxy) = (below(&cargo, "library/here/"), always(403));
    let daemon = w.path("settings.json");
    let text = format!(r#"{{"registry-mirrors": ["http://{}"]}}"#, mirror.host());
    fs::write(&daemon, text).unwrap();
    let by = |name: &str, no_proxy: &str| {
        let proxy = format!("http://{}", proxy.host());
        w.image_cmd(["pull", "--retry-times=0", name])
            .env("DHOW_DAEMON_JSON", &daemon)
            .env("HTTPS_PROXY", proxy)
            .env("NO_PROXY", no_proxy)
            .run()
    };
    by("docker://here", "").ok().out_is("docker.io/library/here:latest");
    assert_eq!(proxy.asked().len(), 0, "this machine's own are not asked through it");
    by("docker://r.invalid/x", "").refused();
    assert!(proxy.asked()[0].path.starts_with("r.invalid"), "{:?}", proxy.asked());
    let before = proxy.asked().len();
    one_line(by("docker://r.invalid/x", "other.io,.invalid"), &["cannot reach r.invalid"]);
    one_line(by("docker://r.invalid/x", "a, invalid"), &["cannot reach r.invalid"]);
    assert_eq!(proxy.asked().len(), before);
    // One that can't be spoken to isn't passed by.
    let socks = w.image_cmd(["pull", "docker://r.invalid/x"]).env("ALL_PROXY", "socks5://h:1");
    one_line(socks.run(), &["proxy", "socks5://h:1"]);
}

#[test]
fn tls_that_is_asked_for_is_not_given_up_for_this_machines_own_registries() {
    let w = World::new();
    let plain = always(200);
    let place = format!("docker://{}/x:1", plain.host());
    let words = ["inspect", "--retry-times=0", "--creds=u:p", "--tls-verify=true", &place];
    w.image(words).refused();
    assert!(plain.asked().iter().all(|asked| !asked.path.contains("v2")), "{:?}", plain.asked());
}
