//! How much work the definition is: every number that a memory or a level learns is moved several times, and the objective taken anew.

use nestor_compiler::Program;
use nestor_compiler::level::{Clock, Statement};
use nestor_compiler::tensor::Graph;
use nestor_compiler::ty::Dims;

/// Times that an objective is taken for every number, about.
const TIMES: f64 = 16.0;

/// Numbers read and written by the definition of so many tokens, about; sizes of streams count as one.
pub(super) fn numbers(program: &Program, tokens: usize) -> f64 {
    let tokens = tokens as f64;
    let statements = program.statements.values().map(|statement| {
        let Statement::Minimize(m) = statement else { return 0.0 };
        let memory = &program.memories[m.memory];
        let learned: f64 = memory.weights.iter().map(|w| size(&w.dims)).sum();
        let taken: f64 = m.objectives.iter().map(once).sum();
        let acts = tokens * m.window as f64 / m.every as f64;
        size(&memory.map) * acts * TIMES * learned * taken
    });
    let reading = program.levels.node_weights().map(|level| {
        let Clock::Tokens(_) = level.clock else { return 0.0 };
        let targets = level.objectives.iter().flat_map(|o| &o.targets);
        let learned: f64 = targets.map(|(w, ..)| size(&program.weights[*w].dims)).sum();
        tokens * TIMES * learned * once(&program.code)
    });
    statements.chain(reading).sum()
}

/// Numbers that one run of a graph reads and writes.
fn once(graph: &Graph) -> f64 {
    let of = |v: &nestor_compiler::tensor::Value| size(&graph.ty(*v).dims);
    let node = |n: &nestor_compiler::tensor::NodeData| -> f64 {
        n.operands.iter().chain(&n.results).map(of).sum()
    };
    graph.nodes.values().map(node).sum()
}

fn size(dims: &Dims) -> f64 {
    dims.iter().map(|d| d.fixed().unwrap_or(1) as f64).product()
}
