//! An older kernel: what came after Linux 5.10 is refused, and a part of the cases passes all the same.

use e2e::{World, fixtures, needs, program};

/// What depends on the calls that fall back: mounts and their flags, the program's own copy,
/// descriptors that are to be closed, containers of dhow with their volumes.
const CASES: [&str; 9] = [
    "runtime::lifecycle::",
    "runtime::mounts::",
    "runtime::propagation::",
    "runtime::options::every_plain_option_",
    "runtime::exec::",
    "runtime::handles::",
    "runtime::activation::",
    "shim::volumes::",
    "build::stages::",
];

#[test]
fn a_part_of_the_cases_passes_without_calls_that_linux_5_10_hasnt_got() {
    needs!(Root, Machine);
    let w = World::new();
    let done = w
        .cmd(std::env::current_exe().unwrap())
        .args(CASES)
        .arg("--test-threads=2")
        .env("DHOW_E2E_KERNEL", "5.10")
        .env("DHOW_BIN_DIR", program("dhow-runtime").parent().unwrap())
        .env("DHOW_FIXTURES", fixtures::folder())
        .without_env("DHOW_LONG")
        .limit(300)
        .run()
        .ok();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let passed = text.lines().filter(|line| line.ends_with("... ok")).count();
    assert!(passed >= 50, "{passed} cases only: {done}");
}
