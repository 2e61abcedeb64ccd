//! Levels that learn the weights of layers while they read, straight from the definition.
//!
//! At a window's last token the window is read again from its beginning, once for every element of every
//! weight and every step of a difference, faster levels at work inside. Nothing is cheaper, and nothing is
//! harder to get wrong.

use super::array::{Array, Data};
use super::level::{Sequence, find, next, part};
use super::memory::place;
use super::slope::{as_it_was, slopes};
use super::tensor::{RunError, evaluate_with, run};
use crate::artifact::Precision;
use crate::dim::Sizes;
use crate::level::{
    Algorithm, AlgorithmInput, Clock, Initial, Level, OuterMinimize, Program, Reset,
    Retention, RetentionForm, RetentionInput, State, StateInitial, WeightId,
    optimiser_name, read_name, retained_name,
};
use crate::tensor::{NodeData, Op};
use indexmap::IndexMap;

const F64: Precision = Precision::F64;
/// Added to a norm before a bound is divided by it, as the language's `clip` does.
const CLIP_EPSILON: f64 = 1e-6;

/// One batch row with its own copies of the weights that levels learn while reading.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) sequence: Sequence,
    weights: Vec<Array>,
    /// What the weights are learned to start as.
    initial: Vec<Array>,
    levels: Vec<Held>,
}

/// What a level holds, and where its open window began.
#[derive(Clone, Default)]
struct Held {
    /// By statement and target: states of the algorithm, then of the retention.
    states: Vec<Vec<Vec<Array>>>,
    updates: usize,
    begun: Option<(usize, Box<Reader>)>,
}

/// The levels that learn weights while they read.
fn readers(program: &Program) -> Vec<(&Level, usize)> {
    let one = |level| match level {
        &Level { clock: Clock::Tokens(n), memory: None, .. } => Some((level, n)),
        _ => None,
    };
    program.levels.node_weights().filter_map(one).collect()
}

/// Whether a level of the program learns weights while it reads.
pub(super) fn asked(program: &Program) -> bool {
    readers(program).iter().any(|(level, _)| !level.objectives.is_empty())
}

impl Reader {
    pub(super) fn new(program: &Program, weights: &[Array], sizes: &Sizes) -> Self {
        let mut out = Self {
            sequence: Sequence::new(program, weights, sizes),
            weights: weights.to_vec(),
            initial: weights.to_vec(),
            levels: vec![Held::default(); readers(program).len()],
        };
        let all = readers(program).into_iter().flat_map(|(level, _)| &level.objectives);
        let held: Vec<WeightId> =
            all.flat_map(|o| o.targets.iter().map(|t| t.0)).collect();
        // What starts from another weight starts as the end of the chain does.
        for id in &held {
            let before = |id: &WeightId| match program.weights[*id].initial {
                Initial::From(other) if held.contains(id) => Some(other),
                _ => None,
            };
            let last = std::iter::successors(Some(*id), before).last();
            out.weights[place(*id)] = weights[place(last.unwrap_or(*id))].clone();
        }
        for l in 0..out.levels.len() {
            out.begin_states(program, l);
        }
        out
    }

    /// What its levels hold after the last token: weights, states of their algorithms and retentions, updates.
    pub(super) fn states(&self, program: &Program) -> IndexMap<String, Array> {
        let mut out = IndexMap::new();
        for (l, (level, _)) in readers(program).into_iter().enumerate() {
            for (k, objective) in level.objectives.iter().enumerate() {
                for (n, (id, algorithm, retention)) in
                    objective.targets.iter().enumerate()
                {
                    let path = &program.weights[*id].path;
                    out.insert(read_name(path), self.weights[place(*id)].clone());
                    let kept = retention.iter().flat_map(|r| &r.states);
                    let names =
                        algorithm.states.iter().map(|s| optimiser_name(&s.name, path));
                    let names = names.chain(kept.map(|s| retained_name(&s.name, path)));
                    for (name, value) in names.zip(&self.levels[l].states[k][n]) {
                        out.insert(read_name(&name), value.clone());
                    }
                }
            }
        }
        out
    }

    /// A level returns to its initial values.
    fn restart(&mut self, program: &Program, l: usize) {
        let level = readers(program)[l].0;
        for (id, ..) in level.objectives.iter().flat_map(|o| &o.targets) {
            self.weights[place(*id)] = self.fresh(program, *id);
        }
        self.begin_states(program, l);
    }

    /// The states of a level's algorithms as they start.
    fn begin_states(&mut self, program: &Program, l: usize) {
        let level = readers(program)[l].0;
        let mut states = Vec::new();
        for objective in &level.objectives {
            let mut all = Vec::new();
            for (id, algorithm, retention) in &objective.targets {
                let own = retention.iter().flat_map(|r| &r.states);
                let states = algorithm.states.iter().chain(own);
                all.push(states.map(|s| self.state(*id, s)).collect());
            }
            states.push(all);
        }
        self.levels[l].states = states;
        self.levels[l].updates = 0;
    }

