//! Sums taken from products that are there: values stay in every layout, and a product goes.

use crate::common::{Numbers, close, evaluate, inputs, sizes};
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Axes, AxisPairs, Fold, Graph, Op, Value};
use nestor_ir::ty::Type;
use nestor_passes::simplify::{share, shared};

/// A value with a letter for each axis.
#[derive(Clone)]
struct Named(Value, Vec<char>);

fn size(letter: char) -> Dim {
    match letter {
        'b' => Dim::Batch,
        't' => Dim::Time,
        's' => Dim::Fixed(2),
        'j' => Dim::Fixed(3),
        _ => Dim::Fixed(5),
    }
}

fn input(g: &mut Graph, name: &str, letters: &[char]) -> Named {
    let ty = Type::real(letters.iter().map(|l| size(*l)));
    Named(g.input(name, ty), letters.to_vec())
}

fn shuffled(numbers: &mut Numbers, letters: &str) -> Vec<char> {
    let mut left: Vec<char> = letters.chars().collect();
    let mut out = Vec::new();
    while !left.is_empty() {
        out.push(left.remove(numbers.below(left.len())));
    }
    out
}

/// `x y` summed over a letter, in one order of operands or the other.
fn product(g: &mut Graph, flip: bool, x: &Named, y: &Named, sum: char) -> Named {
    let (x, y) = if flip { (y, x) } else { (x, y) };
    let pair = |l: &char| {
        let of = |n: &Named| n.1.iter().position(|m| m == l);
        Some((of(x)?, of(y)?))
    };
    let batch: Vec<char> =
        x.1.iter().copied().filter(|l| *l != sum && y.1.contains(l)).collect();
    let free = |n: &Named| -> Vec<char> {
        n.1.iter().copied().filter(|l| *l != sum && !batch.contains(l)).collect()
    };
    let letters = [batch.clone(), free(x), free(y)].concat();
    let pairs =
        |letters: &[char]| -> AxisPairs { letters.iter().filter_map(pair).collect() };
    let op = Op::Contract { batch: pairs(&batch), sum: pairs(&[sum]) };
    Named(g.add(op, &[x.0, y.0]), letters)
}

fn products(g: &Graph) -> usize {
    let summing = |op: &Op| matches!(op, Op::Contract { sum, .. } if !sum.is_empty());
    g.nodes.values().filter(|n| summing(&n.op)).count()
}

/// `s = sum over j of x (a W)` and `d = (r x) W'`, drawn.
/// `r` may be what x is divided by.
fn drawn(numbers: &mut Numbers, scaled: bool) -> (Graph, Value) {
    let shared = ["", "b"][numbers.below(2)];
    let rows = ["t", "ts", "st"][numbers.below(3)];
    let mut g = Graph::new();
    let of_w = shuffled(numbers, &format!("{shared}jp"));
    let w = input(&mut g, "w", &of_w);
    let of_a = shuffled(numbers, &format!("{shared}{rows}p"));
    let a = input(&mut g, "a", &of_a);
    let c = product(&mut g, numbers.below(2) == 0, &a, &w, 'p');
    let x = input(&mut g, "x", &c.1);
    let both = if numbers.below(2) == 0 { [c.0, x.0] } else { [x.0, c.0] };
    let both = g.add(Op::Mul, &both);
    let axes: Axes = c.1.iter().position(|l| *l == 'j').into_iter().collect();
    let s = g.add(Op::Reduce { fold: Fold::Sum, axes }, &[both]);
    let mut y = x.clone();
    if scaled {
        let kept: Vec<usize> = (0..x.1.len()).filter(|i| x.1[*i] != 'j').collect();
        let kept = &kept[numbers.below(2)..];
        let letters: Vec<char> = kept.iter().map(|&i| x.1[i]).collect();
        let r = input(&mut g, "r", &letters);
        let dims = g.ty(x.0).dims.clone();
        let r =
            g.add(Op::Broadcast { dims, axes: kept.iter().copied().collect() }, &[r.0]);
        let (op, both) = match numbers.below(3) {
            0 => (Op::Mul, [r, x.0]),
            1 => (Op::Mul, [x.0, r]),
            _ => (Op::Div, [x.0, r]),
        };
        y = Named(g.add(op, &both), x.1.clone());
    }
    let d = product(&mut g, numbers.below(2) == 0, &y, &w, 'j');
    g.output("s", s);
    g.output("d", d.0);
    (g, c.0)
}

