#!/bin/bash
# dockerd (with containerd and its shim) drives the runtime, as its default one.
. "$(dirname "$0")/lib.sh"
need docker.io containerd runc tini iptables iproute2 busybox-static
need_criu

d() {
    timeout 90 docker "$@"
}

set_up() {
    export DOCKER_HOST=unix:///run/docker.sock DOCKER_CONFIG=$SCRATCH/client DOCKER_BUILDKIT=0
    mkdir -p "$DOCKER_CONFIG"
    # As docs/clusters.md has it.
    printf '{"runtimes": {"under": {"path": "%s"}}, "default-runtime": "under"}\n' "$(runtime_path)" >"$SCRATCH/daemon.json"
    start_daemon
    rootfs "$SCRATCH/box"
    tar -C "$SCRATCH/box" -c . | d import - box >/dev/null
}

start_daemon() {
    dockerd --data-root "$SCRATCH/docker" --exec-root /run/docker --pidfile /run/docker.pid -H "$DOCKER_HOST" \
        --config-file "$SCRATCH/daemon.json" --init-path "$(command -v docker-init)" --experimental --live-restore >>"$SCRATCH/dockerd.log" 2>&1 &
    DOCKERD=$!
    disown
    until_true 60 d version || { cat "$SCRATCH/dockerd.log" >&2; exit 1; }
}

run() {
    d run --rm --network=none "$@"
}

status() {
    d inspect --format '{{.State.Status}}' "$1"
}

life() {
    check 'info: default runtime' 'under' d info --format '{{.DefaultRuntime}}'
    check 'run: output and exit code' 'hello [[]7]' run box sh -c 'echo hello; exit 7'
    check 'run: standard error' 'err' eval 'run box sh -c "echo hello; echo err >&2" 2>&1 >/dev/null'
    check 'run: program is missing' '*no-such-program*[[]127]' run box no-such-program
    check 'run: program is no program' '*permission denied*[[]126]' run box /etc/passwd
    check 'run: stdin' 'typed' sh_in typed
    check 'run -t' '/dev/pts/0' on_terminal docker run --rm --network=none -it box tty
    check 'run -d' '????????????*' d run -d --name aa --network=none --memory 64m --pids-limit 33 \
        --cpu-shares 512 --cpu-quota 40000 box \
        sh -c 'trap "echo got term; exit 9" TERM; echo begins; while :; do sleep 0.1; done'
    check 'ps' 'aa Up*' d ps --format '{{.Names}} {{.Status}}'
    check 'logs' 'begins' until_log aa begins
    check 'limits read back' '67108864 33 512 40000' d exec aa sh -c \
        'for l in memory pids shares quota; do limit $l; done'
    check 'exec: exit code' 'in [[]4]' d exec aa sh -c 'echo in; exit 4'
    check 'exec: user, dir, env' '1000 1000 1000,2000 /tmp hi' d exec -u user -w /tmp -e A=hi aa \
        sh -c 'id -u; id -g; id -G | tr " " ,; pwd; echo $A'
    check 'exec: program is missing' '*no-such-program*[[]12[67]]' d exec aa no-such-program
    check 'exec: stdin' 'typed' eval 'echo typed | d exec -i aa cat'
    check 'exec -it' '/dev/pts/*' on_terminal docker exec -it aa tty
    check 'exec -it: typed input' '*/dev/pts/*bye*[[]3]' typed aa
    check 'exec -d' '' d exec -d aa sh -c 'echo done >/tmp/done'
    check 'exec -d: it ran' 'done' until_file aa /tmp/done
    check 'exec --privileged' 'CapEff: *' d exec --privileged aa grep CapEff /proc/self/status
    check 'top' '*sleep 0.1*' d top aa -o pid,args
    check 'stats' 'aa *64MiB 2' d stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}}' aa
    check 'pause' 'aa' d pause aa
    check 'paused' 'paused' status aa
    check 'exec while paused' '*paused*[[]1]' d exec aa true
    check 'unpause' 'aa' d unpause aa
    check 'unpaused' 'running' status aa
    check 'cp in and out' 'root:x:0' round_trip aa
    check 'update' 'aa' d update --memory 96m --memory-swap -1 --cpu-shares 256 --pids-limit 44 --cpuset-cpus 0 aa
    check 'update: read back' '100663296 256 44 0' d exec aa sh -c \
        'for l in memory shares pids cpus; do limit $l; done'
    check 'update: pids without limit' 'aa max' eval 'd update --pids-limit -1 aa; d exec aa limit pids'
    check 'checkpoint, restore' '*it went on*' comes_back
    check 'diff' '*A /tmp/done*' d diff aa
    check 'stop' 'aa' d stop -t 5 aa
    check 'its exit code' '9' d inspect --format '{{.State.ExitCode}}' aa
    check 'logs to the end' 'begins got term' d logs aa
    check 'kill of aa dead one' '*is not running*[[]1]' d kill aa
    check 'start again' 'aa' d start aa
    check 'restart' 'aa' d restart -t 1 aa
    check 'restarted' 'running' status aa
    check 'kill -s USR1' 'aa' d kill -s USR1 aa
    check 'kill' 'aa' d kill aa
    check 'wait' '13[78]' d wait aa
    check 'start -a' '*begins got term' eval 'd start aa; d stop aa >/dev/null; d logs --tail 2 aa'
    check 'rm' 'aa' d rm aa
    check 'rm -f of aa running one' '*bb' rm_running
    check 'attach' 'attached*' attached
    check 'run --init' 'docker-init*' run --init box cat /proc/1/comm
    check '--restart on-failure:2' '2' restarts
    check 'health' 'starting healthy unhealthy' healthy
    check 'OOM killed' '*true 137' oom
    check 'commit, build' 'built' builds
    check '20 at once' '20' twenty
    check 'dockerd killed, container lives' 'running still' daemon_killed
}

