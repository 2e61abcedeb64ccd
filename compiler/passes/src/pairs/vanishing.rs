//! Exponentials of what has no say, which are zero by themselves.
//!
//! ```text
//! before   x = select (c, s, -infinity);  m = max of x;  p = select (c, exp (s - m), 0)
//! after    x = select (c, s, -infinity);  m = max of x;  p = exp (x - m)
//! ```

use super::cone::unmoved;
use super::sinks::Sink;
use super::step::Step;
use crate::build::{exp, sub, uniform};
use nestor_ir::tensor::{Op, Value};

/// Pairs of which the largest is taken: as little as can be where they have no say.
pub(super) struct Top {
    /// The largest of them, in the graph.
    largest: Value,
    /// In the step.
    made: Value,
    /// In the graph, and without that.
    is: [Value; 2],
    /// Where they have a say.
    says: Option<Value>,
}

impl Step<'_> {
    /// What the largest value is folded of.
    pub(super) fn top(&self, sink: &Sink, found: Value) -> Top {
        let graph = self.graph;
        let largest = sink.value(graph);
        let made = self.walk.body.def(found).operands[0];
        let node = graph.def(sink.pairs);
        let least = |v: Value| uniform(graph, v) == Some(f64::NEG_INFINITY);
        match node.op {
            Op::Select if least(node.operands[2]) => Top {
                largest,
                made,
                is: [sink.pairs, node.operands[1]],
                says: Some(node.operands[0]),
            },
            _ => Top { largest, made, is: [sink.pairs; 2], says: None },
        }
    }

    /// A value that is as the pairs are of which the largest is taken, but zero where those have no say; it need not be looked at which are.
    pub(super) fn vanishing(&mut self, v: Value) -> Option<Value> {
        let (graph, top) = (self.graph, self.top.as_ref()?);
        let node = graph.def(v);
        match node.op {
            Op::Exp => {
                let less = graph.def(node.operands[0]);
                let [x, by] = less.operands[..] else { return None };
                let scaled = less.op == Op::Sub
                    && top.is.contains(&x)
                    && unmoved(graph, by) == top.largest;
                let by = self.map.get(&by).copied().filter(|_| scaled)?;
                let less = sub(&mut self.walk.body, top.made, by);
                Some(exp(&mut self.walk.body, less))
            }
            Op::Select => {
                let [says, x, other] = node.operands[..] else { return None };
                let same = Some(says) == top.says && uniform(graph, other) == Some(0.0);
                (same && self.gone.contains(&x)).then(|| self.map[&x])
            }
            _ => None,
        }
    }
}
