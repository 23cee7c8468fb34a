//! Pull and unpack of 100 MB of gzip from a registry on this machine, beside `podman pull`.
//!
//! What was pulled stays until the last round. KERNEL: an ext4 without a journal never reuses an
//! inode deleted a moment ago (`recently_deleted` in fs/ext4/ialloc.c): whoever makes files after a
//! tree was removed searches past each of its inodes, which once was half of the CPU time here.
//! Each side's files are brought to disk off the clock: dhow syncs, and would write out podman's.

use std::path::Path;

use e2e::{Cmd, World, fixtures, registry};

use crate::measure::{Contender, race};
use crate::peers::{podman, release};

pub fn bench(rounds: usize) {
    let w = World::new();
    let store = tempfile::tempdir().unwrap();
    let host = format!("127.0.0.1:{}", registry::serve(store.path(), false));
    let name = format!("{host}/bench:latest");
    fixtures::push(&fixtures::bench_layout(), "bench", &name);

    let root = |round: usize| w.path(format!("dhow-{round}"));
    let ours = Contender {
        name: "dhow pull",
        cmd: Box::new(|round| w.dhow_cmd(["pull", "-q", &name]).env("DHOW_ROOT", root(round))),
        after: Box::new(|round| {
            check(&root(round).join("layers"));
            sync(&root(round));
        }),
    };
    let theirs = Contender {
        name: "podman pull",
        cmd: Box::new(|round| {
            // It prints an id; ours prints the name.
            let pull = podman(&w, &format!("podman-{round}"));
            pull.args(["pull", "-q", "--tls-verify=false", &name]).under(["sh", "-c", SAY, &name])
        }),
        after: Box::new(|round| {
            let root = format!("podman-{round}");
            release(&w, &root);
            check(&w.path(&root).join("root/overlay"));
            sync(&w.path(&root));
        }),
    };
    race("pull and unpack of 100 MB of gzip", rounds, &[ours, theirs]);
}

/// Leaves nothing dirty for the next to write out.
fn sync(dir: &Path) {
    Cmd::new("sync").arg("-f").arg(dir).run().ok();
}

/// `sh -c SAY NAME COMMAND…`: runs the command, prints the name.
const SAY: &str = "\"$@\" >/dev/null && echo \"$0\"";

/// Both have unpacked the same files: counted, with their bytes.
fn check(layers: &Path) {
    use std::sync::OnceLock;
    static FIRST: OnceLock<(usize, u64)> = OnceLock::new();
    let list = Cmd::new("find").arg(layers).args(["-type", "f", "-printf", "%P %s\n"]).run().ok();
    let files = list.lines().into_iter().filter_map(|line| {
        let (path, size) = line.rsplit_once(' ')?;
        // LAYER/fs/… (dhow) and LAYER/diff/… (podman) are the image's files.
        let part = path.split('/').nth(1)?;
        ["fs", "diff"].contains(&part).then(|| size.parse::<u64>().unwrap())
    });
    let sum = files.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size));
    assert!(sum.0 > 1000, "nothing is unpacked in {}", layers.display());
    assert_eq!(*FIRST.get_or_init(|| sum), sum, "files and bytes in {}", layers.display());
}
