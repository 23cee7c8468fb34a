//! Power cuts in the middle of pulls and commits: a guest whose disk is kept is switched off
//! without a sync, and looked at by the next one. `DHOW_QEMU=1`: QEMU's machine, not User Mode Linux.

use std::fs;

use e2e::{Done, World, fixtures, program, workspace};

/// Mounts the disk, looks, begins to work, and after so long there is no power any more. What
/// it ends with is then "no answer"; any other end says that something was found.
const SCRIPT: &str = r#"
mkdir -p /s; mount -t ext4 "$2" /s
export DHOW_ROOT=/s/root PATH=/dhow:$PATH
reg=127.0.0.1:5000
/hostbin/docker-registry serve /w/config.yml >/dev/null 2>&1 &
dhow-image verify >/tmp/found 2>&1 || { cat /tmp/found; exit 3; }
if [ "$1" = last ]; then
    dhow-image gc -q; dhow-image verify --deep; dhow-image pull -q $reg/layers:latest; dhow commit boat made:last
    dhow-image verify --deep
    exit 0
fi
until (echo >/dev/tcp/127.0.0.1/5000) 2>/dev/null; do sleep 0.05; done
if [ ! -e /s/ready ]; then
    dhow-image pull -q $reg/busybox:latest
    dhow create --name boat $reg/busybox true
    (cd /s/root/containers/*/upper && head -c 2000000 /dev/urandom >big)
    touch /s/ready; sync
fi
(while :; do
    dhow-image pull -q $reg/layers:latest; dhow-image pull -q $reg/zstd:latest
    dhow-image remove -f $reg/layers:latest $reg/zstd:latest; dhow-image gc -q
done >/dev/null 2>&1) &
(for n in 1 2 3 4 5 6 7 8 9; do dhow commit boat made:$((n % 3)); done >/dev/null 2>&1) &
sleep "$1"
busybox poweroff -nf
sleep 100
"#;

fn qemu() -> bool {
    super::crash::by_hand("DHOW_QEMU", 0) != 0
}

fn boot(w: &World, argument: &str) -> Done {
    let share = |from: String, to: &str| format!("{from}:{to}:ro");
    let programs = fs::canonicalize(program("dhow-image")).unwrap();
    let programs = programs.parent().unwrap().display().to_string();
    let shares = [
        share(programs, "/dhow"),
        share(w.path("files").display().to_string(), "/w"),
        share(fixtures::registry().display().to_string(), "/reg"),
        share("/usr/bin".to_owned(), "/hostbin"),
    ];
    let guest = w.cmd(workspace().join("tests/guest/guest.sh")).arg("--disk").arg(w.path("disk"));
    let guest = guest.args(shares.iter().flat_map(|s| ["--share", s.as_str()]));
    let (machine, disk) =
        if qemu() { (&["--qemu"][..], "/dev/vdc") } else { (&[][..], "/dev/ubdc") };
    guest.args(machine).args(["--", "bash", "-e", "/w/work.sh", argument, disk]).limit(600).run()
}

#[test]
fn power_cuts_leave_the_old_state_or_the_new_one() {
    let cuts = super::crash::by_hand("DHOW_KILLS", 1);
    let w = World::new();
    fs::create_dir(w.path("files")).unwrap();
    fs::write(w.path("files/work.sh"), SCRIPT).unwrap();
    let config = "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    \
                  rootdirectory: /reg\nhttp:\n  addr: 127.0.0.1:5000\n";
    fs::write(w.path("files/config.yml"), config).unwrap();
    w.cmd("truncate").args(["-s", "512M", "disk"]).run().ok();
    w.cmd("mke2fs").args(["-q", "-F", "-t", "ext4", "disk"]).run().ok();
    let mut dice = super::crash::Dice(cuts);
    for cut in 0..cuts {
        // QEMU's processor is slow: as much work takes several times as long.
        let after = dice.below(if qemu() { 20_000 } else { 4000 });
        let done = boot(&w, &format!("{}.{:03}", after / 1000, after % 1000));
        assert_eq!(done.code, 125, "after {cut} cuts: {done}");
    }
    boot(&w, "last").ok();
}