    fn fresh(&self, program: &Program, id: WeightId) -> Array {
        match program.weights[id].initial {
            Initial::From(source) => self.weights[place(source)].clone(),
            _ => self.initial[place(id)].clone(),
        }
    }

    fn state(&self, id: WeightId, state: &State) -> Array {
        let sizes = crate::dim::Sizes { batch: 1, time: 1, start: 0 };
        let values = match &state.initial {
            StateInitial::Values(graph) | StateInitial::Drawn(Initial::Values(graph)) => {
                run(graph, &[], &sizes, F64).ok().and_then(|v| v.into_iter().next())
            }
            StateInitial::Weights | StateInitial::Drawn(_) | StateInitial::Learned(_) => {
                None
            }
        };
        values.unwrap_or_else(|| self.weights[place(id)].clone())
    }

    /// What happens before a token: levels start again, the slowest first, and windows begin. Only levels
    /// faster than `below` are looked at.
    fn begin(&mut self, text: &Text<'_>, t: usize, below: usize) {
        let position = text.sizes.start + t;
        let readers = readers(text.program);
        let every = |l: usize| match readers[l].0.reset {
            Some(Reset::Tokens(n)) => n,
            _ => usize::MAX,
        };
        let mut order: Vec<usize> =
            (0..readers.len()).filter(|&l| readers[l].1 < below).collect();
        order.sort_by_key(|&l| std::cmp::Reverse((readers[l].1, every(l))));
        for same in order.chunk_by(|&a, &b| readers[a].1 == readers[b].1) {
            for &l in same {
                if position.is_multiple_of(every(l)) {
                    self.restart(text.program, l);
                }
            }
            if position.is_multiple_of(readers[same[0]].1) {
                let mut now = self.clone();
                now.levels.iter_mut().for_each(|l| l.begun = None);
                for &l in same {
                    self.levels[l].begun = Some((t, Box::new(now.clone())));
                }
            }
        }
    }

    /// One token: all values of the code. Levels act behind it where `acts`.
    pub(super) fn token(
        &mut self,
        text: &Text<'_>,
        t: usize,
        held: Option<&[Array]>,
        acts: bool,
    ) -> Result<Vec<Array>, RunError> {
        self.begin(text, t, usize::MAX);
        self.read(text, t, held, acts)
    }

    fn read(
        &mut self,
        text: &Text<'_>,
        t: usize,
        held: Option<&[Array]>,
        acts: bool,
    ) -> Result<Vec<Array>, RunError> {
        let position = text.sizes.start + t;
        let readers = readers(text.program);
        let weights = self.weights.clone();
        let values = self.sequence.token(text, t, &weights, held)?;
        let ends: Vec<usize> = (0..readers.len())
            .filter(|l| acts && (position + 1).is_multiple_of(readers[*l].1))
            .collect();
        let before = self.clone();
        for l in ends {
            let level = readers[l].0;
            for (k, statement) in level.objectives.iter().enumerate() {
                let gradients = before.gradients(text, (l, t), statement)?;
                self.learn(text, (l, k), statement, &gradients, &before)?;
            }
            self.levels[l].updates += 1;
        }
        Ok(values)
    }

    /// The gradient of every target of a statement, the window read again from its start.
    fn gradients(
        &self,
        text: &Text<'_>,
        (l, last): (usize, usize),
        statement: &OuterMinimize,
    ) -> Result<Vec<Array>, RunError> {
        let Some((first, begun)) = &self.levels[l].begun else { return Ok(vec![]) };
        let period = readers(text.program)[l].1;
        // At the window's start the level itself, and slower ones, have begun already.
        let again = |reader: &mut Self, t: usize, held: Option<&[Array]>| {
            reader.begin(text, t, if t == *first { period } else { usize::MAX });
            reader.read(text, t, held, t < last)
        };
        let code = &text.program.code;
        let node = code.def(statement.objective);
        let counts = (node.op == Op::When).then(|| node.operands[1]);
        let mut base = Vec::new();
        let mut reader = (**begun).clone();
        for t in *first..=last {
            base.push(again(&mut reader, t, None)?);
        }
        let mut out = Vec::new();
        for (id, ..) in &statement.targets {
            let count = self.weights[place(*id)].len();
            let found = slopes(count, |element, by| {
                let mut reader = (**begun).clone();
                if let Data::Real(values) = &mut reader.weights[place(*id)].data {
                    values[element] += by;
                }
                let mut total = 0.0;
                for t in *first..=last {
                    let held = &base[t - first];
                    let values = again(&mut reader, t, Some(held))?;
                    let there = counts
                        .is_none_or(|c| values[place(c)].bools().first() == Some(&true));
                    if there {
                        total += values[place(statement.objective)].reals()[0];
                    }
                }
                Ok(total)
            })?;
            out.push(Array::real(self.weights[place(*id)].dims.clone(), found));
        }
        Ok(out)
    }

