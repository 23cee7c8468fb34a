#!/bin/bash
# containerd drives the runtime through its shim: by ctr, then as Kubernetes does, through its CRI
# plugin, with a runtime handler for it.
. "$(dirname "$0")/lib.sh"
need containerd runc iproute2 iptables busybox-static containernetworking-plugins \
    python3-minimal python3-grpcio python3-protobuf protobuf-compiler
need_criu

c() {
    timeout -k 5 60 ctr -a /run/containerd.sock "$@"
}

set_up() {
    RUNTIME=$(runtime_path)
    mkdir -p "$SCRATCH/cni" "$SCRATCH/logs"
    # The bridge is 10.77.0.1 in the world's own network.
    cat >"$SCRATCH/cni/10-bridge.conflist" <<CONF
{"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "cni0", "isGateway": true,
 "ipam": {"type": "host-local", "subnet": "10.77.0.0/16", "dataDir": "$SCRATCH/cni-data",
          "routes": [{"dst": "0.0.0.0/0"}]}}, {"type": "loopback"}]}
CONF
    cat >"$SCRATCH/config.toml" <<CONF
version = 2
root = "$SCRATCH/containerd"
state = "/run/containerd"
[grpc]
address = "/run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "docker.io/library/pause:latest"
restrict_oom_score_adj = true
enable_unprivileged_ports = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "$(dirname "$(find "$CACHE/root/usr/lib/cni" /usr/lib/cni -name bridge 2>/dev/null | head -1)")"
conf_dir = "$SCRATCH/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "under"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.under]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.under.options]
BinaryName = "$RUNTIME"
CONF
    start_daemon
    rootfs "$SCRATCH/box"
    image_tar "$SCRATCH/box" "$SCRATCH/box.tar" docker.io/library/box:latest sh
    image_tar "$SCRATCH/box" "$SCRATCH/pause.tar" docker.io/library/pause:latest sleep 1000000
    for namespace in default k8s.io; do
        for image in box pause; do
            c -n $namespace images import "$SCRATCH/$image.tar" >/dev/null || exit 1
        done
    done
}

start_daemon() {
    containerd --config "$SCRATCH/config.toml" >>"$SCRATCH/containerd.log" 2>&1 &
    CONTAINERD=$!
    disown
    until_true 30 c version || { cat "$SCRATCH/containerd.log" >&2; exit 1; }
}

IMAGE=docker.io/library/box:latest

# run OPTION… -- ID COMMAND…: in the foreground, removed at its end.
run() {
    local options=()
    while [ "$1" != -- ]; do options+=("$1") && shift; done
    shift
    c run --rm --runc-binary "$RUNTIME" "${options[@]}" $IMAGE "$@"
}

status() {
    c tasks ls | awk -v id="$1" '$1 == id { print $3 }'
}

by_ctr() {
    check 'run: output and exit code' 'hello [[]7]' run -- t sh -c 'echo hello; exit 7'
    check 'run: program is missing' '*no-such-program*[[]1]' run -- t no-such-program
    check 'run: program is no program' '*permission denied*[[]1]' run -- t /etc/passwd
    # ctr forgets an end of file that comes before the task does.
    check 'run: stdin' 'typed' eval '(sleep 1; echo typed) | run -- t cat'
    check 'run -t' '*/dev/pts/0' on_terminal ctr -a /run/containerd.sock run --rm -t --runc-binary "$RUNTIME" $IMAGE t tty
    check 'run -d' '' c run -d --runc-binary "$RUNTIME" --memory-limit 67108864 --cpu-quota 40000 --cpu-period 100000 \
        --cgroup /unusual:prefix:name --log-uri "file://$SCRATCH/a.log" $IMAGE a \
        sh -c 'trap "echo got term; exit 9" TERM; echo begins; while :; do sleep 0.1; done'
    check 'its bundle, checked and planned by dhow-runtime' 'planned' fits default a
    check 'tasks ls' 'RUNNING' status a
    check 'log' 'begins' eval 'until_true 10 grep begins $SCRATCH/a.log; cat $SCRATCH/a.log'
    check 'limits read back' '67108864 40000' eval \
        'for l in memory quota; do "$SCRATCH/box/bin/limit" $l /unusual:prefix:name; done'
    check 'slice:prefix:name is taken literally' '*/unusual:prefix:name' eval \
        'find /sys/fs/cgroup -name "unusual:prefix:name" -path "*/memory/*"'
    check 'exec: exit code' 'in [[]4]' task_exec a sh -c 'echo in; exit 4'
    check 'exec: user, dir' '1000 1000 /tmp' task_exec --user 1000:1000 --cwd /tmp a sh -c 'id -u; id -g; pwd'
    check 'exec: program is missing' '*no-such-program*[[]1]' task_exec a no-such-program
    check 'exec -t' '*/dev/pts/*' on_terminal ctr -a /run/containerd.sock tasks exec -t --exec-id "e$RANDOM" a tty
    check 'ps' 'PID INFO * -' c tasks ps a
    check 'metrics' '*a *' eval 'c tasks metrics a | grep "^a "'
    check 'metrics: memory' '*67108864*' eval 'c tasks metrics a | grep 67108864'
    check 'pause' '' c tasks pause a
    check 'paused' 'PAUSED' status a
    check 'resume' '' c tasks resume a
    check 'resumed' 'RUNNING' status a
    check 'checkpoint, restore' '*it went on*' comes_back
    check 'containerd killed, task lives' 'RUNNING still' daemon_killed
    check 'kill' '' c tasks kill -s TERM a
    check 'stopped' 'STOPPED' eval 'until_true 10 eval "[ \$(status a) = STOPPED ]"; status a'
    check 'kill of a dead one' '*not found*[[]1]' c tasks kill a
    check 'exec in a dead one' '*stopped*[[]1]' task_exec a true
    check 'its exit code' '*exit code 9*' c tasks rm a
    check 'log to the end' 'begins got term' cat "$SCRATCH/a.log"
    check 'cgroups removed' '0' eval 'find /sys/fs/cgroup -name "unusual:prefix:name" | wc -l'
    check 'start again' 'RUNNING' start_again
    check 'kill all' '' c tasks kill --all -s KILL a
    check 'remove' '*exit code 137*' eval 'until_true 10 eval "[ \$(status a) = STOPPED ]"; c tasks rm a; c containers rm a'
    check 'shim killed' 'gone' shim_killed
    check '20 at once' '20' twenty
}

