#!/bin/bash
# guest.sh: runs one command in a throw-away Linux guest with a pure cgroup v2.
#
# Many machines that build dhow have cgroup v1 or the hybrid, and no systemd. What dhow does on v2,
# beside systemd and below AppArmor is shown here: User Mode Linux (a kernel that is a program: no
# KVM, no root on the host) with a small Debian around it. Everything comes from Debian packages;
# the first call builds the guest into a cache in a few minutes, later calls boot it in seconds.
# The guest's disk is thrown away.
#
#   guest.sh build                 build or refresh the cache
#   guest.sh [OPTION…] -- CMD…     run CMD in a fresh guest; ends with its exit code,
#                                  124 at the time limit, 125 if the guest died
#   --qemu                         QEMU's machine with two CPUs (qemu.sh), not User Mode Linux
#   --kernel trixie|bullseye       with --qemu: Debian's 6.12 (else) or 5.10
#   --systemd                      systemd is the first process, not a shell script
#   --user                         as uid 1000 ("tester") with a delegated cgroup; with --systemd,
#                                  in a unit of its own user manager
#   --v1                           with --systemd: cgroup v1, as systemd sets it up
#   --share DIR[:GUESTDIR][:ro]    a host directory in the guest (repeatable)
#   --disk FILE                    a disk that is kept: /dev/ubdc in the guest
#   --cwd DIR  --env K=V  --mem MB (512)  --timeout S (300)  --console FILE (kernel log)
#
# $GUEST_CACHE: where the cache is (target/guest of this repository). Needs mmdebstrap, e2fsprogs,
# xz-utils and, for the build, root and a Debian mirror in apt's sources.
#
# How it works: the root disk is an ext4 image under UML's copy-on-write; a second disk carries the
# command in and its exit code out; stdout and stderr are two serial consoles; shares are hostfs.
# UML has one CPU and no cpuset, there is no terminal and no standard input (a command that wants
# one makes a pty), and time runs unevenly: limits are to be generous.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
cache=${GUEST_CACHE:-$here/../../target/guest}
packages=busybox-static,kmod,util-linux,mount,procps,iproute2,strace,attr,libcap2-bin
packages=$packages,systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,uidmap,apparmor
packages=$packages,crun,runc,podman,conmon,fuse-overlayfs,slirp4netns,passt,nftables

. "$here/qemu.sh"

die() { echo "guest.sh: $*" >&2; exit 125; }

# ---- build ----
# Each version of this script has an image of its own: two checkouts may share a cache.
build() {
    mkdir -p "$cache"
    local key from
    from=("$0")
    [ $kind = uml ] || { packages=$qemu_packages; from+=("$here/qemu.sh"); }
    key=$({ echo "$packages"; cat "$here/init" "$here/agent"; sed -n '/^# ---- build/,/^# ---- run/p' "${from[@]}"; } |
        sha256sum | cut -c1-12)
    image=$cache/image-$key
    [ ! -e "$image/done" ] || return 0
    exec 8>"$cache/lock"
    flock 8
    [ ! -e "$image/done" ] || return 0
    [ "$(id -u)" = 0 ] || die "the guest is built as root; run \`make guest\` once"
    local work=$cache/work
    clear_away "$work" "$image"
    mkdir -p "$work/debs" "$image"
    if [ $kind = qemu ]; then
        system "$work/root" "$qemu_suite" >&2
        qemu_kernels "$work" "$image" >&2
    else
        system "$work/root" "$(. /etc/os-release && echo "$VERSION_CODENAME")" >&2
        kernel "$work" "$image" >&2
    fi
    configure "$work/root"
    units "$work/root"
    truncate -s 4G "$work/root.img"
    mke2fs -q -F -t ext4 -O '^has_journal,^metadata_csum' -E lazy_itable_init=1,nodiscard -m 0 \
        -d "$work/root" "$work/root.img"
    chmod 444 "$work/root.img"
    mv -f "$work/root.img" "$image/"
    clear_away "$work"
    find "$cache" -maxdepth 1 -name 'image-*' -mtime +7 -exec rm -rf {} +
    touch "$image/done"
    exec 8>&-
}

