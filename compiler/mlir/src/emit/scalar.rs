//! The scalar program of a map at one point.

use super::Emit;
use super::build::V;
use super::map::Map;
use super::number::Num;
use super::whole::{self, Whole};
use melior::dialect::arith::{CmpfPredicate, CmpiPredicate};
use nestor_ir::entity::Entity;
use nestor_ir::tile::{Expr, ExprId, Scalar, ScalarKind, ScalarOp};

/// Whether a quotient must be rounded as it is: the whole part of it is taken, which may be less by one for the least of
/// errors. By powers of two it is a product then, which costs nothing.
fn exact(expr: &Expr, quotient: ExprId) -> bool {
    let by = expr.scalars[quotient].operands[1];
    let simple =
        matches!(expr.scalars[by].op, ScalarOp::Constant(c) if c.log2().fract() == 0.0);
    let mut all = expr.scalars.values();
    simple || all.any(|s| s.op == ScalarOp::Floor && s.operands[0] == quotient)
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// Every scalar's value, by number.
    pub(super) fn scalars(
        &mut self,
        map: Map<'_>,
        point: &[Num<'c, 'a>],
    ) -> Vec<V<'c, 'a>> {
        let given = self.given_of(map.expr);
        let whole = whole::wholes(map.expr, &|id| given.contains(&id));
        let asked = whole::asked(map, &whole);
        let mut wholes: Vec<Option<Whole<'c, 'a>>> = Vec::with_capacity(whole.len());
        let mut values: Vec<V<'c, 'a>> = Vec::with_capacity(whole.len());
        let mut numbers = self.first_number;
        for (id, scalar) in map.expr.scalars.iter() {
            let constant = matches!(scalar.op, ScalarOp::Constant(_));
            if constant && scalar.kind == ScalarKind::Real {
                numbers += 1;
            }
            let of = |o: &ExprId| wholes[o.index()].as_ref().expect("a whole number");
            if whole[id.index()] {
                let x: Vec<&Whole<'c, 'a>> = scalar.operands.iter().map(of).collect();
                let found = self.whole(map.expr, scalar, &x, point);
                values.push(match asked[id.index()] {
                    true => self.real_of(&found, point),
                    // In place of what nobody asks for.
                    false => self.b.real(0.0),
                });
                wholes.push(Some(found));
                continue;
            }
            if whole::compares(scalar, &whole) {
                let both = [of(&scalar.operands[0]), of(&scalar.operands[1])];
                values.push(self.compared(scalar.op, both, point));
                wholes.push(None);
                continue;
            }
            let x: Vec<V<'c, 'a>> =
                scalar.operands.iter().map(|o| values[o.index()]).collect();
            let kinds = scalar.operands.iter().map(|o| map.expr.scalars[*o].kind);
            let first = kinds.clone().next().unwrap_or(ScalarKind::Real);
            let value = match scalar.op {
                ScalarOp::Load(n) => match self.brought.get(n) {
                    Some(brought) => *brought,
                    None => self.load(&map.loads[n], point),
                },
                ScalarOp::Constant(c) => match scalar.kind {
                    ScalarKind::Real => self.real(numbers - 1, c),
                    ScalarKind::Int => self.b.constant(32, c as i64),
                    ScalarKind::Bool => self.b.constant(1, i64::from(c != 0.0)),
                },
                ScalarOp::Div if exact(map.expr, id) => {
                    self.b.two("llvm.fdiv", x[0], x[1])
                }
                op => self.apply(op, &x, first),
            };
            values.push(value);
            wholes.push(None);
        }
        values
    }

    /// Constants of a program that a function is given.
    fn given_of(&self, expr: &Expr) -> Vec<ExprId> {
        let is_real = |(_, s): &(ExprId, &Scalar)| {
            matches!(s.op, ScalarOp::Constant(_)) && s.kind == ScalarKind::Real
        };
        let own = expr.scalars.iter().filter(is_real).zip(self.first_number..);
        let given = |n: usize| self.numbers.iter().any(|(which, _)| *which == n);
        own.filter(|(_, n)| given(*n)).map(|((id, _), _)| id).collect()
    }

    fn apply(&mut self, op: ScalarOp, x: &[V<'c, 'a>], of: ScalarKind) -> V<'c, 'a> {
        match op {
            ScalarOp::Neg => self.b.one("llvm.fneg", x[0]),
            ScalarOp::Abs => self.b.one("llvm.intr.fabs", x[0]),
            ScalarOp::Sign => self.sign(x[0]),
            ScalarOp::Sqrt => self.sqrt(x[0]),
            ScalarOp::Exp => self.exp(x[0]),
            ScalarOp::Log => self.log(x[0]),
            ScalarOp::Sin => self.sin(x[0]),
            ScalarOp::Cos => self.cos(x[0]),
            ScalarOp::Tanh => self.tanh(x[0]),
            ScalarOp::Erf => self.erf(x[0]),
            ScalarOp::Sigmoid => self.sigmoid(x[0]),
            ScalarOp::Softplus => self.softplus(x[0]),
            ScalarOp::Floor => self.b.one("llvm.intr.floor", x[0]),
            ScalarOp::Not => {
                let one = self.b.constant(1, 1);
                self.b.two("llvm.xor", x[0], one)
            }
            ScalarOp::Real => self.number_of(x[0], of),
            ScalarOp::Add => self.b.contracted("llvm.fadd", x[0], x[1]),
            ScalarOp::Sub => self.b.contracted("llvm.fsub", x[0], x[1]),
            ScalarOp::Mul => self.b.contracted("llvm.fmul", x[0], x[1]),
            ScalarOp::Div => self.quotient(x[0], x[1]),
            ScalarOp::Pow => self.pow(x[0], x[1]),
            ScalarOp::Rem => {
                let quotient = self.b.two("llvm.fdiv", x[0], x[1]);
                let whole = self.b.one("llvm.intr.floor", quotient);
                let whole = self.b.one("llvm.fneg", whole);
                self.b.fma(x[1], whole, x[0])
            }
            ScalarOp::Max => self.choose(CmpfPredicate::Oge, x),
            ScalarOp::Min => self.choose(CmpfPredicate::Ole, x),
            ScalarOp::Less => {
                self.relation(CmpfPredicate::Olt, CmpiPredicate::Slt, x, of)
            }
            ScalarOp::LessEqual => {
                self.relation(CmpfPredicate::Ole, CmpiPredicate::Sle, x, of)
            }
            ScalarOp::Equal => {
                self.relation(CmpfPredicate::Oeq, CmpiPredicate::Eq, x, of)
            }
            ScalarOp::And => self.b.two("llvm.and", x[0], x[1]),
            ScalarOp::Or => self.b.two("llvm.or", x[0], x[1]),
            ScalarOp::Select => self.b.select(x[0], x[1], x[2]),
            ScalarOp::Load(_) | ScalarOp::Constant(_) | ScalarOp::Index(..) => {
                unreachable!("they have no operands")
            }
        }
    }

    fn number_of(&mut self, x: V<'c, 'a>, of: ScalarKind) -> V<'c, 'a> {
        let ty = self.b.float();
        match of {
            ScalarKind::Real => x,
            ScalarKind::Int => self.b.cast("llvm.sitofp", x, ty),
            ScalarKind::Bool => self.b.cast("llvm.uitofp", x, ty),
        }
    }

    /// The first where the comparison holds, else the second.
    fn choose(&mut self, how: CmpfPredicate, x: &[V<'c, 'a>]) -> V<'c, 'a> {
        let first = self.b.compare(how, x[0], x[1]);
        self.b.select(first, x[0], x[1])
    }

    fn relation(
        &mut self,
        reals: CmpfPredicate,
        wholes: CmpiPredicate,
        x: &[V<'c, 'a>],
        of: ScalarKind,
    ) -> V<'c, 'a> {
        match of {
            ScalarKind::Real => self.b.compare(reals, x[0], x[1]),
            ScalarKind::Int => self.b.compare_whole(wholes, x[0], x[1]),
            ScalarKind::Bool => {
                let ty = self.b.int(32);
                let [a, b] = [x[0], x[1]].map(|v| self.b.cast("llvm.zext", v, ty));
                self.b.compare_whole(wholes, a, b)
            }
        }
    }
}
