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
    let late = w.cmd("sh").args(["-c", "sleep 3 | timeout 2 \"$@\"", "sh"]);
    late.arg(e2e::program("dhow-image")).args(words).run().code(1).err_has("--command-timeout");
    assert!(w.image(["-v"]).ok().out().starts_with("dhow-image version "));
}
