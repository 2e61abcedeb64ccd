//! Products of several factors: values stay, what is taken out of a sum is where that pays, and nothing else moves.

use crate::common::{Numbers, close, evaluate, inputs, sizes};
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Axes, AxisPairs, Fold, Graph, Op, Value};
use nestor_ir::ty::Type;
use nestor_passes::build::{broadcast, div, mul, outer};
use nestor_passes::simplify::{ordered, simplify};

const LETTERS: [char; 4] = ['b', 'i', 'j', 'l'];

fn size(letter: char) -> Dim {
    match letter {
        'b' => Dim::Batch,
        'i' => Dim::Fixed(5),
        'j' => Dim::Fixed(4),
        _ => Dim::Fixed(3),
    }
}

/// A graph whose inputs are named by what they are, and after that by a letter for each axis.
struct Case {
    g: Graph,
}

impl Case {
    fn new() -> Self {
        Self { g: Graph::new() }
    }
    fn input(&mut self, name: &str) -> Value {
        let letters = name.split('_').nth(1).unwrap_or("");
        self.g.input(name, Type::real(letters.chars().map(size)))
    }
    /// Repeated to these letters, from its own.
    fn repeated(&mut self, value: Value, own: &str, to: &str) -> Value {
        let dims: Vec<Dim> = to.chars().map(size).collect();
        let place = |l: char| to.chars().position(|t| t == l).expect("one of them");
        let axes: Vec<usize> = own.chars().map(place).collect();
        broadcast(&mut self.g, value, &dims, &axes)
    }
    /// `sum over the axes of these pairs of a b`
    fn contracted(&mut self, a: Value, b: Value, sum: &[(usize, usize)]) -> Value {
        let sum: AxisPairs = sum.iter().copied().collect();
        self.g.add(Op::Contract { batch: AxisPairs::new(), sum }, &[a, b])
    }
    fn summed(&mut self, a: Value, axes: &[usize]) -> Value {
        let axes: Axes = axes.iter().copied().collect();
        self.g.add(Op::Reduce { fold: Fold::Sum, axes }, &[a])
    }
    fn named(mut self, outputs: &[Value]) -> Graph {
        for (n, &v) in outputs.iter().enumerate() {
            self.g.output(format!("y{n}"), v);
        }
        self.g
    }
}

/// The graph in its best order, of the same values, and settled.
fn taken(before: &Graph) -> Graph {
    let after = ordered(before);
    let (s, mut numbers) = (sizes(2, 3, 0), Numbers::new(7));
    let x = inputs(before, &s, &mut numbers);
    for (a, b) in evaluate(before, &x, &s).iter().zip(&evaluate(&after, &x, &s)) {
        close(&format!("{before}\n{after}"), b, a, 1e-9);
    }
    assert_eq!(ordered(&after), after, "not settled\n{after}");
    after
}

fn becomes(before: &Graph, after: &Graph) {
    assert_eq!(taken(before).to_string(), simplify(after).to_string());
}

fn stays(graph: &Graph) {
    becomes(graph, graph);
}

/// `k @ (S / c)`, where `S / c` may be wanted for itself.
fn read_of_a_quotient(wanted: bool) -> Graph {
    let mut case = Case::new();
    let [k, state, c] = ["k_i", "S_ij", "c"].map(|name| case.input(name));
    let below = case.repeated(c, "", "ij");
    let x = div(&mut case.g, state, below);
    let y = case.contracted(k, x, &[(0, 0)]);
    if wanted { case.named(&[y, x]) } else { case.named(&[y]) }
}

#[test]
fn a_divisor_leaves_a_sum() {
    let mut case = Case::new();
    let [k, state, c] = ["k_i", "S_ij", "c"].map(|name| case.input(name));
    let read = case.contracted(k, state, &[(0, 0)]);
    let below = case.repeated(c, "", "j");
    let y = div(&mut case.g, read, below);
    becomes(&read_of_a_quotient(false), &case.named(&[y]));
}

#[test]
fn what_is_wanted_for_itself_is_no_saving() {
    stays(&read_of_a_quotient(true));
}

/// `(s x) @ W`, where the product is as large as x and s varies along its rows.
#[test]
fn a_factor_stays_where_the_result_is_as_large() {
    let mut case = Case::new();
    let [x, s, w] = ["x_il", "s_i", "w_lj"].map(|name| case.input(name));
    let s = case.repeated(s, "i", "il");
    let scaled = mul(&mut case.g, s, x);
    let y = case.contracted(scaled, w, &[(1, 0)]);
    stays(&case.named(&[y]));
}

