//! What a level does when it acts: bounds, algorithms and retentions of its weights.
//!
//! ```text
//! G = clip(G);  U, s = algorithm(G, s);  W = retention(W, U)
//! ```

use super::{Target, norm_name};
use crate::build::{
    accumulate, add, broadcast_to, div, mul, reshape, scalar, sum_all, unary,
};
use crate::derive::derive;
use crate::error::PassError;
use nestor_ir::level::{
    AlgorithmInput, Retention, RetentionForm, RetentionInput, State, optimiser_name,
    retained_name,
};
use nestor_ir::tensor::{Graph, Group, Op, Value};
use nestor_ir::tile::size::elements;
use nestor_ir::ty::{Dims, Type};
use rustc_hash::FxHashMap;

/// Added to a norm before a bound is divided by it.
const CLIP_EPSILON: f64 = 1e-6;

/// The numbers of updates, inputs of the graph where something asks for them.
#[derive(Default)]
pub(super) struct Numbers {
    count: Option<Value>,
    total: Option<Value>,
}

fn number(g: &mut Graph, slot: &mut Option<Value>, name: &str) -> Value {
    *slot.get_or_insert_with(|| {
        g.find_input(name).unwrap_or_else(|| g.input(name, Type::real([])))
    })
}

/// A statement that acts.
pub(super) struct Act<'a> {
    /// Bound of the norm of all gradients.
    pub(super) clip: Option<f64>,
    /// The square of that norm.
    pub(super) squares: Option<Value>,
    /// Its weights.
    pub(super) updates: Vec<Update<'a>>,
}

/// One weight with its gradient.
pub(super) struct Update<'a> {
    pub(super) path: &'a str,
    pub(super) weight: Value,
    pub(super) gradient: Value,
    /// The inputs that met it at this step, a row a token.
    pub(super) samples: Option<Value>,
    pub(super) target: &'a Target,
}

/// The length of a level's gradient as an output of the graph.
pub(super) fn say_norm(g: &mut Graph, level: &str, squares: Option<Value>) {
    let squares = squares.unwrap_or_else(|| scalar(g, 0.0));
    let norm = unary(g, Op::Sqrt, squares);
    g.output(norm_name(level), norm);
}

/// The sum of squares of all elements; nothing of nothing.
pub(super) fn squares(g: &mut Graph, values: &[Value]) -> Option<Value> {
    values.iter().fold(None, |total, &value| {
        let own = mul(g, value, value);
        let own = sum_all(g, own);
        Some(accumulate(g, total, own))
    })
}

/// The next weights and states by name, and the square of the length of all gradients.
pub(super) type Acted = (Vec<(String, Value)>, Option<Value>);

