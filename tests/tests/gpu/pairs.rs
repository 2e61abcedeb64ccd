//! Attention by pieces of its pairs, both ways, over several of them: every kernel in the emulator beside the interpreter, with
//! the numbers of each token as bfloat16 and as float32.

use super::host::{apart, inputs};
use indexmap::IndexMap;
use nestor_compiler::Precision;
use nestor_compiler::gpu::kept_as::keep_as_bfloat16;
use nestor_compiler::interpret::Array;
use nestor_compiler::native::{Machine, artifact, coded, scheduled_for};
use nestor_compiler::pipeline::{Purpose, forward, with_gradients};
use nestor_front::{Setting, SettingValue};
use nestor_ir::dim::{Dim, Sizes};
use nestor_ir::ty::Elem;
use nestor_mlir::narrow::Between;
use nestor_mlir::{Options, Products, Target};
use nestor_runtime::device::Shared;
use nestor_runtime::executor::Executor;
use nestor_runtime::tensor_file::HostTensor;
use nestor_tests::emulated::Emulated;
use nestor_tests::emulated_device::EmulatedDevice;
use nestor_tests::root;
use nestor_tests::spec::Specs;
use nestor_tests::usage::purpose;
use nestor_tests::written::scattered;

/// Runs it at a width, and gives how many kernels multiply by groups of warps.
fn attention(width: usize, options: Options, brain: bool, sizes: Sizes) -> usize {
    let path = root().join("bench/specs/attention_op.nest");
    let specs = Specs::read(&[&path]);
    let settings = [("heads", 1.0), ("d", width as f64)].map(|(name, value)| Setting {
        name: name.to_owned(),
        value: SettingValue::Number(value),
    });
    let program = specs.elaborate("AttentionOp", &settings).program.expect("a program");
    let whole = with_gradients(&program, purpose(options), &["y"]).expect("gradients");
    let (mut plan, kernels) =
        scheduled_for(&whole.graph, Machine::Gpu(options)).expect("kernels");
    // Forward, and on the way back along either axis; of long keys and values by themselves.
    assert_eq!(kernels.len(), if width > 96 { 4 } else { 3 });
    let times = |d: &nestor_ir::ty::Dims| d.iter().filter(|d| **d == Dim::Time).count();
    assert!(plan.tensors.values().all(|t| times(&t.ty.dims) < 2), "pairs in memory");
    if brain {
        let all = plan.tensors.values().filter(|t| t.ty.elem == Elem::Real);
        let names = all.flat_map(|t| t.role.names()).map(str::to_owned);
        let names: Vec<String> = names.collect();
        keep_as_bfloat16(&mut plan, &names).expect("there are such tensors");
    }
    let mut inputs: IndexMap<String, Array> = IndexMap::new();
    for (n, input) in whole.graph.inputs.iter().enumerate() {
        let dims = &whole.graph.ty(input.value).dims;
        let dims: Vec<usize> = dims.iter().map(|d| d.size(&sizes)).collect();
        let count: usize = dims.iter().product();
        let data = (0..count).map(|i| 0.5 * scattered(0, n * 1_000_000 + i)).collect();
        inputs.insert(input.name.clone(), Array::real(dims, data));
    }
    let mut emulated = Emulated::of_plan(&plan, &kernels, options, Between::Closely)
        .unwrap_or_else(|e| panic!("{e}"));
    emulated.alike = Some(options.products);
    emulated.tolerance = if options.products == Products::Brain { 8e-3 } else { 1e-4 };
    if let Err(why) = emulated.plan(&plan, &inputs, &sizes) {
        panic!("{width}, {options:?}, {sizes:?}: {why}");
    }
    let of_kernels = emulated.code.ptx.split(".entry").skip(1);
    of_kernels.filter(|text| text.contains("wgmma.mma_async")).count()
}

/// Three pieces of either axis, the last one of a few tokens, and a first one that the call has a part of.
const SIZES: [Sizes; 2] =
    [Sizes { batch: 2, time: 134, start: 0 }, Sizes { batch: 1, time: 90, start: 70 }];

#[test]
fn groups_of_warps_have_columns_of_pairs() {
    let options = Options { target: Target::Sm90a, products: Products::Brain };
    for sizes in SIZES {
        assert_eq!(attention(128, options, true, sizes), 4);
    }
    assert_eq!(attention(64, options, false, SIZES[0]), 3);
}

#[test]
fn pieces_of_pairs_without_groups() {
    for (target, products) in [
        (Target::Sm80, Products::Brain),
        (Target::Sm80, Products::Float32),
        (Target::Sm90a, Products::Tf32x3),
    ] {
        assert_eq!(attention(64, Options { target, products }, false, SIZES[1]), 0);
    }
}

/// Keys and values that are handed on as the caller keeps them, through the runtime.
#[test]
fn what_is_bfloat16_on_both_sides_is_copied_so() {
    const SIZES: Sizes = Sizes { batch: 1, time: 70, start: 0 };
    let path = root().join("bench/specs/attention_op.nest");
    let specs = Specs::read(&[&path]);
    let program = specs.elaborate("AttentionOp", &[]).program.expect("a program");
    let graph = forward(&program, Purpose::default()).expect("it has a form").graph;
    let options = Options { target: Target::Sm90a, products: Products::Brain };
    let made = |names: &[&str]| {
        let machine = Machine::Gpu(options);
        let (mut plan, kernels) = scheduled_for(&graph, machine).expect("kernels");
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        keep_as_bfloat16(&mut plan, &names).expect("there are such tensors");
        coded(plan, kernels, machine).map_err(|e| e.to_string())
    };
    let why = made(&["q", "k"]).err().expect("keys are handed on as float32");
    assert!(why.contains("copied as float32, `state.all.0` being so"), "{why}");
    let names = ["q", "k", "v", "y", "state.all.0", "state.all.1"];
    let device = Shared::new(Box::new(EmulatedDevice::new(1 << 30)));
    let mut there =
        Executor::on(made(&names).expect("code"), &device).expect("it is ready");
    let exact = artifact(&graph, Precision::F32).expect("code");
    let mut here = Executor::new(exact).expect("it is ready");
    // Numbers of bfloat16.
    let given = inputs(&there, SIZES, [16.0, 0.5]);
    let given: Vec<&HostTensor> = given.iter().collect();
    let found = there.run(&given, SIZES).expect("it runs");
    let expected = here.run(&given, SIZES).expect("it runs");
    for got in &found {
        let want = expected.iter().find(|t| t.name == got.name).expect("the same");
        let [apart, most] = apart(got, want);
        let bound = if got.name == "y" { 2e-2 * most } else { 0.0 };
        assert!(apart <= bound, "`{}`: {apart:.1e} of {most:.1e}", got.name);
    }
}
