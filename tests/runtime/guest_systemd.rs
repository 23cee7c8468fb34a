//! Groups made by systemd, in guests where it is the first process.

use e2e::bundle::{Bundle, for_user};
use e2e::{Done, World, needs};
use serde_json::json;

use super::guest::guest;

/// Runs a script in a guest with systemd where the world's bundle `b` is /b; `rt` is dhow-runtime
/// with `--systemd-cgroup`, and `show` prints files of the group in $g.
fn in_guest(w: &World, options: &[&str], script: &str) -> Done {
    let dir = w.path("bundle-b");
    let head = format!(
        "cp -a /w/{} /b; cd /b; rt() {{ /dhow/dhow-runtime --systemd-cgroup \"$@\"; }}; \
         quiet() {{ \"$@\" </dev/null >/dev/null 2>/tmp/err || {{ cat /tmp/err; false; }}; }}; \
         show() {{ for f in \"$@\"; do echo $f $(cat $g/$f); done; }}; \
         tell() {{ systemctl show -P $1 e2e-one.scope; }}; ",
        dir.file_name().unwrap().to_string_lossy()
    );
    guest(w, &[&["--systemd"], options].concat(), &(head + script)).run()
}

fn scope(w: &World, args: &[&str]) -> Bundle {
    w.bundle("b", args).with("/linux/cgroupsPath", "a-b.slice:e2e:one".into())
}

#[test]
fn a_scope_has_its_limits_from_systemd_and_in_its_files_and_goes_with_the_container() {
    needs!(Guests);
    let w = World::new();
    let b = scope(&w, &["sleep", "1000"]);
    let b = b.with(
        "/linux/resources",
        json!({
            "devices": [{"allow": false, "access": "rwm"}],
            "memory": {"limit": 64 << 20, "reservation": 16 << 20},
            "cpu": {"shares": 2048, "quota": 33_300, "period": 100_000},
            "pids": {"limit": 1},
            "unified": {"memory.high": "50331648"},
        }),
    );
    let annotations = json!({
        "org.systemd.property.TimeoutStopSec": "7",
        "org.systemd.property.Documentation": "['man:one', 'man:two']",
    });
    drop(b.with("/annotations", annotations));
    let script = "g=/sys/fs/cgroup/a.slice/a-b.slice/e2e-one.scope; quiet rt run -d one; \
        show memory.max memory.low memory.high pids.max cpu.weight cpu.max; wc -l <$g/cgroup.procs; \
        for p in Slice Delegate MemoryMax TasksMax CPUQuotaPerSecUSec CPUWeight DevicePolicy \
            TimeoutStopUSec Documentation DefaultDependencies; do echo $p $(tell $p); done; \
        rt update --memory 80m --pids-limit 20 --cpu-quota 50000 one; \
        show memory.max pids.max cpu.max; tell MemoryMax; tell TasksMax; tell CPUQuotaPerSecUSec; \
        systemctl daemon-reload; show memory.max pids.max cpu.max; \
        rt update --pids-limit 7 --cpu-quota 1 one 2>&1 | grep -c cpu.max; show pids.max; tell TasksMax; \
        rt exec one cat /proc/self/cgroup; rt exec one head -c1 /dev/zero | wc -c; \
        rt pause one; show cgroup.freeze; rt resume one; \
        /dhow/dhow-runtime delete -f one; [ -e $g ] || echo gone; tell LoadState";
    let done = in_guest(&w, &[], script).ok();
    let expected = "memory.max 67108864\nmemory.low 16777216\nmemory.high 50331648\npids.max 1\n\
        cpu.weight 174\ncpu.max 33300 100000\n1\nSlice a-b.slice\nDelegate yes\n\
        MemoryMax 67108864\nTasksMax 1\nCPUQuotaPerSecUSec 340ms\nCPUWeight 174\n\
        DevicePolicy auto\nTimeoutStopUSec 7s\nDocumentation man:one man:two\n\
        DefaultDependencies no\nmemory.max 83886080\npids.max 20\ncpu.max 50000 100000\n\
        83886080\n20\n500ms\nmemory.max 83886080\npids.max 20\ncpu.max 50000 100000\n\
        1\npids.max 20\n20\n0::/\n1\ncgroup.freeze 1\ngone\nnot-found";
    done.out_is(expected);
}

