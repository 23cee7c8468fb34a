# sweep SCRATCH NAME SCRIPT RESULTS: waits until nobody holds SCRATCH/alive any more, then removes
# what a world leaves: its cgroups, called NAME, and SCRATCH; and RESULTS if the script was killed.
sweep() {
    local scratch=$1 name=$2 script=$3 results=$4 at tries
    cat "$scratch/alive" >/dev/null
    for at in /sys/fs/cgroup /sys/fs/cgroup/*; do
        thaw "$at/$name"
    done
    for at in /sys/fs/cgroup /sys/fs/cgroup/*; do
        [ -d "$at/$name" ] || continue
        for tries in {1..50}; do
            find "$at/$name" -depth -type d -exec rmdir {} + 2>/dev/null
            [ -d "$at/$name" ] || break
            sleep 0.1
        done
        [ ! -d "$at/$name" ] || echo "left behind: $at/$name" >&2
    done
    rm -rf "$scratch"
    [ -d "/proc/$script" ] || rm -rf "$results"
}

# KERNEL: freezer-subsystem.rst: what is frozen doesn't die of a kill either.
thaw() {
    [ ! -d "$1" ] || find "$1" -name freezer.state -exec sh -c 'echo THAWED >"$1"' sh {} \; 2>/dev/null
}
