//! A product as the steps that it is taken in, and the nodes that take them.

use super::contraction::{arranged, product as multiplied, summed_alone};
use super::driver::Rewriter;
use super::factors::{Factor, Product, holds, set};
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Op, Value};

/// A product and the steps that it is taken in.
pub(super) struct Plan {
    pub(super) product: Product,
    pub(super) steps: Vec<Step>,
}

/// Two things at hand, by place, become one that has the labels of a set; factors come first.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) first: usize,
    pub(super) second: usize,
    pub(super) divides: bool,
    pub(super) kept: u32,
}

impl Plan {
    /// The nodes of this plan; `at` gives what stands for a value of the graph that it was made for.
    pub(super) fn emit(&self, rw: &mut Rewriter, at: &[Value]) -> Value {
        let Product { factors, rank, sizes, .. } = &self.product;
        let factor = |f: &Factor| (at[f.value.index()], f.labels.clone());
        let mut parts: Vec<(Value, Vec<usize>)> = factors.iter().map(factor).collect();
        for (n, step) in self.steps.iter().enumerate() {
            let (first, second) = (parts[step.first].clone(), parts[step.second].clone());
            let mut labels = (0..sizes.len()).collect();
            if n + 1 < self.steps.len() {
                labels = natural(&first.1, &second.1);
            }
            labels.retain(|&l| holds(step.kept, l));
            let value = if step.divides {
                let above = arranged(rw, first.0, &first.1, &labels, sizes);
                let below = arranged(rw, second.0, &second.1, &labels, sizes);
                rw.emit(Op::Div, &[above, below])
            } else if set(&first.1) == set(&second.1) {
                // As a sum of a product, which maps take in.
                let second = arranged(rw, second.0, &second.1, &first.1, sizes);
                let both = rw.emit(Op::Mul, &[first.0, second]);
                let (value, of_value) = summed_alone(rw, (both, first.1), &[], &labels);
                arranged(rw, value, &of_value, &labels, sizes)
            } else {
                multiplied(rw, first, second, &labels, sizes)
            };
            parts.push((value, labels));
        }
        let out: Vec<usize> = (0..*rank).collect();
        let last = parts.swap_remove(parts.len() - 1);
        let (value, labels) = summed_alone(rw, last, &[], &out);
        arranged(rw, value, &labels, &out, sizes)
    }
}

/// The axes of a product in the order that needs no transposition: those of the one that has them all, or those that
/// both have, and then those of each.
fn natural(first: &[usize], second: &[usize]) -> Vec<usize> {
    let within = |x: &[usize], y: &[usize]| x.iter().all(|l| y.contains(l));
    if within(second, first) {
        return first.to_vec();
    }
    if within(first, second) {
        return second.to_vec();
    }
    let both = first.iter().filter(|l| second.contains(l));
    let apart = first.iter().filter(|l| !second.contains(l));
    let rest = second.iter().filter(|l| !first.contains(l));
    both.chain(apart).chain(rest).copied().collect()
}
