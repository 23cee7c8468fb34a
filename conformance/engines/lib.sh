# Sourced by the engine scripts. Each defines `work`, which drives an engine and states what it saw
# with `check`; `compare` runs it once over runc and once over dhow-runtime, each in a world of its own, and
# prints both beside each other.
#
# A world is a set of new namespaces (mounts, network, processes, cgroups, names) over cgroups of
# its own. Everything in it dies with its first process, which dies with the script: whatever
# happens, nothing is left on the machine.
set -u
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TOP=$(cd "$HERE/../.." && pwd)
SELF=$(readlink -f "$0")
DHOW=$(readlink -f "${DHOW_BIN_DIR:-$TOP/target/dhow}")/dhow-runtime
CACHE=${DHOW_ENGINES:-$TOP/target/engines}
ARCH=$(uname -m)-linux-gnu
export PATH=$CACHE/root/usr/sbin:$CACHE/root/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

die() {
    echo "$(basename "$SELF"): $*" >&2
    exit 2
}

# Unpacks Debian packages that aren't installed, and what they need, into the cache: no daemon is
# started, no user made, no file of the machine's touched.
need() {
    local missing=() p
    for p in "$@"; do
        dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed && continue
        [ -e "$CACHE/root/.has-$p" ] || missing+=("$p")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "unpacking: ${missing[*]}" >&2
    mkdir -p "$CACHE/debs/partial" "$CACHE/root"
    local lock
    exec {lock}>"$CACHE/lock"
    flock "$lock"
    local apt=(apt-get -q -y -o Debug::NoLocking=1 -o "Dir::Cache::archives=$CACHE/debs"
        -o APT::Sandbox::User=root --download-only --no-install-recommends)
    "${apt[@]}" install "${missing[@]}" >"$CACHE/apt.log" 2>&1 ||
        { apt-get -q update && "${apt[@]}" install "${missing[@]}"; } >>"$CACHE/apt.log" 2>&1 ||
        die "no packages ${missing[*]}: see $CACHE/apt.log"
    for p in "$CACHE"/debs/*.deb; do
        dpkg -x "$p" "$CACHE/root" && rm "$p"
    done
    for p in "${missing[@]}"; do
        : >"$CACHE/root/.has-$p"
    done
    exec {lock}>&-
}

# A criu for this kernel, for runs with checkpoints; without it both say that they have none.
need_criu() {
    [ -n "${WORLD:-}" ] || ! PATH_OF_CRIU=$("$TOP/tests/criu.sh" 2>/dev/null) || export PATH_OF_CRIU
    export PATH=${PATH_OF_CRIU:+$PATH_OF_CRIU:}$PATH
}

# What a container runs that is taken down and brought back: it counts in a file.
COUNT='n=0; while :; do n=$((n + 1)); echo $n >/tmp/n; sleep 0.02; done'

# compare: the table of both, and the verdict as exit code. In the world: the work itself.
compare() {
    if [ -n "${WORLD:-}" ]; then
        work
        exit 0
    fi
    [ -x "$DHOW" ] || die "no program $DHOW: build it with make, or set DHOW_BIN_DIR"
    [ "$(id -u)" = 0 ] || die "needs root"
    # Not local: the trap needs it after this function has ended.
    results=$(mktemp -d)
    trap 'rm -rf "$results"' EXIT
    for which in ${ENGINES_WITH:-runc dhow}; do
        local begin=$SECONDS
        : >"$results/$which"
        echo "== $(basename "$SELF") with $which" >&2
        world "$which" "$results/$which" || die "the run with $which ended early"
        echo "== $which took $((SECONDS - begin)) s" >&2
    done
    [ -e "$results/runc" ] && [ -e "$results/dhow" ] || exit 0
    "$HERE/table.sh" "$results/runc" "$results/dhow"
}

cgroup_mounts() {
    sed -nE 's/^([^ ]+ ){4}([^ ]+) [^-]*- (cgroup2?) [^ ]+ (.*)$/\2 \3 \4/p' /proc/self/mountinfo |
        awk '!seen[$2 $3]++'
}

# apart CGROUP COMMAND…: in new namespaces, over cgroups of that name below this process's. To be
# run in the background: it ends this shell.
apart() {
    local name=$1 at kind f
    shift
    while read -r at kind _; do
        mkdir "$at/$name" || exit 1
        # KERNEL: cgroup-v1 cpuset takes nobody in before it has processors and memory.
        for f in cpuset.cpus cpuset.mems; do
            [ -e "$at/$name/$f" ] && [ "$kind" = cgroup ] && cat "$at/$f" >"$at/$name/$f"
        done
        [ -e "$at/$name/cgroup.clone_children" ] && echo 1 >"$at/$name/cgroup.clone_children"
        echo 0 >"$at/$name/cgroup.procs" || exit 1
    done < <(cgroup_mounts)
    export WORLD RESULT SCRATCH NODE
    exec setpriv --pdeathsig KILL unshare --mount --net --pid --ipc --uts --cgroup --fork \
        --kill-child --propagation private "$HERE/enter.sh" "$@"
}

# world WHICH RESULT: runs this script again inside. The sweeper outlives even a SIGKILL: it waits
# for the end of file of a pipe that everything in here holds.
world() {
    local scratch name=dhow-engines.$$ sweeper child code
    scratch=$(mktemp -d)
    mkfifo "$scratch/alive"
    setsid bash -c '. "$0"; sweep "$@"' "$HERE/sweep.sh" "$scratch" "$name" $$ "$results" &
    sweeper=$!
    exec 9>"$scratch/alive"
    WORLD=$1 RESULT=$2 SCRATCH=$scratch apart "$name" "$SELF" &
    child=$!
    trap 'kill -KILL "$child" 2>/dev/null' INT TERM HUP
    wait "$child"
    code=$?
    wait "$child" 2>/dev/null
    trap - INT TERM HUP
    exec 9>&-
    wait "$sweeper"
    return "$code"
}

# The runtime of this run. With WIRE=FILE, each call that an engine makes of it goes there, with
# its exit code.
runtime_path() {
    local path=$DHOW wire
    [ "$WORLD" = dhow ] || path=$(command -v "$WORLD")
    [ -n "${WIRE:-}" ] || { echo "$path"; return; }
    wire=$SCRATCH/wire/$(basename "$path")
    mkdir -p "$SCRATCH/wire"
    printf '#!/bin/bash\n%q "$@"\ncode=$?\necho "${0##*/} $* -> $code" >>%q\nexit $code\n' "$path" "$WIRE" >"$wire"
    chmod +x "$wire"
    echo "$wire"
}

