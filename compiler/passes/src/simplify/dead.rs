//! Leaves out what nothing uses: nodes, and of a scan the yields, states and operands.
//!
//! ```text
//! before   final, y, z = scan(x, w, init)      only y is used, and y needs neither w nor state
//! after    y = scan(x)
//! ```
//!
//! A state lives where its final value is used, or where the body reads it for something that
//! lives. Inputs of the graph stay: they are its interface.

use nestor_ir::entity::Entity;
use nestor_ir::tensor::graph::Named;
use nestor_ir::tensor::{Feed, Graph, NodeData, Op, Scan, Value};
use smallvec::SmallVec;

/// The graph without what nothing uses.
pub fn prune(graph: &Graph) -> Graph {
    let all = vec![true; graph.inputs.len()];
    let outputs = vec![true; graph.outputs.len()];
    let mut live = Live::nothing(graph);
    live.add(graph, graph.outputs.iter().map(|o| o.value));
    restricted(graph, &all, &outputs, live)
}

/// A scan without what none of its results needs, and the operands that are left.
pub(crate) fn alone(scan: &Scan) -> (Scan, Vec<usize>) {
    let left = cut(scan, vec![true; scan.body.outputs.len()]);
    (left.scan, left.operands)
}

/// What of a scan is left: the scan, the operands kept, the results kept.
struct Left {
    /// The results that it was cut for.
    used: Vec<bool>,
    scan: Scan,
    operands: Vec<usize>,
    results: Vec<usize>,
}

/// Which values are needed for some values; scans already cut down to what is.
struct Live {
    values: Vec<bool>,
    scans: Vec<Option<Left>>,
}

impl Live {
    /// Nothing is needed yet.
    fn nothing(graph: &Graph) -> Self {
        let scans = graph.nodes.iter().map(|_| None).collect();
        Self { values: vec![false; graph.values.len()], scans }
    }

    /// What these values need, too. A scan of which no more is needed than before stays as it was cut: walks within
    /// walks would otherwise be cut again for every one around them.
    fn add(&mut self, graph: &Graph, wanted: impl Iterator<Item = Value>) {
        wanted.for_each(|v| self.values[v.index()] = true);
        for (id, node) in graph.nodes.iter().rev() {
            let used: Vec<bool> =
                node.results.iter().map(|v| self.values[v.index()]).collect();
            if !used.contains(&true) && !acts(node) {
                continue;
            }
            let Op::Scan { scan } = &node.op else {
                node.operands.iter().for_each(|v| self.values[v.index()] = true);
                continue;
            };
            let left = self.scans[id.index()].take().filter(|left| left.used == used);
            let left = left.unwrap_or_else(|| cut(scan, used));
            for &k in &left.operands {
                self.values[node.operands[k].index()] = true;
            }
            self.scans[id.index()] = Some(left);
        }
    }
}

/// Whether the node does something besides giving results.
fn acts(node: &NodeData) -> bool {
    matches!(node.op, Op::Write { .. })
}

/// The graph of some outputs, with some of its inputs.
fn restricted(graph: &Graph, inputs: &[bool], outputs: &[bool], live: Live) -> Graph {
    let Live { values, mut scans } = live;
    let mut out = Graph::new();
    let mut map: Vec<Option<Value>> = vec![None; graph.values.len()];
    // Inputs first, in the order of their numbers.
    for (named, _) in graph.inputs.iter().zip(inputs).filter(|(_, keep)| **keep) {
        let value = out.input(named.name.clone(), graph.ty(named.value).clone());
        out.values[value].name.clone_from(&graph.values[named.value].name);
        map[named.value.index()] = Some(value);
    }
    for (id, node) in graph.nodes.iter() {
        let used = node.results.iter().any(|v| values[v.index()]);
        if matches!(node.op, Op::Input { .. }) || (!used && !acts(node)) {
            continue;
        }
        let mapped = |v: &Value| map[v.index()].unwrap_or(Value::new(0));
        let (op, operands, places): (Op, SmallVec<[Value; 3]>, Vec<usize>) =
            match scans[id.index()].take() {
                Some(left) => (
                    Op::Scan { scan: Box::new(left.scan) },
                    left.operands.iter().map(|&k| mapped(&node.operands[k])).collect(),
                    left.results,
                ),
                None => (
                    node.op.clone(),
                    node.operands.iter().map(mapped).collect(),
                    (0..node.results.len()).collect(),
                ),
            };
        let results = out.add_many(op, &operands);
        for (&place, &to) in places.iter().zip(&results) {
            let from = node.results[place];
            map[from.index()] = Some(to);
            out.values[to].name.clone_from(&graph.values[from].name);
        }
    }
    for (output, _) in graph.outputs.iter().zip(outputs).filter(|(_, keep)| **keep) {
        let value = map[output.value.index()].unwrap_or(Value::new(0));
        out.outputs.push(Named { name: output.name.clone(), value });
    }
    out
}

fn cut(scan: &Scan, used: Vec<bool>) -> Left {
    let states: Vec<usize> = scan.states().collect();
    let inputs = crate::autodiff::body_inputs(scan);
    let mut outputs = used.clone();
    // A state that the body reads must be carried on, which may need other states.
    let mut live = Live::nothing(&scan.body);
    loop {
        let wanted = scan.body.outputs.iter().zip(&outputs).filter(|(_, u)| **u);
        live.add(&scan.body, wanted.map(|(o, _)| o.value));
        let mut grew = false;
        for (k, &s) in states.iter().enumerate() {
            let read = inputs[s].is_some_and(|v| live.values[v.index()]);
            grew |= read && !outputs[k];
            outputs[k] |= read;
        }
        if !grew {
            break;
        }
    }
    let keeps = |k: usize| match scan.feeds[k].0 {
        Feed::Mask | Feed::Reach(_) => true,
        Feed::Initial => states.iter().position(|&s| s == k).is_some_and(|n| outputs[n]),
        Feed::Shared | Feed::Stream | Feed::Step => {
            inputs[k].is_some_and(|v| live.values[v.index()])
        }
    };
    let operands: Vec<usize> = (0..scan.feeds.len()).filter(|&k| keeps(k)).collect();
    let mut fed: Vec<bool> =
        (0..scan.feeds.len()).filter(|&k| inputs[k].is_some()).map(keeps).collect();
    fed.extend([true, true]);
    let yields = scan
        .yields
        .iter()
        .zip(&outputs[states.len()..])
        .filter(|(_, u)| **u)
        .map(|(y, _)| y.clone())
        .collect();
    let cut = Scan {
        map: scan.map.clone(),
        time: scan.time,
        stride: scan.stride,
        reverse: scan.reverse,
        feeds: operands.iter().map(|&k| scan.feeds[k].clone()).collect(),
        yields,
        body: restricted(&scan.body, &fed, &outputs, live),
    };
    let results = (0..outputs.len()).filter(|&k| outputs[k]).collect();
    Left { used, scan: cut, operands, results }
}
