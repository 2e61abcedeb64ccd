//! Runs a level program token by token, one sequence and one memory instance at a time: the
//! definition of what a spec means. It shares no code with the passes; inner gradients are taken
//! by differences, so not even a derivative.

use super::array::Array;
use super::memory::{Instance, place};
use super::past::Past;
use super::tensor::{RunError, evaluate_with};
use crate::artifact::Precision;
use crate::dim::Sizes;
use crate::level::{Anchor, Clock, Program, Reset, Statement, StatementId};
use crate::tensor::{NodeData, Op};
use crate::ty::Elem;
use indexmap::IndexMap;

/// What a run gives: outputs by name `[B, T, ..]`, then final states `state.<short>`.
pub type Results = IndexMap<String, Array>;

/// Runs a program on streams `[B, T, ..]` (and `next.<name>`) and weights, by name and path.
///
/// # Errors
/// Where an input is missing or an op has no meaning here.
pub fn run(
    program: &Program,
    given: &IndexMap<String, Array>,
    sizes: &Sizes,
) -> Result<Results, RunError> {
    let weights: Vec<Array> = program
        .weights
        .values()
        .map(|w| find(given, &[&w.path, &w.short]))
        .collect::<Result<_, _>>()?;
    let mut rows: Vec<Vec<Vec<Array>>> = Vec::new();
    let mut states: Vec<Results> = Vec::new();
    for b in 0..sizes.batch {
        let mut sequence = Sequence::new(program, &weights);
        let mut tokens = Vec::new();
        for t in 0..sizes.time {
            tokens.push(sequence.token(program, given, &weights, (b, t), sizes)?);
        }
        rows.push(tokens);
        states.push(sequence.states(program));
    }
    let mut out = Results::new();
    for (k, output) in program.code.outputs.iter().enumerate() {
        let parts: Vec<Array> = rows.iter().flatten().map(|o| o[k].clone()).collect();
        let lead = vec![sizes.batch, sizes.time];
        out.insert(output.name.clone(), stack(lead, &parts));
    }
    if let Some(first) = states.first() {
        for name in first.keys() {
            let parts: Vec<Array> = states.iter().map(|s| s[name].clone()).collect();
            out.insert(name.clone(), stack(vec![sizes.batch], &parts));
        }
    }
    Ok(out)
}

fn find(given: &IndexMap<String, Array>, names: &[&str]) -> Result<Array, RunError> {
    let found = names.iter().find_map(|n| given.get(*n));
    found.cloned().ok_or_else(|| RunError::Input {
        name: names[0].to_owned(),
        found: "nothing".into(),
        expected: "an array".into(),
    })
}

/// Arrays of one shape under leading dimensions.
fn stack(lead: Vec<usize>, parts: &[Array]) -> Array {
    let elem = parts.first().map_or(Elem::Real, Array::elem);
    let one = parts.first().map_or(vec![], |p| p.dims.clone());
    let mut flat = Array::zeros(elem, [vec![parts.len()], one.clone()].concat());
    for (n, part) in parts.iter().enumerate() {
        flat.place(part, |i| Some(std::iter::once(n).chain(i.iter().copied()).collect()));
    }
    flat.dims = [lead, one].concat();
    flat
}

/// The part of an array at an index of its leading dimensions.
fn part(array: &Array, lead: &[usize]) -> Array {
    let dims = array.dims[lead.len()..].to_vec();
    array.rearranged(dims, |i| Some(lead.iter().chain(i).copied().collect()))
}

/// One batch row.
struct Sequence {
    /// Instances of every memory, row-major over its leading dimensions.
    memories: Vec<Vec<Instance>>,
    /// What each instance's updates have seen, by statement.
    updates: Vec<Vec<IndexMap<usize, Past>>>,
    /// What the code has seen.
    past: Past,
}

impl Sequence {
    fn new(program: &Program, weights: &[Array]) -> Self {
        let memories: Vec<Vec<Instance>> = program
            .memories
            .values()
            .map(|memory| {
                let map: Vec<usize> =
                    memory.map.iter().filter_map(|d| d.fixed()).collect();
                super::array::indices(&map)
                    .map(|at| {
                        let initial = memory
                            .weights
                            .iter()
                            .map(|w| {
                                let all = &weights[place(w.initial)];
                                let shared = all.dims.len() == w.dims.len();
                                if shared { all.clone() } else { part(all, &at) }
                            })
                            .collect();
                        Instance::new(memory, initial)
                    })
                    .collect()
            })
            .collect();
        let updates = memories.iter().map(|m| vec![IndexMap::new(); m.len()]).collect();
        Self { memories, updates, past: Past::default() }
    }

