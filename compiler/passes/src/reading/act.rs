//! What a level does at the end of its window: its weights' states, and the update itself.

use super::Reader;
use super::code::not;
use crate::build::{add, broadcast, scalar, select};
use crate::error::PassError;
use crate::training::{acting, window_name};
use nestor_ir::level::{
    AlgorithmInput, Initial, Program, Reset, State, StateInitial, WeightId,
    optimiser_name, retained_name,
};
use nestor_ir::tensor::{Graph, Op, Value};
use nestor_ir::ty::Type;

/// A state of a level that learns while reading.
pub(super) struct Held {
    /// Its name: a weight's path, or what optimisers call it.
    pub(super) name: String,
    /// Its type.
    pub(super) ty: Type,
    /// How it starts.
    starts: Starts,
}

enum Starts {
    /// As the weight starts.
    Weight(WeightId),
    /// As these values.
    Values(Box<Graph>),
    /// At zero: the number of updates.
    Zero,
}

/// Refuses what a level cannot do within a sequence.
pub(super) fn possible(program: &Program, reader: &Reader<'_>) -> Result<(), PassError> {
    if let Some(Reset::Tokens(n)) = reader.level.reset
        && n % reader.period != 0
    {
        return Err(not("it starts again within its window"));
    }
    for (id, algorithm, retention) in
        reader.level.objectives.iter().flat_map(|o| &o.targets)
    {
        let path = &program.weights[*id].path;
        let states = retention.iter().flat_map(|r| &r.states).chain(&algorithm.states);
        let drawn = |s: &State| matches!(&s.initial, StateInitial::Drawn(i) if !matches!(i, Initial::Values(_)));
        if states.into_iter().any(drawn) {
            return Err(not(format!("the algorithm of `{path}` draws how it starts")));
        }
        if algorithm.inputs.contains(&AlgorithmInput::Samples) {
            return Err(not(format!(
                "the algorithm of `{path}` asks for the inputs `Z`"
            )));
        }
    }
    Ok(())
}

/// What a level holds: weights, the states of their algorithms, the number of its updates.
pub(super) fn held(program: &Program, reader: &Reader<'_>) -> Vec<Held> {
    let mut out = Vec::new();
    for (id, algorithm, retention) in
        reader.level.objectives.iter().flat_map(|o| &o.targets)
    {
        let weight = &program.weights[*id];
        let ty = Type::real(weight.dims.iter().copied());
        let starts = Starts::Weight(*id);
        out.push(Held { name: weight.path.clone(), ty, starts });
        let mut states = |all: &[State], name: fn(&str, &str) -> String| {
            for state in all {
                let starts = match &state.initial {
                    StateInitial::Values(graph)
                    | StateInitial::Drawn(Initial::Values(graph)) => {
                        Starts::Values(graph.clone())
                    }
                    StateInitial::Weights
                    | StateInitial::Drawn(_)
                    | StateInitial::Learned(_) => Starts::Weight(*id),
                };
                let ty = Type::real(state.dims.iter().copied());
                out.push(Held { name: name(&state.name, &weight.path), ty, starts });
            }
        };
        states(&algorithm.states, optimiser_name);
        states(retention.as_ref().map_or(&[][..], |r| &r.states), retained_name);
    }
    let name = count(reader);
    out.push(Held { name, ty: Type::real([]), starts: Starts::Zero });
    out
}

fn count(reader: &Reader<'_>) -> String {
    format!("updates.{}", reader.level.name)
}

/// Values by name, of all levels.
#[derive(Clone, Default)]
pub(super) struct Values(Vec<(String, Value)>);

impl Values {
    pub(super) fn get(&self, name: &str) -> Option<Value> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| *v)
    }

    pub(super) fn set(&mut self, name: &str, value: Value) {
        match self.0.iter_mut().find(|(n, _)| n == name) {
            Some((_, v)) => *v = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    pub(super) fn of(&self, name: &str) -> Result<Value, PassError> {
        let found = self.get(name);
        found.ok_or_else(|| PassError::bug("reading", format!("no value `{name}`")))
    }
}

impl Held {
    /// Whether it starts as another weight is at that time.
    pub(super) fn copies(&self, program: &Program) -> bool {
        let from = |id: WeightId| matches!(program.weights[id].initial, Initial::From(_));
        matches!(self.starts, Starts::Weight(id) if from(id))
    }

    /// What it starts as: `now` knows what weights are at that time, `initial` what they are learned to
    /// start as.
    pub(super) fn start(
        &self,
        g: &mut Graph,
        program: &Program,
        now: &Values,
        initial: &Values,
    ) -> Result<Value, PassError> {
        match &self.starts {
            Starts::Zero => Ok(scalar(g, 0.0)),
            Starts::Values(graph) => Ok(g.inline(graph, &[])[0]),
            Starts::Weight(id) => {
                let weight = &program.weights[*id];
                if let Initial::From(source) = weight.initial {
                    let path = &program.weights[source].path;
                    return now.get(path).map_or_else(|| initial.of(path), Ok);
                }
                initial.of(&weight.path)
            }
        }
    }
}

/// The next values of what a level holds, given its gradients by path.
pub(super) fn acted(
    g: &mut Graph,
    program: &Program,
    reader: &Reader<'_>,
    now: &Values,
    gradients: &Values,
) -> Result<Vec<(String, Value)>, PassError> {
    let update = acting(program, reader.level, None)?;
    let name = count(reader);
    let (before, one) = (now.of(&name)?, scalar(g, 1.0));
    let number = add(g, before, one);
    let mut arguments = Vec::new();
    for input in &update.inputs {
        arguments.push(match input.name.as_str() {
            "step" | "steps" => number,
            other => match gradients.get(other) {
                Some(gradient) => gradient,
                None => now.of(other)?,
            },
        });
    }
    let found = g.inline(&update, &arguments);
    let names = update.outputs.iter().map(|o| o.name.clone());
    let mut out: Vec<(String, Value)> = names.zip(found).collect();
    out.retain(|(n, _)| now.get(n).is_some());
    out.push((name, number));
    Ok(out)
}

/// The name under which an update asks for a weight's gradient.
pub(super) fn gradient_name(path: &str) -> String {
    window_name(path)
}

/// `new` where a condition holds, `old` elsewhere.
pub(super) fn where_holds(g: &mut Graph, c: Value, new: Value, old: Value) -> Value {
    if new == old {
        return old;
    }
    let dims = g.ty(old).dims.clone();
    let c = broadcast(g, c, &dims, &[]);
    select(g, c, new, old)
}

/// Row `n` of conditions or numbers `[rows]`, as one.
pub(super) fn row(g: &mut Graph, rows: Value, n: usize) -> Value {
    let one = g.add(Op::Slice { axis: 0, start: n, size: 1 }, &[rows]);
    g.add(Op::Reshape { dims: [].into_iter().collect() }, &[one])
}
