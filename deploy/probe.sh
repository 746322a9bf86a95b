#!/usr/bin/env bash
# Asks a gate that serves whether it does what its policy says; --help says more.
set -euo pipefail

if ! command -v cargo >/dev/null; then
  echo "error: cargo is not on PATH; install Rust from https://rustup.rs" >&2
  exit 1
fi
root=$(cd "$(dirname "$0")/.." && pwd)
exec cargo run --locked --quiet --manifest-path "$root/Cargo.toml" -p header-gate-tools -- probe "$@"
