#!/bin/bash
# run.sh: end-to-end cases inside a guest, in one of its modes or in all.
#
#   run.sh [--qemu [KERNEL]] MODE|all [FILTER…]
#                        filters and options are the test program's, as --exact; else runtime:: shim::
#     plain              root, no systemd, a pure cgroup v2
#     systemd            root beside systemd; every container in a scope of it
#     rootless           uid 1000 with a delegated group
#     rootless-systemd   uid 1000 beside its own systemd; every container in a scope of it
#
# --qemu: in QEMU's machine, with two CPUs and a stock kernel: trixie's (else) or bullseye's.
#
# Prints, for each mode, how many cases passed, how many failed (and which), and how many this kind
# of host can't show, by what they need that it hasn't got. Ends with 1 if one failed.
#
# $E2E: the test program (else cargo builds it); $DHOW_BIN_DIR, $DHOW_FIXTURES, $GUEST_CACHE as for
# the cases themselves; $GUEST_LIMIT: seconds for a mode (3600); $DHOW_E2E_THREADS: cases at once (1, in
# QEMU's machine 2).
set -euo pipefail
here=$(dirname "$(realpath "$0")")
top=$(realpath "$here/../..")
[ $# -gt 0 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
machine=() qemu=''
if [ "$1" = --qemu ]; then
    qemu=trixie
    shift
    case ${1:-} in trixie | bullseye) qemu=$1; shift ;; esac
    machine=(--qemu "$qemu")
fi
mode=$1
shift
[ $# -gt 0 ] || set -- runtime:: shim::

if [ "$mode" = all ]; then
    worst=0
    for mode in plain systemd rootless rootless-systemd; do "$0" "${machine[@]}" "$mode" "$@" || worst=1; done
    exit $worst
fi
options=()
case $mode in
plain) ;;
systemd) options=(--systemd) ;;
rootless) options=(--user) ;;
rootless-systemd) options=(--systemd --user) ;;
*) echo "run.sh: no mode $mode: see the head of $0" >&2; exit 2 ;;
esac

[ -z "$qemu" ] || options+=(--qemu --kernel "$qemu" --env "DHOW_E2E_QEMU=$qemu")
name=$mode${qemu:+ ($qemu)}

if [ -z "${E2E:-}" ]; then
    E2E=$(cd "$top" && cargo test -q -p e2e --test e2e --no-run --message-format=json |
        sed -n 's/.*"executable":"\([^"]*\/e2e-[^"]*\)".*/\1/p' | tail -n 1)
fi
programs=$(realpath "${DHOW_BIN_DIR:-$top/target/dhow}")
fixtures=$(realpath "${DHOW_FIXTURES:-$top/target/fixtures}")
DHOW_FIXTURES=$fixtures "$E2E" --exact --ignored runtime::modes::what_guests_are_given >/dev/null
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
# A user can't read all of root's.
cp -a "$fixtures/busybox-root-2" "$tmp/"
chmod -R a+rX "$tmp"
log=$tmp/log

# Before the command: fixtures are made with locks beside them, so the shared ones are linked to.
read -r -d '' inside <<'END' || true
export DHOW_FIXTURES=$(mktemp -d) DHOW_E2E_LACKS=$(mktemp)
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
chmod a+rx "$DHOW_FIXTURES" # other users are tried, too
ln -s /fixtures/* "$DHOW_FIXTURES"/
rm -f "$DHOW_FIXTURES"/*.lock "$DHOW_FIXTURES"/busybox-root-2
ln -s /busybox-root "$DHOW_FIXTURES"/busybox-root-2
cd /
mode=$1
shift
# A guest's first script starts this in the background, which has it ignore Ctrl-C.
env --default-signal=INT,QUIT "/e2e/$E2E_NAME" --test-threads=${DHOW_E2E_THREADS:-1} "$@" && code=0 || code=$?
sed 's/^/lacks: /' "$DHOW_E2E_LACKS"
exit $code
END
begun=$SECONDS
set +e
"$here/guest.sh" "${options[@]}" --mem "${GUEST_MEM:-1024}" --timeout "${GUEST_LIMIT:-3600}" \
    --share "$programs:/dhow:ro" --share "$fixtures:/fixtures:ro" --share "$tmp/busybox-root-2:/busybox-root:ro" \
    --share "$top:$top:ro" \
    --share "$(dirname "$(realpath "$E2E")"):/e2e:ro" --env "E2E_NAME=$(basename "$E2E")" \
    --env "DHOW_E2E_THREADS=${DHOW_E2E_THREADS:-${qemu:+2}}" --env DHOW_BIN_DIR=/dhow --env "DHOW_E2E_MODE=$mode" --env RUST_BACKTRACE=0 \
    -- bash -c "$inside" run "$mode" "$@" 2>&1 | sed -u 's/\r$//' | tee "$log" | grep --line-buffered -v '^lacks: '
code=${PIPESTATUS[0]}
set -e

count() { grep -c "$1" "$log" || true; }
passed=$(count '^test .* \.\.\. ok$')
failed=$(count '^test .* \.\.\. FAILED$')
lacking=$(sed -n 's/^lacks: //p' "$log" | sort -u)
none=$(grep -c . <<<"$lacking" || true)
echo
echo "$name: $((passed - none)) passed, $failed failed, $none not possible here ($((SECONDS - begun)) s)"
[ "$none" = 0 ] || sed 's/^[^ ]* //' <<<"$lacking" | sort | uniq -c | sort -rn | sed 's/^ *\([0-9]*\) /  \1 need: /'
grep '^test .* \.\.\. FAILED$' "$log" | sed 's/^test \(.*\) \.\.\. FAILED$/  failed: \1/' || true
[ "$code" = 0 ] || [ "$failed" != 0 ] || echo "$name: the guest ended with $code" >&2
exit "$code"
