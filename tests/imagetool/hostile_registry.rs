//! Registries that stall, drip, lie, never end, or send us about: one error, in time, in little memory.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::harbour::{Answer, Asked, Cargo, Harbour};
use e2e::{Cmd, Done, World, fixtures};
use serde_json::{Value, json};

use super::refused::{nothing_visible, one_line};

const SMALL: usize = 200 << 10;
/// Little patience, for those who have us wait.
const HASTE: [&str; 2] = ["--idle-timeout", "400ms"];
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A verb with one more try and little memory: 64 MiB of its own data.
fn hurried(w: &World, words: &[&str]) -> Cmd {
    let again = ["--retry-times", "1", "--retry-delay=10ms"];
    let again =
        if words.iter().any(|w| w.starts_with("--retry-times")) { &[][..] } else { &again[..] };
    let all = [&words[..1], again, &words[1..]].concat();
    w.image_cmd(all).under(["prlimit", "--data=67108864"]).limit(40)
}

/// It must end in one line that has `parts`, well within a limit, with nothing left.
#[track_caller]
fn ends(words: &[&str], parts: &[&str]) {
    let w = World::new();
    let began = Instant::now();
    one_line(hurried(&w, words).run(), parts);
    assert!(began.elapsed() < Duration::from_secs(20), "{words:?} took {:?}", began.elapsed());
    nothing_visible(&w);
}

#[track_caller]
fn pull_ends(harbour: &Harbour, parts: &[&str]) {
    ends(&["pull", &harbour.name("x")], parts);
}

/// The same with little patience.
#[track_caller]
fn waits_no_longer(harbour: &Harbour, parts: &[&str]) {
    ends(&["pull", HASTE[0], HASTE[1], &harbour.name("x")], parts);
}