    /// One token: the values of the code's outputs.
    fn token(
        &mut self,
        program: &Program,
        given: &IndexMap<String, Array>,
        weights: &[Array],
        (b, t): (usize, usize),
        sizes: &Sizes,
    ) -> Result<Vec<Array>, RunError> {
        let position = sizes.start + t;
        self.boundaries(program, position, sizes)?;
        let mut inputs = Vec::new();
        for input in &program.inputs {
            let stream = find(given, &[&input.name])?;
            let lead = if input.clock == Clock::Sequence { vec![b] } else { vec![b, t] };
            inputs.push(part(&stream, &lead));
        }
        inputs.extend(weights.iter().cloned());
        let mut past = std::mem::take(&mut self.past);
        let mut hook = |node: &NodeData, x: &[&Array]| {
            if let Some(seen) = past.look(node, x, position, sizes)? {
                return Ok(Some(seen));
            }
            match &node.op {
                Op::Position { .. } => {
                    Ok(Some(vec![Array::real([], vec![position as f64])]))
                }
                Op::When => Ok(Some(vec![x[0].clone()])),
                Op::Next { by } => next(program, given, node, *by, (b, t)).map(Some),
                Op::Read { memory, every, .. } => {
                    let m = place(*memory);
                    let answer = self.read(program, (m, *every), x, position, sizes)?;
                    Ok(Some(vec![answer]))
                }
                Op::Write { statement } => {
                    self.write(program, *statement, x, position, sizes)?;
                    Ok(Some(vec![]))
                }
                _ => Ok(None),
            }
        };
        let code = &program.code;
        let values = evaluate_with(code, &inputs, sizes, Precision::F64, &mut hook)?;
        self.past = past;
        Ok(code.outputs.iter().map(|o| values[place(o.value)].clone()).collect())
    }

    /// Snapshots for every period that an anchor or a read of a memory asks for.
    fn boundaries(
        &mut self,
        program: &Program,
        position: usize,
        sizes: &Sizes,
    ) -> Result<(), RunError> {
        for (id, memory) in program.memories.iter() {
            let mut periods: Vec<usize> = memory.read_at.into_iter().collect();
            for statement in program.statements.values() {
                if let Statement::Minimize(m) = statement
                    && let (Anchor::Every(n), true) = (m.anchor, m.memory == id)
                {
                    periods.push(n);
                }
            }
            for node in program.code.nodes.values() {
                if let Op::Read { memory, every: Some(n), .. } = node.op
                    && memory == id
                {
                    periods.push(n);
                }
            }
            let minimized = program.statements.values().find_map(|s| match s {
                Statement::Minimize(m) if m.memory == id => Some(m),
                Statement::Minimize(_) | Statement::Update(_) => None,
            });
            for instance in &mut self.memories[place(id)] {
                if let Reset::Tokens(n) = memory.reset
                    && position > 0
                    && position.is_multiple_of(n)
                {
                    instance.restart(memory);
                }
                if let Some(m) = minimized {
                    instance.begin(&m.targets, sizes)?;
                }
                instance.at_boundary(position, &periods);
            }
        }
        Ok(())
    }

    fn read(
        &mut self,
        program: &Program,
        (m, every): (usize, Option<usize>),
        x: &[&Array],
        position: usize,
        sizes: &Sizes,
    ) -> Result<Array, RunError> {
        let memory =
            &program.memories[<crate::level::MemoryId as crate::entity::Entity>::new(m)];
        let map: Vec<usize> = memory.map.iter().filter_map(|d| d.fixed()).collect();
        let skip = memory.weights.len() + memory.kept.len();
        let ranks: Vec<usize> = memory.read.inputs[skip..]
            .iter()
            .map(|i| memory.read.ty(i.value).rank())
            .collect();
        let mut answers = Vec::new();
        for (n, at) in super::array::indices(&map).enumerate() {
            let arguments = unmapped(x, &ranks, &at);
            answers.push(
                self.memories[m][n].read(memory, every, &arguments, position, sizes)?,
            );
        }
        Ok(stack(map, &answers))
    }

