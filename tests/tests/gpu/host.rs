//! What executors are given and give, as a program holds it.

use nestor_runtime::Sizes;
use nestor_runtime::executor::Executor;
use nestor_runtime::tensor_file::{Data, HostTensor};

/// Numbers for all that an executor takes: a few parts of one, from so much below zero on.
pub(super) fn inputs(
    executor: &Executor,
    sizes: Sizes,
    [parts, below]: [f32; 2],
) -> Vec<HostTensor> {
    let of = |(name, ty): (&str, &nestor_ir::ty::Type)| {
        let dims: Vec<usize> = ty.dims.iter().map(|d| d.size(&sizes)).collect();
        let number = |i: usize| ((i * 37 + name.len()) % 19) as f32 / parts - below;
        let count = dims.iter().product();
        HostTensor::f32(name, &dims, (0..count).map(number).collect())
    };
    executor.inputs().into_iter().map(of).collect()
}

/// The numbers of a tensor of reals.
pub(super) fn reals(tensor: &HostTensor) -> &[f32] {
    let Data::F32(data) = &tensor.data else { panic!("`{}` is real", tensor.name) };
    data
}

/// How far a number is from what it should be, at most, and how large that is.
pub(super) fn apart(got: &HostTensor, want: &HostTensor) -> [f32; 2] {
    let far = reals(got).iter().zip(reals(want)).map(|(x, y)| (x - y).abs());
    let most = reals(want).iter().fold(0.0_f32, |m, x| m.max(x.abs()));
    [far.fold(0.0_f32, f32::max), most]
}
