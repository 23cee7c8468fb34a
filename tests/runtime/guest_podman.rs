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
run --pids-limit 5 --cpus 0.5 -m 48m $IO busybox sh -c '
    cd /sys/fs/cgroup; cat cpu.max memory.max pids.max; [ ! -e /dev/zz ] || {
        grep -o wbps=[0-9]* io.max; head -c1 /dev/zz | wc -c; dd if=/dev/zero of=/dev/zz count=1 2>&1 | grep -o "not permitted"; }'
p run -d --network=none --name f busybox sleep 1000 >/dev/null
g=/sys/fs/cgroup$(p inspect --format '{{.State.CgroupPath}}' f)
case $g in */libpod-*.scope) echo scope ;; */libpod-*) echo group ;; esac
p pause f >/dev/null; cat $g/cgroup.freeze; p unpause f >/dev/null; p exec f id -u
p rm -f -t 0 f >/dev/null; [ -e $g ] || echo gone
"#;

fn podman(options: &[&str], manager: &str, io: &str) -> Done {
    let w = World::new();
    let archives = format!("{}:/archives:ro", fixtures::archives().display());
    let options = [options, &["--mem", "1024", "--share", &archives]].concat();
    guest(&w, &options, &format!("M={manager}; IO='{io}'; {SCRIPT}")).run().ok()
}

const LIMITS: &str = "memory 137\ncan't fork\n50000 100000\n50331648\n5\n";
const BLOCK: &str = "--device-write-bps /dev/ubda:1mb --device /dev/ubda:/dev/zz:r";

#[test]
fn podman_s_limits_hold_in_scopes_of_systemd() {
    needs!(Guests);
    let done = podman(&["--systemd"], "systemd", BLOCK);
    done.out_is(&format!("{LIMITS}wbps=1048576\n1\nnot permitted\nscope\n1\n0\ngone"));
}

#[test]
fn podman_s_limits_hold_in_scopes_of_a_user_s_systemd() {
    needs!(Guests);
    let done = podman(&["--systemd", "--user"], "systemd", "");
    done.out_is(&format!("{LIMITS}scope\n1\n0\ngone"));
}

/// The same by groups of the runtime's own; `DHOW_LONG=1`.
#[test]
fn podman_s_limits_hold_in_groups() {
    needs!(Guests);
    if std::env::var_os("DHOW_LONG").is_none() {
        return;
    }
    let done = podman(&[], "cgroupfs", BLOCK);
    done.out_is(&format!("{LIMITS}wbps=1048576\n1\nnot permitted\ngroup\n1\n0\ngone"));
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
