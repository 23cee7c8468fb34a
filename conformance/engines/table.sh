#!/bin/bash
# table.sh RUNC DHOW: two lists of name, wanted, got; prints them beside each other and fails if
# dhow-runtime did other than runc.
set -u
declare -A theirs
while IFS=$'\t' read -r name _ got; do
    theirs[$name]=$got
done <"$1"
row() {
    printf '%-34.34s  %-30.30s  %-30.30s  %s\n' "$@"
}
row check runc dhow-runtime verdict
failed=() count=0
while IFS=$'\t' read -r name want got; do
    count=$((count + 1))
    runc=${theirs[$name]-never got there}
    if [ "$want" = = ]; then want_ok=yes; else
        # shellcheck disable=SC2053 # a pattern
        [[ $got == $want ]] && want_ok=yes || want_ok=no
        # shellcheck disable=SC2053
        [[ $runc == $want ]] && runc_ok=yes || runc_ok=no
    fi
    if [ "$want" = = ]; then
        [ "$got" = "$runc" ] && verdict=same || verdict=DIFFERS
    else
        case $want_ok$runc_ok in
            yesyes) verdict=same ;;
            yesno) verdict='better' ;;
            nono) [ "$got" = "$runc" ] && verdict='same, not as wanted' || verdict='BOTH FAIL' ;;
            *) verdict=FAILS ;;
        esac
    fi
    row "$name" "$runc" "$got" "$verdict"
    unset "theirs[$name]"
    case $verdict in
        *[A-Z]*) failed+=("$name: wanted $want"$'\n'"    runc: $runc"$'\n'"    dhow: $got") ;;
    esac
done <"$2"
for name in "${!theirs[@]}"; do
    failed+=("$name: dhow-runtime never got there; runc: ${theirs[$name]}")
done
echo "$count checks, ${#failed[@]} unlike runc"
[ ${#failed[@]} = 0 ] || { printf '%s\n' "${failed[@]}" >&2; exit 1; }
