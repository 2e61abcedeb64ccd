//! Every row of the derivative table against differences.

use crate::common::{
    Numbers, check, check_gradients, evaluate, inputs, sizes, with_gradients,
};
use nestor_ir::dim::Dim;
use nestor_ir::interpret::array::Array;
use nestor_ir::tensor::{Fold, Graph, Op, Value};
use nestor_ir::ty::Type;
use nestor_passes::build::{
    add, broadcast, constant, matmul, mul, scale, sub, sum, transpose_last,
};
use smallvec::smallvec;

fn f(n: usize) -> Dim {
    Dim::Fixed(n)
}

/// `op` of real operands of these shapes, squared so that second derivatives matter.
fn of(op: Op, shapes: &[Vec<Dim>]) -> Graph {
    let mut g = Graph::new();
    let x: Vec<Value> = shapes
        .iter()
        .enumerate()
        .map(|(k, dims)| g.input(format!("x{k}"), Type::real(dims.iter().copied())))
        .collect();
    let y = g.add(op, &x);
    let out = mul(&mut g, y, y);
    g.output("y", out);
    g
}

/// First and second derivatives.
fn twice(graph: &Graph, seed: u64) {
    let s = sizes(2, 5, 3);
    check(graph, &s, seed);
    check(&with_gradients(graph), &s, seed + 1);
}

#[test]
fn unary_ops() {
    let ops = [
        Op::Neg,
        Op::Abs,
        Op::Exp,
        Op::Sin,
        Op::Cos,
        Op::Tanh,
        Op::Erf,
        Op::Sigmoid,
        Op::Softplus,
        Op::Sign,
        Op::Floor,
    ];
    for op in ops {
        twice(&of(op, &[vec![f(2), f(3)]]), 1);
    }
    for op in [Op::Sqrt, Op::Log] {
        let mut g = Graph::new();
        let x = g.input("x", Type::real([f(3)]));
        let two = constant(&mut g, 2.0, &[f(3)]);
        let x = add(&mut g, x, two);
        let y = g.add(op, &[x]);
        g.output("y", y);
        twice(&g, 2);
    }
}

#[test]
fn binary_ops() {
    for op in [Op::Add, Op::Sub, Op::Mul, Op::Max, Op::Min] {
        twice(&of(op, &[vec![f(4)], vec![f(4)]]), 3);
    }
    for op in [Op::Div, Op::Pow, Op::Rem] {
        let mut g = Graph::new();
        let a = g.input("a", Type::real([f(4)]));
        let b = g.input("b", Type::real([f(4)]));
        let two = constant(&mut g, 2.0, &[f(4)]);
        let (a, b) = (add(&mut g, a, two), add(&mut g, b, two));
        let y = g.add(op, &[a, b]);
        g.output("y", y);
        twice(&g, 4);
    }
    for n in [0.0, 1.0, 2.0, 3.0, 0.5, -1.0, -0.5, 1.5] {
        let mut g = Graph::new();
        let a = g.input("a", Type::real([f(3)]));
        let two = constant(&mut g, 2.0, &[f(3)]);
        let a = add(&mut g, a, two);
        let n = constant(&mut g, n, &[f(3)]);
        let y = g.add(Op::Pow, &[a, n]);
        g.output("y", y);
        twice(&g, 5);
    }
}

/// The slope of a norm where everything is 0 is 0, and so are all slopes of that slope.
#[test]
fn roots_are_flat_at_zero() {
    for p in [2.0, 3.0, 4.0] {
        let mut g = Graph::new();
        let x = g.input("x", Type::real([f(3)]));
        let size = g.add(Op::Abs, &[x]);
        let power = constant(&mut g, p, &[f(3)]);
        let raised = g.add(Op::Pow, &[size, power]);
        let axes = smallvec![0];
        let total = g.add(Op::Reduce { fold: Fold::Sum, axes }, &[raised]);
        let norm = if p == 2.0 {
            g.add(Op::Sqrt, &[total])
        } else {
            let root = constant(&mut g, 1.0 / p, &[]);
            g.add(Op::Pow, &[total, root])
        };
        let norm = broadcast(&mut g, norm, &[f(3)], &[]);
        let y = mul(&mut g, x, norm);
        g.output("y", y);
        let sizes = sizes(1, 1, 1);
        for graph in [with_gradients(&g), with_gradients(&with_gradients(&g))] {
            let given: Vec<Array> = graph
                .inputs
                .iter()
                .map(|i| match i.name.as_str() {
                    "x" => Array::real([3], vec![0.0; 3]),
                    _ => Array::real([3], vec![0.5, -1.0, 2.0]),
                })
                .collect();
            for found in evaluate(&graph, &given, &sizes) {
                assert!(found.reals().iter().all(|x| *x == 0.0), "{p}: {found:?}");
            }
        }
    }
}

