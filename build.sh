#!/usr/bin/env bash
# Builds plugin.wasm. `./build.sh --help` lists the options; the work is in tools/cli.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
if ! command -v cargo >/dev/null; then
    echo "error: cargo is not on PATH: install Rust, see https://rustup.rs" >&2
    exit 1
fi
quiet=(--quiet)
if [[ ! -x ${CARGO_TARGET_DIR:-$root/target}/debug/gate ]]; then
    echo "build.sh: compiling the build tools; this first run takes a minute" >&2
    quiet=()
fi
exec cargo run ${quiet[@]+"${quiet[@]}"} --locked --manifest-path "$root/Cargo.toml" \
    --package header-gate-tools -- build "$@"
