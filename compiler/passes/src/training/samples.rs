//! The inputs that met a weight: the rows of the one product `z @ W` it takes part in.
//!
//! ```text
//! before   y = z @ W                       z [B, T, d_in]
//! after    Z = reshape z                   Z [B*T, d_in], a row a token
//! ```

use crate::build::transpose;
use crate::error::PassError;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Axes, Graph, Node, Op, Value};
use nestor_ir::ty::Dims;

/// The inputs of a weight's one product among the first `nodes` nodes, a row a token.
///
/// # Errors
/// Where it takes part in no product or in several, or its inputs are not one a token.
pub(super) fn samples(
    g: &mut Graph,
    nodes: usize,
    weight: Value,
    path: &str,
) -> Result<Value, PassError> {
    let not = |what: &str| {
        PassError::limitation(
            "L-outer-samples",
            format!("`{path}` has no inputs `Z`: it {what}"),
            "use an algorithm without `Z` for it",
        )
    };
    let mut found = None;
    for n in 0..nodes {
        let node = &g.nodes[Node::new(n)];
        if !node.operands.contains(&weight) {
            continue;
        }
        let Op::Contract { batch, sum } = &node.op else {
            return Err(not("takes part in something else than a product `z @ W`"));
        };
        let [(a, b)] = sum[..] else {
            return Err(not("takes part in a product over several dimensions"));
        };
        let left = node.operands[0] == weight;
        let (input, axis, own) =
            if left { (node.operands[1], b, a) } else { (node.operands[0], a, b) };
        if own != 0 || !batch.is_empty() || input == weight {
            return Err(not("takes part in a product from its other side"));
        }
        if found.replace((input, axis)).is_some_and(|f| f != (input, axis)) {
            return Err(not("meets several inputs"));
        }
    }
    let (input, axis) = found.ok_or_else(|| not("takes part in no product"))?;
    let rank = g.ty(input).rank();
    let order: Axes = (0..rank).filter(|&i| i != axis).chain([axis]).collect();
    let rows = transpose(g, input, &order);
    let dims = g.ty(rows).dims.clone();
    if dims[..rank - 1] != [Dim::Batch, Dim::Time] {
        return Err(not("does not meet one input a token"));
    }
    let dims: Dims = [Dim::Samples, dims[rank - 1]].into_iter().collect();
    Ok(g.add(Op::Reshape { dims }, &[rows]))
}
