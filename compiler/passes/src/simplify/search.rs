//! The order of a product's factors that costs least, of all orders of pairs.

use super::factors::{DIVISION, Factor, Product, extent, holds};
use super::pairs::{Pairs, There};
use super::steps::Step;

/// One thing at hand: the labels it has, and whether it divides.
#[derive(Clone, Copy)]
struct Part {
    labels: u32,
    below: bool,
}

/// All orders, and the best so far.
struct Search<'p> {
    product: &'p Product,
    there: Vec<There>,
    best: Option<(Vec<Step>, f64)>,
}

/// The order that costs least, and what it costs.
pub(super) fn best(product: &Product, pairs: &Pairs) -> Option<(Vec<Step>, f64)> {
    let part = |f: &Factor| Part { labels: f.set(), below: f.below };
    let parts: Vec<Part> = product.factors.iter().map(part).collect();
    let mut search = Search { product, there: pairs.there(product), best: None };
    search.from(&parts, &(0..parts.len()).collect::<Vec<usize>>(), &[], 0.0);
    search.best
}

impl Search<'_> {
    fn extent(&self, labels: u32) -> f64 {
        let all = 0..self.product.sizes.len();
        extent(&self.product.sizes, all.filter(|&l| holds(labels, l)))
    }

    /// All orders from what is left.
    fn from(&mut self, parts: &[Part], left: &[usize], steps: &[Step], cost: f64) {
        if self.best.as_ref().is_some_and(|best| best.1 <= cost) {
            return;
        }
        let out = self.product.results();
        if let [last] = left {
            let Part { labels, below } = parts[*last];
            let sum = if labels & !out == 0 { 0.0 } else { self.extent(labels) };
            let better = self.best.as_ref().is_none_or(|best| cost + sum < best.1);
            if !below && better {
                self.best = Some((steps.to_vec(), cost + sum));
            }
            return;
        }
        for (n, &i) in left.iter().enumerate() {
            for &j in &left[n + 1..] {
                let rest = left.iter().copied().filter(|k| ![i, j].contains(k));
                let mut rest: Vec<usize> = rest.collect();
                let others = rest.iter().fold(out, |set, &k| set | parts[k].labels);
                let Some((step, price)) = self.step(parts, (i, j), others) else {
                    continue;
                };
                rest.push(parts.len());
                let mut parts = parts.to_vec();
                parts.push(Part { labels: step.kept, below: false });
                self.from(&parts, &rest, &[steps, &[step]].concat(), cost + price);
            }
        }
    }

    /// Two parts made one, and what that costs.
    fn step(
        &self,
        parts: &[Part],
        (i, j): (usize, usize),
        others: u32,
    ) -> Option<(Step, f64)> {
        let (a, b) = (parts[i], parts[j]);
        if a.below || b.below {
            let (first, second) = if b.below { (i, j) } else { (j, i) };
            let (above, below) = (parts[first], parts[second]);
            let fits = !above.below && below.labels & !above.labels == 0;
            let step = Step { first, second, divides: true, kept: above.labels };
            return fits.then(|| (step, DIVISION * self.extent(above.labels)));
        }
        let kept = (a.labels | b.labels) & others;
        let same = |t: &&There| t.kept == kept && [(i, j), (j, i)].contains(&t.pair);
        if let Some(&There { pair, share, .. }) = self.there.iter().find(same) {
            let step = Step { first: pair.0, second: pair.1, divides: false, kept };
            return Some((step, share * self.extent(a.labels | b.labels)));
        }
        // What only one of them has and nobody needs is summed first.
        let mut price = 0.0;
        let mut both = 0;
        for (own, other) in [(a.labels, b.labels), (b.labels, a.labels)] {
            let needed = own & (other | kept);
            both |= needed;
            price += if needed == own { 0.0 } else { self.extent(own) };
        }
        let step = Step { first: i, second: j, divides: false, kept };
        Some((step, price + self.extent(both)))
    }
}