# Removes directories; but never what is mounted in one: the host's.
clear_away() { rm -rf --one-file-system "$@"; }

# A line of apt's sources: a suite, from the host's own mirror.
source_of() {
    local keyring=/usr/share/keyrings/debian-archive-keyring.gpg mirror
    mirror=$(apt-get indextargets --format '$(SITE)' | grep '/debian/*$' | head -n 1)
    echo "deb [signed-by=$keyring] ${mirror:-http://deb.debian.org/debian} $1 main"
}

# A small Debian of a suite. What is mounted into it (parts of /dev, /proc and /sys) is mounted for
# mmdebstrap alone, and goes with it however that ends.
system() {
    unshare --mount --propagation private mmdebstrap --quiet --mode=root --variant=minbase --include=$packages \
        --aptopt='Apt::Install-Recommends "false"' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
        --dpkgopt=force-unsafe-io \
        "$2" "$1" "$(source_of "$2")"
    rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/*
}

# The kernel: a program and its modules, taken out of their package, not installed.
kernel() {
    (cd "$1/debs" && apt-get -q download -o APT::Sandbox::User=root user-mode-linux)
    dpkg -x "$1"/debs/user-mode-linux_*.deb "$1/uml"
    cp "$1/uml/usr/bin/linux.uml" "$2/linux.uml"
    local from version
    from=$(echo "$1"/uml/usr/lib/uml/modules/*)
    version=$(basename "$from")
    mkdir -p "$1/root/usr/lib/modules"
    cp -a "$from" "$1/root/usr/lib/modules/"
    rm -rf "$1/root/usr/lib/modules/$version"/kernel/{sound,drivers/{net/wireless,hwmon,usb}}
    chroot "$1/root" depmod "$version"
}

configure() {
    echo guest >"$1/etc/hostname"
    printf '127.0.0.1 localhost guest\n' >"$1/etc/hosts"
    : >"$1/etc/fstab"
    echo 0123456789abcdef0123456789abcdef >"$1/etc/machine-id"
    chroot "$1" useradd -u 1000 -m -s /bin/bash tester
    echo tester:100000:65536 | tee "$1/etc/subuid" >"$1/etc/subgid"
    install -m 755 "$here/init" "$1/usr/local/sbin/guest-init"
    install -m 755 "$here/agent" "$1/usr/local/sbin/guest-agent"
}

# systemd with nothing to do but the agent: no devices to wait for, no consoles, no clean-up.
units() {
    local etc=$1/etc/systemd unit
    mkdir -p "$etc"/{system.conf.d,journald.conf.d,system/user@.service.d,system-generators,user-generators}
    printf '[Manager]\nDefaultTimeoutStopSec=5s\nShowStatus=no\nLogLevel=warning\n' >"$etc/system.conf.d/guest.conf"
    printf '[Service]\nDelegate=cpu cpuset io memory pids\n' >"$etc/system/user@.service.d/delegate.conf"
    printf '[Journal]\nStorage=volatile\nRateLimitBurst=0\n' >"$etc/journald.conf.d/guest.conf"
    for unit in systemd-{random-seed,update-utmp,hwdb-update,journal-catalog-update,machine-id-commit,pstore}.service \
        systemd-{firstboot,sysctl,journal-flush,remount-fs,sysusers,update-done,modules-load}.service \
        systemd-tmpfiles-{setup-dev.service,setup-dev-early.service,clean.timer} systemd-ask-password-{wall,console}.path \
        getty.target apparmor.service ldconfig.service modprobe@.service kmod-static-nodes.service \
        apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
        fstrim.timer podman{,-auto-update,-restart,-clean-transient}.service podman{,-auto-update}.timer podman.socket \
        dev-hugepages.mount sys-kernel-{debug,tracing,config}.mount proc-sys-fs-binfmt_misc.automount run-lock.mount; do
        ln -sf /dev/null "$etc/system/$unit"
    done
    for unit in "$1"/usr/lib/systemd/system-generators/*; do
        [ ! -e "$unit" ] || ln -sf /dev/null "$etc/system-generators/$(basename "$unit")"
    done
    cat >"$etc/system/guest.target" <<'END'
[Unit]
Requires=basic.target guest-agent.service
Wants=dbus.socket
After=basic.target
AllowIsolate=yes
END
    cat >"$etc/system/guest-agent.service" <<'END'
[Unit]
After=basic.target dbus.socket
[Service]
ExecStart=/usr/local/sbin/guest-agent
Delegate=yes
KillMode=none
TasksMax=infinity
StandardOutput=null
StandardError=tty
TTYPath=/dev/console
END
    ln -sf guest.target "$etc/system/default.target"
}

# ---- run ----
kind=uml
[ "${1:-}" != build ] || { [ "${2:-}" != --qemu ] || kind=qemu; build; exit 0; }
smp=2 linux=trixie
user=0 mem=512 limit=300 cwd=/ console='' disk='' init=/usr/local/sbin/guest-init shares=() envs=() kernel=()
while [ $# -gt 0 ]; do
    case $1 in
    --user) user=1 ;;
    --systemd) init=/lib/systemd/systemd ;;
    --qemu) kind=qemu ;;
    --kernel) linux=$2; shift ;;
    --v1) kernel+=(systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1) ;;
    --share)
        IFS=: read -r from to ro <<<"$2"
        from=$(realpath "$from")
        shares+=("$from:${to:-$from}${ro:+:ro}")
        shift
        ;;
    --disk) disk=$2; shift ;;
    --cwd) cwd=$2; shift ;;
    --env) envs+=("$2"); shift ;;
    --mem) mem=$2; shift ;;
    --timeout) limit=$2; shift ;;
    --console) console=$2; shift ;;
    --) shift; break ;;
    -*) die "unknown option $1" ;;
    *) break ;;
    esac
    shift
done
[ $# -gt 0 ] || die "no command; see the head of $0"
build

dir=$(mktemp -d "${TMPDIR:-/tmp}/dhow-guest.XXXXXX")
machine='' pipes=()
cleanup() {
    set +e
    [ -z "$machine" ] || kill "$machine" 2>/dev/null
    wait 2>/dev/null
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP
console=${console:-$dir/console}
# The second disk: 512 bytes for the answer, then settings, a line of its own, the command.
{
    head -c 512 /dev/zero
    echo "user=$user cwd=${cwd@Q} shares=(${shares[*]@Q})"
    echo '#--8<--'
    for e in "${envs[@]}"; do printf 'export %s=%q\n' "${e%%=*}" "${e#*=}"; done
    printf '%q ' "$@"
    echo
} >"$dir/control"
truncate -s %64K "$dir/control"

# UML keeps the guest's memory in a file in TMPDIR, mapped: on a tmpfs, please.
uml() {
    HOME=$dir TMPDIR=/dev/shm timeout -k 5 "$limit" "$image/linux.uml" umid=guest uml_dir="$dir/uml" \
        mem="${mem}M" ubd0="$dir/cow,$image/root.img" ubd1="$dir/control" ${disk:+ubd2="$disk"} \
        root=/dev/ubda rootfstype=ext4 rw init="$init" quiet loglevel=4 panic=-1 \
        lsm=landlock,yama,apparmor,bpf systemd.unified_cgroup_hierarchy=1 "${kernel[@]}" \
        random.trust_cpu=on con=null con0=null,fd:7 con1=null,fd:5 con2=null,fd:6 ssl=null \
        </dev/null 7>"$console" >"$dir/log" 2>&1 &
    machine=$!
}

exec 5>&1 6>&2
$kind
set +e
wait "$machine"
ended=$?
machine=
exec 8>&- 9>&-
[ ${#pipes[@]} = 0 ] || wait "${pipes[@]}"
answer=$(head -c 512 "$dir/control" | tr -d '\0' | head -n 1)
case $answer in rc=*) exit "${answer#rc=}" ;; esac
[ $ended != 124 ] || { echo "guest.sh: time limit of $limit s" >&2; tail -n 20 "$console" >&2; exit 124; }
echo "guest.sh: no answer from the guest ($kind ended with $ended)" >&2
tail -n 30 "$console" "$dir/log" >&2
exit 125
