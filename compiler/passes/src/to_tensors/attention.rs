//! A window over all of the past, read in the order of the sequence instead of by age.
//!
//! ```text
//! before   K[t, j] = k[t - j]               one window for every token: T T d numbers
//! after    K[t, s] = k[s], there where s <= t         the keys themselves, shared by all tokens
//! ```
//!
//! A read that treats the entries of its windows alike cannot tell the two orders apart. What
//! differs is what stands where nothing is there: zeros by age, the future by place. So a product
//! that keeps the window's axis is masked (by age it would have been zero there), and one that
//! sums over it is right if the other side is zero there, which a small analysis shows. Any other
//! use of a window, or a read that counts its entries, keeps the order by age.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the uses that are known to be right are named; all others are refused"
)]

use crate::build::{broadcast, select_or_zero};
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Graph, Group, Op, Value};
use nestor_ir::ty::Type;

/// What is known of a value of the read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fact {
    /// A window itself, perhaps transposed.
    Window,
    /// Zero where nothing is there.
    Zero,
    /// False where nothing is there.
    There,
    /// Nothing.
    Any,
}

/// The read with windows in the order of the sequence: the inputs of these numbers are windows,
/// and one more input says what is there. Nothing where the order matters.
pub(super) fn by_place(read: &Graph, windows: &[usize]) -> Option<Graph> {
    let mut out = Graph::new();
    let mut map: Vec<Value> = vec![Value::new(0); read.values.len()];
    let mut facts: Vec<Fact> = vec![Fact::Any; read.values.len()];
    for (n, input) in read.inputs.iter().enumerate() {
        let ty = read.ty(input.value).clone();
        if windows.contains(&n) {
            facts[input.value.index()] = Fact::Window;
        } else if ty.dims.contains(&Dim::Time) {
            return None;
        }
        map[input.value.index()] = out.input(input.name.clone(), ty);
    }
    let there = out.input("there", Type::bool([Dim::Time]));
    for node in read.nodes.values() {
        let fact = |n: usize| facts[node.operands[n].index()];
        let operands: Vec<Value> = node.operands.iter().map(|v| map[v.index()]).collect();
        if matches!(node.op, Op::Input { .. }) {
            continue;
        }
        let result = node.results[0];
        let along = axis(read, result);
        let (value, known) = match &node.op {
            Op::Exists { size: Dim::Time, block: false } => (there, Fact::There),
            Op::Contract { batch, sum } => {
                let value = out.add(node.op.clone(), &operands);
                let windowed =
                    (0..2).filter(|&n| fact(n) == Fact::Window).collect::<Vec<_>>();
                match windowed[..] {
                    [] => {
                        // A sum over the entries takes those that are there.
                        let summed = |n: usize| {
                            axis(read, node.operands[n]).is_some_and(|a| {
                                sum.iter()
                                    .any(|p| if n == 0 { p.0 == a } else { p.1 == a })
                            })
                        };
                        let zero = fact(0) == Fact::Zero || fact(1) == Fact::Zero;
                        if (summed(0) || summed(1)) && !zero {
                            return None;
                        }
                        (
                            value,
                            if zero && along.is_some() { Fact::Zero } else { Fact::Any },
                        )
                    }
                    [n] => {
                        let place = axis(read, node.operands[n])?;
                        let pair = |pairs: &[(usize, usize)]| {
                            pairs.iter().any(|p| place == if n == 0 { p.0 } else { p.1 })
                        };
                        if pair(sum) {
                            if fact(1 - n) != Fact::Zero {
                                return None;
                            }
                            (value, Fact::Any)
                        } else {
                            debug_assert!(pair(batch) || along.is_some());
                            let dims = out.ty(value).dims.clone();
                            let mask = broadcast(&mut out, there, &dims, &[along?]);
                            (select_or_zero(&mut out, mask, value), Fact::Zero)
                        }
                    }
                    _ => return None,
                }
            }
            Op::Transpose { .. } => (out.add(node.op.clone(), &operands), fact(0)),
            op if node.operands.iter().any(|v| facts[v.index()] == Fact::Window) => {
                let _ = op;
                return None;
            }
            Op::Iota { .. } | Op::Position { .. } if along.is_some() => return None,
            Op::Shift { .. }
            | Op::Window { .. }
            | Op::Scan { .. }
            | Op::LinearScan { .. } => {
                return None;
            }
            op if op.info().group == Group::Token => return None,
            Op::Reduce { axes, fold } => {
                let summed =
                    axis(read, node.operands[0]).is_some_and(|a| axes.contains(&a));
                let safe = fact(0) == Fact::Zero
                    || *fold == nestor_ir::tensor::Fold::Max
                        && lowest(read, &facts, node.operands[0]);
                if summed && !safe {
                    return None;
                }
                (out.add(node.op.clone(), &operands), Fact::Any)
            }
            Op::Select => {
                let zero = crate::build::uniform(read, node.operands[2]) == Some(0.0);
                let both = fact(1) == Fact::Zero && fact(2) == Fact::Zero;
                let known = if both || zero && fact(0) == Fact::There {
                    Fact::Zero
                } else {
                    Fact::Any
                };
                (out.add(node.op.clone(), &operands), known)
            }
            op => {
                let any = (0..operands.len()).any(|n| fact(n) == Fact::Zero);
                let known = match op {
                    Op::Mul if any => Fact::Zero,
                    Op::Div | Op::Neg | Op::Abs if fact(0) == Fact::Zero => Fact::Zero,
                    Op::Broadcast { .. } | Op::And
                        if (0..operands.len()).any(|n| fact(n) == Fact::There) =>
                    {
                        Fact::There
                    }
                    Op::Broadcast { .. } | Op::Stop => fact(0),
                    _ => Fact::Any,
                };
                (out.add(op.clone(), &operands), known)
            }
        };
        map[result.index()] = value;
        facts[result.index()] = known;
        out.values[value].name.clone_from(&read.values[result].name);
    }
    for output in &read.outputs {
        if axis(read, output.value).is_some() {
            return None;
        }
        out.output(output.name.clone(), map[output.value.index()]);
    }
    Some(out)
}

/// The axis of a value that runs over the entries.
fn axis(graph: &Graph, v: Value) -> Option<usize> {
    graph.ty(v).dims.iter().position(|d| *d == Dim::Time)
}

/// Whether a value is as low as can be where nothing is there: `select(there, x, -inf)`.
fn lowest(read: &Graph, facts: &[Fact], v: Value) -> bool {
    let node = read.def(v);
    node.op == Op::Select
        && facts[node.operands[0].index()] == Fact::There
        && crate::build::uniform(read, node.operands[2]) == Some(f64::NEG_INFINITY)
}
