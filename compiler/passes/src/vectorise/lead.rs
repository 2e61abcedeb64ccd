//! What a graph is repeated over.

use nestor_ir::ty::Dims;

/// Leading dimensions.
#[derive(Clone, Debug)]
pub struct Lead {
    /// The dimensions.
    pub dims: Dims,
    /// Which one is the tokens', or the ticks' of a clock.
    pub time: Option<usize>,
}
