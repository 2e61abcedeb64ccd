//! Every memory of the library as PTX in the emulator, forward and with all gradients, at a width at which products are on
//! tensor cores: each kernel beside the interpreter, and what comes out beside the derived walk in float64.

use indexmap::IndexMap;
use nestor_compiler::execute::bound;
use nestor_compiler::gpu::products::counted;
use nestor_compiler::gpu::teams;
use nestor_compiler::gpu::{Options, Products, Target, Teams};
use nestor_compiler::graphs::outward;
use nestor_compiler::interpret::Array;
use nestor_compiler::native::{Machine, scheduled_dealt, scheduled_for};
use nestor_compiler::pipeline::{reference, with_gradients};
use nestor_ir::artifact::Precision;
use nestor_ir::dim::Sizes;
use nestor_ir::interpret::plan::{run, run_with};
use nestor_mlir::narrow::Between;
use nestor_tests::emulated::{AMPLIFIED, Emulated, brain, run_alike};
use nestor_tests::usage::{given, program_of, purpose};
use nestor_tests::{golden, on_all_cores, rules};

/// One sequence, of no multiple of a chunk.
const SIZES: Sizes = Sizes { batch: 1, time: 37, start: 0 };
/// Heads' width, and tokens of the chunks of memories that are written by the chunk.
const WIDTH: usize = 32;
const CHUNK: usize = 16;
/// A narrower one, of two layers on all products of two numbers of a key.
const NARROW: &[(&str, usize)] = &[("DeepAtlas", 8)];

/// How far kernels in float64 may be from the walk.
const EXACT: f64 = 1e-8;

/// Memories that amplify rounding, with the products for which they do: what comes out of them may be off by [`AMPLIFIED`] times what float32
/// does to it in the interpreter; so may what comes out of each of their kernels, where it says so.
const AMPLIFY: &[(&str, Products, bool)] = &[
    ("Atlas", Products::Brain, true),
    ("DeepAtlas", Products::Brain, true),
    ("LaCTMuon", Products::Brain, true),
    ("LaCTMuon", Products::Float32, false),
    ("MemoraMLP", Products::Brain, true),
    ("MemoraMLP", Products::Float32, true),
    ("Moneta", Products::Float32, false),
];

/// How far outputs and states, and gradients may be off. Operands in bfloat16 round alike but where sums in another order lead them over the
/// middle between two: two such steps are 2^-7 of a number.
fn bounds(products: Products, tensor: &str) -> f64 {
    match (products, tensor.starts_with("grad.")) {
        (Products::Brain, true) => 8e-3,
        (Products::Brain, false) => 1e-3,
        (_, true) => 1e-4,
        (_, false) => 1e-5,
    }
}

/// What is found of a memory.
#[derive(Default)]
struct Found {
    /// How far the worst tensor is off, as a share of its bound and in words.
    share: f64,
    what: String,
    /// How many times as far as others a tensor may be off that amplifies rounding.
    widened: f64,
    /// How far the worst tensor is from the walk in float64, operands being rounded.
    rounding: f64,
    /// How many products are on tensor cores and by threads.
    products: [usize; 2],
    /// Kernels whose blocks work in teams.
    teams: usize,
}

