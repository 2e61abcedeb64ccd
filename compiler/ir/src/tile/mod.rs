//! Tile kernels: the program of one block of work, where fusion, CPU and GPU meet.
//!
//! A kernel runs once for every point of its grid (batch and head, a block of rows); the points
//! are independent and may run in any order, but that those of a *team*, neighbours along the grid's last index, meet
//! where they sum what each has in a tile ([`Stmt::Total`]). Inside, statements act in order on *places*: whole
//! tensors in memory (buffers, shared by all points) and tiles (scratch of this point, row-major
//! and contiguous). A statement names elements by [`Access`]: an affine function of the grid and
//! loop indices for the origin, a stride for each dimension of the statement's own iteration
//! space, and bounds outside which a load reads a pad value and a store does nothing. So loads,
//! stores, broadcasts, transposes, shifts and windows are all accesses, and a fused group of
//! element-wise ops is one [`Stmt::Map`].

pub mod expr;
mod kinds;
pub mod lifetimes;
pub mod reads;
pub mod size;
pub mod text;
pub mod together;
pub mod verify;

use crate::entity;
use crate::entity::Arena;
use crate::tensor::Fold;
use crate::ty::{Dims, Elem};
pub use expr::{Expr, ExprId, Scalar, ScalarKind, ScalarOp, kind_of};
pub use kinds::{Gives, Signature};
pub use size::{Affine, Monomial};
use smallvec::SmallVec;

entity!(
    /// A tensor in memory.
    Buffer,
    "b"
);
entity!(
    /// Scratch of one point of the grid.
    Tile,
    "t"
);
entity!(
    /// An index: of the grid or of a loop.
    Index,
    "i"
);

/// Which way a buffer is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// Read only.
    Read,
    /// Written only: what the kernel does not write is left as it is.
    Write,
    /// Both.
    Update,
}

/// A buffer parameter of a kernel: a contiguous row-major tensor.
#[derive(Clone, PartialEq, Debug)]
pub struct BufferParam {
    /// A name for people.
    pub name: String,
    /// What an element is: `Real` has the kernel's precision, `Int` is i32, `Bool` is u8.
    pub elem: Elem,
    /// The tensor's shape.
    pub dims: Dims,
    /// How it is used.
    pub usage: Use,
}

/// A tile: contiguous, row-major, 64-byte aligned.
#[derive(Clone, PartialEq, Debug)]
pub struct TileData {
    /// A name for people.
    pub name: String,
    /// What an element is.
    pub elem: Elem,
    /// Its shape; `T` is allowed (rows of scores against all keys).
    pub dims: Dims,
}

/// Where an element lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Place {
    /// In memory.
    Buffer(Buffer),
    /// In scratch.
    Tile(Tile),
}

/// `low <= offset + sum strides * iteration index < high`, else the element is not there.
#[derive(Clone, PartialEq, Debug)]
pub struct Bound {
    /// The bounded quantity's value at the iteration space's origin.
    pub offset: Affine,
    /// How it moves with each dimension of the iteration space.
    pub strides: SmallVec<[i64; 4]>,
    /// Not below this.
    pub low: Affine,
    /// Below this.
    pub high: Affine,
}

/// Elements named by the statement's iteration space.
#[derive(Clone, PartialEq, Debug)]
pub struct Access {
    /// Where.
    pub place: Place,
    /// Element number at the iteration space's origin.
    pub origin: Affine,
    /// Elements to go on for one step along each dimension of the iteration space (0 to broadcast).
    pub strides: SmallVec<[Affine; 4]>,
    /// All must hold.
    pub bounds: SmallVec<[Bound; 1]>,
    /// What a load reads where a bound does not hold.
    pub pad: f64,
}

/// The outer extent of a map, a loop or the grid.
pub type Extent = crate::dim::Dim;

/// What a map does with the value it computes at every point of its iteration space.
#[derive(Clone, PartialEq, Debug)]
pub enum Sink {
    /// Stores it.
    Store(Access),
    /// Folds it over the last `axes` dimensions of the iteration space and stores the fold; the access has strides
    /// for the remaining dimensions only. With `accumulate` the place's old value is folded in.
    Fold {
        /// How.
        fold: Fold,
        /// How many trailing dimensions are folded.
        axes: usize,
        /// Where to.
        to: Access,
        /// Start from what is there.
        accumulate: bool,
    },
}

/// Which part of a product is wanted or known to be zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// All of it.
    Full,
    /// Only what is on or below the diagonal is wanted; above it zero is written.
    OutputLower,
    /// The left operand is zero above its diagonal.
    LeftLower,
    /// The left operand is zero below its diagonal.
    LeftUpper,
}

