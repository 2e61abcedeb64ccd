//! One instance of a memory, token by token, straight from the definition.

use super::array::Array;
use super::past::Past;
use super::slope::{gradient, with_gradients};
use super::tensor::{RunError, evaluate_with, run};
use crate::artifact::Precision;
use crate::dim::Sizes;
use crate::entity::Entity;
use crate::level::{
    AlgorithmInput, Anchor, Memory, Minimize, Retention, RetentionForm, RetentionInput,
    State, StateInitial, Target, Update, WeightId,
};
use crate::tensor::{Graph, NodeData};
use indexmap::IndexMap;
use std::collections::VecDeque;

/// What one instance holds between tokens.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    /// The weights as they are read.
    pub(super) weights: Vec<Array>,
    /// The initial weights.
    initial: Vec<Array>,
    /// How states start that are learned outside.
    learned: Vec<(WeightId, Array)>,
    /// The stored state of a weight whose retention has a `read`.
    pub(super) stored: Vec<Option<Array>>,
    /// States of algorithms, by weight.
    pub(super) algorithm: Vec<Vec<Array>>,
    /// States of retentions, by weight.
    pub(super) retention: Vec<Vec<Array>>,
    /// What an `update` left for reads.
    kept: Vec<Array>,
    /// Weights at boundaries: (period, weights).
    snapshots: Vec<(usize, Vec<Array>)>,
    /// Number of updates so far.
    count: usize,
    /// Captured values of past tokens of every minimisation, newest first.
    past: IndexMap<usize, VecDeque<Vec<Array>>>,
    /// Captured values of the open window of every minimisation.
    window: IndexMap<usize, Vec<Vec<Array>>>,
}

const F64: Precision = Precision::F64;

impl Instance {
    /// A memory at its initial values.
    pub(super) fn new(
        memory: &Memory,
        initial: Vec<Array>,
        learned: Vec<(WeightId, Array)>,
    ) -> Self {
        let none = vec![Vec::new(); memory.weights.len()];
        Self {
            weights: initial.clone(),
            stored: vec![None; initial.len()],
            initial,
            learned,
            algorithm: none.clone(),
            retention: none,
            kept: Vec::new(),
            snapshots: Vec::new(),
            count: 0,
            past: IndexMap::new(),
            window: IndexMap::new(),
        }
    }

    /// Gives the states their initial values and a dual state its first read.
    pub(super) fn prepare(
        &mut self,
        targets: &[Target],
        captured: &[Array],
        sizes: &Sizes,
    ) -> Result<(), RunError> {
        for (w, target) in targets.iter().enumerate() {
            if self.algorithm[w].is_empty() {
                self.algorithm[w] = self.starts(w, &target.algorithm.states, sizes)?;
            }
            let Some(retention) = &target.retention else { continue };
            if self.retention[w].is_empty() {
                self.retention[w] = self.starts(w, &retention.states, sizes)?;
            }
            if let (RetentionForm::Keep { read: Some(read), .. }, None) =
                (&retention.form, &self.stored[w])
            {
                let zero =
                    Array::zeros(crate::ty::Elem::Real, self.weights[w].dims.clone());
                let inputs = self.retained(w, retention, &zero, captured);
                self.stored[w] = Some(self.weights[w].clone());
                self.weights[w] = one(read, &inputs, sizes)?;
                // Boundaries before the first write saw the stored values.
                for (_, snapshot) in &mut self.snapshots {
                    snapshot[w].clone_from(&self.weights[w]);
                }
            }
        }
        Ok(())
    }

    /// The weights as they are read before the first write, where the reading takes nothing of a token.
    pub(super) fn begin(
        &mut self,
        targets: &[Target],
        sizes: &Sizes,
    ) -> Result<(), RunError> {
        for (w, target) in targets.iter().enumerate() {
            let Some(retention) = &target.retention else { continue };
            let RetentionForm::Keep { read: Some(read), .. } = &retention.form else {
                continue;
            };
            if self.stored[w].is_some() {
                continue;
            }
            if self.retention[w].is_empty() {
                self.retention[w] = self.starts(w, &retention.states, sizes)?;
            }
            let needed = needed(read);
            let mut inputs = Vec::new();
            for (input, at) in retention.inputs.iter().zip(&read.inputs) {
                let ty = read.ty(at.value);
                let dims: Vec<usize> = ty.dims.iter().map(|d| d.size(sizes)).collect();
                inputs.push(match *input {
                    RetentionInput::Stored | RetentionInput::Previous => {
                        self.weights[w].clone()
                    }
                    RetentionInput::Initial => self.initial[w].clone(),
                    RetentionInput::State(s) => self.retention[w][s].clone(),
                    RetentionInput::Captured(_) if needed[at.value.index()] => {
                        return Ok(());
                    }
                    RetentionInput::Step | RetentionInput::Captured(_) => {
                        Array::zeros(ty.elem, dims)
                    }
                });
            }
            self.stored[w] = Some(self.weights[w].clone());
            self.weights[w] = one(read, &inputs, sizes)?;
        }
        Ok(())
    }

