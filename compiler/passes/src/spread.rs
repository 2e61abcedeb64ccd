//! Maps that are whole kernels, spread over the points of the grid, for machines with more processors than the grid has points.
//!
//! ```text
//! before   grid i0 < B          map [T, 96] b[96*T*i0; 96, 1] = ...
//! after    grid i0 < B, i1 < T  map [1, 96] b[96*T*i0 + 96*i1; 96, 1] = ...
//!
//! before   grid i0 < B               map [T, 4] b[4*T*i0; 4, 1] = ...
//! after    grid i0 < B, i1 < T/256   map [256, 4] b[4*T*i0 + 1024*i1 - 4*phase(256); 4, 1] if .. < T = ...
//!
//! before   grid i0 < 1            loop i1 < B { scatter_add b0(5000) at .. += .. }
//! after    grid i0 < 1, i2 < 128  loop i1 < B { scatter_add b0(5000) at .. += .. only i2 of 128 }
//! ```
//!
//! Rows that are added to a table go to the points by the table's rows: each row's sum is one point's, in the order in which it was before, so
//! that rounding is the same.
//!
//! A CPU cuts such maps itself, into as many parts as it has workers; a GPU runs a block of threads for each point. Tokens of few
//! numbers each make a point by the piece.

use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tile::{
    Access, Affine, Bound, Expr, Index, Kernel, Monomial, Scalar, ScalarOp, Sink, Stmt,
};
use smallvec::SmallVec;

/// How small points may become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grain {
    /// Numbers of a point, at least, where the first dimension leaves the map.
    pub first: usize,
    /// The same, for those behind it.
    pub next: usize,
    /// Numbers of a piece of tokens, at least, where a token has too few.
    pub piece: usize,
    /// Points that rows added to a table are shared among, at most.
    pub rows: usize,
}

impl Grain {
    /// Of blocks of threads: a few dozen numbers are worth a block where it would be one for a whole sequence, and less than
    /// a few for each thread are not worth more blocks. A table is shared among about as many as there are processors.
    pub const BLOCKS: Self = Self { first: 32, next: 2048, piece: 1024, rows: 128 };
}

/// The kernel with the leading dimensions of its only map as dimensions of the grid, or a table's rows shared among points.
#[must_use]
pub fn spread(mut kernel: Kernel, grain: Grain) -> Kernel {
    if let Some((own, of)) = added(&mut kernel.body, kernel.indices, grain) {
        kernel.indices += 1;
        kernel.grid.push((own, Dim::Fixed(of)));
        return kernel;
    }
    let [Stmt::Map { space, expr, loads, sinks }] = &mut kernel.body[..] else {
        return kernel;
    };
    let folded = sinks.iter().map(|(_, sink)| match sink {
        Sink::Store(_) => 0,
        Sink::Fold { axes, .. } => *axes,
    });
    let free = space.len() - folded.max().unwrap_or(0);
    let mut moved = false;
    for axis in 0..free {
        if space[axis] == Dim::Fixed(1) {
            continue;
        }
        // What is not known before a call is much, but for the sequences that are folded: there are few, and points have them all.
        let numbers = |(at, d): (usize, &Dim)| match d {
            Dim::Batch if at >= free => Some(1),
            d => d.fixed(),
        };
        let rest: Option<usize> =
            space.iter().enumerate().skip(axis + 1).map(numbers).product();
        let least = if moved { grain.next } else { grain.first };
        let few = rest.filter(|numbers| *numbers < least);
        let tokens = match (few, space[axis]) {
            (None, _) => None,
            (Some(numbers), Dim::Time) if numbers > 0 => {
                Some(grain.piece.div_ceil(numbers).next_power_of_two())
            }
            (Some(_), _) => break,
        };
        let to = loads.iter_mut().chain(sinks.iter_mut().map(|(_, sink)| sink.to_mut()));
        let to: Vec<&mut Access> = to.collect();
        if !to.iter().all(|access| is_plain(&access.strides[axis])) {
            break;
        }
        let index = Index::new(kernel.indices);
        kernel.indices += 1;
        let extent = tokens.map_or(space[axis], Dim::Chunks);
        kernel.grid.push((index, extent));
        let first = first(index, tokens);
        for access in to {
            place(access, axis, &first);
            if tokens.is_some() {
                within(access, axis, &first);
            }
        }
        shift(expr, axis, &first);
        space[axis] = Dim::Fixed(tokens.unwrap_or(1));
        if tokens.is_some() {
            break;
        }
        moved = true;
    }
    kernel
}

/// Shares the rows of a table that a body does nothing but add to: a power of two of points, no more than there are rows.
fn added(body: &mut [Stmt], indices: usize, grain: Grain) -> Option<(Index, usize)> {
    match body {
        [Stmt::Loop { body, .. }] => added(body, indices, grain),
        [Stmt::ScatterAdd { rows, share, .. }] if share.is_none() && *rows > 1 => {
            let most = grain.rows.min(*rows);
            *share = Some((Index::new(indices), 1 << most.ilog2()));
            *share
        }
        _ => None,
    }
}

/// The first position of a point: the index, or of pieces of so many tokens, where the index's begins.
fn first(index: Index, tokens: Option<usize>) -> Affine {
    let Some(n) = tokens else { return Affine::index(index, Monomial::number(1)) };
    let begin = Affine::index(index, Monomial::number(n as i64));
    begin.plus(&Affine::from(Monomial::phase(1, n)).scaled(-1))
}

/// Whether a stride is the same at every point.
fn is_plain(stride: &Affine) -> bool {
    stride.terms.is_empty()
}

/// A position times a stride.
fn times(position: &Affine, stride: &Affine) -> Affine {
    let by = |of: &Monomial| stride.constant.iter().map(|by| of.times(*by)).collect();
    let mut out = Affine { constant: Default::default(), terms: Default::default() };
    for (index, of) in &position.terms {
        let all: Vec<Monomial> = by(of);
        out.terms.extend(all.into_iter().map(|m| (*index, m)));
    }
    for of in &position.constant {
        let all: Vec<Monomial> = by(of);
        out.constant.extend(all);
    }
    out
}

/// Elements from a position along an axis on.
fn place(access: &mut Access, axis: usize, first: &Affine) {
    let along = times(first, &access.strides[axis]);
    access.origin = std::mem::take(&mut access.origin).plus(&along);
    for bound in &mut access.bounds {
        let along = first.clone().scaled(bound.strides[axis]);
        bound.offset = std::mem::take(&mut bound.offset).plus(&along);
    }
}

/// Nothing is there before the first token of the call, nor behind its last.
fn within(access: &mut Access, axis: usize, first: &Affine) {
    let mut strides: SmallVec<[i64; 4]> = access.strides.iter().map(|_| 0).collect();
    strides[axis] = 1;
    let high = Affine::from(Monomial::dim(Dim::Time));
    let (offset, low) = (first.clone(), Affine::number(0));
    access.bounds.push(Bound { offset, strides, low, high });
}

/// Positions along an axis, counted from the first.
pub(crate) fn shift(expr: &mut Expr, axis: usize, first: &Affine) {
    let of_axis =
        |(_, s): &(_, &Scalar)| matches!(s.op, ScalarOp::Index(of, _) if of == axis);
    let found: Vec<_> = expr.scalars.iter().filter(of_axis).map(|(id, _)| id).collect();
    for id in found {
        let ScalarOp::Index(_, offset) = &mut expr.scalars[id].op else { continue };
        expr.offsets.push(expr.offsets[*offset].clone().plus(first));
        *offset = expr.offsets.len() - 1;
    }
}
