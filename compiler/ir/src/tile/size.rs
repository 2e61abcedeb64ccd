//! Run-time quantities of a kernel: numbers of elements and affine functions of indices.

use crate::dim::{Dim, Sizes};
use crate::entity::Entity;
use crate::tile::Index;
use crate::ty::Dims;
use smallvec::SmallVec;

/// `factor * B^batch * T^time * P^start * (P+T)^whole * (T/c)^chunks`: the size of a shape, or a row-major stride of it.
/// All but the factor and `B` are those of one clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Monomial {
    /// The number.
    pub factor: i64,
    /// Power of `B`.
    pub batch: u8,
    /// Power of `T`.
    pub time: u8,
    /// `(c, power)` of the number of chunks of c tokens; `(0, 0)` where there is none.
    pub chunks: (usize, u8),
    /// Times `t0 mod c`, the rows of the first chunk before this call; 0 where there is none.
    pub phase: usize,
    /// Power of `t0`, the tokens before this call.
    pub start: u8,
    /// Power of `t0 + T`, all tokens.
    pub whole: u8,
    /// How many tokens a tick of the clock has that all of these count; 1 where there are none.
    pub every: usize,
}

impl Monomial {
    /// A plain number.
    pub const fn number(factor: i64) -> Self {
        Self {
            factor,
            batch: 0,
            time: 0,
            chunks: (0, 0),
            phase: 0,
            start: 0,
            whole: 0,
            every: 1,
        }
    }
    /// `t0 mod c`, of ticks of a clock.
    pub const fn phase(every: usize, c: usize) -> Self {
        Self { phase: c, every, ..Self::number(1) }
    }
    /// `t0`, in ticks of a clock.
    pub const fn start(every: usize) -> Self {
        Self { start: 1, every, ..Self::number(1) }
    }
    /// A dimension.
    pub fn dim(dim: Dim) -> Self {
        let (dim, every) = dim.of_tokens();
        let one = Self { every, ..Self::number(1) };
        match dim {
            Dim::Fixed(n) => Self::number(i64::try_from(n).expect("a size fits 63 bits")),
            Dim::Batch => Self { batch: 1, ..one },
            Dim::Time => Self { time: 1, ..one },
            Dim::Past => Self { start: 1, ..one },
            Dim::Whole => Self { whole: 1, ..one },
            Dim::Samples => Self { batch: 1, time: 1, ..one },
            Dim::Chunks(c) => Self { chunks: (c, 1), ..one },
            Dim::Ticks(_)
            | Dim::TicksPast(_)
            | Dim::TicksWhole(_)
            | Dim::TickChunks { .. } => unreachable!("it was told as one of the tokens"),
        }
    }
    /// Whether it counts tokens or ticks.
    fn counts(&self) -> bool {
        Self { factor: 1, batch: 0, every: 1, ..*self } != Self::number(1)
    }
    /// The product; at most one kind of chunk, one phase and one clock in it.
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        debug_assert!(
            self.chunks.0 == 0 || other.chunks.0 == 0 || self.chunks.0 == other.chunks.0
        );
        debug_assert!(self.phase == 0 || other.phase == 0);
        assert!(
            self.every == other.every || !self.counts() || !other.counts(),
            "ticks of two clocks make no quantity"
        );
        Self {
            factor: self.factor * other.factor,
            batch: self.batch + other.batch,
            time: self.time + other.time,
            chunks: (self.chunks.0.max(other.chunks.0), self.chunks.1 + other.chunks.1),
            phase: self.phase.max(other.phase),
            start: self.start + other.start,
            whole: self.whole + other.whole,
            every: self.every.max(other.every),
        }
    }
    /// The number at run time.
    pub fn eval(&self, sizes: &Sizes) -> i64 {
        let sizes = &if self.every == 1 { *sizes } else { sizes.every(self.every) };
        let power = |n: usize, p: u8| (n as i64).pow(u32::from(p));
        let mut n = self.factor
            * power(sizes.batch, self.batch)
            * power(sizes.time, self.time)
            * power(sizes.start, self.start)
            * power(Dim::Whole.size(sizes), self.whole);
        if self.chunks.1 > 0 {
            n *= power(Dim::Chunks(self.chunks.0).size(sizes), self.chunks.1);
        }
        if self.phase > 0 {
            n *= sizes.phase(self.phase) as i64;
        }
        n
    }
}

