//! Every memory of the library as PTX in the emulator, forward and with all gradients, at a width at which products are on
//! tensor cores: each kernel beside the interpreter, and what comes out beside the derived walk in float64. Needs the
//! feature `cuda`.

#![cfg(feature = "cuda")]

use indexmap::IndexMap;
use nestor_compiler::execute::bound;
use nestor_compiler::gpu::products::counted;
use nestor_compiler::gpu::{Options, Products, Target};
use nestor_compiler::graphs::{interpreted, outward};
use nestor_compiler::interpret::Array;
use nestor_compiler::native::{Machine, scheduled_for};
use nestor_compiler::pipeline::{Purpose, reference, with_gradients};
use nestor_ir::artifact::Precision;
use nestor_ir::dim::Sizes;
use nestor_ir::interpret::plan::{run, run_with};
use nestor_tests::emulated::{Emulated, run_alike};
use nestor_tests::usage::{given, program_of};
use nestor_tests::{golden, on_all_cores, rules};

/// One sequence, of no multiple of a chunk.
const SIZES: Sizes = Sizes { batch: 1, time: 37, start: 0 };
/// Heads' width, and tokens of the chunks of memories that are written by the chunk.
const WIDTH: usize = 32;
const CHUNK: usize = 16;
/// A narrower one, of two layers on all products of two numbers of a key.
const NARROW: &[(&str, usize)] = &[("DeepAtlas", 8)];

/// How far outputs and states, and gradients may be off.
fn bounds(products: Products, tensor: &str) -> f64 {
    match (products, tensor.starts_with("grad.")) {
        (Products::Brain, true) => 2e-2,
        (Products::Brain, false) => 5e-3,
        (_, true) => 1e-4,
        (_, false) => 1e-5,
    }
}

/// Runs a memory: how far the worst tensor is off, as a share of its bound and in words, and how many products are on tensor
/// cores and by threads.
fn worst(rule: &str, options: Options) -> Result<(f64, String, [usize; 2]), String> {
    let narrow = NARROW.iter().find(|(name, _)| *name == rule);
    let width = narrow.map_or(WIDTH, |(_, width)| *width);
    let (_, program) = program_of(rule, width, CHUNK, Some(1))?;
    let outputs: Vec<&str> =
        program.code.outputs.iter().map(|o| o.name.as_str()).collect();
    let lowered = with_gradients(&program, Purpose::default(), &outputs)
        .map_err(|e| e.to_string())?;
    let walk = reference(&program, &outputs).map_err(|e| e.to_string())?;
    let (given, mut expected) = given(&program, &walk, &SIZES)?;
    let (plan, kernels) = scheduled_for(&lowered.graph, Machine::Gpu(options))
        .map_err(|e| e.to_string())?;
    let inputs =
        bound(&program, &lowered.graph, &given, &SIZES).map_err(|e| e.to_string())?;
    let names = lowered.graph.inputs.iter().map(|i| i.name.clone());
    let inputs: IndexMap<String, Array> = names.zip(inputs).collect();
    let mut emulated = Emulated::new(&kernels, options)?;
    emulated.tolerance = 4.0 * bounds(options.products, "grad.y");
    let apart =
        APART.iter().find(|(name, how, _)| (*name, *how) == (rule, options.products));
    let how = apart.map_or(Apart::No, |(.., how)| *how);
    if how == Apart::Results {
        emulated.tolerance = f64::INFINITY;
    }
    emulated.alike = (how == Apart::Rounded).then_some(options.products);
    let found = emulated.plan(&plan, &inputs, &SIZES)?;
    let found: IndexMap<String, Array> =
        found.into_iter().map(|(n, a)| (outward(&program, &n), a)).collect();
    // What rounding in float32 does to the walk, and to the kernels.
    let mut rounding: IndexMap<String, f64> = IndexMap::new();
    if matches!(how, Apart::Amplifies | Apart::Results) {
        let walk = interpreted(&program, &walk, &given, 0, Precision::F32);
        let kernels = run(&plan, &kernels, &inputs, &SIZES, Precision::F32);
        let kernels = kernels.map_err(|e| e.to_string())?;
        let kernels =
            kernels.into_iter().map(|(n, a)| (outward(&program, &n), a)).collect();
        for single in [walk.map_err(|e| e.to_string())?, kernels] {
            for (name, off) in off(&single, &expected) {
                let worst = rounding.entry(name).or_default();
                *worst = worst.max(off);
            }
        }
    }
    if how == Apart::Rounded {
        let mut run = |n: usize, buffers: &mut [Vec<f64>]| {
            run_alike(&kernels[n], buffers, &SIZES, options.products)
        };
        let rounded =
            run_with(&plan, &kernels, &inputs, &SIZES, Precision::F32, &mut run);
        expected = rounded
            .map_err(|e| e.to_string())?
            .into_iter()
            .map(|(n, a)| (outward(&program, &n), a))
            .collect();
    }
    let amplified = match options.products {
        Products::Brain => BRAIN,
        Products::Float32 | Products::Tf32 | Products::Tf32x3 => SINGLE,
    };
    let mut worst = (0.0, String::new());
    for (tensor, off) in off(&found, &expected) {
        let tensor = tensor.as_str();
        let mut bound = bounds(options.products, tensor);
        if let Some(rounding) = rounding.get(tensor) {
            bound = bound.max(amplified * rounding);
        }
        let share = off / bound;
        if share > worst.0 || share.is_nan() {
            worst = (share, format!("{tensor} {off:.1e}"));
        }
    }
    let mut products = [0; 2];
    for kernel in &kernels {
        let [on_cores, by_threads] = counted(kernel, options.products);
        products = [products[0] + on_cores, products[1] + by_threads];
    }
    Ok((worst.0, worst.1, products))
}

