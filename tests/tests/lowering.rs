//! Every op that may reach a kernel, lowered alone and run as machine code, is what the
//! interpreter says it is, for sizes that divide nothing.

use nestor_compiler::interpret::{Array, Data};
use nestor_ir::artifact::Precision;
use nestor_ir::dim::Sizes;
use nestor_ir::interpret::tensor;
use nestor_ir::tensor::Graph;
use nestor_ir::tensor::text::parse;
use nestor_ir::ty::Elem;
use nestor_tests::native;

/// Relative distance in float64.
const TOLERANCE: f64 = 1e-11;

/// Numbers between 0.5 and 1.5, where every op is defined; whole numbers below 3.
fn given(graph: &Graph, sizes: &Sizes) -> Vec<Array> {
    let one = |n: usize, input: &nestor_ir::tensor::graph::Named| {
        let ty = graph.ty(input.value);
        let dims: Vec<usize> = ty.dims.iter().map(|d| d.size(sizes)).collect();
        let spread = (0..dims.iter().product()).map(|i: usize| i * 7919 + n * 104_729);
        match ty.elem {
            Elem::Real => {
                let real = |i: usize| 0.5 + (i % 1009) as f64 / 1009.0;
                Array::real(dims, spread.map(real).collect())
            }
            Elem::Int => Array::int(dims, spread.map(|i| (i % 3) as i64).collect()),
            Elem::Bool => Array::bool(dims, spread.map(|i| i % 5 < 2).collect()),
        }
    };
    graph.inputs.iter().enumerate().map(|(n, i)| one(n, i)).collect()
}

/// Runs a graph both ways.
fn agree(text: &str) {
    let graph = parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    for (batch, time, start) in [(1, 1, 0), (2, 7, 5), (3, 19, 0)] {
        let sizes = Sizes { batch, time, start };
        let inputs = given(&graph, &sizes);
        let expected = tensor::run(&graph, &inputs, &sizes, Precision::F64);
        let expected = expected.unwrap_or_else(|e| panic!("{e}\n{graph}"));
        let found = native::run(&graph, &inputs, &sizes, Precision::F64);
        let found = found.unwrap_or_else(|e| panic!("{e}\n{graph}"));
        for (output, expected) in graph.outputs.iter().zip(&expected) {
            let found = &found[&output.name];
            assert_eq!(found.dims, expected.dims, "{}\n{graph}", output.name);
            let (Data::Real(x), Data::Real(y)) = (&found.data, &expected.data) else {
                assert_eq!(found.data, expected.data, "{}\n{graph}", output.name);
                continue;
            };
            for (x, y) in x.iter().zip(y) {
                let near = (x - y).abs() <= TOLERANCE * (1.0 + y.abs());
                assert!(near, "{}: {x}, not {y}\n{graph}", output.name);
            }
        }
        #[cfg(feature = "cuda")]
        agree_as_ptx(&graph, &inputs, &sizes, &expected);
    }
}

/// Runs a graph as PTX in the emulator, in single precision.
#[cfg(feature = "cuda")]
fn agree_as_ptx(graph: &Graph, inputs: &[Array], sizes: &Sizes, expected: &[Array]) {
    let names = graph.inputs.iter().map(|i| i.name.clone());
    let given = names.zip(inputs.iter().cloned()).collect();
    let (plan, kernels) =
        nestor_compiler::native::scheduled(graph).expect("the graph has kernels");
    let emulated =
        nestor_tests::emulated::Emulated::new(&kernels, nestor_mlir::Target::Sm90a);
    if let Err(why) = &emulated
        && why.contains("a system that is not triangular")
    {
        eprintln!("1 check skipped: no code for GPUs: {why}");
        return;
    }
    // Eigenvectors may come in another order: what is made of them in the end is compared, not every kernel.
    let ordered =
        !graph.nodes.values().any(|n| n.op == nestor_ir::tensor::Op::Eigenvectors);
    let found = emulated.and_then(|mut e| {
        e.tolerance = if ordered { e.tolerance } else { f64::INFINITY };
        e.plan(&plan, &given, sizes)
    });
    let found = found.unwrap_or_else(|e| panic!("{e}\n{graph}"));
    for (output, expected) in graph.outputs.iter().zip(expected) {
        let found = &found[&output.name];
        let (Data::Real(x), Data::Real(y)) = (&found.data, &expected.data) else {
            assert_eq!(found.data, expected.data, "{}\n{graph}", output.name);
            continue;
        };
        for (x, y) in x.iter().zip(y) {
            let near = (x - y).abs() <= 1e-5 * (1.0 + y.abs());
            assert!(near, "as PTX, {}: {x}, not {y}\n{graph}", output.name);
        }
    }
}

