//! The last values of a stream, newest first: what a window hands on to the next call.
//!
//! ```text
//! R [B, L, ..] = walk over blocks of C tokens: R' = the last L of R, x        a block that is not full ends with zeros
//! last[j] = R[L - C + n - 1 - j],  n = (T - 1) mod C + 1                      a product with zeros and ones
//! ```
//!
//! A walk by tokens would move all of them at every token.

use super::blocks::BLOCK;
use super::{LEAD, TIME};
use crate::build::{
    add, broadcast, constant, contract, fold, scalar, sub, transpose, zeros,
};
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Axes, Axis, Feed, Fold, Graph, Op, Scan, Stride, Value};
use nestor_ir::ty::{Dims, Type};
use smallvec::smallvec;

/// The last `count` values of a real stream `[B, T, ..]` that begins with its sequences: `[B, count, ..]`, zero where
/// there are none.
pub(super) fn last(g: &mut Graph, stream: Value, count: usize) -> Value {
    let rows = (count - 1).div_ceil(BLOCK) * BLOCK + BLOCK;
    let range = range(g, stream, rows);
    let chosen = chosen(g, g.ty(stream).dims[TIME], count, rows);
    let found = contract(g, chosen, range, &[], &[(1, 1)]);
    let mut order: Axes = (0..g.ty(found).rank()).collect();
    order.swap(0, 1);
    transpose(g, found, &order)
}

/// The last `rows` rows of the blocks of a stream: `[B, rows, ..]`.
fn range(g: &mut Graph, stream: Value, rows: usize) -> Value {
    let ty = g.ty(stream).clone();
    let own = ty.dims[LEAD.len()..].iter().copied();
    let of = |rows: usize| -> Type {
        Type::real([Dim::Fixed(rows)].into_iter().chain(own.clone()))
    };
    let none = zeros(g, &of(rows));
    let mut body = Graph::new();
    let block = body.input("x", of(BLOCK));
    let past = body.input("past", of(rows));
    let tokens = [Dim::Fixed(BLOCK)];
    body.input("valid", Type::bool(tokens));
    body.input("position", Type::real(tokens));
    let later = Op::Slice { axis: 0, start: BLOCK, size: rows - BLOCK };
    let next = match rows {
        BLOCK => block,
        _ => {
            let later = body.add(later, &[past]);
            body.add(Op::Concat { axis: 0 }, &[later, block])
        }
    };
    body.output("state.past", next);
    let bodies = |n: usize| std::iter::repeat_n(Axis::Body, n);
    let streamed = [Axis::Map(0), Axis::Time].into_iter().chain(bodies(own.len()));
    let scan = Scan {
        map: smallvec![Dim::Batch],
        time: ty.dims[TIME],
        stride: Stride::Chunk(BLOCK),
        reverse: false,
        feeds: vec![
            (Feed::Stream, streamed.collect()),
            (Feed::Initial, bodies(own.len() + 1).collect()),
        ],
        yields: vec![],
        body,
    };
    g.add(Op::Scan { scan: Box::new(scan) }, &[stream, none])
}

/// Which row each of the last values is: `[count, rows]` zeros and ones.
fn chosen(g: &mut Graph, time: Dim, count: usize, rows: usize) -> Value {
    let tokens = g.add(Op::Iota { axis: 0, dims: smallvec![time] }, &[]);
    let newest = fold(g, Fold::Max, tokens, &[0]);
    let block = scalar(g, BLOCK as f64);
    let newest = g.add(Op::Rem, &[newest, block]);
    let dims: Dims = smallvec![Dim::Fixed(count), Dim::Fixed(rows)];
    let newest = broadcast(g, newest, &dims, &[]);
    let before = constant(g, (rows - BLOCK) as f64, &dims);
    let newest = add(g, newest, before);
    let back = g.add(Op::Iota { axis: 0, dims: dims.clone() }, &[]);
    let wanted = sub(g, newest, back);
    let row = g.add(Op::Iota { axis: 1, dims }, &[]);
    let same = g.add(Op::Equal, &[row, wanted]);
    g.add(Op::Real, &[same])
}
