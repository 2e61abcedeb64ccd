//! Runs a kernel as machine code and in the interpreter and compares, and builds small kernels.

use nestor_cranelift::routines::{SimdLevel, simd_level};
use nestor_cranelift::{Data, compile_at, run};
use nestor_ir::artifact::Precision;
use nestor_ir::dim::{Dim, Sizes};
use nestor_ir::entity::Entity;
use nestor_ir::interpret::tile as interpreter;
use nestor_ir::tile::size::elements;
use nestor_ir::tile::*;
use nestor_ir::ty::Elem;
use smallvec::smallvec;

/// Numbers that look random and are the same every time.
pub(crate) struct Random(pub(crate) u64);
impl Random {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((self.0 >> 33) as usize) % n
    }
    pub(crate) fn real(&mut self) -> f64 {
        f64::from(((self.below(4001) as f64 - 2000.0) / 1000.0) as f32)
    }
    pub(crate) fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}

pub(crate) fn data(elem: Elem, precision: Precision, v: &[f64]) -> Data {
    match (elem, precision) {
        (Elem::Real, Precision::F32) => Data::F32(v.iter().map(|x| *x as f32).collect()),
        (Elem::Real, Precision::F64) => Data::F64(v.to_vec()),
        (Elem::Int, _) => Data::I32(v.iter().map(|x| *x as i32).collect()),
        (Elem::Bool, _) => Data::U8(v.iter().map(|x| u8::from(*x != 0.0)).collect()),
    }
}
pub(crate) fn doubles(data: &Data) -> Vec<f64> {
    match data {
        Data::F32(v) => v.iter().map(|x| f64::from(*x)).collect(),
        Data::F64(v) => v.clone(),
        Data::I32(v) => v.iter().map(|x| f64::from(*x)).collect(),
        Data::U8(v) => v.iter().map(|x| f64::from(*x)).collect(),
    }
}

/// Runs a kernel both ways on random inputs; written buffers begin as NaN.
pub(crate) fn agree(kernel: &Kernel, sizes: Sizes, seed: u64, what: &str) {
    let mut random = Random(seed);
    let mut start: Vec<Vec<f64>> = Vec::new();
    for b in kernel.buffers.values() {
        let n = elements(&b.dims).eval(&sizes) as usize;
        start.push(match (b.usage, b.elem) {
            (Use::Write, Elem::Real) => vec![f64::NAN; n],
            (_, Elem::Real) => (0..n).map(|_| random.real()).collect(),
            (_, Elem::Int) => (0..n).map(|_| random.below(7) as f64 - 1.0).collect(),
            (_, Elem::Bool) => (0..n).map(|_| random.below(2) as f64).collect(),
        });
    }
    let mut expected = start.clone();
    interpreter::run(kernel, &mut expected, &sizes, Precision::F64)
        .unwrap_or_else(|e| panic!("{what}: {e}\n{kernel}"));
    for (precision, level, tolerance) in [
        (Precision::F64, SimdLevel::Scalar, 1e-11),
        (Precision::F32, SimdLevel::Scalar, 2e-4),
        (Precision::F32, simd_level(), 2e-4),
    ] {
        let native =
            compile_at(std::slice::from_ref(kernel), precision, level).expect("compiles");
        let parameters = kernel.buffers.values();
        let mut buffers: Vec<Data> =
            parameters.zip(&start).map(|(b, v)| data(b.elem, precision, v)).collect();
        run(kernel, &native[0], precision, &mut buffers, &sizes);
        for ((parameter, got), want) in
            kernel.buffers.values().zip(&buffers).zip(&expected)
        {
            for (i, (g, w)) in doubles(got).iter().zip(want).enumerate() {
                let close = (g - w).abs() <= tolerance * (1.0 + w.abs()) || g == w;
                assert!(
                    close || (g.is_nan() && w.is_nan()),
                    "{what}, {precision:?} {level:?}, {} [{i}]: {g}, not {w}\n{kernel}",
                    parameter.name
                );
            }
        }
    }
}

pub(crate) fn kernel(buffers: Vec<(Elem, Vec<Dim>, Use)>) -> Kernel {
    let mut out = Kernel {
        name: "test".to_owned(),
        buffers: Default::default(),
        tiles: Default::default(),
        indices: 0,
        grid: Vec::new(),
        body: Vec::new(),
    };
    for (n, (elem, dims, usage)) in buffers.into_iter().enumerate() {
        out.buffers.push(BufferParam {
            name: format!("b{n}"),
            elem,
            dims: dims.into_iter().collect(),
            usage,
        });
    }
    out
}
pub(crate) fn buffer(n: usize) -> Place {
    Place::Buffer(Buffer::new(n))
}
pub(crate) fn access(place: Place, origin: i64, strides: &[i64]) -> Access {
    Access {
        place,
        origin: Affine::number(origin),
        strides: strides.iter().map(|s| Affine::number(*s)).collect(),
        bounds: smallvec![],
        pad: 0.0,
    }
}
pub(crate) const SIZES: Sizes = Sizes { batch: 2, time: 37, start: 5 };
