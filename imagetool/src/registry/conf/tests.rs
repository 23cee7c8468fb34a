use std::fs;

use proptest::prelude::*;

use super::*;
use crate::digest::Digest;

fn conf(text: &str) -> Registries {
    Registries::parse(text).unwrap_or_else(|e| panic!("{e}"))
}

/// Where a name is read from: `!` is insecure, `x` is blocked.
fn places(all: &Registries, name: &str) -> Vec<String> {
    let found = all.locations(&Reference::parse_normal(name).unwrap()).unwrap();
    let sign = |l: &Location| match (l.insecure, l.blocked.is_some()) {
        (_, true) => "x ",
        (true, _) => "! ",
        _ => "",
    };
    found.iter().map(|l| format!("{}{}", sign(l), l.reference)).collect()
}

const MANUAL: &str = r#"
unqualified-search-registries = ["example.com"]
[[registry]]
prefix = "example.com/foo"
location = "internal.example/bar"
[[registry.mirror]]
location = "mirror-0.local/mirror-for-foo"
[[registry.mirror]]
location = "mirror-1.local/mirrors/foo"
insecure = true
[[registry]]
location = "registry.com"
[[registry.mirror]]
location = "mirror.registry.com"
"#;

#[test]
fn the_manual_s_example() {
    let all = conf(MANUAL);
    assert_eq!(
        places(&all, "example.com/foo/image:latest"),
        [
            "mirror-0.local/mirror-for-foo/image:latest",
            "! mirror-1.local/mirrors/foo/image:latest",
            "internal.example/bar/image:latest"
        ]
    );
    assert_eq!(
        places(&all, "registry.com/image:1"),
        ["mirror.registry.com/image:1", "registry.com/image:1"]
    );
    assert_eq!(places(&all, "example.com/food/x"), ["example.com/food/x"]);
    assert_eq!(places(&all, "busybox"), ["docker.io/library/busybox"]);
}

#[test]
fn mirrors_for_digests_and_for_tags() {
    let digest = Digest::of(b"");
    let by = |rule: &str| {
        let all = conf(&format!(
            "[[registry]]\nlocation=\"r.io\"\n[[registry.mirror]]\nlocation=\"m.io\"\npull-from-mirror=\"{rule}\""
        ));
        (places(&all, "r.io/x:1").len(), places(&all, &format!("r.io/x@{digest}")).len())
    };
    assert_eq!([by("all"), by("digest-only"), by("tag-only")], [(2, 2), (1, 2), (2, 1)]);
    let all = conf(
        "[[registry]]\nlocation=\"r.io\"\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation=\"m.io\"",
    );
    assert_eq!(places(&all, "r.io/x:1"), ["r.io/x:1"]);
    assert_eq!(places(&all, &format!("r.io/x:1@{digest}")).len(), 2);
}

#[test]
fn wildcards_are_for_subdomains_and_the_longest_prefix_wins() {
    let all = conf(
        r#"
        [[registry]]
        prefix = "*.example.com"
        insecure = true
        [[registry]]
        prefix = "*.deep.example.com"
        location = "other.io/deep"
        [[registry]]
        location = "a.example.com/blocked/ns"
        blocked = true
        "#,
    );
    assert_eq!(places(&all, "a.example.com/x"), ["! a.example.com/x"]);
    assert_eq!(places(&all, "a.example.com:5000/x"), ["! a.example.com:5000/x"]);
    assert_eq!(places(&all, "b.deep.example.com/x:1"), ["other.io/deep/x:1"]);
    assert_eq!(places(&all, "example.com/x"), ["example.com/x"]);
    assert_eq!(places(&all, "evil.io/a.example.com/x"), ["evil.io/a.example.com/x"]);
    assert_eq!(places(&all, "a.example.com.evil.io/x"), ["a.example.com.evil.io/x"]);
    assert_eq!(places(&all, "a.example.com/blocked/ns/x"), ["x a.example.com/blocked/ns/x"]);
    assert!(all.insecure_host("a.example.com") && !all.insecure_host("example.org"));
}

