#!/bin/bash
# The score of the clauses, the mutants of those that are held, and the outside engines that are at
# hand, against target/dhow; the Debian package; the guests of QEMU, x86's and arm64's.
set -euo pipefail
cd "$(dirname "$0")/.."

make clauses
make e2e
make mutants
make security

worst=0
for suite in runc crun; do
    conformance/suites/$suite.sh || worst=1
done

# podman's ran among the e2e cases.
for engine in containerd dockerd images swarm; do
    conformance/engines/$engine.sh || worst=1
done
conformance/qemu.sh || worst=1
make package || worst=1
conformance/arm64/run.sh || worst=1
exit $worst
