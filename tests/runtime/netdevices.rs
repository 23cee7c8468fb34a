//! linux.netDevices: a device of the host's goes to the container.

use e2e::bundle::Bundle;
use e2e::{Done, World, needs};
use serde_json::{Value, json};

/// Runs in a network namespace of its own, that stands for the host's; `$RUN`, `$BUNDLE`, `$ID`.
fn on_host(w: &World, b: &Bundle, script: &str) -> Done {
    let program = e2e::program("dhow-runtime");
    let run = format!("{} --root {}", program.display(), w.runtime_root().display());
    w.cmd("unshare")
        .args(["-n", "-m", "sh", "-ec", script])
        .env("RUN", run)
        .env("ID", b.id())
        .env("BUNDLE", b.path())
        .run()
}

fn carrying(w: &World, args: &[&str], devices: Value) -> Bundle {
    w.bundle("b", args).with("/linux/netDevices", devices)
}

const PAIR: &str = "ip link add left type veth peer name right; ";

#[test]
fn device_arrives_up_with_its_attributes_and_lasting_addresses() {
    needs!(Root);
    let w = World::new();
    let b = carrying(&w, &["ip", "address", "show", "dev", "left"], json!({"left": {}}));
    let script = "ip link set left mtu 1789 address 00:11:22:33:44:55 up; ip link set right up; \
        ip address add 10.9.8.7/24 broadcast + dev left; ip address add 169.254.169.77/32 dev left; \
        ip address add 127.0.0.33/32 scope host dev left; \
        ip address add 10.0.0.5/32 dev left valid_lft 300 preferred_lft 300; \
        ip address add fd00::5/64 nodad dev left; \
        $RUN run -b $BUNDLE $ID; ip link show left 2>&1 || true";
    let done = on_host(&w, &b, &format!("{PAIR}{script}")).ok();
    for part in [
        "mtu 1789",
        "00:11:22:33:44:55",
        "10.9.8.7/24 brd 10.9.8.255",
        "169.254.169.77/32",
        "fd00::5/64",
        "UP",
    ] {
        assert!(done.out().contains(part), "no {part}: {done}");
    }
    for part in ["127.0.0.33", "10.0.0.5"] {
        assert!(!done.out().contains(part), "{part}: {done}");
    }
    assert!(done.out().contains("does not exist"), "{done}");
}

#[test]
fn device_is_renamed_also_by_a_template() {
    needs!(Root);
    let w = World::new();
    let b = carrying(
        &w,
        &["ls", "/sys/class/net"],
        json!({"left": {"name": "eth7"}, "right": {"name": "ext%d"}}),
    );
    on_host(&w, &b, &format!("{PAIR} $RUN run -b $BUNDLE $ID")).ok().out_is("eth7\next0\nlo");
}

#[test]
fn device_goes_to_a_namespace_given_by_path_and_stays_there() {
    needs!(Root);
    let w = World::new();
    let mut b =
        carrying(&w, &["ip", "link", "show", "dev", "inner"], json!({"left": {"name": "inner"}}));
    for n in b.config["linux"]["namespaces"].as_array_mut().unwrap() {
        if n["type"] == "network" {
            n["path"] = w.path("net").to_str().unwrap().into();
        }
    }
    b.write();
    let file = w.path("net");
    let file = file.display();
    let script = format!(
        "touch {file}; unshare --net={file} true; {PAIR} $RUN run -b $BUNDLE $ID >/dev/null; \
         nsenter --net={file} ip -o link show inner; umount {file}"
    );
    on_host(&w, &b, &script).ok().out_has("inner");
}

#[test]
fn device_of_a_container_with_its_own_users() {
    needs!(Root);
    let w = World::new();
    let b = carrying(&w, &["ip", "link", "show", "dev", "left"], json!({"left": {}}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let b = b.and("/linux/namespaces", json!({"type": "user"}));
    let b = b.with("/linux/uidMappings", map.clone()).with("/linux/gidMappings", map);
    w.cmd("chown").args(["-hR", "100000:100000"]).arg(b.rootfs("")).run().ok();
    w.cmd("chmod").arg("755").arg(w.path("")).run().ok();
    on_host(&w, &b, &format!("{PAIR} $RUN run -b $BUNDLE $ID")).ok().out_has("left");
}

#[test]
fn device_that_can_not_go_is_named_and_stays() {
    needs!(Root);
    let w = World::new();
    let stays = "if $RUN run -b $BUNDLE $ID; then exit 9; fi; ip -o link show left";
    for (devices, why) in [
        (
            json!({"left": {}, "nosuch0": {}}),
            "/linux/netDevices/nosuch0: there is no network device",
        ),
        (
            json!({"left": {"name": "lo"}}),
            "/linux/netDevices/left: the container has a network device lo already",
        ),
        (
            json!({"left": {"name": "a/b"}}),
            "/linux/netDevices/left/name: invalid network device name",
        ),
    ] {
        let b = carrying(&w, &["true"], devices);
        on_host(&w, &b, &format!("{PAIR}{stays}")).ok().out_has("left").err_has(why);
        std::fs::remove_dir_all(b.dir()).unwrap();
    }
    let b = carrying(&w, &["true"], json!({"left": {}}));
    let list = json!([{"type": "mount"}, {"type": "uts"}, {"type": "pid"}]);
    let b = b.with("/linux/namespaces", list);
    let done = on_host(&w, &b, &format!("{PAIR}{stays}")).ok();
    done.err_has("/linux/netDevices: unable to move network devices without a NET namespace");
}

#[test]
fn device_that_may_not_leave_its_namespace_stays_up() {
    needs!(Root);
    let w = World::new();
    let b = carrying(&w, &["true"], json!({"lo": {"name": "x"}}));
    let lo = "ip link set lo up; if $RUN run -b $BUNDLE $ID; then exit 9; fi; ip -o link show lo";
    on_host(&w, &b, lo).ok().out_has("LOOPBACK,UP").err_has("/linux/netDevices/lo: move it");
}
