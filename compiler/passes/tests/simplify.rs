//! Simplification keeps values, on graphs made at random, and reaches the forms it is meant to.

use crate::common::{Numbers, close, evaluate, inputs, sizes};
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Fold, Graph, Op, Value};
use nestor_ir::ty::{Elem, Type};
use nestor_passes::simplify::simplify;
use smallvec::smallvec;

fn pick(numbers: &mut Numbers, g: &Graph, elem: Elem) -> Value {
    use nestor_ir::entity::Entity;
    loop {
        let v = Value::new(numbers.below(g.values.len()));
        if g.ty(v).elem == elem {
            return v;
        }
    }
}

/// A value of the same type as `like`: another one, or a constant.
fn partner(numbers: &mut Numbers, g: &mut Graph, like: Value) -> Value {
    use nestor_ir::entity::Entity;
    let ty = g.ty(like).clone();
    for _ in 0..8 {
        let v = Value::new(numbers.below(g.values.len()));
        if *g.ty(v) == ty {
            return v;
        }
    }
    let value = [0.0, 1.0, -1.0, 2.0, 0.5][numbers.below(5)];
    g.add(Op::Constant { value, ty }, &[])
}

/// One more node, most of them of the kinds that rules look for.
fn grow(numbers: &mut Numbers, g: &mut Graph) {
    let a = pick(numbers, g, Elem::Real);
    let dims = g.ty(a).dims.clone();
    let rank = dims.len();
    match numbers.below(16) {
        0 => drop(g.add(
            [Op::Neg, Op::Tanh, Op::Abs, Op::Sigmoid][numbers.below(4)].clone(),
            &[a],
        )),
        1..=4 => {
            let b = partner(numbers, g, a);
            let op =
                [Op::Add, Op::Sub, Op::Mul, Op::Mul, Op::Max][numbers.below(5)].clone();
            g.add(op, &[a, b]);
        }
        5 | 6 if rank < 4 => {
            let at = numbers.below(rank + 1);
            let mut to = dims;
            to.insert(at, [Dim::Fixed(2), Dim::Fixed(3), Dim::Batch][numbers.below(3)]);
            let axes = (0..=rank).filter(|&i| i != at).collect();
            g.add(Op::Broadcast { dims: to, axes }, &[a]);
        }
        7 | 8 if rank > 0 => {
            let fold = [Fold::Sum, Fold::Sum, Fold::Max][numbers.below(3)];
            g.add(Op::Reduce { fold, axes: smallvec![numbers.below(rank)] }, &[a]);
        }
        9 if rank > 1 => {
            let mut order: smallvec::SmallVec<[usize; 4]> = (0..rank).collect();
            order.swap(numbers.below(rank), numbers.below(rank));
            g.add(Op::Transpose { order }, &[a]);
        }
        10..=12 => {
            let b = pick(numbers, g, Elem::Real);
            let mut batch = smallvec![];
            let mut sum = smallvec![];
            let mut used = Vec::new();
            for (i, dim) in dims.iter().enumerate() {
                let other = g
                    .ty(b)
                    .dims
                    .iter()
                    .enumerate()
                    .position(|(j, d)| d == dim && !used.contains(&j));
                match (other, numbers.below(3)) {
                    (Some(j), 0) => {
                        used.push(j);
                        smallvec::SmallVec::push(&mut batch, (i, j));
                    }
                    (Some(j), 1) => {
                        used.push(j);
                        smallvec::SmallVec::push(&mut sum, (i, j));
                    }
                    _ => {}
                }
            }
            let free = rank + g.ty(b).rank() - batch.len() - 2 * sum.len();
            if free <= 4 {
                g.add(Op::Contract { batch, sum }, &[a, b]);
            }
        }
        13 => {
            let b = partner(numbers, g, a);
            let c = g.add(Op::Less, &[a, b]);
            let c = if numbers.below(2) == 0 { g.add(Op::Not, &[c]) } else { c };
            let y = partner(numbers, g, a);
            g.add(Op::Select, &[c, a, y]);
        }
        14 if rank > 0 => {
            let axis = numbers.below(rank);
            if let Some(n) = dims[axis].fixed() {
                if numbers.below(2) == 0 && n > 1 {
                    g.add(Op::Slice { axis, start: numbers.below(n), size: 1 }, &[a]);
                } else if n < 4 {
                    g.add(Op::Pad { axis, before: 1, after: numbers.below(2) }, &[a]);
                }
            }
        }
        15 if rank > 0 => {
            let axis = numbers.below(rank);
            g.add(Op::Shift { axis, by: numbers.below(3) as i64 - 1 }, &[a]);
        }
        _ => {}
    }
}

#[test]
fn values_stay() {
    let s = sizes(2, 3, 1);
    for seed in 0..400 {
        let mut numbers = Numbers::new(seed);
        let mut g = Graph::new();
        g.input("x", Type::real([Dim::Batch, Dim::Fixed(3)]));
        g.input("y", Type::real([Dim::Fixed(3), Dim::Fixed(2)]));
        g.input("z", Type::real([]));
        for _ in 0..14 {
            grow(&mut numbers, &mut g);
        }
        for k in 0..3 {
            let v = pick(&mut numbers, &g, Elem::Real);
            g.output(format!("o{k}"), v);
        }
        use nestor_ir::entity::Entity;
        g.output("last", Value::new(g.values.len() - 1));
        let plain = simplify(&g);
        let x = inputs(&g, &s, &mut numbers);
        for (a, b) in evaluate(&g, &x, &s).iter().zip(&evaluate(&plain, &x, &s)) {
            close(&format!("seed {seed}\n{g}\n{plain}"), b, a, 1e-9);
        }
        assert_eq!(simplify(&plain), plain, "seed {seed}: not settled\n{plain}");
    }
}