# A root directory with busybox in it, from Debian's static one.
rootfs() {
    mkdir -p "$1"/{bin,etc,proc,sys,dev,tmp,root,run,home/user}
    chmod 1777 "$1/tmp"
    cp "$(command -v busybox)" "$1/bin/busybox"
    "$1/bin/busybox" --list | grep -vx busybox | while read -r applet; do
        ln -s busybox "$1/bin/$applet"
    done
    printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n' >"$1/etc/passwd"
    printf 'root:x:0:\nuser:x:1000:\nextra:x:2000:user\n' >"$1/etc/group"
    # limit NAME [CGROUP]: a limit, of the container's own cgroup, whatever the version.
    cat >"$1/bin/limit" <<'LIMIT'
#!/bin/sh
of() {
    [ -e "/sys/fs/cgroup/$1/$3/$2" ] && cat "/sys/fs/cgroup/$1/$3/$2"
}
case $1 in
memory) of memory memory.limit_in_bytes "$2" || of "" memory.max "$2" ;;
pids) of pids pids.max "$2" || of "" pids.max "$2" ;;
quota) of cpu cpu.cfs_quota_us "$2" || of "" cpu.max "$2" | cut -d' ' -f1 ;;
cpus) of cpuset cpuset.cpus "$2" || of "" cpuset.cpus "$2" ;;
shares) of cpu cpu.shares "$2" || of "" cpu.weight "$2" ;;
reservation) of memory memory.soft_limit_in_bytes "$2" || of "" memory.low "$2" ;;
esac
LIMIT
    chmod +x "$1/bin/limit"
}

# image_tar DIR OUT NAME COMMAND…: a root directory as an image, in the form of `docker save`.
image_tar() {
    local dir=$1 out=$2 name=$3 at layer config command
    shift 3
    at=$(mktemp -d)
    command=$(printf '"%s",' "$@")
    tar -C "$dir" --numeric-owner --owner=0 --group=0 -cf "$at/layer.tar" .
    layer=$(sha256sum "$at/layer.tar" | cut -d' ' -f1)
    printf '{"architecture":"%s","os":"linux","config":{"Env":["PATH=/bin"],"Cmd":[%s]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created_by":"engines"}]}' \
        "$(dpkg --print-architecture)" "${command%,}" "$layer" >"$at/config"
    config=$(sha256sum "$at/config" | cut -d' ' -f1).json
    mv "$at/config" "$at/$config"
    printf '[{"Config":"%s","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$config" "$name" >"$at/manifest.json"
    tar -C "$at" -cf "$out" manifest.json "$config" layer.tar
    rm -rf "$at"
}

# check NAME WANT COMMAND…: states what a command printed, and its exit code if that is not 0.
# WANT is a pattern that both have to match, or `=`: what runc's is, or `=code`: its exit code.
check() {
    local name=$1 want=$2 got code
    shift 2
    got=$("$@" 2>&1 </dev/null)
    code=$?
    got=$(tr -d '\r' <<<"$got" | tr '\n\t' '  ' | sed 's/  */ /g; s/^ //; s/ $//')
    [ $code = 0 ] || got="${got:+$got }[$code]"
    printf '%s\t%s\t%s\n' "$name" "$want" "$got" >>"$RESULT"
    [ -z "${VERBOSE:-}" ] || echo "  $name: $got" >&2
}

# until_true SECONDS COMMAND…: waits until it succeeds.
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { echo "not within the time: $*"; return 1; }
        sleep 0.1
    done
}

# on_terminal COMMAND…: with a terminal for standard input, output and error.
on_terminal() {
    # Its own way of saying that nothing is typed is no output of theirs.
    script -qec "$(printf '%q ' "$@")" /dev/null | sed 's/\^@//g; s/\x08//g'
    return "${PIPESTATUS[0]}"
}
