//! A walk with what stands around it in its body.

use super::points::{Points, Take};
use super::region::{Region, Regions};
use crate::build::{broadcast, dims, every_step, select_or_zero, sum};
use crate::fission::copy;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::infer::seen_by_body;
use nestor_ir::tensor::{Axis, Feed, Graph, Layout, Node, Op, Scan, Value, Yield};
use nestor_ir::ty::{Dims, Type};
use rustc_hash::FxHashMap;

/// A value that a walk is fed, and the shape in which it takes it.
#[derive(Clone, PartialEq)]
pub(super) struct Fed {
    pub(super) value: Value,
    pub(super) dims: Dims,
}

/// A sum of the graph, and the axes of the shares over which it is one.
pub(super) struct Total {
    pub(super) value: Value,
    pub(super) axes: Vec<usize>,
}

/// The walk with what it is fed, and what it gives behind its own results.
pub(super) struct Walk {
    pub(super) scan: Scan,
    pub(super) fed: Vec<Fed>,
    pub(super) yields: Vec<Value>,
    pub(super) totals: Vec<Total>,
}

/// Builds it.
pub(super) fn walk(graph: &Graph, region: &Region, all: &Regions) -> Walk {
    let node = &graph.nodes[region.scan];
    let Op::Scan { scan } = &node.op else { unreachable!("regions are of walks") };
    let mut made = Made {
        graph,
        region,
        scan: Scan {
            feeds: vec![],
            yields: vec![],
            body: Graph::new(),
            ..(**scan).clone()
        },
        fed: vec![],
        map: FxHashMap::default(),
    };
    let mut inputs = Vec::new();
    for ((v, (feed, layout)), input) in
        node.operands.iter().zip(&scan.feeds).zip(&scan.body.inputs)
    {
        let fed = Fed { value: *v, dims: graph.ty(*v).dims.clone() };
        let outside = !made.is_made(*v);
        inputs.push(outside.then(|| made.feed(fed, *feed, layout.clone(), &input.name)));
    }
    for id in &region.nodes {
        made.feed_node(*id);
    }
    let own = &scan.body.inputs[scan.feeds.len()..];
    let own: Vec<Value> = own
        .iter()
        .map(|i| made.scan.body.input(i.name.clone(), scan.body.ty(i.value).clone()))
        .collect();
    let valid = own[0];
    let (before, behind): (Vec<Node>, Vec<Node>) =
        region.nodes.iter().copied().partition(|id| *id < region.scan);
    before.iter().for_each(|id| made.node(*id));
    let streams: Vec<Value> = node
        .operands
        .iter()
        .zip(&inputs)
        .map(|(v, input)| input.unwrap_or_else(|| made.stream(*v, valid)))
        .chain(own)
        .collect();
    let results = made.body(&scan.body, &streams);
    for ((v, result), (kind, layout)) in
        node.results.iter().zip(results).zip(&scan.yields)
    {
        made.map.insert(*v, result);
        made.give(result, *kind, layout.clone());
    }
    behind.iter().for_each(|id| made.node(*id));
    let unit = all.number(region);
    let results = region.nodes.iter().filter(|id| all.of[id.index()] == Some(unit));
    let results = results.map(|id| graph.nodes[*id].results[0]);
    let yields: Vec<Value> = results.filter(|v| all.is_asked(*v, unit)).collect();
    for v in &yields {
        let layout = region.points.layout(&region.rests[v]);
        made.give(made.map[v], Yield::Stream, layout);
    }
    let totals = region.totals.iter().map(|id| made.total(*id, valid)).collect();
    Walk { scan: made.scan, fed: made.fed, yields, totals }
}

/// How many tensors the kernel of a walk would touch.
pub(super) fn buffers(graph: &Graph, region: &Region, all: &Regions) -> usize {
    let Walk { fed, yields, totals, .. } = walk(graph, region, all);
    let unit = all.number(region);
    let own = graph.nodes[region.scan].results.iter();
    let own = own.filter(|v| all.is_asked(**v, unit)).count();
    fed.len() + own + yields.len() + totals.len()
}

/// A walk as it is built.
struct Made<'g> {
    graph: &'g Graph,
    region: &'g Region,
    scan: Scan,
    fed: Vec<Fed>,
    /// What stands in the body for values around it.
    map: FxHashMap<Value, Value>,
}

