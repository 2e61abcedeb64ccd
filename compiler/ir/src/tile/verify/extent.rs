//! How far an access reaches: the least and the largest element number over all indices.
//!
//! Indices are independent of one another, so the ends of a sum of multiples of indices are the
//! sums of the ends: what is found outside is outside at some point that is really met.

use super::SAMPLES;
use crate::dim::Sizes;
use crate::tile::{Affine, Extent, Index, Monomial};

/// The indices around a statement.
#[derive(Clone, Copy)]
pub(super) struct Reach<'s> {
    pub(super) scope: &'s [(Index, Extent)],
}

impl Reach<'_> {
    /// Whether `origin + strides * point` stays within `size` elements.
    pub(super) fn inside(
        &self,
        origin: &Affine,
        strides: &[Affine],
        space: &[Extent],
        size: Monomial,
    ) -> Result<(), String> {
        for sizes in SAMPLES {
            let (Some((low, high)), count) =
                (self.ends(origin, strides, space, sizes), size.eval(sizes))
            else {
                continue;
            };
            if low < 0 || high >= count {
                return Err(format!(
                    "reaches elements {low} to {high} of {count} at B = {}, T = {}, start = {}",
                    sizes.batch, sizes.time, sizes.start
                ));
            }
        }
        Ok(())
    }

    /// Least and largest element number; nothing where there is no point at all, or where
    /// a stride itself moves with an index.
    fn ends(
        &self,
        origin: &Affine,
        strides: &[Affine],
        space: &[Extent],
        sizes: &Sizes,
    ) -> Option<(i64, i64)> {
        let fixed = |q: &Affine| q.constant.iter().map(|m| m.eval(sizes)).sum::<i64>();
        let mut low = fixed(origin);
        let mut high = low;
        let mut add = |by: i64, extent: Extent| {
            let last = extent.size(sizes) as i64 - 1;
            low += by.min(0) * last;
            high += by.max(0) * last;
            last >= 0
        };
        for (index, extent) in self.scope {
            let terms = origin.terms.iter().filter(|(i, _)| i == index);
            let by = terms.map(|(_, m)| m.eval(sizes)).sum();
            if !add(by, *extent) {
                return None;
            }
        }
        for (stride, extent) in strides.iter().zip(space) {
            if !stride.terms.is_empty() || !add(fixed(stride), *extent) {
                return None;
            }
        }
        Some((low, high))
    }
}
