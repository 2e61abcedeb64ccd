//! What a memory is, in its coordinates: how it is read, what it minimises, what it keeps, how it
//! learns, and where its gradient is taken.

use super::equation::Writer;
use nestor_compiler::Program;
use nestor_compiler::level::{
    AlgorithmInput, Anchor, Memory, MemoryId, Minimize, RetentionForm, RetentionInput,
    Statement,
};
use nestor_compiler::tensor::Graph;

/// A coordinate with its equations.
pub(super) type Row = (&'static str, Vec<String>);

/// The coordinates of a memory.
pub(super) fn coordinates(program: &Program, id: MemoryId) -> Vec<Row> {
    let memory = &program.memories[id];
    let mut rows = vec![("read", read(memory))];
    for statement in program.statements.values() {
        match statement {
            Statement::Minimize(m) if m.memory == id => minimize(memory, m, &mut rows),
            Statement::Update(u) if u.memory == id => {
                let names = with_operands(weights(memory), &u.function, "x");
                let ahead: Vec<String> =
                    weights(memory).iter().map(|w| format!("{w}′")).collect();
                let kept = memory.kept.iter().map(|k| k.name.clone());
                let outputs: Vec<String> = ahead.into_iter().chain(kept).collect();
                rows.push(("update", equations(&u.function, names, &outputs)));
            }
            Statement::Minimize(_) | Statement::Update(_) => {}
        }
    }
    rows
}

fn minimize(memory: &Memory, m: &Minimize, rows: &mut Vec<Row>) {
    for objective in &m.objectives {
        let names = with_operands(weights(memory), objective, "x");
        rows.push(("bias", equations(objective, names, &["minimise".into()])));
    }
    let at = match m.anchor {
        Anchor::Previous => "at the weights before the update".to_owned(),
        Anchor::Kept => "at what the retention keeps of them".to_owned(),
        Anchor::Every(n) => format!("at the weights of the last boundary of {n} tokens"),
    };
    let often = match m.every {
        1 => String::new(),
        n => format!(", every {n} tokens"),
    };
    rows.push(("gradient", vec![format!("{at}{often}")]));
    for (target, weight) in m.targets.iter().zip(weights(memory)) {
        let states = &target.algorithm.states;
        let named = |input: &AlgorithmInput| match input {
            AlgorithmInput::Gradient => format!("G({weight})"),
            AlgorithmInput::Weight => weight.clone(),
            AlgorithmInput::Anchor => format!("{weight} at the anchor"),
            AlgorithmInput::Count => "n".into(),
            AlgorithmInput::Total => "N".into(),
            AlgorithmInput::Samples => "samples".into(),
            AlgorithmInput::State(k) => states[*k].name.clone(),
            AlgorithmInput::Captured(k) => format!("x{}", k + 1),
        };
        let names = target.algorithm.inputs.iter().map(named).collect();
        let ahead = states.iter().map(|s| format!("{}′", s.name));
        let outputs: Vec<String> = std::iter::once("step".into()).chain(ahead).collect();
        rows.push(("algorithm", equations(&target.algorithm.graph, names, &outputs)));
        let Some(retention) = &target.retention else { continue };
        let named = |input: &RetentionInput| match input {
            RetentionInput::Stored | RetentionInput::Previous => weight.clone(),
            RetentionInput::Step => "step".into(),
            RetentionInput::Initial => format!("{weight} at the start"),
            RetentionInput::State(k) => retention.states[*k].name.clone(),
            RetentionInput::Captured(k) => format!("x{}", k + 1),
        };
        let names: Vec<String> = retention.inputs.iter().map(named).collect();
        let one = |graph: &Graph, name: &str| {
            equations(graph, names.clone(), &[name.to_owned()])
        };
        let lines = match &retention.form {
            RetentionForm::Keep { keep, read } => {
                let seen = read.iter().flat_map(|read| one(read, "seen"));
                one(keep, "keep").into_iter().chain(seen).collect()
            }
            RetentionForm::Next { next } => {
                let ahead = retention.states.iter().map(|s| format!("{}′", s.name));
                let outputs: Vec<String> =
                    std::iter::once(format!("{weight}′")).chain(ahead).collect();
                equations(next, names, &outputs)
            }
        };
        rows.push(("retention", lines));
    }
}

fn read(memory: &Memory) -> Vec<String> {
    let kept = memory.kept.iter().map(|k| k.name.clone());
    let known = weights(memory).into_iter().chain(kept).collect();
    let names = with_operands(known, &memory.read, "q");
    equations(&memory.read, names, &["answer".into()])
}

fn weights(memory: &Memory) -> Vec<String> {
    memory.weights.iter().map(|w| w.name.clone()).collect()
}

/// Names of a graph's inputs: those known, then operands by number.
fn with_operands(mut known: Vec<String>, graph: &Graph, letter: &str) -> Vec<String> {
    let more = graph.inputs.len().saturating_sub(known.len());
    known.extend((1..=more).map(|n| format!("{letter}{n}")));
    known
}

fn equations(graph: &Graph, inputs: Vec<String>, outputs: &[String]) -> Vec<String> {
    let mut writer = Writer::new(graph, inputs);
    for (name, output) in outputs.iter().zip(&graph.outputs) {
        writer.equation(name, output.value);
    }
    writer.lines()
}
