//! Accesses: from an affine function to addresses, ranges where elements exist, loads and stores.
//!
//! A [`Reach`] is an access part of the way down a loop nest: the loops entered so far are in its
//! address and in its bounds' running values. At the innermost dimension it becomes a [`Lane`]:
//! an address, a stride, and the range of the innermost index in which the element is there; a
//! bound that does not move with the innermost dimension makes that range all or nothing.

use crate::emitter::{Emitter, Num, flags};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Type, Value, types};
use nestor_ir::artifact::Precision;
use nestor_ir::tile::{Access, ScalarKind, kind_of};
use nestor_ir::ty::Elem;

/// A bound on the way: running value, strides, low, high.
#[derive(Clone, Debug)]
struct Limit {
    at: Num,
    strides: Vec<i64>,
    low: Num,
    high: Num,
}

/// An access on the way down a nest.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    address: Value,
    strides: Vec<Num>,
    limits: Vec<Limit>,
    /// What an element is.
    pub(crate) elem: Elem,
    pad: f64,
}

/// An access along the innermost dimension.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    /// Address at index 0.
    pub(crate) address: Value,
    /// Bytes for one step.
    pub(crate) stride: Num,
    /// What an element is.
    pub(crate) elem: Elem,
    /// What is read where the element is not there.
    pub(crate) pad: f64,
    /// Where the element is there; everywhere if nothing is said.
    pub(crate) range: Option<(Num, Num)>,
    /// The element, where it is the same for all indices.
    pub(crate) invariant: Option<Value>,
}

