//! What stands around a walk that has no states, computed in it.
//!
//! ```text
//! before   g = sigmoid x;                    a, b = scan{chunks of 64 tokens} g { .. };   y = mul b, broadcast gain
//! after    g, a, y = scan{chunks of 64 tokens} x, gain { g = select valid, sigmoid x, 0;  ..;  y = mul b, broadcast gain }
//! ```
//!
//! The steps of such a walk are points of a kernel's grid (`fission`), each with tokens and mapped dimensions of its own. Gates,
//! norms and moves that let those be (`points`) need not go through memory between one kernel and the next: what makes a
//! walk's streams is computed where they are taken, and yielded where others ask for it; what is made of what a walk yields is
//! computed where that is made (`finder`). Rows that are no tokens are zero, as those of all streams are. Of sums over all
//! tokens, as for the gradient of a gain, each step yields its share.

mod finder;
mod points;
mod region;
mod walk;

use crate::build::{reshape, sum};
use crate::units::{Remade, remade};
use nestor_ir::tensor::{Graph, Op, Value};
use nestor_ir::ty::Dims;
use region::Regions;
use walk::{Fed, Walk, walk};

/// The graph with what stands around walks without states in them.
#[must_use]
pub(crate) fn taken_in(graph: &Graph) -> Graph {
    let regions = Regions::of(graph);
    if regions.all.is_empty() {
        return graph.clone();
    }
    let walks: Vec<Walk> = regions.all.iter().map(|r| walk(graph, r, &regions)).collect();
    let taken = |walk: &Walk| walk.fed.iter().map(|fed| fed.value).collect();
    let takes: Vec<Vec<Value>> = walks.iter().map(taken).collect();
    let mut make = |made: &mut Remade<'_>, n: usize| {
        let (region, walk) = (&regions.all[n], &walks[n]);
        let operands: Vec<Value> =
            walk.fed.iter().map(|fed| laid(made, graph, fed)).collect();
        let op = Op::Scan { scan: Box::new(walk.scan.clone()) };
        let results = made.out.add_many(op, &operands);
        let own = &graph.nodes[region.scan].results;
        made.named(own, &results);
        let behind = &results[own.len()..];
        for (&v, &result) in walk.yields.iter().zip(behind) {
            let value = of_shape(&mut made.out, result, &graph.ty(v).dims);
            made.named(&[v], &[value]);
        }
        for (total, shares) in walk.totals.iter().zip(&behind[walk.yields.len()..]) {
            let value = sum(&mut made.out, *shares, &total.axes);
            let value = of_shape(&mut made.out, value, &graph.ty(total.value).dims);
            made.named(&[total.value], &[value]);
        }
    };
    remade(graph, &regions.of, &takes, &mut make)
}

/// What a walk is fed, laid out as it takes it. What lies some tokens away is so behind that: walks find neighbours in memory.
fn laid(made: &mut Remade<'_>, graph: &Graph, fed: &Fed) -> Value {
    let node = graph.def(fed.value);
    let as_it_is = graph.ty(fed.value).dims == fed.dims;
    match node.op {
        Op::Shift { axis: 1, by } if !as_it_is => {
            let from = made.at(node.operands[0]);
            let from = of_shape(&mut made.out, from, &fed.dims);
            made.out.add(Op::Shift { axis: 1, by }, &[from])
        }
        _ => {
            let value = made.at(fed.value);
            of_shape(&mut made.out, value, &fed.dims)
        }
    }
}

fn of_shape(g: &mut Graph, v: Value, dims: &Dims) -> Value {
    if g.ty(v).dims == *dims { v } else { reshape(g, v, dims) }
}