#[test]
fn a_scope_s_name_is_free_again_after_any_end() {
    needs!(Guests);
    let w = World::new();
    let b = scope(&w, &["sh", "-c", "head -c 99000000 /dev/zero | tail -n 1"]);
    drop(b.with("/linux/resources/memory", json!({"limit": 8 << 20})));
    // Killed for its memory, which systemd calls a failed scope; a create that fails; a runtime
    // that is killed before its container is there; one by the bus, since the socket is away.
    let script = "for i in 1 2; do rt run one && echo 0 || echo $?; done; \
        sed -i 's#head.*tail -n 1#sleep 1000#' config.json; \
        quiet rt run -d one; systemctl is-active e2e-one.scope; \
        rt --root /run/other run -d one </dev/null 2>&1 | grep -c 'e2e-one.scope'; \
        systemctl is-active e2e-one.scope; rt delete -f one; \
        sed -i 's|\"rootfs\"|\"nowhere\"|' config.json; rt run one 2>/dev/null || echo refused; \
        sed -i 's|\"nowhere\"|\"rootfs\"|; s|\"sh\"|\"nosuch\"|' config.json; \
        rt run one >/dev/null 2>&1 || echo failed; tell LoadState; \
        sed -i 's|\"nosuch\"|\"sh\"|' config.json; \
        mv /run/systemd/private /run/systemd/away; quiet rt run -d one; \
        mv /run/systemd/away /run/systemd/private; rt list -q; \
        mv /run/systemd/private /run/systemd/away; rt delete -f one; \
        mv /run/dbus/system_bus_socket /run/dbus/away; rt run one || true";
    let done = in_guest(&w, &[], script).ok();
    done.out_is("137\n137\nactive\n1\nactive\nrefused\nfailed\nnot-found\none")
        .err_has("connect to systemd at unix:path=/run/dbus/system_bus_socket: no such file");
}

#[test]
fn a_user_s_scope_is_reached_from_a_session_elsewhere() {
    needs!(Guests);
    let w = World::new();
    let mut b = scope(&w, &["sleep", "1000"]).with("/linux/cgroupsPath", "::one".into());
    b = b.with("/linux/resources", json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 9}}));
    for_user(&mut b.config);
    b.write();
    // The caller is in system.slice, and may move nobody from there.
    let script = "chown -R 1000:1000 /b; chmod -R u+rwX,go+rX /b; systemctl start user@1000; \
        as() { setpriv --reuid=1000 --regid=1000 --init-groups env HOME=/home/tester \
            XDG_RUNTIME_DIR=/run/user/1000 /dhow/dhow-runtime --systemd-cgroup \"$@\"; }; \
        g=/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/user.slice/-one.scope; \
        grep -o guest-agent /proc/self/cgroup; quiet as run -d one; show memory.max pids.max; \
        as exec one cat /proc/self/cgroup; as exec one sleep 1000 & sleep 1; wc -l <$g/cgroup.procs; \
        as update --memory 50m one; show memory.max; as delete -f one; [ -e $g ] || echo gone; \
        export XDG_RUNTIME_DIR=/tmp; setpriv --reuid=1000 --regid=1000 --init-groups \
            /dhow/dhow-runtime --systemd-cgroup run one || true";
    let done = in_guest(&w, &[], script).ok();
    done.out_is("guest-agent\nmemory.max 67108864\npids.max 9\n0::/\n2\nmemory.max 52428800\ngone")
        .err_has("connect to the user's systemd at unix:path=/tmp/bus: no such file or directory");
}

#[test]
fn a_scope_on_cgroup_v1_has_its_groups_in_every_hierarchy() {
    needs!(Guests);
    let w = World::new();
    let held = json!([{"path": "/dev/held", "type": "c", "major": 1, "minor": 11}]);
    let b =
        scope(&w, &["sh", "-c", "head -c1 /dev/held 2>&1; head -c2 /dev/zero | wc -c; sleep 99"]);
    let b = b.with("/linux/devices", held).with("/linux/resources/pids", json!({"limit": 12}));
    drop(b.with("/linux/resources/memory", json!({"limit": 64 << 20})));
    let script = "rt run -d one </dev/null >/tmp/out 2>&1 || cat /tmp/out; until grep -q 2 /tmp/out; do sleep 0.1; done; \
        cat /tmp/out; t=/sys/fs/cgroup; p=a.slice/a-b.slice/e2e-one.scope; \
        cat $t/memory/$p/memory.limit_in_bytes $t/pids/$p/pids.max; wc -l <$t/systemd/$p/cgroup.procs; \
        tell MemoryLimit; tell DevicePolicy; systemctl daemon-reload; \
        grep -c 'a \\*:\\*' $t/devices/$p/devices.list || true; \
        rt update --memory 32m one; tell MemoryLimit; rt delete -f one; \
        ls -d $t/*/$p 2>/dev/null || echo gone";
    let done = in_guest(&w, &["--v1"], script).ok();
    assert!(done.lines()[0].contains("not permitted"), "{done}");
    assert_eq!(
        done.lines()[1..],
        ["2", "67108864", "12", "1", "67108864", "strict", "0", "33554432", "gone"],
        "{done}"
    );
}
