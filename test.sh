#!/usr/bin/env bash
# Passes all tests. Needs a Rust toolchain and a C compiler; for the GPU backend's tests it installs LLVM and MLIR 22
# from Debian's packages where they are missing. NESTOR_WITHOUT_CUDA=1 leaves that backend and its tests out.
set -euo pipefail
cd "$(dirname "$0")"

features=(--features nestor-tests/cuda,nestor/cuda)
if [ -n "${NESTOR_WITHOUT_CUDA:-}" ]; then
    echo "test.sh: without the GPU backend and its tests (NESTOR_WITHOUT_CUDA is set)"
    features=()
elif [ -z "${MLIR_SYS_220_PREFIX:-}" ]; then
    packages=(libmlir-22-dev llvm-22-dev libpolly-22-dev libclang-22-dev
              libzstd-dev zlib1g-dev libxml2-dev libz3-dev g++)
    missing=()
    for package in "${packages[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing+=("$package")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        root=()
        if [ "$(id -u)" -ne 0 ]; then root=(sudo); fi
        if ! command -v apt-get >/dev/null; then
            echo "test.sh: the GPU backend needs LLVM and MLIR 22, which this script installs on Debian only." >&2
            echo "Set MLIR_SYS_220_PREFIX, TABLEGEN_220_PREFIX and LIBCLANG_PATH to yours, or NESTOR_WITHOUT_CUDA=1." >&2
            exit 1
        fi
        "${root[@]}" apt-get update -qq
        "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
    fi
fi

cargo fmt --all --check
cargo clippy --workspace --all-targets --quiet "${features[@]}" -- -D warnings
cargo test --workspace "${features[@]}"
