//! What only happens at the widths that people use, in the emulator beside the interpreter: operands brought sixteen bytes at a
//! time in every layout, states folded to one number, walks split into groups of columns.

use indexmap::IndexMap;
use nestor_compiler::gpu::{fission, rates};
use nestor_compiler::interpret::Array;
use nestor_compiler::native::{Machine, scheduled_for};
use nestor_compiler::pipeline::with_gradients;
use nestor_front::{Setting, SettingValue};
use nestor_ir::dim::Sizes;
use nestor_ir::tensor::Op;
use nestor_mlir::narrow::Between;
use nestor_mlir::{Options, Products, Target};
use nestor_tests::emulated::Emulated;
use nestor_tests::root;
use nestor_tests::spec::Specs;
use nestor_tests::usage::purpose;
use nestor_tests::written::{emulated, filled, kernel, scattered};

const BRAIN: Options = Options { target: Target::Sm90a, products: Products::Brain };

/// `[m, n]` from `[m, k]` and `[k, n]`, in memory as they are or turned, the left one from a tile.
fn product([m, n, k]: [usize; 3], turned: [bool; 2], shape: &str) -> String {
    let left = if turned[0] { format!("1, {m}") } else { format!("{k}, 1") };
    let right = if turned[1] { format!("1, {k}") } else { format!("{n}, 1") };
    let (a, b) = (m * k, k * n);
    format!(
        r#"kernel "product" {{
  b0 "a": [{a}] read
  b1 "b": [{b}] read
  b2 "c": [{m}, {n}] update
  t0 "left": [{a}]
  indices 1
  grid i0 < 1
  map [{a}] {{
    l0 = b0[0; 1]
    t0[0; 1] = l0
  }}
  product [{m}, {n}, {k}] b2[0; {n}, 1] += 0.5 * t0[0; {left}] @ b1[0; {right}]{shape}
}}
"#
    )
}

/// `whole` where operands can be brought sixteen bytes at a time.
fn agree(text: &str, [m, k]: [usize; 2], turned: bool, whole: bool) {
    let kernel = kernel(text);
    let emulated = emulated(&kernel, BRAIN, 1e-2);
    let sizes = Sizes { batch: 1, time: 1, start: 0 };
    let mut buffers = filled(&kernel, &sizes, scattered);
    // What a shape says is zero is zero.
    for (i, x) in buffers[0].iter_mut().enumerate() {
        let (row, column) = if turned { (i % m, i / m) } else { (i / k, i % k) };
        let zero = text.contains("left lower") && column > row
            || text.contains("left upper") && column < row;
        *x = if zero { 0.0 } else { *x };
    }
    let stats = emulated.agree(0, &mut buffers, &sizes);
    let stats = stats.unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert!(stats.products > 0, "no tensor core was used");
    let wide = emulated.code.ptx.contains("v4");
    assert!(wide || !whole, "no load is sixteen bytes wide\n{text}");
}

#[test]
fn operands_are_brought_in_every_layout() {
    let layouts = [[false, false], [false, true], [true, false], [true, true]];
    for turned in layouts {
        for sizes @ [m, _, k] in [[64, 128, 64], [32, 64, 128], [128, 32, 32]] {
            agree(&product(sizes, turned, ""), [m, k], turned[0], true);
        }
        for shape in [", left lower", ", left upper", ", output lower"] {
            let text = product([128, 128, 128], turned, shape);
            agree(&text, [128, 128], turned[0], true);
        }
    }
    // No multiples of what is brought at once.
    agree(&product([64, 80, 48], [false, false], ""), [64, 48], false, false);
}

/// A golden case at a width of 64, forward and backward, its walks split as for a GPU, every kernel beside the interpreter.
fn rule(name: &str, time: usize) {
    let path = root().join("tests/oracle").join(format!("{name}.nest"));
    let specs = Specs::read(&[&path]);
    let text = std::fs::read_to_string(&path).expect("a case");
    let head = text.split("Case(").nth(1).and_then(|t| t.split(')').next()).unwrap_or("");
    let has = |n: &str| head.split(',').any(|p| p.trim().starts_with(&format!("{n} ")));
    let wide = [("heads", 1), ("d_k", 64), ("d_v", 64), ("d", 64)];
    let settings: Vec<Setting> = wide
        .iter()
        .filter(|(n, _)| has(n))
        .map(|(n, v)| Setting {
            name: (*n).to_owned(),
            value: SettingValue::Number(f64::from(*v)),
        })
        .collect();
    let program = specs.elaborate("Case", &settings).program.expect("a program");
    let whole = with_gradients(&program, purpose(BRAIN), &["y"]).expect("gradients");
    let graph = fission(&whole.graph, &rates(BRAIN));
    let walks = |g: &nestor_ir::tensor::Graph| {
        g.nodes.values().filter(|n| matches!(n.op, Op::Scan { .. })).count()
    };
    assert!(walks(&graph) > walks(&whole.graph), "{name} is not split");
    let (plan, kernels) =
        scheduled_for(&whole.graph, Machine::Gpu(BRAIN)).expect("kernels");
    let sizes = Sizes { batch: 1, time, start: 0 };
    let mut inputs: IndexMap<String, Array> = IndexMap::new();
    for (n, input) in graph.inputs.iter().enumerate() {
        let dims: Vec<usize> =
            graph.ty(input.value).dims.iter().map(|d| d.size(&sizes)).collect();
        let count: usize = dims.iter().product();
        let data = (0..count).map(|i| 0.125 * scattered(0, n * 1_000_000 + i)).collect();
        inputs.insert(input.name.clone(), Array::real(dims, data));
    }
    let mut emulated = Emulated::of_plan(&plan, &kernels, BRAIN, Between::Closely)
        .unwrap_or_else(|e| panic!("{e}"));
    emulated.tolerance = 2e-2;
    if let Err(why) = emulated.plan(&plan, &inputs, &sizes) {
        panic!("{name}: {why}");
    }
}

#[test]
fn a_walk_with_systems_is_split() {
    rule("gated_deltanet", 70);
}

#[test]
fn a_walk_with_gates_of_channels_is_split() {
    rule("gla", 40);
}
