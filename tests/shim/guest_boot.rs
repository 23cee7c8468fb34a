//! A machine with systemd goes down and comes up again: in a guest that reboots.

use std::fs;
use std::path::Path;

use e2e::{World, needs, program, workspace};

use super::install::pages;

/// install.sh, `dhow.service`, a reboot; with `DHOW_LONG=1` a user's as well, units of single
/// containers, their READY, and the journal. In `guest_boot.out` lines of that begin with a plus.
#[test]
fn a_machine_that_reboots_has_its_containers_back() {
    needs!(Guests);
    let w = World::new();
    let long = std::env::var_os("DHOW_LONG").is_some();
    let programs = fs::canonicalize(program("dhow")).unwrap();
    let src = w.path("src");
    fs::create_dir(&src).unwrap();
    fs::copy(workspace().join("install.sh"), src.join("install.sh")).unwrap();
    let share = |from: &Path, to: &str| format!("{}:{to}:ro", from.display());
    let done = w
        .cmd(workspace().join("tests/guest/guest.sh"))
        .args(["--systemd", "--env", if long { "LONG=1" } else { "LONG=" }])
        .args(["--share", &share(programs.parent().unwrap(), "/dhow")])
        .args(["--share", &share(&pages(), "/pages"), "--share", &share(&src, "/src")])
        .args(["--", "bash", "-e", "-c"])
        .arg(concat!(include_str!("../guest/words.sh"), include_str!("guest_boot.sh")))
        .limit(600)
        .run()
        .ok();
    let expected: Vec<&str> = include_str!("guest_boot.out")
        .lines()
        .filter_map(|line| match line.strip_prefix('+') {
            Some(line) => long.then_some(line),
            None => Some(line),
        })
        .collect();
    let told: Vec<String> = done.lines();
    let told: Vec<&str> = told.iter().map(|line| line.trim_end()).collect();
    assert_eq!(told, expected.iter().map(|line| line.trim_end()).collect::<Vec<_>>(), "{done}");
}
