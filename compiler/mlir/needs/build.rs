//! Looks for what the bindings to MLIR need, and says what to install.

use std::path::Path;

/// What must be below the prefix, and the package that has it.
const NEEDED: &[(&str, &str)] = &[
    ("bin/llvm-config", "llvm-22-dev"),
    ("lib/libLLVMNVPTXCodeGen.a", "llvm-22-dev"),
    ("include/mlir/IR/MLIRContext.h", "libmlir-22-dev"),
    ("lib/libMLIRCAPIIR.a", "libmlir-22-dev"),
    ("lib/libPolly.a", "libpolly-22-dev"),
    ("lib/libclang.so", "libclang-22-dev"),
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=MLIR_SYS_220_PREFIX");
    let prefix = std::env::var("MLIR_SYS_220_PREFIX");
    let prefix = prefix.unwrap_or_else(|_| "/usr/lib/llvm-22".to_owned());
    let missing: Vec<String> = NEEDED
        .iter()
        .filter(|(file, _)| !Path::new(&prefix).join(file).exists())
        .map(|(file, package)| format!("  {file} (package {package})"))
        .collect();
    if missing.is_empty() {
        return;
    }
    eprintln!(
        "the feature `cuda` needs LLVM and MLIR 22 with headers and static libraries; not found below {prefix}:\n{}\n\
         On Debian:  apt-get install libmlir-22-dev llvm-22-dev libpolly-22-dev libclang-22-dev libzstd-dev zlib1g-dev libxml2-dev libz3-dev g++\n\
         Elsewhere:  set MLIR_SYS_220_PREFIX and TABLEGEN_220_PREFIX to an LLVM 22 built with MLIR, and LIBCLANG_PATH to its lib\n\
         Without the feature nothing of this is needed.",
        missing.join("\n")
    );
    std::process::exit(1);
}
