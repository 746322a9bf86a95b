#!/usr/bin/env bash
# Compiles and runs `gate`, the command in crates/gate: what build.sh and deploy/*.sh call.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
if ! command -v cargo >/dev/null; then
    echo "error: cargo is not on PATH: install Rust, see https://rustup.rs" >&2
    exit 1
fi
# An older cargo cannot read the manifest, and only says that it lacks edition2024.
needed=$(sed -n 's/^rust-version = "1\.\([0-9]*\)"$/\1/p' "$root/Cargo.toml")
found=$(cargo --version)
minor=${found#cargo 1.}
if ((${minor%%.*} < needed)); then
    echo "error: Rust 1.$needed or newer is needed, and this is $found: run rustup update, or see https://rustup.rs" >&2
    exit 1
fi
quiet=(--quiet)
if [[ ! -x ${CARGO_TARGET_DIR:-$root/target}/debug/gate ]]; then
    echo "gate: compiling the command; the first run takes some minutes" >&2
    quiet=()
fi
# exec, so that a signal reaches the program, which ends what it started.
exec cargo run ${quiet[@]+"${quiet[@]}"} --locked --manifest-path "$root/Cargo.toml" \
    --package header-gate-cli --bin gate -- "$@"
