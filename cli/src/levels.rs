//! The slower levels of a model in training: when they act, what they say, and how they start
//! again. Weights and the sums of open windows live with the step; states live here.

use crate::device::{Place, unready};
use crate::fail::Failure;
use nestor_compiler::Program;
use nestor_compiler::trained::{Acts, Start, norm_name, starts};
use nestor_runtime::Sizes;
use nestor_runtime::executor::{Executor, RunError};
use nestor_runtime::tensor_file::{Data, HostTensor};
use nestor_runtime::train::LevelReport;

/// How far the weights of a level of every step go is looked at this often.
const MEASURED_EVERY: u64 = 10;

/// A level that learns.
struct Level {
    name: String,
    period: u64,
    /// What it does at the last step of its window, where that is no part of every step.
    update: Option<Executor>,
    reset: Option<u64>,
    weights: Vec<String>,
    /// What it returns to; a name is a weight that it starts from.
    starts: Vec<(HostTensor, Option<String>)>,
}

/// All levels of a model.
pub(crate) struct Levels {
    all: Vec<Level>,
    steps: u64,
}

impl Levels {
    /// The levels of a compiled model whose tensors start as `state`.
    pub(crate) fn new(
        program: &Program,
        acts: Vec<Acts>,
        state: &[HostTensor],
        steps: u64,
        on: &Place,
    ) -> Result<Self, Failure> {
        let from = starts(program).map_err(Failure::bug)?;
        let one = |acts: Acts| {
            let update = acts.update.map(|u| on.executor(u)).transpose();
            let held = state
                .iter()
                .filter(|t| acts.reset.is_some() && acts.holds.contains(&t.name));
            let starts = held.map(|t| {
                let start = from.iter().find(|(name, ..)| *name == t.name);
                let source = match start {
                    Some((.., Start::Weight(of))) => Some(of.clone()),
                    Some((.., Start::Drawn(_) | Start::Values(_))) | None => None,
                };
                (t.clone(), source)
            });
            Ok(Level {
                name: acts.name,
                period: acts.period as u64,
                update: update.map_err(unready)?,
                reset: acts.reset.map(|n| n as u64),
                weights: acts.weights,
                starts: starts.collect(),
            })
        };
        let all = acts.into_iter().map(one).collect::<Result<_, Failure>>()?;
        Ok(Self { all, steps })
    }

    /// The tensors that slower levels keep.
    pub(crate) fn get(&self, name: &str) -> Option<HostTensor> {
        let updates = self.all.iter().filter_map(|l| l.update.as_ref());
        updates.filter_map(|u| u.get(name).ok()).next()
    }

    /// Hands a tensor to the slower levels that take it; whether one does.
    pub(crate) fn set(&mut self, tensor: &HostTensor) -> Result<bool, RunError> {
        let mut taken = false;
        for update in self.all.iter_mut().filter_map(|l| l.update.as_mut()) {
            if takes(update, &tensor.name) {
                update.set(tensor)?;
                taken = true;
            }
        }
        Ok(taken)
    }

    /// The weights of levels whose way is measured at this step, as they are before it.
    pub(crate) fn before(&self, step: &Executor, index: u64) -> Vec<Vec<HostTensor>> {
        let one = |level: &Level| {
            let measured = level.period > 1
                || self.all.len() > 1 && index.is_multiple_of(MEASURED_EVERY);
            match measured && index.is_multiple_of(level.period) {
                true => present(step, &level.weights),
                false => vec![],
            }
        };
        self.all.iter().map(one).collect()
    }

