//! A level program as text: what `--emit levels` shows.

use crate::level::{AlgorithmInput, Anchor, Initial, Program, RetentionForm, Statement};
use std::fmt;

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "program {:?} {{", self.name)?;
        for input in &self.inputs {
            writeln!(f, "  in {:?}: {}", input.name, input.ty)?;
        }
        for (id, weight) in self.weights.iter() {
            let dims: Vec<String> = weight.dims.iter().map(ToString::to_string).collect();
            let fixed = if weight.fixed { "fixed " } else { "" };
            write!(
                f,
                "  weight {id} {:?}: [{}] = {fixed}",
                weight.path,
                dims.join(", ")
            )?;
            match &weight.initial {
                Initial::Normal(s) => writeln!(f, "normal({s})")?,
                Initial::Uniform(a) => writeln!(f, "uniform({a})")?,
                Initial::Orthogonal(g) => writeln!(f, "orthogonal({g})")?,
                Initial::Values(graph) => write!(f, "{}", indented(&graph.to_string()))?,
                Initial::From(other) => writeln!(f, "from {other}")?,
            }
        }
        for (id, memory) in self.memories.iter() {
            let map: Vec<String> = memory.map.iter().map(ToString::to_string).collect();
            writeln!(
                f,
                "  memory {id} {:?} for each of [{}] {{",
                memory.path,
                map.join(", ")
            )?;
            for weight in &memory.weights {
                writeln!(f, "    weight {:?} from {}", weight.name, weight.initial)?;
            }
            for kept in &memory.kept {
                writeln!(f, "    keeps {:?}: {}", kept.name, kept.ty)?;
            }
            writeln!(f, "    read {}  }}", indented(&memory.read.to_string()))?;
        }
        for (id, statement) in self.statements.iter() {
            print_statement(f, &format!("{id}"), statement)?;
        }
        write!(f, "  code {}", indented(&self.code.to_string()))?;
        for level in self.levels.node_weights() {
            let learned: usize = level.objectives.iter().map(|o| o.targets.len()).sum();
            write!(f, "  level {:?} at {:?}", level.name, level.clock)?;
            match level.memory {
                Some(memory) => writeln!(f, " is {memory}")?,
                None => writeln!(f, " learns {learned} weights")?,
            }
        }
        writeln!(f, "}}")
    }
}

fn print_statement(
    f: &mut fmt::Formatter<'_>,
    id: &str,
    statement: &Statement,
) -> fmt::Result {
    match statement {
        Statement::Update(update) => {
            writeln!(f, "  statement {id} updates {}", update.memory)?;
            write!(f, "    {}", indented(&update.function.to_string()))
        }
        Statement::Minimize(m) => {
            let anchor = match m.anchor {
                Anchor::Previous => "previous".to_owned(),
                Anchor::Kept => "kept".to_owned(),
                Anchor::Every(n) => format!("every {n} tokens"),
            };
            writeln!(f, "  statement {id} minimises over {} at {anchor}", m.memory)?;
            if m.every > 1 {
                writeln!(f, "    every {} tokens", m.every)?;
            }
            for (objective, by_age) in m.objectives.iter().zip(&m.ages) {
                if m.window > 1 {
                    write!(f, "    over last {} tokens", m.window)?;
                    match by_age {
                        Some(c) => writeln!(f, " weighted by Captured({c})")?,
                        None => writeln!(f)?,
                    }
                }
                write!(f, "    objective {}", indented(&objective.to_string()))?;
            }
            for target in &m.targets {
                let inputs: Vec<String> = target
                    .algorithm
                    .inputs
                    .iter()
                    .map(|i: &AlgorithmInput| format!("{i:?}"))
                    .collect();
                writeln!(f, "    algorithm of ({})", inputs.join(", "))?;
                write!(f, "    {}", indented(&target.algorithm.graph.to_string()))?;
                let Some(retention) = &target.retention else { continue };
                let graphs = match &retention.form {
                    RetentionForm::Keep { keep, read } => {
                        std::iter::once(keep).chain(read).collect::<Vec<_>>()
                    }
                    RetentionForm::Next { next } => vec![next],
                };
                for graph in graphs {
                    write!(f, "    retention {}", indented(&graph.to_string()))?;
                }
            }
            Ok(())
        }
    }
}

fn indented(text: &str) -> String {
    text.replace('\n', "\n    ").trim_end().to_owned() + "\n"
}
