//! Walks of memories for tests: a token's program with its operands, the walk by tokens, and the
//! comparison of forms with it.

use super::{Numbers, close, evaluate, inputs, sizes, with_gradients};
use nestor_ir::dim::Dim;
use nestor_ir::interpret::array::{Array, Data};
use nestor_ir::tensor::{Axis, Feed, Graph, Layout, Op, Scan, Stride, Value, Yield};
use nestor_ir::ty::Type;
use nestor_passes::build::{broadcast, contract, mul, scalar, select};
use nestor_passes::forms::affine;
use smallvec::smallvec;

pub const K: usize = 3;
pub const V: usize = 4;

pub fn fixed(dims: &[usize]) -> Vec<Dim> {
    dims.iter().map(|&d| Dim::Fixed(d)).collect()
}

/// A token's program being written, with the operands that feed it.
pub struct Token {
    pub body: Graph,
    feeds: Vec<(Feed, Layout)>,
    outer: Graph,
    operands: Vec<Value>,
    last: Option<(Value, Value)>,
}

impl Token {
    pub fn new() -> Self {
        Self {
            body: Graph::new(),
            feeds: Vec::new(),
            outer: Graph::new(),
            operands: Vec::new(),
            last: None,
        }
    }
    pub fn feed(
        &mut self,
        name: &str,
        feed: Feed,
        lead: &[(Axis, Dim)],
        dims: &[usize],
    ) -> Value {
        let body = fixed(dims);
        let layout = lead.iter().map(|l| l.0).chain(dims.iter().map(|_| Axis::Body));
        self.feeds.push((feed, layout.collect()));
        let all = lead.iter().map(|l| l.1).chain(body.iter().copied());
        let operand = self.outer.input(name, Type::real(all));
        self.operands.push(operand);
        self.body.input(name, Type::real(body))
    }
    pub fn stream(&mut self, name: &str, dims: &[usize]) -> Value {
        let lead = [
            (Axis::Map(0), Dim::Batch),
            (Axis::Time, Dim::Time),
            (Axis::Map(1), Dim::Fixed(2)),
        ];
        self.feed(name, Feed::Stream, &lead, dims)
    }
    pub fn state(&mut self, name: &str, dims: &[usize]) -> Value {
        let lead = [(Axis::Map(0), Dim::Batch), (Axis::Map(1), Dim::Fixed(2))];
        self.feed(name, Feed::Initial, &lead, dims)
    }
    pub fn shared(&mut self, name: &str, dims: &[usize]) -> Value {
        self.feed(name, Feed::Shared, &[(Axis::Map(1), Dim::Fixed(2))], dims)
    }
    /// After all operands: the token's position.
    pub fn position(&mut self) -> Value {
        let valid = self.body.input("valid", Type::bool([]));
        let position = self.body.input("position", Type::real([]));
        self.last = Some((valid, position));
        position
    }
    /// The walk by tokens and its operands' types.
    pub fn scan(
        mut self,
        nexts: &[Value],
        yields: &[Value],
    ) -> (Scan, Graph, Vec<Value>) {
        if self.last.is_none() {
            self.position();
        }
        for (k, &next) in nexts.iter().enumerate() {
            self.body.output(format!("next{k}"), next);
        }
        let mut layouts = Vec::new();
        for (k, &y) in yields.iter().enumerate() {
            let rank = self.body.ty(y).rank();
            let lead = [Axis::Map(0), Axis::Time, Axis::Map(1)];
            let body = (0..rank).map(|_| Axis::Body);
            layouts.push((Yield::Stream, lead.into_iter().chain(body).collect()));
            self.body.output(format!("y{k}"), y);
        }
        let scan = Scan {
            map: smallvec![Dim::Batch, Dim::Fixed(2)],
            time: Dim::Time,
            stride: Stride::Token,
            reverse: false,
            feeds: self.feeds,
            yields: layouts,
            body: self.body,
        };
        (scan, self.outer, self.operands)
    }
}

pub fn walked(scan: &Scan, outer: &Graph, operands: &[Value]) -> Graph {
    let mut g = outer.clone();
    let results = g.add_many(Op::Scan { scan: Box::new(scan.clone()) }, operands);
    for (k, &r) in results.iter().enumerate() {
        g.output(format!("r{k}"), r);
    }
    g
}

/// A form: the walk, its operands' types, the chunk's size.
pub type Form = fn(&Scan, &[Type], usize) -> Result<Scan, nestor_passes::forms::Reason>;

/// The form against the definition, and their gradients.
pub fn compare(walk: (Scan, Graph, Vec<Value>), chunks: &[usize]) {
    compare_as(affine, walk, chunks);
}