    /// The algorithm and the retention of every target.
    fn learn(
        &mut self,
        text: &Text<'_>,
        (l, k): (usize, usize),
        statement: &OuterMinimize,
        gradients: &[Array],
        before: &Self,
    ) -> Result<(), RunError> {
        let squares: f64 = gradients.iter().flat_map(|g| g.reals()).map(|x| x * x).sum();
        let bound = statement.clip.map_or(1.0, |c| c / (squares.sqrt() + CLIP_EPSILON));
        let number = Array::real([], vec![(self.levels[l].updates + 1) as f64]);
        for (n, (id, algorithm, retention)) in statement.targets.iter().enumerate() {
            let weight = &before.weights[place(*id)];
            let scaled =
                gradients[n].reals().iter().map(|g| g * bound.min(1.0)).collect();
            let gradient = Array::real(gradients[n].dims.clone(), scaled);
            let states = &before.levels[l].states[k][n];
            let mut found = step(algorithm, text, [&gradient, weight, &number], states)?;
            let by = found.remove(0);
            let own = algorithm.states.len();
            let (next, kept) = match retention {
                None => (sum(weight, &by), vec![]),
                Some(r) => retain(r, text, [weight, &by], &states[own..])?,
            };
            self.weights[place(*id)] = next;
            self.levels[l].states[k][n] = found.into_iter().chain(kept).collect();
        }
        Ok(())
    }
}

fn step(
    algorithm: &Algorithm,
    text: &Text<'_>,
    [gradient, weight, number]: [&Array; 3],
    states: &[Array],
) -> Result<Vec<Array>, RunError> {
    let mut inputs = Vec::new();
    for input in &algorithm.inputs {
        inputs.push(match input {
            AlgorithmInput::Gradient => gradient.clone(),
            AlgorithmInput::Weight | AlgorithmInput::Anchor => weight.clone(),
            AlgorithmInput::Count | AlgorithmInput::Total => number.clone(),
            AlgorithmInput::State(k) => states[*k].clone(),
            AlgorithmInput::Samples | AlgorithmInput::Captured(_) => {
                return Err(RunError::Op(
                    "an algorithm of a level that learns while reading",
                ));
            }
        });
    }
    run(&algorithm.graph, &inputs, text.sizes, F64)
}

fn retain(
    retention: &Retention,
    text: &Text<'_>,
    [weight, by]: [&Array; 2],
    states: &[Array],
) -> Result<(Array, Vec<Array>), RunError> {
    let mut inputs = Vec::new();
    for input in &retention.inputs {
        inputs.push(match input {
            RetentionInput::Stored | RetentionInput::Previous => weight.clone(),
            RetentionInput::Step => by.clone(),
            RetentionInput::State(k) => states[*k].clone(),
            RetentionInput::Initial | RetentionInput::Captured(_) => {
                return Err(RunError::Op(
                    "a retention of a level that learns while reading",
                ));
            }
        });
    }
    match &retention.form {
        RetentionForm::Keep { keep, .. } => {
            let kept = run(keep, &inputs, text.sizes, F64)?;
            Ok((sum(&kept[0], by), vec![]))
        }
        RetentionForm::Next { next } => {
            let mut found = run(next, &inputs, text.sizes, F64)?;
            Ok((found.remove(0), found))
        }
    }
}

fn sum(a: &Array, b: &Array) -> Array {
    let data = a.reals().iter().zip(b.reals()).map(|(x, y)| x + y).collect();
    Array::real(a.dims.clone(), data)
}

/// What one batch row reads.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) program: &'a Program,
    pub(super) given: &'a IndexMap<String, Array>,
    pub(super) sizes: &'a Sizes,
    /// The row.
    pub(super) b: usize,
}

impl Sequence {
    /// One token: all values of the code. Choices are taken as they were in `held`, where that is given.
    pub(super) fn token(
        &mut self,
        text: &Text<'_>,
        t: usize,
        weights: &[Array],
        held: Option<&[Array]>,
    ) -> Result<Vec<Array>, RunError> {
        let Text { program, given, sizes, b } = *text;
        let position = sizes.start + t;
        for (id, _) in program.memories.iter() {
            self.boundary(program, id, t)?;
        }
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
            if let Some(base) = held
                && let Some(was) = as_it_was(&program.code, node, x, base)
            {
                return Ok(Some(vec![was]));
            }
            match &node.op {
                Op::Position { .. } | Op::Tick { .. } => {
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
        Ok(values)
    }
}
