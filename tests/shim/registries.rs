//! pull, push and search, as docker words them.

use e2e::harbour::{Answer, Asked, Cargo, Harbour};
use e2e::{Registry, World, needs};
use serde_json::json;

#[test]
fn pull_is_told_as_docker_tells_it() {
    needs!(Machine);
    let w = World::new();
    let name = Registry::open().name("busybox");
    let lines = w.dhow(["pull", &name]).ok().lines();
    assert_eq!(lines[..2], ["Using default tag: latest", "latest: Pulling from busybox"]);
    assert!(lines[2].ends_with(": Pulling fs layer"), "{lines:?}");
    assert!(lines.iter().any(|l| l.ends_with(": Pull complete")), "{lines:?}");
    let end = &lines[lines.len() - 3..];
    assert!(end[0].starts_with("Digest: sha256:"), "{lines:?}");
    assert_eq!(end[1], format!("Status: Downloaded newer image for {name}:latest"));
    assert_eq!(end[2], format!("{name}:latest"));
    let again = w.dhow(["pull", &name]).ok();
    assert!(again.out().contains(&format!("Status: Image is up to date for {name}:latest")));
    w.dhow(["pull", "-q", &name]).ok().out_is(&format!("{name}:latest"));
    // What isn't there is one line, and nothing before it.
    let missing = Registry::open().name("nothing:here");
    let done = w.dhow(["pull", &missing]).code(1).out_is("");
    assert!(done.err().contains(&format!("manifest for {missing} not found")), "{done}");
    w.dhow(["pull", "Foo"])
        .code(1)
        .err_has("invalid reference format: repository name (library/Foo) must be lowercase");
    let secured = Registry::secured().name("busybox");
    w.dhow(["pull", &secured]).code(1).err_has(&format!("pull access denied for {secured}"));
}

#[test]
fn all_tags_come_and_go() {
    needs!(Machine);
    let w = World::new();
    let name = Registry::open().name("all-tags");
    w.pull("busybox");
    for tag in ["a", "b", "c"] {
        w.dhow(["tag", "busybox", &format!("{name}:{tag}")]).ok();
    }
    w.dhow(["push", "-a", &format!("{name}:a")]).code(1).err_has("tag can't be used with");
    let done = w.dhow(["push", "-a", &name]).ok();
    let ends: Vec<String> =
        done.lines().into_iter().filter(|l| l.contains(": digest: sha256:")).collect();
    assert_eq!(ends.iter().map(|l| &l[..2]).collect::<Vec<_>>(), ["a:", "b:", "c:"], "{done}");
    assert!(done.out().starts_with(&format!("The push refers to repository [{name}]")), "{done}");
    for tag in ["a", "b", "c"] {
        w.dhow(["rmi", &format!("{name}:{tag}")]).ok();
    }
    w.dhow(["pull", "-a", &format!("{name}:a")]).code(1).err_has("tag can't be used with");
    let done = w.dhow(["pull", "--all-tags", &name]).ok();
    assert!(done.out().ends_with(&format!("Status: Downloaded newer image for {name}\n{name}")));
    let tags = w.dhow(["images", "--format", "{{.Tag}}", &name]).ok().lines();
    assert_eq!(tags, ["a", "b", "c"]);
    w.dhow(["pull", "-a", &Registry::open().name("no-such")]).code(1).err_has("no-such");
    w.dhow(["push", &format!("{name}:x")]).code(1).err_has("tag does not exist");
    w.dhow(["push", &Registry::open().name("x:1")])
        .code(1)
        .err_has("An image does not exist locally with the tag");
}

