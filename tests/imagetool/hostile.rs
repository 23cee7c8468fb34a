//! A registry that lies, breaks off, or sends us elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use e2e::harbour::{Answer, Asked, Cargo, Harbour};
use e2e::{Done, World, fixtures, until};
use serde_json::{Value, json};

use super::refused::{nothing_visible, one_line};

const SMALL: usize = 200 << 10;

fn pull(w: &World, name: &str) -> Done {
    w.image_cmd(["pull", name]).limit(60).run()
}

/// Pulling this must be refused in one line that has `parts`, and leave nothing.
#[track_caller]
fn refused(cargo: Cargo, parts: &[&str]) {
    let w = World::new();
    let layer = cargo.layer();
    let harbour = cargo.serve();
    one_line(pull(&w, &harbour.name("x")), parts);
    nothing_visible(&w);
    // But for what a next pull can go on with.
    let parts = ["-type", "f", "-not", "-path", "*/tmp/partial/*"];
    for place in ["tmp", "images/blobs", "layers"] {
        w.cmd("find").arg(w.root().join(place)).args(parts).run().ok().out_is("");
    }
    let bad = w.root().join("tmp/partial").join(layer.replace(':', "-"));
    assert!(!bad.exists(), "what is spoiled is no use to a next pull");
}

#[test]
fn an_honest_one_is_believed() {
    let w = World::new();
    let harbour = Cargo::new("honest", SMALL).serve();
    pull(&w, &harbour.name("x")).ok();
}

// CVE: 2021-41190.
#[test]
fn manifest_that_is_also_a_list() {
    let mut cargo = Cargo::new("both", SMALL);
    cargo.manifest["manifests"] = json!([]);
    refused(cargo.clone(), &["both /manifests and /layers"]);
    cargo.kind = "application/vnd.oci.image.index.v1+json".into();
    refused(cargo, &["/manifests and /layers"]);
}

#[test]
fn manifest_announced_as_something_else() {
    let mut cargo = Cargo::new("announced", SMALL);
    cargo.kind = "application/vnd.oci.image.index.v1+json".into();
    refused(cargo.clone(), &["/mediaType"]);
    cargo.manifest.as_object_mut().unwrap().remove("mediaType");
    refused(cargo, &["index"]);
}

#[test]
fn schema_1() {
    let mut cargo = Cargo::new("schema", SMALL);
    cargo.manifest = json!({"schemaVersion": 1, "name": "x", "tag": "latest", "fsLayers": []});
    cargo.kind = "application/vnd.docker.distribution.manifest.v1+prettyjws".into();
    refused(cargo, &["schema 1", "pushed again"]);
}

#[test]
fn sizes_that_are_none() {
    for size in [json!(-1), json!(1.5), json!("10"), json!(u64::MAX), json!(i64::MAX), json!(1)] {
        let mut cargo = Cargo::new("sizes", SMALL);
        cargo.manifest["layers"][1]["size"] = size;
        refused(cargo, &[]);
    }
    let mut cargo = Cargo::new("sizes", SMALL);
    cargo.manifest["config"]["size"] = json!(1u64 << 40);
    refused(cargo, &["config"]);
}

#[test]
fn digests_that_climb() {
    for digest in ["sha256:../../../../etc/passwd", "../x", "sha256:", "sha256:ABCDEF", "md5:00"] {
        for place in ["/layers/1/digest", "/config/digest"] {
            let mut cargo = Cargo::new("climb", SMALL);
            *cargo.manifest.pointer_mut(place).unwrap() = json!(digest);
            refused(cargo, &["digest"]);
        }
    }
}

