//! What every scalar operation takes and gives: the one table of kinds.

use super::expr::{ScalarKind, ScalarOp};

/// What an operation takes and gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signature {
    /// How many operands it takes.
    pub operands: usize,
    /// The kind of all of them, where it is fixed.
    pub of: Option<ScalarKind>,
    /// The kind of its result.
    pub gives: Gives,
}

/// The kind of a result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gives {
    /// That of what is loaded, or what a constant is said to be.
    Told,
    /// Always this one.
    Always(ScalarKind),
    /// That of the second operand.
    Second,
}

impl ScalarOp {
    /// Whether it is made of many instructions, a polynomial or two.
    pub const fn is_transcendental(self) -> bool {
        matches!(
            self,
            Self::Exp
                | Self::Log
                | Self::Sin
                | Self::Cos
                | Self::Tanh
                | Self::Erf
                | Self::Sigmoid
                | Self::Softplus
                | Self::Pow
        )
    }

    /// What the operation takes and gives.
    pub const fn signature(self) -> Signature {
        use ScalarKind::{Bool, Real};
        const fn row(operands: usize, of: Option<ScalarKind>, gives: Gives) -> Signature {
            Signature { operands, of, gives }
        }
        match self {
            Self::Load(_) | Self::Constant(_) => row(0, None, Gives::Told),
            Self::Index(..) => row(0, None, Gives::Always(Real)),
            Self::Neg
            | Self::Abs
            | Self::Sign
            | Self::Sqrt
            | Self::Exp
            | Self::Log
            | Self::Sin
            | Self::Cos
            | Self::Tanh
            | Self::Erf
            | Self::Sigmoid
            | Self::Softplus
            | Self::Floor => row(1, Some(Real), Gives::Always(Real)),
            Self::Not => row(1, Some(Bool), Gives::Always(Bool)),
            Self::Real => row(1, None, Gives::Always(Real)),
            Self::Add
            | Self::Sub
            | Self::Mul
            | Self::Div
            | Self::Pow
            | Self::Rem
            | Self::Max
            | Self::Min => row(2, Some(Real), Gives::Always(Real)),
            Self::Less | Self::LessEqual => row(2, Some(Real), Gives::Always(Bool)),
            Self::And | Self::Or => row(2, Some(Bool), Gives::Always(Bool)),
            Self::Equal => row(2, None, Gives::Always(Bool)),
            Self::Select => row(3, None, Gives::Second),
        }
    }

    /// The kind of the result, where operation and operands tell it.
    pub fn kind(self, operands: &[ScalarKind]) -> Option<ScalarKind> {
        match self.signature().gives {
            Gives::Told => None,
            Gives::Always(kind) => Some(kind),
            Gives::Second => operands.get(1).copied(),
        }
    }
}