comes_back() {
    d run -d --name count --network=none --security-opt seccomp=unconfined box sh -c "$COUNT" >/dev/null
    until_true 10 d exec count grep -q '[0-9][0-9]' /tmp/n
    d checkpoint create count one && until_true 10 eval '[ "$(status count)" = exited ]' &&
        d cp count:/tmp/n "$SCRATCH/n" && d start --checkpoint one count && sleep 0.5 &&
        [ "$(d exec count cat /tmp/n)" -gt "$(cat "$SCRATCH/n")" ] && echo it went on
    local code=$?
    d rm -f count >/dev/null
    return $code
}

sh_in() {
    echo "$1" | d run --rm -i --network=none box cat
}

typed() {
    printf 'tty\necho b""ye\nexit 3\n' | on_terminal docker exec -it "$1" sh
}

until_log() {
    until_true 10 eval "d logs $1 | grep -q $2" && d logs "$1"
}

until_file() {
    until_true 10 d exec "$1" test -e "$2" && d exec "$1" cat "$2"
}

round_trip() {
    d cp /etc/passwd aa:/tmp/here && d cp aa:/tmp/here "$SCRATCH/there" && head -c 8 "$SCRATCH/there"
}

rm_running() {
    d run -d --name bb --network=none box sleep 1000 && d rm -f bb && d ps -aq
}

attached() {
    d run -d -i --name at --network=none box sh -c 'read x; echo attached $x; sleep 0.3' >/dev/null
    # The other end stays open until the output has come.
    (echo now; sleep 1) | d attach at
    d rm -f at >/dev/null
}

restarts() {
    d run -d --name rr --network=none --restart on-failure:2 box sh -c 'exit 3' >/dev/null
    until_true 20 eval '[ "$(d inspect --format "{{.State.Status}} {{.RestartCount}}" rr)" = "exited 2" ]' &&
        d inspect --format '{{.RestartCount}}' rr
    d rm -f rr >/dev/null
}

health_is() {
    [ "$(d inspect --format '{{.State.Health.Status}}' hh)" = "$1" ]
}

healthy() {
    d run -d --name hh --network=none --health-cmd 'test -e /tmp/ok' --health-interval 0.5s --health-retries 2 \
        --health-start-period 0s box sleep 1000 >/dev/null
    d inspect --format '{{.State.Health.Status}}' hh
    d exec hh touch /tmp/ok
    until_true 20 health_is healthy && echo healthy
    d exec hh rm /tmp/ok
    until_true 20 health_is unhealthy && echo unhealthy
    d rm -f hh >/dev/null
}

