//! One token of one instance of a memory: reads and writes in the order of the statements.
//!
//! ```text
//! W = read(A)                          where a retention reads the weights from what is stored
//! G = gradient objective(W at the anchor)
//! U, s = algorithm(G, s);  A = keep(A) + U
//! ```

use super::inline::{at_position, looking_back};
use super::samples::{Sample, bounded, weighed, window};
use super::states::{Carried, Needs, Role, Start, pends};
use crate::build::{
    accumulate, add, broadcast, scalar, select, select_or_zero, zero_or_select,
    zeros_like,
};
use crate::error::PassError;
use nestor_ir::level::{
    AlgorithmInput, Anchor, Minimize, Retention, RetentionForm, RetentionInput, Target,
    Update,
};
use nestor_ir::tensor::{Graph, Op, Value};
use nestor_ir::ty::Dims;

/// A token's program as it grows: the values of all states so far.
pub(super) struct Token<'p> {
    /// The scan's body.
    pub(super) g: Graph,
    needs: &'p Needs<'p>,
    carried: &'p [Carried],
    /// The present value of every state.
    current: Vec<Value>,
    /// The weights as they are read.
    weights: Vec<Value>,
    /// The initial weights that a retention asks for.
    initial: Vec<Option<Value>>,
    /// What an update left for reads.
    pub(super) kept: Vec<Value>,
    /// How many windows were looked back at so far.
    pub(super) looked: usize,
    pub(super) position: Value,
}

/// What a retention leaves.
struct Retained {
    /// The weight, or what is stored of it.
    stored: Value,
    states: Vec<Value>,
}

impl<'p> Token<'p> {
    /// The token before its first statement, or before a later one. `states` stand beside the
    /// initial weights that are asked for.
    pub(super) fn new(
        g: Graph,
        needs: &'p Needs<'p>,
        carried: &'p [Carried],
        (states, initial): (Vec<Value>, Vec<Option<Value>>),
        position: Value,
        first: bool,
    ) -> Result<Self, PassError> {
        let mut token = Self {
            g,
            needs,
            carried,
            current: states,
            weights: vec![],
            initial,
            kept: vec![],
            looked: 0,
            position,
        };
        let restarts = needs.restarts().filter(|_| first);
        let restart = restarts.map(|n| token.every(n, 0));
        if let Some(begins) = restart {
            token.restart(begins)?;
        }
        for w in 0..needs.memory.weights.len() {
            let weight = token.read_stored(w)?;
            token.weights.push(weight);
        }
        if first {
            token.remember(restart)?;
        }
        Ok(token)
    }

    /// All states as they start, where a reset begins. What was seen of earlier tokens is no state of the memory's: an
    /// update looks back over the reset, as an objective's window does.
    fn restart(&mut self, begins: Value) -> Result<(), PassError> {
        for (slot, carried) in self.carried.iter().enumerate() {
            if let Role::Boundary(..) | Role::Past(_) = carried.role {
                continue;
            }
            let then = self.current[slot];
            let start = match &carried.start {
                Start::Weight(w) | Start::Read(w) => self.initial[*w]
                    .ok_or_else(|| PassError::bug("to_tensors", "no initial weights"))?,
                Start::Values(graph) => self.g.inline(graph, &[])[0],
                Start::Learned(_) => {
                    let path = &self.needs.memory.path;
                    return Err(PassError::limitation(
                        "L-deep-reset",
                        format!(
                            "`{path}` begins again, and with it a memory of its algorithm"
                        ),
                        "let it begin again with its sequence alone",
                    ));
                }
                Start::Zero => zeros_like(&mut self.g, then),
            };
            let dims = self.g.ty(then).dims.clone();
            let begins = broadcast(&mut self.g, begins, &dims, &[]);
            self.current[slot] = select(&mut self.g, begins, start, then);
        }
        Ok(())
    }

    /// The states after the last statement, in order.
    pub(super) fn states(&self) -> &[Value] {
        &self.current
    }

    fn place(&self, role: Role) -> Result<usize, PassError> {
        let found = self.carried.iter().position(|c| c.role == role);
        found.ok_or_else(|| PassError::bug("to_tensors", format!("no state {role:?}")))
    }

