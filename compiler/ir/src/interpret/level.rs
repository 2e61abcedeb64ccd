//! Runs a level program token by token, one sequence and one memory instance at a time: the
//! definition of what a spec means. It shares no code with the passes; inner gradients are taken
//! by differences, so not even a derivative.
//!
//! What happens every N tokens happens at the last of them, in its place in the text; what happens
//! once a sequence, after its last token. Where something is known of the whole sequence from its
//! start, the tokens are walked again with that in hand.

use super::array::Array;
use super::course::{Course, History};
use super::memory::{Instance, place};
use super::past::Past;
use super::reading::{self, Reader, Text};
use super::tensor::{RunError, evaluate_with, results_of};
use crate::artifact::Precision;
use crate::dim::Sizes;
use crate::level::{
    Anchor, Clock, MemoryId, Program, Reset, StateInitial, Statement, StatementId,
    WeightId,
};
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
    let course = Course::new(program)?;
    let mut rows: Vec<Vec<Vec<Array>>> = vec![vec![]; program.code.outputs.len()];
    let mut states: Vec<Results> = Vec::new();
    for b in 0..sizes.batch {
        if reading::asked(program) {
            let text = Text { program, given, sizes, b };
            let mut reader = Reader::new(program, &weights, sizes);
            let mut tokens = Vec::new();
            for t in 0..sizes.time {
                tokens.push(reader.token(&text, t, None, true)?);
            }
            for (row, output) in rows.iter_mut().zip(&program.code.outputs) {
                let at = place(output.value);
                row.push(tokens.iter().map(|values| values[at].clone()).collect());
            }
            let mut held = reader.sequence.states(program);
            held.extend(reader.states(program));
            states.push(held);
            continue;
        }
        let mut sequence = Sequence::new(program, &weights, sizes);
        sequence.walk(program, &course, given, &weights, b)?;
        for (row, output) in rows.iter_mut().zip(&program.code.outputs) {
            row.push(sequence.history.all(&course, output.value));
        }
        states.push(sequence.states(program));
    }
    let mut out = Results::new();
    for (row, output) in rows.iter().zip(&program.code.outputs) {
        let parts: Vec<Array> = row.iter().flatten().cloned().collect();
        let lead = course.clocks[place(output.value)].lead(sizes);
        let one = program.code.ty(output.value);
        let dims: Vec<usize> = one.dims.iter().map(|d| d.size(sizes)).collect();
        let mut stacked = stack(lead.clone(), &parts);
        if parts.is_empty() {
            stacked = Array::zeros(one.elem, [lead, dims].concat());
        }
        out.insert(output.name.clone(), stacked);
    }
    if let Some(first) = states.first() {
        for name in first.keys() {
            let parts: Vec<Array> = states.iter().map(|s| s[name].clone()).collect();
            out.insert(name.clone(), stack(vec![sizes.batch], &parts));
        }
    }
    Ok(out)
}

