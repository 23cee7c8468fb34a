#!/bin/bash
# The score of clauses.toml, and the outside engines that are at hand, against target/dhow.
set -euo pipefail
cd "$(dirname "$0")/.."

known=$(RUST_BACKTRACE=0 cargo test -q --locked -p e2e -- --list | sed -n 's/: test$//p')
missing=0
while read -r test; do
    grep -qxF "$test" <<<"$known" || { echo "clauses.toml names no such test: $test"; missing=1; }
done < <(sed -n '/^tests = /s/"[^"]*"/\n&\n/gp' conformance/clauses.toml | sed -n 's/^"\(.*\)"$/\1/p')
[ $missing = 0 ]
grep -oP '^status = "\K\w+' conformance/clauses.toml | sort | uniq -c

make e2e

worst=0
for suite in runc crun; do
    conformance/suites/$suite.sh || worst=1
done

# podman's ran among the e2e cases.
for engine in containerd dockerd swarm; do
    conformance/engines/$engine.sh || worst=1
done
exit $worst
