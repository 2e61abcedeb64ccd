//! Golden cases: tensors by name, and how far two arrays are apart.

use indexmap::IndexMap;
use nestor_ir::interpret::Array;
use safetensors::{Dtype, SafeTensors};
use std::path::Path;

/// All tensors of a file, in float64.
pub fn read(path: &Path) -> IndexMap<String, Array> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let mut out = IndexMap::new();
    for (name, view) in file.tensors() {
        let data = view.data();
        let values: Vec<f64> = match view.dtype() {
            Dtype::F32 => data
                .chunks_exact(4)
                .map(|c| f64::from(f32::from_le_bytes(c.try_into().expect("four bytes"))))
                .collect(),
            Dtype::F64 => data
                .chunks_exact(8)
                .map(|c| f64::from_le_bytes(c.try_into().expect("eight bytes")))
                .collect(),
            other => panic!("{name} is {other:?}"),
        };
        out.insert(name, Array::real(view.shape().to_vec(), values));
    }
    out.sort_keys();
    out
}

/// `|a - b| / |b|`; infinite where shapes differ or something is not a number.
pub fn distance(a: &Array, b: &Array) -> f64 {
    nestor_compiler::interpret::distance::distance(a, b, 1e-300)
}
