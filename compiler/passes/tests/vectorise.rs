//! Repeating a graph over leading dimensions against running it once for every index.

use crate::common::{Numbers, close, evaluate, sizes};
use nestor_ir::dim::{Dim, Sizes};
use nestor_ir::interpret::array::Array;
use nestor_ir::tensor::{Axis, Feed, Fold, Graph, Op, Scan, Stride, Value, Yield};
use nestor_ir::ty::Type;
use nestor_passes::build::{contract, mul, scalar};
use nestor_passes::derive::derive;
use nestor_passes::simplify::simplify;
use nestor_passes::vectorise::{Mapped, lift, no_hook, vectorise_into};
use smallvec::smallvec;

fn f(n: usize) -> Dim {
    Dim::Fixed(n)
}

/// Every choice of which inputs are mapped, over `[B, 3]`.
fn check(source: &Graph, derived: bool) {
    let s = sizes(2, 4, 0);
    for choice in 1..1usize << source.inputs.len() {
        check_choice(source, choice, &s, derived);
    }
}

fn check_choice(source: &Graph, choice: usize, s: &Sizes, derived: bool) {
    let lead = [Dim::Batch, f(3)];
    let mut numbers = Numbers::new(choice as u64);
    let mut g = Graph::new();
    let mut arguments = Vec::new();
    for (k, input) in source.inputs.iter().enumerate() {
        let mut ty = source.ty(input.value).clone();
        let mapped = choice >> k & 1 == 1;
        if mapped {
            ty.dims.insert_many(0, lead);
        }
        let value = g.input(input.name.clone(), ty);
        arguments.push(Mapped { value, mapped });
    }
    let results = vectorise_into(&mut g, source, &arguments, &lead, None, &mut no_hook)
        .unwrap_or_else(|e| panic!("{e}\n{source}"));
    for (k, m) in results.iter().enumerate() {
        let value = lift(&mut g, *m, &lead);
        g.output(format!("y{k}"), value);
    }
    let (g, source) = if derived {
        (derive(&g).expect("derives"), derive(source).expect("derives"))
    } else {
        (g, source.clone())
    };
    let x = crate::common::inputs(&g, s, &mut numbers);
    let all = evaluate(&g, &x, s);
    let plainer = evaluate(&simplify(&g), &x, s);
    for index in 0..6 {
        let cut = |a: &Array, mapped: bool| -> Array {
            if !mapped {
                return a.clone();
            }
            a.rearranged(a.dims[2..].to_vec(), |i| {
                Some([&[index / 3, index % 3][..], i].concat())
            })
        };
        let each: Vec<Array> =
            x.iter().zip(&arguments).map(|(a, m)| cut(a, m.mapped)).collect();
        for (k, one) in evaluate(&source, &each, s).iter().enumerate() {
            close(&format!("{choice:b}\n{source}\n{g}"), &cut(&all[k], true), one, 1e-12);
            close("simplified", &cut(&plainer[k], true), one, 1e-10);
        }
    }
}

fn of(op: Op, types: &[Type]) -> Graph {
    let mut g = Graph::new();
    let inputs = types.iter().enumerate();
    let x: Vec<Value> =
        inputs.map(|(k, ty)| g.input(format!("x{k}"), ty.clone())).collect();
    let y = g.add(op, &x);
    g.output("y", y);
    g
}

fn real(dims: &[Dim]) -> Type {
    Type::real(dims.iter().copied())
}

#[test]
fn every_op_repeats() {
    let t = Dim::Time;
    let m = real(&[f(2), t, f(3)]);
    let square = real(&[f(2), f(2)]);
    let cases: Vec<(Op, Vec<Type>)> = vec![
        (Op::Tanh, vec![m.clone()]),
        (Op::Sub, vec![m.clone(), m.clone()]),
        (Op::Select, vec![Type::bool([t]), real(&[t]), real(&[t])]),
        (Op::Reduce { fold: Fold::Sum, axes: smallvec![0, 2] }, vec![m.clone()]),
        (Op::Reduce { fold: Fold::Max, axes: smallvec![1] }, vec![m.clone()]),
        (Op::Reshape { dims: smallvec![t, f(6)] }, vec![m.clone()]),
        (Op::Transpose { order: smallvec![2, 0, 1] }, vec![m.clone()]),
        (
            Op::Broadcast { dims: smallvec![f(4), t, f(2)], axes: smallvec![1] },
            vec![real(&[t])],
        ),
        (Op::Slice { axis: 2, start: 1, size: 2 }, vec![m.clone()]),
        (Op::Pad { axis: 0, before: 1, after: 2 }, vec![m.clone()]),
        (Op::Concat { axis: 0 }, vec![m.clone(), m.clone()]),
        (Op::Shift { axis: 1, by: 1 }, vec![m.clone()]),
        (Op::Window { axis: 1, size: t }, vec![m.clone()]),
        (Op::Gather, vec![real(&[f(4), f(3)]), Type::int([f(2), t])]),
        (Op::ScatterAdd { rows: 5 }, vec![real(&[f(2), t, f(3)]), Type::int([f(2), t])]),
        (
            Op::SolveUnitLower { transpose: true },
            vec![square.clone(), real(&[f(2), f(3)])],
        ),
        (
            Op::LinearScan { reverse: false },
            vec![real(&[t, f(2), f(2)]), real(&[t, f(2), f(1)]), real(&[f(2), f(1)])],
        ),
        (
            Op::Contract { batch: smallvec![(1, 0)], sum: smallvec![(0, 2)] },
            vec![real(&[f(2), t, f(3)]), real(&[t, f(4), f(2)])],
        ),
        (
            Op::Contract { batch: smallvec![], sum: smallvec![(1, 0)] },
            vec![real(&[f(2), f(3)]), real(&[f(3)])],
        ),
        (
            Op::Contract { batch: smallvec![], sum: smallvec![] },
            vec![real(&[f(2)]), real(&[f(3)])],
        ),
        (
            Op::Contract { batch: smallvec![], sum: smallvec![(0, 1)] },
            vec![real(&[f(3)]), real(&[f(2), f(3)])],
        ),
    ];
    for (op, types) in cases {
        check(&of(op, &types), false);
    }
}