#[test]
fn a_blocked_registry_may_have_mirrors_and_is_blocked_elsewhere_too() {
    let all = conf(
        r#"
        [[registry]]
        prefix = "docker.io"
        location = "elsewhere.io"
        blocked = true
        [[registry.mirror]]
        location = "m.io/hub"
        [[registry.mirror]]
        location = "bad.io"
        [[registry]]
        location = "bad.io"
        blocked = true
        "#,
    );
    assert_eq!(
        places(&all, "busybox:1"),
        [
            "m.io/hub/library/busybox:1",
            "x bad.io/library/busybox:1",
            "x elsewhere.io/library/busybox:1"
        ]
    );
    assert_eq!(all.blocked_host("docker.io"), Some("docker.io"));
}

#[test]
fn what_is_wrong_is_named() {
    for (text, words) in [
        ("x", "line 1"),
        ("\nunqualified-search-registries = 3", "line 2"),
        ("unqualified-search-registries = [\"a/b\"]", "no HOST[:PORT]"),
        ("unqualified-search-registries = [\"\"]", "no HOST[:PORT]"),
        ("[[registry]]\nlocation=\"https://r.io\"", "without http://"),
        ("[[registry]]\nprefix=\"r.io\"", "has no location"),
        ("[[registry]]\ninsecure=true", "neither a location nor a prefix"),
        ("[[registry]]\nprefix=\"*.r.io/x\"", "wildcard"),
        ("[[registry]]\nlocation=\"r.io\"\npull-from-mirror=\"all\"", "is for mirrors"),
        ("[[registry]]\nlocation=\"r.io\"\n[[registry.mirror]]\ninsecure=true", "no location"),
        (
            "[[registry]]\nlocation=\"r.io\"\n[[registry.mirror]]\nlocation=\"m\"\npull-from-mirror=\"x\"",
            "digest-only or tag-only",
        ),
        (
            "[[registry]]\nlocation=\"r\"\n[[registry]]\nprefix=\"p\"\nlocation=\"r\"\nblocked=true",
            "twice",
        ),
        ("short-name-mode = \"ask\"", "enforcing, permissive or disabled"),
        ("[aliases]\n\"a.io/b\" = \"c.io/d\"", "no registry"),
        ("[aliases]\n\"b\" = \"d\"", "must have a registry"),
        ("[aliases]\n\"b\" = \"c.io/d:1\"", "no tag"),
        ("[registries.search]\nregistries=[\"a.io\"]\n[[registry]]\nlocation=\"b\"", "mixes"),
    ] {
        let e = Registries::parse(text).expect_err(text).to_string();
        assert!(e.contains(words) && !e.contains('\n'), "{text:?}: {e}");
    }
    let odd = conf("[[registry]]\nlocation=\"one-label\"\nprefix=\"r.io\"");
    let e = odd.locations(&Reference::parse_normal("r.io/x").unwrap()).unwrap_err();
    assert!(e.to_string().contains("no full name"), "{e}");
}

#[test]
fn version_1_is_understood() {
    let all = conf(
        "[registries.search]\nregistries=['one.com','two.com']\n[registries.insecure]\nregistries=['three.com']\n\
         [registries.block]\nregistries=['four.com']",
    );
    assert_eq!(places(&all, "three.com/x"), ["! three.com/x"]);
    assert_eq!(places(&all, "four.com/x"), ["x four.com/x"]);
    assert_eq!(all.meanings("x").unwrap().len(), 2);
}