#[test]
fn ops_of_one_operand() {
    agree(
        r#"graph {
          %0 "x": [B, T, 3] = input
          %1 "c": bool[B, T] = input
          %2: [B, T, 3] = neg %0
          %3: [B, T, 3] = abs %2
          %4: [B, T, 3] = sign %2
          %5: [B, T, 3] = sqrt %0
          %6: [B, T, 3] = exp %2
          %7: [B, T, 3] = log %0
          %8: [B, T, 3] = sin %2
          %9: [B, T, 3] = cos %2
          %10: [B, T, 3] = tanh %2
          %11: [B, T, 3] = erf %2
          %12: [B, T, 3] = sigmoid %2
          %13: [B, T, 3] = softplus %2
          %14: [B, T, 3] = floor %2
          %15: bool[B, T] = not %1
          %16: [B, T] = real %15
          %17: [B, T, 3] = stop %5
          output "neg" %2
          output "abs" %3
          output "sign" %4
          output "sqrt" %5
          output "exp" %6
          output "log" %7
          output "sin" %8
          output "cos" %9
          output "tanh" %10
          output "erf" %11
          output "sigmoid" %12
          output "softplus" %13
          output "floor" %14
          output "not" %15
          output "real" %16
          output "stop" %17
        }"#,
    );
}

#[test]
fn ops_of_two_operands_and_choices() {
    agree(
        r#"graph {
          %0 "x": [B, T, 3] = input
          %1 "y": [B, T, 3] = input
          %2: [B, T, 3] = add %0, %1
          %3: [B, T, 3] = sub %0, %1
          %4: [B, T, 3] = mul %0, %1
          %5: [B, T, 3] = div %0, %1
          %6: [B, T, 3] = pow %0, %1
          %7: [B, T, 3] = rem %3, %1
          %8: [B, T, 3] = max %0, %1
          %9: [B, T, 3] = min %0, %1
          %10: bool[B, T, 3] = less %0, %1
          %11: bool[B, T, 3] = less_equal %0, %8
          %12: bool[B, T, 3] = equal %8, %0
          %13: bool[B, T, 3] = and %10, %11
          %14: bool[B, T, 3] = or %10, %12
          %15: [B, T, 3] = select %13, %0, %3
          output "add" %2
          output "sub" %3
          output "mul" %4
          output "div" %5
          output "pow" %6
          output "rem" %7
          output "max" %8
          output "min" %9
          output "less" %10
          output "less_equal" %11
          output "equal" %12
          output "and" %13
          output "or" %14
          output "select" %15
        }"#,
    );
}

#[test]
fn leaves_folds_and_products() {
    agree(
        r#"graph {
          %0 "x": [B, T, 3] = input
          %1 "w": [3, 5] = input
          %2: [B, T, 3] = constant{value=2}
          %3: [B, T, 3] = iota{axis=1}
          %4: [T] = position
          %5: [B, T, 3] = broadcast{axes=(1)} %4
          %6: [B, T, 3] = mul %2, %3
          %7: [B, T, 3] = add %6, %5
          %8: [B, T, 3] = add %7, %0
          %9: [B, T] = reduce{fold=sum, axes=(2)} %8
          %10: [B, 3] = reduce{fold=max, axes=(1)} %0
          %11: [3] = reduce{fold=min, axes=(0, 1)} %0
          %12: [B, T, 5] = contract{batch=(), sum=(2:0)} %8, %1
          output "sum" %9
          output "max" %10
          output "min" %11
          output "contract" %12
        }"#,
    );
}