    fn state(&self, role: Role) -> Result<Value, PassError> {
        Ok(self.current[self.place(role)?])
    }

    /// The weight that belongs to what is stored now.
    fn read_stored(&mut self, w: usize) -> Result<Value, PassError> {
        let stored = self.state(Role::Weight(w))?;
        match (self.needs.read_of(w), self.needs.retention(w)) {
            (Some(read), Some(retention)) => {
                let zero = zeros_like(&mut self.g, stored);
                let previous = self.weights.get(w).copied().unwrap_or(stored);
                let given = self.retention_inputs(w, retention, zero, previous, &[])?;
                Ok(at_position(&mut self.g, read, &given, self.position)?[0])
            }
            _ => Ok(stored),
        }
    }

    /// Boundaries that this token begins; a reset is one.
    fn remember(&mut self, restart: Option<Value>) -> Result<(), PassError> {
        for &period in &self.needs.periods {
            let mut begins = self.every(period, 0);
            let own = self.needs.restarts().filter(|n| n % period != 0);
            if let (Some(restart), Some(_)) = (restart, own) {
                begins = self.g.add(Op::Or, &[begins, restart]);
            }
            for w in 0..self.weights.len() {
                let slot = self.place(Role::Boundary(period, w))?;
                let dims = self.g.ty(self.weights[w]).dims.clone();
                let begins = broadcast(&mut self.g, begins, &dims, &[]);
                let (now, then) = (self.weights[w], self.current[slot]);
                self.current[slot] = select(&mut self.g, begins, now, then);
            }
        }
        Ok(())
    }

    /// Whether the position is `rest` modulo `period`.
    fn every(&mut self, period: usize, rest: usize) -> Value {
        let g = &mut self.g;
        let (n, r) = (scalar(g, period as f64), scalar(g, rest as f64));
        let phase = g.add(Op::Rem, &[self.position, n]);
        g.add(Op::Equal, &[phase, r])
    }

    /// What the memory answers.
    pub(super) fn read(
        &mut self,
        every: Option<usize>,
        operands: &[Value],
    ) -> Result<Value, PassError> {
        let memory = self.needs.memory;
        if self.kept.len() < memory.kept.len() {
            return Err(PassError::limitation(
                "L-kept-before",
                format!("`{}` is read before its first update of a token", memory.path),
                "read it after",
            ));
        }
        let mut given = Vec::new();
        match every.or(memory.read_at) {
            Some(n) => {
                for w in 0..self.weights.len() {
                    given.push(self.state(Role::Boundary(n, w))?);
                }
            }
            None => given.extend(&self.weights),
        }
        given.extend(&self.kept);
        given.extend(operands);
        let found = at_position(&mut self.g, &memory.read, &given, self.position)?;
        found.first().copied().ok_or_else(|| {
            PassError::bug("to_tensors", format!("`{}` answers nothing", memory.path))
        })
    }

    /// A written recurrence.
    pub(super) fn update(
        &mut self,
        update: &Update,
        captured: &[Value],
    ) -> Result<(), PassError> {
        let given: Vec<Value> = self.weights.iter().chain(captured).copied().collect();
        let mut g = std::mem::take(&mut self.g);
        let position = self.position;
        let mut look = |g: &mut Graph, op: &Op, now: Value| {
            let slot = self.place(Role::Past(self.looked))?;
            self.looked += 1;
            let (window, next) = window(g, op, now, self.current[slot], position);
            self.current[slot] = next;
            Ok(window)
        };
        let found = looking_back(&mut g, &update.function, &given, position, &mut look)?;
        self.g = g;
        let (weights, kept) = found.split_at(self.weights.len());
        self.weights = weights.to_vec();
        self.kept = kept.to_vec();
        for w in 0..self.weights.len() {
            let slot = self.place(Role::Weight(w))?;
            self.current[slot] = self.weights[w];
        }
        Ok(())
    }

