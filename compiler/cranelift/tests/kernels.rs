//! Compiled kernels against the plain reading of the kernel language, in both precisions: random
//! maps with every kind of access, and one test for each other statement.

mod common;

use common::Machine;
use nestor_cranelift::{Data, compile, run};
use nestor_ir::artifact::Precision;
use nestor_ir::dim::{Dim, Sizes};
use nestor_ir::entity::Entity;
use nestor_ir::tensor::Fold;
use nestor_ir::tile::size::elements;
use nestor_ir::tile::*;
use nestor_ir::ty::Elem;
use smallvec::smallvec;

/// Numbers that look random and are the same every time.
struct Random(u64);
impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((self.0 >> 33) as usize) % n
    }
    fn real(&mut self) -> f64 {
        f64::from(((self.below(4001) as f64 - 2000.0) / 1000.0) as f32)
    }
    fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}

fn data(elem: Elem, precision: Precision, v: &[f64]) -> Data {
    match (elem, precision) {
        (Elem::Real, Precision::F32) => Data::F32(v.iter().map(|x| *x as f32).collect()),
        (Elem::Real, Precision::F64) => Data::F64(v.to_vec()),
        (Elem::Int, _) => Data::I32(v.iter().map(|x| *x as i32).collect()),
        (Elem::Bool, _) => Data::U8(v.iter().map(|x| u8::from(*x != 0.0)).collect()),
    }
}
fn doubles(data: &Data) -> Vec<f64> {
    match data {
        Data::F32(v) => v.iter().map(|x| f64::from(*x)).collect(),
        Data::F64(v) => v.clone(),
        Data::I32(v) => v.iter().map(|x| f64::from(*x)).collect(),
        Data::U8(v) => v.iter().map(|x| f64::from(*x)).collect(),
    }
}

/// Runs a kernel both ways on random inputs; written buffers begin as NaN.
fn agree(kernel: &Kernel, sizes: Sizes, seed: u64, what: &str) {
    let mut random = Random(seed);
    let mut start: Vec<Vec<f64>> = Vec::new();
    for b in kernel.buffers.values() {
        let n = elements(&b.dims).eval(&sizes) as usize;
        start.push(match (b.usage, b.elem) {
            (Use::Write, Elem::Real) => vec![f64::NAN; n],
            (_, Elem::Real) => (0..n).map(|_| random.real()).collect(),
            (_, Elem::Int) => (0..n).map(|_| random.below(7) as f64 - 1.0).collect(),
            (_, Elem::Bool) => (0..n).map(|_| random.below(2) as f64).collect(),
        });
    }
    let mut machine = Machine::new(kernel, start.clone(), sizes);
    machine.run();
    for (precision, tolerance) in [(Precision::F64, 1e-11), (Precision::F32, 2e-4)] {
        let native = compile(std::slice::from_ref(kernel), precision).expect("compiles");
        let parameters = kernel.buffers.values();
        let mut buffers: Vec<Data> =
            parameters.zip(&start).map(|(b, v)| data(b.elem, precision, v)).collect();
        run(kernel, &native[0], precision, &mut buffers, &sizes);
        for ((parameter, got), want) in
            kernel.buffers.values().zip(&buffers).zip(&machine.buffers)
        {
            for (i, (g, w)) in doubles(got).iter().zip(want).enumerate() {
                let close = (g - w).abs() <= tolerance * (1.0 + w.abs()) || g == w;
                assert!(
                    close || (g.is_nan() && w.is_nan()),
                    "{what}, {precision:?}, {} [{i}]: {g}, not {w}\n{kernel:#?}",
                    parameter.name
                );
            }
        }
    }
}

fn kernel(buffers: Vec<(Elem, Vec<Dim>, Use)>) -> Kernel {
    let mut out = Kernel {
        name: "test".to_owned(),
        buffers: Default::default(),
        tiles: Default::default(),
        indices: 0,
        grid: Vec::new(),
        body: Vec::new(),
    };
    for (n, (elem, dims, usage)) in buffers.into_iter().enumerate() {
        out.buffers.push(BufferParam {
            name: format!("b{n}"),
            elem,
            dims: dims.into_iter().collect(),
            usage,
        });
    }
    out
}
fn buffer(n: usize) -> Place {
    Place::Buffer(Buffer::new(n))
}
fn access(place: Place, origin: i64, strides: &[i64]) -> Access {
    Access {
        place,
        origin: Affine::number(origin),
        strides: strides.iter().map(|s| Affine::number(*s)).collect(),
        bounds: smallvec![],
        pad: 0.0,
    }
}
const SIZES: Sizes = Sizes { batch: 2, time: 37, start: 5 };

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

