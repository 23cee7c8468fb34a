#!/bin/bash
# qemu.sh: end-to-end cases in guests of QEMU, which have what User Mode Linux lacks: Debian's stock
# kernels (6.12, and 5.10, the oldest that dhow is for), two CPUs, cpuset, CRIU, ipvlan, AppArmor.
# No KVM: the processor is in software. A line a guest says what passed and what failed; some twenty minutes.
#
#   qemu.sh              all
#   qemu.sh 6.12|5.10    the guests with that kernel
set -uo pipefail
cd "$(dirname "$0")/.."
what=${1:-all}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
worst=0

run() {
    tests/guest/run.sh --qemu "$@" | tee -a "$log"
    [ "${PIPESTATUS[0]}" = 0 ] || worst=1
}

if [ "$what" != 5.10 ]; then
    run trixie plain runtime::stock shim::stock runtime::checkpoint runtime::schedule runtime::namespaces \
        runtime::isolation runtime::groups runtime::devices runtime::options
    run trixie plain shim::net_connect shim::net_isolation shim::net_dns shim::net_ports
    run trixie systemd runtime::stock shim::stock runtime::limits runtime::change shim::limits shim::flags_limits
    run trixie rootless-systemd runtime::stock shim::stock runtime::limits runtime::change shim::limits
fi
if [ "$what" != 6.12 ]; then
    run bullseye plain runtime::lifecycle runtime::exec:: runtime::limits runtime::change runtime::mounts \
        runtime::idmap runtime::namespaces runtime::process runtime::hooks runtime::seccomp \
        runtime::options runtime::propagation runtime::notify runtime::console
    run bullseye systemd runtime::limits runtime::change runtime::exec:: shim::exec shim::limits
fi
echo
grep -E '^[a-z-]+ \((trixie|bullseye)\): |^  failed: ' "$log"
exit $worst
