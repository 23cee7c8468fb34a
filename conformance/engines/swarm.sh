#!/bin/bash
# A three-node Docker Swarm over the runtime: three dockerds, each in namespaces of its own, with
# veths into one bridge. Services answer by name over an overlay network; `dnsrr`, as virtual
# addresses need IPVS in the kernel.
. "$(dirname "$0")/lib.sh"
need docker.io containerd runc tini iptables iproute2 busybox-static

# on NODE ARGUMENT…: the docker client of a node, 1 to 3. 1 is the manager.
on() {
    timeout -k 5 120 docker -H "unix://$SCRATCH/$1.sock" "${@:2}"
}

m() {
    on 1 "$@"
}

start_node() {
    local n=$1 at=$SCRATCH/node$1
    mkdir -p "$at"
    # shellcheck disable=SC2016 # the node's own shell expands it
    NODE=node$n SCRATCH=$at apart "node$n" bash -c '
        until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
        exec dockerd --data-root "$SCRATCH/docker" --exec-root /run/docker --pidfile /run/docker.pid \
            -H "unix://$1" --add-runtime "under=$2" --default-runtime under >"$3" 2>&1
    ' node "$SCRATCH/$n.sock" "$(runtime_path)" "$SCRATCH/$n.log" &
    NODES[n]=$!
    disown
    until_true 10 first_of "${NODES[n]}"
    local pid
    pid=$(first_of "${NODES[n]}")
    ip link add "v$n" type veth peer name eth0 netns "$pid"
    ip link set "v$n" master cable up
    nsenter -t "$pid" -n ip addr add "10.50.0.$n/24" dev eth0
    nsenter -t "$pid" -n ip link set eth0 up
}

# first_of PID: the first process of a node, a child of unshare, once it is in a network of its own.
first_of() {
    local pid net
    for pid in $(cat "/proc/$1/task/$1/children"); do
        net=$(readlink "/proc/$pid/ns/net") || continue
        [ "$net" != "$(readlink /proc/self/ns/net)" ] && echo "$pid" && return
    done
    return 1
}

set_up() {
    local n
    ip link add cable type bridge
    ip addr add 10.50.0.254/24 dev cable
    ip link set cable up
    rootfs "$SCRATCH/box"
    tar -C "$SCRATCH/box" -cf "$SCRATCH/box.tar" .
    for n in 1 2 3; do start_node $n; done
    for n in 1 2 3; do
        until_true 60 on $n version || { tail "$SCRATCH/$n.log" >&2; exit 1; }
        on $n import -c 'ENV VERSION=one' "$SCRATCH/box.tar" box:one >/dev/null
        on $n import -c 'ENV VERSION=two' "$SCRATCH/box.tar" box:two >/dev/null
    done
}

# What each replica does: its name, version and secret, over HTTP.
SERVE='mkdir -p /tmp/w && echo "$(hostname) $VERSION $(cat /run/secrets/word)" >/tmp/w/index.html &&
    exec httpd -f -p 80 -h /tmp/w'

form() {
    check 'swarm init' '*is now a manager*' m swarm init --advertise-addr 10.50.0.1 --task-history-limit 1
    m swarm update --dispatcher-heartbeat 2s >/dev/null
    local token
    token=$(m swarm join-token -q worker)
    for n in 2 3; do
        check "swarm join of node$n" '*joined a swarm as a worker*' on $n swarm join --token "$token" 10.50.0.1:2377
    done
    check 'nodes are ready' '3' eval 'until_true 20 nodes_are 3; m node ls --format "{{.Status}}" | grep -c Ready'
    check 'runtime of each' 'under under under' eval 'for n in 1 2 3; do on $n info --format "{{.DefaultRuntime}}"; done'
    check 'overlay network' '?????*' m network create -d overlay --attachable --subnet 10.60.0.0/24 over
    check 'secret: made' '?????*' eval 'printf hush | m secret create word -'
    check 'config: made' '?????*' eval 'printf plain | m config create plain -'
}

nodes_are() {
    [ "$(m node ls --format '{{.Status}}' | grep -c Ready)" = "$1" ]
}

serve() {
    check 'service of 6' '*' m service create -q --name web --replicas 6 --endpoint-mode dnsrr --network over \
        --no-resolve-image --secret word --config source=plain,target=/etc/plain,mode=0440 --limit-memory 64M \
        --limit-cpu 0.5 --limit-pids 50 --reserve-memory 16M --stop-grace-period 1s --init \
        --health-cmd 'wget -qO- http://127.0.0.1/ >/dev/null' --health-interval 1s --health-retries 3 \
        --update-parallelism 3 --update-monitor 1s --update-failure-action rollback --rollback-parallelism 6 \
        --restart-delay 0s box:one sh -c "$SERVE"
    check '6 run' '6' eval 'until_true 60 running_is 6; running'
    check 'they are spread' '2 2 2' eval 'for n in 1 2 3; do on $n ps -q --filter health=healthy | wc -l; done'
    for n in 1 2 3; do
        check "all 6 answer to node$n" '6 one hush' answers $n
    done
    check 'limits read back' '67108864 50000 50' eval 'for l in memory quota pids; do inside limit $l; done'
    check 'secret: where, whose, mode' '=' inside sh -c 'grep -c " /run/secrets/word tmpfs ro" /proc/mounts; stat -c "%a %u" /run/secrets/word'
    check 'config' 'plain 440' inside sh -c 'cat /etc/plain; stat -c " %a" /etc/plain'
    check 'health' 'healthy' eval 'on 2 inspect --format "{{.State.Health.Status}}" $(a_task)'
    check 'logs' '*' eval 'm service logs --raw web >/dev/null && echo read'
}