#[test]
fn choices() {
    let mut g = Graph::new();
    let a = g.input("a", Type::real([f(6)]));
    let b = g.input("b", Type::real([f(6)]));
    let c = g.input("c", Type::bool([f(6)]));
    let both = g.add(Op::Less, &[a, b]);
    let c = g.add(Op::And, &[c, both]);
    let n = g.add(Op::Not, &[c]);
    let a2 = mul(&mut g, a, a);
    let y = g.add(Op::Select, &[n, a2, b]);
    let r = g.add(Op::Real, &[both]);
    let y = mul(&mut g, y, r);
    let s = g.add(Op::Stop, &[y]);
    let kept = mul(&mut g, b, s);
    g.output("y", y);
    // What `stop` hides is not a difference, so only its operand's sum is looked at.
    let zero = sub(&mut g, kept, kept);
    g.output("z", zero);
    twice(&g, 6);
}

#[test]
fn conditions_are_constants() {
    for op in [Op::Less, Op::LessEqual, Op::Equal] {
        for join in [Op::And, Op::Or] {
            let mut g = Graph::new();
            let a = g.input("a", Type::real([f(6)]));
            let b = g.input("b", Type::real([f(6)]));
            let c = g.input("c", Type::bool([f(6)]));
            let compared = g.add(op.clone(), &[a, b]);
            let both = g.add(join, &[compared, c]);
            let square = mul(&mut g, a, a);
            let y = g.add(Op::Select, &[both, square, b]);
            g.output("y", y);
            twice(&g, 16);
        }
    }
}

#[test]
fn leaves_are_constants() {
    let t = Dim::Time;
    let mut g = Graph::new();
    let x = g.input("x", Type::real([t, f(3)]));
    let count = g.add(Op::Iota { axis: 1, dims: smallvec![t, f(3)] }, &[]);
    let position = g.add(Op::Position { dims: smallvec![t] }, &[]);
    let position = broadcast(&mut g, position, &[t, f(3)], &[0]);
    let ty = Type::real([t, f(3)]);
    let half = g.add(Op::Constant { value: 0.5, ty }, &[]);
    let square = mul(&mut g, x, x);
    let mut y = add(&mut g, count, position);
    for factor in [half, square] {
        y = mul(&mut g, y, factor);
    }
    g.output("y", y);
    twice(&g, 17);
}

#[test]
fn reductions_and_products() {
    let t = Dim::Time;
    for fold in [Fold::Sum, Fold::Max, Fold::Min] {
        twice(&of(Op::Reduce { fold, axes: smallvec![1] }, &[vec![f(2), t, f(3)]]), 7);
        check(
            &of(Op::Reduce { fold, axes: smallvec![0, 2] }, &[vec![f(2), t, f(3)]]),
            &sizes(1, 4, 0),
            8,
        );
    }
    let b = Dim::Batch;
    let cases: [(Op, Vec<Vec<Dim>>); 5] = [
        (
            Op::Contract { batch: smallvec![], sum: smallvec![(1, 0)] },
            vec![vec![f(2), f(3)], vec![f(3), f(4)]],
        ),
        (
            Op::Contract { batch: smallvec![], sum: smallvec![] },
            vec![vec![f(2)], vec![f(3)]],
        ),
        (
            Op::Contract { batch: smallvec![(0, 1)], sum: smallvec![(2, 0)] },
            vec![vec![b, f(2), f(3)], vec![f(3), b, f(2)]],
        ),
        (
            Op::Contract {
                batch: smallvec![(2, 1), (0, 2)],
                sum: smallvec![(3, 3), (1, 0)],
            },
            vec![vec![b, f(2), t, f(3), f(2)], vec![f(2), t, b, f(3)]],
        ),
        (
            Op::Contract { batch: smallvec![], sum: smallvec![(0, 1), (1, 0)] },
            vec![vec![f(2), f(3)], vec![f(3), f(2)]],
        ),
    ];
    for (op, shapes) in cases {
        twice(&of(op, &shapes), 9);
    }
}

