# The guest's machine by QEMU; guest.sh reads this. A processor in software, since /dev/kvm is nothing
# to count on: ten times slower than User Mode Linux, but several CPUs, and Debian's own kernels with
# all that they have (cpuset, CRIU, ipvlan): trixie's 6.12 and bullseye's 5.10.
# KERNEL: without KVM the clocks drift apart: `tsc=unstable clocksource=hpet`, and the check of the timer
# interrupt fails on a busy host: `no_timer_check`.
# shellcheck shell=bash disable=SC2154
qemu_suite=trixie
qemu_packages=$packages,criu,e2fsprogs,iptables

# ---- build ----
# Both kernels with their modules, a first file system that finds the disk, and QEMU itself: unpacked
# beside the image, and started by its own loader.
qemu_kernels() {
    local work=$1 image=$2 kernel version from
    mkdir -p "$work/root/usr/lib/modules" "$work/debs/partial"
    for kernel in trixie bullseye; do
        (cd "$work/debs" && qemu_kernel_package "$work/apt-$kernel" "$kernel")
        dpkg -x "$work"/debs/linux-image-"$kernel".deb "$work/$kernel"
        cp "$work/$kernel"/boot/vmlinuz-* "$image/vmlinuz-$kernel"
        from=$(echo "$work/$kernel"/{usr/,}lib/modules/*/kernel)
        from=$(dirname "$(tr ' ' '\n' <<<"$from" | grep -v '\*' | head -n 1)")
        version=$(basename "$from")
        rm -rf "$from"/kernel/{sound,drivers/{gpu,media,usb,scsi,hid,infiniband,staging,mmc,mtd,iio,input,hwmon,message,ata,md,target}}
        rm -rf "$from"/kernel/drivers/net/{wireless,ethernet,usb,can,phy,wan}
        rm -rf "$from"/kernel/fs/{xfs,btrfs,ocfs2,gfs2,ceph,nfs,nfsd,smb,cifs,f2fs,jfs,reiserfs,ubifs,afs,ntfs3}
        cp -a "$from" "$work/root/usr/lib/modules/"
        find "$work/root/usr/lib/modules/$version" -name '*.ko.xz' -exec xz -d {} +
        chroot "$work/root" depmod "$version"
        qemu_first "$work" "$version" >"$image/initrd-$kernel"
    done
    unshare --mount --propagation private mmdebstrap --quiet --mode=root --variant=extract \
        --include=qemu-system-x86 --aptopt='Apt::Install-Recommends "false"' \
        "$qemu_suite" "$image/qemu" "$(source_of "$qemu_suite")"
    rm -rf "$image"/qemu/{usr/share/{doc,man,locale},var/lib/apt,var/cache}
}

# The image that linux-image-amd64 stands for in a suite; apt has a list of its own for it.
qemu_kernel_package() {
    local apt=$1 package
    mkdir -p "$apt"/{lists,cache}/partial "$apt"/cache/archives/partial
    source_of "$2" >"$apt/list"
    local options=(-o "Dir::Etc::sourcelist=$apt/list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$apt/lists"
        -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root -o Acquire::Check-Valid-Until=false)
    apt-get -q "${options[@]}" update
    package=$(apt-cache "${options[@]}" depends linux-image-amd64 |
        sed -n 's/.*Depends: *\(linux-image-[0-9][^ ]*\).*/\1/p' | head -n 1)
    apt-get -q "${options[@]}" download "$package"
    mv "$package"_*.deb "linux-image-$2.deb"
}

# busybox, the modules that the disks need, and what enters the disk's root.
qemu_first() {
    local root=$1/root dir=$1/first-$2 module
    mkdir -p "$dir"/{bin,dev,proc,new,modules}
    cp "$root/bin/busybox" "$dir/bin/"
    for module in virtio_pci virtio_blk virtio_rng virtio_console ext4 loop 9p 9pnet_virtio; do
        chroot "$root" modprobe -S "$2" --show-depends "$module"
    done | sed -n 's/^insmod //p' | awk '!seen[$1]++ { print $1 }' >"$dir/paths"
    while read -r module; do
        cp "$root/$module" "$dir/modules/"
        basename "$module"
    done <"$dir/paths" >"$dir/order"
    cat >"$dir/init" <<'INIT'
#!/bin/busybox sh
export PATH=/bin
busybox mount -t devtmpfs dev /dev
busybox mount -t proc proc /proc
while read -r module; do busybox insmod "/modules/$module"; done </order
until [ -b /dev/vda ]; do busybox sleep 0.1; done
busybox mount -t ext4 /dev/vda /new
busybox mount --move /dev /new/dev
init=$(busybox sed 's/.*guest_init=\([^ ]*\).*/\1/' /proc/cmdline)
busybox umount /proc
exec busybox switch_root /new "$init"
INIT
    chmod 755 "$dir/init"
    (cd "$dir" && chroot_cpio "$root" "$dir")
}

# cpio may not be installed here: busybox has one.
chroot_cpio() { (cd "$2" && find . | "$1/bin/busybox" cpio -o -H newc); }

# ---- run ----
# A device for each share; the agent mounts them by their number.
qemu() {
    local tools=$image/qemu share number=0 args=() from to ro
    for share in "${shares[@]}"; do
        IFS=: read -r from to ro <<<"$share"
        args+=(-fsdev "local,id=share$number,path=$from,security_model=none,multidevs=remap${ro:+,readonly=on}"
            -device "virtio-9p-pci,fsdev=share$number,mount_tag=share$number")
        number=$((number + 1))
    done
    [ -z "$disk" ] || args+=(-drive "file=$disk,if=none,id=kept,format=raw" -device virtio-blk-pci,drive=kept)
    # Held open here, so that nobody waits for a machine that never comes up.
    mkfifo "$dir/out" "$dir/err"
    exec 8<>"$dir/out" 9<>"$dir/err"
    cat <"$dir/out" >&5 8>&- 9>&- & pipes=($!)
    cat <"$dir/err" >&6 8>&- 9>&- & pipes+=($!)
    # The root disk is written to a file of its own that is thrown away: snapshot.
    TMPDIR=$dir timeout -k 5 "$limit" \
        "$tools/usr/lib64/ld-linux-x86-64.so.2" --library-path "$tools/usr/lib/x86_64-linux-gnu" \
        "$tools/usr/bin/qemu-system-x86_64" -L "$tools/usr/share/qemu" -L "$tools/usr/share/seabios" \
        -nodefaults -no-user-config -display none -no-reboot -net none \
        -machine pc -accel tcg,thread=multi -cpu qemu64,-cx16 -smp "$smp" -m "$mem" \
        -drive "file=$image/root.img,if=none,id=root,format=raw,snapshot=on,cache=unsafe" \
        -device virtio-blk-pci,drive=root \
        -drive "file=$dir/control,if=none,id=control,format=raw,cache=writethrough" \
        -device virtio-blk-pci,drive=control "${args[@]}" \
        -object rng-random,id=rng,filename=/dev/urandom -device virtio-rng-pci,rng=rng \
        -device virtio-serial-pci -chardev "file,id=out,path=$dir/out" -chardev "file,id=err,path=$dir/err" \
        -device virtserialport,chardev=out,nr=1 -device virtserialport,chardev=err,nr=2 \
        -chardev "file,id=console,path=$console" -serial chardev:console \
        -kernel "$image/vmlinuz-$linux" -initrd "$image/initrd-$linux" \
        -append "console=ttyS0 quiet loglevel=4 panic=-1 tsc=unstable clocksource=hpet no_timer_check \
            mitigations=off lsm=landlock,yama,apparmor,bpf systemd.unified_cgroup_hierarchy=1 \
            guest_init=$init ${kernel[*]}" \
        </dev/null >"$dir/log" 2>&1 5>&- 6>&- 8>&- 9>&- &
    machine=$!
}