/// `sum of monomials + sum of monomial * index`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Affine {
    /// Terms without index, none of them zero.
    pub constant: SmallVec<[Monomial; 1]>,
    /// Terms with an index.
    pub terms: SmallVec<[(Index, Monomial); 2]>,
}

impl Affine {
    /// A number.
    pub fn number(n: i64) -> Self {
        Self::from(Monomial::number(n))
    }
    /// An index times a quantity.
    pub fn index(index: Index, by: Monomial) -> Self {
        Self { constant: SmallVec::new(), terms: SmallVec::from_iter([(index, by)]) }
    }
    /// The sum, like terms joined.
    #[must_use]
    pub fn plus(mut self, other: &Affine) -> Self {
        for m in &other.constant {
            self.add_constant(*m);
        }
        for &(index, m) in &other.terms {
            let same = self.terms.iter_mut().find(|(i, n)| *i == index && like(n, &m));
            match same {
                Some((_, n)) => n.factor += m.factor,
                None => self.terms.push((index, m)),
            }
        }
        self.terms.retain(|(_, m)| m.factor != 0);
        self
    }
    /// Times a number.
    #[must_use]
    pub fn scaled(mut self, by: i64) -> Self {
        for m in self.constant.iter_mut().chain(self.terms.iter_mut().map(|(_, m)| m)) {
            m.factor *= by;
        }
        self.constant.retain(|m| m.factor != 0);
        self.terms.retain(|(_, m)| m.factor != 0);
        self
    }
    /// The number, where it is one.
    pub fn as_number(&self) -> Option<i64> {
        match (self.constant.as_slice(), self.terms.is_empty()) {
            ([], true) => Some(0),
            ([m], true) if like(m, &Monomial::number(1)) => Some(m.factor),
            _ => None,
        }
    }
    /// Whether it is a multiple of a number whatever the indices and sizes are, by its factors.
    pub fn is_multiple_of(&self, n: i64) -> bool {
        let mut factors = self.constant.iter().chain(self.terms.iter().map(|(_, m)| m));
        factors.all(|m| m.factor % n == 0)
    }
    /// Its value; `indices` by index number.
    pub fn eval(&self, sizes: &Sizes, indices: &[i64]) -> i64 {
        let constant: i64 = self.constant.iter().map(|m| m.eval(sizes)).sum();
        let terms: i64 =
            self.terms.iter().map(|(i, m)| m.eval(sizes) * indices[i.index()]).sum();
        constant + terms
    }
    fn add_constant(&mut self, m: Monomial) {
        match self.constant.iter_mut().find(|n| like(n, &m)) {
            Some(n) => n.factor += m.factor,
            None => self.constant.push(m),
        }
        self.constant.retain(|m| m.factor != 0);
    }
}

impl From<Monomial> for Affine {
    fn from(m: Monomial) -> Self {
        let mut affine = Self::default();
        affine.add_constant(m);
        affine
    }
}

fn like(a: &Monomial, b: &Monomial) -> bool {
    Monomial { factor: 0, ..*a } == Monomial { factor: 0, ..*b }
}

/// Row-major strides of a shape.
pub fn strides(dims: &Dims) -> SmallVec<[Monomial; 4]> {
    let mut out: SmallVec<[Monomial; 4]> = SmallVec::new();
    let mut size = Monomial::number(1);
    for dim in dims.iter().rev() {
        out.push(size);
        size = size.times(Monomial::dim(*dim));
    }
    out.reverse();
    out
}

/// Number of elements of a shape.
pub fn elements(dims: &Dims) -> Monomial {
    dims.iter().fold(Monomial::number(1), |n, d| n.times(Monomial::dim(*d)))
}