    fn write(
        &mut self,
        program: &Program,
        number: StatementId,
        x: &[&Array],
        position: usize,
        sizes: &Sizes,
    ) -> Result<(), RunError> {
        let statement = &program.statements[number];
        let id = match statement {
            Statement::Minimize(m) => m.memory,
            Statement::Update(u) => u.memory,
        };
        let memory = &program.memories[id];
        let map: Vec<usize> = memory.map.iter().filter_map(|d| d.fixed()).collect();
        let weights = memory.weights.len();
        let graph = match statement {
            Statement::Minimize(m) => &m.objectives[0],
            Statement::Update(u) => &u.function,
        };
        let ranks: Vec<usize> =
            graph.inputs[weights..].iter().map(|i| graph.ty(i.value).rank()).collect();
        for (n, at) in super::array::indices(&map).enumerate() {
            let captured = unmapped(x, &ranks, &at);
            let instance = &mut self.memories[place(id)][n];
            match statement {
                Statement::Minimize(m) => {
                    instance.minimize((place(number), m), captured, position, sizes)?
                }
                Statement::Update(u) => {
                    let seen = &mut self.updates[place(id)][n];
                    let past = seen.entry(place(number)).or_default();
                    let inputs: Vec<Array> =
                        instance.weights.iter().cloned().chain(captured).collect();
                    let mut hook = |node: &NodeData, x: &[&Array]| {
                        past.look(node, x, position, sizes)
                    };
                    let f = &u.function;
                    let values =
                        evaluate_with(f, &inputs, sizes, Precision::F64, &mut hook)?;
                    let results = f
                        .outputs
                        .iter()
                        .map(|o| values[place(o.value)].clone())
                        .collect();
                    instance.update(u, results);
                }
            }
        }
        Ok(())
    }

    /// Final states of all memories, under their names in `run` files.
    fn states(&self, program: &Program) -> Results {
        let mut out = Results::new();
        for (id, memory) in program.memories.iter() {
            let map: Vec<usize> = memory.map.iter().filter_map(|d| d.fixed()).collect();
            let instances = &self.memories[place(id)];
            let targets = program.statements.values().find_map(|s| match s {
                Statement::Minimize(m) if m.memory == id => Some(&m.targets),
                Statement::Minimize(_) | Statement::Update(_) => None,
            });
            for (w, weight) in memory.weights.iter().enumerate() {
                let mut put = |name: String, of: &dyn Fn(&Instance) -> Option<Array>| {
                    let parts: Option<Vec<Array>> = instances.iter().map(of).collect();
                    if let Some(parts) = parts {
                        out.insert(name, stack(map.clone(), &parts));
                    }
                };
                let short = &weight.short;
                put(format!("state.{short}"), &|i| Some(i.weights[w].clone()));
                put(format!("state.A.{short}"), &|i| i.stored[w].clone());
                let Some(target) = targets.map(|t| &t[w]) else { continue };
                for (s, state) in target.algorithm.states.iter().enumerate() {
                    let name = format!("state.{}.{short}", state.name);
                    put(name, &|i| i.algorithm[w].get(s).cloned());
                }
                let own = target.retention.iter().flat_map(|r| r.states.iter());
                for (s, state) in own.enumerate() {
                    let name = format!("state.{}.{short}", state.name);
                    put(name, &|i| i.retention[w].get(s).cloned());
                }
            }
        }
        out
    }
}

/// Operands of one instance: those that have the memory's leading dimensions are taken apart.
fn unmapped(x: &[&Array], ranks: &[usize], at: &[usize]) -> Vec<Array> {
    x.iter()
        .zip(ranks)
        .map(|(a, &rank)| if a.dims.len() == rank { (*a).clone() } else { part(a, at) })
        .collect()
}

/// The value of an input some tokens ahead: from `next.<name>` where it is given.
fn next(
    program: &Program,
    given: &IndexMap<String, Array>,
    node: &NodeData,
    by: usize,
    (b, t): (usize, usize),
) -> Result<Vec<Array>, RunError> {
    let of = node.operands.first().map(|&v| &program.code.def(v).op);
    let Some(Op::Input { index, .. }) = of else { return Err(RunError::Op("next")) };
    let name = &program.inputs[*index].name;
    if let (1, Some(ahead)) = (by, given.get(&format!("next.{name}"))) {
        return Ok(vec![part(ahead, &[b, t])]);
    }
    Ok(vec![part(&find(given, &[name])?, &[b, t + by])])
}