oom() {
    d run --name oo --network=none --memory 16m --memory-swap 16m box sh -c \
        'tail /dev/zero & wait $!; exit $?'
    d inspect --format '{{.State.OOMKilled}} {{.State.ExitCode}}' oo
    d rm oo >/dev/null
}

builds() {
    mkdir -p "$SCRATCH/context"
    printf 'FROM box\nRUN echo built >/made\nUSER user\nCMD cat /made\n' >"$SCRATCH/context/Dockerfile"
    d build -q --network none -t made "$SCRATCH/context" >/dev/null && run made
}

twenty() {
    local i
    for i in {1..20}; do
        run --name "n$i" box sh -c "echo out$i" >"$SCRATCH/n$i" 2>&1 &
        jobs[i]=$!
    done
    wait "${jobs[@]}"
    for i in {1..20}; do
        grep -qx "out$i" "$SCRATCH/n$i" && echo "$i" || cat "$SCRATCH/n$i" >&2
    done | wc -l
}

# The daemon dies; its successor finds the container and can still use it.
daemon_killed() {
    d run -d --name live --network=none box sleep 1000 >/dev/null
    kill -KILL "$DOCKERD"
    until_true 10 eval '! kill -0 "$DOCKERD"'
    rm -f /run/docker.pid
    start_daemon
    status live && d exec live echo still
    d rm -f live >/dev/null
}

isolation() {
    local v=$SCRATCH/v
    mkdir -p "$v"
    echo outside >"$v/f"
    check '--read-only' '*Read-only*' run --read-only box touch /x
    check '--tmpfs' 'tmpfs 64.0K 700' run --tmpfs /t:size=64k,mode=700 box sh -c \
        'df -h /t | tail -1 | tr -s " " | cut -d" " -f1,2; stat -c %a /t'
    check '--device' 'c' run --device /dev/null:/dev/other box sh -c 'ls -l /dev/other | cut -c1; echo x >/dev/other'
    check '--device: no write' '*not permitted*' run --device /dev/kmsg:/dev/z:r box sh -c 'echo x >/dev/z'
    check 'mknod of a device, open' '=' run box sh -c 'mknod /x b 254 0; head -c1 /x'
    check '--cap-drop' '*0000000000000000' run --cap-drop all box grep CapEff /proc/self/status
    check '--cap-add' '=' run --cap-drop all --cap-add sys_time box grep Cap /proc/self/status
    check 'user: capabilities' '=' run --user user box grep Cap /proc/self/status
    check '--privileged' 'CapEff: *Seccomp: 0*' run --privileged box sh -c \
        'grep -E "CapEff|Seccomp:" /proc/self/status; ls /dev | wc -l; grep -c . /proc/mounts'
    check 'seccomp: default' '*2*' run box grep Seccomp: /proc/self/status
    check 'seccomp: none' '*0*' run --security-opt seccomp=unconfined box grep Seccomp: /proc/self/status
    echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}' \
        >"$SCRATCH/seccomp.json"
    check 'seccomp: own' '*Operation not permitted*' run --security-opt "seccomp=$SCRATCH/seccomp.json" box mkdir /x
    check 'no-new-privileges' '*1' run --security-opt no-new-privileges box grep NoNewPrivs /proc/self/status
    check '--ulimit' '77 88' run --ulimit nofile=77:88 box sh -c 'ulimit -n; ulimit -Hn'
    check '--sysctl' '9000' run --sysctl kernel.msgmax=9000 box cat /proc/sys/kernel/msgmax
    check '--shm-size' '1.0M' run --shm-size 1m box sh -c 'df -h /dev/shm | tail -1 | tr -s " " | cut -d" " -f2'
    check '--oom-score-adj' '300' run --oom-score-adj 300 box cat /proc/self/oom_score_adj
    # 126: docker reads "permission denied" in the error, which runc words otherwise.
    check '--oom-score-adj below' '*[[]12[56]]' run --oom-score-adj -300 box cat /proc/self/oom_score_adj
    check '--group-add' '*4444*' run --group-add 4444 box id -G
    check '--hostname' 'there' run --hostname there box hostname
    check '--domainname' 'there in.side' run --hostname there --domainname in.side box sh -c \
        'hostname; cat /proc/sys/kernel/domainname'
    check '--cgroup-parent' '=' run --cgroupns host --cgroup-parent /seen box sh -c \
        'cut -d: -f3 /proc/self/cgroup | cut -d/ -f1-2 | sort -u'
    check 'cgroups removed' '0' eval 'find /sys/fs/cgroup -path "*/seen/*" -type d | wc -l'
    check '--pid host' 'enter.sh' run --pid host box cat /proc/1/comm
    check '--uts host' 'world' run --uts host box hostname
    check '--cpus' '50000' run --cpus 0.5 box limit quota
    check '--cpuset-cpus' '0' run --cpuset-cpus 0 box limit cpus
    check '--cpu-rt-runtime' '=code' run --cpu-rt-runtime 1000 box echo there
    check '--kernel-memory' '=' run --kernel-memory 32m box echo there
    check '--memory-reservation' '33554432' run --memory-reservation 32m box limit reservation
    check '--memory-swappiness' '=' run --memory-swappiness 0 box cat /sys/fs/cgroup/memory/memory.swappiness
    check '--blkio-weight' '=' run --blkio-weight 300 box echo there
    check '--device-read-bps' '=' run --device-read-bps /dev/vda:1mb box echo there
    check '-v' 'outside' run -v "$v:/v" box cat /v/f
    check '-v ro' '*Read-only*' run -v "$v:/v:ro" box touch /v/x
    check 'volume' 'kept' eval 'run -v data:/d box sh -c "echo kept >/d/f" && run -v data:/d box cat /d/f'
    check '--volumes-from' 'kept' eval \
        'd create --name vf -v data:/d box true >/dev/null; run --volumes-from vf box cat /d/f; d rm vf >/dev/null'
    mount --bind "$v" "$v"
    mount --make-rshared "$v"
    for kind in rprivate slave rslave shared rshared; do
        check "-v $kind" '=' run -v "$v:/v:$kind" box sh -c \
            'grep " /v " /proc/self/mountinfo | grep -oE "shared|master" | sort -u; echo looked'
    done
    check '-v rshared: comes out' 'seen' comes_out
}