#[test]
fn sums_for_fewer_or_more_layers() {
    for change in [
        (|ids| drop(ids.pop())) as fn(&mut Vec<Value>),
        |ids| ids.push(ids[0].clone()),
        |ids| ids.clear(),
        |ids| *ids = vec![ids[0].clone(); 10_000],
        |ids| ids[1] = json!(format!("sha256:{}", "0".repeat(64))),
        |ids| ids.swap(0, 1),
    ] {
        let mut cargo = Cargo::new("sums", SMALL);
        let old = cargo.manifest["config"]["digest"].as_str().unwrap().to_owned();
        let mut config: Value = serde_json::from_slice(&cargo.blobs[&old]).unwrap();
        change(config["rootfs"]["diff_ids"].as_array_mut().unwrap());
        let bytes = serde_json::to_vec(&config).unwrap();
        let digest = fixtures::digest(&bytes);
        cargo.manifest["config"]["digest"] = json!(digest);
        cargo.manifest["config"]["size"] = json!(bytes.len());
        cargo.blobs.insert(digest, bytes);
        refused(cargo, &["sha256:"]);
    }
}

#[test]
fn blob_that_is_another() {
    let mut cargo = Cargo::new("another", SMALL);
    let layer = cargo.layer();
    cargo.blobs.get_mut(&layer).unwrap()[1000] ^= 1;
    refused(cargo, &[&layer]);
}

#[test]
fn manifest_that_is_not_what_its_digest_says() {
    let w = World::new();
    let harbour = Cargo::new("by-digest", SMALL).serve();
    let name = harbour.name(&format!("x@sha256:{}", "0".repeat(64)));
    one_line(pull(&w, &name), &["digest should be"]);
    nothing_visible(&w);
}

#[test]
fn bodies_without_end() {
    let w = World::new();
    let manifests = Harbour::open(|_| Answer::body(" ".repeat(64 << 10)).endless());
    one_line(pull(&w, &manifests.name("x")), &["manifest"]);
    let cargo = Cargo::new("endless", SMALL);
    let layer = cargo.layer();
    let blobs = Harbour::open(move |asked| {
        if asked.path.ends_with(&layer) {
            return Answer::body("ever and ever ".repeat(1000)).endless();
        }
        cargo.answer(asked)
    });
    one_line(pull(&w, &blobs.name("x")), &["blob"]);
    nothing_visible(&w);
}

#[test]
fn busy_registry_is_asked_again() {
    let w = World::new();
    let cargo = Cargo::new("busy", SMALL);
    let count = AtomicUsize::new(0);
    let harbour = Harbour::open(move |asked| match count.fetch_add(1, Ordering::SeqCst) {
        1 | 3 => Answer::status(503).header("Retry-After", "0"),
        4 => Answer::status(429).header("Retry-After", "0"),
        _ => cargo.answer(asked),
    });
    pull(&w, &harbour.name("x")).ok();
}

#[test]
fn cut_body_goes_on_where_it_broke() {
    let w = World::new();
    let cargo = Cargo::new("cut", 3 << 20);
    let (layer, tries) = (cargo.layer(), AtomicUsize::new(0));
    let target = layer.clone();
    let harbour = Harbour::open(move |asked| {
        let first = asked.path.ends_with(&target) && tries.fetch_add(1, Ordering::SeqCst) == 0;
        let fair = cargo.answer(asked);
        if first { fair.cut(1 << 20) } else { fair }
    });
    pull(&w, &harbour.name("x")).ok();
    assert_eq!(ranges(&harbour, &layer), ["", "bytes=1048576-"]);
}

#[test]
fn killed_pull_is_gone_on_with_by_the_next_process() {
    let w = World::new();
    let cargo = Cargo::new("later", 3 << 20);
    let (layer, tries) = (cargo.layer(), AtomicUsize::new(0));
    let target = layer.clone();
    let harbour = Harbour::open(move |asked| {
        let first = asked.path.ends_with(&target) && tries.fetch_add(1, Ordering::SeqCst) == 0;
        let fair = cargo.answer(asked);
        if first { fair.stall(1 << 20) } else { fair }
    });
    let mut child = w.image_cmd(["pull", &harbour.name("x")]).start();
    let partial = w.root().join("tmp/partial").join(layer.replace(':', "-"));
    until("the first half", || std::fs::metadata(&partial).is_ok_and(|m| m.len() == 1 << 20));
    child.kill().unwrap();
    child.wait().unwrap();
    pull(&w, &harbour.name("x")).ok();
    assert_eq!(ranges(&harbour, &layer), ["", "bytes=1048576-"]);
}

