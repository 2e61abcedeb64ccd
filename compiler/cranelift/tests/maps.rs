//! Random maps, compiled and read plainly, in both precisions: every kind of access, bounds,
//! broadcasts, negative strides, folds and transcendentals in any order.

use crate::common::check::*;
use nestor_ir::dim::{Dim, Sizes};
use nestor_ir::tensor::Fold;
use nestor_ir::tile::*;
use nestor_ir::ty::Elem;
use smallvec::smallvec;

fn random_expr(random: &mut Random, kinds: &[ScalarKind], rank: usize) -> (Expr, ExprId) {
    use ScalarKind::{Bool, Int, Real};
    let mut expr = Expr::default();
    expr.offsets.push(Affine::number(3));
    let mut pool: Vec<Vec<ExprId>> = vec![Vec::new(); 3];
    let at = |k: ScalarKind| match k {
        Real => 0,
        Int => 1,
        Bool => 2,
    };
    for (n, kind) in kinds.iter().enumerate() {
        let e = expr.add(ScalarOp::Load(n), &[], *kind);
        pool[at(*kind)].push(e);
    }
    pool[0].push(expr.add(ScalarOp::Constant(0.75), &[], Real));
    pool[0].push(expr.add(ScalarOp::Index(random.below(rank), 0), &[], Real));
    let count = 2 + random.below(10);
    for _ in 0..count {
        let mut pick = |k: ScalarKind| {
            let of = &pool[at(k)];
            of[random.below(of.len())]
        };
        let (a, b) = (pick(Real), pick(Real));
        let made = match random.below(22) {
            0 => (ScalarOp::Neg, vec![a], Real),
            1 => (ScalarOp::Abs, vec![a], Real),
            2 => (ScalarOp::Sign, vec![a], Real),
            3 => (ScalarOp::Tanh, vec![a], Real),
            4 => (ScalarOp::Sigmoid, vec![a], Real),
            5 => (ScalarOp::Sin, vec![a], Real),
            6 => (ScalarOp::Softplus, vec![a], Real),
            7 => (ScalarOp::Erf, vec![a], Real),
            8 | 9 => (ScalarOp::Add, vec![a, b], Real),
            10 => (ScalarOp::Sub, vec![a, b], Real),
            11..=13 => (ScalarOp::Mul, vec![a, b], Real),
            14 => (ScalarOp::Max, vec![a, b], Real),
            15 => (ScalarOp::Min, vec![a, b], Real),
            16 => (ScalarOp::Less, vec![a, b], Bool),
            17 => (ScalarOp::LessEqual, vec![a, b], Bool),
            18 if !pool[1].is_empty() => {
                (ScalarOp::Real, vec![pool[1][random.below(pool[1].len())]], Real)
            }
            19 if pool[1].len() > 1 => {
                (ScalarOp::Equal, vec![pool[1][0], pool[1][1]], Bool)
            }
            20 if !pool[2].is_empty() => {
                let c = pool[2][random.below(pool[2].len())];
                (ScalarOp::Select, vec![c, a, b], Real)
            }
            21 if pool[2].len() > 1 => {
                let c = pool[2][random.below(pool[2].len())];
                let op = if random.chance(2) { ScalarOp::And } else { ScalarOp::Or };
                (op, vec![c, pool[2][0]], Bool)
            }
            _ => (ScalarOp::Mul, vec![a, a], Real),
        };
        let e = expr.add(made.0, &made.1, made.2);
        pool[at(made.2)].push(e);
    }
    let root = *pool[0].last().expect("there are reals");
    (expr, root)
}

