//! login, logout, delete, list-tags, search, referrers: skopeo's words, against a real registry.

use std::fs;

use e2e::harbour::{Answer, Asked, Harbour};
use e2e::{Done, Registry, World, fixtures};
use serde_json::{Value, json};

use super::refused::one_line;

const TLS: &str = "--tls-verify=false";

fn login(w: &World, words: &[&str]) -> Done {
    let session = w.path("session");
    fs::create_dir_all(&session).unwrap();
    w.image_cmd(words).env("XDG_RUNTIME_DIR", session).run()
}

#[test]
fn login_is_checked_kept_and_forgotten_in_skopeo_s_words() {
    let w = World::new();
    let host = Registry::secured().host();
    let (user, password) = (Registry::USER, Registry::PASSWORD);
    let file = w.path("session/containers/auth.json");
    let with = |more: &[&str]| login(&w, &[&["login", TLS], more].concat());
    one_line(
        with(&["-u", user, "-p", "wrong", &host]),
        &["logging into", "invalid username/password"],
    );
    assert!(!file.exists());
    with(&["-u", user, "-p", password, "-v", &host])
        .ok()
        .out_is(&format!("Used:  {}\nLogin Succeeded!", file.display()));
    let kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert!(kept["auths"][&host]["auth"].is_string(), "{kept}");
    with(&["--get-login", &host]).ok().out_is(user);
    with(&[&host]).ok().out_has("Existing credentials are valid. Already logged in to");
    // podman reads what was written.
    let podman = w.cmd("podman").args(["login", "--get-login", "--authfile"]);
    podman.arg(&file).arg(&host).run().ok().out_is(user);
    let name = Registry::secured().name("busybox");
    login(&w, &["pull", &name]).ok();
    let out = |more: &[&str]| login(&w, &[&["logout"], more].concat());
    out(&[&host]).ok().out_is(&format!("Removed login credentials for {host}"));
    one_line(out(&[TLS, &host]), &[&format!("not logged into {host}")]);
    one_line(with(&["--get-login", &host]), &["not logged into"]);
    one_line(login(&w, &["pull", &name]), &["authentication required"]);
}