impl Shape {
    /// Whether nothing is added to row i and column j for entry l of the sum.
    pub fn leaves_out(self, [i, j, l]: [usize; 3]) -> bool {
        match self {
            Self::Full => false,
            Self::OutputLower => j > i,
            Self::LeftLower => l > i,
            Self::LeftUpper => l < i,
        }
    }
}

/// A matrix of a product: a two-dimensional access.
#[derive(Clone, PartialEq, Debug)]
pub struct Matrix {
    /// Where.
    pub place: Place,
    /// Element number of its first entry.
    pub origin: Affine,
    /// Elements between rows.
    pub row: Affine,
    /// Elements between columns.
    pub column: Affine,
}

impl Matrix {
    /// Its entries as what a map over rows and columns touches.
    pub fn access(&self) -> Access {
        Access {
            place: self.place,
            origin: self.origin.clone(),
            strides: [&self.row, &self.column].into_iter().cloned().collect(),
            bounds: SmallVec::new(),
            pad: 0.0,
        }
    }

    /// Its entries as what a statement of so many dimensions touches, of which one runs along rows' numbers and one along columns'.
    pub fn over(&self, rank: usize, [rows, columns]: [usize; 2]) -> Access {
        let mut strides = SmallVec::from_elem(Affine::default(), rank);
        (strides[rows], strides[columns]) = (self.row.clone(), self.column.clone());
        Access { strides, ..self.access() }
    }

    /// The matrix of which an access is that.
    pub fn of(access: Access, [rows, columns]: [usize; 2]) -> Self {
        let [row, column] = [rows, columns].map(|d| access.strides[d].clone());
        Self { place: access.place, origin: access.origin, row, column }
    }
}

/// Which turns of a loop there are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Part {
    /// All of them.
    All,
    /// Those before that of this index around it.
    Before(Index),
    /// Those after that of this index around it.
    After(Index),
}

impl Part {
    /// The first turn and how many there are, of so many and with what the index around it is.
    pub fn range(self, extent: i64, at: impl Fn(Index) -> i64) -> (i64, i64) {
        match self {
            Part::All => (0, extent),
            Part::Before(index) => (0, at(index)),
            Part::After(index) => (at(index) + 1, extent - 1 - at(index)),
        }
    }
}

