//! What a model will be before it is trained: its class and form, its cost, its state, and a
//! normal form by which two texts of the same update are one.

use crate::Program;
use crate::pipeline::{Purpose, derived, forward};
use nestor_ir::dim::Sizes;
use nestor_ir::level::Memory;
use nestor_ir::tensor::{Graph, Op, Stride};
use nestor_passes::PassError;
use nestor_passes::forms::{Form, FormOptions};
use nestor_passes::simplify::simplify;
use sha2::{Digest, Sha256};

/// What is known of a model before it is trained.
#[derive(Clone, PartialEq, Debug)]
pub struct Prediction {
    /// The forms of its walks, the slowest last, without repeats.
    pub forms: Vec<String>,
    /// Numbers that are learned.
    pub parameters: usize,
    /// Bytes of memories' weights, for one sequence.
    pub state_bytes: usize,
    /// Operations of a forward pass, a token.
    pub flops: f64,
    /// The hash of what is computed and learned, whatever it is called.
    pub normal: String,
}

/// Looks ahead at a model for sequences of `time` tokens.
///
/// # Errors
/// Where a pass stops: a limitation, or our fault.
pub fn predict(program: &Program, time: usize) -> Result<Prediction, PassError> {
    let derived = derived(program, false)?;
    let normal = normal_form(program, &derived);
    let purpose = Purpose { resume: false, forms: FormOptions::default() };
    let lowered = forward(program, purpose)?;
    let mut forms: Vec<Form> = lowered.choices.iter().map(|c| c.form).collect();
    forms.sort_by_key(|f| Form::ALL.iter().position(|(g, _)| g == f));
    forms.dedup();
    let sizes = Sizes { batch: 1, time, start: 0 };
    Ok(Prediction {
        forms: forms.into_iter().map(|f| f.name().to_owned()).collect(),
        parameters: parameters(program),
        state_bytes: program.memories.values().map(state_bytes).sum(),
        flops: flops(&lowered.graph, &sizes) / time as f64,
        normal,
    })
}

/// Numbers that are learned.
pub fn parameters(program: &Program) -> usize {
    let learned = program.weights.values().filter(|w| !w.fixed);
    learned.map(|w| w.dims.iter().filter_map(|d| d.fixed()).product::<usize>()).sum()
}

/// Bytes of a memory's weights in float32, for one sequence.
fn state_bytes(memory: &Memory) -> usize {
    let instances: usize = memory.map.iter().filter_map(|d| d.fixed()).product();
    let numbers = |dims: &[nestor_ir::dim::Dim]| {
        dims.iter().filter_map(|d| d.fixed()).product::<usize>()
    };
    4 * instances * memory.weights.iter().map(|w| numbers(&w.dims)).sum::<usize>()
}

/// The derived graph without what is only a name of a state, with how weights start and what is
/// learned how. Equal texts are equal models; equal models may still differ in the order of
/// operations, and then count as two.
fn normal_form(program: &Program, derived: &Graph) -> String {
    let graph = simplify(derived);
    let mut text = nestor_ir::tensor::text::print(&graph);
    for weight in program.weights.values() {
        text.push_str(&format!(
            "{} {:?} {}\n",
            weight.path, weight.initial, weight.fixed
        ));
    }
    for level in program.levels.node_weights() {
        for o in &level.objectives {
            let learned = format!(
                "{:?} {:?} {:?} {:?}\n",
                level.clock, o.targets, o.clip, level.online
            );
            text.push_str(&learned);
        }
    }
    let hash = Sha256::digest(&text);
    hash.iter().take(8).map(|b| format!("{b:02x}")).collect()
}

/// Operations of a graph: two for every multiply-add of a product, one for every other element.
fn flops(graph: &Graph, sizes: &Sizes) -> f64 {
    let mut total = 0.0;
    for node in graph.nodes.values() {
        let elements = |v| {
            let dims = &graph.ty(v).dims;
            dims.iter().map(|d| d.size(sizes) as f64).product::<f64>()
        };
        let results: f64 = node.results.iter().map(|r| elements(*r)).sum();
        total += match &node.op {
            Op::Contract { sum, .. } => {
                let dims = &graph.ty(node.operands[0]).dims;
                let summed = sum.iter().map(|(a, _)| dims[*a].size(sizes) as f64);
                2.0 * results * summed.product::<f64>()
            }
            Op::SolveUnitLower { .. } | Op::Solve => {
                let dims = &graph.ty(node.operands[0]).dims;
                results * dims.last().map_or(1.0, |d| d.size(sizes) as f64)
            }
            Op::Scan { scan } => {
                let walks: f64 = scan.map.iter().map(|d| d.size(sizes) as f64).product();
                let tokens = scan.time.size(sizes) as f64;
                let steps = match scan.stride {
                    Stride::Token => tokens,
                    Stride::Chunk(c) => (tokens / c as f64).ceil(),
                };
                walks * steps * flops(&scan.body, sizes)
            }
            Op::Reduce { .. } => elements(node.operands[0]),
            op if moves(op) => 0.0,
            _ => results,
        };
    }
    total
}

/// Ops that compute nothing.
fn moves(op: &Op) -> bool {
    use nestor_ir::tensor::Group;
    matches!(op.info().group, Group::Leaf | Group::Move | Group::Index | Group::Mark)
}