#[test]
fn moves() {
    let t = Dim::Time;
    let cases: Vec<(Op, Vec<Vec<Dim>>)> = vec![
        (Op::Reshape { dims: smallvec![f(3), t, f(2)] }, vec![vec![t, f(6)]]),
        (Op::Transpose { order: smallvec![2, 0, 1] }, vec![vec![f(2), t, f(3)]]),
        (
            Op::Broadcast { dims: smallvec![f(2), t, f(4), f(3)], axes: smallvec![1, 3] },
            vec![vec![t, f(3)]],
        ),
        (Op::Slice { axis: 1, start: 1, size: 2 }, vec![vec![f(2), f(4)]]),
        (Op::Pad { axis: 0, before: 1, after: 2 }, vec![vec![f(2), f(4)]]),
        (
            Op::Concat { axis: 1 },
            vec![vec![f(2), f(2)], vec![f(2), f(3)], vec![f(2), f(1)]],
        ),
        (Op::Shift { axis: 1, by: 2 }, vec![vec![f(2), t, f(2)]]),
        (Op::Shift { axis: 0, by: -1 }, vec![vec![t, f(2)]]),
        (Op::Fit { axis: 1, size: Dim::Ticks(2) }, vec![vec![f(2), t, f(2)]]),
        (Op::Fit { axis: 0, size: t }, vec![vec![Dim::Ticks(2), f(2)]]),
        (Op::Window { axis: 1, size: f(3) }, vec![vec![f(2), t, f(2)]]),
    ];
    for (op, shapes) in cases {
        twice(&of(op, &shapes), 10);
    }
    for size in [t, f(18)] {
        check(
            &of(Op::Window { axis: 1, size }, &[vec![f(2), t, f(2)]]),
            &sizes(1, 4, 1),
            11,
        );
        check(
            &with_gradients(&of(Op::Window { axis: 0, size }, &[vec![t]])),
            &sizes(1, 4, 1),
            11,
        );
    }
}

#[test]
fn indices() {
    let mut g = Graph::new();
    let table = g.input("table", Type::real([f(4), f(3)]));
    let index = g.input("index", Type::int([Dim::Batch, Dim::Time]));
    let rows = g.add(Op::Gather, &[table, index]);
    let rows = mul(&mut g, rows, rows);
    g.output("rows", rows);
    let back = g.add(Op::ScatterAdd { rows: 5 }, &[rows, index]);
    let back = mul(&mut g, back, back);
    g.output("back", back);
    twice(&g, 12);
}

#[test]
fn systems() {
    let b = Dim::Batch;
    for transpose in [false, true] {
        let op = Op::SolveUnitLower { transpose };
        twice(&of(op, &[vec![b, f(3), f(3)], vec![b, f(3), f(2)]]), 13);
    }
    for reverse in [false, true] {
        let op = Op::LinearScan { reverse };
        for length in [f(4), Dim::Time] {
            twice(
                &of(
                    op.clone(),
                    &[
                        vec![b, length, f(2), f(2)],
                        vec![b, length, f(2), f(3)],
                        vec![b, f(2), f(3)],
                    ],
                ),
                14,
            );
        }
    }
    // A symmetric positive matrix made of anything: k' k + 2.
    let mut g = Graph::new();
    let k = g.input("k", Type::real([f(3), f(3)]));
    let x = g.input("x", Type::real([f(3), f(2)]));
    let a = g.add(Op::Contract { batch: smallvec![], sum: smallvec![(0, 0)] }, &[k, k]);
    let mask = nestor_passes::build::strictly_lower(&mut g, f(3));
    let turned = g.add(Op::Transpose { order: smallvec![1, 0] }, &[mask]);
    let off = g.add(Op::Or, &[mask, turned]);
    let on = g.add(Op::Not, &[off]);
    let identity = g.add(Op::Real, &[on]);
    let identity = scale(&mut g, identity, 2.0);
    let a = add(&mut g, a, identity);
    let y = g.add(Op::Solve, &[a, x]);
    g.output("y", y);
    twice(&g, 15);
    for p in [1.0, 2.0, 4.0] {
        let mut g = g.clone();
        let root = g.add(Op::InverseRoot { p }, &[a]);
        g.outputs.clear();
        g.output("root", root);
        twice(&g, 16);
    }
}

/// What is made of eigenvectors here depends on neither their order nor their sign: `Q tanh(Q' B Q) Q' x`, with the
/// values taken as `Q' A Q` has them.
#[test]
fn eigenvectors_away_from_equal_values() {
    for lead in [vec![], vec![Dim::Batch]] {
        let at = lead.len();
        let shape = |n: usize| lead.iter().copied().chain([f(3), f(n)]);
        let mut g = Graph::new();
        let k = g.input("k", Type::real(shape(3)));
        let x = g.input("x", Type::real(shape(2)));
        let turned = transpose_last(&mut g, k);
        let a = add(&mut g, k, turned);
        let q = g.add(Op::Eigenvectors, &[a]);
        let across = transpose_last(&mut g, q);
        let aq = matmul(&mut g, a, q);
        let values = mul(&mut g, q, aq);
        let values = sum(&mut g, values, &[at]);
        let values = g.add(Op::Tanh, &[values]);
        let seen = matmul(&mut g, across, x);
        let dims: Vec<Dim> = shape(2).collect();
        let axes: Vec<usize> = (0..=at).collect();
        let values = broadcast(&mut g, values, &dims, &axes);
        let seen = mul(&mut g, seen, values);
        let y = matmul(&mut g, q, seen);
        g.output("y", y);
        twice(&g, 18);
    }
}