    fn starts(
        &self,
        w: usize,
        states: &[State],
        sizes: &Sizes,
    ) -> Result<Vec<Array>, RunError> {
        states
            .iter()
            .map(|state| match &state.initial {
                StateInitial::Weights => Ok(self.initial[w].clone()),
                StateInitial::Values(graph) => one(graph, &[], sizes),
                StateInitial::Learned(id) => {
                    let found = self.learned.iter().find(|(known, _)| known == id);
                    found.map(|(_, start)| start.clone()).ok_or(RunError::Op("state"))
                }
                StateInitial::Drawn(_) => Err(RunError::Input {
                    name: state.name.clone(),
                    found: "a drawn state".into(),
                    expected: "one that is known inside a sequence".into(),
                }),
            })
            .collect()
    }

    /// Everything as it was before the first token; what windows of objectives look back at stays.
    pub(super) fn restart(&mut self, memory: &Memory) {
        let past = std::mem::take(&mut self.past);
        let initial = std::mem::take(&mut self.initial);
        let learned = std::mem::take(&mut self.learned);
        *self = Self { past, ..Self::new(memory, initial, learned) };
    }

    /// Remembers the weights where a boundary of one of these periods begins.
    pub(super) fn at_boundary(&mut self, position: usize, periods: &[usize]) {
        for &period in periods {
            let slot = self.snapshots.iter().position(|(p, _)| *p == period);
            match slot {
                Some(i) if position.is_multiple_of(period) => {
                    self.snapshots[i].1.clone_from(&self.weights)
                }
                Some(_) => {}
                None => self.snapshots.push((period, self.weights.clone())),
            }
        }
    }

    fn snapshot(&self, period: usize) -> &[Array] {
        let found = self.snapshots.iter().find(|(p, _)| *p == period);
        found.map_or(&self.weights, |(_, w)| w)
    }

    /// What the memory answers.
    pub(super) fn read(
        &self,
        memory: &Memory,
        every: Option<usize>,
        arguments: &[Array],
        position: usize,
        sizes: &Sizes,
    ) -> Result<Array, RunError> {
        let weights =
            every.or(memory.read_at).map_or(&self.weights[..], |n| self.snapshot(n));
        let inputs: Vec<Array> =
            weights.iter().chain(&self.kept).chain(arguments).cloned().collect();
        // A read may ask which entries of a kept window exist at this token.
        let mut past = Past::default();
        let mut hook =
            |node: &NodeData, x: &[&Array]| past.look(node, x, position, sizes);
        let read = &memory.read;
        let values = evaluate_with(read, &inputs, sizes, F64, &mut hook)?;
        let answer = read.outputs.first().map(|o| values[o.value.index()].clone());
        answer.ok_or(RunError::Count { found: 0, expected: 1 })
    }

    /// A written recurrence.
    pub(super) fn update(&mut self, update: &Update, results: Vec<Array>) {
        debug_assert_eq!(update.function.outputs.len(), results.len());
        let mut results = results;
        self.kept = results.split_off(self.weights.len());
        self.weights = results;
    }

    /// A minimisation: statement number `number` of the program.
    pub(super) fn minimize(
        &mut self,
        (number, what): (usize, &Minimize),
        captured: Vec<Array>,
        position: usize,
        sizes: &Sizes,
    ) -> Result<(), RunError> {
        self.prepare(&what.targets, &captured, sizes)?;
        let past = self.past.entry(number).or_default();
        past.push_front(captured.clone());
        past.truncate(what.window);
        let mut samples = Vec::new();
        if what.every == 1 {
            samples.extend(past.iter().cloned());
        } else {
            let window = self.window.entry(number).or_default();
            window.push(captured.clone());
            if !(position + 1).is_multiple_of(what.every) {
                return Ok(());
            }
            samples = std::mem::take(window);
        }
        self.count += 1;
        let zeros: Vec<Array> = self
            .weights
            .iter()
            .map(|w| Array::zeros(crate::ty::Elem::Real, w.dims.clone()))
            .collect();
        let mut anchors = match what.anchor {
            Anchor::Previous => self.weights.clone(),
            Anchor::Every(n) => self.snapshot(n).to_vec(),
            Anchor::Kept => self.weights.clone(),
        };
        if what.anchor == Anchor::Kept {
            for (w, target) in what.targets.iter().enumerate() {
                anchors[w] =
                    self.clone().retain(w, target, &zeros[w], &captured, sizes)?;
            }
        }
        let mut next = self.clone();
        let mut gradients = Vec::new();
        for (w, target) in what.targets.iter().enumerate() {
            let mut total = zeros[w].clone();
            for (age, sample) in samples.iter().enumerate() {
                let inputs: Vec<Array> = anchors.iter().chain(sample).cloned().collect();
                let g = gradient(&what.objectives[target.objective], &inputs, w, sizes)?;
                let weights = what.ages[target.objective].map(|c| captured[c].reals());
                let weight = weights.map_or(1.0, |all| all[age.min(all.len() - 1)]);
                total = sum(&total, &scaled(&g, weight));
            }
            gradients.push(total);
        }
        if let Some(bound) = what.clip {
            let squares = gradients.iter().flat_map(|g| g.reals()).map(|x| x * x);
            let norm = squares.sum::<f64>().sqrt();
            if norm > bound {
                gradients = gradients.iter().map(|g| scaled(g, bound / norm)).collect();
            }
        }
        for (w, target) in what.targets.iter().enumerate() {
            let total = &gradients[w];
            let step = next.advance(w, target, total, &anchors[w], &captured, sizes)?;
            next.weights[w] = next.retain(w, target, &step, &captured, sizes)?;
        }
        *self = next;
        Ok(())
    }