    /// A minimisation; the first sample is this token's.
    pub(super) fn minimize(
        &mut self,
        m: &Minimize,
        samples: &[Sample],
    ) -> Result<(), PassError> {
        let captured = &samples[0].captured;
        let anchors = self.anchors(m, captured)?;
        let mut gradients = self.gradients(m, samples, &anchors)?;
        let before = self.current.clone();
        let due = (m.every > 1).then(|| self.every(m.every, m.every - 1));
        let number = self.needs.number(m);
        if pends(m) {
            for (w, gradient) in gradients.iter_mut().enumerate() {
                let pending = self.state(Role::Pending(number, w))?;
                *gradient = add(&mut self.g, pending, *gradient);
            }
        }
        let waiting = if pends(m) { gradients.clone() } else { vec![] };
        if let Some(bound) = m.clip {
            gradients = bounded(&mut self.g, bound, &gradients);
        }
        if let Ok(slot) = self.place(Role::Count) {
            let one = scalar(&mut self.g, 1.0);
            self.current[slot] = add(&mut self.g, self.current[slot], one);
        }
        for (w, target) in m.targets.iter().enumerate() {
            let step = self.advance(w, target, gradients[w], anchors[w], captured)?;
            let retention = target.retention.as_ref();
            let retained = self.retained(w, retention, step, captured)?;
            let slot = self.place(Role::Weight(w))?;
            self.current[slot] = retained.stored;
            for (k, state) in retained.states.into_iter().enumerate() {
                let slot = self.place(Role::Retention(w, k))?;
                self.current[slot] = state;
            }
        }
        if let Some(due) = due {
            self.only_when(due, &before, number, &waiting)?;
        }
        for w in 0..m.targets.len() {
            self.weights[w] = self.read_stored(w)?;
        }
        Ok(())
    }

    /// Takes an update back where its window is not complete; the gradients of minimisation
    /// `number` wait.
    fn only_when(
        &mut self,
        due: Value,
        before: &[Value],
        number: usize,
        gradients: &[Value],
    ) -> Result<(), PassError> {
        for (new, &old) in self.current.iter_mut().zip(before) {
            if *new == old {
                continue;
            }
            let dims = self.g.ty(*new).dims.clone();
            let due = broadcast(&mut self.g, due, &dims, &[]);
            *new = select(&mut self.g, due, *new, old);
        }
        for (w, &gradient) in gradients.iter().enumerate() {
            let slot = self.place(Role::Pending(number, w))?;
            let dims = self.g.ty(gradient).dims.clone();
            let due = broadcast(&mut self.g, due, &dims, &[]);
            self.current[slot] = zero_or_select(&mut self.g, due, gradient);
        }
        Ok(())
    }

    /// Where the gradient is taken.
    fn anchors(
        &mut self,
        m: &Minimize,
        captured: &[Value],
    ) -> Result<Vec<Value>, PassError> {
        let mut out = Vec::new();
        for w in 0..self.weights.len() {
            out.push(match m.anchor {
                Anchor::Previous => self.weights[w],
                Anchor::Every(n) => self.state(Role::Boundary(n, w))?,
                Anchor::Kept => {
                    let zero = zeros_like(&mut self.g, self.weights[w]);
                    let retention = m.targets[w].retention.as_ref();
                    let stored = self.retained(w, retention, zero, captured)?.stored;
                    let slot = self.place(Role::Weight(w))?;
                    let now = std::mem::replace(&mut self.current[slot], stored);
                    let kept = self.read_stored(w)?;
                    self.current[slot] = now;
                    kept
                }
            });
        }
        Ok(out)
    }

