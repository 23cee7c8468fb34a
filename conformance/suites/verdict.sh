#!/bin/bash
# verdict.sh PEER THEIRS OURS KNOWN: the counts of two runs of a suite, and what passes over the peer
# and not over dhow-runtime. Fails unless KNOWN, with lines "FILE: TEST -- reason", has all of that.
# What passed in one of several turns passes.
set -u
peer=$1
declare -A theirs ours known
read_results() {
    local -n into=$2
    while IFS=$'\t' read -r name result; do
        [ "${into[$name]:-}" = ok ] || into[$name]=$result
    done <"$1"
}
[ -s "$2" ] || { echo "nothing ran" >&2; exit 1; }
read_results "$2" theirs
read_results "$3" ours
while read -r line; do
    case $line in '' | '#'*) ;; *) known[${line%% -- *}]=${line#* -- } ;; esac
done <"$4"

count() {
    local -n of=$1
    local all="${of[*]}" word counts=()
    for word in ok failed skipped; do
        counts+=("$(grep -ow "$word" <<<"${all// /$'\n'}" | wc -l)")
    done
    printf '%-14s %5d passed %5d failed %5d skipped\n' "$2" "${counts[@]}"
}
count theirs "$peer"
count ours dhow-runtime

bad=()
for name in "${!theirs[@]}"; do
    [ "${theirs[$name]}" = ok ] && [ "${ours[$name]:-never ran}" != ok ] || continue
    if [ -n "${known[$name]:-}" ]; then
        echo "known: $name (${ours[$name]:-never ran}): ${known[$name]}"
    else
        bad+=("$name: ${ours[$name]:-never ran}")
    fi
done
better=0
for name in "${!ours[@]}"; do
    [ "${ours[$name]}" = ok ] || continue
    [ "${theirs[$name]:-}" = ok ] || better=$((better + 1))
    [ -z "${known[$name]:-}" ] || echo "no longer needed in $(basename "$4"): $name"
done
echo "$better passed here and not over $peer, ${#bad[@]} the other way round without a known reason"
[ ${#bad[@]} = 0 ] || { printf 'not ok: %s\n' "${bad[@]}" | sort >&2; exit 1; }
