//! The harness of the end-to-end tests; the cases are in `../runtime`, `../imagetool`, `../build` and `../shim`.
//!
//! A case starts with a [`World`]: directories of its own for every program, a name that marks each
//! process, cgroup and mount made for it, and a check at its end that none of them is left.
//! Images come from [`fixtures`] (made once, kept in `target/fixtures`) through a real
//! [`Registry`]; a terminal is a [`Pty`]; whatever runs, runs under a time limit.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]
#![allow(clippy::return_self_not_must_use, reason = "an assertion gives its subject back")]

pub mod agent;
pub mod bundle;
pub mod clauses;
pub mod docker;
pub mod elf;
pub mod fixtures;
pub mod harbour;
pub mod hosts;
pub mod leaks;
pub mod manager;
mod older;
mod ordinary;
pub mod place;
mod pty;
pub mod registry;
mod run;
mod site;
pub mod tree;
pub mod wires;
mod world;

pub use ordinary::Ordinary;
pub use place::{Mode, Need, mode};
pub use pty::Pty;
pub use registry::Registry;
pub use run::{Cmd, Done};
pub use wires::{Space, Wires};
pub use world::World;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The repository's top folder.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The path of one of dhow's programs: in `$DHOW_BIN_DIR`, else in `target/dhow`.
pub fn program(name: &str) -> PathBuf {
    let dir = std::env::var_os("DHOW_BIN_DIR")
        .map_or_else(|| workspace().join("target/dhow"), PathBuf::from);
    let path = dir.join(name);
    assert!(path.exists(), "{} is not built: run `make` (or set DHOW_BIN_DIR)", path.display());
    path
}

/// Waits until something is so; `what` says what, when it never comes. A machine with much to do
/// takes its time: who waits in vain has failed in any case.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// `sleep` for so long as nobody else on this machine sleeps, some days: see [`sleeps`].
pub fn nap() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("sleep {}.{}", 1_000_000 + std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Waits until what [`nap`] said runs, in a container or without.
#[track_caller]
pub fn sleeps(nap: &str) {
    let line = nap.replace('.', "\\.");
    until(nap, || Cmd::new("pgrep").args(["-fx", &line]).run().code == 0);
}

/// To be put before a command (`Cmd::under`): a mount namespace where a hybrid's v2 hierarchy isn't
/// mounted. crun wants that; it also writes beneath the mount point, so a tmpfs takes its place.
pub const WITHOUT_V2: [&str; 8] = [
    "unshare",
    "--mount",
    "--propagation",
    "private",
    "sh",
    "-c",
    "u=/sys/fs/cgroup/unified; if mountpoint -q $u; then umount $u && mount -t tmpfs none $u; fi; exec \"$@\"",
    "sh",
];
