//! Systems of equations whose matrix no state is needed for: solved for the identity, once and away from the walk.
//!
//! ```text
//! before   x = solve_unit_lower l, r            r depends on the state, l does not
//! after    t = solve_unit_lower l, identity;  x = t r
//! ```

use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{AxisPairs, Graph, Op};
use nestor_ir::ty::Type;

/// Equations up to which the inverse of a matrix is as exact as what is done with it.
const LARGEST: usize = 128;

/// The body with such systems as products.
pub(super) fn inverted(body: &Graph, carried: &[bool]) -> Graph {
    body.rebuilt(|r, _, node| {
        let Op::SolveUnitLower { transpose } = &node.op else { return None };
        let [lower, right] = node.operands[..] else { return None };
        let dims = body.ty(lower).dims.clone();
        let small = matches!(dims[..], [Dim::Fixed(n), _] if n <= LARGEST);
        if carried[lower.index()] || !carried[right.index()] || !small {
            return None;
        }
        let (lower, right) = (r.at(lower), r.at(right));
        let g = &mut r.graph;
        let [row, column] =
            [0, 1].map(|axis| g.add(Op::Iota { axis, dims: dims.clone() }, &[]));
        let same = g.add(Op::Equal, &[row, column]);
        let identity = g.add(Op::Real, &[same]);
        debug_assert_eq!(*g.ty(identity), Type::real(dims.iter().copied()));
        let solved = g.add(Op::SolveUnitLower { transpose: false }, &[lower, identity]);
        let sum = AxisPairs::from_elem((usize::from(!transpose), 0), 1);
        let product = Op::Contract { batch: AxisPairs::new(), sum };
        Some(g.add_many(product, &[solved, right]))
    })
}
