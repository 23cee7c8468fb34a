//! docs/image.md holds what the definition says, and these tests hold it to that.
//! `DHOW_BLESS=1 cargo test -p dhow-image --bin dhow-image cli::page` writes it anew.
//!
//! A new verb needs a row in [`ROWS`]: whose verb it is, and what `--json` makes of it.

use std::fmt::Write;

use clap::{Arg, Command};

use super::Cli;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/image.md");
const COMMANDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/command");

/// What `--json` makes of a verb.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Json {
    /// Prints this.
    Prints(&'static str),
    /// What it prints is JSON with and without it.
    Always,
    /// It prints nothing.
    Nothing,
    /// It prints bytes as they are: a tar, a manifest, a script.
    Bytes,
}

use Json::{Always, Bytes, Nothing, Prints};

const CHANGED: Json = Prints("`digest` `manifest` `id`");

/// A verb, whose it is, and what `--json` makes of it.
const ROWS: &[(&str, &str, Json)] = &[
    ("append", "crane append", CHANGED),
    ("build", "docker build, buildah build", Prints("`id` `manifest` `names`")),
    ("compact", "", Prints("`done` `kept` `freed`")),
    ("completion", "skopeo completion", Bytes),
    ("config", "umoci config", CHANGED),
    ("convert", "", Prints("`digest` `size`")),
    ("copy", "skopeo copy", Prints("`digest`")),
    ("delete", "skopeo delete", Prints("`digest`")),
    ("diff", "container-diff", Prints("`files` and `config`, a list each")),
    ("digest", "crane digest", Prints("`digest` `mediaType` `size`")),
    ("du", "docker system df", Prints("sizes")),
    ("export", "docker export, crane export", Bytes),
    ("flatten", "crane flatten", CHANGED),
    ("gc", "umoci gc", Prints("`blobs` `layers` `freed`")),
    ("generate-sigstore-key", "skopeo generate-sigstore-key", Prints("`private` `public`")),
    ("history", "docker history", Prints("a list of steps")),
    ("import", "docker import, podman import", Prints("`id` `manifest` `name`")),
    ("index append", "crane index append", CHANGED),
    ("index create", "docker manifest create", CHANGED),
    ("index filter", "crane index filter", CHANGED),
    ("index list", "crane index list", Prints("a list of descriptors")),
    ("index remove", "podman manifest remove", CHANGED),
    ("init", "umoci init", Nothing),
    ("insert", "umoci insert", CHANGED),
    ("inspect", "skopeo inspect, docker image inspect", Always),
    ("list", "docker images, umoci list", Prints("a list of images")),
    ("list-tags", "skopeo list-tags", Always),
    ("load", "docker load, podman load", Prints("a list of `names` and `digest`")),
    ("login", "skopeo login", Prints("`message`")),
    ("logout", "skopeo logout", Prints("`message`")),
    ("manifest", "crane manifest", Bytes),
    ("manifest-digest", "skopeo manifest-digest", Prints("`digest`")),
    ("mount", "podman image mount", Prints("`mountpoint`, or a list")),
    ("mutate", "crane mutate", CHANGED),
    ("new", "umoci new", CHANGED),
    ("prune", "docker image prune", Prints("`untagged` `deleted` `freed`")),
    ("pull", "docker pull, crane pull", Prints("`reference` `digest` `manifest` `id`")),
    ("push", "docker push, crane push", Prints("`reference` `digest` `size`")),
    ("raw add-layer", "umoci raw add-layer", CHANGED),
    ("raw blob", "crane blob", Bytes),
    ("raw mtree-validate", "umoci raw mtree-validate", Prints("a list of differences")),
    ("raw unpack", "umoci raw unpack", Nothing),
    ("raw runtime-config", "umoci raw runtime-config", Nothing),
    ("rebase", "crane rebase", CHANGED),
    ("referrers", "oras discover", Prints("a list of descriptors")),
    ("remove", "docker rmi, umoci remove", Prints("`untagged` `deleted` `freed`")),
    ("repack", "umoci repack", CHANGED),
    ("save", "docker save, podman save", Bytes),
    ("search", "docker search", Prints("a list of repositories")),
    ("standalone-sign", "skopeo standalone-sign", Nothing),
    ("standalone-verify", "skopeo standalone-verify", Prints("`fingerprint` `digest`")),
    ("stat", "umoci stat", Prints("manifest, config and history")),
    ("sync", "skopeo sync", Prints("what was copied")),
    ("tag", "docker tag, umoci tag", Nothing),
    ("tree", "", Prints("layers, and those above each")),
    ("unmount", "podman image unmount", Prints("a list of directories")),
    ("unpack", "umoci unpack", Prints("`bundle` `id` `digest`")),
    (
        "untrusted-signature-dump-without-verification",
        "skopeo untrusted-signature-dump-without-verification",
        Always,
    ),
    ("verify", "", Prints("`findings` and `repaired`")),
];

