//! What depends on the state, and no state on it: how much of it leaves the walk.
//!
//! What is computed behind the walk has all processors, but is handed what it takes; the walk has that at hand, and waits. Which of a value's
//! makers stay is the least cut between two sides: those that stay cost as long as the walk waits for them, those that leave cost
//! their work and every value that crosses.

use super::cost::{Rates, own_or_slow, size};
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Graph, NodeData, Scan};
use petgraph::algo::maximum_flow::dinics;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

/// What may not be cut.
const NEVER: u64 = 1 << 40;
/// Costs are whole numbers of this part of one.
const PART: f64 = 16.0;

/// Values of the walk, those that `needed` has among them: which others of `all`, if they depend on the state, stay in it; what is handed over costs
/// `spared` times what it does, for memory's sake.
pub(super) fn staying(
    scan: &Scan,
    rates: &Rates,
    spared: f64,
    [needed, all, carried]: [&[bool]; 3],
) -> Vec<bool> {
    let body = &scan.body;
    let waits = rates.waits(scan);
    let whole = |cost: f64| (PART * cost).min(NEVER as f64 / 2.0) as u64;
    let mut sides: DiGraph<(), u64> = DiGraph::new();
    let (walk, last) = (sides.add_node(()), sides.add_node(()));
    // The vertex of each value's maker: the walk's own where it is in it in any case, nothing where it is no matter.
    let mut maker: Vec<Option<NodeIndex>> = vec![None; body.values.len()];
    let open = |node: &NodeData| {
        node.results.iter().any(|v| {
            let n = v.index();
            carried[n] && all[n] && !needed[n]
        })
    };
    for (v, is_carried) in carried.iter().enumerate() {
        maker[v] = (*is_carried && needed[v]).then_some(walk);
    }
    for node in body.nodes.values().filter(|n| open(n)) {
        let vertex = sides.add_node(());
        let work = own_or_slow(body, node, rates);
        sides.add_edge(walk, vertex, whole(work));
        sides.add_edge(vertex, last, whole(waits * work));
        node.results.iter().for_each(|v| maker[v.index()] = Some(vertex));
    }
    let mut crossing: Vec<Option<NodeIndex>> = vec![None; body.values.len()];
    for node in body.nodes.values().filter(|n| open(n)) {
        let Some(user) = maker[node.results[0].index()] else { continue };
        for operand in &node.operands {
            let Some(from) = maker[operand.index()] else { continue };
            let over = *crossing[operand.index()].get_or_insert_with(|| {
                let over = sides.add_node(());
                sides.add_edge(from, over, whole(spared * 2.0 * size(body, *operand)));
                over
            });
            sides.add_edge(over, user, NEVER);
            // Nothing comes back from the last part.
            if from != walk {
                sides.add_edge(user, from, NEVER);
            }
        }
    }
    let stays = side_of(&sides, walk, last);
    let own = |v: usize| maker[v].is_some_and(|m| stays[m.index()]);
    (0..body.values.len()).map(|v| needed[v] || own(v)).collect()
}

/// Which vertices are on the source's side of the least cut.
fn side_of(sides: &DiGraph<(), u64>, source: NodeIndex, sink: NodeIndex) -> Vec<bool> {
    let (_, flows) = dinics(sides, source, sink);
    let mut reached = vec![false; sides.node_count()];
    let mut open = vec![source];
    while let Some(n) = open.pop() {
        if std::mem::replace(&mut reached[n.index()], true) {
            continue;
        }
        let ahead = sides.edges(n).filter(|e| flows[e.id().index()] < *e.weight());
        open.extend(ahead.map(|e| e.target()));
        let back = sides.edges_directed(n, petgraph::Direction::Incoming);
        open.extend(back.filter(|e| flows[e.id().index()] > 0).map(|e| e.source()));
    }
    reached
}

/// Values of the walk that others take, who are not of it.
pub(super) fn taken(body: &Graph, walked: &[bool], carried: &[bool]) -> Vec<bool> {
    let mut out = vec![false; body.values.len()];
    for node in body.nodes.values() {
        if node.results.iter().all(|v| walked[v.index()] || !carried[v.index()]) {
            continue;
        }
        for o in &node.operands {
            out[o.index()] = walked[o.index()] && carried[o.index()];
        }
    }
    out
}
