//! Computes a map's scalars at one index or at a vector of neighbouring indices.

use crate::access::Lane;
use crate::emitter::{Emitter, Num};
use crate::stages::Stages;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{ConstantData, InstBuilder, MemFlagsData, Value, types};
use nestor_ir::artifact::Precision;
use nestor_ir::entity::Entity;
use nestor_ir::tile::{Expr, ExprId, ScalarKind, ScalarOp};

/// What the points of one innermost loop share.
pub(crate) struct Inner<'m> {
    /// The program.
    pub(crate) expr: &'m Expr,
    /// Its stages.
    pub(crate) stages: &'m Stages,
    /// The loads.
    pub(crate) loads: Vec<Lane>,
    /// Row buffers, as lanes, by number.
    pub(crate) rows: Vec<Lane>,
    /// The outer indices of the iteration space.
    pub(crate) outer: &'m [Value],
    /// Values of the offsets of `Index` scalars.
    pub(crate) offsets: &'m [Num],
    /// No innermost loop is longer.
    pub(crate) longest: i64,
}

/// One evaluation.
pub(crate) struct Point {
    /// The innermost index of the first lane.
    pub(crate) at: Num,
    /// How many lanes.
    pub(crate) lanes: usize,
    /// Elements may be missing.
    pub(crate) masked: bool,
    /// What was computed already.
    pub(crate) memo: Vec<Option<Value>>,
}

impl Point {
    /// Nothing computed yet.
    pub(crate) fn new(inner: &Inner<'_>, at: Num, lanes: usize, masked: bool) -> Self {
        Self { at, lanes, masked, memo: vec![None; inner.expr.scalars.len()] }
    }
}

