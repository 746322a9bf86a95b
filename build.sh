#!/usr/bin/env bash
# Builds plugin.wasm. `./build.sh --help` lists the options; the work is in crates/gate.
set -euo pipefail

exec "$(dirname -- "${BASH_SOURCE[0]}")/.cargo/gate.sh" build "$@"