pub(super) fn find(
    given: &IndexMap<String, Array>,
    names: &[&str],
) -> Result<Array, RunError> {
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
pub(super) fn part(array: &Array, lead: &[usize]) -> Array {
    let dims = array.dims[lead.len()..].to_vec();
    array.rearranged(dims, |i| Some(lead.iter().chain(i).copied().collect()))
}

/// One batch row.
#[derive(Clone)]
pub(super) struct Sequence {
    /// Instances of every memory, row-major over its leading dimensions.
    memories: Vec<Vec<Instance>>,
    /// What each instance's updates have seen, by statement.
    updates: Vec<Vec<IndexMap<usize, Past>>>,
    /// What the code has seen.
    pub(super) past: Past,
    /// All values so far.
    history: History,
    sizes: Sizes,
}

/// Where a node is evaluated: its row, and the last token so far.
#[derive(Clone, Copy)]
struct At {
    row: usize,
    token: usize,
}

impl Sequence {
    pub(super) fn new(program: &Program, weights: &[Array], sizes: &Sizes) -> Self {
        let memories: Vec<Vec<Instance>> = program
            .memories
            .iter()
            .map(|(id, memory)| {
                let map: Vec<usize> =
                    memory.map.iter().filter_map(|d| d.fixed()).collect();
                super::array::indices(&map)
                    .map(|at| {
                        let own = |id: WeightId, rank: usize| {
                            let all = &weights[place(id)];
                            if all.dims.len() == rank {
                                all.clone()
                            } else {
                                part(all, &at)
                            }
                        };
                        let starts = memory.weights.iter();
                        let initial = starts.map(|w| own(w.initial, w.dims.len()));
                        let learned = learned(program, id);
                        let learned = learned.map(|(id, rank)| (id, own(id, rank)));
                        Instance::new(memory, initial.collect(), learned.collect())
                    })
                    .collect()
            })
            .collect();
        let updates = memories.iter().map(|m| vec![IndexMap::new(); m.len()]).collect();
        let history = History::new(&program.code, *sizes);
        Self { memories, updates, past: Past::default(), history, sizes: *sizes }
    }

    /// All tokens, as often as something is known ahead.
    fn walk(
        &mut self,
        program: &Program,
        course: &Course,
        given: &IndexMap<String, Array>,
        weights: &[Array],
        row: usize,
    ) -> Result<(), RunError> {
        let nodes = program.code.nodes.values().enumerate();
        let nodes: Vec<(usize, &NodeData)> = nodes.collect();
        let last = At { row, token: self.sizes.time.saturating_sub(1) };
        for phase in 0..course.phases {
            for (n, node) in &nodes {
                if course.first(*n, phase) {
                    self.node(program, course, (given, weights), node, last)?;
                }
            }
            for token in 0..self.sizes.time {
                for (id, memory) in program.memories.iter() {
                    let due = self.history.completes(memory.every, token);
                    if due && !memory.once && course.memories[place(id)] == phase {
                        self.boundary(program, id, token)?;
                    }
                }
                for (n, node) in &nodes {
                    let Clock::Tokens(every) = course.nodes[*n].clock else { continue };
                    let due = self.history.completes(every, token);
                    if course.nodes[*n].phase == phase && due {
                        let at = At { row, token };
                        self.node(program, course, (given, weights), node, at)?;
                    }
                }
            }
            for (id, memory) in program.memories.iter() {
                if memory.once && course.memories[place(id)] == phase {
                    self.boundary(program, id, last.token)?;
                }
            }
            for (n, node) in &nodes {
                if course.last(*n, phase) {
                    self.node(program, course, (given, weights), node, last)?;
                }
            }
        }
        Ok(())
    }

    /// One node once.
    fn node(
        &mut self,
        program: &Program,
        course: &Course,
        (given, weights): (&IndexMap<String, Array>, &[Array]),
        node: &NodeData,
        at: At,
    ) -> Result<(), RunError> {
        let clock = course.clock_of(program, node);
        let acts = matches!(node.op, Op::Read { .. } | Op::Write { .. });
        let (tick, sizes) = match clock {
            Clock::Tokens(n) => (self.history.tick(n, at.token), self.sizes.every(n)),
            Clock::Sequence if acts => (None, self.one_tick()),
            _ => (None, self.sizes),
        };
        let tick = tick.unwrap_or(0);
        let position = sizes.start + tick;
        if let Some(made) = self.history.meet(course, node, at.token) {
            self.history.put(node, vec![made]);
            return Ok(());
        }
        let x: Vec<Array> = node
            .operands
            .iter()
            .map(|v| self.history.now(course, *v, at.token))
            .collect();
        let x: Vec<&Array> = x.iter().collect();
        // The code says its sizes in tokens; a memory's graphs say them in its own ticks.
        let whole = self.sizes;
        let seen = self.past.look(node, &x, position, &whole)?;
        let results = match (&node.op, seen) {
            (_, Some(seen)) => seen,
            (Op::Input { index, .. }, _) => match program.inputs.get(*index) {
                Some(input) => {
                    let stream = find(given, &[&input.name])?;
                    let index = [at.row, tick];
                    let lead = if input.clock == Clock::Sequence { 1 } else { 2 };
                    vec![part(&stream, &index[..lead])]
                }
                None => vec![weights[*index - program.inputs.len()].clone()],
            },
            (Op::Position { .. } | Op::Tick { .. }, _) => {
                vec![Array::real([], vec![position as f64])]
            }
            (Op::When, _) => vec![x[0].clone()],
            (Op::Next { by }, _) => next(program, given, node, *by, (at.row, tick))?,
            (Op::Read { memory, every, .. }, _) => {
                let m = place(*memory);
                vec![self.read(program, (m, *every), &x, position, &sizes)?]
            }
            (Op::Write { statement }, _) => {
                self.write(program, *statement, &x, position, &sizes)?;
                vec![]
            }
            _ => results_of(node, &x, &whole, Precision::F64)?,
        };
        self.history.put(node, results);
        Ok(())
    }

    /// The sizes of what ticks once a sequence.
    fn one_tick(&self) -> Sizes {
        Sizes { time: 1, start: 0, ..self.sizes }
    }

    /// Snapshots for every period that an anchor or a read of a memory asks for, where its tick
    /// that this token completes begins.
    pub(super) fn boundary(
        &mut self,
        program: &Program,
        id: MemoryId,
        token: usize,
    ) -> Result<(), RunError> {
        let memory = &program.memories[id];
        let (sizes, tick) = match memory.clock() {
            Clock::Tokens(n) => (self.sizes.every(n), self.history.tick(n, token)),
            _ => (self.one_tick(), None),
        };
        let position = sizes.start + tick.unwrap_or(0);
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
                instance.begin(&m.targets, &sizes)?;
            }
            instance.at_boundary(position, &periods);
        }
        Ok(())
    }

    pub(super) fn read(
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

    pub(super) fn write(
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
    pub(super) fn states(&self, program: &Program) -> Results {
        let mut out = Results::new();
        for (id, memory) in program.memories.iter().filter(|(_, m)| !m.once) {
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

/// The weights that states of a memory's algorithms start as, with the states' ranks.
fn learned(
    program: &Program,
    memory: MemoryId,
) -> impl Iterator<Item = (WeightId, usize)> {
    let targets = program.statements.values().filter_map(move |s| match s {
        Statement::Minimize(m) if m.memory == memory => Some(&m.targets),
        Statement::Minimize(_) | Statement::Update(_) => None,
    });
    targets.flatten().flat_map(|t| &t.algorithm.states).filter_map(|s| match s.initial {
        StateInitial::Learned(id) => Some((id, s.dims.len())),
        StateInitial::Values(_) | StateInitial::Weights | StateInitial::Drawn(_) => None,
    })
}

/// Operands of one instance: those that have the memory's leading dimensions are taken apart.
fn unmapped(x: &[&Array], ranks: &[usize], at: &[usize]) -> Vec<Array> {
    x.iter()
        .zip(ranks)
        .map(|(a, &rank)| if a.dims.len() == rank { (*a).clone() } else { part(a, at) })
        .collect()
}

/// The value of an input some tokens ahead: from `next.<name>` where it is given.
pub(super) fn next(
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
    let stream = find(given, &[name])?;
    if stream.dims.get(1).is_none_or(|tokens| t + by >= *tokens) {
        return Err(RunError::Input {
            name: format!("next.{name}"),
            found: "nothing".into(),
            expected: format!("what `{name}` is {by} tokens after each"),
        });
    }
    Ok(vec![part(&stream, &[b, t + by])])
}
