#!/usr/bin/env bash
# Fuzzes each target: a bounded number of runs, or for SECONDS each. `fuzz/run.sh [SECONDS]`
# New inputs go below target/fuzz/; a failing one goes to fuzz/artifacts/, and fails this.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

limit=()
case $#:${1-} in
  0:) ;;
  1:*[!0-9]* | 1:) echo "error: fuzz/run.sh takes nothing, or a number of seconds" >&2; exit 1 ;;
  1:*) limit=("-max_total_time=$1") ;;
  *) echo "error: fuzz/run.sh takes one number of seconds" >&2; exit 1 ;;
esac

if ! cargo fuzz --version >/dev/null 2>&1; then
  echo "fuzz/run.sh: installing cargo-fuzz from crates.io (a minute)" >&2
  cargo install --quiet --locked --version 0.13.2 cargo-fuzz
fi

# Without a sanitizer, and with the toolchain at hand: the code under test is free of `unsafe`, or in
# a WebAssembly sandbox whose memory the target compares.
for target in decision policy module; do
  found=$PWD/../target/fuzz/corpus/$target
  mkdir -p "$found"
  printf '\n== fuzz %s\n' "$target"
  # What is enough for the corpus and a while of mutations, on any machine.
  case $target in
    module) runs=20000 ;;
    *) runs=100000 ;;
  esac
  cargo fuzz run --sanitizer none --target-dir ../target/fuzz "$target" "$found" "corpus/$target" -- \
    -seed=1 -max_len=4096 -dict="$PWD/policy.dict" -print_final_stats=1 \
    "${limit[@]:--runs=$runs}"
done
