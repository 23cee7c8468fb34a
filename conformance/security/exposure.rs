//! What of the host, the caller and the state is to be had.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde_json::json;

use crate::scene::{QUIET, Scene, Verdict, flawed_if};

/// A hook writes its variables where the host sees them.
pub fn hooks(s: &Scene) -> Verdict {
    let said = s.w.path("said");
    let script = format!("env >>{}", said.display());
    // Not startContainer: it is the container's own.
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    let b = s.bundle(&["true"]);
    let b = b.and("/process/env", json!("OF_CONTAINER=1")).with(
        "/hooks",
        json!({"prestart": hook, "createRuntime": hook, "createContainer": hook,
            "poststart": hook, "poststop": hook}),
    );
    s.run(&b).ok();
    let all = fs::read_to_string(&said).unwrap();
    let found = all.lines().find(|line| line.starts_with("OF_"));
    found.map_or(Verdict::Safe, |line| Verdict::Flawed(line.to_owned()))
}

pub fn variables(s: &Scene) -> Verdict {
    let b = s.another("c", &["env"]);
    let done = s.cmd(["run", "-b", b.path(), b.id()]).env("OF_CALLER", "1").run().ok();
    if done.out().contains("OF_CALLER") {
        return Verdict::Flawed("run".to_owned());
    }
    let b = s.bundle(&["sleep", "100"]);
    s.start(&b);
    let done = s.cmd(["exec", b.id(), "env"]).env("OF_CALLER", "1").run().ok();
    flawed_if(done.out().contains("OF_CALLER"), "exec")
}

/// What anybody can reach below a directory and read or write.
fn open_to_others(path: &Path, found: &mut Vec<String>) {
    let meta = fs::symlink_metadata(path).unwrap();
    let mode = meta.permissions().mode() & 0o7777;
    let bad = if meta.is_dir() { 0o002 } else { 0o006 };
    if !meta.is_symlink() && mode & bad != 0 {
        found.push(format!("{} has {mode:04o}", path.file_name().unwrap().to_string_lossy()));
    }
    // Who owns it and may not be searched by others hides all below.
    if meta.is_dir() && (mode & 0o001 != 0 || meta.uid() != 0) {
        for entry in fs::read_dir(path).unwrap().flatten() {
            open_to_others(&entry.path(), found);
        }
    }
}

/// By a caller who masks nothing.
pub fn modes(s: &Scene) -> Verdict {
    let b = s.bundle(&["sleep", "100"]);
    let open = ["sh", "-c", "umask 0; exec \"$@\"", "sh"];
    s.cmd(["create", "-b", b.path(), b.id()]).under(open).under(QUIET).run().ok();
    let mut found = Vec::new();
    open_to_others(&s.w.runtime_root(), &mut found);
    flawed_if(!found.is_empty(), found.join(", "))
}

pub fn abstract_sockets(s: &Scene) -> Verdict {
    let names = || {
        let all = fs::read_to_string("/proc/net/unix").unwrap();
        let ours = |name: &str| name.starts_with('@') && name.contains(s.w.name());
        let names = all.lines().filter_map(|line| line.split_whitespace().nth(7));
        names.filter(|name| ours(name)).map(str::to_owned).collect::<Vec<_>>()
    };
    let b = s.bundle(&["sleep", "100"]);
    s.create(&b);
    // Its name holds the container's: others on this machine may have sockets of theirs.
    let found = names();
    flawed_if(!found.is_empty(), found.join(", "))
}

/// An engine takes annotations from images.
pub fn annotations(s: &Scene) -> Verdict {
    let file = |name: &str| s.outside().join(name).display().to_string();
    let hook = json!([{"path": "/bin/echo", "args": ["echo", "of the image"]}]);
    let b = s.bundle(&["true"]).with(
        "/annotations",
        json!({"run.oci.hooks.stdout": file("stdout"), "run.oci.hooks.stderr": file("stderr"),
            "org.criu.config": file("criu"), "run.oci.pidfd_receiver": file("receiver")}),
    );
    let b = b.with("/hooks", json!({"createRuntime": hook, "poststop": hook}));
    s.run(&b);
    s.unharmed()
}
