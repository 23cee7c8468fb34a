//! The image inside dhow.

use e2e::{World, needs};

/// Its full name in the store.
const NAME: &str = "dhow.local/hello";

#[test]
fn hello_needs_nothing_and_tells_what_it_sees() {
    let w = World::new();
    let done = w.dhow(["run", "--rm", "hello"]).ok();
    let said = format!("{}\n{}", done.out(), done.err()).to_lowercase();
    for word in ["pid", "hostname", "user", "cgroup", "mount", "capabilities", "seccomp", " ms"] {
        assert!(said.contains(word), "no {word:?} in\n{done}");
    }
}

#[test]
fn hello_is_an_image_like_any_other() {
    needs!(Machine);
    let w = World::new();
    w.dhow(["run", "--rm", "hello"]).ok();
    w.dhow(["images"]).ok().out_has("hello");
    w.image(["inspect", NAME]).ok();
    let to = e2e::Registry::open().name("pushed/hello:1");
    w.image(["tag", NAME, &to]).ok();
    w.image(["push", &to]).ok();
    w.cmd("skopeo").args(["inspect", "--tls-verify=false", &format!("docker://{to}")]).run().ok();
}

#[test]
fn timing_is_told_when_asked_for() {
    let w = World::new();
    w.pull("busybox");
    let done = w.dhow(["run", "--rm", "--timing", "busybox", "echo", "only this"]).ok();
    assert_eq!(done.out(), "only this");
    assert!(done.err().contains("ms"), "{done}");
}
