#!/usr/bin/env bash
# Asks a gate that serves whether it does what its policy says; --help says more.
set -euo pipefail

exec "$(dirname -- "${BASH_SOURCE[0]}")/../tools/run.sh" header-gate-tools gate probe "$@"
