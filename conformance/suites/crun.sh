#!/bin/bash
# crun's tests/test_*.py, over crun and over dhow-runtime.
. "$(dirname "$0")/lib.sh"
EXTENSION=.py

FAST=()

prepare() {
    source_of crun
    [ "$CACHE/crun-init" -nt "$CACHE/crun/tests/init.c" ] || {
        # What crun's configure would find; this machine has all of it.
        mkdir -p "$CACHE/config"
        printf '#define HAVE_%s 1\n' ERROR_H >"$CACHE/config/config.h"
        gcc -static -O1 -w -I "$CACHE/config" -o "$CACHE/crun-init" "$CACHE/crun/tests/init.c"
    }
}

work() {
    local file name
    # It refuses a machine that has both versions.
    [ "$WORLD" != crun ] || umount /sys/fs/cgroup/unified 2>/dev/null
    cp -r "$CACHE/crun/tests" "$SCRATCH/tests"
    cp "$CACHE/crun-init" "$SCRATCH/tests/init"
    cp "$SUITES/libmount.py" "$SCRATCH/tests/"
    cd "$SCRATCH" || exit 1
    export INIT=$SCRATCH/tests/init OCI_RUNTIME=$RUNTIME PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
    [ $# -gt 0 ] || set -- $(cd tests && echo test_*.py)
    for file in "$@"; do
        while read -r name; do
            timeout -k 5 20 "$SUITES/one.py" "tests/$file" "$name" >tap 2>errors </dev/null
            grep -q '^\(not \)\?ok ' tap || echo "not ok 1 - $name" >>tap
            [ -z "${VERBOSE:-}" ] || cat tap errors >&2
            tap "${file%.py}" <tap >>"$RESULT"
        done < <("$SUITES/one.py" "tests/$file")
    done
}

suite crun "$@"
