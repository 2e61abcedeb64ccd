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
    /// Columns below which a product is not worth its loads.
    pub narrowest: usize,
    /// Where groups of warps multiply.
    pub group: Option<WarpGroup>,
    /// Parts are made also where they do not pay: for tests at sizes at which nothing pays.
    pub always: bool,
}

/// What groups of warps do, where there are such.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct WarpGroup {
    /// Rows and columns that they multiply at once, at least: also columns below which a walk of such products is not worth it.
    pub side: usize,
    /// Rows of what they hold in registers, at most.
    pub most: usize,
    /// Multiplications and additions of such products while one number is moved.
    pub products: f64,
}

impl Rates {
    /// For tests, at whose sizes nothing pays: all that can be parted is.
    pub const ALWAYS: Self = Self {
        products: 100.0,
        others: 6.0,
        processors: 64,
        alone: 2.5,
        sequences: 2,
        narrowest: 2,
        group: None,
        always: true,
    };

    /// Of products with so many rows and columns, and terms.
    fn of(&self, [rows, columns]: [usize; 2], depth: usize) -> f64 {
        let by_groups = |g: &WarpGroup| rows.min(columns).min(depth) >= g.side;
        self.group.filter(by_groups).map_or(self.products, |g| g.products)
    }

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
            2.0 * result * depth as f64 / rates.of(sides(body, node), depth)
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

/// Rows and columns of a product: what only one of its operands has.
pub(super) fn sides(body: &Graph, node: &NodeData) -> [usize; 2] {
    let Op::Contract { batch, sum } = &node.op else { return [0; 2] };
    [0, 1].map(|side| {
        let dims = &body.ty(node.operands[side]).dims;
        let paired = |axis: usize| {
            let own = |p: &(usize, usize)| if side == 0 { p.0 } else { p.1 };
            batch.iter().chain(sum).any(|p| own(p) == axis)
        };
        let free = dims.iter().enumerate().filter(|(axis, _)| !paired(*axis));
        free.filter_map(|(_, d)| d.fixed()).product()
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
