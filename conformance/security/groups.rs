//! Control groups.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use e2e::leaks;
use serde_json::json;

use crate::scene::{Scene, Verdict};

/// Removes the groups that came about on a way of our own making, `/tmp/…` below a hierarchy.
struct Back(BTreeSet<PathBuf>);

impl Drop for Back {
    fn drop(&mut self) {
        let mut new: Vec<_> = leaks::cgroups().difference(&self.0).cloned().collect();
        new.retain(|path| path.components().any(|part| part.as_os_str() == "tmp"));
        new.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
        for path in new {
            let _ = fs::remove_dir(path);
        }
    }
}

/// Neither the path nor an annotation may lead to a directory that is no group of the container's.
pub fn dots(s: &Scene) -> Verdict {
    let _back = Back(leaks::cgroups());
    let out = format!("{}/up", s.outside().display());
    let id = s.w.id("b");
    for path in [
        format!("/../../../../../../..{out}"),
        format!("../../../../../../..{out}"),
        format!("/{id}/../../../../../../../..{out}"),
        format!("/{id}/./..//../../../../../..{out}"),
    ] {
        let b = s.another("b", &["true"]).with("/linux/cgroupsPath", json!(path));
        s.run(&b);
        s.delete(&b);
        fs::remove_dir_all(b.dir()).unwrap();
        if let Some(harm) = s.harm() {
            return Verdict::Flawed(harm);
        }
    }
    let b = s.another("b", &["sleep", "100"]);
    let up = json!({"run.oci.systemd.subgroup": "../../up", "run.oci.delegate-cgroup": "../../up"});
    let b = b.with("/annotations", up);
    if s.create(&b).code != 0 {
        return Verdict::Safe;
    }
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", s.pid(&b))).unwrap();
    let outside = groups.lines().find(|line| {
        let path = line.splitn(3, ':').nth(2).unwrap();
        path.contains("..") || (path != "/" && !path.contains(b.id()))
    });
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    // A hierarchy in which the runtime makes nothing leaves it where its caller is.
    match outside.filter(|line| !own.lines().any(|own| own == *line)) {
        Some(line) => Verdict::Flawed(format!("annotations lead to {line}")),
        None => Verdict::Safe,
    }
}

/// With a cgroup namespace and without one.
pub fn writes(s: &Scene) -> Verdict {
    let script = "for d in $(sed -n 's/^[^ ]* [^ ]* [^ ]* [^ ]* \\([^ ]*\\) .* - cgroup2* .*/\\1/p' /proc/self/mountinfo); do \
        mkdir $d/made 2>/dev/null && rmdir $d/made && echo made a group in $d; \
        for f in cgroup.procs release_agent notify_on_release cgroup.max.depth; do \
        [ -e $d/$f ] && (: >>$d/$f) 2>/dev/null && echo may write $d/$f; done; done; true";
    for own in [true, false] {
        let b = s.another(&format!("b{own}"), &["sh", "-c", script]);
        let mut spaces = b.config["linux"]["namespaces"].as_array().unwrap().clone();
        spaces.retain(|space| own || space["type"] != "cgroup");
        let done = s.run(&b.with("/linux/namespaces", json!(spaces)));
        if let Some(line) = done.lines().first() {
            let how = if own { "with" } else { "without" };
            return Verdict::Flawed(format!("{how} a namespace of its own: {line}"));
        }
    }
    Verdict::Safe
}
