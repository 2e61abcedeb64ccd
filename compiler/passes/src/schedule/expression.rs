//! The scalar program of a map: a value at coordinates, with all that is computed on the way.

use super::bug;
use super::frame::{Coord, access, kind, within};
use super::lower::{Known, Lower};
use super::view::View;
use crate::error::PassError;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Fold, Op, Value};
use nestor_ir::tile::{
    Access, Affine, Bound, Expr, ExprId, Monomial, ScalarKind, ScalarOp,
};
use nestor_ir::ty::{Dims, Elem};
use rustc_hash::FxHashMap;

/// A map's program as it grows.
pub(super) struct Program {
    pub(super) rank: usize,
    pub(super) expr: Expr,
    pub(super) loads: Vec<Access>,
    /// The values whose elements the map's points are: their shape, and where a point is.
    home: Option<(Dims, Vec<Coord>)>,
    /// What is computed on the way and is to be stored.
    pub(super) extras: Vec<(Value, ExprId)>,
    seen: FxHashMap<(usize, Vec<Coord>), ExprId>,
    /// What bounds every load at the moment: zero outside.
    guards: Vec<Bound>,
}

impl Program {
    pub(super) fn new(rank: usize) -> Self {
        Self {
            rank,
            expr: Expr::default(),
            loads: vec![],
            home: None,
            extras: vec![],
            seen: FxHashMap::default(),
            guards: vec![],
        }
    }

    /// A program whose points are the elements of values of this shape.
    pub(super) fn over(mut self, dims: &Dims, coords: &[Coord]) -> Self {
        self.home = Some((dims.clone(), coords.to_vec()));
        self
    }

    /// Whether a value is computed, at whatever coordinates.
    pub(super) fn computes(&self, v: Value) -> bool {
        self.seen.keys().any(|(seen, _)| *seen == v.index())
    }

    fn covers(&self, dims: &Dims, coords: &[Coord]) -> bool {
        self.home.as_ref().is_some_and(|(d, c)| d == dims && c == coords)
    }

    pub(super) fn real(&mut self, op: ScalarOp, of: &[ExprId]) -> ExprId {
        self.expr.add(op, of, ScalarKind::Real)
    }

    pub(super) fn load(&mut self, access: Access, kind: ScalarKind) -> ExprId {
        let at = self.loads.iter().position(|l| *l == access).unwrap_or_else(|| {
            self.loads.push(access);
            self.loads.len() - 1
        });
        let known = self.expr.scalars.iter().find(|(_, s)| s.op == ScalarOp::Load(at));
        match known.map(|(id, _)| id) {
            Some(id) => id,
            None => self.expr.add(ScalarOp::Load(at), &[], kind),
        }
    }

    /// A coordinate as a real number.
    pub(super) fn number(&mut self, coord: &Coord) -> ExprId {
        let moving: Vec<usize> =
            (0..self.rank).filter(|&d| coord.steps[d] != 0).collect();
        match moving[..] {
            [d] if coord.steps[d] == 1 => self.index(d, coord.offset.clone()),
            _ => {
                // The offset alone, then each dimension by its step.
                let at = self.index(0, coord.offset.clone());
                let zero = self.index(0, Affine::default());
                let mut total = self.real(ScalarOp::Sub, &[at, zero]);
                for d in moving {
                    let i = self.index(d, Affine::default());
                    let by = self.real(ScalarOp::Constant(coord.steps[d] as f64), &[]);
                    let term = self.real(ScalarOp::Mul, &[i, by]);
                    total = self.real(ScalarOp::Add, &[total, term]);
                }
                total
            }
        }
    }

    fn index(&mut self, d: usize, offset: Affine) -> ExprId {
        let at =
            self.expr.offsets.iter().position(|o| *o == offset).unwrap_or_else(|| {
                self.expr.offsets.push(offset);
                self.expr.offsets.len() - 1
            });
        self.real(ScalarOp::Index(d, at), &[])
    }
}

