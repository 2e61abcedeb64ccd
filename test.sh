#!/usr/bin/env bash
# Passes all tests. Needs a Rust toolchain and a C compiler; installs nothing else.
set -euo pipefail
cd "$(dirname "$0")"
cargo fmt --all --check
cargo clippy --workspace --all-targets --quiet
cargo test --workspace