#[test]
fn moves_and_indices() {
    agree(
        r#"graph {
          %0 "x": [B, T, 6] = input
          %1 "n": int[B, T] = input
          %2 "table": [3, 2] = input
          %3: [B, T, 2, 3] = reshape %0
          %4: [T, B, 6] = transpose{order=(1, 0, 2)} %0
          %5: [B, T, 2] = slice{axis=2, start=1, size=2} %0
          %6: [B, T, 9] = pad{axis=2, before=1, after=2} %0
          %7: [B, T, 8] = concat{axis=2} %5, %0
          %8: [B, T, 6] = shift{axis=1, by=2} %0
          %9: [B, T, 4, 6] = window{axis=1, size=4} %0
          %10: [B, T, 2] = gather %2, %1
          %11: [3, 6] = scatter_add{rows=3} %0, %1
          %12: [B, T:3, 6] = fit{axis=1, size=T:3} %0
          %13: [B, T/4, 6] = fit{axis=1, size=T/4} %12
          %14: [T:3] = position
          %15: [B, T:3, 6] = broadcast{axes=(1)} %14
          %16: [B, T:3, 6] = mul %12, %15
          output "reshape" %3
          output "fit" %13
          output "ticks" %16
          output "transpose" %4
          output "pad" %6
          output "concat" %7
          output "shift" %8
          output "window" %9
          output "gather" %10
          output "scatter_add" %11
        }"#,
    );
}

#[test]
fn systems_and_walks() {
    agree(
        r#"graph {
          %0 "l": [B, 5, 5] = input
          %1 "x": [B, 5, 3] = input
          %2 "a": [B, 6, 2, 2] = input
          %3 "b": [B, 6, 2, 3] = input
          %4 "s": [B, 2, 3] = input
          %5: [B, 6, 2, 2] = constant{value=0.25}
          %6: [B, 6, 2, 2] = mul %2, %5
          %7: [B, 5, 3] = solve_unit_lower %0, %1
          %8: [B, 5, 3] = solve_unit_lower{transpose=yes} %0, %1
          %9: [B, 6, 2, 3] = linear_scan %6, %3, %4
          %10: [B, 6, 2, 3] = linear_scan{reverse=yes} %6, %3, %4
          output "solve" %7
          output "solve transposed" %8
          output "scan" %9
          output "scan reversed" %10
        }"#,
    );
}

#[test]
fn a_walk() {
    agree(
        r#"graph {
          %0 "k": [B, T, 2, 4] = input
          %1 "v": [B, T, 2, 3] = input
          %2 "W": [2, 4, 3] = input
          %3: [B, 2, 4, 3], %4: [B, T, 2, 3] = scan{map=[B, 2], time=T}
              stream(m0 t m1 .) %0
              stream(m0 t m1 .) %1
              initial(m1 . .) %2
              yield stream(m0 t m1 .) {
            %0 "k": [4] = input
            %1 "v": [3] = input
            %2 "W": [4, 3] = input
            %3 "valid": bool[] = input
            %4 "position": [] = input
            %5: [4, 3] = contract{batch=(), sum=()} %0, %1
            %6: [4, 3] = tanh %2
            %7: [4, 3] = add %6, %5
            %8: [3] = contract{batch=(), sum=(0:0)} %0, %7
            output "W" %7
            output "y" %8
          }
          output "W" %3
          output "y" %4
        }"#,
    );
}

#[test]
fn whole_systems_and_roots() {
    agree(
        r#"graph {
          %0 "a": [B, 5, 5] = input
          %1 "x": [B, 5, 3] = input
          %2: [B, 5, 5] = contract{batch=(0:0), sum=(2:2)} %0, %0
          %3: [B, 5, 5] = iota{axis=1}
          %4: [B, 5, 5] = iota{axis=2}
          %5: bool[B, 5, 5] = equal %3, %4
          %6: [B, 5, 5] = real %5
          %7: [B, 5, 5] = add %2, %6
          %8: [B, 5, 3] = solve %7, %1
          %9: [B, 5, 5] = inverse_root{p=4} %7
          %10: [B, 5, 5] = eigenvectors %7
          %11: [B, 5, 5] = contract{batch=(0:0), sum=(1:1)} %10, %10
          %12: [B, 5, 5] = inverse_root{p=1} %7
          %13: [B, 5, 5] = contract{batch=(0:0), sum=(2:1)} %12, %10
          %14: [B, 5, 5] = contract{batch=(0:0), sum=(1:1)} %10, %13
          %15: bool[B, 5, 5] = not %5
          %16: [B, 5, 5] = real %15
          %17: [B, 5, 5] = mul %14, %16
          output "solve" %8
          output "root" %9
          output "lengths of eigenvectors, in any order" %11
          output "what they leave beside the diagonal" %17
        }"#,
    );
}
