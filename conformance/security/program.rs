//! The runtime's own program, which a container meets when it is entered.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::scene::{QUIET, Scene, Verdict, capabilities, flawed_if};

/// A container with every right that a file needs waits for whoever comes in, and is made to be
/// entered by the runtime's own name, as a program and as a script's.
pub fn overwritten(s: &Scene) -> Verdict {
    let own = s.with_own_program();
    let before = fs::read(&own).unwrap();
    let b = s.bundle(&["/attack", "inside", "hold-programs"]);
    let all = [
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
    let b = b.with("/process/capabilities", capabilities(&all));
    fs::write(b.rootfs("script"), "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(b.rootfs("script"), fs::Permissions::from_mode(0o755)).unwrap();
    s.cmd_by(&own, ["create", "-b", b.path(), b.id()]).under(QUIET).run().ok();
    s.cmd_by(&own, ["start", b.id()]).run().ok();
    e2e::until("it looks", || b.rootfs("ready").exists());
    for _ in 0..3 {
        for word in ["/proc/self/exe", "/script", "true"] {
            s.cmd_by(&own, ["exec", b.id(), word]).run();
        }
    }
    let c = s.another("c", &["/proc/self/exe"]);
    let pid = json!({"type": "pid", "path": format!("/proc/{}/ns/pid", s.pid(&b))});
    let c = c.with("/linux/namespaces/0", pid);
    s.cmd_by(&own, ["run", "-b", c.path(), c.id()]).run();
    flawed_if(fs::read(&own).unwrap() != before, "its file has changed")
}
