#!/usr/bin/env bash
# Pushes the plugin to a registry as an OCI image, and pins it in the manifests; --help says more.
set -euo pipefail

if ! command -v cargo >/dev/null; then
  echo "error: cargo is not on PATH; install Rust from https://rustup.rs" >&2
  exit 1
fi
root=$(cd "$(dirname "$0")/.." && pwd)
exec cargo run --locked --quiet --manifest-path "$root/Cargo.toml" -p header-gate-tools -- push "$@"
