#!/bin/bash
# podman (and conmon) drives the runtime; fast enough for CI, where tests/runtime/podman.rs calls it.
. "$(dirname "$0")/lib.sh"
need podman conmon runc busybox-static catatonit
need_criu

p() {
    timeout 60 "${PODMAN[@]}" "$@"
}

set_up() {
    PODMAN=(podman --runtime "$(runtime_path)" --cgroup-manager=cgroupfs --events-backend=file)
    # This kernel's limits may not be raised: podman's own defaults would fail.
    cat >"$SCRATCH/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
init_path = "$(command -v catatonit || echo "$CACHE/root/usr/libexec/podman/catatonit")"
[engine]
runtime_supports_json = ["runc", "dhow-runtime"]
CONF
    export CONTAINERS_CONF=$SCRATCH/containers.conf
    mkdir -p /etc/containers
    echo '{"default":[{"type":"insecureAcceptAnything"}]}' >/etc/containers/policy.json
    printf '[storage]\ndriver = "overlay"\ngraphroot = "%s"\nrunroot = "%s"\n' \
        "$SCRATCH/graph" "$SCRATCH/run" >/etc/containers/storage.conf
    echo containers:1000000:1000000 | tee /etc/subuid >/etc/subgid
    rootfs "$SCRATCH/box"
    tar -C "$SCRATCH/box" -c . | p import -q - box >/dev/null
}

# A short run without a network.
run() {
    p run --rm --network=none "$@"
}

status() {
    p inspect --format '{{.State.Status}}' "$1"
}

life() {
    check 'run: output and exit code' 'hello err [[]7]' run box sh -c 'echo hello; echo err >&2; exit 7'
    check 'run: program is missing' '*[[]127]' run box no-such-program
    check 'run: program is no program' '*[[]126]' run box /etc/passwd
    check 'run: stdin' 'typed' sh_in typed
    check 'run -t' '/dev/pts/0' on_terminal "${PODMAN[@]}" run --rm --network=none -it box tty
    check 'run -d' '????????????*' p run -d --name a --network=none --memory 64m --pids-limit 33 \
        --cpu-shares 512 --cpu-quota 40000 box \
        sh -c 'trap "echo got term; exit 9" TERM; echo begins; while :; do sleep 0.1; done'
    check 'ps' 'a Up*' p ps --format '{{.Names}} {{.Status}}'
    check 'logs' 'begins' until_log a begins
    check 'limits read back' '67108864 33 512 40000' p exec a sh -c \
        'for l in memory pids shares quota; do limit $l; done'
    check 'exec: exit code' 'in [[]4]' p exec a sh -c 'echo in; exit 4'
    check 'exec: user, dir, env' '1000 1000 1000,2000 /tmp hi' p exec -u user -w /tmp -e A=hi a \
        sh -c 'id -u; id -g; id -G | tr " " ,; pwd; echo $A'
    check 'exec: program is missing' '*[[]127]' p exec a no-such-program
    check 'exec -it' '/dev/pts/*' on_terminal "${PODMAN[@]}" exec -it a tty
    check 'exec -it: window, typed input' '*/dev/pts/*bye *[[]3]' typed a
    check 'exec -d' '????????????*' p exec -d a sh -c 'echo done >/tmp/done'
    check 'exec -d: it ran' 'done' until_file a /tmp/done
    check 'top' 'PID 1*' p top a pid
    check 'stats' 'a' p stats --no-stream --format '{{.Name}}' a
    check 'pause' 'a*' p pause a
    check 'paused' 'paused' status a
    check 'exec while paused' '*[[]*]' p exec a true
    check 'unpause' 'a*' p unpause a
    check 'unpaused' 'running' status a
    check 'cp in and out' 'root:x:0*' round_trip a
    check 'update' '????????????*' p update --memory 96m --cpu-shares 256 a
    check 'update: read back' '100663296 256 33' p exec a sh -c 'for l in memory shares pids; do limit $l; done'
    check 'checkpoint, restore' 'it went on' comes_back
    check 'stop' 'a' p stop -t 5 a
    check 'its exit code' '9' p inspect --format '{{.State.ExitCode}}' a
    check 'logs to the end' 'begins got term' p logs a
    check 'kill of a dead one' '*state improper*[[]125]' p kill a
    check 'start again' 'a' p start a
    check 'restart' '*' p restart -t 1 a
    check 'restarted' 'running' status a
    check 'kill' 'a' p kill a
    check 'wait' '137' p wait a
    check 'rm' '*' p rm a
    check 'rm -f of a running one' '*' rm_running
    check 'run --init' '*init*' run --init box sh -c 'cat /proc/1/comm; echo init'
    check '20 at once' '20' twenty
}

