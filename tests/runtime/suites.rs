//! The peers' own test suites, from Debian's sources, over dhow-runtime beside them.

use e2e::{World, needs, program, workspace};

fn suite(script: &str) {
    let w = World::new();
    let script = workspace().join("conformance/suites").join(script);
    let bin = program("dhow-runtime").parent().unwrap().to_owned();
    let done = w.cmd("bash").arg(script).arg("--fast").env("DHOW_BIN_DIR", bin).limit(400).run();
    done.ok().out_has(", 0 the other way round without a known reason");
}

/// Some of its bats; all of them by `make conformance-full`.
#[test]
fn runc_s_own_tests_pass_as_over_runc() {
    needs!(Machine);
    suite("runc.sh");
}

#[test]
fn crun_s_own_tests_pass_as_over_crun() {
    needs!(Machine);
    suite("crun.sh");
}
