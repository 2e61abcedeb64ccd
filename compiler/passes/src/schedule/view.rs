//! Where a value's elements are: a home, an origin, a stride for each axis.

use nestor_ir::dim::Dim;
use nestor_ir::plan::Tensor;
use nestor_ir::tile::size::strides;
use nestor_ir::tile::{Affine, Monomial, Tile};
use nestor_ir::ty::{Dims, Elem};
use smallvec::SmallVec;

/// Where elements lie.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Home {
    /// A tensor of the plan.
    Tensor(Tensor),
    /// Scratch of the kernel being built.
    Tile(Tile),
}

/// `low <= offset + index of an axis < high`, else nothing is there.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Limit {
    /// The axis.
    pub(super) axis: usize,
    /// The bounded quantity at index 0.
    pub(super) offset: Affine,
    /// Below this; not below zero.
    pub(super) high: Affine,
}

/// Elements of a value.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct View {
    pub(super) home: Home,
    pub(super) elem: Elem,
    pub(super) dims: Dims,
    pub(super) origin: Affine,
    pub(super) strides: SmallVec<[Monomial; 4]>,
    pub(super) limit: Option<Limit>,
}

impl View {
    /// A contiguous tensor or tile.
    pub(super) fn whole(home: Home, elem: Elem, dims: &Dims) -> Self {
        Self {
            home,
            elem,
            dims: dims.clone(),
            origin: Affine::default(),
            strides: strides(dims),
            limit: None,
        }
    }

    /// The same elements, axes in another order.
    pub(super) fn transposed(&self, order: &[usize]) -> Self {
        let limit = self.limit.clone().map(|l| Limit {
            axis: order.iter().position(|&a| a == l.axis).unwrap_or(0),
            ..l
        });
        Self {
            dims: order.iter().map(|&a| self.dims[a]).collect(),
            strides: order.iter().map(|&a| self.strides[a]).collect(),
            limit,
            ..self.clone()
        }
    }

    /// Repeated along new axes.
    pub(super) fn broadcast(&self, dims: &Dims, axes: &[usize]) -> Self {
        let mut strides: SmallVec<[Monomial; 4]> =
            SmallVec::from_elem(Monomial::number(0), dims.len());
        for (i, &to) in axes.iter().enumerate() {
            strides[to] = self.strides[i];
        }
        let limit = self.limit.clone().map(|l| Limit { axis: axes[l.axis], ..l });
        Self { dims: dims.clone(), strides, limit, ..self.clone() }
    }

    /// Part of an axis.
    pub(super) fn slice(&self, axis: usize, start: usize, size: usize) -> Self {
        let mut out = self.clone();
        let by = Monomial::number(start as i64);
        out.origin = out.origin.plus(&Affine::from(self.strides[axis].times(by)));
        out.dims[axis] = Dim::Fixed(size);
        if let Some(limit) = out.limit.as_mut().filter(|l| l.axis == axis) {
            limit.offset = limit.offset.clone().plus(&Affine::number(start as i64));
        }
        out
    }

    /// One index of the first axis, which has no limit.
    pub(super) fn at(&self, index: &Affine) -> Self {
        let mut out = self.clone();
        out.origin = out.origin.plus(&times(index, self.strides[0]));
        out.dims.remove(0);
        out.strides.remove(0);
        out.limit = out.limit.filter(|l| l.axis > 0);
        if let Some(limit) = &mut out.limit {
            limit.axis -= 1;
        }
        out
    }

    /// The same elements under another shape, where that is a view too.
    pub(super) fn reshaped(&self, dims: &Dims) -> Option<Self> {
        if self.limit.is_some() {
            return self.reshaped_behind(dims);
        }
        let mut out: SmallVec<[Monomial; 4]> = SmallVec::new();
        let mut from = 0;
        let mut to = 0;
        while from < self.dims.len() || to < dims.len() {
            // A group: as few axes on both sides as hold the same number of elements.
            let (first_from, first_to) = (from, to);
            let mut have = Monomial::number(1);
            let mut want = Monomial::number(1);
            if from < self.dims.len() {
                have = have.times(Monomial::dim(self.dims[from]));
                from += 1;
            }
            if to < dims.len() {
                want = want.times(Monomial::dim(dims[to]));
                to += 1;
            }
            while have != want {
                let less = have.factor < want.factor || lacks(&have, &want);
                if less && from < self.dims.len() || to == dims.len() {
                    have = have.times(Monomial::dim(*self.dims.get(from)?));
                    from += 1;
                } else {
                    want = want.times(Monomial::dim(*dims.get(to)?));
                    to += 1;
                }
            }
            let stride =
                collapse(&self.dims[first_from..from], &self.strides[first_from..from])?;
            let group: Dims = dims[first_to..to].iter().copied().collect();
            out.extend(strides(&group).into_iter().map(|s| s.times(stride)));
        }
        Some(Self { dims: dims.clone(), strides: out, ..self.clone() })
    }

    /// With a limit on the first axis, which has to stay.
    fn reshaped_behind(&self, dims: &Dims) -> Option<Self> {
        let limit = self.limit.clone().filter(|l| l.axis == 0)?;
        if dims.first() != self.dims.first() {
            return None;
        }
        let mut rest = self.clone();
        rest.dims.remove(0);
        rest.strides.remove(0);
        rest.limit = None;
        let inner: Dims = dims[1..].iter().copied().collect();
        let mut out = rest.reshaped(&inner)?;
        out.dims.insert(0, dims[0]);
        out.strides.insert(0, self.strides[0]);
        out.limit = Some(limit);
        Some(out)
    }

    /// Whether elements lie one after another in row-major order from the home's first.
    pub(super) fn is_whole(&self) -> bool {
        self.limit.is_none()
            && self.origin == Affine::default()
            && collapse(&self.dims, &self.strides) == Some(Monomial::number(1))
    }
}

/// Whether a product has fewer of the batch or of the tokens than another, and no more of any.
fn lacks(have: &Monomial, want: &Monomial) -> bool {
    let pairs = [(have.batch, want.batch), (have.time, want.time)];
    pairs.iter().all(|(h, w)| h <= w) && pairs.iter().any(|(h, w)| h < w)
}

/// The stride that walks all these axes as one, where there is one; 1 for no axes.
pub(super) fn collapse(dims: &[Dim], strides: &[Monomial]) -> Option<Monomial> {
    let mut inner: Option<(Monomial, Monomial)> = None;
    for (dim, stride) in dims.iter().zip(strides).rev() {
        if *dim == Dim::Fixed(1) {
            continue;
        }
        inner = match inner {
            None => Some((*stride, stride.times(Monomial::dim(*dim)))),
            Some((first, next)) if next == *stride => {
                Some((first, stride.times(Monomial::dim(*dim))))
            }
            Some(_) => return None,
        };
    }
    Some(inner.map_or(Monomial::number(1), |(first, _)| first))
}

/// An affine quantity times a number of elements.
pub(super) fn times(a: &Affine, by: Monomial) -> Affine {
    if by.factor == 0 {
        return Affine::default();
    }
    Affine {
        constant: a.constant.iter().map(|m| m.times(by)).collect(),
        terms: a.terms.iter().map(|(i, m)| (*i, m.times(by))).collect(),
    }
}