/// One statement.
#[derive(Clone, PartialEq, Debug)]
pub enum Stmt {
    /// For every point of `space`, row-major: computes the scalars of `expr` and sinks its roots.
    /// All sinks see one evaluation. A place stored may be loaded by the same map only at the same element.
    Map {
        /// The iteration space.
        space: SmallVec<[Extent; 4]>,
        /// The program of one point; loads refer to `loads`.
        expr: Expr,
        /// What is loaded.
        loads: Vec<Access>,
        /// Where each root goes.
        sinks: Vec<(ExprId, Sink)>,
    },
    /// `out = alpha * left @ right (+ out)`: [m, n] from [m, k] and [k, n].
    Product {
        /// Rows, columns, depth.
        m: Extent,
        /// Columns.
        n: Extent,
        /// Depth.
        k: Extent,
        /// Factor.
        alpha: f64,
        /// Left operand.
        left: Matrix,
        /// Right operand.
        right: Matrix,
        /// Result.
        out: Matrix,
        /// Add to what is there.
        accumulate: bool,
        /// What is zero or not wanted.
        shape: Shape,
    },
    /// `X <- (I + tril(L, -1))^-1 X` in place, or with the transposed matrix. Contiguous tiles [n, n] and [n, m].
    SolveUnitLower {
        /// The matrix.
        lower: Tile,
        /// The right-hand sides, replaced by the solution.
        x: Tile,
        /// Number of equations.
        n: usize,
        /// Number of right-hand sides.
        m: usize,
        /// Transposed.
        transpose: bool,
    },
    /// `X <- A^-1 X` in place by elimination; A is used up. Contiguous tiles [n, n] and [n, m].
    Eliminate {
        /// The matrix.
        a: Tile,
        /// The right-hand sides, replaced by the solution.
        x: Tile,
        /// Number of equations.
        n: usize,
        /// Number of right-hand sides.
        m: usize,
    },
    /// `A <- A^(-1/p)` in place for symmetric positive A, by its eigenvectors: the columns of `basis`, each times its
    /// eigenvalue to the power of -1/2p, so that where p is infinite they are of length one; A is used up then. Contiguous tiles [n, n].
    InverseRoot {
        /// The matrix, replaced by its root.
        a: Tile,
        /// The eigenvectors; what it holds before means nothing.
        basis: Tile,
        /// Number of rows.
        n: usize,
        /// The root; infinite where the eigenvectors alone are wanted.
        p: f64,
    },
    /// `y_t = a_t y_{t-1} + b_t` over tiles a [steps, n, n], b and y [steps, n, m], init [n, m].
    LinearScan {
        /// Factors.
        a: Tile,
        /// Terms.
        b: Tile,
        /// Value before the first step.
        init: Tile,
        /// Result.
        y: Tile,
        /// Steps, slots, columns.
        extent: (usize, usize, usize),
        /// From the end.
        reverse: bool,
    },
    /// Rows of a table by index: `out[r, :] = table[index[r], :]`, contiguous; an index out of range reads zero.
    Gather {
        /// `[n, width]`.
        table: Buffer,
        /// Rows of the table.
        rows: usize,
        /// First index.
        index: Access,
        /// How many rows are gathered.
        count: Extent,
        /// Row length.
        width: usize,
        /// Where to: row r at `out.origin + r * width`.
        out: Access,
    },
    /// `table[index[r], :] += values[r, :]`, in order of r; the kernel's grid has one point, or those that rows are shared among.
    ScatterAdd {
        /// `[n, width]`.
        table: Buffer,
        /// Rows of the table.
        rows: usize,
        /// First index.
        index: Access,
        /// How many rows are added.
        count: Extent,
        /// Row length.
        width: usize,
        /// The values.
        values: Access,
        /// Only rows of the table whose number, modulo this one, is the index's; all where there is none.
        share: Option<(Index, usize)>,
    },
    /// Repeats the body with `index` = 0 .. extent, or from the last to 0, or a part of that.
    Loop {
        /// The index.
        index: Index,
        /// How often, if all of it.
        extent: Extent,
        /// Which turns of it.
        part: Part,
        /// Backwards.
        reverse: bool,
        /// What is repeated.
        body: Vec<Stmt>,
    },
    /// Runs the body where `low <= value < high`.
    When {
        /// The tested quantity.
        value: Affine,
        /// Not below this.
        low: Affine,
        /// Below this.
        high: Affine,
        /// What is run.
        body: Vec<Stmt>,
    },
    /// A product into a tile, others that add to it, and a map over the entries, in this order and worked on as one: an entry goes
    /// to the map as it is summed, and is stored only where the map does so, or where there is none. The map takes each
    /// entry at its own point, and writes nothing that the products read.
    Together {
        /// All of them.
        body: Vec<Stmt>,
    },
    /// Each of these tiles becomes the sum, in their order, of what the points of the team have in it: those that differ in the grid's last
    /// index alone, whose extent is known. All of them get to it, and none goes on before all have.
    Total {
        /// Tiles of reals.
        tiles: Vec<Tile>,
    },
}

impl Sink {
    /// Where it puts what it is given.
    pub fn to(&self) -> &Access {
        let (Sink::Store(to) | Sink::Fold { to, .. }) = self;
        to
    }

    /// As [`Sink::to`], to be changed.
    pub fn to_mut(&mut self) -> &mut Access {
        let (Sink::Store(to) | Sink::Fold { to, .. }) = self;
        to
    }
}

impl Stmt {
    /// The statements that this one holds: what a loop repeats, what a condition guards, or what is worked on as one.
    pub fn inner(&self) -> &[Stmt] {
        match self {
            Stmt::Loop { body, .. }
            | Stmt::When { body, .. }
            | Stmt::Together { body } => body,
            Stmt::Map { .. }
            | Stmt::Product { .. }
            | Stmt::SolveUnitLower { .. }
            | Stmt::Eliminate { .. }
            | Stmt::InverseRoot { .. }
            | Stmt::LinearScan { .. }
            | Stmt::Gather { .. }
            | Stmt::ScatterAdd { .. }
            | Stmt::Total { .. } => &[],
        }
    }

    /// Whether the points of a team meet in it.
    pub fn meets(&self) -> bool {
        matches!(self, Stmt::Total { .. }) || self.inner().iter().any(Stmt::meets)
    }
}

/// A kernel.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Kernel {
    /// A name for people and profiles, made of what is fused in it.
    pub name: String,
    /// Its buffers.
    pub buffers: Arena<Buffer, BufferParam>,
    /// Its scratch.
    pub tiles: Arena<Tile, TileData>,
    /// How many indices there are, grid and loops.
    pub indices: usize,
    /// The grid: independent points, the first index slowest.
    pub grid: Vec<(Index, Extent)>,
    /// What one point does.
    pub body: Vec<Stmt>,
}

impl Kernel {
    /// How many points of the grid are a team: neighbours along its last index; one where none meet.
    pub fn team(&self) -> usize {
        let last = self.grid.last().and_then(|(_, extent)| extent.fixed());
        last.filter(|_| self.body.iter().any(Stmt::meets)).unwrap_or(1)
    }
}
