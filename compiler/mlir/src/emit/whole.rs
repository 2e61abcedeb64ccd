//! Whole numbers of a map's program: places of its points, and what is added to them, taken from them and compared with them.
//!
//! As reals they would be converted one by one, and compared beside the bounds of accesses that say the same. As whole numbers what is taken
//! from itself is nothing, a place is compared as a bound is, once for both, and all is exact wherever a call begins.

use super::Emit;
use super::build::V;
use super::map::Map;
use super::number::Num;
use melior::dialect::arith::CmpiPredicate;
use nestor_ir::entity::Entity;
use nestor_ir::tile::{Affine, Expr, ExprId, Monomial, Scalar, ScalarKind, ScalarOp};
use smallvec::SmallVec;

/// Numbers below this are whole ones in single precision, too.
const MOST: f64 = 16_777_216.0;

/// A sum of a point's places, as an access has it, and of what cannot be written so.
#[derive(Clone)]
pub(super) struct Whole<'c, 'a> {
    offset: Affine,
    /// By dimension of the map.
    strides: SmallVec<[i64; 4]>,
    rest: Num<'c, 'a>,
}

/// The number that a scalar always is, where it is a whole one and not said when a function is called.
fn number(scalar: &Scalar) -> Option<i64> {
    let ScalarOp::Constant(c) = scalar.op else { return None };
    let negative_zero = c == 0.0 && c.is_sign_negative();
    let whole = c.fract() == 0.0 && c.abs() < MOST && !negative_zero;
    (scalar.kind == ScalarKind::Real && whole).then_some(c as i64)
}

/// Which scalars are whole numbers; `given` are constants that a function is given.
pub(super) fn wholes(expr: &Expr, given: &dyn Fn(ExprId) -> bool) -> Vec<bool> {
    let mut whole: Vec<bool> = Vec::with_capacity(expr.scalars.len());
    let known = |id: ExprId| number(&expr.scalars[id]).filter(|_| !given(id));
    for (id, scalar) in expr.scalars.iter() {
        let all = || scalar.operands.iter().all(|o| whole[o.index()]);
        whole.push(match scalar.op {
            ScalarOp::Index(..) => true,
            ScalarOp::Constant(_) => known(id).is_some(),
            ScalarOp::Neg | ScalarOp::Add | ScalarOp::Sub | ScalarOp::Floor => all(),
            ScalarOp::Mul => all() && scalar.operands.iter().any(|o| known(*o).is_some()),
            // What is left of a negative number is not negative: its last bits.
            ScalarOp::Rem => {
                let by = known(scalar.operands[1]);
                all() && by.is_some_and(|by| by > 0 && by.count_ones() == 1)
            }
            _ => false,
        });
    }
    whole
}

/// Whether a scalar compares whole numbers.
pub(super) fn compares(scalar: &Scalar, whole: &[bool]) -> bool {
    let order = [ScalarOp::Less, ScalarOp::LessEqual, ScalarOp::Equal];
    order.contains(&scalar.op) && scalar.operands.iter().all(|o| whole[o.index()])
}

/// Which scalars someone asks for as what they are, not as the whole numbers that they are too.
pub(super) fn asked(map: Map<'_>, whole: &[bool]) -> Vec<bool> {
    let mut asked = vec![false; whole.len()];
    map.sinks.iter().for_each(|(root, _)| asked[root.index()] = true);
    for (id, scalar) in map.expr.scalars.iter() {
        if !whole[id.index()] && !compares(scalar, whole) {
            scalar.operands.iter().for_each(|o| asked[o.index()] = true);
        }
    }
    asked
}