    /// The sum over samples of the gradient of every weight.
    fn gradients(
        &mut self,
        m: &Minimize,
        samples: &[Sample],
        anchors: &[Value],
    ) -> Result<Vec<Value>, PassError> {
        let g = &mut self.g;
        let anchors: Vec<Value> =
            anchors.iter().map(|&a| g.add(Op::Anchor, &[a])).collect();
        let mut totals: Vec<Option<Value>> = vec![None; anchors.len()];
        let present = samples[0].captured.clone();
        for (age, sample) in samples.iter().enumerate() {
            let given: Vec<Value> =
                anchors.iter().chain(&sample.captured).copied().collect();
            let mut objectives = Vec::new();
            for objective in &m.objectives {
                objectives.push(at_position(g, objective, &given, self.position)?[0]);
            }
            for (w, target) in m.targets.iter().enumerate() {
                let objective = objectives[target.objective];
                let mut gradient = g.add(Op::Gradient, &[objective, anchors[w]]);
                if let Some(c) = m.ages[target.objective] {
                    gradient = weighed(g, gradient, present[c], age);
                }
                if let Some(there) = sample.there {
                    let dims: Dims = g.ty(gradient).dims.clone();
                    let there = broadcast(g, there, &dims, &[]);
                    gradient = select_or_zero(g, there, gradient);
                }
                totals[w] = Some(accumulate(g, totals[w], gradient));
            }
        }
        totals
            .into_iter()
            .map(|t| t.ok_or_else(|| PassError::bug("to_tensors", "no sample")))
            .collect()
    }

    /// The algorithm: from the gradient to the step; its states move on.
    fn advance(
        &mut self,
        w: usize,
        target: &Target,
        gradient: Value,
        anchor: Value,
        captured: &[Value],
    ) -> Result<Value, PassError> {
        let mut given = Vec::new();
        for input in &target.algorithm.inputs {
            given.push(match *input {
                AlgorithmInput::Gradient => gradient,
                AlgorithmInput::Weight => self.weights[w],
                AlgorithmInput::Anchor => anchor,
                AlgorithmInput::Count | AlgorithmInput::Total => {
                    match self.place(Role::Count) {
                        Ok(slot) => self.current[slot],
                        // Counted only where the graph uses it.
                        Err(_) => scalar(&mut self.g, 0.0),
                    }
                }
                AlgorithmInput::Samples => {
                    let row = self.g.ty(captured[0]).dims.clone();
                    let dims: Dims = std::iter::once(1.into()).chain(row).collect();
                    self.g.add(Op::Reshape { dims }, &[captured[0]])
                }
                AlgorithmInput::State(k) => self.state(Role::Algorithm(w, k))?,
                AlgorithmInput::Captured(c) => captured[c],
            });
        }
        let algorithm = &target.algorithm.graph;
        let found = at_position(&mut self.g, algorithm, &given, self.position)?;
        for (k, &state) in found[1..].iter().enumerate() {
            let slot = self.place(Role::Algorithm(w, k))?;
            self.current[slot] = state;
        }
        Ok(found[0])
    }

    fn retention_inputs(
        &mut self,
        w: usize,
        retention: &Retention,
        step: Value,
        previous: Value,
        captured: &[Value],
    ) -> Result<Vec<Value>, PassError> {
        let stored = self.state(Role::Weight(w))?;
        let mut given = Vec::new();
        for input in &retention.inputs {
            given.push(match *input {
                RetentionInput::Stored => stored,
                RetentionInput::Step => step,
                RetentionInput::Previous => previous,
                RetentionInput::Initial => self.initial[w]
                    .ok_or_else(|| PassError::bug("to_tensors", "no initial weights"))?,
                RetentionInput::State(k) => self.state(Role::Retention(w, k))?,
                RetentionInput::Captured(c) => match captured.get(c) {
                    Some(&value) => value,
                    // Only asked for where nothing uses it.
                    None => stored,
                },
            });
        }
        Ok(given)
    }

    /// The retention: from the step to what is stored next.
    fn retained(
        &mut self,
        w: usize,
        retention: Option<&Retention>,
        step: Value,
        captured: &[Value],
    ) -> Result<Retained, PassError> {
        let previous = self.weights[w];
        let Some(retention) = retention else {
            let stored = add(&mut self.g, previous, step);
            return Ok(Retained { stored, states: vec![] });
        };
        let given = self.retention_inputs(w, retention, step, previous, captured)?;
        match &retention.form {
            RetentionForm::Keep { keep, .. } => {
                let kept = at_position(&mut self.g, keep, &given, self.position)?[0];
                Ok(Retained { stored: add(&mut self.g, kept, step), states: vec![] })
            }
            RetentionForm::Next { next } => {
                let mut found = at_position(&mut self.g, next, &given, self.position)?;
                let states = found.split_off(1);
                Ok(Retained { stored: found[0], states })
            }
        }
    }
}
