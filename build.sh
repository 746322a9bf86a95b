#!/usr/bin/env bash
# Builds plugin.wasm. `./build.sh --help` lists the options; the work is in tools/cli.
set -euo pipefail

exec "$(dirname -- "${BASH_SOURCE[0]}")/tools/run.sh" header-gate-tools gate build "$@"
