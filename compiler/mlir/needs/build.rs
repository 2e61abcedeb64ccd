//! Looks for what the bindings to MLIR need, and stops with what to install. See it fire:
//! `MLIR_SYS_220_PREFIX=/nowhere cargo build --features cuda`.

use std::path::Path;

#[path = "src/lib.rs"]
#[allow(unreachable_pub, reason = "it is the library of this crate, too")]
mod needs;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/lib.rs");
    println!("cargo:rerun-if-env-changed=MLIR_SYS_220_PREFIX");
    if std::env::var_os("CARGO_FEATURE_WANTED").is_none() {
        return;
    }
    let prefix = std::env::var("MLIR_SYS_220_PREFIX");
    let prefix = prefix.unwrap_or_else(|_| "/usr/lib/llvm-22".to_owned());
    if let Some(said) = needs::missing(Path::new(&prefix)) {
        eprintln!("{said}");
        std::process::exit(1);
    }
}
