#!/bin/bash
# dockerd and dhow-image exchange images: each form of `save`, both ways, and by docker's socket. The runtime is
# no part of it: the two runs, over runc and over dhow-runtime, say the same.
. "$(dirname "$0")/lib.sh"
need docker.io containerd runc tini iptables iproute2 busybox-static

d() {
    timeout 90 docker "$@"
}

i() {
    timeout 90 "$(dirname "$DHOW")/dhow-image" "$@"
}

set_up() {
    export DOCKER_HOST=unix:///run/docker.sock DOCKER_CONFIG=$SCRATCH/client DOCKER_BUILDKIT=0
    export DHOW_ROOT=$SCRATCH/images DHOW_RUN=$SCRATCH/images-run
    mkdir -p "$DOCKER_CONFIG"
    printf '{"runtimes": {"under": {"path": "%s"}}, "default-runtime": "under"}\n' "$(runtime_path)" >"$SCRATCH/daemon.json"
    dockerd --data-root "$SCRATCH/docker" --exec-root /run/docker --pidfile /run/docker.pid -H "$DOCKER_HOST" \
        --config-file "$SCRATCH/daemon.json" >>"$SCRATCH/dockerd.log" 2>&1 &
    disown
    until_true 60 d version || { cat "$SCRATCH/dockerd.log" >&2; exit 1; }
    rootfs "$SCRATCH/box"
    tar -C "$SCRATCH/box" -c . | d import - made:1 >/dev/null
    # Two layers; the upper one hides, changes and links.
    printf 'FROM made:1\nRUN echo two >/two && ln /two /too && chmod 4750 /two && rm /bin/vi\nCMD cat /too\n' >"$SCRATCH/Dockerfile"
    d build -q --network none -t made:2 - <"$SCRATCH/Dockerfile" >/dev/null
}

theirs() {
    d image inspect --format '{{.Id}}' "$1"
}

ours() {
    i inspect "$1" | sed -n 's/^ *"id": "\(sha256:[0-9a-f]*\)",\{0,1\}$/\1/p'
}

# passed ID NAME: dockerd has the image, and runs it; then it is gone from there.
passed() {
    [ "$(theirs "$2")" = "$1" ] && d run --rm --network=none "$2" &&
        d run --rm --network=none "$2" sh -c 'test ! -e /bin/vi && stat -c "%a %h" /two'
    d rmi -f "$2" >/dev/null
}

# exchanged FLAG…: what is saved so is loaded by docker.
exchanged() {
    i tag made:2 moved:1 && i save -q -o "$SCRATCH/saved" "$@" moved:1 && d load -qi "$SCRATCH/saved" >/dev/null &&
        passed "$(ours made:2)" moved:1
    local code=$?
    rm -f "$SCRATCH/saved"
    return $code
}

work() {
    set_up
    check 'docker save | load' 'docker.io/library/made:2' eval 'd save made:2 | i load -q'
    check 'it is the same image' 'same' eval '[ "$(theirs made:2)" = "$(ours made:2)" ] && echo same'
    check 'save' 'two 4750 2' exchanged
    check 'save --uncompressed' 'two 4750 2' exchanged --uncompressed
    check 'save --compress' 'two 4750 2' exchanged --compress
    # Docker reads archives without docker's manifest.json since 25.
    if [ "$(d version --format '{{.Server.Version}}' | cut -d. -f1)" -ge 25 ]; then
        check 'save --format oci-archive' 'two 4750 2' exchanged --format oci-archive
    else
        check 'save --format oci-archive' '*no such file or directory*' exchanged --format oci-archive
    fi
    check 'save | docker load' 'Loaded image: piped:1 two 4750 2' eval \
        'i tag made:2 piped:1; i save -q piped:1 | d load -q; passed "$(ours made:2)" piped:1'
    check 'save of several' 'two two' eval 'i tag made:2 a:1; i tag made:2 b:2; i save -q a:1 b:2 made:2 | d load -q >/dev/null
        d run --rm --network=none a:1; d run --rm --network=none b:2; d rmi a:1 b:2 >/dev/null'
    check 'of several by docker' 'made:1 made:2' eval 'd save made:1 made:2 | i --root "$SCRATCH/other" load -q >/dev/null
        i --root "$SCRATCH/other" list --json | grep -o "made:[12]" | sort -u'
    check 'docker-daemon: both ways' 'two 4750 2' eval 'i copy -q docker-daemon:made:2 fetched:1 >/dev/null
        i copy -q fetched:1 docker-daemon:posted:1 >/dev/null; passed "$(ours made:2)" posted:1'
    check 'a link into a lower layer' '*link*no such file or directory*[[]1]' below
    check 'verify' '' i verify
}

# docker's overlay2, as podman's overlay, unpacks each layer alone, where a link to a file of the lower one finds
# nothing; whoever made the archive.
below() {
    mkdir -p "$SCRATCH/below/one" "$SCRATCH/below/two"
    cp "$(command -v busybox)" "$SCRATCH/below/one/sh"
    ln "$SCRATCH/below/one/sh" "$SCRATCH/below/two/link"
    tar -C "$SCRATCH/below/one" -cf "$SCRATCH/below/one.tar" sh
    tar -C "$SCRATCH/below" --transform 's,^.*/,,' -cf "$SCRATCH/below/two.tar" one/sh two/link
    tar --delete -f "$SCRATCH/below/two.tar" sh
    i import -q "$SCRATCH/below/one.tar" linked:0 >/dev/null &&
        i append -q -b linked:0 -f "$SCRATCH/below/two.tar" -t linked:1 >/dev/null || return
    i save -q linked:1 | d load -q
}

compare