#[test]
fn logins_are_for_a_repository_a_file_or_docker_s_form() {
    let w = World::new();
    let host = Registry::secured().host();
    let (user, password) = (Registry::USER, Registry::PASSWORD);
    let with = |more: &[&str]| {
        let stdin = format!("{password}\n");
        w.image_cmd([&["login", TLS, "-u", user, "--password-stdin"][..], more].concat())
            .stdin(stdin)
            .run()
    };
    let (own, docker) = (w.path("own.json"), w.path("config.json"));
    let (own_file, docker_file) = (own.to_str().unwrap(), docker.to_str().unwrap());
    let repository = format!("{host}/busybox");
    with(&["--authfile", own_file, &repository]).ok().out_is("Login Succeeded!");
    let pull = |name: &str| w.image(["pull", "--authfile", own_file, &format!("{host}/{name}")]);
    pull("busybox").ok();
    one_line(pull("zstd"), &["authentication required"]);
    fs::write(&docker, r#"{"psFormat":"x"}"#).unwrap();
    one_line(with(&["--compat-auth-file", docker_file, &repository]), &["namespaced key"]);
    with(&["--compat-auth-file", docker_file, &format!("https://{host}/v2/")]).ok();
    let kept: Value = serde_json::from_slice(&fs::read(&docker).unwrap()).unwrap();
    assert!(kept["psFormat"] == "x" && kept["auths"][&host]["auth"].is_string(), "{kept}");
    one_line(
        with(&["--authfile", own_file, "--compat-auth-file", docker_file, &host]),
        &["simultaneously"],
    );
    one_line(with(&["-p", "x", &host]), &["can't specify both --password-stdin and --password"]);
    one_line(with(&[]), &["please provide a registry to log in to"]);
    one_line(with(&[&host, "b.io"]), &["login accepts only one registry to log in to"]);
    one_line(with(&["a.io/x:tag"]), &["a tag or a digest"]);
    w.image(["logout", "--all", "--authfile", own_file])
        .ok()
        .out_is("Removed login credentials for all registries");
    one_line(w.image(["logout", "--all", "a.io"]), &["--all takes no arguments"]);
    one_line(w.image(["logout", "--authfile", "/nowhere", "a.io"]), &["is not accessible"]);
    one_line(pull("busybox"), &["authentication required"]);
}

#[test]
fn what_is_deleted_is_gone_with_all_its_tags() {
    let w = World::new();
    let open = Registry::open();
    let (name, _) = open.push(&fixtures::unlike("x", "deleted", 1 << 10), "deleted:1");
    let other = open.name("deleted:2");
    w.cmd("skopeo")
        .args(["copy", "--src-tls-verify=false", "--dest-tls-verify=false"])
        .args([format!("docker://{name}"), format!("docker://{other}")])
        .run()
        .ok();
    let list = |of: &str| w.image(["list-tags", &format!("docker://{}", open.name(of))]);
    // The registry's order, in skopeo's form.
    let (a, b) = if list("deleted").ok().out().contains("\"1\",") { (1, 2) } else { (2, 1) };
    list("deleted").ok().out_is(&format!(
        "{{\n    \"Repository\": \"{}\",\n    \"Tags\": [\n        \"{a}\",\n        \"{b}\"\n    ]\n}}",
        open.name("deleted")
    ));
    w.image(["delete", &format!("docker://{name}")]).ok().out_is("");
    let done = w.image(["delete", &format!("docker://{other}")]).code(2);
    one_line(done, &["no such image", "manifest unknown"]);
    w.image(["list-tags", &format!("docker://{}", open.name("no-such"))]).code(2);
    one_line(w.image(["list-tags", &format!("docker://{name}")]), &["No tag or digest allowed"]);
    one_line(w.image(["list-tags", "x"]), &["does not specify a transport"]);
    one_line(w.image(["list-tags", "dir:x"]), &["Only supported: docker, docker-archive"]);
    let secured = Registry::secured().name("busybox");
    let from = format!("docker://{secured}");
    one_line(w.image(["delete", "--no-creds", &from]), &["authentication required"]);
}

#[test]
fn tags_of_a_docker_archive() {
    let w = World::new();
    w.pull("busybox");
    let archive = w.path("x.tar");
    w.image(["copy", "busybox", &format!("docker-archive:{}:some/name:tag", archive.display())])
        .ok();
    let listed =
        w.image(["list-tags", &format!("docker-archive:{}", archive.display())]).ok().json();
    let theirs =
        w.cmd("skopeo").arg("list-tags").arg(format!("docker-archive:{}", archive.display()));
    assert_eq!(listed, theirs.run().ok().json());
    assert!(listed["Tags"][0].as_str().is_some_and(|t| t.ends_with("some/name:tag")), "{listed}");
}

#[test]
fn referrers_by_the_api_and_by_the_tag() {
    let w = World::new();
    let open = Registry::open();
    let (name, _) = open.push(&fixtures::unlike("x", "subject", 1 << 10), "subject:1");
    let from = format!("docker://{name}");
    let raw = w.cmd("skopeo").args(["inspect", "--tls-verify=false", "--raw", &from]).run().ok();
    let subject = fixtures::digest(raw.out().as_bytes());
    w.image(["referrers", "-q", &from]).ok().out_is("");
    // An artifact with a subject, as a layout; docker-registry keeps no list of such.
    let layout = w.path("sbom");
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    let put = |bytes: &[u8]| {
        let digest = fixtures::digest(bytes);
        fs::write(layout.join("blobs").join(digest.replace(':', "/")), bytes).unwrap();
        json!({"digest": digest, "size": bytes.len()})
    };
    let described = |mut at: Value, kind: &str| {
        at["mediaType"] = kind.into();
        at
    };
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": manifest_type, "artifactType": "application/x-sbom",
        "config": described(put(b"{}"), "application/vnd.oci.empty.v1+json"),
        "layers": [described(put(b"sbom"), "text/plain")],
        "subject": {"mediaType": manifest_type, "digest": subject, "size": raw.out().len()},
        "annotations": {"by": "us"},
    });
    let entry = described(put(manifest.to_string().as_bytes()), manifest_type);
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    let sbom = format!("docker://{}", open.name("subject:sbom"));
    let copy = || w.image(["copy", &format!("oci:{}", layout.display()), &sbom]).ok();
    copy();
    copy();
    let digest = entry["digest"].as_str().unwrap().to_owned();
    w.image(["referrers", "-q", &from]).ok().out_is(&digest);
    let all = w.image(["referrers", "--json", &from]).ok().json();
    assert_eq!(
        (&all[0]["artifactType"], &all[0]["annotations"]["by"]),
        (&json!("application/x-sbom"), &json!("us"))
    );
    w.image(["referrers", "-q", "--artifact-type", "other/type", &from]).ok().out_is("");
    w.image(["delete", &sbom]).ok();
    w.image(["referrers", "-q", &from]).ok().out_is("");
    // A registry that keeps the list is asked for it.
    let api = Harbour::open(move |asked: &Asked| {
        if !asked.path.contains("/referrers/") {
            return Answer::body("{}");
        }
        Answer::body(json!({"schemaVersion": 2, "manifests": [entry]}).to_string())
            .header("Content-Type", "application/vnd.oci.image.index.v1+json")
    });
    let name = format!("docker://{}@{subject}", api.name("x"));
    w.image(["referrers", "-q", &name]).ok().out_is(&digest);
}