/// Runs a memory. Its kernels in float64, nothing rounded, are held to the derived walk; what the emulator finds is held to the same with
/// operands of products rounded alike.
fn judged(rule: &str, options: Options, teams: Option<&Teams>) -> Result<Found, String> {
    let narrow = NARROW.iter().find(|(name, _)| *name == rule);
    let width = narrow.map_or(WIDTH, |(_, width)| *width);
    let (_, program) = program_of(rule, width, CHUNK, Some(1))?;
    let outputs: Vec<&str> =
        program.code.outputs.iter().map(|o| o.name.as_str()).collect();
    let lowered = with_gradients(&program, purpose(options), &outputs)
        .map_err(|e| e.to_string())?;
    let walk = reference(&program, &outputs).map_err(|e| e.to_string())?;
    let (given, walked) = given(&program, &walk, &SIZES)?;
    let (plan, kernels) = match teams {
        Some(teams) => scheduled_dealt(&lowered.graph, options, teams),
        None => scheduled_for(&lowered.graph, Machine::Gpu(options)),
    }
    .map_err(|e| e.to_string())?;
    let inputs =
        bound(&program, &lowered.graph, &given, &SIZES).map_err(|e| e.to_string())?;
    let names = lowered.graph.inputs.iter().map(|i| i.name.clone());
    let inputs: IndexMap<String, Array> = names.zip(inputs).collect();
    let named = |found: IndexMap<String, Array>| -> IndexMap<String, Array> {
        found.into_iter().map(|(n, a)| (outward(&program, &n), a)).collect()
    };
    let exact = run(&plan, &kernels, &inputs, &SIZES, Precision::F64);
    let exact = named(exact.map_err(|e| e.to_string())?);
    for (tensor, off) in off(&exact, &walked) {
        if off.is_nan() || off > EXACT {
            return Err(format!("{tensor} is off by {off:.1e} in float64"));
        }
    }
    let mut emulated = Emulated::of_plan(&plan, &kernels, options, Between::Closely)?;
    let alike = |precision| {
        let mut run = |n: usize, buffers: &mut [Vec<f64>]| {
            run_alike(&kernels[n], buffers, &SIZES, options.products, precision)?;
            // What kernels hand to each other is rounded where it is written.
            for (buffer, narrow) in
                buffers.iter_mut().zip(&emulated.code.entries[n].narrow)
            {
                if *narrow {
                    buffer.iter_mut().for_each(|x| *x = brain(*x));
                }
            }
            Ok(())
        };
        let found = run_with(&plan, &kernels, &inputs, &SIZES, precision, &mut run);
        found.map(named).map_err(|e| e.to_string())
    };
    let expected = alike(Precision::F64)?;
    let amplifies =
        AMPLIFY.iter().find(|(name, how, _)| (*name, *how) == (rule, options.products));
    let single = amplifies.map(|_| alike(Precision::F32)).transpose()?;
    let apart: IndexMap<String, f64> =
        single.iter().flat_map(|found| off(found, &expected)).collect();
    emulated.tolerance = 4.0 * bounds(options.products, "grad.y");
    emulated.alike = Some(options.products);
    emulated.amplifies = amplifies.is_some_and(|(.., kernels)| *kernels);
    let found = named(emulated.plan(&plan, &inputs, &SIZES)?);
    let mut out = Found::default();
    for (tensor, off) in off(&found, &expected) {
        let bound = bounds(options.products, &tensor);
        let apart = apart.get(&tensor).copied().unwrap_or(0.0);
        let wide = bound.max(AMPLIFIED * apart);
        out.widened = out.widened.max(wide / bound);
        if off / wide > out.share || off.is_nan() {
            (out.share, out.what) = (off / wide, format!("{tensor} {off:.1e}"));
        }
    }
    let far = off(&found, &walked).into_iter().map(|(_, off)| off);
    out.rounding = far.fold(0.0, f64::max);
    for kernel in &kernels {
        let [on_cores, by_threads] = counted(kernel, options.products);
        out.products = [out.products[0] + on_cores, out.products[1] + by_threads];
        out.teams += usize::from(kernel.team() > 1);
    }
    Ok(out)
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

/// How many memories have kernels whose blocks work in teams.
fn check(options: Options, teams: Option<&Teams>) -> usize {
    let only = std::env::var("NESTOR_CASE").ok();
    let mut all: Vec<String> =
        rules::memories().into_iter().map(|(name, _)| name).collect();
    assert!(all.len() >= 49, "only {} memories", all.len());
    all.retain(|n| only.as_ref().is_none_or(|o| o.split(',').any(|o| o == n)));
    let judged = on_all_cores(&all, |rule| {
        let found = match judged(rule, options, teams) {
            Ok(found) => found,
            Err(what) => return (0, Some(format!("{rule}: {what}"))),
        };
        let teams = found.teams;
        let Found {
            share,
            what,
            widened,
            rounding,
            products: [on_cores, by_threads],
            ..
        } = found;
        eprintln!(
            "{rule}: {share:.2} of its bound, {what}; {widened:.0} times that of others; {rounding:.1e} from the walk; products {on_cores} + {by_threads}; {teams} kernels of teams"
        );
        let wrong = share.is_nan() || share > 1.0;
        (teams, wrong.then(|| format!("{rule}: {what}")))
    });
    let in_teams = judged.iter().filter(|(teams, _)| *teams > 0).count();
    let wrong: Vec<String> = judged.into_iter().filter_map(|(_, wrong)| wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    in_teams
}

#[test]
fn every_memory_runs_as_ptx_in_float32() {
    check(Options { target: Target::Sm80, products: Products::Float32 }, None);
}

/// States of networks are dealt out among the blocks of a team, as they are where they are as wide as people have them.
#[test]
fn every_memory_runs_as_ptx_on_tensor_cores() {
    let options = Options { target: Target::Sm90a, products: Products::Brain };
    let teams = Teams { near: 1 << 14, narrowest: 16, ..teams(options) };
    let dealt = check(options, Some(&teams));
    let all = std::env::var("NESTOR_CASE").is_err();
    assert!(dealt >= 10 || !all, "only {dealt} memories are dealt out");
}
