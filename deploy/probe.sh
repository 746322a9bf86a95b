#!/usr/bin/env bash
# Checks a running gate against its policy; --help lists the options.
set -euo pipefail

exec "$(dirname -- "${BASH_SOURCE[0]}")/../.cargo/gate.sh" probe "$@"
