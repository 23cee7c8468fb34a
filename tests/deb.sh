#!/bin/sh
# deb.sh BIN PAGES OUT: the Debian package of the programs in BIN and the pages in PAGES, written
# into OUT. Needs cargo-deb (`cargo install cargo-deb`).
set -eu
bin=$(realpath "$1") pages=$(realpath "$2")
mkdir -p "$3"
out=$(realpath "$3")
cd "$(dirname "$0")/.."
stage=target/package
rm -rf "$stage"
mkdir -p "$stage/bin"
for program in dhow dhow-image dhow-runtime; do cp "$bin/$program" "$stage/bin/"; done
cp -r "$pages" "$stage/pages"
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
# The package's own: what changed in dhow stands in CHANGELOG.md.
{
    echo "dhow ($version-1) unstable; urgency=medium"
    echo
    echo "  * Version $version; see https://keepachangelog.com in CHANGELOG.md."
    echo
    echo " -- the dhow authors <dhow@localhost>  $(date -u -R -d "@${SOURCE_DATE_EPOCH:-0}")"
} >"$stage/changelog"
cargo deb --no-build --no-strip --manifest-path shim/Cargo.toml --output "$out"