/// How far each tensor is off.
fn off(
    found: &IndexMap<String, Array>,
    expected: &IndexMap<String, Array>,
) -> Vec<(String, f64)> {
    let one = |(tensor, expected): (&String, &Array)| {
        let off = found.get(tensor).map_or(f64::INFINITY, |found| {
            let same = Array { dims: expected.dims.clone(), data: found.data.clone() };
            golden::distance(&same, expected)
        });
        (tensor.clone(), off)
    };
    expected.iter().map(one).collect()
}

/// How a memory is judged that is not judged as all others are.
#[derive(Clone, Copy, PartialEq)]
enum Apart {
    /// As all others.
    No,
    /// It amplifies rounding: what comes out may be off by as many times what float32 does to it as operands are rounded more
    /// coarsely.
    Amplifies,
    /// So it does, and kernels are not compared one by one: what they keep hangs on rounding where nothing reads it, or
    /// on which side of a threshold a number falls.
    Results,
    /// It amplifies the rounding of operands, or a loss that jumps where an error's norm passes a threshold turns it into numbers as
    /// large as its own: each kernel and what comes out are compared with the interpreter's in float32, operands of products
    /// rounded alike, under the bounds of all others.
    Rounded,
}

/// Memories that are judged otherwise, with the products for which they are.
const APART: &[(&str, Products, Apart)] = &[
    ("Atlas", Products::Brain, Apart::Amplifies),
    ("ChunkMLP", Products::Brain, Apart::Rounded),
    ("DeepAtlas", Products::Brain, Apart::Amplifies),
    ("LaCT", Products::Brain, Apart::Rounded),
    ("LaCTMuon", Products::Brain, Apart::Amplifies),
    ("LaCTMuon", Products::Float32, Apart::Amplifies),
    ("MemoraMLP", Products::Brain, Apart::Results),
    ("MemoraMLP", Products::Float32, Apart::Results),
    ("Moneta", Products::Float32, Apart::Amplifies),
    ("MonetaMLP", Products::Brain, Apart::Rounded),
    ("YaadMLP", Products::Brain, Apart::Rounded),
];

/// Sixteen bits fewer; in float32 sums are in another order, as everywhere in these tests.
const BRAIN: f64 = 65536.0;
const SINGLE: f64 = 30.0;

fn check(options: Options) {
    let only = std::env::var("NESTOR_CASE").ok();
    let mut all: Vec<String> =
        rules::memories().into_iter().map(|(name, _)| name).collect();
    assert!(all.len() >= 49, "only {} memories", all.len());
    all.retain(|n| only.as_ref().is_none_or(|o| o.split(',').any(|o| o == n)));
    let judged = on_all_cores(&all, |rule| {
        let (share, what, [on_cores, by_threads]) = match worst(rule, options) {
            Ok(found) => found,
            Err(what) => return Some(format!("{rule}: {what}")),
        };
        eprintln!(
            "{rule}: {share:.2} of its bound, {what}; products {on_cores} + {by_threads}"
        );
        (share.is_nan() || share > 1.0).then(|| format!("{rule}: {what}"))
    });
    let wrong: Vec<String> = judged.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_memory_runs_as_ptx_in_float32() {
    check(Options { target: Target::Sm80, products: Products::Float32 });
}

#[test]
fn every_memory_runs_as_ptx_on_tensor_cores() {
    check(Options { target: Target::Sm90a, products: Products::Brain });
}