/// The list under the tag is read, added to and written: nobody's entry may be lost by another's.
#[test]
fn artifacts_pushed_at_once_are_all_listed() {
    let w = World::new();
    let open = Registry::open();
    let (name, _) = open.push(&fixtures::unlike("x", "at once", 1 << 10), "at-once:1");
    let from = format!("docker://{name}");
    let raw = w.image(["manifest", &from]).ok().stdout;
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let subject = json!({"mediaType": kind, "digest": fixtures::digest(&raw), "size": raw.len()});
    let mut running = Vec::new();
    for n in 0..8 {
        let layout = w.path(format!("artifact-{n}"));
        fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
        let put = |bytes: &[u8], kind: &str| {
            let digest = fixtures::digest(bytes);
            fs::write(layout.join("blobs").join(digest.replace(':', "/")), bytes).unwrap();
            json!({"mediaType": kind, "digest": digest, "size": bytes.len()})
        };
        let manifest = json!({
            "schemaVersion": 2, "mediaType": kind, "artifactType": "application/x-note",
            "config": put(b"{}", "application/vnd.oci.empty.v1+json"),
            "layers": [put(format!("note {n}").as_bytes(), "text/plain")], "subject": subject,
        });
        let entry = put(manifest.to_string().as_bytes(), kind);
        fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let index = json!({"schemaVersion": 2, "manifests": [entry]});
        fs::write(layout.join("index.json"), index.to_string()).unwrap();
        let (from, to) = (format!("oci:{}", layout.display()), open.name(&format!("at-once:n{n}")));
        let copy = w.image_cmd(["copy", "-q", &from, &format!("docker://{to}")]);
        if n == 0 {
            // What all have is there: docker-registry stumbles over one blob from many hands.
            copy.run().ok();
        } else {
            running.push(copy.start());
        }
    }
    for child in running {
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    assert_eq!(w.image(["referrers", "-q", &from]).ok().lines().len(), 8);
}

#[test]
fn search_prints_names_for_the_next_in_the_pipe() {
    let w = World::new();
    let results = json!({"results": [
        {"name": "busybox", "description": "a \u{1b}[31mbox", "star_count": 42, "is_official": true},
        {"name": "some/busybox", "description": null},
    ]});
    let index = Harbour::open(move |asked: &Asked| match asked.path.split('?').next() {
        Some("/v1/search") => Answer::body(results.to_string()),
        _ => Answer::status(404),
    });
    let term = index.name("box");
    let names = format!("{}\n{}", index.name("busybox"), index.name("some/busybox"));
    w.image(["search", "-q", &term]).ok().out_is(&names);
    let lines = w.image(["search", &term]).ok().lines();
    assert!(
        lines[0].starts_with("NAME") && lines[1].ends_with("42     yes       a  [31mbox"),
        "{lines:?}"
    );
    let all = w.image(["search", "--json", &term]).ok().json();
    assert_eq!((&all[0]["stars"], &all[1]["official"]), (&json!(42), &json!(false)));
    w.image(["search", "-q", &Registry::open().name("busybox")]).ok().out_has("busybox");
}
