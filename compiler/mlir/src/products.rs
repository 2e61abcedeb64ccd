//! Which products of a kernel are computed on tensor cores.

use crate::target::Products;
use nestor_ir::tile::{Extent, Kernel, Stmt};

/// Products with fewer rows, columns or terms than this are left to the threads one by one (not measured).
const LEAST: usize = 8;

/// Whether a product is worth a warp's instruction.
pub fn on_cores(extent: [Extent; 3], products: Products) -> bool {
    products != Products::Float32
        && extent.iter().all(|d| d.fixed().is_none_or(|n| n >= LEAST))
}

/// How many products of a kernel are computed on tensor cores, and how many by threads.
pub fn counted(kernel: &Kernel, products: Products) -> [usize; 2] {
    fn walk(body: &[Stmt], products: Products, count: &mut [usize; 2]) {
        for stmt in body {
            if let Stmt::Product { m, n, k, .. } = stmt {
                count[usize::from(!on_cores([*m, *n, *k], products))] += 1;
            }
            walk(stmt.inner(), products, count);
        }
    }
    let mut count = [0; 2];
    walk(&kernel.body, products, &mut count);
    count
}