# Whatever runtime runs it: no problem but that it runs, and a plan.
fits() {
    local bundle=/run/containerd/io.containerd.runtime.v2.task/$1/$2
    "$DHOW" check -b "$bundle" | grep -v -e '^warning: ' -e 'its cgroup is in use'
    "$DHOW" plan -b "$bundle" | grep -qx mounts && echo planned
}

comes_back() {
    local code before
    c run -d --runc-binary "$RUNTIME" $IMAGE count sh -c "$COUNT"
    until_true 10 task_exec count grep -q '[0-9][0-9]' /tmp/n
    c containers checkpoint --rw --task count frozen && before=$(task_exec count cat /tmp/n) &&
        gone count && c containers restore --live back frozen && sleep 0.5 &&
        [ "$(task_exec back cat /tmp/n)" -gt 9 ] && echo it went on from before "$before"
    code=$?
    gone count
    gone back
    return $code
}

gone() {
    c tasks kill -s KILL "$1" && until_true 10 eval "[ \$(status $1) = STOPPED ]"
    c tasks rm "$1"
    c containers rm "$1"
} >/dev/null 2>&1

task_exec() {
    local options=()
    while [ "${1#--}" != "$1" ]; do options+=("$1" "$2") && shift 2; done
    c tasks exec --exec-id "e$RANDOM$RANDOM" "${options[@]}" "$@"
}

daemon_killed() {
    kill -KILL "$CONTAINERD"
    until_true 10 eval '! kill -0 "$CONTAINERD"'
    start_daemon
    status a
    task_exec a echo still
}

start_again() {
    c tasks start -d a >/dev/null && status a
}

# What the shim held is removed by containerd: `delete --force`, of what may be half gone.
shim_killed() {
    c run -d --runc-binary "$RUNTIME" $IMAGE orphan sleep 1000
    local init shim
    init=$(c tasks ls | awk '$1 == "orphan" { print $2 }')
    shim=$(awk '/^PPid/ { print $2 }' "/proc/$init/status")
    kill -KILL "$shim"
    until_true 20 eval '[ ! -d /proc/'"$init"' ]' && until_true 20 eval '[ -z "$(status orphan)" ]' && echo gone
    c containers rm orphan
}

twenty() {
    local i jobs=()
    for i in {1..20}; do
        run -- "n$i" sh -c "echo out$i" >"$SCRATCH/n$i" 2>&1 &
        jobs[i]=$!
    done
    wait "${jobs[@]}"
    for i in {1..20}; do
        grep -qx "out$i" "$SCRATCH/n$i" && echo "$i" || cat "$SCRATCH/n$i" >&2
    done | wc -l
}