/// Equal values pass no slope between their vectors, and nothing that is not finite.
#[test]
fn eigenvectors_of_equal_values_pass_nothing() {
    let mut g = Graph::new();
    let a = g.input("a", Type::real([f(3), f(3)]));
    let q = g.add(Op::Eigenvectors, &[a]);
    let seed = g.input("seed", Type::real([f(3), f(3)]));
    let found = nestor_passes::autodiff::pullback(&mut g, &[(q, seed)], &[a]);
    let da = found.expect("it has a derivative")[0].expect("it depends on it");
    g.output("da", da);
    let identity = vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    let seed = (0..9).map(f64::from).collect();
    let given = [Array::real([3, 3], identity), Array::real([3, 3], seed)];
    let found = evaluate(&g, &given, &sizes(1, 1, 0));
    assert!(found[0].reals().iter().all(|x| *x == 0.0));
}

#[test]
fn large_inverse_roots_say_that_they_have_none() {
    let mut g = of(Op::InverseRoot { p: 2.0 }, &[vec![f(30), f(30)]]);
    let (y, x) = (g.outputs[0].value, g.inputs[0].value);
    let error = nestor_passes::autodiff::pullback(&mut g, &[(y, y)], &[x]);
    assert!(matches!(error, Err(nestor_passes::PassError::Limitation { .. })));
}

#[test]
fn a_soft_maximum_is_safe_far_out() {
    let mut g = Graph::new();
    let x = g.input("x", Type::real([f(2), f(4)]));
    let top = g.add(Op::Reduce { fold: Fold::Max, axes: smallvec![1] }, &[x]);
    let top = broadcast(&mut g, top, &[f(2), f(4)], &[0]);
    let x = sub(&mut g, x, top);
    let e = g.add(Op::Exp, &[x]);
    let total = g.add(Op::Reduce { fold: Fold::Sum, axes: smallvec![1] }, &[e]);
    let total = broadcast(&mut g, total, &[f(2), f(4)], &[0]);
    let p = g.add(Op::Div, &[e, total]);
    g.output("p", p);
    let s = sizes(1, 1, 0);
    let mut numbers = Numbers::new(3);
    let x = inputs(&g, &s, &mut numbers);
    check_gradients(&g, &x, &s, &mut numbers);
    let far = x[0].reals().iter().map(|v| v + 800.0).collect::<Vec<_>>();
    check_gradients(&g, &[Array::real(x[0].dims.clone(), far)], &s, &mut numbers);
}

/// `if there then f(x) else 0`, where f or its slope is infinite or no number at what is left out.
#[test]
fn what_a_choice_leaves_out_has_no_slope() {
    let one_less = |g: &mut Graph, x: Value| {
        let power = constant(g, -0.5, &[f(2)]);
        g.add(Op::Pow, &[x, power])
    };
    let under_one = |g: &mut Graph, x: Value| {
        let one = constant(g, 1.0, &[f(2)]);
        g.add(Op::Div, &[one, x])
    };
    type Of<'a> = &'a dyn Fn(&mut Graph, Value) -> Value;
    let cases: [(f64, Of<'_>); 5] = [
        (1000.0, &|g, x| g.add(Op::Exp, &[x])),
        (0.0, &|g, x| g.add(Op::Log, &[x])),
        (0.0, &under_one),
        (0.0, &one_less),
        (1000.0, &|g, x| {
            let e = g.add(Op::Exp, &[x]);
            let double = scale(g, e, 2.0);
            g.add(Op::Exp, &[double])
        }),
    ];
    for (n, (left_out, of)) in cases.into_iter().enumerate() {
        for otherwise in [false, true] {
            let mut g = Graph::new();
            let x = g.input("x", Type::real([f(2)]));
            let there = g.input("there", Type::bool([f(2)]));
            let y = of(&mut g, x);
            let zero = constant(&mut g, 0.0, &[f(2)]);
            let branches = if otherwise { [zero, y] } else { [y, zero] };
            let y = g.add(Op::Select, &[there, branches[0], branches[1]]);
            let seed = g.input("seed", Type::real([f(2)]));
            let found = nestor_passes::autodiff::pullback(&mut g, &[(y, seed)], &[x]);
            let dx = found.expect("it has a derivative")[0].expect("it depends on it");
            g.output("dx", dx);
            let given = [
                Array::real([2], vec![0.3, left_out]),
                Array::bool([2], vec![!otherwise, otherwise]),
                Array::real([2], vec![1.0, 1.0]),
            ];
            let found = evaluate(&g, &given, &sizes(1, 1, 0));
            let [kept, left] = found[0].reals() else { panic!("two slopes") };
            assert!(kept.is_finite() && *kept != 0.0, "case {n}: {kept}");
            assert_eq!(*left, 0.0, "case {n}");
        }
    }
}
