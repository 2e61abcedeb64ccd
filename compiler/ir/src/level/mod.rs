//! The level program: a checked model, token by token, and the graph of its levels.
//!
//! `code` is the model's text elaborated to a graph of one token's values: layers inlined, dims
//! numbers, broadcasts explicit, compile-time choices made. Its inputs are the program's inputs,
//! then its weights, each in order. Memories appear as `read` and `write` nodes whose order in
//! `code` is the order of the statements. What a memory is and how it is written stays apart, as
//! small graphs over *one* instance (the memory's leading dimensions removed): passes decide how
//! instances, batch and time are laid out.

pub mod clocks;
pub mod memory;
pub mod text;

pub use memory::{
    Algorithm, AlgorithmInput, Anchor, FastWeight, Kept, Memory, Minimize, Reset,
    Retention, RetentionForm, RetentionInput, State, StateInitial, Statement, Target,
    Update,
};

use crate::dim::Sizes;
use crate::entity;
use crate::entity::Arena;
use crate::tensor::{Graph, Value};
use crate::ty::{Dims, Type};
use petgraph::graph::DiGraph;

entity!(
    /// A weight that a level outside learns, or a fixed one.
    WeightId,
    "w"
);
entity!(
    /// A memory.
    MemoryId,
    "m"
);
entity!(
    /// A statement that writes a memory.
    StatementId,
    "s"
);

/// How often something happens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Clock {
    /// Every so many tokens.
    Tokens(usize),
    /// Once a sequence.
    Sequence,
    /// Every so many steps of training.
    Steps(usize),
    /// Never again: learned outside, or fixed.
    Once,
}

impl Clock {
    /// The leading dimensions, in a call of these sizes, of what has this clock: a row of the batch
    /// and a tick; what no clock moves is given at every token.
    pub fn lead(self, sizes: &Sizes) -> Vec<usize> {
        match self {
            Clock::Tokens(n) => vec![sizes.batch, sizes.every(n).time],
            Clock::Sequence => vec![sizes.batch],
            Clock::Steps(_) | Clock::Once => vec![sizes.batch, sizes.time],
        }
    }
}

/// A stream or a per-sequence value that comes from outside.
#[derive(Clone, PartialEq, Debug)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// One token's type.
    pub ty: Type,
    /// For whole numbers: they are below this.
    pub below: Option<usize>,
    /// Its clock.
    pub clock: Clock,
}

/// How a weight starts.
#[derive(Clone, PartialEq, Debug)]
pub enum Initial {
    /// Normal with this standard deviation.
    Normal(f64),
    /// Uniform in `[-a, a]`.
    Uniform(f64),
    /// Orthogonal with this gain.
    Orthogonal(f64),
    /// The one output of a graph without inputs.
    Values(Box<Graph>),
    /// What another weight is at that time.
    From(WeightId),
}

/// A weight of the model: a layer's, or the initial value of a memory's.
#[derive(Clone, PartialEq, Debug)]
pub struct Weight {
    /// The chain of instances and its own name: `CMS[2].slow.Linear.W`. Checkpoints use it.
    pub path: String,
    /// Its name in `run` files (`init.W1`, `prefix.k`); the path where nothing shorter is unique.
    pub short: String,
    /// Its shape.
    pub dims: Dims,
    /// How it starts.
    pub initial: Initial,
    /// Kept as written: claimed by no level.
    pub fixed: bool,
    /// The memory whose initial value this is.
    pub memory: Option<MemoryId>,
}

/// A level of optimisation.
#[derive(Clone, PartialEq, Debug)]
pub struct Level {
    /// Its name; a memory's path for the level that a memory is.
    pub name: String,
    /// Its clock.
    pub clock: Clock,
    /// When it returns to its initial values; nothing for a level at a step clock.
    pub reset: Option<Reset>,
    /// Goes on learning in use.
    pub online: bool,
    /// The memory that this level is, for an inner level.
    pub memory: Option<MemoryId>,
    /// What it minimises, for an outer level.
    pub objectives: Vec<OuterMinimize>,
}

/// `minimize loss over targets using algorithm` at a clock of its own.
#[derive(Clone, PartialEq, Debug)]
pub struct OuterMinimize {
    /// A scalar of `code`, averaged over batch and tokens.
    pub objective: Value,
    /// Each weight with its algorithm.
    pub targets: Vec<(WeightId, Algorithm, Option<Retention>)>,
    /// Bound of the norm of all gradients of this statement.
    pub clip: Option<f64>,
}

/// What flows from one level to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlowKind {
    /// A value.
    Value,
    /// A gradient through it.
    Gradient,
    /// The initial state.
    InitialState,
    /// Whole weights.
    Weights,
}

/// An edge of the level graph.
#[derive(Clone, PartialEq, Debug)]
pub struct Flow {
    /// What kind of thing.
    pub kind: FlowKind,
    /// What it is called.
    pub what: String,
}

/// A checked model, layer or memory.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Streams from outside; the first inputs of `code`.
    pub inputs: Vec<Input>,
    /// Weights; the next inputs of `code`.
    pub weights: Arena<WeightId, Weight>,
    /// Memories.
    pub memories: Arena<MemoryId, Memory>,
    /// Statements over memories, named by `write` nodes of `code`.
    pub statements: Arena<StatementId, Statement>,
    /// One token's program. Outputs are the model's outputs, then `loss` where a level uses one.
    pub code: Graph,
    /// Clocks of the outputs, in order.
    pub output_clocks: Vec<Clock>,
    /// The level graph.
    pub levels: DiGraph<Level, Flow>,
}

/// The output of the code that is statement number `k` of the outer levels' objective: those that
/// share an objective share the first one's.
pub fn loss_name(k: usize) -> String {
    if k == 0 { "loss".to_owned() } else { format!("loss.{k}") }
}

/// The name of a state of the algorithm of a weight.
pub fn optimiser_name(state: &str, path: &str) -> String {
    format!("optimiser.{state}.{path}")
}

/// The name of what a level that learns while reading hands on.
pub fn read_name(name: &str) -> String {
    format!("state.reading.{name}")
}

/// The name of a state of the retention of a weight.
pub fn retained_name(state: &str, path: &str) -> String {
    format!("optimiser.kept-{state}.{path}")
}
