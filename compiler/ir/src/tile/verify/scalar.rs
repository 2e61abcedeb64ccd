//! Scalars of a map: operands before users, and the kinds that each operation takes and gives.

use crate::entity::Entity;
use crate::tile::expr::kind_of;
use crate::tile::{Expr, ScalarKind, ScalarOp};
use crate::ty::Elem;

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
        let signature = scalar.op.signature();
        if kinds.len() != signature.operands {
            let (found, count) = (kinds.len(), signature.operands);
            return Err(format!("{id} has {found} operands, not {count}"));
        }
        if let Some(kind) = signature.of.filter(|kind| kinds.iter().any(|k| k != kind)) {
            return Err(format!("{id} takes {kind:?}, not {kinds:?}"));
        }
        if scalar.op == ScalarOp::Equal && kinds[0] != kinds[1] {
            return Err(format!("{id} compares {kinds:?}"));
        }
        let selects = scalar.op == ScalarOp::Select;
        if selects && (kinds[0] != ScalarKind::Bool || kinds[1] != kinds[2]) {
            return Err(format!("{id} selects by and of {kinds:?}"));
        }
        if let ScalarOp::Index(d, o) = scalar.op
            && (d >= rank || o >= expr.offsets.len())
        {
            return Err(format!("{id} is of no dimension {d} or no offset {o}"));
        }
        let given = match scalar.op {
            ScalarOp::Load(n) => match loads.get(n) {
                Some(elem) => kind_of(*elem),
                None => return Err(format!("{id} is of no load {n}")),
            },
            op => op.kind(&kinds).unwrap_or(scalar.kind),
        };
        if scalar.kind != given {
            return Err(format!("{id} is said to be {:?}, not {given:?}", scalar.kind));
        }
    }
    Ok(())
}