/// Rows of a [B, T, 6] buffer, in blocks of 8 tokens aligned to absolute positions, with the rows
/// outside the call missing.
#[test]
fn chunks_of_a_sequence_agree() {
    let c = 8;
    for reverse in [false, true] {
        let dims = vec![Dim::Batch, Dim::Time, Dim::Fixed(6)];
        let mut k = kernel(vec![
            (Elem::Real, dims.clone(), Use::Read),
            (Elem::Real, dims.clone(), Use::Write),
            (Elem::Real, vec![Dim::Batch, Dim::Chunks(c)], Use::Write),
        ]);
        k.indices = 2;
        let (batch, chunk) = (Index::new(0), Index::new(1));
        k.grid = vec![(batch, Dim::Batch)];
        let tile = k.tiles.push(TileData {
            name: "rows".to_owned(),
            elem: Elem::Real,
            dims: [Dim::Fixed(c), Dim::Fixed(6)].into_iter().collect(),
        });
        let row = Affine::index(chunk, Monomial::number(c as i64))
            .plus(&Affine::from(Monomial::phase(c)).scaled(-1));
        let bound = Bound {
            offset: row.clone(),
            strides: smallvec![1, 0],
            low: Affine::number(0),
            high: Affine::from(Monomial::dim(Dim::Time)),
        };
        let origin =
            Affine::index(batch, Monomial::dim(Dim::Time).times(Monomial::number(6)))
                .plus(&row.scaled(6));
        let outside = |n: usize| Access {
            origin: origin.clone(),
            bounds: smallvec![bound.clone()],
            ..access(buffer(n), 0, &[6, 1])
        };
        let inside = access(Place::Tile(tile), 0, &[6, 1]);
        let mut read = Expr::default();
        let x = read.add(ScalarOp::Load(0), &[], ScalarKind::Real);
        let mut square = Expr::default();
        let y = square.add(ScalarOp::Load(0), &[], ScalarKind::Real);
        let z = square.add(ScalarOp::Exp, &[y], ScalarKind::Real);
        let total = Access {
            origin: Affine::index(batch, Monomial::dim(Dim::Chunks(c)))
                .plus(&Affine::index(chunk, Monomial::number(1))),
            ..access(buffer(2), 0, &[])
        };
        let space = smallvec![Dim::Fixed(c), Dim::Fixed(6)];
        k.body = vec![Stmt::Loop {
            index: chunk,
            extent: Dim::Chunks(c),
            reverse,
            body: vec![
                Stmt::Map {
                    space: space.clone(),
                    expr: read,
                    loads: vec![outside(0)],
                    sinks: vec![(x, Sink::Store(inside.clone()))],
                },
                Stmt::Map {
                    space,
                    expr: square,
                    loads: vec![inside],
                    sinks: vec![
                        (z, Sink::Store(outside(1))),
                        (
                            z,
                            Sink::Fold {
                                fold: Fold::Sum,
                                axes: 2,
                                to: total,
                                accumulate: false,
                            },
                        ),
                    ],
                },
            ],
        }];
        for (time, start) in [(1, 0), (8, 0), (37, 5), (3, 6), (16, 8)] {
            let sizes = Sizes { batch: 2, time, start };
            agree(&k, sizes, 3, &format!("T {time} t0 {start}"));
        }
    }
}

fn copy(from: Place, to: Place, n: usize) -> Stmt {
    let mut expr = Expr::default();
    let x = expr.add(ScalarOp::Load(0), &[], ScalarKind::Real);
    Stmt::Map {
        space: smallvec![Dim::Fixed(n)],
        expr,
        loads: vec![access(from, 0, &[1])],
        sinks: vec![(x, Sink::Store(access(to, 0, &[1])))],
    }
}
fn tile(k: &mut Kernel, n: usize) -> Tile {
    k.tiles.push(TileData {
        name: "tile".to_owned(),
        elem: Elem::Real,
        dims: [Dim::Fixed(n)].into_iter().collect(),
    })
}

