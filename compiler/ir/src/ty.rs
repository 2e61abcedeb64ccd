//! Types of values: what an element is, and the dimensions. The working precision of `Real`
//! (f32, f64, later bf16) is chosen when a graph is run or compiled, never written in it, so that
//! one graph serves training and verification.

use crate::dim::Dim;
use smallvec::SmallVec;
use std::fmt;

/// A list of dimensions, outermost first; row-major.
pub type Dims = SmallVec<[Dim; 4]>;

/// What one element of a tensor is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Elem {
    /// A number of the working precision.
    Real,
    /// A whole number: a token, a label.
    Int,
    /// True or false: a condition.
    Bool,
}

/// The type of a value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Type {
    /// What an element is.
    pub elem: Elem,
    /// The shape.
    pub dims: Dims,
}

impl Type {
    /// A real tensor.
    pub fn real(dims: impl IntoIterator<Item = Dim>) -> Self {
        Self { elem: Elem::Real, dims: dims.into_iter().collect() }
    }
    /// A tensor of whole numbers.
    pub fn int(dims: impl IntoIterator<Item = Dim>) -> Self {
        Self { elem: Elem::Int, dims: dims.into_iter().collect() }
    }
    /// A tensor of conditions.
    pub fn bool(dims: impl IntoIterator<Item = Dim>) -> Self {
        Self { elem: Elem::Bool, dims: dims.into_iter().collect() }
    }
    /// The same shape with other elements.
    pub fn with(&self, elem: Elem) -> Self {
        Self { elem, dims: self.dims.clone() }
    }
    /// How many dimensions there are.
    pub fn rank(&self) -> usize {
        self.dims.len()
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.elem {
            Elem::Real => {}
            Elem::Int => f.write_str("int")?,
            Elem::Bool => f.write_str("bool")?,
        }
        f.write_str("[")?;
        for (i, dim) in self.dims.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{dim}")?;
        }
        f.write_str("]")
    }
}
