//! What is done to every token alone, in one pass over memory.
//!
//! ```text
//! before   r = reduce{sum (2)} mul x, x;  y = mul (div x, broadcast sqrt r), broadcast gain     x [B, T, D]
//! after    y = scan{map B, chunks of 16 tokens} x, gain { the same of x [16, D] }
//! ```
//!
//! A norm, or a softmax, folds a token's numbers and then takes them again, so that it would go over all tokens once for
//! every fold and once for what follows. Ops that let each token be, and hang together or take the same numbers without another op
//! between them, are the body of a walk without states instead: its chunks are points of a kernel's grid, and what it computes on
//! its way stays in tiles. What of it others need is yielded, or computed there again where that reads no more (`Groups`); of what
//! is summed over all tokens, as for the gradient of a gain, each chunk yields its share. Neighbours are fed as what lies so many
//! tokens away (`schedule::neighbours`), so that a short convolution goes with the norm or the gate behind it.

mod cheap;
mod connected;
mod groups;
mod users;
mod walk;

use crate::build::sum;
use crate::schedule::Calls;
use crate::units::{Remade, remade};
use groups::Groups;
use nestor_ir::tensor::{Graph, Op, Scan, Value};
use walk::walk;

pub(crate) use cheap::Cheap;
pub(crate) use groups::by_tokens;
pub(crate) use users::Users;

/// Tokens of a chunk at most, where calls have many.
const CHUNK: usize = 64;

/// The graph with ops that fold tokens one by one, and what belongs to them, as walks without states.
#[must_use]
pub(crate) fn tokenwise(graph: &Graph, calls: Calls) -> Graph {
    let groups = Groups::of(graph);
    if groups.all.is_empty() {
        return graph.clone();
    }
    let most = if calls == Calls::OfOneToken { 1 } else { CHUNK };
    let walks: Vec<(Scan, Vec<Value>)> =
        groups.all.iter().map(|group| walk(graph, group, most)).collect();
    let takes: Vec<Vec<Value>> = walks.iter().map(|(_, fed)| fed.clone()).collect();
    let mut make = |made: &mut Remade<'_>, n: usize| {
        let (group, (scan, fed)) = (&groups.all[n], &walks[n]);
        let operands: Vec<Value> = fed.iter().map(|v| made.at(*v)).collect();
        let results =
            made.out.add_many(Op::Scan { scan: Box::new(scan.clone()) }, &operands);
        made.named(&group.yields, &results);
        let totals = group.totals.iter().map(|id| graph.nodes[*id].results[0]);
        for (total, shares) in totals.zip(&results[group.yields.len()..]) {
            let value = sum(&mut made.out, *shares, &[1]);
            made.named(&[total], &[value]);
        }
    };
    remade(graph, &groups.of, &takes, &mut make)
}