/// An access of a random permutation, reversal or broadcast of the space, in a new buffer.
fn random_access(
    random: &mut Random,
    space: &[usize],
    n: usize,
    load: bool,
) -> (Access, usize) {
    let mut order: Vec<usize> = (0..space.len()).collect();
    if random.chance(2) {
        let a = random.below(space.len());
        let b = random.below(space.len());
        order.swap(a, b);
    }
    let mut strides = vec![0_i64; space.len()];
    let mut size = 1_i64;
    let mut origin = 0;
    for d in order.into_iter().rev() {
        if load && random.chance(4) {
            continue;
        }
        strides[d] = size;
        if random.chance(6) {
            origin += size * (space[d] as i64 - 1);
            strides[d] = -size;
        }
        size *= space[d] as i64;
    }
    let mut a = access(buffer(n), origin, &strides);
    a.pad = if random.chance(2) { 0.0 } else { 1.5 };
    while random.chance(3) {
        let d = random.below(space.len());
        let mut bound = Bound {
            offset: Affine::number(random.below(5) as i64 - 2),
            strides: smallvec![0; space.len()],
            low: Affine::number(random.below(4) as i64),
            high: Affine::number(random.below(space[d] + 4) as i64),
        };
        bound.strides[d] = [1, 1, -1, 2, -2, 3][random.below(6)];
        if bound.strides[d] < 0 {
            bound.offset = Affine::number(space[d] as i64);
        }
        a.bounds.push(bound);
    }
    (a, size as usize)
}

fn random_map(seed: u64) -> Kernel {
    let mut random = Random(seed.wrapping_mul(977) + 5);
    let rank = 1 + random.below(3);
    let lengths = [1, 2, 3, 5, 8, 16, 17, 33, 70, 300];
    let space: Vec<usize> = (0..rank)
        .map(|d| {
            if d + 2 < rank { lengths[random.below(5)] } else { lengths[random.below(9)] }
        })
        .collect();
    let mut buffers = Vec::new();
    let mut loads = Vec::new();
    let mut kinds = Vec::new();
    for n in 0..1 + random.below(4) {
        let (mut a, size) = random_access(&mut random, &space, n, true);
        let (elem, kind) = match random.below(6) {
            0 => (Elem::Int, ScalarKind::Int),
            1 => (Elem::Bool, ScalarKind::Bool),
            _ => (Elem::Real, ScalarKind::Real),
        };
        buffers.push((elem, vec![Dim::Fixed(size)], Use::Read));
        if kind != ScalarKind::Real {
            a.pad = a.pad.floor();
        }
        kinds.push(kind);
        loads.push(a);
    }
    let (expr, root) = random_expr(&mut random, &kinds, rank);
    let mut sinks = Vec::new();
    if random.chance(2) {
        let (to, size) = random_access(&mut random, &space, buffers.len(), false);
        buffers.push((Elem::Real, vec![Dim::Fixed(size)], Use::Write));
        sinks.push((root, Sink::Store(to)));
    }
    if sinks.is_empty() || random.chance(2) {
        let axes = random.below(rank + 1);
        let kept = &space[..rank - axes];
        let (to, size) = if kept.is_empty() {
            (access(buffer(buffers.len()), 0, &[]), 1)
        } else {
            random_access(&mut random, kept, buffers.len(), false)
        };
        let accumulate = random.chance(2);
        buffers.push((Elem::Real, vec![Dim::Fixed(size)], Use::Update));
        let fold = [Fold::Sum, Fold::Max, Fold::Min][random.below(3)];
        sinks.push((root, Sink::Fold { fold, axes, to, accumulate }));
    }
    let mut out = kernel(buffers);
    out.body.push(Stmt::Map {
        space: space.iter().map(|n| Dim::Fixed(*n)).collect(),
        expr,
        loads,
        sinks,
    });
    out
}

#[test]
fn random_maps_agree() {
    for seed in 0..400 {
        agree(&random_map(seed), SIZES, seed, &format!("seed {seed}"));
    }
}

/// What is stored past the caches, in large tensors from the beginning of a line, is what is stored anywhere else.
#[test]
fn large_tensors_agree() {
    for origin in [0, 4, 8, 12] {
        let text = format!(
            r#"kernel "large" {{
  b0 "x": [16, 256] read
  b1 "y": [T, 4112] write
  t0 "state": [16, 256]
  grid i0 < T
  map [16, 256] {{
    e0 = b0[0; 256, 1]
    e1 = at(p0 + i0)
    e2 = e0 + e1
    t0[0; 256, 1] = e2
    b1[4112*i0 + {origin}; 256, 1] = e2 * e0
  }}
}}"#
        );
        let kernel = text::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        for time in [3, 1030] {
            let sizes = Sizes { batch: 1, time, start: 0 };
            agree(&kernel, sizes, 1, &format!("from {origin}, T {time}"));
        }
    }
}
