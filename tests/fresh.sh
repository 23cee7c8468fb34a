#!/bin/bash
# fresh.sh [first|second]: the README's two commands where nothing is prepared: a bare Debian root
# with a C compiler and this machine's Rust in it, in a mount namespace of its own, on a clean clone
# of the committed tree. Prints how long each took. As root.
set -euo pipefail
cd "$(dirname "$0")/.."
want=${1:-both}
here=$PWD
work=$(mktemp -d "${TMPDIR:-/var/tmp}/dhow-fresh.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
command_of() { sed -n '/^```sh$/,/^```$/{/^```/d;p}' README.md | sed -n "$1p"; }
first=$(command_of 1)
second=$(command_of 2)
[ -n "$first" ] && [ -n "$second" ] || { echo "fresh.sh: no two commands in README.md"; exit 1; }

release=$(. /etc/os-release && echo "$VERSION_CODENAME")
mmdebstrap --quiet --variant=minbase --aptopt='Apt::Install-Recommends "false"' \
    --include=gcc,libc6-dev,ca-certificates "$release" "$root"
cp /etc/apt/sources.list.d/debian.sources "$root/etc/apt/sources.list.d/" 2>/dev/null &&
    rm -f "$root/etc/apt/sources.list"
rustc_home=$(rustc --print sysroot)
cargo_home=${CARGO_HOME:-$HOME/.cargo}
git clone -q --no-hardlinks "$here" "$root/src"

cat >"$work/inside" <<'IN'
set -e
export PATH=/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root CARGO_HOME=/cargo CARGO_TERM_COLOR=never LC_ALL=C.UTF-8
cd /src
run() {
    echo
    echo "\$ $1"
    before=$SECONDS
    bash -c "$1"
    echo "== that took $((SECONDS - before)) s"
}
if [ "$3" != second ]; then run "$1"; fi
if [ "$3" != first ]; then run "$2"; fi
IN

export work root rustc_home cargo_home
unshare --mount --propagation private bash -euc '
    mkdir -p "$root/rust" "$root/cargo/registry"
    mount --bind "$rustc_home" "$root/rust"
    mount -o remount,bind,ro "$root/rust"
    [ ! -d "$cargo_home/registry" ] || mount --bind "$cargo_home/registry" "$root/cargo/registry"
    for f in config.toml config; do [ ! -f "$cargo_home/$f" ] || cp "$cargo_home/$f" "$root/cargo/"; done
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/" 2>/dev/null || true
    for d in proc sys dev; do mount --rbind "/$d" "$root/$d"; done
    mount -t tmpfs run "$root/run"
    # A root of its own, so that pivot_root works inside.
    mount --rbind "$root" "$root"
    cd "$root"
    mkdir -p .old
    pivot_root . .old
    cp "/.old$work/inside" /inside
    umount -l /.old
    rmdir /.old
    exec bash /inside "$@"
' sh "$first" "$second" "$want"
