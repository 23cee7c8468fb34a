#!/bin/sh
# fuzz/run.sh TARGET [libFuzzer's flags]: builds and runs one target. Wants stable Rust and a C++
# compiler; the crate libfuzzer-sys brings libFuzzer along. What it has learnt lies in fuzz/corpus, and begins
# with what seeds.sh makes.
set -eu
cd "$(dirname "$0")"
target=$1
shift
arch=$(rustc --print host-tuple)
passes="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
for part in inline-8bit-counters pc-table trace-compares; do
    passes="$passes -Cllvm-args=-sanitizer-coverage-$part"
done
RUSTFLAGS="$passes" cargo build --release --target "$arch" --bin "$target"
[ -d "corpus/$target" ] || ./seeds.sh "$target" "corpus/$target"
exec "${CARGO_TARGET_DIR:-target}/$arch/release/$target" -rss_limit_mb=1024 -timeout=20 "$@" \
    "corpus/$target"