impl Made<'_> {
    fn points(&self) -> &Points {
        &self.region.points
    }

    /// Whether a node of the region makes a value.
    fn is_made(&self, v: Value) -> bool {
        self.region.nodes.binary_search(&self.graph.values[v].node).is_ok()
    }

    /// What the body sees of what is fed; once, however often it is taken.
    fn feed(&mut self, fed: Fed, feed: Feed, layout: Layout, name: &str) -> Value {
        let there = self
            .fed
            .iter()
            .zip(&self.scan.feeds)
            .position(|(f, known)| *f == fed && *known == (feed, layout.clone()));
        if let Some(n) = there {
            return self.scan.body.inputs[n].value;
        }
        let ty = Type { elem: self.graph.ty(fed.value).elem, dims: fed.dims.clone() };
        let ty = seen_by_body(&self.scan, feed, &layout, &ty);
        self.scan.feeds.push((feed, layout));
        self.fed.push(fed);
        self.scan.body.input(name, ty)
    }

    /// Feeds what a node of the region takes and no other makes.
    fn feed_node(&mut self, id: Node) {
        for (v, take) in self.takes(id) {
            let constant = matches!(self.graph.def(v).op, Op::Constant { .. });
            if let Some((fed, feed, layout)) =
                self.outside(v, &take).filter(|_| !constant)
            {
                let name = self.graph.values[v].name.clone().unwrap_or_default();
                self.feed(fed, feed, layout, &name);
            }
        }
    }

    fn takes(&self, id: Node) -> Vec<(Value, Take)> {
        let node = &self.graph.nodes[id];
        let rest = &self.region.rests[&node.results[0]];
        let local =
            self.points().local(self.graph, node, rest).expect("it is of the region");
        node.operands.iter().copied().zip(local.takes).collect()
    }

    /// How a value is fed; nothing where steps make it.
    fn outside(&self, value: Value, take: &Take) -> Option<(Fed, Feed, Layout)> {
        let (dims, layout) = match take {
            Take::Own(_) if self.region.rests.contains_key(&value) => return None,
            Take::Own(rest) => (self.points().whole(rest), self.points().layout(rest)),
            Take::Fed(dims, layout) => (dims.clone(), layout.clone()),
        };
        let feed = if layout.contains(&Axis::Time) { Feed::Stream } else { Feed::Shared };
        Some((Fed { value, dims }, feed, layout))
    }

    /// Adds a node whose operands are there.
    fn node(&mut self, id: Node) {
        let node = &self.graph.nodes[id];
        let result = node.results[0];
        let rest = &self.region.rests[&result];
        let local =
            self.points().local(self.graph, node, rest).expect("it is of the region");
        let mut operands = Vec::new();
        for (v, take) in self.takes(id) {
            operands.push(match (self.outside(v, &take), &self.graph.def(v).op) {
                (None, _) => self.map[&v],
                (Some((fed, feed, layout)), Op::Constant { value, ty }) => {
                    let ty = Type { elem: ty.elem, dims: fed.dims };
                    let ty = seen_by_body(&self.scan, feed, &layout, &ty);
                    self.scan.body.add(Op::Constant { value: *value, ty }, &[])
                }
                (Some((fed, feed, layout)), _) => self.feed(fed, feed, layout, ""),
            });
        }
        let made = match local.op {
            Some(op) => self.scan.body.add(op, &operands),
            None => operands[0],
        };
        let name = &mut self.scan.body.values[made].name;
        if name.is_none() {
            name.clone_from(&self.graph.values[result].name);
        }
        self.map.insert(result, made);
    }

    /// A stream that the body makes itself: zero where there are no tokens, as others are.
    fn stream(&mut self, v: Value, valid: Value) -> Value {
        self.there(self.map[&v], valid)
    }

    /// A value of every row, zero where that is no token.
    fn there(&mut self, x: Value, valid: Value) -> Value {
        let body = &mut self.scan.body;
        let rows = broadcast(body, valid, &dims(body, x), &[0]);
        select_or_zero(body, rows, x)
    }

    /// Copies a body; gives its outputs.
    fn body(&mut self, from: &Graph, inputs: &[Value]) -> Vec<Value> {
        let mut known = vec![None; from.values.len()];
        copy(from, inputs, &mut known, &mut self.scan.body);
        let at = |v: Value| known[v.index()].expect("a value of the body");
        from.outputs.iter().map(|o| at(o.value)).collect()
    }

    fn give(&mut self, v: Value, kind: Yield, layout: Layout) {
        let name = format!("y{}", self.scan.yields.len());
        self.scan.body.output(name, v);
        self.scan.yields.push((kind, layout));
    }

    /// Yields a step's share of a sum over all tokens.
    fn total(&mut self, id: Node, valid: Value) -> Total {
        let node = &self.graph.nodes[id];
        let Op::Reduce { axes, .. } = &node.op else { unreachable!("totals are sums") };
        let rank = self.points().rank();
        let x = self.map[&node.operands[0]];
        let x = self.there(x, valid);
        let behind = axes.iter().filter(|a| **a >= rank).map(|a| a - rank + 1);
        let own: Vec<usize> = std::iter::once(0).chain(behind).collect();
        let share = sum(&mut self.scan.body, x, &own);
        let layout = every_step(&self.scan, self.scan.body.ty(share).rank());
        self.give(share, Yield::Step, layout);
        // Steps come behind what is mapped.
        let mapped = axes.iter().filter(|a| **a > 1 && **a < rank).map(|a| a - 1);
        let mut axes: Vec<usize> = mapped.chain([rank - 1]).collect();
        axes.sort_unstable();
        Total { value: node.results[0], axes }
    }
}
