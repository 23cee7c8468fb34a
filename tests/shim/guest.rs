//! dhow in guests as uid 1000: limits by what is delegated, ports, builds, terminals.

use e2e::{Cmd, World, fixtures, needs};

use crate::runtime::guest::guest;

/// `d` is dhow, and has the image `busybox`; `file` prints one of the group of the container `one`.
const HEAD: &str = r#"
d() { /dhow/dhow "$@"; }
quiet() { "$@" >/tmp/out 2>&1 </dev/null || { cat /tmp/out; false; }; }
group() { sed s/0::// /proc/$(d inspect -f '{{.State.Pid}}' one)/cgroup; }
file() { cat /sys/fs/cgroup$(group)/$1; }
cd ~; quiet d load -q -i /archives/busybox.tar
"#;

fn as_user(w: &World, options: &[&str], script: &str) -> Cmd {
    let archives = format!("{}:/archives:ro", fixtures::archives().display());
    let options = [options, &["--mem", "1024", "--share", &archives]].concat();
    guest(w, &options, &format!("{HEAD}{script}"))
}

const LIMITS: &str = r#"
d info -f '{{.CgroupDriver}} {{.MemoryLimit}} {{.PidsLimit}} {{.CpuCfsQuota}} {{.CPUSet}}'
run() { d run --rm --network none "$@"; }
run -m 64m --cpus 0.5 --pids-limit 9 busybox sh -c 'cd /sys/fs/cgroup; cat memory.max cpu.max pids.max'
run -m 16m --memory-swap 16m busybox sh -c 'head -c 99000000 /dev/zero | tail -n1' 2>/dev/null || echo memory $?
run --pids-limit 5 busybox sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done' 2>&1 | grep -o "can.t fork" | head -n1
quiet d run -d --name one --network none -m 64m --restart always busybox sleep 1000
case $(group) in */user@1000.service/user.slice/dhow-*.scope) echo scope ;; /user-1000/*) echo group ;; esac
quiet d pause one; file cgroup.freeze; quiet d unpause one
quiet d update -m 32m --memory-swap 64m --pids-limit 20 one; file memory.max; file pids.max
d stats --no-stream --format '{{.MemUsage}}' one | grep -o '32MiB'; d exec one cat /proc/self/cgroup
quiet d restart -t 0 one; file memory.max; g=/sys/fs/cgroup$(group); quiet d rm -f one; [ -e $g ] || echo gone
run --cpuset-cpus 0 -m 64m busybox cat /sys/fs/cgroup/memory.max
"#;

/// The kernel of the guest has no cpuset, so that one is told.
fn limits(w: &World, options: &[&str], driver: &str, kind: &str) {
    let done = as_user(w, options, LIMITS).run().ok();
    done.out_is(&format!(
        "{driver} true true true false\n67108864\n50000 100000\n9\nmemory 137\ncan't fork\n{kind}\n1\n\
         33554432\n20\n32MiB\n0::/\n33554432\ngone\n67108864"
    ))
    .err_has("Cpuset discarded")
    .err_has("Without root, limits need a cgroup that is delegated");
}

#[test]
fn limits_of_an_ordinary_user_hold_in_scopes_of_their_systemd() {
    needs!(Guests);
    limits(&World::new(), &["--systemd", "--user"], "systemd", "scope");
}

#[test]
fn limits_of_an_ordinary_user_hold_in_a_group_that_is_delegated() {
    needs!(Guests);
    limits(&World::new(), &["--user"], "cgroupfs", "group");
}

const WORK: &str = r#"
serve='while :; do echo hello | nc -l -p 80; done'
quiet d run -d --name web -p 8080:80 busybox sh -c "$serve"
until [ "$r" = hello ]; do r=$(busybox nc -w 2 127.0.0.1 8080 </dev/null 2>/dev/null) || sleep 0.2; done; echo $r
script -qec "/dhow/dhow exec -it web sh -c 'tty; id -u; cat /proc/self/uid_map | wc -l'" /dev/null </dev/null | tr -d '\r' | sed 's/^^@//'
mkdir context; printf 'FROM busybox\nCOPY --chown=33 f /f\nRUN id -u >/who; stat -c %%u /f >>/who\nCMD cat /who /f\n' >context/Dockerfile
echo file >context/f; quiet d build -q -t built context; d run --rm --network none built
quiet d run -d --name limited --network none -m 64m busybox sleep 1000
d exec limited cat /sys/fs/cgroup/memory.max; quiet d rm -f web limited
"#;

#[test]
fn ports_terminals_and_builds_of_an_ordinary_user_beside_systemd() {
    needs!(Guests);
    let done = as_user(&World::new(), &["--systemd", "--user"], WORK).run().ok();
    done.out_is("hello\n/dev/pts/0\n0\n2\n0\n33\nfile\n67108864");
}

/// Without ranges of ids, and from a session that isn't systemd's own.
#[test]
fn ports_terminals_and_builds_of_a_user_with_one_id_beside_systemd() {
    needs!(Guests);
    let w = World::new();
    std::fs::write(w.path("script"), format!("set -e\n{HEAD}{WORK}")).unwrap();
    let script = "cd /; : >/etc/subuid; : >/etc/subgid; systemctl start user@1000; \
        export HOME=/home/tester XDG_RUNTIME_DIR=/run/user/1000; rm -f /tmp/out; \
        setpriv --reuid=1000 --regid=1000 --init-groups bash /tmp/script";
    let script = format!("cp /w/script /tmp/script; chmod 644 /tmp/script; {script}");
    let done = as_user(&w, &["--systemd"], &script).run().ok();
    done.out_is("hello\n/dev/pts/0\n0\n1\n0\n0\nfile\n67108864");
}
