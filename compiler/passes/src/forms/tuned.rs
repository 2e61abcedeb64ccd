//! What somebody measured of a walk: which form and how many tokens a chunk were fastest.
//!
//! A walk is told by what it computes: its program over one token, with all sizes but those of a call. Names are left
//! out, so that alike memories of a model share what was measured, and neither the number of sequences nor
//! their length is in it. What is measured never decides whether a form applies: where it does not, costs choose.

use super::Form;
use nestor_ir::tensor::{Graph, Op, Scan};
use nestor_ir::ty::Type;

/// What was measured to be best of a walk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tuned {
    /// The walk, as [`super::Choice::key`] tells it.
    pub walk: String,
    /// The form; never two passes, which depend on a call.
    pub form: Form,
    /// Tokens of a chunk.
    pub chunk: usize,
}

/// What a walk with operands of these types is told by.
pub(super) fn key(scan: &Scan, types: &[Type]) -> String {
    let mut graph = Graph::new();
    let operands: Vec<_> = types.iter().map(|ty| graph.input("", ty.clone())).collect();
    graph.add_many(Op::Scan { scan: Box::new(nameless(scan)) }, &operands);
    let text = nestor_ir::tensor::text::print(&graph);
    // FNV-1a, twice: the same on every machine and of every version, which the standard hasher does not promise.
    let hash = |start: u64| {
        text.bytes().fold(start, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
    };
    format!("{:016x}{:016x}", hash(0xcbf2_9ce4_8422_2325), hash(0x9e37_79b9_7f4a_7c15))
}

/// The walk without what is only a name.
fn nameless(scan: &Scan) -> Scan {
    let mut scan = scan.clone();
    scan.body = without_names(&scan.body);
    scan
}

fn without_names(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    for value in graph.values.keys() {
        graph.values[value].name = None;
    }
    graph.inputs.iter_mut().chain(&mut graph.outputs).for_each(|n| n.name.clear());
    for node in graph.nodes.keys() {
        if let Op::Scan { scan } = &mut graph.nodes[node].op {
            **scan = nameless(scan);
        }
    }
    graph
}