comes_back() {
    local before
    p run -d --name count --network=none box sh -c "$COUNT" >/dev/null
    until_true 10 p exec count grep -q '[0-9][0-9]' /tmp/n
    p container checkpoint count >/dev/null && [ "$(status count)" = exited ] || return
    before=$(cat "$(p mount count)/tmp/n")
    p umount count >/dev/null
    p container restore count >/dev/null && sleep 0.5 && [ "$(p exec count cat /tmp/n)" -gt "$before" ] &&
        [ "$before" -gt 9 ] && echo it went on
    p rm -f -t 0 count >/dev/null
}

sh_in() {
    echo "$1" | p run --rm -i --network=none box cat
}

typed() {
    printf 'tty\nstty size | wc -w\necho b""ye\nexit 3\n' | on_terminal "${PODMAN[@]}" exec -it "$1" sh
}

until_log() {
    until_true 10 eval "p logs $1 | grep -q $2" && p logs "$1"
}

until_file() {
    until_true 10 p exec "$1" test -e "$2" && p exec "$1" cat "$2"
}

round_trip() {
    p cp /etc/passwd a:/tmp/here && p cp a:/tmp/here "$SCRATCH/there" && head -c 8 "$SCRATCH/there"
}

rm_running() {
    p run -d --name b --network=none box sleep 1000 && p rm -f -t 0 b && p ps -aq
}

# Twenty side by side, each with an output of its own.
twenty() {
    local i
    for i in {1..20}; do
        run --name "n$i" box sh -c "echo out$i" >"$SCRATCH/n$i" 2>&1 &
    done
    wait
    for i in {1..20}; do
        grep -qx "out$i" "$SCRATCH/n$i" && echo "$i" || cat "$SCRATCH/n$i" >&2
    done | wc -l
}

