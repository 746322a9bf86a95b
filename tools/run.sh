#!/usr/bin/env bash
# Runs a program of these tools, `tools/run.sh PACKAGE PROGRAM [ARGUMENT...]`: what is behind build.sh
# and deploy/*.sh.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
package=$1 program=$2
shift 2
if ! command -v cargo >/dev/null; then
    echo "error: cargo is not on PATH: install Rust, see https://rustup.rs" >&2
    exit 1
fi
quiet=(--quiet)
if [[ ! -x ${CARGO_TARGET_DIR:-$root/target}/debug/$program ]]; then
    echo "gate: compiling the tools; the first run takes a minute or more" >&2
    quiet=()
fi
# exec, so that a signal reaches the program, which takes along what it started.
exec cargo run ${quiet[@]+"${quiet[@]}"} --locked --manifest-path "$root/Cargo.toml" \
    --package "$package" --bin "$program" -- "$@"
