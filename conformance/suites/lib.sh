# Sourced by runc.sh and crun.sh. Each defines `work`, which runs its peer's own test suite, as
# Debian's source package of the peer has it, over the program in $RUNTIME, and writes a line
# "FILE: TEST<tab>ok|failed|skipped" for every test to $RESULT. `suite PEER` runs it over the peer
# and over dhow-runtime, side by side, each in a world of its own (conformance/engines/lib.sh), and
# lets verdict.sh compare. Test files are called NAME$EXTENSION.
#
# --fast: only the files in $FAST. Other arguments: only those files.
SUITES=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$SUITES/../engines/lib.sh"
CACHE=${DHOW_SUITES:-$TOP/target/suites}
mkdir -p "$CACHE"

suite() {
    local peer=$1 which
    shift
    [ "${1:-}" != --fast ] || set -- "${FAST[@]}"
    if [ -n "${WORLD:-}" ]; then
        RUNTIME=$(runtime_path)
        export RUNTIME
        work "$@"
        # What a test left frozen would not end with the world.
        find /sys/fs/cgroup/freezer -name freezer.state -exec sh -c 'echo THAWED >"$1"' sh {} \; 2>/dev/null
        exit 0
    fi
    if [ -n "${ONLY:-}" ]; then
        results=$RESULTS SELF="$SUITES/again"
        world "$ONLY" "$RESULTS/$ONLY"
        exit
    fi
    [ -x "$DHOW" ] || die "no program $DHOW: build it with make, or set DHOW_BIN_DIR"
    [ "$(id -u)" = 0 ] || die "needs root"
    results=$(mktemp -d)
    trap 'rm -rf "$results"' EXIT
    (flock 9 && prepare "$@") 9>"$CACHE/lock" || die "could not prepare the suite of $peer"
    local begin=$SECONDS turn
    both "$peer" dhow -- "$@"
    # Their tests wait by the clock: on a busy machine one or the other fails. What differs runs again.
    for turn in 1 2; do
        "$SUITES/verdict.sh" "$peer" "$results/$peer" "$results/dhow" "$SUITES/$peer.known" \
            >/dev/null 2>"$results/differs" && break
        mapfile -t again < <(sed -nE 's/^not ok: ([^:]+): .*/\1/p' "$results/differs" | sort -u)
        [ ${#again[@]} -gt 0 ] || break
        echo "== again: ${again[*]}" >&2
        both dhow -- "${again[@]/%/$EXTENSION}"
    done
    echo "== the suite of $peer, over it and over dhow-runtime: $((SECONDS - begin)) s" >&2
    "$SUITES/verdict.sh" "$peer" "$results/$peer" "$results/dhow" "$SUITES/$peer.known"
}

# both WHICH… -- FILE…: a run each, side by side, upon the results of earlier ones.
both() {
    local which pids=() over=()
    while [ "$1" != -- ]; do
        over+=("$1")
        shift
    done
    shift
    for which in "${over[@]}"; do
        ONLY=$which RESULTS=$results SUITE_SCRIPT=$SELF SUITE_FILES=$* "$SELF" "$@" &
        pids+=($!)
    done
    for which in "${pids[@]}"; do
        wait "$which" || die "a run of the suite of $peer ended early"
    done
}

# source_of PEER: unpacks the source package of the installed peer into $CACHE/PEER, by apt with a
# list of sources of its own: the machine's has seldom any.
source_of() {
    local peer=$1 source version at
    IFS== read -r source version < <(dpkg-query -W -f '${source:Package}=${source:Version}\n' "$peer") ||
        die "$peer is not installed: sh tests/setup.sh"
    at=$CACHE/$peer
    [ "$(cat "$at/.version" 2>/dev/null)" != "$version" ] || return 0
    echo "fetching the source of $source $version" >&2
    local apt=$CACHE/apt keys=/usr/share/keyrings/debian-archive-keyring.gpg
    mkdir -p "$apt/lists/partial" "$apt/archives/partial"
    apt-get indextargets --format '$(LABEL) $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        sed -n "s|^Debian \(.* main\)\$|deb-src [signed-by=$keys] \1|p" |
        sort -u >"$apt/sources.list"
    local get=(apt-get -q -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt" -o APT::Sandbox::User=root)
    rm -rf "$at" "$at.new"
    mkdir "$at.new"
    (
        cd "$at.new"
        "${get[@]}" update
        # A version that has left the archive: the one that came after it.
        "${get[@]}" source "$source=$version" || "${get[@]}" source "$source"
    ) >"$CACHE/apt.log" 2>&1 || die "no source of $source: see $CACHE/apt.log"
    mv "$at.new"/*/ "$at" && rm -rf "$at.new" && echo "$version" >"$at/.version"
}

# tap FILE: TAP on standard input, result lines on standard output. Numbers, times and what is said
# about a skipped test go.
tap() {
    sed -nE "s/\r\$//
        s/ # [0-9.]+s\$//
        t reset
        :reset
        s/^ok [0-9]+ -? ?(.*[^ ]) *# ?(skip|SKIP).*/$1: \1\tskipped/p; t
        s/^(not )?ok [0-9]+ -? ?(.*)/\1\2/; T
        s/^not (.*)/$1: \1\tfailed/p; t
        s/(.*)/$1: \1\tok/p"
}