/// An honest registry, but for paths that hold `part`.
fn except(part: &str, answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Harbour {
    let cargo = Cargo::new("except", SMALL);
    let part = if part == "layer" { cargo.layer() } else { part.to_owned() };
    Harbour::open(
        move |asked| {
            if asked.path.contains(&part) { answer(asked) } else { cargo.answer(asked) }
        },
    )
}

#[test]
fn silence_at_any_step_ends() {
    waits_no_longer(&Harbour::open(|_| Answer::silent()), &["timed out"]);
    waits_no_longer(&except("/manifests/", |_| Answer::silent()), &["timed out"]);
    waits_no_longer(&except("layer", |_| Answer::silent()), &["timed out"]);
    let tokens = Harbour::open(|_| Answer::silent());
    let asks = format!("Bearer realm=\"http://{}/t\"", tokens.host());
    let harbour = Harbour::open(move |_| Answer::status(401).header("WWW-Authenticate", &asks));
    waits_no_longer(&harbour, &["timed out"]);
}

#[test]
fn drips_end() {
    let slow = |_: &Asked| Answer::body(" ".repeat(20_000)).drip(20);
    waits_no_longer(&except("/manifests/", slow), &["bytes came in"]);
    waits_no_longer(&except("layer", |_| Answer::body("x".repeat(3 << 20)).drip(20)), &["blob"]);
    // A refusal that drips is no different.
    let no = |_: &Asked| Answer::raw("HTTP/1.1 403 No\r\nContent-Length: 16000\r\n\r\n");
    waits_no_longer(&except("/manifests/", no), &["403"]);
    let tokens = Harbour::open(move |_| Answer::body(" ".repeat(20_000)).drip(20));
    let asks = format!("Bearer realm=\"http://{}/t\"", tokens.host());
    let harbour = Harbour::open(move |_| Answer::status(401).header("WWW-Authenticate", &asks));
    waits_no_longer(&harbour, &["bytes came in"]);
}

#[test]
fn lies_about_a_length() {
    for length in ["0", "1", "100000000", "18446744073709551616", "-1", "x"] {
        let lie = move |asked: &Asked| {
            let _ = asked;
            Answer::body("{}").header("Content-Length", length)
        };
        pull_ends(&except("/manifests/", lie), &[]);
        pull_ends(&except("layer", lie), &[]);
    }
    // A part that is another than was asked for.
    let cargo = Cargo::new("parts", 3 << 20);
    let (layer, first) = (cargo.layer(), AtomicUsize::new(0));
    let harbour = Harbour::open(move |asked| {
        let fair = cargo.answer(asked);
        match asked.path.ends_with(&layer) {
            true if first.fetch_add(1, Ordering::SeqCst) == 0 => fair.cut(1 << 20),
            true => {
                let head =
                    "HTTP/1.1 206 Part\r\nContent-Range: bytes 5-9/10\r\nConnection: close\r\n\r\n";
                Answer::raw([head.as_bytes(), &[b'x'; 9999]].concat())
            }
            false => fair,
        }
    });
    pull_ends(&harbour, &[]);
}

#[test]
fn a_login_that_is_never_enough() {
    let basic = Harbour::open(|_| Answer::status(401).header("WWW-Authenticate", "Basic realm=x"));
    ends(&["pull", "--creds", "u:p", &basic.name("x")], &["authentication required"]);
    assert!(basic.asked().len() < 10, "{:?}", basic.asked());
    let tokens = Harbour::open(|_| Answer::body(r#"{"token":"t","expires_in":-5}"#));
    pull_ends(&bearer(&tokens), &["token"]);
    let tokens = Harbour::open(|_| Answer::body(r#"{"token":"t"}"#));
    let harbour = bearer(&tokens);
    pull_ends(&harbour, &["401"]);
    assert!(harbour.asked().len() + tokens.asked().len() < 20);
    for odd in [r#"{"token":"a\r\nX: y"}"#, "{}", "[]", r#"{"token":3}"#] {
        pull_ends(&bearer(&Harbour::open(move |_| Answer::body(odd))), &["token"]);
    }
    pull_ends(&bearer(&Harbour::open(|_| Answer::body(" ".repeat(64 << 10)).endless())), &["over"]);
}

fn bearer(tokens: &Harbour) -> Harbour {
    let asks = format!("Bearer realm=\"http://{}/t\"", tokens.host());
    Harbour::open(move |_| Answer::status(401).header("WWW-Authenticate", &asks))
}

#[test]
fn documents_that_are_too_much() {
    let huge = |_: &Asked| Answer::body(vec![b' '; 64 << 20]);
    pull_ends(&except("/manifests/", huge), &["over 4194304 bytes"]);
    let tags = Harbour::open(huge);
    ends(&["list-tags", &format!("docker://{}", tags.name("x"))], &["over 4194304 bytes"]);
    let long = |_: &Asked| {
        let lines = "X-Y: zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\r\n".repeat(50_000);
        Answer::raw(format!("HTTP/1.1 200 OK\r\n{lines}\r\n{{}}"))
    };
    pull_ends(&except("/manifests/", long), &[]);
    pull_ends(&except("layer", long), &[]);
    let mut cargo = Cargo::new("layers", SMALL);
    let one = cargo.manifest["layers"][0].clone();
    cargo.manifest["layers"] = Value::Array(vec![one; 10_000]);
    pull_ends(&cargo.serve(), &["more than 500 layers"]);
}

#[test]
fn documents_that_say_two_things() {
    let cargo = Cargo::new("twins", SMALL);
    let text = String::from_utf8(cargo.document()).unwrap();
    for twin in ["Layers", "layers", "LAYERS", "Config", "mediatype"] {
        let text = text.replacen('{', &format!("{{\"{twin}\":[],"), 1);
        let kind = cargo.kind.clone();
        let answer = move |_: &Asked| Answer::body(text.as_str()).header("Content-Type", &kind);
        pull_ends(&except("/manifests/", answer), &["manifest"]);
    }
    // The bytes are others than the registry itself says.
    let kind = cargo.kind.clone();
    let other = format!("sha256:{}", "0".repeat(64));
    let answer = move |_: &Asked| {
        let answer = Answer::body(text.as_str()).header("Content-Type", &kind);
        answer.header("Docker-Content-Digest", &other)
    };
    pull_ends(&except("/manifests/", answer), &["digest should be"]);
}

#[test]
fn lists_in_lists() {
    // Each is a list of the one before it: no platform is ever reached.
    let cargo = Cargo::new("lists", SMALL);
    let mut documents = vec![cargo.document()];
    for _ in 0..6 {
        let inner = documents.last().unwrap();
        let at = json!({"mediaType": INDEX, "digest": fixtures::digest(inner), "size": inner.len(),
                        "platform": {"os": "linux", "architecture": "amd64"}});
        let list = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [at]});
        documents.push(serde_json::to_vec(&list).unwrap());
    }
    let harbour = Harbour::open(move |asked| match asked.path.split_once("/manifests/") {
        Some((_, wanted)) => {
            let found = documents.iter().find(|d| fixtures::digest(d) == wanted);
            let bytes = found.unwrap_or_else(|| documents.last().unwrap()).clone();
            Answer::body(bytes).header("Content-Type", INDEX)
        }
        None => cargo.answer(asked),
    });
    pull_ends(&harbour, &["manifest"]);
    let from = format!("docker://{}", harbour.name("x"));
    let w = World::new();
    let to = format!("oci:{}", w.path("new/folder/layout").display());
    one_line(hurried(&w, &["copy", &from, &to]).run(), &["manifest"]);
    assert!(!w.path("new").exists(), "folders that were made for it are gone again");
    ends(&["copy", "--all", &from, "other:1"], &["too deep"]);
}

#[test]
fn tags_without_end() {
    let count = AtomicUsize::new(0);
    let endless = Harbour::open(move |_| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        Answer::body(format!(r#"{{"tags":["t{n}"]}}"#))
            .header("Link", format!("</v2/x/tags/list?last=t{n}>; rel=\"next\""))
    });
    ends(&["list-tags", &format!("docker://{}", endless.name("x"))], &["1000 pages"]);
    let same = Harbour::open(|asked| {
        Answer::body(r#"{"tags":["t"]}"#).header("Link", format!("<{}>; rel=next", asked.path))
    });
    ends(&["list-tags", &format!("docker://{}", same.name("x"))], &["itself"]);
}

#[test]
fn a_busy_registry_is_waited_for_within_reason() {
    let w = World::new();
    let busy = |seconds: &'static str| {
        let count = AtomicUsize::new(0);
        except("/manifests/", move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 => Answer::status(429).header("Retry-After", seconds),
            _ => Answer::status(404),
        })
    };
    let harbour = busy("3");
    let done = hurried(&w, &["pull", &harbour.name("x")]).run().code(2);
    done.err_has("is busy; trying again in 3 s");
    ends(&["pull", &busy("3600").name("x")], &["429", "asks to come again in 3600 s"]);
    // As often as it is told to, and no more.
    let down = except("/manifests/", |_| Answer::status(503));
    ends(&["pull", "--retry-times=3", &down.name("x")], &["503"]);
    let tries = down.asked().iter().filter(|a| a.path.contains("/manifests/")).count();
    assert_eq!(tries, 4);
}

/// An honest registry for uploads, whose answers a case may replace.
fn taking(answer: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> Harbour {
    Harbour::open(move |asked| match answer(asked) {
        Some(answer) => answer,
        None => match asked.method.as_str() {
            "HEAD" => Answer::status(404),
            "POST" => Answer::status(202).header("Location", "/v2/x/blobs/uploads/1"),
            "PATCH" => Answer::status(202).header("Location", "/v2/x/blobs/uploads/2"),
            "PUT" => Answer::status(201),
            _ => Answer::body("{}"),
        },
    })
}

fn push(w: &World, to: &Harbour, more: &[&str]) -> Done {
    let name = to.name("x:1");
    let words = [&["push"], more, &["busybox", &name]].concat();
    hurried(w, &words).run()
}

#[test]
fn an_upload_goes_where_it_should() {
    let w = World::new();
    w.pull("busybox");
    push(&w, &taking(|_| None), &[]).ok();
    // Elsewhere it goes without our password.
    let thief = std::sync::Arc::new(taking(|_| None));
    let port = thief.host().rsplit_once(':').unwrap().1.to_owned();
    let to = format!("http://localhost:{port}/v2/x/blobs/uploads/1");
    let harbour =
        taking(move |asked| match (asked.method.as_str(), asked.header("authorization")) {
            (_, "") => Some(Answer::status(401).header("WWW-Authenticate", "Basic realm=x")),
            ("POST", _) => Some(Answer::status(202).header("Location", &to)),
            _ => None,
        });
    push(&w, &harbour, &["--creds", "u:p"]).ok();
    let seen = thief.asked();
    assert!(seen.iter().all(|a| a.header("authorization").is_empty()) && !seen.is_empty());
    for odd in
        ["file:///etc/passwd", "http://", "http:///x", "//", "\u{1}", "ftp://x/y", "http://u:p@/"]
    {
        let harbour = taking(move |asked| {
            (asked.method == "POST").then(|| Answer::status(202).header("Location", odd))
        });
        let done = push(&w, &harbour, &[]).refused();
        assert!(!done.err().contains("panicked"), "{odd}: {done}");
    }
    let nowhere = taking(|asked| (asked.method == "POST").then(|| Answer::status(202)));
    one_line(push(&w, &nowhere, &[]), &["no Location"]);
    let circle = taking(|asked| {
        (asked.method != "GET").then(|| Answer::status(307).header("Location", asked.path.as_str()))
    });
    push(&w, &circle, &[]).refused();
}

#[test]
fn an_upload_that_broke_off_goes_on() {
    let w = World::new();
    w.pull("busybox");
    let config = w.image(["inspect", "--raw", "busybox"]).ok().json()["config"]["size"].clone();
    let most = config.as_u64().unwrap() as usize;
    let got: &'static Mutex<Vec<u8>> = Box::leak(Box::default());
    let broke = AtomicUsize::new(0);
    let harbour = taking(move |asked| {
        let mut got = got.lock().unwrap();
        match asked.method.as_str() {
            "PATCH" if asked.body.len() > most => {
                let first = broke.fetch_add(1, Ordering::SeqCst) == 0;
                let kept = if first { &asked.body[..100_000] } else { &asked.body[..] };
                got.extend_from_slice(kept);
                first.then(|| Answer::status(503))
            }
            "GET" if asked.path.ends_with("/uploads/1") => Some(
                Answer::status(204)
                    .header("Location", "/v2/x/blobs/uploads/1")
                    .header("Range", format!("0-{}", got.len() - 1)),
            ),
            _ => None,
        }
    });
    push(&w, &harbour, &["--chunk-size", "100000000"]).ok();
    let ends: Vec<String> =
        harbour.asked().iter().map(|a| a.header("content-range").to_owned()).collect();
    assert!(ends.iter().any(|r| r.starts_with("100000-")), "{ends:?}");
    let digest = fixtures::digest(&got.lock().unwrap());
    let put = |a: &Asked| a.method == "PUT" && a.path.contains(&digest.replace(':', "%3A"));
    assert!(harbour.asked().iter().any(put), "the parts make the whole: {digest}");
    // Who claims to have more than there is gets all of it again.
    let liar = taking(move |asked| match asked.method.as_str() {
        "PATCH" if asked.header("content-range").is_empty() => Some(Answer::status(503)),
        "GET" if asked.path.contains("/uploads/") => {
            Some(Answer::status(204).header("Range", "0-99999999999999"))
        }
        _ => None,
    });
    push(&w, &liar, &["--chunk-size", "100000000"]).ok();
}
