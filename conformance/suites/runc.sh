#!/bin/bash
# runc's tests/integration (bats), over runc and over dhow-runtime. Their images, which come from
# the Internet, are made of Debian's packages here, and two helpers in Go have stand-ins in Python.
. "$(dirname "$0")/lib.sh"
EXTENSION=.bats

FAST=(create.bats cwd.bats delete.bats dev.bats exec.bats kill.bats list.bats mask.bats ps.bats run.bats
    seccomp-notify.bats start_hello.bats state.bats tty.bats umask.bats)

# Without those that need criu, systemd or sshfs.
ALL=("${FAST[@]}" cgroup_delegation.bats cgroups.bats debug.bats events.bats help.bats hooks.bats mounts.bats
    mounts_recursive.bats no_pivot.bats pause.bats root.bats seccomp.bats spec.bats start.bats start_detached.bats
    update.bats userns.bats version.bats)

prepare() {
    source_of runc
    [ -e "$CACHE/busybox.tar" ] || {
        local root
        root=$(mktemp -d)
        chmod 755 "$root"
        rootfs "$root"
        # As docker's image has them: no user 1000.
        sed -i /user/d "$root/etc/passwd" "$root/etc/group"
        mkdir -p "$root"/{sbin,usr/bin,usr/sbin,home,var/spool,var/www}
        tar -C "$root" -cf "$CACHE/busybox.tar.new" . && mv "$CACHE/busybox.tar.new" "$CACHE/busybox.tar"
        rm -rf "$root"
    }
    # Only hooks.bats needs it: ldconfig and a shell.
    [ -e "$CACHE/debian.tar" ] || [[ " $* " != *" hooks.bats "* ]] ||
        mmdebstrap -q --variant=extract --include=libc-bin,dash,grep,coreutils,sed --format=tar \
            "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$CACHE/debian.tar"
}

# The tests' own script would download; it says where the images are.
images() {
    cat <<'SH'
#!/bin/sh
echo BUSYBOX_IMAGE=$CACHE/busybox.tar
echo DEBIAN_IMAGE=$CACHE/debian.tar
SH
}

# The stand-ins start slower than what they stand in for.
waiting() {
    cat <<'SH'
eval "$(declare -f setup_recvtty | sed '1s/.*/start_recvtty ()/')"
eval "$(declare -f setup_seccompagent | sed '1s/.*/start_seccompagent ()/')"
setup_recvtty() {
    start_recvtty && until [ -S "$CONSOLE_SOCKET" ]; do sleep 0.01; done
}
setup_seccompagent() {
    start_seccompagent && until [ -S "$SECCCOMP_AGENT_SOCKET" ]; do sleep 0.01; done
}
SH
}

work() {
    local tests=$SCRATCH/runc/tests/integration file
    cp -r "$CACHE/runc" "$SCRATCH/runc"
    images >"$tests/get-images.sh"
    for file in recvtty seccompagent; do
        cp "$SUITES/$file.py" "$SCRATCH/runc/contrib/cmd/$file/$file"
    done
    waiting >>"$tests/helpers.bash"
    cd "$tests" || exit 1
    # By the name that help tells.
    ln -s "$RUNTIME" "$SCRATCH/runc/runc"
    export RUNC=$SCRATCH/runc/runc CACHE BATS_TMPDIR=$TMPDIR
    mkfifo "$SCRATCH/nothing" && exec 8<>"$SCRATCH/nothing"
    for file in "$@"; do
        # A terminal: runc opens /dev/tty.
        timeout -k 5 120 script -qec "bats --tap $file" /dev/null <&8 >"$SCRATCH/tap" 2>&1
        [ -z "${VERBOSE:-}" ] || cat "$SCRATCH/tap" >&2
        tap "${file%.bats}" <"$SCRATCH/tap" >>"$RESULT"
    done
}

[ $# -gt 0 ] || set -- "${ALL[@]}"
suite runc "$@"