isolation() {
    check '--read-only' '*Read-only*' run --read-only box touch /x
    check '--tmpfs' 'tmpfs 64.0K 700 1' run --tmpfs /t:size=64k,mode=700 box sh -c \
        'df -h /t | tail -1 | tr -s " " | cut -d" " -f1,2; stat -c %a /t; echo "$(grep -c " /t " /proc/mounts)"'
    check '--device' 'c 5 1*' run --device /dev/null:/dev/other box sh -c \
        'echo c 5 1; ls -l /dev/other | cut -c1; echo x >/dev/other'
    check '--device: no write' '*' run --device /dev/zero:/dev/z:r box sh -c 'head -c 1 /dev/z | wc -c; echo x >/dev/z'
    check '--cap-drop' '*0000000000000000' run --cap-drop all box grep CapEff /proc/self/status
    check '--cap-add' '*' run --cap-drop all --cap-add sys_time,net_raw box grep Cap /proc/self/status
    check '--cap-add: user' '=' run --cap-add sys_time --user user box grep Cap /proc/self/status
    check '--privileged' '=' run --privileged box sh -c \
        'grep -E "CapEff|Seccomp:" /proc/self/status; touch /sys/fs/cgroup/x 2>&1 | head -1'
    check 'seccomp: default' '*Seccomp: 2*' run box grep Seccomp: /proc/self/status
    check 'seccomp: none' '*Seccomp: 0*' run --security-opt seccomp=unconfined box grep Seccomp: /proc/self/status
    check 'seccomp: own' '*Operation not permitted*' run --security-opt "seccomp=$SCRATCH/seccomp.json" box mkdir /x
    check 'no-new-privileges' '*1' run --security-opt no-new-privileges box grep NoNewPrivs /proc/self/status
    check 'mask, unmask' '=' run --security-opt mask=/proc/uptime --security-opt unmask=/proc/kcore box sh -c \
        'wc -c </proc/uptime; ls -l /proc/kcore | cut -c1; grep -c /proc /proc/mounts'
    check '--ulimit' '77 *' run --ulimit nofile=77:88 --ulimit nproc=99:99 box sh -c 'ulimit -n; ulimit -Hn'
    check '--sysctl' '=' run --sysctl kernel.msgmax=9000 --sysctl net.ipv4.ip_forward=1 box sh -c \
        'cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_forward'
    check '--hostname' 'there' run --hostname there box hostname
    check '--shm-size' '1.0M' run --shm-size 1m box sh -c 'df -h /dev/shm | tail -1 | tr -s " " | cut -d" " -f2'
    check '--oom-score-adj' '300' run --oom-score-adj 300 box cat /proc/self/oom_score_adj
    check '--umask' '0077' run --umask 077 box sh -c umask
    check '--group-add' '*4444*' run --group-add 4444 box id -G
    check '--cgroupns host' '=' run --cgroupns host --cgroup-parent /seen box sh -c \
        'cut -d: -f3 /proc/self/cgroup | cut -d/ -f1-2 | sort -u'
    check '--pid host' '=' run --pid host box sh -c 'cat /proc/1/comm'
    check '--ipc, --uts host' 'world' run --ipc host --uts host box hostname
    check '--cpuset-cpus' '0' run --cpuset-cpus 0 box limit cpus
    check '--pids-limit -1' 'max' run --pids-limit -1 box limit pids
    check '--memory-reservation' '33554432' run --memory-reservation 32m box limit reservation
    check 'memory: killed' '*[[]137]' run --memory 16m box sh -c 'head -c 64m /dev/zero | tail >/dev/null; exit 137'
}

volumes() {
    local v=$SCRATCH/v
    mkdir -p "$v"
    echo outside >"$v/f"
    check '-v' 'outside' run -v "$v:/v" box cat /v/f
    check '-v ro' '*Read-only*' run -v "$v:/v:ro" box touch /v/x
    check '-v a file' 'outside' run -v "$v/f:/etc/f:ro" box cat /etc/f
    check '-v noexec,nosuid' '*nosuid,nodev,noexec*' run -v "$v:/v:noexec,nosuid,nodev" box grep ' /v ' /proc/mounts
    mount --bind "$v" "$v"
    for kind in private rprivate slave rslave shared rshared; do
        mount "--make-rshared" "$v"
        check "-v $kind" '=' run -v "$v:/v:$kind" box sh -c \
            'grep " /v " /proc/self/mountinfo | grep -oE "shared|master" | sort -u; echo looked'
    done
    check '-v rslave: a later mount' 'seen' later_mount rslave
    check '-v rprivate: a later mount' 'no' later_mount rprivate
    check '-v rshared: comes out' 'seen' comes_out
    umount -R "$v"
    check 'named volume' 'kept' named
    check '--mount type=tmpfs' 'tmpfs' run --mount type=tmpfs,destination=/m,tmpfs-size=1m box stat -f -c %T /m
    check '--mount bind-nonrecursive' '=' run --mount "type=bind,src=$v,dst=/m,bind-propagation=rslave" box cat /m/f
    check '-v over a link' '=' run -v "$v:/var/../tmp/v" box cat /tmp/v/f
}

later_mount() {
    p run -d --name l --network=none -v "$SCRATCH/v:/v:$1" box sleep 1000 >/dev/null
    mkdir -p "$SCRATCH/v/in"
    mount -t tmpfs in "$SCRATCH/v/in"
    touch "$SCRATCH/v/in/seen"
    p exec l sh -c '[ -e /v/in/seen ] && echo seen || echo no'
    umount "$SCRATCH/v/in"
    p rm -f -t 0 l >/dev/null
}

