//! Compiled kernels against the plain reading of the kernel language, in both precisions: one test
//! for each kind of statement.

use crate::common::check::*;
use nestor_cranelift::{clif, compile};
use nestor_ir::artifact::Precision;
use nestor_ir::dim::{Dim, Sizes};
use nestor_ir::entity::Entity;
use nestor_ir::tensor::Fold;
use nestor_ir::tile::*;
use nestor_ir::ty::Elem;
use smallvec::smallvec;

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
            .plus(&Affine::from(Monomial::phase(1, c)).scaled(-1));
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
            part: Part::All,
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

/// A loop fills a tile part by part, by way of two others that take turns.
#[test]
fn tiles_share_scratch_only_while_they_are_not_alive() {
    const PARTS: usize = 5;
    const N: usize = 48;
    let all = vec![Dim::Fixed(PARTS * N)];
    let mut k =
        kernel(vec![(Elem::Real, all.clone(), Use::Read), (Elem::Real, all, Use::Write)]);
    let (first, second, whole) =
        (tile(&mut k, N), tile(&mut k, N), tile(&mut k, PARTS * N));
    let part = Index::new(0);
    k.indices = 1;
    let moving = |place: Place, stmt: Stmt, load: bool| {
        let Stmt::Map { space, expr, mut loads, mut sinks } = stmt else {
            unreachable!("a copy is a map")
        };
        let at = Affine::index(part, Monomial::number(N as i64));
        let to = Access { origin: at, ..access(place, 0, &[1]) };
        if load {
            loads[0] = to;
        } else {
            sinks[0].1 = Sink::Store(to);
        }
        Stmt::Map { space, expr, loads, sinks }
    };
    let (a, b) = (Place::Tile(first), Place::Tile(second));
    k.body = vec![
        Stmt::Loop {
            index: part,
            extent: Dim::Fixed(PARTS),
            part: Part::All,
            reverse: false,
            body: vec![
                moving(buffer(0), copy(buffer(0), a, N), true),
                copy(a, b, N),
                moving(Place::Tile(whole), copy(b, Place::Tile(whole), N), false),
            ],
        },
        copy(Place::Tile(whole), buffer(1), PARTS * N),
    ];
    agree(&k, SIZES, 11, "parts of a tile");
    // Of three copies one behind the other, the third may lie where the first lay.
    let mut k = Kernel { tiles: Default::default(), ..k };
    let [a, b, c] = [0; 3].map(|_| Place::Tile(tile(&mut k, N)));
    k.body =
        vec![copy(buffer(0), a, N), copy(a, b, N), copy(b, c, N), copy(c, buffer(1), N)];
    let native =
        compile(std::slice::from_ref(&k), Precision::F32).expect("compiles").remove(0);
    let bytes: i64 = native.scratch.iter().map(|m| m.eval(&SIZES)).sum();
    assert_eq!(bytes, 4 * 2 * N as i64);
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

/// The solution of a system, whose matrix its diagonal dominates.
fn whole_system(n: usize, m: usize) -> Kernel {
    let mut k = kernel(vec![
        (Elem::Real, vec![Dim::Fixed(n * n)], Use::Read),
        (Elem::Real, vec![Dim::Fixed(n * m)], Use::Read),
        (Elem::Real, vec![Dim::Fixed(n * m)], Use::Write),
    ]);
    let (a, x) = (tile(&mut k, n * n), tile(&mut k, n * m));
    let mut ten = Expr::default();
    let c = ten.add(ScalarOp::Constant(10.0), &[], ScalarKind::Real);
    k.body = vec![
        copy(buffer(0), Place::Tile(a), n * n),
        Stmt::Map {
            space: smallvec![Dim::Fixed(n)],
            expr: ten,
            loads: vec![],
            sinks: vec![(c, Sink::Store(access(Place::Tile(a), 0, &[n as i64 + 1])))],
        },
        copy(buffer(1), Place::Tile(x), n * m),
        Stmt::Eliminate { a, x, n, m },
        copy(Place::Tile(x), buffer(2), n * m),
    ];
    k
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
        for (n, m) in [(1, 1), (5, 3), (16, 8), (33, 17)] {
            agree(&whole_system(n, m), SIZES, 5, &format!("eliminate {n} {m}"));
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
        (Elem::Real, vec![Dim::Time, Dim::Fixed(9)], Use::Update),
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
                share: None,
            }],
        },
    ];
    for time in [1, 37, 41] {
        agree(&k, Sizes { batch: 1, time, start: 0 }, 7, &format!("T {time}"));
    }
    // Rows shared among points.
    let own = Index::new(k.indices);
    k.indices += 1;
    k.grid.push((own, Dim::Fixed(4)));
    k.body.remove(0);
    let Stmt::When { body, .. } = &mut k.body[0] else { panic!("the second of two") };
    let Stmt::ScatterAdd { share, .. } = &mut body[0] else { panic!("its only one") };
    *share = Some((own, 4));
    agree(&k, Sizes { batch: 1, time: 37, start: 0 }, 7, "shared");
}

#[test]
fn turned_matrices_agree() {
    for (n, m) in [(8, 8), (64, 32), (33, 17), (9, 70)] {
        let mut k = kernel(vec![
            (Elem::Real, vec![Dim::Fixed(3 * n * (m + 2))], Use::Read),
            (Elem::Real, vec![Dim::Fixed(3 * m * n)], Use::Write),
        ]);
        let mut expr = Expr::default();
        let x = expr.add(ScalarOp::Load(0), &[], ScalarKind::Real);
        let (rows, columns) = (n as i64, m as i64);
        k.body.push(Stmt::Map {
            space: smallvec![Dim::Fixed(3), Dim::Fixed(n), Dim::Fixed(m)],
            expr,
            loads: vec![access(buffer(0), 2, &[rows * (columns + 2), columns + 2, 1])],
            sinks: vec![(
                x,
                Sink::Store(access(buffer(1), 0, &[rows * columns, 1, rows])),
            )],
        });
        assert!(
            clif(&k, Precision::F32).expect("emits").contains("call"),
            "uses the routine"
        );
        agree(&k, SIZES, 8, &format!("{n} x {m}"));
    }
}
