//! The runtime's own program, which a container meets when it is entered.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use e2e::bundle::Bundle;
use serde_json::json;

use crate::scene::{QUIET, Scene, Verdict, capabilities, flawed_if};

/// All that a file may need, and the sight of who comes in.
const CAPS: [&str; 9] = [
    "CAP_SYS_PTRACE",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_SYS_ADMIN",
    "CAP_FOWNER",
    "CAP_CHOWN",
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_KILL",
];

/// A container that takes hold of each program that comes in; `/script` is the runtime's to interpret.
fn waiting(s: &Scene) -> Bundle {
    let b = s.bundle(&["/attack", "inside", "hold-programs"]);
    let b = b.with("/process/capabilities", capabilities(&CAPS));
    fs::write(b.rootfs("script"), "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(b.rootfs("script"), fs::Permissions::from_mode(0o755)).unwrap();
    b
}

/// It is entered by plain programs and by the runtime's own name, as a program and as a script's.
const WORDS: [&str; 3] = ["/proc/self/exe", "/script", "true"];

pub fn overwritten(s: &Scene) -> Verdict {
    let own = s.with_own_program();
    let before = fs::read(&own).unwrap();
    let b = waiting(s);
    s.cmd_by(&own, ["create", "-b", b.path(), b.id()]).under(QUIET).run().ok();
    s.cmd_by(&own, ["start", b.id()]).run().ok();
    e2e::until("it looks", || b.rootfs("ready").exists());
    for _ in 0..3 {
        for word in WORDS {
            s.cmd_by(&own, ["exec", b.id(), word]).run();
        }
    }
    let c = s.another("c", &["/proc/self/exe"]);
    let pid = json!({"type": "pid", "path": format!("/proc/{}/ns/pid", s.pid(&b))});
    let c = c.with("/linux/namespaces/0", pid);
    s.cmd_by(&own, ["run", "-b", c.path(), c.id()]).run();
    flawed_if(fs::read(&own).unwrap() != before, "its file has changed")
}

/// The host's mount of it is read-only, until it is to be written to (an update).
pub fn remounted(s: &Scene) -> Verdict {
    let own = s.with_own_program();
    let before = fs::read(&own).unwrap();
    let b = waiting(s);
    let exec = |word: &str| s.cmd_by(&own, ["exec", b.id(), word]).line();
    let enter = WORDS.map(exec).join("\n");
    let script = format!(
        "mount --bind {own} {own} && mount -o remount,bind,ro {own} || exit 9\n\
        {create} && {start} || exit 8\n\
        while ! [ -e {ready} ]; do sleep 0.05; done\n{enter}\n{enter}\n\
        mount -o remount,bind,rw {own}\nsleep 0.5; true",
        own = own.display(),
        create = s.cmd_by(&own, ["create", "-b", b.path(), b.id()]).under(QUIET).line(),
        start = s.cmd_by(&own, ["start", b.id()]).line(),
        ready = b.rootfs("ready").display(),
    );
    let apart = ["--mount", "--propagation", "private", "sh", "-c", &script];
    let done = s.w.cmd("unshare").args(apart).run();
    assert!(done.code == 0, "{done}");
    flawed_if(fs::read(&own).unwrap() != before, "its file has changed")
}
