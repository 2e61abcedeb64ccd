//! The scalar program of a map: a small graph evaluated at every point of the iteration space.

use crate::entity;
use crate::entity::{Arena, Entity};
use crate::ty::Elem;
use smallvec::SmallVec;

entity!(
    /// A scalar of a map's program.
    ExprId,
    "e"
);

/// One scalar operation. The meanings are those of the tensor ops of the same name.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ScalarOp {
    /// The element of load number `.0`; whole numbers and conditions are loaded as they are.
    Load(usize),
    /// A number.
    Constant(f64),
    /// The iteration index of dimension `.0`, as a real, plus the value of affine number `.1` of [`Expr::offsets`].
    Index(usize, usize),
    /// `-a`
    Neg,
    /// `|a|`
    Abs,
    /// sign
    Sign,
    /// square root
    Sqrt,
    /// exponential
    Exp,
    /// logarithm
    Log,
    /// sine
    Sin,
    /// cosine
    Cos,
    /// hyperbolic tangent
    Tanh,
    /// error function
    Erf,
    /// logistic
    Sigmoid,
    /// `log(1 + e^a)`
    Softplus,
    /// floor
    Floor,
    /// not, of a condition
    Not,
    /// as a real, of a whole number or a condition
    Real,
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a b`
    Mul,
    /// `a / b`
    Div,
    /// `a^b`
    Pow,
    /// `a - b floor(a / b)`
    Rem,
    /// larger
    Max,
    /// smaller
    Min,
    /// `a < b`
    Less,
    /// `a <= b`
    LessEqual,
    /// `a = b`
    Equal,
    /// and
    And,
    /// or
    Or,
    /// `if a then b else c`
    Select,
}

/// What a scalar is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ScalarKind {
    /// A number of the kernel's precision.
    Real,
    /// A whole number (i32).
    Int,
    /// A condition.
    Bool,
}

/// The kind of an element that is loaded.
pub fn kind_of(elem: Elem) -> ScalarKind {
    match elem {
        Elem::Real => ScalarKind::Real,
        Elem::Int => ScalarKind::Int,
        Elem::Bool => ScalarKind::Bool,
    }
}

/// A scalar with its operands, which come earlier.
#[derive(Clone, PartialEq, Debug)]
pub struct Scalar {
    /// The operation.
    pub op: ScalarOp,
    /// Its operands.
    pub operands: SmallVec<[ExprId; 3]>,
    /// What it is.
    pub kind: ScalarKind,
}

/// The program of one point.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Expr {
    /// Scalars, operands before users.
    pub scalars: Arena<ExprId, Scalar>,
    /// Offsets that `Index` scalars add.
    pub offsets: Vec<crate::tile::Affine>,
}

impl Expr {
    /// Adds a scalar.
    pub fn add(&mut self, op: ScalarOp, operands: &[ExprId], kind: ScalarKind) -> ExprId {
        self.scalars.push(Scalar {
            op,
            operands: operands.iter().copied().collect(),
            kind,
        })
    }

    /// The most scalars that are wanted at a time, computed in their order; `kept` are wanted to the end.
    pub fn held(&self, kept: impl IntoIterator<Item = ExprId>) -> usize {
        let mut last: Vec<usize> = (0..self.scalars.len()).collect();
        for (id, scalar) in self.scalars.iter() {
            scalar.operands.iter().for_each(|o| last[o.index()] = id.index());
        }
        kept.into_iter().for_each(|v| last[v.index()] = self.scalars.len());
        let mut ends = vec![0; last.len() + 1];
        let (mut held, mut most) = (0, 0);
        for (n, end) in last.into_iter().enumerate() {
            held += 1;
            ends[end] += 1;
            most = most.max(held);
            held -= ends[n];
        }
        most
    }

    /// The kinds of operands, all of which must be there.
    pub fn kinds(&self, operands: &[ExprId]) -> Option<SmallVec<[ScalarKind; 3]>> {
        operands.iter().map(|o| self.scalars.get(*o).map(|s| s.kind)).collect()
    }
}