/// The `Range` of every request for a blob.
fn ranges(harbour: &Harbour, blob: &str) -> Vec<String> {
    let of = |a: &Asked| a.path.ends_with(blob).then(|| a.header("range").to_owned());
    harbour.asked().iter().filter_map(of).collect()
}

/// Answers 401 unless the right password came along.
fn behind_password(cargo: Cargo) -> impl Fn(&Asked) -> Answer {
    move |asked| match asked.header("authorization") {
        "Basic dTpw" => cargo.answer(asked),
        _ => Answer::status(401).header("WWW-Authenticate", "Basic realm=\"x\""),
    }
}

// CVE: go-containerregistry#2349 and its kind.
#[test]
fn redirect_elsewhere_takes_no_password_along() {
    let w = World::new();
    let cargo = Cargo::new("redirect", SMALL);
    let layer = cargo.layer();
    let elsewhere = Arc::new(cargo.clone().serve());
    let own = behind_password(cargo);
    let to = format!("http://localhost:{}", elsewhere.host().rsplit_once(':').unwrap().1);
    let place = format!("{to}/v2/x/blobs/{layer}?signature=s");
    let target = layer.clone();
    let harbour = Harbour::open(move |asked| match own(asked) {
        _ if asked.path.ends_with(&target) => Answer::status(307).header("Location", &place),
        answer => answer,
    });
    w.image(["pull", "--creds", "u:p", &harbour.name("x")]).ok();
    let sent =
        |h: &Harbour| h.asked().iter().filter(|a| !a.header("authorization").is_empty()).count();
    assert!(sent(&harbour) > 0);
    assert_eq!((elsewhere.asked().len(), sent(&elsewhere)), (1, 0), "{:?}", elsewhere.asked());
}

// CVE: go-containerregistry#2193.
#[test]
fn realm_elsewhere_gets_no_password() {
    let thief = Harbour::open(|_| Answer::body(r#"{"token":"t"}"#));
    let port = thief.host().rsplit_once(':').unwrap().1.to_owned();
    for realm in [format!("http://localhost:{port}/t"), "http://example.org/t".into()] {
        let w = World::new();
        let asks = format!("Bearer realm=\"{realm}\",service=\"s\"");
        let harbour = Harbour::open(move |_| Answer::status(401).header("WWW-Authenticate", &asks));
        let done = w.image(["pull", "--creds", "u:p", &harbour.name("x")]);
        one_line(done, &["realm"]);
        assert!(thief.asked().is_empty(), "{:?}", thief.asked());
        nothing_visible(&w);
    }
}

// CVE: 2020-15157.
#[test]
fn foreign_layer_url_gets_no_password() {
    let w = World::new();
    let mut cargo = Cargo::new("foreign", SMALL);
    let thief = Harbour::open(|_| Answer::status(401).header("WWW-Authenticate", "Basic realm=x"));
    let layer = cargo.layer();
    cargo.blobs.remove(&layer);
    cargo.manifest["layers"][1]["urls"] = json!([format!("http://{}/layer", thief.host())]);
    let harbour = Harbour::open(behind_password(cargo));
    let done = w.image(["pull", "--creds", "u:p", &harbour.name("x")]);
    one_line(done, &["https", &layer]);
    assert!(thief.asked().is_empty(), "{:?}", thief.asked());
}

#[test]
fn redirects_in_a_circle_end() {
    let w = World::new();
    let harbour = Harbour::open(|asked| match asked.path.as_str() {
        "/v2/" => Answer::body("{}"),
        path => Answer::status(302).header("Location", path),
    });
    one_line(pull(&w, &harbour.name("x")), &["too many redirects"]);
}