    /// The algorithm: from the gradient to the step; its states move on.
    fn advance(
        &mut self,
        w: usize,
        target: &Target,
        gradient: &Array,
        anchor: &Array,
        captured: &[Array],
        sizes: &Sizes,
    ) -> Result<Array, RunError> {
        let inputs: Vec<Array> = target
            .algorithm
            .inputs
            .iter()
            .map(|input| match *input {
                AlgorithmInput::Gradient => gradient.clone(),
                AlgorithmInput::Weight => self.weights[w].clone(),
                AlgorithmInput::Anchor => anchor.clone(),
                AlgorithmInput::Count | AlgorithmInput::Total => {
                    Array::real([], vec![self.count as f64])
                }
                AlgorithmInput::Samples => {
                    let row = &captured[0];
                    Array { dims: vec![1, row.len()], data: row.data.clone() }
                }
                AlgorithmInput::State(s) => self.algorithm[w][s].clone(),
                AlgorithmInput::Captured(c) => captured[c].clone(),
            })
            .collect();
        let mut results = with_gradients(&target.algorithm.graph, &inputs, sizes)?;
        self.algorithm[w] = results.split_off(1);
        Ok(results.remove(0))
    }

    fn retained(
        &self,
        w: usize,
        r: &Retention,
        step: &Array,
        captured: &[Array],
    ) -> Vec<Array> {
        r.inputs
            .iter()
            .map(|input| match *input {
                RetentionInput::Stored => {
                    self.stored[w].clone().unwrap_or_else(|| self.weights[w].clone())
                }
                RetentionInput::Step => step.clone(),
                RetentionInput::Previous => self.weights[w].clone(),
                RetentionInput::Initial => self.initial[w].clone(),
                RetentionInput::State(s) => self.retention[w][s].clone(),
                RetentionInput::Captured(c) => captured[c].clone(),
            })
            .collect()
    }

    /// The retention: from the step to the next weights; the stored state and its own move on.
    fn retain(
        &mut self,
        w: usize,
        target: &Target,
        step: &Array,
        captured: &[Array],
        sizes: &Sizes,
    ) -> Result<Array, RunError> {
        let Some(retention) = &target.retention else {
            return Ok(sum(&self.weights[w], step));
        };
        let inputs = self.retained(w, retention, step, captured);
        match &retention.form {
            RetentionForm::Keep { keep, read } => {
                let stored = sum(&one(keep, &inputs, sizes)?, step);
                let Some(read) = read else { return Ok(stored) };
                self.stored[w] = Some(stored);
                let inputs = self.retained(w, retention, step, captured);
                one(read, &inputs, sizes)
            }
            RetentionForm::Next { next } => {
                let mut results = run(next, &inputs, sizes, F64)?;
                self.retention[w] = results.split_off(1);
                Ok(results.remove(0))
            }
        }
    }
}

/// Which values the outputs of a graph are made of.
fn needed(graph: &Graph) -> Vec<bool> {
    let mut out = vec![false; graph.values.len()];
    let mut open: Vec<_> = graph.outputs.iter().map(|o| o.value).collect();
    while let Some(value) = open.pop() {
        if !std::mem::replace(&mut out[value.index()], true) {
            open.extend(graph.def(value).operands.iter().copied());
        }
    }
    out
}

/// The one output of a graph.
fn one(graph: &Graph, inputs: &[Array], sizes: &Sizes) -> Result<Array, RunError> {
    let results = run(graph, inputs, sizes, F64)?;
    results.into_iter().next().ok_or(RunError::Count { found: 0, expected: 1 })
}

fn scaled(a: &Array, by: f64) -> Array {
    Array::real(a.dims.clone(), a.reals().iter().map(|x| x * by).collect())
}

fn sum(a: &Array, b: &Array) -> Array {
    let data = a.reals().iter().zip(b.reals()).map(|(x, y)| x + y).collect();
    Array::real(a.dims.clone(), data)
}

/// An id as a place in a list.
pub(super) fn place(id: impl Entity) -> usize {
    id.index()
}