fn text(build: impl Fn(&mut Graph, Value, Value) -> Value) -> String {
    let mut g = Graph::new();
    let a = g.input("a", Type::real([Dim::Fixed(2)]));
    let b = g.input("b", Type::real([Dim::Fixed(3)]));
    let y = build(&mut g, a, b);
    g.output("y", y);
    simplify(&g).to_string()
}

#[test]
fn repeated_factors_become_an_outer_product() {
    let dims = [Dim::Fixed(2), Dim::Fixed(3)];
    let by_hand = text(nestor_passes::build::outer);
    let repeated = text(|g, a, b| {
        let a = nestor_passes::build::broadcast(g, a, &dims, &[0]);
        let b = nestor_passes::build::broadcast(g, b, &dims, &[1]);
        let p = nestor_passes::build::mul(g, a, b);
        let one = nestor_passes::build::full_like(g, p, 1.0);
        nestor_passes::build::mul(g, one, p)
    });
    assert_eq!(by_hand, repeated);
    let turned = text(|g, a, b| {
        let p = nestor_passes::build::outer(g, b, a);
        nestor_passes::build::transpose(g, p, &[1, 0])
    });
    assert_eq!(by_hand, turned);
}

#[test]
fn part_of_an_outer_product_is_one_of_parts() {
    use nestor_passes::build::{outer, transpose};
    let part = |g: &mut Graph, v: Value, axis: usize| {
        g.add(Op::Slice { axis, start: 1, size: 1 }, &[v])
    };
    for (axis, turned) in [(0, false), (1, false), (0, true), (1, true)] {
        let of_product = text(|g, a, b| {
            let p = outer(g, a, b);
            let p = if turned { transpose(g, p, &[1, 0]) } else { p };
            part(g, p, axis)
        });
        let of_parts = text(|g, a, b| {
            let (a, b) = match (axis == 0) == turned {
                true => (a, part(g, b, 0)),
                false => (part(g, a, 0), b),
            };
            let p = outer(g, a, b);
            if turned { transpose(g, p, &[1, 0]) } else { p }
        });
        assert_eq!(of_product, of_parts, "axis {axis}");
    }
}

/// Gradients of slices are padded; where they fill a value, nothing is added.
#[test]
fn what_lies_apart_is_not_added() {
    let mut g = Graph::new();
    let ty = |n: usize| Type::real([Dim::Batch, Dim::Fixed(n)]);
    let a = g.input("a", ty(2));
    let [b, c] = ["b", "c"].map(|name| g.input(name, ty(3)));
    let mut pad = |v: Value, before: usize, after: usize| {
        g.add(Op::Pad { axis: 1, before, after }, &[v])
    };
    let parts = [pad(b, 2, 0), pad(a, 0, 3), pad(c, 2, 0)];
    for order in [[0, 1, 2], [1, 2, 0], [0, 2, 1]] {
        let mut g = g.clone();
        let [x, y, z] = order.map(|n| parts[n]);
        let both = g.add(Op::Add, &[x, y]);
        let all = g.add(Op::Add, &[both, z]);
        g.output("y", all);
        let found = simplify(&g);
        assert_eq!(
            found.def(found.outputs[0].value).op,
            Op::Concat { axis: 1 },
            "{found}"
        );
        let adds = found.nodes.values().filter(|n| n.op == Op::Add);
        assert!(adds.map(|n| found.ty(n.results[0])).eq([&ty(3)]), "{found}");
        let (s, mut numbers) = (sizes(2, 3, 0), Numbers::new(7));
        let x = inputs(&g, &s, &mut numbers);
        close("y", &evaluate(&found, &x, &s)[0], &evaluate(&g, &x, &s)[0], 0.0);
    }
}

#[test]
fn rows_of_a_triangle_are_known_where_they_are_all_or_nothing() {
    let of = |strict: bool, row: usize| {
        let dims = || smallvec![Dim::Fixed(5), Dim::Fixed(5)];
        let mut g = Graph::new();
        let x = g.input("x", Type::real([Dim::Fixed(1), Dim::Fixed(5)]));
        let now = g.add(Op::Iota { axis: 0, dims: dims() }, &[]);
        let then = g.add(Op::Iota { axis: 1, dims: dims() }, &[]);
        let order = if strict { Op::Less } else { Op::LessEqual };
        let earlier = g.add(order, &[then, now]);
        let all = g.add(Op::Real, &[earlier]);
        let one = g.add(Op::Slice { axis: 0, start: row, size: 1 }, &[all]);
        let y = g.add(Op::Mul, &[x, one]);
        g.output("y", y);
        let plain = simplify(&g);
        let (s, mut numbers) = (sizes(2, 3, 0), Numbers::new(7));
        let x = inputs(&g, &s, &mut numbers);
        close("y", &evaluate(&plain, &x, &s)[0], &evaluate(&g, &x, &s)[0], 0.0);
        plain.nodes.len()
    };
    assert_eq!(of(false, 4), 1, "all of it");
    assert_eq!(of(true, 0), 2, "nothing of it: zeros");
    let some = of(true, 2);
    assert!(some > 1, "a part of it");
    assert!(some < 8, "no triangle");
}
