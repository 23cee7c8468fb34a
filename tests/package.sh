#!/bin/bash
# package.sh [BIN PAGES]: the Debian package, whole: built (by cargo-deb, which is installed first where
# it lacks), looked at by lintian, then put into a guest with systemd, upgraded, removed and purged
# there by dpkg, with a container that has to live through it. Needs lintian; the guest is the tests'.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(realpath "${1:-target/dhow}") pages=$(realpath "${2:-target/pages}")
work=$(mktemp -d "${TMPDIR:-/tmp}/dhow-package.XXXXXX")
trap 'rm -rf "$work"' EXIT

command -v lintian >/dev/null || { echo "package.sh: lintian is not here: apt-get install lintian" >&2; exit 1; }
command -v cargo-deb >/dev/null || {
    # Kept in target: built once.
    [ -x target/cargo-deb/bin/cargo-deb ] || cargo install -q --locked --root target/cargo-deb cargo-deb
    PATH=$PWD/target/cargo-deb/bin:$PATH
}
tests/deb.sh "$bin" "$pages" "$work/old"
old=$(echo "$work"/old/*.deb)
echo "built: $(basename "$old"), $(stat -c %s "$old") bytes"

lintian --fail-on error,warning --tag-display-limit 0 "$old"
echo "lintian: clean, but for $(grep -c '^dhow' shim/debian/overrides) tags with a reason"

# The next version: the same, called newer.
mkdir "$work/new"
dpkg-deb -R "$old" "$work/tree"
sed -i 's/^\(Version: .*\)$/\1+next/' "$work/tree/DEBIAN/control"
dpkg-deb --root-owner-group -b "$work/tree" "$work/new" >/dev/null
mv "$old" "$work/old.deb"
mv "$work"/new/*.deb "$work/new.deb"
rm -rf "$work/tree"

tests/guest/guest.sh --systemd --mem 1024 --share "$work:/debs:ro" -- \
    bash -e -c "$(cat tests/guest/words.sh tests/package_guest.sh)" >"$work/told" || { cat "$work/told"; exit 1; }
diff -u tests/package_guest.out "$work/told"
echo "dpkg: installed, upgraded, removed and purged in a guest with systemd"
