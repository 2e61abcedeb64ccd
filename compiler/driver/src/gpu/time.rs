//! How long a plan takes on a GPU, predicted from its kernels without one.
//!
//! A block of threads waits once for every statement that touches memory; blocks run side by side on all
//! processors, as many on one as its shared memory has room for. So a kernel takes its launch, the moving of its
//! buffers, the waits of one block after another, and the work of all blocks shared among processors. What
//! one of each takes is fitted to what an H100 took for 156 launches of three rules at six shapes, products in bfloat16:
//! `cargo run --release -p nestor-tests --features cuda --bin gpu_table -- --fit bench/results/h100.json`. Kernels have fewer instructions since: threads
//! counted in 64 bits then, moved numbers one by one, and small products brought rows that there are not. Other targets are scaled by their
//! bandwidth, other products by what they do while a number is moved; those of groups of warps, which there were none of, by what these are said to do.

use super::products::{BLOCK, is_high, joined};
use super::{Options, Products, Target, rates};
use crate::time::{Counts, of_point, one_by_one};
use nestor_ir::artifact::DeviceEntry;
use nestor_ir::dim::Sizes;
use nestor_ir::entity::Entity;
use nestor_ir::plan::{Launch, Plan};
use nestor_ir::tile::size::elements;
use nestor_ir::tile::{Kernel, Stmt};

/// Names of what is counted of a launch.
pub const TERMS: [&str; 8] = [
    "launch",
    "byte moved",
    "statement of a block, in turn",
    "step of a block, in turn",
    "vector of a processor",
    "transcendental of a processor",
    "strided access of a processor",
    "operation of a processor's products",
];

/// How often each of [`TERMS`] is needed.
pub type Needed = [f64; 8];

/// Seconds of each of [`TERMS`] on an H100, products in bfloat16: fitted, but for transcendentals and strided accesses, of which the rules
/// measured have too few to tell: a unit takes sixteen of the first a clock, the others are of kernels before, that had more.
pub const RATES: Needed =
    [4.1e-6, 0.28e-12, 0.156e-6, 0.0, 0.68e-9, 0.6e-9, 7.6e-9, 0.96e-12];

/// Bytes a second between memory and chip: A100 (80 GB), A40 and H100 (SXM), rounded, as published.
pub fn bandwidth(target: Target) -> f64 {
    match target {
        Target::Sm80 => 2.0e12,
        Target::Sm86 => 0.77e12,
        Target::Sm90a => 3.35e12,
    }
}

/// What each launch of a plan needs.
pub fn needed(
    plan: &Plan,
    kernels: &[Kernel],
    entries: &[DeviceEntry],
    sizes: &Sizes,
    options: Options,
) -> Vec<Needed> {
    let bytes_of = |dims: &nestor_ir::ty::Dims| 4.0 * elements(dims).eval(sizes) as f64;
    let of = |launch: &Launch| {
        let mut out = [0.0; 8];
        out[0] = 1.0;
        match launch {
            Launch::Kernel { kernel, .. } => {
                let n = kernel.index();
                let buffers = kernels[n].buffers.values().zip(&entries[n].narrow);
                let moved = buffers.map(|(b, narrow)| {
                    bytes_of(&b.dims) * if *narrow { 0.5 } else { 1.0 }
                });
                out[1] = moved.sum();
                block(&mut out, &kernels[n], &entries[n], sizes, options);
            }
            Launch::Dense(d) => {
                let size = |m: &nestor_ir::tile::Monomial| m.eval(sizes) as f64;
                let (m, n, k) = (size(&d.m), size(&d.n), size(&d.k));
                out[1] = 4.0 * size(&d.batch) * (m * n + m * k + k * n);
                let all = 2.0 * size(&d.batch) * m * n * k;
                // The library's products keep the units busy; kernels of ours do a tenth of that (a guess).
                out[7] = 0.1 * all / options.target.processors() as f64;
            }
            Launch::Zero(tensor) => out[1] = bytes_of(&plan.tensors[*tensor].ty.dims),
            Launch::Copy { to, .. } => {
                out[1] = 2.0 * bytes_of(&plan.tensors[*to].ty.dims);
            }
        }
        out
    };
    plan.launches.iter().map(of).collect()
}

/// What the blocks of a kernel need.
fn block(
    out: &mut Needed,
    kernel: &Kernel,
    entry: &DeviceEntry,
    sizes: &Sizes,
    options: Options,
) {
    let target = options.target;
    let solving = |n: usize, m: usize| match joined(n, m, options.products) {
        false => one_by_one(n, m),
        // Blocks are inverted side by side. Then two products for each, one after the other, of two instructions each.
        true => (BLOCK + 4 * n.div_ceil(BLOCK)) as f64,
    };
    let (points, own) = of_point(kernel, sizes, &solving);
    let Counts([_, statements, vectors, hard, strided, product, _, steps, _]) = own;
    let processors = target.processors() as f64;
    let room = target.blocks(entry.shared as i64) as f64;
    let threads = 2048.0 / f64::from(entry.threads);
    let beside = room.min(threads.floor()).clamp(1.0, 32.0);
    let turns = (points / (processors * beside)).ceil();
    let each = (points / processors).ceil();
    out[2] = turns * statements;
    out[3] = turns * steps;
    let product = product * share(kernel, options);
    for (at, n) in [(4, vectors), (5, hard), (6, strided), (7, product)] {
        out[at] = each * n;
    }
}

/// How much of the time of its products a kernel takes where groups of warps do some of them: by how many operations these are, and what groups are
/// said to do in that time.
fn share(kernel: &Kernel, options: Options) -> f64 {
    fn walk(body: &[Stmt], out: &mut [f64; 2]) {
        for stmt in body {
            if let Stmt::Product { m, n, k, .. } = stmt {
                let sides = [*m, *n, *k];
                let all =
                    sides.iter().map(|d| d.fixed().unwrap_or(1) as f64).product::<f64>();
                out[usize::from(is_high(sides))] += all;
            }
            walk(stmt.inner(), out);
        }
    }
    let rates = rates(options);
    let Some(group) = rates.group else { return 1.0 };
    let mut all = [0.0; 2];
    walk(&kernel.body, &mut all);
    let [others, high] = all;
    match others + high {
        0.0 => 1.0,
        sum => (others + high * rates.products / group.products) / sum,
    }
}

/// Sequences and tokens that tables are predicted for.
pub const SIZES: Sizes = Sizes { batch: 4, time: 4096, start: 0 };

/// Seconds that all launches of each kernel take together at [`SIZES`], and those of all else.
pub fn by_kernel(
    plan: &Plan,
    kernels: &[Kernel],
    entries: &[DeviceEntry],
    options: Options,
) -> (Vec<f64>, f64) {
    let (mut own, mut others) = (vec![0.0; kernels.len()], 0.0);
    let needed = needed(plan, kernels, entries, &SIZES, options);
    for (launch, needed) in plan.launches.iter().zip(&needed) {
        match launch {
            Launch::Kernel { kernel, .. } => {
                own[kernel.index()] += seconds(needed, options)
            }
            _ => others += seconds(needed, options),
        }
    }
    (own, others)
}

/// Seconds of a launch.
pub fn seconds(needed: &Needed, options: Options) -> f64 {
    let slower = bandwidth(Target::Sm90a) / bandwidth(options.target);
    let products = Products::Brain.in_a_move() / options.products.in_a_move();
    let of = |(n, (count, rate)): (usize, (&f64, f64))| {
        count
            * rate
            * match n {
                1 => slower,
                7 => products,
                _ => 1.0,
            }
    };
    needed.iter().zip(RATES).enumerate().map(of).sum()
}
