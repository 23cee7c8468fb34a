//! What every verb writes, held against image-spec's JSON schemas (Debian's package of them) by
//! somebody else's validator.

use std::fs;

use e2e::{Registry, World, fixtures};
use serde_json::{Value, json};

/// Where `golang-github-opencontainers-image-spec-dev` puts them.
const SCHEMAS: &str = "/usr/share/gocode/src/github.com/opencontainers/image-spec/schema";

/// What is wrong in layouts and in files that are manifests, and how many documents of each kind
/// there were.
pub fn judged(w: &World, places: &[String]) -> (Vec<String>, Value) {
    fs::write(w.path("schemas.py"), include_str!("schemas.py")).unwrap();
    // Debian's own Python, which knows Debian's modules.
    let done = w.cmd("/usr/bin/python3").args(["schemas.py", SCHEMAS]).args(places).run().ok();
    let mut wrong = done.lines();
    let seen = serde_json::from_str(&wrong.pop().unwrap()).unwrap();
    (wrong, seen)
}

/// Lines of words, in an order in which each finds what it needs. `HOME` is a repository, `ONE`
/// the digest of an image in `b:index`, `~` a space in a word.
const LINES: &[&str] = &[
    "pull HOME:layers",
    "tag HOME:layers b:1",
    "copy b:1 oci:lay:copied",
    "copy b:1 oci-archive:copied.tar:r.io/copied:1",
    "copy --all docker://HOME:layers oci:lay:all",
    "copy --format v2s2 b:1 docker://HOME:v2s2",
    "copy docker://HOME:v2s2 oci:lay:back",
    "copy --dest-compress-format zstd --dest-force-compress-format b:1 oci:lay:zstd",
    "copy --dest-decompress b:1 oci-archive:plain.tar",
    "copy b:1 dir:dir",
    "copy dir:dir b:dir",
    "push b:1 HOME:pushed",
    "copy SBOM docker://HOME:sbom",
    "copy --sign-by-sigstore-private-key k.private --sign-passphrase-file pw b:1 docker://HOME:signed",
    "sync --all --src docker --dest docker HOME HOST/mirror",
    "save -o saved.tar b:1",
    "save --multi-image-archive -o many.tar b:1 b:dir",
    "save --format docker-archive -o docker.tar b:1",
    "save --format oci-archive --compress -o compressed.tar b:1",
    "load -i saved.tar",
    "load -i docker.tar",
    "import -c CMD~sh -m made root.tar b:import",
    "init --layout lay2",
    "new --image lay2:new",
    "init --layout lay3",
    "new --image lay3:new",
    "raw add-layer --image lay2:new root.tar",
    "raw add-layer --image lay2:new --compress zstd root.tar",
    "config --image lay2:new --author me --config.user u --config.env A=1 --config.env B= \
     --config.cmd x --config.entrypoint y --config.label l= --config.volume /v \
     --config.exposedports 80/tcp --config.workingdir /w --config.stopsignal 9 \
     --platform.variant v8 --manifest.annotation a=b --tag config",
    "config --image lay2:config --clear config.env --clear config.cmd --clear config.volume \
     --clear config.labels --clear manifest.annotations --no-history --tag cleared",
    "config --image lay2:config --created 1997-03-25T13:40:00+01:00 --history.comment c",
    "config docker://HOME:pushed --config.label a=b --tag config",
    "insert --image lay2:new --tag inserted root.tar /t",
    "insert b:1 --whiteout /bin --tag b:whiteout",
    "unpack --image lay2:new bundle",
    "repack --image lay2:packed bundle",
    "append --base b:1 --new_layer root.tar --tag b:append --set-base-image-annotations",
    "append --new_layer root.tar --tag b:alone",
    "mutate b:append -l a=b -a c=d -e E=F -u u -w /w --cmd x --entrypoint y \
     --exposed-ports 80 --set-platform linux/arm64/v8 -t b:mutate",
    "rebase --old_base b:1 --new_base b:dir --rebased b:rebase b:append",
    "flatten b:append -t b:flat",
    "flatten b:append --keep 1 -t b:above",
    "convert --compress zstd b:1 oci:lay:z",
    "convert --compress none --format docker b:1 docker://HOME:docker",
    "convert --format oci docker://HOME:docker oci:lay:converted",
    "index append -m b:1 -m b:mutate -t b:index",
    "index create oci:lay:created b:1 b:flat",
    "index filter --platform linux/arm64 -t b:filter b:index",
    "index remove -t b:fewer b:index ONE",
    "copy --all b:index oci:lay:list",
    "copy --all --format v2s2 b:index docker://HOME:list",
    "copy --all docker://HOME:list oci:lay:list2",
    "compact",
    "compact --undo",
    "gc",
];

/// What writes no document of OCI's. `build` has cases of its own.
const OTHERS: &str = "build completion delete diff digest du export generate-sigstore-key history \
    index/list inspect list list-tags login logout manifest manifest-digest mount prune raw/blob \
    raw/mtree-validate raw/runtime-config raw/unpack referrers remove search standalone-sign \
    standalone-verify stat tree unmount verify";

