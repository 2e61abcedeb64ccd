//! Where values stop being finite: programs that give everything on the way as outputs, each with
//! its place in the model.
//!
//! A value belongs to the last weight, in the order of the model, that it is made of: what comes
//! out of a layer before the next layer has touched it.

use crate::native::{NativeError, artifact};
use crate::pipeline::{Purpose, forward, with_gradients};
use nestor_ir::artifact::{Artifact, Precision};
use nestor_ir::entity::Entity;
use nestor_ir::level::{Program, WeightId};
use nestor_ir::tensor::{Graph, Group, Op};
use nestor_ir::ty::Elem;
use nestor_passes::simplify::prune;

/// A value that is looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spot {
    /// The output that holds it.
    pub output: String,
    /// What it is, in words.
    pub what: String,
    /// The level that it is learned at.
    pub level: Option<String>,
    /// The memory that it belongs to.
    pub memory: Option<String>,
    /// Values of minus infinity are meant: they hide what is not to be seen.
    pub masked: bool,
}

/// A program with the values to look at, in the order of the model.
pub struct Probe {
    /// Streams and weights in, spots out.
    pub artifact: Artifact,
    /// The spots.
    pub spots: Vec<Spot>,
}

/// Everything that is computed on the way from tokens to the loss.
///
/// # Errors
/// Where a pass or the backend stops.
pub fn forward_probe(program: &Program) -> Result<Probe, NativeError> {
    let mut g = forward(program, Purpose::default())?.graph;
    let answers = needed(&g, |name| !name.starts_with("loss"));
    let mut place: Vec<Option<WeightId>> = vec![None; g.values.len()];
    let mut masked = vec![false; g.values.len()];
    let mut spots = Vec::new();
    let mut outputs = Vec::new();
    for node in g.nodes.values() {
        let own = match &node.op {
            Op::Input { index, .. } => weight(program, &g.inputs[*index].name),
            _ => node.operands.iter().filter_map(|v| place[v.index()]).max(),
        };
        let hides = match &node.op {
            Op::Constant { value, .. } => *value == f64::NEG_INFINITY,
            Op::Exp => false,
            _ => node.operands.iter().any(|v| masked[v.index()]),
        };
        let computed = !matches!(
            node.op.info().group,
            Group::Leaf | Group::Move | Group::Index | Group::Mark | Group::Token
        );
        for &v in &node.results {
            place[v.index()] = own;
            masked[v.index()] = hides;
            if !computed || g.ty(v).elem != Elem::Real {
                continue;
            }
            let output = spots.len().to_string();
            let spot = spot_of(program, own, answers[v.index()], hides, output.clone());
            spots.push(spot);
            outputs.push((output, v));
        }
    }
    g.outputs.clear();
    for (name, value) in outputs {
        g.output(name, value);
    }
    Ok(Probe { artifact: artifact(&prune(&g), Precision::F32)?, spots })
}

/// The gradients of the loss by every weight that is learned; `grad.loss` in.
///
/// # Errors
/// Where a pass or the backend stops.
pub fn gradient_probe(program: &Program) -> Result<Probe, NativeError> {
    let mut g = with_gradients(program, Purpose::default(), &["loss"])?.graph;
    let learned = |name: &str| {
        let id = weight(program, name.strip_prefix("grad.")?)?;
        (!program.weights[id].fixed).then_some(id)
    };
    let mut found: Vec<(WeightId, String)> = g
        .outputs
        .iter()
        .filter_map(|o| Some((learned(&o.name)?, o.name.clone())))
        .collect();
    found.sort_by_key(|(id, _)| *id);
    g.outputs.retain(|o| learned(&o.name).is_some());
    let spots = found.into_iter().map(|(id, output)| Spot {
        output,
        what: format!("the gradient of `{}`", program.weights[id].path),
        ..weight_spot(program, id)
    });
    let spots = spots.collect();
    Ok(Probe { artifact: artifact(&prune(&g), Precision::F32)?, spots })
}

/// The place of a weight or optimiser state of this path.
pub fn weight_place(program: &Program, path: &str) -> Option<Spot> {
    let path = path.strip_prefix("window.").unwrap_or(path);
    let of = path.strip_prefix("optimiser.");
    let id = match of {
        None => weight(program, path)?,
        Some(rest) => weight(program, rest.split_once('.')?.1)?,
    };
    Some(Spot { what: format!("`{path}`"), ..weight_spot(program, id) })
}

fn weight(program: &Program, path: &str) -> Option<WeightId> {
    program.weights.iter().find(|(_, w)| w.path == path).map(|(id, _)| id)
}

fn weight_spot(program: &Program, id: WeightId) -> Spot {
    let learns = program.levels.node_weights().find(|level| {
        let mut targets = level.objectives.iter().flat_map(|o| &o.targets);
        targets.any(|t| t.0 == id)
    });
    let memory = program.weights[id].memory;
    Spot {
        output: String::new(),
        what: String::new(),
        level: learns.map(|level| level.name.clone()),
        memory: memory.map(|m| program.memories[m].path.clone()),
        masked: false,
    }
}

fn spot_of(
    program: &Program,
    place: Option<WeightId>,
    answers: bool,
    masked: bool,
    output: String,
) -> Spot {
    let nowhere = Spot {
        output: output.clone(),
        what: "the loss".into(),
        level: None,
        memory: None,
        masked,
    };
    let Some(id) = place.filter(|_| answers) else { return nowhere };
    let spot = Spot { output, masked, ..weight_spot(program, id) };
    let path = &program.weights[id].path;
    let layer = path.rsplit_once('.').map_or(path.as_str(), |(layer, _)| layer);
    let own = spot.memory.clone().and_then(|memory| {
        let mut levels = program.levels.node_weights();
        levels.find(|l| l.memory.is_some_and(|m| program.memories[m].path == memory))
    });
    match own {
        // A memory is a level of its own.
        Some(level) => Spot {
            what: format!("the state or the answer of `{layer}`"),
            level: Some(level.name.clone()),
            ..spot
        },
        None => Spot { what: format!("the output of `{layer}`"), ..spot },
    }
}

/// Which values the outputs of these names are made of.
fn needed(g: &Graph, outputs: impl Fn(&str) -> bool) -> Vec<bool> {
    let mut out = vec![false; g.values.len()];
    for output in g.outputs.iter().filter(|o| outputs(&o.name)) {
        out[output.value.index()] = true;
    }
    for node in g.nodes.values().rev() {
        if node.results.iter().any(|v| out[v.index()]) {
            node.operands.iter().for_each(|v| out[v.index()] = true);
        }
    }
    out
}