/// Another form against the definition, and their gradients.
pub fn compare_as(
    form_of: Form,
    (scan, outer, operands): (Scan, Graph, Vec<Value>),
    chunks: &[usize],
) {
    let types: Vec<Type> = operands.iter().map(|&o| outer.ty(o).clone()).collect();
    let plain = walked(&scan, &outer, &operands);
    let plain_gradients = with_gradients(&plain);
    let runs: [(usize, usize, usize); 5] =
        [(2, 37, 0), (2, 37, 5), (1, 6, 13), (1, 1, 7), (1, 16, 16)];
    for &c in chunks {
        let form =
            form_of(&scan, &types, c).unwrap_or_else(|r| panic!("{r}\n{}", scan.body));
        let form = walked(&form, &outer, &operands);
        let form_gradients = with_gradients(&form);
        for (batch, time, start) in runs {
            let sizes = sizes(batch, time, start);
            let mut numbers = Numbers::new(7 + c as u64);
            let x = tamed(&plain, inputs(&plain, &sizes, &mut numbers));
            let a = evaluate(&plain, &x, &sizes);
            let b = evaluate(&form, &x, &sizes);
            for (k, (a, b)) in a.iter().zip(&b).enumerate() {
                close(&format!("result {k} C={c} T={time} t0={start}"), b, a, 1e-10);
            }
            let seeds = a.iter().map(|o| {
                let values: Vec<f64> = o.reals().iter().map(|_| numbers.real()).collect();
                Array::real(o.dims.clone(), values)
            });
            let x: Vec<Array> = x.iter().cloned().chain(seeds).collect();
            let a = evaluate(&plain_gradients, &x, &sizes);
            let b = evaluate(&form_gradients, &x, &sizes);
            for (k, (a, b)) in a.iter().zip(&b).enumerate() {
                let name = &plain_gradients.outputs[k].name;
                close(&format!("{name} C={c} T={time} t0={start}"), b, a, 1e-9);
            }
        }
    }
}

/// Gates and steps in (0, 1), keys shortened, so that nothing grows.
pub fn tamed(graph: &Graph, mut x: Vec<Array>) -> Vec<Array> {
    for (input, array) in graph.inputs.iter().zip(&mut x) {
        let Data::Real(values) = &mut array.data else { continue };
        for v in values {
            match input.name.as_str() {
                // Nothing kept, next to nothing, and everything.
                "switch" if *v > 0.5 => *v = 0.0,
                "switch" if *v > 0.2 => *v = 1e-12,
                "switch" => *v = 1.0,
                "alpha" | "eta" => *v = 0.5 + 0.5 * *v,
                "beta" | "theta" => *v = 0.3 + 0.2 * *v,
                "k" | "k2" => *v *= 0.6,
                _ => {}
            }
        }
    }
    x
}

/// That a graph made of another gives the same numbers, from sequences that begin here or earlier.
pub fn alike(graph: &Graph, made: &Graph) {
    for (batch, time, start) in [(2, 17, 0), (1, 6, 3), (2, 1, 7), (1, 8, 4)] {
        let sizes = sizes(batch, time, start);
        let x = tamed(graph, inputs(graph, &sizes, &mut Numbers::new(3)));
        let (a, b) = (evaluate(graph, &x, &sizes), evaluate(made, &x, &sizes));
        for ((a, b), output) in a.iter().zip(&b).zip(&graph.outputs) {
            let what = format!("{} T={time} t0={start} of\n{made}", output.name);
            close(&what, b, a, 1e-10);
        }
    }
}

pub fn gate(b: &mut Graph, a: Value, m: Value) -> Value {
    let dims = b.ty(m).dims.clone();
    let a = broadcast(b, a, &dims, &[]);
    mul(b, a, m)
}

/// `q M`
pub fn read(b: &mut Graph, q: Value, m: Value) -> Value {
    contract(b, q, m, &[], &[(0, 0)])
}

/// Where the token stands at a multiple of `n`, the state before it is the new anchor.
pub fn anchor(b: &mut Graph, position: Value, n: usize, w: Value, held: Value) -> Value {
    let n = scalar(b, n as f64);
    let zero = scalar(b, 0.0);
    let phase = b.add(Op::Rem, &[position, n]);
    let at = b.add(Op::Equal, &[phase, zero]);
    let dims = b.ty(w).dims.clone();
    let at = broadcast(b, at, &dims, &[]);
    select(b, at, w, held)
}

/// A gate along some axes of the state.
pub fn gate_along(b: &mut Graph, a: Value, axes: &[usize], m: Value) -> Value {
    let dims = b.ty(m).dims.clone();
    let a = broadcast(b, a, &dims, axes);
    mul(b, a, m)
}
