#!/usr/bin/env bash
# Runs the gate in a real Envoy in front of a real httpbin. `deploy/try.sh --help` lists the options.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
if ! command -v cargo >/dev/null; then
    echo "error: cargo is not on PATH: install Rust, see https://rustup.rs" >&2
    exit 1
fi
quiet=(--quiet)
if [[ ! -x ${CARGO_TARGET_DIR:-$root/target}/debug/gate ]]; then
    echo "try.sh: compiling the tools; this first run takes a minute" >&2
    quiet=()
fi
# exec, so that a signal reaches the program that started Envoy and httpbin, and stops them.
exec cargo run ${quiet[@]+"${quiet[@]}"} --locked --manifest-path "$root/Cargo.toml" \
    --package header-gate-tools -- try "$@"
