//! The security scoreboard, `conformance/security`: clean, and each of its cases sees the flaw it is for.

use e2e::{World, needs};

fn scoreboard(flags: &[&str]) {
    let w = World::new();
    let runtime = e2e::program("dhow-runtime");
    let cmd = w.cmd(env!("CARGO_BIN_EXE_security")).args(flags).env("RUNTIME", runtime).limit(300);
    let done = cmd.run().ok();
    assert!(done.out().ends_with(" broken"), "{done}");
}

#[test]
fn no_known_flaw_of_a_runtime_is_ours() {
    needs!(Machine);
    scoreboard(&[]);
}

#[test]
fn every_security_case_sees_its_flaw() {
    needs!(Machine);
    scoreboard(&["--planted"]);
}
