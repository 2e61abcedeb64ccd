//! Products of several factors are taken in the order that costs least.
//!
//! ```text
//! before   x = S / c;  y = k @ x                        a division for every number of S
//! after    y = (k @ S) / c
//! before   s = sum over i, j of (k (x) g) S             a matrix is made
//! after    z = S @ g;  s = k @ z                        and z may be needed anyway
//! before   (k (x) e) r                                  r varies along the axis of e
//! after    k (x) (e r)
//! ```
//!
//! What is no product is a factor ([`factors`](super::factors)), and all orders of pairs of factors are compared. A product pays
//! where it saves more than it costs: what other things need of it, they still compute, so that it is no saving unless all give it up.
//! All orders are one value in exact arithmetic. In floating point a step may overflow where another order's does not: `k @ S` where
//! S is large and c as large. Divisors are never multiplied with each other, which would square what is far from one.

use super::contraction::{arranged, product as multiplied, summed_alone};
use super::driver::Rewriter;
use super::factors::{DIVISION, Factor, Product, cost, extent, products};
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Graph, Node, Op, Value};
use rustc_hash::{FxHashMap, FxHashSet};

/// Of how many factors all orders are tried.
pub(super) const MOST: usize = 6;

/// In which orders products are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Orders {
    /// As they are written: what forms are found in.
    #[default]
    AsWritten,
    /// In those that cost least.
    Cheapest,
}

/// A product and the steps that it is taken in.
pub(super) struct Plan {
    product: Product,
    steps: Vec<Step>,
}

/// Two things at hand, by place, become one that has the labels of a set; factors come first.
#[derive(Clone, Copy)]
struct Step {
    first: usize,
    second: usize,
    divides: bool,
    kept: u32,
}

/// The plans that pay, by the node that they stand for.
pub(super) fn plans(graph: &Graph) -> FxHashMap<Node, Plan> {
    let mut users: Vec<Vec<Node>> = vec![Vec::new(); graph.values.len()];
    for (id, node) in graph.nodes.iter() {
        node.operands.iter().for_each(|v| users[v.index()].push(id));
    }
    let mut left = products(graph, &users);
    let bare: Vec<Product> = left.extract_if(.., |p| p.factors.len() == 2).collect();
    loop {
        let pairs = Pairs::of(bare.iter().chain(&left));
        let uses = Uses::of(graph, &users, &left);
        let best: Vec<Option<Vec<Step>>> = left
            .iter()
            .map(|product| {
                let (steps, new) = ordered(product, &pairs)?;
                (new < uses.cost(graph, product)).then_some(steps)
            })
            .collect();
        let all = best.iter().all(Option::is_some);
        let some = left.into_iter().zip(best);
        let some =
            some.filter_map(|(product, steps)| Some(Plan { product, steps: steps? }));
        // One that does not pay needs what others thought to be gone.
        if all {
            return some.map(|plan| (plan.product.root, plan)).collect();
        }
        left = some.map(|plan| plan.product).collect();
    }
}

/// Which nodes go if all these products are taken otherwise, and how many look through each.
struct Uses {
    through: FxHashMap<Node, usize>,
    stays: FxHashSet<Node>,
}

impl Uses {
    fn of(graph: &Graph, users: &[Vec<Node>], products: &[Product]) -> Self {
        let mut through = FxHashMap::default();
        let mut taken: FxHashSet<Node> = products.iter().map(|p| p.root).collect();
        for product in products {
            for &node in &product.inner {
                *through.entry(node).or_insert(0) += 1;
                taken.insert(node);
            }
        }
        let mut stays = FxHashSet::default();
        let shown: FxHashSet<Value> = graph.outputs.iter().map(|o| o.value).collect();
        for (id, node) in graph.nodes.iter() {
            let mut to: Vec<Value> = node.results.to_vec();
            let mut seen = true;
            while let Some(v) = to.pop() {
                seen &= !shown.contains(&v);
                for &user in &users[v.index()] {
                    match &graph.nodes[user].op {
                        Op::Broadcast { .. } | Op::Transpose { .. } => {
                            to.extend(&graph.nodes[user].results);
                        }
                        _ => seen &= taken.contains(&user),
                    }
                }
            }
            if !seen {
                stays.insert(id);
            }
        }
        Self { through, stays }
    }