    /// What is done after a step: the levels whose window it ends act, those whose time is over
    /// start again. `found` is what the step gave, `before` are weights before it.
    pub(crate) fn after(
        &mut self,
        step: &mut Executor,
        found: &[HostTensor],
        before: &[Vec<HostTensor>],
        index: u64,
    ) -> Result<Vec<LevelReport>, RunError> {
        let several = self.all.len() > 1;
        let mut reports = Vec::new();
        for (level, before) in self.all.iter_mut().zip(before) {
            if !index.is_multiple_of(level.period) {
                continue;
            }
            let updates = index / level.period;
            let own = match &mut level.update {
                None => None,
                Some(update) => {
                    Some(act(update, step, updates, self.steps / level.period)?)
                }
            };
            if !several && own.is_none() {
                continue;
            }
            let found = own.as_deref().unwrap_or(found);
            let gradient_norm = scalar(found, &norm_name(&level.name));
            let way = distance(before, &present(step, &level.weights));
            let rate = (gradient_norm > 0.0).then(|| way / gradient_norm);
            reports.push(LevelReport {
                name: level.name.clone(),
                period: level.period,
                updates,
                gradient_norm,
                rate: rate.filter(|_| !before.is_empty()),
            });
        }
        self.restart(step, index)?;
        Ok(reports)
    }

    /// Levels whose time is over return to their initial values, the slowest first, so that what
    /// starts from a slower level starts from what that returned to.
    fn restart(&mut self, step: &mut Executor, index: u64) -> Result<(), RunError> {
        let due = |l: &&Level| l.reset.is_some_and(|n| index.is_multiple_of(n));
        let mut order: Vec<usize> =
            (0..self.all.len()).filter(|&i| due(&&self.all[i])).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(self.all[i].reset));
        for i in order {
            for (start, source) in self.all[i].starts.clone() {
                let data = match source {
                    Some(of) => step.get(&of)?.data,
                    None => start.data.clone(),
                };
                let tensor = HostTensor { data, ..start };
                if takes(step, &tensor.name) {
                    step.set(&tensor)?;
                }
                self.set(&tensor)?;
            }
        }
        Ok(())
    }
}

/// One update: weights and sums come from the step, new weights and empty sums go back to it.
fn act(
    update: &mut Executor,
    step: &mut Executor,
    number: u64,
    numbers: u64,
) -> Result<Vec<HostTensor>, RunError> {
    let names: Vec<String> =
        update.inputs().into_iter().map(|(n, _)| n.to_owned()).collect();
    let shared: Vec<String> = names.into_iter().filter(|n| takes(step, n)).collect();
    for name in shared.iter().filter(|n| !is_number(n)) {
        update.set(&step.get(name)?)?;
    }
    let given: Vec<HostTensor> = [("step", number), ("steps", numbers)]
        .into_iter()
        .filter(|(name, _)| takes(update, name))
        .map(|(name, n)| HostTensor::f32(name, &[], vec![n as f32]))
        .collect();
    let given: Vec<&HostTensor> = given.iter().collect();
    let found = update.run(&given, Sizes { batch: 1, time: 1, start: 0 })?;
    let updated: Vec<String> = update.updated().into_iter().map(str::to_owned).collect();
    for name in shared.iter().filter(|n| !is_number(n)) {
        let mut tensor = update.get(name)?;
        if !updated.contains(name)
            && let Data::F32(values) = &mut tensor.data
        {
            values.fill(0.0);
        }
        step.set(&tensor)?;
    }
    Ok(found)
}

/// Tensors of these names as they are now.
fn present(step: &Executor, names: &[String]) -> Vec<HostTensor> {
    names.iter().filter_map(|n| step.get(n).ok()).collect()
}

/// How far weights went.
fn distance(before: &[HostTensor], after: &[HostTensor]) -> f64 {
    let square = |(a, b): (&HostTensor, &HostTensor)| match (&a.data, &b.data) {
        (Data::F32(a), Data::F32(b)) => {
            a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
        }
        _ => 0.0,
    };
    before.iter().zip(after).map(square).sum::<f64>().sqrt()
}

fn is_number(name: &str) -> bool {
    matches!(name, "step" | "steps")
}

fn takes(executor: &Executor, name: &str) -> bool {
    executor.inputs().iter().any(|(n, _)| *n == name)
}

fn scalar(found: &[HostTensor], name: &str) -> f64 {
    match found.iter().find(|t| t.name == name).map(|t| &t.data) {
        Some(Data::F32(v)) => v.first().map_or(f64::NAN, |x| f64::from(*x)),
        _ => f64::NAN,
    }
}