/// All statements of a level.
pub(super) fn act(
    g: &mut Graph,
    numbers: &mut Numbers,
    statements: &[Act<'_>],
) -> Result<Acted, PassError> {
    let mut updated = Vec::new();
    let mut total = None;
    for statement in statements {
        if let Some(own) = statement.squares {
            total = Some(accumulate(g, total, own));
        }
        let factor = statement.squares.and_then(|s| bound(g, statement.clip, s));
        for update in &statement.updates {
            update.apply(g, numbers, factor, &mut updated)?;
        }
    }
    Ok((updated, total))
}

/// What scales all gradients of a statement so that their common norm is at most the bound.
fn bound(g: &mut Graph, clip: Option<f64>, squares: Value) -> Option<Value> {
    let clip = clip?;
    let norm = unary(g, Op::Sqrt, squares);
    let epsilon = scalar(g, CLIP_EPSILON);
    let norm = add(g, norm, epsilon);
    let clip = scalar(g, clip);
    let ratio = div(g, clip, norm);
    let one = scalar(g, 1.0);
    Some(g.add(Op::Min, &[one, ratio]))
}

/// Values in another shape: what is done to their elements is done in that.
///
/// ```text
/// before   w = add W, reshape [n, h, d] m          W [n, h, d], m [n, h d]
/// after    w = reshape [n, h, d] add (reshape [n, h d] W), m
/// ```
struct Shaped {
    dims: Dims,
    known: FxHashMap<Value, Value>,
}

impl Shaped {
    fn of(&mut self, g: &mut Graph, v: Value) -> Value {
        if let Some(known) = self.known.get(&v) {
            return *known;
        }
        let node = g.def(v).clone();
        let made = match (&node.op, node.op.info().group) {
            (Op::Reshape { .. }, _) => self.of(g, node.operands[0]),
            (Op::Constant { value, ty }, _) => {
                let ty = Type { elem: ty.elem, dims: self.dims.clone() };
                g.add(Op::Constant { value: *value, ty }, &[])
            }
            (Op::Broadcast { axes, .. }, _) if axes.is_empty() => {
                broadcast_to(g, node.operands[0], &self.dims)
            }
            (_, Group::Unary | Group::Binary | Group::Select) => {
                let operands = node.operands.iter().map(|o| self.of(g, *o));
                let operands: Vec<Value> = operands.collect();
                g.add(node.op.clone(), &operands)
            }
            _ => reshape(g, v, &self.dims),
        };
        self.known.insert(v, made);
        made
    }
}

impl Update<'_> {
    /// The next weight and states go to `out`, by name.
    fn apply(
        &self,
        g: &mut Graph,
        numbers: &mut Numbers,
        factor: Option<Value>,
        out: &mut Vec<(String, Value)>,
    ) -> Result<(), PassError> {
        let (_, algorithm, retention) = self.target;
        let gradient = match factor {
            None => self.gradient,
            Some(factor) => {
                let dims = g.ty(self.gradient).dims.clone();
                let factor = broadcast_to(g, factor, &dims);
                mul(g, self.gradient, factor)
            }
        };
        let states = self.states(g, &algorithm.states, optimiser_name);
        let mut arguments = Vec::new();
        for input in &algorithm.inputs {
            arguments.push(match input {
                AlgorithmInput::Gradient => gradient,
                AlgorithmInput::Weight | AlgorithmInput::Anchor => self.weight,
                AlgorithmInput::Count => number(g, &mut numbers.count, "step"),
                AlgorithmInput::Total => number(g, &mut numbers.total, "steps"),
                AlgorithmInput::State(k) => states[*k].1,
                AlgorithmInput::Samples => self
                    .samples
                    .ok_or_else(|| self.unknown("the inputs of a window of steps"))?,
                AlgorithmInput::Captured(_) => return Err(self.unknown("a stream")),
            });
        }
        // An algorithm that is itself a memory takes gradients of its own.
        let marks = |op: &Op| matches!(op, Op::Gradient | Op::Anchor);
        let results = match algorithm.graph.nodes.values().any(|n| marks(&n.op)) {
            true => g.inline(&derive(&algorithm.graph)?, &arguments),
            false => g.inline(&algorithm.graph, &arguments),
        };
        let (&by, next) = results.split_first().ok_or_else(|| {
            PassError::bug("training", format!("no step for `{}`", self.path))
        })?;
        let first = out.len();
        out.extend(states.iter().map(|s| s.0.clone()).zip(next.iter().copied()));
        let weight = match retention {
            None => add(g, self.weight, by),
            Some(retention) => self.retain(g, retention, by, out)?,
        };
        out.push((self.path.to_owned(), weight));
        // What acts on a weight as a matrix acts on all of it in that shape.
        let dims = g.ty(self.weight).dims.clone();
        let shape = states.iter().map(|s| g.ty(s.1).dims.clone());
        let shape = shape.filter(|d| *d != dims).find(|d| elements(d) == elements(&dims));
        if let Some(shape) = shape {
            let mut shaped = Shaped { dims: shape, known: FxHashMap::default() };
            for (_, value) in &mut out[first..] {
                let own = g.ty(*value).dims.clone();
                if elements(&own) == elements(&dims) {
                    let made = shaped.of(g, *value);
                    *value = reshape(g, made, &own);
                }
            }
        }
        Ok(())
    }

    /// States as inputs, with their names.
    fn states(
        &self,
        g: &mut Graph,
        states: &[State],
        name: fn(&str, &str) -> String,
    ) -> Vec<(String, Value)> {
        let one = |state: &State| {
            let name = name(&state.name, self.path);
            let ty = Type::real(state.dims.iter().copied());
            let value = g.find_input(&name).unwrap_or_else(|| g.input(name.clone(), ty));
            (name, value)
        };
        states.iter().map(one).collect()
    }

    fn retain(
        &self,
        g: &mut Graph,
        retention: &Retention,
        by: Value,
        out: &mut Vec<(String, Value)>,
    ) -> Result<Value, PassError> {
        let states = self.states(g, &retention.states, retained_name);
        let mut arguments = Vec::new();
        for input in &retention.inputs {
            arguments.push(match input {
                RetentionInput::Stored | RetentionInput::Previous => self.weight,
                RetentionInput::Step => by,
                RetentionInput::State(k) => states[*k].1,
                RetentionInput::Initial => {
                    return Err(self.unknown("the initial weights"));
                }
                RetentionInput::Captured(_) => return Err(self.unknown("a stream")),
            });
        }
        match &retention.form {
            RetentionForm::Keep { keep, read: None } => {
                let kept = g.inline(keep, &arguments);
                Ok(add(g, kept[0], by))
            }
            RetentionForm::Next { next } => {
                let results = g.inline(next, &arguments);
                let names = states.into_iter().map(|s| s.0);
                out.extend(names.zip(results[1..].iter().copied()));
                Ok(results[0])
            }
            RetentionForm::Keep { read: Some(_), .. } => {
                Err(self
                    .unknown("a retention that stores something else than the weights"))
            }
        }
    }

    fn unknown(&self, what: &str) -> PassError {
        PassError::limitation(
            "L-outer-algorithm",
            format!("{what} in the outer update of `{}`", self.path),
            "use an algorithm and a retention of gradients, weights and their states",
        )
    }
}
