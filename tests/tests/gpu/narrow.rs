//! What is kept as bfloat16 where nobody but products on tensor cores takes it: results are those of kernels that keep float32, to the
//! last bit.

use indexmap::IndexMap;
use nestor_compiler::execute::bound;
use nestor_compiler::gpu::kept_as::{all_kept, keep_as_bfloat16};
use nestor_compiler::gpu::{Options, Products, Target};
use nestor_compiler::interpret::Array;
use nestor_compiler::native::{Machine, scheduled_for};
use nestor_compiler::pipeline::{Purpose, reference, with_gradients};
use nestor_ir::artifact::Precision;
use nestor_ir::dim::{Dim, Sizes};
use nestor_ir::interpret::plan::run_with;
use nestor_ir::interpret::tile::KernelError;
use nestor_ir::plan::Plan;
use nestor_ir::tile::Kernel;
use nestor_ir::tile::size::elements;
use nestor_ir::ty::Elem;
use nestor_mlir::compiled;
use nestor_mlir::narrow::{Between, narrow, of_plan};
use nestor_tests::emulated::{Emulated, brain};
use nestor_tests::on_all_cores;
use nestor_tests::usage::{given, program_of};
use nestor_tests::written::{filled, kernel};

const BRAIN: Options = Options { target: Target::Sm80, products: Products::Brain };

/// Results of a plan by name, every kernel in the emulator.
fn results(
    emulated: &Emulated,
    (plan, kernels): (&Plan, &[Kernel]),
    inputs: &IndexMap<String, Array>,
    sizes: &Sizes,
) -> Result<IndexMap<String, Array>, String> {
    let mut run = |n: usize, buffers: &mut [Vec<f64>]| {
        let kernel = kernels[n].name.clone();
        let done = emulated.run(n, buffers, sizes);
        done.map(|_| ()).map_err(|what| KernelError { kernel, what })
    };
    run_with(plan, kernels, inputs, sizes, Precision::F32, &mut run)
        .map_err(|e| e.to_string())
}

fn bits(array: &Array) -> Vec<u64> {
    array.reals().iter().map(|x| x.to_bits()).collect()
}

/// A rule with all gradients as kernels, and inputs of it.
struct Planned {
    plan: Plan,
    kernels: Vec<Kernel>,
    inputs: IndexMap<String, Array>,
}

fn planned(
    name: &str,
    width: usize,
    chunk: usize,
    sizes: &Sizes,
) -> Result<Planned, String> {
    let (_, program) = program_of(name, width, chunk, Some(1))?;
    let outputs: Vec<&str> =
        program.code.outputs.iter().map(|o| o.name.as_str()).collect();
    let lowered = with_gradients(&program, Purpose::default(), &outputs)
        .map_err(|e| e.to_string())?;
    let walk = reference(&program, &outputs).map_err(|e| e.to_string())?;
    let (given, _) = given(&program, &walk, sizes)?;
    let (plan, kernels) =
        scheduled_for(&lowered.graph, Machine::Gpu(BRAIN)).map_err(|e| e.to_string())?;
    let inputs =
        bound(&program, &lowered.graph, &given, sizes).map_err(|e| e.to_string())?;
    let names = lowered.graph.inputs.iter().map(|i| i.name.clone());
    Ok(Planned { plan, kernels, inputs: names.zip(inputs).collect() })
}

/// The same of several rules, one of them named, at widths and lengths of which some divide nothing.
fn of_rules<T: Send>(
    name: &str,
    one: impl Fn(&str, usize, usize, &Sizes) -> T + Sync,
) -> Vec<(&str, T)> {
    let sizes = Sizes { batch: 1, time: 70, start: 0 };
    let odd = Sizes { batch: 2, time: 37, start: 0 };
    let rules = [
        ("GatedDelta", 64, sizes),
        ("GLA", 32, odd),
        ("LinearAttention", 64, odd),
        (name, 32, odd),
        ("Titans", 32, odd),
    ];
    on_all_cores(&rules, |(name, width, sizes)| (*name, one(name, *width, 16, sizes)))
}

