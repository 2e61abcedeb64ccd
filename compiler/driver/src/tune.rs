//! A search for the form and the chunk of a walk that a machine is fastest with: what to measure next, from what was measured.
//!
//! Every candidate is measured beside what costs choose, in turn, and only their ratio is kept, so that a machine that is
//! busy at one time and not at another disturbs both alike. The better half goes on to a longer round. What is known is
//! a list of ratios, which may come from an earlier search that was killed: the next step follows from it alone.

use crate::Program;
use crate::native::{self, Machine, NativeError};
use crate::pipeline::{Lowered, Purpose, training_step, with_gradients};
use nestor_ir::artifact::Artifact;
use nestor_ir::tensor::Graph;
use nestor_passes::PassError;
use nestor_passes::forms::{Choice, Form, FormOptions, Tuned};

/// Tokens of a chunk that are tried.
pub const CHUNKS: [usize; 4] = [16, 32, 64, 128];

/// Pairs of calls of each round.
pub const ROUNDS: [usize; 3] = [3, 7, 15];

/// What is not this much faster is left to costs: a twentieth is what two measurements of one thing may differ by.
const WORTH: f64 = 0.95;
/// What is this much slower at first is not measured again, however few are faster.
const HOPELESS: f64 = 1.5;

/// A candidate with what was measured of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Trial {
    /// The form.
    pub form: Form,
    /// Tokens of a chunk.
    pub chunk: usize,
    /// Its time over that of what costs choose, by round; infinite where it did not run.
    pub ratios: Vec<f64>,
}

/// The candidates of a walk: every form with every chunk but what costs choose; which of them apply, compiling them says.
pub fn candidates(known: &Choice) -> Vec<Trial> {
    // Two passes are the affine form, cut further by costs.
    let own = if known.form == Form::TwoPass { Form::Affine } else { known.form };
    // Row by row, errors that are affine are solved as the affine form solves them.
    let twice = |form: &Form| *form == Form::Rowwise && own == Form::Affine;
    let forms = [known.parallel, Form::Rowwise, Form::Sequential];
    let forms = forms.into_iter().filter(|form| !twice(form));
    let all = forms.flat_map(|form| CHUNKS.map(|chunk| (form, chunk)));
    all.filter(|candidate| *candidate != (own, known.chunk))
        .map(|(form, chunk)| Trial { form, chunk, ratios: Vec::new() })
        .collect()
}

/// The number of the trial that is measured next, and in how many pairs; nothing where all is known.
pub fn next(trials: &[Trial]) -> Option<(usize, usize)> {
    let mut alive: Vec<usize> = (0..trials.len()).collect();
    for (round, pairs) in ROUNDS.into_iter().enumerate() {
        if let Some(trial) = alive.iter().find(|t| trials[**t].ratios.len() <= round) {
            return Some((*trial, pairs));
        }
        alive.retain(|t| trials[*t].ratios[round] < HOPELESS);
        alive.sort_by(|a, b| {
            trials[*a].ratios[round].total_cmp(&trials[*b].ratios[round])
        });
        alive.truncate(alive.len().div_ceil(2).min(4));
    }
    None
}

/// The best trial by the longest round that any was in; nothing where what costs choose is as good.
pub fn best(trials: &[Trial]) -> Option<&Trial> {
    let rounds = trials.iter().map(|t| t.ratios.len()).max()?;
    let last = trials.iter().filter(|t| rounds > 0 && t.ratios.len() == rounds);
    let best =
        last.min_by(|a, b| a.ratios[rounds - 1].total_cmp(&b.ratios[rounds - 1]))?;
    (best.ratios[rounds - 1] < WORTH).then_some(best)
}

/// What a program is measured by, as it is compiled: a step of training where it says how it is trained, otherwise outputs
/// and the gradients of all inputs.
pub struct Whole {
    /// What was chosen for every walk.
    pub choices: Vec<Choice>,
    graph: Graph,
}

/// Whether a program says how it is trained.
pub fn learns(program: &Program) -> bool {
    program.levels.node_weights().any(|l| !l.objectives.is_empty())
}

/// A program with its walks as they are told to be, and as costs have them elsewhere.
///
/// # Errors
/// As the passes.
pub fn whole(program: &Program, forms: FormOptions) -> Result<Whole, PassError> {
    let Lowered { graph, choices, .. } = match learns(program) {
        true => training_step(program, forms)?,
        false => {
            let outputs = program.code.outputs.iter().map(|o| o.name.as_str());
            let outputs: Vec<&str> =
                outputs.filter(|n| !n.starts_with("state.")).collect();
            with_gradients(program, Purpose { resume: false, forms }, &outputs)?
        }
    };
    Ok(Whole { choices, graph })
}

impl Whole {
    /// Whether a walk is as it was told to be.
    pub fn has(&self, walk: &Tuned) -> bool {
        let mut own = self.choices.iter().filter(|c| c.key == walk.walk).peekable();
        own.peek().is_some() && own.all(|c| c.tuned)
    }

    /// Its code.
    ///
    /// # Errors
    /// As [`native::compiled`].
    pub fn compiled(&self, machine: Machine) -> Result<Artifact, NativeError> {
        native::compiled(&self.graph, machine)
    }
}

/// What was found of some walks, and this one as a trial has it.
pub fn with(found: &[Tuned], walk: &str, trial: &Trial) -> &'static [Tuned] {
    let one = Tuned { walk: walk.to_owned(), form: trial.form, chunk: trial.chunk };
    let others = found.iter().filter(|t| t.walk != walk).cloned();
    others.chain([one]).collect::<Vec<_>>().leak()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trials(times: &[f64]) -> Vec<Trial> {
        let one = |k: usize| Trial { form: Form::Affine, chunk: k, ratios: vec![] };
        (0..times.len()).map(one).collect()
    }

    /// Measures as a search says, and tells how often each was.
    fn searched(times: &[f64], mut known: Vec<Trial>) -> (Vec<Trial>, Vec<usize>) {
        let mut count = vec![0; times.len()];
        while let Some((trial, _)) = next(&known) {
            known[trial].ratios.push(times[trial]);
            count[trial] += 1;
        }
        (known, count)
    }

    #[test]
    fn the_better_half_goes_on() {
        let times = [1.2, 0.9, 0.7, 3.0, 0.8, f64::INFINITY];
        let (known, count) = searched(&times, trials(&times));
        assert_eq!(count, [1, 1, 3, 1, 2, 1]);
        assert_eq!(best(&known).map(|t| t.chunk), Some(2));
    }

    #[test]
    fn what_is_hardly_faster_is_left_to_costs() {
        for times in [vec![], vec![0.99, 1.1], vec![2.0], vec![f64::INFINITY]] {
            let (known, _) = searched(&times, trials(&times));
            assert_eq!(best(&known), None, "{times:?}");
        }
    }

    #[test]
    fn a_search_that_was_killed_goes_on_with_what_it_has() {
        let times = [1.2, 0.9, 0.7, 0.75, 0.8];
        let (whole, _) = searched(&times, trials(&times));
        for stop in 0..8 {
            let mut known = trials(&times);
            for _ in 0..stop {
                let Some((trial, _)) = next(&known) else { break };
                known[trial].ratios.push(times[trial]);
            }
            assert_eq!(searched(&times, known).0, whole, "killed after {stop}");
        }
    }
}