/// `sum over j of (S r) e` where r varies along j: r scales e.
#[test]
fn a_factor_of_the_larger_operand_scales_the_smaller() {
    let mut case = Case::new();
    let [state, r, e] = ["S_ij", "r_j", "e_j"].map(|name| case.input(name));
    let repeated = case.repeated(r, "j", "ij");
    let scaled = mul(&mut case.g, state, repeated);
    let y = case.contracted(scaled, e, &[(1, 0)]);
    let before = case.named(&[y]);
    let mut case = Case::new();
    let [state, r, e] = ["S_ij", "r_j", "e_j"].map(|name| case.input(name));
    let scaled = mul(&mut case.g, r, e);
    let y = case.contracted(state, scaled, &[(1, 0)]);
    becomes(&before, &case.named(&[y]));
}

/// `(k (x) e) / c` and `(k (x) e) r`: the vectors are scaled.
#[test]
fn an_outer_product_is_scaled_before_it_is_made() {
    for (letters, op) in [("", Op::Div), ("j", Op::Mul)] {
        let name = format!("r_{letters}");
        let mut case = Case::new();
        let [k, e, r] = ["k_i", "e_j", &name].map(|name| case.input(name));
        let made = outer(&mut case.g, k, e);
        let repeated = case.repeated(r, letters, "ij");
        let y = case.g.add(op.clone(), &[made, repeated]);
        let before = case.named(&[y]);
        let mut case = Case::new();
        let [k, e, r] = ["k_i", "e_j", &name].map(|name| case.input(name));
        let repeated = case.repeated(r, letters, "j");
        let scaled = case.g.add(op, &[e, repeated]);
        let y = outer(&mut case.g, k, scaled);
        becomes(&before, &case.named(&[y]));
    }
}

/// `sum over i, j of (k (x) g) S` beside `S @ g`, which it is taken from.
#[test]
fn a_sum_with_an_outer_product_is_taken_from_what_is_there() {
    let mut case = Case::new();
    let [k, g, state] = ["k_i", "g_j", "S_ij"].map(|name| case.input(name));
    let read = case.contracted(state, g, &[(1, 0)]);
    let made = outer(&mut case.g, k, g);
    let both = mul(&mut case.g, made, state);
    let s = case.summed(both, &[0, 1]);
    let before = case.named(&[read, s]);
    let mut case = Case::new();
    let [k, g, state] = ["k_i", "g_j", "S_ij"].map(|name| case.input(name));
    let read = case.contracted(state, g, &[(1, 0)]);
    let both = mul(&mut case.g, k, read);
    let s = case.summed(both, &[0]);
    becomes(&before, &case.named(&[read, s]));
}

/// `r_i = sum over j of (k (x) g) S` and `(k (x) g) - x r`: terms that may cancel are made of the same numbers.
#[test]
fn what_something_else_needs_is_a_factor() {
    let mut case = Case::new();
    let [k, g, state, x] = ["k_i", "g_j", "S_ij", "x_ij"].map(|name| case.input(name));
    let made = outer(&mut case.g, k, g);
    let both = mul(&mut case.g, made, state);
    let r = case.summed(both, &[1]);
    let repeated = case.repeated(r, "i", "ij");
    let scaled = mul(&mut case.g, x, repeated);
    let rest = case.g.add(Op::Sub, &[made, scaled]);
    stays(&case.named(&[rest]));
}

/// Trees of products and quotients of what varies along some axes, summed over some.
#[test]
fn values_stay() {
    let mut shrunk = 0;
    for seed in 0..300 {
        let mut numbers = Numbers::new(seed);
        let mut case = Case::new();
        let all: String = LETTERS[numbers.below(2)..].iter().collect();
        let mut built: Vec<Value> = Vec::new();
        for n in 0..2 + numbers.below(4) {
            let own: String = all.chars().filter(|_| numbers.below(2) == 0).collect();
            let value = case.input(&format!("x{n}_{own}"));
            let positive = case.g.add(Op::Exp, &[value]);
            let one = if numbers.below(2) == 0 { value } else { positive };
            let x = case.repeated(one, &own, &all);
            let below = case.repeated(positive, &own, &all);
            let next = match (built.last(), numbers.below(3)) {
                (Some(&last), 0) => div(&mut case.g, last, below),
                (Some(&last), _) => mul(&mut case.g, last, x),
                (None, _) => x,
            };
            built.push(next);
        }
        let axes: Vec<usize> = (0..all.len()).filter(|_| numbers.below(2) == 0).collect();
        let whole = built[built.len() - 1];
        let y = case.summed(whole, &axes);
        let mut outputs = vec![y];
        if numbers.below(4) == 0 {
            outputs.push(built[numbers.below(built.len())]);
        }
        let before = case.named(&outputs);
        let after = taken(&before);
        shrunk += usize::from(after != simplify(&before));
    }
    assert!(shrunk > 50, "of 300 graphs {shrunk} were put in another order");
}