/// The verbs that do something, by their whole names.
fn verbs() -> Vec<(String, Command)> {
    let mut all = Vec::new();
    let mut todo: Vec<(String, Command)> =
        Cli::shown().get_subcommands().map(|c| (c.get_name().to_owned(), c.clone())).collect();
    while let Some((name, verb)) = todo.pop() {
        if verb.has_subcommands() {
            let below = |c: &Command| (format!("{name} {}", c.get_name()), c.clone());
            todo.extend(verb.get_subcommands().map(below));
        } else if !verb.is_hide_set() {
            all.push((name, verb));
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn row(name: &str) -> Option<(&'static str, Json)> {
    ROWS.iter().find(|(verb, ..)| *verb == name).map(|(_, origin, json)| (*origin, *json))
}

fn flags(command: &Command) -> Vec<&Arg> {
    let shown = |a: &&Arg| !a.is_hide_set() && !a.is_positional() && a.get_id() != "help";
    command.get_arguments().filter(shown).collect()
}

#[test]
fn image_md_says_what_the_definition_says() {
    let page = std::fs::read_to_string(PAGE).expect("docs/image.md is there");
    let fresh = with_block(&with_block(&page, "verbs", &table()), "global flags", &global());
    if fresh != page && std::env::var_os("DHOW_BLESS").is_some() {
        std::fs::write(PAGE, &fresh).expect("docs/image.md can be written");
        return;
    }
    let changed: Vec<&str> = fresh.lines().filter(|l| !page.lines().any(|p| p == *l)).collect();
    assert!(
        fresh == page,
        "docs/image.md differs; run `DHOW_BLESS=1 cargo test -p dhow-image --bin dhow-image cli::page`:\n{}",
        changed.join("\n")
    );
}

#[test]
fn every_verb_has_help_and_an_origin() {
    for (name, verb) in verbs() {
        assert!(verb.get_about().is_some(), "{name} has no help text");
        assert!(row(&name).is_some(), "{name} has no row in ROWS");
        for arg in verb.get_arguments().filter(|a| !a.is_hide_set()) {
            assert!(arg.get_help().is_some(), "{name}: {} has no help text", arg.get_id());
        }
    }
}

#[test]
fn whatever_prints_for_people_prints_json_too() {
    for (name, _) in verbs() {
        let Some((_, Prints(_))) = row(&name) else { continue };
        let file = name.replace([' ', '-'], "_");
        let group = name.split(' ').next().unwrap_or_default().to_owned();
        let group = group.split('-').next().unwrap_or_default().to_owned();
        let text = [file.clone(), format!("{file}/mod"), group]
            .iter()
            .find_map(|f| std::fs::read_to_string(format!("{COMMANDS}/{f}.rs")).ok());
        let text = text.unwrap_or_else(|| panic!("{name} has no file of its own"));
        let json = ["cx.json", "print_json", "cx.said", "report(", ".tell("];
        assert!(json.iter().any(|part| text.contains(part)), "{name} knows no --json");
    }
}

/// The page with the text between the marks of this block replaced.
fn with_block(page: &str, name: &str, text: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = page.split_once(&begin).expect("the block has a beginning");
    let (_, after) = rest.split_once(&end).expect("the block has an end");
    format!("{before}{begin}\n{text}\n{end}{after}")
}

fn table() -> String {
    let mut rows = String::from(
        "| verb | what it does | as | with `--json` | flags |\n|---|---|---|---|---|\n",
    );
    for (name, verb) in verbs() {
        let spelled: Vec<String> = std::iter::once(name.as_str())
            .chain(verb.get_visible_aliases())
            .map(|s| format!("`{s}`"))
            .collect();
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        let (origin, json) = row(&name).unwrap_or(("", Nothing));
        let json = match json {
            Prints(what) => what,
            Always => "JSON anyway",
            Nothing => "nothing is printed",
            Bytes => "bytes as they are",
        };
        let mut names: Vec<String> = flags(&verb)
            .iter()
            .filter(|a| !a.is_global_set())
            .filter_map(|a| a.get_long())
            .map(|f| format!("`--{f}`"))
            .collect();
        names.sort();
        let _ = writeln!(
            rows,
            "| {} | {} | {origin} | {json} | {} |",
            spelled.join(" "),
            about.replace('|', "\\|"),
            names.join(" ")
        );
    }
    rows
}

fn global() -> String {
    let mut rows = String::from("| flag | |\n|---|---|\n");
    let root = Cli::shown();
    for arg in flags(&root) {
        let Some(long) = arg.get_long() else { continue };
        let short = arg.get_short().map(|s| format!("`-{s}` ")).unwrap_or_default();
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(rows, "| {short}`--{long}` | {} |", help.replace('|', "\\|"));
    }
    rows
}
