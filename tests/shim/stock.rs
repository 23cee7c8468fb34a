//! dhow on a stock kernel with two CPUs: in guests of QEMU (`conformance/qemu.sh`).

use e2e::{Wires, World, needs};

use super::net_tools::{from_within, mirror};

#[test]
fn cpus_of_cgroup_v2_are_chosen_and_changed() {
    needs!(StockKernel);
    let w = World::new();
    w.pull("busybox");
    w.dhow(["info", "-f", "{{.CPUSet}} {{.NCPU}}"]).ok().out_is("true 2");
    let run = ["run", "-d", "--name", "cc", "--network", "none", "--cpuset-cpus", "1"];
    let flags = ["--cpuset-mems", "0", "--cpus", "1.5", "busybox", "sleep", "1000"];
    assert_eq!(w.dhow(run.iter().chain(&flags)).ok().err(), "", "nothing is discarded");
    let look = "cd /sys/fs/cgroup; echo $(cat cpuset.cpus cpuset.mems cpu.max); \
        grep Cpus_allowed_list /proc/self/status";
    let seen = || w.dhow(["exec", "cc", "sh", "-c", look]).ok().lines();
    assert_eq!(seen(), ["1 0 150000 100000", "Cpus_allowed_list:\t1"]);
    w.dhow(["update", "--cpuset-cpus", "0", "--cpus", "0.5", "cc"]).ok();
    assert_eq!(seen(), ["0 0 50000 100000", "Cpus_allowed_list:\t0"]);
    w.dhow(["restart", "-t", "0", "cc"]).ok();
    assert_eq!(seen(), ["0 0 50000 100000", "Cpus_allowed_list:\t0"]);
    w.dhow(["rm", "-f", "cc"]).ok();
    let refused = |flags: &[&str], said: &str| {
        let run = [&["run", "--rm", "--network", "none"], flags, &["busybox", "true"]].concat();
        w.dhow(run).code(125).err_has(said);
    };
    refused(&["--cpus", "3"], "as there are only 2 CPUs available");
    refused(&["--cpuset-cpus", "2"], "Requested CPUs are not available");
    refused(&["--cpuset-mems", "1"], "Requested memory nodes are not available");
}

/// The kernel's ipvlan: an address of its own beside the host's, one MAC for all.
#[test]
fn ipvlan_containers_stand_beside_the_host() {
    needs!(StockKernel, Root);
    let w = World::wired();
    let wires = w.wires();
    for mode in ["l2", "l3"] {
        let option = format!("ipvlan_mode={mode}");
        let create = ["network", "create", "-d", "ipvlan", "-o", "parent=eth0", "-o", &option];
        w.dhow(create.iter().chain(&["--subnet", "203.0.113.0/24", "lan"])).ok();
        mirror(&w, "mm", &["--network", "lan", "--ip", "203.0.113.77"]);
        mirror(&w, "nn", &["--network", "lan", "--ip", "203.0.113.78"]);
        assert_eq!(from_within(&w, "nn", "203.0.113.77", 7).as_deref(), Some("203.0.113.78"));
        let mac = w.dhow(["exec", "mm", "cat", "/sys/class/net/eth0/address"]).ok().out();
        w.dhow(["exec", "nn", "cat", "/sys/class/net/eth0/address"]).ok().out_is(&mac);
        if mode == "l2" {
            wires.router.is_seen_as(Wires::ROUTER, "tcp", "203.0.113.77:7");
            assert_eq!(from_within(&w, "nn", "mm", 7).as_deref(), Some("203.0.113.78"));
        }
        assert_eq!(wires.server.devices(), ["lo", "eth0"], "none of it is on the host");
        w.remove_all();
        w.dhow(["network", "rm", "lan"]).ok();
    }
}
