//! Maps that are whole kernels, spread over the points of the grid, for machines with more processors than the grid has points.
//!
//! ```text
//! before   grid i0 < B          map [T, 96] b[96*T*i0; 96, 1] = ...
//! after    grid i0 < B, i1 < T  map [1, 96] b[96*T*i0 + 96*i1; 96, 1] = ...
//! ```
//!
//! A CPU cuts such maps itself, into as many parts as it has workers; a GPU runs a block of threads for each point.

use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tile::{
    Access, Affine, Expr, Index, Kernel, Scalar, ScalarOp, Sink, Stmt,
};

/// How small points may become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grain {
    /// Numbers of a point, at least, where the first dimension leaves the map.
    pub first: usize,
    /// The same, for those behind it.
    pub next: usize,
}

impl Grain {
    /// Of blocks of threads: a few dozen numbers are worth a block where it would be one for a whole sequence, and less than
    /// a few for each thread are not worth more blocks.
    pub const BLOCKS: Self = Self { first: 32, next: 2048 };
}

/// The kernel with the leading dimensions of its only map as dimensions of the grid.
#[must_use]
pub fn spread(mut kernel: Kernel, grain: Grain) -> Kernel {
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
        let rest = space[axis + 1..].iter().map(|d| d.fixed());
        // What is not known before a call is much.
        let rest: Option<usize> = rest.product();
        let least = if moved { grain.next } else { grain.first };
        if rest.is_some_and(|numbers| numbers < least) {
            break;
        }
        let to = loads.iter_mut().chain(sinks.iter_mut().map(|(_, sink)| match sink {
            Sink::Store(to) | Sink::Fold { to, .. } => to,
        }));
        let to: Vec<&mut Access> = to.collect();
        if !to.iter().all(|access| is_plain(&access.strides[axis])) {
            break;
        }
        let index = Index::new(kernel.indices);
        kernel.indices += 1;
        kernel.grid.push((index, space[axis]));
        space[axis] = Dim::Fixed(1);
        to.into_iter().for_each(|access| place(access, axis, index));
        shift(expr, axis, index);
        moved = true;
    }
    kernel
}

/// Whether a stride is the same at every point.
fn is_plain(stride: &Affine) -> bool {
    stride.terms.is_empty()
}

/// An index times a stride.
fn steps(index: Index, stride: &Affine) -> Affine {
    let terms = stride.constant.iter().map(|by| (index, *by)).collect();
    Affine { constant: Default::default(), terms }
}

/// Elements at the index along an axis.
fn place(access: &mut Access, axis: usize, index: Index) {
    let along = steps(index, &access.strides[axis]);
    access.origin = std::mem::take(&mut access.origin).plus(&along);
    for bound in &mut access.bounds {
        let along = steps(index, &Affine::number(bound.strides[axis]));
        bound.offset = std::mem::take(&mut bound.offset).plus(&along);
    }
}

/// Positions along an axis, counted from the index.
fn shift(expr: &mut Expr, axis: usize, index: Index) {
    let along = steps(index, &Affine::number(1));
    let of_axis =
        |(_, s): &(_, &Scalar)| matches!(s.op, ScalarOp::Index(of, _) if of == axis);
    let found: Vec<_> = expr.scalars.iter().filter(of_axis).map(|(id, _)| id).collect();
    for id in found {
        let ScalarOp::Index(_, offset) = &mut expr.scalars[id].op else { continue };
        expr.offsets.push(expr.offsets[*offset].clone().plus(&along));
        *offset = expr.offsets.len() - 1;
    }
}
