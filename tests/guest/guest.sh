#!/bin/bash
# guest.sh: runs one command in a throw-away Linux guest with a pure cgroup v2.
#
# Many machines that build dhow have cgroup v1 or the hybrid. What dhow does on v2 is shown here:
# User Mode Linux (a kernel that is a program: no KVM, no root on the host) with a small Debian
# around it. Everything comes from Debian packages; the first call builds the guest into a cache in
# less than two minutes, later calls boot it in seconds. The guest's disk is thrown away.
#
#   guest.sh build                 build or refresh the cache
#   guest.sh [OPTION…] -- CMD…     run CMD in a fresh guest; ends with its exit code,
#                                  124 at the time limit, 125 if the guest died
#   --user                         as uid 1000 ("tester") with a delegated cgroup
#   --share DIR[:GUESTDIR][:ro]    a host directory in the guest (repeatable)
#   --disk FILE                    a disk that is kept: /dev/ubdc in the guest
#   --cwd DIR  --env K=V  --mem MB (512)  --timeout S (300)  --console FILE (kernel log)
#
# $GUEST_CACHE: where the cache is (target/guest of this repository). Needs mmdebstrap, e2fsprogs,
# xz-utils and, for the build, root and a Debian mirror in apt's sources.
#
# How it works: the root disk is an ext4 image under UML's copy-on-write; a second disk carries the
# command in and its exit code out; stdout and stderr are two serial consoles; shares are hostfs.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
cache=${GUEST_CACHE:-$here/../../target/guest}
packages=busybox-static,kmod,util-linux,mount,procps,crun,runc

die() { echo "guest.sh: $*" >&2; exit 125; }

# ---- build ----
build() {
    mkdir -p "$cache"
    exec 8>"$cache/lock"
    flock 8
    local key
    key=$({ echo "$packages"; cat "$here/init"; sed -n '/^# ---- build/,/^# ---- run/p' "$0"; } | sha256sum | cut -c1-12)
    [ "$(cat "$cache/stamp" 2>/dev/null)" != "$key" ] || return 0
    [ "$(id -u)" = 0 ] || die "the guest is built as root; run \`make guest\` once"
    rm -f "$cache/stamp"
    local work=$cache/work
    rm -rf "$work"
    mkdir -p "$work/debs"
    system "$work/root" >&2
    kernel "$work" >&2
    configure "$work/root"
    truncate -s 2G "$work/root.img"
    mke2fs -q -F -t ext4 -O '^has_journal,^metadata_csum' -E lazy_itable_init=1,nodiscard -m 0 \
        -d "$work/root" "$work/root.img"
    chmod 444 "$work/root.img"
    mv -f "$work/root.img" "$work/linux.uml" "$cache/"
    rm -rf "$work"
    echo "$key" >"$cache/stamp"
}

# A small Debian, of the host's own release and from its own mirror.
system() {
    local release keyring=/usr/share/keyrings/debian-archive-keyring.gpg mirror
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mirror=$(apt-get indextargets --format '$(SITE)' | grep '/debian/*$' | head -n 1)
    mmdebstrap --quiet --mode=root --variant=essential --include=$packages \
        --aptopt='Apt::Install-Recommends "false"' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
        "$release" "$1" "deb [signed-by=$keyring] ${mirror:-http://deb.debian.org/debian} $release main"
}

# The kernel: a program and its modules, taken out of their package, not installed.
kernel() {
    (cd "$1/debs" && apt-get -q download -o APT::Sandbox::User=root user-mode-linux)
    dpkg -x "$1"/debs/user-mode-linux_*.deb "$1/uml"
    cp "$1/uml/usr/bin/linux.uml" "$1/linux.uml"
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
    echo 'tester:x:1000:1000::/home/tester:/bin/bash' >>"$1/etc/passwd"
    echo 'tester:x:1000:' >>"$1/etc/group"
    install -d -o 1000 -g 1000 "$1/home/tester"
    echo tester:100000:65536 | tee "$1/etc/subuid" >"$1/etc/subgid"
    install -m 755 "$here/init" "$1/usr/local/sbin/guest-init"
}

# ---- run ----
[ "${1:-}" != build ] || { build; exit 0; }
user=0 mem=512 limit=300 cwd=/ console='' disk='' shares=() envs=()
while [ $# -gt 0 ]; do
    case $1 in
    --user) user=1 ;;
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
uml=
cleanup() {
    set +e
    [ -z "$uml" ] || kill "$uml" 2>/dev/null
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

exec 5>&1 6>&2
# UML keeps the guest's memory in a file in TMPDIR, mapped: on a tmpfs, please.
HOME=$dir TMPDIR=/dev/shm timeout -k 5 "$limit" "$cache/linux.uml" umid=guest uml_dir="$dir/uml" \
    mem="${mem}M" ubd0="$dir/cow,$cache/root.img" ubd1="$dir/control" ${disk:+ubd2="$disk"} \
    root=/dev/ubda rootfstype=ext4 rw init=/usr/local/sbin/guest-init quiet loglevel=4 panic=-1 \
    random.trust_cpu=on con=null con0=null,fd:7 con1=null,fd:5 con2=null,fd:6 ssl=null \
    </dev/null 7>"$console" >"$dir/log" 2>&1 8>&- &
uml=$!
set +e
wait "$uml"
ended=$?
uml=
answer=$(head -c 512 "$dir/control" | tr -d '\0' | head -n 1)
case $answer in rc=*) exit "${answer#rc=}" ;; esac
[ $ended != 124 ] || { echo "guest.sh: time limit of $limit s" >&2; tail -n 20 "$console" >&2; exit 124; }
echo "guest.sh: no answer from the guest (UML ended with $ended)" >&2
tail -n 30 "$console" "$dir/log" >&2
exit 125
