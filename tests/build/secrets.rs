//! What a build is told in confidence is nowhere afterwards.

use std::fs;

use e2e::World;

/// CVE-2021-3602: nothing of the builder's environment reaches a RUN.
#[test]
fn a_runs_environment_is_its_images_own() {
    let w = World::new();
    w.add(&e2e::fixtures::layout(), "busybox");
    fs::write(w.path("Dockerfile"), "FROM busybox\nENV OWN=1\nRUN env | sort\n").unwrap();
    fs::create_dir_all(w.path("empty")).unwrap();
    let build = w.dhow_cmd(["build", "--progress", "plain", "--no-cache", "-f"]);
    let build = build.arg(w.path("Dockerfile")).arg(w.path("empty"));
    let done = build.env("LEAKED_TOKEN", "s3cret").run().ok();
    assert!(done.err().contains("OWN=1") && done.err().contains("HOME=/root"), "{}", done.err());
    for leak in ["LEAKED", "s3cret", "DHOW_"] {
        assert!(!done.err().contains(leak), "{leak} in {}", done.err());
    }
}

#[test]
fn secrets_are_in_no_layer_history_cache_or_log() {
    let w = World::new();
    w.add(&e2e::fixtures::layout(), "busybox");
    fs::create_dir_all(w.path("context")).unwrap();
    fs::create_dir_all(w.path("home/keys")).unwrap();
    fs::write(w.path("home/keys/token"), "s3cret-token").unwrap();
    fs::write(
        w.path("context/Dockerfile"),
        "FROM busybox\n\
         RUN --mount=type=secret,id=token wc -c < /run/secrets/token > /size\n\
         RUN --mount=type=secret,id=pass,env=PASS test \"${#PASS}\" = 11 && echo right\n\
         RUN --mount=type=secret,id=token,required=true,target=/k,mode=0444 test -s /k\n\
         RUN ls -a /run /k || echo nothing\n",
    )
    .unwrap();
    let token = format!("id=token,src={}", w.path("home/keys/token").display());
    let build = |more: &[&str]| {
        let words = ["build", "--progress", "plain", "-t", "kept", "--secret", token.as_str()];
        let build = w.dhow_cmd(words.iter().chain(more));
        build.arg(w.path("context")).env("THE_PASS", "s3cret-pass").run()
    };
    let pass = ["--secret", "id=pass,env=THE_PASS"];
    let first = build(&pass).ok();
    assert!(first.err().contains("right") && first.err().contains("nothing"), "{}", first.err());
    assert!(!first.err().contains("s3cret"), "{}", first.err());
    let history = w.dhow(["history", "--no-trunc", "kept"]).ok().out();
    let inspected = w.dhow(["inspect", "kept"]).ok().out();
    assert!(!history.contains("s3cret") && !inspected.contains("s3cret"), "{history}{inspected}");
    w.dhow(["save", "-o", w.path("saved.tar").to_str().unwrap(), "kept"]).ok();
    let found = w.cmd("grep").args(["-rlaz", "s3cret"]).args([w.root(), w.run_dir()]).run();
    assert_eq!(found.out(), "", "plain bytes of the store");
    let list = w.dhow(["run", "--rm", "kept", "cat", "/size"]).ok();
    list.out_is("12");
    // Another secret is no other step: what comes of it must not depend on it.
    fs::write(w.path("home/keys/token"), "another").unwrap();
    let again = build(&pass).ok();
    assert!(again.err().contains("CACHED"), "{}", again.err());
    fs::write(
        w.path("context/Dockerfile"),
        "FROM busybox\nRUN --mount=type=secret,id=other,required=true true\n",
    )
    .unwrap();
    build(&pass).code(1).err_has("no such secret: other");
}
