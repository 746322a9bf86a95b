#!/usr/bin/env bash
# Pushes the plugin to a registry as an OCI image, and pins it in the manifests; --help says more.
set -euo pipefail

exec "$(dirname -- "${BASH_SOURCE[0]}")/../tools/run.sh" header-gate-host push "$@"