impl<'c: 'a, 'a> Whole<'c, 'a> {
    fn known(n: i64) -> Self {
        Self { offset: Affine::number(n), strides: SmallVec::new(), rest: Num::Known(0) }
    }

    fn as_number(&self) -> Option<i64> {
        let alone = self.strides.iter().all(|s| *s == 0);
        let rest = matches!(self.rest, Num::Known(0));
        self.offset.as_number().filter(|_| alone && rest)
    }

    /// What of it is known before the kernel runs is taken from it and given: sizes that it is less by.
    fn less_by(&mut self) -> Affine {
        let sizes = |m: &Monomial| m.factor < 0 && m.time + m.whole > 0;
        let mut out = Affine::default();
        for m in self.offset.constant.iter().filter(|m| sizes(m)) {
            out = out.plus(&Affine::from(*m).scaled(-1));
        }
        self.offset = std::mem::take(&mut self.offset).plus(&out);
        out
    }
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// A scalar as a whole number, of its operands.
    pub(super) fn whole(
        &mut self,
        expr: &Expr,
        scalar: &Scalar,
        x: &[&Whole<'c, 'a>],
        point: &[Num<'c, 'a>],
    ) -> Whole<'c, 'a> {
        match scalar.op {
            ScalarOp::Index(d, o) => {
                let mut strides = SmallVec::from_elem(0, d + 1);
                strides[d] = 1;
                let offset = expr.offsets[o].clone();
                Whole { offset, strides, rest: Num::Known(0) }
            }
            ScalarOp::Constant(c) => Whole::known(c as i64),
            ScalarOp::Neg => self.scaled(x[0], -1),
            ScalarOp::Add => self.plus(x[0], x[1]),
            ScalarOp::Sub => {
                let less = self.scaled(x[1], -1);
                self.plus(x[0], &less)
            }
            ScalarOp::Mul => match (x[0].as_number(), x[1].as_number()) {
                (Some(by), _) => self.scaled(x[1], by),
                (None, by) => self.scaled(x[0], by.expect("one of them is known")),
            },
            ScalarOp::Rem => {
                let by = x[1].as_number().expect("it is known");
                let n = self.whole_number(x[0], point);
                let (n, bits) = (self.value(n), self.b.constant(64, by - 1));
                let rest = Num::Run(self.b.two("llvm.and", n, bits));
                Whole { rest, ..Whole::known(0) }
            }
            ScalarOp::Floor => x[0].clone(),
            _ => unreachable!("others are none"),
        }
    }

    fn plus(&mut self, a: &Whole<'c, 'a>, b: &Whole<'c, 'a>) -> Whole<'c, 'a> {
        let count = a.strides.len().max(b.strides.len());
        let of = |w: &Whole<'c, 'a>, d: usize| w.strides.get(d).copied().unwrap_or(0);
        Whole {
            offset: a.offset.clone().plus(&b.offset),
            strides: (0..count).map(|d| of(a, d) + of(b, d)).collect(),
            rest: self.add(a.rest, b.rest),
        }
    }

    fn scaled(&mut self, a: &Whole<'c, 'a>, by: i64) -> Whole<'c, 'a> {
        Whole {
            offset: a.offset.clone().scaled(by),
            strides: a.strides.iter().map(|s| s * by).collect(),
            rest: self.mul(a.rest, Num::Known(by)),
        }
    }

    /// Put together as an access's bound is.
    fn whole_number(&mut self, a: &Whole<'c, 'a>, point: &[Num<'c, 'a>]) -> Num<'c, 'a> {
        let mut n = self.affine(&a.offset);
        for (stride, p) in a.strides.iter().zip(point) {
            let moved = self.mul(Num::Known(*stride), *p);
            n = self.add(n, moved);
        }
        self.add(n, a.rest)
    }

    /// As a real.
    pub(super) fn real_of(
        &mut self,
        a: &Whole<'c, 'a>,
        point: &[Num<'c, 'a>],
    ) -> V<'c, 'a> {
        if let Some(n) = a.as_number() {
            return self.b.real(n as f64);
        }
        let n = self.whole_number(a, point);
        let (n, float) = (self.value(n), self.b.float());
        self.b.cast("llvm.sitofp", n, float)
    }

    /// Whether two whole numbers stand so to one another.
    pub(super) fn compared(
        &mut self,
        op: ScalarOp,
        [a, b]: [&Whole<'c, 'a>; 2],
        point: &[Num<'c, 'a>],
    ) -> V<'c, 'a> {
        // A size that is taken from one is added to the other: a place within a call is compared with its length.
        let (mut a, mut b) = (a.clone(), b.clone());
        let (from_a, from_b) = (a.less_by(), b.less_by());
        a.offset = a.offset.plus(&from_b);
        b.offset = b.offset.plus(&from_a);
        let [a, b] = [&a, &b].map(|x| {
            let n = self.whole_number(x, point);
            self.value(n)
        });
        let how = match op {
            ScalarOp::Less => CmpiPredicate::Slt,
            ScalarOp::LessEqual => CmpiPredicate::Sle,
            _ => CmpiPredicate::Eq,
        };
        self.b.compare_whole(how, a, b)
    }
}