/// Bytes that a rule's kernels move: of float32, with what only products take as bfloat16, and with what products take as well.
fn rule(
    name: &str,
    width: usize,
    chunk: usize,
    sizes: &Sizes,
) -> Result<[i64; 3], String> {
    let Planned { plan, kernels, inputs } = planned(name, width, chunk, sizes)?;
    let parts = (&plan, &kernels[..]);
    let wide = compiled(&kernels, None, BRAIN, false).map_err(|e| e.to_string())?;
    let wide = Emulated::of(&kernels, wide)?;
    let expected = results(&wide, parts, &inputs, sizes)?;
    let mixed = Emulated::of_plan(&plan, &kernels, BRAIN, Between::Exactly)?;
    let found = results(&mixed, parts, &inputs, sizes)?;
    for (tensor, expected) in &expected {
        if bits(expected) != bits(&found[tensor]) {
            return Err(format!("{name}: `{tensor}` differs"));
        }
    }
    let mut moved = [0; 3];
    let ways = [None, Some(Between::Exactly), Some(Between::Closely)];
    for (moved, between) in moved.iter_mut().zip(ways) {
        let narrow = between.map(|b| of_plan(&plan, &kernels, BRAIN.products, b));
        for (n, kernel) in kernels.iter().enumerate() {
            for (b, buffer) in kernel.buffers.values().enumerate() {
                let half = narrow.as_ref().is_some_and(|all| all[n][b]);
                *moved += if half { 2 } else { 4 } * elements(&buffer.dims).eval(sizes);
            }
        }
    }
    Ok(moved)
}

#[test]
fn memories_give_the_same_bits() {
    let mut closer = 0;
    for (name, moved) in of_rules("Comba", rule) {
        let [before, exactly, closely] = moved.unwrap_or_else(|e| panic!("{name}: {e}"));
        println!("{name}: of {before} bytes {exactly} are moved, or {closely}");
        assert!(closely <= exactly && exactly < before, "{name}: nothing is narrow");
        closer += usize::from(closely < exactly);
    }
    // What only products take is all there is where the memory's own numbers stay in kernels.
    assert!(closer > 2, "{closer} rules hand on what is taken otherwise as well");
}

/// Numbers as bfloat16 has them.
fn rounded(array: &Array) -> Array {
    let round = |x: &f64| brain(*x);
    Array::real(array.dims.clone(), array.reals().iter().map(round).collect())
}

/// A rule whose caller keeps what has a number for each token as bfloat16, against kernels that are given and give float32.
fn callers(
    name: &str,
    width: usize,
    chunk: usize,
    sizes: &Sizes,
) -> Result<usize, String> {
    let Planned { mut plan, kernels, mut inputs } = planned(name, width, chunk, sizes)?;
    let of_tokens = |plan: &Plan| -> Vec<String> {
        let tokens = plan
            .tensors
            .values()
            .filter(|t| t.ty.elem == Elem::Real && t.ty.dims.contains(&Dim::Time));
        tokens.flat_map(|t| t.role.names()).map(str::to_owned).collect()
    };
    let names = of_tokens(&plan);
    for name in &names {
        if let Some(input) = inputs.get_mut(name) {
            *input = rounded(input);
        }
    }
    let wide = Emulated::of_plan(&plan, &kernels, BRAIN, Between::Closely)?;
    let mut expected = results(&wide, (&plan, &kernels), &inputs, sizes)?;
    keep_as_bfloat16(&mut plan, &names).map_err(|e| e.to_string())?;
    let narrow = of_plan(&plan, &kernels, BRAIN.products, Between::Closely);
    all_kept(&plan, &kernels, &narrow, BRAIN.products).map_err(|e| e.to_string())?;
    let kept = Emulated::of_plan(&plan, &kernels, BRAIN, Between::Closely)?;
    let found = results(&kept, (&plan, &kernels), &inputs, sizes)?;
    for (tensor, expected) in &mut expected {
        if names.contains(tensor) {
            *expected = rounded(expected);
        }
        if bits(expected) != bits(&found[tensor]) {
            return Err(format!("`{tensor}` differs"));
        }
    }
    Ok(names.len())
}

