#!/usr/bin/env bash
# Passes all tests. Needs a Rust toolchain and a C compiler; for the GPU backend's tests it installs LLVM and MLIR 22
# from Debian's packages where they are missing. Where that cannot be done it says so and tests everything else;
# NESTOR_WITHOUT_CUDA=1 leaves that backend and its tests out from the start.
set -euo pipefail
cd "$(dirname "$0")"

packages=(libmlir-22-dev llvm-22-dev libpolly-22-dev libclang-22-dev
          libzstd-dev zlib1g-dev libxml2-dev libz3-dev g++)

# Installs what is missing; says what to do where it cannot.
install_llvm() {
    local missing=() root=()
    for package in "${packages[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing+=("$package")
    done
    if [ ${#missing[@]} -eq 0 ]; then return; fi
    if [ "$(id -u)" -ne 0 ]; then root=(sudo -n); fi
    command -v apt-get >/dev/null \
        && "${root[@]}" apt-get update -qq \
        && "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

features=()
if [ -n "${NESTOR_WITHOUT_CUDA:-}" ]; then
    echo "test.sh: skipped: the GPU backend and its tests (NESTOR_WITHOUT_CUDA is set)"
elif [ -n "${MLIR_SYS_220_PREFIX:-}" ] || install_llvm; then
    features=(--features nestor-tests/cuda,nestor/cuda)
else
    echo "test.sh: skipped: the GPU backend and its tests, because LLVM and MLIR 22 could not be installed" >&2
    echo "test.sh: set MLIR_SYS_220_PREFIX, TABLEGEN_220_PREFIX and LIBCLANG_PATH to yours to test them" >&2
fi

cargo fmt --all --check
cargo clippy --workspace --all-targets --quiet "${features[@]}" -- -D warnings
# The program that most have is without the GPU backend; it is checked as well, and tested with it.
if [ ${#features[@]} -gt 0 ]; then
    cargo clippy --quiet -- -D warnings
fi
cargo test --workspace "${features[@]}"
