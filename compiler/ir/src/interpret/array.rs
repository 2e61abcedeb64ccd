//! A dense row-major array of the interpreter, and what moves its elements.

use crate::ty::Elem;

/// Elements of one kind. Reals are held in 64 bits and rounded where 32 are asked for.
#[derive(Clone, PartialEq, Debug)]
pub enum Data {
    /// Real numbers.
    Real(Vec<f64>),
    /// Whole numbers.
    Int(Vec<i64>),
    /// Conditions.
    Bool(Vec<bool>),
}

/// A dense row-major array.
#[derive(Clone, PartialEq, Debug)]
pub struct Array {
    /// Its shape.
    pub dims: Vec<usize>,
    /// Its elements.
    pub data: Data,
}

impl Array {
    /// Real numbers.
    ///
    /// # Panics
    /// Where the number of elements is not the shape's.
    pub fn real(dims: impl Into<Vec<usize>>, data: Vec<f64>) -> Self {
        let dims = dims.into();
        assert_eq!(dims.iter().product::<usize>(), data.len(), "elements of {dims:?}");
        Self { dims, data: Data::Real(data) }
    }
    /// Whole numbers.
    pub fn int(dims: impl Into<Vec<usize>>, data: Vec<i64>) -> Self {
        Self { dims: dims.into(), data: Data::Int(data) }
    }
    /// Conditions.
    pub fn bool(dims: impl Into<Vec<usize>>, data: Vec<bool>) -> Self {
        Self { dims: dims.into(), data: Data::Bool(data) }
    }
    /// Zeros (false) of a shape.
    pub fn zeros(elem: Elem, dims: impl Into<Vec<usize>>) -> Self {
        let dims = dims.into();
        let n = dims.iter().product();
        let data = match elem {
            Elem::Real => Data::Real(vec![0.0; n]),
            Elem::Int => Data::Int(vec![0; n]),
            Elem::Bool => Data::Bool(vec![false; n]),
        };
        Self { dims, data }
    }
    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// What an element is.
    pub fn elem(&self) -> Elem {
        match self.data {
            Data::Real(_) => Elem::Real,
            Data::Int(_) => Elem::Int,
            Data::Bool(_) => Elem::Bool,
        }
    }
    /// The reals.
    ///
    /// # Panics
    /// Where the elements are not reals.
    pub fn reals(&self) -> &[f64] {
        match &self.data {
            Data::Real(v) => v,
            Data::Int(_) | Data::Bool(_) => {
                panic!("an array of {:?} where reals are", self.elem())
            }
        }
    }
    /// The whole numbers.
    ///
    /// # Panics
    /// Where the elements are not whole numbers.
    pub fn ints(&self) -> &[i64] {
        match &self.data {
            Data::Int(v) => v,
            Data::Real(_) | Data::Bool(_) => {
                panic!("an array of {:?} where ints are", self.elem())
            }
        }
    }
    /// The conditions.
    ///
    /// # Panics
    /// Where the elements are not conditions.
    pub fn bools(&self) -> &[bool] {
        match &self.data {
            Data::Bool(v) => v,
            Data::Real(_) | Data::Int(_) => {
                panic!("an array of {:?} where bools are", self.elem())
            }
        }
    }
    /// The array of `dims` whose element at each index is this one's at `from(index)`; zero where
    /// there is none.
    pub fn rearranged(
        &self,
        dims: Vec<usize>,
        mut from: impl FnMut(&[usize]) -> Option<Vec<usize>>,
    ) -> Self {
        let strides = strides(&self.dims);
        let offsets: Vec<Option<usize>> = indices(&dims)
            .map(|i| from(&i).map(|j| j.iter().zip(&strides).map(|(a, s)| a * s).sum()))
            .collect();
        let data = match &self.data {
            Data::Real(v) => {
                Data::Real(offsets.iter().map(|o| o.map_or(0.0, |o| v[o])).collect())
            }
            Data::Int(v) => {
                Data::Int(offsets.iter().map(|o| o.map_or(0, |o| v[o])).collect())
            }
            Data::Bool(v) => {
                Data::Bool(offsets.iter().map(|o| o.is_some_and(|o| v[o])).collect())
            }
        };
        Self { dims, data }
    }
    /// Copies `part` over the elements at `to(index of part)`.
    pub fn place(
        &mut self,
        part: &Array,
        mut to: impl FnMut(&[usize]) -> Option<Vec<usize>>,
    ) {
        let strides = strides(&self.dims);
        for (n, i) in indices(&part.dims).enumerate() {
            let Some(j) = to(&i) else { continue };
            let o: usize = j.iter().zip(&strides).map(|(a, s)| a * s).sum();
            match (&mut self.data, &part.data) {
                (Data::Real(a), Data::Real(b)) => a[o] = b[n],
                (Data::Int(a), Data::Int(b)) => a[o] = b[n],
                (Data::Bool(a), Data::Bool(b)) => a[o] = b[n],
                (Data::Real(_) | Data::Int(_) | Data::Bool(_), _) => {
                    panic!("{:?} placed in {:?}", part.elem(), self.elem())
                }
            }
        }
    }
}

/// Row-major strides of a shape.
pub fn strides(dims: &[usize]) -> Vec<usize> {
    let mut out = vec![1; dims.len()];
    for i in (1..dims.len()).rev() {
        out[i - 1] = out[i] * dims[i];
    }
    out
}

/// All indices of a shape, row-major.
pub fn indices(dims: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    let dims = dims.to_vec();
    let n: usize = dims.iter().product();
    let strides = strides(&dims);
    (0..n).map(move |flat| strides.iter().zip(&dims).map(|(s, d)| flat / s % d).collect())
}