#[test]
fn pages_of_tags_stay_on_their_host() {
    let w = World::new();
    let cargo = Cargo::new("pages", 1 << 10);
    let harbour = Harbour::open(move |asked: &Asked| match asked.path.as_str() {
        "/v2/x/tags/list?n=1000" => Answer::body(r#"{"tags":["one"]}"#)
            .header("Link", "</v2/x/tags/list?last=one>; rel=\"next\""),
        "/v2/x/tags/list?last=one" => Answer::body(r#"{"tags":["two"]}"#),
        "/v2/y/tags/list?n=1000" => Answer::body(r#"{"tags":["one"]}"#)
            .header("Link", "<http://example.org/>; rel=\"next\""),
        "/v2/z/tags/list?n=1000" => Answer::body(r#"{"tags":["../../up"]}"#),
        _ => cargo.answer(asked),
    });
    w.dhow(["pull", "-aq", &harbour.name("x")]).ok();
    assert_eq!(w.dhow(["images", "-q"]).ok().lines().len(), 2);
    w.dhow(["pull", "-aq", &harbour.name("y")]).code(1).err_has("another host");
    w.dhow(["pull", "-aq", &harbour.name("z")]).code(1).err_has("invalid tag");
}

#[test]
fn mirror_is_asked_first_and_hub_when_it_has_nothing() {
    let w = World::new();
    let cargo = Cargo::new("mirror", 1 << 10);
    let mirror = Harbour::open(move |asked: &Asked| match asked.path.as_str() {
        path if path.contains("/library/here/") => cargo.answer(asked),
        _ => Answer::status(404),
    });
    let hub = Harbour::open(|_| Answer::status(403));
    let mirrors = [format!("http://{}", mirror.host())];
    w.daemon_json(&json!({ "registry-mirrors": mirrors }).to_string());
    let pull = |name: &str| {
        let proxy = format!("http://{}", hub.host());
        w.dhow_cmd(["pull", name]).env("HTTPS_PROXY", proxy).run()
    };
    pull("here").ok().out_has("Downloaded newer image for here:latest");
    assert_eq!(hub.asked().len(), 0);
    w.dhow(["images", "--format", "{{.Repository}}"]).ok().out_is("here");
    pull("gone").code(1).err_has("registry-1.docker.io");
    assert!(hub.asked()[0].path.starts_with("registry-1.docker.io"));
}

#[test]
fn search_shows_what_the_index_says() {
    let w = World::new();
    let long = "A description that is so long that it has to be cut somewhere";
    let results = json!({"num_results": 3, "results": [
        {"name": "busybox", "description": long, "star_count": 42, "is_official": true},
        {"name": "some/busybox", "description": "one\nline\u{1b}[31m", "star_count": 3, "is_official": false},
        {"name": "more/busybox", "description": null, "star_count": 0},
    ]});
    let index = Harbour::open(move |asked: &Asked| match asked.path.split('?').next() {
        Some("/v1/search") => Answer::body(results.to_string()),
        _ => Answer::status(404),
    });
    let term = format!("{}/busy box", index.host());
    let table = w.dhow(["search", &term]).ok().lines();
    assert_eq!(
        table,
        [
            "NAME           DESCRIPTION                                     STARS     OFFICIAL",
            "busybox        A description that is so long that it has to…   42        [OK]",
            "some/busybox   one line [31m                                   3         ",
            "more/busybox                                                   0",
        ]
    );
    let asked = &index.asked();
    assert_eq!(asked.last().unwrap().path, "/v1/search?q=busy%20box&n=25");
    let search = |args: &[&str]| {
        let format = ["search", "--format", "{{.Name}} {{.StarCount}} {{.IsOfficial}}"];
        w.dhow([&format[..], args, &[&term]].concat())
    };
    search(&["--filter", "is-official=true"]).ok().out_is("busybox 42 [OK]");
    search(&["-f", "stars=3", "-f", "is-official=0"]).ok().out_is("some/busybox 3");
    search(&["--limit", "1"]).ok().out_is("busybox 42 [OK]");
    assert!(index.asked().last().unwrap().path.ends_with("&n=1"));
    w.dhow(["search", "--no-trunc", &term]).ok().out_has(long);
    let json = w.dhow(["search", "--format", "json", "--limit", "1", &term]).ok().json();
    assert_eq!((&json["IsOfficial"], &json["StarCount"]), (&"true".into(), &"42".into()));
    for (args, code, words) in [
        (["--filter", "foo=1"], 1, "invalid filter 'foo'"),
        (["--filter", "foo"], 125, "bad format of filter (expected name=value)"),
        (["--filter", "stars=x"], 1, "invalid filter 'stars=x'"),
        (["--filter", "is-official=x"], 1, "invalid filter 'is-official=[x]'"),
        (["--limit", "101"], 1, "limit 101 is outside the range of [1, 100]"),
        (["--limit", "-1"], 1, "outside the range"),
    ] {
        search(&args).code(code).err_has(words);
    }
    w.dhow(["search", "https://x"]).code(1).err_has("should not have a scheme");
}

#[test]
fn search_of_a_registry_without_an_index_reads_its_catalog() {
    needs!(Machine);
    let w = World::new();
    let term = Registry::open().name("zst");
    let found = w.dhow(["search", "--format", "{{.Name}}", &term]).ok().lines();
    assert!(found.contains(&"zstd".to_owned()) && found.iter().all(|n| n.contains("zst")));
    w.dhow(["search", "127.0.0.1:1/x"]).code(1).err_has("127.0.0.1:1");
}

#[test]
fn search_asks_docker_hub_by_default() {
    let w = World::new();
    let proxy = Harbour::open(|_| Answer::status(403));
    let to = format!("http://{}", proxy.host());
    w.dhow_cmd(["search", "busybox"]).env("HTTPS_PROXY", to).run().code(1);
    assert_eq!(proxy.asked()[0].path, "index.docker.io:443");
}
