//! Numbers for tests: arrays that look random and are always the same, and gradients by
//! differences against gradients by reverse mode.
#![allow(dead_code, unreachable_pub, reason = "every test file uses its part")]

pub mod schedule;
pub mod walks;

use nestor_ir::artifact::Precision;
use nestor_ir::dim::Sizes;
use nestor_ir::interpret::array::{Array, Data};
use nestor_ir::interpret::tensor::run;
use nestor_ir::tensor::verify::verify;
use nestor_ir::tensor::{Graph, Value};
use nestor_ir::ty::{Elem, Type};
use nestor_passes::autodiff::{Keeping, keep_boundaries, pullback};
use nestor_passes::simplify::simplify;

pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    /// In (-1, 1).
    pub fn real(&mut self) -> f64 {
        self.next() as f64 / (1u64 << 53) as f64 * 2.0 - 1.0
    }
    pub fn array(&mut self, ty: &Type, sizes: &Sizes) -> Array {
        let dims: Vec<usize> = ty.dims.iter().map(|d| d.size(sizes)).collect();
        let n = dims.iter().product();
        let data = match ty.elem {
            Elem::Real => Data::Real((0..n).map(|_| self.real()).collect()),
            Elem::Int => Data::Int((0..n).map(|_| self.below(4) as i64).collect()),
            Elem::Bool => Data::Bool((0..n).map(|_| self.below(3) > 0).collect()),
        };
        Array { dims, data }
    }
}

pub fn sizes(batch: usize, time: usize, start: usize) -> Sizes {
    Sizes { batch, time, start }
}

pub fn inputs(graph: &Graph, sizes: &Sizes, numbers: &mut Numbers) -> Vec<Array> {
    graph.inputs.iter().map(|i| numbers.array(graph.ty(i.value), sizes)).collect()
}

pub fn evaluate(graph: &Graph, inputs: &[Array], sizes: &Sizes) -> Vec<Array> {
    verify(graph).unwrap_or_else(|e| panic!("{e}\n{graph}"));
    run(graph, inputs, sizes, Precision::F64).unwrap_or_else(|e| panic!("{e}\n{graph}"))
}

pub fn close(what: &str, a: &Array, b: &Array, tolerance: f64) {
    assert_eq!(a.dims, b.dims, "{what}");
    let (Data::Real(x), Data::Real(y)) = (&a.data, &b.data) else {
        assert_eq!(a.data, b.data, "{what}");
        return;
    };
    for (i, (x, y)) in x.iter().zip(y).enumerate() {
        let scale = 1.0 + x.abs().max(y.abs());
        assert!((x - y).abs() <= tolerance * scale, "{what}: {x} against {y} at {i}");
    }
}

/// The graph with inputs `seed.k` for its real outputs and outputs `grad.<input>`.
pub fn with_gradients(graph: &Graph) -> Graph {
    with_gradients_keeping(graph, Keeping::default())
}

/// The same, with what is said kept for the way back.
pub fn with_gradients_keeping(graph: &Graph, keeping: Keeping) -> Graph {
    let mut g = keep_boundaries(graph, keeping);
    let outputs = std::mem::take(&mut g.outputs);
    let real = |g: &Graph, v: Value| g.ty(v).elem == Elem::Real;
    let wrt: Vec<(String, Value)> = g
        .inputs
        .iter()
        .filter(|i| real(&g, i.value))
        .map(|i| (i.name.clone(), i.value))
        .collect();
    let mut seeds = Vec::new();
    for o in outputs.iter().filter(|o| real(&g, o.value)).cloned().collect::<Vec<_>>() {
        let ty = g.ty(o.value).clone();
        let seed = g.input(format!("seed.{}", o.name), ty);
        seeds.push((o.value, seed));
    }
    let values: Vec<Value> = wrt.iter().map(|w| w.1).collect();
    let found = pullback(&mut g, &seeds, &values).expect("has derivatives");
    for ((name, value), found) in wrt.iter().zip(found) {
        let d = found.unwrap_or_else(|| nestor_passes::build::zeros_like(&mut g, *value));
        g.output(format!("grad.{name}"), d);
    }
    g
}

/// Reverse mode against central differences at given inputs, before and after simplification.
pub fn check_gradients(graph: &Graph, x: &[Array], sizes: &Sizes, numbers: &mut Numbers) {
    let base = evaluate(graph, x, sizes);
    let seeds: Vec<Array> = base
        .iter()
        .filter(|o| o.elem() == Elem::Real)
        .map(|o| {
            Array::real(
                o.dims.clone(),
                o.reals().iter().map(|_| numbers.real()).collect::<Vec<_>>(),
            )
        })
        .collect();
    let objective = |x: &[Array]| -> f64 {
        let out = evaluate(graph, x, sizes);
        let real = out.iter().filter(|o| o.elem() == Elem::Real);
        real.zip(&seeds)
            .map(|(o, s)| {
                o.reals().iter().zip(s.reals()).map(|(a, b)| a * b).sum::<f64>()
            })
            .sum()
    };
    let g = with_gradients(graph);
    let all: Vec<Array> = x.iter().chain(&seeds).cloned().collect();
    let reverse = evaluate(&g, &all, sizes);
    let plainer = simplify(&g);
    let simplified = evaluate(&plainer, &all, sizes);
    let same = simplify(graph);
    for (k, (a, b)) in base.iter().zip(evaluate(&same, x, sizes)).enumerate() {
        close(&format!("output {k} simplified\n{graph}\n{same}"), &b, a, 1e-10);
    }
    let reals: Vec<usize> = (0..x.len()).filter(|&k| x[k].elem() == Elem::Real).collect();
    for (n, &k) in reals.iter().enumerate() {
        let mut moved = x.to_vec();
        let mut by_difference = Vec::new();
        for i in 0..x[k].len() {
            let mut at = |h: f64| {
                let Data::Real(v) = &mut moved[k].data else { unreachable!() };
                let old = v[i];
                v[i] = old + h;
                let value = objective(&moved);
                let Data::Real(v) = &mut moved[k].data else { unreachable!() };
                v[i] = old;
                value
            };
            let h = 1e-4;
            let d1 = (at(h) - at(-h)) / (2.0 * h);
            let d2 = (at(2.0 * h) - at(-2.0 * h)) / (4.0 * h);
            by_difference.push((4.0 * d1 - d2) / 3.0);
        }
        let expected = Array::real(x[k].dims.clone(), by_difference);
        let name = &graph.inputs[k].name;
        close(
            &format!("gradient of {name} in\n{graph}\n{g}"),
            &reverse[n],
            &expected,
            1e-7,
        );
        close(
            &format!("simplified gradient of {name} in\n{g}\n{plainer}"),
            &simplified[n],
            &reverse[n],
            1e-9,
        );
    }
}

/// As [`check_gradients`] at inputs that look random.
pub fn check(graph: &Graph, sizes: &Sizes, seed: u64) {
    let mut numbers = Numbers::new(seed);
    let x = inputs(graph, sizes, &mut numbers);
    check_gradients(graph, &x, sizes, &mut numbers);
}
