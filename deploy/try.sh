#!/usr/bin/env bash
# Runs the gate in a real Envoy in front of a real httpbin; --help lists the options.
set -euo pipefail

exec "$(dirname -- "${BASH_SOURCE[0]}")/../.cargo/gate.sh" try "$@"
