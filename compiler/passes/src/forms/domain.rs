//! What a value of a token's program can be, seen from a whole chunk.
//!
//! Everything is held flat: rows are pairs (token, row of that token), so that one read or write
//! a token, the usual case, is a plain `[C, d]` matrix, and several are `[C n, d]`.

use super::Reason;
use crate::vectorise::Mapped;
use nestor_ir::tensor::{Axes, Value};
use nestor_ir::ty::Dims;

/// A value of the token's program.
#[derive(Clone, Debug)]
pub(super) enum Abstract {
    /// Known for all tokens of the chunk at once.
    Known(Mapped),
    /// Affine in reads that are not solved for yet.
    Row(Row),
    /// A sum of gated states and of products of low rank, never built.
    Matrix(Matrix),
    /// A function, not affine, of reads that are not solved for yet.
    Function,
    /// None of these.
    Top(Reason),
}

/// A state as it stands before or after the token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Source {
    /// The slot.
    pub(super) slot: usize,
    /// After the token's update; only of slots that are solved.
    pub(super) after: bool,
}

/// A gate: a number per token, or one per token and entry of some axes of the state.
#[derive(Clone, Debug)]
pub(super) struct Factor {
    /// The numbers; their axes are the state's of `axes`.
    pub(super) value: Mapped,
    /// Which axes, ascending; none for one number.
    pub(super) axes: Axes,
}

/// `sum of factor source + sum of factor term`; factors of terms are numbers per token.
#[derive(Clone, Debug)]
pub(super) struct Matrix {
    /// The shape of one token's value.
    pub(super) dims: Dims,
    /// States with their gates.
    pub(super) sources: Vec<(Source, Factor)>,
    /// Terms with their factors.
    pub(super) terms: Vec<(usize, Mapped)>,
}

/// A product of low rank a token writes: `sum over its rows of left (x) right`.
#[derive(Clone, Debug)]
pub(super) struct Term {
    /// `[C R, K]`, known; nothing where it is one and has no axes.
    pub(super) left: Option<Value>,
    /// The axes of the state that `left` lies along.
    pub(super) left_axes: Axes,
    /// The other factor.
    pub(super) right: Right,
    /// The axes of the state that `right` lies along.
    pub(super) right_axes: Axes,
    /// Rows a token.
    pub(super) rank: usize,
}

/// The factor of a term that may depend on reads, `[C R, V]`.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Right {
    /// Known.
    Known(Value),
    /// Affine in reads.
    Affine(Affine),
    /// The value of the token's program that is a function of reads, one row a token, and a
    /// factor `[C, V]`.
    Function(Value, Option<Value>),
}

/// `sum of factor read + free`, flat.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Affine {
    /// Reads with a factor per row, `[C Q]`, or per row and column, `[C Q, V]`.
    pub(super) reads: Vec<(usize, Value)>,
    /// `[C Q, V]`.
    pub(super) free: Option<Value>,
}

/// An affine value with its shape.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Shape of the rows of one token.
    pub(super) rows: Dims,
    /// Shape of one row.
    pub(super) columns: Dims,
    /// Whether the columns' axes stand before the rows'.
    pub(super) columns_first: bool,
    /// The value.
    pub(super) affine: Affine,
}

impl Row {
    /// The token's axes that are rows, and those that are columns.
    pub(super) fn axes(&self) -> (Vec<usize>, Vec<usize>) {
        let (q, v) = (self.rows.len(), self.columns.len());
        if self.columns_first {
            ((v..v + q).collect(), (0..v).collect())
        } else {
            ((0..q).collect(), (q..q + v).collect())
        }
    }
}

/// What a state is read with.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Reader {
    /// `[C Q, K]`; nothing where the state is taken as it is.
    pub(super) vector: Option<Value>,
    /// The axes of the state that are summed.
    pub(super) axes: Axes,
    /// Rows a token.
    pub(super) rows: usize,
}

/// A read that waits for the solution: of a slot as it stands before the token.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Read {
    /// The slot.
    pub(super) slot: usize,
    /// What with.
    pub(super) reader: Reader,
}

/// A state that is updated by an affine recurrence.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// The token program's input.
    pub(super) input: Value,
    /// The token program's next value; nothing for a constant that is treated as a state.
    pub(super) next: Option<Value>,
    /// The value at the chunk's start.
    pub(super) start: Value,
    /// How it is known, once it is.
    pub(super) solved: Option<Solved>,
}

/// How a slot is known over the chunk.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Solved {
    /// By the weights of its family; its place there.
    Family(usize, usize),
    /// After every token, `[C, ..]`.
    Run(Value),
}