comes_out() {
    p run --rm --network=none --privileged -v "$SCRATCH/v:/v:rshared" box sh -c \
        'mkdir -p /v/out; mount -t tmpfs out /v/out; touch /v/out/seen'
    [ -e "$SCRATCH/v/out/seen" ] && echo seen
    umount "$SCRATCH/v/out"
}

named() {
    run -v data:/d box sh -c 'echo kept >/d/f' && run -v data:/d box cat /d/f
    p volume rm data >/dev/null
}

users() {
    local map=(--uidmap 0:100000:65536 --gidmap 0:200000:65536)
    check '--uidmap: seen inside' '0 0 100000 65536' run "${map[@]}" box sh -c 'id -u; cat /proc/self/uid_map'
    check '--uidmap: a volume' '=' run "${map[@]}" -v "$SCRATCH/v:/v" box stat -c '%u %g' /v/f
    check '--uidmap: sysctl, tmpfs' '=' run "${map[@]}" --tmpfs /t --sysctl net.ipv4.ip_forward=1 box sh -c \
        'stat -c "%u %g" /t /proc/self /dev/null /sys; cat /proc/sys/net/ipv4/ip_forward'
    check '--userns auto' '0 0 * 1024' run --userns auto:size=1024 box sh -c 'id -u; cat /proc/self/uid_map'
    check '-v :idmap' '0 0' run "${map[@]}" -v "$SCRATCH/v:/v:idmap" box stat -c '%u %g' /v/f
    check '--user 1000:2000' 'uid=1000(user) gid=2000(extra)*' run --user 1000:2000 box id
    check '--user unknown' '4321 *' run --user 4321 box sh -c 'id -u; id -g'
}

pods() {
    check 'pod' '*' pod_up
    check 'pod: shared net, ipc, uts' 'yes yes yes' pod_shares
    check 'pod: own mounts, pids' 'no no' pod_own
    check 'pod: reached on localhost' 'from one' pod_talk
    check 'pod stop, rm' '*' eval 'p pod stop -t 0 web && p pod rm -f web && p ps -aq'
    check '--pid container:' 'sleep' pid_of_other
}

# podman's own pause image is built from catatonit, which isn't here: a box sleeps instead.
pod_up() {
    p pod create --name web --infra-image box --infra-command 'sleep 10000' --network=none --share net,ipc,uts >/dev/null &&
        p run -d --pod web --name one box sh -c 'while :; do echo from one | nc -l -p 99; done' >/dev/null &&
        p run -d --pod web --name two box sleep 10000 >/dev/null
}

same_ns() {
    local kind
    for kind in "$@"; do
        [ "$(p exec one readlink "/proc/self/ns/$kind")" = "$(p exec two readlink "/proc/self/ns/$kind")" ] &&
            echo yes || echo no
    done
}

pod_shares() {
    same_ns net ipc uts
}

pod_own() {
    same_ns mnt pid
}

pod_talk() {
    p exec two sh -c 'for i in 1 2 3 4 5 6 7 8 9; do nc 127.0.0.1 99 </dev/null && exit; sleep 0.2; done'
}

pid_of_other() {
    p run -d --name first --network=none box sleep 1000 >/dev/null
    run --pid container:first box cat /proc/1/comm
    p rm -f -t 0 first >/dev/null
}

health() {
    check 'healthcheck' 'healthy' healthy
}

healthy() {
    p run -d --name h --network=none --health-cmd 'test -e /tmp/ok' --health-interval disable box sh -c \
        'touch /tmp/ok; sleep 1000' >/dev/null
    p healthcheck run h && p inspect --format '{{.State.Health.Status}}' h
    p rm -f -t 0 h >/dev/null
}

work() {
    set_up
    echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}' \
        >"$SCRATCH/seccomp.json"
    life
    isolation
    volumes
    users
    pods
    health
}

compare
