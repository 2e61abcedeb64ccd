//! States that change where they lie: what reads a state as the step found it comes first, so that the next one
//! can be written over it.
//!
//! ```text
//! before   W2 = map W, G;  y = product q, W2;  z = product q, W;  W = copy W2
//! after    z = product q, W;  W = map W, G;  y = product q, W
//! ```
//!
//! The order keeps to that of the graph otherwise. Whether nothing waits for the old value any more is asked
//! when the next one is about to be stored.

use super::elementwise::scalar_op;
use super::lower::{Known, Lower};
use super::store::Touch;
use super::view::View;
use crate::autodiff::state_inputs;
use crate::build::users;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Graph, Node, Op, Scan, Value};
use nestor_ir::tile::Affine;
use rustc_hash::FxHashSet;

/// The nodes of a walk's body, those that read a state before the one that makes it new.
pub(super) fn old_first(scan: &Scan) -> Vec<Node> {
    let body = &scan.body;
    let users = users(body);
    let mut waits: Vec<Vec<Node>> = vec![vec![]; body.nodes.len()];
    for (&input, next) in state_inputs(scan).iter().zip(&body.outputs) {
        let made = body.values[next.value].node;
        if matches!(body.nodes[made].op, Op::Input { .. }) {
            continue;
        }
        let later = reached(body, &users, &body.nodes[made].results, |_| true);
        let readers =
            reached(body, &users, &[input], |n| n != made && waits_for_use(body, n));
        waits[made.index()]
            .extend(readers.into_iter().filter(|n| *n != made && !later.contains(n)));
    }
    ordered(body, &waits)
}

/// Whether a node is computed where its result is used.
fn waits_for_use(body: &Graph, node: Node) -> bool {
    let op = &body.nodes[node].op;
    let moves = matches!(
        op,
        Op::Transpose { .. }
            | Op::Broadcast { .. }
            | Op::Slice { .. }
            | Op::Reshape { .. }
    );
    scalar_op(op).is_some() || moves || *op == Op::Stop
}

/// The nodes that take some values, directly or through nodes that pass them on.
fn reached(
    body: &Graph,
    users: &[Vec<Node>],
    from: &[Value],
    passes: impl Fn(Node) -> bool,
) -> Vec<Node> {
    let mut found: Vec<Node> = Vec::new();
    let mut seen = vec![false; body.nodes.len()];
    let mut open: Vec<Value> = from.to_vec();
    while let Some(value) = open.pop() {
        for &user in &users[value.index()] {
            if !std::mem::replace(&mut seen[user.index()], true) {
                found.push(user);
                if passes(user) {
                    open.extend(body.nodes[user].results.iter().copied());
                }
            }
        }
    }
    found
}

/// Nodes after their operands and, where that goes round in no circle, after those that they wait for.
fn ordered(body: &Graph, waits: &[Vec<Node>]) -> Vec<Node> {
    let mut open: Vec<Node> = body.nodes.keys().collect();
    if waits.iter().all(Vec::is_empty) {
        return open;
    }
    let mut done = vec![false; body.nodes.len()];
    let mut out = Vec::new();
    while !open.is_empty() {
        let there = |n: &Node| {
            let operands = &body.nodes[*n].operands;
            operands.iter().all(|o| done[body.values[*o].node.index()])
        };
        let free =
            |n: &Node| there(n) && waits[n.index()].iter().all(|w| done[w.index()]);
        let next = open.iter().position(free).or_else(|| open.iter().position(there));
        let node = open.remove(next.unwrap_or(0));
        done[node.index()] = true;
        out.push(node);
    }
    out
}

impl Lower<'_> {
    /// The tile of the state that a value is next, where nothing waits for what lies there.
    pub(super) fn place_of_old(&mut self, v: Value) -> Option<View> {
        let tile = self.next_in[v.index()].clone()?;
        if self.touches(v, tile.home, true) == Touch::Elsewhere {
            return None;
        }
        // What takes the value itself finds it stored.
        let before =
            self.known[v.index()].replace(Known::Position { offset: Affine::default() });
        let waited = self.waited_for(v, &tile);
        self.known[v.index()] = before;
        if waited {
            return None;
        }
        self.packs.retain(|(of, _)| of.home != tile.home);
        self.next_in[v.index()] = None;
        Some(tile)
    }

    fn waited_for(&self, v: Value, tile: &View) -> bool {
        let mut seen = FxHashSet::default();
        let mut reads =
            |o: &Value| self.touches_anew(*o, tile.home, false, &mut seen) != Touch::Not;
        let nodes = self.graph.nodes.iter();
        let mut open =
            nodes.filter(|(id, _)| !self.done[id.index()] || self.current == Some(*id));
        let made = self.graph.values[v].node;
        open.any(|(id, node)| id != made && node.operands.iter().any(&mut reads))
            || self
                .graph
                .outputs
                .iter()
                .zip(&self.stored)
                .any(|(o, stored)| !stored && o.value != v && reads(&o.value))
    }
}
