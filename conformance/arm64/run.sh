#!/bin/bash
# run.sh: builds dhow for arm64 and runs it there: in a guest of QEMU, which has the whole processor in
# software. The compiler, the emulator, the kernel and busybox are packages of Debian, unpacked below
# $ARM64_CACHE (target/arm64 of this repository); nothing is installed. What is run is in `init`.
#
#   run.sh              build and check
#   run.sh check        no more than `cargo check`, tests included
#
# Needs root, mmdebstrap and some 4 GB.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
tree=$(realpath "$here/../..")
cache=${ARM64_CACHE:-$tree/target/arm64}
target=aarch64-unknown-linux-gnu
mirror=http://deb.debian.org/debian
suite=forky
packages=ca-certificates,rustc,cargo,gcc,libc6-dev,gcc-aarch64-linux-gnu,libc6-dev:arm64
packages=$packages,libstd-rust-dev:arm64,qemu-system-arm,kmod,xz-utils,cpio

die() { echo "run.sh: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || die "wants root: a system of another suite is unpacked and entered"

# Mounts are of this script alone, and go with it.
[ "${1:-}" = inside ] || exec unshare -m --propagation private "$0" inside "${1:-run}"
what=$2

# The system that builds, and the packages of the guest.
tools() {
    [ ! -e "$cache/root/done" ] || return 0
    rm -rf --one-file-system "$cache/root"
    mkdir -p "$cache"
    # A mirror may be older than its own promise.
    mmdebstrap --quiet --variant=minbase --architectures=amd64,arm64 --include="$packages" \
        --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='APT::Install-Recommends "false"' \
        --customize-hook='mkdir "$1/dl" && chmod 777 "$1/dl"' \
        --customize-hook="$(declare -f guest_packages); guest_packages \"\$1\"" \
        "$suite" "$cache/root" "$mirror"
    touch "$cache/root/done"
}

guest_packages() {
    chroot "$1" sh -ec '
        cd /dl
        image=$(apt-cache depends linux-image-arm64:arm64 |
            sed -n "s/.*Depends: *\(linux-image-[0-9][^: ]*\).*/\1/p")
        apt-get -qq download busybox-static:arm64 "linux-binary-${image#linux-image-}:arm64" \
            "linux-modules-${image#linux-image-}:arm64" "linux-base-${image#linux-image-}:arm64"'
}

cargo_in() {
    local root=$cache/root registry=${CARGO_HOME:-$HOME/.cargo}/registry
    mkdir -p "$root/src" "$root/built" "$root/cargo/registry" "$registry" "$cache/built"
    mount --bind "$tree" "$root/src"
    mount --bind "$cache/built" "$root/built"
    mount --bind "$registry" "$root/cargo/registry"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    chroot "$root" env -i PATH=/usr/bin:/bin HOME=/root CARGO_HOME=/cargo CARGO_TARGET_DIR=/built \
        CARGO_INCREMENTAL=0 CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc \
        sh -ec 'cd /src && exec cargo "$@"' sh "$@" --locked --target "$target"
}

# What the guest boots: busybox, the modules that networks and layers need, the programs.
initramfs() {
    local guest=$cache/root/guest dir=$cache/root/guest/tree part modules
    rm -rf "$guest"
    mkdir -p "$dir"/{bin,sbin,usr/bin,proc,sys,dev,tmp,run,root,etc,lib,new} "$guest/debs"
    for part in "$cache"/root/dl/*.deb; do
        dpkg-deb -x "$part" "$guest/debs"
    done
    cp "$guest/debs/usr/bin/busybox" "$dir/bin/busybox"
    modules=$(cd "$guest/debs/usr/lib/modules" && echo *)
    mv "$guest/debs/usr/lib/modules/$modules/vmlinuz" "$guest/"
    for part in drivers/net/veth.ko.xz fs/overlayfs lib crypto net/netfilter net/ipv4/netfilter \
        net/ipv6/netfilter net/bridge net/llc net/802; do
        part=$modules/kernel/$part
        [ -e "$guest/debs/usr/lib/modules/$part" ] || continue
        mkdir -p "$dir/lib/modules/${part%/*}"
        mv "$guest/debs/usr/lib/modules/$part" "$dir/lib/modules/${part%/*}/"
    done
    mv "$guest/debs/usr/lib/modules/$modules"/modules.{order,builtin,builtin.modinfo} \
        "$dir/lib/modules/$modules/"
    rm -rf "$guest/debs"
    find "$dir/lib/modules" -name '*.xz' -exec xz -d {} +
    for part in dhow dhow-image dhow-runtime; do
        cp "$cache/built/$target/debug/$part" "$dir/usr/bin/"
    done
    cp "$here/init" "$dir/init"
    chroot "$cache/root" sh -ec 'cd /guest/tree && depmod -b . "$1"
        find . | cpio --quiet -o -H newc >../initramfs' sh "$modules"
}

# No more of the machine than the processor and the console.
boot() {
    timeout 900 chroot "$cache/root" qemu-system-aarch64 -M virt -cpu cortex-a72 -smp 2 -m 1500 \
        -nodefaults -nographic -serial stdio -no-reboot -net none \
        -kernel /guest/vmlinuz -initrd /guest/initramfs \
        -append "console=ttyAMA0 quiet panic=-1" </dev/null | sed -u 's/\r$//' | tee "$cache/log"
}

tools
if [ "$what" = check ]; then
    cargo_in check --workspace --all-targets
    exit
fi
cargo_in build -p dhow-runtime -p dhow-image -p dhow
initramfs
boot
grep -q '^passed: [0-9]*, failed: 0$' "$cache/log" || die "see $cache/log"
