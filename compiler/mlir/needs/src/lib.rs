//! What the bindings to MLIR need, and what is said where it is not there: the build script of this crate stops with it
//! when the feature `wanted` is on.

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

/// What is missing below a prefix, and how to get it; nothing where all is there.
pub fn missing(prefix: &Path) -> Option<String> {
    let missing: Vec<String> = NEEDED
        .iter()
        .filter(|(file, _)| !prefix.join(file).exists())
        .map(|(file, package)| format!("  {file} (package {package})"))
        .collect();
    (!missing.is_empty()).then(|| {
        format!(
            "the feature `cuda` needs LLVM and MLIR 22 with headers and static libraries; not found below {}:\n{}\n\
             On Debian:  apt-get install libmlir-22-dev llvm-22-dev libpolly-22-dev libclang-22-dev libzstd-dev zlib1g-dev libxml2-dev libz3-dev g++\n\
             Elsewhere:  set MLIR_SYS_220_PREFIX and TABLEGEN_220_PREFIX to an LLVM 22 built with MLIR, and LIBCLANG_PATH to its lib\n\
             Without the feature nothing of this is needed.",
            prefix.display(),
            missing.join("\n")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{NEEDED, missing};
    use std::path::PathBuf;

    fn folder(name: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("nestor-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder");
        path
    }

    #[test]
    fn what_is_missing_is_said_with_its_package_and_a_way_out() {
        let path = folder("needs-nothing");
        let said = missing(&path).expect("nothing is there");
        for (file, package) in NEEDED {
            assert!(said.contains(&format!("{file} (package {package})")), "{said}");
        }
        assert!(said.contains(&path.display().to_string()), "{said}");
        assert!(said.contains("apt-get install libmlir-22-dev"), "{said}");
        assert!(said.contains("MLIR_SYS_220_PREFIX"), "{said}");
    }

    #[test]
    fn one_missing_file_is_named_alone() {
        let path = folder("needs-one");
        for (file, _) in &NEEDED[1..] {
            let file = path.join(file);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("is made");
            std::fs::write(file, "").expect("is written");
        }
        let said = missing(&path).expect("one is missing");
        assert_eq!(said.matches("(package ").count(), 1, "{said}");
        assert!(said.contains("bin/llvm-config"), "{said}");
        std::fs::create_dir_all(path.join("bin")).expect("is made");
        std::fs::write(path.join("bin/llvm-config"), "").expect("is written");
        assert_eq!(missing(&path), None);
    }
}
