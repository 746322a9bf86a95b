#!/usr/bin/env bash
# Fuzzes each target: a bounded number of runs, or SECONDS each. `fuzz/run.sh [SECONDS]`
# New inputs go to target/fuzz/corpus/; a failing one goes to fuzz/artifacts/, and fails this script.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

limit=()
case $#:${1-} in
  0:) ;;
  1:*[!0-9]* | 1:) echo "error: fuzz/run.sh takes no argument, or a number of seconds" >&2; exit 1 ;;
  1:*) limit=("-max_total_time=$1") ;;
  *) echo "error: fuzz/run.sh takes at most one argument, a number of seconds" >&2; exit 1 ;;
esac

if ! cargo fuzz --version >/dev/null 2>&1; then
  echo "fuzz/run.sh: installing cargo-fuzz 0.13.2 from crates.io (takes a minute)" >&2
  cargo install --quiet --locked --version 0.13.2 cargo-fuzz
fi

# The workspace's release profile is the plugin's, for size. (The modules under test are compiled by
# `gate build`, which does not see these variables.)
export CARGO_PROFILE_RELEASE_OPT_LEVEL=3 CARGO_PROFILE_RELEASE_LTO=false \
  CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_STRIP=false

# Without a sanitizer, so with the installed toolchain: the code under test has no `unsafe`, or runs in a
# WebAssembly sandbox whose memory the target compares.
for target in decision except policy config module; do
  found=$PWD/../target/fuzz/corpus/$target
  mkdir -p "$found"
  printf '\n== fuzz %s\n' "$target"
  case $target in
    config | module) runs=5000 ;;
    *) runs=50000 ;;
  esac
  cargo fuzz run --features libfuzzer --sanitizer none --target-dir ../target/fuzz \
    "$target" "$found" "corpus/$target" -- \
    -seed=1 -max_len=4096 -dict="$PWD/policy.dict" -print_final_stats=1 "${limit[@]:--runs=$runs}"
done
