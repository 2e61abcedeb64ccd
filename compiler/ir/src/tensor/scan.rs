//! The scan: a nested program walked along time, independently for every index of its mapped
//! dimensions (batch, heads). It is the one construct that carries state.
//!
//! The body's inputs are, in order: one for every operand of the scan, then `valid` and
//! `position`. What the body sees of an operand depends on its [`Feed`]:
//!
//! | feed | operand's axes | the body sees |
//! |---|---|---|
//! | Shared | Map and Body | the body axes, the same at every step |
//! | Stream | Map, Time, Body | one token's body axes, or `[C, body..]` when stepping by chunks |
//! | Step | Map, Time (of `T/C` entries), Body | the body axes of this step's entry |
//! | Initial | Map and Body | the state as the last step left it |
//! | Mask | Time | nothing (it takes no body input): conditions; tokens where it is false are skipped |
//! | Reach | Body | nothing: positions of a chunk, as long as a step's, of a walk around this one; steps that lie otherwise are skipped |
//!
//! `valid` is a condition per token of the chunk (`[C]`; a scalar when stepping by tokens): false
//! for rows of a partial chunk that lie before the call's first token or after its last one,
//! whose streams read as zero. `position` is the token's absolute position, real, of the same shape.
//!
//! The body's outputs are, in order: the next state for every Initial operand, then one for every
//! entry of [`Scan::yields`]. The scan's results are the final states (axes: the map dimensions,
//! then the body's), then the yields.

use crate::dim::Dim;
use crate::tensor::graph::Graph;
use smallvec::SmallVec;

/// What one axis of an operand or result is to the scan.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Axis {
    /// The mapped dimension of this number.
    Map(usize),
    /// The walked one.
    Time,
    /// The body's next axis.
    Body,
}

/// The axes of an operand or result, outermost first. A mapped dimension may be missing from an
/// operand, which is then shared by it.
pub type Layout = SmallVec<[Axis; 6]>;

/// How an operand reaches the body.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Feed {
    /// The same at every step.
    Shared,
    /// Token by token or chunk by chunk.
    Stream,
    /// One entry a step.
    Step,
    /// The initial value of a state.
    Initial,
    /// Conditions that say which tokens are walked at all.
    Mask,
    /// Positions of a chunk of a walk around this one, by which it has some steps alone.
    Reach(Reach),
}

/// How steps lie to a chunk of a walk around theirs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reach {
    /// All their tokens come before its.
    Before,
    /// Their tokens are its.
    At,
    /// All their tokens come after its.
    After,
}

impl Feed {
    /// Whether it says which steps there are, and the body sees nothing of it.
    pub fn is_of_steps(self) -> bool {
        matches!(self, Feed::Mask | Feed::Reach(_))
    }
}

/// How a result leaves the body.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Yield {
    /// Token by token or chunk by chunk.
    Stream,
    /// One entry a step.
    Step,
}

/// How far one step goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stride {
    /// One token; the body sees no time axis.
    Token,
    /// A chunk of this many tokens; the body sees `[C, ..]`.
    Chunk(usize),
}

/// A nested program and how it is fed.
#[derive(Clone, PartialEq, Debug)]
pub struct Scan {
    /// Dimensions whose every index is an independent walk.
    pub map: SmallVec<[Dim; 2]>,
    /// What is walked: the ticks of a clock, `T` of them, or a fixed number of rows for a walk inside a chunk.
    pub time: Dim,
    /// How far one step goes.
    pub stride: Stride,
    /// From the last step to the first.
    pub reverse: bool,
    /// One for every operand.
    pub feeds: Vec<(Feed, Layout)>,
    /// One for every result after the final states.
    pub yields: Vec<(Yield, Layout)>,
    /// The program of one step of one walk.
    pub body: Graph,
}

impl Scan {
    /// Operand numbers of the states, in order.
    pub fn states(&self) -> impl Iterator<Item = usize> + '_ {
        self.feeds
            .iter()
            .enumerate()
            .filter(|(_, (f, _))| *f == Feed::Initial)
            .map(|(i, _)| i)
    }
}
