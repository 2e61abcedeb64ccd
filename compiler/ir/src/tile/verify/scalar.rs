//! Scalars of a map: operands before users, and the kinds that each operation takes and gives.

use crate::entity::Entity;
use crate::tile::expr::kind_of;
use crate::tile::{Expr, ScalarKind, ScalarOp};
use crate::ty::Elem;

/// What an operation takes: how many operands, of which kind where that is fixed.
fn taken(op: ScalarOp) -> (usize, Option<ScalarKind>) {
    match op {
        ScalarOp::Load(_) | ScalarOp::Constant(_) | ScalarOp::Index(..) => (0, None),
        ScalarOp::Neg
        | ScalarOp::Abs
        | ScalarOp::Sign
        | ScalarOp::Sqrt
        | ScalarOp::Exp
        | ScalarOp::Log
        | ScalarOp::Sin
        | ScalarOp::Cos
        | ScalarOp::Tanh
        | ScalarOp::Erf
        | ScalarOp::Sigmoid
        | ScalarOp::Softplus
        | ScalarOp::Floor => (1, Some(ScalarKind::Real)),
        ScalarOp::Not => (1, Some(ScalarKind::Bool)),
        ScalarOp::Real => (1, None),
        ScalarOp::Add
        | ScalarOp::Sub
        | ScalarOp::Mul
        | ScalarOp::Div
        | ScalarOp::Pow
        | ScalarOp::Rem
        | ScalarOp::Max
        | ScalarOp::Min
        | ScalarOp::Less
        | ScalarOp::LessEqual => (2, Some(ScalarKind::Real)),
        ScalarOp::And | ScalarOp::Or => (2, Some(ScalarKind::Bool)),
        ScalarOp::Equal => (2, None),
        ScalarOp::Select => (3, None),
    }
}

/// Checks a program over loads of these elements in a map of `rank` dimensions.
pub(super) fn verify(expr: &Expr, loads: &[Elem], rank: usize) -> Result<(), String> {
    for (id, scalar) in expr.scalars.iter() {
        let mut kinds = Vec::new();
        for o in &scalar.operands {
            if o.index() >= id.index() {
                return Err(format!("{id} uses {o}, which comes later"));
            }
            kinds.push(expr.scalars[*o].kind);
        }
        let (count, kind) = taken(scalar.op);
        if kinds.len() != count {
            return Err(format!("{id} has {} operands, not {count}", kinds.len()));
        }
        if let Some(kind) = kind.filter(|kind| kinds.iter().any(|k| k != kind)) {
            return Err(format!("{id} takes {kind:?}, not {kinds:?}"));
        }
        let given = match scalar.op {
            ScalarOp::Load(n) => match loads.get(n) {
                Some(elem) => kind_of(*elem),
                None => return Err(format!("{id} is of no load {n}")),
            },
            ScalarOp::Index(d, o) if d >= rank || o >= expr.offsets.len() => {
                return Err(format!("{id} is of no dimension {d} or no offset {o}"));
            }
            ScalarOp::Constant(_) => scalar.kind,
            ScalarOp::Equal if kinds[0] != kinds[1] => {
                return Err(format!("{id} compares {kinds:?}"));
            }
            ScalarOp::Select if kinds[0] != ScalarKind::Bool || kinds[1] != kinds[2] => {
                return Err(format!("{id} selects by and of {kinds:?}"));
            }
            ScalarOp::Select => kinds[1],
            ScalarOp::Not
            | ScalarOp::Less
            | ScalarOp::LessEqual
            | ScalarOp::Equal
            | ScalarOp::And
            | ScalarOp::Or => ScalarKind::Bool,
            ScalarOp::Index(..)
            | ScalarOp::Neg
            | ScalarOp::Abs
            | ScalarOp::Sign
            | ScalarOp::Sqrt
            | ScalarOp::Exp
            | ScalarOp::Log
            | ScalarOp::Sin
            | ScalarOp::Cos
            | ScalarOp::Tanh
            | ScalarOp::Erf
            | ScalarOp::Sigmoid
            | ScalarOp::Softplus
            | ScalarOp::Floor
            | ScalarOp::Real
            | ScalarOp::Add
            | ScalarOp::Sub
            | ScalarOp::Mul
            | ScalarOp::Div
            | ScalarOp::Pow
            | ScalarOp::Rem
            | ScalarOp::Max
            | ScalarOp::Min => ScalarKind::Real,
        };
        if scalar.kind != given {
            return Err(format!("{id} is said to be {:?}, not {given:?}", scalar.kind));
        }
    }
    Ok(())
}
