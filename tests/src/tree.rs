//! Two directories side by side: names, kinds, modes, owners, links, contents, attributes.

use std::collections::BTreeSet;
use std::path::Path;

use crate::Cmd;

/// A line for everything below `dir`. Directories' times and sizes are left
/// out: they are the file system's, or those of the moment.
pub fn of(dir: &Path) -> BTreeSet<String> {
    // %P name, %y kind, %m mode, %U:%G owner, %l link text; then for files %n links, %s, %T@ time.
    let format = ["-printf", "%P %y %m %U:%G %l"];
    let files = ["(", "-type", "f", "-printf", " links=%n size=%s time=%Ts", ")", "-o", "-true"];
    let list = Cmd::new("find").arg(".").args(["-mindepth", "1"]).args(format);
    let list = list.args(["("]).args(files).args([")", "-printf", "\n"]).cwd(dir).run().ok();
    let sums = ["-type", "f", "-exec", "sha256sum", "{}", "+"];
    let sums = Cmd::new("find").arg(".").args(sums).cwd(dir).run().ok();
    let attributes = Cmd::new("getfattr").args(["-Rhd", "-m", "-", "-e", "hex", "."]).cwd(dir);
    let attributes = attributes.run().ok();
    let mut lines: BTreeSet<String> = list.lines().into_iter().chain(sums.lines()).collect();
    lines.extend(attributes.out().split("\n\n").map(str::to_owned));
    lines
}

/// Fails with the lines that only one of them has.
#[track_caller]
pub fn same(left: &Path, right: &Path) {
    let (l, r) = (of(left), of(right));
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>, sign: &str| -> Vec<String> {
        let lone = a.difference(b).take(20);
        lone.map(|line| format!("{sign} {line}")).collect()
    };
    let difference = [only(&l, &r, "<"), only(&r, &l, ">")].concat().join("\n");
    let (left, right) = (left.display(), right.display());
    assert!(difference.is_empty(), "< {left}\n> {right}\n{difference}");
}