#[test]
fn what_every_verb_writes_keeps_the_schemas() {
    let w = World::new();
    let (home, host) = (Registry::open().name(&w.id("schemas")), Registry::open().host());
    let sbom = prepare(&w, &home);
    for line in LINES {
        let one = w.image(["digest", "b:1"]).out();
        let words = line.split_whitespace().map(|word| {
            let word = word.replace("HOME", &home).replace("HOST", &host);
            word.replace("ONE", one.trim()).replace("SBOM", &sbom).replace('~', " ")
        });
        w.image(["--registries.d".to_owned(), "registries.d".to_owned()].into_iter().chain(words))
            .ok();
    }
    w.dhow(["run", "--name", &w.id("c"), "b:1", "/bin/busybox", "touch", "/made"]).ok();
    w.dhow(["commit", "-m", "made", "-c", "CMD sh", &w.id("c"), "b:commit"]).ok();
    w.remove_all();
    let mut places = vec![w.root().join("images").display().to_string()];
    places.extend(["lay", "lay2", "lay3"].map(|dir| w.path(dir).display().to_string()));
    for name in ["copied", "plain", "saved", "many", "compressed"] {
        let to = w.path(name);
        fs::create_dir(&to).unwrap();
        w.cmd("tar").args(["-xf", &format!("{name}.tar"), "-C", name]).run().ok();
        places.push(to.display().to_string());
    }
    // What lies in the registry: among it signatures, and lists of what refers to an image.
    let tags = w.image(["list-tags", &format!("docker://{home}")]).ok().json();
    let tags: Vec<&str> =
        tags["Tags"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
    assert!(tags.iter().filter(|tag| tag.starts_with("sha256-")).count() > 1, "{tags:?}");
    for tag in tags {
        let raw = w.image(["manifest", &format!("docker://{home}:{tag}")]).ok().stdout;
        let to = w.path(format!("{tag}.json"));
        fs::write(&to, raw).unwrap();
        places.push(to.display().to_string());
    }
    let (mut wrong, seen) = judged(&w, &places);
    // DIFFERS: what is new has no layer yet, as umoci's has none; the schema wants one.
    let empty = |said: &String| said.starts_with("lay3:new") && said.contains("/layers: []");
    assert_eq!(wrong.extract_if(.., |said| empty(said)).count(), 1, "{wrong:#?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (kind, least) in [
        ("image-manifest-schema", 45),
        ("config-schema", 40),
        ("image-index-schema", 15),
        ("image-layout-schema", 9),
    ] {
        assert!(seen[kind].as_u64().unwrap_or_default() >= least, "{kind}: {seen}");
    }
}

/// Each verb has a line, or is known to write nothing of this kind.
#[test]
fn every_verb_that_writes_is_held_against_the_schemas() {
    let names = super::json::page().into_iter().map(|(name, _)| name);
    let lacking: Vec<String> = names
        .filter(|name| !OTHERS.split_whitespace().any(|other| other.replace('/', " ") == *name))
        .filter(|name| !LINES.iter().any(|line| line.starts_with(&format!("{name} "))))
        .filter(|name| !LINES.contains(&name.as_str()))
        .collect();
    assert!(lacking.is_empty(), "no line of these: {lacking:?}");
}

/// Makes what the lines need; the place of an artifact that refers to `HOME:layers`.
fn prepare(w: &World, home: &str) -> String {
    fixtures::push(&fixtures::layout(), "layers", &format!("{home}:layers"));
    fs::write(w.path("pw"), "fair wind\n").unwrap();
    w.image(["generate-sigstore-key", "--output-prefix", "k", "--passphrase-file", "pw"]).ok();
    fs::create_dir(w.path("registries.d")).unwrap();
    let attached =
        format!("docker:\n  {}:\n    use-sigstore-attachments: true\n", Registry::open().host());
    fs::write(w.path("registries.d/all.yaml"), attached).unwrap();
    fs::write(w.path("hello"), "hello").unwrap();
    w.cmd("tar").args(["cf", "root.tar", "hello"]).run().ok();
    let subject = w.image(["manifest", &format!("docker://{home}:layers")]).ok().stdout;
    let layout = w.path("sbom");
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    let put = |bytes: &[u8], kind: &str| {
        let digest = fixtures::digest(bytes);
        fs::write(layout.join("blobs").join(digest.replace(':', "/")), bytes).unwrap();
        json!({"mediaType": kind, "digest": digest, "size": bytes.len()})
    };
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": kind, "artifactType": "application/x-sbom",
        "config": put(b"{}", "application/vnd.oci.empty.v1+json"),
        "layers": [put(b"sbom", "text/plain")],
        "subject": {"mediaType": kind, "digest": fixtures::digest(&subject), "size": subject.len()},
    });
    let entry = put(manifest.to_string().as_bytes(), kind);
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    format!("oci:{}", layout.display())
}
