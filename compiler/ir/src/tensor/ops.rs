//! THE op table. Every tensor op is declared here once, with its text name, its number of
//! operands and its formula; the enum, the names and the documentation come from this table.
//! Matches over [`Op`] have no wildcard arm, so a new row leads through the compiler by errors:
//! infer, interpret, derivative, vectorise, fuse, schedule.
//!
//! Element-wise ops demand equal shapes; a smaller operand is broadcast explicitly.

use crate::dim::Dim;
use crate::level::{Clock, MemoryId, StatementId};
use crate::tensor::scan::Scan;
use crate::ty::{Dims, Type};
use smallvec::SmallVec;

/// A list of axes.
pub type Axes = SmallVec<[usize; 4]>;
/// Pairs of axes, (left operand's, right operand's).
pub type AxisPairs = SmallVec<[(usize, usize); 2]>;

/// What an op is to a pass that asks for a property rather than a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// No operand.
    Leaf,
    /// One operand, element by element.
    Unary,
    /// Two operands of one shape, element by element.
    Binary,
    /// Chooses element by element.
    Select,
    /// Folds axes away.
    Reduce,
    /// Products.
    Contract,
    /// Moves elements and computes nothing.
    Move,
    /// Elements chosen by index.
    Index,
    /// Linear systems and matrix functions.
    Solve,
    /// Recurrences and nested programs.
    Control,
    /// Marks that a pass removes.
    Mark,
    /// Only in a level program: time and memories, token by token.
    Token,
}

/// How a reduction folds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fold {
    /// Sum; nothing gives 0.
    Sum,
    /// Largest; nothing gives -inf.
    Max,
    /// Smallest; nothing gives +inf.
    Min,
}

/// A row of the table, for people and for tests.
#[derive(Clone, Copy, Debug)]
pub struct OpInfo {
    /// The name in text.
    pub name: &'static str,
    /// The name of its variant of [`Op`].
    pub variant: &'static str,
    /// Its group.
    pub group: Group,
    /// Number of operands; nothing where it varies.
    pub arity: Option<usize>,
    /// The formula.
    pub about: &'static str,
}

macro_rules! arity {
    (n) => {
        None
    };
    ($n:literal) => {
        Some($n)
    };
}

