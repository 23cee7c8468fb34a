#!/bin/bash
# The first process of a world, or of a node in it (NODE is its name): mounts what a machine has, then runs a script there.
# KERNEL: pid_namespaces(7): when this process ends, all that are left in the world are killed.
set -eu
# "mount point, kind, options" of each cgroup hierarchy, as the machine has them.
hierarchies=$(sed -nE 's/^([^ ]+ ){4}([^ ]+) [^-]*- (cgroup2?) [^ ]+ (.*)$/\2 \3 \4/p' /proc/self/mountinfo |
    awk '!seen[$2 $3]++')
mount -t proc proc /proc
mount -t sysfs sysfs /sys
if [ "$hierarchies" = "${hierarchies#*cgroup }" ]; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    # KERNEL: cgroup-v2 §no internal process: who hands controllers down holds no process.
    mkdir /sys/fs/cgroup/init
    echo 0 >/sys/fs/cgroup/init/cgroup.procs
    sed 's/ / +/g; s/^/+/' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
else
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    while read -r at kind options; do
        mkdir -p "/sys/fs/cgroup/${at#/sys/fs/cgroup/}"
        mount -t "$kind" -o "${options#rw,}" "$kind" "$at" 2>/dev/null || mount -t "$kind" "$kind" "$at"
    done <<<"$hierarchies"
fi
mount -t tmpfs -o mode=755 world "$SCRATCH"
# KERNEL: overlays stack twice at most, and the machine's root may be one: a node writes into its
# world's.
[ -n "${NODE:-}" ] || for dir in etc var; do
    mkdir "$SCRATCH/$dir.up" "$SCRATCH/$dir.work"
    mount -t overlay -o "lowerdir=/$dir,upperdir=$SCRATCH/$dir.up,workdir=$SCRATCH/$dir.work" overlay "/$dir"
done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -m 1777 /run/lock "$SCRATCH/tmp"
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
export TMPDIR=$SCRATCH/tmp HOME=$SCRATCH
ip link set lo up
hostname "${NODE:-world}"
cd "$SCRATCH"
exec 9>&-
# shellcheck source=conformance/engines/sweep.sh
. "$(dirname "$0")/sweep.sh"
code=0
"$@" || code=$?
thaw /sys/fs/cgroup
exit $code
