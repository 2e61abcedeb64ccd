//! Nothing: the build script of this crate looks for LLVM and MLIR 22. It has no dependencies, so it is
//! heard before the bindings' own, longer builds stop with words of their own.
