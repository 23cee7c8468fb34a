#!/bin/sh
# fuzz/seeds.sh TARGET DIRECTORY: what a run begins with, so that it need not find a tar's checksum or a
# gzip's by chance. Wants GNU tar, gzip, zstd, xz, bzip2, and for archives $DHOW_IMAGE.
set -eu
target=$1
mkdir -p "$2"
to=$(cd "$2" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# Files of every kind, as three dialects have them.
tars() {
    mkdir -p t/d
    echo hi >t/d/f
    ln -s f t/d/s
    ln t/d/f t/d/h
    mkfifo t/p
    truncate -s 100000 t/sparse
    echo x >>t/sparse
    touch t/.wh.old t/d/.wh..wh..opq
    tar -cf ustar.tar --format=ustar -C t d p
    tar -Scf gnu.tar --format=gnu -C t .
    tar -Scf pax.tar --format=pax -C t .
}

# Answers of a registry, a line between them; `%` has one drip.
answers() {
    end='Content-Length: 0\r\nConnection: close\r\n\r\n\n---\n'
    printf 'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\n'"$end"'HTTP/1.1 202 A\r\nLocation: /v2/x/u\r
Range: 0-1\r\nOCI-Chunk-Min-Length: 9\r\n'"$end"'HTTP/1.1 201 A\r\n'"$end" >"$to/upload"
    printf 'HTTP/1.1 200 OK\r\nLink: </v2/x/tags/list?last=t>; rel="next"\r\nContent-Length: 14\r
Connection: close\r\n\r\n{"tags":["t"]}\n---\nHTTP/1.1 200 OK\r\nContent-Length: 38\r
Connection: close\r\n\r\n{"results":[{"name":"a","is_x":null}]}' >"$to/lists"
    printf 'HTTP/1.1 307 R\r\nLocation: /v2/x/other\r\n'"$end"'%%HTTP/1.1 200 OK\r
Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n' >"$to/blob"
}

case $target in
tar)
    tars
    cat gnu.tar pax.tar >"$to/gnu-pax"
    cat pax.tar ustar.tar >"$to/pax-ustar"
    ;;
gzip)
    tars
    gzip -nc pax.tar >"$to/gzip"
    { gzip -n1c ustar.tar && gzip -n9c ustar.tar; } >"$to/members"
    zstd -qc pax.tar >"$to/zstd"
    ;;
archive)
    tars
    image=${DHOW_IMAGE:?is to be the program dhow-image}
    export DHOW_ROOT="$work/root"
    "$image" import -q ustar.tar a:1 >/dev/null
    "$image" import -q pax.tar b:1 >/dev/null
    "$image" save -q -o "$to/two" a:1 b:1
    "$image" copy -q a:1 "docker-archive:$to/docker:a:1"
    for filter in gzip zstd xz bzip2; do $filter -c <"$to/docker" >"$to/$filter"; done
    ;;
manifest)
    sum=sha256:$(printf '%064d' 0)
    at='"mediaType":"application/vnd.oci.image.'
    blob='"digest":"'$sum'","size":3}'
    printf '{"schemaVersion":2,%smanifest.v1+json","config":{%sconfig.v1+json",%s,"layers":[{%slayer.v1.tar+gzip",%s]}' \
        "$at" "$at" "$blob" "$at" "$blob" >"$to/manifest"
    printf '{"schemaVersion":2,"manifests":[{%smanifest.v1+json","platform":{"os":"linux","architecture":"arm64","variant":"v8"},%s]}' \
        "$at" "$blob" >"$to/list"
    printf '{"os":"linux","architecture":"amd64","config":{"User":"1:2","Env":["A=1"],"Volumes":{"/v":{}},"Labels":{"a":"b"}},"rootfs":{"type":"layers","diff_ids":["%s"]},"history":[{"created_by":"x"}]}' \
        "$sum" >"$to/config"
    ;;
answers) answers ;;
dockerfile)
    printf 'FROM busybox AS a\nARG x=${y:-z}\nRUN --mount=type=cache,target=/c <<EOF\necho $x\nEOF\nCOPY --from=a --chown=1:2 [ "x y", "/d/" ]\nHEALTHCHECK --interval=3s CMD true\n' \
        >"$to/stages"
    ;;
esac
