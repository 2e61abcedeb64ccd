//! Which products of a kernel are computed on tensor cores, and which of its systems.

use crate::target::Products;
use nestor_ir::tile::{Extent, Kernel, Stmt};

/// Products with fewer rows, columns or terms than this are left to the threads one by one (not measured).
const LEAST: usize = 8;

/// Whether a product is worth a warp's instruction.
pub fn on_cores(extent: [Extent; 3], products: Products) -> bool {
    products != Products::Float32
        && extent.iter().all(|d| d.fixed().is_none_or(|n| n >= LEAST))
}

/// Whether a product on tensor cores has the rows of one instruction, but columns and terms of several: its operands are worth rounding once for all
/// warps, which each would bring them otherwise.
pub fn is_low(extent: [Extent; 3]) -> bool {
    let [m, n, k] = extent.map(|d| d.fixed().unwrap_or(0));
    m == BLOCK && n >= 2 * BLOCK && k >= BLOCK
}

/// Whether a product has whole blocks of rows for groups of warps, where there are such, which read lines of shared memory.
pub fn is_high(extent: [Extent; 3]) -> bool {
    let [m, n, k] = extent.map(|d| d.fixed().unwrap_or(0));
    let whole = |n: usize, of: usize| n > 0 && n.is_multiple_of(of);
    whole(m, 4 * BLOCK) && whole(n, BLOCK) && whole(k, 4 * BLOCK)
}

/// Which products' operands are rounded once for all warps, as tiles of their own: low ones, and high ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Once {
    /// See [`is_low`].
    pub low: bool,
    /// See [`is_high`].
    pub high: bool,
    /// Those that several take are rounded for each of them, so that no tile is kept from one to the next.
    pub anew: bool,
    /// Whoever else reads what such a tile is a copy of reads the tile.
    pub near: bool,
}

impl Once {
    /// Whether operands are rounded alike, whoever else reads them.
    pub fn rounds_as(self, other: Self) -> bool {
        self == Self { near: self.near, ..other }
    }
    /// Those of a product.
    pub fn is_of(self, extent: [Extent; 3]) -> bool {
        self.low && is_low(extent) || self.high && is_high(extent)
    }
    /// Those of some product of a body.
    pub fn is_in(self, body: &[Stmt]) -> bool {
        some(body, &|stmt| match stmt {
            Stmt::Product { m, n, k, .. } => self.is_of([*m, *n, *k]),
            _ => false,
        })
    }
}

/// Equations of a triangular system that are solved among themselves; blocks of so many are joined by products.
pub const BLOCK: usize = 16;
/// Equations up to which what a warp has of a system stays in its registers.
const MOST: usize = 128;

/// Whether a triangular system of `n` equations with `m` right-hand sides is solved by products on tensor cores: it has more than
/// one block, and fills half of an instruction.
pub fn joined(n: usize, m: usize, products: Products) -> bool {
    products != Products::Float32 && n > BLOCK && n <= MOST && m >= LEAST
}

/// Equations from which a system is long: what a warp has of it takes most of its registers (of 128 a few too many, at 64).
const LONG: usize = 64;

/// Whether a body has a system of so many that is solved so.
pub fn has_long_system(body: &[Stmt], products: Products) -> bool {
    some(body, &|stmt| match stmt {
        Stmt::SolveUnitLower { n, m, .. } => *n >= LONG && joined(*n, *m, products),
        _ => false,
    })
}

/// Whether something holds of a statement of a body, or of one that they hold.
fn some(body: &[Stmt], holds: &dyn Fn(&Stmt) -> bool) -> bool {
    body.iter().any(|stmt| holds(stmt) || some(stmt.inner(), holds))
}

/// How many products of a kernel are computed on tensor cores, and how many by threads.
pub fn counted(kernel: &Kernel, products: Products) -> [usize; 2] {
    let short = shortest(kernel, products);
    [short.iter().filter(|n| n.is_none()).count(), short.iter().flatten().count()]
}

/// How many sums of a kernel are computed on tensor cores: products that are worked on together are one.
pub fn sums(kernel: &Kernel, products: Products) -> usize {
    fn walk(body: &[Stmt], products: Products) -> usize {
        let of = |stmt: &Stmt| match stmt {
            Stmt::Product { m, n, k, .. } => {
                usize::from(on_cores([*m, *n, *k], products))
            }
            Stmt::Together { body } => walk(body, products).min(1),
            stmt => walk(stmt.inner(), products),
        };
        body.iter().map(of).sum()
    }
    walk(&kernel.body, products)
}

/// The shortest side of every product of a kernel that is computed by threads; nothing for those on tensor cores.
pub fn shortest(kernel: &Kernel, products: Products) -> Vec<Option<usize>> {
    fn walk(body: &[Stmt], products: Products, out: &mut Vec<Option<usize>>) {
        for stmt in body {
            if let Stmt::Product { m, n, k, .. } = stmt {
                let sides = [*m, *n, *k];
                let least = sides.iter().filter_map(|d| d.fixed()).min();
                let by_threads = !on_cores(sides, products);
                out.push(by_threads.then(|| least.unwrap_or(usize::MAX)));
            }
            walk(stmt.inner(), products, out);
        }
    }
    let mut out = Vec::new();
    walk(&kernel.body, products, &mut out);
    out
}
