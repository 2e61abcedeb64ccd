//! Rates of typical maps, in elements a nanosecond: run by hand with `--ignored --nocapture`.

#![allow(clippy::print_stdout, reason = "rates are for people")]

use crate::common::check::*;
use nestor_cranelift::{Data, compile, run};
use nestor_ir::artifact::Precision;
use nestor_ir::dim::Dim;
use nestor_ir::tensor::Fold;
use nestor_ir::tile::*;
use nestor_ir::ty::Elem;
use std::time::Instant;

fn rate(name: &str, kernel: &Kernel, sizes: &[usize], elements: usize) {
    let native = compile(std::slice::from_ref(kernel), Precision::F32).expect("compiles");
    let mut buffers: Vec<Data> = sizes
        .iter()
        .map(|n| Data::F32((0..*n).map(|i| (i % 97) as f32 * 0.01).collect()))
        .collect();
    let mut best = f64::INFINITY;
    for _ in 0..20 {
        let start = Instant::now();
        for _ in 0..20 {
            run(kernel, &native[0], Precision::F32, &mut buffers, &SIZES);
        }
        best = best.min(start.elapsed().as_secs_f64() / 20.0);
    }
    println!("{name:24} {:8.2} elements/ns", elements as f64 / best / 1e9);
}

fn map(
    space: &[usize],
    loads: &[&[i64]],
    sizes: &[usize],
    out: Sink,
    expr: (Expr, ExprId),
) -> Kernel {
    let mut k = kernel(
        sizes.iter().map(|n| (Elem::Real, vec![Dim::Fixed(*n)], Use::Update)).collect(),
    );
    k.body.push(Stmt::Map {
        space: space.iter().map(|n| Dim::Fixed(*n)).collect(),
        expr: expr.0,
        loads: loads.iter().enumerate().map(|(n, s)| access(buffer(n), 0, s)).collect(),
        sinks: vec![(expr.1, out)],
    });
    k
}

fn unary(op: ScalarOp) -> (Expr, ExprId) {
    let mut e = Expr::default();
    let x = e.add(ScalarOp::Load(0), &[], ScalarKind::Real);
    let y = e.add(op, &[x], ScalarKind::Real);
    (e, y)
}
fn binary(op: ScalarOp) -> (Expr, ExprId) {
    let mut e = Expr::default();
    let x = e.add(ScalarOp::Load(0), &[], ScalarKind::Real);
    let y = e.add(ScalarOp::Load(1), &[], ScalarKind::Real);
    let z = e.add(op, &[x, y], ScalarKind::Real);
    (e, z)
}
fn identity() -> (Expr, ExprId) {
    let mut e = Expr::default();
    let x = e.add(ScalarOp::Load(0), &[], ScalarKind::Real);
    (e, x)
}
fn gate() -> (Expr, ExprId) {
    let (mut e, z) = binary(ScalarOp::Sub);
    e.offsets.push(Affine::number(0));
    let row = e.add(ScalarOp::Index(0, 0), &[], ScalarKind::Real);
    let column = e.add(ScalarOp::Index(1, 0), &[], ScalarKind::Real);
    let below = e.add(ScalarOp::LessEqual, &[column, row], ScalarKind::Bool);
    let zero = e.add(ScalarOp::Constant(0.0), &[], ScalarKind::Real);
    let z = e.add(ScalarOp::Min, &[z, zero], ScalarKind::Real);
    let g = e.add(ScalarOp::Exp, &[z], ScalarKind::Real);
    let v = e.add(ScalarOp::Select, &[below, g, zero], ScalarKind::Real);
    (e, v)
}
fn store(n: usize, strides: &[i64]) -> Sink {
    Sink::Store(access(buffer(n), 0, strides))
}
fn sum(n: usize, axes: usize, strides: &[i64]) -> Sink {
    Sink::Fold {
        fold: Fold::Sum,
        axes,
        to: access(buffer(n), 0, strides),
        accumulate: false,
    }
}

#[test]
#[ignore = "measures"]
fn rates() {
    let n = 128 * 64;
    let flat: &[i64] = &[64, 1];
    let s = [128, 64];
    let k = map(&s, &[flat, flat], &[n, n, n], store(2, flat), binary(ScalarOp::Add));
    rate("add", &k, &[n, n, n], n);
    let k =
        map(&s, &[flat, &[1, 0]], &[n, 128, n], store(2, flat), binary(ScalarOp::Mul));
    rate("scale rows", &k, &[n, 128, n], n);
    let k = map(&s, &[flat, &[0, 1]], &[n, 64, n], store(2, flat), binary(ScalarOp::Mul));
    rate("scale columns", &k, &[n, 64, n], n);
    let k = map(&s, &[flat], &[n, n], store(1, flat), unary(ScalarOp::Exp));
    rate("exp", &k, &[n, n], n);
    let k =
        map(&[32, 32], &[&[1, 0], &[0, 1]], &[32, 32, 1024], store(2, &[32, 1]), gate());
    rate("gate tile 32", &k, &[32, 32, 1024], 1024);
    let k = map(&s, &[flat], &[n, 128], sum(1, 1, &[1]), identity());
    rate("sum of rows", &k, &[n, 128], n);
    let k = map(&[64, 128], &[&[1, 64]], &[n, 64], sum(1, 1, &[1]), identity());
    rate("sum of columns", &k, &[n, 64], n);
    let k = map(&[64, 128], &[&[1, 64]], &[n, n], store(1, &[128, 1]), identity());
    rate("transpose", &k, &[n, n], n);
    let mut k = map(&s, &[flat], &[n, n], store(1, flat), identity());
    if let Stmt::Map { loads, .. } = &mut k.body[0] {
        loads[0].bounds.push(Bound {
            offset: Affine::number(0),
            strides: [1, 0].into_iter().collect(),
            low: Affine::number(3),
            high: Affine::number(100),
        });
    }
    rate("copy of bounded rows", &k, &[n, n], n);
}