impl Emitter<'_> {
    /// The scalar `id` at a point.
    pub(crate) fn eval(&mut self, m: &Inner<'_>, p: &mut Point, id: ExprId) -> Value {
        if let Some(v) = p.memo[id.index()] {
            return v;
        }
        let v = match m.stages.row[id.index()] {
            Some(row) => self.load_lanes(&m.rows[row], p.at, p.lanes),
            None => self.compute(m, p, id),
        };
        p.memo[id.index()] = Some(v);
        v
    }

    fn compute(&mut self, m: &Inner<'_>, p: &mut Point, id: ExprId) -> Value {
        let scalar = &m.expr.scalars[id];
        match scalar.op {
            ScalarOp::Load(l) => {
                let lane = &m.loads[l];
                if let Some(v) = lane.invariant {
                    return self.splat(scalar.kind, v, p.lanes);
                }
                return if p.masked {
                    self.load_masked(lane, p.at, p.lanes)
                } else {
                    self.load_lanes(lane, p.at, p.lanes)
                };
            }
            ScalarOp::Constant(x) => {
                let v = match scalar.kind {
                    ScalarKind::Real => self.number(x),
                    ScalarKind::Int => {
                        let ty = self.lane_int();
                        self.b.ins().iconst(ty, x as i64)
                    }
                    ScalarKind::Bool => {
                        self.b.ins().iconst(types::I8, i64::from(x != 0.0))
                    }
                };
                return self.splat(scalar.kind, v, p.lanes);
            }
            ScalarOp::Index(d, offset) => return self.index(m, p, d, offset),
            ScalarOp::Add | ScalarOp::Sub if self.fma => {
                if let Some(v) = self.fuse(m, p, id) {
                    return v;
                }
            }
            _ => {}
        }
        let kinds: Vec<ScalarKind> =
            scalar.operands.iter().map(|o| m.expr.scalars[*o].kind).collect();
        let operands: Vec<Value> =
            scalar.operands.iter().map(|o| self.eval(m, p, *o)).collect();
        self.operate(scalar.op, scalar.kind, &kinds, &operands, p.lanes)
    }

    /// A product and a sum in one instruction, where the product has no other use.
    fn fuse(&mut self, m: &Inner<'_>, p: &mut Point, id: ExprId) -> Option<Value> {
        let scalar = &m.expr.scalars[id];
        let (a, b) = (scalar.operands[0], scalar.operands[1]);
        let single = |e: ExprId| {
            let s = &m.expr.scalars[e];
            s.op == ScalarOp::Mul && m.stages.uses[e.index()] == 1
        };
        let minus = scalar.op == ScalarOp::Sub;
        if single(a) {
            let factors = m.expr.scalars[a].operands.clone();
            let (x, y) = (self.eval(m, p, factors[0]), self.eval(m, p, factors[1]));
            let z = self.eval(m, p, b);
            let z = if minus { self.b.ins().fneg(z) } else { z };
            return Some(self.b.ins().fma(x, y, z));
        }
        if single(b) {
            let factors = m.expr.scalars[b].operands.clone();
            let (x, y) = (self.eval(m, p, factors[0]), self.eval(m, p, factors[1]));
            let x = if minus { self.b.ins().fneg(x) } else { x };
            let z = self.eval(m, p, a);
            return Some(self.b.ins().fma(x, y, z));
        }
        None
    }

    fn index(&mut self, m: &Inner<'_>, p: &Point, d: usize, offset: usize) -> Value {
        let last = d >= m.outer.len();
        let i = if last { p.at } else { Num::Run(m.outer[d]) };
        let n = self.add(i, m.offsets[offset]);
        let n = self.value(n);
        let real = self.real();
        let first = self.b.ins().fcvt_from_sint(real, n);
        let v = self.splat(ScalarKind::Real, first, p.lanes);
        if !last || p.lanes == 1 {
            return v;
        }
        let bytes: Vec<u8> = match self.precision {
            Precision::F32 => {
                (0..p.lanes).flat_map(|i| (i as f32).to_le_bytes()).collect()
            }
            Precision::F64 => {
                (0..p.lanes).flat_map(|i| (i as f64).to_le_bytes()).collect()
            }
        };
        let data = self.b.func.dfg.constants.insert(ConstantData::from(bytes));
        let bytes = self.b.ins().vconst(types::I8X16, data);
        let ty = self.kind_type(ScalarKind::Real, p.lanes);
        let steps = self.b.ins().bitcast(ty, little(), bytes);
        self.b.ins().fadd(v, steps)
    }

    /// A constant of this shape.
    fn constant(&mut self, x: f64, lanes: usize) -> Value {
        let v = self.number(x);
        self.splat(ScalarKind::Real, v, lanes)
    }
    /// A float comparison as a condition.
    fn test(&mut self, cc: FloatCC, a: Value, b: Value) -> Value {
        self.b.ins().fcmp(cc, a, b)
    }
    /// `if c then a else b`.
    pub(crate) fn pick(&mut self, c: Value, a: Value, b: Value, lanes: usize) -> Value {
        if lanes == 1 {
            return self.b.ins().select(c, a, b);
        }
        let ty = self.b.func.dfg.value_type(a);
        let same = self.b.func.dfg.value_type(c) == ty;
        let c = if same { c } else { self.b.ins().bitcast(ty, little(), c) };
        self.b.ins().bitselect(c, a, b)
    }

    fn operate(
        &mut self,
        op: ScalarOp,
        kind: ScalarKind,
        kinds: &[ScalarKind],
        x: &[Value],
        lanes: usize,
    ) -> Value {
        match op {
            ScalarOp::Neg => self.b.ins().fneg(x[0]),
            ScalarOp::Abs => self.b.ins().fabs(x[0]),
            ScalarOp::Sqrt => self.b.ins().sqrt(x[0]),
            ScalarOp::Floor => self.b.ins().floor(x[0]),
            ScalarOp::Sign => {
                let (zero, one) = (self.constant(0.0, lanes), self.constant(1.0, lanes));
                let minus = self.constant(-1.0, lanes);
                let above = self.test(FloatCC::GreaterThan, x[0], zero);
                let below = self.test(FloatCC::LessThan, x[0], zero);
                let rest = self.pick(below, minus, x[0], lanes);
                self.pick(above, one, rest, lanes)
            }
            ScalarOp::Not if lanes == 1 => self.b.ins().icmp_imm_s(IntCC::Equal, x[0], 0),
            ScalarOp::Not => self.b.ins().bnot(x[0]),
            ScalarOp::Real => self.real_from(kinds[0], x[0], lanes),
            ScalarOp::Add => self.b.ins().fadd(x[0], x[1]),
            ScalarOp::Sub => self.b.ins().fsub(x[0], x[1]),
            ScalarOp::Mul => self.b.ins().fmul(x[0], x[1]),
            ScalarOp::Div => self.b.ins().fdiv(x[0], x[1]),
            ScalarOp::Rem => {
                let q = self.b.ins().fdiv(x[0], x[1]);
                let q = self.b.ins().floor(q);
                let whole = self.b.ins().fmul(x[1], q);
                self.b.ins().fsub(x[0], whole)
            }
            ScalarOp::Max => {
                let c = self.test(FloatCC::LessThan, x[1], x[0]);
                self.pick(c, x[0], x[1], lanes)
            }
            ScalarOp::Min => {
                let c = self.test(FloatCC::LessThan, x[0], x[1]);
                self.pick(c, x[0], x[1], lanes)
            }
            ScalarOp::Less => self.relate(FloatCC::LessThan, kinds[0], x),
            ScalarOp::LessEqual => self.relate(FloatCC::LessThanOrEqual, kinds[0], x),
            ScalarOp::Equal => self.relate(FloatCC::Equal, kinds[0], x),
            ScalarOp::And => self.b.ins().band(x[0], x[1]),
            ScalarOp::Or => self.b.ins().bor(x[0], x[1]),
            ScalarOp::Select if kind == ScalarKind::Bool && lanes == 1 => {
                self.b.ins().select(x[0], x[1], x[2])
            }
            ScalarOp::Select => self.pick(x[0], x[1], x[2], lanes),
            ScalarOp::Load(_)
            | ScalarOp::Constant(_)
            | ScalarOp::Index(..)
            | ScalarOp::Exp
            | ScalarOp::Log
            | ScalarOp::Sin
            | ScalarOp::Cos
            | ScalarOp::Tanh
            | ScalarOp::Erf
            | ScalarOp::Sigmoid
            | ScalarOp::Softplus
            | ScalarOp::Pow => unreachable!("handled before"),
        }
    }

    fn relate(&mut self, cc: FloatCC, kind: ScalarKind, x: &[Value]) -> Value {
        match (kind, cc) {
            (ScalarKind::Real, _) => self.test(cc, x[0], x[1]),
            (_, FloatCC::LessThan) => {
                self.b.ins().icmp(IntCC::SignedLessThan, x[0], x[1])
            }
            (_, FloatCC::LessThanOrEqual) => {
                self.b.ins().icmp(IntCC::SignedLessThanOrEqual, x[0], x[1])
            }
            (ScalarKind::Int | ScalarKind::Bool, _) => {
                self.b.ins().icmp(IntCC::Equal, x[0], x[1])
            }
        }
    }

    /// A number or condition as a real.
    pub(crate) fn real_from(
        &mut self,
        kind: ScalarKind,
        v: Value,
        lanes: usize,
    ) -> Value {
        let real = self.real();
        match kind {
            ScalarKind::Real => v,
            ScalarKind::Bool => {
                let (zero, one) = (self.constant(0.0, lanes), self.constant(1.0, lanes));
                self.pick(v, one, zero, lanes)
            }
            ScalarKind::Int if lanes == 1 => self.b.ins().fcvt_from_sint(real, v),
            ScalarKind::Int if self.precision == Precision::F32 => {
                let ty = self.kind_type(ScalarKind::Real, lanes);
                self.b.ins().fcvt_from_sint(ty, v)
            }
            ScalarKind::Int => {
                let first = self.extract(ScalarKind::Int, v, 0);
                let first = self.b.ins().fcvt_from_sint(real, first);
                let second = self.extract(ScalarKind::Int, v, 1);
                let second = self.b.ins().fcvt_from_sint(real, second);
                let ty = self.kind_type(ScalarKind::Real, lanes);
                let both = self.b.ins().splat(ty, first);
                self.b.ins().insertlane(both, second, 1)
            }
        }
    }
}

/// Vectors are reinterpreted in lane order.
fn little() -> MemFlagsData {
    MemFlagsData::new().with_endianness(cranelift_codegen::ir::Endianness::Little)
}