fn same(what: &str, before: &Graph, after: &Graph, numbers: &mut Numbers) {
    let s = sizes(2, 3, 1);
    let x = inputs(before, &s, numbers);
    for (a, b) in evaluate(before, &x, &s).iter().zip(&evaluate(after, &x, &s)) {
        close(&format!("{what}\n{before}\n{after}"), b, a, 1e-12);
    }
}

#[test]
fn a_sum_needs_no_product_of_its_own() {
    for seed in 0..100 {
        let mut numbers = Numbers::new(seed);
        let (g, _) = drawn(&mut numbers, seed % 2 == 0);
        let after = share(&g);
        assert_eq!(
            (products(&g), products(&after_pruned(&after))),
            (2, 1),
            "{g}\n{after}"
        );
        same(&format!("seed {seed}"), &g, &after, &mut numbers);
    }
}

/// What nothing uses any more does not count.
fn after_pruned(g: &Graph) -> Graph {
    nestor_passes::simplify::prune(g)
}

#[test]
fn a_product_that_others_use_stays() {
    for seed in 0..20 {
        let mut numbers = Numbers::new(seed);
        let (mut g, c) = drawn(&mut numbers, true);
        g.output("c", c);
        let after = share(&g);
        assert_eq!(products(&after_pruned(&after)), 2, "{g}\n{after}");
        same(&format!("seed {seed}"), &g, &after, &mut numbers);
    }
}

/// Two sums could each be taken from the other's product: one of them is.
#[test]
fn of_two_ways_one_is_left() {
    let mut g = Graph::new();
    let w = input(&mut g, "w", &['p', 'j']);
    let a = input(&mut g, "a", &['t', 'p']);
    let x = input(&mut g, "x", &['t', 'j']);
    let c = product(&mut g, false, &a, &w, 'p');
    let d = product(&mut g, false, &x, &w, 'j');
    for (name, one, other) in [("s", x, c), ("r", a, d)] {
        let both = g.add(Op::Mul, &[one.0, other.0]);
        let axes: Axes = [1].into_iter().collect();
        let sum = g.add(Op::Reduce { fold: Fold::Sum, axes }, &[both]);
        g.output(name, sum);
    }
    let after = after_pruned(&share(&g));
    assert_eq!(products(&after), 1, "{after}");
    same("both ways", &g, &after, &mut Numbers::new(1));
}

/// `y = q (r (a W))` with two gates q and r: the gradients of both, and of a, need one product.
#[test]
fn gradients_of_two_gates_need_one_product() {
    let mut g = Graph::new();
    let w = input(&mut g, "w", &['p', 'j']);
    let a = input(&mut g, "a", &['t', 'p']);
    let x = input(&mut g, "x", &['t', 'j']);
    let c = product(&mut g, false, &a, &w, 'p');
    let dims = g.ty(c.0).dims.clone();
    let gates = ["q", "r"].map(|name| {
        let gate = input(&mut g, name, &['t']);
        let axes: Axes = [0].into_iter().collect();
        g.add(Op::Broadcast { dims: dims.clone(), axes }, &[gate.0])
    });
    // Of each gate: the sum over j of x, scaled by the other one, and c.
    let scaled = gates.map(|gate| g.add(Op::Mul, &[x.0, gate]));
    for (name, y) in ["r", "q"].into_iter().zip(scaled) {
        let both = g.add(Op::Mul, &[y, c.0]);
        let axes: Axes = [1].into_iter().collect();
        let sum = g.add(Op::Reduce { fold: Fold::Sum, axes }, &[both]);
        g.output(format!("of {name}"), sum);
    }
    let both = g.add(Op::Mul, &[gates[1], scaled[0]]);
    let d = product(&mut g, false, &Named(both, x.1.clone()), &w, 'j');
    g.output("of a", d.0);
    assert_eq!(products(&g), 2);
    let after = shared(&g);
    assert_eq!(products(&after), 1, "{after}");
    same("two gates", &g, &after, &mut Numbers::new(1));
}
