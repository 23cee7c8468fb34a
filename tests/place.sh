#!/bin/sh
# place.sh FROM TO: puts the three programs from cargo's folder FROM into TO, each in one step, so
# that one that is running is not in the way.
set -eu
mkdir -p "$2"
for program in dhow dhow-image dhow-runtime; do
    cp "$1/$program" "$2/.$program.new"
    mv "$2/.$program.new" "$2/$program"
done