#[test]
fn tensors_of_the_caller_give_the_same_bits() {
    for (name, found) in of_rules("KDA", callers) {
        let count = found.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(count >= 8, "{name}: {count} tensors");
    }
}

/// A tile that is moved to a second one, of which a part is chosen, and both are taken by products alone.
fn chosen(left: &str, right: &str, [m, n, k]: [usize; 3], shape: &str) -> String {
    let (a, b) = (m * k, k * n);
    format!(
        r#"kernel "chosen" {{
  b0 "a": [B, {m}, {k}] read
  b1 "b": [B, {k}, {n}] read
  b2 "c": [B, {m}, {n}] write
  t0 "left": [{m}, {k}]
  t1 "right": [{k}, {n}]
  t2 "first": [{k}, {n}]
  indices 1
  grid i0 < B
  map [{m}, {k}] {{
    l0 = b0[{a}*i0; {k}, 1]
    t0[0; {left}] = neg(l0)
  }}
  map [{k}, {n}] {{
    l0 = b1[{b}*i0; {n}, 1]
    t2[0; {n}, 1] = l0 * l0
  }}
  map [{k}, {n}] {{
    l0 = t2[0; {n}, 1] if 1 <= p0 < {k}
    e0 = at(p1)
    e1 = 3
    t1[0; {right}] = select(e0 < e1, neg(l0), l0)
  }}
  product [{m}, {n}, {k}] b2[{c}*i0; {n}, 1] = 0.5 * t0[0; {left}] @ t1[0; {right}]{shape}
}}
"#,
        c = m * n
    )
}

#[test]
fn every_layout_and_shape_gives_the_same_bits() {
    let sizes = Sizes { batch: 2, time: 1, start: 0 };
    for [m, n, k] in
        [[64, 64, 64], [128, 32, 64], [32, 128, 16], [37, 83, 70], [12, 9, 20]]
    {
        let (down, beside) = (format!("{k}, 1"), format!("1, {m}"));
        let (own, turned) = (format!("{n}, 1"), format!("1, {k}"));
        for (left, right) in
            [(&down, &own), (&down, &turned), (&beside, &own), (&beside, &turned)]
        {
            for shape in ["", ", output lower", ", left lower", ", left upper"] {
                let text = chosen(left, right, [m, n, k], shape);
                same_bits(&kernel(&text), &sizes);
            }
        }
    }
}

fn same_bits(kernel: &Kernel, sizes: &Sizes) {
    let all = vec![false; kernel.buffers.len()];
    let kept = narrow(kernel, Products::Brain, &all);
    assert_eq!(kept.tiles, [true, true, true], "{kernel}");
    let kernels = std::slice::from_ref(kernel);
    let number = |b: usize, i: usize| ((i * 37 + b * 11) % 101) as f64 / 50.0 - 1.0;
    let buffers = filled(kernel, sizes, number);
    let found = [None, Some(&[all][..])].map(|narrow| {
        let code = compiled(kernels, narrow, BRAIN, false).expect("code");
        let shared = code.entries[0].shared;
        let emulated =
            Emulated::of(kernels, code).unwrap_or_else(|e| panic!("{e}\n{kernel}"));
        let mut buffers = buffers.clone();
        emulated.run(0, &mut buffers, sizes).unwrap_or_else(|e| panic!("{e}\n{kernel}"));
        let bits: Vec<u64> = buffers[2].iter().map(|x| x.to_bits()).collect();
        (shared, bits)
    });
    let [(before, wide), (after, mixed)] = found;
    assert!(after < before, "{after} bytes of shared memory, before {before}");
    assert_eq!(wide, mixed, "{kernel}");
}
