//! What operations cost, counted in numbers moved between its memory and its processors.

use crate::autodiff::body_inputs;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Feed, Graph, Group, NodeData, Op, Scan, Value};

/// What a machine does while one number is moved between its memory and its processors, and how many walks it has for them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rates {
    /// Multiplications and additions of products.
    pub products: f64,
    /// Other operations on numbers.
    pub others: f64,
    /// Processors that work at once: those that run blocks of threads, or workers.
    pub processors: usize,
    /// How much longer work takes in a walk than spread over all chunks where walks fill the processors.
    pub alone: f64,
    /// Sequences that are walked at once.
    pub sequences: usize,
    /// Parts are made also where they do not pay: for tests at sizes at which nothing pays.
    pub always: bool,
}

impl Rates {
    /// For tests, at whose sizes nothing pays: all that can be parted is.
    pub const ALWAYS: Self = Self {
        products: 100.0,
        others: 6.0,
        processors: 64,
        alone: 2.5,
        sequences: 2,
        always: true,
    };

    /// How much longer work takes in the walk than spread over all chunks: too few walks leave processors idle.
    pub(super) fn waits(&self, scan: &Scan) -> f64 {
        if self.always {
            return 1e6;
        }
        let walks = self.sequences * walks(scan);
        self.alone * (self.processors as f64 / walks as f64).max(1.0)
    }
}

/// Walks of a sequence.
pub(super) fn walks(scan: &Scan) -> usize {
    scan.map.iter().map(|d| d.fixed().unwrap_or(1)).product::<usize>().max(1)
}

/// Numbers that may be handed over for each that a walk is fed: beyond that, memory would be the limit.
pub(super) const MOST: f64 = 8.0;

/// Numbers that a step of a walk is fed with its tokens.
pub(super) fn streams(scan: &Scan) -> f64 {
    let fed = scan.feeds.iter().zip(body_inputs(scan));
    let by_token = fed.filter(|((feed, _), _)| *feed == Feed::Stream);
    by_token.filter_map(|(_, v)| Some(size(&scan.body, v?))).sum()
}

/// Whether all sizes are known.
pub(super) fn sized(body: &Graph) -> bool {
    body.values.values().all(|v| v.ty.dims.iter().all(|d| d.fixed().is_some()))
}

/// Numbers of a value.
pub(super) fn size(body: &Graph, v: Value) -> f64 {
    body.ty(v).dims.iter().filter_map(|d| d.fixed()).product::<usize>() as f64
}

/// What a node costs; nothing where it is not to be done twice.
pub(super) fn own(body: &Graph, node: &NodeData, rates: &Rates) -> Option<f64> {
    let of = |v: &Value| size(body, *v);
    let result = node.results.iter().map(of).sum::<f64>();
    Some(match (&node.op, node.op.info().group) {
        (Op::Contract { sum, .. }, _) if !sum.is_empty() => {
            let dims = &body.ty(node.operands[0]).dims;
            let depth: usize = sum.iter().filter_map(|&(a, _)| dims[a].fixed()).product();
            2.0 * result * depth as f64 / rates.products
        }
        (Op::Exp | Op::Log | Op::Sin | Op::Cos | Op::Tanh | Op::Erf, _)
        | (Op::Sigmoid | Op::Softplus | Op::Pow, _) => 8.0 * result / rates.others,
        (_, Group::Leaf | Group::Mark) => 0.0,
        (Op::Reshape { .. } | Op::Transpose { .. }, _)
        | (Op::Broadcast { .. } | Op::Slice { .. }, _) => 0.0,
        (
            _,
            Group::Unary | Group::Binary | Group::Select | Group::Move | Group::Contract,
        ) => result / rates.others,
        (_, Group::Reduce) => node.operands.iter().map(of).sum::<f64>() / rates.others,
        (_, Group::Index | Group::Solve | Group::Control | Group::Token) => return None,
    })
}

/// What the nodes of some values cost together.
pub(super) fn work(body: &Graph, rates: &Rates, which: &dyn Fn(usize) -> bool) -> f64 {
    let of = |node: &NodeData| match node.results.iter().any(|v| which(v.index())) {
        false => 0.0,
        true => own_or_slow(body, node, rates),
    };
    body.nodes.values().map(of).sum()
}

/// What a node costs, also where it is not to be done twice.
pub(super) fn own_or_slow(body: &Graph, node: &NodeData, rates: &Rates) -> f64 {
    own(body, node, rates).unwrap_or_else(|| slow(body, node, rates))
}

/// What is done row by row or step by step: threads wait for one another (a guess).
fn slow(body: &Graph, node: &NodeData, rates: &Rates) -> f64 {
    let results = node.results.iter().map(|v| size(body, *v)).sum::<f64>();
    let rows = body.ty(node.operands[0]).dims.last().and_then(|d| d.fixed()).unwrap_or(1);
    4.0 * results * rows as f64 / rates.others
}