impl Lower<'_> {
    /// The value of `v` at `coords`. Everything it is computed from has been prepared.
    pub(super) fn scalar(
        &mut self,
        p: &mut Program,
        v: Value,
        coords: &[Coord],
    ) -> Result<ExprId, PassError> {
        let key = (v.index(), coords.to_vec());
        if let Some(&seen) = p.seen.get(&key) {
            return Ok(seen);
        }
        let id = self.scalar_anew(p, v, coords)?;
        if self.pending[v.index()] && p.covers(&self.graph.ty(v).dims, coords) {
            p.extras.push((v, id));
        }
        p.seen.insert(key, id);
        Ok(id)
    }

    fn scalar_anew(
        &mut self,
        p: &mut Program,
        v: Value,
        coords: &[Coord],
    ) -> Result<ExprId, PassError> {
        let ty = self.graph.ty(v).clone();
        match self.known[v.index()].clone() {
            Some(Known::At(view)) => return Ok(self.loaded(p, &view, coords, None)),
            Some(Known::Valid { may: [false, false], .. }) => {
                return Ok(p.expr.add(ScalarOp::Constant(1.0), &[], ScalarKind::Bool));
            }
            Some(Known::Valid { offset, high, may }) => {
                let at = coords[0].clone();
                let at = Coord { offset: at.offset.plus(&offset), ..at };
                let bool = ScalarKind::Bool;
                let mut all = None;
                for (end, _) in may.into_iter().enumerate().filter(|(_, may)| *may) {
                    let mut at = at.clone();
                    if end == 1 {
                        at.offset = at.offset.plus(&high.clone().scaled(-1));
                    }
                    let at = p.number(&at);
                    let zero = p.real(ScalarOp::Constant(0.0), &[]);
                    let is = match end {
                        0 => p.expr.add(ScalarOp::LessEqual, &[zero, at], bool),
                        _ => p.expr.add(ScalarOp::Less, &[at, zero], bool),
                    };
                    all = Some(match all {
                        Some(other) => p.expr.add(ScalarOp::And, &[other, is], bool),
                        None => is,
                    });
                }
                return Ok(all.expect("rows may lie before or behind"));
            }
            Some(Known::Position { offset }) => {
                let at = match coords.first() {
                    Some(at) => {
                        Coord { offset: at.offset.clone().plus(&offset), ..at.clone() }
                    }
                    None => Coord::fixed(offset, p.rank),
                };
                return Ok(p.number(&at));
            }
            None => {}
        }
        let node = self.graph.def(v).clone();
        let of = |n: usize| node.operands[n];
        let operand_dims = |l: &Self, n: usize| l.graph.ty(node.operands[n]).dims.clone();
        Ok(match &node.op {
            Op::Constant { value, .. } => {
                p.expr.add(ScalarOp::Constant(*value), &[], kind(ty.elem))
            }
            Op::Iota { axis, .. } => p.number(&coords[*axis]),
            Op::Position { dims } => {
                let every = dims.first().and_then(|d| d.ticks_of()).unwrap_or(1);
                let start = Affine::from(Monomial::start(every));
                let at = match (dims.is_empty(), coords.first()) {
                    (false, Some(at)) => {
                        Coord { offset: at.offset.clone().plus(&start), ..at.clone() }
                    }
                    _ => Coord::fixed(start, p.rank),
                };
                p.number(&at)
            }
            Op::Broadcast { axes, .. } => {
                let inner: Vec<Coord> = axes.iter().map(|&a| coords[a].clone()).collect();
                self.scalar(p, of(0), &inner)?
            }
            Op::Transpose { order } => {
                let mut inner = coords.to_vec();
                for (i, &axis) in order.iter().enumerate() {
                    inner[axis] = coords[i].clone();
                }
                self.scalar(p, of(0), &inner)?
            }
            Op::Slice { axis, start, .. } => {
                let mut inner = coords.to_vec();
                inner[*axis] = inner[*axis].moved(*start as i64);
                self.scalar(p, of(0), &inner)?
            }
            Op::Reshape { .. } => {
                let from = operand_dims(self, 0);
                let inner = unsplit(&from, &ty.dims, coords, p.rank)
                    .ok_or_else(|| bug("a reshape was not prepared"))?;
                self.scalar(p, of(0), &inner)?
            }
            Op::Fit { axis, .. } => self.guarded(p, of(0), coords, *axis)?,
            Op::Pad { axis, before, .. } => {
                let mut inner = coords.to_vec();
                inner[*axis] = inner[*axis].moved(-(*before as i64));
                self.guarded(p, of(0), &inner, *axis)?
            }
            Op::Shift { axis, by } => {
                let mut inner = coords.to_vec();
                inner[*axis] = inner[*axis].moved(-by);
                self.guarded(p, of(0), &inner, *axis)?
            }
            Op::Window { axis, .. } => {
                let mut inner = coords.to_vec();
                let age = inner.remove(axis + 1);
                inner[*axis] = inner[*axis].minus(&age);
                if let (Dim::Whole, every) = operand_dims(self, 0)[*axis].of_tokens() {
                    let before = Affine::from(Monomial::dim(Dim::past(every)));
                    inner[*axis].offset = inner[*axis].offset.clone().plus(&before);
                }
                self.guarded(p, of(0), &inner, *axis)?
            }
            Op::Concat { axis } => {
                let mut total: Option<ExprId> = None;
                let mut before = Affine::default();
                for &part in &node.operands {
                    let size = Monomial::dim(self.graph.ty(part).dims[*axis]);
                    let mut inner = coords.to_vec();
                    let offset = &mut inner[*axis].offset;
                    *offset = offset.clone().plus(&before.clone().scaled(-1));
                    before = before.plus(&Affine::from(size));
                    let one = self.guarded(p, part, &inner, *axis)?;
                    total = Some(match total {
                        Some(sum) if ty.elem == Elem::Bool => {
                            p.expr.add(ScalarOp::Or, &[sum, one], ScalarKind::Bool)
                        }
                        Some(sum) => p.real(ScalarOp::Add, &[sum, one]),
                        None => one,
                    });
                }
                total.ok_or_else(|| bug("a concat of nothing"))?
            }
            Op::Contract { batch, sum } if sum.is_empty() => {
                let (a, b) = (operand_dims(self, 0).len(), operand_dims(self, 1).len());
                let mut left = vec![None; a];
                let mut right = vec![None; b];
                for (i, &(l, r)) in batch.iter().enumerate() {
                    left[l] = Some(coords[i].clone());
                    right[r] = Some(coords[i].clone());
                }
                let mut rest = coords[batch.len()..].iter().cloned();
                for slot in left.iter_mut().chain(&mut right).filter(|s| s.is_none()) {
                    *slot = rest.next();
                }
                let left: Vec<Coord> = left.into_iter().flatten().collect();
                let right: Vec<Coord> = right.into_iter().flatten().collect();
                let left = self.scalar(p, of(0), &left)?;
                let right = self.scalar(p, of(1), &right)?;
                p.real(ScalarOp::Mul, &[left, right])
            }
            Op::Stop => self.scalar(p, of(0), coords)?,
            Op::Reduce { fold, axes } => {
                let sizes = self
                    .unrolled(&node)
                    .ok_or_else(|| bug("a fold of many terms was not prepared"))?;
                let mut inner = coords.to_vec();
                for &axis in axes {
                    inner.insert(axis, Coord::fixed(Affine::default(), p.rank));
                }
                let op = match fold {
                    Fold::Sum => ScalarOp::Add,
                    Fold::Max => ScalarOp::Max,
                    Fold::Min => ScalarOp::Min,
                };
                let mut total: Option<ExprId> = None;
                for term in 0..sizes.iter().product::<usize>() {
                    let mut rest = term;
                    for (&axis, size) in axes.iter().zip(&sizes).rev() {
                        let at = Affine::number((rest % size) as i64);
                        inner[axis] = Coord::fixed(at, p.rank);
                        rest /= size;
                    }
                    let one = self.scalar(p, of(0), &inner)?;
                    total = Some(match total {
                        Some(sum) => p.real(op, &[sum, one]),
                        None => one,
                    });
                }
                total.ok_or_else(|| bug("a fold of nothing"))?
            }
            op => {
                let scalar = super::elementwise::scalar_op(op).ok_or_else(|| {
                    bug(format!("`{}` was not prepared", op.info().name))
                })?;
                let mut operands = Vec::new();
                for &operand in &node.operands {
                    operands.push(self.scalar(p, operand, coords)?);
                }
                p.expr.add(scalar, &operands, kind(ty.elem))
            }
        })
    }

    /// An operand where the coordinate of `axis` is inside, zero elsewhere: a stored one, or one
    /// that is zero where all that it is made of is.
    fn guarded(
        &mut self,
        p: &mut Program,
        v: Value,
        coords: &[Coord],
        axis: usize,
    ) -> Result<ExprId, PassError> {
        let Some(view) = self.view_of(v) else {
            let size = self.graph.ty(v).dims[axis];
            p.guards.push(within(&coords[axis], size));
            let outside = std::mem::take(&mut p.seen);
            let inside = self.scalar(p, v, coords);
            p.seen = outside;
            p.guards.pop();
            return inside;
        };
        Ok(self.loaded(p, &view, coords, Some((axis, view.dims[axis]))))
    }

    fn loaded(
        &mut self,
        p: &mut Program,
        view: &View,
        coords: &[Coord],
        inside: Option<(usize, Dim)>,
    ) -> ExprId {
        let place = self.place(view.home, false);
        let mut access = access(view, place, coords, p.rank);
        if let Some((axis, size)) = inside {
            access.bounds.push(within(&coords[axis], size));
        }
        access.bounds.extend(p.guards.iter().cloned());
        p.load(access, kind(view.elem))
    }
}

/// Coordinates under the shape `from`, given those under `to`: where each of from's axes is
/// one axis or several of to's.
pub(super) fn unsplit(
    from: &[Dim],
    to: &[Dim],
    coords: &[Coord],
    rank: usize,
) -> Option<Vec<Coord>> {
    let zero = Coord::fixed(Affine::default(), rank);
    let one = |d: &Dim| *d == Dim::Fixed(1);
    let mut out = Vec::new();
    let mut at = 0;
    for dim in from {
        if one(dim) {
            out.push(zero.clone());
            continue;
        }
        while to.get(at).is_some_and(one) {
            at += 1;
        }
        if to.get(at) == Some(dim) {
            out.push(coords[at].clone());
            at += 1;
            continue;
        }
        let want = dim.fixed()?;
        let mut have = 1;
        let mut coord = zero.clone();
        while have < want {
            let size = to.get(at)?.fixed()?;
            coord = coord.scaled_plus(size as i64, &coords[at]);
            have *= size;
            at += 1;
        }
        if have != want {
            return None;
        }
        out.push(coord);
    }
    Some(out)
}