macro_rules! ops {
    ($( $group:ident { $( $(#[doc = $doc:literal])+ $name:ident $({ $($(#[doc = $fdoc:literal])+ $field:ident : $ty:ty),* $(,)? })? = $text:literal / $arity:tt; )+ } )+) => {
        /// One tensor operation with its attributes; operands stand in the node, in order.
        #[derive(Clone, PartialEq, Debug)]
        pub enum Op {
            $($( $(#[doc = $doc])+ $name $({ $($(#[doc = $fdoc])+ $field: $ty),* })?, )+)+
        }

        impl Op {
            /// The op's row of the table.
            pub fn info(&self) -> OpInfo {
                match self {
                    $($( Op::$name $({ $($field: _),* })? => OpInfo {
                        name: $text,
                        variant: stringify!($name),
                        group: Group::$group,
                        arity: arity!($arity),
                        about: concat!($($doc),+),
                    }, )+)+
                }
            }
        }

        /// Every row of the table.
        pub const TABLE: &[OpInfo] = &[
            $($( OpInfo {
                name: $text,
                variant: stringify!($name),
                group: Group::$group,
                arity: arity!($arity),
                about: concat!($($doc),+),
            }, )+)+
        ];
    };
}

ops! {
    Leaf {
        /// The graph's input number `index`.
        Input {
            /// Place among the graph's inputs.
            index: usize,
            /// Its type.
            ty: Type,
        } = "input" / 0;
        /// `value` in every element; true is 1.
        Constant {
            /// The number.
            value: f64,
            /// The type.
            ty: Type,
        } = "constant" / 0;
        /// `0, 1, 2 ...` along `axis`, the same along the others; real.
        Iota {
            /// The axis counted.
            axis: usize,
            /// The shape.
            dims: Dims,
        } = "iota" / 0;
        /// The absolute position `t0 + t` of each token, or tick, real `[T]`; in a level program a scalar.
        Position {
            /// `[T]`, ticks of a clock, or nothing.
            dims: Dims,
        } = "position" / 0;
    }
    Unary {
        /// `-a`
        Neg = "neg" / 1;
        /// `|a|`
        Abs = "abs" / 1;
        /// `-1`, `0` or `1`
        Sign = "sign" / 1;
        /// `a^(1/2)`
        Sqrt = "sqrt" / 1;
        /// `e^a`
        Exp = "exp" / 1;
        /// natural logarithm
        Log = "log" / 1;
        /// sine
        Sin = "sin" / 1;
        /// cosine
        Cos = "cos" / 1;
        /// hyperbolic tangent
        Tanh = "tanh" / 1;
        /// `2/sqrt(pi) int_0^a e^(-u^2) du`
        Erf = "erf" / 1;
        /// `1 / (1 + e^(-a))`
        Sigmoid = "sigmoid" / 1;
        /// `log(1 + e^a)`
        Softplus = "softplus" / 1;
        /// the largest whole number not above `a`
        Floor = "floor" / 1;
        /// `not a`, of a condition
        Not = "not" / 1;
        /// the same number as a real, of a whole number or a condition
        Real = "real" / 1;
    }
    Binary {
        /// `a + b`
        Add = "add" / 2;
        /// `a - b`
        Sub = "sub" / 2;
        /// `a b`
        Mul = "mul" / 2;
        /// `a / b`
        Div = "div" / 2;
        /// `a^b`
        Pow = "pow" / 2;
        /// `a - b floor(a / b)`
        Rem = "rem" / 2;
        /// the larger
        Max = "max" / 2;
        /// the smaller
        Min = "min" / 2;
        /// `a < b`, a condition
        Less = "less" / 2;
        /// `a <= b`, a condition
        LessEqual = "less_equal" / 2;
        /// `a = b`, a condition; of reals or whole numbers
        Equal = "equal" / 2;
        /// both, of conditions
        And = "and" / 2;
        /// either, of conditions
        Or = "or" / 2;
    }
    Select {
        /// `if c then a else b`, operands `(c, a, b)`; c is a condition
        Select = "select" / 3;
    }
    Reduce {
        /// Folds `axes` away.
        Reduce {
            /// How.
            fold: Fold,
            /// Which, ascending.
            axes: Axes,
        } = "reduce" / 1;
    }
    Contract {
        /// `sum over the pairs in sum of a * b`; the result has the batch axes, then a's others, then b's others.
        Contract {
            /// Pairs that run together and stay, in the result's order.
            batch: AxisPairs,
            /// Pairs that are summed.
            sum: AxisPairs,
        } = "contract" / 2;
    }
    Move {
        /// The same elements in row-major order under another shape.
        Reshape {
            /// The new shape; run-time dimensions stay whole and in order.
            dims: Dims,
        } = "reshape" / 1;
        /// Axis `i` of the result is axis `order[i]` of the operand.
        Transpose {
            /// The operand's axes in the result's order.
            order: Axes,
        } = "transpose" / 1;
        /// Repeats: axis `i` of the operand becomes axis `axes[i]` of the result, the rest is new.
        Broadcast {
            /// The result's shape.
            dims: Dims,
            /// Where the operand's axes go, ascending.
            axes: Axes,
        } = "broadcast" / 1;
        /// `size` entries of `axis` from `start`.
        Slice {
            /// The axis.
            axis: usize,
            /// First entry.
            start: usize,
            /// Number of entries.
            size: usize,
        } = "slice" / 1;
        /// The first `size` entries of `axis`, zeros behind them where there are fewer.
        Fit {
            /// The axis.
            axis: usize,
            /// How many entries.
            size: Dim,
        } = "fit" / 1;
        /// Zeros before and after along `axis`.
        Pad {
            /// The axis.
            axis: usize,
            /// Zeros before.
            before: usize,
            /// Zeros after.
            after: usize,
        } = "pad" / 1;
        /// One after another along `axis`: fixed sizes, or `P` and `T` entries.
        Concat {
            /// The axis.
            axis: usize,
        } = "concat" / n;
        /// `y[i] = x[i - by]` along `axis`, zero where there is none; `by < 0` looks ahead.
        Shift {
            /// The axis.
            axis: usize,
            /// How many places later.
            by: i64,
        } = "shift" / 1;
        /// `y[.., t, j, ..] = x[.., t - j, ..]`: the last `size` entries of `axis`, newest first, zero before
        /// the first; the new axis stands right after `axis`. Over an axis of `P+T` entries with size `P+T`, the
        /// tokens of this call alone have one: `axis` becomes `T` and `x[.., t, ..]` is entry `P + t`.
        Window {
            /// The axis.
            axis: usize,
            /// How far back; `T` for everything, `P+T` for everything with the calls before.
            size: Dim,
        } = "window" / 1;
    }
    Index {
        /// Rows of a table: `(table [n, ..], index [i..])` gives `[i.., ..]`.
        Gather = "gather" / 2;
        /// The adjoint of gather: `(values [i.., ..], index [i..])` summed into `[rows, ..]` zeros.
        ScatterAdd {
            /// Rows of the result.
            rows: usize,
        } = "scatter_add" / 2;
    }
    Solve {
        /// `(I + tril(L, -1))^-1 X`, or with its transpose; `(L [.., n, n], X [.., n, m])`. Only what is strictly
        /// below L's diagonal is read.
        SolveUnitLower {
            /// Solve with the transposed matrix.
            transpose: bool,
        } = "solve_unit_lower" / 2;
        /// `A^-1 X` for symmetric positive A; `(A [.., n, n], X [.., n, m])`.
        Solve = "solve" / 2;
        /// `A^(-1/p)` for symmetric positive A `[.., n, n]`.
        InverseRoot {
            /// The root.
            p: f64,
        } = "inverse_root" / 1;
        /// The eigenvectors of symmetric A `[.., n, n]` as columns, in any order and of either sign.
        Eigenvectors = "eigenvectors" / 1;
    }
    Control {
        /// `y_t = a_t y_{t-1} + b_t`, `y_{-1} = init`; `(a [.., L, n, n], b [.., L, n, m], init [.., n, m])` gives
        /// `[.., L, n, m]`. Reversed: `y_t = a_t y_{t+1} + b_t`, `y_L = init`.
        LinearScan {
            /// Walk from the end.
            reverse: bool,
        } = "linear_scan" / 3;
        /// A program repeated along time with carried state; see [`Scan`].
        Scan {
            /// The nested program and how it is fed.
            scan: Box<Scan>,
        } = "scan" / n;
    }
    Mark {
        /// The same value; no gradient passes.
        Stop = "stop" / 1;
        /// The same value: the place where an inner gradient is taken.
        Anchor = "anchor" / 1;
        /// `d objective / d anchor`, operands `(objective scalar, anchor)`; all that does not depend on the anchor
        /// is a constant. Gone after `derive`.
        Gradient = "gradient" / 2;
    }
    Token {
        /// What memory `memory` answers to the operands, now or as it stood at the last boundary.
        Read {
            /// The memory.
            memory: MemoryId,
            /// `at every N tokens`.
            every: Option<usize>,
            /// The answer's type.
            ty: Type,
        } = "read" / n;
        /// A statement that acts on a memory; the operands are what it captures. No result.
        Write {
            /// The statement.
            statement: StatementId,
        } = "write" / n;
        /// `[size, ..]`: the last values with the present one, newest first; `T` for all, `P+T` for all with the calls before.
        Recent {
            /// How many.
            size: Dim,
        } = "recent" / 1;
        /// `[size, ..]`: all since the last boundary of `size` tokens, newest first, the rest not there.
        Block {
            /// The boundary's distance.
            size: usize,
        } = "block" / 1;
        /// The value `by` tokens ahead; only objectives may need it.
        Next {
            /// How far.
            by: usize,
        } = "next" / 1;
        /// Whether the entry of a window exists: `[size]` conditions for `recent` or `block`.
        Exists {
            /// The window's size.
            size: Dim,
            /// True for a block, false for the recent past.
            block: bool,
        } = "exists" / 0;
        /// How many ticks of the clock were before this one, real.
        Tick {
            /// Tokens of a tick.
            every: usize,
        } = "tick" / 0;
        /// `[size, ..]` at a slower clock: the values since its last tick, the oldest first.
        Gathered {
            /// The slower clock.
            every: Clock,
            /// How many.
            size: Dim,
            /// All of a sequence, known from its start.
            ahead: bool,
        } = "gathered" / 1;
        /// The last value of a slower clock, at this one; zero before the first.
        Held {
            /// The faster clock.
            every: Clock,
        } = "held" / 1;
        /// The objective `a` where the condition `b` holds; sums and averages run over those tokens.
        When = "when" / 2;
    }
}
