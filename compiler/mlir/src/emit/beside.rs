//! Maps of which a thread has points beside one another: what lies beside one another is loaded and stored at once, and addresses are
//! computed once for all of them.

use super::Emit;
use super::build::V;
use super::map::Map;
use super::number::Num;
use crate::target::Products;
use melior::ir::Type;
use nestor_ir::entity::Entity;
use nestor_ir::tile::{Access, Affine, Extent, Place, ScalarOp, Sink};
use nestor_ir::ty::Elem;

/// Points beside one another: sixteen bytes of float32.
const WIDE: i64 = 4;

/// Turns whose numbers are all loaded before the first of them is stored, where little is done at each point.
const AT_ONCE: i64 = 2;
/// How many scalars are little, and how many are so many that they are not written once for each point (neither measured).
const FEW: usize = 8;
const MANY_SCALARS: usize = 24;

/// Turns of so many loads whose number the assembler is not told; see [`super::map`].
const MANY: i64 = 8;

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// Whether a map without folds is one whose numbers lie so, with points enough for all threads.
    pub(super) fn lies_beside(&self, map: Map<'_>) -> bool {
        let Some((Extent::Fixed(last), before)) = map.space.split_last() else {
            return false;
        };
        let points: Option<usize> = before.iter().map(|d| d.fixed()).product();
        let enough = points
            .is_none_or(|n| n * last >= WIDE as usize * self.about.threads as usize);
        let hard = |op: ScalarOp| {
            matches!(
                op,
                ScalarOp::Log
                    | ScalarOp::Sin
                    | ScalarOp::Cos
                    | ScalarOp::Tanh
                    | ScalarOp::Erf
                    | ScalarOp::Softplus
                    | ScalarOp::Pow
            )
        };
        let scalars = &map.expr.scalars;
        let light =
            scalars.len() <= MANY_SCALARS && !scalars.values().any(|s| hard(s.op));
        let stored = |sink: &Sink| match sink {
            Sink::Store(to) => self.is_beside(to),
            Sink::Fold { .. } => false,
        };
        last % WIDE as usize == 0
            && *last > 0
            && enough
            && light
            && map.sinks.iter().all(|(_, sink)| stored(sink))
            && map
                .loads
                .iter()
                .all(|from| self.is_one_for_all(from) || self.is_beside(from))
    }

    /// Whether an access is of the same number for all points beside one another.
    fn is_one_for_all(&self, a: &Access) -> bool {
        let last = a.strides.last().is_some_and(|s| s.as_number() == Some(0));
        last && along_others(a)
    }

    /// Whether an access is of numbers that lie beside one another, the first of them at a multiple of how many there are.
    fn is_beside(&self, a: &Access) -> bool {
        let whole = |q: &Affine| q.is_multiple_of(WIDE);
        let Some((last, before)) = a.strides.split_last() else { return false };
        self.elem(a.place) == Elem::Real
            && last.as_number() == Some(1)
            && whole(&a.origin)
            && before.iter().all(whole)
            && along_others(a)
    }

    pub(super) fn map_beside(&mut self, map: Map<'_>) {
        let mut space = map.space.to_vec();
        if let Some(Extent::Fixed(last)) = space.last_mut() {
            *last /= WIDE as usize;
        }
        let threads = i64::from(self.about.threads);
        let parts: Option<usize> = space.iter().map(|d| d.fixed()).product();
        let at_once = match parts.map(|n| n as i64) {
            Some(n) if n % (AT_ONCE * threads) == 0 && map.expr.scalars.len() <= FEW => {
                AT_ONCE
            }
            _ => 1,
        };
        let extents: Vec<Num<'c, 'a>> = space.iter().map(|d| self.extent(*d)).collect();
        let mut total = Num::Known(1);
        for extent in &extents {
            total = self.mul(total, *extent);
        }
        if let Num::Known(n) = total
            && n % threads == 0
            && n / (at_once * threads) >= MANY
        {
            total = self.unknown(n);
        }
        let bounds = [Num::Run(self.thread), total, Num::Known(at_once * threads)];
        let bounds = bounds.map(|n| self.value(n));
        let (opened, first, _) = self.b.open_for(bounds, &[]);
        let mut all = Vec::new();
        for turn in 0..at_once {
            let n = self.add(Num::Run(first), Num::Known(turn * threads));
            let mut point = self.unravelled(n, &extents);
            if let Some(last) = point.last_mut() {
                *last = self.mul(*last, Num::Known(WIDE));
            }
            let values = self.scalars_beside(map, &point);
            all.push((point, values));
        }
        for (point, values) in all {
            for (root, sink) in map.sinks {
                let Sink::Store(to) = sink else { continue };
                let lanes: Vec<V<'c, 'a>> =
                    values.iter().map(|lane| lane[root.index()]).collect();
                self.store_beside(to, &point, &lanes);
            }
        }
        self.b.close(opened, &[]);
    }

    /// Every scalar's value at each of the points from one on.
    fn scalars_beside(
        &mut self,
        map: Map<'_>,
        point: &[Num<'c, 'a>],
    ) -> Vec<Vec<V<'c, 'a>>> {
        let brought: Vec<Vec<V<'c, 'a>>> = map
            .loads
            .iter()
            .map(|from| match self.is_one_for_all(from) {
                true => vec![self.load(from, point); WIDE as usize],
                false => self.load_beside(from, point),
            })
            .collect();
        let mut out = Vec::new();
        for lane in 0..WIDE {
            let mut at = point.to_vec();
            if let Some(last) = at.last_mut() {
                *last = self.add(*last, Num::Known(lane));
            }
            self.brought = brought.iter().map(|x| x[lane as usize]).collect();
            out.push(self.scalars(map, &at));
            self.brought.clear();
        }
        out
    }

    /// How numbers beside one another are moved, and how many of what is moved so there are.
    fn moved(&self, place: Place) -> (Type<'c>, i64) {
        match self.is_narrow(place) {
            true => (self.b.int(32), WIDE / 2),
            false => (self.b.float(), WIDE),
        }
    }

    fn load_beside(&mut self, a: &Access, point: &[Num<'c, 'a>]) -> Vec<V<'c, 'a>> {
        let (of, count) = self.moved(a.place);
        let ty = Type::vector(&[count as u64], of);
        let (n, condition) = self.spot(a, point);
        let pad = self.b.real(a.pad);
        let apart = |e: &mut Self, all: V<'c, 'a>| -> Vec<V<'c, 'a>> {
            (0..count).flat_map(|n| e.numbers_of(a.place, all, n)).collect()
        };
        let Some(condition) = condition else {
            let (at, _) = self.address(a.place, n);
            let all = self.b.load(at, ty);
            return apart(self, all);
        };
        if self.has_first(a.place, WIDE) {
            // No branch: loads of several points are under way together.
            let (n, zero) = (self.value(n), self.value(Num::Known(0)));
            let n = Num::Run(self.b.select(condition, n, zero));
            let (at, _) = self.address(a.place, n);
            let all = self.b.load(at, ty);
            let found = apart(self, all);
            return found.into_iter().map(|x| self.b.select(condition, x, pad)).collect();
        }
        let types = [self.b.float(); WIDE as usize];
        let opened = self.b.open_if(condition, &types);
        let (at, _) = self.address(a.place, n);
        let all = self.b.load(at, ty);
        let found = apart(self, all);
        self.b.otherwise(&opened, &found);
        self.b.close(opened, &[pad; WIDE as usize])
    }

    /// The numbers of part `n` of what was moved.
    fn numbers_of(&mut self, place: Place, all: V<'c, 'a>, n: i64) -> Vec<V<'c, 'a>> {
        let (of, _) = self.moved(place);
        let n = self.b.constant(32, n);
        let part = self.b.made("llvm.extractelement", &[all, n], of, &[]);
        if !self.is_narrow(place) {
            return vec![part];
        }
        let (float, by) = (self.b.float(), self.b.constant(32, 16));
        let upper = self.b.constant(32, 0xffff_0000);
        let first = self.b.two("llvm.shl", part, by);
        let second = self.b.two("llvm.and", part, upper);
        [first, second].map(|bits| self.b.cast("llvm.bitcast", bits, float)).to_vec()
    }

    fn store_beside(&mut self, a: &Access, point: &[Num<'c, 'a>], lanes: &[V<'c, 'a>]) {
        let (n, condition) = self.spot(a, point);
        let opened = condition.map(|condition| self.b.open_if(condition, &[]));
        let (of, count) = self.moved(a.place);
        let parts: Vec<V<'c, 'a>> = match self.is_narrow(a.place) {
            true => {
                lanes.chunks(2).map(|two| self.rounded(Products::Brain, two)[0]).collect()
            }
            false => lanes.to_vec(),
        };
        let ty = Type::vector(&[count as u64], of);
        let mut all = self.b.made("llvm.mlir.undef", &[], ty, &[]);
        for (n, part) in parts.into_iter().enumerate() {
            let n = self.b.constant(32, n as i64);
            all = self.b.made("llvm.insertelement", &[all, part, n], ty, &[]);
        }
        let (at, _) = self.address(a.place, n);
        self.b.store(all, at);
        if let Some(opened) = opened {
            self.b.close(opened, &[]);
        }
    }
}

/// Whether the bounds of an access are those of all points beside one another.
fn along_others(a: &Access) -> bool {
    a.bounds.iter().all(|b| b.strides.last().is_none_or(|s| *s == 0))
}
