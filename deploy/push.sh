#!/usr/bin/env bash
# Pushes the plugin to a registry and pins its digest in the manifests. `deploy/push.sh --help` lists the options.
set -euo pipefail

exec "$(dirname -- "${BASH_SOURCE[0]}")/../.cargo/gate.sh" push "$@"