running() {
    m service ps web --filter desired-state=running --format '{{.CurrentState}}' | grep -c '^Running'
}

running_is() {
    [ "$(running)" = "$1" ]
}

a_task() {
    on 2 ps -q --filter label=com.docker.swarm.service.name=web --filter status=running | head -1
}

inside() {
    on 2 exec "$(a_task)" "$@"
}

# answers NODE: how many replicas a container on that node reaches by name, and what they say.
answers() {
    on "$1" run --rm --network over box:one sh -c '
        for at in $(nslookup -type=a tasks.web 127.0.0.11 2>/dev/null | sed -n "s/^Address: *\(10\.60[0-9.]*\)$/\1/p" | sort -u); do
            timeout 3 wget -qO- "http://$at/"
        done' >"$SCRATCH/answers" 2>&1
    echo "$(cut -d' ' -f1 "$SCRATCH/answers" | sort -u | grep -c .) $(cut -d' ' -f2- "$SCRATCH/answers" | sort -u)"
}

answers_are() {
    [ "$(answers "$1")" = "$2" ]
}

# all_answer NODE WANT: waits for it; says what the swarm thinks if it doesn't come.
all_answer() {
    until_true 60 answers_are "$1" "$2" || {
        m service ps web --no-trunc --format '{{.Node}} {{.DesiredState}} {{.CurrentState}} {{.Error}}' >&2
        for n in 1 2 3; do on $n ps -a --format '{{.Names}} {{.Status}}' >&2; done
    }
    answers "$1"
}

change() {
    check 'scale to 9' '9' eval 'm service scale -d web=9 >/dev/null; until_true 60 running_is 9; running'
    check '9 answer' '9 one hush' all_answer 1 '9 one hush'
    check 'scale to 6' '6' eval 'm service scale -d web=6 >/dev/null; until_true 60 running_is 6; all_answer 3 "6 one hush" | cut -d" " -f1'
    check 'rolling update' 'completed' eval 'm service update -q --detach=false --no-resolve-image --image box:two web >/dev/null; update_state'
    check 'it answers with the new' '6 two hush' all_answer 2 '6 two hush'
    check 'rollback' 'rollback_completed' eval 'm service rollback -q --detach=false web >/dev/null; until_true 20 eval "[ \$(update_state) = rollback_completed ]"; update_state'
    check 'it answers with the old' '6 one hush' all_answer 2 '6 one hush'
    check 'bad update rolls back itself' 'rollback_completed' eval \
        'm service update -q --detach=false --args "sh -c false" web >/dev/null 2>&1; until_true 60 eval "[ \$(update_state) = rollback_completed ]"; update_state'
    check 'it still answers' '6 one hush' all_answer 1 '6 one hush'
    check 'limits changed' '100663296' eval \
        'm service update -q --detach=false --limit-memory 96M web >/dev/null; inside limit memory'
}

update_state() {
    m service inspect --format '{{.UpdateStatus.State}}' web
}

nodes() {
    check 'a replica killed comes back' '6' eval \
        'on 2 kill $(a_task) >/dev/null; sleep 1; until_true 60 running_is 6; all_answer 1 "6 one hush" >/dev/null; running'
    check 'drain of node2' '6 0' drained
    check 'all 6 answer elsewhere' '6 one hush' all_answer 1 '6 one hush'
    check 'node2 takes tasks again' 'on node2' eval \
        'm node update --availability active node2 >/dev/null; m service update -q --detach=false --force web >/dev/null; until_true 30 eval "[ -n \"\$(a_task)\" ]" && echo on node2'
    check 'global service, host port' 'here here here' host_port
    check 'node3 killed' 'Down' killed
    check 'its tasks run elsewhere' '6' eval 'until_true 90 running_is 6; running'
    check 'all 6 answer without it' '6 one hush' all_answer 2 '6 one hush'
}

drained() {
    m node update --availability drain node2 >/dev/null
    until_true 60 eval '[ -z "$(on 2 ps -q)" ] && running_is 6'
    echo "$(running) $(on 2 ps -q | wc -l)"
}

host_port() {
    m service create -q -d --name hp --mode global --endpoint-mode dnsrr --no-resolve-image --stop-grace-period 1s \
        --publish mode=host,published=8080,target=80 box:one sh -c \
        'mkdir /tmp/w; echo here >/tmp/w/index.html; exec httpd -f -p 80 -h /tmp/w' >/dev/null
    for n in 1 2 3; do
        until_true 20 timeout 3 busybox wget -qO- "http://10.50.0.$n:8080/" && timeout 3 busybox wget -qO- "http://10.50.0.$n:8080/"
    done
    m service rm hp >/dev/null
}

killed() {
    kill -KILL "${NODES[3]}"
    until_true 60 eval 'm node ls --filter name=node3 --format "{{.Status}}" | grep -qx Down'
    m node ls --filter name=node3 --format '{{.Status}}'
}

work() {
    NODES=()
    set_up
    form
    serve
    change
    nodes
    check 'service removed' 'web' m service rm web
    check 'nothing runs any more' '0 0' eval \
        'until_true 30 eval "[ -z \"\$(on 1 ps -q)\$(on 2 ps -q)\" ]"; for n in 1 2; do on $n ps -q | wc -l; done'
    check 'its cgroups are gone' '0' eval 'find /sys/fs/cgroup -regex ".*/node[12]/docker/[0-9a-f]*" | wc -l'
}

compare