comes_out() {
    # Not --privileged: no caller here has every capability.
    run --cap-add sys_admin --security-opt seccomp=unconfined -v "$SCRATCH/v:/v:rshared" box sh -c \
        'mkdir -p /v/out; mount -t tmpfs out /v/out; touch /v/out/seen'
    [ -e "$SCRATCH/v/out/seen" ] && echo seen
    umount "$SCRATCH/v/out"
}

networks() {
    check 'bridge: address' '172.*' d run --rm box sh -c \
        'ip -4 addr show eth0 | sed -n "s/.*inet \([0-9.]*\).*/\1/p"'
    check 'bridge: one reaches the other by name' 'hello' by_name
    check '-p' 'published' published
    check '--network container:' 'yes' shared_net
    check '--network host' 'docker0' d run --rm --network host box sh -c 'ls /sys/class/net | grep docker0'
}

by_name() {
    d network create n >/dev/null
    d run -d --name srv --network n box sh -c 'while :; do echo hello | nc -l -p 99; done' >/dev/null
    d run --rm --network n box sh -c 'for i in 1 2 3 4 5 6 7 8 9; do nc srv 99 </dev/null && exit; sleep 0.2; done'
    d rm -f srv >/dev/null
    d network rm n >/dev/null
}

published() {
    d run -d --name web -p 8080:80 box sh -c 'mkdir /w; echo published >/w/index.html; httpd -f -p 80 -h /w' >/dev/null
    until_true 10 busybox wget -qO- http://127.0.0.1:8080/ && busybox wget -qO- http://127.0.0.1:8080/
    d rm -f web >/dev/null
}

shared_net() {
    d run -d --name one box sleep 1000 >/dev/null
    [ "$(d exec one readlink /proc/self/ns/net)" = "$(d run --rm --network container:one box readlink /proc/self/ns/net)" ] &&
        echo yes
    d rm -f one >/dev/null
}

work() {
    set_up
    life
    isolation
    networks
    check 'nothing of it left' '0' eval 'd ps -aq | wc -l'
}

compare
