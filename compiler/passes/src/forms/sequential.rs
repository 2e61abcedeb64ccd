//! One token after another, in chunks: always possible, and exactly the definition.
//!
//! ```text
//! before   walk by tokens:  s' = f(s, x)
//! after    walk by chunks of K:  walk by the K tokens of the chunk:  s' = f(s, x)
//! ```
//!
//! Reverse mode then keeps one state a chunk and recomputes the tokens between, so that memory
//! grows with `T/K + K` states instead of T. Rows of a chunk that are no tokens are skipped.

use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::infer::seen_by_body;
use nestor_ir::tensor::{Axis, Feed, Graph, Layout, Op, Scan, Stride, Value, Yield};
use nestor_ir::ty::Type;
use smallvec::smallvec;

/// The same walk, `chunk` tokens at a step: same operands, same results.
pub fn sequential(scan: &Scan, operands: &[Type], chunk: usize) -> Scan {
    let mut outer =
        Scan { stride: Stride::Chunk(chunk), body: Graph::new(), ..scan.clone() };
    let mut inner = Scan {
        map: smallvec![],
        time: Dim::Fixed(chunk),
        stride: Stride::Token,
        reverse: scan.reverse,
        feeds: vec![],
        yields: vec![],
        body: Graph::new(),
    };
    let mut given: Vec<Value> = Vec::new();
    for (k, ((feed, layout), ty)) in scan.feeds.iter().zip(operands).enumerate() {
        // A step of the walk by tokens is a token.
        let feed = if *feed == Feed::Step { Feed::Stream } else { *feed };
        outer.feeds[k].0 = feed;
        let seen = seen_by_body(&outer, feed, layout, ty);
        let body = layout.iter().filter(|a| **a == Axis::Body).copied();
        let own: Layout = match feed {
            Feed::Stream => std::iter::once(Axis::Time).chain(body).collect(),
            _ => body.collect(),
        };
        given.push(outer.body.input(format!("x{k}"), seen));
        inner.feeds.push((feed, own));
    }
    let rows = [Dim::Fixed(chunk)];
    let valid = outer.body.input("valid", Type::bool(rows));
    let position = outer.body.input("position", Type::real(rows));
    given.extend([position, valid]);
    inner.feeds.push((Feed::Stream, smallvec![Axis::Time]));
    inner.feeds.push((Feed::Mask, smallvec![Axis::Time]));
    inner.body = at_positions(scan);
    let states = scan.states().count();
    for (k, (_, layout)) in scan.yields.iter().enumerate() {
        let body = layout.iter().filter(|a| **a == Axis::Body).copied();
        let own: Layout = std::iter::once(Axis::Time).chain(body).collect();
        inner.yields.push((Yield::Stream, own));
        outer.yields[k].0 = Yield::Stream;
    }
    let results = outer.body.add_many(Op::Scan { scan: Box::new(inner) }, &given);
    for (k, &result) in results.iter().enumerate() {
        let name = if k < states { format!("state.{k}") } else { format!("y{k}") };
        outer.body.output(name, result);
    }
    outer
}

/// The token's program with its absolute position as one more stream.
fn at_positions(scan: &Scan) -> Graph {
    let mut body = Graph::new();
    let n = scan.body.inputs.len() - 2;
    let mut arguments: Vec<Value> = Vec::new();
    for (k, input) in scan.body.inputs[..n].iter().enumerate() {
        let ty = scan.body.ty(input.value).clone();
        arguments.push(body.input(format!("x{k}"), ty));
    }
    let position = body.input("at", Type::real([]));
    let valid = body.input("valid", Type::bool([]));
    body.input("position", Type::real([]));
    arguments.extend([valid, position]);
    let map = body.splice(&scan.body, &arguments);
    for output in &scan.body.outputs {
        body.output(output.name.clone(), map[output.value.index()]);
    }
    body
}
