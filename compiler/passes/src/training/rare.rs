//! Levels that act at the last of several steps.
//!
//! ```text
//! every step       window = window + G
//! every N steps    G = window / N;  U, s = algorithm(G, s);  W = W + U;  window = 0
//! ```
//!
//! The sum waits beside the weights, in checkpoints too, so that a run may end, or be killed, inside
//! a window. A window that is not complete never acts.

use super::update::{Act, Numbers, Update, act, say_norm, squares};
use super::{Outer, counted, counts_name, outer, window_name};
use crate::build::{broadcast_to, div, mul, scalar};
use crate::error::PassError;
use crate::simplify::simplify;
use nestor_ir::level::{Level, Program};
use nestor_ir::tensor::{Graph, Op, Value};
use nestor_ir::ty::Type;

/// What a level of several steps does at the last of them.
#[derive(Clone, Debug)]
pub struct Rare {
    /// The level.
    pub level: String,
    /// It acts at the last of so many steps.
    pub period: usize,
    /// Inputs: weights, states, sums of the window under [`window_name`], `step` and `steps` counted
    /// in updates of this level. Outputs: weights and states, and the length of the gradient.
    pub graph: Graph,
}

/// The updates of all levels whose period is longer than a step, in the order of the level graph.
///
/// # Errors
/// Where an algorithm asks for what is not supported.
pub fn rare(program: &Program) -> Result<Vec<Rare>, PassError> {
    let levels = outer(program)?;
    levels
        .iter()
        .filter(|l| l.period > 1 && l.learns())
        .map(|l| update_of(program, l))
        .collect()
}

fn update_of(program: &Program, outer: &Outer<'_>) -> Result<Rare, PassError> {
    let graph = acting(program, outer.level, Some(outer.period))?;
    Ok(Rare { level: outer.level.name.clone(), period: outer.period, graph })
}

/// What a level does with the sums of its windows: as they are, or divided by a number of steps.
///
/// # Errors
/// As [`rare`].
pub(crate) fn acting(
    program: &Program,
    level: &Level,
    steps: Option<usize>,
) -> Result<Graph, PassError> {
    let mut g = Graph::new();
    let mut statements = Vec::new();
    for (k, statement) in level.objectives.iter().enumerate() {
        let share = match (counted(program, statement), steps) {
            (_, None) => Share::Each(1.0),
            (false, Some(steps)) => Share::Each(1.0 / steps as f64),
            (true, Some(_)) => {
                let name = counts_name(&level.name, k);
                let tokens = g.input(name, Type::real([]));
                let one = scalar(&mut g, 1.0);
                Share::Of(g.add(Op::Max, &[tokens, one]))
            }
        };
        let mut updates = Vec::new();
        for target in &statement.targets {
            let weight = &program.weights[target.0];
            let ty = Type::real(weight.dims.iter().copied());
            let window = g.input(window_name(&weight.path), ty.clone());
            let value = g.input(weight.path.clone(), ty);
            let gradient = share.of(&mut g, window);
            updates.push(Update {
                path: &weight.path,
                weight: value,
                gradient,
                samples: None,
                target,
            });
        }
        let gradients: Vec<Value> = updates.iter().map(|u| u.gradient).collect();
        let squares = squares(&mut g, &gradients);
        statements.push(Act { clip: statement.clip, squares, updates });
    }
    let (updated, total) = act(&mut g, &mut Numbers::default(), &statements)?;
    say_norm(&mut g, &level.name, total);
    for (name, value) in updated {
        g.output(name, value);
    }
    Ok(simplify(&g))
}

/// How the sum of a window becomes its mean.
enum Share {
    /// Every step weighs the same.
    Each(f64),
    /// By so many tokens.
    Of(Value),
}

impl Share {
    fn of(&self, g: &mut Graph, window: Value) -> Value {
        let dims = g.ty(window).dims.clone();
        match *self {
            Share::Each(share) => {
                let share = scalar(g, share);
                let share = broadcast_to(g, share, &dims);
                mul(g, window, share)
            }
            Share::Of(tokens) => {
                let tokens = broadcast_to(g, tokens, &dims);
                div(g, window, tokens)
            }
        }
    }
}
