//! Maps of which a thread has points beside one another: what lies beside one another is loaded and stored at once, and addresses are
//! computed once for all of them.

use super::Emit;
use super::build::V;
use super::map::{MANY, Map};
use super::number::Num;
use crate::target::Products;
use melior::ir::Type;
use nestor_ir::entity::Entity;
use nestor_ir::tile::{Access, Affine, Extent, Place, ScalarOp, Sink};
use nestor_ir::ty::Elem;

/// Points of a map beside one another: sixteen bytes of float32. Entries of a product come in twos.
pub(super) const WIDE: i64 = 4;
/// The same where much is done at each: as many as a register of bfloat16 has.
const PAIR: i64 = 2;
/// Numbers of a point of which two fit into registers, with addresses; the same where half of the threads have none, whose registers
/// nobody else can have.
const MOST_HELD: usize = 64;
const HALF_HELD: usize = 32;

/// Turns whose numbers are all loaded before the first of them is stored, the first that divides: of maps that do little at each point, and of
/// those that do next to nothing.
const OF_LITTLE: &[i64] = &[4, 2];
const OF_NOTHING: &[i64] = &[8, 4, 2];
/// How many scalars are next to nothing, how many little, and how many so many that they are not written once for each point (none measured).
const NOTHING: usize = 2;
const FEW: usize = 8;
const MANY_SCALARS: usize = 24;
/// Threads of a block up to which each has registers for many numbers.
const FEW_THREADS: u32 = 128;

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// Whether a map without folds is one whose numbers lie so, with points enough for all threads.
    pub(super) fn lies_beside(&self, map: Map<'_>) -> bool {
        is_light(map) && self.lies_by(map, WIDE, self.about.threads)
    }

    /// The same of one at whose points much is done: two of them are as many as registers suffice for, and enough to do for
    /// a thread while another has none.
    pub(super) fn lies_in_pairs(&self, map: Map<'_>) -> bool {
        let held = map.expr.held([]);
        let by = |most, threads| held <= most && self.lies_by(map, PAIR, threads);
        let (threads, half) = (self.about.threads, self.about.threads.div_ceil(2));
        !is_hard(map) && (by(MOST_HELD, threads) || by(HALF_HELD, half))
    }

    /// Whether so many numbers lie beside one another in all that a map touches, with as many points for so many threads.
    fn lies_by(&self, map: Map<'_>, count: i64, threads: u32) -> bool {
        let Some((Extent::Fixed(last), before)) = map.space.split_last() else {
            return false;
        };
        let points: Option<usize> = before.iter().map(|d| d.fixed()).product();
        let enough = points.is_none_or(|n| n * last >= count as usize * threads as usize);
        last.is_multiple_of(count as usize)
            && *last > 0
            && enough
            && map.loads.iter().all(|from| self.is_some_beside(from, count))
            && self.stores_beside(map, count)
    }

    /// How many points a thread has beside one another: as many as sixteen bytes of what is narrow, where there are enough of them, and nothing
    /// else is touched that lies so.
    pub(super) fn points_beside(&self, map: Map<'_>, enough: bool) -> i64 {
        let wide = 2 * WIDE;
        let last = map.space.last().and_then(|d| d.fixed()).unwrap_or(0);
        let stored = map.sinks.iter().filter_map(|(_, sink)| match sink {
            Sink::Store(to) => Some(to),
            Sink::Fold { .. } => None,
        });
        let fits = |a: &Access| {
            self.is_one_for_all(a) || self.is_narrow(a.place) && self.is_beside(a, wide)
        };
        match enough
            && last.is_multiple_of(wide as usize)
            && map.loads.iter().chain(stored).all(fits)
        {
            true => wide,
            false => WIDE,
        }
    }

    /// Whether what each point of a map's first dimensions folds lies so, with some for each of so many lanes or threads.
    pub(super) fn folds_beside(&self, map: Map<'_>, kept: usize, lanes: i64) -> bool {
        let folded: Option<usize> = map.space[kept..].iter().map(|d| d.fixed()).product();
        let Some(folded) = folded else { return false };
        let last = map.space.last().and_then(|d| d.fixed()).unwrap_or(0);
        last > 0
            && last.is_multiple_of(WIDE as usize)
            && folded.is_multiple_of((WIDE * lanes) as usize)
            && is_light(map)
            && map.loads.iter().all(|from| self.is_some_beside(from, WIDE))
            && map.sinks.iter().all(|(_, sink)| match sink {
                Sink::Store(to) => self.is_beside(to, WIDE),
                Sink::Fold { .. } => true,
            })
    }

    /// Whether all that a map gives is stored so.
    pub(super) fn stores_beside(&self, map: Map<'_>, count: i64) -> bool {
        map.sinks.iter().all(|(_, sink)| match sink {
            Sink::Store(to) => self.is_beside(to, count),
            Sink::Fold { .. } => false,
        })
    }

    /// Whether an access is of one number for all of so many points, or of numbers beside one another.
    pub(super) fn is_some_beside(&self, a: &Access, count: i64) -> bool {
        self.is_one_for_all(a) || self.is_beside(a, count)
    }

    /// Whether an access is of the same number for all points beside one another.
    fn is_one_for_all(&self, a: &Access) -> bool {
        let last = a.strides.last().is_some_and(|s| s.as_number() == Some(0));
        last && along_others(a)
    }

    /// Whether an access is of so many numbers that lie beside one another, the first of them at a multiple of how many there are.
    pub(super) fn is_beside(&self, a: &Access, count: i64) -> bool {
        let whole = |q: &Affine| q.is_multiple_of(count);
        let Some((last, before)) = a.strides.split_last() else { return false };
        self.elem(a.place) == Elem::Real
            && last.as_number() == Some(1)
            && whole(&a.origin)
            && before.iter().all(whole)
            && along_others(a)
    }

    /// Parts of so many points beside one another, shared among the threads: each loads some, the first of these numbers that divides, before it
    /// stores the first of them.
    pub(super) fn map_beside(&mut self, map: Map<'_>) {
        let threads = i64::from(self.about.threads);
        let points: Option<usize> = map.space.iter().map(|d| d.fixed()).product();
        let wide = 2 * WIDE;
        let enough = points.is_none_or(|n| n as i64 >= wide * threads);
        let wide = self.points_beside(map, enough);
        self.map_by(map, wide);
    }

    /// Two points beside one another at a time.
    pub(super) fn map_in_pairs(&mut self, map: Map<'_>) {
        self.map_by(map, PAIR);
    }

    /// So many points beside one another at a time.
    fn map_by(&mut self, map: Map<'_>, wide: i64) {
        let threads = i64::from(self.about.threads);
        let points: Option<usize> = map.space.iter().map(|d| d.fixed()).product();
        // Of many threads each has few registers.
        let few = self.about.threads > FEW_THREADS;
        let at_once: &[i64] = match map.expr.scalars.len() {
            0..=NOTHING if few && wide > WIDE => OF_LITTLE,
            0..=FEW if few => &[2],
            0..=NOTHING => OF_NOTHING,
            n if n <= FEW => OF_LITTLE,
            _ => &[],
        };
        let divides =
            |n: &i64| points.is_some_and(|p| p as i64 % (n * wide * threads) == 0);
        let at_once = at_once.iter().copied().find(divides).unwrap_or(1);
        let mut extents: Vec<Num<'c, 'a>> =
            map.space.iter().map(|d| self.extent(*d)).collect();
        if let Some(last) = extents.last_mut() {
            *last = self.div(*last, Num::Known(wide));
        }
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
        let further = (0..at_once).map(|turn| turn * threads);
        let parts = self.unravelled_from(Num::Run(first), further, &extents);
        let all: Vec<_> =
            parts.into_iter().map(|part| self.values_beside(map, part, wide)).collect();
        for (point, values) in all {
            self.stored_beside(map, &point, &values);
        }
        self.b.close(opened, &[]);
    }

    /// The first point of a part of a map's points, and every scalar's value at each of them.
    pub(super) fn values_beside(
        &mut self,
        map: Map<'_>,
        mut point: Vec<Num<'c, 'a>>,
        wide: i64,
    ) -> (Vec<Num<'c, 'a>>, Vec<Vec<V<'c, 'a>>>) {
        if let Some(last) = point.last_mut() {
            *last = self.mul(*last, Num::Known(wide));
        }
        let brought = map.loads.iter().map(|from| self.loads_at(from, &point, wide));
        let brought = brought.collect();
        let values = self.scalars_beside(map, &point, brought, wide);
        (point, values)
    }

    /// What a load gives at so many points from one on.
    pub(super) fn loads_at(
        &mut self,
        from: &Access,
        point: &[Num<'c, 'a>],
        count: i64,
    ) -> Vec<V<'c, 'a>> {
        match self.is_one_for_all(from) {
            true => vec![self.load(from, point); count as usize],
            false => self.load_beside(from, point, count),
        }
    }

    /// Every scalar's value at each of the points from one on, of what the loads give there.
    pub(super) fn scalars_beside(
        &mut self,
        map: Map<'_>,
        point: &[Num<'c, 'a>],
        brought: Vec<Vec<V<'c, 'a>>>,
        count: i64,
    ) -> Vec<Vec<V<'c, 'a>>> {
        let mut out = Vec::new();
        for lane in 0..count {
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

    /// Stores what a map gives at the points from one on.
    pub(super) fn stored_beside(
        &mut self,
        map: Map<'_>,
        point: &[Num<'c, 'a>],
        values: &[Vec<V<'c, 'a>>],
    ) {
        for (root, sink) in map.sinks {
            let Sink::Store(to) = sink else { continue };
            let lanes: Vec<V<'c, 'a>> =
                values.iter().map(|lane| lane[root.index()]).collect();
            self.store_beside(to, point, &lanes);
        }
    }

    /// How so many numbers beside one another are moved: in parts of a type, so many.
    fn moved(&self, place: Place, count: i64) -> (Type<'c>, i64) {
        match self.is_narrow(place) {
            true => (self.b.int(32), count / 2),
            false => (self.b.float(), count),
        }
    }

    pub(super) fn load_beside(
        &mut self,
        a: &Access,
        point: &[Num<'c, 'a>],
        count: i64,
    ) -> Vec<V<'c, 'a>> {
        let (n, condition) = self.spot(a, point);
        let Some(condition) = condition else {
            return self.read_beside(a.place, n, count);
        };
        let pad = self.b.real(a.pad);
        if let Some(n) = self.first_instead(a.place, n, condition, count) {
            let registers = self.registers_beside(a.place, n, count);
            // Two numbers of a register are chosen together.
            if self.is_narrow(a.place) && a.pad == 0.0 {
                let none = self.b.constant(32, 0);
                let kept = registers.into_iter();
                let kept = kept.map(|x| self.b.select(condition, x, none)).collect();
                return self.numbers_of_registers(a.place, kept);
            }
            let found = self.numbers_of_registers(a.place, registers);
            return found.into_iter().map(|x| self.b.select(condition, x, pad)).collect();
        }
        let types = vec![self.b.float(); count as usize];
        let opened = self.b.open_if(condition, &types);
        let found = self.read_beside(a.place, n, count);
        self.b.otherwise(&opened, &found);
        self.b.close(opened, &vec![pad; count as usize])
    }

    /// So many numbers from one on.
    pub(super) fn read_beside(
        &mut self,
        place: Place,
        n: Num<'c, 'a>,
        count: i64,
    ) -> Vec<V<'c, 'a>> {
        let registers = self.registers_beside(place, n, count);
        self.numbers_of_registers(place, registers)
    }

    /// Registers of so many numbers from one on, up to sixteen bytes at a time.
    pub(super) fn registers_beside(
        &mut self,
        place: Place,
        n: Num<'c, 'a>,
        count: i64,
    ) -> Vec<V<'c, 'a>> {
        let mut out = Vec::new();
        for first in (0..count).step_by(self.at_most(place) as usize) {
            let (of, parts) = self.moved(place, count.min(self.at_most(place)));
            let n = self.add(n, Num::Known(first));
            let (at, _) = self.address(place, n);
            if parts == 1 {
                out.push(self.b.load(at, of));
                continue;
            }
            let all = self.b.load(at, Type::vector(&[parts as u64], of));
            for part in 0..parts {
                let part = self.b.constant(32, part);
                out.push(self.b.made("llvm.extractelement", &[all, part], of, &[]));
            }
        }
        out
    }

    /// How many numbers are moved at a time.
    fn at_most(&self, place: Place) -> i64 {
        if self.is_narrow(place) { 2 * WIDE } else { WIDE }
    }

    fn numbers_of_registers(
        &mut self,
        place: Place,
        registers: Vec<V<'c, 'a>>,
    ) -> Vec<V<'c, 'a>> {
        match self.is_narrow(place) {
            true => registers.into_iter().flat_map(|r| self.b.apart(r)).collect(),
            false => registers,
        }
    }

    pub(super) fn store_beside(
        &mut self,
        a: &Access,
        point: &[Num<'c, 'a>],
        lanes: &[V<'c, 'a>],
    ) {
        let (n, condition) = self.spot(a, point);
        let opened = condition.map(|condition| self.b.open_if(condition, &[]));
        let at_most = self.at_most(a.place) as usize;
        for (which, lanes) in lanes.chunks(at_most).enumerate() {
            let n = self.add(n, Num::Known((which * at_most) as i64));
            self.write_beside(a.place, n, lanes);
        }
        if let Some(opened) = opened {
            self.b.close(opened, &[]);
        }
    }

    /// Two numbers as a register of bfloat16.
    pub(super) fn register_of(&mut self, two: &[V<'c, 'a>]) -> V<'c, 'a> {
        match self.b.whole([two[0], two[1]]) {
            // They are as they were loaded.
            Some(register) => register,
            None => self.rounded(Products::Brain, two)[0],
        }
    }

    /// Numbers beside one another, sixteen bytes at most.
    fn write_beside(&mut self, place: Place, n: Num<'c, 'a>, lanes: &[V<'c, 'a>]) {
        let (of, count) = self.moved(place, lanes.len() as i64);
        let parts: Vec<V<'c, 'a>> = match self.is_narrow(place) {
            true => lanes.chunks(2).map(|two| self.register_of(two)).collect(),
            false => lanes.to_vec(),
        };
        let all = match parts[..] {
            [one] => one,
            _ => {
                let ty = Type::vector(&[count as u64], of);
                let mut all = self.b.made("llvm.mlir.undef", &[], ty, &[]);
                for (n, part) in parts.into_iter().enumerate() {
                    let n = self.b.constant(32, n as i64);
                    all = self.b.made("llvm.insertelement", &[all, part, n], ty, &[]);
                }
                all
            }
        };
        let (at, _) = self.address(place, n);
        self.b.store(all, at);
    }
}

/// Whether so little is done at each point that it is written once for each.
fn is_light(map: Map<'_>) -> bool {
    map.expr.scalars.len() <= MANY_SCALARS && !is_hard(map)
}

/// Whether something is done that takes long to write.
fn is_hard(map: Map<'_>) -> bool {
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
    map.expr.scalars.values().any(|s| hard(s.op))
}

/// Whether the bounds of an access are those of all points beside one another.
fn along_others(a: &Access) -> bool {
    a.bounds.iter().all(|b| b.strides.last().is_none_or(|s| *s == 0))
}
