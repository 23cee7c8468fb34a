#!/bin/sh
# criu.sh: prints a directory with a criu in it that works on this kernel, for PATH.
#
# criu follows the kernel: a release's own may be too old for the kernel that it is run on. So a new
# one with its C library is unpacked from Debian's packages, not installed, into a cache: a few
# seconds and 30 MB, once.
# $CRIU_CACHE: where that is (target/criu of this repository).
set -eu
here=$(dirname "$(realpath "$0")")
cache=${CRIU_CACHE:-$here/../target/criu}
suite=forky
mkdir -p "$cache"
cache=$(realpath "$cache")
exec 9>"$cache/lock"
flock 9

if [ ! -x "$cache/bin/criu" ]; then
    work=$cache/work
    rm -rf "$work"
    mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/root" "$cache/bin"
    mirror=$(apt-get indextargets --format '$(SITE)' | grep '/debian/*$' | head -n 1)
    key=/usr/share/keyrings/debian-archive-keyring.gpg
    echo "deb [signed-by=$key] ${mirror:-http://deb.debian.org/debian} $suite main" >"$work/sources"
    apt() {
        apt-get -q -o Dir::Etc::SourceList="$work/sources" -o Dir::Etc::SourceParts=- \
            -o Dir::State::Lists="$work/lists" -o Dir::State::Status=/dev/null \
            -o Dir::Cache::Archives="$work/archives" -o Dir::Cache::pkgcache= \
            -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root "$@" >&2
    }
    apt update
    apt install --yes --download-only --no-install-recommends criu
    for package in "$work"/archives/*.deb; do dpkg -x "$package" "$work/root"; done
    rm -rf "$cache/root"
    mv "$work/root" "$cache/root"
    rm -rf "$work"
    library=$cache/root/usr/lib/$(uname -m)-linux-gnu
    loader=$(echo "$library"/ld-linux*.so.*)
    printf '#!/bin/sh\nexec %s --library-path %s %s/root/usr/sbin/criu "$@"\n' \
        "$loader" "$library" "$cache" >"$cache/bin/criu.new"
    chmod 755 "$cache/bin/criu.new"
    mv "$cache/bin/criu.new" "$cache/bin/criu"
fi
echo "$cache/bin"
