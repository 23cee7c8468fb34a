#!/bin/sh
# Installs what the tests need, from Debian's packages (bookworm or newer), as root.
# `sh tests/setup.sh ci` adds what only CI's checks need.
set -eu
packages="
    make gcc libc6-dev ca-certificates
    apache2-utils attr bind9-dnsutils busybox-static docker-registry file iproute2 iputils-ping jq libcap2-bin
    mmdebstrap procps skopeo strace umoci util-linux zstd
    buildah conmon crun podman runc
    e2fsprogs xz-utils
    bats dpkg-dev gawk python3 python3-pip
    curl iperf3 iptables nftables wrk
    gpg gpg-agent gpgconf
    fuse-overlayfs passt slirp4netns uidmap
    golang-github-opencontainers-image-spec-dev python3-jsonschema
"
[ "${1:-}" = ci ] && packages="$packages git"
missing=$(for p in $packages; do
    dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || echo "$p"
done)
[ -n "$missing" ] || exit 0
echo "installing:" $missing
export DEBIAN_FRONTEND=noninteractive
apt-get -q update || echo "apt-get update: not every source answered; going on with those that did"
# Not $missing in quotes: one word a package.
apt-get -q -y -o Dpkg::Use-Pty=0 install --no-install-recommends $missing
