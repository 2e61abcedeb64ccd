//! Pairs of factors that some product multiplies with each other whatever its order is: others have their product for nothing.

use super::factors::{Product, holds};
use nestor_ir::tensor::{Node, Value};
use rustc_hash::FxHashMap;

/// Which axes of two values run together, and whether they are summed; the smaller value first.
type Pair = (Value, Value, Vec<(Option<usize>, Option<usize>, bool)>);

/// Pairs of factors that some product multiplies with each other whatever its order is.
#[derive(Default)]
pub(super) struct Pairs(FxHashMap<Pair, Bound>);

/// A pair of a product's factors that is there anyway.
pub(super) struct There {
    /// Places of the factors, in the order in which they are multiplied.
    pub(super) pair: (usize, usize),
    /// What is kept of their labels.
    pub(super) kept: u32,
    /// The share of its cost.
    pub(super) share: f64,
}

/// Who takes a pair, and whether any order of theirs does.
#[derive(Default)]
struct Bound {
    /// What comes first, where some product must take it.
    first: Option<Value>,
    must: Vec<Node>,
    may: usize,
}

impl Pairs {
    pub(super) fn of<'p>(products: impl Iterator<Item = &'p Product>) -> Self {
        let mut pairs = Self::default();
        for product in products {
            // What varies along axes of the result alone can be left to the end.
            let within = |l: &usize| *l < product.rank;
            let vary = |&i: &usize| !product.factors[i].labels.iter().all(within);
            let vary: Vec<usize> = (0..product.factors.len()).filter(vary).collect();
            for (i, j) in couples(product.factors.len()) {
                let kept = kept(product, (i, j));
                let Some(pair) = pair(product, (i, j), kept) else { continue };
                let bound = pairs.0.entry(pair).or_default();
                bound.may += 1;
                if vary == [i, j] {
                    bound.must.push(product.root);
                    bound.first.get_or_insert(product.factors[i].value);
                }
            }
        }
        pairs
    }

    /// The pairs of this product that some product must take.
    pub(super) fn there(&self, product: &Product) -> Vec<There> {
        let there = couples(product.factors.len()).filter_map(|(i, j)| {
            let kept = kept(product, (i, j));
            let bound = self.0.get(&pair(product, (i, j), kept)?)?;
            let first = bound.first?;
            // Whoever must take it pays for it, all that might together.
            let must = bound.must.contains(&product.root);
            let share = if must { 1.0 / bound.may as f64 } else { 0.0 };
            let turned = product.factors[i].value != first;
            Some(There { pair: if turned { (j, i) } else { (i, j) }, kept, share })
        });
        there.collect()
    }
}

fn couples(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(|j| (0..j).map(move |i| (i, j)))
}

/// What is left of the labels of two factors if they are multiplied first of all.
fn kept(product: &Product, (i, j): (usize, usize)) -> u32 {
    let of = |k: usize| product.factors[k].set();
    let others = (0..product.factors.len()).filter(|k| ![i, j].contains(k));
    (of(i) | of(j)) & others.fold(product.results(), |s, k| s | of(k))
}

fn pair(product: &Product, (i, j): (usize, usize), kept: u32) -> Option<Pair> {
    let (a, b) = (&product.factors[i], &product.factors[j]);
    if a.value == b.value || a.below || b.below {
        return None;
    }
    let (a, b) = if a.value < b.value { (a, b) } else { (b, a) };
    let place = |labels: &[usize], l| labels.iter().position(|&x| x == l);
    let all = 0..product.sizes.len();
    let axes = all.map(|l| (place(&a.labels, l), place(&b.labels, l), !holds(kept, l)));
    let mut axes: Vec<_> = axes.filter(|x| x.0.is_some() || x.1.is_some()).collect();
    axes.sort_unstable();
    Some((a.value, b.value, axes))
}