#[test]
fn short_names_by_alias_then_search_then_hub() {
    let names = |all: &Registries, typed: &str| -> Vec<String> {
        all.meanings(typed).unwrap().iter().map(ToString::to_string).collect()
    };
    let none = Registries::default();
    assert_eq!(names(&none, "fedora"), ["docker.io/library/fedora"]);
    assert_eq!(names(&none, "a/b:1"), ["docker.io/a/b:1"]);
    let mut all = conf(
        "unqualified-search-registries=[\"docker.io\", \"quay.io\"]\n[aliases]\n\"fedora\"=\"r.fp.org/fedora\"",
    );
    assert_eq!(names(&all, "fedora:40"), ["r.fp.org/fedora:40"]);
    assert_eq!(names(&all, "x:1"), ["docker.io/library/x:1", "quay.io/x:1"]);
    assert_eq!(names(&all, "quay.io/x"), ["quay.io/x"]);
    all.mode = Mode::Enforcing;
    let e = all.meanings("x").unwrap_err().to_string();
    assert!(e.contains("docker.io or quay.io"), "{e}");
    assert_eq!(names(&all, "fedora"), ["r.fp.org/fedora"]);
}

#[test]
fn later_files_win_and_a_missing_one_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("d")).unwrap();
    fs::write(path("main.conf"), MANUAL).unwrap();
    fs::write(path("d/10.conf"), "[[registry]]\nlocation=\"registry.com\"\nblocked=true").unwrap();
    fs::write(path("d/20.conf"), "[aliases]\n\"a\"=\"x.io/a\"\n\"b\"=\"x.io/b\"").unwrap();
    fs::write(path("d/30.conf"), "unqualified-search-registries=[]\n[aliases]\n\"b\"=\"\"")
        .unwrap();
    fs::write(path("d/40.ignored"), "{").unwrap();
    fs::write(path("cache"), "[aliases]\n\"a\"=\"y.io/a\"").unwrap();
    let files = Files {
        main: vec![path("none"), path("main.conf")],
        named: false,
        folders: vec![path("nothing"), path("d")],
        aliases: Some(path("cache")),
    };
    let all = Registries::read(&files).unwrap();
    assert_eq!(places(&all, "registry.com/x"), ["x registry.com/x"]);
    assert_eq!(all.meanings("a").unwrap()[0].domain(), "y.io");
    assert_eq!(all.meanings("b").unwrap()[0].domain(), "docker.io");
    let named = Files { main: vec![path("none")], named: true, ..Files::default() };
    assert!(Registries::read(&named).unwrap_err().to_string().contains("none"));
    fs::write(path("d/50.conf"), "x").unwrap();
    assert!(Registries::read(&files).unwrap_err().to_string().contains("50.conf"));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(s in "\\PC{0,200}") {
        let _ = Registries::parse(&s);
    }

    #[test]
    fn near_misses_do_no_harm(
        lines in proptest::collection::vec(
            "(\\[\\[registry(\\.mirror)?\\]\\]|\\[aliases\\]|(prefix|location|pull-from-mirror)=\"[*.a-z:/@]{0,12}\"|(blocked|insecure)=(true|false|1)|\"[a-z/]{0,5}\"=\"[a-z./:]{0,9}\")", 0..12),
        name in "[a-z.]{1,10}(:[0-9]{1,5})?/[a-z/]{1,10}",
    ) {
        if let Ok(all) = Registries::parse(&lines.join("\n"))
            && let Ok(reference) = Reference::parse_normal(&name)
        {
            let _ = all.locations(&reference);
            let _ = all.meanings(&name);
        }
    }

    #[test]
    fn a_name_that_matches_keeps_its_rest(
        prefix in "[a-z]{1,4}\\.[a-z]{2}(/[a-z]{1,3})?", rest in "(/[a-z]{1,4}){1,2}(:[a-z]{1,3})?",
    ) {
        let all = conf(&format!("[[registry]]\nprefix=\"{prefix}\"\nlocation=\"m.io/n\""));
        let name = format!("{prefix}{rest}");
        prop_assert_eq!(places(&all, &name), [format!("m.io/n{rest}")]);
    }
}
