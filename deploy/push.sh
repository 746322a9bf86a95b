#!/usr/bin/env bash
# Pushes the plugin to a registry as an OCI image, and pins it in the manifests; --help lists the options.
set -euo pipefail

exec "$(dirname -- "${BASH_SOURCE[0]}")/../.cargo/gate.sh" push "$@"