#[test]
fn walks_repeat() {
    let mut b = Graph::new();
    let x = b.input("x", real(&[f(2)]));
    let w = b.input("w", real(&[f(2), f(2)]));
    let s = b.input("s", real(&[f(2)]));
    b.input("valid", Type::bool([]));
    b.input("position", Type::real([]));
    let ws = contract(&mut b, w, s, &[], &[(1, 0)]);
    let next = b.add(Op::Add, &[ws, x]);
    b.output("s", next);
    b.output("y", ws);
    let scan = Scan {
        map: smallvec![f(2)],
        time: Dim::Time,
        stride: Stride::Token,
        reverse: false,
        feeds: vec![
            (Feed::Stream, smallvec![Axis::Time, Axis::Map(0), Axis::Body]),
            (Feed::Shared, smallvec![Axis::Body, Axis::Body]),
            (Feed::Initial, smallvec![Axis::Map(0), Axis::Body]),
        ],
        yields: vec![(Yield::Stream, smallvec![Axis::Time, Axis::Body, Axis::Map(0)])],
        body: b,
    };
    let mut g = Graph::new();
    let x = g.input("x", real(&[Dim::Time, f(2), f(2)]));
    let w = g.input("w", real(&[f(2), f(2)]));
    let s = g.input("s", real(&[f(2), f(2)]));
    let r = g.add_many(Op::Scan { scan: Box::new(scan) }, &[x, w, s]);
    g.output("s", r[0]);
    g.output("y", r[1]);
    check(&g, false);
}

#[test]
fn gradients_repeat() {
    let mut g = Graph::new();
    let w = g.input("w", real(&[f(2), f(3)]));
    let x = g.input("x", real(&[f(3)]));
    let a = g.add(Op::Anchor, &[w]);
    let y = contract(&mut g, a, x, &[], &[(1, 0)]);
    let y = g.add(Op::Tanh, &[y]);
    let square = mul(&mut g, y, y);
    let objective = nestor_passes::build::sum_all(&mut g, square);
    let gradient = g.add(Op::Gradient, &[objective, a]);
    g.output("gradient", gradient);
    // The place of the gradient is mapped in these choices.
    for choice in [0b01, 0b11] {
        check_choice(&g, choice, &sizes(2, 1, 0), true);
    }
}

/// `recent`, `block` and `exists` of whole sequences against what one token after another sees.
#[test]
fn views_in_time() {
    let mut source = Graph::new();
    let x = source.input("x", real(&[f(2)]));
    let recent = source.add(Op::Recent { size: f(3) }, &[x]);
    let block = source.add(Op::Block { size: 3 }, &[x]);
    let whole = source.add(Op::Recent { size: Dim::Time }, &[x]);
    let there = source.add(Op::Exists { size: f(3), block: false }, &[]);
    let within = source.add(Op::Exists { size: f(3), block: true }, &[]);
    let position = source.add(Op::Position { dims: smallvec![] }, &[]);
    let two = scalar(&mut source, 2.0);
    let twice = mul(&mut source, position, two);
    for (k, v) in [recent, block, whole, there, within, twice].into_iter().enumerate() {
        source.output(format!("y{k}"), v);
    }
    let lead = [Dim::Batch, Dim::Time, f(2)];
    let mut g = Graph::new();
    let x = g.input("x", real(&[Dim::Batch, Dim::Time, f(2), f(2)]));
    let results =
        vectorise_into(&mut g, &source, &[Mapped::all(x)], &lead, Some(1), &mut no_hook)
            .expect("repeats");
    for (k, m) in results.iter().enumerate() {
        let value = lift(&mut g, *m, &lead);
        g.output(format!("y{k}"), value);
    }
    let s = sizes(2, 5, 0);
    let x = crate::common::inputs(&g, &s, &mut Numbers::new(5));
    let out = evaluate(&g, &x, &s);
    let at = |i: &[usize]| -> f64 {
        let strides = nestor_ir::interpret::array::strides(&x[0].dims);
        x[0].reals()[i.iter().zip(&strides).map(|(a, b)| a * b).sum::<usize>()]
    };
    for (k, size) in [(0, 3), (1, 3), (2, 5)] {
        assert_eq!(out[k].dims, [2, 5, 2, size, 2]);
        for (n, i) in nestor_ir::interpret::array::indices(&out[k].dims).enumerate() {
            let (t, j) = (i[1], i[3]);
            let live = if k == 1 { t % 3 + 1 } else { t + 1 };
            let expected = if j < live { at(&[i[0], t - j, i[2], i[4]]) } else { 0.0 };
            assert_eq!(out[k].reals()[n], expected, "{k} at {i:?}");
        }
    }
    for (k, live) in [(3, 5), (4, 3)] {
        for (n, i) in nestor_ir::interpret::array::indices(&out[k].dims).enumerate() {
            assert_eq!(out[k].bools()[n], i[3] <= i[1] % live, "{k} at {i:?}");
        }
    }
    for (n, i) in nestor_ir::interpret::array::indices(&out[5].dims).enumerate() {
        assert_eq!(out[5].reals()[n], 2.0 * i[1] as f64);
    }
}
