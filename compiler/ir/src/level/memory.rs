//! A memory, and the statements that write it, as graphs over one instance.
//!
//! Per token t, with A the stored state, W = read(A) and s the algorithm's states:
//!
//! ```text
//! G      = d/dW objective at the anchor
//! U, s_t = algorithm(G, s_{t-1})
//! A_t    = keep(A_{t-1}) + U,  W_t = read(A_t)     keep form
//! W_t    = next(W_{t-1}, U)                        next form
//! W_t    = argmin <W - W_{t-1}, -U> + penalty      penalty form
//! ```

use crate::level::{Clock, Initial, MemoryId, WeightId};
use crate::tensor::Graph;
use crate::ty::{Dims, Type};

/// When a memory or a level returns to its initial values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reset {
    /// Every so many tokens.
    Tokens(usize),
    /// Every so many steps of training: a level's alone.
    Steps(usize),
    /// At the start of every sequence.
    Sequence,
    /// Never: carried into the next sequence of the same batch row.
    Never,
}

/// One weight of a memory.
#[derive(Clone, PartialEq, Debug)]
pub struct FastWeight {
    /// Its name in the structure.
    pub name: String,
    /// The name of its state in `run` files, without `state.`: `W1`, or the memory's name where it has one weight.
    pub short: String,
    /// Its shape in one instance.
    pub dims: Dims,
    /// Its initial value, whose shape is the memory's leading dimensions (or none of them) and `dims`.
    pub initial: WeightId,
}

/// A plain binding of `update` that `read` sees.
#[derive(Clone, PartialEq, Debug)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// Its type in one instance.
    pub ty: Type,
}

/// A memory.
#[derive(Clone, PartialEq, Debug)]
pub struct Memory {
    /// Its path.
    pub path: String,
    /// Leading dimensions: one independent instance for every index.
    pub map: Dims,
    /// What is updated.
    pub weights: Vec<FastWeight>,
    /// What else an `update` leaves for reads.
    pub kept: Vec<Kept>,
    /// How it is read: inputs are the weights, the kept values, then the operands of a `read` node (what the
    /// structure captures, then the arguments) without their leading dimensions; the one output is the answer.
    pub read: Graph,
    /// `read at every N tokens`: reads see the memory as it stood at the last boundary.
    pub read_at: Option<usize>,
    /// When it starts again.
    pub reset: Reset,
    /// How many tokens a tick of it has: what its statements and graphs call a token.
    pub every: usize,
    /// Whether it has one tick a sequence instead, and hands nothing on to a later call.
    pub once: bool,
}

impl Memory {
    /// When it ticks.
    pub fn clock(&self) -> Clock {
        if self.once { Clock::Sequence } else { Clock::Tokens(self.every) }
    }
}

/// What writes a memory.
#[derive(Clone, PartialEq, Debug)]
pub enum Statement {
    /// A minimisation.
    Minimize(Minimize),
    /// A written recurrence.
    Update(Update),
}

/// Where the gradient is taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Anchor {
    /// At the weights before the update.
    Previous,
    /// At what the retention would leave of them with no step.
    Kept,
    /// At the weights as the last boundary of so many tokens left them.
    Every(usize),
}

/// `minimize objective over memory using algorithm retaining retention`.
#[derive(Clone, PartialEq, Debug)]
pub struct Minimize {
    /// The memory.
    pub memory: MemoryId,
    /// Acts at the last of so many tokens.
    pub every: usize,
    /// Where the gradient is taken.
    pub anchor: Anchor,
    /// Sums the objective over the last so many tokens.
    pub window: usize,
    /// The objectives: inputs are all weights of the memory (at the anchor), then the operands of the `write` node
    /// without leading dimensions; the one output is a scalar.
    pub objectives: Vec<Graph>,
    /// For every objective, the operand of the `write` node whose present value weighs the gradients of a window's
    /// tokens: one number, or one for each age. All weigh one where there is none.
    pub ages: Vec<Option<usize>>,
    /// One for every weight of the memory.
    pub targets: Vec<Target>,
    /// Bound of the norm of all gradients.
    pub clip: Option<f64>,
}

/// How one weight is updated.
#[derive(Clone, PartialEq, Debug)]
pub struct Target {
    /// Which of the objectives its gradient is of.
    pub objective: usize,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// What is kept; everything where there is none.
    pub retention: Option<Retention>,
}

/// What an algorithm's graph is given, in the order of its inputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AlgorithmInput {
    /// The gradient.
    Gradient,
    /// The weights before the update.
    Weight,
    /// The weights the gradient was taken at.
    Anchor,
    /// This update's number, from 1 since the last reset.
    Count,
    /// How many updates there will be, for schedules of a step clock.
    Total,
    /// The inputs of the one product the weight takes part in, a row a sample.
    Samples,
    /// A state of the algorithm, before the update.
    State(usize),
    /// An operand of the `write` node, without leading dimensions.
    Captured(usize),
}

/// A state of an algorithm or a retention.
#[derive(Clone, PartialEq, Debug)]
pub struct State {
    /// Its name, also in `run` files: `state.S.W1`.
    pub name: String,
    /// Its shape.
    pub dims: Dims,
    /// How it starts.
    pub initial: StateInitial,
}

/// How a state starts.
#[derive(Clone, PartialEq, Debug)]
pub enum StateInitial {
    /// The one output of a graph without inputs.
    Values(Box<Graph>),
    /// As the weights start.
    Weights,
    /// As a weight would: the states of a level at a clock of steps alone.
    Drawn(Initial),
    /// As a weight of the program: the states of a memory alone. Its shape is the memory's leading dimensions (or
    /// none of them) and the state's.
    Learned(WeightId),
}

/// How the gradient becomes a step.
#[derive(Clone, PartialEq, Debug)]
pub struct Algorithm {
    /// What the inputs of `graph` are.
    pub inputs: Vec<AlgorithmInput>,
    /// Outputs: `step`, then the next value of every state.
    pub graph: Graph,
    /// The states.
    pub states: Vec<State>,
}

/// What a retention's graphs are given, in the order of their inputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RetentionInput {
    /// The stored state A, or the weights where there is none.
    Stored,
    /// The step U.
    Step,
    /// The weights before the update.
    Previous,
    /// The initial weights.
    Initial,
    /// A state of the retention.
    State(usize),
    /// An operand of the `write` node, without leading dimensions.
    Captured(usize),
}

/// The ways to say what is kept; a penalty has become the next weights it stands for.
#[derive(Clone, PartialEq, Debug)]
pub enum RetentionForm {
    /// `A_t = keep + U`; `read`, where there is one, gives W from `Stored` (and `Captured`).
    Keep {
        /// Inputs as [`Retention::inputs`].
        keep: Graph,
        /// Inputs as [`Retention::inputs`].
        read: Option<Graph>,
    },
    /// Outputs: the next weights, then the next value of every state.
    Next {
        /// Inputs as [`Retention::inputs`].
        next: Graph,
    },
}

/// What is kept of a weight.
#[derive(Clone, PartialEq, Debug)]
pub struct Retention {
    /// What the inputs of the graphs are.
    pub inputs: Vec<RetentionInput>,
    /// The form.
    pub form: RetentionForm,
    /// States of its own.
    pub states: Vec<State>,
}

/// A written recurrence.
#[derive(Clone, PartialEq, Debug)]
pub struct Update {
    /// The memory.
    pub memory: MemoryId,
    /// Inputs: the weights, then the operands of the `write` node without leading dimensions. Outputs: the next
    /// weights, then the kept values.
    pub function: Graph,
}
