//! Every verb that prints for people prints a JSON document with `--json`, and nothing beside it;
//! an error is one, too. Which verbs those are is what `docs/image.md` says.

use std::collections::BTreeSet;
use std::fs;

use e2e::{Registry, World};
use serde_json::{Value, json};

/// What the page says of each verb: its name, and what it prints with `--json`.
pub fn page() -> Vec<(String, String)> {
    let text = fs::read_to_string(e2e::workspace().join("docs/image.md")).unwrap();
    let (_, text) = text.split_once("<!-- verbs -->").unwrap();
    let (text, _) = text.split_once("<!-- end of verbs -->").unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split(" | ").collect();
        let verb = cells[0].trim_start_matches("| ").split('`').nth(1).unwrap();
        (verb.to_owned(), cells[3].to_owned())
    })
    .collect()
}

/// Lines of words, in an order in which each finds what it needs; `HERE` is a registry.
const LINES: &[&str] = &[
    "pull HERE/busybox:latest",
    "tag HERE/busybox:latest b:1",
    "copy b:1 oci:lay:a",
    "copy b:1 HOME/json:1",
    "push HOME/json:1",
    "list",
    "list-tags docker://HOME/json",
    "inspect b:1",
    "inspect oci:lay:a",
    "stat b:1",
    "history b:1",
    "tree",
    "du",
    "digest b:1",
    "index list oci:many:all",
    "index create oci:many:all oci:lay:a",
    "index list oci:many:all",
    "index append -m oci:lay:a -t n:1 oci:many:all",
    "index filter --platform linux/amd64 -t n:2 oci:many:all",
    "index remove -t n:3 oci:many:all DIGEST",
    "import t.tar i:1",
    "append --base b:1 --new_layer t.tar --tag b:2",
    "mutate b:2 -l a=b -t b:3",
    "rebase --old_base b:1 --new_base b:1 --rebased b:4 b:3",
    "config b:3 --author me --tag b:5",
    "insert b:3 t.tar /t --tag b:6",
    "raw add-layer b:3 t.tar --tag b:7",
    "flatten b:3 -t b:8",
    "convert --compress zstd b:3 oci:lay:z",
    "build -t b:9 context",
    "diff b:1 b:3",
    "new --image lay:new",
    "unpack --mtree --image lay:a bundle",
    "raw mtree-validate -p bundle/rootfs -f MTREE",
    "repack --image lay:b bundle",
    "save -o saved.tar b:1",
    "load -i saved.tar",
    "manifest-digest manifest.json",
    "verify",
    "compact",
    "mount b:1",
    "mount",
    "unmount -a",
    "referrers docker://HOME/json:1",
    "search HOST/json",
    "sync --src docker --dest dir HOME/json:1 synced",
    "generate-sigstore-key --output-prefix key --passphrase-file pw",
    "standalone-verify manifest.json r.io/a:1 any signature --public-key-file pub",
    "login -u USER -p PASSWORD SECURED --tls-verify=false",
    "logout SECURED",
    "delete docker://HOME/json:1",
    "remove b:8",
    "prune -f",
    "gc --dry-run",
    "gc",
];

#[test]
fn every_verb_that_prints_for_people_prints_json() {
    let w = World::new();
    let (open, secured) = (Registry::open(), Registry::secured());
    let home = open.name(&w.id("json"));
    prepare(&w);
    let mut seen = BTreeSet::new();
    let mut kept = json!({});
    for line in LINES {
        let digest = kept["digest"].as_str().unwrap_or_default().to_owned();
        let fill = |word: &str| match word {
            "DIGEST" => digest.clone(),
            "MTREE" => mtree(&w),
            "SECURED" => secured.host(),
            "USER" => Registry::USER.to_owned(),
            "PASSWORD" => Registry::PASSWORD.to_owned(),
            word => {
                let word = word.replace("HOME", &home).replace("HOST", &open.host());
                word.replace("HERE", &open.host())
            }
        };
        let words: Vec<String> = line.split(' ').map(fill).collect();
        let done = w.image_cmd(["--json"]).args(&words).env("XDG_RUNTIME_DIR", w.path(".")).run();
        println!("{line}\n{done}");
        let missing = line.starts_with("index list") && !seen.contains("index create");
        let bad = missing || line.starts_with("standalone-verify");
        if bad {
            // Of an error there is one, too: the last line of what was said.
            let said = done.refused().err();
            let said: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
            assert!(said["error"].is_string(), "{line}: {said}");
        } else {
            let out = done.ok().out();
            if let Ok(value) = serde_json::from_str(&out) {
                kept = if line.starts_with("digest") { value } else { kept };
            } else {
                assert!(out.is_empty() && nothing_said(&words), "{line}: no JSON: {out}");
            }
        }
        let two = words[..2.min(words.len())].join(" ");
        let verb = if page().iter().any(|(name, _)| *name == two) { two } else { words[0].clone() };
        seen.insert(verb);
    }
    let lacking: Vec<String> = page()
        .into_iter()
        .filter(|(_, json)| !matches!(json.as_str(), "bytes as they are" | "nothing is printed"))
        .map(|(verb, _)| verb)
        .filter(|verb| !seen.contains(verb))
        .collect();
    assert!(lacking.is_empty(), "not run: {lacking:?}");
}

/// What prints nothing, or bytes, with or without `--json`.
fn nothing_said(words: &[String]) -> bool {
    matches!(words[0].as_str(), "tag" | "save")
}

fn prepare(w: &World) {
    fs::write(w.path("pw"), "fair wind\n").unwrap();
    fs::write(w.path("manifest.json"), r#"{"schemaVersion":2}"#).unwrap();
    fs::write(w.path("signature"), "x").unwrap();
    fs::write(w.path("pub"), "x").unwrap();
    fs::write(w.path("hello"), "hello").unwrap();
    fs::create_dir(w.path("context")).unwrap();
    fs::write(w.path("context/Dockerfile"), "FROM b:1\nLABEL a=b\n").unwrap();
    w.cmd("tar").args(["cf", "t.tar", "hello"]).run().ok();
}

/// The manifest of the bundle's root.
fn mtree(w: &World) -> String {
    let files = fs::read_dir(w.path("bundle")).unwrap().flatten();
    let mut names = files.map(|e| e.path().display().to_string());
    names.find(|name| name.contains(".mtree")).unwrap()
}