#[test]
fn products_agree() {
    let matrix = |n: usize, row: i64, column: i64| Matrix {
        place: buffer(n),
        origin: Affine::number(0),
        row: Affine::number(row),
        column: Affine::number(column),
    };
    for shape in [Shape::Full, Shape::OutputLower, Shape::LeftLower, Shape::LeftUpper] {
        for accumulate in [false, true] {
            for (m, n, k) in [(1, 1, 1), (16, 16, 16), (19, 33, 7), (8, 64, 64)] {
                let out_shape = shape == Shape::OutputLower && accumulate;
                let depth = if shape == Shape::Full || shape == Shape::OutputLower {
                    k
                } else {
                    m
                };
                let usage = if accumulate { Use::Update } else { Use::Write };
                let mut kernel = kernel(vec![
                    (Elem::Real, vec![Dim::Fixed(m * depth)], Use::Read),
                    (Elem::Real, vec![Dim::Fixed(depth * n)], Use::Read),
                    (Elem::Real, vec![Dim::Fixed(m * n)], usage),
                ]);
                if out_shape {
                    continue;
                }
                kernel.body.push(Stmt::Product {
                    m: Dim::Fixed(m),
                    n: Dim::Fixed(n),
                    k: Dim::Fixed(depth),
                    alpha: -0.5,
                    left: matrix(0, depth as i64, 1),
                    right: matrix(1, 1, depth as i64),
                    out: matrix(2, n as i64, 1),
                    accumulate,
                    shape,
                });
                let zeros = match shape {
                    Shape::LeftLower | Shape::LeftUpper => true,
                    Shape::Full | Shape::OutputLower => false,
                };
                if zeros {
                    // The caller's promise: the other half of the left operand is zero.
                    continue;
                }
                agree(&kernel, SIZES, 4, &format!("{shape:?} {m} {n} {k}"));
            }
        }
    }
}

#[test]
fn solves_and_scans_agree() {
    for flag in [false, true] {
        for (n, m) in [(1, 1), (5, 3), (16, 8), (32, 64), (33, 17)] {
            let mut k = kernel(vec![
                (Elem::Real, vec![Dim::Fixed(n * n)], Use::Read),
                (Elem::Real, vec![Dim::Fixed(n * m)], Use::Read),
                (Elem::Real, vec![Dim::Fixed(n * m)], Use::Write),
            ]);
            let (lower, x) = (tile(&mut k, n * n), tile(&mut k, n * m));
            let mut scale = Expr::default();
            let l = scale.add(ScalarOp::Load(0), &[], ScalarKind::Real);
            let c = scale.add(ScalarOp::Constant(0.1), &[], ScalarKind::Real);
            let scaled = scale.add(ScalarOp::Mul, &[l, c], ScalarKind::Real);
            k.body = vec![
                Stmt::Map {
                    space: smallvec![Dim::Fixed(n * n)],
                    expr: scale,
                    loads: vec![access(buffer(0), 0, &[1])],
                    sinks: vec![(
                        scaled,
                        Sink::Store(access(Place::Tile(lower), 0, &[1])),
                    )],
                },
                copy(buffer(1), Place::Tile(x), n * m),
                Stmt::SolveUnitLower { lower, x, n, m, transpose: flag },
                copy(Place::Tile(x), buffer(2), n * m),
            ];
            agree(&k, SIZES, 5, &format!("solve {n} {m} {flag}"));
        }
        for (steps, n, m) in [(1, 1, 1), (7, 1, 20), (5, 2, 64), (9, 3, 5)] {
            let sizes = [steps * n * n, steps * n * m, n * m, steps * n * m];
            let mut k = kernel(
                sizes
                    .iter()
                    .enumerate()
                    .map(|(i, s)| {
                        let usage = if i == 3 { Use::Write } else { Use::Read };
                        (Elem::Real, vec![Dim::Fixed(*s)], usage)
                    })
                    .collect(),
            );
            let t: Vec<Tile> = sizes.iter().map(|s| tile(&mut k, *s)).collect();
            for i in 0..3 {
                k.body.push(copy(buffer(i), Place::Tile(t[i]), sizes[i]));
            }
            k.body.push(Stmt::LinearScan {
                a: t[0],
                b: t[1],
                init: t[2],
                y: t[3],
                extent: (steps, n, m),
                reverse: flag,
            });
            k.body.push(copy(Place::Tile(t[3]), buffer(3), sizes[3]));
            agree(&k, SIZES, 6, &format!("scan {steps} {n} {m} {flag}"));
        }
    }
}

#[test]
fn tables_agree() {
    let mut k = kernel(vec![
        (Elem::Real, vec![Dim::Fixed(5), Dim::Fixed(9)], Use::Update),
        (Elem::Int, vec![Dim::Time], Use::Read),
        (Elem::Real, vec![Dim::Time, Dim::Fixed(9)], Use::Write),
    ]);
    let index = access(buffer(1), 0, &[1]);
    let rows = access(buffer(2), 0, &[9, 1]);
    k.body = vec![
        Stmt::Gather {
            table: Buffer::new(0),
            rows: 5,
            index: index.clone(),
            count: Dim::Time,
            width: 9,
            out: rows.clone(),
        },
        Stmt::When {
            value: Affine::from(Monomial::dim(Dim::Time)),
            low: Affine::number(0),
            high: Affine::number(40),
            body: vec![Stmt::ScatterAdd {
                table: Buffer::new(0),
                rows: 5,
                index,
                count: Dim::Time,
                width: 9,
                values: rows,
            }],
        },
    ];
    for time in [1, 37, 41] {
        agree(&k, Sizes { batch: 1, time, start: 0 }, 7, &format!("T {time}"));
    }
}
