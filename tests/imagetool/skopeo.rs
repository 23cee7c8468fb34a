//! skopeo's command line, word for word.

use e2e::World;

#[test]
fn global_flags_have_an_effect_or_are_refused() {
    let w = World::new();
    w.pull("busybox");
    let tar = format!("oci-archive:{}", w.path("a.tar").display());
    // Before the verb and after, with Go's `=false`.
    let before =
        ["--debug=false", "--override-os", "linux", "--insecure-policy", "copy", "--quiet"];
    w.image([&before[..], &["busybox", &tar]].concat()).ok();
    w.image(["copy", "busybox", &tar, "--override-arch", "s390x"]).refused().err_has("s390x");
    let both = ["--insecure-policy", "--require-signed", "copy", "busybox", &tar];
    w.image(both).code(1).err_has("--require-signed");
    w.image(["--tls-details", "x.yaml", "copy", "busybox", &tar]).code(1).err_has("--tls-details");
    // What comes from a pipe is laid where it was said, and gone afterwards.
    std::fs::create_dir(w.path("elsewhere")).unwrap();
    let elsewhere = w.path("elsewhere").display().to_string();
    let words = ["--tmpdir", &elsewhere, "copy", "oci-archive:-", "other"];
    w.image_cmd(words).stdin(std::fs::read(w.path("a.tar")).unwrap()).run().ok();
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
    let words = ["--command-timeout", "200ms", "copy", "oci-archive:-", "other"];
    let late = w.cmd("sh").args(["-c", "sleep 3 | timeout 60 \"$@\"", "sh"]);
    late.arg(e2e::program("dhow-image")).args(words).run().code(1).err_has("--command-timeout");
    assert!(w.image(["-v"]).ok().out().starts_with("dhow-image version "));
}

/// The same line to Debian's skopeo and to us; who differs is shown.
#[track_caller]
fn alike(w: &World, words: &[&str]) {
    let theirs = w.cmd("skopeo").args(words).run();
    let ours = w.image(words);
    assert_eq!(ours.code, theirs.code, "{words:?}:\n{ours}\n{theirs}");
    let mut said = ours.out();
    // What skopeo prints since 1.11; Debian's is older.
    if let (Some(from), Some(to)) = (said.find("    \"LayersData\""), said.find("    \"Env\"")) {
        said.replace_range(from..to, "");
    }
    assert_eq!(said, theirs.out(), "{words:?}");
}

#[test]
fn inspect_says_what_skopeo_says() {
    let w = World::new();
    let layout = format!("oci:{}:", e2e::fixtures::layout().display());
    let dir = format!("dir:{}", w.path("dir").display());
    let tar = format!("docker-archive:{}:x/y:1", w.path("a.tar").display());
    let archive = format!("oci-archive:{}:x", w.path("o.tar").display());
    let remote = format!("docker://{}", e2e::Registry::open().name("layers:latest"));
    let from = format!("{layout}layers");
    for to in [&dir, &tar, &archive] {
        let words = ["--insecure-policy", "copy", "-q", &from, to];
        w.cmd("skopeo").args(words).run().ok();
    }
    let busybox = format!("{layout}busybox");
    for place in [&from, &busybox, &dir, &archive] {
        for flags in [&[][..], &["--raw"], &["--config"], &["--raw", "--config"]] {
            alike(&w, &[&["inspect"], flags, &[place.as_str()]].concat());
        }
    }
    for flags in [&[][..], &["-n"], &["--no-tags=true"], &["--raw"], &["--config"]] {
        alike(&w, &[&["inspect", "--tls-verify=false"], flags, &[remote.as_str()]].concat());
    }
    for format in [
        "{{.Name}} {{.Created}} {{.Labels}} {{.Env}} {{.Os}}/{{.Architecture}}{{.RepoTags}}",
        "{{range .Layers}}{{.}} {{end}}{{index .Labels \"port\"}}",
        "json",
    ] {
        alike(&w, &["inspect", "--format", format, &from]);
    }
    let config = "{{.Created}}{{.Config.Cmd}}{{.RootFS.DiffIDs}}{{(index .History 0).CreatedBy}}";
    alike(&w, &["inspect", "--config", "--format", config, &from]);
    alike(&w, &["--override-arch", "s390x", "inspect", "--raw", &from]);
    for wrong in ["inspect", "inspect --raw --format x y", "inspect nosuch:", "inspect docker://A"]
    {
        let words: Vec<&str> = wrong.split(' ').collect();
        assert_eq!(w.image(&words).code, 1, "{wrong}");
    }
    w.image(["inspect", "--tls-verify=false", &format!("{remote}-no")]).code(2);
    w.image(["inspect", &format!("{layout}no")]).code(2);
    alike(&w, &["manifest-digest", w.path("dir/manifest.json").to_str().unwrap()]);
}

/// The same copy by Debian's skopeo and by us, and what lies there then.
#[test]
fn copies_are_what_skopeo_writes() {
    let w = World::new();
    let layout = format!("oci:{}:", e2e::fixtures::layout().display());
    let json = |path: std::path::PathBuf| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    for (n, (flags, image)) in [
        (&[][..], "layers"),
        (&["--preserve-digests"], "zstd"),
        (&["--dest-decompress"], "busybox"),
        (&["--format", "v2s2"], "busybox"),
        (&["--all", "--format=oci"], "layers"),
        (&["--override-arch=amd64", "--remove-signatures", "--retry-times", "2"], "busybox"),
    ]
    .into_iter()
    .enumerate()
    {
        let (ours, theirs) = (w.path(format!("{n}.ours")), w.path(format!("{n}.theirs")));
        let from = format!("{layout}{image}");
        let words = |to: &std::path::Path| -> Vec<String> {
            let all = ["--insecure-policy", "copy", "-q"].into_iter().chain(flags.iter().copied());
            let all = all.map(str::to_owned);
            all.chain([from.clone(), format!("dir:{}", to.display())]).collect()
        };
        w.cmd("skopeo").args(words(&theirs)).run().ok();
        w.image(words(&ours)).ok();
        let diff = w.cmd("diff").args(["-r", "-x", "manifest.json"]).arg(&ours).arg(&theirs);
        diff.run().ok();
        let (ours, theirs) = (ours.join("manifest.json"), theirs.join("manifest.json"));
        assert_eq!(json(ours), json(theirs), "{flags:?} {image}");
    }
    // What ends alike when it fails.
    let dir = format!("dir:{}", w.path("x").display());
    let busybox = format!("{layout}busybox");
    for words in [
        &["copy", "--multi-arch", "none", &busybox, &dir][..],
        &["copy", "--format", "v3", &busybox, &dir],
        &["copy", "--all", "--nope", &busybox, &dir],
        &["copy", "docker-archive:/nowhere", &dir],
        &["copy", "atomic:x", &dir],
        &["copy", &busybox, "docker://Upper/case"],
        &["sync", "--src", "docker", "--dest", "oci", "x", "y"],
    ] {
        let theirs = w.cmd("skopeo").args(words).run();
        assert!(theirs.code != 0 && w.image(words).code != 0, "{words:?}");
    }
}