    /// What a product costs as it is, without what stays.
    fn cost(&self, graph: &Graph, product: &Product) -> f64 {
        let inner = product.inner.iter().filter(|n| !self.stays.contains(*n));
        let shares = inner.map(|&n| cost(graph, n) / self.through[&n] as f64);
        let node = &graph.nodes[product.root];
        let root = match node.op {
            Op::Mul | Op::Div => cost(graph, product.root),
            // What is summed is multiplied on the way, unless it is there anyway.
            Op::Reduce { .. } => {
                match self.stays.contains(&graph.values[node.operands[0]].node) {
                    true => extent(&product.sizes, 0..product.sizes.len()),
                    false => 0.0,
                }
            }
            _ => extent(&product.sizes, 0..product.sizes.len()),
        };
        root + shares.sum::<f64>()
    }
}

/// Which axes of two values run together, and whether they are summed; the smaller value first.
type Pair = (Value, Value, Vec<(Option<usize>, Option<usize>, bool)>);

/// Pairs of factors that some product multiplies with each other whatever its order is.
#[derive(Default)]
struct Pairs(FxHashMap<Pair, Bound>);

/// Who takes a pair, and whether any order of theirs does.
#[derive(Default)]
struct Bound {
    /// What comes first, where some product must take it.
    first: Option<Value>,
    must: Vec<Node>,
    may: usize,
}

impl Pairs {
    fn of<'p>(products: impl Iterator<Item = &'p Product>) -> Self {
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
}

fn couples(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(|j| (0..j).map(move |i| (i, j)))
}

/// What is left of the labels of two factors if they are multiplied first of all.
fn kept(product: &Product, (i, j): (usize, usize)) -> u32 {
    let of = |k: usize| set(product.factors[k].labels.iter().copied());
    let others = (0..product.factors.len()).filter(|k| ![i, j].contains(k));
    (of(i) | of(j)) & others.fold(results(product), |s, k| s | of(k))
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

fn set(labels: impl IntoIterator<Item = usize>) -> u32 {
    labels.into_iter().fold(0, |set, l| set | 1 << l)
}

fn holds(set: u32, label: usize) -> bool {
    set >> label & 1 == 1
}

fn results(product: &Product) -> u32 {
    set(0..product.rank)
}

/// One thing at hand: the labels it has, and whether it divides.
#[derive(Clone, Copy)]
struct Part {
    labels: u32,
    below: bool,
}

/// All orders, and the best so far.
struct Search<'p> {
    product: &'p Product,
    /// Pairs of factors that are there anyway, what is kept of their labels, and the share of the cost.
    there: Vec<(usize, usize, u32, f64)>,
    best: Option<(Vec<Step>, f64)>,
}

/// The order that costs least.
fn ordered(product: &Product, pairs: &Pairs) -> Option<(Vec<Step>, f64)> {
    let part =
        |f: &Factor| Part { labels: set(f.labels.iter().copied()), below: f.below };
    let parts: Vec<Part> = product.factors.iter().map(part).collect();
    let mut search = Search { product, there: Vec::new(), best: None };
    for (i, j) in couples(parts.len()) {
        let kept = kept(product, (i, j));
        let found = pair(product, (i, j), kept).and_then(|pair| pairs.0.get(&pair));
        let Some(Bound { first: Some(first), must, may }) = found else { continue };
        // Whoever must take it pays for it, all that might together.
        let share = if must.contains(&product.root) { 1.0 / *may as f64 } else { 0.0 };
        let turned = product.factors[i].value != *first;
        let (i, j) = if turned { (j, i) } else { (i, j) };
        search.there.push((i, j, kept, share));
    }
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
        let out = results(self.product);
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
        let there = self.there.iter();
        let mut there = there.filter(|t| [(i, j), (j, i)].contains(&(t.0, t.1)));
        if let Some(&(first, second, _, share)) = there.find(|t| t.2 == kept) {
            let price = share * self.extent(a.labels | b.labels);
            return Some((Step { first, second, divides: false, kept }, price));
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
            } else if set(first.1.iter().copied()) == set(second.1.iter().copied()) {
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