options() {
    local propagation='sed -nE "s/.* \/ \/ .*(shared|master).*/\1/p" /proc/self/mountinfo; echo looked'
    mkdir -p "$SCRATCH/v"
    echo outside >"$SCRATCH/v/f"
    check '--read-only' '*Read-only*' run --read-only -- t touch /x
    check '--mount' 'outside' run --mount "type=bind,src=$SCRATCH/v,dst=/v,options=rbind:ro" -- t cat /v/f
    check '--mount tmpfs' '=' run --mount type=tmpfs,src=tmpfs,dst=/m,options=size=64k:mode=700:nosuid -- t sh -c \
        'grep " /m " /proc/mounts; stat -c %a /m'
    check '--device' '1, 11' run --device /dev/kmsg -- t sh -c 'ls -l /dev/kmsg | tr -s " " | cut -d" " -f5,6'
    check '--cap-drop, --cap-add' '=' run --cap-drop CAP_CHOWN --cap-add CAP_SYS_ADMIN -- t grep Cap /proc/self/status
    check '--seccomp' '*2' run --seccomp -- t grep Seccomp: /proc/self/status
    check 'no new privileges' '*1' run -- t grep NoNewPrivs /proc/self/status
    check '--allow-new-privs' '*0' run --allow-new-privs -- t grep NoNewPrivs /proc/self/status
    check '--privileged' 'CapEff: *' run --privileged -- t grep CapEff /proc/self/status
    check '--net-host' 'lo' run --net-host -- t ls /sys/class/net
    check '--uidmap' '=' run --uidmap 0:100000:65536 --gidmap 0:100000:65536 -- t sh -c 'id -u; cat /proc/self/uid_map'
    check '--with-ns' 'joined' with_ns
    check '--no-pivot' 'there' run --no-pivot -- t echo there
    for kind in private slave; do
        check "--rootfs-propagation $kind" looked run --rootfs-propagation $kind -- t sh -c "$propagation"
    done
    # Debian's runc forgets it after pivot_root.
    check '--rootfs-propagation shared' 'shared looked' run --rootfs-propagation shared -- t sh -c "$propagation"
    check '--rootfs' 'own root' own_root
    check '--env, --cwd, --label' 'A=hi /tmp' run --env A=hi --cwd /tmp --label a=b -- t sh -c 'env | grep A=; pwd'
    check '--cpus' '50000' run --cpus 0.5 --mount type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro -- t limit quota
    check '--cgroup ""' '=code' run --cgroup "" -- t true
    check '--pid-file' 'same' pid_file
}

with_ns() {
    unshare --net sleep 100 &
    local pid=$!
    until_true 5 eval '[ "$(readlink /proc/'$pid'/ns/net)" != "$(readlink /proc/self/ns/net)" ]'
    run --with-ns "network:/proc/$pid/ns/net" -- t readlink /proc/self/ns/net |
        grep -qxF "$(readlink /proc/$pid/ns/net)" && echo joined
    kill $pid
}

own_root() {
    c run --rm --runc-binary "$RUNTIME" --rootfs "$SCRATCH/box" t /bin/echo own root
}

pid_file() {
    c run -d --runc-binary "$RUNTIME" --pid-file "$SCRATCH/pid" $IMAGE pf sleep 1000
    [ "$(cat "$SCRATCH/pid")" = "$(c tasks ls | awk '$1 == "pf" { print $2 }')" ] && echo same
    c tasks kill -s KILL pf
    until_true 10 eval '[ $(status pf) = STOPPED ]'
    c tasks rm pf >/dev/null 2>&1
    c containers rm pf
}

# The CRI's protocol comes with containerd's source package: nothing else of Debian's carries it.
protocol() {
    [ ! -e "$CACHE/cri/api_pb2.py" ] || return 0
    local at=$CACHE/source
    mkdir -p "$at/lists/partial" "$CACHE/cri"
    sed -nE 's/^URIs: *//p; s/^deb +(\[[^]]*\] +)?([^ ]+) .*/\2/p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
        head -1 | sed "s/.*/deb-src & $(. /etc/os-release && echo "$VERSION_CODENAME") main/" >"$at/sources.list"
    local apt=(apt-get -q -o "Dir::Etc::sourcelist=$at/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::lists=$at/lists" -o Debug::NoLocking=1 -o APT::Sandbox::User=root)
    (cd "$at" && "${apt[@]}" update && "${apt[@]}" source --download-only containerd) >"$at/log" 2>&1 ||
        die "no source of containerd: see $at/log"
    tar -xOf "$at"/containerd_*.orig.tar.* --wildcards '*/vendor/k8s.io/cri-api/pkg/apis/runtime/v1/api.proto' |
        grep -v gogoproto >"$CACHE/cri/api.proto"
    LD_LIBRARY_PATH=$CACHE/root/usr/lib/$ARCH protoc -I "$CACHE/cri" --python_out="$CACHE/cri" "$CACHE/cri/api.proto"
}

by_cri() {
    while IFS=$'\t' read -r name want got; do
        check "CRI $name" "$want" printf '%s\n' "$got"
    done < <(LD_LIBRARY_PATH=$CACHE/root/usr/lib/$ARCH \
        PYTHONPATH=$CACHE/cri:$CACHE/root/usr/lib/python3/dist-packages \
        timeout 300 python3 "$HERE/cri.py" unix:///run/containerd.sock under "$SCRATCH")
}

work() {
    set_up
    by_ctr
    options
    by_cri
}

[ -n "${WORLD:-}" ] || protocol
compare
