#!/bin/bash
# table.sh RUNC DHOW: two lists of name, wanted, got; prints them beside each other and fails if
# dhow-runtime did other than runc.
set -u
declare -A theirs
while IFS=$'\t' read -r name _ got; do
    [ -z "${theirs[$name]+set}" ] || { echo "two checks are called $name" >&2; exit 2; }
    theirs[$name]=$got
done <"$1"
row() {
    printf '%-34.34s  %-30.30s  %-30.30s  %s\n' "$@"
}
# fits GOT PATTERN
fits() {
    # shellcheck disable=SC2053 # it is a pattern
    [[ $1 == $2 ]] && echo yes || echo no
}
code() {
    sed -n 's/.*\(\[[0-9]*\]\)$/\1/p' <<<"$1"
}
row check runc dhow-runtime verdict
failed=() count=0
while IFS=$'\t' read -r name want got; do
    count=$((count + 1))
    runc=${theirs[$name]-never got there}
    case $want in
        =) [ "$got" = "$runc" ] && verdict=same || verdict=DIFFERS ;;
        =code) [ "$(code "$got")" = "$(code "$runc")" ] && verdict=same || verdict=DIFFERS ;;
        *)
            case $(fits "$runc" "$want")$(fits "$got" "$want") in
                yesyes) verdict=same ;;
                yesno) verdict=FAILS ;;
                noyes) verdict=better ;;
                *) [ "$got" = "$runc" ] && verdict='same, not as wanted' || verdict='BOTH FAIL' ;;
            esac
            ;;
    esac
    row "$name" "$runc" "$got" "$verdict"
    unset -v 'theirs[$name]'
    case $verdict in
        *[A-Z]*) failed+=("$name: wanted $want"$'\n'"    runc: $runc"$'\n'"    dhow: $got") ;;
    esac
done <"$2"
for name in "${!theirs[@]}"; do
    failed+=("$name: dhow-runtime never got there; runc: ${theirs[$name]}")
done
echo "$count checks, ${#failed[@]} unlike runc"
[ ${#failed[@]} = 0 ] || { printf '%s\n' "${failed[@]}" >&2; exit 1; }
