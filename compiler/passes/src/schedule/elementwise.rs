//! Ops that act element by element, as scalars of a map.

use nestor_ir::tensor::Op;
use nestor_ir::tile::ScalarOp;

/// The scalar of the same meaning; nothing for ops that are no element-wise ones.
pub(crate) fn scalar_op(op: &Op) -> Option<ScalarOp> {
    Some(match op {
        Op::Neg => ScalarOp::Neg,
        Op::Abs => ScalarOp::Abs,
        Op::Sign => ScalarOp::Sign,
        Op::Sqrt => ScalarOp::Sqrt,
        Op::Exp => ScalarOp::Exp,
        Op::Log => ScalarOp::Log,
        Op::Sin => ScalarOp::Sin,
        Op::Cos => ScalarOp::Cos,
        Op::Tanh => ScalarOp::Tanh,
        Op::Erf => ScalarOp::Erf,
        Op::Sigmoid => ScalarOp::Sigmoid,
        Op::Softplus => ScalarOp::Softplus,
        Op::Floor => ScalarOp::Floor,
        Op::Not => ScalarOp::Not,
        Op::Real => ScalarOp::Real,
        Op::Add => ScalarOp::Add,
        Op::Sub => ScalarOp::Sub,
        Op::Mul => ScalarOp::Mul,
        Op::Div => ScalarOp::Div,
        Op::Pow => ScalarOp::Pow,
        Op::Rem => ScalarOp::Rem,
        Op::Max => ScalarOp::Max,
        Op::Min => ScalarOp::Min,
        Op::Less => ScalarOp::Less,
        Op::LessEqual => ScalarOp::LessEqual,
        Op::Equal => ScalarOp::Equal,
        Op::And => ScalarOp::And,
        Op::Or => ScalarOp::Or,
        Op::Select => ScalarOp::Select,
        Op::Input { .. }
        | Op::Constant { .. }
        | Op::Iota { .. }
        | Op::Position { .. }
        | Op::Reduce { .. }
        | Op::Contract { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Broadcast { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Fit { .. }
        | Op::Concat { .. }
        | Op::Shift { .. }
        | Op::Window { .. }
        | Op::Gather
        | Op::ScatterAdd { .. }
        | Op::SolveUnitLower { .. }
        | Op::Solve
        | Op::InverseRoot { .. }
        | Op::Eigenvectors
        | Op::LinearScan { .. }
        | Op::Scan { .. }
        | Op::Stop
        | Op::Anchor
        | Op::Gradient
        | Op::Read { .. }
        | Op::Write { .. }
        | Op::Recent { .. }
        | Op::Block { .. }
        | Op::Next { .. }
        | Op::Exists { .. }
        | Op::Tick { .. }
        | Op::Gathered { .. }
        | Op::Held { .. }
        | Op::When => return None,
    })
}