impl Emitter<'_> {
    /// The type of a lane of integers or of a mask.
    pub(crate) fn lane_int(&self) -> Type {
        match self.precision {
            Precision::F32 => types::I32,
            Precision::F64 => types::I64,
        }
    }
    /// The type of a scalar (`lanes` = 1) or vector of this kind.
    pub(crate) fn kind_type(&self, kind: ScalarKind, lanes: usize) -> Type {
        let n = u32::try_from(lanes).expect("few lanes");
        match (kind, lanes) {
            (ScalarKind::Real, 1) => self.real(),
            (ScalarKind::Int, 1) => self.lane_int(),
            (ScalarKind::Bool, 1) => types::I8,
            (ScalarKind::Real, _) => self.real().by(n).expect("128 bits"),
            (ScalarKind::Int | ScalarKind::Bool, _) => {
                self.lane_int().by(n).expect("128 bits")
            }
        }
    }
    /// An access at the origin of its iteration space.
    pub(crate) fn reach(&mut self, access: &Access) -> Reach {
        let (base, elem) = self.place(access.place);
        let bytes = Num::Const(self.bytes(elem));
        let origin = self.affine(&access.origin);
        let origin = self.mul(origin, bytes);
        let address = self.offset(base, origin);
        let strides = access.strides.iter().map(|s| {
            let stride = self.affine(s);
            self.mul(stride, bytes)
        });
        let strides = strides.collect();
        let limits = access.bounds.iter().map(|b| Limit {
            at: self.affine(&b.offset),
            strides: b.strides.to_vec(),
            low: self.affine(&b.low),
            high: self.affine(&b.high),
        });
        let limits = limits.collect();
        Reach { address, strides, limits, elem, pad: access.pad }
    }
    /// Goes into dimension `d` at index `i`.
    pub(crate) fn step(&mut self, reach: &Reach, d: usize, i: Value) -> Reach {
        let mut next = reach.clone();
        if let Some(&stride) = reach.strides.get(d) {
            let by = self.mul(stride, Num::Run(i));
            next.address = self.offset(reach.address, by);
        }
        for limit in &mut next.limits {
            if let Some(&s) = limit.strides.get(d) {
                let by = self.mul(Num::Run(i), Num::Const(s));
                limit.at = self.add(limit.at, by);
            }
        }
        next
    }
    /// Whether the element a reach has come down to is there; nothing where it always is.
    pub(crate) fn there(&mut self, reach: &Reach) -> Option<Value> {
        let mut all: Option<Value> = None;
        for limit in &reach.limits {
            let above = self.compare(IntCC::SignedLessThanOrEqual, limit.low, limit.at);
            let below = self.compare(IntCC::SignedLessThan, limit.at, limit.high);
            let both = self.b.ins().band(above, below);
            all = Some(match all {
                Some(other) => self.b.ins().band(other, both),
                None => both,
            });
        }
        all
    }
    /// Where a reach has come down to.
    pub(crate) fn address(reach: &Reach) -> Value {
        reach.address
    }

    /// The constant byte strides of two dimensions of an access that is nowhere bounded.
    pub(crate) fn constant_strides(reach: &Reach, d: usize) -> Option<(i64, i64)> {
        match (reach.limits.is_empty(), reach.strides.get(d), reach.strides.get(d + 1)) {
            (true, Some(&Num::Const(outer)), Some(&Num::Const(inner))) => {
                Some((outer, inner))
            }
            (_, _, _) => None,
        }
    }

    /// Turns a reach into a lane along dimension `d` of extent `n`.
    pub(crate) fn lane(&mut self, reach: &Reach, d: usize, n: Num) -> Lane {
        let mut range: Option<(Num, Num)> = None;
        for limit in &reach.limits {
            let (low, high) = self.range(limit, d, n);
            range = Some(match range {
                Some((l, h)) => (self.max(l, low), self.min(h, high)),
                None => (low, high),
            });
        }
        let range = range.map(|(l, h)| {
            let l = self.max(l, Num::Const(0));
            (l, self.min(h, n))
        });
        let stride = reach.strides.get(d).copied().unwrap_or(Num::Const(0));
        Lane {
            address: reach.address,
            stride,
            elem: reach.elem,
            pad: reach.pad,
            range,
            invariant: None,
        }
    }
    /// Reads the element before the loop where it is the same for all indices.
    pub(crate) fn hoist(&mut self, lane: &mut Lane, reach: &Reach, d: usize) {
        let fixed = |l: &Limit| l.strides.get(d).is_none_or(|&s| s == 0);
        if lane.stride != Num::Const(0) || !reach.limits.iter().all(fixed) {
            return;
        }
        let value = match self.there(reach) {
            None => self.load_scalar(lane.elem, lane.address),
            Some(there) => {
                let ty = self.kind_type(kind_of(lane.elem), 1);
                let (elem, address, pad) = (lane.elem, lane.address, lane.pad);
                self.choose(
                    there,
                    ty,
                    |e| e.load_scalar(elem, address),
                    |e| e.pad_scalar(elem, pad),
                )
            }
        };
        lane.invariant = Some(value);
        lane.range = None;
    }
    /// The indices i of dimension `d` with `low <= at + s i < high`.
    fn range(&mut self, limit: &Limit, d: usize, n: Num) -> (Num, Num) {
        let s = limit.strides.get(d).copied().unwrap_or(0);
        let (below, above) =
            (self.sub(limit.low, limit.at), self.sub(limit.high, limit.at));
        match s {
            0 => match (below, above) {
                (Num::Const(b), Num::Const(a)) if b <= 0 && 0 < a => (Num::Const(0), n),
                (Num::Const(_), Num::Const(_)) => (Num::Const(0), Num::Const(0)),
                (Num::Const(_) | Num::Run(_), _) => {
                    let zero = Num::Const(0);
                    let low = self.compare(IntCC::SignedLessThanOrEqual, below, zero);
                    let high = self.compare(IntCC::SignedGreaterThan, above, zero);
                    let both = self.b.ins().band(low, high);
                    let (yes, no) = (self.value(n), self.value(zero));
                    (zero, Num::Run(self.b.ins().select(both, yes, no)))
                }
            },
            s if s > 0 => (self.ceil_div(below, s), self.ceil_div(above, s)),
            s => {
                // at - s' i >= low  <=>  i <= (at - low) / s'
                let (below, above) =
                    (self.mul(below, Num::Const(-1)), self.mul(above, Num::Const(-1)));
                let (last, first) =
                    (self.floor_div(below, -s), self.floor_div(above, -s));
                (self.add(first, Num::Const(1)), self.add(last, Num::Const(1)))
            }
        }
    }
    fn ceil_div(&mut self, x: Num, by: i64) -> Num {
        let x = self.add(x, Num::Const(by - 1));
        self.floor_div(x, by)
    }
    fn floor_div(&mut self, x: Num, by: i64) -> Num {
        match x {
            Num::Const(x) => Num::Const(x.div_euclid(by)),
            Num::Run(_) if by == 1 => x,
            Num::Run(v) => {
                let d = self.b.ins().iconst(types::I64, by);
                let q = self.b.ins().sdiv(v, d);
                let back = self.b.ins().imul(q, d);
                let over = self.b.ins().icmp(IntCC::SignedGreaterThan, back, v);
                let over = self.b.ins().uextend(types::I64, over);
                Num::Run(self.b.ins().isub(q, over))
            }
        }
    }

    /// Reads one element.
    pub(crate) fn load_scalar(&mut self, elem: Elem, address: Value) -> Value {
        match elem {
            Elem::Real => {
                let ty = self.real();
                self.b.ins().load(ty, flags(), address, 0)
            }
            Elem::Int => {
                let v = self.b.ins().load(types::I32, flags(), address, 0);
                if self.lane_int() == types::I64 {
                    return self.b.ins().sextend(types::I64, v);
                }
                v
            }
            Elem::Bool => {
                let v = self.b.ins().load(types::I8, flags(), address, 0);
                self.b.ins().icmp_imm_s(IntCC::NotEqual, v, 0)
            }
        }
    }
    /// A pad value as an element.
    pub(crate) fn pad_scalar(&mut self, elem: Elem, pad: f64) -> Value {
        match elem {
            Elem::Real => self.number(pad),
            Elem::Int => {
                let ty = self.lane_int();
                self.b.ins().iconst(ty, pad as i64)
            }
            Elem::Bool => self.b.ins().iconst(types::I8, i64::from(pad != 0.0)),
        }
    }
    /// A real constant.
    pub(crate) fn number(&mut self, x: f64) -> Value {
        match self.precision {
            Precision::F32 => self.b.ins().f32const(x as f32),
            Precision::F64 => self.b.ins().f64const(x),
        }
    }
    /// A scalar as a lane of a vector: conditions become all ones or all zeros.
    pub(crate) fn as_lane(&mut self, kind: ScalarKind, v: Value) -> Value {
        match kind {
            ScalarKind::Real | ScalarKind::Int => v,
            ScalarKind::Bool => {
                let ty = self.lane_int();
                let wide = self.b.ins().uextend(ty, v);
                self.b.ins().ineg(wide)
            }
        }
    }
    /// The same scalar in all lanes.
    pub(crate) fn splat(&mut self, kind: ScalarKind, v: Value, lanes: usize) -> Value {
        if lanes == 1 {
            return v;
        }
        let v = self.as_lane(kind, v);
        let ty = self.kind_type(kind, lanes);
        self.b.ins().splat(ty, v)
    }
    /// Writes one element.
    pub(crate) fn store_scalar(&mut self, elem: Elem, v: Value, address: Value) {
        let v = match elem {
            Elem::Real | Elem::Bool => v,
            Elem::Int if self.lane_int() == types::I64 => {
                self.b.ins().ireduce(types::I32, v)
            }
            Elem::Int => v,
        };
        self.b.ins().store(flags(), v, address, 0);
    }
    /// Reads `lanes` elements that are there, one by one unless they are neighbours.
    pub(crate) fn load_lanes(&mut self, lane: &Lane, i: Num, lanes: usize) -> Value {
        let at = self.mul(lane.stride, i);
        let address = self.offset(lane.address, at);
        if lanes == 1 {
            return self.load_scalar(lane.elem, address);
        }
        let ty = self.kind_type(kind_of(lane.elem), lanes);
        if lane.stride == Num::Const(self.bytes(lane.elem)) {
            match (lane.elem, self.precision) {
                (Elem::Real, _) | (Elem::Int, Precision::F32) => {
                    return self.b.ins().load(ty, flags(), address, 0);
                }
                (Elem::Int, Precision::F64) | (Elem::Bool, _) => {}
            }
        }
        if lane.stride == Num::Const(0) {
            let v = self.load_scalar(lane.elem, address);
            return self.splat(kind_of(lane.elem), v, lanes);
        }
        let mut vector = None;
        let mut address = address;
        for n in 0..lanes {
            if n > 0 {
                address = self.offset(address, lane.stride);
            }
            let v = self.load_scalar(lane.elem, address);
            vector = Some(self.put(kind_of(lane.elem), vector, v, n, lanes));
        }
        vector.expect("there are lanes")
    }
    fn put(
        &mut self,
        kind: ScalarKind,
        vector: Option<Value>,
        v: Value,
        n: usize,
        lanes: usize,
    ) -> Value {
        match vector {
            None => self.splat(kind, v, lanes),
            Some(vector) => {
                let v = self.as_lane(kind, v);
                let n = u8::try_from(n).expect("few lanes");
                self.b.ins().insertlane(vector, v, n)
            }
        }
    }
    /// Reads `lanes` elements, some of which may not be there.
    pub(crate) fn load_masked(&mut self, lane: &Lane, i: Num, lanes: usize) -> Value {
        let Some((low, high)) = lane.range else {
            return self.load_lanes(lane, i, lanes);
        };
        let kind = kind_of(lane.elem);
        let ty = self.kind_type(kind, lanes);
        if lanes == 1 {
            let there = self.within(i, 1, low, high);
            return self.choose(
                there,
                ty,
                |e| e.load_lanes(lane, i, 1),
                |e| e.pad_scalar(lane.elem, lane.pad),
            );
        }
        let all = self.within(i, lanes, low, high);
        self.choose(
            all,
            ty,
            |e| e.load_lanes(lane, i, lanes),
            |e| {
                let some = e.touches(i, lanes, low, high);
                e.choose(
                    some,
                    ty,
                    |e| {
                        let mut vector = None;
                        for n in 0..lanes {
                            let at = e.add(i, Num::Const(n as i64));
                            let v = e.load_masked(lane, at, 1);
                            vector = Some(e.put(kind, vector, v, n, lanes));
                        }
                        vector.expect("there are lanes")
                    },
                    |e| {
                        let pad = e.pad_scalar(lane.elem, lane.pad);
                        e.splat(kind, pad, lanes)
                    },
                )
            },
        )
    }
    /// Writes `lanes` elements that are there.
    pub(crate) fn store_lanes(&mut self, lane: &Lane, v: Value, i: Num, lanes: usize) {
        let at = self.mul(lane.stride, i);
        let mut address = self.offset(lane.address, at);
        if lanes == 1 {
            return self.store_scalar(lane.elem, v, address);
        }
        let near = lane.stride == Num::Const(self.bytes(lane.elem));
        let whole = match (lane.elem, self.precision) {
            (Elem::Real, _) | (Elem::Int, Precision::F32) => true,
            (Elem::Int, Precision::F64) | (Elem::Bool, _) => false,
        };
        if near && whole {
            self.b.ins().store(flags(), v, address, 0);
            return;
        }
        for n in 0..lanes {
            if n > 0 {
                address = self.offset(address, lane.stride);
            }
            let v = self.extract(kind_of(lane.elem), v, n);
            self.store_scalar(lane.elem, v, address);
        }
    }
    /// One lane as a scalar.
    pub(crate) fn extract(&mut self, kind: ScalarKind, v: Value, n: usize) -> Value {
        let v = self.b.ins().extractlane(v, u8::try_from(n).expect("few lanes"));
        match kind {
            ScalarKind::Real | ScalarKind::Int => v,
            ScalarKind::Bool => self.b.ins().icmp_imm_s(IntCC::NotEqual, v, 0),
        }
    }
    /// Writes those of `lanes` elements that are there.
    pub(crate) fn store_masked(&mut self, lane: &Lane, v: Value, i: Num, lanes: usize) {
        let Some((low, high)) = lane.range else {
            return self.store_lanes(lane, v, i, lanes);
        };
        if lanes == 1 {
            let there = self.within(i, 1, low, high);
            return self.when(there, |e| e.store_lanes(lane, v, i, 1));
        }
        for n in 0..lanes {
            let scalar = self.extract(kind_of(lane.elem), v, n);
            let at = self.add(i, Num::Const(n as i64));
            self.store_masked(lane, scalar, at, 1);
        }
    }
    fn within(&mut self, i: Num, lanes: usize, low: Num, high: Num) -> Value {
        let above = self.compare(IntCC::SignedGreaterThanOrEqual, i, low);
        let end = self.add(i, Num::Const(lanes as i64));
        let below = self.compare(IntCC::SignedLessThanOrEqual, end, high);
        self.b.ins().band(above, below)
    }
    fn touches(&mut self, i: Num, lanes: usize, low: Num, high: Num) -> Value {
        let end = self.add(i, Num::Const(lanes as i64));
        let above = self.compare(IntCC::SignedGreaterThan, end, low);
        let below = self.compare(IntCC::SignedLessThan, i, high);
        self.b.ins().band(above, below)
    }
}
