//! Debian's podman inside guests, with dhow-runtime in its runtime's place: limits that hold, by
//! both cgroup managers, as root and as a user.

use e2e::{Done, World, fixtures, needs};

use super::guest::guest;

/// What podman is asked for, a line of output each.
const SCRIPT: &str = r#"
mkdir -p ~/.config/containers
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >~/.config/containers/policy.json
p() { podman --runtime /dhow/dhow-runtime --cgroup-manager $M --events-backend=none --log-level=error "$@"; }
p load -q -i /archives/busybox.tar >/dev/null
run() { p run --rm --network=none "$@"; }
run -m 16m --memory-swap 16m busybox sh -c 'head -c 99000000 /dev/zero | tail -n1' && code=0 || code=$?
echo memory $code
run --pids-limit 5 busybox sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done' 2>&1 | grep -o "can.t fork"
[ $(id -u) != 0 ] || {
    echo 'profile dhow-podman flags=(attach_disconnected) { file, capability, network, signal, mount, deny /tmp/held w, }' |
        apparmor_parser -r
    run --security-opt apparmor=dhow-podman busybox sh -c 'cat /proc/self/attr/current; echo x >/tmp/free && echo written
        echo x 2>/dev/null >/tmp/held || echo denied' 2>/dev/null
}
run --pids-limit 5 --cpus 0.5 -m 48m $IO busybox sh -c '
    cd /sys/fs/cgroup; cat cpu.max memory.max pids.max; grep -o wbps=[0-9]* io.max; [ ! -e /dev/zz ] || {
        head -c1 /dev/zz | wc -c; dd if=/dev/zero of=/dev/zz count=1 2>&1 | grep -o "not permitted"; }'
p run -d --network=none --name f busybox sleep 1000 >/dev/null
g=/sys/fs/cgroup$(p inspect --format '{{.State.CgroupPath}}' f)
case $g in */libpod-*.scope) echo scope ;; *) echo group ;; esac
p pause f >/dev/null; cat $g/cgroup.freeze; p unpause f >/dev/null; p exec f id -u
p rm -f -t 0 f >/dev/null; [ -e $g ] || echo gone
"#;

fn podman(options: &[&str], manager: &str, io: &str) -> Done {
    let w = World::new();
    let archives = format!("{}:/archives:ro", fixtures::archives().display());
    let options = [options, &["--mem", "1024", "--share", &archives]].concat();
    guest(&w, &options, &format!("M={manager}; IO='{io}'; {SCRIPT}")).run().ok()
}

/// What every combination holds; of root's also a profile and device rules.
fn expected(root: bool, place: &str) -> String {
    let profile = if root { "dhow-podman (enforce)\nwritten\ndenied\n" } else { "" };
    let devices = if root { "1\nnot permitted\n" } else { "" };
    format!(
        "memory 137\ncan't fork\n{profile}50000 100000\n50331648\n5\nwbps=1048576\n\
         {devices}{place}\n1\n0\ngone"
    )
}

const BLOCK: &str = "--device-write-bps /dev/ubda:1mb";
/// KERNEL: device rules are root's to set; for a user the node's own mode holds.
const DEVICE: &str = "--device-write-bps /dev/ubda:1mb --device /dev/ubda:/dev/zz:r";

#[test]
fn podman_s_limits_hold_in_scopes_of_systemd() {
    needs!(Guests);
    podman(&["--systemd"], "systemd", DEVICE).out_is(&expected(true, "scope"));
}

#[test]
fn podman_s_limits_hold_in_scopes_of_a_user_s_systemd() {
    needs!(Guests);
    podman(&["--systemd", "--user"], "systemd", BLOCK).out_is(&expected(false, "scope"));
}

/// By groups of the runtime's own, with systemd beside and without; `DHOW_LONG=1`.
#[test]
fn podman_s_limits_hold_in_groups() {
    needs!(Guests);
    if std::env::var_os("DHOW_LONG").is_none() {
        return;
    }
    for systemd in [&[][..], &["--systemd"]] {
        podman(systemd, "cgroupfs", DEVICE).out_is(&expected(true, "group"));
        let user = [systemd, &["--user"]].concat();
        podman(&user, "cgroupfs", BLOCK).out_is(&expected(false, "group"));
    }
}

#[test]
fn apparmor_s_profile_is_applied_and_enforced() {
    needs!(Guests);
    let w = World::new();
    let script = "cat /proc/self/attr/current; echo x >/tmp/held 2>/dev/null || echo denied; \
        echo x >/tmp/free && echo written";
    let b = w.bundle("b", &["sh", "-c", script]);
    let b = b.with("/process/apparmorProfile", "dhow-case".into());
    let profile = "profile dhow-case flags=(attach_disconnected) { file, capability, network, signal, \
        deny /tmp/held w, }";
    std::fs::write(w.path("profile"), profile).unwrap();
    let dir = b.dir().file_name().unwrap().to_string_lossy();
    let script = format!(
        "apparmor_parser -r -W /w/profile; cp -a /w/{dir} /b; cd /b; chmod 1777 rootfs/tmp; \
         /dhow/dhow-runtime run one; sed -i 's/dhow-case/dhow-none/' config.json; \
         /dhow/dhow-runtime run two || true"
    );
    let done = guest(&w, &[], &script).run().ok();
    done.out_is("dhow-case (enforce)\ndenied\nwritten").err_has("dhow-none");
}
