//! What must be right before it may be fast: golden cases, and the emulator beside the device.

use super::made::{code, spread};
use super::timed::{Shape, Wanted, given, made as made_of};
use crate::emulated_device::EmulatedDevice;
use crate::measure::{distances_of, lowered};
use crate::native::Compiled;
use crate::spec::Specs;
use crate::{files, golden, root};
use indexmap::IndexMap;
use nestor_compiler::Program;
use nestor_compiler::execute::{bound, sizes};
use nestor_compiler::gpu::{Options, Products};
use nestor_compiler::interpret::Array;
use nestor_compiler::native::{Machine, scheduled_for};
use nestor_ir::artifact::Artifact;
use nestor_ir::tensor::Graph;
use nestor_runtime::device::Shared;
use nestor_runtime::tensor_file::{Data, HostTensor};
use std::time::Instant;

/// How far a tensor may be off when products are computed so.
pub fn bound_of(products: Products, tensor: &str) -> f64 {
    match (products, tensor.starts_with("grad.")) {
        (Products::Float32 | Products::Tf32x3, true) => 1e-4,
        (Products::Float32 | Products::Tf32x3, false) => 1e-5,
        (Products::Tf32, true) => 4e-3,
        (Products::Tf32, false) => 1e-3,
        (Products::Brain, true) => 2e-2,
        (Products::Brain, false) => 5e-3,
    }
}

/// What came of a case: the tensor that takes the largest share of its bound, and that share; or what broke.
pub type Case = (String, Result<(String, f64), String>);

/// A golden case with its code.
struct Made {
    program: Program,
    stored: IndexMap<String, Array>,
    graph: Graph,
    code: Artifact,
}

fn made(name: &str, options: Options) -> Result<Made, String> {
    let folder = root().join("tests/oracle");
    let specs = Specs::read(&[&folder.join(format!("{name}.nest"))]);
    let program = specs.elaborate("Case", &[]).program.ok_or("it does not elaborate")?;
    let stored = golden::read(&folder.join("cases").join(format!("{name}.safetensors")));
    let graph = lowered(&program, &stored, None)?.ok_or("it has no form")?.graph;
    let planned = scheduled_for(&graph, Machine::Gpu(options));
    let (plan, kernels) = planned.map_err(|e| e.to_string())?;
    let code = code(plan, kernels, options)?;
    Ok(Made { program, stored, graph, code })
}

/// Every golden case on the device against the stored results, as far as time allows.
pub fn cases(options: Options, device: &Shared, until: Instant) -> Vec<Case> {
    let paths = files(&root().join("tests/oracle"), "nest");
    let named =
        |p: &std::path::PathBuf| Some(p.file_stem()?.to_string_lossy().into_owned());
    let names: Vec<String> = paths.iter().filter_map(named).collect();
    let late = || Instant::now() > until;
    let all = spread(&names, |name| match late() {
        true => Err("no time is left".to_owned()),
        false => made(name, options),
    });
    let one = |made: Result<Made, String>| {
        let Made { program, stored, graph, code } = made?;
        if late() {
            return Err("no time is left".to_owned());
        }
        let mut compiled = Compiled::made(&graph, code, device)?;
        let off = distances_of(&program, &stored, &graph, &mut compiled)?;
        let share =
            |(t, off): &(String, f64)| (t.clone(), off / bound_of(options.products, t));
        // A number that is none is the worst of all.
        let worse = |a: &f64, b: &f64| a.abs().total_cmp(&b.abs());
        let worst = off.iter().map(share).max_by(|a, b| worse(&a.1, &b.1));
        worst.ok_or("it gives nothing".to_owned())
    };
    names.into_iter().zip(all.into_iter().map(one)).collect()
}

/// How far the device is from the emulator on a case, relative to the largest of each tensor.
///
/// # Errors
/// What broke.
pub fn emulator_and_device(
    name: &str,
    options: Options,
    device: &Shared,
) -> Result<f64, String> {
    let Made { program, stored, graph, code } = made(name, options)?;
    let sizes = sizes(&program, &stored).map_err(|e| e.to_string())?;
    let inputs = bound(&program, &graph, &stored, &sizes).map_err(|e| e.to_string())?;
    let emulator = Shared::new(Box::new(EmulatedDevice::new(1 << 32)));
    let there = Compiled::made(&graph, code.clone(), device)?.run(&inputs, &sizes)?;
    let here = Compiled::made(&graph, code, &emulator)?.run(&inputs, &sizes)?;
    let there = |name: &str| there.get(name).map_or(&[][..], |t| t.reals());
    let pairs = here.iter().map(|(name, a)| (a.reals(), there(name)));
    Ok(apart(pairs))
}

/// The same of a rule that is timed, at a few tokens of sizes at which tensor cores are used as they are for many.
///
/// # Errors
/// What broke.
pub fn tensor_cores(
    rule: &str,
    options: Options,
    device: &Shared,
) -> Result<f64, String> {
    let shape = Shape { sizes: [1, 200, 2, 128] };
    let rule = rule.to_owned();
    let wanted = Wanted { rule, shape, both: true, chunk: None, brain: false };
    let made = made_of(&wanted, options)?;
    let emulator = Shared::new(Box::new(EmulatedDevice::new(1 << 32)));
    let [there, here] = [device, &emulator].map(|on| given(&wanted, &made, on));
    let reals = |tensor: HostTensor| match tensor.data {
        Data::F32(all) => all.into_iter().map(f64::from).collect(),
        _ => Vec::new(),
    };
    let [there, here] = [there?, here?]
        .map(|all| -> Vec<Vec<f64>> { all.into_iter().map(reals).collect() });
    let pairs = here.iter().zip(&there).map(|(a, b)| (a.as_slice(), b.as_slice()));
    Ok(apart(pairs))
}

/// How far tensors are from one another at most, relative to the largest number of each.
fn apart<'a>(pairs: impl Iterator<Item = (&'a [f64], &'a [f64])>) -> f64 {
    let off = pairs.map(|(a, b)| {
        let size = a.iter().fold(1e-6_f64, |m, x| m.max(x.abs()));
        let off = a.iter().zip(b).map(|(x, y)| (x - y).abs() / size);
        // A number that is none is as far as can be.
        let worst =
            off.fold(0.0, |m: f64, x| if x >= 0.0 { m.max(x) } else { f64::INFINITY });
        if a.len() == b.len() { worst } else { f64::INFINITY }
    });
    off.fold(0.0, f64::max)
}
